"""Uplift: whom an e-mail moves to order, learned from readers that campaigns held back by lot.

The score is the estimated gain in the probability of an order within ``horizon_days``. Tiers are "mail" and "do not
mail" only where the model's order is surely better than chance and than the simple rules (:mod:`ml.uplift.decision`);
otherwise, and where there is no experiment, everybody gets the same score and the tier "no evidence".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from threadpoolctl import threadpool_limits

from ml import files
from ml.errors import FeatureError
from ml.spec import Curve, Frames, Metrics, ModelSettings, ModelSpec, Scores, Tiers, Trained
from ml.uplift import artefact as learners_files
from ml.uplift.decision import RESPONSE, Assessment, Comparison, assess, decide, fit_best
from ml.uplift.experiment import Experiment, effect_scores, experiment
from ml.uplift.inputs import WORDS, inputs_at, ordered_within
from ml.uplift.learners import LEARNERS, Learned
from ml.uplift.measures import gain_values, qini, qini_curve

MAIL, DO_NOT_MAIL, NO_EVIDENCE = "mail", "do not mail", "no evidence"
RECENT = "the most recent buyers first"
RULES = {RECENT: lambda inputs: -inputs[:, list(WORDS).index("days_since_order")]}
RECENT_DAYS = 30
"""Assignments so late that a version of a month ago has not seen what became of them are the hold-out."""


class Settings(ModelSettings):
    """Settings of the model."""

    horizon_days: int = Field(default=14, gt=0, description="an order counts this long after the lot was drawn")
    share: float = Field(default=0.3, gt=0, lt=1, description="the best share of customers, who get the tier mail")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the two-sided intervals that decide")
    minimum_rows: int = Field(default=200, ge=20, description="assignments in each arm; with fewer nobody is targeted")
    minimum_outcomes: int = Field(default=20, ge=5, description="orders in each arm; with fewer nobody is targeted")
    maximum_rows: int = Field(default=50_000, ge=1_000, description="with more, customers are drawn by chance")
    learners: tuple[str, ...] = Field(
        default=("two models, linear", "transformed outcome, linear", "doubly robust, boosted"),
        description="learners to choose from, by cross-fitting",
    )

    @field_validator("learners")
    @classmethod
    def known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Every learner is one that exists."""
        if not names or not set(names) <= set(LEARNERS):
            raise ValueError(f"expected some of {', '.join(LEARNERS)}")
        return names


