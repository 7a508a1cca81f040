"""Customers' histories as the purchase models read them, one row for all customers with the same one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Histories:
    """Distinct histories in an order of their own, and how many customers have each.

    ``purchases`` is x, ``recency`` t_x, ``age`` T; times are in ``unit``, the mean age, so that parameters stay
    near one. A likelihood is a density in time: one in another unit differs by ``log_unit_shift``.
    """

    purchases: np.ndarray
    recency: np.ndarray
    age: np.ndarray
    weight: np.ndarray
    unit: float

    @property
    def log_unit_shift(self) -> float:
        """What to take off this log-likelihood to have it in the unit of the summary: one factor a purchase."""
        return float(np.sum(self.weight * self.purchases) * np.log(self.unit))

    def sample(self, customers: int) -> Histories:
        """At most so many customers, evenly spaced in the order of the histories; all of them where they are fewer."""
        total = float(self.weight.sum())
        if len(self.weight) <= customers or total <= customers:
            return self
        weight = np.diff(np.floor(np.cumsum(self.weight) * (customers / total) + 0.5), prepend=0.0)
        kept = weight > 0
        return Histories(self.purchases[kept], self.recency[kept], self.age[kept], weight[kept], self.unit)


def columns(summary: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, t_x and T of a summary."""
    return tuple(summary[name].to_numpy(dtype=float) for name in ("purchases", "recency", "age"))


def group(summary: pd.DataFrame) -> Histories:
    """The distinct histories of a summary; rows in any order give the same bits."""
    x, t_x, age = columns(summary)
    order = np.lexsort((age, t_x, x))
    x, t_x, age = x[order], t_x[order], age[order]
    starts = np.ones(len(x), dtype=bool)
    starts[1:] = (np.diff(x) != 0) | (np.diff(t_x) != 0) | (np.diff(age) != 0)
    first = np.flatnonzero(starts)
    weight = np.diff(np.append(first, len(x))).astype(float)
    x, t_x, age = x[first], t_x[first], age[first]
    unit = float(np.average(age, weights=weight)) if len(age) else 1.0
    unit = unit or 1.0
    return Histories(x, t_x / unit, age / unit, weight, unit)
