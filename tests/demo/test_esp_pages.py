"""The outbox pages: what a marketer sees, safely whatever the mail holds."""

import smtplib
from datetime import UTC, datetime
from email.message import EmailMessage

import httpx
import pytest

from letterpress.demo.esp import running

NASTY = '"><script>alert(1)</script>'


@pytest.fixture
def esp(tmp_path):
    with running(tmp_path, clock=lambda: datetime(2011, 7, 1, 9, 30, tzinfo=UTC)) as serving:
        yield serving


@pytest.fixture
def web(esp):
    headers = {"User-Agent": "Mozilla/5.0 (X11) Firefox/140.0"}
    with httpx.Client(base_url=esp.base_url, headers=headers, follow_redirects=True, verify=False) as client:
        yield client


def send(esp, *numbers, subject="Summer is here", campaign="summer", html="<p>Hello</p>"):
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        for number in numbers:
            message = EmailMessage()
            message["From"] = "Shop <news@shop.example>"
            message["To"] = f"p{number}@example.com"
            message["Subject"] = subject
            message["X-Letterpress-Idempotency-Key"] = f"{campaign}-{number}"
            message["X-Letterpress-Campaign"] = campaign
            message["X-Letterpress-Campaign-Name"] = f"The {campaign} campaign"
            message["X-Letterpress-Customer"] = f"p{number}"
            message.set_content("A first line.\n")
            message.add_alternative(html, subtype="html")
            connection.send_message(message)
    return esp.app.state.mailbox.by_key(f"{campaign}-{numbers[-1]}")["message_id"]


def push(esp, *rows):
    answer = httpx.post(
        f"{esp.base_url}/api/profiles",
        json={"profiles": list(rows)},
        headers={"Authorization": f"Bearer {esp.token}", "Idempotency-Key": "push"},
    )
    answer.raise_for_status()


def test_every_list_has_an_empty_state(web):
    assert "No mail yet" in web.get("/").text
    assert "No profiles yet" in web.get("/profiles").text
    assert "Nobody is suppressed" in web.get("/suppressions").text


def test_the_outbox_shows_recipient_subject_campaign_time_and_state(esp, web):
    send(esp, 1)
    page = web.get("/").text
    for shown in ("p1@example.com", "Summer is here", "The summer campaign", "A first line.", "1 Jul 2011", "09:30"):
        assert shown in page
    assert '<span class="badge delivered">delivered</span>' in page


def test_the_outbox_is_searched_and_filtered(esp, web):
    send(esp, 1, 2)
    opened = send(esp, 3, campaign="autumn", subject="Leaves & lanterns")
    esp.app.state.mailbox.opened(opened, "2011-07-01T10:00:00.000Z", is_machine=False)

    def shown(**query):
        page = web.get("/", params=query).text
        return [number for number in (1, 2, 3) if f"p{number}@example.com" in page]

    assert shown(q="P2@") == [2]
    assert shown(q="lanterns") == [3]
    assert shown(campaign="summer") == [1, 2]
    assert shown(status="opened") == [3]
    assert shown(status="clicked") == []
    assert shown(q="%") == []
    assert "Nothing matches" in web.get("/?q=nobody").text


def test_long_lists_are_paged(esp, web):
    send(esp, *range(60))
    first, second = web.get("/").text, web.get("/?page=2&campaign=summer").text
    assert "1–50 of 60 messages" in first
    assert 'href="/?page=2"' in first
    assert "51–60 of 60 messages" in second
    assert 'href="/?campaign=summer&amp;page=1"' in second
    assert web.get("/?page=0").status_code == 422


def test_whatever_the_mail_and_the_profile_hold_is_escaped(esp, web):
    message_id = send(esp, 1, subject=f"Hi {NASTY}", campaign=f"c{NASTY}")
    push(
        esp,
        {
            "external_id": f"x/../{NASTY}?#",
            "email": "a@example.com",
            "attributes": {NASTY: NASTY},
            "segments": [NASTY],
        },
    )
    pages = [
        web.get("/"),
        web.get("/", params={"q": NASTY, "campaign": NASTY, "status": NASTY}),
        web.get(f"/messages/{message_id}"),
        web.get(f"/messages/{message_id}?view=source"),
        web.get("/profiles"),
        web.get("/profiles", params={"segment": NASTY}),
    ]
    link = pages[4].text.split('class="person" href="')[1].split('"')[0]
    pages.append(web.get(link))
    assert [page.status_code for page in pages] == [200] * len(pages)
    for page in pages:
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_mail_is_framed_where_it_can_run_nothing(esp, web):
    message_id = send(esp, 1, html="<body><script>top.location='https://evil.example'</script><p>Hi</p></body>")
    page = web.get(f"/messages/{message_id}").text
    frame = page.split("<iframe")[1].split(">")[0]
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame
    body = web.get(f"/messages/{message_id}/body")
    policy = body.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox;")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


