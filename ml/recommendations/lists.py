"""From judged candidates to lists, and a reason in words for each item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ml.recommendations.candidates import FEATURES, Limits, candidates
from ml.recommendations.history import History
from ml.recommendations.shelf import Shelf

Judge = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
CUSTOMERS_AT_ONCE = 250

AGAIN, PERSONAL, POPULAR = "buy again", "personal", "popular"


@dataclass(frozen=True)
class Rules:
    """``places`` of a list, ``fresh_places`` of them for new items; what was bought in the last
    ``just_bought_days`` is left out unless so large a share of its buyers comes back for it (``repeat_rate``).
    """

    places: int
    fresh_places: int
    just_bought_days: float
    repeat_rate: float
    limits: Limits


@dataclass(frozen=True)
class Lists:
    """Entries by customer and place (from 0): ``row``, ``place``, ``item``, ``relevance`` (falls along a list),
    ``probability`` (that the item is bought, if the customer buys), ``is_own``.
    """

    row: np.ndarray
    place: np.ndarray
    item: np.ndarray
    relevance: np.ndarray
    probability: np.ndarray
    is_own: np.ndarray

    def table(self, customers: int, places: int) -> np.ndarray:
        """(customers, places) item numbers, -1 where a list is shorter."""
        result = np.full((customers, places), -1, dtype=np.int64)
        kept = self.place < places
        result[self.row[kept], self.place[kept]] = self.item[kept]
        return result


def recommend(shelf: Shelf, bought: History, judge: Judge, rules: Rules, *, new_only: bool = False) -> Lists:
    """The list of every customer of ``bought``, whose items are numbered as the shelf's.

    ``new_only``: only what the customer has not bought, ordered by the log-odds among such items. Customers
    without a purchase get what is popular (:func:`popular_list`).
    """
    parts = []
    for begin in range(0, len(bought.customers), CUSTOMERS_AT_ONCE):
        chosen = np.arange(begin, min(begin + CUSTOMERS_AT_ONCE, len(bought.customers)))
        part = _recommend(shelf, bought.taken(chosen), judge, rules, new_only)
        parts.append((part.row + begin, part.place, part.item, part.relevance, part.probability, part.is_own))
    if not parts:
        nobody = np.zeros(0, dtype=np.int64)
        return Lists(nobody, nobody, nobody, nobody.astype(float), nobody.astype(float), nobody.astype(bool))
    return Lists(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _recommend(shelf: Shelf, bought: History, judge: Judge, rules: Rules, new_only: bool) -> Lists:
    found = candidates(shelf, bought, rules.limits)
    row, item, is_own, features = found.row, found.item, found.is_own, found.features
    kept = ~(is_own & new_only)
    if rules.just_bought_days > 0:
        kept &= ~is_just_bought(shelf, bought, row, item, is_own, rules)
    row, item, is_own, features = row[kept], item[kept], is_own[kept], features[kept]
    relevance, odds = judge(features, is_own)
    probability = 1.0 / (1.0 + np.exp(-odds))
    if new_only:
        relevance = odds
    order = np.lexsort((item, -relevance, row))
    is_fresh = np.isin(shelf.column_of[item[order]], shelf.fresh)
    likeness = features[order, FEATURES.index("content")]
    listed = order[_is_listed(row[order], is_fresh, likeness, rules)]
    row = row[listed]
    return Lists(row, _place(row), item[listed], relevance[listed], probability[listed], is_own[listed])


def _is_listed(row: np.ndarray, is_fresh: np.ndarray, likeness: np.ndarray, rules: Rules) -> np.ndarray:
    """Which of the sorted candidates stand in the list: the best, and some new items in any case.

    Those are the most alike to what the customer bought: nobody's purchases can speak for them yet.
    """
    reserved = np.zeros(len(row), dtype=bool)
    fresh = np.flatnonzero(is_fresh)
    fresh = fresh[np.lexsort((-likeness[fresh], row[fresh]))]
    reserved[fresh[_place(row[fresh]) < rules.fresh_places]] = True
    room = rules.places - np.bincount(row[reserved], minlength=int(row.max(initial=-1)) + 1)
    others = np.flatnonzero(~reserved)
    listed = reserved
    listed[others[_place(row[others]) < room[row[others]]]] = True
    return listed


def _place(row: np.ndarray) -> np.ndarray:
    """Each entry's place within its row, from 0; rows ascend."""
    return np.arange(len(row)) - np.searchsorted(row, row)


