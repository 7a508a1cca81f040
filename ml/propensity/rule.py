"""The simple thing that a propensity has to beat, and what stands in where there is too little to learn from."""

from __future__ import annotations

import json

import numpy as np
from scipy.special import logit

from ml import files

RECENCY_DAYS = (7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0)
FREQUENCY = (1.0, 2.0, 3.0, 5.0, 10.0)
PRIOR_CASES = 20.0
LONGEST_DAYS = 730.0


class RecencyFrequencyRule:
    """The share with the outcome in each cell of recency and frequency, as a marketer would tabulate it.

    A cell with few customers leans to a guess that needs no data, h / (h + recency) times f / (f + 1) with the
    horizon h and the frequency f (turned round where the outcome is silence), as if of 20 more customers. Without
    any data the guess alone is left: it ranks, but it is no probability.
    """

    kind = "recency and frequency"

    def __init__(self, rates: np.ndarray):
        self.rates = rates

    @classmethod
    def fit(cls, x: np.ndarray, truth: np.ndarray, horizon_days: int, *, rises: bool) -> RecencyFrequencyRule:
        """``x``: recency in days (missing: never) and frequency, one row each."""
        middle = np.sqrt(np.maximum(np.array([0.0, *RECENCY_DAYS]), 1.0) * np.array([*RECENCY_DAYS, LONGEST_DAYS]))
        often = np.array([0.0, *FREQUENCY])
        guess = np.outer(horizon_days / (horizon_days + middle), (often + 0.1) / (often + 1.0))
        guess = guess if rises else 1 - guess
        cells = _cells(x)
        positive = np.bincount(cells, truth, minlength=guess.size).reshape(guess.shape)
        everybody = np.bincount(cells, minlength=guess.size).reshape(guess.shape)
        return cls((positive + PRIOR_CASES * guess) / (everybody + PRIOR_CASES))

    def margin(self, x: np.ndarray) -> np.ndarray:
        """Log-odds of the cell's share."""
        return logit(self.rates).ravel()[_cells(x)]

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """What the row and what the column of the table add to its middle (two-way means)."""
        table = logit(self.rates)
        row, column = np.divmod(_cells(x), table.shape[1])
        return np.column_stack([table.mean(axis=1)[row] - table.mean(), table.mean(axis=0)[column] - table.mean()])

    def dump(self) -> bytes:
        """JSON."""
        return files.json_bytes({"rates": [[float(f"{rate:.10g}") for rate in row] for row in self.rates]})

    @classmethod
    def load(cls, content: bytes) -> RecencyFrequencyRule:
        """The inverse of :meth:`dump`."""
        return cls(np.array(json.loads(content)["rates"]))


def _cells(x: np.ndarray) -> np.ndarray:
    recency = np.where(np.isnan(x[:, 0]), np.inf, x[:, 0])
    row = np.searchsorted(RECENCY_DAYS, recency, side="right")
    column = np.searchsorted(FREQUENCY, np.nan_to_num(x[:, 1]), side="right")
    return row * (len(FREQUENCY) + 1) + column
