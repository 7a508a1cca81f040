"""The past, rebuilt: which instants, from which knowledge, in files of their own, and whole or not at all."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landed_home import Home
from landed_rows import at
from small_shop import account

from letterpress import storage
from letterpress.operations import __main__ as commands
from letterpress.settings import settings
from letterpress.warehouse import build
from letterpress.warehouse.database import connect, warehouse_file
from letterpress.warehouse.rebuild import (
    Knowledge,
    NotKnownThen,
    instants,
    known_then,
    rebuild_range,
    snapshots,
)

MAY, JUNE, JULY = at("2011-05-01"), at("2011-06-01"), at("2011-07-01")


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Home:
    """Two loads, and a dbt that leaves one person in its file; ``home.builds`` counts what it was asked for."""
    home = Home(tmp_path)
    home.land(JUNE, crm__customers=[account("C1", "ann@example.com")])
    home.land(JULY, crm__customers=[account("C2", "bob@example.com")])
    home.builds, home.killed = [], None

    def dbt(settings, inputs, layer, *, run_id, database=None):
        home.builds.append((inputs.as_of, layer))
        if home.killed == layer:
            raise KeyboardInterrupt
        if layer != build_order[0]:
            return
        file = database or warehouse_file(settings.warehouse)
        file.parent.mkdir(parents=True, exist_ok=True)
        with connect(file, read_only=False) as connection:
            for schema in ("staging", "marts", "features"):
                connection.execute(f"create schema {schema}")
            connection.execute("create table staging.stg_crm__customers as select 'a secret' as email")
            connection.execute("create table marts.dim_customers as select 'one' as customer_id")
            connection.execute(
                "create table features.customer_features as select 'one' as customer_id, ?::timestamptz as as_of",
                [inputs.as_of],
            )

    from letterpress.warehouse import rebuild

    build_order = rebuild.LAYERS
    monkeypatch.setattr(build, "build", dbt)
    return home


def killed(*_, **__):
    raise KeyboardInterrupt


def everything_but(home: Home, *left_out: str) -> dict[str, bytes]:
    root = Path(home.settings.home)
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and file.relative_to(root).parts[0] not in left_out
    }


def test_a_range_holds_both_its_ends_and_every_so_many_days():
    assert [f"{one:%d}" for one in instants(MAY, MAY + timedelta(days=2))] == ["01", "02", "03"]
    assert [f"{one:%m-%d}" for one in instants(MAY, JUNE, every=7)] == ["05-01", "05-08", "05-15", "05-22", "05-29"]


@pytest.mark.parametrize(
    ("first", "last", "every", "message"),
    [(JUNE, MAY, 1, "swap them"), (MAY, JUNE, 0, "1 day or more, found 0")],
)
def test_a_range_that_makes_no_sense_is_refused(first, last, every, message):
    with pytest.raises(ValueError, match=message):
        list(instants(first, last, every))


def test_each_instant_is_a_folder_like_a_published_version(home):
    done = rebuild_range(home.settings, [JULY, JUNE], run_id="test")
    assert [one.as_of for one in done] == [JUNE, JULY]
    folder = Path(done[0].folder)
    assert folder.parent == Path(home.settings.home) / "rebuilt"
    assert folder.name.startswith("20110601T000000Z-")
    manifest = storage.read_json(str(folder / "manifest.json"))
    assert (manifest["as_of"], manifest["known_through"]) == ("2011-06-01T00:00:00+00:00", 2)
    assert manifest["row_counts"] == {"features.customer_features": 1, "marts.dim_customers": 1}
    assert {"commit", "seeds_hash", "fingerprint"} <= set(manifest)
    assert storage.read_parquet(manifest["index"]).num_rows > 2
    assert storage.read_parquet(str(folder / "features" / "customer_features.parquet")).num_rows == 1


def test_nothing_of_it_reaches_what_is_live(home):
    before = everything_but(home, "rebuilt")
    rebuild_range(home.settings, [JUNE, JULY], run_id="test")
    assert everything_but(home, "rebuilt") == before


def test_a_second_run_finds_everything_and_builds_nothing(home):
    first = rebuild_range(home.settings, [JUNE, JULY], run_id="test")
    built, before = list(home.builds), everything_but(home)
    again = rebuild_range(home.settings, [JUNE, JULY], run_id="test")
    assert home.builds == built
    assert [one.is_new for one in again] == [False, False]
    assert [one.version for one in again] == [one.version for one in first]
    assert everything_but(home) == before


def test_a_longer_range_builds_only_what_is_missing(home):
    rebuild_range(home.settings, [JUNE], run_id="test")
    done = rebuild_range(home.settings, [MAY, JUNE, JULY], run_id="test")
    assert [one.is_new for one in done] == [True, False, True]


def test_new_loads_make_a_new_rebuild_and_keep_the_old_one(home):
    [old] = rebuild_range(home.settings, [JUNE], run_id="test")
    home.land(JULY, crm__customers=[account("C3", "eve@example.com")])
    [new] = rebuild_range(home.settings, [JUNE], run_id="test")
    [same] = rebuild_range(home.settings, [JUNE], knowledge=Knowledge(known_through=2), run_id="test")
    assert new.version != old.version
    assert (same.version, same.is_new) == (old.version, False)


def test_what_a_killed_rebuild_left_is_no_result_and_does_not_hinder_the_next(home, monkeypatch):
    from letterpress.warehouse import publish, rebuild

    rebuild_range(home.settings, [MAY], run_id="test")
    home.killed = rebuild.LAYERS[-1]
    with pytest.raises(KeyboardInterrupt):
        rebuild_range(home.settings, [MAY, JUNE], run_id="test")
    home.killed = None
    with monkeypatch.context() as patched:
        patched.setattr(publish, "describe", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild_range(home.settings, [MAY, JUNE], run_id="test")
    found = [name for name in storage.names(f"{home.settings.home}/rebuilt") if name.startswith("2011")]
    assert [name[:8] for name in found] == ["20110501"]
    done = rebuild_range(home.settings, [MAY, JUNE], run_id="test")
    assert [one.is_new for one in done] == [False, True]
    assert [one.is_new for one in rebuild_range(home.settings, [JUNE], run_id="test")] == [False]


def test_the_features_of_all_dates_are_one_data_set_with_what_each_row_knows(home):
    rebuild_range(home.settings, [JUNE, JULY], run_id="test")
    rows = pq.read_table(snapshots(home.settings, Knowledge())).to_pylist()
    assert sorted((row["customer_id"], row["as_of"], row["known_through"]) for row in rows) == [
        ("one", JUNE, 2),
        ("one", JULY, 2),
    ]


def test_a_newer_rebuild_of_a_date_takes_its_place_in_the_data_set(home):
    rebuild_range(home.settings, [JUNE], run_id="test")
    home.land(JULY, crm__customers=[account("C3", "eve@example.com")])
    rebuild_range(home.settings, [JUNE], run_id="test")
    assert pq.read_table(snapshots(home.settings, Knowledge()))["known_through"].to_pylist() == [3]


def test_each_knowledge_has_a_data_set_of_its_own(home):
    rebuild_range(home.settings, [JUNE], run_id="test")
    rebuild_range(home.settings, [JUNE], knowledge=Knowledge(as_known_then=True), run_id="test")
    found = [pq.read_table(snapshots(home.settings, one)) for one in (Knowledge(), Knowledge(as_known_then=True))]
    assert [table["known_through"].to_pylist() for table in found] == [[2], [1]]


def test_what_was_known_at_an_instant_is_what_had_been_extracted_by_then(home):
    assert [known_then(home.settings, one) for one in (JUNE, JULY - timedelta(seconds=1), JULY)] == [1, 1, 2]
    with pytest.raises(NotKnownThen, match=r"found the first at 2011-06-01 00:00 UTC; next step: .*KNOWN_THROUGH"):
        known_then(home.settings, MAY)


def test_on_the_real_clock_a_load_is_not_known_before_it_was_committed(home):
    # The loads are of 2011 and were committed by this test: a backfill of extractions, run years later.
    real = home.settings.model_copy(update={"clock": "interval"})
    with pytest.raises(NotKnownThen):
        known_then(real, JULY)
    assert known_then(real, datetime.now(UTC) + timedelta(seconds=1)) == 2


def test_a_later_load_hides_what_came_after_it_in_the_sequence(home):
    home.land(JUNE, crm__customers=[account("C3", "eve@example.com")])
    assert known_then(home.settings, JUNE) == 1


def test_loads_that_arrive_during_a_range_are_not_in_half_of_it(home):
    def tell(line: str) -> None:
        home.land(JULY, crm__customers=[account(f"C{len(home.builds)}", None)])

    done = rebuild_range(home.settings, [MAY, JUNE, JULY], run_id="test", tell=tell)
    assert [one.known_through for one in done] == [2, 2, 2]


def test_of_the_history_counts_what_had_been_written_before_the_version_was_published(home):
    """An erasure counts by its instant; the id changes of a publication came after its own build."""
    from letterpress.warehouse import history

    changes = ("history", "identity_changes")

    def write(name: str, key: str) -> None:
        row = {field.name: None for field in history.SCHEMAS[name]}
        history.append(home.settings.history, name, key, pa.Table.from_pylist([row], schema=history.SCHEMAS[name]))

    def known(rebuilt) -> list[str]:
        rows = storage.read_parquet(f"{rebuilt.folder}/inputs.parquet").to_pylist()
        names = [Path(row["uri"]).stem for row in rows if (row["source"], row["entity"]) == changes]
        return sorted(name for name in names if not name.startswith("history."))

    [never] = rebuild_range(home.settings, [MAY], run_id="test")
    for number, version in enumerate(("before", never.version, "after"), start=1):
        write("segment_sizes", f"{number:06d}-{version}")
        write("identity_changes", f"{number:06d}-{version}")
    shutil.rmtree(never.folder)
    [published] = rebuild_range(home.settings, [MAY], run_id="test")
    [other] = rebuild_range(home.settings, [JUNE], run_id="test")
    assert known(published) == ["000001-before"]
    assert known(other) == ["000001-before", f"000002-{never.version}", "000003-after"]


def test_knowledge_that_is_not_there_is_refused_with_what_is(home, tmp_path):
    with pytest.raises(NotKnownThen, match="from 1 to 2, found 3"):
        rebuild_range(home.settings, [JUNE], knowledge=Knowledge(known_through=3), run_id="test")
    with pytest.raises(NotKnownThen, match="expected an accepted load, found none; next step: `make run`"):
        rebuild_range(Home(tmp_path / "empty").settings, [JUNE], run_id="test")
    with pytest.raises(ValueError, match="found both"):
        Knowledge(known_through=1, as_known_then=True)


def test_the_future_cannot_be_rebuilt(home):
    with pytest.raises(NotKnownThen, match="expected an instant of the past"):
        rebuild_range(home.settings, [datetime.now(UTC) + timedelta(days=1)], run_id="test")


def test_progress_tells_each_instant_and_whether_it_was_there(home):
    told = []
    rebuild_range(home.settings, [JUNE], run_id="test", tell=told.append)
    rebuild_range(home.settings, [JUNE], run_id="test", tell=told.append)
    assert [line[0] for line in told] == ["✓", "–"]
    assert "1/1  as of 2011-06-01 00:00  loads ≤ 2  1 customers  20110601T000000Z-" in told[0]


def test_make_rebuild_tells_what_it_did_and_where_and_refuses_what_is_no_date(home, monkeypatch, capsys):
    monkeypatch.setenv("LETTERPRESS_HOME", home.settings.home)
    settings.cache_clear()
    try:
        assert commands.main(["rebuild", "2011-05-01", "2011-06-01", "--every", "31"]) == 0
        told = capsys.readouterr().out
        assert commands.main(["rebuild", "2011-05-01", "2011-05-01", "--as-known-then"]) == 1
        assert commands.main(["rebuild", "first of May", "2011-05-01"]) == 2
        assert commands.main(["rebuild", "2011-05-01T12:00:00", "2011-05-02"]) == 2
        refused = capsys.readouterr().out
    finally:
        settings.cache_clear()
    assert "2/2  as of 2011-06-01 00:00  loads ≤ 2" in told
    assert "2 built, 0 were there" in told
    assert "expected a load that was known by then, found the first at 2011-06-01 00:00 UTC" in refused
    assert "expected one such as 2011-05-01 or 2011-05-01T12:00:00Z, found first of May" in refused
    assert "expected an instant with its zone" in refused