def is_just_bought(
    shelf: Shelf, bought: History, row: np.ndarray, item: np.ndarray, is_own: np.ndarray, rules: Rules
) -> np.ndarray:
    """Which candidates were bought a moment ago and are not of a kind that is bought again."""
    key = bought.row * len(shelf.items) + bought.item
    pair = np.searchsorted(key, row[is_own] * len(shelf.items) + item[is_own])
    result = np.zeros(len(row), dtype=bool)
    returns = shelf.statistics["repeat_rate"][item[is_own]] >= rules.repeat_rate
    result[is_own] = (bought.last[pair] <= rules.just_bought_days) & ~returns
    return result


def popular_list(shelf: Shelf, rules: Rules, segment: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Items for somebody of whom no purchase is known, and the share of customers who bought each this month.

    By popularity, in the segment where it is known there; the last places go to new items.
    """
    share = shelf.popularity_in(segment)[shelf.columns]
    best = np.lexsort((shelf.columns, -shelf.statistics["buyers"][shelf.columns], -share))
    best = best[share[best] > 0]
    fresh = shelf.fresh[~np.isin(shelf.fresh, best[: rules.places - rules.fresh_places])]
    reserved = fresh[: max(rules.fresh_places, rules.places - len(best))]
    main = best[~np.isin(best, reserved)][: rules.places - len(reserved)]
    listed = np.concatenate([main, reserved])[: rules.places].astype(int)
    return shelf.columns[listed], share[listed]


def reasons(shelf: Shelf, bought: History, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
    """For each entry the reason in words, and its kind: buy again, personal or popular. Names products only.

    "because you bought" names the purchase that speaks most for the item by item-item similarity.
    """
    words = np.empty(len(lists.row), dtype=object)
    kinds = np.full(len(lists.row), PERSONAL, dtype=object)
    own = lists.is_own
    words[own] = _again_reasons(shelf, bought, lists.row[own], lists.item[own])
    kinds[own] = AGAIN
    query = bought.matrix(np.exp2(-bought.last / shelf.lessons.choices.half_life_days))
    rest = np.flatnonzero(~own)
    for block, before in ((shelf.item_item, "because you bought "), (shelf.content, "similar to ")):
        by = _strongest_source(query, block, lists.row[rest], shelf.column_of[lists.item[rest]])
        named = (by >= 0) & (shelf.names[by] != "")
        words[rest[named]] = before + shelf.names[by[named]]
        rest = rest[~named]
    is_popular = shelf.statistics["popularity"][lists.item[rest]] > 0
    words[rest] = popular_reasons(is_popular)
    kinds[rest] = POPULAR
    return words, kinds


def popular_reasons(is_popular: np.ndarray) -> np.ndarray:
    """The words for what nothing in the customer's own history speaks for."""
    return np.where(is_popular, "popular this month", "new in the shop").astype(object)


def _again_reasons(shelf: Shelf, bought: History, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    key = bought.row * len(shelf.items) + bought.item
    pair = np.searchsorted(key, row * len(shelf.items) + item)
    orders = bought.orders[pair]
    days = (bought.first[pair] - bought.last[pair]) / np.maximum(orders - 1, 1)
    weeks = np.rint(days / 7).astype(int)
    every = np.where(
        weeks > 1, "bought again every " + weeks.astype(str).astype(object) + " weeks", "bought again weekly"
    )
    return np.where(orders == 1, "bought before", np.where(days < 4, "bought again within days", every)).astype(object)


def _strongest_source(
    query: sparse.csr_matrix, block: sparse.csr_matrix, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """For each (customer, column) the item of the customer that says most for it, -1 where none does.

    ``block``: (columns, items).
    """
    said = block[column].multiply(query[row]).tocoo()
    positive = said.data > 0
    entry, by, weight = said.row[positive], said.col[positive], said.data[positive]
    order = np.lexsort((by, -weight, entry))
    entry, by = entry[order], by[order]
    first = np.diff(entry, prepend=-1) != 0
    result = np.full(len(row), -1, dtype=np.int64)
    result[entry[first]] = by[first]
    return result
