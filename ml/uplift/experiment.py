"""A randomised experiment as arrays, its folds, and an unbiased estimate of each row's effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Experiment:
    """Who was mailed by chance, and what became of them; one row per assignment.

    ``inputs``: (rows, inputs) floats known before the assignment. ``treated``: 1 mailed, 0 held out. ``outcome``:
    what counts (0 or 1, or an amount). ``propensity``: each row's chance of being treated, strictly between 0 and 1.
    ``unit``: the number of each row's customer; the rows of a customer stay together in folds and intervals.
    """

    inputs: np.ndarray
    treated: np.ndarray
    outcome: np.ndarray
    propensity: np.ndarray
    unit: np.ndarray

    def take(self, rows: np.ndarray) -> Experiment:
        """The same experiment with some of its rows."""
        return Experiment(
            self.inputs[rows], self.treated[rows], self.outcome[rows], self.propensity[rows], self.unit[rows]
        )

    def __len__(self) -> int:
        return len(self.treated)


def experiment(
    inputs: np.ndarray,
    treated: np.ndarray,
    outcome: np.ndarray,
    *,
    propensity: np.ndarray | None = None,
    unit: np.ndarray | None = None,
) -> Experiment:
    """An :class:`Experiment` of checked arrays.

    Without ``propensity`` everybody had the same chance, which is then the share of treated rows; without ``unit``
    each row is a customer of its own. Raises ValueError where an arm is empty or something is not a finite number.
    """
    treated = np.asarray(treated, dtype=float)
    if propensity is None:
        propensity = np.full(len(treated), treated.mean() if len(treated) else np.nan)
    if unit is None:
        unit = np.arange(len(treated))
    made = Experiment(
        np.asarray(inputs, dtype=float),
        treated,
        np.asarray(outcome, dtype=float),
        np.asarray(propensity, dtype=float),
        np.asarray(unit),
    )
    if made.inputs.ndim != 2 or {len(made.inputs), len(made.outcome), len(made.propensity), len(made.unit)} != {
        len(treated)
    }:
        raise ValueError(f"experiment: expected {len(treated)} rows in each array, found inputs {made.inputs.shape}")
    if not np.isin(treated, (0.0, 1.0)).all() or not 0 < treated.sum() < len(treated):
        raise ValueError(f"experiment: expected treated (1) and control (0) rows, found {np.unique(treated)[:5]}")
    if not (np.isfinite(made.inputs).all() and np.isfinite(made.outcome).all()):
        raise ValueError("experiment: inputs and outcomes have to be finite; fill in what is missing")
    if not ((made.propensity > 0) & (made.propensity < 1)).all():
        raise ValueError("experiment: propensities have to lie strictly between 0 and 1")
    return made


def folds(given: Experiment, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``count`` pairs of row positions (for fitting, left out), alike in arms and outcomes; customers stay whole.

    Customers are shuffled, sorted by their rows' arms and outcomes, and dealt out like cards.
    """
    _, number = np.unique(given.unit, return_inverse=True)
    kind = np.zeros(number.max() + 1)
    np.maximum.at(kind, number, 2 * (given.outcome > 0) + given.treated)
    dealt = np.empty(len(kind), dtype=int)
    dealt[np.lexsort((np.random.default_rng(seed).random(len(kind)), kind))] = np.arange(len(kind)) % count
    for fold in range(count):
        yield np.flatnonzero(dealt[number] != fold), np.flatnonzero(dealt[number] == fold)


def effect_scores(given: Experiment, without: np.ndarray, with_: np.ndarray) -> np.ndarray:
    """Each row's doubly robust effect score (Robins, Rotnitzky and Zhao 1994, augmented inverse propensity).

    ``without`` and ``with_`` are the outcomes that models which have not seen the row expect. Since the propensity
    is known, the mean over any group of rows that was chosen without their outcomes is an unbiased estimate of the
    group's effect, however poor these models are; good ones make it less noisy.
    """
    treated, chance = given.treated, given.propensity
    return (
        with_
        - without
        + treated / chance * (given.outcome - with_)
        - (1 - treated) / (1 - chance) * (given.outcome - without)
    )
