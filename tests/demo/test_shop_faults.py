"""The shop's API on bad days: what a client sees, and that an extraction loses nothing."""

import logging
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from letterpress.demo.shop import faults
from letterpress.demo.shop.app import UnusableSwitchesError, create_app, create_app_from
from letterpress.demo.shop.faults import (
    BROKEN_FROM,
    BROKEN_UNTIL,
    KINDS,
    FaultMiddleware,
    has_changed_types,
    with_changed_types,
)
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.switches import Dirt, Faults
from letterpress.settings import Settings
from letterpress.sources import Connection, landing
from letterpress.sources.config import Retry, Source
from letterpress.sources.errors import SchemaChanged
from letterpress.sources.extract import extract

pytestmark = pytest.mark.usefixtures("played_once")

TODAY = datetime(2011, 1, 10, tzinfo=UTC)
PASSED = {"verdict": "passed", "checks": 0, "warnings": 0, "errors": 0}
FAST = Retry(attempts=6, backoff_seconds=0.01)
NO_APPLICATION = Starlette()  # never called: only who fails is asked
ENTITIES = {
    "crm": ("customers", "consents"),
    "catalogue": ("products",),
    "shop": ("orders", "order_lines", "refunds"),
    "web": ("events",),
    "email": ("events",),
}


