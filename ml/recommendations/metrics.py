"""How good ranked lists are, and whether one is better than another."""

from __future__ import annotations

import numpy as np


def hits(lists: np.ndarray, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Which places of the lists hold a relevant item.

    ``lists``: (customers, places) item numbers, -1 where a list is shorter; ``row``, ``item``: the relevant pairs.
    """
    span = int(max(lists.max(initial=0), item.max(initial=0))) + 1
    key = np.arange(len(lists))[:, np.newaxis] * span + lists
    return np.isin(key, row.astype(np.int64) * span + item) & (lists >= 0)


def ndcg(lists: np.ndarray, row: np.ndarray, item: np.ndarray, places: int = 10) -> np.ndarray:
    """Each customer's normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), binary relevance.

    DCG = sum over the first ``places`` of hit / log2(place + 1); the ideal list has its min(places, number of
    relevant items) hits first. NaN for a customer without a relevant item. Shapes as in :func:`hits`.
    """
    discount = 1.0 / np.log2(np.arange(2, places + 2))
    found = hits(lists[:, :places], row, item)
    gain = found @ discount[: found.shape[1]]
    relevant = np.bincount(row, minlength=len(lists))
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])[np.minimum(relevant, places)]
    return gain / ideal


def recall(lists: np.ndarray, row: np.ndarray, item: np.ndarray, places: int = 20) -> np.ndarray:
    """Each customer's share of relevant items among the first ``places``; NaN without a relevant item."""
    relevant = np.bincount(row, minlength=len(lists)).astype(float)
    found = hits(lists[:, :places], row, item).sum(axis=1)
    return found / np.where(relevant > 0, relevant, np.nan)


def coverage(lists: np.ndarray, items: int) -> float:
    """The share of ``items`` that stand in somebody's list."""
    return len(np.unique(lists[lists >= 0])) / items if items else 0.0
