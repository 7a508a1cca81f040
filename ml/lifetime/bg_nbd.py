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

from ml.lifetime import nbd
from ml.lifetime.histories import Histories, columns, group
from ml.lifetime.likelihood import edges, maximise_on_many
from ml.lifetime.nbd import Outlook

PARAMETERS = ("r", "alpha", "a", "b")
BOUNDS = ((1e-4, 1e4), (1e-4, 1e5), (1e-6, 1e3), (1e-4, 1e5))
STARTS = ((1.0, 1.0, 1.0, 1.0), (0.25, 0.1, 0.8, 2.5), (1.0, 0.5, 0.05, 5.0))


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

    def expected_purchases(
        self, summary: pd.DataFrame, horizon: float, alive_now: np.ndarray | None = None
    ) -> np.ndarray:
        """Purchases that each customer is expected to make in the next ``horizon`` units of time.

        ``summary`` has ``purchases`` (repeat purchases x), ``recency`` (t_x) and ``age`` (T). Equation (10) of
        the paper, with Euler's transformation of the hypergeometric function: its terms stay near one for heavy
        buyers where the printed form overflows. ``alive_now`` is :meth:`probability_alive` where it is known.
        """
        x, _, age = columns(summary)
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
        return alive * (self.probability_alive(summary) if alive_now is None else alive_now)

    def probability_alive(self, summary: pd.DataFrame) -> np.ndarray:
        """The probability that each customer has not dropped out; 1 for those without a repeat purchase."""
        x, t_x, age = columns(summary)
        if self.a == 0:
            return np.ones(len(x))
        log_odds = _log_dropped(self.a, self.b, x)
        log_odds = log_odds + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + t_x))
        return np.where(x > 0, np.exp(-np.logaddexp(0.0, log_odds)), 1.0)

    def outlook(self, summary: pd.DataFrame, horizons: tuple[float, ...]) -> list[Outlook]:
        """What each customer will buy within each horizon, as :class:`Outlook`.

        The mean is exact, and so is the chance of no purchase: one who has not bought cannot have dropped out.
        The second moment integrates E[2 s lambda^2 (1 - p) exp(-lambda p s)] over time and lambda ~ gamma(r + x,
        alpha + T) exactly, and over p ~ beta(a, b + x) by Gauss's rule with two nodes.
        """
        x, _, age = columns(summary)
        shape, rate = self.r + x, self.alpha + age
        if self.a == 0:
            return [nbd.outlook(shape, rate, horizon) for horizon in horizons]
        alive = self.probability_alive(summary)
        nodes = two_nodes(self.a, self.b + x)
        result = []
        for horizon in horizons:
            expected = self.expected_purchases(summary, horizon, alive)
            once, twice = np.zeros(len(x)), np.zeros(len(x))
            for p, weight in nodes:
                u = p * horizon / rate
                lasts = np.exp(-shape * np.log1p(u))
                once += weight * (1 - lasts) / p
                # Cancels in its digits where u is small, where the first term of its series is enough.
                ended = np.where(
                    u * shape < 1e-4, shape * (shape + 1) * u**2 / 2, 1 - lasts - shape * u / (1 + u) * lasts
                )
                twice += weight * 2 * (1 - p) / p**2 * ended
            with np.errstate(invalid="ignore", divide="ignore"):
                pairs = np.where(alive > 0, expected**2 / alive * (twice / once**2), 0.0)
            none = 1 - alive * -np.expm1(-shape * np.log1p(horizon / rate))
            result.append(Outlook(expected, pairs, none))
        return result

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
    histories = group(summary)
    found = maximise_on_many(lambda data: lambda point: _log_likelihood(point, data), histories, STARTS, BOUNDS)
    lasting = nbd.fit(histories)
    unit, shift = histories.unit, histories.log_unit_shift
    if found.log_likelihood - lasting.log_likelihood < nbd.NEGLIGIBLE:
        r, alpha = lasting.parameters
        boundary = edges(lasting, PARAMETERS[:2], nbd.BOUNDS, "a -> 0")
        return BgNbd(r, alpha * unit, 0.0, None, lasting.log_likelihood - shift, lasting.converged, boundary)
    r, alpha, a, b = found.parameters
    boundary = edges(found, PARAMETERS, BOUNDS)
    return BgNbd(r, alpha * unit, a, b, found.log_likelihood - shift, found.converged, boundary)


def two_nodes(a: float, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Nodes and weights of Gauss's rule with two nodes for beta(a, b): exact for polynomials of degree three."""
    mean = a / (a + b)
    variance = mean * (1 - mean) / (a + b + 1)
    skewness = 2 * (b - a) * np.sqrt(a + b + 1) / ((a + b + 2) * np.sqrt(a * b))
    spread = np.sqrt(1 + skewness**2 / 4)
    low, high = skewness / 2 - spread, skewness / 2 + spread  # in standard deviations; their product is -1
    weight = high / (high - low)
    return [
        (np.maximum(mean + low * np.sqrt(variance), 1e-12), weight),
        (np.minimum(mean + high * np.sqrt(variance), 1 - 1e-12), 1 - weight),
    ]


def _log_dropped(a: float, b: float, x: np.ndarray) -> np.ndarray:
    """The log of a / (b + x - 1), for those with a repeat purchase; others cannot have dropped out."""
    return np.log(a) - np.log(np.where(x > 0, b + x - 1, 1.0))


def _log_likelihood(point: np.ndarray, data: Histories) -> tuple[float, np.ndarray]:
    """Equation (6) of the paper in logs, and its gradient by the log parameters."""
    r, alpha, a, b = np.exp(point)
    x, weight = data.purchases, data.weight
    # What depends on x alone is computed once for each x: gamma functions are dear, and a shop has few different x.
    counts, place = np.unique(x, return_inverse=True)
    totals = np.bincount(place, weights=weight)
    customers = float(weight.sum())
    bought = x > 0
    log_age, log_recency = np.log(alpha + data.age), np.log(alpha + data.recency)
    alive = -(r + x) * log_age
    dropped = np.where(bought, _log_dropped(a, b, counts)[place] - (r + x) * log_recency, -np.inf)
    either = np.logaddexp(alive, dropped)
    share = np.exp(dropped - either)
    lasting = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + betaln(a, b + counts) - betaln(a, b)
    ended = np.where(counts > 0, 1 / np.where(counts > 0, b + counts - 1, 1.0), 0.0)
    gone = np.bincount(place, weights=weight * share)
    gradient = np.array(
        [
            totals @ (psi(r + counts) - psi(r) + np.log(alpha))
            - weight @ ((1 - share) * log_age + share * log_recency),
            customers * r / alpha
            - weight @ ((r + x) * ((1 - share) / (alpha + data.age) + share / (alpha + data.recency))),
            totals @ (psi(a + b) - psi(a + b + counts)) + gone.sum() / a,
            totals @ (psi(b + counts) - psi(a + b + counts) - psi(b) + psi(a + b)) - gone @ ended,
        ]
    )
    return float(totals @ lasting + weight @ either), gradient * np.exp(point)
