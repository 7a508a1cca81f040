"""What stands in for the probability models where there is too little data to fit them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class PooledRate:
    """Everybody buys again at the shop's pooled rate: repeat purchases of all, divided by the weeks of all."""

    rate: float

    def expected_purchases(self, summary: pd.DataFrame, horizon: float) -> np.ndarray:
        """The same number for every customer."""
        return np.full(len(summary), self.rate * horizon)


@dataclass(frozen=True)
class PooledSpend:
    """A customer's mean spend, with the shop's mean counted as one more purchase."""

    mean: float

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
    count = float(np.sum(purchases))
    total = float(np.sort(np.asarray(purchases, dtype=float) * np.asarray(mean_spend, dtype=float)).sum())
    return PooledSpend(total / count if count > 0 else 0.0)
