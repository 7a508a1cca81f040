"""Intervals by empirical likelihood: right for means of rare and unevenly weighted rewards, where Wald's are not."""

from __future__ import annotations

import numpy as np

_ITERATIONS = 100


def interval(
    top: np.ndarray, bottom: np.ndarray, extremes: list[tuple[float, float]], *, confidence: float = 0.95
) -> tuple[float, float]:
    """The values theta that the data do not reject as the root of the mean of ``top - bottom * theta``.

    ``top`` and ``bottom`` have one value per row: the root is mean(top) / mean(bottom), and ``bottom`` is 1 for a
    plain mean, the weights for a self-normalised one; ``bottom`` is never negative. Owen's likelihood
    ratio (1988) against the chi-squared distribution, with Karampatziakis, Langford and Mineiro's support (2020):
    ``extremes`` are pairs (top, bottom) that a row could have had though none may have, such as a click at the
    largest weight. They keep the interval of a log without a click from being one point. Unlike the normal
    interval it stays within what is possible, and leans to the side where the distribution does.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2

    root = float(top.sum() / bottom.sum())
    limit = float(chi2.ppf(confidence, 1))
    tops = np.r_[top, [one for one, _ in extremes]]
    bottoms = np.r_[bottom, [one for _, one in extremes]]
    values, counts = np.unique(np.column_stack([top, bottom]), axis=0, return_counts=True)

    def excess(theta: float) -> float:
        if theta == root:
            return -limit
        possible = tops - bottoms * theta
        return _ratio(values[:, 0] - values[:, 1] * theta, counts, possible.min(), possible.max()) - limit

    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    ends = []
    for end in (float(ratios.min()), float(ratios.max())):
        edge = root + (end - root) * (1 - 1e-9)
        inside = abs(edge - root) > 1e-15 and excess(edge) > 0
        ends.append(float(brentq(excess, root, edge, xtol=1e-12, rtol=1e-10)) if inside else end)
    return ends[0], ends[1]


def _ratio(values: np.ndarray, counts: np.ndarray, lowest: float, highest: float) -> float:
    """2 * max over lambda of sum of log(1 + lambda * value), with 1 + lambda * value >= 0 for all possible values."""
    if lowest >= 0 or highest <= 0:
        return np.inf
    low, high = -1 / highest, -1 / lowest
    low, high = low * (1 - 1e-12), high * (1 - 1e-12)
    at = 0.0
    for _ in range(_ITERATIONS):  # Newton's steps on a concave function, kept inside a shrinking bracket
        inner = 1 + at * values
        slope = float((counts * values / inner).sum())
        curvature = float((counts * (values / inner) ** 2).sum())
        low, high = (at, high) if slope > 0 else (low, at)
        step = at + slope / curvature if curvature > 0 else at
        following = step if low < step < high else (low + high) / 2
        if abs(following - at) <= 1e-12 * (high - low + abs(at)):
            break
        at = following
    return 2 * float((counts * np.log(np.maximum(1 + at * values, 1e-300))).sum())
