"""Which models serve, decided on a window of the past that is earlier than everything they are measured on.

The window is the end of the history that is given, as long as the horizon or as a third of the history. The
purchase model and the spend model are those with the least deviance on it (so Gamma-Gamma has to be better than
the pooled mean); trees get a weight only where they are better than the probability model beyond chance, and then
the smallest one that is as good as the best by the rule of one standard error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import xlogy

from ml.lifetime import boosted, probability
from ml.lifetime.boosted import Snapshot
from ml.lifetime.probability import FITS, Kind, Observations, Probability, PurchaseModel, SpendModel, observed
from ml.lifetime.simple import PooledRate
from ml.lifetime.summary import DAYS_A_WEEK, actual, summarise

if TYPE_CHECKING:
    from xgboost import Booster

    from ml.spec import Metrics

LEAST_WINDOW = 14
SNAPSHOTS = 4
"""Trees learn from at most so many past snapshots, half a window apart."""
CUSTOMERS = 200_000
"""What serves is chosen, and trees learn, on at most so many customers, evenly spaced in the order of their ids."""
WEIGHTS = np.round(np.arange(0.1, 1.01, 0.1), 1)
SURE = 1.645
"""The trees' gain must exceed so many of its standard errors: one-sided 95 %."""

NOTHING_LEARNED = "no weight to the boosted trees: "


@dataclass(frozen=True)
class Candidates:
    """What may be chosen from, the first of each being taken where nothing can be chosen."""

    purchases: Sequence[PurchaseModel]
    spends: Sequence[SpendModel]
    observations: Sequence[Observations]
    minimum_repeat_customers: int
    minimum_buyers: int


@dataclass(frozen=True)
class Fitted:
    """The models that serve, and what was found on the way. ``booster`` is None where its weight is zero."""

    probability: Probability
    fallback: str | None
    booster: Booster | None
    weight: float
    window: int
    metrics: Metrics


def fit(orders: pd.DataFrame, until: date, horizon: int, candidates: Candidates, seed: int) -> Fitted:
    """Choose on the last window before ``until``, then fit what was chosen on everything up to ``until``."""
    days = _window(orders, until, horizon)
    least = candidates.minimum_repeat_customers
    kind = Kind(candidates.purchases[0], candidates.spends[0], candidates.observations[0])
    metrics: Metrics = {"validation_days": days or None, "boosted_weight": 0.0}
    weight, why = 0.0, NOTHING_LEARNED + "too short a history to choose on"
    if days:
        cut = until - timedelta(days=days)
        some = _some(orders)
        kind, found = _kind(*_before_and_after(some, cut, days), days, candidates)
        metrics |= found
        weight, why, found = _weight(some, cut, days, kind, candidates, seed)
        metrics |= found
    fitted, fallback = probability.fit(summarise(orders, until=until), kind, least)
    booster = None
    if weight > 0 and not isinstance(fitted.purchases, PooledRate):
        booster = boosted.fit(_snapshots(_some(orders), until, days, kind, least), seed)
        metrics["boosted_weight"] = weight
    metrics["boosted_missing"] = None if booster is not None else why
    return Fitted(fitted, fallback, booster, weight if booster is not None else 0.0, days or horizon, metrics)


