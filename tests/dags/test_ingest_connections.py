"""What Airflow Connections say of a source is what the source opens, and no password stands in an address."""

import json
from pathlib import Path

import pytest

from letterpress.operations.environment import environment
from letterpress.orchestration.ingest import connection
from letterpress.settings import Settings

EXTRA = {"sslmode": "require"}
CASES = {
    "api": (
        {"conn_type": "http", "schema": "https", "host": "shop.example.com", "port": 443, "password": "sesame-open"},
        "https://shop.example.com:443",
    ),
    "api without a port": (
        {"conn_type": "http", "schema": "https", "host": "api.esp.example.com", "password": "sesame-open"},
        "https://api.esp.example.com",
    ),
    "files": ({"conn_type": "fs", "extra": {"path": "s3://retailer/exports"}}, "s3://retailer/exports"),
    "sqlite": ({"conn_type": "sqlite", "host": "/srv/shop/orders.sqlite"}, "sqlite:////srv/shop/orders.sqlite"),
    "postgres": (
        {"conn_type": "postgres", "host": "db.example.com", "port": 5433, "schema": "shop", "login": "rea:der"}
        | {"password": "sesame-open", "extra": EXTRA},
        "postgresql+psycopg://rea%3Ader@db.example.com:5433/shop?sslmode=require",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_connection_becomes_the_address_of_its_kind(monkeypatch, airflow_database, name):
    given, address = CASES[name]
    monkeypatch.setenv("AIRFLOW_CONN_LETTERPRESS_SOMETHING", json.dumps(given))
    found = connection("letterpress_something")
    assert found.base_url == address
    assert (found.token.get_secret_value() if found.token else None) == given.get("password")
    assert "sesame-open" not in repr(found)


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        (None, "sqlite:///{home}/shop/orders.sqlite", None),
        ("postgresql+psycopg://shop:p%40ss-word@db:5433/shop?sslmode=require",
         "postgresql+psycopg://shop@db:5433/shop?sslmode=require", "p@ss-word"),
        ("postgresql+psycopg://shop@/shop", "postgresql+psycopg://shop@/shop", None),
    ],
)  # fmt: skip
def test_the_shops_order_database_is_where_the_settings_put_it(
    monkeypatch, airflow_database, tmp_path: Path, url, address, password
):
    settings = Settings(home=str(tmp_path), shop_database_url=url)
    given = environment(settings)
    for name in ("LETTERPRESS_SHOP_DATABASE", "LETTERPRESS_SHOP_FILES"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", given[f"AIRFLOW_CONN_{name}"])
    found = connection("letterpress_shop_database")
    assert found.base_url == address.format(home=tmp_path)
    assert (found.token.get_secret_value() if found.token else None) == password
    assert connection("letterpress_shop_files").base_url == f"{tmp_path}/shop/exports"
