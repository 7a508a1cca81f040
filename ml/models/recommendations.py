"""Recommendations: the products that each customer is likely to buy next, with a reason for each.

Candidates come from EASE, item-item and user-user neighbours, content, own purchases, popularity and new products;
a ranker that learned on earlier snapshots orders them. Whoever is not known gets what is popular. Where the history
is too short for a ranker, own items and EASE stand in, and the metrics say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from threadpoolctl import threadpool_limits

from ml import files
from ml.errors import FeatureError
from ml.recommendations import measure, ranker, store
from ml.recommendations.candidates import customer_features
from ml.recommendations.fit import Fitter, Plan, buyers_after, past_shelf
from ml.recommendations.history import History, history
from ml.recommendations.lists import POPULAR, Judge, Lists, Rules, popular_list, popular_reasons, reasons, recommend
from ml.recommendations.metrics import hits
from ml.recommendations.ranker import Ranker
from ml.recommendations.shelf import STATISTICS, Choices, Lessons, Shelf, lay_out
from ml.spec import ANONYMOUS, Frames, Metrics, ModelSettings, ModelSpec, Scores, Trained

_MATRICES = ("ease", "item_item", "user_user")


class Settings(ModelSettings):
    """Settings of the model."""

    places: int = Field(default=20, ge=1, le=100, description="products in a list")
    fresh_places: int = Field(default=2, ge=0, description="places of a list for products that are new")
    new_days: int = Field(default=60, gt=0, description="for so long after it was made a product is new")
    just_bought_days: float = Field(default=14, ge=0, description="what was bought since is left out")
    repeat_rate: float = Field(default=0.2, ge=0, le=1, description="unless so many of its buyers buy it again")
    horizon_days: int = Field(default=30, gt=0, description="the ranker learns what is bought within so many days")
    snapshots: int = Field(default=4, ge=1, description="earlier instants that the ranker learns from")
    snapshot_step_days: int = Field(default=15, gt=0, description="days from one snapshot to the next")
    warm_items: int = Field(default=3_500, ge=10, le=10_000, description="most products that have neighbours")
    neighbours: int = Field(default=100, ge=5, description="neighbours kept of each product")
    segment: str | None = Field(default=None, description="column of customer_features; popularity by it for strangers")

    @model_validator(mode="after")
    def room_for_what_is_liked(self) -> Settings:
        """New products do not fill the list."""
        if self.fresh_places >= self.places:
            raise ValueError("fresh_places must stay below places")
        return self

    def plan(self) -> Plan:
        """How much is learned."""
        return Plan(
            horizon_days=self.horizon_days,
            snapshots=self.snapshots,
            snapshot_step_days=self.snapshot_step_days,
            warm_items=self.warm_items,
            neighbours=self.neighbours,
            new_days=self.new_days,
        )

    def rules(self) -> Rules:
        """What a list may hold."""
        return Rules(self.places, self.fresh_places, self.just_bought_days, self.repeat_rate, self.plan().limits)


@dataclass(frozen=True)
class Recommender:
    """What was learned of the items, the ranker (None: a simple rule stands in) and the settings."""

    lessons: Lessons
    ranker: Ranker | None
    settings: Settings

    @property
    def judge(self) -> Judge:
        """What orders the candidates."""
        return ranker.simple_judgement if self.ranker is None else self.ranker.judge


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Learn from all purchases up to ``as_of``; measured on the last ``horizon_days`` by a fit that ends before them.

    Deterministic in the rows' order too; chance (which customers are drawn where there are very many, and which
    rows and columns a tree sees) comes from ``seed``.
    """
    lines, plan = frames["customer_order_lines"], settings.plan()
    fitter = Fitter(lines, frames["products"], plan, seed, _segment(frames["customer_features"], settings))
    with threadpool_limits(limits=1):
        cut = as_of - timedelta(days=settings.horizon_days)
        earlier, measured = None, {"ndcg_at_10": None, "holdout_missing": "no purchase before the held-out days"}
        if (lines["ordered_at"] <= pd.Timestamp(cut)).any():
            past = Recommender(*fitter.fit(cut)[:2], settings)
            earlier, measured = _measure(past, frames, cut, as_of)
        lessons, order, reason = fitter.fit(as_of)
    if not len(lessons.items):
        reason = "new products only: no purchase is known"
    metrics: Metrics = {
        "customers": int(lines["customer_id"].nunique()),
        "items": len(lessons.items),
        "warm_items": len(lessons.warm),
        "regularisation": lessons.choices.regularisation,
        "half_life_days": lessons.choices.half_life_days,
        "fallback": reason,
        **measured,
    }
    return Trained(Recommender(lessons, order, settings), metrics, earlier)


