"""Why a customer is in a cluster, in words: what of their own pulls them there, against all customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

LEVELS = tuple(round(level, 2) for level in np.arange(0.05, 0.96, 0.05))
"""The population's quantiles that are kept; neither minimum nor maximum, which are one customer's."""

DISTINCT = 0.6
"""A value is worth a reason when it lies beyond those of this share of the customers."""

MOST = 3

PHRASES = {
    "recency_days": ("ordered more recently than {} of customers", "has not ordered for longer than {} of customers"),
    "frequency": ("orders less often than {} of customers", "orders more often than {} of customers"),
    "monetary": ("spends less than {} of customers", "spends more than {} of customers"),
    "average_order_value": ("has smaller baskets than {} of customers", "has larger baskets than {} of customers"),
    "tenure_days": ("is newer than {} of customers", "has been with us longer than {} of customers"),
    "purchase_interval_days_mean": (
        "waits less between orders than {} of customers",
        "waits longer between orders than {} of customers",
    ),
    "distinct_products": ("buys fewer products than {} of customers", "buys more products than {} of customers"),
    "distinct_categories": ("buys fewer categories than {} of customers", "buys more categories than {} of customers"),
    "refund_rate": ("returns less than {} of customers", "returns more than {} of customers"),
}
"""Input → how to say that it is lower, and that it is higher, than that of a share of the customers."""


def quantiles(inputs: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """The levels' quantiles of each input, to four significant digits; an input without any value has none."""
    return {
        str(column): tuple(float(f"{value:.4g}") for value in np.quantile(known, LEVELS))
        for column in inputs.columns
        if len(known := inputs[column].dropna().to_numpy(dtype=float))
    }


def explain(
    inputs: pd.DataFrame, pull: np.ndarray, known: Mapping[str, Sequence[float]], names: Sequence[str]
) -> np.ndarray:
    """Up to three phrases for each row, joined by "; ", those that pull most first; None where nothing stands out.

    ``inputs``: the customers' own values, one column per name; ``pull``: (rows, names), how far each input draws
    the customer from the middle of all customers towards the cluster; ``known``: :func:`quantiles`.
    """
    phrases = np.full(pull.shape, None, dtype=object)
    for index, name in enumerate(names):
        if name in known:
            phrases[:, index] = _phrases(name, inputs[name].to_numpy(dtype=float), np.asarray(known[name]))
    order = np.argsort(-pull, axis=1, kind="stable")
    told = np.take_along_axis(phrases, order, axis=1)
    counts = (np.take_along_axis(pull, order, axis=1) > 0) & pd.notna(told)
    place = counts.cumsum(axis=1)
    result = np.full(len(pull), None, dtype=object)
    for slot in range(1, MOST + 1):
        rows, columns = np.nonzero(counts & (place == slot))
        found = told[rows, columns]
        result[rows] = found if slot == 1 else result[rows] + "; " + found
    return result


def _phrases(name: str, values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """One phrase for each value, None where it lies in the middle, where it ties with many, or is not known."""
    below = np.searchsorted(levels, values, side="left")  # quantiles strictly below the value
    above = len(levels) - np.searchsorted(levels, values, side="right")
    percents = [0, *(round(100 * level) for level in LEVELS)]
    plain = name.replace("_", " ")
    low, high = PHRASES.get(name, (f"lower {plain} than {{}} of customers", f"higher {plain} than {{}} of customers"))
    result = np.full(len(values), None, dtype=object)
    for count, percent in enumerate(percents):
        if percent < 100 * DISTINCT:
            continue
        result[above == count] = low.format(f"{percent} %")
        result[below == count] = high.format(f"{percent} %")
    if name == "frequency":
        result[values == 1] = "has ordered once"
    result[np.isnan(values)] = None
    return result
