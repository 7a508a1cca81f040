"""What happens at Mailchimp comes back: suppressions, what members hold, and what the stand-in remembers."""

import logging

import httpx
import mailchimp_line as line
import pytest
from mailchimp_line import ANNA, ATTRIBUTES, BEN, CARA, KEY, person, send, state, subscribed

from letterpress.activation.destinations.spec import Operation, Row
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors import running
from letterpress.demo.vendors.mailchimp_audience import subscriber_hash

served, vendor, opened, client, populated = line.served, line.vendor, line.opened, line.client, line.populated


def test_suppressions_come_back_with_their_reasons_and_go_on_from_a_position(vendor, client, clock):
    subscribed(client, *((f"c{number}", f"person{number}@example.com") for number in range(6)))
    vendor.app.unsubscribe("person0@example.com")
    vendor.app.bounce("person1@example.com")
    vendor.app.complain("person2@example.com")
    events, position = client.suppressions(None)
    reasons = {(event.email, event.reason) for event in events}
    assert reasons == {
        ("person0@example.com", "unsubscribed"),
        ("person1@example.com", "bounced"),
        ("person2@example.com", "complained"),
        ("person2@example.com", "unsubscribed"),  # the vendor unsubscribes who complains
    }
    assert {event.suppressed_at.timestamp() for event in events} == {float(int(clock.now()))}
    clock.pause(60)
    vendor.app.unsubscribe("person3@example.com")
    vendor.app.complain("person4@example.com")
    events, later = client.suppressions(position)
    assert {event.email for event in events} >= {"person3@example.com", "person4@example.com"}
    assert later != position
    clock.pause(60)
    events, latest = client.suppressions(later)
    # What came in the last second that is known of, of each kind, comes again: there may have been more in it.
    assert {(event.email, event.reason) for event in events} == {
        ("person1@example.com", "bounced"),
        ("person3@example.com", "unsubscribed"),
        ("person4@example.com", "unsubscribed"),
        ("person4@example.com", "complained"),
    }
    assert latest == later


def test_whoever_unsubscribes_while_the_others_are_read_is_not_missed(vendor, client, clock):
    """Nor is another one, who moves up a place for it."""
    people = [(f"c{number}", f"person{number}@example.com") for number in range(1_500)]
    for start in range(0, 1_500, 500):
        subscribed(client, *people[start : start + 500])
    for number, (_, email) in enumerate(people[:-1]):
        clock.pause(1 if number % 10 == 0 else 0)
        vendor.app.audience.set_status(subscriber_hash(email), "unsubscribed", is_final=True)
    answered = vendor.app.answer

    def changed(method, url, query, headers, content):
        found = answered(method, url, query, headers, content)
        if "status=unsubscribed" in query and "since_last_changed" not in query:
            clock.pause(1)
            vendor.app.audience.set_status(subscriber_hash(people[3][1]), "unsubscribed", is_final=True)
            vendor.app.unsubscribe(people[-1][1])
        return found

    vendor.app.answer = changed
    events, _ = client.suppressions(None)
    assert {event.email for event in events} == {email for _, email in people}
    assert len(events) == len(people)


def test_more_than_a_page_of_one_second_is_read_to_its_end(vendor, client):
    people = [(f"c{number}", f"person{number}@example.com") for number in range(2_300)]
    for start in range(0, 2_300, 500):
        subscribed(client, *people[start : start + 500])
    rows = [Row(*one, vendor_id=subscriber_hash(one[1])) for one in people]
    for start in range(0, 2_300, 500):
        send(client, Operation.SUPPRESS, *rows[start : start + 500])
    events, position = client.suppressions(None)
    assert len(events) == 2_300
    assert len(client.suppressions(position)[0]) == 2_300