@contextmanager
def serving(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def served(home, rates: Faults, customers: int = 60, **options):
    app = create_app(home=home, seed=5, customers=customers, days=30, today=TODAY, rates=rates, **options)
    with serving(app) as url:
        yield url, app


def only(**rates: float) -> Faults:
    return Faults(**(asdict(Faults.off()) | rates))


def source(name: str, entities: tuple[str, ...], page_size: int = 40) -> Source:
    return Source(
        name=name,
        description="a room of the shop",
        module="demo_shop",
        connection="letterpress_shop",
        entities=entities,
        schedule="@hourly",
        page_size=page_size,
        retry=FAST,
    )


def land(url: str, where: Source, at: str, as_of: datetime = TODAY) -> dict[str, int] | None:
    """Extract and commit; the new rows of each entity."""
    connections = {"letterpress_shop": Connection(base_url=url)}
    load = extract(where, landing=at, connections=connections, as_of=as_of, run_id="test")
    if load is None:
        return None
    return {name: entity.rows for name, entity in landing.commit(at, load, PASSED).entities.items()}


def landed(at: str, source_name: str) -> Counter:
    """The hash of each accepted row's content, by entity."""
    return Counter(
        (entity, one)
        for manifest in landing.manifests(at)
        if manifest.source == source_name
        for entity in manifest.entities
        for frame in landing.batches(at, manifest.load_id, entity)
        for one in frame["_row_hash"]
    )


def told(url: str, path: str) -> bytes:
    """All that the shop sends for one request, as it is on the wire, until it ends the connection."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_fails_as_its_kind_says_and_is_answered_when_it_is_repeated(tmp_path, kind):
    with served(tmp_path, only(**{kind: 1.0}), dirt=Dirt.off()) as (url, _):
        began = time.monotonic()
        with httpx.Client(base_url=url, timeout=10) as client:
            if kind in ("reset", "truncated"):
                with pytest.raises(httpx.TransportError):
                    client.get("/v1/customers")
            else:
                answer = client.get("/v1/customers")
                expected = {"throttled": 429, "throttled_until": 429, "failing": 500, "slow": 200}
                assert answer.status_code == expected[kind]
                assert answer.headers.get("Retry-After") == ("1" if kind == "throttled_until" else None)
                assert kind != "slow" or time.monotonic() - began > 0.5
            if kind != "slow":
                assert len(client.get("/v1/customers").json()["data"]) == 60
            for path in ("/health", "/v1/clock", "/about"):
                assert client.get(path).status_code == 200


def test_faults_come_at_their_rates_and_never_twice_in_a_row_to_the_same_request():
    days = FaultMiddleware(NO_APPLICATION, [], Faults(), seed=3)
    found = Counter()
    for number in range(60_000):
        misfortune = days.misfortune("/v1/events", f"cursor={number}".encode())
        if misfortune is not None:
            found[misfortune.kind] += 1
            if misfortune.kind != "slow":
                assert days.misfortune("/v1/events", f"cursor={number}".encode()) is None
    for kind in KINDS:
        assert found[kind] / 60_000 == pytest.approx(getattr(Faults(), kind), rel=0.35), kind
    again = FaultMiddleware(NO_APPLICATION, [], Faults(), seed=3)
    first = [again.misfortune("/v1/events", b"%d" % number) for number in range(2_000)]
    once_more = FaultMiddleware(NO_APPLICATION, [], Faults(), seed=3)
    assert first == [once_more.misfortune("/v1/events", b"%d" % number) for number in range(2_000)]


def test_a_reset_is_one_on_the_wire_and_a_truncated_answer_keeps_the_length_of_the_whole(tmp_path):
    with served(tmp_path, only(reset=1.0), dirt=Dirt.off()) as (url, _):
        with pytest.raises(ConnectionResetError):
            told(url, "/v1/customers")
        whole = told(url, "/v1/customers")
    with served(tmp_path, only(truncated=1.0), dirt=Dirt.off()) as (url, _):
        head, _, body = told(url, "/v1/customers").partition(b"\r\n\r\n")
    expected = whole.partition(b"\r\n\r\n")[2]
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: %d" % len(expected) in head.lower()
    assert body == expected[: len(expected) // 2]


def test_the_stream_breaks_off_too_and_can_be_resumed_after_the_last_whole_event(tmp_path):
    with served(tmp_path, only(truncated=1.0), dirt=Dirt.off()) as (url, app), httpx.Client(base_url=url) as client:
        lines: list[str] = []
        with pytest.raises(httpx.TransportError), client.stream("GET", "/v1/stream") as answer:
            lines.extend(answer.iter_lines())
        received = [line for line in lines if line.startswith("id: ")][:-1]  # the last one may be half an event
        rest = client.get("/v1/stream", headers={"Last-Event-ID": received[-1].removeprefix("id: ")}).text
        count = app.state.store.counts()["events"]
    assert len(received) > 100
    assert len(received) + sum(line.startswith("id: ") for line in rest.splitlines()) == count


@pytest.mark.slow
def test_an_extraction_from_a_failing_shop_loses_nothing_and_takes_nothing_twice(tmp_path, caplog):
    """Every fault at ten times its usual rate or more, beside all the dirt; the same shop without is the measure."""
    caplog.set_level(logging.INFO, faults.__name__)
    usual = asdict(Faults())
    rates = only(**{kind: 10 * usual[kind] for kind in KINDS} | {"repeated_pages": 0.5})
    rows, again = {}, {}
    for name, these in (("bad", rates), ("good", Faults.off())):
        with served(tmp_path / "shop", these) as (url, _):
            at = str(tmp_path / name)
            for where, entities in ENTITIES.items():
                one = source(where, entities, page_size=20)
                land(url, one, at)
                rows[name, where] = landed(at, where)
                again[name, where] = land(url, one, at)
    for where in ENTITIES:
        assert rows["bad", where] == rows["good", where], where
        assert set(rows["bad", where].values()) == {1}, f"{where}: a row landed twice"
        assert again["bad", where] is None, "a second extraction finds nothing"
    assert len(rows["bad", "web"]) > 2_000
    happened = Counter(record.args[0] for record in caplog.records if record.name == faults.__name__)
    assert set(happened) == set(KINDS), "a kind that never happened was not survived"


def test_rows_that_become_visible_behind_the_cursor_land_with_the_next_extraction(tmp_path):
    """Pages skip rows under concurrent writes: the overlap of the source reads them."""
    late = Dirt(**(asdict(Dirt.off()) | {"late_commits": 0.3}))
    with served(tmp_path / "shop", only(repeated_pages=0.3), customers=400, dirt=late) as (url, app):
        at = str(tmp_path / "landing")
        web = source("web", ("events",), page_size=1000).model_copy(update={"overlap": timedelta(hours=1)})
        land(url, web, at, as_of=chance.moment(app.state.loop.advance(12 * chance.HOUR)))
        behind = 0
        for _ in range(5):
            cursor = next(iter(landing.newest_first(at, "web"))).entities["events"].cursor
            since = app.state.store.position("events")
            now = app.state.loop.advance(chance.HOUR)
            shown = app.state.store.changed("events", since, app.state.store.position("events"), None, 10**6)
            behind += sum(chance.moment(instant) < datetime.fromisoformat(cursor) for instant, _, _ in shown)
            land(url, web, at, as_of=chance.moment(now))
        served_now = app.state.store.counts()["events"]
        found = landed(at, "web")
    assert behind > 0, "expected rows that pages had skipped"
    assert len(found) == found.total() == served_now


def test_a_page_begins_with_rows_of_the_page_before_and_none_is_lost(tmp_path):
    with served(tmp_path, only(repeated_pages=0.6), dirt=Dirt.off()) as (url, _), httpx.Client(base_url=url) as client:

        def walk() -> list[str]:
            keys, cursor = [], None
            while True:
                query = {"page_size": 20} | ({"cursor": cursor} if cursor else {})
                page = client.get("/v1/order_lines", params=query).json()
                keys += [row["order_line_id"] for row in page["data"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    return keys

        keys = walk()
        whole = [row["order_line_id"] for row in client.get("/v1/order_lines?page_size=1000").json()["data"]]
        assert list(dict.fromkeys(keys)) == whole
        assert len(keys) > len(whole) + 5
        assert walk() == keys


def test_a_broken_deployment_stops_the_extraction_and_everything_lands_once_it_is_mended(tmp_path):
    with served(tmp_path / "shop", only(changed_types=1.0), dirt=Dirt.off()) as (url, app):
        at = str(tmp_path / "landing")
        catalogue = source("catalogue", ("products",))
        assert land(url, catalogue, at) == {"products": 120}
        kinds = {}
        for hour in range(1, 7):
            now = app.state.loop.advance(chance.HOUR)
            rows = httpx.get(f"{url}/v1/products", params={"page_size": 200}).json()["data"]
            kinds[hour] = {type(row["stock_quantity"]) for row in rows}
            if hour == 3:
                before = landed(at, "catalogue")
                with pytest.raises(SchemaChanged) as stopped:
                    land(url, catalogue, at, as_of=chance.moment(now))
                assert landed(at, "catalogue") == before
        assert kinds == {1: {int}, 2: {str}, 3: {str}, 4: {str}, 5: {int}, 6: {int}}
        now = app.state.loop.advance(chance.DAY - 6 * chance.HOUR)
        land(url, catalogue, at, as_of=chance.moment(now))
        whole = str(tmp_path / "whole")
        land(url, catalogue, whole, as_of=chance.moment(now))
        current, found = landed(whole, "catalogue"), landed(at, "catalogue")
    message = str(stopped.value)
    assert "catalogue.products.stock_quantity: expected int64, found JSON string" in message
    assert "nothing of catalogue landed" in message
    assert set(current) <= set(found)
    assert set(found.values()) == {1}


def test_broken_deploys_come_on_their_share_of_days():
    rates = only(changed_types=0.1)
    inside = [has_changed_types(rates, 1, day * chance.DAY + BROKEN_FROM + 1) for day in range(3_000)]
    assert sum(inside) / 3_000 == pytest.approx(0.1, abs=0.02)
    assert not any(has_changed_types(rates, 1, day * chance.DAY + BROKEN_UNTIL) for day in range(3_000))
    assert with_changed_types(b'{"stock_quantity":12,"a":1}') == b'{"stock_quantity":"12","a":1}'


def test_every_fault_is_documented():
    documented = {line.split()[0] for line in faults.__doc__.splitlines() if "  ." in line}
    assert {field.name for field in fields(Faults)} == documented


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sometimes", "expected on, off or a JSON object"),
        ('{"slo": 0.1}', "did you mean slow"),
        ('{"slow": 2}', "expected a rate from 0 to 1, found 2"),
        ('{"slow": "much"}', "expected a rate from 0 to 1"),
    ],
)
def test_unusable_switches_are_refused_with_the_remedy(text, expected):
    with pytest.raises(ValueError, match=expected):
        Faults.parse(text)
    assert Faults.parse("off") == Faults.off()
    assert Faults.parse('{"slow": 0}').slow == 0


def test_the_settings_switch_the_faults_and_a_wrong_switch_is_named(tmp_path):
    small = {"home": str(tmp_path), "shop_customers": 3, "shop_days": 3, "esp_token": "key"}
    with serving(create_app_from(Settings(**small, shop_faults='{"failing": 1}'))) as url:
        answers = [httpx.get(f"{url}/v1/customers").status_code for _ in range(2)]
    with serving(create_app_from(Settings(**small, shop_faults="off"))) as url:
        answers += [httpx.get(f"{url}/v1/customers").status_code for _ in range(2)]
    assert answers == [500, 200, 200, 200]
    with pytest.raises(UnusableSwitchesError, match=r"LETTERPRESS_SHOP_FAULTS: slow: expected a rate from 0 to 1"):
        create_app_from(Settings(**small, shop_faults='{"slow": 2}'))
    assert Settings(home=str(tmp_path)).shop_faults == "on"
