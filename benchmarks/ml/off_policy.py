"""Open Bandit: what a policy would have earned, told from clicks on items that were shown at random.

Run as ``python -m benchmarks.ml.off_policy [--data ../shared/data/open_bandit] [--output <file>]``.
Each campaign: a policy fitted on the earlier half and evaluated on the later one, beside rejection sampling; then the
same on simulated clicks, whose truth is known, to count how often the intervals are right. Widths are compared with
those of plain inverse propensity with the same kind of interval; its normal interval is shown beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ml.rows import row, run
from ml.off_policy.estimators import (
    Estimate,
    doubly_robust,
    inverse_propensity,
    normal_interval,
    rejection_sampling,
    self_normalised,
)
from ml.off_policy.rewards import cross_fitted, smoothed_rates, softmax_policy

SIMULATIONS = 500
PRIOR = 1.0
"""Expected clicks to which item rates are shrunk, in the policy and in the simulated truth: items differ."""

COVERAGE = (0.90, 0.98)
COLUMNS = {"timestamp", "item_id", "position", "click", "propensity_score"}
DOUBLY_ROBUST, SELF_NORMALISED, PLAIN, NORMAL = (
    "doubly robust",
    "self-normalised",
    "plain inverse propensity",
    "plain inverse propensity, normal interval",
)


@dataclass(frozen=True)
class Log:
    """One campaign: positions and items from 0, clicks, everything in the order of time, shown uniformly."""

    name: str
    position: np.ndarray
    item: np.ndarray
    click: np.ndarray
    positions: int
    items: int


def measure(folder: Path) -> list[dict[str, Any]]:
    """Every figure as the benchmarks' common rows."""
    rows = []
    for log in _logs(folder):
        rows += _real(log) + _simulated(log)
    if not rows:
        raise SystemExit(f"{folder}: no Parquet file of a uniform log with {', '.join(sorted(COLUMNS))}")
    return rows


def _logs(folder: Path) -> Iterator[Log]:
    """The campaigns of the folder whose every item had the same chance."""
    for file in sorted(folder.glob("*.parquet")):
        data = pd.read_parquet(file)
        if not set(data.columns) >= COLUMNS or data["propensity_score"].nunique() != 1:
            continue
        data = data.sort_values("timestamp", kind="stable")
        yield Log(
            file.stem.removeprefix("random_"),
            data["position"].to_numpy() - 1,
            data["item_id"].to_numpy(),
            data["click"].to_numpy(dtype=float),
            int(data["position"].max()),
            round(1 / float(data["propensity_score"].iloc[0])),
        )


def _fit(position: np.ndarray, item: np.ndarray, click: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return softmax_policy(smoothed_rates(position, item, click, shape, prior=PRIOR))


def _estimates(position: np.ndarray, item: np.ndarray, click: np.ndarray, policy: np.ndarray) -> dict[str, Estimate]:
    weight, largest = policy[position, item] * policy.shape[1], float(policy.max() * policy.shape[1])
    logged, ahead = cross_fitted(position, item, click, policy)
    return {
        DOUBLY_ROBUST: doubly_robust(click, weight, logged, ahead, largest_weight=largest),
        SELF_NORMALISED: self_normalised(click, weight, largest_weight=largest),
        PLAIN: inverse_propensity(click, weight, largest_weight=largest),
        "rejection sampling": rejection_sampling(click, weight, largest_weight=largest, seed=0),
    }


def _real(log: Log) -> list[dict[str, Any]]:
    """Clicks per 1,000 that the policy would have had in the later half; baseline: what the random one had."""
    middle = len(log.click) // 2
    early, late = slice(0, middle), slice(middle, None)
    policy = _fit(log.position[early], log.item[early], log.click[early], (log.positions, log.items))
    found = _estimates(log.position[late], log.item[late], log.click[late], policy)
    check = found.pop("rejection sampling")
    logged = float(log.click[late].mean()) * 1000
    rows = [
        row(
            f"Open Bandit {log.name}, rejection sampling, clicks per 1,000 ({check.decisions} kept)",
            check.value * 1000,
            "",
            f"{check.lower * 1000:.2f} to {check.upper * 1000:.2f}",
            True,
            logged,
        )
    ]
    for name in (DOUBLY_ROBUST, SELF_NORMALISED, PLAIN):
        one = found[name]
        rows.append(
            row(
                f"  {name} ({one.lower * 1000:.2f} to {one.upper * 1000:.2f})",
                one.value * 1000,
                "",
                "in the interval above",
                check.lower <= one.value <= check.upper,
                check.value * 1000,
            )
        )
    return rows


def _simulated(log: Log) -> list[dict[str, Any]]:
    """Coverage and median width over simulations: the log's positions, random items, clicks by smoothed rates."""
    shape, size = (log.positions, log.items), len(log.click)
    truth = smoothed_rates(log.position, log.item, log.click, shape, prior=PRIOR)
    middle = size // 2
    found: dict[str, list[tuple[bool, float, float]]] = {}
    for seed in range(SIMULATIONS):
        chance = np.random.default_rng(seed)
        position = log.position[chance.integers(0, size, size)]
        item = chance.integers(0, log.items, size)
        click = (chance.random(size) < truth[position, item]).astype(float)
        policy = _fit(position[:middle], item[:middle], click[:middle], shape)
        value = float((policy * truth).sum(axis=1)[log.position].mean())
        estimates = _estimates(position[middle:], item[middle:], click[middle:], policy)
        ends = {name: (one.lower, one.upper) for name, one in estimates.items()}
        ends[NORMAL] = normal_interval(estimates[PLAIN])
        for name, (lower, upper) in ends.items():
            error = estimates[name].value - value if name in estimates else 0.0
            found.setdefault(name, []).append((lower <= value <= upper, upper - lower, error))
    coverage = {name: float(np.mean([one[0] for one in all_])) for name, all_ in found.items()}
    width = {name: float(np.median([one[1] for one in all_])) * 1000 for name, all_ in found.items()}
    bias = float(np.mean([one[2] for one in found[DOUBLY_ROBUST]])) * 1000
    rows = []
    for name in (DOUBLY_ROBUST, SELF_NORMALISED):
        rows += [
            row(
                f"  {name}, coverage over {SIMULATIONS} simulations",
                coverage[name],
                "",
                f"{COVERAGE[0]} to {COVERAGE[1]}",
                COVERAGE[0] <= coverage[name] <= COVERAGE[1],
                coverage[PLAIN],
            ),
            row(
                f"  {name}, median width, clicks per 1,000",
                width[name],
                "",
                "<= baseline",
                width[name] <= width[PLAIN],
                width[PLAIN],
            ),
        ]
    rows += [
        row(f"  {DOUBLY_ROBUST}, mean error, clicks per 1,000", bias, "", "shown", True),
        row(f"  {NORMAL}, coverage", coverage[NORMAL], "", "shown", True),
        row(f"  {NORMAL}, median width", width[NORMAL], "", "shown", True),
        row("  rejection sampling, coverage", coverage["rejection sampling"], "", "shown", True),
    ]
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every bar is reached."""
    return run("off_policy", "open_bandit", __doc__.splitlines()[0], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
