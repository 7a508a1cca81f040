"""Shares of categories: a customer's own purchases, shrunken to everybody's.

The Dirichlet-multinomial: a customer's purchases are drawn with shares that come from a Dirichlet distribution with
mean ``popularity`` and concentration ``a``, so that the expected share of a category after purchases n is
(n_c + a popularity_c) / (sum n + a). Purchases fade, each counts 2^(-age / half-life). ``a`` and the half-life are
those that foretell the next purchases best (empirical Bayes on prediction; Minka 2000 fits ``a`` to the counts
themselves, which overstates how sure a full basket makes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import minimize_scalar

from ml.propensity.inputs import DAY, instants

CHUNK = 20_000


@dataclass(frozen=True)
class Purchases:
    """Distinct products of orders in known categories, up to a cut.

    ``customers`` and ``categories`` are sorted names; ``customer``, ``category`` and ``order`` places of each
    purchase, ``age`` its days at the cut.
    """

    customers: np.ndarray
    categories: np.ndarray
    customer: np.ndarray
    category: np.ndarray
    order: np.ndarray
    age: np.ndarray

    def facts(self, customer: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Orders and days since the last one, of some customers in some categories; 0 and 0 where there are none."""
        width = max(len(self.categories), 1)
        pair = self.customer * width + self.category
        start = np.nonzero(np.diff(pair, prepend=-1) > 0)[0]  # purchases are sorted by customer, category and age
        size = int(self.order.max(initial=0)) + 1
        visits = np.sort(pair * size + self.order)
        each = visits[np.diff(visits, prepend=-1) > 0] // size
        orders = np.unique(each, return_counts=True)[1]
        wanted = customer * width + category
        place = np.minimum(np.searchsorted(pair[start], wanted), max(len(start) - 1, 0))
        if not len(start):
            return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted))
        there = pair[start][place] == wanted
        return np.where(there, orders[place], 0), np.where(there, self.age[start][place], 0.0)

    def counts(self, half_life_days: float) -> sparse.csr_matrix:
        """Customers × categories: faded purchases."""
        shape = (len(self.customers), len(self.categories))
        weights = np.exp2(-self.age / half_life_days)
        return sparse.csr_matrix((weights, (self.customer, self.category)), shape=shape)


@dataclass(frozen=True)
class Prior:
    """What everybody buys, and how much it weighs against a customer's own purchases."""

    half_life_days: float
    concentration: float
    popularity: pd.Series

    def aligned(self, categories: np.ndarray) -> np.ndarray:
        """The popularity of some categories; 0 for one that was never sold before."""
        return self.popularity.reindex(categories).fillna(0.0).to_numpy(dtype=float)


def purchases(
    lines: pd.DataFrame,
    cut: datetime,
    since: datetime | None = None,
    categories: Sequence[str] = (),
) -> Purchases:
    """Purchases of ``customer_order_lines`` in (since, cut]; a product counts once an order, in any order of rows.

    ``categories`` are there in any case, whether bought or not.
    """
    times = instants(lines, "ordered_at")
    end = pd.Timestamp(cut).value // 1000
    wanted = (times <= end) & lines["category"].notna().to_numpy()
    if since is not None:
        wanted &= times > pd.Timestamp(since).value // 1000
    kept = lines[["customer_id", "order_id", "product_id", "category"]][wanted]
    age = (end - times[wanted]) / DAY
    customer, customers = _places(kept["customer_id"])
    named, found = _places(kept["category"])
    names = np.unique(np.concatenate([found, np.asarray(categories, dtype=object)]))
    category = pd.Index(names, dtype=object).get_indexer(found)[named] if len(found) else named
    order, orders = _places(kept["order_id"])
    order = pd.factorize(customer * max(len(orders), 1) + order)[0]
    product, products = _places(kept["product_id"])
    line = order * (len(products) + 1) + product + 1
    kept_rows = np.lexsort((age, category, line))
    kept_rows = kept_rows[np.diff(line[kept_rows], prepend=-1) > 0]
    # A defined order within a customer's category: sums of floats depend on it.
    kept_rows = kept_rows[np.lexsort((age[kept_rows], category[kept_rows], customer[kept_rows]))]
    return Purchases(customers, names, customer[kept_rows], category[kept_rows], order[kept_rows], age[kept_rows])


