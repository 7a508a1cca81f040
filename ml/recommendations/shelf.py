"""What a snapshot teaches of the items, and the shelf: these lessons laid onto the products of an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy import sparse

from ml.recommendations import similarity
from ml.recommendations.history import History, history

POPULAR_DAYS = 28
TREND_DAYS = 7
PRIOR_BUYERS = 20.0
"""So many average buyers are added to those of an item before its repeat rate and interval are believed."""

SEGMENT_CUSTOMERS = 50
"""A segment's popularity counts from so many active customers, and is mixed with as many of the average."""

STATISTICS = ("buyers", "popularity", "recent", "repeat_rate", "interval", "age")


@dataclass(frozen=True)
class Choices:
    """What is chosen on earlier outcomes: EASE's regularisation and the half-life (days) of a purchase's weight."""

    regularisation: float = 200.0
    half_life_days: float = 90.0


@dataclass(frozen=True)
class Lessons:
    """What purchases up to ``cut`` say of items; no customer's row is in it.

    * ``items``: ids in order. ``statistics``: of each item ``buyers`` (share of all customers), ``popularity``
      (share of the customers of the last 28 days), ``recent`` (the same of the last 7 days over that of 28),
      ``repeat_rate`` (share of its buyers with a second order), ``interval`` (days between two orders of it) and
      ``age`` (days since it was first bought).
    * ``warm``: the numbers of the items that have neighbours; ``ease``, ``item_item``, ``user_user``: (warm, warm).
    * ``segments``: popularity within each segment of customers that is large enough.
    """

    cut: datetime
    choices: Choices
    items: np.ndarray
    statistics: dict[str, np.ndarray]
    warm: np.ndarray
    ease: sparse.csr_matrix
    item_item: sparse.csr_matrix
    user_user: sparse.csr_matrix
    segments: dict[str, np.ndarray]


def learn(
    lines: pd.DataFrame,
    cut: datetime,
    choices: Choices,
    *,
    warm_items: int,
    minimum_buyers: int,
    neighbours: int,
    customers: int,
    seed: int,
    segment: pd.Series | None = None,
) -> Lessons:
    """Learn from the lines up to the cut.

    ``warm_items``: neighbours are learned for so many items at most, those with most buyers and no less than
    ``minimum_buyers``; from ``customers`` at most, drawn with ``seed``. ``neighbours`` are kept of each item.
    ``segment``: customer id → the customer's segment, such as the country.
    """
    lines = lines[(lines["ordered_at"] <= pd.Timestamp(cut)).to_numpy()]
    items = np.array(sorted(lines["product_id"].unique()), dtype=object)
    bought = history(lines, items, cut)
    statistics = item_statistics(bought)
    segments = {} if segment is None else segment_popularity(bought, statistics["popularity"], segment)
    warm = warm_numbers(bought, warm_items, minimum_buyers)
    if len(bought.customers) > customers:
        drawn = np.random.default_rng(seed).choice(len(bought.customers), customers, replace=False)
        bought = bought.taken(np.sort(drawn))
    purchases = bought.matrix(np.exp2(-bought.last / choices.half_life_days))[:, warm]
    return Lessons(
        cut=cut,
        choices=choices,
        items=items,
        statistics=statistics,
        warm=warm,
        ease=similarity.ease(purchases, choices.regularisation, neighbours),
        item_item=similarity.item_item(purchases, 10.0, neighbours),
        user_user=similarity.user_user(purchases, neighbours),
        segments=segments,
    )


def warm_numbers(bought: History, warm_items: int, minimum_buyers: int) -> np.ndarray:
    """The items with most buyers, ascending."""
    buyers = np.bincount(bought.item, minlength=bought.items)
    most = np.argsort(-buyers, kind="stable")[:warm_items]
    return np.sort(most[buyers[most] >= minimum_buyers])


