"""What the probability models overlook, learned from past snapshots by gradient boosting.

Trees correct the probability model's expected value by a factor for each customer: it is their base margin, and
their loss is the Tweedie deviance (Jorgensen 1987; power 1.5: a lump at zero and a skewed positive part), whose
minimum is the mean. Where they have nothing to say the factor is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.lifetime.probability import Probability
from ml.lifetime.summary import DAYS_A_WEEK, purchase_days

if TYPE_CHECKING:
    from xgboost import Booster

POWER = 1.5
ROUNDS = 150
TREES = {
    "objective": "reg:tweedie",
    "tweedie_variance_power": POWER,
    "tree_method": "hist",
    "max_depth": 3,
    "eta": 0.05,
    "min_child_weight": 20.0,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "lambda": 5.0,
    "base_score": 1.0,
    "nthread": 1,
}
LARGEST_FACTOR = 10.0
SMALLEST = 1e-6
"""An expectation below this share of a purchase's mean value counts as this share: the deviance takes its log."""

WINDOWS = (30, 90, 180)
INPUTS = (
    "purchases",
    "recency_days",
    "age_days",
    "mean_spend",
    "last_spend",
    "interval_mean_days",
    "interval_spread_days",
    "overdue",
    *(f"purchases_{days}d" for days in WINDOWS),
    *(f"spend_{days}d" for days in WINDOWS),
    "probability_alive",
    "expected_purchases",
    "expected_spend",
)
"""Money is in mean values of a purchase, so that a currency changes nothing."""


@dataclass(frozen=True)
class Snapshot:
    """What was known of customers at a cut, and what they spent in the window after it."""

    inputs: pd.DataFrame
    expected: np.ndarray
    truth: np.ndarray
    unit: float


def inputs(orders: pd.DataFrame, summary: pd.DataFrame, cut: date, probability: Probability, days: int) -> pd.DataFrame:
    """One row per customer of ``summary`` (made of the same orders at the same cut), columns ``INPUTS``.

    ``overdue`` is the time since the last purchase in mean intervals; what needs two purchases is missing (NaN)
    for customers with one.
    """
    history = purchase_days(orders, until=cut)
    unit = money_unit(probability)
    customer = pd.Index(summary["customer_id"]).get_indexer(history["customer_id"])
    many = len(summary)
    since = (pd.Timestamp(cut) - history["day"]).dt.days.to_numpy()
    amount = history["amount"].to_numpy() / unit
    last = np.append(customer[1:] != customer[:-1], True) if len(customer) else np.zeros(0, dtype=bool)
    purchases = summary["purchases"].to_numpy(dtype=float)
    lifetime, age = (summary[name].to_numpy() * DAYS_A_WEEK for name in ("recency", "age"))
    intervals = np.append(np.where(last[:-1], 0, since[:-1] - since[1:]), 0) if len(since) else since
    squares = np.bincount(customer, intervals.astype(float) ** 2, minlength=many)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(purchases > 0, lifetime / purchases, np.nan)
        spread = np.sqrt(np.maximum(squares / purchases - mean**2, 0.0))
        overdue = (age - lifetime) / mean
    columns = {
        "purchases": purchases,
        "recency_days": age - lifetime,
        "age_days": age,
        "mean_spend": summary["mean_spend"].to_numpy() / unit,
        "last_spend": np.bincount(customer[last], amount[last], minlength=many),
        "interval_mean_days": mean,
        "interval_spread_days": np.where(purchases > 1, spread, np.nan),
        "overdue": overdue,
    }
    for window in WINDOWS:
        recent = since < window
        columns[f"purchases_{window}d"] = np.bincount(customer[recent], minlength=many).astype(float)
        columns[f"spend_{window}d"] = np.bincount(customer[recent], amount[recent], minlength=many)
    columns["probability_alive"] = probability.probability_alive(summary)
    columns["expected_purchases"] = probability.expected_purchases(summary, days)
    columns["expected_spend"] = probability.expected_spend(summary) / unit
    return pd.DataFrame(columns, columns=list(INPUTS))


def money_unit(probability: Probability) -> float:
    """The mean value of a purchase among customers; one where there is none."""
    spend = probability.spend
    mean = getattr(spend, "population_mean", None) or getattr(spend, "mean", 0.0)
    return float(mean) or 1.0


def fit(snapshots: list[Snapshot], seed: int) -> Booster:
    """The trees, on all snapshots together; equal snapshots and seed give equal trees."""
    import xgboost

    data = xgboost.DMatrix(
        pd.concat([each.inputs for each in snapshots], ignore_index=True).to_numpy(dtype=np.float32),
        label=np.concatenate([np.maximum(each.truth, 0.0) / each.unit for each in snapshots]),
        base_margin=np.concatenate([np.log(np.maximum(each.expected / each.unit, SMALLEST)) for each in snapshots]),
        feature_names=list(INPUTS),
        nthread=1,
    )
    return xgboost.train({**TREES, "seed": seed}, data, num_boost_round=ROUNDS)


def factors(booster: Booster, table: pd.DataFrame) -> np.ndarray:
    """By how much the trees correct each customer's expected value."""
    import xgboost

    data = xgboost.DMatrix(table.to_numpy(dtype=np.float32), feature_names=list(INPUTS), nthread=1)
    data.set_base_margin(np.zeros(len(table)))
    margin = booster.predict(data, output_margin=True).astype(float) if len(table) else np.zeros(0)
    return np.clip(np.exp(margin), 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def deviances(truth: np.ndarray, expected: np.ndarray, unit: float) -> np.ndarray:
    """Each customer's Tweedie deviance (power 1.5), in mean values of a purchase; less is better."""
    y, mu = np.maximum(truth, 0.0) / unit, np.maximum(expected / unit, SMALLEST)
    return 2 * (2 * np.sqrt(mu) + 2 * y / np.sqrt(mu) - 4 * np.sqrt(y))


def gains(booster: Booster) -> dict[str, float]:
    """Each input's share of what the trees gained."""
    found: dict[str, Any] = booster.get_score(importance_type="total_gain")
    total = sum(found.values())
    return {name: float(value) / total for name, value in sorted(found.items())} if total > 0 else {}
