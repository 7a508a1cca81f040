"""Customer lifetime value: what each customer is expected to spend in the next ``horizon_days``.

BG/NBD says how many purchases to expect, Gamma-Gamma what one is worth; their product is the score. With fewer
repeat customers than ``minimum_repeat_customers`` both give way to pooled means, and the metrics say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from ml import files
from ml.frames import tiers
from ml.lifetime import bg_nbd, gamma_gamma
from ml.lifetime.bg_nbd import BgNbd
from ml.lifetime.gamma_gamma import GammaGamma
from ml.lifetime.simple import PooledRate, PooledSpend, pooled_rate, pooled_spend
from ml.lifetime.summary import DAYS_A_WEEK, actual, summarise
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Trained


class Settings(ModelSettings):
    """Settings of the model."""

    horizon_days: int = Field(default=90, gt=0, description="how far ahead the score looks; no discounting")
    holdout_days: int = Field(default=90, gt=0, description="the end of the history that is predicted to measure it")
    high_share: float = Field(default=0.2, gt=0, lt=1, description="the best customers, tier high")
    medium_share: float = Field(default=0.3, gt=0, lt=1, description="the next ones, tier medium; the rest is low")
    minimum_repeat_customers: int = Field(default=50, ge=3, description="with fewer, pooled means stand in")
    spend_observations: Literal["every", "repeat"] = Field(
        default="every",
        description="values that Gamma-Gamma sees: of every purchase, or of repeat purchases as in the paper",
    )

    @model_validator(mode="after")
    def room_for_the_rest(self) -> Settings:
        """The named shares leave somebody in tier low."""
        if self.high_share + self.medium_share >= 1:
            raise ValueError("high_share + medium_share must stay below 1")
        return self


@dataclass(frozen=True)
class LifetimeValue:
    """The two fitted parts and the settings that they are applied with."""

    purchases: BgNbd | PooledRate
    spend: GammaGamma | PooledSpend
    settings: Settings

    def expected(self, summary: pd.DataFrame, days: int) -> pd.DataFrame:
        """Purchases and value that each customer of a summary is expected to bring in the next ``days``."""
        count = self.purchases.expected_purchases(summary, days / DAYS_A_WEEK)
        each = self.spend.expected_spend(*_observed(summary, self.settings))
        return pd.DataFrame({"purchases": count, "value": count * each}, index=summary["customer_id"])


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Fit on all orders up to ``as_of``; measured by fitting without the last ``holdout_days`` and predicting them.

    Reads ``customer_orders`` (``customer_id``, ``order_date``, ``net_amount``). The fit has no chance in it, so
    ``seed`` changes nothing.
    """
    del seed
    orders = frames["customer_orders"]
    summary = summarise(orders, until=as_of.date())
    fitted, reason = _fit(summary, settings)
    metrics: Metrics = {
        "customers": len(summary),
        "repeat_customers": int((summary["purchases"] > 0).sum()),
        "horizon_days": settings.horizon_days,
        "fallback": reason,
        **_parameters(fitted),
    }
    repeat = summary[summary["purchases"] > 0]
    metrics["frequency_spend_correlation"] = _correlation(repeat["purchases"], repeat["repeat_spend"])
    cut, why_not = _holdout_start(orders, as_of.date(), settings)
    if cut is None:
        return Trained(fitted, {**metrics, **_unmeasured(settings, why_not)})
    earlier, _ = _fit(summarise(orders, until=cut), settings)
    return Trained(fitted, {**metrics, **_holdout(earlier, orders, cut, as_of.date())})


