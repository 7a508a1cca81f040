"""Mail through the local ESP: accepted once, refused where suppressed, tracked without an open redirect."""

import re
import smtplib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import httpx
import pytest

from letterpress.demo.esp import Fault, running
from letterpress.demo.esp.tracking import Signer, is_machine

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
HTML = """<!DOCTYPE html>
<html><head><style>a { color: red }</style></head><body>
<!--[if mso]><p>only Outlook</p><![endif]-->
<p>H&eacute;llo &amp; welcome</p>
<A class="button" HREF='https://shop.example/a?x=1&amp;y=2' style="color:#fff">First</A>
<a href="https://shop.example/b">Second</a><a href="https://shop.example/b">Second again</a>
<a href="mailto:help@shop.example">Help</a><a href="#top">Top</a><a href="%%unsubscribe_url%%">Leave</a>
</body></html>"""


class Clock:
    def __init__(self):
        self.now = datetime(2011, 7, 1, 9, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def esp(tmp_path, clock):
    with running(tmp_path, clock=clock) as serving:
        yield serving


@pytest.fixture
def api(esp):
    headers = {"Authorization": f"Bearer {esp.token}", **BROWSER}
    with httpx.Client(base_url=esp.base_url, headers=headers, verify=False) as client:
        yield client


def mail(key="k1", to="ann@example.com", html=HTML, text="Hello Ann\n%%unsubscribe_url%%\n", **changes):
    message = EmailMessage()
    headers = {
        "From": "The Gift Shop <news@shop.example>",
        "To": to,
        "Subject": "Grüße",
        "X-Letterpress-Idempotency-Key": key,
        "X-Letterpress-Campaign": "summer",
        "X-Letterpress-Campaign-Name": "Summer wëek",
        "X-Letterpress-Customer": "p001",
    } | changes
    for name, value in headers.items():
        if value is not None:
            message[name] = value
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


def send(esp, message, to="ann@example.com"):
    """Send one mail and give the answer to its DATA."""
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        connection.ehlo()
        connection.mail("bounces@shop.example")
        code, answer = connection.rcpt(to)
        if code != 250:
            return code, answer.decode()
        code, answer = connection.data(message.as_bytes(policy=policy.SMTP))
        return code, answer.decode()


def delivered(esp, key="k1"):
    content = esp.app.state.outbox.message(esp.app.state.mailbox.by_key(key)["message_id"])["content"]
    return BytesParser(policy=policy.default).parsebytes(content)


def html_of(esp, key="k1"):
    return delivered(esp, key).get_body(("html",)).get_content().replace("\r\n", "\n")


def addresses(esp, kind, key="k1"):
    return re.findall(rf'"({re.escape(esp.base_url)}/{kind}/[^"]+)"', html_of(esp, key))


def event_types(api):
    return [event["event_type"] for event in sorted(events(api), key=lambda event: event["occurred_at"])]


def events(api):
    return api.get("/api/events").json()["data"]


def test_an_accepted_mail_is_sent_and_delivered_at_the_shops_time(esp, api):
    code, answer = send(esp, mail())
    message_id = answer.rpartition(" ")[2]
    assert code == 250
    assert api.get("/api/messages/k1").json() == {
        "message_id": message_id,
        "accepted_at": "2011-07-01T09:00:00.000Z",
    }
    rows = events(api)
    assert sorted(row.pop("event_type") for row in rows) == ["delivered", "sent"]
    assert len({row.pop("event_id") for row in rows}) == 2
    expected = {
        "message_id": message_id,
        "campaign_id": "summer",
        "campaign_name": "Summer wëek",
        "subject": "Grüße",
        "customer_id": "p001",
        "email": "ann@example.com",
        "bounce_type": None,
        "is_machine_open": False,
        "url": None,
        "occurred_at": "2011-07-01T09:00:00.000Z",
        "received_at": "2011-07-01T09:00:00.000Z",
    }
    assert rows == [expected, expected]


def test_a_repeated_key_gets_the_same_answer_and_is_stored_once(esp, api, clock):
    first = send(esp, mail())
    clock.now += timedelta(hours=1)
    assert send(esp, mail(Subject="Rendered again")) == first
    assert api.get("/api/messages/k1").json()["accepted_at"] == "2011-07-01T09:00:00.000Z"
    assert len(events(api)) == 2
    assert delivered(esp)["Subject"] == "Grüße"


def test_a_key_is_not_taken_for_a_mail_to_somebody_else(esp, api):
    send(esp, mail())
    code, _ = send(esp, mail(to="bob@example.com"), to="bob@example.com")
    assert code == 554
    assert {row["email"] for row in events(api)} == {"ann@example.com"}


def test_the_same_mail_from_many_connections_is_stored_once(esp, api):
    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(lambda _: send(esp, mail()), range(8)))
    assert len(answers) == 1
    assert len(events(api)) == 2


def test_an_unknown_key_was_never_accepted(api):
    assert api.get("/api/messages/never/sent").status_code == 404


