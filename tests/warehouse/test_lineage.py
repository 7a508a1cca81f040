"""A build adds to what the warehouse holds only where that gives what a full build gives."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from letterpress import storage
from letterpress.warehouse import lineage
from letterpress.warehouse.inputs import INDEX_SCHEMA, Inputs


def inputs(folder: Path, loads: dict[int, str], as_of: str = "2011-07-01T00:00:00+00:00") -> Inputs:
    index = str(folder / f"index-{'-'.join(loads.values())}.parquet")
    files = loads | {0: "empty"}
    rows = [{"source": "web", "entity": "events", "uri": uri, "load_sequence": load} for load, uri in files.items()]
    storage.write_parquet(index, pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
    return Inputs("features", "v", "f", as_of, max(loads), index)


@pytest.fixture
def held(tmp_path, project) -> lineage.Lineage:
    """A warehouse that was built whole from two loads."""
    return replace(lineage.of(inputs(tmp_path, {1: "a", 2: "b"}), "key", tmp_path / "project"), is_whole=True)


@pytest.fixture(autouse=True)
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dbt_project.yml").write_text("vars: {}\n")
    return folder


def why(held, given: Inputs, **changed) -> str | None:
    project = Path(given.index).parent / "project"
    return lineage.why_whole(held, replace(lineage.of(given, "key", project), **changed), given)


def test_further_loads_and_a_later_instant_are_added(tmp_path, held):
    later = inputs(tmp_path, {1: "a", 2: "b", 3: "c"}, as_of="2011-07-02T00:00:00+00:00")
    assert why(held, later) is None


def test_the_same_inputs_are_no_reason_to_begin_anew(tmp_path, held):
    assert why(held, inputs(tmp_path, {1: "a", 2: "b"})) is None


@pytest.mark.parametrize(
    ("loads", "as_of", "changed", "reason"),
    [
        ({1: "a", 2: "b"}, "2011-06-30T00:00:00+00:00", {}, "as_of goes back"),
        ({1: "a"}, "2011-07-01T00:00:00+00:00", {}, "known_through goes back"),
        ({1: "erased", 2: "b", 3: "c"}, "2011-07-01T00:00:00+00:00", {}, "are there no more"),
        ({1: "a", 2: "b"}, "2011-07-01T00:00:00+00:00", {"project": "another"}, "have changed"),
        ({1: "a", 2: "b"}, "2011-07-01T00:00:00+00:00", {"identity_key": "another"}, "identity key has changed"),
    ],
)
def test_what_increments_cannot_follow_is_built_whole(tmp_path, held, loads, as_of, changed, reason):
    assert reason in why(held, inputs(tmp_path, loads, as_of), **changed)


def test_a_full_build_that_was_killed_is_begun_anew(tmp_path, held):
    assert "did not come to its end" in why(replace(held, is_whole=False), inputs(tmp_path, {1: "a", 2: "b"}))


def test_lineage_of_a_file_that_is_gone_says_nothing(tmp_path, held):
    database = tmp_path / "warehouse.duckdb"
    lineage.write(database, held)
    assert lineage.read(database) is None
    database.write_bytes(b"")
    assert lineage.read(database) == held


def test_segments_may_change_without_a_full_build_and_thresholds_may_not(project):
    settings = "vars: {{session_inactivity_minutes: {minutes}, rule_segments: [{segment}]}}\n"
    hashes = []
    for minutes, segment in ((30, "a"), (30, "b"), (20, "b")):
        (project / "dbt_project.yml").write_text(settings.format(minutes=minutes, segment=segment))
        hashes.append(lineage.incremental_hash(project))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_mart_that_grows_by_increments_changes_them_and_another_one_does_not(project):
    marts, hashes = project / "models" / "marts", []
    marts.mkdir(parents=True)
    for name, sql in (
        ("rebuilt", "select 1"),
        ("rebuilt", "select 2"),
        ("growing", "{{ config(materialized='incremental') }} select 1"),
        ("growing", "{{ config(materialized='incremental') }} select 2"),
    ):
        (marts / f"{name}.sql").write_text(sql)
        hashes.append(lineage.incremental_hash(project))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
