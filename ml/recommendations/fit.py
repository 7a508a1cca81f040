"""Both stages learned as of an instant, from nothing later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product

import numpy as np
import pandas as pd

from ml.recommendations import metrics, similarity
from ml.recommendations.candidates import Limits, candidates
from ml.recommendations.history import History, bought_after, history
from ml.recommendations.ranker import Examples, Ranker, learn_ranker
from ml.recommendations.shelf import Choices, Lessons, Shelf, lay_out, learn, warm_numbers

CUSTOMERS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Plan:
    """How much is learned: sizes, and the times of the training snapshots (days)."""

    horizon_days: int = 30
    snapshot_step_days: int = 15
    snapshots: int = 4
    shortest_history_days: int = 45
    warm_items: int = 3_500
    minimum_buyers: int = 2
    neighbours: int = 100
    content_neighbours: int = 50
    cold_items: int = 500
    new_days: int = 60
    neighbour_customers: int = 100_000
    ranker_customers: int = 5_000
    regularisations: tuple[float, ...] = (100.0, 300.0, 1000.0)
    half_lives_days: tuple[float, ...] = (30.0, 90.0)
    limits: Limits = field(default_factory=Limits)


class Fitter:
    """Fits on one set of lines and products; snapshots that several fits share are made once.

    ``lines``: as in :func:`ml.recommendations.history.history`; ``products``: as in
    :func:`ml.recommendations.shelf.lay_out`; ``segment``: customer id → segment, or None.
    """

    def __init__(
        self, lines: pd.DataFrame, products: pd.DataFrame, plan: Plan, seed: int, segment: pd.Series | None = None
    ):
        self.lines, self.products, self.plan, self.seed, self.segment = lines, products, plan, seed, segment
        self._examples: dict[tuple[datetime, Choices], Examples | None] = {}

    def fit(self, as_of: datetime) -> tuple[Lessons, Ranker | None, str | None]:
        """What is learned as of an instant: lessons of the items, the ranker, and the reason where there is none.

        The choices are made on the last ``horizon_days``, by what was known before them.
        """
        choices = self.choose(as_of)
        examples = [self.examples(cut, choices) for cut in self.cuts(as_of)]
        ranker, reason = learn_ranker([one for one in examples if one is not None], self.seed)
        return self.learn(as_of, choices), ranker, reason

    def cuts(self, as_of: datetime) -> list[datetime]:
        """The training snapshots whose outcomes are known, latest first, each with some history before it."""
        plan = self.plan
        steps = range(plan.snapshots)
        wanted = [as_of - timedelta(days=plan.horizon_days + step * plan.snapshot_step_days) for step in steps]
        first = self.lines["ordered_at"].min() if len(self.lines) else pd.Timestamp(as_of)
        return [cut for cut in wanted if pd.Timestamp(cut) - first >= pd.Timedelta(days=plan.shortest_history_days)]

    def choose(self, as_of: datetime) -> Choices:
        """EASE's regularisation and the half-life that serve best on new items of the last ``horizon_days``.

        The default stands where the history is too short to tell.
        """
        cut = as_of - timedelta(days=self.plan.horizon_days)
        if cut not in self.cuts(as_of):
            return Choices()
        grid = product(self.plan.regularisations, self.plan.half_lives_days)
        best = best_ease(self.lines, cut, as_of, self.plan, [Choices(*one) for one in grid], new_only=True)
        return best or Choices()

    def learn(self, cut: datetime, choices: Choices) -> Lessons:
        """The lessons of the lines up to a cut."""
        plan = self.plan
        return learn(
            self.lines,
            cut,
            choices,
            warm_items=plan.warm_items,
            minimum_buyers=plan.minimum_buyers,
            neighbours=plan.neighbours,
            customers=plan.neighbour_customers,
            seed=self.seed,
            segment=self.segment,
        )

    def examples(self, cut: datetime, choices: Choices) -> Examples | None:
        """Candidates of the customers who bought in the ``horizon_days`` after the cut; None without any."""
        if (cut, choices) not in self._examples:
            self._examples[cut, choices] = self._make_examples(cut, choices)
        return self._examples[cut, choices]

    def _make_examples(self, cut: datetime, choices: Choices) -> Examples | None:
        shelf = past_shelf(self.learn(cut, choices), self.products, self.plan, cut)
        until = cut + timedelta(days=self.plan.horizon_days)
        outcome = buyers_after(self.lines, shelf.items, cut, until)
        bought, row, item = outcome.bought, outcome.row, outcome.item
        if len(bought.customers) > self.plan.ranker_customers:
            chance = np.random.default_rng(self.seed)
            chosen = np.sort(chance.choice(len(bought.customers), self.plan.ranker_customers, replace=False))
            bought, kept = bought.taken(chosen), np.isin(row, chosen)
            row, item = np.searchsorted(chosen, row[kept]), item[kept]
        parts = []
        for begin in range(0, len(bought.customers), CUSTOMERS_AT_ONCE):
            chosen = np.arange(begin, min(begin + CUSTOMERS_AT_ONCE, len(bought.customers)))
            found = candidates(shelf, bought.taken(chosen), self.plan.limits)
            is_bought = np.isin((found.row + begin) * len(shelf.items) + found.item, row * len(shelf.items) + item)
            parts.append((found.row + begin, found.is_own, found.features, is_bought))
        if not parts:
            return None
        return Examples(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Outcome:
    """Customers known at a cut who bought after it: their history, and the distinct pairs that they bought.

    ``is_new``: of each pair whether the customer had not bought the item before.
    """

    bought: History
    row: np.ndarray
    item: np.ndarray
    is_new: np.ndarray


def buyers_after(lines: pd.DataFrame, items: np.ndarray, cut: datetime, until: datetime) -> Outcome:
    """Who bought what of the items after the cut and up to ``until``, of those who had bought before."""
    bought = history(lines, items, cut)
    row, item = bought_after(lines, items, bought.customers, cut, until)
    chosen = np.unique(row)
    bought, row = bought.taken(chosen), np.searchsorted(chosen, row)
    is_new = ~np.isin(row * bought.items + item, bought.row * bought.items + bought.item)
    return Outcome(bought, row, item, is_new)


def past_shelf(lessons: Lessons, products: pd.DataFrame, plan: Plan, at: datetime) -> Shelf:
    """The shelf at an earlier instant: what was in stock then is not known, so that all of it counts."""
    return lay_out(
        lessons,
        products,
        at,
        in_stock_only=False,
        neighbours=plan.content_neighbours,
        cold_items=plan.cold_items,
        new_days=plan.new_days,
    )


def best_ease(
    lines: pd.DataFrame, cut: datetime, until: datetime, plan: Plan, grid: Iterable[Choices], *, new_only: bool
) -> Choices | None:
    """The choices by which EASE alone ranks best (NDCG@10) what was bought after the cut; None without buyers.

    ``new_only``: of what each customer had not bought before, otherwise of everything.
    """
    known = lines[(lines["ordered_at"] <= pd.Timestamp(cut)).to_numpy()]
    items = np.array(sorted(known["product_id"].unique()), dtype=object)
    everybody = history(known, items, cut)
    outcome = buyers_after(lines, items, cut, until)
    counts = outcome.is_new if new_only else np.ones(len(outcome.row), dtype=bool)
    bought, row, item = outcome.bought, outcome.row[counts], outcome.item[counts]
    if not len(row):
        return None
    warm = warm_numbers(everybody, plan.warm_items, plan.minimum_buyers)
    best, best_value = None, -np.inf
    for choices in grid:
        weights = everybody.matrix(np.exp2(-everybody.last / choices.half_life_days))[:, warm]
        model = similarity.ease(weights, choices.regularisation, plan.neighbours)
        lists = ease_lists(bought, warm, model, choices, new_only=new_only)
        ndcg = metrics.ndcg(lists, row, item)
        value = float(np.nanmean(ndcg)) if np.isfinite(ndcg).any() else -np.inf
        if value > best_value:
            best, best_value = choices, value
    return best


def ease_lists(
    bought: History, warm: np.ndarray, model: object, choices: Choices, *, new_only: bool, places: int = 10
) -> np.ndarray:
    """The first places by EASE alone: (customers, places) item numbers, -1 where nothing speaks for more."""
    query = bought.matrix(np.exp2(-bought.last / choices.half_life_days))[:, warm]
    scores = (query @ model).toarray()
    if new_only:
        scores[query.nonzero()] = 0.0
    order = np.argsort(-scores, axis=1, kind="stable")[:, :places]
    found = np.take_along_axis(scores, order, axis=1) > 0
    return np.where(found, warm[order], -1)