def test_an_answer_lost_after_the_commit_is_settled_by_the_key(esp, api):
    esp.faults.add(Fault(path="smtp", loses_answer=True))
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(esp, mail())
    settled = api.get("/api/messages/k1").json()["message_id"]
    assert send(esp, mail())[1].endswith(settled)
    assert len(events(api)) == 2


def test_a_temporary_refusal_stores_nothing(esp, api):
    esp.faults.add(Fault(path="smtp", status=451))
    assert send(esp, mail())[0] == 451
    assert events(api) == []
    assert send(esp, mail())[0] == 250


@pytest.mark.parametrize("reason", ["unsubscribed", "bounced", "complained", "erased", "consent_withdrawn"])
def test_a_suppressed_address_is_refused_however_it_is_written(esp, api, reason):
    row = {"external_id": "p001", "email": " ANN@example.com", "reason": reason}
    api.post("/api/suppressions", json={"suppressions": [row]})
    code, answer = send(esp, mail(to="Ann@Example.com"), to="Ann@Example.com")
    assert code == 550
    assert "ann" not in answer.lower()
    assert events(api) == []


def test_a_suppressed_person_is_refused_under_another_address_too(esp, api):
    row = {"external_id": "p001", "email": "old@example.com", "reason": "unsubscribed"}
    api.post("/api/suppressions", json={"suppressions": [row]})
    assert send(esp, mail())[0] == 550
    assert send(esp, mail(key="k2", **{"X-Letterpress-Customer": "p002"}))[0] == 250


def test_smtplib_sees_a_suppression_as_a_refused_recipient(esp, api):
    row = {"external_id": "p001", "email": "ann@example.com", "reason": "unsubscribed"}
    api.post("/api/suppressions", json={"suppressions": [row]})
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.send_message(mail())
        assert refused.value.recipients["ann@example.com"][0] == 550
        del row["reason"]
        api.post("/api/suppressions/lift", json={**row, "consent_proof": "proof"})
        assert connection.send_message(mail()) == {}


def test_a_mail_has_one_recipient_with_a_deliverable_address(esp):
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        connection.ehlo()
        connection.mail("bounces@shop.example")
        assert connection.rcpt("nobody@nowhere")[0] == 553
        assert connection.rcpt("ann@example.com")[0] == 250
        assert connection.rcpt("bob@example.com")[0] == 452


def test_links_are_redirected_and_everything_else_stays_as_it_was(esp):
    send(esp, mail())
    html = html_of(esp)
    first, second, again = addresses(esp, "t/c")
    assert second == again
    assert f'<A class="button" HREF="{first}" style="color:#fff">First</A>' in html
    leave = addresses(esp, "u")[0]
    pixel = addresses(esp, "t/o")[0]
    undone = html.replace(f'HREF="{first}"', "HREF='https://shop.example/a?x=1&amp;y=2'")
    undone = undone.replace(second, "https://shop.example/b").replace(leave, "%%unsubscribe_url%%")
    undone = re.sub(rf'<img src="{re.escape(pixel)}"[^>]*>', "", undone)
    assert undone.strip() == HTML
    assert html.index(pixel) > html.index("Leave")


def test_the_plain_text_gets_the_way_out_too(esp):
    send(esp, mail())
    send(esp, mail(key="k2", text="No placeholder here"))
    for key in ("k1", "k2"):
        text = delivered(esp, key).get_body(("plain",)).get_content()
        assert addresses(esp, "u", key)[0] in text
        assert "%%" not in text


@pytest.mark.parametrize("written", ["%%unsubscribe_url%%", "%25%25unsubscribe_url%25%25", "{{ unsubscribe_url }}"])
def test_the_placeholder_is_found_in_every_spelling(esp, written):
    send(esp, mail(html=f'<p><a href="{written}">Leave</a></p>'))
    assert "unsubscribe_url" not in html_of(esp)
    assert len(addresses(esp, "u")) == 1


def test_a_campaign_mail_without_a_way_out_gets_one(esp):
    send(esp, mail(html="<html><body><p>Hello</p></body></html>"))
    assert len(addresses(esp, "u")) == 1


def test_one_click_unsubscribe_headers_are_whole_and_the_private_ones_gone(esp):
    send(esp, mail())
    message = delivered(esp)
    (leave,) = set(addresses(esp, "u"))
    assert message["List-Unsubscribe"] == f"<{leave}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["X-Letterpress-Idempotency-Key"] is None


def test_a_mail_of_no_campaign_is_left_alone(esp):
    message = mail(**{f"X-Letterpress-{name}": None for name in ("Idempotency-Key", "Campaign", "Campaign-Name")})
    del message["X-Letterpress-Customer"]
    assert send(esp, message)[0] == 250
    (row,) = esp.app.state.outbox.browse(offset=0, size=10)[0]
    content = esp.app.state.outbox.message(row["message_id"])["content"].decode()
    assert "/t/o/" not in content
    assert "List-Unsubscribe" not in content


