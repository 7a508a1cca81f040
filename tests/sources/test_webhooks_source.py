"""What vendors told by webhook lands once, in the shape of all e-mail, whatever is killed in between."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from source_doubles import AS_OF, PASSED, Line, source_named

from letterpress.activation import stores
from letterpress.activation.webhooks import inbox
from letterpress.activation.webhooks.__main__ import landed_through
from letterpress.activation.webhooks.spec import Event
from letterpress.settings import Settings
from letterpress.sources import demo_shop, landing, load_sources

KEY = b"an identity key of the tests"
NOW = datetime(2011, 6, 30, 12, tzinfo=UTC)
SCHEMA = f"webhooks_{os.getpid()}"  # the tests run in several processes


class Inbox:
    """A receiver's table, without the receiver."""

    def __init__(self, url: str) -> None:
        self.url, self.told = url, 0
        with stores.opened(url):
            pass

    def tell(self, events: int = 1, *, now: datetime = NOW, destination: str = "klaviyo") -> None:
        """One delivery of so many events that nobody has told before."""
        numbers = range(self.told, self.told + events)
        self.told += events
        told = [
            Event("open", now - timedelta(hours=1), event_id=f"e{number:05d}", message_id="m", email="ada@example.com")
            for number in numbers
        ]
        with stores.opened(self.url) as engine:
            inbox.take_in(engine, destination, told, identity_key=KEY, now=now)

    def forget(self, root: str, *, now: datetime) -> int:
        with stores.opened(self.url) as engine:
            return inbox.forget(engine, landed_through=landed_through(root), now=now)


@pytest.fixture(params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inbox]:
    if request.param == "sqlite":
        yield Inbox(f"sqlite:///{tmp_path}/stores.sqlite")
        return
    url = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to keep webhooks in")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"drop schema if exists {SCHEMA} cascade"))
        connection.execute(sa.text(f"create schema {SCHEMA}"))
    try:
        yield Inbox(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{SCHEMA}")
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"drop schema {SCHEMA} cascade"))
        engine.dispose()


class Ingest(Line):
    """Extraction of what the receiver keeps; PostgreSQL's table is in a schema of its own here."""

    def extract(self, *_: object, as_of: datetime = AS_OF, run_id: str | None = None) -> str | None:
        url = self.connections["letterpress_stores"].base_url
        source = source_named("webhooks")
        if not url.startswith("sqlite"):
            options = source.options.model_copy(update={"database_schema": SCHEMA})
            source = source.model_copy(update={"options": options})
        return super().extract(source, as_of=as_of, run_id=run_id)


@pytest.fixture
def line(tmp_path: Path, told: Inbox) -> Ingest:
    return Ingest(str(tmp_path / "landing"), told.url)


def test_webhooks_are_a_source_where_destinations_are_named() -> None:
    assert "webhooks" not in load_sources(settings_=Settings())
    assert "webhooks" in load_sources(settings_=Settings(webhooks="klaviyo"))


def test_the_receivers_table_has_the_columns_of_the_source_and_those_of_all_email() -> None:
    [entity] = load_sources(include_disabled=True)["webhooks"].declared()
    assert [column.name for column in stores.WEBHOOK_EVENTS.columns] == entity.schema.names
    assert entity.schema.names == ["destination", *demo_shop.EMAIL_EVENTS.schema.names]


def test_what_was_told_lands_once_and_only_what_is_new_lands_again(line: Ingest, told: Inbox) -> None:
    told.tell(3)
    assert line.land("webhooks").entities["events"].rows == 3
    assert line.extract("webhooks") is None
    told.tell(2, destination="salesforce")
    assert line.land("webhooks").entities["events"].rows == 2
    rows = line.rows()
    assert rows["event_id"].tolist() == [f"e{number:05d}" for number in range(5)]
    assert rows["destination"].tolist() == ["klaviyo"] * 3 + ["salesforce"] * 2
    first = rows.iloc[0]
    assert (first["event_type"], first["message_id"], first["email"]) == ("open", "m", "ada@example.com")
    assert (first["occurred_at"], first["received_at"]) == (NOW - timedelta(hours=1), NOW)
    assert rows["customer_id"].isna().all()


