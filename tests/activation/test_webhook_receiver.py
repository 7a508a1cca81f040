"""The receiver: suppression at once, each event once, nothing lost, and nothing told to whoever it is not."""

import base64
import hashlib
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from activation_line import KEY
from webhook_receiver import Box
from webhook_vendors import (
    HOUR_AGO,
    NOW,
    SECRETS,
    UNSUBSCRIBES,
    Request,
    digest,
    hubspot,
    hubspot_change,
    klaviyo,
    klaviyo_event,
    mailchimp,
    mailchimp_form,
    salesforce,
    salesforce_event,
)

from letterpress.activation import ledger, stores, suppression
from letterpress.activation.destinations.spec import Operation
from letterpress.activation.webhooks import inbox
from letterpress.activation.webhooks.vendors import VENDORS


def hold(box: Box, destination: str, number: int, vendor_id: str, **values) -> None:
    """The ledger knows the person under the vendor's own name."""
    row = {"destination": destination, "customer_id": f"customer-{number:05d}", "state": "accepted"}
    row |= {"facet": ledger.PROFILE, "vendor_id": vendor_id, "revision": 0, "attempt": 0, **values}
    with stores.opened(box.stores_url) as engine, stores.writing(engine) as connection:
        connection.execute(sa.insert(stores.LEDGER), row)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (klaviyo(klaviyo_event(1, "unsubscribed_from_email_marketing")), "unsubscribed"),
        (klaviyo(klaviyo_event(1, "marked_email_as_spam")), "complained"),
        (klaviyo(klaviyo_event(1, "bounced_email", **{"Bounce Type": "Hard"})), "bounced"),
        (salesforce(salesforce_event(1)), "unsubscribed"),
        (mailchimp(mailchimp_form(1)), "unsubscribed"),
        (mailchimp(mailchimp_form(1, "cleaned", reason="abuse")), "complained"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.path.split("/")[1],
)
def test_whoever_wants_no_more_mail_is_stopped_before_the_vendor_is_answered(box: Box, request_, reason):
    assert box.send(request_) == 200
    assert box.stopped(1) == {"customer-00001": reason}
    assert box.stopped(2) == {}


def test_an_open_and_a_soft_bounce_stop_nobody(box: Box):
    told = [klaviyo_event(1), klaviyo_event(2, "bounced_email", **{"Bounce Type": "Soft"})]
    assert box.send(klaviyo(*told)) == 200
    assert [event["event_type"] for event in box.events()] == ["open", "bounce"]
    assert box.stopped(1) | box.stopped(2) == {}


def test_a_person_whom_only_the_vendor_names_is_found_in_the_ledger(box: Box):
    hold(box, "hubspot", 1, "1001")
    hold(box, "klaviyo", 2, "1002")
    assert box.send(hubspot(hubspot_change(1), hubspot_change(2))) == 200
    assert box.stopped(1) == {"customer-00001": "unsubscribed"}
    assert box.stopped(2) == {}
    assert {event["event_id"].split(":")[1]: event["customer_id"] for event in box.events()} == {
        "1001": "customer-00001",
        "1002": None,
    }


def test_an_unsubscribe_that_we_asked_the_vendor_for_is_no_news_of_the_person(box: Box):
    hold(box, "hubspot", 1, "1001")
    asked = {"facet": ledger.CONSENT, "operation": Operation.SUPPRESS, "acknowledged": "unsubscribed"}
    hold(box, "hubspot", 1, None, **asked)
    assert box.send(hubspot(hubspot_change(1))) == 200
    assert box.stopped(1) == {}
    assert len(box.events()) == 1


@pytest.mark.parametrize("vendor", [*UNSUBSCRIBES])
def test_a_delivery_that_comes_again_is_answered_and_changes_nothing(box: Box, vendor):
    request = UNSUBSCRIBES[vendor](1)
    assert box.send(request) == 200
    before = box.events()
    box.now += timedelta(minutes=2)
    assert box.send(request) == 200
    assert box.events() == before


