"""A history as Parquet: as much as was asked for, the same whatever the threads, whole or not there."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from letterpress.demo import history, parts, truth
from letterpress.demo.simulation import chance, schemas
from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import pieces, render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.store import Store
from letterpress.demo.simulation.switches import Dirt
from letterpress.settings import REPOSITORY, Settings

TODAY = Settings.model_fields["shop_today"].default
SMALL = {"customers": 120, "days": 40, "events": None, "seed": 3, "today": TODAY, "dirt": Dirt()}
EVENTS = 120_000


def run(out: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "letterpress.demo.history", "--out", str(out), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "plugins"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A small history, written once."""
    out = tmp_path_factory.mktemp("history") / "shop-history"
    history.make(out, **SMALL)
    return out


@pytest.mark.slow
def test_two_processes_with_other_thread_counts_write_equal_tables(tmp_path):
    wanted = ("--customers", "150", "--days", "30")
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS")
    found = []
    for number in ("1", "4"):
        out = tmp_path / number
        done = run(out, *wanted, PYTHONHASHSEED=number, **dict.fromkeys(threads, number))
        assert done.returncode == 0, done.stderr
        files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.parquet")}
        found.append((manifest(out), files))

    one, other = found
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert all(entity["rows"] for entity in one[0]["entities"].values())
    assert len({entity["hash"] for entity in one[0]["entities"].values()}) == len(schemas.ENTITIES)


def test_the_history_holds_the_rows_that_the_shop_would_serve(small, tmp_path):
    world = World(SMALL["seed"], SMALL["customers"], SMALL["days"], TODAY, dirt=SMALL["dirt"])
    store = Store(tmp_path / "shop.sqlite", world)
    store.prepare()

    for name in schemas.ENTITIES:
        table = pq.read_table(small / name)
        served = [orjson.loads(body) for _, _, body in store.page(name, None, None, 10**9)]
        key = schemas.KEYS[name]
        api = schemas.API_NAMES.get(name, {}).get(key, key)
        assert sorted(set(table[key].to_pylist())) == sorted({row[api] for row in served}), name
        if name not in ("customers", "products", "orders"):  # of these the shop serves the last version only
            assert table.num_rows == len(served), name
        assert set(table.column_names) >= set(schemas.SCHEMAS[name].names)
        assert not [column for column in table.column_names if column.startswith("_")]


def test_the_manifest_tells_what_lies_there(small):
    told = manifest(small)

    for name in schemas.ENTITIES:
        table = pq.read_table(small / name)
        hashed = parts.TableHash()
        hashed.update(table)
        entity = told["entities"][name]
        assert entity["rows"] == table.num_rows
        assert entity["hash"] == hashed.hexdigest()
        assert entity["parts"] == len(list((small / name).glob("part-*.parquet")))
        assert entity["first"] <= entity["last"] <= chance.iso(chance.milliseconds(TODAY))
    assert told["events"] == told["entities"]["events"]["rows"] + told["entities"]["email_events"]["rows"]
    assert told["parameters"]["days"] == SMALL["days"]


def test_the_truth_of_a_history_can_be_read(small):
    found = truth.of_history(small)

    customers = set(pq.read_table(small / "customers")["customer_id"].to_pylist())
    assert set(found.accounts()["customer_id"]) == customers
    assert set(found.orders["order_id"]) == set(pq.read_table(small / "orders")["order_id"].to_pylist())
    assert set(found.planted["kind"]) >= {"messy_emails", "second_accounts", "bots"}


@pytest.mark.slow
def test_the_number_of_events_is_met_within_five_per_cent(tmp_path):
    done = run(tmp_path / "out", "--customers", "3000", "--events", str(EVENTS))

    assert done.returncode == 0, done.stderr
    assert abs(manifest(tmp_path / "out")["events"] / EVENTS - 1) < history.TOLERANCE
    assert f"of {manifest(tmp_path / 'out')['parameters']['days']}, " in done.stderr