def evaluate(fitted: Recommender, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version, as it is, ranks what was bought in the last ``horizon_days`` before ``as_of``.

    ``outcomes_seen`` says whether it was trained on some of these outcomes.
    """
    cut = as_of - timedelta(days=fitted.settings.horizon_days)
    return {**_measure(fitted, frames, cut, as_of)[1], "outcomes_seen": fitted.lessons.cut > cut}


def holdout(fitted: Recommender, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """The rows of ``Trained.holdout`` for a version that exists; None where it was trained on these outcomes."""
    cut = as_of - timedelta(days=fitted.settings.horizon_days)
    if fitted.lessons.cut > cut:
        return None
    return _measure(fitted, frames, cut, as_of)[0]


def quality(rows: pd.DataFrame) -> float | None:
    """The mean NDCG@10."""
    return float(rows["ndcg"].mean()) if len(rows) else None


def score(fitted: Recommender, frames: Frames, as_of: datetime) -> Scores:
    """The lists of everybody who bought or is known through ``customer_features``, and of ``ANONYMOUS``.

    ``score``: how many products of the list the customer is expected to buy within ``horizon_days``, given that
    anything is bought; ``tier``: what the first product stands there for (buy again, personal, popular, none);
    ``reasons``: why the first one. In ``items`` the score is the relevance that the list is ordered by.
    """
    settings = fitted.settings
    with threadpool_limits(limits=1):
        shelf = _shelf(fitted, frames["products"], as_of)
        bought = _bought(frames, shelf, as_of)
        is_known = np.diff(bought.start) > 0
        known = bought.taken(np.flatnonzero(is_known))
        found = recommend(shelf, known, fitted.judge, settings.rules())
        words, kinds = reasons(shelf, known, found)
        expected = np.bincount(found.row, weights=found.probability, minlength=len(known.customers))
        personal = _items(known.customers[found.row], found, shelf.items[found.item], words)
        first = found.place == 0
        listed = pd.DataFrame(
            {"score": np.round(expected, 6), "tier": "none", "reasons": ""},
            index=pd.Index(known.customers, dtype=object),
        )
        listed.iloc[found.row[first], 1] = kinds[first]
        listed.iloc[found.row[first], 2] = words[first]
        rows, items = [listed], [personal]
        segments = _segment(frames["customer_features"], settings)
        strangers = bought.customers[~is_known]
        of_stranger = np.full(len(strangers), None, dtype=object)
        if segments is not None:
            of_stranger = segments.reindex(strangers).to_numpy(dtype=object)
        of_stranger = np.where(np.isin(of_stranger.astype(str), list(fitted.lessons.segments)), of_stranger, "")
        for segment in sorted({"", *of_stranger}):
            who = np.append(strangers[of_stranger == segment], [ANONYMOUS] if segment == "" else [])
            for_rows, for_items = _popular(shelf, settings.rules(), segment or None, who)
            rows.append(for_rows.drop(index=ANONYMOUS, errors="ignore"))
            items.append(for_items)
    everybody = pd.concat([part for part in rows if len(part)] or rows[:1]).rename_axis("customer_id").reset_index()
    lists = pd.concat([part for part in items if len(part)] or items[:1], ignore_index=True)
    everybody = everybody.sort_values("customer_id", kind="stable").reset_index(drop=True)
    return Scores(everybody, lists.sort_values(["customer_id", "rank"], kind="stable").reset_index(drop=True))


def inputs(fitted: Recommender, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What the ranker reads of each customer; one row per customer with a purchase of a known item."""
    bought = _bought(frames, _shelf(fitted, frames["products"], as_of), as_of)
    bought = bought.taken(np.flatnonzero(np.diff(bought.start) > 0))
    return pd.DataFrame({"customer_id": bought.customers, **customer_features(bought)})


def outcomes(fitted: Recommender, frames: Frames, scored_as_of: datetime, as_of: datetime) -> pd.DataFrame | None:
    """How many products of the list the customer bought, of those who bought anything within ``horizon_days``."""
    until = scored_as_of + timedelta(days=fitted.settings.horizon_days)
    if as_of < until:
        return None
    with threadpool_limits(limits=1):
        shelf = past_shelf(fitted.lessons, frames["products"], fitted.settings.plan(), scored_as_of)
        outcome = buyers_after(frames["customer_order_lines"], shelf.items, scored_as_of, until)
        rules = fitted.settings.rules()
        lists = recommend(shelf, outcome.bought, fitted.judge, rules).table(len(outcome.bought.customers), rules.places)
    truth = hits(lists, outcome.row, outcome.item).sum(axis=1)
    return pd.DataFrame({"customer_id": outcome.bought.customers, "truth": truth})


def importance(fitted: Recommender) -> Mapping[str, float]:
    """Each feature's share of the trees' gain; nothing where a simple rule stands in."""
    return {} if fitted.ranker is None else fitted.ranker.importance()


def dump(fitted: Recommender) -> dict[str, bytes]:
    """JSON for what is small, npz for items and matrices, XGBoost's own format for the trees."""
    lessons = fitted.lessons
    about = {
        "cut": lessons.cut.isoformat(),
        "choices": {
            "regularisation": lessons.choices.regularisation,
            "half_life_days": lessons.choices.half_life_days,
        },
        "settings": fitted.settings.model_dump(mode="json"),
        "segments": sorted(lessons.segments),
        "ranker": None,
    }
    segments = [lessons.segments[name] for name in sorted(lessons.segments)]
    arrays = {
        "items": lessons.items,
        "warm": lessons.warm,
        **{name: getattr(lessons, name) for name in _MATRICES},
        **{f"statistics_{name}": values for name, values in lessons.statistics.items()},
        "segment_popularity": np.array(segments, dtype=np.float32).reshape(len(segments), len(lessons.items)),
    }
    if fitted.ranker is None:
        return {"model.json": files.json_bytes(about), "items.npz": store.dump(arrays)}
    about["ranker"] = {"location": fitted.ranker.location, "spread": fitted.ranker.spread}
    return {"model.json": files.json_bytes(about), "items.npz": store.dump(arrays), **fitted.ranker.dump()}


def load(artefact: Mapping[str, bytes]) -> Recommender:
    """The inverse of :func:`dump`."""
    about, arrays = json.loads(artefact["model.json"]), store.load(artefact["items.npz"])
    lessons = Lessons(
        cut=datetime.fromisoformat(about["cut"]),
        choices=Choices(**about["choices"]),
        items=arrays["items"].astype(object),
        statistics={name: arrays[f"statistics_{name}"] for name in STATISTICS},
        warm=arrays["warm"],
        segments=dict(zip(about["segments"], arrays["segment_popularity"], strict=True)),
        **{name: arrays[name] for name in _MATRICES},
    )
    trees = None
    if about["ranker"] is not None:
        trees = ranker.load(artefact, about["ranker"]["location"], about["ranker"]["spread"])
    return Recommender(lessons, trees, Settings.model_validate(about["settings"]))


def _measure(
    fitted: Recommender, frames: Frames, cut: datetime, until: datetime
) -> tuple[pd.DataFrame | None, Metrics]:
    settings = fitted.settings
    lines, products = frames["customer_order_lines"], frames["products"]
    with threadpool_limits(limits=1):
        return measure.holdout(
            fitted.lessons, fitted.judge, lines, products, settings.plan(), settings.rules(), cut, until
        )


def _shelf(fitted: Recommender, products: pd.DataFrame, as_of: datetime) -> Shelf:
    plan = fitted.settings.plan()
    return lay_out(
        fitted.lessons,
        products,
        as_of,
        in_stock_only=True,
        neighbours=plan.content_neighbours,
        cold_items=plan.cold_items,
        new_days=plan.new_days,
    )


def _bought(frames: Frames, shelf: Shelf, as_of: datetime) -> History:
    """What everybody in the frames has bought of the shelf's items."""
    lines = frames["customer_order_lines"]
    ids = pd.concat([frames["customer_features"]["customer_id"], lines["customer_id"]]).unique()
    return history(lines, shelf.items, as_of, np.array(sorted(ids), dtype=object))


def _segment(features: pd.DataFrame, settings: Settings) -> pd.Series | None:
    if settings.segment is None:
        return None
    if settings.segment not in features.columns:
        raise FeatureError(
            f"recommendations.settings.segment: {settings.segment} is no column of customer_features;"
            " add it to features.customer_features in models.yml, or leave the setting out"
        )
    return features.set_index("customer_id")[settings.segment]


def _items(customers: np.ndarray, found: Lists, items: np.ndarray, words: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": customers,
            "rank": found.place + 1,
            "item_id": items,
            "score": np.round(found.relevance, 6),
            "reason": words,
        }
    )