def test_opens_and_clicks_become_events_once_an_instant(esp, api, clock):
    send(esp, mail())
    clock.now += timedelta(hours=2)
    (pixel,), (first, second, _) = addresses(esp, "t/o"), addresses(esp, "t/c")
    for _ in range(3):
        image = api.get(pixel)
    assert (image.status_code, image.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in image.headers["cache-control"]
    assert api.get(first).headers["location"] == "https://shop.example/a?x=1&y=2"
    api.get(second)
    clock.now += timedelta(hours=1)
    api.get(pixel)
    later = [event for event in events(api) if event["event_type"] in ("open", "click")]
    assert sorted((event["event_type"], event["occurred_at"][11:13], event["url"] or "") for event in later) == [
        ("click", "11", "https://shop.example/a?x=1&y=2"),
        ("click", "11", "https://shop.example/b"),
        ("open", "11", ""),
        ("open", "12", ""),
    ]


def test_a_head_request_is_neither_an_open_nor_a_click(esp, api):
    send(esp, mail())
    assert api.head(addresses(esp, "t/o")[0]).status_code == 200
    assert api.head(addresses(esp, "t/c")[0]).status_code == 302
    assert sorted(event_types(api)) == ["delivered", "sent"]


@pytest.mark.parametrize(
    ("agent", "machine"),
    [
        ("Mozilla/5.0", True),
        ("", True),
        (None, True),
        ("Mimecast-URL-Scanner/1.0", True),
        ("BarracudaCentral", True),
        ("Mozilla/5.0 (compatible; SomeBot/2.1)", True),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", False),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", False),
        (BROWSER["User-Agent"], False),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148", False),
    ],
)
def test_a_machine_is_told_from_a_person_by_its_user_agent(agent, machine):
    assert is_machine(agent) is machine


def test_an_open_by_a_privacy_proxy_is_flagged_and_does_not_make_the_message_opened(esp, api):
    send(esp, mail())
    api.get(addresses(esp, "t/o")[0], headers={"User-Agent": "Mozilla/5.0"})
    (opened,) = [event for event in events(api) if event["event_type"] == "open"]
    assert opened["is_machine_open"] is True
    (row,) = esp.app.state.outbox.browse(offset=0, size=10)[0]
    assert row["states"] == ["delivered"]


def test_an_altered_token_records_nothing_and_leads_nowhere(esp, api):
    send(esp, mail())
    for kind, status in (("t/o", 404), ("t/c", 404), ("u", 404)):
        address = addresses(esp, kind)[0]
        altered = address[:-1] + ("A" if address[-1] != "A" else "B")
        other_link = re.sub(r"(/m_\w+)\.0\.", r"\1.1.", address)
        other_kind = address.replace(f"/{kind}/", "/t/o/" if kind != "t/o" else "/t/c/")
        for forged in (altered, other_link, other_kind, f"{esp.base_url}/{kind}/https://evil.example"):
            answer = api.get(forged)
            assert answer.status_code == status
            assert "location" not in answer.headers
    assert sorted(event_types(api)) == ["delivered", "sent"]


@pytest.mark.parametrize("token", ["", ".", "..", "m.1", "m.x.y", "m.99999999999.s", "m.²." + "a" * 22, "m.1.é"])
def test_a_malformed_token_is_read_as_none(token):
    assert Signer(b"key").read("u", token) is None


def test_looking_at_the_unsubscribe_page_changes_nothing_and_posting_does(esp, api, clock):
    send(esp, mail())
    leave = addresses(esp, "u")[0]
    page = api.get(leave)
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert api.get("/api/suppressions").json()["data"] == []
    clock.now += timedelta(minutes=5)
    for _ in range(2):
        answer = api.post(leave, data={"List-Unsubscribe": "One-Click"}, headers={"Origin": "https://mail.example"})
        assert answer.status_code == 200
    (row,) = api.get("/api/suppressions").json()["data"]
    assert (row["email"], row["external_id"], row["reason"]) == ("ann@example.com", "p001", "unsubscribed")
    assert row["suppressed_at"] == "2011-07-01T09:05:00.000Z"
    assert event_types(api).count("unsubscribe") == 1
    assert send(esp, mail(key="k2"))[0] == 550


def test_events_page_through_everything_once_from_an_inclusive_instant(esp, api, clock):
    for number in range(5):
        clock.now += timedelta(hours=1)
        send(esp, mail(key=f"k{number}"))
    rows, cursor = [], None
    while True:
        query = {"page_size": 3, "since": "2011-07-01T11:00:00Z", **({"cursor": cursor} if cursor else {})}
        answer = api.get("/api/events", params=query).json()
        rows += answer["data"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    positions = [(row["received_at"], row["event_id"]) for row in rows]
    assert len(rows) == 8
    assert positions == sorted(set(positions))


def test_an_idempotency_key_that_is_too_long_is_refused_for_good(esp):
    assert send(esp, mail(key="k" * 201))[0] == 554