def test_what_was_written_is_read_in_the_field_map_s_names(vendor, client):
    tag = vendor.app.add_tag("VIP")
    written = {"FNAME": "Anna", "RFM": "555", "DECILE": 7, "SINCE": "2024-02-29", "SEGMENTS": "a,b"}
    send(client, Operation.SUBSCRIBE, person("c1", ANNA, **written), person("c2", BEN, DECILE=2.5))
    send(client, Operation.JOIN, Row("c1", ANNA), tag=tag)
    send(client, Operation.SUPPRESS, Row("c2", BEN))
    anna, ben = client.read([Row("c1", ANNA), Row("c2", BEN), Row("c3", CARA)], list(written))
    assert (anna.customer_id, anna.email, anna.vendor_id) == ("c1", ANNA, subscriber_hash(ANNA))
    assert anna.attributes == written
    assert (anna.lists, anna.is_suppressed) == (frozenset({tag}), False)
    assert ben.attributes == {**dict.fromkeys(written), "DECILE": 2.5}
    assert (ben.lists, ben.is_suppressed) == (frozenset(), True)


@pytest.mark.parametrize(
    ("happens", "is_suppressed"), [("open", False), ("unsubscribe", True), ("bounce", True), ("complain", True)]
)
def test_whether_somebody_may_be_mailed_there_is_read(vendor, client, happens, is_suppressed):
    subscribed(client, ("c1", ANNA))
    getattr(vendor.app, happens)(ANNA)
    (held,) = client.read([Row("c1", ANNA)], [])
    assert held.is_suppressed is is_suppressed


def test_many_people_are_read_in_pages(vendor, client):
    people = [(f"c{number}", f"person{number}@example.com") for number in range(1_200)]
    for start in range(0, 1_200, 400):
        subscribed(client, *people[start : start + 400])
    vendor.app.calls.clear()
    held = client.read([Row(*one) for one in people[100:]], ["CUSTOMERID"])
    assert {one.customer_id for one in held} == {customer_id for customer_id, _ in people[100:]}
    assert all(one.attributes["CUSTOMERID"] == one.customer_id for one in held)
    assert len(vendor.app.calls) <= 4


def test_who_is_archived_or_somebody_else_s_by_now_is_not_read(vendor, client):
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    send(client, Operation.DELETE, Row("c1", ANNA))
    assert client.read([Row("c1", ANNA), Row("c3", BEN)], []) == []
    assert client.read([Row("c1", ANNA)], []) == []
    assert client.read([], []) == []


def test_nothing_is_ever_queued(client):
    assert not client.is_busy()
    with pytest.raises(ValueError, match="expected no job, found 7"):
        client.results(Operation.UPSERT, "7", [])


def test_opens_and_clicks_of_a_campaign_can_be_read(vendor, client, clock):
    subscribed(client, ("c1", ANNA))
    vendor.app.open(ANNA, "news")
    clock.pause(10)
    vendor.app.click(ANNA, "https://shop.example.com/", "news")
    report = httpx.get(f"{vendor.base_url}/3.0/reports/news/email-activity", auth=("anybody", KEY)).json()
    (person_,) = report["emails"]
    assert [done["action"] for done in person_["activity"]] == ["open", "click"]
    since = {"since": person_["activity"][0]["timestamp"]}
    later = httpx.get(f"{vendor.base_url}/3.0/reports/news/email-activity", auth=("anybody", KEY), params=since).json()
    assert [done["action"] for done in later["emails"][0]["activity"]] == ["click"]


def test_what_the_stand_in_holds_outlives_it(tmp_path, opened):
    with running("mailchimp", tmp_path, token=KEY) as vendor:
        client = opened(vendor)
        client.prepare(ATTRIBUTES, [])
        subscribed(client, ("c1", ANNA))
        before = state(vendor)
    with running("mailchimp", tmp_path, token=KEY) as vendor:
        assert state(vendor) == before


def test_nothing_personal_is_logged(vendor, client, populated, caplog):
    caplog.set_level(logging.DEBUG)
    vendor.app.faults.add(Fault(path="/3.0/", status=500, times=2))
    send(client, Operation.UPSERT, person("c1", "anna@nowhere.invalid", vendor_id=subscriber_hash(ANNA)))
    send(client, Operation.SUPPRESS, Row("c1", None, vendor_id=subscriber_hash(ANNA)))
    client.suppressions(None)
    assert "mailchimp: GET" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("letterpress"))
    assert "@" not in ours
    assert KEY not in caplog.text
