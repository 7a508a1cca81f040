"""What stands in for the probability models where there is too little data to fit them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.lifetime.nbd import Outlook


@dataclass(frozen=True)
class PooledRate:
    """Everybody buys again at the shop's pooled rate: repeat purchases of all, divided by the weeks of all."""

    rate: float

    def expected_purchases(self, summary: pd.DataFrame, horizon: float) -> np.ndarray:
        """The same number for every customer."""
        return np.full(len(summary), self.rate * horizon)

    def probability_alive(self, summary: pd.DataFrame) -> np.ndarray:
        """One: with so little data nobody is given up."""
        return np.ones(len(summary))

    def outlook(self, summary: pd.DataFrame, horizons: tuple[float, ...]) -> list[Outlook]:
        """What each customer will buy within each horizon: a Poisson number."""
        result = []
        for horizon in horizons:
            expected = self.expected_purchases(summary, horizon)
            result.append(Outlook(expected, expected**2, np.exp(-expected)))
        return result


@dataclass(frozen=True)
class PooledSpend:
    """A customer's mean spend, with the shop's mean counted as one more purchase.

    ``variation`` is the standard deviation of single values over their mean.
    """

    mean: float
    variation: float = 0.0

    def second_moments(self, purchases: np.ndarray, mean_spend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E[z^2] of a customer's next purchase, and E[z z'] of two of them."""
        square = self.expected_spend(purchases, mean_spend) ** 2
        return square * (1 + self.variation**2), square

    def expected_spend(self, purchases: np.ndarray, mean_spend: np.ndarray) -> np.ndarray:
        """The expected value of the next purchase; with none observed it is the shop's mean."""
        seen = np.asarray(purchases, dtype=float)
        return (seen * np.asarray(mean_spend, dtype=float) + self.mean) / (seen + 1)


def pooled_rate(summary: pd.DataFrame) -> PooledRate:
    """The pooled rate a week; 0 where nobody has been a customer for any time."""
    weeks = float(np.sort(summary["age"].to_numpy(dtype=float)).sum())
    return PooledRate(float(summary["purchases"].sum()) / weeks if weeks > 0 else 0.0)


def pooled_spend(purchases: np.ndarray, mean_spend: np.ndarray) -> PooledSpend:
    """The mean value of all observed purchases; 0 where there are none."""
    count, mean = np.asarray(purchases, dtype=float), np.asarray(mean_spend, dtype=float)
    order = np.lexsort((mean, count))  # sums of floats depend on their order
    count, mean = count[order], mean[order]
    if count.sum() == 0:
        return PooledSpend(0.0)
    pooled = float(np.sum(count * mean) / count.sum())
    # A mean of n values varies by an n-th of what a value does.
    seen = int((count > 0).sum())
    variance = float(np.sum(count * (mean - pooled) ** 2)) / (seen - 1) if seen > 1 else 0.0
    return PooledSpend(pooled, float(np.sqrt(variance)) / pooled if pooled > 0 else 0.0)
