"""ESPs are read as every source is: their events land in one shape, once, from where the last load ended."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from esp_doubles import ADA, BEGIN, BEN, LINK, PREPARED, Esp, Now, Reports, served
from source_doubles import Line, source_named

from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors import mailchimp as mailchimp_stand_in
from letterpress.sources.errors import SourceRefused, SourceUnavailable
from letterpress.sources.rest import key_of

ESPS = ("klaviyo", "mailchimp", "hubspot", "braze")
TELLERS = ("klaviyo", "mailchimp", "hubspot")  # of opens
PATHS = {"klaviyo": "/api/events", "mailchimp": "/3.0/reports/", "hubspot": "/email/public", "braze": "/email/"}


@pytest.fixture
def esp(request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Esp]:
    folder = repository.parent / "shared" / "specs"
    if not folder.is_dir():
        pytest.skip("../shared/specs: the vendors' specifications are not beside this checkout")
    monkeypatch.setattr(mailchimp_stand_in, "STAND_IN", Reports)
    now, name = Now(), request.param
    with served(name, folder, now) as server:
        PREPARED.get(name, lambda app: None)(server.app)
        yield Esp(name, server.app, server.base_url, now)
        assert server.app.complaints == []


@pytest.fixture
def esp_line(tmp_path: Path, esp: Esp) -> Line:
    return Line(str(tmp_path / "landing"), esp.base_url)


def facts(line: Line, *columns: str) -> list[tuple]:
    """What landed, in the order of its instants."""
    rows = line.rows()
    if rows.empty:
        return []
    rows = rows.sort_values(["occurred_at", "event_type", "email"])[list(columns)].astype(object)
    return list(rows.where(rows.notna(), None).itertuples(index=False, name=None))


def asked(esp: Esp, path: str) -> int:
    return sum(url.startswith(path) and status == 200 for _, url, status in esp.app.calls)


@pytest.mark.parametrize("esp", ["klaviyo"], indirect=True)
def test_klaviyo_tells_everything_that_became_of_a_mail(esp: Esp, esp_line: Line) -> None:
    for act in (
        lambda: esp.app.deliver(ADA, "summer"),
        lambda: esp.app.open(ADA, "summer"),
        lambda: esp.app.click(ADA, "summer", LINK),
        lambda: esp.app.unsubscribe(ADA),
        lambda: esp.app.bounce(BEN),
        lambda: esp.app.complain(BEN),
    ):
        act()
        esp.now.pass_by(minutes=1)
    assert esp_line.land("klaviyo").rows == 6
    profile = esp.app.profile(ADA)["id"]
    found = facts(esp_line, "event_type", "customer_id", "email", "campaign_id", "message_id", "url")
    assert found[:3] == [
        ("delivered", "person-a", ADA, "summer", f"summer:{profile}", None),
        ("open", "person-a", ADA, "summer", f"summer:{profile}", None),
        ("click", "person-a", ADA, "summer", f"summer:{profile}", LINK),
    ]
    ids = {row[0]: row[1] for row in facts(esp_line, "event_type", "event_id")}
    assert found[3:] == [
        ("unsubscribe", "person-a", ADA, None, ids["unsubscribe"], None),
        ("bounce", "person-b", BEN, None, ids["bounce"], None),
        ("complaint", "person-b", BEN, None, ids["complaint"], None),
    ]


@pytest.mark.parametrize("esp", ["mailchimp"], indirect=True)
def test_mailchimp_tells_of_each_campaign_whom_it_reached_and_what_they_did(esp: Esp, esp_line: Line) -> None:
    esp.now.pass_by(hours=1)
    esp.app.send("autumn", {ADA: "sent", BEN: "hard"}, campaign_title="Autumn", subject_line="It is wet")
    esp.now.pass_by(minutes=1)
    esp.app.open(ADA, "autumn")
    esp.app.click(ADA, LINK, "autumn")
    esp.app._act(BEN, "autumn", {"action": "bounce", "type": "hard"})
    esp.now.pass_by(minutes=1)
    esp.app.unsubscribe(ADA, "autumn")
    esp.app.complain(ADA, "autumn")
    esp_line.land("mailchimp")
    columns = ("event_type", "email", "campaign_id", "campaign_name", "subject", "bounce_type", "url")
    of = ("autumn", "Autumn", "It is wet")
    assert [row for row in facts(esp_line, *columns) if row[2] == "autumn"] == [
        ("delivered", ADA, *of, None, None),
        ("sent", ADA, *of, None, None),
        ("sent", BEN, *of, None, None),
        ("bounce", BEN, *of, "hard", None),
        ("click", ADA, *of, None, LINK),
        ("open", ADA, *of, None, None),
        ("complaint", ADA, *of, None, None),
        ("unsubscribe", ADA, *of, None, None),
    ]
    assert len(set(facts(esp_line, "message_id"))) == 4  # two campaigns to two people


@pytest.mark.parametrize("esp", ["mailchimp"], indirect=True)
def test_mailchimp_is_asked_for_recipients_once_and_for_campaigns_that_people_still_read(
    esp: Esp, esp_line: Line
) -> None:
    esp_line.land("mailchimp")
    esp.now.pass_by(days=2)
    esp.open(ADA)
    esp_line.land("mailchimp")
    esp.app.calls.clear()
    esp.now.pass_by(hours=1)
    esp.open(BEN)
    assert esp_line.land("mailchimp").rows == 1
    assert asked(esp, "/3.0/reports/summer/sent-to") == 0
    assert asked(esp, "/3.0/reports/summer/unsubscribed") == 0
    esp.now.pass_by(days=92)
    esp.app.send("autumn", {ADA: "sent"})
    esp.app.calls.clear()
    later = esp.now.instant + timedelta(days=1)
    assert esp_line.land("mailchimp", as_of=later).rows == 2
    esp.app.calls.clear()
    assert esp_line.land("mailchimp", as_of=later) is None
    assert asked(esp, "/3.0/reports/autumn/") > 0
    assert asked(esp, "/3.0/reports/summer/") == 0


@pytest.mark.parametrize("esp", ["hubspot"], indirect=True)
def test_hubspot_tells_what_became_of_a_mail_and_which_opens_are_a_program_s(esp: Esp, esp_line: Line) -> None:
    note = esp.app._note
    note(ADA, "SENT", 7, subject="It is warm")
    [sent] = esp.app.documents.kind("event")
    by = {"sentBy": {"id": sent, "created": 1}}
    for kind, more in (
        ("PROCESSED", by),
        ("DELIVERED", by),
        ("OPEN", by | {"filteredEvent": True}),
        ("OPEN", by | {"filteredEvent": False}),
        ("CLICK", by | {"url": LINK}),
        ("STATUSCHANGE", {"subscriptions": [{"id": 101, "status": "SUBSCRIBED"}]}),
        ("STATUSCHANGE", by | {"portalSubscriptionStatus": "UNSUBSCRIBED"}),
        ("SPAMREPORT", by),
        ("BOUNCE", by | {"category": "MAILBOX_FULL", "status": "5.2.2"}),
        ("BOUNCE", by | {"category": "UNKNOWN_USER"}),
    ):
        esp.now.pass_by(seconds=1)
        note(ADA, kind, 7, **more)
    assert esp_line.land("hubspot").rows == 9
    found = facts(esp_line, "event_type", "bounce_type", "is_machine_open", "url", "message_id", "campaign_id", "email")
    rest = (sent, "7", ADA)
    assert found == [
        ("sent", None, False, None, *rest),
        ("delivered", None, False, None, *rest),
        ("open", None, True, None, *rest),
        ("open", None, False, None, *rest),
        ("click", None, False, LINK, *rest),
        ("unsubscribe", None, False, None, *rest),
        ("complaint", None, False, None, *rest),
        ("bounce", "soft", False, None, *rest),
        ("bounce", "hard", False, None, *rest),
    ]


@pytest.mark.parametrize("esp", ["braze"], indirect=True)
def test_braze_tells_who_left_and_which_mailboxes_are_gone(esp: Esp, esp_line: Line) -> None:
    esp.unsubscribe(ADA)
    esp.now.pass_by(hours=1)
    esp.app.bounce(BEN)
    assert esp_line.land("braze").rows == 2
    assert facts(esp_line, "event_type", "bounce_type", "email", "customer_id", "campaign_id") == [
        ("unsubscribe", None, ADA, None, None),
        ("bounce", "hard", BEN, None, None),
    ]
    assert ADA not in str(facts(esp_line, "event_id", "message_id"))


@pytest.mark.parametrize("esp", ESPS, indirect=True)
def test_what_landed_lands_once_and_the_next_extraction_begins_an_overlap_before_its_end(
    esp: Esp, esp_line: Line
) -> None:
    esp.unsubscribe(ADA)
    assert esp_line.land(esp.name).rows > 0
    assert esp_line.land(esp.name) is None
    esp.now.pass_by(hours=1)
    esp.unsubscribe(BEN)
    assert esp_line.land(esp.name).rows == 1
    assert facts(esp_line, "event_type", "email")[-1] == ("unsubscribe", BEN)
    cursor = esp_line.rows()["received_at"].max()
    assert cursor == BEGIN + timedelta(hours=1)


@pytest.mark.parametrize("esp", ESPS, indirect=True)
def test_every_page_lands(esp: Esp, esp_line: Line) -> None:
    people = [f"person.{number}@example.com" for number in range(25)]
    if esp.name == "mailchimp":
        esp.app.send("summer", dict.fromkeys(people, "sent"))
    for email in people:
        if esp.name == "klaviyo":
            esp.app.people.upsert({"attributes": {"email": email}}, clears=True)
        esp.unsubscribe(email)
        esp.now.pass_by(seconds=1)
    source = source_named(esp.name, page_size=12)
    esp_line.land(source)
    left = [row for row in facts(esp_line, "event_type", "email") if row[0] == "unsubscribe"]
    assert left == [("unsubscribe", email) for email in people]


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("esp", ESPS, indirect=True)
def test_a_vendor_that_is_busy_is_asked_again(esp: Esp, esp_line: Line, status: int, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    esp.unsubscribe(ADA)
    esp.app.faults.add(Fault(path=PATHS[esp.name], method="GET", status=status, times=3))
    assert esp_line.land(esp.name).rows > 0
    assert f"{esp.name}.events: a request failed: status {status}" in caplog.text
    assert "example.com" not in "".join(one.getMessage() for one in caplog.records if "letterpress" in one.name)


@pytest.mark.parametrize("esp", ESPS, indirect=True)
def test_a_vendor_that_is_down_lands_nothing_and_the_error_names_it(esp: Esp, esp_line: Line) -> None:
    esp.unsubscribe(ADA)
    esp.app.faults.add(Fault(path=PATHS[esp.name], method="GET", status=503, times=99))
    with pytest.raises(SourceUnavailable) as caught:
        esp_line.extract(esp.name)
    assert f"{esp.name}.events: {esp.base_url}{PATHS[esp.name].rstrip('/')}" in str(caught.value)
    assert "503 after 4 attempts" in str(caught.value)
    assert esp_line.files() == set()


@pytest.mark.parametrize("esp", ESPS, indirect=True)
def test_a_wrong_key_is_told_at_once_and_not_shown(esp: Esp, esp_line: Line) -> None:
    esp.app.token = "another-key"
    with pytest.raises(SourceRefused) as caught:
        esp_line.extract(esp.name)
    assert "401" in str(caught.value)
    assert key_of(esp_line.connections[f"letterpress_{esp.name}"]) not in str(caught.value)
    assert len(esp.app.calls) == 1


@pytest.mark.parametrize("esp", TELLERS, indirect=True)
def test_a_kind_that_we_have_no_word_for_lands_under_the_vendor_s(esp: Esp, esp_line: Line) -> None:
    if esp.name == "klaviyo":
        metric = {"id": "NEW001", "name": "Forwarded Email", "created": "2011-06-01T00:00:00+00:00"}
        esp.app.people.metrics["Forwarded Email"] = metric
        esp.app._happened(ADA, "Forwarded Email", message="summer")
    elif esp.name == "mailchimp":
        # the vendor's document knows no such action: its answer is not held to it
        esp.app.specification = None
        esp.app._act(ADA, "summer", {"action": "forward"})
    else:
        esp.app._note(ADA, "TELEPORTED")
    esp_line.land(esp.name)
    word = {"klaviyo": "Forwarded Email", "mailchimp": "forward", "hubspot": "TELEPORTED"}[esp.name]
    assert (word, ADA) in facts(esp_line, "event_type", "email")


@pytest.mark.parametrize("esp", ["klaviyo", "hubspot"], indirect=True)
def test_what_is_left_out_on_purpose_is_said_in_the_log(esp: Esp, esp_line: Line, caplog: Any) -> None:
    caplog.set_level("INFO", logger="letterpress")
    if esp.name == "klaviyo":
        metric = {"id": "OPTIN1", "name": "Subscribed to Email Marketing", "created": "2011-06-01T00:00:00+00:00"}
        esp.app.people.metrics[metric["name"]] = metric
        esp.app._happened(ADA, metric["name"])
    else:
        esp.app._note(ADA, "DEFERRED")
        esp.app._note(BEN, "DEFERRED")
    assert esp_line.land(esp.name) is None
    said = {"klaviyo": "'metric Subscribed to Email Marketing'", "hubspot": "'DEFERRED': 2"}[esp.name]
    assert said in caplog.text
