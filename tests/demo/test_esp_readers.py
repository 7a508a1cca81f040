"""The demo's side of the local ESP: simulated people find their mail there and answer it, as real readers would."""

import re
import smtplib
import threading
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage

import httpx
import pytest

from letterpress.demo.esp import Fault, running

PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
SCANNER = {"User-Agent": "Mimecast-URL-Scanner/1.0"}
START = datetime(2011, 7, 1, 9, tzinfo=UTC)
HTML = '<p><a href="https://shop.example/p/P0001">Mug</a> <a href="https://shop.example/p/P0002">Lamp</a></p>'


class Clock:
    """The shop's clock, which tests move; while it ``is_stuck`` whoever asks it fails."""

    def __init__(self):
        self.now = START
        self.is_stuck = False

    def __call__(self):
        assert not self.is_stuck, "somebody asked the clock"
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
    headers = {"Authorization": f"Bearer {esp.token}", **PERSON}
    with httpx.Client(base_url=esp.base_url, headers=headers, verify=False) as client:
        yield client


def send(esp, number=1, *, is_tracked=True):
    """Send one mail; returns its message id, or the refusal."""
    message = EmailMessage()
    message["From"], message["To"] = "The Gift Shop <news@shop.example>", f"p{number}@example.com"
    message["Subject"] = f"Something for you, p{number}"
    if is_tracked:
        message["X-Letterpress-Idempotency-Key"] = f"summer-{number}"
        message["X-Letterpress-Campaign"] = "summer"
        message["X-Letterpress-Campaign-Name"] = "Summer week"
        message["X-Letterpress-Customer"] = f"C{number}"
    message.set_content("A mug and a lamp.\n")
    message.add_alternative(HTML, subtype="html")
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as connection:
        connection.ehlo()
        connection.mail("bounces@shop.example")
        code, answer = connection.rcpt(f"p{number}@example.com")
        if code == 250:
            code, answer = connection.data(message.as_bytes(policy=policy.SMTP))
    return answer.decode().rpartition(" ")[2] if code == 250 else code


def reaction(message_id, kind, *, hours=2.0, late=0.0, **more):
    at = START + timedelta(hours=hours)
    received_at = at + timedelta(hours=late)
    return {
        "message_id": message_id,
        "kind": kind,
        "at": at.isoformat(),
        "received_at": received_at.isoformat(),
        **more,
    }


def react(api, *reactions):
    """What becomes of each: ``None`` where it was recorded, else the code of its refusal."""
    answer = api.post("/demo/reactions", json={"reactions": list(reactions)})
    assert answer.status_code == 200, answer.text
    return [result["error"] and result["error"]["code"] for result in answer.json()["results"]]


def events(api, *kinds):
    rows = api.get("/api/events").json()["data"]
    return [row for row in rows if row["event_type"] in kinds] if kinds else rows


def suppressions(api, **query):
    rows = api.get("/api/suppressions", params=query).json()["data"]
    return [(row["external_id"], row["reason"], row["suppressed_at"]) for row in rows]


def test_nobody_reads_mail_or_answers_it_without_the_token(esp):
    with httpx.Client(base_url=esp.base_url, headers={"Authorization": "Bearer wrong"}, verify=False) as anybody:
        assert anybody.get("/demo/mail").status_code == 401
        assert anybody.post("/demo/reactions", json={"reactions": []}).status_code == 401


def test_delivered_mail_is_listed_in_the_order_of_acceptance_with_what_its_reader_sees(esp, api, clock):
    first = send(esp, 1)
    clock.now += timedelta(hours=1)
    second, alert = send(esp, 2), send(esp, 3, is_tracked=False)
    rows = api.get("/demo/mail").json()["data"]
    assert [row["message_id"] for row in rows] == [first, second, alert]
    assert rows[1] == {
        "sequence": 2,
        "message_id": second,
        "accepted_at": "2011-07-01T10:00:00.000Z",
        "campaign_id": "summer",
        "campaign_name": "Summer week",
        "external_id": "C2",
        "recipient": "p2@example.com",
        "subject": "Something for you, p2",
        "preview": "A mug and a lamp.",
        "links": ["https://shop.example/p/P0001", "https://shop.example/p/P0002"],
    }
    assert (rows[2]["external_id"], rows[2]["links"]) == (None, [])


def test_listing_goes_on_after_a_sequence_and_ends_with_an_empty_page(esp, api):
    sent = [send(esp, number) for number in range(5)]
    found, after = [], 0
    while page := api.get("/demo/mail", params={"after": after, "size": 2}).json()["data"]:
        assert len(page) <= 2
        assert all(len(row["links"]) == 2 for row in page)
        found += [row["message_id"] for row in page]
        after = page[-1]["sequence"]
    assert found == sent


