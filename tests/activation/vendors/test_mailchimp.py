"""What Mailchimp is asked for happens there, to the right person, and once however often it is asked."""

import mailchimp_line as line
import pytest
from mailchimp_line import ANNA, ATTRIBUTES, BEN, CARA, EVERY, documents, person, raw, restore, send, state, subscribed

from letterpress.activation.destinations import mailchimp
from letterpress.activation.destinations.spec import DestinationError, Operation, Row
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors.mailchimp_audience import subscriber_hash

served, vendor, opened, client, populated = line.served, line.vendor, line.opened, line.client, line.populated


# Writing.


def test_an_upsert_of_somebody_unknown_makes_no_subscriber(vendor, client):
    results = send(client, Operation.UPSERT, person("c1", ANNA, FNAME="Anna", DECILE=7, SINCE="2024-02-29"))
    member = vendor.app.member(ANNA)
    assert results.errors == {}
    assert results.vendor_ids == {"c1": subscriber_hash(ANNA)}
    assert member["status"] == "transactional"
    assert member["merge_fields"]["CUSTOMERID"] == "c1"
    assert (member["merge_fields"]["DECILE"], member["merge_fields"]["SINCE"]) == (7, "2024-02-29")


def test_a_vendor_that_subscribes_whom_an_upsert_makes_stops_the_run(vendor, client, monkeypatch):
    def subscribes(given, **named):
        return written({**given, "status_if_new": "subscribed"}, **named)

    written = vendor.app.audience.write
    monkeypatch.setattr(vendor.app.audience, "write", subscribes)
    with pytest.raises(DestinationError, match="expected new members to be transactional, found 1 subscribed"):
        send(client, Operation.UPSERT, person("c1", ANNA))


def test_somebody_new_is_refused_where_the_vendor_does_not_know_status_if_new(vendor, client):
    subscribed(client, ("c1", ANNA))
    vendor.app.audience.takes_status_if_new = False
    results = send(client, Operation.UPSERT, person("c1", ANNA, FNAME="Anna"), person("c2", BEN))
    assert results.errors["c2"].code == "error_generic"
    assert vendor.app.member(ANNA)["merge_fields"]["FNAME"] == "Anna"
    assert vendor.app.member(BEN) is None


@pytest.mark.parametrize("leaves", ["unsubscribe", "bounce", "complain"])
def test_an_upsert_changes_no_status(vendor, client, leaves):
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    getattr(vendor.app, leaves)(ANNA)
    before = vendor.app.member(ANNA)["status"]
    results = send(client, Operation.UPSERT, person("c1", ANNA, FNAME="Anna"), person("c2", BEN, FNAME="Ben"))
    assert results.errors == {}
    assert (vendor.app.member(ANNA)["status"], vendor.app.member(BEN)["status"]) == (before, "subscribed")
    assert vendor.app.member(ANNA)["merge_fields"]["FNAME"] == "Anna"


def test_an_update_keeps_what_it_does_not_name_and_clears_what_is_empty(vendor, client):
    send(client, Operation.UPSERT, person("c1", ANNA, FNAME="Anna", RFM="555", DECILE=9))
    send(client, Operation.UPSERT, person("c1", ANNA, RFM="111", DECILE=mailchimp.SHAPE.cleared))
    values = vendor.app.member(ANNA)["merge_fields"]
    assert (values["FNAME"], values["RFM"], values["DECILE"]) == ("Anna", "111", "")


def test_a_required_merge_field_does_not_stand_in_the_way_of_an_update_without_it(vendor, client):
    vendor.app.audience.fields["LNAME"]["required"] = True
    subscribed(client, ("c1", ANNA))
    results = send(client, Operation.UPSERT, person("c1", BEN, vendor_id=subscriber_hash(ANNA), FNAME="Anna"))
    refused = raw(vendor, "POST", "", {"members": [{"email_address": BEN}], "update_existing": True}).json()
    assert results.errors == {}
    assert vendor.app.member(BEN)["merge_fields"]["FNAME"] == "Anna"
    assert refused["errors"][0]["field"] == "LNAME"


def test_subscribing_makes_a_subscriber_with_the_instant_of_the_opt_in(vendor, client):
    results = send(client, Operation.SUBSCRIBE, person("c1", ANNA, FNAME="Anna"))
    member = vendor.app.member(ANNA)
    assert results.errors == {}
    assert results.vendor_ids == {"c1": subscriber_hash(ANNA)}
    assert (member["status"], member["timestamp_opt"]) == ("subscribed", "2026-03-01T12:30:00+00:00")
    assert member["merge_fields"]["FNAME"] == "Anna"