def _window(orders: pd.DataFrame, until: date, horizon: int) -> int:
    """The days of the window, 0 where the history is too short for one."""
    if orders.empty:
        return 0
    history = (until - pd.to_datetime(orders["order_date"]).min().date()).days
    days = min(horizon, history // 3)
    return days if days >= LEAST_WINDOW else 0


def _some(orders: pd.DataFrame) -> pd.DataFrame:
    customers = np.sort(orders["customer_id"].unique())
    every = -(-len(customers) // CUSTOMERS)
    return orders if every <= 1 else orders[orders["customer_id"].isin(customers[::every])]


def _before_and_after(orders: pd.DataFrame, cut: date, days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    summary = summarise(orders, until=cut)
    truth = actual(orders, after=cut, until=cut + timedelta(days=days))
    return summary, truth.reindex(summary["customer_id"]).fillna(0.0)


def _kind(summary: pd.DataFrame, truth: pd.DataFrame, days: int, candidates: Candidates) -> tuple[Kind, Metrics]:
    """The candidates with the least deviance on the window; the first ones where too little was known by then.

    Purchases are judged on all customers, spend on what those who bought spent in a purchase.
    """
    model, spend, observations = candidates.purchases[0], candidates.spends[0], candidates.observations[0]
    least, metrics = candidates.minimum_repeat_customers, {}
    bought = (truth["value"] > 0).to_numpy()
    if int((summary["purchases"] > 0).sum()) < least or bought.sum() < least:
        return Kind(model, spend, observations), metrics
    losses = {}
    for name in candidates.purchases:
        found = FITS[name](summary)
        if found.converged:
            expected = found.expected_purchases(summary, days / DAYS_A_WEEK)
            losses[name] = _poisson(truth["purchases"].to_numpy(), expected)
            metrics[f"validation_purchases_deviance_{name}"] = losses[name]
    model = min(losses, key=losses.get) if losses else model
    losses = {}
    for pair in product(candidates.spends, candidates.observations):
        part, reason = probability.fit_spend(summary, Kind(model, *pair), least)
        if reason is None:
            each = part.expected_spend(*observed(summary, pair[1]))
            losses[pair] = _gamma(truth[bought], each[bought])
            metrics[f"validation_spend_deviance_{pair[0]}_{pair[1]}"] = losses[pair]
    spend, observations = min(losses, key=losses.get) if losses else (spend, observations)
    return Kind(model, spend, observations), metrics


def _poisson(truth: np.ndarray, expected: np.ndarray) -> float:
    """The mean Poisson deviance: least for the true mean, and less swayed by heavy buyers than a squared error."""
    mu = np.maximum(expected, 1e-9)
    return float(np.mean(2 * (xlogy(truth, truth / mu) - truth + mu)))


def _gamma(truth: pd.DataFrame, expected: np.ndarray) -> float:
    """The mean gamma deviance of a purchase's value, each customer's purchases counting as often as they are."""
    weight = truth["purchases"].to_numpy(dtype=float)
    ratio = truth["value"].to_numpy() / weight / np.maximum(expected, 1e-9)
    return float(np.average(2 * (ratio - 1 - np.log(ratio)), weights=weight))


def _snapshots(orders: pd.DataFrame, until: date, days: int, kind: Kind, least: int) -> list[Snapshot]:
    """Past snapshots whose outcomes are known at ``until``, the latest first, each with as much history before it."""
    first = pd.to_datetime(orders["order_date"]).min().date()
    found = []
    for number in range(SNAPSHOTS):
        cut = until - timedelta(days=days + number * max(days // 2, 1))
        if (cut - first).days < days:
            break
        snapshot = _snapshot(orders, cut, days, kind, least)
        if snapshot is not None:
            found.append(snapshot)
    return found


def _snapshot(orders: pd.DataFrame, cut: date, days: int, kind: Kind, least: int) -> Snapshot | None:
    summary, truth = _before_and_after(orders, cut, days)
    fitted, _ = probability.fit(summary, kind, least)
    if isinstance(fitted.purchases, PooledRate):
        return None
    table = boosted.inputs(orders, summary, cut, fitted, days)
    expected, value = fitted.expected_value(summary, days), truth["value"].to_numpy()
    return Snapshot(table, expected, value, boosted.money_unit(fitted))


def _weight(
    orders: pd.DataFrame,
    cut: date,
    days: int,
    kind: Kind,
    candidates: Candidates,
    seed: int,
) -> tuple[float, str, Metrics]:
    """The trees' weight, the reason where it is zero, and the deviances of both on the window after ``cut``."""
    least = candidates.minimum_repeat_customers
    past = _snapshots(orders, cut, days, kind, least)
    buyers = sum(int((each.truth > 0).sum()) for each in past)
    if buyers < candidates.minimum_buyers:
        return 0.0, f"{NOTHING_LEARNED}{buyers} buyers in past snapshots, {candidates.minimum_buyers} are needed", {}
    now = _snapshot(orders, cut, days, kind, least)
    factor = boosted.factors(boosted.fit(past, seed), now.inputs)
    alone = boosted.deviances(now.truth, now.expected, now.unit)
    blended = {
        float(weight): boosted.deviances(now.truth, now.expected * (1 - weight + weight * factor), now.unit)
        for weight in WEIGHTS
    }
    best = min(blended, key=lambda weight: blended[weight].mean())
    gain = alone - blended[best]
    metrics = {
        "validation_value_deviance": float(alone.mean()),
        "validation_value_deviance_blended": float(blended[best].mean()),
    }
    if not gain.mean() > SURE * _standard_error(gain):
        return 0.0, f"{NOTHING_LEARNED}not better than the probability model on the validation window", metrics
    # The smallest weight that is as good as the best one but for one standard error: the window is a sample too.
    for weight, loss in blended.items():
        lost = loss - blended[best]
        if lost.mean() <= _standard_error(lost):
            return weight, "", metrics
    return best, "", metrics


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / np.sqrt(len(values))
