"""The simple answers that the two stages have to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml.recommendations.history import History

CUSTOMERS_AT_ONCE = 500
AGAIN_FORMS = ("orders", "decayed orders", *(f"orders, half-life {days} days" for days in (30, 90, 180)))


def popularity(everybody: History, days: float) -> np.ndarray:
    """Of each item how many customers bought it in the last ``days``; ties go to what more ever bought."""
    recent = np.bincount(everybody.item[everybody.last <= days], minlength=everybody.items)
    ever = np.bincount(everybody.item, minlength=everybody.items)
    return recent + ever / (ever.max(initial=0) + 1)


def popular_lists(everybody: History, bought: History, days: float, *, new_only: bool, places: int = 10) -> np.ndarray:
    """What most customers bought in the last ``days``, the same for all but, if ``new_only``, for own items.

    Returns (customers, places) item numbers, -1 where there are no more.
    """
    shared = popularity(everybody, days)
    return _lists(bought, lambda part: np.tile(shared, (len(part.customers), 1)), new_only, places)


def again_lists(
    everybody: History, bought: History, score: np.ndarray, *, new_only: bool, places: int = 10
) -> np.ndarray:
    """Own items by a score of each pair; where those end, and between equals, what was popular in 28 days.

    On new items, of which buying again says nothing, only what was popular is left.
    """
    shared = popularity(everybody, 28)
    shared = shared / (shared.max(initial=0) + 1)
    steps = np.unique(np.concatenate([[0.0], score]), return_inverse=True)[1][1:].astype(float)

    def scores(part: History) -> np.ndarray:
        begin = np.searchsorted(bought.customers, part.customers[0])
        chosen = slice(bought.start[begin], bought.start[begin + len(part.customers)])
        result = np.tile(shared, (len(part.customers), 1))
        result[part.row, part.item] += steps[chosen]
        return result

    return _lists(bought, scores, new_only, places)


def again_scores(bought: History) -> dict[str, np.ndarray]:
    """The forms of buying again to choose from, ``AGAIN_FORMS``, each a score of the pairs (positive)."""
    faded = [bought.orders * np.exp2(-bought.last / days) for days in (30, 90, 180)]
    return dict(zip(AGAIN_FORMS, [bought.orders.astype(float), bought.decayed, *faded], strict=True))


def _lists(bought: History, scores: Callable[[History], np.ndarray], new_only: bool, places: int) -> np.ndarray:
    result = np.full((len(bought.customers), places), -1, dtype=np.int64)
    for begin in range(0, len(bought.customers), CUSTOMERS_AT_ONCE):
        chosen = np.arange(begin, min(begin + CUSTOMERS_AT_ONCE, len(bought.customers)))
        part = bought.taken(chosen)
        values = scores(part)
        if new_only:
            values[part.row, part.item] = -np.inf
        order = np.argsort(-values, axis=1, kind="stable")[:, :places]
        found = np.take_along_axis(values, order, axis=1) > 0
        result[chosen, : order.shape[1]] = np.where(found, order, -1)
    return result
