"""The first stage: a short list for every customer from all sources, and what the ranker reads of each candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.recommendations.history import History
from ml.recommendations.shelf import Shelf

SOURCES = ("ease", "item_item", "user_user", "content")
FEATURES = (
    *SOURCES,
    *(f"{source}_share_of_best" for source in SOURCES),
    *(f"{source}_rank" for source in SOURCES),
    "again",
    "again_rank",
    "own_orders",
    "own_decayed_orders",
    "own_share_of_orders",
    "own_days_since_last",
    "own_days_before_last_order",
    "own_days_over_interval",
    "own_days_over_item_interval",
    "popularity",
    "popularity_recent",
    "buyers",
    "repeat_rate",
    "item_interval",
    "item_age",
    "price",
    "price_fit",
    "customer_orders",
    "customer_items",
    "customer_items_per_order",
    "customer_days_since_last",
    "customer_days_between_orders",
    "customer_repeat_share",
)


@dataclass(frozen=True)
class Limits:
    """How many candidates each source may name for a customer; of new items the newest and the most alike."""

    similar: int = 15
    popular: int = 20
    own: int = 35
    fresh: int = 5


@dataclass(frozen=True)
class Candidates:
    """Candidates by customer: ``row`` (ascending), ``item``, ``is_own`` (bought before), ``features`` in order."""

    row: np.ndarray
    item: np.ndarray
    is_own: np.ndarray
    features: np.ndarray


def again_score(shelf: Shelf, bought: History) -> np.ndarray:
    """Of each pair: decayed number of orders times the share of the item's buyers who come back for it."""
    return bought.decayed * shelf.statistics["repeat_rate"][bought.item]


def candidates(shelf: Shelf, bought: History, limits: Limits) -> Candidates:
    """What may be recommended to each customer: own items, items near to them, popular and new ones.

    ``bought`` numbers items as the shelf does. Only available items; an item once a customer.
    """
    count, width = len(bought.customers), len(shelf.columns)
    pair_row, pair_column = bought.row, shelf.column_of[bought.item]
    query = bought.matrix(np.exp2(-bought.last / shelf.lessons.choices.half_life_days))
    scores = (query @ shelf.neighbours).toarray().reshape(count, len(SOURCES), width)
    best = np.maximum(scores.max(axis=2, initial=0.0), 1e-9)

    on_shelf = pair_column >= 0
    own_scores = np.zeros((len(pair_row), len(SOURCES)), np.float32)
    own_scores[on_shelf] = scores[pair_row[on_shelf], :, pair_column[on_shelf]]
    scores[pair_row[on_shelf], :, pair_column[on_shelf]] = -np.inf

    rank = np.full(scores.shape, limits.similar, dtype=np.int16)
    row, source, column, place = _best(scores, limits.similar)
    rank[row, source, column] = place
    named = (rank < limits.similar).any(axis=1)
    named[:, shelf.popular[: limits.popular]] = True
    named[:, shelf.fresh[: limits.fresh]] = True
    content = scores[:, SOURCES.index("content"), shelf.fresh][:, np.newaxis]
    row, _, column, _ = _best(content, limits.fresh)
    named[row, shelf.fresh[column]] = True
    named[pair_row[on_shelf], pair_column[on_shelf]] = False
    new_row, new_column = np.nonzero(named)

    again = again_score(shelf, bought)
    order = np.lexsort((bought.item, -again, pair_row))
    order = order[shelf.is_available[bought.item[order]]]
    own_start = np.searchsorted(pair_row[order], np.arange(count))
    own_rank = np.arange(len(order)) - own_start[pair_row[order]]
    own, own_rank = order[own_rank < limits.own], own_rank[own_rank < limits.own]

    row = np.concatenate([pair_row[own], new_row])
    item = np.concatenate([bought.item[own], shelf.columns[new_column]])
    similar = np.concatenate([own_scores[own], scores[new_row, :, new_column]])
    ranks = np.concatenate([np.full((len(own), len(SOURCES)), -1), rank[new_row, :, new_column]])
    pair = np.concatenate([own, np.full(len(new_row), -1)])
    again_rank = np.concatenate([own_rank, np.full(len(new_row), limits.own)])
    features = np.column_stack(
        [
            similar,
            similar / best[row],
            ranks,
            _pair_features(shelf, bought, pair, again, again_rank, row, item),
            _item_features(shelf, bought, row, item),
            np.column_stack(list(customer_features(bought).values()))[row],
        ]
    ).astype(np.float32)
    by_customer = np.argsort(row, kind="stable")
    return Candidates(row[by_customer], item[by_customer], (pair >= 0)[by_customer], features[by_customer])