def test_a_target_out_of_reach_is_refused_with_what_is_possible(tmp_path):
    done = run(tmp_path / "out", "--customers", "300", "--events", "3")

    assert done.returncode == 2
    assert "300 customers cannot have 3 events" in done.stderr
    assert "with DAYS=1" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_whole_history_is_left_alone_and_one_of_other_parameters_refused(small, capsys):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}

    again = history.make(small, **SMALL)
    with pytest.raises(history.HistoryError) as refusal:
        history.make(small, **SMALL | {"seed": 4, "days": 41})

    assert again == manifest(small)
    assert "nothing to do" in capsys.readouterr().err
    assert "days 40, seed 3" in str(refusal.value) or "seed 3, days 40" in str(refusal.value)
    assert "OUT=" in str(refusal.value)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_a_killed_run_is_begun_anew(small, tmp_path):
    out = tmp_path / "shop-history"
    command = [sys.executable, "-m", "letterpress.demo.history", "--out", str(out)]
    command += ["--customers", str(SMALL["customers"]), "--days", str(SMALL["days"]), "--seed", str(SMALL["seed"])]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "plugins")}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert out.exists()
    assert not (out / "manifest.json").exists()
    (out / "events").mkdir(exist_ok=True)  # the kill may have come before it
    (out / "events" / "part-00009.parquet").write_bytes(b"half a file")

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert manifest(out)["entities"] == manifest(small)["entities"]
    assert not (out / "events" / "part-00009.parquet").exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")

    with pytest.raises(history.HistoryError) as refusal:
        history.make(tmp_path, **SMALL)

    assert "thesis.txt" in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_day_in_pieces_is_the_same_day():
    def rows(*tables: pa.Table) -> list[str]:
        return sorted(map(repr, pa.concat_tables(tables).to_pylist()))

    world = World(5, 200, 15, TODAY, dirt=replace(Dirt(), test_orders=0.3, excessive_refunds=0.3, late_weeks=0.1))
    simulator = Simulator(world)
    state = simulator.opening()
    for _ in range(world.days):
        day = simulator.play(state)
        whole, cut = render(world, state, day), [render(world, state, piece) for piece in pieces(day, 40)]
        for name in schemas.ENTITIES:
            together = pa.concat_tables([piece[name] for piece in cut])
            assert together.combine_chunks() == whole[name].combine_chunks(), name
        dirty, planted = soil(world, day, whole)
        soiled = [soil(world, piece, tables) for piece, tables in zip(pieces(day, 40), cut, strict=True)]
        assert rows(*(part for _, part in soiled)) == rows(planted)
        for name in schemas.ENTITIES:
            assert rows(*(tables[name] for tables, _ in soiled)) == rows(dirty[name]), name
    assert len(cut) > 2


def test_the_hash_sees_rows_and_not_how_they_are_cut():
    table = pa.table(
        {
            "text": pa.array(["a", None, "", "bcd", "é"]),
            "number": pa.array([1.5, None, 2.0, 0.0, -1.0]),
            "flag": pa.array([True, False, None, True, True]),
        }
    )

    def of(*pieces_: pa.Table) -> str:
        hashed = parts.TableHash()
        for piece in pieces_:
            hashed.update(piece)
        return hashed.hexdigest()

    assert of(table) == of(table.slice(0, 2), table.slice(2)) == of(*(table.slice(row, 1) for row in range(5)))
    assert of(table) != of(table.slice(1), table.slice(0, 1))
    for name, other in (("text", ["a", "", None, "bcd", "é"]), ("text", ["ab", None, "", "cd", "é"])):
        assert of(table.set_column(0, name, pa.array(other))) != of(table)


def test_parts_roll_over_and_keep_a_column_that_appears(tmp_path):
    schema = pa.schema([pa.field("number", pa.int64())])
    written = parts.Parts(tmp_path, schema, rows_in_a_part=1_000)
    numbers = pa.table({"number": np.arange(2_500)})
    written.write(numbers)
    written.write(numbers.append_column("colour", pa.repeat("blue", 2_500)))
    written.write(numbers)
    written.close()

    read = [pq.read_table(path) for path in sorted(tmp_path.iterdir())]
    assert [part.num_rows for part in read] == [1_000, 1_000, 500, 1_000, 1_000, 1_000, 1_000, 1_000]
    assert pa.concat_tables(part.select(["number"]) for part in read)["number"].to_pylist() == [*range(2_500)] * 3
    assert [part.num_columns for part in read] == [1, 1, 1, 2, 2, 2, 2, 2]
    assert read[3]["colour"][0].as_py() == "blue"
    assert read[-1]["colour"][-1].as_py() is None
