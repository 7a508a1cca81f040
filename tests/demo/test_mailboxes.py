"""The shop's client for the mailboxes at the local ESP: everything once, and a clear word where there is no ESP."""

import contextlib
import smtplib
import socket
import time
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage

import httpx
import pytest

from letterpress.demo.esp import Fault, running
from letterpress.demo.shop import mailboxes
from letterpress.demo.shop.mailboxes import EspUnreachable, Mail, Mailboxes, Reaction

START = datetime(2011, 7, 1, 9, tzinfo=UTC)


@pytest.fixture
def esp(tmp_path):
    with running(tmp_path, clock=lambda: START) as serving:
        yield serving


@pytest.fixture
def boxes(esp):
    return Mailboxes(esp.base_url, esp.token)


def send(esp, *numbers):
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        for number in numbers:
            message = EmailMessage(policy=policy.SMTP)
            message["From"], message["To"] = "news@shop.example", f"p{number}@example.com"
            message["Subject"] = f"For you, Ann {number}"
            message["X-Letterpress-Campaign"], message["X-Letterpress-Customer"] = "summer", f"C{number}"
            message.set_content("Hello")
            message.add_alternative('<a href="https://shop.example/p/P0001">Mug</a>', subtype="html")
            connection.send_message(message)


def reaction(mail, kind, *, hours=2, **more):
    at = START + timedelta(hours=hours)
    return Reaction(message_id=mail.message_id, kind=kind, at=at, received_at=at, **more)


def events(esp, *kinds):
    headers = {"Authorization": f"Bearer {esp.token}"}
    rows = httpx.get(f"{esp.base_url}/api/events", headers=headers, params={"page_size": 1_000}, verify=False).json()
    return [row for row in rows["data"] if row["event_type"] in kinds]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_all_pages_of_the_mail_come_in_the_order_of_acceptance(esp, boxes, monkeypatch):
    monkeypatch.setattr(mailboxes, "PAGE", 2)
    send(esp, *range(5))
    found = boxes.fetch(0)
    assert [mail.external_id for mail in found] == [f"C{number}" for number in range(5)]
    assert found[0] == Mail(
        sequence=1,
        message_id=found[0].message_id,
        accepted_at=START,
        campaign_id="summer",
        campaign_name="summer",
        external_id="C0",
        recipient="p0@example.com",
        subject="For you, Ann 0",
        preview="Hello",
        links=("https://shop.example/p/P0001",),
    )
    assert boxes.fetch(found[2].sequence) == found[3:]
    assert boxes.fetch(found[-1].sequence) == []


def test_reactions_of_more_than_one_batch_are_recorded_in_the_order_of_receipt(esp, boxes, monkeypatch):
    monkeypatch.setattr(mailboxes, "PAGE", 2)
    send(esp, 1, 2, 3)
    first, second, third = boxes.fetch(0)
    given = [
        reaction(first, "unsubscribe", hours=5),
        reaction(second, "click", hours=3, link=0),
        reaction(third, "unsubscribe", hours=4),
        reaction(second, "open", hours=2, is_machine=True),
        reaction(second, "bounce", hours=6, bounce_type="soft"),
    ]
    assert boxes.react(iter(given)) == []
    kinds = ("open", "click", "unsubscribe", "bounce")
    assert [(row["event_type"], row["customer_id"], row["is_machine_open"]) for row in events(esp, *kinds)] == [
        ("open", "C2", True),
        ("click", "C2", False),
        ("unsubscribe", "C3", False),
        ("unsubscribe", "C1", False),
        ("bounce", "C2", False),
    ]
    suppressed, _ = esp.app.state.suppressions.page(since=None, after=0, size=10)
    assert [row["external_id"] for row in suppressed] == ["C3", "C1"]


def test_what_the_esp_rejects_comes_back_with_its_code_and_the_rest_is_recorded(esp, boxes):
    send(esp, 1)
    (mail,) = boxes.fetch(0)
    early, good, lost = reaction(mail, "open", hours=-1), reaction(mail, "open"), reaction(mail, "click", link=7)
    rejected = boxes.react([good, early, lost])
    assert {one.code: one.reaction for one in rejected} == {"too_early": early, "unknown_link": lost}
    assert len(events(esp, "open", "click")) == 1


def test_no_reactions_ask_for_nothing():
    assert Mailboxes(f"http://127.0.0.1:{free_port()}", "token").react([]) == []


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"status": 429, "retry_after": 1}, {"loses_answer": True}],
    ids=["500", "503", "429", "lost answer"],
)
def test_a_bad_moment_of_the_esp_is_waited_out_and_nothing_is_recorded_twice(esp, boxes, fault):
    send(esp, 1)
    esp.faults.add(Fault(path="/demo/mail", times=2, **fault))
    (mail,) = boxes.fetch(0)
    esp.faults.add(Fault(path="/demo/reactions", times=2, **fault))
    assert boxes.react([reaction(mail, "open"), reaction(mail, "unsubscribe")]) == []
    assert len(events(esp, "open", "unsubscribe")) == 2


def test_an_esp_that_is_not_there_is_reported_soon_and_in_one_sentence():
    address = f"http://127.0.0.1:{free_port()}"
    before = time.monotonic()
    with pytest.raises(EspUnreachable) as unreachable:
        Mailboxes(address, "secret").fetch(0)
    assert time.monotonic() - before < 5
    assert str(unreachable.value) == (
        f"the local ESP's mailboxes: GET {address}/demo/mail: expected an answer of the local ESP, found ConnectError "
        "4 times; next step: see that it runs at LETTERPRESS_ESP_URL and takes this shop's LETTERPRESS_ESP_TOKEN"
    )


def test_an_esp_that_is_too_slow_is_not_waited_for_again(esp):
    esp.faults.add(Fault(path="/demo/mail", delay=3))
    before = time.monotonic()
    with pytest.raises(EspUnreachable, match=r"found none within 0\.2 s"):
        Mailboxes(esp.base_url, esp.token, timeout=0.2).fetch(0)
    assert time.monotonic() - before < 2


def test_a_wrong_token_and_an_esp_that_stays_broken_are_named(esp):
    with pytest.raises(EspUnreachable, match="found status 401"):
        Mailboxes(esp.base_url, "wrong").fetch(0)
    esp.faults.add(Fault(path="/demo/reactions", status=500, times=mailboxes.ATTEMPTS))
    send(esp, 1)
    boxes = Mailboxes(esp.base_url, esp.token)
    (mail,) = boxes.fetch(0)
    with pytest.raises(EspUnreachable, match="found status 500 4 times"):
        boxes.react([reaction(mail, "open")])
    assert boxes.react([reaction(mail, "open")]) == []


@contextlib.contextmanager
def answering(body):
    """Another service on the ESP's port, which answers everything with one body."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html>", "a body that is no JSON"),
        (b"[]", "JSON without the list data"),
        (b'{"data": [{"sequence": 1, "recipient": "ann@example.com"}]}', "a mail of another shape"),
    ],
)
def test_another_service_on_the_port_is_no_esp_and_nothing_of_its_answer_is_repeated(body, found):
    with answering(body) as address, pytest.raises(EspUnreachable, match=found) as unreachable:
        Mailboxes(address, "secret").fetch(0)
    assert "ann@" not in str(unreachable.value)
    assert "secret" not in str(unreachable.value)


def test_a_mail_that_is_logged_shows_nobody(esp, boxes):
    send(esp, 1)
    (mail,) = boxes.fetch(0)
    assert mail.recipient == "p1@example.com"
    assert not any(personal in repr(mail) for personal in ("p1@example.com", "Ann", "Hello"))