@pytest.mark.parametrize("vendor", [*UNSUBSCRIBES])
def test_a_replay_is_known_after_a_restart(tmp_path: Path, vendor):
    box = Box(tmp_path, f"sqlite:///{tmp_path}/stores.sqlite")
    request = UNSUBSCRIBES[vendor](1)
    with box.serving():
        assert box.send(request) == 200
    before = box.events()
    box.now += timedelta(minutes=2)
    with box.serving():
        assert box.send(request) == 200
    assert box.events() == before


def test_a_replayed_unsubscribe_does_not_undo_a_later_opt_in(box: Box):
    request = salesforce(salesforce_event(1))
    assert box.send(request) == 200
    with stores.opened(box.stores_url) as engine, stores.writing(engine) as connection:
        hashes = suppression.subjects("person1@example.com", "customer-00001", KEY)
        assert suppression.lift(connection, hashes, opted_in_at=NOW, proof="proof-2")
    assert box.send(request) == 200
    assert box.send(salesforce(salesforce_event(1), salesforce_event(2))) == 200
    assert box.stopped(1) == {}
    assert box.stopped(2) == {"customer-00002": "unsubscribed"}


def test_an_event_that_is_told_in_two_deliveries_counts_once(box: Box):
    assert box.send(hubspot(hubspot_change(1), hubspot_change(2))) == 200
    assert box.send(hubspot(hubspot_change(2, attemptNumber=1), hubspot_change(3))) == 200
    assert box.send(klaviyo(klaviyo_event(1), klaviyo_event(1))) == 200
    assert len(box.events()) == 4


def test_an_old_delivery_without_a_signed_time_is_not_taken_in_any_more(box: Box):
    old = salesforce(salesforce_event(1, at=NOW - timedelta(days=9)), salesforce_event(2))
    assert box.send(old) == 200
    assert [event["customer_id"] for event in box.events()] == ["customer-00002"]
    assert box.stopped(1) == {}


def test_what_has_not_happened_yet_is_not_taken_in(box: Box):
    assert box.send(klaviyo(klaviyo_event(1, at=NOW + timedelta(hours=1)), klaviyo_event(2))) == 200
    assert [event["event_id"] for event in box.events()] == ["4vRp2"]


def test_every_delivery_has_a_position_of_its_own_though_the_clock_stands_or_goes_back(box: Box):
    for number, minutes in enumerate((0, 0, -3, 1)):
        box.now = NOW + timedelta(minutes=minutes)
        assert box.send(klaviyo(klaviyo_event(number), now=box.now)) == 200
    positions = [event["received_at"] for event in box.events()]
    assert positions == sorted(set(positions))
    assert [event["event_id"] for event in box.events()] == ["4vRp0", "4vRp1", "4vRp2", "4vRp3"]
    assert {len(position) for position in positions} == {27}


def test_what_has_landed_is_forgotten_once_no_vendor_repeats_it_and_nothing_before(box: Box):
    assert box.send(klaviyo(klaviyo_event(1))) == 200
    position = NOW
    later = NOW + inbox.KEPT + timedelta(hours=1)
    with stores.opened(box.stores_url) as engine:
        assert inbox.forget(engine, landed_through=None, now=later) == 0
        assert inbox.forget(engine, landed_through=position - timedelta(seconds=1), now=later) == 0
        assert inbox.forget(engine, landed_through=position, now=NOW + timedelta(days=1)) == 0
        assert inbox.forget(engine, landed_through=position, now=later) == 1
    assert box.events() == []


def test_a_service_that_starts_forgets_what_has_landed(tmp_path: Path):
    box = Box(tmp_path, f"sqlite:///{tmp_path}/stores.sqlite")
    with box.serving():
        assert box.send(klaviyo(klaviyo_event(1))) == 200
    box.now, box.landed = NOW + timedelta(days=9), NOW
    with box.serving():
        for _ in range(200):
            if not box.events():
                break
    assert box.events() == []


