"""One subject against another of the same campaign: a logistic model of the difference of their texts.

Of two variants that a campaign sent to ``n`` readers each, the share of opens that goes to the first has the log-odds
``w (x1 - x2)``, which is the logarithm of the ratio of their open rates (Bradley and Terry 1952, with covariates). What
the campaign, its day and its readers do to opens is in both and cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.subject_lines import text

STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)
"""Variances of the weights' prior that are tried (``C`` of the logistic regression)."""

MOST_PRIOR_OPENS = 200.0
_FOLDS = 4


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of a variants table; ``first_share`` is the share of opens that went to the first, at equal size.

    ``weight`` is how many opens a pair is worth: a campaign with three variants has three pairs but tells two
    differences.
    """

    first: np.ndarray
    second: np.ndarray
    first_share: np.ndarray
    weight: np.ndarray


def pairs(variants: pd.DataFrame) -> Pairs:
    """Every two variants of each campaign; pairs that nobody opened are left out."""
    first, second, share, weight = [], [], [], []
    rate = ((variants["opened"] + 0.5) / (variants["delivered"] + 1.0)).to_numpy()
    delivered = variants["delivered"].to_numpy(dtype=float)
    for rows in variants.groupby("campaign_id", sort=False).indices.values():
        for place, one in enumerate(rows):
            for other in rows[place + 1 :]:
                size = 2 * delivered[one] * delivered[other] / (delivered[one] + delivered[other])
                first.append(one)
                second.append(other)
                share.append(rate[one] / (rate[one] + rate[other]))
                weight.append(size * (rate[one] + rate[other]) * 2.0 / len(rows))
    return Pairs(
        *(np.array(each, dtype=kind) for each, kind in zip((first, second, share, weight), "iiff", strict=True))
    )


def fit(inputs: object, compared: Pairs, strength: float) -> np.ndarray:
    """The weights ``w``: (inputs,). ``inputs`` is a matrix with a row for each row of the variants table."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    apart = inputs[compared.first] - inputs[compared.second]
    stack = _stacked(apart)
    answer = np.repeat([1, 0], len(compared.first))
    weight = np.concatenate([compared.weight * compared.first_share, compared.weight * (1 - compared.first_share)])
    model = LogisticRegression(C=strength, fit_intercept=False, solver="lbfgs", max_iter=2_000, tol=1e-8)
    with threadpool_limits(limits=1):
        return model.fit(stack, answer, sample_weight=weight).coef_[0]


def log_loss(difference: np.ndarray, compared: Pairs) -> float:
    """Mean cross-entropy of the opens of pairs whose predicted log-ratio is ``difference``; log 2 is chance."""
    loss = np.logaddexp(0, -difference) * compared.first_share + np.logaddexp(0, difference) * (
        1 - compared.first_share
    )
    return float(np.average(loss, weights=compared.weight))


def accuracy(difference: np.ndarray, compared: Pairs) -> float:
    """The share of pairs, by weight, whose order is as observed; a tie of the prediction counts half."""
    right = np.sign(np.round(difference, 12)) * np.sign(compared.first_share - 0.5)
    return float(np.average((right + 1) / 2, weights=compared.weight))


def folds(variants: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to measure on; no campaign is in both.

    The later campaigns from the earlier ones where there are eight or more (forward chaining); with fewer, each
    quarter of the campaigns from the others.
    """
    from sklearn.model_selection import GroupKFold, TimeSeriesSplit

    campaigns = variants["campaign_id"].unique()  # in time
    if len(campaigns) >= 2 * _FOLDS:
        for before, after in TimeSeriesSplit(_FOLDS).split(campaigns):
            told, asked = (variants["campaign_id"].isin(campaigns[each]).to_numpy() for each in (before, after))
            yield np.flatnonzero(told), np.flatnonzero(asked)
    else:
        yield from GroupKFold(min(_FOLDS, len(campaigns))).split(variants, groups=variants["campaign_id"])


@dataclass(frozen=True)
class HeldOut:
    """What models that had not seen a campaign said of it: the compared pairs, one difference each."""

    compared: Pairs
    differences: dict[float, np.ndarray]  # by strength of the prior
    history: np.ndarray  # of the simple answer: the same text's own past

    def best(self) -> float | None:
        """The strength with the least log loss; None where chance is as good."""
        losses = {strength: log_loss(each, self.compared) for strength, each in self.differences.items()}
        strength = min(losses, key=lambda each: (losses[each], each))
        return strength if losses[strength] < np.log(2) else None


def held_out(variants: pd.DataFrame) -> HeldOut:
    """Cross-validate every strength over :func:`folds`, the texts' vocabulary too."""
    parts: list[Pairs] = []
    differences: dict[float, list[np.ndarray]] = {strength: [] for strength in STRENGTHS}
    histories = []
    subjects = variants["subject"].to_numpy(dtype=object)
    for told, asked in folds(variants):
        learnt, measured = pairs(variants.iloc[told]), pairs(variants.iloc[asked])
        union = text.words_and_characters(subjects[told])
        seen, unseen = text.features(union, subjects[told]), text.features(union, subjects[asked])
        for strength in STRENGTHS:
            value = unseen @ fit(seen, learnt, strength)
            differences[strength].append(value[measured.first] - value[measured.second])
        past = history(variants.iloc[told], subjects[asked])
        histories.append(past[measured.first] - past[measured.second])
        parts.append(measured)
    compared = Pairs(
        *(
            np.concatenate([getattr(each, name) for each in parts])
            for name in ("first", "second", "first_share", "weight")
        )
    )
    return HeldOut(
        compared, {each: np.concatenate(values) for each, values in differences.items()}, np.concatenate(histories)
    )


def history(variants: pd.DataFrame, subjects: np.ndarray, prior_opens: float = 20.0) -> np.ndarray:
    """The simple answer: how the very same text did beside the others of its campaigns, log-ratio; 0 if it is new."""
    totals = variants.groupby("campaign_id")[["opened", "delivered"]].transform("sum")
    expected = variants["delivered"] * totals["opened"] / totals["delivered"]
    sums = pd.DataFrame({"subject": variants["subject"], "opened": variants["opened"], "expected": expected})
    sums = sums.groupby("subject").sum()
    ratio = np.log((sums["opened"] + prior_opens) / (sums["expected"] + prior_opens))
    return pd.Series(subjects).map(ratio).fillna(0.0).to_numpy(dtype=float)


def prior_opens(difference: np.ndarray, compared: Pairs) -> float:
    """How many opens of its own a prediction is worth, by moments: what is left of the log-ratios beyond chance.

    The log-ratio of a pair varies by ``4 / weight`` by chance alone (delta method); what it varies more is twice the
    variance of one prediction's error. At most ``MOST_PRIOR_OPENS``: a text of a new kind is predicted less well.
    """
    observed = np.log(compared.first_share / (1 - compared.first_share))
    beyond = (observed - difference) ** 2 - 4.0 / compared.weight
    variance = max(float(np.average(beyond, weights=compared.weight)) / 2.0, 1e-9)
    return float(np.clip(1.0 / variance, 5.0, MOST_PRIOR_OPENS))


def _stacked(apart: object) -> object:
    from scipy.sparse import issparse, vstack

    return vstack([apart, apart]).tocsr() if issparse(apart) else np.vstack([apart, apart])