def test_the_framed_mail_reaches_its_own_pixel_wherever_the_page_is_served(esp, web):
    esp.app.state.base_url = "http://mail.shop.example"
    message_id = send(esp, 1, html='<p><a href="https://shop.example/">Go</a></p>')
    body = web.get(f"/messages/{message_id}/body").text
    assert "http://mail.shop.example" not in body
    pixel = body.split('<img src="')[1].split('"')[0]
    assert web.get(pixel).status_code == 200
    assert '<span class="badge opened">opened</span>' in web.get("/").text
    source = web.get(f"/messages/{message_id}?view=source").text
    assert "List-Unsubscribe: &lt;http://mail.shop.example/u/" in source


def test_a_message_shows_its_text_its_source_and_its_events(esp, web):
    message_id = send(esp, 1)
    assert "A first line." in web.get(f"/messages/{message_id}?view=text").text
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in web.get(f"/messages/{message_id}?view=source").text
    esp.app.state.mailbox.opened(message_id, "2011-07-01T10:00:00.000Z", is_machine=True)
    page = web.get(f"/messages/{message_id}?view=nonsense").text
    assert "by a machine" in page
    assert "1 Jul 2011, 10:00" in page


def test_the_buttons_complain_and_bounce_as_the_recipient_would(esp, web):
    spam, hard, soft = (send(esp, number) for number in (1, 2, 3))
    assert web.post(f"/messages/{spam}/spam").status_code == 200
    assert web.post(f"/messages/{hard}/bounce/hard").status_code == 200
    assert web.post(f"/messages/{soft}/bounce/soft").status_code == 200
    assert web.post(f"/messages/{soft}/bounce/sideways").status_code == 404
    reasons = {row["email"]: row["reason"] for row in esp.app.state.suppressions.browse(offset=0, size=9)[0]}
    assert reasons == {"p1@example.com": "complained", "p2@example.com": "bounced"}
    bounces = {
        (event["email"], event["event_type"], event["bounce_type"])
        for event in esp.app.state.mailbox.events(since=None, after=("", ""), size=99)[0]
        if event["event_type"] in ("bounce", "complaint")
    }
    assert bounces == {
        ("p1@example.com", "complaint", None),
        ("p2@example.com", "bounce", "hard"),
        ("p3@example.com", "bounce", "soft"),
    }
    assert "complained" in web.get("/suppressions").text


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_form_of_another_site_is_refused(esp, web, header):
    message_id = send(esp, 1)
    assert web.post(f"/messages/{message_id}/spam", headers=header).status_code == 403
    assert web.post(f"/messages/{message_id}/bounce/hard", headers=header).status_code == 403
    assert esp.app.state.suppressions.browse(offset=0, size=9)[1] == 0


def test_the_pages_own_form_is_accepted(esp, web):
    message_id = send(esp, 1)
    answer = web.post(f"/messages/{message_id}/spam", headers={"Origin": esp.base_url})
    assert answer.status_code == 200
    assert '<span class="badge spam">spam</span>' in answer.text


def test_profiles_show_attributes_segments_suppression_and_their_mail(esp, web):
    push(
        esp,
        {"external_id": "p1", "email": "p1@example.com", "attributes": {"clv_tier": "high"}, "segments": ["loyal"]},
        {"external_id": "p2", "email": "p2@example.com", "attributes": {"tier": None}, "segments": ["loyal", "new"]},
    )
    message_id = send(esp, 1)
    web.post(f"/messages/{message_id}/spam")
    listed = web.get("/profiles?segment=new").text
    assert "p2@example.com" in listed
    assert "p1@example.com" not in listed
    assert "loyal (2)" in listed
    assert "p1@example.com" in web.get("/profiles?q=high").text
    page = web.get("/profiles/p1").text
    for shown in ("clv_tier", "high", "loyal", "suppressed", "Summer is here"):
        assert shown in page
    assert web.get("/profiles/p9").status_code == 404


def test_what_is_not_there_is_said_kindly(web):
    for path in ("/messages/m_1", "/messages/m_1/body", "/u/m_1.0.x", "/t/c/m_1.0.x"):
        answer = web.get(path)
        assert answer.status_code == 404
        assert "To the outbox" in answer.text
