"""Online Retail: who orders in the next 30 days, against a rule by recency and frequency and against the base rate.

Run as ``python -m benchmarks.ml.propensity [--data ../shared/data/online_retail] [--output
build/bench/ml_propensity.json]``. The test snapshot is the last one with 30 days of outcomes behind it; snapshots
before it are for training, choosing and calibrating. The same is repeated as of one and two months earlier, to show
that the last month is no luck. Two leaks are planted and have to be refused by the name of their input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from benchmarks.ml.data import online_retail
from benchmarks.ml.rows import row, run
from ml.models.purchase_propensity import MODEL, TARGET, Settings
from ml.propensity import engine
from ml.propensity.inputs import point_in_time_inputs
from ml.propensity.leaks import LeakError
from ml.propensity.outcomes import ordered
from ml.propensity.settings import Target
from ml.spec import Frames, Metrics

SEED = 1
EARLIER = 2
REPORTED = ("roc_auc", "lift_at_10", "brier_skill", "calibration_slope")


def measure(data: Path) -> list[dict[str, Any]]:
    """Every figure; ``baseline`` is the rule by recency and frequency, or what the base rate alone reaches."""
    frames = online_retail(data)
    as_of = frames["customer_orders"]["ordered_at"].max().ceil("D").to_pydatetime()
    found = _metrics(frames, as_of)
    if found["roc_auc"] is None:
        raise SystemExit(f"{data}: nothing to measure: {found['holdout_missing']}")
    rows = _bars(found)
    earlier = [_metrics(frames, as_of - timedelta(days=30 * months)) for months in range(1, EARLIER + 1)]
    earlier = [one for one in earlier if one["roc_auc"] is not None and one["fallback"] is None]
    for name in REPORTED if earlier else ():
        rows.append(
            row(
                f"the same {len(earlier)} month(s) before, median: {name.replace('_', ' ')}",
                median(one[name] for one in earlier),
                "",
                "reported",
                True,
                median(one[f"{name}_rule"] for one in earlier),
            )
        )
    return rows + _leaks(frames, as_of)


def _metrics(frames: Frames, as_of: datetime) -> Metrics:
    known = {
        name: frames[name][frames[name]["ordered_at"] <= as_of] for name in ("customer_orders", "customer_order_lines")
    }
    return MODEL.train(known, as_of, Settings(), SEED).metrics


def _bars(found: Metrics) -> list[dict[str, Any]]:
    slope = found["calibration_slope"]
    return [
        row("ROC-AUC", found["roc_auc"], "", ">= .72", found["roc_auc"] >= 0.72, found["roc_auc_rule"]),
        row("lift at 10 %", found["lift_at_10"], "", ">= 2.4", found["lift_at_10"] >= 2.4, found["lift_at_10_rule"]),
        row("Brier skill against the base rate", found["brier_skill"], "", "> 0", found["brier_skill"] > 0, 0.0),
        row("calibration slope", slope, "", ".8 to 1.25", 0.8 <= slope <= 1.25, found["calibration_slope_rule"]),
        row(
            "calibration intercept (slope held at 1)",
            found["calibration_intercept"],
            "",
            "reported",
            True,
            found["calibration_intercept_rule"],
        ),
        row(
            "expected calibration error",
            found["calibration_error"],
            "",
            "reported",
            True,
            found["calibration_error_rule"],
        ),
        row("PR-AUC", found["pr_auc"], "", "> base rate", found["pr_auc"] > found["pr_auc_base_rate"], None),
        row("Brier score", found["brier"], "", "reported", True, found["brier_base_rate"]),
        row("customers of the test snapshot", found["test_rows"], "", "reported", True),
    ]


def _leaks(frames: Frames, as_of: datetime) -> list[dict[str, Any]]:
    """An input that reads events after the cut, and one that was joined in without an instant."""

    def reads_ahead(frames: Frames, cut: datetime, *arguments: Any) -> pd.DataFrame:
        inputs = point_in_time_inputs(frames, cut, *arguments)
        # Three days ahead are too little to stand out by their ROC-AUC: only taking away later events shows them.
        return inputs.assign(planted=ordered(frames, cut, cut + timedelta(days=3), inputs.index))

    whole = {"customer_orders": frames["customer_orders"]}

    def joined_in(frames: Frames, cut: datetime, *arguments: Any) -> pd.DataFrame:
        inputs = point_in_time_inputs(frames, cut, *arguments)
        return inputs.assign(planted=ordered(whole, cut, cut + timedelta(days=30), inputs.index))

    return [
        _caught("planted leak: an input that reads three days ahead", reads_ahead, frames, as_of),
        _caught("planted leak: the outcome joined in without an instant", joined_in, frames, as_of),
    ]


def _caught(what: str, make: Callable[..., pd.DataFrame], frames: Frames, as_of: datetime) -> dict[str, Any]:
    target: Target = replace(TARGET, make_inputs=make)
    try:
        engine.train(target, frames, as_of, Settings(), SEED)
        is_named = False
    except LeakError as error:
        is_named = "the input planted" in str(error)
    return row(what, float(is_named), "", "caught by name", is_named)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 2 without the data, 1 if a bar is missed, else 0."""
    return run("propensity", "online_retail", __doc__.splitlines()[0], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
