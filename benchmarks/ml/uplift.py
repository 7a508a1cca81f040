"""Hillstrom's e-mail experiment: whom an e-mail brings to the shop, and when not to target at all.

Run as ``python -m benchmarks.ml.uplift [--data ../shared/data/hillstrom] [--output build/bench/ml_uplift.json]``.
The learner is chosen on the training half of each split; the decision is cross-fitted on all rows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from benchmarks.ml.rows import row, run
from ml.uplift.decision import Rule, assess, decide, fit_best
from ml.uplift.experiment import Experiment, experiment
from ml.uplift.learners import response
from ml.uplift.measures import auuc, qini, uplift_at

SPLITS = 20
SHARE = 0.3
WOMEN, MEN, NOBODY = "Womens E-Mail", "Mens E-Mail", "No E-Mail"
INPUTS = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")
RECENT = "the most recent buyers first"


def measure(folder: Path) -> list[dict[str, Any]]:
    """Every figure as the benchmarks' common rows; the baseline is the response model's."""
    data = _read(folder)
    rows = []
    for arm, whose in ((WOMEN, "women's"), (MEN, "men's")):
        given, names = _experiment(data, arm)
        rows += _splits(given, whose, is_bar=arm == WOMEN)
        rows += _decision(given, {RECENT: _recent(names)}, whose, expected=arm == WOMEN)
    return rows


def _read(folder: Path) -> pd.DataFrame:
    wanted = {*INPUTS, "segment", "visit"}
    for file in sorted(folder.glob("*.parquet")):
        data = pd.read_parquet(file)
        if wanted <= set(data.columns):
            return data
    raise SystemExit(f"{folder}: no Parquet file with the columns {', '.join(sorted(wanted))}")


def _experiment(data: pd.DataFrame, arm: str) -> tuple[Experiment, list[str]]:
    data = data[data["segment"].isin([arm, NOBODY])].reset_index(drop=True)
    inputs = data[list(INPUTS)].assign(history=np.log1p(data["history"]))
    inputs = pd.get_dummies(inputs, columns=["zip_code", "channel"], dtype=float)
    given = experiment(inputs.to_numpy(dtype=float), (data["segment"] == arm).to_numpy(), data["visit"].to_numpy())
    return given, list(inputs.columns)


def _recent(names: list[str]) -> Rule:
    column = names.index("recency")
    return lambda inputs: -inputs[:, column]


def _splits(given: Experiment, whose: str, *, is_bar: bool) -> list[dict[str, Any]]:
    """Medians over stratified splits in halves; the model's bar holds for the women's e-mail only."""
    kind = 2 * given.treated + given.outcome
    found: dict[str, list[tuple[float, float]]] = {}
    chosen: list[str] = []
    for seed in range(SPLITS):
        train, test = train_test_split(np.arange(len(given)), test_size=0.5, stratify=kind, random_state=seed)
        seen, unseen = given.take(np.sort(train)), given.take(np.sort(test))
        learned, _ = fit_best(seen, folds_count=5, seed=seed)
        chosen.append(learned.name)
        scores = {"model": learned.effect(unseen.inputs), "response": response(seen).predict(unseen.inputs)}
        for name, score in scores.items():
            truth = (unseen.treated, unseen.outcome)
            found.setdefault(name, []).append(
                (qini(score, *truth), uplift_at(SHARE, score, *truth), auuc(score, *truth))
            )
    model, baseline = (np.median(np.array(found[name]), axis=0) for name in ("model", "response"))
    better = np.mean([one[0] > other[0] for one, other in zip(found["model"], found["response"], strict=True)])
    often = max(sorted(set(chosen)), key=chosen.count)
    rows = [
        row(
            f"Hillstrom, {whose} e-mail, Qini, median of {SPLITS} splits",
            model[0],
            "",
            "> 0 and > baseline" if is_bar else "shown",
            not is_bar or model[0] > max(0.0, baseline[0]),
            baseline[0],
        ),
        row(f"  splits with a Qini above the response model's ({often})", better, "share", "shown", True),
        row(f"  uplift at {SHARE:.0%}, visits per customer mailed", model[1], "", "shown", True, baseline[1]),
        row("  area under the uplift curve, visits per customer", model[2], "", "shown", True, baseline[2]),
    ]
    return rows


def _decision(given: Experiment, rules: dict[str, Rule], whose: str, *, expected: bool) -> list[dict[str, Any]]:
    """The lower bounds that decide, in visits per 1,000 customers, and the verdict."""
    found = assess(given, rules, share=SHARE)
    verdict = decide(found)
    sys.stdout.write(f"{whose} e-mail: {verdict.reason}\n")
    rows = [
        row(
            f"  gain over {one.over} per 1,000, lower bound ({one.gain * 1000:+.2f})",
            one.lower * 1000,
            "",
            "shown",
            True,
        )
        for one in (*found.comparisons, found.response)
    ]
    reach = "target (1)" if expected else "do not target (0)"
    rows.append(
        row(f"Hillstrom, {whose} e-mail, verdict", float(verdict.target), "", reach, verdict.target is expected)
    )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every bar is reached."""
    return run("uplift", "hillstrom", __doc__.splitlines()[0], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
