"""The rules for DAGs, as tests."""

import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from letterpress.orchestration.defaults import Tag
from letterpress.sources import load_sources
from letterpress.warehouse.database import WRITER_POOL


@pytest.fixture(scope="module")
def bag(repository: Path, airflow_database):
    from airflow.dag_processing.dagbag import DagBag

    began = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bag = DagBag(repository / "dags")
    bag.seconds = time.monotonic() - began
    bag.warnings = [
        warning
        for warning in caught
        if "deprecat" in str(warning.message).lower() or "Removed" in warning.category.__name__
    ]
    return bag


def dag_ids() -> list[str]:
    return [
        "warehouse_features",
        "warehouse_activation",
        "models_train",
        "models_score",
        "sync_local_esp",
        "documentation",
        "warehouse_rebuild",
        "explain_customer",
        *[f"ingest_{source}" for source in load_sources()],
    ]


def test_every_dag_loads_without_an_error_or_a_warning_of_deprecation(bag):
    assert bag.import_errors == {}
    assert [str(warning.message) for warning in bag.warnings] == []
    assert set(dag_ids()) <= set(bag.dag_ids)
    assert [dag_id for dag_id in bag.dag_ids if dag_id.startswith("campaign_")]


def test_every_dag_says_who_owns_it_what_it_is_and_how_long_it_may_take(bag):
    known = {"letterpress", *Tag}
    for dag in bag.dags.values():
        assert dag.doc_md.startswith("### "), dag.dag_id
        assert dag.description, dag.dag_id
        assert set(dag.tags) <= known, dag.dag_id
        assert len(dag.tags) >= 2, dag.dag_id
        assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id
        assert dag.dagrun_timeout is not None, dag.dag_id
        for task in dag.tasks:
            assert task.owner == "letterpress", task
            assert task.retries >= 1, task
            assert task.on_failure_callback, task
            assert task.retry_policy is not None, task


def test_what_opens_the_warehouse_for_writing_runs_in_the_pool_of_one_slot(bag):
    writers = {
        task.task_id
        for dag_id in ("warehouse_features", "warehouse_activation", "documentation", "warehouse_rebuild")
        for task in bag.dags[dag_id].tasks
        if task.pool == WRITER_POOL
    }
    assert writers == {
        "build_staging",
        "build_intermediate",
        "build_marts",
        "build_activation",
        "copy_candidate",
        # It writes a file of its own, and takes as much of the machine as the others.
        "rebuild_instant",
    }


def test_assets_chain_the_dags_from_landing_to_campaigns(bag):
    from airflow.serialization.encoders import coerce_to_core_timetable

    emitted = {asset.name: dag.dag_id for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets}
    wanted = {}
    for dag in bag.dags.values():
        condition = getattr(coerce_to_core_timetable(dag.timetable), "asset_condition", None)
        wanted[dag.dag_id] = {asset.name for _, asset in condition.iter_assets()} if condition else set()
    for source in load_sources():
        assert emitted[f"landed_{source}"] == f"ingest_{source}"
        assert f"landed_{source}" in wanted["warehouse_features"]
    assert emitted["published_features"] == "warehouse_features"
    assert "published_features" in wanted["models_train"] & wanted["models_score"]
    assert "model_champions" in wanted["models_score"]
    assert wanted["warehouse_activation"] == {"model_scores"}
    assert "published_activation" in wanted["sync_local_esp"]
    for dag_id in bag.dag_ids:
        if dag_id.startswith("campaign_"):
            assert "synced_local_esp" in wanted[dag_id]
    unfed = {name for names in wanted.values() for name in names} - set(emitted)
    assert unfed == set(), "an asset that nobody emits never triggers"


def test_schedules_are_those_of_the_sources(bag):
    from airflow.serialization.encoders import coerce_to_core_timetable

    for name, source in load_sources().items():
        timetable = coerce_to_core_timetable(bag.dags[f"ingest_{name}"].timetable)
        assert timetable.summary in (source.schedule, *_PRESETS.get(source.schedule, ())), name


_PRESETS = {"@hourly": ("0 * * * *",), "@daily": ("0 0 * * *",)}


def test_a_dag_file_is_wiring_of_under_80_lines(repository):
    for file in (repository / "dags").glob("*.py"):
        text = file.read_text()
        assert len(text.splitlines()) < 80, file.name
        for word in ("import pandas", "import httpx", "import duckdb", "select ", "requests"):
            assert word not in text, f"{file.name} does more than wiring: {word}"


def test_parsing_all_dags_is_quick_and_imports_no_heavy_library(repository):
    script = (
        "import sys, glob, runpy\n"
        "for file in sorted(glob.glob('dags/*.py')): runpy.run_path(file)\n"
        "heavy = {'pandas', 'sklearn', 'scipy', 'great_expectations', 'dbt', 'dlt', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=repository, check=True, timeout=60)
