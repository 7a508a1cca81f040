"""Online Retail: files of a folder, each read once, and the real invoices."""

import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_doubles import Line

from letterpress.settings import REPOSITORY
from letterpress.sources import landing
from letterpress.sources.errors import SchemaChanged, SourceRefused

REAL = REPOSITORY.parent / "shared" / "data" / "online_retail"


def invoices(count: int, *, start: int = 0, **changes: pa.Array) -> pa.Table:
    numbers = range(start, start + count)
    columns = {
        "InvoiceNo": pa.array([f"5{number:05d}" for number in numbers]),
        "StockCode": pa.array(["85123A"] * count),
        "Description": pa.array(["HOLDER"] * count, pa.string()),
        "Quantity": pa.array([number % 5 + 1 for number in numbers], pa.int32()),
        "InvoiceDate": pa.array([datetime(2010, 12, 1, 8, 26)] * count, pa.timestamp("us")),
        "UnitPrice": pa.array([2.55] * count, pa.float64()),
        "CustomerID": pa.array([17850 if number % 4 else None for number in numbers], pa.int32()),
        "Country": pa.array(["United Kingdom"] * count),
    }
    return pa.table(columns | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "invoices"
    path.mkdir()
    return path


@pytest.fixture
def retail(tmp_path: Path, folder: Path) -> Line:
    return Line(str(tmp_path / "landing"), str(folder))


def test_lines_land_with_file_and_line_number_and_local_time(retail: Line, folder: Path) -> None:
    pq.write_table(invoices(5), folder / "december.parquet")
    manifest = retail.land("online_retail")
    rows = retail.rows("invoice_lines")
    assert manifest.entities["invoice_lines"].rows == 5
    assert list(rows["file"].unique()) == ["december.parquet"]
    assert list(rows["line_number"]) == [1, 2, 3, 4, 5]
    assert rows["invoice_date"].dt.tz is None
    assert rows["invoice_date"][0] == datetime(2010, 12, 1, 8, 26)
    assert rows["customer_id"].isna().tolist() == [True, False, False, False, True]


def test_a_file_is_read_once_and_a_new_one_lands_alone(retail: Line, folder: Path) -> None:
    pq.write_table(invoices(5), folder / "a.parquet")
    retail.land("online_retail")
    unchanged = retail.extract("online_retail")
    pq.write_table(invoices(7, start=5), folder / "b.parquet")
    second = retail.land("online_retail")
    assert unchanged is None
    assert second.entities["invoice_lines"].rows == 7
    assert second.entities["invoice_lines"].repeated_rows == 0
    assert set(retail.rows("invoice_lines").query("load_sequence == 2")["file"]) == {"b.parquet"}


def test_a_changed_file_lands_only_its_changed_lines(retail: Line, folder: Path) -> None:
    pq.write_table(invoices(50), folder / "a.parquet")
    retail.land("online_retail")
    changed = invoices(50).to_pylist()
    changed[9]["Quantity"] = 400
    pq.write_table(pa.Table.from_pylist(changed, schema=invoices(1).schema), folder / "a.parquet")
    second = retail.land("online_retail")
    versions = retail.rows("invoice_lines").query("line_number == 10")
    assert second.entities["invoice_lines"].rows == 1
    assert second.entities["invoice_lines"].repeated_rows == 49
    assert list(versions["quantity"]) == [5, 400]


def test_a_renamed_file_does_not_land_twice(retail: Line, folder: Path) -> None:
    pq.write_table(invoices(5), folder / "a.parquet")
    retail.land("online_retail")
    (folder / "a.parquet").rename(folder / "b.parquet")
    assert retail.extract("online_retail") is None


def test_equal_lines_of_one_file_all_land(retail: Line, folder: Path) -> None:
    """A repeated line is for the warehouse to judge; landing knows it by its number."""
    pq.write_table(pa.concat_tables([invoices(3)] * 4), folder / "a.parquet")
    assert retail.land("online_retail").rows == 12


@pytest.mark.parametrize("there", [True, False])
def test_a_missing_or_empty_folder_says_how_to_get_the_file(retail: Line, folder: Path, there: bool) -> None:
    if not there:
        folder.rmdir()
    with pytest.raises(SourceRefused) as caught:
        retail.extract("online_retail")
    assert str(folder) in str(caught.value)
    assert "archive.ics.uci.edu/dataset/352" in str(caught.value)


def test_missing_columns_are_named(retail: Line, folder: Path) -> None:
    pq.write_table(invoices(3).drop_columns(["UnitPrice", "Country"]), folder / "a.parquet")
    with pytest.raises(SourceRefused) as caught:
        retail.extract("online_retail")
    assert "missing ['unit_price', 'country']" in str(caught.value)


def test_a_file_that_is_no_parquet_is_named(retail: Line, folder: Path) -> None:
    (folder / "a.parquet").write_text("InvoiceNo,StockCode\n")
    with pytest.raises(SourceRefused, match=r"a\.parquet"):
        retail.extract("online_retail")


def test_wider_types_of_the_same_kind_are_taken(retail: Line, folder: Path) -> None:
    customers = pa.array([17850.0, None, 13047.0])
    pq.write_table(invoices(3, CustomerID=customers), folder / "a.parquet")
    retail.land("online_retail")
    assert retail.rows("invoice_lines")["customer_id"].tolist()[0] == 17850


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("Quantity", pa.array(["1", "2", "3"]), "string"),
        ("CustomerID", pa.array([1.0, 2.5, 3.0]), "double that int64 does not hold"),
        ("InvoiceDate", pa.array([0, 0, 0], pa.timestamp("us", "UTC")), "timestamp[us, tz=UTC]"),
        ("InvoiceNo", pa.array([1, 2, 3]), "int64"),
    ],
)
def test_a_changed_type_lands_nothing(retail: Line, folder: Path, name: str, values: pa.Array, found: str) -> None:
    pq.write_table(invoices(3, **{name: values}), folder / "a.parquet")
    with pytest.raises(SchemaChanged) as caught:
        retail.extract("online_retail")
    assert caught.value.found == found
    assert "a.parquet, batch from line 1, row" in str(caught.value)
    assert retail.files() == set()


