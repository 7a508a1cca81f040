"""The shop's nightly files: whole, the same after a kill, with their horrors, and read by the files source."""

import codecs
import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from letterpress.demo.shop import exports
from letterpress.demo.shop.exports import Exports
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import Store
from letterpress.demo.simulation.switches import Dirt
from letterpress.sources import Connection, load_sources
from letterpress.sources.files import pages
from letterpress.sources.options import FileOptions

pytestmark = pytest.mark.usefixtures("played_once")

TODAY = datetime(2011, 2, 1, tzinfo=UTC)


def made(folder: Path, dirt: Dirt | None = None) -> tuple[Store, Exports]:
    world = World(seed=2, customers=60, days=40, today=TODAY, dirt=dirt or Dirt())
    store = Store(folder / "shop" / "shop.sqlite", world)
    store.prepare()
    return store, Exports(folder / "exports", store)


def names(files: Exports) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir())


def contents(files: Exports) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files.folder.iterdir()}


def listed(store: Store, entity: str) -> dict[str, dict]:
    return {key: orjson.loads(body) for _, key, body in store.page(entity, None, None, 10**9)}


def test_a_start_writes_the_last_night_of_the_history_and_each_midnight_one_more(tmp_path):
    store, files = made(tmp_path)
    files.prepare()
    assert names(files) == ["customers_2011-01-31.jsonl", "orders_2011-01-31.parquet", "products_2011-01-31.csv"]
    before = contents(files)
    store.advance(23 * chance.HOUR)
    files.update()
    assert contents(files) == before
    for night in ("2011-02-01", "2011-02-02"):
        store.advance(chance.DAY)
        files.update()
        assert f"products_{night}.csv" in names(files)
    assert {name: content for name, content in contents(files).items() if name in before} == before
    assert len(names(files)) == 9


def test_increments_hold_every_row_that_changed_and_the_dump_all_products(tmp_path):
    store, files = made(tmp_path, Dirt.off())
    files.prepare()
    for hours in (24, 31, 17):
        store.advance(hours * chance.HOUR)
        files.update()
    customers, orders = {}, {}
    for path in sorted(files.folder.glob("customers_*.jsonl")):
        customers |= {row["customer_id"]: row for row in map(json.loads, path.read_text().splitlines())}
    for path in sorted(files.folder.glob("orders_*.parquet")):
        orders |= {row["order_id"]: row for row in pq.read_table(path).to_pylist()}
    assert customers == listed(store, "customers")
    assert {key: row["total_amount"] for key, row in orders.items()} == {
        key: row["total_amount"] for key, row in listed(store, "orders").items()
    }
    [newest] = sorted(files.folder.glob("products_*.csv"))[-1:]
    assert len(list(csv.DictReader(newest.open(newline="")))) == len(listed(store, "products"))
    assert pq.read_table(files.folder / "orders_2011-02-01.parquet").num_rows < len(orders) / 4


def test_without_horrors_the_catalogue_is_plain_rfc_4180(tmp_path):
    store, files = made(tmp_path, Dirt.off())
    files.prepare()
    content = (files.folder / "products_2011-01-31.csv").read_bytes()
    assert not content.startswith(codecs.BOM_UTF8)
    assert content.count(b"\n") == content.count(b"\r\n")
    rows = {
        row["product_id"]: row for row in csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    }
    assert rows == {
        key: {name: "" if value is None else str(value) for name, value in row.items()}
        for key, row in listed(store, "products").items()
    }