@dataclass(frozen=True)
class Uplift:
    """What is said of everybody, and of each customer where ``learned`` may be used.

    ``effect`` is that of mailing everybody; ``means`` and ``importance`` are those of the inputs in the experiment;
    ``reason`` is the decision in words.
    """

    settings: Settings
    reason: str
    effect: float = 0.0
    learned: Learned | None = None
    means: Mapping[str, float] | None = None
    importance: Mapping[str, float] | None = None


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Learn from ``experiments`` whose outcomes are known at ``as_of``, and decide by cross-fitting.

    ``experiments`` has ``customer_id``, ``experiment_id``, ``arm`` (treated or control) and ``assigned_at``. A
    customer's chance of being treated is the experiment's share of treated ones.
    """
    rows = _assignments(frames["experiments"], as_of, settings, seed)
    metrics: Metrics = {
        "experiments": int(rows["experiment_id"].nunique()),
        "assignments": len(rows),
        "customers": int(rows["customer_id"].nunique()),
        "horizon_days": settings.horizon_days,
        "target": False,
        "served_gain": None,
        "learner": None,
        "fallback": None,
    }
    with threadpool_limits(limits=1):
        if rows.empty:
            return _nothing(settings, "no experiment on record", metrics)
        given = _experiment(rows, frames, settings)
        arms = [given.treated == arm for arm in (1, 0)]
        fewest, outcomes = min(int(arm.sum()) for arm in arms), min(int(given.outcome[arm].sum()) for arm in arms)
        metrics |= {"treated_share": float(given.treated.mean()), "outcome_rate": float(given.outcome.mean())}
        if fewest < settings.minimum_rows or outcomes < settings.minimum_outcomes:
            reason = (
                f"{fewest} assignments and {outcomes} orders in the smaller arm, at least {settings.minimum_rows}"
                f" and {settings.minimum_outcomes} are needed"
            )
            return _nothing(settings, reason, metrics)
        return _train(given, rows, as_of, settings, seed, metrics)


def _train(
    given: Experiment, rows: pd.DataFrame, as_of: datetime, settings: Settings, seed: int, metrics: Metrics
) -> Trained:
    found = assess(
        given,
        RULES,
        learners=settings.learners,
        share=settings.share,
        confidence=settings.confidence,
        repeats=1,
        seed=seed,
    )
    verdict = decide(found)
    learned, gains = fit_best(given, learners=settings.learners, seed=seed)
    metrics |= {
        "target": verdict.target,
        "decision": verdict.reason,
        "served_gain": found.comparisons[0].gain * 1000 if verdict.target else 0.0,
        "learner": learned.name,
        "fallback": None if verdict.target else verdict.reason,
        **_measured(found, given),
    }
    metrics |= {f"chosen_by_gain_{name.replace(', ', '_').replace(' ', '_')}": gain for name, gain in gains.items()}
    # A version that does not target says the same of everybody: this is what has to be compared with others.
    held = _holdout(rows, given, found.order if verdict.target else np.zeros(len(given)), as_of, settings)
    about = {"settings": settings, "reason": verdict.reason, "effect": _digits(found.effect.gain)}
    if not verdict.target:
        return Trained(Uplift(**about), metrics, held, _curves(found, given))
    strength = np.abs(learned.contributions(given.inputs)).mean(axis=0)
    fitted = Uplift(
        **about,
        learned=learned,
        means={name: _digits(value) for name, value in zip(WORDS, given.inputs.mean(axis=0), strict=True)},
        importance={name: _digits(value) for name, value in zip(WORDS, strength / strength.sum(), strict=True)},
    )
    return Trained(fitted, metrics, held, _curves(found, given))


def evaluate(fitted: Uplift, frames: Frames, as_of: datetime) -> Metrics:
    """What a version gains over chance, per 1,000 customers, on the latest assignments with known outcomes."""
    held = holdout(fitted, frames, as_of)
    gain = None if held is None else quality(held)
    return {
        "assignments": 0 if held is None else len(held),
        "served_gain": None if gain is None else gain * 1000,
        "target": fitted.learned is not None,
    }


def holdout(fitted: Uplift, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """What a version says of the latest assignments, which it has not seen if it is a month old."""
    rows = _assignments(frames["experiments"], as_of, fitted.settings, 0)
    if rows.empty:
        return None
    with threadpool_limits(limits=1):
        given = _experiment(rows, frames, fitted.settings)
        said = np.zeros(len(given)) if fitted.learned is None else fitted.learned.effect(given.inputs)
    return _holdout(rows, given, said, as_of, fitted.settings)


def quality(held: pd.DataFrame) -> float | None:
    """The gain over mailing as many at random, averaged over all shares: orders per customer; 0 for equal scores."""
    if held["treated"].nunique() < 2:
        return None
    level = np.full(len(held), held["truth"].mean())
    known = Experiment(
        np.empty((len(held), 0)), *(held[name].to_numpy() for name in ("treated", "truth", "propensity", "customer_id"))
    )
    return float(gain_values(held["prediction"].to_numpy(), effect_scores(known, level, level)).mean())


def score(fitted: Uplift, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer of ``customer_features``: the gain in the probability of an order, and what speaks for it.

    Reasons are inputs that raise the gain where it is above the average effect, and such that lower it elsewhere.
    """
    table = inputs(fitted, frames, as_of)
    effect = np.full(len(table), fitted.effect)
    reasons = np.full(len(table), "no sure gain from choosing whom to mail", dtype=object)
    if fitted.learned is not None and len(table):
        data = table[list(WORDS)].to_numpy(dtype=float)
        with threadpool_limits(limits=1):
            effect = np.round(fitted.learned.effect(data), 6)
            reasons = _reasons(data, fitted.learned.contributions(data), effect >= fitted.effect, fitted)
    # The last digits of a product depend on how many customers are scored together.
    score_ = np.round(effect, 6)
    return Scores(pd.DataFrame({"customer_id": table["customer_id"], "score": score_, "reasons": reasons}))


