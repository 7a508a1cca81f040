"""Why a customer's expected value is high or low, in words.

The expected value is a product: purchases while active, the chance of still being there, the value of a purchase,
and the trees' factor. Its logarithm is a sum, so the distance from the typical customer (the median of each part)
falls to the parts without remainder, and the largest ones are the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

PARTS = ("purchases", "recency", "mean_spend", "trend")
"""What each part is driven by: how often and for how long, how long ago, how much, and what the trees saw."""

NOTICEABLE = float(np.log(1.1))
"""A part less than a tenth off the typical customer's is no reason."""

AVERAGE = "close to the typical customer"


def parts(expected: np.ndarray, alive: np.ndarray, spend: np.ndarray, factor: np.ndarray) -> pd.DataFrame:
    """The logarithms of the four parts, columns ``PARTS``."""
    tiny = 1e-12
    alive = np.maximum(alive, tiny)
    values = (np.maximum(expected, tiny) / alive, alive, np.maximum(spend, tiny), factor)
    return pd.DataFrame({name: np.log(value) for name, value in zip(PARTS, values, strict=True)})


def typical(table: pd.DataFrame) -> dict[str, float]:
    """The median of each part, to ten digits; zero where there is nobody."""
    return {name: float(f"{table[name].median():.10g}") if len(table) else 0.0 for name in PARTS}


def shares(table: pd.DataFrame, middle: Mapping[str, float]) -> dict[str, float]:
    """Each part's share of the mean distance from the typical customer."""
    sizes = {name: float((table[name] - middle[name]).abs().mean()) if len(table) else 0.0 for name in PARTS}
    total = sum(sizes.values())
    return {name: size / total for name, size in sizes.items()} if total > 0 else {}


def reasons(table: pd.DataFrame, middle: Mapping[str, float], summary: pd.DataFrame) -> np.ndarray:
    """Up to three phrases a customer, the strongest first, joined by ``; ``."""
    distance = np.column_stack([table[name].to_numpy() - middle[name] for name in PARTS])
    phrases = _phrases(distance, summary)
    order = np.argsort(-np.abs(distance), axis=1, kind="stable")
    rows = np.arange(len(table))
    result = np.full(len(table), "", dtype=object)
    for place in range(3):
        part = order[:, place]
        counts = np.abs(distance[rows, part]) > NOTICEABLE
        phrase = phrases[rows, part]
        result = np.where(counts, np.where(result == "", phrase, result + "; " + phrase), result)
    return np.where(result == "", AVERAGE, result)


def _phrases(distance: np.ndarray, summary: pd.DataFrame) -> np.ndarray:
    times = (summary["purchases"].to_numpy() + 1).astype(int)
    weeks = np.round(summary["age"].to_numpy()).astype(int)
    silent = np.round((summary["age"] - summary["recency"]).to_numpy() * 7).astype(int)
    bought = _words(times, lambda number: "bought once" if number == 1 else f"bought {number} times")
    since = _words(weeks, lambda number: f" in {number} weeks" if number != 1 else " in 1 week")
    ago = _words(silent, lambda number: f"last order {number} days ago" if number != 1 else "last order 1 day ago")
    columns = [
        np.where(distance[:, 0] > 0, bought, bought + since),
        ago,
        np.where(distance[:, 2] > 0, "spends above average", "spends below average"),
        np.where(distance[:, 3] > 0, "recent orders promise more", "recent orders promise less"),
    ]
    return np.column_stack([column.astype(object) for column in columns])


def _words(numbers: np.ndarray, phrase: Callable[[int], str]) -> np.ndarray:
    """A phrase for each number, made once for each different one."""
    different, place = np.unique(numbers, return_inverse=True)
    return np.array([phrase(int(number)) for number in different] or [""], dtype=object)[place]
