"""What recommendations would have been worth: on purchases that the fit has not seen, beside simple answers."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from ml.recommendations import baselines, metrics
from ml.recommendations.fit import Plan, buyers_after, ease_lists, past_shelf
from ml.recommendations.history import history
from ml.recommendations.lists import Judge, Rules, recommend
from ml.recommendations.shelf import Lessons
from ml.spec import Metrics

MOST_CUSTOMERS = 20_000
"""So many customers, drawn by their place, are enough to measure on."""


def holdout(
    lessons: Lessons,
    judge: Judge,
    lines: pd.DataFrame,
    products: pd.DataFrame,
    plan: Plan,
    rules: Rules,
    cut: datetime,
    until: datetime,
) -> tuple[pd.DataFrame | None, Metrics]:
    """One row per customer who was known at the cut and bought after it, and the means; None without any.

    ``truth``: how many products of the list were bought, ``prediction``: how many were expected; ``ndcg`` and
    ``recall``, on all items and (``_new``) on those not bought before, of the lists and of ``popularity`` (28
    days), ``buy_again`` (own items by the number of orders, then popularity) and ``ease``. Lists are taken before
    the shop's rules (what was just bought, places for new items), which the simple answers do not have either.
    """
    shelf = past_shelf(lessons, products, plan, cut)
    outcome = buyers_after(lines, shelf.items, cut, until)
    bought, row, item = outcome.bought, outcome.row, outcome.item
    count = len(bought.customers)
    if not count:
        return None, {"holdout_customers": 0, "ndcg_at_10": None, "holdout_missing": "nobody known bought again"}
    if count > MOST_CUSTOMERS:
        chosen = np.linspace(0, count - 1, MOST_CUSTOMERS).astype(int)
        kept = np.isin(row, chosen)
        bought, row, item = bought.taken(chosen), np.searchsorted(chosen, row[kept]), item[kept]
        is_new = outcome.is_new[kept]
    else:
        is_new = outcome.is_new
    bare = Rules(rules.places, 0, 0.0, rules.repeat_rate, rules.limits)
    found = recommend(shelf, bought, judge, bare)
    everybody = history(lines, shelf.items, cut)
    frame = pd.DataFrame({"customer_id": bought.customers})
    table = found.table(len(bought.customers), rules.places)
    frame["truth"] = metrics.hits(table, row, item).sum(axis=1)
    frame["prediction"] = np.bincount(found.row, weights=found.probability, minlength=len(bought.customers))
    for new_only, ending in ((False, ""), (True, "_new")):
        mine = table
        if new_only:
            row, item = row[is_new], item[is_new]
            mine = recommend(shelf, bought, judge, bare, new_only=True).table(len(bought.customers), rules.places)
        frame[f"ndcg{ending}"] = metrics.ndcg(mine, row, item)
        frame[f"recall{ending}"] = metrics.recall(mine, row, item)
        orders = bought.orders.astype(float)
        simple = {
            "popularity": baselines.popular_lists(everybody, bought, 28, new_only=new_only),
            "buy_again": baselines.again_lists(everybody, bought, orders, new_only=new_only),
            "ease": ease_lists(bought, lessons.warm, lessons.ease, lessons.choices, new_only=new_only),
        }
        for name, lists in simple.items():
            frame[f"ndcg{ending}_{name}"] = metrics.ndcg(lists, row, item)
    result: Metrics = {"holdout_customers": len(frame), "coverage": metrics.coverage(table, len(shelf.columns))}
    for column in frame.columns[3:]:
        depth = "_at_20" if column.startswith("recall") else "_at_10"
        known = frame[column].notna().any()
        name = column.replace("ndcg", "ndcg" + depth, 1).replace("recall", "recall" + depth, 1)
        result[name] = float(frame[column].mean()) if known else None
    return frame, result
