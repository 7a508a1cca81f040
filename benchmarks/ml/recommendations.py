"""Recommendations on real data: what customers buy next, beside popularity, buying again and EASE.

Run as ``python -m benchmarks.ml.recommendations [--data <folder>] [--output build/bench/ml_recommendations.json]``.
The folder is that of Online Retail, that of Complete Journey, or one that holds both of them; it is told apart by the
columns of its Parquet files.

* Online Retail: the last 30 days are the test. Everything is learned on what came before; the baselines' own settings
  are chosen, as ours are, on the 30 days before the test, for each view separately.
* Complete Journey: the last whole calendar month, by local time, is the test.

NDCG@10 has binary relevance and an ideal list of min(10, number of relevant items) hits
(:func:`ml.recommendations.metrics.ndcg`), over customers who had bought before the test and bought in it. "All items"
counts all that was bought, "new items" what the customer had not bought before; there buying again has nothing to say
and falls back to what is popular. A bar holds where the lower bound of the paired bootstrap over customers is above 0.
Earlier windows show whether the last one was luck. They are no second test: the sizes of our ranker and candidate
lists were chosen on Online Retail's windows that end 30 to 60 days before the end of its first seven months.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.ml.rows import REPOSITORY, row, run
from ml.bootstrap import difference_interval
from ml.models.recommendations import MODEL, Recommender, Settings
from ml.recommendations import baselines, metrics, similarity
from ml.recommendations.fit import Fitter, buyers_after, ease_lists, past_shelf
from ml.recommendations.history import history
from ml.recommendations.lists import Rules, recommend
from ml.recommendations.shelf import Choices, warm_numbers

SETTINGS = Settings()
PLAN = SETTINGS.plan()
RULES = Rules(SETTINGS.places, 0, 0.0, SETTINGS.repeat_rate, PLAN.limits)
WINDOW = timedelta(days=30)
EARLIER_WINDOWS = 2
FAMILIES: dict[str, list[Any]] = {
    "popularity": [7, 14, 28, 56],
    "buy again": list(baselines.AGAIN_FORMS),
    "EASE": [Choices(strength, days) for strength in (50.0, 200.0, 500.0) for days in (30.0, 60.0, 120.0, 100_000.0)],
}
VIEWS = ((False, "all items"), (True, "new items"))
LOCAL_OFFSET = pd.Timedelta(hours=5)
SEEDS = REPOSITORY / "dbt_project" / "seeds"
SPEED_COPIES = 8
SEED = 1


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every bar is reached."""
    return run("recommendations", "", __doc__.split("\n")[0], measure, arguments)