def evaluate(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version, as it is, predicts the last ``holdout_days`` before ``as_of`` from what came before."""
    orders = frames["customer_orders"]
    cut, why_not = _holdout_start(orders, as_of.date(), fitted.settings)
    if cut is None:
        return _unmeasured(fitted.settings, why_not)
    return _holdout(fitted, orders, cut, as_of.date())


def score(fitted: LifetimeValue, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """One row per customer with an order: the expected value in the currency of the orders, and its tier."""
    summary = summarise(frames["customer_orders"], until=as_of.date())
    settings = fitted.settings
    value = fitted.expected(summary, settings.horizon_days)["value"].to_numpy()
    result = pd.DataFrame({"customer_id": summary["customer_id"], "score": np.round(value, 6)})
    shares = {"high": settings.high_share, "medium": settings.medium_share}
    result["tier"] = tiers(result["customer_id"], result["score"], shares, rest="low")
    return result


def dump(fitted: LifetimeValue) -> dict[str, bytes]:
    """One JSON file: settings, and the parameters to ten digits (more would depend on the machine)."""
    return {
        "parameters.json": files.json_bytes(
            {
                "purchases": _dump_part(fitted.purchases),
                "spend": _dump_part(fitted.spend),
                "settings": fitted.settings.model_dump(mode="json"),
            }
        )
    }


def load(artefact: Mapping[str, bytes]) -> LifetimeValue:
    """The inverse of :func:`dump`."""
    content = json.loads(artefact["parameters.json"])
    return LifetimeValue(
        _load_part(content["purchases"]), _load_part(content["spend"]), Settings.model_validate(content["settings"])
    )


_PARTS = {"bg_nbd": BgNbd, "pooled_rate": PooledRate, "gamma_gamma": GammaGamma, "pooled_spend": PooledSpend}


def _name(part: Any) -> str:
    return next(name for name, kind in _PARTS.items() if isinstance(part, kind))


def _dump_part(part: Any) -> dict[str, Any]:
    values = {key: float(f"{value:.10g}") if isinstance(value, float) else value for key, value in asdict(part).items()}
    return {"model": _name(part), **values}


def _load_part(content: dict[str, Any]) -> Any:
    values = dict(content)
    return _PARTS[values.pop("model")](**values)


def _observed(summary: pd.DataFrame, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The number of purchases whose value is known, and their mean."""
    if settings.spend_observations == "repeat":
        return summary["purchases"].to_numpy(dtype=float), summary["repeat_spend"].to_numpy()
    return summary["purchases"].to_numpy(dtype=float) + 1, summary["mean_spend"].to_numpy()


def _fit(summary: pd.DataFrame, settings: Settings) -> tuple[LifetimeValue, str | None]:
    count, mean = _observed(summary, settings)
    simple = LifetimeValue(pooled_rate(summary), pooled_spend(count, mean), settings)
    repeating = int((summary["purchases"] > 0).sum())
    if repeating < settings.minimum_repeat_customers:
        return simple, (
            f"pooled means: {repeating} customers bought again, at least"
            f" {settings.minimum_repeat_customers} are needed for BG/NBD and Gamma-Gamma"
        )
    purchases, spend, reasons = bg_nbd.fit(summary), simple.spend, []
    if not purchases.converged:
        purchases = simple.purchases
        reasons.append("pooled purchase rate: the BG/NBD fit did not converge")
    known = (count > 0) & (mean > 0)
    if known.sum() < settings.minimum_repeat_customers:
        reasons.append(f"pooled spend: {int(known.sum())} customers have a purchase of positive value")
    else:
        spend = gamma_gamma.fit(count[known], mean[known])
        if not spend.converged or spend.q <= 1:
            spend = simple.spend
            reasons.append("pooled spend: the Gamma-Gamma fit has no finite population mean (q <= 1)")
    return LifetimeValue(purchases, spend, settings), "; ".join(reasons) or None


def _parameters(fitted: LifetimeValue) -> Metrics:
    metrics: Metrics = {"purchase_model": _name(fitted.purchases), "spend_model": _name(fitted.spend)}
    for prefix, part in (("purchase", fitted.purchases), ("spend", fitted.spend)):
        metrics |= {f"{prefix}_{key}": value for key, value in asdict(part).items()}
    return metrics


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


def _holdout(fitted: LifetimeValue, orders: pd.DataFrame, cut: date, end: date) -> Metrics:
    """Expected against actual on the days after ``cut``, for the model and for a naive baseline.

    The baseline goes on as before: a customer's own rate of repeat purchases, times the own mean spend.
    Calibration is expected over actual of all customers together; 1 is right.
    """
    days = (end - cut).days
    summary = summarise(orders, until=cut)
    expected = fitted.expected(summary, days)
    truth = actual(orders, after=cut, until=end).reindex(expected.index).fillna(0.0)
    age = summary["age"].to_numpy()
    rate = summary["purchases"].to_numpy() / np.where(age > 0, age, 1.0)
    naive = pd.DataFrame({"purchases": rate * days / DAYS_A_WEEK}, index=expected.index)
    naive["value"] = naive["purchases"] * summary["mean_spend"].to_numpy()
    metrics: Metrics = {
        "holdout_days": days,
        "holdout_customers": len(summary),
        "holdout_purchase_model": _name(fitted.purchases),
        "holdout_rank_correlation": _correlation(expected["value"].rank(), truth["value"].rank()),
        "holdout_rank_correlation_naive": _correlation(naive["value"].rank(), truth["value"].rank()),
    }
    for what in ("purchases", "value"):
        for suffix, guess in (("", expected[what]), ("_naive", naive[what])):
            error = (guess - truth[what]).to_numpy()
            total = float(truth[what].sum())
            metrics[f"holdout_{what}_mae{suffix}"] = float(np.abs(error).mean())
            metrics[f"holdout_{what}_rmse{suffix}"] = float(np.sqrt((error**2).mean()))
            metrics[f"holdout_{what}_correlation{suffix}"] = _correlation(guess, truth[what])
            metrics[f"holdout_{what}_calibration{suffix}"] = float(guess.sum()) / total if total > 0 else None
    return metrics


def _correlation(one: pd.Series, other: pd.Series) -> float | None:
    """Pearson's correlation, or None where one of the two does not vary."""
    if len(one) < 3 or one.nunique() < 2 or other.nunique() < 2:
        return None
    return float(np.corrcoef(one.to_numpy(dtype=float), other.to_numpy(dtype=float))[0, 1])


MODEL = ModelSpec(
    name="customer_lifetime_value",
    features={"customer_orders": ("customer_id", "order_date", "net_amount")},
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
)