def test_subscribing_lifts_what_was_transactional_or_was_suppressed_by_us(vendor, client):
    send(client, Operation.UPSERT, person("c1", ANNA))
    subscribed(client, ("c2", BEN))
    send(client, Operation.SUPPRESS, Row("c2", BEN, vendor_id=subscriber_hash(BEN)))
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    assert {vendor.app.member(email)["status"] for email in (ANNA, BEN)} == {"subscribed"}


@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
@pytest.mark.parametrize("leaves", ["unsubscribe", "bounce", "complain"])
def test_who_left_in_person_is_not_subscribed_again_and_it_is_known(vendor, client, leaves, tells):
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    getattr(vendor.app, leaves)(ANNA)
    vendor.app.tells_of_compliance = tells
    results = send(client, Operation.SUBSCRIBE, person("c1", ANNA), person("c2", BEN))
    assert {customer: error.code for customer, error in results.errors.items()} == {"c1": "compliance_state"}
    assert not results.errors["c1"].is_transient
    assert vendor.app.member(ANNA)["status"] in ("unsubscribed", "cleaned")


def test_suppressing_unsubscribes_members_and_changes_nothing_else(vendor, client):
    send(client, Operation.SUBSCRIBE, person("c1", ANNA, FNAME="Anna"), person("c2", BEN))
    results = send(client, Operation.SUPPRESS, Row("c1", ANNA, vendor_id=subscriber_hash(ANNA), reason="unsubscribed"))
    assert results.errors == {}
    assert (vendor.app.member(ANNA)["status"], vendor.app.member(BEN)["status"]) == ("unsubscribed", "subscribed")
    assert vendor.app.member(ANNA)["merge_fields"]["FNAME"] == "Anna"


@pytest.mark.parametrize("email", [None, BEN], ids=["without an address", "with another address"])
def test_who_is_held_under_a_former_address_is_suppressed_there(vendor, client, email):
    subscribed(client, ("c1", ANNA))
    results = send(client, Operation.SUPPRESS, Row("c1", email, vendor_id=subscriber_hash(ANNA)))
    assert results.errors == {}
    assert vendor.app.member(ANNA)["status"] == "unsubscribed"
    assert vendor.app.member(BEN) is None


def test_a_suppression_makes_no_member_of_an_address_that_the_person_got_since(vendor, client):
    subscribed(client, ("c1", ANNA))
    assert send(client, Operation.SUPPRESS, Row("c1", CARA, former_emails=(ANNA,))).errors == {}
    members = vendor.app.audience.members
    assert {one["email_address"]: one["status"] for one in members.values()} == {ANNA: "unsubscribed"}
    subscribed(client, ("c2", BEN), ("c3", CARA))
    assert send(client, Operation.SUPPRESS, Row("c3", CARA, former_emails=(BEN,))).errors == {}
    assert members[subscriber_hash(CARA)]["status"] == "unsubscribed"
    assert members[subscriber_hash(BEN)]["status"] == "subscribed", "it is another customer's by now"


def test_suppressing_somebody_who_cannot_be_mailed_anyway_is_a_success(vendor, client):
    subscribed(client, ("c1", ANNA))
    send(client, Operation.ERASE, Row("c1", ANNA))
    gone = Row("c2", None, vendor_id=subscriber_hash(BEN))
    assert send(client, Operation.SUPPRESS, Row("c1", ANNA), gone).errors == {}


@pytest.mark.parametrize("operation", [Operation.UPSERT, Operation.SUBSCRIBE, Operation.JOIN, Operation.SUPPRESS])
def test_somebody_without_an_address_is_refused_alone(vendor, client, operation):
    subscribed(client, ("c1", ANNA))
    tag = vendor.app.add_tag("VIP")
    results = send(client, operation, person("c1", ANNA), person("c2", None), tag=tag)
    assert {customer: error.code for customer, error in results.errors.items()} == {"c2": "no_email"}


def test_nobody_with_an_address_makes_no_request(vendor, client):
    assert send(client, Operation.UPSERT, person("c2", None)).errors["c2"].code == "no_email"
    assert vendor.app.calls == []


# Addresses that change.