def item_statistics(bought: History) -> dict[str, np.ndarray]:
    """Of each item what :class:`Lessons` names, float32, from the pairs of all customers."""
    count = bought.items
    buyers = np.bincount(bought.item, minlength=count).astype(float)
    month = np.bincount(bought.item[bought.last <= POPULAR_DAYS], minlength=count)
    week = np.bincount(bought.item[bought.last <= TREND_DAYS], minlength=count)
    active = max(int((bought.last_order <= POPULAR_DAYS).sum()), 1)
    again = bought.orders > 1
    repeaters = np.bincount(bought.item[again], minlength=count)
    gaps = (bought.first - bought.last)[again] / (bought.orders[again] - 1)
    mean_rate = again.mean() if len(again) else 0.0
    mean_gap = gaps.mean() if len(gaps) else 30.0
    gap_sum = np.bincount(bought.item[again], weights=gaps, minlength=count)
    age = np.zeros(count)
    np.maximum.at(age, bought.item, bought.first)
    values = {
        "buyers": buyers / max(len(bought.customers), 1),
        "popularity": month / active,
        "recent": (week + 1) / (month + POPULAR_DAYS / TREND_DAYS),
        "repeat_rate": (repeaters + PRIOR_BUYERS * mean_rate) / (buyers + PRIOR_BUYERS),
        "interval": (gap_sum + PRIOR_BUYERS * mean_gap) / (repeaters + PRIOR_BUYERS),
        "age": age,
    }
    return {name: values[name].astype(np.float32) for name in STATISTICS}


def segment_popularity(bought: History, popularity: np.ndarray, segment: pd.Series) -> dict[str, np.ndarray]:
    """Popularity within each segment that has ``SEGMENT_CUSTOMERS`` active customers, drawn to that of all."""
    of_customer = segment.reindex(bought.customers).to_numpy(dtype=object)
    is_active = bought.last_order <= POPULAR_DAYS
    names, sizes = np.unique(of_customer[is_active & ~pd.isna(of_customer)].astype(str), return_counts=True)
    recent = bought.last <= POPULAR_DAYS
    row = bought.row
    result = {}
    for name, size in zip(names, sizes, strict=True):
        if size >= SEGMENT_CUSTOMERS:
            buyers = np.bincount(bought.item[recent & (of_customer == name)[row]], minlength=bought.items)
            share = (buyers + SEGMENT_CUSTOMERS * popularity) / (size + SEGMENT_CUSTOMERS)
            result[str(name)] = share.astype(np.float32)
    return result


@dataclass(frozen=True)
class Shelf:
    """Lessons laid onto the products of an instant.

    * ``items``: ids, the learned ones first, then products that are new since; ``learned`` is their number.
    * ``names``, ``price`` (NaN where unknown), ``statistics``, ``is_available``: of each item.
    * ``columns``: the numbers of the items that may be recommended to somebody who has not bought them;
      ``column_of``: of each item its column, -1 without one.
    * ``neighbours``: (items, 4 x columns): EASE, item-item, user-user and content side by side; ``item_item`` and
      ``content``: (columns, items), two of them turned round, for reasons.
    * ``popular``: columns by popularity, best first, none that nobody bought; ``fresh``: columns of new items,
      the newest first.
    """

    lessons: Lessons
    items: np.ndarray
    learned: int
    names: np.ndarray
    price: np.ndarray
    statistics: dict[str, np.ndarray]
    is_available: np.ndarray
    columns: np.ndarray
    column_of: np.ndarray
    neighbours: sparse.csr_matrix
    item_item: sparse.csr_matrix
    content: sparse.csr_matrix
    popular: np.ndarray
    fresh: np.ndarray

    def popularity_in(self, segment: str | None) -> np.ndarray:
        """Of each item the popularity in a segment; in the whole shop where too little is known of it."""
        learned = self.lessons.segments.get(segment) if segment is not None else None
        if learned is None:
            return self.statistics["popularity"]
        return np.append(learned, self.statistics["popularity"][self.learned :])


