"""What the local ESP delivers is answered by the shop's people on the simulated clock, and earns what it deserves."""

import smtplib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from letterpress.demo import truth
from letterpress.demo.esp import running as running_esp
from letterpress.demo.shop.app import create_app
from letterpress.demo.shop.mailboxes import Mailboxes
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.switches import Dirt

TODAY = datetime(2011, 7, 1, tzinfo=UTC)
TOKEN = "loop-token"
PRODUCT = "https://shop.example.com/p/P0007?utm_source=letterpress&utm_medium=email&utm_campaign=summer"
SHELF = "https://shop.example.com/c/garden?utm_source=letterpress&utm_medium=email&utm_campaign=summer"


class World:
    """A shop and an ESP that share the shop's clock."""

    def __init__(self, home: Path, shop: TestClient, esp):
        self.home, self.shop, self.esp = home, shop, esp

    def now(self) -> datetime:
        return chance.moment(self.shop.app.state.store.now())

    def advance(self, **by: int) -> None:
        self.shop.post("/v1/clock/advance", json=by).raise_for_status()

    def mail(self, recipients: list[str], subject: str = "Summer is here", links: tuple[str, ...] = (PRODUCT, SHELF)):
        with smtplib.SMTP(self.esp.smtp_host, self.esp.smtp_port) as smtp:
            for recipient in recipients:
                message = EmailMessage()
                message["From"], message["To"], message["Subject"] = "hello@shop.example.com", recipient, subject
                message["X-Letterpress-Campaign"] = "summer"
                message["X-Letterpress-Customer"] = f"person-{recipient}"
                message["X-Letterpress-Idempotency-Key"] = f"summer-{recipient}-{subject}-{self.now().isoformat()}"
                body = "".join(f'<p><a href="{link}">look</a></p>' for link in links)
                message.set_content(f"<html><body>{body}</body></html>", subtype="html")
                smtp.send_message(message)

    def events(self) -> list[dict]:
        found, cursor = [], None
        while True:
            query = {"page_size": 1000} | ({"cursor": cursor} if cursor else {})
            headers = {"Authorization": f"Bearer {TOKEN}"}
            page = httpx.get(f"{self.esp.base_url}/api/events", params=query, headers=headers).raise_for_status().json()
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def rows(self, entity: str) -> list[dict]:
        found, cursor = [], None
        while True:
            page = self.shop.get(f"/v1/{entity}", params={"page_size": 1000} | ({"cursor": cursor} if cursor else {}))
            found += page.json()["data"]
            cursor = page.json()["next_cursor"]
            if cursor is None:
                return found

    def addresses(self) -> list[str]:
        accounts = truth.of_shop(self.home).accounts()
        return sorted(set(accounts.loc[accounts["is_deliverable"], "address"]))


