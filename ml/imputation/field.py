"""The model of one field, judged by cross-fitting against the statistic that the warehouse fills in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ml.imputation.columns import CATEGORIES, Encoder, common, known, text
from ml.spec import Metrics

Z = 1.645
"""The model is used where the lower bound of its gain over the statistic, one-sided 95 %, is above 0."""


@dataclass(frozen=True)
class FieldModel:
    """A fitted model for one field; ``confidence`` is that of a number, of which a model gives no probability.

    ``lows``: for each input the low end of those it learned from, None where there is none. Less counts as unknown:
    somebody who never ordered is not like the smallest buyer.
    """

    field: str
    model: Any
    lows: tuple[float | None, ...]
    confidence: float | None
    error: float | None

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(values, confidences between 0 and 1) for each row of ``Encoder.inputs``."""
        inputs = _above(inputs, self.lows)
        if self.field in CATEGORIES:
            probability = self.model.predict_proba(inputs)
            best = probability.argmax(axis=1)
            values = self.model.classes_[best].astype(object)
            return values, probability[np.arange(len(best)), best]
        return np.rint(self.model.predict(inputs)), np.full(len(inputs), self.confidence)


@dataclass(frozen=True)
class FieldResult:
    """What came of a field: a model where it is better than the statistic, and what was measured either way."""

    model: FieldModel | None
    metrics: Metrics
    importance: dict[str, float]


def fit(
    features: pd.DataFrame,
    field: str,
    encoder: Encoder,
    *,
    seed: int,
    within: str | None,
    folds: int = 3,
    minimum: int = 200,
    smallest: int = 20,
    largest: int = 50_000,
) -> FieldResult:
    """Fit on customers of whom the field is known (``largest`` at most, ``minimum`` at least).

    Each fold is predicted by a model that has not seen it, and by the statistic of the other folds (most frequent
    value, or median), within groups of the column ``within`` where the warehouse does so. A value that fewer than
    ``smallest`` customers have is never predicted, but counts as a mistake. Accuracy decides, for numbers the mean
    absolute error.

    Who lacks one field often lacks others: without a visit there is neither a preferred device nor a share of mobile
    visits. So each customer is learned from, and judged, with the inputs hidden that a random customer with this gap
    does not have; else the accuracy would be that of people who need no model.
    """
    rows = features[known(features, field)]
    metrics: Metrics = {f"{field}_known": len(rows)}
    chance = np.random.default_rng(seed)
    if len(rows) > largest:
        rows = rows.iloc[np.sort(chance.choice(len(rows), largest, replace=False))]
    inputs = encoder.inputs(rows, field)
    is_category = field in CATEGORIES
    truth = text(rows[field]) if is_category else rows[field].astype(float)
    usual = common(truth, smallest) if is_category else ()
    if len(rows) < minimum or inputs.shape[1] == 0 or (is_category and len(usual) < 2):
        return FieldResult(None, {**metrics, f"{field}_used": False}, {})
    gaps = features[~known(features, field)]
    lows = _lows(inputs)
    inputs = _above(inputs, lows)
    group = text(rows[within]).where(known(rows, within)) if within else None
    if len(gaps):
        like = chance.integers(0, len(gaps), len(rows))
        inputs[np.isnan(_above(encoder.inputs(gaps, field), lows))[like]] = np.nan
        group = group.where(known(gaps, within)[like]) if within else None
    fold = chance.permutation(len(rows)) % folds
    right, base = np.zeros(len(rows)), np.zeros(len(rows))
    names = encoder.names(field)
    lost: dict[str, float] = {}
    for number in range(folds):
        out = fold == number
        model = FieldModel(field, _fit(inputs[~out], truth[~out], field, usual, seed), lows, None, None)
        target = truth[out].to_numpy()
        right[out] = _goodness(model.predict(inputs[out])[0], target, is_category)
        base[out] = _goodness(_statistic(truth, group, ~out)[out], target, is_category)
        if number == 0:
            lost = _permuted(model, inputs[out], target, names, is_category, chance)
    gain = right - base
    lower = float(gain.mean() - Z * gain.std(ddof=1) / np.sqrt(len(gain)))
    kind, sign = ("accuracy", 1) if is_category else ("mae", -1)
    is_better = lower > 0
    metrics |= {
        f"{field}_{kind}": float(sign * right.mean()),
        f"{field}_{kind}_statistic": float(sign * base.mean()),
        f"{field}_gain_lower": lower,
        f"{field}_used": is_better,
    }
    if not is_better:
        return FieldResult(None, metrics, {})
    skill = None if is_category else float(1 - right.mean() / base.mean())
    error = None if is_category else float(-right.mean())
    fitted = FieldModel(field, _fit(inputs, truth, field, usual, seed), lows, skill, error)
    return FieldResult(fitted, metrics, lost)


