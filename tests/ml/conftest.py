"""A place with planted feature files, and real data where it is there."""

import pandas as pd
import pytest
from model_rows import Place, simulate_orders, write_features


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
