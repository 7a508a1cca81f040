"""What the stages import when they first need it: imported once by the fork server, so that each start is quick."""

import dbt.cli.main
import dlt
import great_expectations
import line
import line_process
import sklearn.cluster
from airflow.models.dagrun import DagRun

__all__ = ["DagRun", "dbt", "dlt", "great_expectations", "line", "line_process", "sklearn"]

line.dags()
