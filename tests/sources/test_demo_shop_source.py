"""The sources of the demo shop against the demo shop itself: everything it serves lands, once, in declared types."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from source_doubles import Line, source_named

from letterpress.settings import Settings
from letterpress.sources import Connection, landing
from letterpress.sources.clock import resolve_as_of
from letterpress.sources.options import RestOptions

SOURCES = {
    "crm": {"customers": "/v1/customers", "consents": "/v1/consents"},
    "catalogue": {"products": "/v1/products"},
    "shop": {"orders": "/v1/orders", "order_lines": "/v1/order_lines", "refunds": "/v1/refunds"},
    "web": {"events": "/v1/events"},
    "email": {"events": "/v1/email_events"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shop(home: Path) -> Iterator[str]:
    from letterpress.demo.shop.app import create_app

    app = create_app(home=home, seed=3, customers=150, days=60)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def shop_line(tmp_path: Path, shop: str, home: Path) -> Line:
    line = Line(str(tmp_path / "landing"), shop)
    line.connections["letterpress_shop_database"] = Connection(base_url=f"sqlite:///{home / 'shop' / 'orders.sqlite'}")
    line.connections["letterpress_shop_files"] = Connection(base_url=str(home / "shop" / "exports"))
    return line


def listed(shop: str, path: str) -> list[dict]:
    """Rows of a list, page by page without our own client."""
    rows, cursor = [], None
    while True:
        answer = httpx.get(f"{shop}{path}", params={"page_size": 1000} | ({"cursor": cursor} if cursor else {})).json()
        rows, cursor = rows + answer["data"], answer["next_cursor"]
        if cursor is None:
            return rows


def served(shop: str, path: str) -> int:
    return len(listed(shop, path))


@pytest.mark.parametrize("name", SOURCES)
def test_everything_that_the_shop_serves_lands_once(shop_line: Line, shop: str, name: str) -> None:
    as_of = resolve_as_of(Settings(shop_url=shop), None)
    manifest = shop_line.land(source_named(name, page_size=200), as_of=as_of)
    again = shop_line.extract(name, as_of=as_of)
    for entity, path in SOURCES[name].items():
        loaded = manifest.entities[entity]
        assert loaded.rows == served(shop, path), entity
        appeared = () if entity != "customers" else ("referral_code",)  # dirt: it is not declared on purpose
        assert loaded.new_columns == appeared, "the shop serves a column that demo_shop.py does not declare"
        assert loaded.repeated_rows == 0
        frame = next(landing.batches(shop_line.landing, manifest.load_id, entity))
        never_filled = [column for column in frame.columns if frame[column].isna().all()]
        assert not set(never_filled) - {"bounce_type", "url"}, "declared columns that the shop does not serve"
    assert again is None


def test_orders_are_the_same_from_the_database_as_from_the_api(shop_line: Line, shop: str, tmp_path: Path) -> None:
    as_of = resolve_as_of(Settings(shop_url=shop), None)
    by_rest = Line(str(tmp_path / "by_rest"), shop)
    shop_line.land("shop", as_of=as_of)
    by_rest.land(source_named("shop", options=RestOptions(reader="rest"), page_size=500), as_of=as_of)
    for entity in SOURCES["shop"]:
        ours, theirs = shop_line.rows(entity), by_rest.rows(entity)
        assert sorted(ours["_row_hash"]) == sorted(theirs["_row_hash"]), entity
        assert len(ours) > 0


def test_a_day_later_only_what_changed_lands(shop_line: Line, shop: str) -> None:
    before = {name: shop_line.land(name, as_of=resolve_as_of(Settings(shop_url=shop), None)) for name in SOURCES}
    catalogue = listed(shop, "/v1/products")
    counts = {path: served(shop, path) for paths in SOURCES.values() for path in paths.values()}
    httpx.post(f"{shop}/v1/clock/advance", json={"days": 1}).raise_for_status()
    as_of = resolve_as_of(Settings(shop_url=shop), None)
    second = shop_line.land("web", as_of=as_of)
    orders = shop_line.land("shop", as_of=as_of)
    products = shop_line.land("catalogue", as_of=as_of)
    changed = [row for row in listed(shop, "/v1/products") if row not in catalogue]
    new_events = served(shop, "/v1/events") - counts["/v1/events"]
    assert second.entities["events"].rows == new_events > 0
    assert second.entities["events"].cursor > before["web"].entities["events"].cursor
    assert orders.entities["orders"].rows >= served(shop, "/v1/orders") - counts["/v1/orders"]
    assert orders.entities["orders"].rows < before["shop"].entities["orders"].rows
    assert 0 < products.entities["products"].rows == len(changed) < 120
    assert products.entities["products"].repeated_rows == 120 - len(changed)
    assert [shop_line.extract(name, as_of=as_of) for name in ("web", "shop", "catalogue")] == [None] * 3
