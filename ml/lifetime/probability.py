"""The two probability models together: how many purchases, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.lifetime import bg_nbd, gamma_gamma, pareto_nbd
from ml.lifetime.bg_nbd import BgNbd
from ml.lifetime.gamma_gamma import GammaGamma
from ml.lifetime.nbd import Outlook
from ml.lifetime.pareto_nbd import ParetoNbd
from ml.lifetime.simple import PooledRate, PooledSpend, pooled_rate, pooled_spend
from ml.lifetime.summary import DAYS_A_WEEK

PurchaseModel = Literal["bg_nbd", "pareto_nbd"]
SpendModel = Literal["gamma_gamma", "pooled_spend"]
Observations = Literal["every", "repeat"]

PARTS = {
    "bg_nbd": BgNbd,
    "pareto_nbd": ParetoNbd,
    "pooled_rate": PooledRate,
    "gamma_gamma": GammaGamma,
    "pooled_spend": PooledSpend,
}
FITS = {"bg_nbd": bg_nbd.fit, "pareto_nbd": pareto_nbd.fit}
TITLES = {"bg_nbd": "BG/NBD", "pareto_nbd": "Pareto/NBD"}


@dataclass(frozen=True)
class Kind:
    """Which models to fit. ``observations``: the values that spend is fitted to, of every purchase or of repeats."""

    purchases: PurchaseModel
    spend: SpendModel
    observations: Observations


@dataclass(frozen=True)
class Probability:
    """A fitted pair. ``observations``: the values that the spend model sees, of every purchase or of repeats alone."""

    purchases: BgNbd | ParetoNbd | PooledRate
    spend: GammaGamma | PooledSpend
    observations: Observations

    def expected_purchases(self, summary: pd.DataFrame, days: float) -> np.ndarray:
        """Days with an order that each customer is expected to have in the next ``days``."""
        return self.purchases.expected_purchases(summary, days / DAYS_A_WEEK)

    def expected_spend(self, summary: pd.DataFrame) -> np.ndarray:
        """What the next purchase of each customer is expected to be worth."""
        return self.spend.expected_spend(*observed(summary, self.observations))

    def expected_value(self, summary: pd.DataFrame, days: float) -> np.ndarray:
        """What each customer is expected to spend in the next ``days``."""
        return self.expected_purchases(summary, days) * self.expected_spend(summary)

    def outlook(self, summary: pd.DataFrame, days: tuple[int, ...]) -> list[Outlook]:
        """The distribution of each customer's purchases within each number of days."""
        return self.purchases.outlook(summary, tuple(each / DAYS_A_WEEK for each in days))

    def probability_alive(self, summary: pd.DataFrame) -> np.ndarray:
        """The probability that each customer has not left for good."""
        return self.purchases.probability_alive(summary)

    def second_moments(self, summary: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """E[z^2] and E[z z'] of the values of each customer's purchases."""
        return self.spend.second_moments(*observed(summary, self.observations))


def observed(summary: pd.DataFrame, observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """The number of purchases whose value is known, and their mean."""
    if observations == "repeat":
        return summary["purchases"].to_numpy(dtype=float), summary["repeat_spend"].to_numpy()
    return summary["purchases"].to_numpy(dtype=float) + 1, summary["mean_spend"].to_numpy()


def fit(summary: pd.DataFrame, kind: Kind, minimum_repeat_customers: int) -> tuple[Probability, str | None]:
    """The pair, and in words what stands in for a part that could not be fitted (None: nothing)."""
    repeating = int((summary["purchases"] > 0).sum())
    if repeating < minimum_repeat_customers:
        simple = Probability(pooled_rate(summary), pooled_spend(*observed(summary, "every")), "every")
        return simple, (
            f"pooled means: {repeating} customers bought again, at least {minimum_repeat_customers}"
            f" are needed for {TITLES[kind.purchases]} and Gamma-Gamma"
        )
    reasons = []
    purchases = FITS[kind.purchases](summary)
    if not purchases.converged:
        purchases = pooled_rate(summary)
        reasons.append(f"pooled purchase rate: the {TITLES[kind.purchases]} fit did not converge")
    spend, reason = fit_spend(summary, kind, minimum_repeat_customers)
    if reason:
        reasons.append(reason)
    return Probability(purchases, spend, kind.observations), "; ".join(reasons) or None


def fit_spend(summary: pd.DataFrame, kind: Kind, minimum_customers: int) -> tuple[GammaGamma | PooledSpend, str | None]:
    """The spend model; where it was to be Gamma-Gamma and cannot be, the pooled mean and the reason."""
    count, mean = observed(summary, kind.observations)
    if kind.spend == "pooled_spend":
        return pooled_spend(count, mean), None
    known = (count > 0) & (mean > 0)
    if known.sum() < minimum_customers:
        reason = f"pooled spend: {int(known.sum())} customers have a purchase of positive value"
        return pooled_spend(count, mean), reason
    found = gamma_gamma.fit(count[known], mean[known])
    if not found.converged or found.q <= 1:
        return pooled_spend(count, mean), "pooled spend: the Gamma-Gamma fit has no finite population mean (q <= 1)"
    return found, None


def name(part: Any) -> str:
    """A part's name in an artefact and in metrics."""
    return next(name for name, kind in PARTS.items() if isinstance(part, kind))


def dump(model: Probability) -> dict[str, Any]:
    """Plain JSON values, the parameters to ten digits: more would depend on the machine."""
    return {
        "purchases": _dump_part(model.purchases),
        "spend": _dump_part(model.spend),
        "observations": model.observations,
    }


def load(content: Mapping[str, Any]) -> Probability:
    """The inverse of :func:`dump`."""
    return Probability(_load_part(content["purchases"]), _load_part(content["spend"]), content["observations"])


def parameters(model: Probability) -> dict[str, Any]:
    """Which models serve and their parameters, as metrics."""
    metrics = {"purchase_model": name(model.purchases), "spend_model": name(model.spend)}
    metrics["spend_observations"] = model.observations
    for prefix, part in (("purchase", model.purchases), ("spend", model.spend)):
        metrics |= {f"{prefix}_{key}": value for key, value in asdict(part).items()}
    return metrics


def _dump_part(part: Any) -> dict[str, Any]:
    values = {key: float(f"{value:.10g}") if isinstance(value, float) else value for key, value in asdict(part).items()}
    return {"model": name(part), **values}


def _load_part(content: Mapping[str, Any]) -> Any:
    values = dict(content)
    return PARTS[values.pop("model")](**values)
