"""Variants in flight: how many of the next readers get which, from what the first ones did (Thompson 1933)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.special import betainc, betaincinv

from ml.lots import lots

_POINTS = 1_001


def allocation(
    opened: np.ndarray, delivered: np.ndarray, prior: tuple[np.ndarray, np.ndarray], *, least: float = 0.02
) -> np.ndarray:
    """The share of the next mails for each variant: the chance that it is the best of all, (variants,), adding to 1.

    ``opened`` of ``delivered`` mails each are known; ``prior`` has the two parameters of each open rate's Beta
    distribution. Thompson sampling draws a rate for each variant and takes the highest; its chances are integrated
    here, so nothing is left to draws: P(i) = integral of f_i times the product of F_j over the others. Each variant
    keeps ``least``, so that every propensity is above 0. Raises ValueError where counts are impossible.
    """
    opened, delivered = np.asarray(opened, dtype=float), np.asarray(delivered, dtype=float)
    if opened.shape != delivered.shape or (opened < 0).any() or (opened > delivered).any():
        raise ValueError(
            f"allocation: expected 0 <= opened <= delivered, found {opened.tolist()} of {delivered.tolist()}"
        )
    count = len(opened)
    if not 0 <= least * count <= 1:
        raise ValueError(f"allocation: {count} variants cannot each keep {least}; lower `least`")
    a, b = prior[0] + opened, prior[1] + delivered - opened
    low = max(float(betaincinv(a, b, 1e-9).min()), 1e-12)
    high = min(float(betaincinv(a, b, 1 - 1e-9).max()), 1 - 1e-12)
    rate = np.linspace(low, high, _POINTS)
    below = betainc(a, b, rate[:, None])
    mass = np.diff(below, axis=0)
    middle = (below[1:] + below[:-1]) / 2
    chances = np.array([(mass[:, i] * np.delete(middle, i, axis=1).prod(axis=1)).sum() for i in range(count)])
    return (1 - least * count) * chances / chances.sum() + least


def assign(customer_id: Iterable[str], campaign_id: str, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variant that each customer gets, and the propensity to log with it: (customers,) each.

    A customer's lot depends on the customer and the campaign alone. Who has been assigned keeps the variant: ask
    only for customers who have none yet.
    """
    drawn = lots(customer_id, f"subject|{campaign_id}")[:, 0]
    variant = np.minimum(np.searchsorted(np.cumsum(shares), drawn, side="right"), len(shares) - 1)
    return variant, np.asarray(shares)[variant]
