"""What may happen beside what is expected: quantiles of a customer's purchases and value within a horizon.

Both have a lump at zero, whose size the purchase models know exactly; what is above zero is matched by its first
two moments. Nothing is drawn at random, so a customer's interval depends on nobody else and on no seed.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from ml.lifetime.nbd import Outlook

MOST = 400
"""Where counting stops; beyond it a quantile of a count is this number."""


def purchase_quantile(outlook: Outlook, share: float) -> np.ndarray:
    """The smallest number of purchases that is not exceeded with a probability of at least ``share``.

    Those who buy at all buy once, and then a number that is NBD with the mean and the variance that are left
    (Poisson where the variance is no larger than the mean).
    """
    bought = np.maximum(1 - outlook.none, 1e-12)
    more = np.maximum(outlook.expected / bought - 1, 0.0)
    variance = (outlook.pairs + outlook.expected) / bought - (1 + more) ** 2
    excess = variance - more
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(excess > 1e-9 * (1 + more), more**2 / excess, 1e9)
    result = np.zeros(len(bought))
    open_ = np.flatnonzero(outlook.none < share)
    size, odds = size[open_], (more / (more + size + 1e-300))[open_]
    term = bought[open_] * np.exp(size * np.log1p(-odds))
    reached = outlook.none[open_] + term
    for number in range(1, MOST):
        result[open_] = number
        going = reached < share
        if not going.any():
            break
        open_, size, odds, term, reached = (part[going] for part in (open_, size, odds, term, reached))
        term = term * odds * (size + number - 1) / number
        reached = reached + term
    return result


def value_quantile(
    outlook: Outlook, mean: np.ndarray, square: np.ndarray, pair: np.ndarray, share: float
) -> np.ndarray:
    """The value that is not exceeded with the probability ``share``.

    ``mean``, ``square``, ``pair``: E[z], E[z^2] and E[z z'] of the values of a customer's purchases. The total of
    N purchases has the mean E[N] E[z] and the second moment E[N] E[z^2] + E[N (N - 1)] E[z z']; given a purchase
    it is taken as lognormal.
    """
    bought = np.maximum(1 - outlook.none, 1e-12)
    first = outlook.expected * mean / bought
    second = (outlook.expected * square + outlook.pairs * pair) / bought
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.log(np.maximum(second / first**2, 1.0))
        value = np.exp(np.log(first) - spread / 2 + np.sqrt(spread) * ndtri((share - outlook.none) / bought))
    return np.where((outlook.none < share) & (first > 0), value, 0.0)
