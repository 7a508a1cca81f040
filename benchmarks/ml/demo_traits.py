"""Demo shops: lifetime value and churn against an oracle that knows the hidden traits.

``python -m benchmarks.ml.demo_traits [--seeds 101 102 103] [--output build/bench/ml_demo_traits.json]``. Each seed's
shop is played and built; the models are trained and score on what the warehouse published, as in production. No
outcome has to be waited for: what is judged is its mean, given everybody's traits and who has really left by now.

* **Lifetime value**: of the value that all customers together will bring in 90 days (orders times 1 + the mean number
  of further units), the share that the best fifth by score will. Naive: own orders a day, times the own mean amount.
* **Churn**: the area under the ROC curve of "no order within 90 days", each customer counted on both sides by the
  probability of it, exp(-rate x 90) for those who are active and 1 for those who have left. Naive: days since the last
  order.

The oracle knows the traits (rate l, drop-out p, basket) and everybody's orders, but not who has left: it believes that
somebody whose last order is s days old is active with (1 - p) exp(-l s) / (p + (1 - p) exp(-l s)) (Fader, Hardie and
Lee 2005, for one person's l and p).

Reached is (model - chance) / (oracle - chance), chance being a fifth and one half. Medians over the seeds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ml.demo_shop import Shop, run
from benchmarks.ml.rows import row

DAYS = 90
SHARE = 0.2
REACH = 0.7


def main(arguments: list[str] | None = None) -> int:
    """Build the shops that are not there, measure, print, write."""
    return run("demo_traits", __doc__.splitlines()[0], measure, arguments)


def measure(shops: list[Shop]) -> list[dict[str, Any]]:
    """The medians of all shops, each beside the naive answer and the oracle."""
    found = [{**lifetime_value(one), **churn(one)} for one in shops]
    return _rows({name: statistics.median(one[name] for one in found) for name in found[0]})


def lifetime_value(place: Shop) -> dict[str, float]:
    """Shares of all value in the best fifth: by the model, naively, by the oracle."""
    people, truth = place.people(), place.truth()
    traits, person = truth.people(), people["person"].to_numpy()
    basket, dropout = 1 + traits["basket"].to_numpy()[person], traits["dropout"].to_numpy()[person]
    orders_if_active = -np.expm1(-traits["purchase_rate"].to_numpy()[person] * dropout * DAYS) / dropout
    told = people.assign(
        value=truth.expected_orders(person, DAYS) * basket,
        oracle=_believed_active(place, people, traits) * orders_if_active * basket,
    ).merge(_scores(place, "customer_lifetime_value"), on="customer_id")
    orders = (
        _orders(place)
        .groupby("customer_id")
        .agg(first=("ordered_at", "min"), count=("ordered_at", "size"), mean=("net_amount", "mean"))
    )
    told = told.merge(orders, left_on="customer_id", right_index=True)
    age = (pd.Timestamp(place.as_of) - told["first"]).dt.total_seconds() / 86_400
    naive = (told["count"] - 1) / age.clip(lower=1) * told["mean"]
    return {
        f"value_{name}": _captured(by.to_numpy(), told["value"].to_numpy())
        for name, by in (("model", told["score"]), ("naive", naive), ("oracle", told["oracle"]))
    }


def churn(place: Shop) -> dict[str, float]:
    """Areas under the curve: of the model, of recency, of the oracle."""
    people, truth = place.people(), place.truth()
    traits, person = truth.people(), people["person"].to_numpy()
    orders_if_active = 1 - np.exp(-traits["purchase_rate"].to_numpy()[person] * DAYS)
    told = people.assign(
        churns=1 - traits["active"].to_numpy()[person] * orders_if_active,
        oracle=1 - _believed_active(place, people, traits) * orders_if_active,
    ).merge(_scores(place, "churn_propensity"), on="customer_id")
    last = _orders(place).groupby("customer_id")["ordered_at"].max()
    recency = (pd.Timestamp(place.as_of) - told["customer_id"].map(last)).dt.total_seconds()
    return {
        f"churn_{name}": _expected_auc(by.to_numpy(dtype=float), told["churns"].to_numpy())
        for name, by in (("model", told["score"]), ("naive", recency), ("oracle", told["oracle"]))
    }


def _believed_active(place: Shop, people: pd.DataFrame, traits: pd.DataFrame) -> np.ndarray:
    """The oracle's belief in each person; 0 for whoever has never ordered."""
    person = people["person"].to_numpy()
    last = _orders(place).groupby("customer_id")["ordered_at"].max()
    since = (pd.Timestamp(place.as_of) - people["customer_id"].map(last)).dt.total_seconds().to_numpy() / 86_400
    dropout, rate = traits["dropout"].to_numpy()[person], traits["purchase_rate"].to_numpy()[person]
    stayed = (1 - dropout) * np.exp(-rate * since)
    return np.nan_to_num(stayed / (dropout + stayed))


def _scores(place: Shop, name: str) -> pd.DataFrame:
    from ml.score import score
    from ml.train import train

    with tempfile.TemporaryDirectory(prefix="letterpress-traits-") as work:
        where = {
            "features": place.features,
            "as_of": place.as_of,
            "registry": f"{work}/registry",
            "registry_url": f"sqlite:///{work}/aliases.sqlite",
            "features_version": "benchmark",
        }
        result = train(name, seed=1, **where)
        if not result.promoted:
            raise RuntimeError(f"{name}: expected a version that serves, found: {result.reason}")
        said = score(name, scores=f"{work}/scores", run_id="benchmark", scored_at=datetime.now(UTC), **where)
        return pd.read_parquet(said.uri, columns=["customer_id", "score"])


def _orders(place: Shop) -> pd.DataFrame:
    return pd.read_parquet(f"{place.features}/customer_orders.parquet")


def _captured(by: np.ndarray, value: np.ndarray) -> float:
    best = np.argsort(-by, kind="stable")[: round(SHARE * len(by))]
    return float(value[best].sum() / value.sum())


def _expected_auc(by: np.ndarray, positive: np.ndarray) -> float:
    """The area where everybody is positive with a probability: pairs weigh p (1 - p'), ties count half."""
    order = np.argsort(by, kind="stable")
    ranked, p = by[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    wins, ties = np.add.reduceat(p, starts), np.add.reduceat(1 - p, starts)
    below = np.cumsum(ties) - ties
    itself = float((p * (1 - p)).sum())
    pairs = float(p.sum() * (1 - p).sum()) - itself
    return float((wins * (below + ties / 2)).sum() - itself / 2) / pairs


def _rows(found: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for name, what, chance in (
        ("value", "lifetime value: share of all value in the best fifth", SHARE),
        ("churn", "churn: area under the ROC curve", 0.5),
    ):
        model, naive, oracle = (found[f"{name}_{who}"] for who in ("model", "naive", "oracle"))
        share = (model - chance) / (oracle - chance)
        rows += [
            row(f"{what}, above the naive answer", model, "", "> baseline", model > naive, naive),
            row(f"{what}, of what the oracle reaches", share, "share", f">= {REACH}", share >= REACH, oracle),
        ]
    return rows


if __name__ == "__main__":
    sys.exit(main())