def test_a_new_column_of_a_file_lands(retail: Line, folder: Path) -> None:
    table = invoices(2).append_column("GiftWrap", pa.array([True, None]))
    pq.write_table(table.append_column("Notes", pa.array([["a"], None])), folder / "a.parquet")
    manifest = retail.land("online_retail")
    columns = manifest.entities["invoice_lines"].columns
    assert manifest.entities["invoice_lines"].new_columns == ("gift_wrap", "notes")
    assert (columns["gift_wrap"], columns["notes"]) == ("bool", "string")
    assert retail.rows("invoice_lines")["notes"][0] == '["a"]'


real = pytest.mark.skipif(not REAL.is_dir(), reason="the real invoices (../shared/data/online_retail) are absent")


@real
def test_the_real_invoices_land_as_plain_sql_counts_them(tmp_path: Path) -> None:
    retail = Line(str(tmp_path / "landing"), str(REAL))
    manifest = retail.land("online_retail")
    files = [f"{retail.landing}/{name}" for name in manifest.entities["invoice_lines"].files]
    counted = """
        select count(*), count(distinct {invoice}), count({customer}), count(distinct {customer}),
               count({description}), sum({quantity}), round(sum({quantity} * {price}), 2),
               min({date}), max({date}), count(distinct {country})
        from read_parquet(?)
    """
    theirs = counted.format(
        invoice="InvoiceNo", customer="CustomerID", description="Description", quantity="Quantity", price="UnitPrice",
        date="InvoiceDate", country="Country",
    )  # fmt: skip
    ours = counted.format(
        invoice="invoice_no", customer="customer_id", description="description", quantity="quantity",
        price="unit_price", date="invoice_date", country="country",
    )  # fmt: skip
    expected = duckdb.execute(theirs, [[str(file) for file in sorted(REAL.glob("*.parquet"))]]).fetchone()
    found = duckdb.execute(ours, [files]).fetchone()
    unchanged = retail.extract("online_retail")
    assert found == expected
    assert expected[0] > 240_000
    assert unchanged is None
    distinct = duckdb.execute(
        "select count(distinct (file, line_number)), count(distinct _row_hash) from read_parquet(?)", [files]
    ).fetchone()
    assert distinct == (expected[0], expected[0])
    assert (
        sum(len(frame) for frame in landing.batches(retail.landing, manifest.load_id, "invoice_lines")) == expected[0]
    )


@pytest.mark.slow
def test_a_large_file_streams_in_bounded_memory(tmp_path: Path, folder: Path) -> None:
    """Four times the rows may not take much more memory: pages, dlt and DuckDB hold batches, not the file."""
    peaks = []
    for name, times in (("small", 1), ("large", 4)):
        target = folder / name
        target.mkdir()
        with pq.ParquetWriter(target / "a.parquet", invoices(1).schema) as writer:
            for part in range(times * 5):
                writer.write_table(invoices(50_000, start=part * 50_000))
        script = textwrap.dedent(
            """
            import resource, sys
            sys.path[:0] = {path!r}
            from source_doubles import Line
            assert Line({landing!r}, {folder!r}).land("online_retail").rows == {rows}
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            """
        ).format(
            path=sys.path, landing=str(tmp_path / f"landing-{name}"), folder=str(target), rows=times * 250_000
        )  # fmt: skip
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 400, f"peaks of {peaks} MB"