def lay_out(
    lessons: Lessons,
    products: pd.DataFrame,
    as_of: datetime,
    *,
    in_stock_only: bool,
    neighbours: int,
    cold_items: int,
    new_days: int,
) -> Shelf:
    """The shelf as of an instant.

    ``products``: ``product_id``, ``product_name``, ``category``, ``price``, ``is_in_stock``, ``created_at``, one
    row per product. Products made after ``as_of`` are left out, and so is, where ``in_stock_only``, what is not in
    stock. Products without warm neighbours that were made in the last ``new_days`` stand on the shelf for what
    they are, the newest ``cold_items`` at most.
    """
    created = pd.to_datetime(products["created_at"], utc=True)
    at = pd.Timestamp(as_of)
    made = (created <= at).to_numpy(dtype=bool)
    was_sold = products["product_id"].isin(lessons.items).to_numpy(dtype=bool)
    exists = made | was_sold | (created.isna().to_numpy(dtype=bool) & in_stock_only)
    current = products[exists].sort_values("product_id", kind="stable").set_index("product_id")
    unsold = current.index.difference(pd.Index(lessons.items, dtype=object), sort=True)
    items = np.concatenate([lessons.items, unsold.to_numpy(dtype=object)])
    learned = len(lessons.items)
    about = current.reindex(items)

    later = (at - pd.Timestamp(lessons.cut)) / pd.Timedelta(days=1)
    since_made = ((at - pd.to_datetime(about["created_at"], utc=True)) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    statistics = {}
    for name, values in lessons.statistics.items():
        filler = values.mean() if name in ("repeat_rate", "interval", "recent") and len(values) else 0.0
        statistics[name] = np.append(values, np.full(len(unsold), filler, np.float32)).astype(np.float32)
    statistics["age"][:learned] += np.float32(later)
    statistics["age"] = np.fmax(statistics["age"], since_made.astype(np.float32))

    is_available = about.index.isin(current.index)
    if in_stock_only:
        is_available &= about["is_in_stock"].eq(True).to_numpy(dtype=bool)
    is_warm = np.zeros(len(items), dtype=bool)
    is_warm[lessons.warm] = True
    cold = np.flatnonzero(~is_warm & is_available & (since_made <= new_days))
    cold = cold[np.argsort(since_made[cold], kind="stable")][:cold_items]
    columns = np.concatenate([lessons.warm[is_available[lessons.warm]], cold])
    column_of = np.full(len(items), -1)
    column_of[columns] = np.arange(len(columns))

    described = about.reset_index()[["product_name", "category", "price"]]
    learned_blocks = [
        _spread(block, lessons.warm, column_of, len(items), len(columns))
        for block in (lessons.ease, lessons.item_item, lessons.user_user)
    ]
    most_bought = np.argsort(-statistics["buyers"], kind="stable")[: 2 * len(columns)]
    sources = np.union1d(most_bought, columns)
    blocks = [*learned_blocks, similarity.content(described, sources, columns, neighbours)]
    popularity = statistics["popularity"][columns]
    popular = np.argsort(-popularity, kind="stable")
    return Shelf(
        lessons=lessons,
        items=items,
        learned=learned,
        names=about["product_name"].fillna("").astype(str).to_numpy(dtype=object),
        price=about["price"].to_numpy(dtype=float),
        statistics=statistics,
        is_available=is_available,
        columns=columns,
        column_of=column_of,
        neighbours=sparse.hstack(blocks, format="csr", dtype=np.float32),
        item_item=blocks[1].T.tocsr(),
        content=blocks[3].T.tocsr(),
        popular=popular[popularity[popular] > 0],
        fresh=column_of[cold],
    )


def _spread(
    block: sparse.csr_matrix, warm: np.ndarray, column_of: np.ndarray, items: int, columns: int
) -> sparse.csr_matrix:
    """(warm, warm) as (items, columns); what is not on the shelf falls away."""
    entries = block.tocoo()
    column = column_of[warm[entries.col]] if len(warm) else entries.col
    kept = column >= 0
    places = (warm[entries.row[kept]], column[kept]) if len(warm) else (entries.row, entries.col)
    return sparse.csr_matrix((entries.data[kept], places), shape=(items, columns), dtype=np.float32)
