"""Feature files as the warehouse publishes them, made from planted behaviour."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from shortcuts import quick_models

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
CATEGORIES = ("Garden", "Kitchen", "Toys", "Lamps")
PRODUCTS = 60
SUBJECTS = ("New this week", "10 % off, today only", "Have you seen these?", "★ For you")
MEASURES = (
    *("distinct_products", "distinct_categories", "items_per_order", "favourite_category_share"),
    *("mobile_session_share", "web_sessions_90d", "product_views_90d", "emails_opened_90d", "emails_clicked_90d"),
)
IMPUTED = (
    "country_code",
    "time_zone",
    "loyalty_tier",
    "favourite_category",
    "preferred_device",
    "age_years",
    "preferred_visit_hour",
)


def simulate_orders(customers: int = 400, days: int = 365, seed: int = 7) -> pd.DataFrame:
    """Orders by the story of BG/NBD and Gamma-Gamma, ending at ``AS_OF``."""
    chance = np.random.default_rng(seed)
    start = AS_OF - timedelta(days=days)
    rows = []
    for number in range(customers):
        rate = chance.gamma(0.8, 1 / 12.0) / 7
        leave = chance.beta(0.8, 4.0)
        spend = chance.gamma(4.0, 1.0) * 8
        day = chance.uniform(0, days * 0.6)
        while day < days:
            amount = round(float(chance.gamma(4.0, spend / 4.0)) + 0.5, 2)
            rows.append((f"c{number:05d}", start + timedelta(days=day), amount))
            if chance.random() < leave:
                break
            day += chance.exponential(1 / rate)
    data = pd.DataFrame(rows, columns=["customer_id", "ordered_at", "net_amount"])
    data["ordered_at"] = pd.to_datetime(data["ordered_at"], utc=True).dt.floor("s")
    data["order_id"] = [f"o{number:06d}" for number in range(len(data))]
    data["order_date"] = data["ordered_at"].dt.tz_localize(None).dt.normalize()
    return data


def features_from(orders: pd.DataFrame, as_of: datetime = AS_OF) -> pd.DataFrame:
    """``customer_features`` of some orders, and one customer who never ordered."""
    orders = orders[orders["ordered_at"] <= as_of]
    grouped = orders.groupby("customer_id")
    data = pd.DataFrame(
        {
            "recency_days": (as_of - grouped["ordered_at"].max()).dt.days,
            "frequency": grouped.size(),
            "monetary": grouped["net_amount"].sum(),
            "tenure_days": (as_of - grouped["ordered_at"].min()).dt.days,
        }
    ).reset_index()
    visitor = pd.DataFrame({"customer_id": ["visitor"], "frequency": [0]})
    data = pd.concat([data, visitor], ignore_index=True)
    number = np.arange(len(data))
    known = number % 5 > 0
    return data.assign(
        as_of=pd.Timestamp(as_of),
        country_code=np.where(number % 3 == 0, "DE", "GB"),
        time_zone=np.where(number % 3 == 0, "Europe/Berlin", "Europe/London"),
        loyalty_tier=np.where(data["frequency"] > 4, "gold", "none"),
        favourite_category=np.array(CATEGORIES)[number % len(CATEGORIES)],
        preferred_device=np.where(number % 2 == 0, "mobile", "desktop"),
        age_years=20 + number % 50,
        preferred_visit_hour=8 + number % 14,
        average_order_value=data["monetary"] / data["frequency"].clip(lower=1),
        **{name: (number * 7 + place) % 9 / 9 for place, name in enumerate(MEASURES)},
        **{f"is_{name}_imputed": ~known for name in IMPUTED},
    )


def events_from(orders: pd.DataFrame, as_of: datetime = AS_OF) -> dict[str, pd.DataFrame]:
    """What a shop knows besides: lines, visits before orders, a weekly mail that a tenth do not get, products.

    An earlier ``as_of`` gives the same rows up to it: every lot is drawn by the order's number.
    """
    orders = orders.sort_values(["ordered_at", "customer_id"]).reset_index(drop=True)
    number = orders["order_id"].str[1:].astype(int).to_numpy()
    count = 1 + (lot(number, 1) * 3).astype(int)
    lines = orders.loc[np.repeat(orders.index, count), ["customer_id", "order_id", "ordered_at", "net_amount"]]
    nth = np.concatenate([np.arange(one) for one in count])
    line = np.repeat(number, count) * 4 + nth
    # Everybody has a few products of their own, and buys what everybody buys now and then.
    own = lines["customer_id"].str[1:].astype(int).to_numpy() * 7 + (lot(line, 2) * 4).astype(int)
    product = np.where(lot(line, 3) < 0.6, own % PRODUCTS, (lot(line, 4) * PRODUCTS).astype(int))
    lines = lines.assign(
        order_line_id=[f"l{one:07d}" for one in line],
        product_id=[f"p{one:03d}" for one in product],
        category=[CATEGORIES[one % len(CATEGORIES)] for one in product],
        quantity=1.0,
        line_amount=(lines["net_amount"].to_numpy() / np.repeat(count, count)).round(2),
    ).drop(columns="net_amount")
    sessions = pd.DataFrame(
        {
            "customer_id": orders["customer_id"],
            "session_id": [f"s{one:06d}" for one in number],
            "device_type": np.where(lot(number, 5) < 0.5, "mobile", "desktop"),
            "page_view_count": 1 + (lot(number, 6) * 8).astype(int),
            "product_view_count": 1 + (lot(number, 7) * 4).astype(int),
            "cart_addition_count": 1,
            "checkout_count": 1,
            "order_count": 0,
            "started_at": orders["ordered_at"] - pd.to_timedelta(1 + (lot(number, 8) * 200).astype(int), unit="h"),
        }
    )
    emails, experiments = mail_from(orders, as_of)
    products = pd.DataFrame(
        {
            "product_id": [f"p{one:03d}" for one in range(PRODUCTS)],
            "product_name": [f"{CATEGORIES[one % len(CATEGORIES)]} thing {one}" for one in range(PRODUCTS)],
            "category": [CATEGORIES[one % len(CATEGORIES)] for one in range(PRODUCTS)],
            "price": [2.5 + one for one in range(PRODUCTS)],
            "is_in_stock": [one % 11 > 0 for one in range(PRODUCTS)],
            "created_at": pd.Timestamp(AS_OF) - timedelta(days=400),
            "as_of": pd.Timestamp(as_of),
        }
    )
    orders = orders.assign(gross_amount=orders["net_amount"], item_count=count)
    return {
        "customer_orders": orders[orders["ordered_at"] <= as_of],
        "customer_order_lines": lines[lines["ordered_at"] <= as_of],
        "customer_sessions": sessions[sessions["started_at"] <= as_of],
        "customer_emails": emails,
        "experiments": experiments,
        "products": products,
    }


def mail_from(orders: pd.DataFrame, as_of: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A weekly newsletter to whoever has ordered by then, at any hour by lot, with one of four subjects by lot.

    Who opens and clicks stays the same; people read at an hour of their own, and one subject is opened more.
    """
    first = orders.groupby("customer_id")["ordered_at"].min()
    emails, arms = [], []
    for week in range(-8, 27):
        sent = pd.Timestamp(AS_OF) - timedelta(days=7 * week)
        readers = first.index[first < sent] if sent + timedelta(days=3) <= as_of else first.index[:0]
        number = readers.str[1:].astype(int).to_numpy() * 64 + week + 8
        treated = lot(number, 11) >= 0.1
        campaign = f"newsletter-{week + 8:02d}"
        arms.append(
            pd.DataFrame(
                {
                    "customer_id": readers,
                    "experiment_id": campaign,
                    "arm": np.where(treated, "treated", "control"),
                    "assigned_at": sent,
                }
            )
        )
        got, number = readers[treated], number[treated]
        at = pd.Series(sent + pd.to_timedelta((lot(number, 12) * 24).astype(int), unit="h"))
        liking = number // 64 * 37 % 100 / 100
        subject = (lot(number, 15) * len(SUBJECTS)).astype(int)
        opened = lot(number, 13) < (0.15 + 0.5 * liking) * np.where(subject == 1, 1.5, 1.0)
        hour = np.where(number // 64 % 2 == 0, 8, 19) + (lot(number, 16) * 2).astype(int)
        read = at + pd.to_timedelta((hour - at.dt.hour.to_numpy()) % 24 + 24 * (lot(number, 17) < 0.2), unit="h")
        clicked = opened & (lot(number, 14) < 0.1 + 0.4 * liking)
        emails.append(
            pd.DataFrame(
                {
                    "customer_id": got,
                    "email_message_id": [f"m{one:08d}" for one in number],
                    "campaign_id": campaign,
                    "subject": np.array(SUBJECTS)[subject],
                    "is_machine_opened": False,
                    "sent_at": at,
                    "delivered_at": at + timedelta(minutes=1),
                    "opened_at": (read + timedelta(minutes=5)).where(opened),
                    "clicked_at": (read + timedelta(minutes=6)).where(clicked),
                    "unsubscribed_at": read.where(np.zeros(len(at), bool)),
                }
            )
        )
    return pd.concat(emails, ignore_index=True), pd.concat(arms, ignore_index=True)


def lot(number: np.ndarray, purpose: int) -> np.ndarray:
    """A number between 0 and 1 for each number and purpose, the same for ever (splitmix64)."""
    with np.errstate(over="ignore"):
        z = np.asarray(number, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(purpose * 0x1234567)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).astype(float) / 2.0**64


def write_features(folder: Path, orders: pd.DataFrame, as_of: datetime = AS_OF) -> str:
    """A folder as the warehouse publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {"customer_features": features_from(orders, as_of), **events_from(orders, as_of)}.items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        for index, field in enumerate(table.schema):
            if field.name == "order_date":
                table = table.set_column(index, field.name, table[field.name].cast(pa.date32()))
            elif pa.types.is_timestamp(field.type):
                table = table.set_column(index, field.name, table[field.name].cast(pa.timestamp("us", tz="UTC")))
        pq.write_table(table, folder / f"{name}.parquet")
    return str(folder)


def forget(folder: Path, *frames: str) -> None:
    """Empty some of the feature files: a shop where this never happened."""
    for name in frames:
        file = folder / f"{name}.parquet"
        pq.write_table(pq.read_table(file).slice(0, 0), file)


@dataclass(frozen=True)
class Place:
    """Where a test's features, artefacts, alias log and scores lie."""

    root: Path
    features: str

    @property
    def registry(self) -> str:
        return str(self.root / "registry")

    @property
    def registry_url(self) -> str:
        return f"sqlite:///{self.root / 'registry' / 'aliases.sqlite'}"

    @property
    def scores(self) -> str:
        return str(self.root / "scores")

    def arguments(self, **changes) -> dict:
        """What train() is called with."""
        return {
            "features": self.features,
            "as_of": AS_OF,
            "registry": self.registry,
            "registry_url": self.registry_url,
            "seed": 1,
            "features_version": "v1",
            "configuration": quick_models(),
        } | changes

    def arguments_without(self, *names) -> dict:
        """The same without some."""
        return {key: value for key, value in self.arguments().items() if key not in names}

    def scoring(self, **changes) -> dict:
        """What score() is called with."""
        arguments = self.arguments()
        del arguments["seed"]
        return arguments | {"scores": self.scores, "run_id": "run-1", "scored_at": AS_OF} | changes