def _best(scores: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The ``depth`` best positive scores along the last axis: their three places, and their rank from 0.

    Ties go to the smaller column. Only what reaches a bar is sorted: of the maxima of disjoint blocks of columns
    the ``depth``-th is a lower bound of the ``depth``-th score, at a tenth of the cost of a partition.
    """
    width, blocks = scores.shape[2], 4 * depth
    bar = np.zeros(scores.shape[:2], np.float32)
    if depth and width >= 2 * blocks:
        size = width // blocks
        maxima = scores[:, :, : blocks * size].reshape(*scores.shape[:2], size, blocks).max(axis=2)
        bar = np.partition(maxima, blocks - depth, axis=2)[:, :, blocks - depth]
    row, source, column = np.nonzero(scores >= np.maximum(bar, np.finfo(np.float32).tiny)[:, :, np.newaxis])
    order = np.lexsort((column, -scores[row, source, column], source, row))
    row, source, column = row[order], source[order], column[order]
    group = row * scores.shape[1] + source
    place = np.arange(len(group)) - np.searchsorted(group, group)
    kept = place < depth
    return row[kept], source[kept], column[kept], place[kept]


def _pair_features(
    shelf: Shelf,
    bought: History,
    pair: np.ndarray,
    again: np.ndarray,
    again_rank: np.ndarray,
    row: np.ndarray,
    item: np.ndarray,
) -> np.ndarray:
    """Of the customer's own purchases of the item; 0 purchases and unknown (NaN) days where there are none."""
    is_own = pair >= 0
    orders = np.where(is_own, bought.orders[pair], 0) if len(bought.orders) else np.zeros(len(pair))
    days = np.full(len(pair), np.nan)
    between = np.full(len(pair), np.nan)
    days[is_own] = bought.last[pair[is_own]]
    gaps = bought.orders[pair[is_own]] - 1
    span = (bought.first - bought.last)[pair[is_own]]
    between[is_own] = np.where(gaps > 0, np.maximum(span, 1.0) / np.maximum(gaps, 1), np.nan)
    decayed, score = np.zeros(len(pair)), np.zeros(len(pair))
    decayed[is_own], score[is_own] = bought.decayed[pair[is_own]], again[pair[is_own]]
    return np.column_stack(
        [
            score,
            again_rank,
            orders,
            decayed,
            orders / np.maximum(bought.order_count[row], 1),
            days,
            days - np.where(bought.order_count > 0, bought.last_order, np.nan)[row],
            days / between,
            days / np.maximum(shelf.statistics["interval"][item], 1.0),
        ]
    )


def _item_features(shelf: Shelf, bought: History, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    names = ("popularity", "recent", "buyers", "repeat_rate", "interval", "age")
    price = np.log(np.where(shelf.price > 0, shelf.price, np.nan))
    paid = price[bought.item]
    known = np.isfinite(paid)
    count = np.bincount(bought.row[known], minlength=len(bought.customers))
    total = np.bincount(bought.row[known], weights=paid[known], minlength=len(bought.customers))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.column_stack([*(shelf.statistics[name][item] for name in names), price[item], price[item] - mean[row]])


def customer_features(bought: History) -> dict[str, np.ndarray]:
    """Of each customer by name what the ranker reads; days are unknown (NaN) where there is no order."""
    items = np.diff(bought.start)
    orders = np.maximum(bought.order_count, 1)
    last = np.where(bought.order_count > 0, bought.last_order, np.nan)
    return {
        "customer_orders": bought.order_count.astype(float),
        "customer_items": items.astype(float),
        "customer_items_per_order": np.bincount(bought.row, weights=bought.orders, minlength=len(items)) / orders,
        "customer_days_since_last": last,
        "customer_days_between_orders": np.where(
            bought.order_count > 1, (bought.first_order - last) / np.maximum(orders - 1, 1), np.nan
        ),
        "customer_repeat_share": np.bincount(bought.row, weights=bought.orders > 1, minlength=len(items))
        / np.maximum(items, 1),
    }
