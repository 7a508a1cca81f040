"""Maximum likelihood for positive parameters: multi-start, bounded, in log space, polished by Newton's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from ml.lifetime.histories import Histories

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

FIRST_LOOK = 20_000
"""Every start runs on no more customers than this; the best answer is then taken on to all of them."""

EDGE = 0.01
"""A log parameter this close to its bound counts as being on it."""


@dataclass(frozen=True)
class Maximum:
    """The best parameters, their log-likelihood, and which of them lie on a bound."""

    parameters: tuple[float, ...]
    log_likelihood: float
    converged: bool
    on_bound: tuple[int, ...]


def maximise(
    objective: Objective,
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
) -> Maximum:
    """Maximise over positive parameters.

    ``objective(log_parameters)`` returns the log-likelihood and its gradient by the log parameters; starts and
    bounds are given as parameters. Log space keeps them positive and evens out their scales. Every start runs
    (the surfaces have ridges), the best one is polished until the gradient vanishes. One thread: several would
    add up in any order, and be slower on problems of this size.
    """
    with threadpool_limits(limits=1):
        return _maximise(objective, starts, bounds)


def maximise_on_many(
    objective: Callable[[Histories], Objective],
    histories: Histories,
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
) -> Maximum:
    """Maximise over customers' histories: the starts on a sample of a large shop, and from there on all of them."""
    few = histories.sample(FIRST_LOOK)
    found = maximise(objective(few), starts, bounds)
    if few is histories:
        return found
    return maximise(objective(histories), (found.parameters,), bounds)


def edges(maximum: Maximum, names: Sequence[str], bounds: Sequence[tuple[float, float]], *more: str) -> str | None:
    """The parameters that lie on a bound, as text such as ``a -> 0``; None where all are inside."""
    found = list(more)
    for index in maximum.on_bound:
        low, high = bounds[index]
        nearer_low = maximum.parameters[index] < np.sqrt(low * high)
        found.append(f"{names[index]} -> {'0' if nearer_low else 'infinity'}")
    return ", ".join(found) or None


def _maximise(
    objective: Objective,
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
) -> Maximum:
    limits = np.log(np.asarray(bounds, dtype=float))

    def negative(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(point)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(point)
        return -value, -gradient

    best = None
    for start in starts:
        point = np.clip(np.log(np.asarray(start, dtype=float)), limits[:, 0], limits[:, 1])
        result = minimize(
            negative,
            point,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-9},
        )
        if best is None or result.fun < best.fun - 1e-9:
            best = result
    point, value = _polish(negative, best.x, float(best.fun), limits)
    _, gradient = negative(point)
    at_bound = (point - limits[:, 0] < EDGE) | (limits[:, 1] - point < EDGE)
    converged = bool(np.all(np.abs(gradient[~at_bound]) < 1e-4 * max(1.0, abs(value))))
    return Maximum(
        parameters=tuple(float(np.exp(x)) for x in point),
        log_likelihood=-float(value),
        converged=converged,
        on_bound=tuple(int(index) for index in np.flatnonzero(at_bound)),
    )


def _polish(
    negative: Objective, point: np.ndarray, value: float, limits: np.ndarray, steps: int = 20
) -> tuple[np.ndarray, float]:
    """Newton steps with a Hessian from differences of the gradient; each is kept only if it does not do worse."""
    width = 1e-5
    for _ in range(steps):
        _, gradient = negative(point)
        inside = (point - limits[:, 0] > EDGE) & (limits[:, 1] - point > EDGE)
        if not inside.any() or np.abs(gradient[inside]).max() < 1e-9:
            break
        hessian = np.empty((len(point), len(point)))
        for index in range(len(point)):
            shift = np.zeros_like(point)
            shift[index] = width
            hessian[index] = (negative(point + shift)[1] - negative(point - shift)[1]) / (2 * width)
        hessian = ((hessian + hessian.T) / 2)[np.ix_(inside, inside)]
        try:
            np.linalg.cholesky(hessian)
        except np.linalg.LinAlgError:
            break  # not the bottom of a bowl: the start's answer stands
        step = np.zeros_like(point)
        step[inside] = np.linalg.solve(hessian, gradient[inside])
        moved = np.clip(point - step, limits[:, 0], limits[:, 1])
        found, slope = negative(moved)
        if found > value + 1e-9 or np.abs(slope[inside]).max() >= np.abs(gradient[inside]).max():
            break
        point, value = moved, float(found)
    return point, value
