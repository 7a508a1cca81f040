"""Customer lifetime value: the published fits, the last 39 weeks ahead, a million customers, and what trees add.

Run as ``python -m benchmarks.ml.lifetime_value [--data <folder>] [--output build/bench/ml_lifetime_value.json]``.
The data: purchases with ``customer_id``, ``date`` and ``dollar_value``, and if it is there the published summary
(``ID``, ``x``, ``t_x``, ``T``, ``zbar``), each a Parquet file of any name. Published: Fader, Hardie and Lee 2005
(BG/NBD and Pareto/NBD), Fader and Hardie 2013 (Gamma-Gamma); these rows are of the 2,357 customers of the CDNOW sample
and are left out, which is said, where others are given. Online Retail is measured too where it lies beside the data.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.ml.data import online_retail
from benchmarks.ml.rows import row, run
from ml.lifetime import bg_nbd, gamma_gamma, pareto_nbd
from ml.lifetime.summary import summarise
from ml.models.customer_lifetime_value import MODEL, Settings

WEEKS_AHEAD = 39
SAMPLE = 2357
MILLION = 1_000_000
PURCHASES = ("customer_id", "date", "dollar_value")
SUMMARY = ("ID", "x", "t_x", "T", "zbar")
PUBLISHED = {
    "BG/NBD": (bg_nbd, {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, -9582.43),
    "Pareto/NBD": (pareto_nbd, {"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}, -9594.98),
}
LIKELIHOOD_MARGIN = 0.05


def measure(data: Path) -> list[dict[str, Any]]:
    """Every figure; ``baseline`` is the published value or the naive answer."""
    orders = _purchases(data)
    if orders is None:
        sys.stderr.write(
            f"{data}: no Parquet file with {', '.join(PURCHASES)}; give the folder that has it by --data\n"
        )
        raise SystemExit(2)
    end = orders["order_date"].max().date()
    cut = end - timedelta(weeks=WEEKS_AHEAD)
    summary = summarise(orders, until=cut)
    if len(summary) == SAMPLE:
        rows = _published("transactions", summary, is_rounded=False)
        given = _file(data, SUMMARY)
        if given is not None:
            names = {"x": "purchases", "t_x": "recency", "T": "age", "zbar": "repeat_spend"}
            rows += _published("summary", pd.read_parquet(given).rename(columns=names), is_rounded=True)
    else:
        sys.stdout.write(
            f"published digits: left out, they are of the {SAMPLE:,} customers of the sample, found {len(summary):,}\n"
        )
        rows = []
    rows += _ahead(orders, end) + _blended("CDNOW", orders, end, 90) + _million(summary)
    try:
        invoices = online_retail(data.parent / "online_retail")["customer_orders"]
    except FileNotFoundError:
        sys.stdout.write("Online Retail: left out, no such data beside the folder\n")
        return rows
    return rows + _blended("Online Retail", invoices, invoices["order_date"].max().date(), 30)


def _file(folder: Path, columns: tuple[str, ...]) -> Path | None:
    """The first Parquet file of a folder that has these columns."""
    for path in sorted(folder.glob("*.parquet")):
        if set(columns) <= set(pq.read_schema(path).names):
            return path
    return None


def _purchases(data: Path) -> pd.DataFrame | None:
    path = _file(data, PURCHASES)
    if path is None:
        return None
    orders = pd.read_parquet(path, columns=list(PURCHASES))
    orders = orders.rename(columns={"date": "order_date", "dollar_value": "net_amount"})
    return orders.assign(order_date=pd.to_datetime(orders["order_date"]))


def _published(origin: str, summary: pd.DataFrame, *, is_rounded: bool) -> list[dict[str, Any]]:
    rows = []
    for title, (module, parameters, likelihood) in PUBLISHED.items():
        fitted = module.fit(summary)
        for name, value in parameters.items():
            measured = getattr(fitted, name)
            if (
                is_rounded and name == "beta"
            ):  # the summary's times are rounded to 0.01 weeks, which moves beta by 0.001
                rows.append(_near(f"{title} {name}, from the {origin} (rounded)", measured, value, 0.005))
            else:
                rows.append(_digits(f"{title} {name}, from the {origin}", measured, value, 3))
        rows.append(_near(f"{title} log-likelihood, from the {origin}", fitted.log_likelihood, likelihood))
    repeat = summary[summary["purchases"] > 0]
    spend = gamma_gamma.fit(repeat["purchases"], repeat["repeat_spend"])
    rows.append(_digits(f"Gamma-Gamma repeat customers, from the {origin}", len(repeat), 946, 0))
    rows += [
        _digits(f"Gamma-Gamma {name}, from the {origin}", getattr(spend, name), value, 2)
        for name, value in (("p", 6.25), ("q", 3.74))
    ]
    if is_rounded:  # the summary's mean spend is rounded to cents, which moves v by 0.004
        rows.append(_near(f"Gamma-Gamma v, from the {origin} (rounded)", spend.v, 15.44, 0.01))
    else:
        rows.append(_digits(f"Gamma-Gamma v, from the {origin}", spend.v, 15.44, 2))
    rows.append(_near(f"Gamma-Gamma log-likelihood, from the {origin}", spend.log_likelihood, -4055.92))
    return rows


def _ahead(orders: pd.DataFrame, end: date) -> list[dict[str, Any]]:
    """Chosen and fitted without the last 39 weeks, expected against actual in them; baseline: everybody's own rate."""
    days = WEEKS_AHEAD * 7
    settings = Settings(holdout_days=days, horizon_days=days)
    found = MODEL.train({"customer_orders": orders}, _instant(end), settings, 0).metrics
    lower = 1 - found["holdout_purchases_mae"] / found["holdout_purchases_mae_naive"]
    bias, naive_bias = (abs(found[f"holdout_value_calibration{name}"] - 1) for name in ("", "_naive"))
    rmse, naive_rmse = found["holdout_value_rmse"], found["holdout_value_rmse_naive"]
    gini, naive_gini = found["holdout_gini"], found["holdout_gini_naive"]
    rank, naive_rank = found["holdout_rank_correlation"], found["holdout_rank_correlation_naive"]
    covered, above = found["holdout_interval_coverage"], found["holdout_interval_above"]
    start = f"{WEEKS_AHEAD} weeks ahead"
    return [
        row(
            f"{start}, purchases: MAE below the naive rate's",
            lower,
            "share",
            ">= 0.2",
            lower >= 0.2,
            found["holdout_purchases_mae_naive"],
        ),
        row(
            f"{start}, purchases of all: expected over actual",
            found["holdout_purchases_calibration"],
            "",
            "shown",
            True,
        ),
        row(f"{start}, revenue of all: off by", bias, "share", "<= 0.12", bias <= 0.12, naive_bias),
        row(f"{start}, value: RMSE", rmse, "USD", "< baseline", rmse < naive_rmse, naive_rmse),
        row(f"{start}, value: Gini of the ranking (no bar)", gini, "", "shown", True, naive_gini),
        row(f"{start}, value: rank correlation (no bar)", rank, "", "shown", True, naive_rank),
        row(f"{start}, value within its 80 % interval", covered, "share", ">= 0.8", covered >= 0.8, 0.8),
        row(f"{start}, value above its 80 % interval", above, "share", "0.05 to 0.15", 0.05 <= above <= 0.15, 0.1),
    ]