def _popular(
    shelf: Shelf, rules: Rules, segment: str | None, customers: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same list for all of some customers: their rows, indexed by customer, and their items."""
    chosen, share = popular_list(shelf, rules, segment)
    words = popular_reasons(share > 0)
    count = len(customers)
    items = pd.DataFrame(
        {
            "customer_id": np.repeat(customers, len(chosen)),
            "rank": np.tile(np.arange(1, len(chosen) + 1), count),
            "item_id": np.tile(shelf.items[chosen], count),
            "score": np.tile(np.round(share.astype(float), 6), count),
            "reason": np.tile(words, count),
        }
    )
    first = (POPULAR, words[0]) if len(chosen) else ("none", "")
    about = {"score": round(float(share.sum()), 6), "tier": first[0], "reasons": first[1]}
    return pd.DataFrame(about, index=pd.Index(customers, dtype=object)), items


MODEL = ModelSpec(
    name="recommendations",
    features={
        "customer_order_lines": ("customer_id", "order_id", "ordered_at", "product_id"),
        "customer_features": ("customer_id",),
        "products": ("product_id", "product_name", "category", "price", "is_in_stock", "created_at"),
    },
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    holdout=holdout,
    quality=quality,
    inputs=inputs,
    outcomes=outcomes,
    importance=importance,
)
