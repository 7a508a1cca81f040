"""Purchases up to a cut, one entry for each customer and item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy import sparse

AGAIN_HALF_LIFE_DAYS = 60.0
"""After so many days a purchase counts half in the decayed number of purchases."""


@dataclass(frozen=True)
class History:
    """What some customers had bought at a cut. Ages are in days before it.

    * ``customers``: (customers,) ids in order; ``start``: (customers + 1,) where each one's pairs begin.
    * Of each pair of customer and item, by customer and then by item: ``item`` (its number in the catalogue),
      ``orders`` (distinct ones), ``decayed`` (those orders, halved every ``AGAIN_HALF_LIFE_DAYS``), ``first`` and
      ``last`` (age of the first and last purchase).
    * Of each customer: ``order_count``, ``first_order``, ``last_order`` (ages).
    """

    customers: np.ndarray
    start: np.ndarray
    item: np.ndarray
    orders: np.ndarray
    decayed: np.ndarray
    first: np.ndarray
    last: np.ndarray
    order_count: np.ndarray
    first_order: np.ndarray
    last_order: np.ndarray
    items: int

    @property
    def row(self) -> np.ndarray:
        """Each pair's customer, by number."""
        return np.repeat(np.arange(len(self.customers)), np.diff(self.start))

    def matrix(self, values: np.ndarray) -> sparse.csr_matrix:
        """Values of the pairs as a matrix, customers x items."""
        shape = (len(self.customers), self.items)
        return sparse.csr_matrix((values.astype(np.float32), self.item, self.start), shape=shape)

    def taken(self, chosen: np.ndarray) -> History:
        """The same of some of the customers, by number, ascending."""
        sizes = np.diff(self.start)[chosen]
        start = np.concatenate([[0], np.cumsum(sizes)])
        pairs = np.repeat(self.start[:-1][chosen] - start[:-1], sizes) + np.arange(start[-1])
        parts = {name: getattr(self, name)[pairs] for name in ("item", "orders", "decayed", "first", "last")}
        whole = {
            name: getattr(self, name)[chosen] for name in ("customers", "order_count", "first_order", "last_order")
        }
        return History(start=start, items=self.items, **parts, **whole)


def history(
    lines: pd.DataFrame, item_ids: Sequence[str], cut: datetime, customers: np.ndarray | None = None
) -> History:
    """Purchases up to and at the cut, of the items of a catalogue, whatever the order of the lines.

    ``lines``: ``customer_id``, ``order_id``, ``ordered_at`` (UTC), ``product_id``. ``customers``: whom to tell of,
    in order; None: everybody with a line. Lines of other items count as orders of the customer only.
    """
    lines = lines[(lines["ordered_at"] <= pd.Timestamp(cut)).to_numpy()]
    if customers is None:
        who, customers = pd.factorize(lines["customer_id"], sort=True)
        customers = np.asarray(customers, dtype=object)
    else:
        who = pd.Index(customers).get_indexer(lines["customer_id"])
        lines, who = lines[who >= 0], who[who >= 0]
    age = ((pd.Timestamp(cut) - lines["ordered_at"]) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    order = pd.factorize(lines["order_id"])[0]
    item = pd.Index(item_ids).get_indexer(lines["product_id"]).astype(np.int64)

    count = len(customers)
    order_count = np.bincount(who[_firsts(who, order, age)], minlength=count)
    first_order, last_order = np.zeros(count), np.full(count, np.inf)
    np.maximum.at(first_order, who, age)
    np.minimum.at(last_order, who, age)

    known = item >= 0
    who, order, item, age = who[known], order[known], item[known], age[known]
    key = who * len(item_ids) + item
    distinct = _firsts(key, order, age)
    key, age = key[distinct], age[distinct]
    by_age = np.lexsort((age, key))  # sums of floats in an order that the order of the lines has no part in
    key, age = key[by_age], age[by_age]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    pair = key[starts]
    rows = pair // max(len(item_ids), 1)
    weight = np.exp2(-age / AGAIN_HALF_LIFE_DAYS)
    return History(
        customers=customers,
        start=np.searchsorted(rows, np.arange(count + 1)),
        item=(pair % max(len(item_ids), 1)).astype(np.int32),
        orders=np.diff(np.append(starts, len(key))),
        decayed=np.add.reduceat(weight, starts) if len(starts) else weight,
        first=np.maximum.reduceat(age, starts) if len(starts) else age,
        last=np.minimum.reduceat(age, starts) if len(starts) else age,
        order_count=order_count,
        first_order=first_order,
        last_order=last_order,
        items=len(item_ids),
    )


def bought_after(
    lines: pd.DataFrame, item_ids: Sequence[str], customers: np.ndarray, cut: datetime, until: datetime
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs (customer's number, item's number) bought after the cut and up to ``until``, in order."""
    at = lines["ordered_at"]
    lines = lines[((at > pd.Timestamp(cut)) & (at <= pd.Timestamp(until))).to_numpy()]
    who = pd.Index(customers).get_indexer(lines["customer_id"]).astype(np.int64)
    item = pd.Index(item_ids).get_indexer(lines["product_id"]).astype(np.int64)
    key = np.unique((who * len(item_ids) + item)[(who >= 0) & (item >= 0)])
    return key // max(len(item_ids), 1), key % max(len(item_ids), 1)


def _firsts(key: np.ndarray, order: np.ndarray, age: np.ndarray) -> np.ndarray:
    """One place for each distinct (key, order), that of the least age."""
    places = np.lexsort((age, order, key))
    key, order = key[places], order[places]
    return places[(np.diff(key, prepend=-1) != 0) | (np.diff(order, prepend=-1) != 0)]
