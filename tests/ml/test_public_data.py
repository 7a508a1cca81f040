"""Public data become the warehouse's frames, and the bars on them hold where the data is there."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from benchmarks.ml import propensity
from benchmarks.ml.data import online_retail

ROWS = [
    ("1", "x", "MUG", 2, datetime(2011, 1, 5, 10, 0), 1.5, 7.0),
    ("1", "y", "LAMP", 1, datetime(2011, 1, 5, 10, 0), 4.0, 7.0),
    ("C2", "x", "MUG", -2, datetime(2011, 1, 6, 10, 0), 1.5, 7.0),
    ("A3", "B", "Adjust bad debt", 1, datetime(2011, 1, 6, 10, 0), 90.0, 7.0),
    ("4", "x", "MUG", 1, datetime(2011, 6, 6, 10, 0), 1.5, None),
    ("5", "x", "MUG", 3, datetime(2011, 6, 6, 10, 0), 0.0, 8.0),
    ("6", "x", "BIG MUG", 3, datetime(2011, 6, 6, 10, 0), 1.75, 8.0),
]
COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]


def write(path, rows):
    data = pd.DataFrame(rows, columns=COLUMNS)
    data.assign(InvoiceDate=data["InvoiceDate"].astype("datetime64[us]")).to_parquet(path)


@pytest.fixture
def frames(tmp_path):
    """The set in two files, of which the second repeats an invoice of the first; and a file of something else."""
    write(tmp_path / "a.parquet", ROWS[:5])
    write(tmp_path / "b.parquet", ROWS[:2] + ROWS[5:])
    pd.DataFrame({"other": [1]}).to_parquet(tmp_path / "0.parquet")
    return online_retail(tmp_path)


def test_purchases_of_known_customers_are_left(frames):
    orders = frames["customer_orders"].set_index("order_id")
    assert sorted(orders.index) == ["1", "6"]
    assert orders["gross_amount"].to_dict() == {"1": 7.0, "6": 5.25}
    assert orders["item_count"].to_dict() == {"1": 3, "6": 3}
    assert len(frames["customer_order_lines"]) == 3


def test_london_time_becomes_utc_in_winter_and_in_summer(frames):
    orders = frames["customer_orders"].set_index("order_id")["ordered_at"]
    assert orders["1"] == datetime(2011, 1, 5, 10, tzinfo=UTC)
    assert orders["6"] == datetime(2011, 6, 6, 9, tzinfo=UTC)


def test_a_product_has_its_latest_name_and_price(frames):
    mug = frames["products"].set_index("product_id").loc["x"]
    assert (mug["product_name"], mug["price"]) == ("BIG MUG", 1.75)
    assert mug["created_at"] == datetime(2011, 1, 5, 10, tzinfo=UTC)


def test_a_folder_without_the_set_is_named(tmp_path, capsys):
    assert propensity.main(["--data", str(tmp_path), "--output", str(tmp_path / "rows.json")]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.slow
def test_every_bar_on_online_retail_is_reached(real_data):
    rows = propensity.measure(real_data / "online_retail")
    assert [row["what"] for row in rows if not row["holds"]] == []
