"""Complete Journey: the categories that a household buys from in the last 30 days, against two simple answers.

Run as ``python -m benchmarks.ml.category_affinity [--data ../shared/data/complete_journey] [--output
build/bench/ml_category_affinity.json]``. Half-life and concentration are fitted on the 30 days before the last 30.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ml.data import complete_journey_lines
from benchmarks.ml.rows import row, run
from ml.models.category_affinity import LINES, MODEL, Settings


def measure(data: Path) -> list[dict[str, Any]]:
    """Every figure beside the better of the two baselines: everybody's most popular, the own most frequent."""
    lines = complete_journey_lines(data)
    as_of = lines["ordered_at"].max().ceil("D").to_pydatetime()
    trained = MODEL.train({LINES: lines}, as_of, Settings(), 0)
    rows = []
    for name, what in (
        ("ndcg", "NDCG@5"),
        ("hit_rate_at_1", "hit rate of the first"),
        ("hit_rate_at_3", "hit rate of the first three"),
    ):
        value = trained.metrics[name]
        for suffix, baseline in (("_popular", "most popular"), ("_own_most_frequent", "own most frequent")):
            other = trained.metrics[f"{name}{suffix}"]
            is_bar = name == "ndcg"
            reach = "> baseline" if is_bar else "reported"
            rows.append(row(f"{what}, against the {baseline}", value, "", reach, value > other or not is_bar, other))
    error = float(np.abs(trained.holdout["truth"].mean() - trained.holdout["prediction"].mean()))
    rows.append(row("share of the first favourite: off by, mean", error, "share", "reported", True))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 2 without the data, 1 if a bar is missed, else 0."""
    return run("category_affinity", "complete_journey", __doc__.splitlines()[0], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
