"""The summary says of each customer what the probability models need."""

from datetime import date

import pandas as pd
import pytest

from ml.lifetime.summary import actual, summarise


@pytest.fixture
def orders():
    rows = [
        ("a", "2011-01-01", 10.0),
        ("a", "2011-01-01", 5.0),
        ("a", "2011-01-15", 20.0),
        ("a", "2011-01-29", 40.0),
        ("b", "2011-01-08", 7.0),
        ("c", "2011-03-01", 9.0),
    ]
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_amount"])


def test_orders_of_one_day_are_one_purchase_and_the_first_is_no_repeat(orders):
    summary = summarise(orders, until=date(2011, 1, 29)).set_index("customer_id")
    assert summary.loc["a"].to_dict() == {
        "purchases": 2,
        "recency": 4.0,
        "age": 4.0,
        "repeat_spend": 30.0,
        "mean_spend": 25.0,
    }
    assert summary.loc["b"].to_dict() == {
        "purchases": 0,
        "recency": 0.0,
        "age": 3.0,
        "repeat_spend": 0.0,
        "mean_spend": 7.0,
    }


def test_the_last_day_is_inside_and_later_orders_are_not(orders):
    assert summarise(orders, until=date(2011, 1, 28)).set_index("customer_id").loc["a", "purchases"] == 1
    assert summarise(orders, until=date(2011, 1, 29)).set_index("customer_id").loc["a", "purchases"] == 2
    assert "c" not in set(summarise(orders, until=date(2011, 2, 28))["customer_id"])


def test_rows_in_any_order_give_the_same_summary(orders):
    shuffled = orders.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        summarise(shuffled, until=date(2011, 4, 1)), summarise(orders, until=date(2011, 4, 1))
    )


def test_cdnow_transactions_give_its_published_summary(cdnow_orders, cdnow_summary):
    orders = cdnow_orders.drop(columns="customer_id").rename(columns={"sample_id": "customer_id"})
    summary = summarise(orders, until=date(1997, 9, 30))
    for column, rounding in (("purchases", 0.0), ("recency", 0.005), ("age", 0.005), ("repeat_spend", 0.005)):
        assert (summary[column] - cdnow_summary[column]).abs().max() <= rounding + 1e-9, column


def test_what_happened_afterwards_begins_the_day_after(orders):
    truth = actual(orders, after=date(2011, 1, 15), until=date(2011, 3, 1))
    assert truth["purchases"].to_dict() == {"a": 1, "c": 1}
    assert truth["value"].to_dict() == {"a": 40.0, "c": 9.0}