def test_a_body_that_is_too_large_is_refused_unread_and_one_that_only_turns_out_to_be_is_too(tmp_path: Path):
    box = Box(tmp_path, f"sqlite:///{tmp_path}/stores.sqlite", changes={"largest_body": 3_000})
    small, large = klaviyo(klaviyo_event(1)), klaviyo(*map(klaviyo_event, range(9)))
    with box.serving():
        assert box.send(small) == 200
        assert box.send(large) == 413
        pieces = (large.body[at : at + 100] for at in range(0, len(large.body), 100))
        assert box.client.post(large.path, content=pieces, headers=dict(large.headers)).status_code == 413
        assert box.send(small.with_headers(content_length="1" * 30)) == 413
    assert len(box.events()) == 1


@pytest.mark.parametrize("vendor", [*UNSUBSCRIBES])
@pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data", "application/xml"])
def test_another_content_type_is_refused(box: Box, vendor, kind):
    request = UNSUBSCRIBES[vendor](1)
    assert box.send(request.with_headers(content_type=kind)) == 415
    assert box.send(request.with_headers(content_encoding="gzip")) == 415
    written = request.headers["content-type"] + "; charset=UTF-8"
    assert box.send(request.with_headers(content_type=written)) == 200


def test_a_genuine_delivery_that_is_not_of_the_vendors_form_is_refused(box: Box):
    request = salesforce()
    assert box.send(request) == 200
    signature = base64.b64encode(digest(SECRETS["salesforce"], b"3")).decode()
    assert box.send(Request("/salesforce", b"3", {**request.headers, "x-sfmc-ens-signature": signature})) == 400
    assert box.events() == []


def test_mailchimp_asks_for_its_address_and_is_told_nothing_at_another(box: Box):
    good = mailchimp(mailchimp_form(1)).path
    assert box.client.get(good).status_code == 200
    assert box.client.head(good).status_code == 200
    assert box.client.get("/mailchimp/guessed").status_code == 401
    assert box.client.get("/mailchimp").status_code == 405
    assert box.client.get("/klaviyo/anything").status_code == 404
    assert box.client.get("/docs").status_code == 405
    assert box.client.get("/openapi.json").status_code == 405
    assert box.client.get("/health").json() == {"status": "ok"}


def test_salesforce_asks_whether_the_address_is_ours_and_the_answer_is_kept_for_its_owner(tmp_path: Path, caplog):
    asked = {"callbackId": "c-1", "verificationKey": "key-for-one-use"}
    question = Request("/salesforce", json.dumps(asked).encode(), {"content-type": "application/json"})
    box = Box(tmp_path, f"sqlite:///{tmp_path}/stores.sqlite", secrets={"salesforce": "confirming"})
    with box.serving():
        assert box.send(question) == 200
        assert box.send(salesforce(salesforce_event(1))) == 401
        assert box.send(Request(question.path, b'{"callbackId": "c-1"}', question.headers)) == 401
    assert json.loads((tmp_path / "confirmations" / "salesforce.json").read_text()) == asked
    assert "key-for-one-use" not in caplog.text
    assert box.events() == []


def test_with_a_secret_no_question_is_listened_to(box: Box, tmp_path: Path):
    body = json.dumps({"callbackId": "c-1", "verificationKey": "k"}).encode()
    assert box.send(Request("/salesforce", body, {"content-type": "application/json"})) == 401
    assert not (tmp_path / "confirmations").exists()


def test_an_address_that_sends_nothing_but_bad_requests_is_soon_not_listened_to(box: Box):
    bad = UNSUBSCRIBES["klaviyo"](1, secret="some other secret of 16")
    assert [box.send(bad) for _ in range(62)] == [401] * 60 + [429, 429]
    assert box.send(UNSUBSCRIBES["klaviyo"](1)) == 429
    box.now += timedelta(minutes=1, seconds=1)
    assert box.send(UNSUBSCRIBES["klaviyo"](1, now=box.now)) == 200


