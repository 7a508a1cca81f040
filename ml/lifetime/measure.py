"""Expected against actual on days that were held out, beside carrying on as before."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.lifetime.boosted import deviances
from ml.lifetime.intervals import purchase_quantile, value_quantile
from ml.lifetime.summary import DAYS_A_WEEK, actual, days_of, summarise
from ml.spec import Curve

if TYPE_CHECKING:
    from ml.models.customer_lifetime_value import LifetimeValue
    from ml.spec import Metrics

LOW, HIGH = 0.1, 0.9
"""The ends of an interval of 80 %."""
TRACKED = 13
"""Points of the plot of cumulative purchases."""


def predicted(fitted: LifetimeValue, orders: pd.DataFrame, cut: date, end: date) -> pd.DataFrame:
    """What a model says at ``cut`` of the days up to ``end``, and what happened, one row per customer known by then.

    Value: ``truth``, ``prediction``, the interval ``low`` to ``high``, and what the probability model says alone.
    Purchases: ``purchases``, ``expected_purchases``, ``high_purchases``. ``_naive`` goes on as before.
    """
    days = (end - cut).days
    before = orders[days_of(orders) <= pd.Timestamp(cut)]
    summary = summarise(before, until=cut)
    truth = actual(orders, after=cut, until=end).reindex(summary["customer_id"]).fillna(0.0)
    model = fitted.probability
    (outlook,) = model.outlook(summary, (days,))
    spend, factor = model.expected_spend(summary), fitted.factor(before, summary, cut)
    square, pair = model.second_moments(summary)
    age = summary["age"].to_numpy()
    own_rate = summary["purchases"].to_numpy() / np.where(age > 0, age, 1.0) * days / DAYS_A_WEEK
    columns = {
        "customer_id": summary["customer_id"].to_numpy(),
        "truth": truth["value"].to_numpy(),
        "prediction": outlook.expected * spend * factor,
        "prediction_probability": outlook.expected * spend,
        "prediction_naive": own_rate * summary["mean_spend"].to_numpy(),
        "purchases": truth["purchases"].to_numpy(),
        "expected_purchases": outlook.expected,
        "expected_purchases_naive": own_rate,
        "high_purchases": purchase_quantile(outlook, HIGH),
    }
    for end_name, share in (("low", LOW), ("high", HIGH)):
        columns[end_name] = value_quantile(outlook, spend, square, pair, share) * factor
    return pd.DataFrame(columns)


def tracking(fitted: LifetimeValue, orders: pd.DataFrame, cut: date, end: date) -> pd.DataFrame:
    """Purchases of customers known at the cut, expected and actual, up to some weeks after it."""
    weeks = (end - cut).days // 7
    summary = summarise(orders, until=cut)
    points = np.unique(np.round(np.linspace(1, max(weeks, 1), min(TRACKED, max(weeks, 1)))).astype(int))
    after = _days_after(orders, summary, cut)
    return pd.DataFrame(
        {
            "week": points,
            "expected": [float(fitted.probability.expected_purchases(summary, int(week) * 7).sum()) for week in points],
            "actual": [int((after <= week * 7).sum()) for week in points],
        }
    )


def _days_after(orders: pd.DataFrame, summary: pd.DataFrame, cut: date) -> np.ndarray:
    """The days after the cut of every purchase by a customer of the summary."""
    pairs = pd.DataFrame({"customer_id": orders["customer_id"].to_numpy(), "day": days_of(orders).to_numpy()})
    pairs = pairs.drop_duplicates()
    days = (pairs["day"] - pd.Timestamp(cut)).dt.days
    return days[(days > 0) & pairs["customer_id"].isin(summary["customer_id"])].to_numpy()


def metrics(holdout: pd.DataFrame) -> Metrics:
    """Errors, ranks and coverage of a hold-out frame.

    The naive baseline goes on as before: a customer's own rate of repeat purchases, times the own mean spend.
    Calibration is expected over actual of all customers together; 1 is right. ``interval_coverage`` is the share
    of customers whose value fell into their 80 % interval, ``interval_above`` the share above it (a tenth is
    right; where nothing is spent the lower end is zero, so coverage may exceed 80 %).
    """
    truth = holdout["truth"].to_numpy()
    result: Metrics = {
        "holdout_customers": len(holdout),
        "holdout_quality": quality(holdout),
        "holdout_interval_coverage": _mean((truth >= holdout["low"] - 1e-9) & (truth <= holdout["high"] + 1e-9)),
        "holdout_interval_above": _mean(truth > holdout["high"] + 1e-9),
        "holdout_purchases_interval_above": _mean(holdout["purchases"] > holdout["high_purchases"]),
    }
    for suffix in ("", "_probability", "_naive"):
        expected = holdout[f"prediction{suffix}"]
        result[f"holdout_rank_correlation{suffix}"] = correlation(expected.rank(), holdout["truth"].rank())
        result[f"holdout_gini{suffix}"] = gini(expected.to_numpy(), truth)
        result |= _errors(f"holdout_value_{{}}{suffix}", expected, holdout["truth"])
    for suffix in ("", "_naive"):
        result |= _errors(
            f"holdout_purchases_{{}}{suffix}", holdout[f"expected_purchases{suffix}"], holdout["purchases"]
        )
    return result


def quality(holdout: pd.DataFrame) -> float | None:
    """The share of the Tweedie deviance (power 1.5) that the prediction explains, at most 1; more is better.

    It asks for both: whoever ranks well at the wrong level loses, and so does the right level for everybody alike.
    A rank correlation would not see a level, and a squared error sees little but a few heavy buyers. None where
    nobody bought.
    """
    truth = np.maximum(holdout["truth"].to_numpy(dtype=float), 0.0)
    mean = float(truth.mean()) if len(truth) else 0.0
    if mean <= 0:
        return None
    alike = deviances(truth, np.full(len(truth), mean), mean).mean()
    if alike <= 0:
        return None
    return float(1 - deviances(truth, holdout["prediction"].to_numpy(dtype=float), mean).mean() / alike)


def gini(expected: np.ndarray, truth: np.ndarray) -> float | None:
    """The area between the curve of revenue by best expected customers and chance, over the perfect ranking's."""
    truth = np.maximum(truth, 0.0)
    if len(truth) < 3 or truth.sum() <= 0:
        return None
    areas = [_area(_captured(by, truth)) for by in (expected, truth)]
    return float(areas[0] / areas[1]) if areas[1] > 0 else None