def measure(folder: Path) -> list[dict[str, Any]]:
    """The rows of the data sets that the folder holds; ends with 2 where it holds neither."""
    folders = [folder, *sorted(part for part in folder.iterdir() if part.is_dir())]
    retail, journey = [], []
    for part in folders:
        retail += _files(part, {"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "CustomerID"})
        journey += _files(part, {"household_id", "basket_id", "product_id", "transaction_timestamp"})
    if not retail and not journey:
        sys.stderr.write(f"{folder}: no Parquet file of Online Retail or Complete Journey in it; give one by --data\n")
        raise SystemExit(2)
    rows = []
    with threadpool_limits(limits=1):
        if retail:
            rows += _online_retail(*retail_frames(retail))
        if journey:
            described = [file for part in folders for file in _files(part, {"product_id", "product_type"})]
            if not described:
                sys.stderr.write(f"{folder}: baskets, but no Parquet file that says what the products are\n")
                raise SystemExit(2)
            rows += _complete_journey(*journey_frames(journey, described))
    return rows


class Cut:
    """One instant of a data set: the customers who bought after it, and the lists of the baselines as of it."""

    def __init__(self, lines: pd.DataFrame, at: datetime, until: datetime):
        known = lines[(lines["ordered_at"] <= pd.Timestamp(at)).to_numpy()]
        self.items = np.array(sorted(known["product_id"].unique()), dtype=object)
        self.everybody = history(known, self.items, at)
        self.outcome = buyers_after(lines, self.items, at, until)
        self.warm = warm_numbers(self.everybody, PLAN.warm_items, PLAN.minimum_buyers)
        self._ease: dict[Choices, sparse.csr_matrix] = {}

    def ndcg(self, lists: np.ndarray, new_only: bool) -> np.ndarray:
        """NDCG@10 of each customer, NaN for whom nothing is relevant in the view."""
        chosen = self.outcome.is_new if new_only else np.ones(len(self.outcome.row), dtype=bool)
        return metrics.ndcg(lists, self.outcome.row[chosen], self.outcome.item[chosen])

    def simple(self, family: str, setting: Any, new_only: bool) -> np.ndarray:
        """The lists of a baseline with one of its settings."""
        bought = self.outcome.bought
        if family == "popularity":
            return baselines.popular_lists(self.everybody, bought, setting, new_only=new_only)
        if family == "buy again":
            score = baselines.again_scores(bought)[setting]
            return baselines.again_lists(self.everybody, bought, score, new_only=new_only)
        if setting not in self._ease:
            faded = np.exp2(-self.everybody.last / setting.half_life_days)
            purchases = self.everybody.matrix(faded)[:, self.warm]
            self._ease[setting] = similarity.ease(purchases, setting.regularisation, PLAN.neighbours)
        return ease_lists(bought, self.warm, self._ease[setting], setting, new_only=new_only)


def best_setting(before: Cut, family: str, settings: Iterable[Any], new_only: bool) -> Any:
    """The setting of a baseline that ranks best on the outcomes of an earlier cut."""
    return max(settings, key=lambda one: np.nanmean(before.ndcg(before.simple(family, one, new_only), new_only)))


def two_stages(fitter: Fitter, at: datetime, found: Cut) -> tuple[Recommender, dict[bool, np.ndarray]]:
    """What is learned at a cut, and its lists in both views for the customers who bought after it."""
    lessons, ranker, _ = fitter.fit(at)
    fitted = Recommender(lessons, ranker, SETTINGS)
    shelf = past_shelf(lessons, fitter.products, PLAN, at)
    bought = found.outcome.bought
    lists = {
        new_only: recommend(shelf, bought, fitted.judge, RULES, new_only=new_only).table(
            len(bought.customers), RULES.places
        )
        for new_only, _ in VIEWS
    }
    return fitted, lists


def _online_retail(lines: pd.DataFrame, products: pd.DataFrame) -> list[dict[str, Any]]:
    end = (lines["ordered_at"].max().normalize() + pd.Timedelta(days=1)).to_pydatetime()
    fitter = Fitter(lines, products, PLAN, SEED)
    rows: list[dict[str, Any]] = []
    for back in range(EARLIER_WINDOWS + 1):
        at = end - (back + 1) * WINDOW
        if back and not fitter.cuts(at):
            break  # too short a history to learn from
        found, before = Cut(lines, at, at + WINDOW), Cut(lines, at - WINDOW, at)
        fitted, lists = two_stages(fitter, at, found)
        name = "Online Retail" if back == 0 else f"Online Retail, {30 * back} days earlier"
        for new_only, view in VIEWS:
            mine = found.ndcg(lists[new_only], new_only)
            for family, settings in FAMILIES.items():
                setting = best_setting(before, family, settings, new_only)
                rows += _beaten(f"{name}, {view}", mine, found, family, setting, new_only, is_bar=back == 0)
            if back == 0:
                rows += _beaten(f"{name}, {view}", mine, found, "popularity", 28, new_only, is_bar=True)
                rows.append(_recall(name, view, lists[new_only], found, new_only))
        if back == 0:
            covered = metrics.coverage(lists[False], len(found.items))
            rows.append(row(f"{name}: products in somebody's list of 20", covered, "share", "reported", True))
            rows.append(_speed(fitted, lines[(lines["ordered_at"] <= pd.Timestamp(at)).to_numpy()], products, at))
    return rows


def _complete_journey(lines: pd.DataFrame, products: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    fitter = Fitter(lines, products, PLAN, SEED)
    for back, (at, until) in enumerate(whole_months(lines["ordered_at"], 2)):
        if back and not fitter.cuts(at):
            break
        found = Cut(lines, at, until)
        _, lists = two_stages(fitter, at, found)
        mine = found.ndcg(lists[False], False)
        name = f"Complete Journey, {(at + timedelta(days=1)).strftime('%B %Y')}"
        rows += _beaten(name, mine, found, "buy again", "orders", False, is_bar=back == 0)
        if back == 0:
            before = Cut(lines, at - WINDOW, at)
            setting = best_setting(before, "buy again", FAMILIES["buy again"], False)
            rows += _beaten(name, mine, found, "buy again", setting, False, is_bar=False)
            rows += _beaten(name, mine, found, "popularity", 28, False, is_bar=False)
            rows.append(_recall(name, "all items", lists[False], found, False))
    return rows


def _beaten(
    name: str, mine: np.ndarray, found: Cut, family: str, setting: Any, new_only: bool, *, is_bar: bool
) -> list[dict[str, Any]]:
    """Two rows: the mean beside the baseline's, and the lower bound of their paired difference."""
    theirs = found.ndcg(found.simple(family, setting, new_only), new_only)
    both = np.isfinite(mine) & np.isfinite(theirs)  # with new items alone, some customers have nothing to find
    _, low, _ = difference_interval(mine[both], theirs[both], seed=SEED)
    against = f"{name}: NDCG@10 over {family} ({_words(setting)})"
    reached, over = float(np.nanmean(mine)), float(np.nanmean(theirs))
    return [
        row(against, reached, "", "> baseline" if is_bar else "reported", reached > over or not is_bar, over),
        row("  lower bound of the difference", low, "", "> 0" if is_bar else "reported", low > 0 or not is_bar),
    ]


def _words(setting: Any) -> str:
    if isinstance(setting, Choices):
        return f"lambda {setting.regularisation:g}, half-life {setting.half_life_days:g} days"
    return f"{setting} days" if isinstance(setting, int) else str(setting)


def _recall(name: str, view: str, lists: np.ndarray, found: Cut, new_only: bool) -> dict[str, Any]:
    chosen = found.outcome.is_new if new_only else np.ones(len(found.outcome.row), dtype=bool)
    value = np.nanmean(metrics.recall(lists, found.outcome.row[chosen], found.outcome.item[chosen]))
    return row(f"{name}, {view}: recall@20", float(value), "", "reported", True)


def _speed(fitted: Recommender, lines: pd.DataFrame, products: pd.DataFrame, at: datetime) -> dict[str, Any]:
    """Lists of 20 with reasons for some tens of thousands of customers (those there are, several times)."""
    copies = [lines.assign(customer_id=lines["customer_id"] + f"/{number}") for number in range(SPEED_COPIES)]
    many = pd.concat(copies, ignore_index=True)
    many["order_id"] = many["order_id"] + many["customer_id"]
    frames = {
        "customer_order_lines": many,
        "products": products,
        "customer_features": many[["customer_id"]].drop_duplicates(),
    }
    begin = time.process_time()
    scored = MODEL.score(fitted, frames, at)
    rate = len(scored.rows) / (time.process_time() - begin)
    return row("Online Retail: customers scored a CPU second", rate, "", "reported", True)


def whole_months(instants: pd.Series, count: int) -> Iterator[tuple[datetime, datetime]]:
    """Begin and end, in UTC, of the last calendar months (by local time) that the data covers, the latest first."""
    local = instants - LOCAL_OFFSET
    last = local.max()
    begin = last.normalize().replace(day=1)
    if last.day < last.days_in_month:
        begin -= pd.DateOffset(months=1)
    for _ in range(count):
        after = begin + pd.DateOffset(months=1)
        # A purchase at the very instant belongs to the month that begins.
        edge = pd.Timedelta(microseconds=1)
        yield (begin + LOCAL_OFFSET - edge).to_pydatetime(), (after + LOCAL_OFFSET - edge).to_pydatetime()
        begin -= pd.DateOffset(months=1)


def retail_frames(files: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Purchases of known customers: no cancellations, adjustments, postage, vouchers or gifts; and the products."""
    lines = pd.concat([pd.read_parquet(file) for file in sorted(files)], ignore_index=True)
    kinds = pd.read_csv(SEEDS / "online_retail_stock_codes.csv")
    code = lines["StockCode"].str.strip().str.upper()
    is_purchase = lines["InvoiceNo"].str.fullmatch(r"\d+") & (lines["Quantity"] > 0) & (lines["UnitPrice"] > 0)
    chosen = is_purchase & lines["CustomerID"].notna() & ~code.isin(kinds["stock_code"])
    lines, code = lines[chosen], code[chosen]
    known = pd.DataFrame(
        {
            "customer_id": lines["CustomerID"].astype(int).astype(str),
            "order_id": lines["InvoiceNo"],
            "ordered_at": lines["InvoiceDate"].dt.tz_localize("Europe/London", ambiguous=False).dt.tz_convert("UTC"),
            "product_id": code,
            "product_name": lines["Description"].str.strip(),
            "price": lines["UnitPrice"],
        }
    )
    named = known.groupby(["product_id", "product_name"], as_index=False).size()
    named = named.sort_values(["size", "product_name"], ascending=[False, True], kind="stable")
    products = named.drop_duplicates("product_id").set_index("product_id")[["product_name"]]
    products["price"] = known.groupby("product_id")["price"].median()
    return known[["customer_id", "order_id", "ordered_at", "product_id"]], _in_stock(products.reset_index())


def journey_frames(files: Iterable[Path], described: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Baskets without fuel, vouchers, deposits and entries by hand; and the products."""
    lines = pd.concat([pd.read_parquet(file) for file in sorted(files)], ignore_index=True)
    kinds = pd.read_csv(SEEDS / "complete_journey_product_types.csv")
    about = pd.concat([pd.read_parquet(file) for file in sorted(described)], ignore_index=True)
    about = about.drop_duplicates("product_id")
    left_out = about["product_id"][about["product_type"].isin(kinds["product_type"])]
    lines = lines[(lines["quantity"] > 0) & ~lines["product_id"].isin(left_out)]
    paid = lines["sales_value"] / lines["quantity"]
    known = pd.DataFrame(
        {
            "customer_id": lines["household_id"].astype(str),
            "order_id": lines["basket_id"].astype(str),
            "ordered_at": lines["transaction_timestamp"].dt.tz_localize("UTC"),
            "product_id": lines["product_id"].astype(str),
        }
    )
    products = pd.DataFrame({"price": paid.groupby(known["product_id"]).median()})
    about = about.assign(product_id=about["product_id"].astype(str)).set_index("product_id")
    products["product_name"] = about["product_type"].reindex(products.index)
    products["category"] = about["product_category"].reindex(products.index)
    return known.reset_index(drop=True), _in_stock(products.rename_axis("product_id").reset_index())


def _in_stock(products: pd.DataFrame) -> pd.DataFrame:
    """Neither set says when a product was made or ran out."""
    wanted = ["product_id", "product_name", "category", "price", "is_in_stock", "created_at"]
    return products.assign(is_in_stock=True, created_at=pd.NaT).reindex(columns=wanted)


def _files(folder: Path, columns: set[str]) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    return [file for file in found if columns <= set(pq.read_schema(file).names)]


if __name__ == "__main__":
    sys.exit(main())