def test_each_of_the_documented_horrors_is_there(tmp_path):
    store, files = made(tmp_path)
    files.prepare()
    for _ in range(9):
        store.advance(chance.DAY)
        files.update()
    dumps = [path.read_bytes() for path in sorted(files.folder.glob("products_*.csv"))]
    texts = [dump.decode("utf-8-sig" if dump.startswith(codecs.BOM_UTF8) else "windows-1252") for dump in dumps]
    assert {dump.startswith(codecs.BOM_UTF8) for dump in dumps} == {True, False}
    assert {b"\r\n" in dump for dump in dumps} == {True, False}
    assert all("Product ID;Name;" in text and "Stock Quantity" in text for text in texts)
    assert all(text.splitlines()[-1] == "Total;120 products" for text in texts)
    assert all('\nSold in a box marked ""handle with care""."' in text for text in texts)
    assert all("\n\n" in text.replace("\r\n", "\n") for text in texts)
    _, *rows = csv.reader(io.StringIO(texts[0], newline=""), delimiter=";")
    assert all(row[4].replace(",", "").isdigit() for row in rows if row[2:])
    assert any("," in row[4] for row in rows if row[2:])
    lines = [path.read_bytes() for path in sorted(files.folder.glob("customers_*.jsonl"))]
    assert any(not text.endswith(b"\n") for text in lines), "no half-written line"
    assert any(text and text.endswith(b"\n") for text in lines), "nothing but half-written lines"
    assert any(b"\n\n" in text for text in lines)


def test_the_same_product_reads_the_same_every_night(tmp_path):
    """Else a nightly dump would land unchanged products again."""
    store, files = made(tmp_path)
    files.prepare()
    store.advance(chance.DAY)
    files.update()
    catalogue = load_sources()["catalogue"]
    nights: list[dict] = []
    for path in sorted(files.folder.glob("products_*.csv")):
        options = catalogue.options.model_copy(update={"pattern": path.name})
        source = catalogue.model_copy(update={"options": options})
        found = pages(source, source.declared()[0], since=None, connection=Connection(base_url=str(files.folder)))
        nights.append({row["product_id"]: row for page in found for row in page.rows.to_pylist()})
    unchanged = [key for key in nights[0] if nights[0][key]["updated_at"] == nights[1][key]["updated_at"]]
    assert len(unchanged) > 60
    assert [nights[0][key] for key in unchanged] == [nights[1][key] for key in unchanged]


@pytest.mark.parametrize("dirt", [Dirt(), Dirt.off()])
def test_the_files_source_reads_what_the_shop_shows(tmp_path, dirt):
    store, files = made(tmp_path, dirt)
    files.prepare()
    connection = Connection(base_url=str(files.folder))
    catalogue, crm = load_sources()["catalogue"], load_sources()["crm"]
    found = pages(catalogue, catalogue.declared()[0], since=None, connection=connection)
    rows = {row["product_id"]: row for page in found for row in page.rows.to_pylist()}
    shown = listed(store, "products")
    assert set(rows) == set(shown)
    for key, row in shown.items():
        assert [rows[key][name] for name in ("name", "category", "price", "stock_quantity")] == [
            row[name] for name in ("name", "category", "price", "stock_quantity")
        ]
        assert (rows[key]["description"] or "").startswith(row["description"] or "")
        assert rows[key]["updated_at"] == datetime.fromisoformat(row["updated_at"])
    options = FileOptions(reader="files", pattern="{entity}_*.jsonl", skip_broken_last_line=True)
    by_files = crm.model_copy(update={"options": options})
    found = pages(by_files, by_files.declared()[0], since=None, connection=connection)
    assert {row["customer_id"]: row for page in found for row in page.rows} == listed(store, "customers")


def test_a_kill_between_two_files_writes_the_same_ones_again(tmp_path, monkeypatch):
    store, files = made(tmp_path)
    files.prepare()
    whole = contents(files)
    other = Exports(tmp_path / "again", store)
    (tmp_path / "shop" / "exports.json").unlink()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exports.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            other.prepare()
    assert not [name for name in names(other) if name.endswith((".jsonl", ".parquet"))]
    other.prepare()
    assert {name: content for name, content in contents(other).items() if not name.endswith(".part")} == whole


def test_a_folder_that_cannot_be_written_to_does_not_stop_the_clock(tmp_path, caplog):
    _, files = made(tmp_path)
    files.folder.write_text("no folder")
    files.update()
    assert "the next advance tries again" in caplog.text
    files.folder.unlink()
    files.update()
    assert len(names(files)) == 3