def test_reactions_make_the_events_that_pixel_links_page_and_buttons_make(tmp_path, clock):
    """The same story in two ESPs: by HTTP as the recipient's programmes do it, and in one batch of reactions."""
    stories = []
    for name in ("by hand", "by reactions"):
        clock.now = START
        with running(tmp_path / name, clock=clock) as esp:
            client = httpx.Client(
                base_url=esp.base_url, headers={"Authorization": f"Bearer {esp.token}", **PERSON}, verify=False
            )
            with client as api:
                ids = [send(esp, number) for number in range(5)]
                clock.now += timedelta(hours=2)
                if name == "by hand":
                    tokens = (("t/o", ids[0]), ("t/c", ids[0], 1), ("u", ids[0]))
                    pixel, second_link, leave = (esp.app.state.signer.path(*token) for token in tokens)
                    for agent in (PERSON, SCANNER):
                        api.get(f"/{pixel}", headers=agent)
                        api.get(f"/{second_link}", headers=agent)
                    api.post(f"/{leave}", data={"List-Unsubscribe": "One-Click"})
                    api.post(f"/messages/{ids[1]}/spam")
                    api.post(f"/messages/{ids[2]}/bounce/hard")
                    api.post(f"/messages/{ids[3]}/bounce/soft")
                else:
                    codes = react(
                        api,
                        *(reaction(ids[0], "open", is_machine=machine) for machine in (False, True)),
                        *(reaction(ids[0], "click", is_machine=machine, link=1) for machine in (False, True)),
                        reaction(ids[0], "unsubscribe"),
                        reaction(ids[1], "complaint"),
                        reaction(ids[2], "bounce", bounce_type="hard"),
                        reaction(ids[3], "bounce", bounce_type="soft"),
                    )
                    assert codes == [None] * 8
                states = [esp.app.state.outbox.message(message_id)["states"] for message_id in ids]
                stories.append((events(api), sorted(suppressions(api)), states))
    by_hand, by_reactions = stories
    assert len(by_hand[0]) == 5 * 2 + 8
    assert by_reactions == by_hand
    assert [row["is_machine_open"] for row in by_hand[0] if row["event_type"] == "click"].count(True) == 1
    assert [(who, why) for who, why, _ in by_hand[1]] == [
        ("C0", "unsubscribed"),
        ("C1", "complained"),
        ("C2", "bounced"),
    ]


def test_events_carry_the_subject_of_their_message(esp, api):
    message_id = send(esp)
    react(api, reaction(message_id, "open"))
    assert {row["subject"] for row in events(api)} == {"Something for you, p1"}


def test_an_event_that_arrives_late_keeps_both_of_its_instants(esp, api):
    message_id = send(esp)
    react(api, reaction(message_id, "open", hours=2, late=30))
    (row,) = events(api, "open")
    assert (row["occurred_at"], row["received_at"]) == ("2011-07-01T11:00:00.000Z", "2011-07-02T17:00:00.000Z")


@pytest.mark.parametrize(
    "given",
    [{"kind": "unsubscribe"}, {"kind": "complaint"}, {"kind": "bounce", "bounce_type": "hard"}],
    ids=["unsubscribe", "complaint", "hard bounce"],
)
def test_whoever_leaves_gets_no_more_mail(esp, api, given):
    assert react(api, reaction(send(esp), **given)) == [None]
    assert len(suppressions(api)) == 1
    assert send(esp) == 550


def test_a_soft_bounce_is_an_event_and_suppresses_nobody(esp, api):
    react(api, reaction(send(esp), "bounce", bounce_type="soft"))
    assert [row["bounce_type"] for row in events(api, "bounce")] == ["soft"]
    assert suppressions(api) == []


def test_the_same_reactions_again_change_nothing(esp, api):
    message_id = send(esp)
    given = [reaction(message_id, "open"), reaction(message_id, "click", link=0), reaction(message_id, "unsubscribe")]
    assert react(api, *given, *given) == [None] * 6
    before = events(api), suppressions(api)
    later = [reaction(message_id, "open", late=5), *given[1:]]
    assert react(api, *later) == [None] * 3
    assert (events(api), suppressions(api)) == before


def test_a_lost_answer_is_settled_by_sending_the_batch_again(esp, api):
    given = reaction(send(esp), "open")
    esp.faults.add(Fault(path="/demo/reactions", loses_answer=True))
    with pytest.raises(httpx.TransportError):
        react(api, given)
    assert react(api, given) == [None]
    assert len(events(api, "open")) == 1


def test_an_old_unsubscribe_that_comes_again_does_not_undo_a_new_opt_in(esp, api):
    given = reaction(send(esp), "unsubscribe")
    react(api, given)
    who = {"external_id": "C1", "email": "p1@example.com"}
    assert api.post("/api/suppressions/lift", json={**who, "consent_proof": "p"}).json()["status"] == "lifted"
    assert react(api, given) == [None]
    assert suppressions(api) == []


