"""Whether one thing is better than another: intervals of a difference by resampling units (Efron and Tibshirani 1993).

A unit is what was drawn independently, mostly a customer: rows of one customer belong together. Both sides are
measured on the same resampled units (paired), so what units have in common cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

_CELLS = 4_000_000
"""How many resampled positions are held at once: 32 MB."""

_DEFINED = 0.9
"""The share of draws on which a statistic has to be defined."""


def difference_interval(
    one: np.ndarray, other: np.ndarray, *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """``(difference, lower, upper)`` of the mean of ``one`` minus the mean of ``other``, both one value per unit.

    The interval is two-sided, bias-corrected and accelerated (BCa, Efron 1987): skewed values, such as money, move
    both ends. ``lower`` above 0 is the promise that ``one`` is better. Equal arguments give an equal interval.
    Raises ValueError where the lengths differ, there is no unit, or a value is not finite.
    """
    from scipy.stats import norm

    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if one.shape != other.shape or one.ndim != 1 or one.size == 0:
        raise ValueError(
            f"difference_interval: expected one value per unit on both sides, found {one.shape}, {other.shape}"
        )
    values = one - other
    if not np.isfinite(values).all():
        raise ValueError(f"difference_interval: {int((~np.isfinite(values)).sum())} differences are not finite")
    _check(confidence, draws)
    mean = float(values.mean())
    apart = values - mean
    spread = float((apart**2).sum())
    if spread == 0:
        return mean, mean, mean
    means = np.concatenate([values[rows].mean(axis=1) for rows in _resamples(values.size, draws, seed)])
    below = np.clip(((means < mean).sum() + (means <= mean).sum()) / (2 * draws), 0.5 / draws, 1 - 0.5 / draws)
    bias, acceleration = norm.ppf(below), float((apart**3).sum()) / (6 * spread**1.5)
    ends = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    lower, upper = np.quantile(means, norm.cdf(bias + ends / (1 - acceleration * ends)))
    return mean, float(lower), float(upper)


def paired_interval(
    statistic: Callable[[np.ndarray], tuple[float, float]],
    units: int,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """``(difference, lower, upper)`` of a statistic that is no mean, such as the area under a curve.

    ``statistic`` gets positions of units (0 to ``units`` - 1, some more than once) and returns the new and the old
    value on them. The interval is the two-sided percentile interval of new minus old. Draws on which a side is not
    a number (one class only) are left out; ValueError where that is more than one in ten, where all units
    together have no value, or where there is no unit.
    """
    if units < 1:
        raise ValueError("paired_interval: expected at least one unit, found none")
    _check(confidence, draws)
    new, old = statistic(np.arange(units))
    difference = float(new) - float(old)
    if not np.isfinite(difference):
        raise ValueError(f"paired_interval: on all units the new value is {new} and the old one {old}")
    drawn = np.array(
        [np.subtract(*statistic(rows)) for block in _resamples(units, draws, seed) for rows in block], dtype=float
    )
    defined = drawn[np.isfinite(drawn)]
    if defined.size < _DEFINED * draws:
        raise ValueError(
            f"paired_interval: the statistic has a value on {defined.size} of {draws} draws; there are too few units"
        )
    lower, upper = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return difference, float(lower), float(upper)


def _check(confidence: float, draws: int) -> None:
    if not 0 < confidence < 1 or draws < 1:
        raise ValueError(f"expected a confidence between 0 and 1 and a draw or more, found {confidence} and {draws}")


def _resamples(units: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of resampled positions, ``(rows, units)``, as many rows together as there are draws."""
    chance = np.random.default_rng(seed)
    for start in range(0, draws, step := max(1, _CELLS // units)):
        yield chance.integers(0, units, (min(step, draws - start), units))
