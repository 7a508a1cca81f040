"""Public data sets as the frames that the warehouse publishes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

ONLINE_RETAIL = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")


def online_retail(folder: Path) -> dict[str, pd.DataFrame]:
    """Online Retail (UCI 352) as ``customer_orders``, ``customer_order_lines`` and ``products``.

    Purchases of known customers: no cancellations (C invoices), no adjustments (A invoices), positive quantity and
    price. Invoices carry London local time, which becomes UTC. Every Parquet file of the folder with the set's
    columns is read; an invoice that two files hold is taken from the first by name. Raises
    :class:`FileNotFoundError` where there is none. The set has no categories: ``category`` is null.
    """
    parts, seen = [], set()
    for file in parquet_files(folder, ONLINE_RETAIL):
        part = pd.read_parquet(file, columns=list(ONLINE_RETAIL))
        part = part[~part["InvoiceNo"].isin(seen)]
        seen |= set(part["InvoiceNo"].unique())
        parts.append(part)
    lines = pd.concat(parts, ignore_index=True)
    is_purchase = ~lines["InvoiceNo"].astype(str).str.startswith(("C", "A"))
    lines = lines[is_purchase & lines["CustomerID"].notna() & (lines["Quantity"] > 0) & (lines["UnitPrice"] > 0)]
    local = lines["InvoiceDate"].dt.tz_localize("Europe/London", ambiguous=False, nonexistent="shift_forward")
    lines = pd.DataFrame(
        {
            "customer_id": lines["CustomerID"].astype("int64").astype(str),
            "order_id": lines["InvoiceNo"].astype(str),
            "ordered_at": local.dt.tz_convert("UTC").astype("datetime64[us, UTC]"),
            "order_date": lines["InvoiceDate"].dt.normalize(),
            "product_id": lines["StockCode"].astype(str),
            "product_name": lines["Description"],
            "category": pd.Series(None, index=lines.index, dtype="str"),
            "quantity": lines["Quantity"].astype("int64"),
            "line_amount": (lines["Quantity"] * lines["UnitPrice"]).round(2),
            "price": lines["UnitPrice"],
        }
    ).sort_values(["customer_id", "ordered_at", "order_id", "product_id"], kind="stable", ignore_index=True)
    orders = lines.groupby(["customer_id", "order_id"], as_index=False).agg(
        ordered_at=("ordered_at", "min"),
        order_date=("order_date", "min"),
        gross_amount=("line_amount", "sum"),
        item_count=("quantity", "sum"),
    )
    orders["gross_amount"] = orders["gross_amount"].round(2)
    orders["net_amount"] = orders["gross_amount"]
    products = (
        lines.sort_values("ordered_at", kind="stable")
        .groupby("product_id", as_index=False)
        .agg(
            product_name=("product_name", "last"),
            category=("category", "last"),
            price=("price", "last"),
            created_at=("ordered_at", "min"),
        )
    )
    products["is_in_stock"] = True
    return {
        "customer_orders": orders.sort_values(["customer_id", "ordered_at", "order_id"], ignore_index=True),
        "customer_order_lines": lines.drop(columns=["order_date", "product_name", "price"]),
        "products": products,
    }


def parquet_files(folder: Path, columns: tuple[str, ...]) -> list[Path]:
    """The Parquet files of a folder that hold these columns, by name; at least one, or :class:`FileNotFoundError`."""
    found = [file for file in sorted(folder.glob("*.parquet")) if set(columns) <= set(pq.read_schema(file).names)]
    if not found:
        raise FileNotFoundError(f"{folder}: expected a Parquet file with {', '.join(columns)}, found none")
    return found


def complete_journey_lines(folder: Path) -> pd.DataFrame:
    """Complete Journey's baskets as ``customer_order_lines``, with the set's product categories; instants are UTC."""
    columns = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
    parts = [pd.read_parquet(file, columns=list(columns)) for file in parquet_files(folder, columns)]
    lines = pd.concat(parts, ignore_index=True)
    kinds = ("product_id", "product_category", "product_type")
    products = pd.concat([pd.read_parquet(file, columns=list(kinds)) for file in parquet_files(folder, kinds)])
    category = products.drop_duplicates("product_id").set_index("product_id")["product_category"]
    return pd.DataFrame(
        {
            "customer_id": lines["household_id"].astype(str),
            "order_id": lines["basket_id"].astype(str),
            "ordered_at": lines["transaction_timestamp"].dt.tz_localize("UTC").astype("datetime64[us, UTC]"),
            "product_id": lines["product_id"].astype(str),
            "category": lines["product_id"].map(category),
            "quantity": lines["quantity"],
            "line_amount": lines["sales_value"],
        }
    )
