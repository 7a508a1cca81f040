"""The receiver as a process: what it says when it cannot start, and a SIGKILL between receipt and answer."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from webhook_vendors import PUBLIC, SECRETS, Request, hubspot, klaviyo, klaviyo_event, salesforce, salesforce_event

from letterpress.activation import stores, suppression
from letterpress.activation.webhooks.__main__ import main
from letterpress.settings import settings

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = "an identity key of the tests"


def now() -> datetime:
    """A process of its own has no other clock than the machine's."""
    return datetime.now(UTC).replace(microsecond=0)


class Service:
    """A receiver process that a test may kill and start again, and its store."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.process = folder, None
        self.stores_url = f"sqlite:///{folder}/stores/letterpress.sqlite"
        (folder / "secrets").mkdir()
        (folder / "secrets" / "identity_key").write_text(KEY)
        self.environment = {
            **os.environ,
            "LETTERPRESS_HOME": str(folder),
            "LETTERPRESS_WEBHOOKS": " ".join(SECRETS),
            "LETTERPRESS_WEBHOOKS_PORT": str(self.port),
            "LETTERPRESS_WEBHOOKS_URL": PUBLIC,
            **{f"LETTERPRESS_WEBHOOK_SECRET_{name.upper()}": secret for name, secret in SECRETS.items()},
        }

    def start(self) -> "Service":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "letterpress.activation.webhooks"],
            cwd=REPOSITORY,
            env=self.environment,
            stderr=(self.folder / "log").open("ab"),
        )
        for _ in range(600):
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/health").status_code == 200:
                    return self
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"expected the service to start, found {self.log()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def post(self, request: Request, timeout: float = 10) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{request.path}"
        return httpx.post(url, content=request.body, headers=dict(request.headers), timeout=timeout)

    @contextmanager
    def unread(self, request: Request) -> Iterator[None]:
        """Send a delivery, and hold the line without reading the answer."""
        headers = {**request.headers, "host": "hooks.example.com", "content-length": str(len(request.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(("127.0.0.1", self.port)) as vendor:
            vendor.sendall(f"POST {request.path} HTTP/1.1\r\n{head}\r\n".encode() + request.body)
            yield

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def event_ids(self) -> list[str]:
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            return sorted(connection.scalars(sa.select(stores.WEBHOOK_EVENTS.c.event_id)))

    def stopped(self, *numbers: int) -> set[str]:
        people = [(f"customer-{number:05d}", f"person{number}@example.com") for number in numbers]
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            return set(suppression.stopped(connection, people, KEY.encode()))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path).start()
    yield found
    found.kill()


def test_killed_before_anything_is_kept_it_takes_the_delivery_when_it_comes_again(service: Service):
    request = salesforce(salesforce_event(1, at=now()))
    with stores.opened(service.stores_url) as engine, stores.writing(engine):  # nobody else can write now
        with suppress(httpx.TransportError):
            service.post(request, timeout=1)
        service.kill()
    assert service.event_ids() == []
    assert service.stopped(1) == set()
    service.start()
    assert service.post(request).status_code == 200
    assert len(service.event_ids()) == 1
    assert service.stopped(1) == {"customer-00001"}


def test_killed_between_receipt_and_answer_it_keeps_what_it_has_and_takes_nothing_twice(service: Service):
    request = salesforce(salesforce_event(1, at=now()), salesforce_event(2, at=now()))
    with service.unread(request):
        while len(service.event_ids()) < 2:
            time.sleep(0.001)
        service.kill()
    kept = service.event_ids()
    assert service.stopped(1, 2) == {"customer-00001", "customer-00002"}
    service.start()
    assert service.post(request).status_code == 200
    assert service.event_ids() == kept


@pytest.mark.slow
def test_killed_again_and_again_it_has_every_event_once_of_a_vendor_that_repeats_what_was_not_answered(
    service: Service,
):
    chance = random.Random(5)
    for delivery in range(12):
        events = [salesforce_event(10 * delivery + number, at=now()) for number in range(3)]
        request = salesforce(*events)
        while chance.random() < 0.5:
            with service.unread(request):
                time.sleep(chance.random() * 0.02)
                service.kill()
            service.start()
        assert service.post(request).status_code == 200
    everybody = [10 * delivery + number for delivery in range(12) for number in range(3)]
    assert len(service.event_ids()) == len(set(service.event_ids())) == 36
    assert len(service.stopped(*everybody)) == 36


def test_every_vendor_is_served_and_nothing_personal_is_logged(service: Service):
    assert service.post(klaviyo(klaviyo_event(1, at=now()), now=now())).status_code == 200
    assert service.post(hubspot(now=now())).status_code == 200
    assert service.post(klaviyo(klaviyo_event(1, at=now()), now=now(), secret="some other secret")).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{service.port}/mailchimp/{SECRETS['mailchimp']}").status_code == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(15) in (0, -signal.SIGTERM)
    assert "klaviyo: 1 events new" in service.log()
    assert "requests refused: 1 wrong signature" in service.log()
    for personal in ("person1", "4vRp1", SECRETS["mailchimp"], "127.0.0.1"):
        assert personal not in service.log()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture):
    """Start in this process with these settings: what is returned, and what is said."""

    def started(*, key: bool = True, **values: str) -> tuple[int, str]:
        monkeypatch.setenv("LETTERPRESS_HOME", str(tmp_path))
        for name, value in values.items():
            monkeypatch.setenv(f"LETTERPRESS_{name}", value)
        if key:
            (tmp_path / "secrets").mkdir(exist_ok=True)
            (tmp_path / "secrets" / "identity_key").write_text(KEY)
        settings.cache_clear()
        return main(), capsys.readouterr().err

    yield started
    settings.cache_clear()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "LETTERPRESS_WEBHOOKS: expected destinations that tell by webhook"),
        ({"WEBHOOKS": " , "}, "found none; next step"),
        ({"WEBHOOKS": "klavyo"}, "found 'klavyo'; did you mean 'klaviyo'?"),
        ({"WEBHOOKS": "Klaviyo/UK"}, "expected a destination's name in small letters"),
        (
            {"WEBHOOKS": "klaviyo"},
            "LETTERPRESS_WEBHOOK_SECRET_KLAVIYO: expected at least 16 characters, found none; next step: set it to the "
            "secret_key",
        ),
        ({"WEBHOOKS": "klaviyo", "WEBHOOK_SECRET_KLAVIYO": "short"}, "expected at least 16 characters, found 5"),
        ({"WEBHOOKS": "uk=mailchimp", "WEBHOOK_SECRET_MAILCHIMP": "m" * 20}, "LETTERPRESS_WEBHOOK_SECRET_UK"),
        ({"WEBHOOKS": "salesforce"}, "('confirming' until there is one)"),
        ({"WEBHOOKS": "klaviyo", "WEBHOOK_SECRET_KLAVIYO": "confirming"}, "expected at least 16 characters, found 10"),
        (
            {"WEBHOOKS": "hubspot", "WEBHOOK_SECRET_HUBSPOT": "h" * 36},
            "LETTERPRESS_WEBHOOKS_URL: expected the address that hubspot calls",
        ),
        (
            {"WEBHOOKS": "hubspot", "WEBHOOK_SECRET_HUBSPOT": "h" * 36, "WEBHOOKS_URL": "http://127.0.0.1"},
            "found another",
        ),
    ],
)
def test_a_start_without_all_that_it_needs_says_what_is_missing(start, values, said):
    code, error = start(**values)
    assert code == 2
    assert said in error
    assert error.count("\n") == 1


def test_a_start_without_the_identity_key_says_where_it_should_be(start):
    code, error = start(key=False, WEBHOOKS="klaviyo", WEBHOOK_SECRET_KLAVIYO="k" * 20)
    assert code == 2
    assert "identity_key: expected the identity key, found none; next step" in error
    assert "k" * 20 not in error


def test_a_taken_port_is_named_with_its_setting(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, error = start(WEBHOOKS="klaviyo", WEBHOOK_SECRET_KLAVIYO="k" * 20, WEBHOOKS_PORT=port)
    assert code == 3
    assert "LETTERPRESS_WEBHOOKS_PORT" in error
