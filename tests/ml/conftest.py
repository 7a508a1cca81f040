"""A place with planted feature files, and real data where it is there."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from model_rows import Place, simulate_orders, write_features

from ml import config
from ml.train import train


@pytest.fixture(scope="session")
def cdnow_orders(real_data):
    data = pd.read_parquet(real_data / "cdnow" / "cdnow_sample.parquet")
    return data.rename(columns={"date": "order_date", "dollar_value": "net_amount"})


@pytest.fixture(scope="session")
def cdnow_summary(real_data):
    data = pd.read_parquet(real_data / "cdnow" / "cdnow_sample_summary.parquet")
    return data.rename(columns={"x": "purchases", "t_x": "recency", "T": "age", "zbar": "repeat_spend"})


@pytest.fixture(scope="session")
def online_retail_orders(real_data):
    """Purchases of known customers: no cancellations, no adjustments, positive in total."""
    lines = pd.read_parquet(real_data / "online_retail" / "online_retail_2010-12_2011-06.parquet")
    lines = lines[lines["CustomerID"].notna() & ~lines["InvoiceNo"].str.startswith(("C", "A"))]
    lines = lines.assign(
        customer_id=lines["CustomerID"].astype(int).astype(str), net_amount=lines["Quantity"] * lines["UnitPrice"]
    )
    orders = lines.groupby(["customer_id", "InvoiceNo"], as_index=False).agg(
        ordered_at=("InvoiceDate", "min"), net_amount=("net_amount", "sum")
    )
    orders = orders[orders["net_amount"] > 0].rename(columns={"InvoiceNo": "order_id"})
    return orders.assign(order_date=orders["ordered_at"].dt.normalize()).reset_index(drop=True)


@pytest.fixture(scope="session")
def simulated_orders():
    return simulate_orders()


@pytest.fixture
def place(tmp_path, simulated_orders):
    return Place(tmp_path, write_features(tmp_path / "features", simulated_orders))


@pytest.fixture(scope="session")
def trained_place(made_once, simulated_orders):
    """A place where every model is trained; tests take a copy."""

    def fill(root: Path) -> None:
        place = Place(root, write_features(root / "features", simulated_orders))
        for name in config.model_names():
            train(name, **place.arguments())

    root = made_once("trained-place", fill)
    return Place(root, str(root / "features"))


@pytest.fixture
def served(tmp_path, trained_place):
    """A copy of the place where every model serves."""
    shutil.copytree(trained_place.root, tmp_path / "served")
    return Place(tmp_path / "served", str(tmp_path / "served" / "features"))
