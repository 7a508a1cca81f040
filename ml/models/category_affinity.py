"""Category affinity: the favourite categories of each customer, for "20 % off your favourite categories".

A customer's share of purchases in each category, recent ones counting more, shrunken to what everybody buys
(:mod:`ml.propensity.affinity`). Scored is everybody with a purchase in a known category; the score is the affinity of
the first favourite, that is the share of the next purchases that is expected to fall into it. Sessions do not say
which categories were viewed, so purchases alone count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from pydantic import Field

from ml import files
from ml.propensity import affinity
from ml.propensity.affinity import Prior, Purchases
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Scores, Tiers, Trained

LINES = "customer_order_lines"


class Settings(ModelSettings):
    """Settings of the model."""

    horizon_days: int = Field(default=30, gt=0, description="the days after a cut that are foretold to fit and measure")
    top: int = Field(default=5, ge=1, le=50, description="favourites of each customer")
    half_lives_days: tuple[float, ...] = Field(
        default=(30.0, 60.0, 120.0, 240.0, 480.0), min_length=1, description="how fast purchases fade: what is tried"
    )
    minimum_customers: int = Field(default=50, ge=10, description="fewest who bought before and after a cut to fit")
    high_share: float = Field(default=0.2, gt=0, lt=0.5, description="the clearest favourites, tier high")
    medium_share: float = Field(default=0.3, gt=0, lt=0.5, description="the next ones, tier medium; the rest is low")


@dataclass(frozen=True)
class Affinity:
    """The prior and the settings that it is applied with."""

    prior: Prior
    settings: Settings


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Fit on the last ``horizon_days``; measured by a fit on the ``horizon_days`` before, which foretells the last.

    What is served has seen every purchase up to ``as_of``. There is no chance in it, so ``seed`` changes nothing.
    """
    del seed
    lines = frames[LINES]
    horizon = timedelta(days=settings.horizon_days)
    test = as_of - horizon
    prior, reason = _fit(lines, test, as_of, as_of, settings)
    metrics: Metrics = {
        "categories": int((prior.popularity > 0).sum()),
        "half_life_days": prior.half_life_days,
        "concentration": prior.concentration,
        "fallback": reason,
    }
    earlier, _ = _fit(lines, test - horizon, test, test, settings)
    measured, rows = _measure(earlier, lines, test, as_of, settings)
    return Trained(Affinity(prior, settings), metrics | measured, rows)