def test_a_changed_address_keeps_status_tags_and_profile(vendor, client):
    tag = vendor.app.add_tag("VIP")
    send(client, Operation.SUBSCRIBE, person("c1", ANNA, FNAME="Anna"))
    send(client, Operation.JOIN, Row("c1", ANNA), tag=tag)
    results = send(client, Operation.UPSERT, person("c1", BEN, vendor_id=subscriber_hash(ANNA), RFM="555"))
    member = vendor.app.member(BEN)
    assert results.vendor_ids == {"c1": subscriber_hash(BEN)}
    assert vendor.app.member(ANNA) is None
    assert member["status"] == "subscribed"
    assert (member["merge_fields"]["FNAME"], member["merge_fields"]["RFM"]) == ("Anna", "555")
    assert vendor.app.tagged(tag) == {BEN}


def test_a_change_of_case_is_no_change_of_address(vendor, client):
    subscribed(client, ("c1", ANNA))
    results = send(client, Operation.UPSERT, person("c1", "Anna@Example.com", vendor_id=subscriber_hash(ANNA)))
    assert results.errors == {}
    assert [method for method, _, _ in vendor.app.calls] == ["POST", "POST"]


def test_the_former_address_is_archived_where_the_new_one_is_a_member_too(vendor, client):
    subscribed(client, ("c1", ANNA))
    send(client, Operation.UPSERT, person("c1", BEN))
    results = send(client, Operation.UPSERT, person("c1", BEN, vendor_id=subscriber_hash(ANNA), FNAME="Anna"))
    assert results.errors == {}
    assert vendor.app.member(ANNA)["status"] == "archived"
    assert vendor.app.member(BEN)["merge_fields"]["FNAME"] == "Anna"


def test_an_address_that_bounced_is_left_behind_and_the_new_one_can_be_subscribed(vendor, client):
    subscribed(client, ("c1", ANNA))
    vendor.app.bounce(ANNA)
    results = send(client, Operation.SUBSCRIBE, person("c1", BEN, vendor_id=subscriber_hash(ANNA)))
    assert results.errors == {}
    assert (vendor.app.member(ANNA)["status"], vendor.app.member(BEN)["status"]) == ("cleaned", "subscribed")


def test_who_unsubscribed_in_person_stays_so_under_a_new_address(vendor, client):
    subscribed(client, ("c1", ANNA))
    vendor.app.unsubscribe(ANNA)
    results = send(client, Operation.SUBSCRIBE, person("c1", BEN, vendor_id=subscriber_hash(ANNA)))
    assert results.errors["c1"].code == "compliance_state"
    assert vendor.app.member(BEN)["status"] == "unsubscribed"


def test_a_new_address_that_the_vendor_refuses_concerns_one_person_alone(vendor, client):
    subscribed(client, ("c1", ANNA))
    fake = person("c1", "anna@nowhere.invalid", vendor_id=subscriber_hash(ANNA))
    results = send(client, Operation.UPSERT, fake, person("c2", BEN))
    assert {customer: error.code for customer, error in results.errors.items()} == {"c1": "invalid_email"}
    assert vendor.app.member(ANNA)["status"] == "subscribed"
    assert vendor.app.member(BEN) is not None


def test_an_address_that_is_somebody_else_s_by_now_is_not_renamed(vendor, client):
    subscribed(client, ("c2", ANNA))
    results = send(client, Operation.UPSERT, person("c1", BEN, vendor_id=subscriber_hash(ANNA)))
    assert results.errors == {}
    assert vendor.app.member(ANNA)["merge_fields"]["CUSTOMERID"] == "c2"
    assert vendor.app.member(BEN)["merge_fields"]["CUSTOMERID"] == "c1"


# Tags.


def test_people_join_and_leave_a_tag(vendor, client):
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    assert send(client, Operation.JOIN, Row("c1", ANNA), Row("c2", BEN), tag=tag).errors == {}
    assert vendor.app.tagged(tag) == {ANNA, BEN}
    assert send(client, Operation.LEAVE, Row("c1", ANNA, vendor_id=subscriber_hash(ANNA)), tag=tag).errors == {}
    assert vendor.app.tagged(tag) == {BEN}


def test_who_is_no_member_does_not_join_and_is_told(vendor, client):
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA))
    results = send(client, Operation.JOIN, Row("c1", ANNA), Row("c2", BEN), tag=tag)
    assert {customer: error.code for customer, error in results.errors.items()} == {"c2": "not_a_member"}
    assert vendor.app.tagged(tag) == {ANNA}


