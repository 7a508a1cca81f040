"""Feature files as the warehouse publishes them, made from planted behaviour."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)


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
    return pd.concat([data, visitor], ignore_index=True).assign(as_of=pd.Timestamp(as_of))


def write_features(folder: Path, orders: pd.DataFrame, as_of: datetime = AS_OF) -> str:
    """A folder as the warehouse publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    instant = pa.timestamp("us", tz="UTC")
    customers = pa.Table.from_pandas(features_from(orders, as_of), preserve_index=False)
    customers = customers.set_column(
        customers.schema.get_field_index("as_of"), "as_of", customers["as_of"].cast(instant)
    )
    pq.write_table(customers, folder / "customer_features.parquet")
    events = orders[orders["ordered_at"] <= as_of]
    table = pa.table(
        {
            "customer_id": pa.array(events["customer_id"], pa.string()),
            "order_id": pa.array(events["order_id"], pa.string()),
            "ordered_at": pa.array(events["ordered_at"], instant),
            "order_date": pa.array(events["order_date"].dt.date, pa.date32()),
            "net_amount": pa.array(events["net_amount"], pa.float64()),
        }
    )
    pq.write_table(table, folder / "customer_orders.parquet")
    return str(folder)


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
        } | changes

    def arguments_without(self, *names) -> dict:
        """The same without some."""
        return {key: value for key, value in self.arguments().items() if key not in names}

    def scoring(self, **changes) -> dict:
        """What score() is called with."""
        arguments = self.arguments()
        del arguments["seed"]
        return arguments | {"scores": self.scores, "run_id": "run-1", "scored_at": AS_OF} | changes
