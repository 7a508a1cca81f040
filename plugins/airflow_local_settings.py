"""Airflow imports this at the start of each of its processes: what they fork finds its libraries there.

A task is a fork of the scheduler (LocalExecutor) or of a Celery worker. Each would import Great Expectations, dbt and
scikit-learn anew, which takes longer than most tasks do. The DAG processor forks once for each file of DAGs, again
and again. Our own modules are not among these: a change of them counts from the next task on.
"""

import sys
import warnings
from importlib import import_module

from airflow.configuration import conf

TASKS = (
    "dbt.cli.main",
    "dlt",
    "duckdb",
    "great_expectations",
    "matplotlib.figure",
    "optuna",
    "skops.io",  # and with it all of scikit-learn
    "xgboost",
)
DAGS = ("pydantic_settings", "pyarrow")

__all__: list[str] = []


def _libraries(command: list[str]) -> tuple[str, ...]:
    if sys.platform != "linux":
        return ()
    if command == ["dag-processor"]:
        return DAGS
    forking = ["celery", "worker"] if "Celery" in conf.get("core", "executor") else ["scheduler"]
    return TASKS if command == forking else ()


with warnings.catch_warnings():
    # skops asks every module for every name of NumPy's functions, also Airflow's, which warn of what they renamed.
    warnings.simplefilter("ignore")
    for library in _libraries(sys.argv[1:3] if sys.argv[1:2] == ["celery"] else sys.argv[1:2]):
        import_module(library)