def test_who_is_held_under_a_former_address_leaves_by_it(vendor, client):
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    send(client, Operation.JOIN, Row("c1", ANNA), Row("c2", BEN), tag=tag)
    renamed = Row("c1", "new@example.com", vendor_id=subscriber_hash(ANNA))
    assert send(client, Operation.LEAVE, renamed, Row("c2", BEN), tag=tag).errors == {}
    assert vendor.app.tagged(tag) == set()


def test_who_is_not_in_a_tag_has_left_it(vendor, client):
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA))
    gone = Row("c3", None, vendor_id=subscriber_hash(CARA))
    assert send(client, Operation.LEAVE, Row("c1", ANNA), Row("c2", BEN), gone, tag=tag).errors == {}


def test_an_unknown_tag_stops_the_run(vendor, client):
    subscribed(client, ("c1", ANNA))
    with pytest.raises(DestinationError, match=r"segments/99 was refused with 404 \(resource_not_found"):
        send(client, Operation.JOIN, Row("c1", ANNA), tag="99")


# Ids that became one, and people who go.


def test_a_moved_profile_is_the_surviving_id_s_and_keeps_its_subscription(vendor, client):
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA))
    send(client, Operation.JOIN, Row("c1", ANNA), tag=tag)
    moved = Row("c1", ANNA, vendor_id=subscriber_hash(ANNA), moves_to="c9")
    assert send(client, Operation.MOVE, moved).errors == {}
    member = vendor.app.member(ANNA)
    assert (member["merge_fields"]["CUSTOMERID"], member["status"]) == ("c9", "subscribed")
    assert vendor.app.tagged(tag) == {ANNA}


def test_where_the_surviving_id_has_a_member_it_stays_and_the_former_is_archived(vendor, client):
    subscribed(client, ("c1", ANNA), ("c9", BEN))
    before = vendor.app.member(BEN)
    for _ in range(2):
        assert (
            send(client, Operation.MOVE, Row("c1", ANNA, vendor_id=subscriber_hash(ANNA), moves_to="c9")).errors == {}
        )
    assert vendor.app.member(ANNA)["status"] == "archived"
    assert vendor.app.member(BEN) == before


def test_of_two_former_ids_one_gives_its_member_to_the_surviving_one(vendor, client):
    subscribed(client, ("c1", ANNA), ("c2", BEN), ("c3", CARA))
    rows = [Row("c1", ANNA, moves_to="c9"), Row("c2", BEN, moves_to="c9"), Row("c3", CARA, moves_to="c8")]
    assert send(client, Operation.MOVE, *rows).errors == {}
    found = {email: vendor.app.member(email) for email in (ANNA, BEN, CARA)}
    ids = {email: one["merge_fields"]["CUSTOMERID"] for email, one in found.items() if one["status"] == "subscribed"}
    assert ids == {ANNA: "c9", CARA: "c8"}
    assert found[BEN]["status"] == "archived"


def test_a_deleted_member_is_archived_and_may_come_back(vendor, client):
    subscribed(client, ("c1", ANNA))
    assert send(client, Operation.DELETE, Row("c1", None, vendor_id=subscriber_hash(ANNA))).errors == {}
    assert vendor.app.member(ANNA)["status"] == "archived"
    subscribed(client, ("c1", ANNA))
    assert vendor.app.member(ANNA)["status"] == "subscribed"


def test_a_bounced_member_cannot_be_archived_and_it_is_told(vendor, client):
    subscribed(client, ("c1", ANNA))
    vendor.app.bounce(ANNA)
    error = send(client, Operation.DELETE, Row("c1", ANNA)).errors["c1"]
    assert (error.code, error.message) == ("cannot_archive", "Mailchimp keeps a member whose status is cleaned")


def test_an_erased_member_is_gone_and_the_address_is_not_taken_again(vendor, client):
    subscribed(client, ("c1", ANNA))
    assert send(client, Operation.ERASE, Row("c1", ANNA, vendor_id=subscriber_hash(ANNA))).errors == {}
    assert vendor.app.member(ANNA) is None
    assert send(client, Operation.UPSERT, person("c1", ANNA)).errors["c1"].code == "forgotten_email"


def test_erasing_reaches_the_former_address_and_the_present_one(vendor, client):
    subscribed(client, ("c1", ANNA), ("c1", BEN))
    assert send(client, Operation.ERASE, Row("c1", BEN, vendor_id=subscriber_hash(ANNA))).errors == {}
    assert (vendor.app.member(ANNA), vendor.app.member(BEN)) == (None, None)


