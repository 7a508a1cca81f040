"""From orders to what the probability models need to know of each customer."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

DAYS_A_WEEK = 7.0

COLUMNS = ("customer_id", "purchases", "recency", "age", "repeat_spend", "mean_spend")


def summarise(orders: pd.DataFrame, *, until: date) -> pd.DataFrame:
    """One row per customer who bought by ``until`` (a day, inclusive), sorted by ``customer_id``.

    ``orders`` has ``customer_id``, ``order_date`` and ``net_amount``; the orders of one day are one purchase.
    Out: ``purchases`` (repeat purchases: days with an order after the first such day), ``recency`` and ``age``
    (weeks from the first purchase to the last one, and to ``until``), ``repeat_spend`` (mean value of the
    repeat purchases, 0 without any), ``mean_spend`` (mean value of all purchases).
    """
    end = pd.Timestamp(until)
    days = purchase_days(orders, until=until)
    customers = days.groupby("customer_id", sort=True)
    first, last, count = customers["day"].min(), customers["day"].max(), customers.size()
    total = customers["amount"].sum()
    first_amount = customers["amount"].first()
    repeats = (count - 1).to_numpy()
    repeat_total = np.where(repeats > 0, total - first_amount, 0.0)
    return pd.DataFrame(
        {
            "customer_id": first.index.to_numpy(),
            "purchases": repeats,
            "recency": ((last - first).dt.days / DAYS_A_WEEK).to_numpy(),
            "age": ((end - first).dt.days / DAYS_A_WEEK).to_numpy(),
            "repeat_spend": repeat_total / np.maximum(repeats, 1),
            "mean_spend": (total / count).to_numpy(),
        },
        columns=list(COLUMNS),
    )


def purchase_days(orders: pd.DataFrame, *, until: date) -> pd.DataFrame:
    """``customer_id``, ``day`` and ``amount`` of every day on which a customer ordered by ``until``, in this order."""
    data = _days(orders)
    data = data[data["day"] <= pd.Timestamp(until)]
    return data.groupby(["customer_id", "day"], sort=True, as_index=False)["amount"].sum()


def actual(orders: pd.DataFrame, *, after: date, until: date) -> pd.DataFrame:
    """What customers really did on the days after ``after``, up to ``until``: ``purchases`` and ``value``."""
    data = _days(orders)
    data = data[(data["day"] > pd.Timestamp(after)) & (data["day"] <= pd.Timestamp(until))]
    grouped = data.groupby("customer_id", sort=True)
    return pd.DataFrame({"purchases": grouped["day"].nunique(), "value": grouped["amount"].sum()})


def days_of(orders: pd.DataFrame) -> pd.Series:
    """The day of each order, as a timestamp."""
    return pd.to_datetime(orders["order_date"]).dt.normalize()


def _days(orders: pd.DataFrame) -> pd.DataFrame:
    """Customer, day and amount of each order, in an order of their own: a sum of floats depends on it."""
    data = pd.DataFrame(
        {
            "customer_id": orders["customer_id"].to_numpy(),
            "day": days_of(orders).to_numpy(),
            "amount": orders["net_amount"].to_numpy(dtype=float),
        }
    )
    return data.sort_values(["customer_id", "day", "amount"], kind="stable")
