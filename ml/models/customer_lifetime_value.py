"""Customer lifetime value: what each customer is expected to spend in the next ``horizon_days``.

BG/NBD or Pareto/NBD says how many purchases to expect, Gamma-Gamma what one is worth; boosted trees, taught on past
snapshots, correct their product where that has proved to help. Which of them serve is chosen on a window earlier
than the one they are measured on. With fewer repeat customers than ``minimum_repeat_customers`` pooled means stand
in, and the metrics say so. A purchase, and an expected order, is a day with one or more orders, as in the papers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from ml import files
from ml.lifetime import boosted, choose, drivers, measure, probability
from ml.lifetime.intervals import purchase_quantile, value_quantile
from ml.lifetime.measure import HIGH, LOW, quality
from ml.lifetime.probability import Probability
from ml.lifetime.summary import actual, days_of, summarise
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Scores, Tiers, Trained

if TYPE_CHECKING:
    from xgboost import Booster

HORIZONS = (30, 90, 365)


class Settings(ModelSettings):
    """Settings of the model."""

    horizon_days: int = Field(default=90, gt=0, description="how far ahead the score looks; no discounting")
    holdout_days: int = Field(default=90, gt=0, description="the end of the history that is predicted to measure it")
    high_share: float = Field(default=0.2, gt=0, lt=1, description="the best customers, tier high")
    medium_share: float = Field(default=0.3, gt=0, lt=1, description="the next ones, tier medium; the rest is low")
    minimum_repeat_customers: int = Field(default=50, ge=3, description="with fewer, pooled means stand in")
    minimum_buyers: int = Field(default=500, ge=50, description="in past snapshots; with fewer, no boosted trees")
    purchase_model: Literal["auto", "bg_nbd", "pareto_nbd"] = Field(
        default="auto", description="auto: the better one on the validation window"
    )
    spend_model: Literal["auto", "gamma_gamma", "pooled_spend"] = Field(
        default="auto", description="auto: the better one on the validation window"
    )
    spend_observations: Literal["auto", "every", "repeat"] = Field(
        default="auto",
        description="values that spend is fitted to: of every purchase, or of repeat purchases as in the paper",
    )

    @model_validator(mode="after")
    def room_for_the_rest(self) -> Settings:
        """The named shares leave somebody in tier low."""
        if self.high_share + self.medium_share >= 1:
            raise ValueError("high_share + medium_share must stay below 1")
        return self


@dataclass(frozen=True)
class LifetimeValue:
    """The fitted parts, and what they are applied with.

    ``weight``: of the trees; ``window``: the days ahead that they were taught on. ``typical``: the customer whom
    reasons compare with; ``importance``: the inputs' shares of the distance from that customer.
    """

    probability: Probability
    booster: Booster | None
    weight: float
    window: int
    typical: Mapping[str, float]
    importance: Mapping[str, float]
    settings: Settings

    def factor(self, orders: pd.DataFrame, summary: pd.DataFrame, cut: date) -> np.ndarray:
        """By how much the trees correct each customer's expected value, over any horizon; 1 without trees."""
        if self.booster is None:
            return np.ones(len(summary))
        table = boosted.inputs(orders, summary, cut, self.probability, self.window)
        return 1 - self.weight + self.weight * boosted.factors(self.booster, table)


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Fit on all orders up to ``as_of``; measured by doing the same without the last ``holdout_days``.

    Reads ``customer_orders`` (``customer_id``, ``order_date``, ``net_amount``). ``seed`` is the trees' alone.
    """
    orders = _orders(frames)
    summary = summarise(orders, until=as_of.date())
    fitted, found = _fit(orders, as_of.date(), settings, seed)
    metrics: Metrics = {
        "customers": len(summary),
        "repeat_customers": int((summary["purchases"] > 0).sum()),
        "horizon_days": settings.horizon_days,
        "orders_a_purchase": _orders_a_purchase(orders, summary, as_of.date()),
        "fallback": found.fallback,
        **found.metrics,
        **probability.parameters(fitted.probability),
    }
    repeat = summary[summary["purchases"] > 0]
    metrics["frequency_spend_correlation"] = measure.correlation(repeat["purchases"], repeat["repeat_spend"])
    cut, why_not = _holdout_start(orders, as_of.date(), settings)
    if cut is None:
        return Trained(fitted, {**metrics, **_unmeasured(settings, why_not)})
    earlier, earlier_found = _fit(orders[days_of(orders) <= pd.Timestamp(cut)], cut, settings, seed)
    held_out = measure.predicted(earlier, orders, cut, as_of.date())
    metrics |= _measured(earlier, held_out, settings)
    metrics |= {f"holdout_{name}": earlier_found.metrics[name] for name in ("boosted_weight", "boosted_missing")}
    tracking = measure.tracking(earlier, orders, cut, as_of.date())
    return Trained(fitted, metrics, held_out, measure.curves(held_out, tracking))


def evaluate(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version, as it is, predicts the last ``holdout_days`` before ``as_of`` from what came before."""
    held_out = holdout(fitted, frames, as_of)
    if held_out is None:
        return _unmeasured(fitted.settings, _holdout_start(_orders(frames), as_of.date(), fitted.settings)[1])
    return _measured(fitted, held_out, fitted.settings)


