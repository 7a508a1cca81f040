"""How much a customer's own counts weigh beside everybody's: strengths of priors by maximum marginal likelihood."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

_BOUNDS = (np.log(0.3), np.log(3_000.0))


def dirichlet_strength(counts: np.ndarray, mean: np.ndarray) -> float:
    """The strength ``a`` of a Dirichlet prior ``a mean`` of counts, (people, kinds), in events.

    Maximises the Dirichlet-multinomial likelihood (Minka 2000, equation 53) over ``a`` alone; its upper bound,
    3,000, where people do not differ.
    """
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return float(np.exp(_BOUNDS[1]))
    total = counts.sum(axis=1)

    def loss(log_strength: float) -> float:
        strength = np.exp(log_strength)
        alpha = strength * mean
        own = (gammaln(counts + alpha) - gammaln(alpha)).sum()
        return -float((gammaln(strength) - gammaln(total + strength)).sum() + own)

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-4}).x))


def gamma_strength(observed: np.ndarray, expected: np.ndarray) -> float:
    """The strength ``k`` of a Gamma(k, k) prior on the ratio of observed to expected counts, one value a person.

    Maximises the negative binomial likelihood; the estimate of a ratio is then ``(observed + k) / (expected + k)``.
    """
    told = expected > 0
    observed, expected = observed[told], expected[told]
    if not len(observed):
        return float(np.exp(_BOUNDS[1]))

    def loss(log_strength: float) -> float:
        k = np.exp(log_strength)
        return -float(
            (gammaln(observed + k) - gammaln(k) + k * np.log(k / (expected + k))).sum()
            + (observed * np.log(expected / (expected + k))).sum()
        )

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-4}).x))