def _blended(name: str, orders: pd.DataFrame, end: date, days: int) -> list[dict[str, Any]]:
    """The whole model beside the probability model alone; they are the same where the trees got no weight."""
    settings = Settings(holdout_days=days, horizon_days=days)
    trained = MODEL.train({"customer_orders": orders}, _instant(end), settings, 0)
    held_out, found = trained.holdout, trained.metrics
    whole = MODEL.quality(held_out)
    alone = MODEL.quality(held_out.assign(prediction=held_out["prediction_probability"]))
    weight = found["holdout_boosted_weight"]
    start = f"{name}, {days} days ahead, trees' weight {weight:g}"
    above = found["holdout_interval_above"]
    return [
        row(f"{start}: deviance explained", whole, "share", ">= baseline (alone)", whole >= alone, alone),
        row(f"{start}: value above its interval", above, "share", "<= 0.15", above <= 0.15, 0.1),
    ]


def _million(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Fit and score for a million customers: the given ones, drawn with replacement, ages shifted within a week."""
    chance = np.random.default_rng(1)
    many = summary.sample(MILLION, replace=True, random_state=1).reset_index(drop=True)
    many["age"] += chance.uniform(0, 1, len(many))
    seconds = _cpu_seconds(lambda: bg_nbd.fit(many).expected_purchases(many, float(WEEKS_AHEAD)))
    return [row("BG/NBD fit and score, 1 million different customers", seconds, "CPU s", "<= 10", seconds <= 10)]


def _cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _instant(end: date) -> datetime:
    return datetime(end.year, end.month, end.day, tzinfo=UTC)


def _digits(what: str, measured: float, published: float, digits: int) -> dict[str, Any]:
    return row(what, measured, "", f"{published:.{digits}f}", round(measured, digits) == published, published)


def _near(what: str, measured: float, published: float, margin: float = LIKELIHOOD_MARGIN) -> dict[str, Any]:
    return row(what, measured, "", f"{published} +- {margin}", abs(measured - published) <= margin, published)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every bar is reached."""
    return run("lifetime_value", "cdnow", __doc__.splitlines()[0], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