@pytest.mark.parametrize(
    ("operation", "codes"),
    [(Operation.DELETE, {}), (Operation.MOVE, {}), (Operation.ERASE, {"c1": "held_by_another"})],
)
def test_a_member_that_is_somebody_else_s_by_now_is_left_alone(vendor, client, operation, codes):
    subscribed(client, ("c2", ANNA))
    before = state(vendor)
    results = send(client, operation, Row("c1", None, vendor_id=subscriber_hash(ANNA), moves_to="c9"))
    assert {customer: error.code for customer, error in results.errors.items()} == codes
    assert state(vendor) == before


# Repeating, and bad days.


def test_every_operation_that_is_offered_is_tried_here():
    assert set(EVERY) == {name for name in mailchimp.ENDPOINTS if name in set(Operation)}


@pytest.mark.parametrize("operation", EVERY, ids=str)
def test_an_operation_has_its_effect_and_repeated_has_it_once(vendor, client, populated, operation):
    before = state(vendor)
    first = send(client, operation, EVERY[operation], tag=populated)
    after = state(vendor)
    again = send(client, operation, EVERY[operation], tag=populated)
    assert (first.errors, again.errors) == ({}, {})
    assert first.vendor_ids == again.vendor_ids
    assert after != before
    assert state(vendor) == after


FAULTS = {
    "429 with Retry-After": {"status": 429, "retry_after": 3},
    "429 without": {"status": 429},
    "500": {"status": 500},
    "403 without a body": {"status": 403},
    "an answer lost": {"loses_answer": True},
}


@pytest.mark.parametrize("operation", EVERY, ids=str)
def test_a_bad_day_ends_in_the_same_state(vendor, client, populated, operation, no_pauses):
    """Each fault hits each kind of request of the operation once."""
    before = documents(vendor)
    send(client, operation, EVERY[operation], tag=populated)
    wanted, methods = state(vendor), {method for method, _, _ in vendor.app.calls}
    for name, fault in FAULTS.items():
        restore(vendor, before)
        no_pauses.clear()
        for method in methods:
            vendor.app.faults.add(Fault(path="/3.0/", method=method, **fault))
        results = send(client, operation, EVERY[operation], tag=populated)
        assert results.errors == {}, name
        assert state(vendor) == wanted, name
        assert len(no_pauses) == len(methods), name
        assert "retry_after" not in fault or set(no_pauses) == {3.0}, name


@pytest.mark.parametrize("fault", FAULTS)
def test_preparing_on_a_bad_day_creates_each_merge_field_once(vendor, opened, fault):
    for method in ("GET", "POST"):
        vendor.app.faults.add(Fault(path="/3.0/", method=method, **FAULTS[fault]))
    opened(vendor).prepare(ATTRIBUTES, [])
    assert list(vendor.app.audience.fields) == [
        *("FNAME", "LNAME", "ADDRESS", "PHONE", "CUSTOMERID", "RFM", "DECILE", "SINCE", "SEGMENTS")
    ]


def _leave_behind(client, how: str) -> Row:
    """A member stays archived under an address that the ledger will forget; the person as she is erased later."""
    subscribed(client, ("c1", ANNA))
    if how == "deleted":
        send(client, Operation.DELETE, Row("c1", ANNA))
        return Row("c1", None)
    subscribed(client, ("c2", BEN) if how != "readdressed" else ("", BEN))
    if how == "readdressed":  # to the address of a member
        send(client, Operation.UPSERT, person("c1", BEN)._replace(former_emails=(ANNA,)))
        return Row("c1", BEN)
    send(client, Operation.MOVE, Row("c1", ANNA, moves_to="c2"))
    if how == "merged":
        return Row("c2", BEN)
    send(client, Operation.MOVE, Row("c2", BEN, moves_to="c3"))
    return Row("c3", BEN)


@pytest.mark.parametrize("how", ["deleted", "readdressed", "merged", "merged twice"])
def test_an_erasure_reaches_the_members_that_were_left_behind(vendor, client, how):
    row = _leave_behind(client, how)
    assert vendor.app.member(ANNA)["status"] == "archived"
    assert send(client, Operation.ERASE, row).errors == {}
    assert vendor.app.audience.members == {}
    assert send(client, Operation.ERASE, row).errors.keys() == ({"c1"} if how == "deleted" else set())


def test_an_erasure_leaves_an_address_alone_that_became_somebody_elses(vendor, client):
    row = _leave_behind(client, "merged")
    subscribed(client, ("c9", ANNA))
    assert send(client, Operation.ERASE, row).errors == {}
    assert [one["email_address"] for one in vendor.app.audience.members.values()] == [ANNA]