def evaluate(fitted: Affinity, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version foretells the categories of the last ``horizon_days``."""
    cut = as_of - timedelta(days=fitted.settings.horizon_days)
    return _measure(fitted.prior, frames[LINES], cut, as_of, fitted.settings)[0]


def holdout(fitted: Affinity, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """One row per customer who bought before and in the last ``horizon_days``.

    ``prediction`` is the affinity of the first favourite, ``truth`` the share of purchases that fell into it;
    ``ndcg`` is the customer's own.
    """
    cut = as_of - timedelta(days=fitted.settings.horizon_days)
    return _measure(fitted.prior, frames[LINES], cut, as_of, fitted.settings)[1]


def quality(rows: pd.DataFrame) -> float | None:
    """Mean NDCG over customers: the order of the favourites is what is used."""
    return float(rows["ndcg"].mean()) if len(rows) else None


def score(fitted: Affinity, frames: Frames, as_of: datetime) -> Scores:
    """``rows``: the first favourite's affinity; ``items``: the favourites in order, with a reason in words."""
    bought = affinity.purchases(frames[LINES], as_of, categories=tuple(fitted.prior.popularity.index))
    places, shares = affinity.ranked(bought, fitted.prior, fitted.settings.top)
    customers, top = places.shape
    owner = np.repeat(np.arange(customers), top)
    items = pd.DataFrame(
        {
            "customer_id": bought.customers[owner],
            "rank": np.tile(np.arange(1, top + 1), customers),
            "item_id": bought.categories[places.ravel()],
            "score": np.round(shares.ravel(), 6),
            "reason": _reasons(bought, owner, places.ravel()),
        }
    )
    first = items[items["rank"] == 1]
    rows = pd.DataFrame(
        {
            "customer_id": first["customer_id"].to_numpy(),
            "score": first["score"].to_numpy(),
            "reasons": first["reason"].to_numpy(),
            "favourite_category": first["item_id"].to_numpy(),
        }
    )
    return Scores(rows, items)


def tiers(fitted: Affinity) -> Tiers:
    """High, medium and low by the settings' shares."""
    return Tiers({"high": fitted.settings.high_share, "medium": fitted.settings.medium_share}, "low")


def inputs(fitted: Affinity, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """``customer_id``, ``purchases`` (faded), ``categories`` and ``favourite_category`` of everybody who is scored."""
    bought = affinity.purchases(frames[LINES], as_of, categories=tuple(fitted.prior.popularity.index))
    counts = bought.counts(fitted.prior.half_life_days)
    places, _ = affinity.ranked(bought, fitted.prior, 1)
    return pd.DataFrame(
        {
            "customer_id": bought.customers,
            "purchases": np.asarray(counts.sum(axis=1)).ravel(),
            "categories": np.diff(counts.indptr),
            "favourite_category": bought.categories[places[:, 0]] if len(places) else np.empty(0, dtype=object),
        }
    )


def outcomes(fitted: Affinity, frames: Frames, scored_as_of: datetime, as_of: datetime) -> pd.DataFrame | None:
    """``truth``: the share of the purchases in the horizon that fell into the favourite, of those who bought then."""
    until = scored_as_of + timedelta(days=fitted.settings.horizon_days)
    if as_of < until:
        return None
    rows = _measure(fitted.prior, frames[LINES], scored_as_of, until, fitted.settings)[1]
    return None if rows is None else rows[["customer_id", "truth"]]


def dump(fitted: Affinity) -> dict[str, bytes]:
    """One JSON file; categories and shares of everybody, to ten digits."""
    prior = fitted.prior
    about = {
        "half_life_days": prior.half_life_days,
        "concentration": float(f"{prior.concentration:.10g}"),
        "popularity": {str(name): float(f"{share:.10g}") for name, share in prior.popularity.items()},
        "settings": fitted.settings.model_dump(mode="json"),
    }
    return {"affinity.json": files.json_bytes(about)}


def load(artefact: Mapping[str, bytes]) -> Affinity:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["affinity.json"])
    popularity = pd.Series(about["popularity"], dtype=float)
    return Affinity(
        Prior(about["half_life_days"], about["concentration"], popularity), Settings.model_validate(about["settings"])
    )


def _fit(
    lines: pd.DataFrame, cut: datetime, until: datetime, known: datetime, settings: Settings
) -> tuple[Prior, str | None]:
    """Half-life and concentration from (cut, until], popularity from everything up to ``known``."""
    before, after = affinity.purchases(lines, cut), affinity.purchases(lines, until, since=cut)
    both = len(np.intersect1d(before.customers.astype(str), after.customers.astype(str)))
    everything = affinity.purchases(lines, known)
    if both < settings.minimum_customers:
        half_life = settings.half_lives_days[len(settings.half_lives_days) // 2]
        reason = (
            f"concentration 10, half-life {half_life:g} days as set, not fitted: {both} customers bought in known"
            f" categories before and after the cut, {settings.minimum_customers} are needed"
        )
        return Prior(half_life, 10.0, affinity.popularity(everything, half_life)), reason
    prior = affinity.fit(before, after, settings.half_lives_days)
    share = affinity.popularity(everything, prior.half_life_days)
    return Prior(prior.half_life_days, prior.concentration, share), None


def _measure(
    prior: Prior, lines: pd.DataFrame, cut: datetime, until: datetime, settings: Settings
) -> tuple[Metrics, pd.DataFrame | None]:
    """NDCG and hit rate (any of the first three bought) in (cut, until], beside two baselines."""
    before = affinity.purchases(lines, cut, categories=tuple(prior.popularity.index))
    after = affinity.purchases(lines, until, since=cut)
    next_of = pd.Index(after.customers).get_indexer(before.customers)
    chosen = next_of >= 0
    if not chosen.any():
        return {"ndcg": None, "holdout_missing": "nobody bought before and after the cut"}, None
    distinct = np.diff(after.counts(1e9).indptr)[next_of[chosen]]
    share = affinity.popularity(before, prior.half_life_days)
    rankings = {
        "": prior,
        "_popular": Prior(prior.half_life_days, 1e12, share),
        "_own_most_frequent": Prior(1e9, 1e-9, share),
    }
    metrics: Metrics = {"holdout_customers": int(chosen.sum())}
    rows = pd.DataFrame({"customer_id": before.customers[chosen]})
    for suffix, ranking in rankings.items():
        places, shares = affinity.ranked(before, ranking, settings.top)
        relevant = affinity.relevance(places, before.categories, before.customers, after)[chosen]
        gains = affinity.ndcg(relevant, distinct)
        metrics[f"ndcg{suffix}"] = float(gains.mean())
        metrics[f"hit_rate_at_3{suffix}"] = float(relevant[:, :3].any(axis=1).mean())
        metrics[f"hit_rate_at_1{suffix}"] = float(relevant[:, 0].mean())
        if not suffix:
            rows = rows.assign(
                truth=_share_of(places[chosen, 0], before, after, next_of[chosen]),
                prediction=shares[chosen, 0],
                ndcg=gains,
            )
    return metrics, rows


def _share_of(first: np.ndarray, before: Purchases, after: Purchases, rows: np.ndarray) -> np.ndarray:
    """The share of each customer's next purchases that fell into one category."""
    counts = after.counts(1e9)
    column = pd.Index(after.categories).get_indexer(before.categories[first])
    found = np.asarray(counts[rows, np.maximum(column, 0)]).ravel()
    totals = np.asarray(counts.sum(axis=1)).ravel()[rows]
    return np.where(column >= 0, found / totals, 0.0)


def _reasons(bought: Purchases, owner: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How often the customer bought there and when last, or that everybody does."""
    orders, days = bought.facts(owner, places)
    pairs, where = np.unique(np.column_stack([orders, days.astype(np.int64)]), axis=0, return_inverse=True)
    return np.array([_reason(int(order), int(day)) for order, day in pairs], dtype=object)[where.ravel()]


def _reason(orders: int, days: int) -> str:
    if not orders:
        return "popular with other customers"
    often = {1: "once", 2: "twice"}.get(orders, f"in {orders} orders")
    when = {0: "less than a day ago", 1: "1 day ago"}.get(days, f"{days} days ago")
    return f"bought {often}, last {when}"


MODEL = ModelSpec(
    name="category_affinity",
    features={LINES: ("customer_id", "order_id", "ordered_at", "product_id", "category")},
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    holdout=holdout,
    quality=quality,
    tiers=tiers,
    inputs=inputs,
    outcomes=outcomes,
)
