"""Who is selected, and how well the model serves them, by group: a report, and a gate that judges with confidence.

Selection: the lowest group's rate over the highest's, four fifths or more (EEOC Uniform Guidelines 1978, 29 CFR
1607.4 D). Quality: the gap between the best and the worst served group. What chance alone may have made does not
block; the report says that it is undecided.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.config import FairnessGate
from ml.ranking import roc_auc

UNKNOWN, OTHER = "unknown", "other groups"
RESAMPLES = 200
RESAMPLED = 20_000
"""Customers of a group, at most, on whom its quality is measured."""

Quality = Callable[[pd.DataFrame], float | None]
"""Rows with ``truth`` and ``prediction`` → one number, more is better; None where it cannot be measured."""


@dataclass(frozen=True)
class FairnessReport:
    """``groups``: one row per grouping and group that may be shown; ``comparisons``: one per grouping.

    ``passes`` is False where a bar is missed beyond doubt; ``reason`` says which, by how much, and what is undecided.
    """

    groups: pd.DataFrame
    comparisons: pd.DataFrame
    passes: bool
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; what could not be measured is None."""
        return {
            "groups": _records(self.groups),
            "comparisons": _records(self.comparisons),
            "passes": self.passes,
            "reason": self.reason,
        }


def report(
    frame: pd.DataFrame, groupings: Sequence[str], gate: FairnessGate, quality: Quality | None = None
) -> FairnessReport:
    """Judge ``frame``: one row per customer, ``customer_id``, ``selected`` (bool) and the columns of ``groupings``.

    With ``quality`` also ``truth`` and ``prediction``; rows without a truth count for selection only. A group below
    the gate's minimum goes into "other groups", and the smallest shown one with it while the others together are
    below it too, since the total would give them away. Missing values are shown as "unknown" and not compared. One
    group left: nothing to compare.
    """
    repeated = int(frame["customer_id"].duplicated().sum())
    if repeated:
        raise ValueError(f"fairness: expected one row per customer, found {repeated} repeated; count each of them once")
    frame = frame.sort_values("customer_id", kind="stable")
    groups, comparisons, misses, doubts = [], [], [], []
    for grouping in groupings:
        shown = merged(frame[grouping], gate.minimum_group)
        rows = [_measure(grouping, str(name), part, quality) for name, part in frame.groupby(shown)]
        compared, missed, doubtful = _compare(grouping, rows, gate)
        groups += rows
        comparisons.append(compared)
        misses += missed
        doubts += doubtful
    reason = "; ".join(misses + doubts) or "every group reaches the bars, or there is nothing to compare"
    return FairnessReport(pd.DataFrame(groups), pd.DataFrame(comparisons), not misses, reason)


def merged(values: pd.Series, minimum: int) -> pd.Series:
    """Group names that may be shown: missing ones are "unknown", small ones "other groups"."""
    names = values.astype(object).where(values.notna(), UNKNOWN).map(str)
    sizes = names.value_counts().sort_index().sort_values(kind="stable")
    small = list(sizes[sizes < minimum].index)
    while small and sizes[small].sum() < minimum and len(small) < len(sizes):
        small = list(sizes.index[: len(small) + 1])
    return names.where(~names.isin(small), OTHER)


def auc(rows: pd.DataFrame) -> float | None:
    """The area under the ROC curve; None with one class only."""
    return roc_auc(rows["truth"].to_numpy(), rows["prediction"].to_numpy())


def calibration(rows: pd.DataFrame) -> float | None:
    """How far the mean prediction is from the mean truth, as a share of it and below 0; 0 is best."""
    total = float(rows["truth"].sum())
    return -abs(float(rows["prediction"].sum()) / total - 1) if total > 0 else None


def negative_mae(rows: pd.DataFrame) -> float | None:
    """The mean absolute error, below 0 so that more is better."""
    return -float((rows["prediction"] - rows["truth"]).abs().mean()) if len(rows) else None


