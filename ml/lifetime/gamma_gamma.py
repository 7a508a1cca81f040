"""Gamma-Gamma: what a customer spends in a purchase.

Fader and Hardie (2013), The Gamma-Gamma Model of Monetary Value (brucehardie.com/notes/025). A customer's
purchases are gamma(p, nu), and nu is gamma(q, v) among customers; how much and how often are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, psi

from ml.lifetime.likelihood import maximise

PARAMETERS = ("p", "q", "v")
BOUNDS = ((1e-3, 1e5), (1e-3, 1e4), (1e-6, 1e6))
STARTS = ((2.0, 2.0, 0.5), (6.0, 4.0, 0.5), (0.5, 5.0, 5.0))

LEAST_TAIL = 0.25
"""How far above two, where a variance becomes infinite, the shape of a customer's spend is kept for intervals."""


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model; ``v`` is in the currency of the data."""

    p: float
    q: float
    v: float
    log_likelihood: float
    converged: bool
    boundary: str | None

    @property
    def population_mean(self) -> float:
        """What a purchase of an unknown customer is worth, p v / (q - 1); infinite where q <= 1."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("inf")

    def expected_spend(self, purchases: np.ndarray, mean_spend: np.ndarray) -> np.ndarray:
        """The expected value of a customer's next purchase.

        Shrinks the mean of ``purchases`` observed values towards the population's, the more the fewer there
        are; with none observed it is the population's mean. Equation (5) of the note.
        """
        seen = self.p * np.asarray(purchases, dtype=float)
        return self.p * self.v / (seen + self.q - 1) + seen / (seen + self.q - 1) * np.asarray(mean_spend, float)

    def second_moments(self, purchases: np.ndarray, mean_spend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E[z^2] of a customer's next purchase, and E[z z'] of two of them.

        Given what was observed, nu is gamma(q + p x, v + x times the mean). Where E[nu^-2] is infinite (heavy
        tails and nothing observed) it is taken at the shape ``2 + LEAST_TAIL``.
        """
        seen = np.asarray(purchases, dtype=float)
        shape = np.maximum(self.q + self.p * seen, 2 + LEAST_TAIL)
        rate = self.v + seen * np.asarray(mean_spend, dtype=float)
        inverse = rate**2 / ((shape - 1) * (shape - 2))
        return self.p * (self.p + 1) * inverse, self.p**2 * inverse


def fit(purchases: np.ndarray, mean_spend: np.ndarray) -> GammaGamma:
    """Fit by maximum likelihood to customers with at least one observed purchase of a positive mean value.

    ``purchases``: how many values the mean is of; ``mean_spend``: that mean. Raises ``ValueError`` otherwise.
    """
    x = np.asarray(purchases, dtype=float)
    z = np.asarray(mean_spend, dtype=float)
    if not len(x) or (x < 1).any() or (z <= 0).any():
        raise ValueError("Gamma-Gamma: expected customers with observed purchases and a positive mean spend")
    order = np.lexsort((z, x))  # sums of floats depend on their order: rows in any order give the same bits
    x, z = x[order], z[order]
    unit = float(z.mean())
    found = maximise(lambda point: _log_likelihood(point, x, z / unit), STARTS, BOUNDS)
    p, q, v = found.parameters
    edges = [f"{PARAMETERS[index]} -> {'0' if found.parameters[index] < 1 else 'infinity'}" for index in found.on_bound]
    return GammaGamma(
        p, q, v * unit, found.log_likelihood - len(z) * float(np.log(unit)), found.converged, ", ".join(edges) or None
    )


def _log_likelihood(point: np.ndarray, x: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
    """Equation (1a) of the note in logs, and its gradient by the log parameters."""
    p, q, v = np.exp(point)
    total = x * z
    log_sum = np.log(v + total)
    value = (
        gammaln(p * x + q) - gammaln(p * x) - gammaln(q)
        + q * np.log(v) + (p * x - 1) * np.log(z) + p * x * np.log(x) - (p * x + q) * log_sum
    )  # fmt: skip
    gradient = np.array(
        [
            np.sum(x * (psi(p * x + q) - psi(p * x) + np.log(total) - log_sum)),
            np.sum(psi(p * x + q) - psi(q) + np.log(v) - log_sum),
            np.sum(q / v - (p * x + q) / (v + total)),
        ]
    )
    return float(np.sum(value)), gradient * np.exp(point)