@contextmanager
def running(home: Path, customers: int):
    with running_esp(home / "esp", token=TOKEN, clock=lambda: TODAY) as esp:
        mailboxes = Mailboxes(esp.base_url, TOKEN, timeout=5)
        app = create_app(home=home, customers=customers, days=40, dirt=Dirt.off(), mailboxes=mailboxes)
        with TestClient(app) as shop:
            world = World(home, shop, esp)
            # the shop's clock, without a second server
            esp.app.state.clock = esp.app.state.smtp_handler._clock = world.now
            yield world


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Everybody gets a mail at noon; three days pass, hour by hour on the first."""
    with running(tmp_path_factory.mktemp("loop"), customers=700) as world:
        world.advance(hours=12)
        addresses = world.addresses()
        before = {name: len(world.rows(name)) for name in ("events", "orders")}
        world.mail([*addresses, "stranger@example.com"])
        at_once = world.events()
        hourly = []
        for _ in range(12):
            world.advance(hours=1)
            hourly.append((world.now(), world.events()))
        world.advance(days=3)
        yield world, addresses, before, at_once, hourly


def test_people_answer_what_was_delivered(played):
    world, addresses, _, at_once, _ = played
    assert {event["event_type"] for event in at_once} == {"sent", "delivered"}
    events = world.events()
    told = {(event["event_type"], event["is_machine_open"]) for event in events}
    assert {("open", False), ("open", True), ("click", False), ("click", True), ("unsubscribe", False)} <= told
    human = {event["message_id"] for event in events if event["event_type"] == "open" and not event["is_machine_open"]}
    assert 0.1 < len(human) / len(addresses) < 0.5


def test_nothing_is_told_before_its_instant_or_before_the_mail(played):
    _, _, _, _, hourly = played
    sent = TODAY + timedelta(hours=12)
    counts = []
    for now, events in hourly:
        instants = [datetime.fromisoformat(event["occurred_at"]) for event in events]
        assert sent <= min(instants)
        assert max(instants) <= now
        counts.append(len(events))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_click_becomes_a_visit_that_starts_where_the_link_led(played):
    world, _, _, _, _ = played
    landed = [event for event in world.rows("events") if (event["context"]["campaign"] or {}).get("name") == "summer"]
    assert len({event["anonymousId"] for event in landed}) > 3
    assert {event["context"]["campaign"]["source"] for event in landed} == {"letterpress"}
    assert {event["context"]["campaign"]["medium"] for event in landed} == {"email"}
    paths = {event["context"]["page"]["path"] for event in landed if event["type"] == "page"}
    assert "/p/P0007" in paths
    clicks = [
        datetime.fromisoformat(event["occurred_at"])
        for event in world.events()
        if event["event_type"] == "click" and not event["is_machine_open"]
    ]
    first = min(datetime.fromisoformat(event["timestamp"]) for event in landed)
    assert first > min(clicks)
    orders = truth.of_shop(world.home).orders
    assert (orders["campaign"] >= 1_000_000).sum() > 0


def test_who_unsubscribes_is_suppressed_at_the_esp(played):
    world, _, _, _, _ = played
    gone = {event["email"] for event in world.events() if event["event_type"] == "unsubscribe"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    listed = httpx.get(f"{world.esp.base_url}/api/suppressions", headers=headers, params={"page_size": 1000}).json()
    assert gone
    assert gone <= {row["email"] for row in listed["data"] if row["reason"] == "unsubscribed"}


def test_a_strangers_mail_stays_unanswered(played):
    world, _, _, _, _ = played
    assert {e["event_type"] for e in world.events() if e["email"] == "stranger@example.com"} == {"sent", "delivered"}


@pytest.mark.slow
def test_the_same_mails_are_answered_the_same_whatever_the_steps(tmp_path):
    """The ESP's own ids differ between two installations; what people do does not."""
    found = []
    for name, steps in (
        ("at_once", [{"days": 4}]),
        ("by_steps", [{"hours": 5}, {"hours": 30}, {"days": 2}, {"hours": 13}]),
    ):
        with running(tmp_path / name, customers=250) as world:
            world.mail(world.addresses())
            for by in steps:
                world.advance(**by)
            events = sorted(
                (e["email"], e["event_type"], e["occurred_at"], e["url"] or "", e["is_machine_open"])
                for e in world.events()
            )
            orders = sorted((row["order_id"], row["total_amount"], row["ordered_at"]) for row in world.rows("orders"))
            found.append((events, orders))
    assert len(found[0][0]) > 500
    assert found[0] == found[1]


def test_the_clock_moves_without_the_esp_and_the_mail_is_answered_later(tmp_path, caplog):
    with running(tmp_path, customers=250) as world:
        world.mail(world.addresses())
        loop_mailboxes = world.shop.app.state.loop.mailboxes
        right = loop_mailboxes._base_url
        loop_mailboxes._base_url = "http://127.0.0.1:9"
        world.advance(days=1)
        assert "mail is not answered" in caplog.text
        assert {event["event_type"] for event in world.events()} == {"sent", "delivered"}
        loop_mailboxes._base_url = right
        noon = world.now()
        world.advance(days=2)
        answered = [event for event in world.events() if event["event_type"] not in ("sent", "delivered")]
        assert answered
        assert min(datetime.fromisoformat(event["occurred_at"]) for event in answered) >= noon


def test_reactions_that_could_not_be_told_are_told_once_with_the_next_step(tmp_path):
    with running(tmp_path, customers=250) as world:
        world.mail(world.addresses())
        mailboxes = world.shop.app.state.loop.mailboxes
        react, calls = mailboxes.react, []

        def lose_the_answer(reactions):
            from letterpress.demo.shop.mailboxes import EspUnreachable

            calls.append(react(reactions))
            raise EspUnreachable("the answer was lost")

        mailboxes.react = lose_the_answer
        world.advance(days=1)
        known = world.events()
        mailboxes.react = react
        world.advance(hours=1)
        told = world.events()
        assert calls
        ids = [event["event_id"] for event in told]
        assert len(ids) == len(set(ids))
        assert {event["event_id"] for event in known} <= set(ids)
        content = [(e["message_id"], e["event_type"], e["occurred_at"], e["url"], e["is_machine_open"]) for e in told]
        assert len(content) == len(set(content))


@pytest.mark.slow
def test_the_best_people_hour_and_subject_earn_more_than_a_campaign_at_random(tmp_path):
    """20,000 customers; both campaigns go through SMTP and the ESP, to a fifth of those who agreed to mail."""
    from benchmarks.closed_loop import measure, trial

    best, random = trial(tmp_path, customers=20_000, seed=3)
    rows = {row["what"]: row for row in measure(best, random)}
    assert rows["earns more: p, Welch's test"]["measured"] < 0.001
    assert rows["earns more: p, rank test"]["measured"] < 0.001
    assert best.opens / len(best.caused) > 1.2 * random.opens / len(random.caused)
    assert best.caused.mean() > 3 * random.caused.mean()