def curves(holdout: pd.DataFrame, tracking: pd.DataFrame) -> dict[str, Curve]:
    """Calibration by tenths of customers, revenue captured by the best, and cumulative purchases by week."""
    names = {"model": "prediction", "carrying on as before": "prediction_naive", "perfect": "truth"}
    captured = {
        title: _points(_captured(holdout[name].to_numpy(), holdout["truth"].to_numpy()))
        for title, name in names.items()
    }
    order = np.argsort(holdout["prediction"].to_numpy(), kind="stable")
    tenths = [part for part in np.array_split(order, 10) if len(part)]
    calibration = [
        (float(holdout["prediction"].to_numpy()[part].mean()), float(holdout["truth"].to_numpy()[part].mean()))
        for part in tenths
    ]
    weeks = tracking["week"].astype(float)
    return {
        "calibration": Curve(
            "Expected and actual value by tenths of customers", "expected", "actual", {"model": calibration}, True
        ),
        "captured_revenue": Curve(
            "Revenue from the best customers", "share of customers", "share of revenue", captured, True
        ),
        "tracking": Curve(
            "Purchases after the cut, all customers together",
            "week",
            "cumulative purchases",
            {name: list(zip(weeks, tracking[name].astype(float), strict=True)) for name in ("expected", "actual")},
        ),
    }


def correlation(one: pd.Series, other: pd.Series) -> float | None:
    """Pearson's correlation, or None where one of the two does not vary."""
    if len(one) < 3 or one.nunique() < 2 or other.nunique() < 2:
        return None
    return float(np.corrcoef(one.to_numpy(dtype=float), other.to_numpy(dtype=float))[0, 1])


def _errors(name: str, expected: pd.Series, truth: pd.Series) -> Metrics:
    error, total = (expected - truth).to_numpy(), float(truth.sum())
    return {
        name.format("mae"): _mean(np.abs(error)),
        name.format("rmse"): float(np.sqrt(np.mean(error**2))) if len(error) else None,
        name.format("correlation"): correlation(expected, truth),
        name.format("calibration"): float(expected.sum()) / total if total > 0 else None,
    }


def _mean(values: np.ndarray | pd.Series) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _captured(by: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The share of revenue that the best customers bring, one more customer each."""
    total = np.cumsum(truth[np.argsort(-by, kind="stable")])
    return np.append(0.0, total / total[-1]) if len(total) and total[-1] > 0 else np.zeros(len(truth) + 1)


def _area(captured: np.ndarray) -> float:
    return float(np.trapezoid(captured, dx=1 / (len(captured) - 1)) - 0.5)


def _points(captured: np.ndarray, steps: int = 20) -> list[tuple[float, float]]:
    places = np.round(np.linspace(0, len(captured) - 1, steps + 1)).astype(int)
    return [(float(place) / max(len(captured) - 1, 1), float(captured[place])) for place in places]