def tiers(fitted: Uplift) -> Tiers:
    """The best share is mailed; nobody is told from others where the decision was not to target."""
    if fitted.learned is None:
        return Tiers({}, rest=NO_EVIDENCE)
    return Tiers({MAIL: fitted.settings.share}, rest=DO_NOT_MAIL)


def inputs(fitted: Uplift, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """``customer_id`` and the inputs at ``as_of``, one row per customer, sorted."""
    del fitted
    customers = frames["customer_features"]["customer_id"].sort_values().reset_index(drop=True)
    moments = pd.DataFrame({"customer_id": customers, "at": pd.Timestamp(as_of)})
    return pd.concat([customers, inputs_at(moments, frames)], axis=1)


def importance(fitted: Uplift) -> Mapping[str, float]:
    """Each input's share of the mean absolute contribution to the effect; nothing where nobody is targeted."""
    return dict(fitted.importance or {})


def dump(fitted: Uplift) -> dict[str, bytes]:
    """What is said of everybody as JSON, and the learner's files where it may be used."""
    about = {
        "settings": fitted.settings.model_dump(mode="json"),
        "reason": fitted.reason,
        "effect": fitted.effect,
        "means": fitted.means,
        "importance": fitted.importance,
    }
    learner = {} if fitted.learned is None else learners_files.dump(fitted.learned)
    return {"uplift.json": files.json_bytes(about), **learner}


def load(artefact: Mapping[str, bytes]) -> Uplift:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["uplift.json"])
    about["settings"] = Settings.model_validate(about["settings"])
    return Uplift(**about, learned=learners_files.load(artefact) if "learner.json" in artefact else None)


def _nothing(settings: Settings, reason: str, metrics: Metrics) -> Trained:
    reason = f"do not target: {reason}"
    return Trained(Uplift(settings, reason), {**metrics, "decision": reason, "fallback": reason})


def _assignments(experiments: pd.DataFrame, as_of: datetime, settings: Settings, seed: int) -> pd.DataFrame:
    """Assignments whose outcome is known, of experiments with both arms; one per customer and experiment, in order."""
    strangers = sorted(set(experiments["arm"].dropna().unique()) - {"treated", "control"})
    if strangers:
        raise FeatureError(f"experiments.arm: expected treated or control, found {strangers[0]}; correct the frame")
    known = pd.to_datetime(experiments["assigned_at"], utc=True) <= as_of - timedelta(days=settings.horizon_days)
    rows = experiments[known & experiments["arm"].notna()]
    rows = rows.sort_values(["customer_id", "experiment_id", "assigned_at", "arm"], kind="stable")
    rows = rows.drop_duplicates(["customer_id", "experiment_id"])
    rows = rows.assign(treated=(rows["arm"] == "treated").astype(float))
    rows["propensity"] = rows.groupby("experiment_id")["treated"].transform("mean")
    rows = rows[(rows["propensity"] > 0) & (rows["propensity"] < 1)].reset_index(drop=True)
    if len(rows) > settings.maximum_rows:
        customers = rows["customer_id"].unique()
        share = settings.maximum_rows / len(rows)
        rows = rows[rows["customer_id"].isin(customers[np.random.default_rng(seed).random(len(customers)) < share])]
    return rows.reset_index(drop=True)


