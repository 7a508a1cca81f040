"""Airflow imports this at the start of each of its processes: where tasks are forked, they find their libraries there.

A task is a fork of the scheduler (LocalExecutor) or of a Celery worker. Each would import Great Expectations, dbt and
scikit-learn anew, which takes longer than most tasks do. Our own modules are not among these: a change of them counts
from the next task on.
"""

import os
import sys
from importlib import import_module

FORKING = "celery" if "Celery" in os.environ.get("AIRFLOW__CORE__EXECUTOR", "") else "scheduler"
LIBRARIES = ("dbt.cli.main", "dlt", "duckdb", "great_expectations", "optuna", "sklearn.ensemble", "xgboost")

__all__: list[str] = []

if sys.platform == "linux" and sys.argv[1:2] == [FORKING]:
    for library in LIBRARIES:
        import_module(library)