def holdout(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """What a version says of the last ``holdout_days`` before ``as_of``, from what came before, and what happened.

    One row per customer who had ordered by then: ``truth`` and ``prediction`` (value), ``purchases`` and
    ``expected_purchases``, the same of the naive baseline and of the probability model alone, and the interval.
    """
    orders = _orders(frames)
    cut, _ = _holdout_start(orders, as_of.date(), fitted.settings)
    return None if cut is None else measure.predicted(fitted, orders, cut, as_of.date())


def score(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer with an order: the expected value in the currency of the orders, and its details.

    ``expected_orders_<days>d`` counts days with an order. Each has its interval, ``_low`` to ``_high``: one
    customer in ten, at most, ends below it, and one in ten above. ``probability_alive`` is the chance that the
    customer has not left for good.
    """
    orders, cut = _orders(frames), as_of.date()
    summary = summarise(orders, until=cut)
    model, horizon = fitted.probability, fitted.settings.horizon_days
    factor = fitted.factor(orders, summary, cut)
    alive, spend = model.probability_alive(summary), model.expected_spend(summary)
    square, pair = model.second_moments(summary)
    days = tuple(dict.fromkeys((*HORIZONS, horizon)))
    outlooks = dict(zip(days, model.outlook(summary, days), strict=True))
    value = outlooks[horizon].expected * spend * factor
    rows = {"customer_id": summary["customer_id"], "score": np.round(value, 6)}
    table = drivers.parts(outlooks[horizon].expected, alive, spend, factor)
    rows["reasons"] = drivers.reasons(table, fitted.typical, summary)
    rows["probability_alive"] = np.round(alive, 6)
    for each in HORIZONS:
        outlook = outlooks[each]
        rows[f"expected_orders_{each}d"] = np.round(outlook.expected, 6)
        rows[f"expected_value_{each}d"] = np.round(outlook.expected * spend * factor, 6)
        for end, share in (("low", LOW), ("high", HIGH)):
            rows[f"expected_orders_{each}d_{end}"] = purchase_quantile(outlook, share)
            at = value_quantile(outlook, spend, square, pair, share) * factor
            rows[f"expected_value_{each}d_{end}"] = np.round(at, 6)
    return Scores(pd.DataFrame(rows))


def tiers(fitted: LifetimeValue) -> Tiers:
    """High and medium by the configured shares; everybody else is low."""
    return Tiers({"high": fitted.settings.high_share, "medium": fitted.settings.medium_share}, rest="low")


def inputs(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What the models read of each customer: counts, days, and money in mean values of a purchase.

    Without the age of a customer and without what was not known: both grow with time alone.
    """
    orders, cut = _orders(frames), as_of.date()
    summary = summarise(orders, until=cut)
    table = boosted.inputs(orders, summary, cut, fitted.probability, fitted.window)
    result = table.drop(columns=["age_days"])
    result.insert(0, "customer_id", summary["customer_id"].to_numpy())
    return result


def outcomes(fitted: LifetimeValue, frames: Frames, scored_as_of: datetime, as_of: datetime) -> pd.DataFrame | None:
    """What customers spent in the horizon after they were scored; None until all of it has passed."""
    start = scored_as_of.date()
    end = start + timedelta(days=fitted.settings.horizon_days)
    if end > as_of.date():
        return None
    orders = _orders(frames)
    known = summarise(orders, until=start)["customer_id"]
    truth = actual(orders, after=start, until=end).reindex(known)["value"].fillna(0.0)
    return pd.DataFrame({"customer_id": known.to_numpy(), "truth": truth.to_numpy()})


def importance(fitted: LifetimeValue) -> Mapping[str, float]:
    """Each input's share of what tells customers apart: by the parts of the score, and by the trees' gain in theirs."""
    return fitted.importance


def dump(fitted: LifetimeValue) -> dict[str, bytes]:
    """JSON with settings and parameters, and the trees in XGBoost's own format where they have a weight."""
    content = {
        **probability.dump(fitted.probability),
        "weight": fitted.weight,
        "window": fitted.window,
        "typical": dict(fitted.typical),
        "importance": dict(fitted.importance),
        "settings": fitted.settings.model_dump(mode="json"),
    }
    artefact = {"parameters.json": files.json_bytes(content)}
    if fitted.booster is not None:
        artefact["booster.ubj"] = bytes(fitted.booster.save_raw("ubj"))
    return artefact


def load(artefact: Mapping[str, bytes]) -> LifetimeValue:
    """The inverse of :func:`dump`."""
    content = json.loads(artefact["parameters.json"])
    booster = None
    if "booster.ubj" in artefact:
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(artefact["booster.ubj"]))
    return LifetimeValue(
        probability.load(content),
        booster,
        content["weight"],
        content["window"],
        content["typical"],
        content["importance"],
        Settings.model_validate(content["settings"]),
    )


def _orders(frames: Frames) -> pd.DataFrame:
    return frames["customer_orders"]


def _fit(orders: pd.DataFrame, until: date, settings: Settings, seed: int) -> tuple[LifetimeValue, choose.Fitted]:
    """The whole procedure on what was known at the end of a day: choose, fit, and describe the typical customer."""
    candidates = choose.Candidates(
        _either(settings.purchase_model, "bg_nbd", "pareto_nbd"),
        _either(settings.spend_model, "gamma_gamma", "pooled_spend"),
        _either(settings.spend_observations, "every", "repeat"),
        settings.minimum_repeat_customers,
        settings.minimum_buyers,
    )
    found = choose.fit(orders, until, settings.horizon_days, candidates, seed)
    bare = LifetimeValue(found.probability, found.booster, found.weight, found.window, {}, {}, settings)
    summary = summarise(orders, until=until)
    table = drivers.parts(
        found.probability.expected_purchases(summary, settings.horizon_days),
        found.probability.probability_alive(summary),
        found.probability.expected_spend(summary),
        bare.factor(orders, summary, until),
    )
    typical = drivers.typical(table)
    shares = drivers.shares(table, typical)
    learned = shares.pop("trend", 0.0)
    for name, gain in (boosted.gains(found.booster) if found.booster is not None else {}).items():
        shares[name] = shares.get(name, 0.0) + learned * gain
    rounded = {name: float(f"{share:.10g}") for name, share in shares.items()}
    fitted = LifetimeValue(found.probability, found.booster, found.weight, found.window, typical, rounded, settings)
    return fitted, found


def _either(setting: str, *all_of_them: str) -> tuple[str, ...]:
    return all_of_them if setting == "auto" else (setting,)


def _orders_a_purchase(orders: pd.DataFrame, summary: pd.DataFrame, until: date) -> float | None:
    """How many orders a purchase, a day with orders, has on average: what turns expected purchases into orders."""
    purchases = int(summary["purchases"].sum()) + len(summary)
    return int((days_of(orders) <= pd.Timestamp(until)).sum()) / purchases if purchases else None


def _holdout_start(orders: pd.DataFrame, end: date, settings: Settings) -> tuple[date | None, str]:
    """The last day of the training part, or None and the reason why nothing can be measured."""
    if orders.empty:
        return None, "no orders"
    first = pd.to_datetime(orders["order_date"]).min().date()
    cut = end - timedelta(days=settings.holdout_days)
    if 2 * (cut - first).days < settings.holdout_days:
        return None, (
            f"{(end - first).days} days of orders, at least {settings.holdout_days * 3 // 2} are needed"
            f" to hold out {settings.holdout_days}"
        )
    return cut, ""


def _unmeasured(settings: Settings, reason: str) -> Metrics:
    return {"holdout_days": settings.holdout_days, "holdout_missing": reason, "holdout_rank_correlation": None}


def _measured(fitted: LifetimeValue, held_out: pd.DataFrame, settings: Settings) -> Metrics:
    name = probability.name(fitted.probability.purchases)
    return {"holdout_days": settings.holdout_days, "holdout_purchase_model": name, **measure.metrics(held_out)}


MODEL = ModelSpec(
    name="customer_lifetime_value",
    features={"customer_orders": ("customer_id", "order_date", "net_amount")},
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
    importance=importance,
)