def _experiment(rows: pd.DataFrame, frames: Frames, settings: Settings) -> Experiment:
    moments = rows[["customer_id"]].assign(at=rows["assigned_at"])
    return experiment(
        inputs_at(moments, frames).to_numpy(dtype=float),
        rows["treated"].to_numpy(),
        ordered_within(moments, frames["customer_orders"], settings.horizon_days),
        propensity=rows["propensity"].to_numpy(),
        unit=pd.factorize(rows["customer_id"])[0],
    )


def _holdout(
    rows: pd.DataFrame, given: Experiment, said: np.ndarray, as_of: datetime, settings: Settings
) -> pd.DataFrame | None:
    """Outcomes and predictions of the latest assignments; None where there is none."""
    since = as_of - timedelta(days=settings.horizon_days + RECENT_DAYS)
    recent = (pd.to_datetime(rows["assigned_at"], utc=True) > since).to_numpy()
    held = pd.DataFrame(
        {
            "customer_id": rows["customer_id"].to_numpy(),
            "truth": given.outcome,
            "prediction": said,
            "treated": given.treated,
            "propensity": given.propensity,
        }
    )
    return held[recent].reset_index(drop=True) if recent.any() else None


def _measured(found: Assessment, given: Experiment) -> Metrics:
    """The comparisons as metrics, and the Qini coefficients of the cross-fitted orders."""
    metrics: Metrics = {
        **_interval("effect", found.effect),
        **_interval("top_share_effect", found.top),
        "qini": _number(qini(found.order, given.treated, given.outcome)),
    }
    for one, name in zip((*found.comparisons, found.response), ("random", "recent", "response"), strict=True):
        metrics |= _interval(f"gain_over_{name}", one)
    for rule, name in ((RESPONSE, "response"), (RECENT, "recent")):
        metrics[f"qini_{name}"] = _number(qini(found.rule_orders[rule], given.treated, given.outcome))
    return metrics


def _interval(name: str, one: Comparison) -> Metrics:
    return {name: one.gain, f"{name}_lower": one.lower, f"{name}_upper": one.upper}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _curves(found: Assessment, given: Experiment) -> dict[str, Curve]:
    """Qini curves per customer mailed, at fifty shares."""
    at = np.linspace(0, 1, 51)
    lines = {}
    for name, order in (("the model", found.order), *found.rule_orders.items()):
        shares, gains = qini_curve(order, given.treated, given.outcome)
        heights = np.interp(at, shares, gains / given.treated.sum())
        lines[name] = [(float(x), float(y)) for x, y in zip(at, heights, strict=True)]
    lines["at random"] = [(0.0, 0.0), lines["the model"][-1]]
    return {"qini": Curve("Whom to mail", "share of customers mailed", "orders gained per customer", lines)}


def _reasons(data: np.ndarray, parts: np.ndarray, is_raised: np.ndarray, fitted: Uplift) -> np.ndarray:
    """Up to three inputs that raise (or lower) the gain most, each against the average customer of the experiment."""
    means = np.array([fitted.means[name] for name in WORDS])
    phrases = np.array([[f"{words} {side} average" for words in WORDS.values()] for side in ("below", "above")], object)
    speaks = np.round(np.where(is_raised[:, None], parts, -parts), 9)
    best, rows = np.argsort(-speaks, axis=1, kind="stable")[:, :3], np.arange(len(data))
    reasons = np.full(len(data), "", dtype=object)
    for place in best.T:
        phrase = phrases[(data[rows, place] > means[place]).astype(int), place]
        added = np.where(reasons == "", phrase, reasons + "; " + phrase)
        reasons = np.where(speaks[rows, place] > 0, added, reasons)
    return reasons


def _digits(value: float) -> float:
    return float(f"{float(value):.10g}")


MODEL = ModelSpec(
    name="uplift",
    features={
        "customer_features": ("customer_id",),
        "customer_orders": ("customer_id", "ordered_at", "net_amount", "gross_amount"),
        "customer_emails": ("customer_id", "sent_at", "opened_at", "clicked_at"),
        "customer_sessions": ("customer_id", "started_at"),
        "experiments": ("customer_id", "experiment_id", "arm", "assigned_at"),
    },
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
    importance=importance,
)