def test_no_suppression_appears_behind_what_a_pull_has_already_seen(esp, api):
    first, second = send(esp, 1), send(esp, 2)
    react(api, reaction(first, "unsubscribe", hours=9))
    position = suppressions(api)[-1][2]
    react(api, reaction(second, "unsubscribe", hours=3))
    assert [who for who, _, _ in suppressions(api, since=position)] == ["C1", "C2"]
    assert [row["occurred_at"][11:13] for row in events(api, "unsubscribe")] == ["12", "18"]


def test_what_cannot_have_happened_is_rejected_alone_with_its_code(esp, api):
    message_id, alert = send(esp, 1), send(esp, 2, is_tracked=False)
    given = {
        "unknown_message": reaction("m_of_nobody", "open"),
        "too_early": reaction(message_id, "open", hours=-0.001),
        "received_too_early": reaction(message_id, "open", late=-1),
        "unknown_link": reaction(message_id, "click", link=2),
        "no_link": reaction(message_id, "open", link=0),
        "bounce_type": reaction(message_id, "bounce"),
        "is_machine": reaction(message_id, "unsubscribe", is_machine=True),
        "untracked": reaction(alert, "open"),
    }
    codes = react(api, *given.values(), reaction(message_id, "open", hours=0), reaction(message_id, "click"))
    assert codes == [*given, None, "unknown_link"]
    assert len(events(api, "open", "click", "bounce", "unsubscribe")) == 1
    assert suppressions(api) == []


def test_a_batch_that_is_none_is_refused_whole_and_nothing_of_it_repeated(esp, api):
    good = reaction(send(esp), "open")
    for wrong in ({"kind": "forwarded"}, {"at": "2011-07-01T12:00:00"}, {"note": "ann@example.com"}):
        answer = api.post("/demo/reactions", json={"reactions": [good, good | wrong]})
        assert answer.status_code == 422
        assert "ann@" not in answer.text
    assert api.post("/demo/reactions", json={"reactions": [good] * 1_001}).status_code == 422
    assert events(api, "open") == []


def test_the_message_page_tells_people_from_machines(esp, api):
    message_id = send(esp)
    react(
        api,
        reaction(message_id, "open", hours=0.1, is_machine=True),
        reaction(message_id, "click", hours=0.1, is_machine=True, link=0),
    )
    assert api.get(f"/messages/{message_id}").text.count("by a machine") == 2
    assert esp.app.state.outbox.message(message_id)["states"] == ["delivered"]
    react(api, reaction(message_id, "open"), reaction(message_id, "click", link=1))
    assert api.get(f"/messages/{message_id}").text.count("by a machine") == 2
    assert esp.app.state.outbox.message(message_id)["states"] == ["delivered", "opened", "clicked"]


def test_the_demos_side_never_asks_the_clock(esp, api, clock):
    message_id = send(esp)
    clock.is_stuck = True
    assert len(api.get("/demo/mail").json()["data"]) == 1
    assert react(api, reaction(message_id, "unsubscribe")) == [None]


def test_a_shop_that_moves_its_clock_is_answered_while_the_esp_waits_for_that_clock(tmp_path):
    """The shop asks for mail in the middle of an advance; a mail that comes in meanwhile waits for the shop's time."""
    asked, advanced = threading.Event(), threading.Event()

    def clock():
        asked.set()
        assert advanced.wait(10)
        return START

    with running(tmp_path, clock=clock) as esp:
        sender = threading.Thread(target=send, args=(esp,))
        sender.start()
        assert asked.wait(10)
        headers = {"Authorization": f"Bearer {esp.token}"}
        answer = httpx.get(f"{esp.base_url}/demo/mail", headers=headers, timeout=5, verify=False)
        assert answer.json() == {"data": []}
        advanced.set()
        sender.join(10)
        found = httpx.get(f"{esp.base_url}/demo/mail", headers=headers, timeout=5, verify=False).json()["data"]
        assert len(found) == 1


def test_nothing_outside_of_the_demo_uses_its_side_of_the_esp(repository):
    rooms = ("dags", "dbt_project", "expectations", "ml", "plugins")
    demo = repository / "plugins" / "letterpress" / "demo"
    files = [
        path
        for room in rooms
        for path in (repository / room).rglob("*")
        if path.suffix in (".py", ".yml", ".sql") and demo not in path.parents
    ]
    assert any(path.parent.name == "activation" for path in files)
    used = re.compile(r"/demo/(mail|reactions)\b|demo\.esp\.(demo|readers)|demo\.shop\.mailboxes")
    assert [path for path in files if used.search(path.read_text())] == []
