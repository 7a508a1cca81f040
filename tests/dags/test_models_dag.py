"""The model DAGs as Airflow runs them, for a shop that has not sent a mail yet."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ml"))

from model_rows import AS_OF, forget, simulate_orders, write_features

from letterpress.settings import REPOSITORY, settings
from ml import registry

CLICKS = "click_propensity"


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Iterator[Path]:
    """The folder of the published features version that the DAGs read."""
    from letterpress.warehouse import publish

    monkeypatch.setenv("LETTERPRESS_HOME", str(tmp_path))
    settings.cache_clear()
    folder = tmp_path / "version"
    write_features(folder / "features", simulate_orders(customers=60))

    @contextmanager
    def lease(*_: object) -> Iterator[Path]:
        yield folder

    monkeypatch.setattr(publish, "lease", lease)
    monkeypatch.setattr(publish, "manifest", lambda *_: {"version": "v1", "as_of": AS_OF.isoformat()})
    yield folder
    settings.cache_clear()


@cache
def dags() -> dict:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(REPOSITORY / "dags" / "models.py").dags


def run(dag_id: str, *tasks: str) -> dict[str, str]:
    """A run of some tasks of a DAG to its end: the state of each."""
    made = dags()[dag_id].partial_subset(["pin_features", *tasks], include_upstream=False).test()
    return {one.task_id: str(one.state) for one in made.get_task_instances()}


def test_a_model_with_nobody_to_score_is_skipped_and_trained_once_there_is_somebody(version):
    forget(version / "features", "customer_emails")
    waiting = {"pin_features": "success", f"train_{CLICKS}": "skipped", "announce_champions": "skipped"}
    assert run("models_train", f"train_{CLICKS}", "announce_champions") == waiting
    assert run("models_score", f"score_{CLICKS}") == {"pin_features": "success", f"score_{CLICKS}": "skipped"}
    write_features(version / "features", simulate_orders(customers=60))
    assert set(run("models_train", f"train_{CLICKS}", "announce_champions").values()) == {"success"}
    assert registry.champion(CLICKS, settings().stores) is not None
