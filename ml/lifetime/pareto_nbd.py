"""Pareto/NBD: how often a customer buys while active, and when the customer silently leaves.

Schmittlein, Morrison and Colombo (1987), Counting Your Customers: Who Are They and What Will They Do Next?,
Management Science 33(1); formulas as in Fader and Hardie (2005), A Note on Deriving the Pareto/NBD Model and
Related Expressions (brucehardie.com/notes/009). A customer buys by a Poisson process whose rate is
gamma(r, alpha) among customers, and leaves at an instant of its own that is exponential with a rate that is
gamma(s, beta) among customers. Where nobody seems to leave, s goes to 0; that boundary is the NBD model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln, hyp2f1, logsumexp, psi, roots_legendre

from ml.lifetime import nbd
from ml.lifetime.histories import Histories, columns, group
from ml.lifetime.likelihood import edges, maximise_on_many
from ml.lifetime.nbd import Outlook

PARAMETERS = ("r", "alpha", "s", "beta")
BOUNDS = ((1e-4, 1e4), (1e-4, 1e4), (1e-5, 1e2), (1e-4, 1e4))
STARTS = ((0.5, 0.3, 0.5, 0.3), (1.0, 1.0, 1.0, 1.0), (1.0, 0.5, 0.1, 5.0))
CUSTOMERS = 50_000
"""A shop with more different histories is fitted on this many customers."""

NODES = 32
"""Of the integral, for each customer."""


@dataclass(frozen=True)
class ParetoNbd:
    """A fitted model; times are in the unit of the data that it was fitted on (weeks here).

    ``s == 0`` (and ``beta`` None) is the boundary: nobody leaves. ``boundary`` names the parameters that ended
    on the edge of what is allowed, as text such as ``s -> 0``. ``log_likelihood`` is of the customers that the
    model was fitted on.
    """

    r: float
    alpha: float
    s: float
    beta: float | None
    log_likelihood: float
    converged: bool
    boundary: str | None

    def probability_alive(self, summary: pd.DataFrame) -> np.ndarray:
        """The probability that each customer is still active; equation (36) of the note."""
        x, t_x, age = columns(summary)
        if self.s == 0:
            return np.ones(len(x))
        point = self.r, self.alpha, self.s, self.beta
        return np.exp(_log_alive(point, x, age) - _log_either(point, x, t_x, age))

    def expected_purchases(self, summary: pd.DataFrame, horizon: float) -> np.ndarray:
        """Purchases that each customer is expected to make in the next ``horizon`` units of time.

        ``summary`` has ``purchases`` (repeat purchases x), ``recency`` (t_x) and ``age`` (T). Equation (41) of
        the note.
        """
        return self.outlook(summary, (horizon,))[0].expected

    def outlook(self, summary: pd.DataFrame, horizons: tuple[float, ...]) -> list[Outlook]:
        """What each customer will buy within each horizon, as :class:`Outlook`.

        While alive, the customer's residual life is Pareto(s, beta + T) and the rate gamma(r + x, alpha + T),
        independent of each other; both moments follow. Having bought nothing by T + t is what a customer with
        the same purchases and the age T + t has done, hence its probability is a ratio of two likelihoods.
        """
        x, t_x, age = columns(summary)
        if self.s == 0:
            return [nbd.outlook(self.r + x, self.alpha + age, horizon) for horizon in horizons]
        point = self.r, self.alpha, self.s, self.beta
        either = _log_either(point, x, t_x, age)
        alive = np.exp(_log_alive(point, x, age) - either)
        shape, rate = self.r + x, self.alpha + age
        result = []
        for horizon in horizons:
            grown = np.log1p(horizon / (self.beta + age))
            # E[min(life, t)] and E[min(life, t)^2] are integrals of S(u) and 2 u S(u), S(u) = (1 + u / (beta + T))^-s.
            once = _power_integral(1 - self.s, grown)
            twice = 2 * (_power_integral(2 - self.s, grown) - once)
            none = np.exp(_log_either(point, x, t_x, age + horizon) - either)
            result.append(
                Outlook(
                    expected=alive * shape / rate * (self.beta + age) * once,
                    pairs=alive * shape * (shape + 1) * ((self.beta + age) / rate) ** 2 * np.maximum(twice, 0),
                    none=np.minimum(none, 1.0),
                )
            )
        return result


def fit(summary: pd.DataFrame) -> ParetoNbd:
    """Fit by maximum likelihood.

    ``summary``: one row per customer with ``purchases`` (repeat purchases), ``recency`` (time from the first to
    the last purchase) and ``age`` (time from the first purchase to the end), in one unit of time. The answer
    depends neither on the order of the rows nor, apart from alpha and beta, on the unit.
    """
    histories = group(summary).sample(CUSTOMERS)
    found = maximise_on_many(lambda data: lambda point: _log_likelihood(point, data), histories, STARTS, BOUNDS)
    lasting = nbd.fit(histories)
    unit, shift = histories.unit, histories.log_unit_shift
    if found.log_likelihood - lasting.log_likelihood < nbd.NEGLIGIBLE:
        r, alpha = lasting.parameters
        boundary = edges(lasting, PARAMETERS[:2], nbd.BOUNDS, "s -> 0")
        return ParetoNbd(r, alpha * unit, 0.0, None, lasting.log_likelihood - shift, lasting.converged, boundary)
    r, alpha, s, beta = found.parameters
    value = log_likelihood(found.parameters, histories) - shift
    return ParetoNbd(r, alpha * unit, s, beta * unit, value, found.converged, edges(found, PARAMETERS, BOUNDS))


def log_likelihood(parameters: Sequence[float], data: Histories) -> float:
    """Equation (18) of the note in logs, in its closed form with 2F1."""
    r, alpha, s, beta = parameters
    common = gammaln(r + data.purchases) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    either = _log_either(parameters, data.purchases, data.recency, data.age)
    return float((common + either) @ data.weight)


def _log_likelihood(point: np.ndarray, data: Histories) -> tuple[float, np.ndarray]:
    """The same and its gradient by the log parameters, from the integral that 2F1 stands for.

    Having left after the last purchase is the integral of s / ((alpha + t)^(r + x) (beta + t)^(s + 1)) from t_x to
    T. 2F1 has no simple slopes and takes a hundred times longer where beta is far from alpha, as it is on the way
    to s = 0.
    """
    r, alpha, s, beta = np.exp(point)
    x, weight = data.purchases, data.weight
    counts, place = np.unique(x, return_inverse=True)
    totals = np.bincount(place, weights=weight)
    gone, time, log_rate, log_leave = _log_gone((r, alpha, s, beta), x, data.recency, data.age)
    alive = -(r + x) * np.log(alpha + data.age) - s * np.log(beta + data.age)
    most = np.maximum(alive, gone.max(axis=1))
    gone = np.exp(gone - most[:, None])
    alive = np.exp(alive - most)
    either = alive + gone.sum(axis=1)
    of_gone, of_alive = gone * (weight / either)[:, None], alive / either * weight
    gradient = np.array(
        [
            totals @ (psi(r + counts) - psi(r) + np.log(alpha))
            - of_alive @ np.log(alpha + data.age) - np.sum(of_gone * log_rate),
            totals.sum() * r / alpha
            - of_alive @ ((r + x) / (alpha + data.age)) - (r + x) @ np.sum(of_gone / (alpha + time), axis=1),
            totals.sum() * np.log(beta)
            - of_alive @ np.log(beta + data.age) + np.sum(of_gone * (1 / s - log_leave)),
            totals.sum() * s / beta
            - s * (of_alive @ (1 / (beta + data.age))) - (s + 1) * np.sum(of_gone / (beta + time)),
        ]
    )  # fmt: skip
    common = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    return float(totals @ common + (np.log(either) + most) @ weight), gradient * np.exp(point)


def _log_gone(
    parameters: Sequence[float], x: np.ndarray, t_x: np.ndarray, age: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of the terms that add up to the integral, their times, and the logarithms of both factors' bases.

    One row per customer. In the logarithm of the time plus the smaller of alpha and beta the integral is smooth,
    and Gauss-Legendre gives it to ten digits.
    """
    r, alpha, s, beta = parameters
    nodes, shares = roots_legendre(NODES)
    start, end = (np.log(min(alpha, beta) + time) for time in (t_x, age))
    half = (end - start) / 2
    moved = (start + half)[:, None] + half[:, None] * nodes
    time = np.exp(moved) - min(alpha, beta)
    log_rate, log_leave = np.log(alpha + time), np.log(beta + time)
    gone = np.log(s) - (r + x)[:, None] * log_rate - (s + 1) * log_leave + moved
    with np.errstate(divide="ignore"):  # log 0 where the last purchase was just now
        gone += np.log(half)[:, None] + np.log(shares)
    return gone, time, log_rate, log_leave


