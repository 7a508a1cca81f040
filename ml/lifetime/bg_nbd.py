"""BG/NBD: how often a customer buys while active, and when the customer drops out.

Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model,
Marketing Science 24(2). A customer buys by a Poisson process whose rate is gamma(r, alpha) among customers, and
drops out after any purchase with a probability that is beta(a, b) among customers. Where nobody seems to drop
out, the likelihood grows towards a = 0; that boundary is the NBD model, and it is fitted as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaln, gammaln, hyp2f1, psi, roots_legendre

from ml.lifetime.likelihood import Maximum, maximise

PARAMETERS = ("r", "alpha", "a", "b")
BOUNDS = ((1e-4, 1e4), (1e-4, 1e5), (1e-6, 1e3), (1e-4, 1e5))
STARTS = ((1.0, 1.0, 1.0, 1.0), (0.25, 0.1, 0.8, 2.5), (1.0, 0.5, 0.05, 5.0))

NEGLIGIBLE = 0.01
"""Drop-out that raises the log-likelihood by less than this is not there."""


@dataclass(frozen=True)
class BgNbd:
    """A fitted model; times are in the unit of the data that it was fitted on (weeks here).

    ``a == 0`` (and ``b`` None) is the boundary: nobody drops out. ``boundary`` names the parameters that ended
    on the edge of what is allowed, as text such as ``a -> 0``.
    """

    r: float
    alpha: float
    a: float
    b: float | None
    log_likelihood: float
    converged: bool
    boundary: str | None

    def expected_purchases(self, summary: pd.DataFrame, horizon: float) -> np.ndarray:
        """Purchases that each customer is expected to make in the next ``horizon`` units of time.

        ``summary`` has ``purchases`` (repeat purchases x), ``recency`` (t_x) and ``age`` (T). Equation (10) of
        the paper, with Euler's transformation of the hypergeometric function: its terms stay near one for heavy
        buyers where the printed form overflows.
        """
        x, _, age = _columns(summary)
        if self.a == 0:
            return (self.r + x) / (self.alpha + age) * horizon
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        z = horizon / (alpha + age + horizon)
        with np.errstate(all="ignore"):
            tail = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
            alive = (a + b + x - 1) / (a - 1) * (1 - tail)
        # Where the closed form is 0/0 or loses its digits, the integral that it came from does not.
        doubtful = ~np.isfinite(alive) | (alive < 0) | (np.abs(1 - tail) < 1e-7)
        doubtful |= (abs(a - 1) < 1e-4) | (np.abs(a + b + x - 1) < 1e-4)
        if doubtful.any():
            alive[doubtful] = self._purchases_while_alive(x[doubtful], age[doubtful], horizon)
        return alive * self.probability_alive(summary)

    def probability_alive(self, summary: pd.DataFrame) -> np.ndarray:
        """The probability that each customer has not dropped out; 1 for those without a repeat purchase."""
        x, t_x, age = _columns(summary)
        if self.a == 0:
            return np.ones(len(x))
        log_odds = _log_dropped(self.a, self.b, x)
        log_odds = log_odds + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + t_x))
        return np.where(x > 0, np.exp(-np.logaddexp(0.0, log_odds)), 1.0)

    def _purchases_while_alive(self, x: np.ndarray, age: np.ndarray, horizon: float) -> np.ndarray:
        """The same expectation for a customer who is alive, integrated over time (Gauss-Legendre).

        The rate at time s, over lambda ~ gamma(r + x, alpha + T) and p ~ beta(a, b + x), is
        E[lambda exp(-lambda p s)] = (r + x)/(alpha + T) 2F1(r + x + 1, a; a + b + x; -s/(alpha + T)). Either of
        Pfaff's transformations makes the argument positive and below one; the one with the smaller exponent
        does not overflow. Where both do, drop-out hardly varies among customers, and its mean stands for it.
        """
        nodes, weights = roots_legendre(32)
        total = np.zeros(len(x))
        c, many = self.a + self.b + x, self.r + x + 1
        power = np.minimum(self.a, many)
        one, other = np.where(many > self.a, c - many, many), np.where(many > self.a, self.a, c - self.a)
        for node, weight in zip(nodes, weights, strict=True):
            u = horizon * (node + 1) / 2 / (self.alpha + age)
            with np.errstate(all="ignore"):
                total += weight * np.exp(-power * np.log1p(u)) * hyp2f1(one, other, c, u / (1 + u))
        result = (self.r + x) / (self.alpha + age) * total * horizon / 2
        p = self.a / c
        typical = -np.expm1(-(self.r + x) * np.log1p(p * horizon / (self.alpha + age))) / p
        return np.where(np.isfinite(result), result, typical)


def fit(summary: pd.DataFrame) -> BgNbd:
    """Fit by maximum likelihood.

    ``summary``: one row per customer with ``purchases`` (repeat purchases), ``recency`` (time from the first to
    the last purchase) and ``age`` (time from the first purchase to the end), in one unit of time. The answer
    depends neither on the order of the rows nor, apart from alpha, on the unit.
    """
    grouped = summary.groupby(["purchases", "recency", "age"], sort=True).size().rename("customers").reset_index()
    weight = grouped["customers"].to_numpy(dtype=float)
    x, t_x, age = _columns(grouped)
    unit = float(np.average(age, weights=weight)) or 1.0
    t_x, age = t_x / unit, age / unit
    # The likelihood is a density in time: its value changes with the unit by one factor for each purchase.
    shift = float(np.sum(weight * x) * np.log(unit))

    found = maximise(lambda point: _log_likelihood(point, x, t_x, age, weight), STARTS, BOUNDS)
    lasting = maximise(
        lambda point: _log_likelihood_lasting(point, x, age, weight), ((1.0, 1.0), (0.25, 0.1)), BOUNDS[:2]
    )
    if found.log_likelihood - lasting.log_likelihood < NEGLIGIBLE:
        r, alpha = lasting.parameters
        return BgNbd(
            r, alpha * unit, 0.0, None, lasting.log_likelihood - shift, lasting.converged, _edges(lasting, "a -> 0")
        )
    r, alpha, a, b = found.parameters
    return BgNbd(r, alpha * unit, a, b, found.log_likelihood - shift, found.converged, _edges(found))


def _edges(maximum: Maximum, *more: str) -> str | None:
    edges = list(more)
    for index in maximum.on_bound:
        low, high = BOUNDS[index]
        nearer_low = maximum.parameters[index] < np.sqrt(low * high)
        edges.append(f"{PARAMETERS[index]} -> {'0' if nearer_low else 'infinity'}")
    return ", ".join(edges) or None


def _columns(summary: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(summary[name].to_numpy(dtype=float) for name in ("purchases", "recency", "age"))


def _log_dropped(a: float, b: float, x: np.ndarray) -> np.ndarray:
    """The log of a / (b + x - 1), for those with a repeat purchase; others cannot have dropped out."""
    return np.log(a) - np.log(np.where(x > 0, b + x - 1, 1.0))


def _log_likelihood(
    point: np.ndarray, x: np.ndarray, t_x: np.ndarray, age: np.ndarray, weight: np.ndarray
) -> tuple[float, np.ndarray]:
    """Equation (6) of the paper in logs, and its gradient by the log parameters."""
    r, alpha, a, b = np.exp(point)
    bought = x > 0
    alive = -(r + x) * np.log(alpha + age)
    dropped = np.where(bought, _log_dropped(a, b, x) - (r + x) * np.log(alpha + t_x), -np.inf)
    either = np.logaddexp(alive, dropped)
    share = np.exp(dropped - either)
    value = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b) + either
    ended = np.where(bought, 1 / np.where(bought, b + x - 1, 1.0), 0.0)
    gradient = np.stack(
        [
            psi(r + x) - psi(r) + np.log(alpha)
            - (1 - share) * np.log(alpha + age) - share * np.log(alpha + t_x),
            r / alpha - (r + x) * ((1 - share) / (alpha + age) + share / (alpha + t_x)),
            psi(a + b) - psi(a + b + x) + share / a,
            psi(b + x) - psi(a + b + x) - psi(b) + psi(a + b) - share * ended,
        ]
    )  # fmt: skip
    return float(value @ weight), (gradient @ weight) * np.exp(point)


def _log_likelihood_lasting(
    point: np.ndarray, x: np.ndarray, age: np.ndarray, weight: np.ndarray
) -> tuple[float, np.ndarray]:
    """The limit a -> 0: a gamma mixture of Poisson processes that never end."""
    r, alpha = np.exp(point)
    value = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + age)
    gradient = np.stack(
        [
            psi(r + x) - psi(r) + np.log(alpha) - np.log(alpha + age),
            r / alpha - (r + x) / (alpha + age),
        ]
    )
    return float(value @ weight), (gradient @ weight) * np.exp(point)
