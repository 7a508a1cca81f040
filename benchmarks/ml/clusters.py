"""Clusters on Online Retail: how many, how steady from month to month, and what a million customers cost.

Run as ``python -m benchmarks.ml.clusters [--data FOLDER] [--output FILE]``.
Dates follow from the data: versions as of its end and every 30 days before, while there are 90 days to look back on.
Baselines: the number of clusters that silhouette alone picks, and versions that do not know the one before.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ml.data import online_retail
from benchmarks.ml.rows import row, run
from ml import config
from ml.models.customer_clusters import MODEL, Clusters, Settings

SEED = 1
EVERY, FIRST = timedelta(days=30), timedelta(days=90)
MANY = 1_000_000
REDRAWN = 10


def measure(folder: Path) -> list[dict[str, Any]]:
    """Every figure as the benchmarks' common rows."""
    orders = online_retail(folder)["customer_orders"]
    settings = config.configured("customer_clusters").settings
    end = orders["ordered_at"].max()
    today = features(orders, end)
    return [
        *_choice(today, settings),
        *_months(orders, settings.model_copy(update={"compare": False})),
        *_redrawn(today, settings.model_copy(update={"compare": False})),
        *_speed(today, settings.model_copy(update={"compare": False})),
    ]


def features(orders: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The inputs of everybody who has ordered by ``as_of``."""
    grouped = orders[orders["ordered_at"] <= as_of].groupby("customer_id")
    ordered = grouped["ordered_at"]
    return pd.DataFrame(
        {
            "recency_days": (as_of - ordered.max()).dt.days,
            "frequency": grouped.size(),
            "monetary": grouped["net_amount"].sum(),
            "tenure_days": (as_of - ordered.min()).dt.days,
        }
    ).reset_index()


def _choice(today: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    found = _train(today, settings, SEED).metrics
    alone = found["clusters_silhouette_alone"]
    rows = [
        row("clusters (baseline: silhouette alone)", found["clusters"], "", "3 to 8", found["fallback"] is None, alone)
    ]
    for figure, bar in (("silhouette", 0.30), ("stability", 0.80), ("smallest_share", 0.04)):
        rows.append(
            row(f"their {figure}", found[figure], "", f">= {bar}", found[figure] >= bar, found[f"{figure}_{alone}"])
        )
    own = f"comparison_{settings.algorithm}"
    for figure in ("silhouette", "stability"):
        for algorithm in ("hierarchical", "hdbscan", "dbscan"):
            other = found[f"comparison_{algorithm}_{figure}"]
            clusters = found[f"comparison_{algorithm}_clusters"]
            noise = found[f"comparison_{algorithm}_noise"]
            what = f"{figure} beside {algorithm}'s {clusters} clusters, {noise:.0%} noise"
            rows.append(row(what, found[f"{own}_{figure}"], "", "shown", True, other))
    return rows


def _months(orders: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    """Customers who have not ordered since the version before, and whether they are called as before.

    They have aged by 30 days all the same, so that some rightly move ("new" to "lapsed"): it is the difference to
    versions that do not know each other that counts.
    """
    instants, instant = [], orders["ordered_at"].max()
    while instant >= orders["ordered_at"].min() + FIRST:
        instants.insert(0, instant)
        instant -= EVERY
    kept: dict[str, list[float]] = {"tier": [], "cluster": [], "tier alone": [], "cluster alone": []}
    version, before, clusters = None, None, []
    for instant in instants:
        frame = features(orders, instant)
        alone = _train(frame, settings, SEED)
        continued = alone if version is None else _train(frame, settings, SEED, version)
        version = continued.fitted
        clusters.append(continued.metrics["clusters"])
        now = _scored(version, frame).join(_scored(alone.fitted, frame), suffixes=("", " alone"))
        now = now.join(frame.set_index("customer_id")["frequency"])
        if before is not None:
            both = before.join(now, how="inner", suffixes=("", " now"))
            both = both[both["frequency"] == both["frequency now"]]
            for what in kept:
                kept[what].append(float((both[what] == both[f"{what} now"]).mean()))
        before = now
    mean = {what: float(np.mean(shares)) for what, shares in kept.items()}
    names = f"name kept from month to month, no order between ({', '.join(map(str, clusters))} clusters)"
    is_better = mean["tier"] > mean["tier alone"]
    return [
        row(names, mean["tier"], "share", "> baseline", is_better, mean["tier alone"]),
        row(
            "number kept from month to month, no order between",
            mean["cluster"],
            "share",
            "> baseline",
            mean["cluster"] > mean["cluster alone"],
            mean["cluster alone"],
        ),
    ]


def _redrawn(today: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    """Versions of nine tenths of the customers: nothing about anybody has changed, only who else is there."""
    first = _train(today, settings, SEED).fitted
    before = _scored(first, today)
    kept: dict[str, list[float]] = {"tier": [], "cluster": [], "tier alone": [], "cluster alone": []}
    for draw in range(1, REDRAWN + 1):
        part = today.sample(frac=0.9, random_state=draw)
        for suffix, previous in (("", first), (" alone", None)):
            now = _scored(_train(part, settings, SEED + draw, previous).fitted, today)
            for what in ("tier", "cluster"):
                kept[what + suffix].append(float((now[what] == before[what]).mean()))
    mean = {what: float(np.mean(shares)) for what, shares in kept.items()}
    return [
        row(
            f"{word} kept when a tenth of the others is left out",
            mean[what],
            "share",
            "> baseline",
            mean[what] > mean[f"{what} alone"],
            mean[f"{what} alone"],
        )
        for word, what in (("name", "tier"), ("number", "cluster"))
    ]


def _speed(today: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    """Online Retail's customers a million times with some noise, and what choosing on a sample costs in quality."""
    chance = np.random.default_rng(SEED)
    many = today.sample(MANY, replace=True, random_state=SEED).reset_index(drop=True)
    for column in ("recency_days", "monetary", "tenure_days"):
        many[column] = many[column] * np.exp(chance.normal(0, 0.05, len(many)))
    many["customer_id"] = [f"c{number:07d}" for number in range(len(many))]
    begin = time.process_time()
    trained = _train(many, settings, SEED)
    seconds = time.process_time() - begin
    begin = time.process_time()
    _scored(trained.fitted, many)
    scoring = time.process_time() - begin
    sampled = _train(today, settings.model_copy(update={"sample": 1_000}), SEED)
    whole = _train(today, settings, SEED)
    quality = MODEL.evaluate(sampled.fitted, {"customer_features": today}, None)["silhouette"]
    full = MODEL.evaluate(whole.fitted, {"customer_features": today}, None)["silhouette"]
    return [
        row("k-sweep 2 to 8 with stability and final fit, 1 million", seconds, "CPU s", "<= 15", seconds <= 15),
        row("scoring 1 million with reasons", scoring, "CPU s", "shown", True),
        row(
            f"silhouette, chosen on a third ({sampled.metrics['clusters']} clusters) against on all",
            quality,
            "",
            ">= baseline - 0.02",
            quality >= full - 0.02,
            full,
        ),
    ]


def _train(frame: pd.DataFrame, settings: Settings, seed: int, previous: Clusters | None = None) -> Any:
    return MODEL.train({"customer_features": frame}, None, settings, seed, previous)


def _scored(fitted: Clusters, frame: pd.DataFrame) -> pd.DataFrame:
    rows = MODEL.score(fitted, {"customer_features": frame}, None).rows
    return rows.set_index("customer_id")[["tier", "cluster"]]


if __name__ == "__main__":
    sys.exit(run("clusters", "online_retail", __doc__.splitlines()[0], measure))
