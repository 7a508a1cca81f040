"""Landing's book: what commits, what does not, and in which order."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError
from source_doubles import AS_OF, PASSED, Api, Line

from letterpress import storage
from letterpress.sources import landing
from letterpress.sources.errors import LoadSuperseded


def hand_over(root: str, load_id: str, source: str = "web", *, base: int = 0, rows: int = 3) -> str:
    """A pending load with one file, as an extraction leaves it."""
    name = f"{source}/events/{load_id}-0.parquet"
    storage.write_parquet(storage.join(root, name), pa.table({"message_id": [f"m{n}" for n in range(rows)]}))
    landing.write_pending(
        root,
        landing.Pending(
            load_id=load_id,
            source=source,
            as_of=AS_OF,
            run_id="run",
            extracted_at=datetime(2011, 7, 1, tzinfo=UTC),
            base_sequence=base,
            entities={"events": landing.EntityLoad(files=(name,), rows=rows, columns={"message_id": "string"})},
        ),
    )
    return load_id


def commit_in_process(root: str, load_id: str, sequences: "multiprocessing.Queue") -> None:
    sequences.put(landing.commit(root, load_id, PASSED).load_sequence)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "landing")


def test_a_load_exists_when_its_manifest_is_committed(root: str) -> None:
    hand_over(root, "one")
    before = landing.manifests(root)
    manifest = landing.commit(root, "one", PASSED)
    assert before == []
    assert landing.manifests(root) == [manifest]
    assert landing.last_manifest(root, "web") == manifest
    assert landing.pending(root) == []
    assert manifest.load_sequence == 1
    assert manifest.audit.checks == 3
    assert storage.read_json(f"{root}/_manifests/0000000001.json")["entities"]["events"]["schema"] == {
        "message_id": "string"
    }


def test_committing_a_load_again_returns_the_first_manifest(root: str) -> None:
    hand_over(root, "one")
    first = landing.commit(root, "one", PASSED)
    again = landing.commit(root, "one", {"verdict": "warned", "checks": 9, "warnings": 1})
    assert again == first
    assert len(landing.manifests(root)) == 1


def test_a_commit_that_was_killed_before_it_tidied_up_is_found_again(root: str) -> None:
    hand_over(root, "one")
    first = landing.commit(root, "one", PASSED)
    hand_over(root, "one")
    again = landing.commit(root, "one", PASSED)
    assert again == first
    assert landing.pending(root) == []


def test_known_through_bounds_what_is_known(root: str) -> None:
    for number in range(4):
        hand_over(root, f"load-{number}", f"source_{number % 2}", base=number)
        landing.commit(root, f"load-{number}", PASSED)
    assert [manifest.load_id for manifest in landing.manifests(root, known_through=3)] == ["load-0", "load-1", "load-2"]
    assert [manifest.load_id for manifest in landing.manifests(root, source="source_1")] == ["load-1", "load-3"]
    assert landing.last_manifest(root, "source_1", known_through=3).load_id == "load-1"
    assert landing.last_manifest(root, "absent") is None


def test_concurrent_commits_of_threads_get_distinct_sequences(root: str) -> None:
    loads = [hand_over(root, f"load-{number}", f"source_{number}") for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda load_id: landing.commit(root, load_id, PASSED), loads))
    assert sorted(manifest.load_sequence for manifest in done) == list(range(1, 13))
    assert {manifest.load_id for manifest in landing.manifests(root)} == set(loads)


def test_concurrent_commits_of_processes_get_distinct_sequences(root: str) -> None:
    context = multiprocessing.get_context("spawn")
    sequences = context.Queue()
    loads = [hand_over(root, f"load-{number}", f"source_{number}") for number in range(3)]
    workers = [context.Process(target=commit_in_process, args=(root, load_id, sequences)) for load_id in loads]
    for worker in workers:
        worker.start()
    found = sorted(sequences.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert found == [1, 2, 3]


def test_concurrent_commits_of_one_load_make_one_manifest(root: str) -> None:
    hand_over(root, "one")
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: landing.commit(root, "one", PASSED), range(6)))
    assert {manifest.load_sequence for manifest in done} == {1}
    assert len(landing.manifests(root)) == 1


def test_a_load_from_a_cursor_that_has_moved_is_refused(root: str) -> None:
    """Both loads hold the rows after one cursor: only the first may count."""
    hand_over(root, "first")
    hand_over(root, "second")
    landing.commit(root, "first", PASSED)
    with pytest.raises(LoadSuperseded) as caught:
        landing.commit(root, "second", PASSED)
    assert "run ingest_web again" in str(caught.value)
    assert len(landing.manifests(root)) == 1


def test_another_source_in_between_does_not_matter(root: str) -> None:
    hand_over(root, "first", "web")
    hand_over(root, "second", "shop")
    landing.commit(root, "first", PASSED)
    assert landing.commit(root, "second", PASSED).load_sequence == 2


def test_a_failed_verdict_cannot_be_committed(root: str) -> None:
    hand_over(root, "one")
    with pytest.raises(ValueError, match="reject it"):
        landing.commit(root, "one", {"verdict": "failed", "checks": 1, "warnings": 0})
    assert landing.manifests(root) == []


def test_a_rejected_load_stays_readable_but_never_counts(root: str) -> None:
    hand_over(root, "one")
    rejected = landing.reject(root, "one", {"verdict": "failed", "checks": 2, "warnings": 0, "errors": 1})
    again = landing.reject(root, "one", {"verdict": "failed", "checks": 9, "warnings": 0, "errors": 9})
    with pytest.raises(LookupError):
        landing.commit(root, "one", PASSED)
    assert again == rejected
    assert landing.manifests(root) == []
    assert landing.pending(root) == []
    assert sum(len(frame) for frame in landing.batches(root, "one", "events")) == 3


def test_files_of_a_rejected_load_go_when_the_next_one_is_rejected(root: str) -> None:
    for load_id in ("one", "two"):
        hand_over(root, load_id)
        landing.reject(root, load_id, {"verdict": "failed"})
    assert not storage.exists(f"{root}/web/events/one-0.parquet")
    assert storage.exists(f"{root}/web/events/two-0.parquet")
    assert landing.load(root, "one").audit.verdict == "failed"


def test_an_accepted_load_cannot_be_rejected(root: str) -> None:
    hand_over(root, "one")
    landing.commit(root, "one", PASSED)
    with pytest.raises(ValueError, match="accepted as 1"):
        landing.reject(root, "one", {"verdict": "failed"})
    assert storage.exists(f"{root}/web/events/one-0.parquet")


def test_an_unknown_load_or_entity_is_named(root: str) -> None:
    hand_over(root, "one")
    with pytest.raises(LookupError, match="two"):
        landing.commit(root, "two", PASSED)
    with pytest.raises(LookupError, match="'orders'"):
        next(landing.batches(root, "one", "orders"))


def test_batches_are_bounded(root: str) -> None:
    hand_over(root, "one", rows=25)
    sizes = [len(frame) for frame in landing.batches(root, "one", "events", rows=10)]
    assert sizes == [10, 10, 5]


def test_manifests_are_frozen_and_refuse_what_they_do_not_know(root: str) -> None:
    hand_over(root, "one")
    manifest = landing.commit(root, "one", PASSED)
    with pytest.raises(ValidationError):
        manifest.load_sequence = 5
    with pytest.raises(ValidationError):
        landing.Manifest.model_validate(manifest.to_json() | {"surprise": 1})
    assert landing.Manifest.model_validate(manifest.to_json()) == manifest


def test_every_declared_entity_has_a_landed_schema() -> None:
    schemas = landing.declared_schemas()
    assert sorted(schemas) == sorted(landing.entities())
    assert ("online_retail", "invoice_lines") in schemas
    assert all(schema.names[-1] == "_row_hash" for schema in schemas.values())
    assert schemas["shop", "orders"].field("total_amount").type == pa.float64()


def test_the_declared_schema_is_what_lands(line: Line, web: Api) -> None:
    manifest = line.land()
    file = f"{line.landing}/{manifest.entities['events'].files[0]}"
    assert storage.read_parquet(file).schema.equals(landing.declared_schemas()["web", "events"])