def _log_alive(parameters: Sequence[float], x: np.ndarray, age: np.ndarray) -> np.ndarray:
    """The log-likelihood's part of customers who are still there, without the factor that both parts share."""
    r, alpha, s, beta = parameters
    return -(r + x) * np.log(alpha + age) - s * np.log(beta + age)


def _log_either(parameters: Sequence[float], x: np.ndarray, t_x: np.ndarray, age: np.ndarray) -> np.ndarray:
    """The sum of both parts: still there, or gone between the last purchase and ``age``, s / (r + s + x) A_0."""
    r, _, s, _ = parameters
    start, end = _log_part(parameters, x, t_x), _log_part(parameters, x, age)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 where the last purchase was just now
        gone = np.log(s / (r + s + x)) + start + np.log(-np.expm1(np.minimum(end - start, 0.0)))
    lost = np.isnan(gone)  # 2F1 overflows where s is large: everybody leaves at about the same rate
    if lost.any():
        gone[lost] = logsumexp(_log_gone(parameters, x[lost], t_x[lost], age[lost])[0], axis=1)
    return np.logaddexp(_log_alive(parameters, x, age), gone)


def _log_part(parameters: Sequence[float], x: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The log of either term of A_0, equations (13) and (14) of the note: at the last purchase, or at the end.

    Euler's transformation leaves a 2F1 whose first parameter is one: it stays of moderate size where the
    printed form overflows. The two cases keep its argument between zero and one.
    """
    r, alpha, s, beta = parameters
    if alpha >= beta:
        exponent, b, z = 0.0, r + x, (alpha - beta) / (alpha + time)
    else:
        exponent, b, z = 1.0, s + 1.0, (beta - alpha) / (beta + time)
    series = np.log(hyp2f1(1.0, b, r + s + x + 1, z))
    return series - (r + x - exponent) * np.log(alpha + time) - (s + exponent) * np.log(beta + time)


def _power_integral(power: float, log_end: np.ndarray) -> np.ndarray:
    """The integral of v^(power - 1) from one to ``exp(log_end)``."""
    return log_end if power == 0 else np.expm1(power * log_end) / power
