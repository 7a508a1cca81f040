"""NBD: nobody ever leaves. The boundary that BG/NBD and Pareto/NBD share, and what a model says of the future.

Ehrenberg (1959), The Pattern of Consumer Purchases. A customer buys by a Poisson process whose rate is
gamma(r, alpha) among customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, psi

from ml.lifetime.histories import Histories
from ml.lifetime.likelihood import Maximum, maximise_on_many

BOUNDS = ((1e-4, 1e4), (1e-4, 1e5))
STARTS = ((1.0, 1.0), (0.25, 0.1))

NEGLIGIBLE = 0.01
"""Customers leaving is not there if it raises the log-likelihood by less than this."""


@dataclass(frozen=True)
class Outlook:
    """The number N of purchases of each customer within a horizon: E[N], E[N(N - 1)] and P(N = 0)."""

    expected: np.ndarray
    pairs: np.ndarray
    none: np.ndarray


def outlook(shape: np.ndarray, rate: np.ndarray, horizon: float) -> Outlook:
    """Of customers who never leave and whose rate is gamma(shape, rate)."""
    expected = shape / rate * horizon
    return Outlook(expected, expected**2 * (shape + 1) / shape, np.exp(-shape * np.log1p(horizon / rate)))


def fit(histories: Histories) -> Maximum:
    """r and alpha by maximum likelihood, alpha in the unit of the histories."""
    return maximise_on_many(lambda data: lambda point: _log_likelihood(point, data), histories, STARTS, BOUNDS)


def _log_likelihood(point: np.ndarray, data: Histories) -> tuple[float, np.ndarray]:
    """The log-likelihood and its gradient by the log parameters."""
    r, alpha = np.exp(point)
    counts, place = np.unique(data.purchases, return_inverse=True)
    log_age, log_rise, slope = np.log(alpha + data.age), gammaln(r + counts), psi(r + counts)
    value = (log_rise - gammaln(r))[place] + r * np.log(alpha) - (r + data.purchases) * log_age
    gradient = np.stack(
        [
            (slope - psi(r))[place] + np.log(alpha) - log_age,
            r / alpha - (r + data.purchases) / (alpha + data.age),
        ]
    )
    return float(value @ data.weight), (gradient @ data.weight) * np.exp(point)
