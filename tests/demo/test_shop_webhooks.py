"""Webhooks reach a real receiver once or more, signed, in order for each visitor, whatever it answers."""

import hashlib
import hmac
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from letterpress.demo.shop.app import create_app_from
from letterpress.demo.shop.webhooks import BATCH_EVENTS, LANES, Webhooks
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import Store
from letterpress.settings import REPOSITORY, Settings

SECRET = "a shared secret"
WORLD = World(seed=2, customers=300, days=20, today=datetime(2011, 2, 1, tzinfo=UTC))
DAYS = 4 * chance.DAY


@dataclass
class Receiver:
    """What arrived, and what is answered: statuses by request number, or one for all."""

    url: str = ""
    statuses: dict[int, int] = field(default_factory=dict)
    always: int | None = None
    seconds: float = 0.0
    requests: int = 0
    at_once: int = 0
    most_at_once: int = 0
    wrong: list[str] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ids(self) -> list[str]:
        return [event["messageId"] for event in self.events]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with received.lock:
                received.requests += 1
                number = received.requests
                received.at_once += 1
                received.most_at_once = max(received.most_at_once, received.at_once)
            if received.seconds:
                time.sleep(received.seconds)
            status = received.always or received.statuses.get(number, 200)
            signed = hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
            with received.lock:
                if not hmac.compare_digest(signed, self.headers["X-Signature"] or ""):
                    received.wrong.append("signature")
                if self.headers["Content-Type"] != "application/json":
                    received.wrong.append("content type")
                if status < 300:
                    received.events.append(json.loads(body))
                received.at_once -= 1
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.url = f"http://127.0.0.1:{server.server_address[1]}/segment"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield received
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "shop" / "shop.sqlite", WORLD)
    store.prepare()
    return store


def webhooks(receiver: Receiver, store: Store, **changes: Any) -> Webhooks:
    made = Webhooks(receiver.url, SECRET, store, **{"bound_seconds": 60, "first_wait_seconds": 0.001} | changes)
    made.prepare()
    return made


def since(store: Store, position: int) -> list[dict]:
    """The events that were shown after a position, in their order."""
    rows = store.changed("events", position, store.position("events"), None, 10**9)
    return [json.loads(body) for _, _, body in rows]


def visitors(events: list[dict]) -> dict[str, list[str]]:
    """The events of each visitor in the order in which each arrived first."""
    found: dict[str, list[str]] = {}
    for event in events:
        ids = found.setdefault(event["anonymousId"], [])
        if event["messageId"] not in ids:
            ids.append(event["messageId"])
    return found


def test_the_events_of_an_advance_arrive_signed_as_the_api_shows_them(receiver, store):
    position = store.position("events")
    hooks = webhooks(receiver, store)
    hooks.update()
    assert receiver.requests == 0, "the history was sent"
    store.advance(DAYS)
    hooks.update()
    expected = since(store, position)
    assert len(expected) > BATCH_EVENTS
    assert sorted(receiver.events, key=str) == sorted(expected, key=str)
    assert visitors(receiver.events) == visitors(expected)
    assert receiver.wrong == []
    assert {"messageId", "type", "anonymousId", "timestamp", "properties", "context"} <= set(receiver.events[0])
    sent = receiver.requests
    hooks.update()
    assert receiver.requests == sent


def test_a_receiver_that_fails_now_and_then_ends_with_every_event_in_order(receiver, store):
    receiver.statuses = {number: (500, 503, 429, 408)[number % 4] for number in range(1, 3000, 7)}
    hooks = webhooks(receiver, store)
    expected: list[dict] = []
    for _ in range(3):
        position = store.position("events")
        store.advance(33 * chance.HOUR)
        expected += since(store, position)
        hooks.update()
    assert receiver.requests > len(receiver.events)
    assert set(receiver.ids) == {event["messageId"] for event in expected}
    assert visitors(receiver.events) == visitors(expected)


def test_no_more_requests_run_at_once_than_there_are_lanes(receiver, store):
    receiver.seconds = 0.005
    hooks = webhooks(receiver, store)
    store.advance(DAYS)
    hooks.update()
    assert 1 < receiver.most_at_once <= LANES


