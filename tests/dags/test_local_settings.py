"""What Airflow's processes import at their start."""

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.configuration import conf

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="tasks are forked on Linux alone")


@pytest.fixture
def imported(repository: Path, monkeypatch: pytest.MonkeyPatch):
    """The libraries that a process with these words as its command imports before its tasks need them."""

    def at_the_start_of(*words: str, executor: str = "LocalExecutor") -> list[str]:
        asked: list[str] = []
        conf.get("core", "executor")  # which imports on its own, the first time
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        monkeypatch.setattr(sys, "argv", ["airflow", *words])
        monkeypatch.setattr(importlib, "import_module", asked.append)
        runpy.run_path(str(repository / "plugins" / "airflow_local_settings.py"))
        return asked

    return at_the_start_of


@LINUX_ONLY
@pytest.mark.parametrize(
    ("executor", "words"), [("LocalExecutor", ["scheduler"]), ("CeleryExecutor", ["celery", "worker"])]
)
def test_what_forks_tasks_has_their_libraries(imported, executor, words):
    found = imported(*words, executor=executor)
    assert {"great_expectations", "dbt.cli.main", "skops.io"} <= set(found)
    assert [name for name in found if importlib.util.find_spec(name.split(".")[0]) is None] == []
    assert not any(name.startswith(("letterpress", "ml", "expectations", "airflow")) for name in found)


@LINUX_ONLY
def test_what_reads_dags_has_what_they_import_and_no_more(imported, repository):
    found = imported("dag-processor")
    script = f"import sys; [__import__(name) for name in {found}]; known = set(sys.modules)\n"
    script += "import letterpress.orchestration.models, letterpress.orchestration.activation, letterpress.sources\n"
    script += "print(*set(sys.modules) - known)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert {"letterpress", "airflow"} <= set(answer.split())
    heavy = {"numpy", "pandas", "pyarrow", "duckdb", "sklearn", "great_expectations", "dbt"}
    assert heavy & set(answer.split()) == set()


WITHOUT = [[], ["api-server"], ["triggerer"], ["dags", "test", "scheduler"], ["celery", "flower"]]


@pytest.mark.parametrize("words", WITHOUT)
def test_what_forks_none_starts_without_them(imported, words):
    assert imported(*words) == []


def test_a_scheduler_whose_tasks_run_elsewhere_starts_without_them(imported):
    assert imported("scheduler", executor="CeleryExecutor") == []