def test_many_deliveries_are_one_load(line: Ingest, told: Inbox) -> None:
    for number in range(30):
        told.tell(now=NOW + timedelta(seconds=number))
    assert line.land("webhooks").load_sequence == 1
    assert line.extract("webhooks") is None


def test_what_came_after_as_of_lands_too_and_lands_once(line: Ingest, told: Inbox) -> None:
    late = AS_OF + timedelta(days=1)
    told.tell(2, now=late)
    assert line.land("webhooks").entities["events"].cursor == "2011-07-01T00:00:00Z"
    told.tell(1, now=late)
    assert line.land("webhooks").entities["events"].rows == 1
    assert line.extract("webhooks") is None
    assert told.forget(line.landing, now=late + timedelta(days=9)) == 3
    assert line.extract("webhooks") is None


def test_only_what_has_landed_is_forgotten(line: Ingest, told: Inbox) -> None:
    later = NOW + timedelta(days=9)
    told.tell(2)
    assert told.forget(line.landing, now=later) == 0
    load_id = line.extract("webhooks")
    assert told.forget(line.landing, now=later) == 0  # not accepted yet
    landing.commit(line.landing, load_id, PASSED)
    told.tell(1, now=NOW + timedelta(minutes=1))
    assert told.forget(line.landing, now=later) == 2
    assert line.land("webhooks").entities["events"].rows == 1
    assert line.rows()["event_id"].tolist() == ["e00000", "e00001", "e00002"]


def test_a_rejected_load_is_told_again(line: Ingest, told: Inbox) -> None:
    told.tell(2)
    landing.reject(line.landing, line.extract("webhooks"), {"verdict": "failed", "errors": 1})
    assert told.forget(line.landing, now=NOW + timedelta(days=9)) == 0
    assert line.land("webhooks").entities["events"].rows == 2


INGEST = """
import sys
sys.path[:0] = {path!r}
from source_doubles import Line
from letterpress.activation.webhooks import inbox
from letterpress.activation.webhooks.__main__ import landed_through
from letterpress.activation import stores
from datetime import datetime
line = Line({landing!r}, {url!r})
sys.stdout.write("ready\\n")
sys.stdout.flush()
while True:
    line.land("webhooks")
    with stores.opened({url!r}) as engine:
        inbox.forget(engine, landed_through=landed_through({landing!r}), now=datetime.fromisoformat({later!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("told", ["sqlite"], indirect=True)
def test_killed_at_any_moment_an_ingest_that_lands_and_forgets_lands_every_event_once(
    line: Ingest, told: Inbox
) -> None:
    chance = random.Random(11)
    later = (NOW + timedelta(days=9)).isoformat()
    script = textwrap.dedent(INGEST).format(path=sys.path, landing=line.landing, url=told.url, later=later)
    undisturbed = 0.0  # seconds that a load takes here: the first round ends with one
    for round_ in range(5):
        told.tell(3, now=NOW + timedelta(minutes=round_))
        ingest = subprocess.Popen(
            [sys.executable, "-c", script], cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert ingest.stdout.readline() == b"ready\n"
        began, share = time.monotonic(), chance.uniform(1.0, 2.0)
        while not undisturbed or time.monotonic() < began + max(share * undisturbed, 1.0):
            told.tell(2, now=NOW + timedelta(minutes=round_))
            time.sleep(0.05)
            assert time.monotonic() < began + 60.0, "expected a load within a minute, found none"
            if not undisturbed and landing.manifests(line.landing):
                undisturbed = time.monotonic() - began
        ingest.send_signal(signal.SIGKILL)
        ingest.wait(10)
        ingest.stdout.close()
    line.land("webhooks")
    assert line.extract("webhooks") is None
    assert line.rows()["event_id"].tolist() == [f"e{number:05d}" for number in range(told.told)]
    assert len({manifest.load_sequence for manifest in landing.manifests(line.landing)}) > 1
    with stores.opened(told.url) as engine, stores.reading(engine) as connection:
        left = connection.scalar(sa.select(sa.func.count()).select_from(stores.WEBHOOK_EVENTS))
    assert left < told.told  # some were forgotten in between, so that forgetting was part of it