@pytest.mark.parametrize("status", [503, 429])
def test_a_receiver_that_is_down_holds_the_clock_no_longer_than_the_bound_and_gets_all_later(
    receiver, store, caplog, status
):
    receiver.always = status
    position = store.position("events")
    hooks = webhooks(receiver, store, bound_seconds=0.5)
    store.advance(DAYS)
    began = time.monotonic()
    hooks.update()
    assert time.monotonic() - began < 3
    assert receiver.events == []
    assert "the rest goes with the next advance" in caplog.text
    receiver.always = None
    store.advance(DAYS)
    webhooks(receiver, store).update()
    expected = since(store, position)
    assert set(receiver.ids) == {event["messageId"] for event in expected}
    assert len(receiver.events) == len(expected)


def test_nobody_listening_and_a_receiver_that_hangs_are_bounded_too(receiver, store):
    store.advance(chance.HOUR)
    nobody = Receiver(url="http://127.0.0.1:9/segment")
    receiver.seconds = 2.0
    for target in (nobody, receiver):
        hooks = webhooks(target, store, bound_seconds=0.5, timeout_seconds=0.2)
        store.advance(DAYS)
        began = time.monotonic()
        hooks.update()
        assert time.monotonic() - began < 3


def test_what_a_receiver_refuses_for_good_is_counted_and_holds_up_nothing(receiver, store, caplog):
    receiver.statuses = {3: 400, 5: 410}
    position = store.position("events")
    hooks = webhooks(receiver, store)
    store.advance(DAYS)
    hooks.update()
    assert len(receiver.events) == len(since(store, position)) - 2 == receiver.requests - 2
    assert f"{len(receiver.events)} events delivered, 2 refused" in caplog.text


def test_logs_hold_counts_and_never_bodies_or_addresses_with_keys(receiver, store, caplog):
    receiver.url = receiver.url.replace("/segment", "/segment?key=sesame-open")
    hooks = webhooks(receiver, store)
    store.advance(DAYS)
    with caplog.at_level("INFO", logger="letterpress"):
        hooks.update()
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("letterpress"))
    assert "events delivered" in text
    assert "sesame-open" not in text
    assert not any(event["messageId"] in text or event["anonymousId"] in text for event in receiver.events)


def test_the_shops_clock_drives_webhooks_database_and_files(receiver, tmp_path):
    settings = Settings(
        home=str(tmp_path),
        shop_seed=WORLD.seed,
        shop_customers=60,
        shop_days=10,
        shop_today=WORLD.today,
        shop_faults="off",
        shop_webhook_url=receiver.url,
        shop_webhook_secret=SECRET,
    )
    app = create_app_from(settings)
    app.state.loop.advance(DAYS)
    with closing(sqlite3.connect(tmp_path / "shop" / "orders.sqlite")) as connection:
        orders = connection.execute("select count(*) from orders").fetchone()[0]
    assert orders == app.state.store.counts()["orders"] > 0
    assert (tmp_path / "shop" / "exports" / "products_2011-02-04.csv").exists()
    assert len(receiver.events) > 0
    assert receiver.wrong == []


KILLED = """
import sys
from pathlib import Path
from letterpress.demo.shop.app import create_app_from
from letterpress.demo.shop.webhooks import Webhooks
from letterpress.demo.simulation.store import Store
from test_shop_webhooks import DAYS, SECRET, WORLD
store = Store(Path(sys.argv[1]), WORLD)
hooks = Webhooks(sys.argv[2], SECRET, store, bound_seconds=60)
hooks.prepare()
store.advance(DAYS)
hooks.update()
"""


@pytest.mark.slow
def test_a_kill_repeats_only_what_was_in_flight_and_loses_nothing(receiver, store):
    receiver.seconds = 0.02
    position = store.position("events")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "plugins"), str(Path(__file__).parent)])
    }
    command = [sys.executable, "-c", KILLED, str(store.path), receiver.url]
    with subprocess.Popen(command, env=environment) as process:
        while len(receiver.events) <= BATCH_EVENTS and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    time.sleep(0.1)
    arrived = len(receiver.events)
    webhooks(receiver, store).update()
    expected = since(store, position)
    assert 0 < arrived < len(expected)
    assert set(receiver.ids) == {event["messageId"] for event in expected}
    assert len(receiver.events) - len(expected) <= BATCH_EVENTS