def _measure(grouping: str, name: str, rows: pd.DataFrame, quality: Quality | None) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "grouping": grouping,
        "group": name,
        "customers": len(rows),
        "selected": int(rows["selected"].sum()),
        "selection_rate": float(rows["selected"].mean()),
        "quality": None,
        "quality_error": None,
    }
    if quality is None:
        return measured
    known = rows[rows["truth"].notna()]
    chance = np.random.default_rng(zlib.crc32(f"{grouping} {name}".encode()))
    if len(known) > RESAMPLED:
        known = known.iloc[np.sort(chance.choice(len(known), RESAMPLED, replace=False))]
    measured["quality"] = quality(known) if len(known) else None
    if measured["quality"] is not None:
        draws = [quality(known.iloc[chance.integers(0, len(known), len(known))]) for _ in range(RESAMPLES)]
        values = [draw for draw in draws if draw is not None]
        measured["quality_error"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return measured


def _compare(
    grouping: str, rows: list[dict[str, Any]], gate: FairnessGate
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The extremes of a grouping; what is missed beyond doubt; what is missed, but may be chance."""
    from scipy.stats import norm

    known = [row for row in rows if row["group"] != UNKNOWN]  # of whom nothing is known is no group of people
    pairs = list(itertools.combinations(known, 2))
    z = float(norm.ppf(1 - (1 - gate.confidence) / max(len(pairs), 1)))  # Bonferroni: the extremes are picked
    found: dict[str, Any] = {"grouping": grouping, "groups": len(rows), "selection_ratio": None, "quality_gap": None}
    missed, doubtful = [], []
    if pairs:
        low, high = (pick(known, key=lambda row: row["selection_rate"]) for pick in (min, max))
        ratio = low["selection_rate"] / high["selection_rate"] if high["selection_rate"] > 0 else 1.0
        bound = min(_ratio_bound(one, other, z) for one, other in pairs)
        found |= {"selection_ratio": ratio, "selection_ratio_upper": bound}
        if ratio < gate.minimum_selection_ratio:
            words = f"{grouping}: {low['group']} is selected {ratio:.2f} times as often as {high['group']}"
            words += f", {gate.minimum_selection_ratio:g} is the least"
            is_sure = bound < gate.minimum_selection_ratio
            (missed if is_sure else doubtful).append(words if is_sure else f"{words} (undecided: may be chance)")
    served = [row for row in known if row["quality"] is not None and row["quality_error"] is not None]
    if len(served) > 1:
        worst, best = (pick(served, key=lambda row: row["quality"]) for pick in (min, max))
        gap = best["quality"] - worst["quality"]
        bound = max(
            abs(one["quality"] - other["quality"]) - z * float(np.hypot(one["quality_error"], other["quality_error"]))
            for one, other in itertools.combinations(served, 2)
        )
        found |= {"quality_gap": gap, "quality_gap_lower": max(bound, 0.0)}
        if gate.maximum_quality_gap is not None and gap > gate.maximum_quality_gap:
            words = f"{grouping}: quality {worst['quality']:.3f} for {worst['group']}, {best['quality']:.3f} for"
            words += f" {best['group']}, a gap of {gate.maximum_quality_gap:g} is the most"
            is_sure = bound > gate.maximum_quality_gap
            (missed if is_sure else doubtful).append(words if is_sure else f"{words} (undecided: may be chance)")
    return found, missed, doubtful


def _ratio_bound(one: dict[str, Any], other: dict[str, Any], z: float) -> float:
    """The upper confidence bound of the lower over the higher selection rate, on the log scale (Katz et al. 1978).

    Half a customer is added to each count, so that a rate of 0 has a bound too (Pettigrew et al. 1986).
    """
    low, high = sorted((one, other), key=lambda row: row["selection_rate"])
    selected = np.array([low["selected"], high["selected"]]) + 0.5
    customers = np.array([low["customers"], high["customers"]]) + 0.5
    error = np.sqrt((1 / selected - 1 / customers).sum())
    rates = selected / customers
    return float(rates[0] / rates[1] * np.exp(z * error))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): None if value is None or value != value else value for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