def test_a_store_that_cannot_be_written_is_no_receipt(box: Box, caplog):
    with stores.opened(box.stores_url) as engine, stores.writing(engine) as connection:
        connection.exec_driver_sql(
            "create trigger full before insert on webhook_events begin select raise(abort, 'person1@example.com'); end"
        )
    assert box.send(UNSUBSCRIBES["klaviyo"](1)) == 503
    assert box.stopped(1) == {}
    assert "could not be kept: IntegrityError" in caplog.text
    assert "person1" not in caplog.text
    with stores.opened(box.stores_url) as engine, stores.writing(engine) as connection:
        connection.exec_driver_sql("drop trigger full")
    assert box.send(UNSUBSCRIBES["klaviyo"](1)) == 200
    assert box.stopped(1) == {"customer-00001": "unsubscribed"}


def test_the_log_has_numbers_and_nobody_in_it(box: Box, caplog):
    with caplog.at_level(logging.DEBUG):
        for vendor in UNSUBSCRIBES.values():
            assert box.send(vendor(1)) == 200
            assert box.send(vendor(1, secret="some other secret of 16")) == 401
        hold(box, "hubspot", 7, "1007")
        assert box.send(hubspot(hubspot_change(7), hubspot_change(8))) == 200
    ours = [record for record in caplog.records if record.name.startswith("letterpress")]
    told = "\n".join(record.getMessage() for record in ours)
    assert "klaviyo: 1 events new, 0 told before, 1 hashes suppressed" in told
    assert "1 about nobody whom the ledger knows" in told
    for personal in ("person1", "example.com", "customer-00001", "01PROFILE", "4vRp", "1007", "shared-with-nobody"):
        assert personal not in told.lower().replace("hooks.example.com", ""), personal


def test_many_events_are_taken_in_as_one(box: Box):
    told = [klaviyo_event(number, "unsubscribed_from_email_marketing") for number in range(1_000)]
    assert box.send(klaviyo(*told)) == 200
    assert len(box.events()) == 1_000
    assert len({event["received_at"] for event in box.events()}) == 1
    assert box.stopped(999) == {"customer-00999": "unsubscribed"}


def test_what_is_kept_is_as_the_vendor_told_it(box: Box):
    assert box.send(klaviyo(klaviyo_event(1, "clicked_email", URL="https://shop.example.com/\0x"))) == 200
    [event] = box.events()
    assert event == {
        "destination": "klaviyo",
        "event_id": "4vRp1",
        "message_id": "1309514400:01HXCAMPAIGN:01PROFILE1",
        "campaign_id": "01HXCAMPAIGN",
        "campaign_name": "Spring",
        "subject": "Spring is here",
        "customer_id": None,
        "email": "person1@example.com",
        "event_type": "click",
        "bounce_type": None,
        "is_machine_open": False,
        "url": "https://shop.example.com/x",
        "occurred_at": inbox.text_of(HOUR_AGO),
        "received_at": inbox.text_of(NOW),
    }


def test_an_event_without_an_id_is_named_by_a_hash_that_nobody_can_make_without_the_key(box: Box):
    assert box.send(mailchimp(mailchimp_form(1))) == 200
    [event] = box.events()
    request = mailchimp(mailchimp_form(1))
    [told] = [one.told for one in VENDORS["mailchimp"].read(request.body, request.headers).events]
    assert len(event["event_id"]) == 64
    assert event["message_id"] == event["event_id"]
    assert event["event_id"] != hashlib.sha256("\n".join(("mailchimp", *told)).encode()).hexdigest()


def test_the_store_is_the_same_on_every_database(stores_url: str, tmp_path: Path):
    box = Box(tmp_path, stores_url)
    long_id = klaviyo_event(1, "unsubscribed_from_email_marketing", URL="x" * 5_000, Subject="s" * 5_000)
    long_id["external_id"] = long_id["payload"]["data"]["id"] = "e" * 1_000
    foreign = salesforce_event(2, subscriberKey="k" * 1_000)
    with box.serving():
        for request in (klaviyo(long_id), salesforce(foreign), mailchimp(mailchimp_form(3))):
            assert box.send(request) == 200
            assert box.send(request) == 200
    assert [len(event["event_id"]) for event in box.events()] == [64, 64, 64]
    assert box.stopped(1) | box.stopped(2) | box.stopped(3) == {
        f"customer-0000{number}": "unsubscribed" for number in (1, 2, 3)
    }
