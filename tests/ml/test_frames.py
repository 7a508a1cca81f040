"""Feature files come in cut at as_of; deciles and tiers come out in whole shares."""

from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_rows import AS_OF, simulate_orders, write_features

from ml.errors import FeatureError
from ml.frames import customer_ranges, deciles, read_frames, tiers

ORDERS = {"customer_orders": ("customer_id", "order_date", "net_amount")}
CUSTOMERS = {"customer_features": ("customer_id", "frequency")}
INSTANT = pa.timestamp("us", tz="UTC")


@pytest.fixture
def folder(tmp_path):
    return write_features(tmp_path, simulate_orders(customers=30))


def refusal(folder, wanted, as_of=AS_OF):
    with pytest.raises(FeatureError) as refused:
        read_frames(str(folder), wanted, as_of)
    return str(refused.value)


def test_an_event_at_as_of_is_inside_and_a_microsecond_later_it_is_not(folder):
    orders = read_frames(folder, ORDERS, AS_OF)["customer_orders"]
    last = orders["ordered_at"].max().to_pydatetime()
    inside = read_frames(folder, ORDERS, last)["customer_orders"]
    before = read_frames(folder, ORDERS, last - timedelta(microseconds=1))["customer_orders"]
    assert len(inside) == len(orders)
    assert len(before) < len(inside)


def test_features_of_a_later_instant_are_refused(folder):
    message = refusal(folder, CUSTOMERS, AS_OF - timedelta(days=1))
    assert "customer_features.parquet" in message
    assert "2011-07-01" in message
    assert "2011-06-30" in message


def test_a_missing_column_is_named_with_those_that_are_there(folder):
    message = refusal(folder, {"customer_features": ("frequency", "shoe_size")})
    assert "missing shoe_size" in message
    assert "recency_days" in message


def test_a_missing_file_is_named(tmp_path):
    assert "customer_orders.parquet: no such feature file" in refusal(tmp_path, ORDERS)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "customer_orders.parquet").write_bytes(b"not parquet at all")
    assert "customer_orders.parquet: not a readable Parquet file" in refusal(tmp_path, ORDERS)


def test_a_customer_who_stands_twice_is_refused(tmp_path):
    table = pa.table({"customer_id": ["a", "a"], "frequency": [1, 2], "as_of": pa.array([AS_OF, AS_OF], INSTANT)})
    pq.write_table(table, tmp_path / "customer_features.parquet")
    assert "expected one row per customer_id, found 1 repeated" in refusal(tmp_path, CUSTOMERS)


def test_an_instant_without_a_zone_is_refused(tmp_path):
    table = pa.table({"customer_id": ["a"], "frequency": [1], "as_of": pa.array([datetime(2011, 1, 1)])})
    pq.write_table(table, tmp_path / "customer_features.parquet")
    assert "as_of: expected an instant with its zone" in refusal(tmp_path, CUSTOMERS)
    with pytest.raises(ValueError, match="expected an instant with its zone"):
        read_frames(str(tmp_path), CUSTOMERS, datetime(2011, 7, 1))


def test_decimals_become_doubles_and_rows_come_sorted(tmp_path):
    table = pa.table(
        {
            "customer_id": ["b", "a"],
            "order_id": ["2", "1"],
            "ordered_at": pa.array([AS_OF, AS_OF], INSTANT),
            "order_date": pa.array([AS_OF.date()] * 2),
            "net_amount": pa.array([Decimal("2.50"), Decimal("1.25")], pa.decimal128(18, 2)),
        }
    )
    pq.write_table(table, tmp_path / "customer_orders.parquet")
    frame = read_frames(str(tmp_path), ORDERS, AS_OF)["customer_orders"]
    assert frame["customer_id"].tolist() == ["a", "b"]
    assert frame["net_amount"].tolist() == [1.25, 2.5]


@pytest.mark.parametrize("count", [1, 7, 10, 101, 1000])
def test_deciles_are_even_tenths_and_ties_go_by_customer(count):
    customers = pd.Series([f"c{number:04d}" for number in range(count)])
    flat = pd.Series(np.ones(count))
    found = deciles(customers, flat)
    assert found.min() == 1
    assert found.max() == min(10, (count - 1) * 10 // count + 1)
    assert np.ptp(np.bincount(found, minlength=11)[1:]) <= 1
    assert (np.diff(found) >= 0).all()
    order = np.random.default_rng(1).permutation(count)
    shuffled = deciles(customers[order].reset_index(drop=True), flat)
    assert (shuffled == found[order]).all()


def test_the_best_customers_get_decile_ten_and_the_first_tier():
    customers = pd.Series([f"c{number:02d}" for number in range(10)])
    score = pd.Series(np.arange(10.0))
    assert deciles(customers, score).tolist() == list(range(1, 11))
    assert tiers(customers, score, {"high": 0.2, "medium": 0.3}, rest="low").tolist() == (
        ["low"] * 5 + ["medium"] * 3 + ["high"] * 2
    )


def test_what_came_of_an_event_later_is_not_known_yet(tmp_path):
    orders = simulate_orders(customers=60)
    folder = write_features(tmp_path / "features", orders)
    wanted = {"customer_emails": ("opened_at", "clicked_at")}
    cut = AS_OF - timedelta(days=35) + timedelta(hours=12)
    emails = read_frames(folder, wanted, cut)["customer_emails"]
    later = read_frames(folder, wanted, AS_OF)["customer_emails"].set_index("email_message_id")
    same = later.loc[emails["email_message_id"], "opened_at"].reset_index(drop=True)
    assert (emails["sent_at"] <= cut).all()
    assert emails["opened_at"].equals(same.where(same <= cut))
    assert (same > cut).any()


def test_ranges_of_customers_together_are_everybody_once(tmp_path):
    folder = write_features(tmp_path / "features", simulate_orders(customers=60))
    wanted = {"products": ("price",), "customer_features": ("frequency",), "customer_emails": ("opened_at",)}
    whole = read_frames(folder, wanted, AS_OF)
    ranges = customer_ranges(folder, wanted, 7)
    parts = [read_frames(folder, wanted, AS_OF, one) for one in ranges]
    assert ranges[0][0] is ranges[-1][1] is None
    assert len(ranges) == 9
    for frame in ("customer_features", "customer_emails"):
        assert pd.concat([part[frame] for part in parts], ignore_index=True).equals(whole[frame])
    assert all(part["products"].equals(whole["products"]) for part in parts)