def _fit(inputs: np.ndarray, truth: pd.Series, field: str, usual: Sequence[str], seed: int) -> Any:
    settings = {
        "max_iter": 40,
        "learning_rate": 0.1,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 20,
        "early_stopping": False,
        "random_state": seed,
    }
    if field in CATEGORIES:
        is_usual = truth.isin(usual).to_numpy()
        inputs, truth = inputs[is_usual], truth[is_usual].astype(str)
        model = HistGradientBoostingClassifier(**settings)
    else:
        model = HistGradientBoostingRegressor(loss="absolute_error", **settings)
    inputs = np.where(np.isnan(inputs).all(axis=0), 0.0, inputs)  # a column of nothing but gaps cannot be binned
    return model.fit(inputs, truth.to_numpy())


def _lows(inputs: np.ndarray) -> tuple[float | None, ...]:
    """The 0.5 % quantile of each input, to four significant digits: no single customer's least."""
    found = []
    for column in inputs.T:
        there = column[~np.isnan(column)]
        low = np.quantile(there, 0.005, method="inverted_cdf") if len(there) else None
        found.append(None if low is None else float(f"{low:.4g}"))
    return tuple(found)


def _above(inputs: np.ndarray, lows: Sequence[float | None]) -> np.ndarray:
    """The inputs, unknown where they are lower than ``lows``, which were rounded to four digits."""
    least = np.array([-np.inf if low is None else low - abs(low) * 1e-3 for low in lows])
    return np.where(inputs < least, np.nan, inputs)


def _goodness(guess: np.ndarray, truth: np.ndarray, is_category: bool) -> np.ndarray:
    """1 for a hit; for numbers the absolute error, below 0."""
    if is_category:
        return (np.asarray(guess, dtype=object) == truth.astype(object)).astype(float)
    return -np.abs(np.asarray(guess, dtype=float) - truth)


def _statistic(truth: pd.Series, group: pd.Series | None, learn: np.ndarray) -> np.ndarray:
    """What the warehouse would fill in for every row, from the rows ``learn``: of the group, else of everybody."""

    def of(values: pd.Series) -> Any:
        if values.dtype == float:
            return float(values.median())
        return values.value_counts().sort_index().idxmax()

    everybody = of(truth[learn])
    if group is None:
        return np.full(len(truth), everybody)
    by_group = truth[learn].groupby(group[learn]).agg(of)
    return group.map(by_group).astype(object).fillna(everybody).to_numpy()


def _permuted(
    model: FieldModel, inputs: np.ndarray, truth: np.ndarray, names: Sequence[str], is_category: bool, chance: Any
) -> dict[str, float]:
    """Input → what the model loses on a hold-out of 2,000 when it is shuffled (Breiman 2001), at least 0."""
    inputs, truth = inputs[:2_000], truth[:2_000]
    order = chance.permutation(len(inputs))
    whole = _goodness(model.predict(inputs)[0], truth, is_category).mean()
    lost = {}
    for name in dict.fromkeys(names):
        columns = [index for index, other in enumerate(names) if other == name]
        mixed = inputs.copy()
        mixed[:, columns] = inputs[order][:, columns]
        lost[name] = max(0.0, float(whole - _goodness(model.predict(mixed)[0], truth, is_category).mean()))
    return lost