def _places(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Each row's place among the sorted distinct values, -1 where it is missing, and these values."""
    places, found = pd.factorize(values)
    found = np.asarray(found, dtype=object)
    order = np.argsort(found, kind="stable")
    rank = np.full(len(order) + 1, -1, dtype=np.int64)  # the last place, -1, is that of a missing value
    rank[order] = np.arange(len(order))
    return rank[places], found[order]


def popularity(bought: Purchases, half_life_days: float) -> pd.Series:
    """Everybody's share of each category; a customer with n faded purchases adds n_c / (n + 1), so at most one."""
    counts = bought.counts(half_life_days)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    shares = counts.T @ (1 / (totals + 1))
    return pd.Series(shares / shares.sum() if shares.sum() > 0 else shares, index=bought.categories)


def fit(before: Purchases, after: Purchases, half_lives: Sequence[float]) -> Prior:
    """The half-life and the concentration under which the purchases after the cut were most likely.

    Maximises the mean over customers of both parts of the mean log share of the categories that they bought next.
    """
    best: tuple[float, Prior] | None = None
    known = np.isin(after.categories, before.categories)
    rows = pd.Index(before.customers).get_indexer(after.customers)
    use = (rows[after.customer] >= 0) & known[after.category]
    row = rows[after.customer][use]
    column = pd.Index(before.categories).get_indexer(after.categories)[after.category][use]
    each = np.bincount(row, minlength=len(before.customers))
    weight = 1.0 / each[row]
    for half_life in half_lives:
        counts = before.counts(half_life)
        share = popularity(before, half_life)
        own = np.asarray(counts[row, column]).ravel()
        total = np.asarray(counts.sum(axis=1)).ravel()[row]
        everybody = np.maximum(share.to_numpy()[column], 1e-9)

        def loss(logarithm: float, own=own, total=total, everybody=everybody) -> float:
            a = np.exp(logarithm)
            return -float((weight * np.log((own + a * everybody) / (total + a))).sum())

        found = minimize_scalar(loss, bounds=(np.log(0.01), np.log(1_000.0)), method="bounded")
        if best is None or found.fun < best[0] - 1e-9:
            best = (found.fun, Prior(half_life, float(np.exp(found.x)), share))
    assert best is not None
    return best[1]


def ranked(bought: Purchases, prior: Prior, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Customers × top: places of the categories by affinity, best first, and the affinities; ties by popularity."""
    counts = bought.counts(prior.half_life_days)
    share = prior.aligned(bought.categories)
    by_popularity = np.lexsort((bought.categories, -share))
    top = min(top, len(share))
    places = np.empty((len(bought.customers), top), dtype=np.int64)
    affinity = np.empty((len(bought.customers), top))
    for start in range(0, len(places), CHUNK):
        part = counts[start : start + CHUNK].toarray()
        totals = part.sum(axis=1, keepdims=True)
        shares = ((part + prior.concentration * share) / (totals + prior.concentration))[:, by_popularity]
        order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
        places[start : start + CHUNK] = by_popularity[order]
        affinity[start : start + CHUNK] = np.take_along_axis(shares, order, axis=1)
    return places, affinity


def relevance(places: np.ndarray, categories: np.ndarray, customers: np.ndarray, after: Purchases) -> np.ndarray:
    """Customers × top: whether each category of a ranking was bought afterwards."""
    column = pd.Index(categories).get_indexer(after.categories)
    row = pd.Index(customers).get_indexer(after.customers)
    use = (row[after.customer] >= 0) & (column[after.category] >= 0)
    pairs = np.unique(row[after.customer][use] * len(categories) + column[after.category][use])
    return np.isin(np.arange(len(customers))[:, None] * len(categories) + places, pairs)


def ndcg(relevant: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """NDCG of each row with binary relevance (Järvelin and Kekäläinen 2002); ``possible``: categories bought next."""
    discount = 1 / np.log2(np.arange(relevant.shape[1]) + 2)
    ideal = np.cumsum(discount)[np.clip(possible, 1, relevant.shape[1]) - 1]
    return (relevant * discount).sum(axis=1) / ideal
