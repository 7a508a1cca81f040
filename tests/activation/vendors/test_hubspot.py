"""HubSpot: what each operation does there, once however often it is sent, and who is refused with which reason."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import orjson
import pytest
from hubspot_account import ATTRIBUTES, Account, opened, row
from hubspot_document import document

from letterpress.activation.destinations.parts.hubspot import consent
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Operation, Row
from letterpress.activation.suppression import STRENGTH
from letterpress.demo.vendors.hubspot_parts import contacts as stand_in_contacts
from letterpress.demo.vendors.specification import Specification


@pytest.fixture(params=[pytest.param("alone", marks=pytest.mark.slow), "held to the document"])
def account(request, clock) -> Iterator[Account]:
    """The stand-in's own checks do without the document, and its answers fit it."""
    with opened(clock=clock) as account:
        if request.param != "alone":
            account.app.specification = Specification(document())
        account.client.prepare(ATTRIBUTES, [])
        yield account
        assert account.app.complaints == []


# Profiles


def test_an_upsert_creates_contacts_and_updates_them_by_our_id(account):
    first = account.upsert(row("c-1", firstname="Ada"), row("c-2", firstname="Bob", decile="7"))
    again = account.upsert(row("c-2", "new@shop.example", firstname="Bert"))

    assert first.errors == {}
    assert first.unanswered == frozenset()
    assert again.vendor_ids == {"c-2": first.vendor_ids["c-2"]}
    assert account.contact("c-1") == {"letterpress_id": "c-1", "email": "c-1@shop.example", "firstname": "Ada"}
    assert account.contact("c-2") == {
        "letterpress_id": "c-2",
        "email": "new@shop.example",
        "firstname": "Bert",
        "decile": "7",  # not named the second time, and kept
    }


def test_an_upsert_sent_again_changes_nothing(account):
    rows = row("c-1", firstname="Ada", segments="a;b"), row("c-2")
    first = account.upsert(*rows)
    state = account.state()

    assert account.upsert(*rows) == first
    assert account.state() == state


def test_every_type_of_attribute_is_kept_and_an_empty_text_clears_it(account):
    values = {
        "firstname": "Ada",
        "decile": "7.5",
        "is_loyal": "true",
        "first_order": "2024-01-31",
        "best_send": "2024-01-31T07:30:00+00:00",
        "segments": "champions;weekend",
    }
    account.upsert(row("c-1", **values))
    kept = account.contact("c-1")
    account.upsert(row("c-1", **dict.fromkeys(values, "")))

    assert {name: kept[name] for name in values} == {**values, "best_send": "2024-01-31T07:30:00.000Z"}
    assert account.contact("c-1") == {"letterpress_id": "c-1", "email": "c-1@shop.example"}


def test_a_date_may_be_milliseconds_at_midnight_and_comes_back_as_a_date(account):
    results = account.upsert(row("c-1", first_order="1706659200000"), row("c-2", first_order="1706659200001"))

    assert account.contact("c-1")["first_order"] == "2024-01-31"
    assert results.errors["c-2"].code == "INVALID_DATE"


def test_a_contact_that_a_form_made_is_taken_over_by_its_address(account):
    record = account.app.add_contact(email="ada@shop.example", lastname="Lovelace")

    results = account.upsert(row("c-1", "Ada@Shop.example", firstname="Ada"), row("c-2"))

    assert results.vendor_ids["c-1"] == record
    assert account.contact("c-1") == {
        "letterpress_id": "c-1",
        "email": "ada@shop.example",
        "firstname": "Ada",
        "lastname": "Lovelace",
    }


def test_an_address_that_another_person_of_ours_has_is_refused_for_that_row_alone(account):
    account.upsert(row("c-1", "shared@shop.example"))

    results = account.upsert(row("c-2", "shared@shop.example"), row("c-3"))

    assert results.errors["c-2"].code == "CONFLICT"
    assert not results.errors["c-2"].is_transient
    assert set(results.vendor_ids) == {"c-3"}
    assert account.contact("c-1")["email"] == "shared@shop.example"


@pytest.mark.parametrize(
    ("attributes", "code", "told"),
    [
        ({"email": "ada.shop.example"}, "INVALID_EMAIL", "email"),
        ({"loyalty": "x" * 65_537}, "INVALID_LENGTH", "loyalty"),
        ({"decile": "seven"}, "INVALID_NUMBER", "decile"),
        ({"is_loyal": "yes"}, "INVALID_OPTION", "is_loyal"),
        ({"best_send": "morning"}, "INVALID_DATETIME", "best_send"),
    ],
)
def test_a_row_that_hubspot_refuses_is_told_by_customer_without_its_value(account, attributes, code, told):
    results = account.upsert(row("c-1"), row("c-2", **{"email": None, **attributes}))

    assert results.errors["c-2"].code == code
    assert results.errors["c-2"].message == told
    assert set(results.vendor_ids) == {"c-1"}
    assert account.contact("c-2") is None


@pytest.mark.parametrize("rows", [(row("c-1"), row("c-1")), (row("c-1", unknown_name="x"), row("c-2"))])
def test_a_batch_that_hubspot_refuses_as_a_whole_is_refused_to_the_engine(account, rows):
    with pytest.raises(BatchRefused) as refused:
        account.upsert(*rows)

    assert refused.value.code in ("VALIDATION_ERROR", "PROPERTY_DOESNT_EXIST")
    assert "shop.example" not in str(refused.value)
    assert account.contact("c-1") is None


def test_whom_an_answer_does_not_mention_is_not_called_written(account):
    account.upsert(row("c-1"), row("c-2"))
    answer = account.app.answer

    def forgetful(method, url, *rest):
        found = answer(method, url, *rest)
        if url.endswith("/upsert"):
            found.body["results"] = [one for one in found.body["results"] if one["objectWriteTraceId"] != "1"]
        return found

    account.app.answer = forgetful

    results = account.upsert(row("c-1"), row("c-2"))

    assert results.unanswered == {"c-2"}
    assert set(results.vendor_ids) == {"c-1"}


def test_an_error_that_names_nobody_is_halved_until_it_can_only_be_one(account):
    answer = account.app.answer

    def nameless(method, url, *rest):
        found = answer(method, url, *rest)
        for error in (found.body or {}).get("errors", []) if url.endswith("/upsert") else []:
            error["context"] = {}
        return found

    account.app.answer = nameless
    good, bad, other_bad = row("c-1"), row("c-2", decile="x"), row("c-3", decile="y")

    assert account.upsert(good, bad).errors["c-2"].code == "INVALID_NUMBER"
    with pytest.raises(BatchRefused, match="INVALID_NUMBER"):
        account.upsert(good, bad, other_bad)


# Properties


def test_values_of_lists_become_options_before_they_are_written(account):
    account.upsert(row("c-1", segments="a;b"))
    account.upsert(row("c-2", segments="b;c"), row("c-3", segments=""))

    assert account.contact("c-2")["segments"] == "b;c"
    assert [option["value"] for option in account.app.contacts.properties["segments"]["options"]] == ["a", "b", "c"]


def test_threads_that_bring_new_values_at_once_lose_none(account):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: account.upsert(row(f"c-{n}", segments=f"s{n};s{n + 1}")), range(12)))

    assert all(not one.errors for one in results)
    assert len(account.app.contacts.properties["segments"]["options"]) == 13


def test_an_option_that_a_person_added_at_hubspot_stays(account):
    account.upsert(row("c-1", segments="a"))
    theirs = {"value": "hand made", "label": "Hand made", "hidden": False}
    options = [*account.app.contacts.properties["segments"]["options"], theirs]
    account.raw("PATCH", "/crm/v3/properties/contacts/segments", {"options": options})

    account.upsert(row("c-2", segments="b"))

    values = [option["value"] for option in account.app.contacts.properties["segments"]["options"]]
    assert values == ["a", "hand made", "b"]


def test_preparing_creates_what_is_missing_and_nothing_the_second_time(account):
    properties = account.app.contacts.properties
    assert properties["letterpress_id"]["hasUniqueValue"]
    assert {name: properties[name]["type"] for name in ATTRIBUTES if name in properties} == {
        "firstname": "string",
        "loyalty": "string",
        "decile": "number",
        "is_loyal": "bool",
        "first_order": "date",
        "best_send": "datetime",
    }
    account.requests.clear()

    account.client.prepare(ATTRIBUTES, [])

    assert {method for method, _, _ in account.requests} == {"GET"}


def test_preparing_refuses_what_could_not_be_written(clock):
    with opened(clock=clock) as account:
        dynamic, companies = account.app.add_list("d", "DYNAMIC"), account.app.add_list("c", object_type="0-2")
        refusals = {
            "hs_object_id": lambda: account.client.prepare({"hs_object_id": "string"}, []),
            "DYNAMIC": lambda: account.client.prepare({}, [dynamic]),
            "0-2": lambda: account.client.prepare({}, [companies]),
            "found none": lambda: account.client.prepare({}, ["987"]),
        }
        for told, prepare in refusals.items():
            with pytest.raises(DestinationError, match=told):
                prepare()
        unique = {"name": "letterpress_id", "label": "x", "groupName": "contactinformation"}
        body = {"inputs": [{**unique, "type": "string", "fieldType": "text"}]}
        assert account.raw("POST", "/crm/v3/properties/contacts/batch/create", body).status_code == 201
        with pytest.raises(DestinationError, match="unique values"):
            account.client.prepare({}, [])
    with (
        opened(clock=clock, options={"subscription_id": "999"}) as account,
        pytest.raises(DestinationError, match=r"options.subscription_id: expected one of 101, 102, 103, found 999"),
    ):
        account.client.prepare({}, [])


# Lists


def test_people_join_and_leave_a_list_by_record_or_by_our_id(account):
    list_id = account.app.add_list("Champions")
    account.client.prepare(ATTRIBUTES, [list_id])
    ids = account.upsert(row("c-1"), row("c-2")).vendor_ids
    known, unknown = row("c-1", vendor_id=ids["c-1"]), row("c-2")

    for _ in range(2):
        assert account.send(Operation.JOIN, known, unknown, list_id=list_id).errors == {}
        assert account.app.members(list_id) == set(ids.values())
    for _ in range(2):
        assert account.send(Operation.LEAVE, known, unknown, list_id=list_id).errors == {}
        assert account.app.members(list_id) == set()


def test_a_record_that_was_merged_since_joins_under_its_new_id(account):
    list_id = account.app.add_list("Champions")
    stale = account.upsert(row("c-1")).vendor_ids["c-1"]
    other = account.app.add_contact(email="other@shop.example")
    account.raw("POST", "/crm/v3/objects/contacts/merge", {"primaryObjectId": stale, "objectIdToMerge": other})

    results = account.send(Operation.JOIN, row("c-1", vendor_id=stale), list_id=list_id)

    assert results.errors == {}
    assert results.vendor_ids == {"c-1": account.record_id("c-1")}
    assert account.app.members(list_id) == {account.record_id("c-1")}


def test_whom_hubspot_does_not_hold_cannot_join_and_has_left(account):
    list_id = account.app.add_list("Champions")

    assert account.send(Operation.JOIN, row("c-1"), list_id=list_id).errors["c-1"].code == "OBJECT_NOT_FOUND"
    assert account.send(Operation.JOIN, row("c-2", vendor_id="5"), list_id=list_id).errors.keys() == {"c-2"}
    assert account.send(Operation.LEAVE, row("c-1"), list_id=list_id).errors == {}


# Consent


def test_a_suppression_ends_every_kind_of_mail_once(account):
    account.upsert(row("c-1"))

    for _ in range(2):
        assert account.send(Operation.SUPPRESS, row("c-1")._replace(reason="consent_withdrawn")).errors == {}
        assert {account.app.status("c-1@shop.example", kind) for kind in ("101", "102", "103")} == {"NOT_SUBSCRIBED"}


def test_a_suppression_reaches_the_older_address_that_hubspot_still_holds(account):
    account.upsert(row("c-1", "old@shop.example"))

    account.send(Operation.SUPPRESS, row("c-1", "new@shop.example"))

    assert account.app.status("old@shop.example", "101") == "NOT_SUBSCRIBED"
    assert account.app.status("new@shop.example", "101") == "NOT_SUBSCRIBED"


def test_a_suppression_reaches_the_contact_that_an_opt_in_made_of_a_former_address(account):
    account.upsert(row("c-1", "old@shop.example"), row("c-2", "taken@shop.example"))
    account.send(Operation.SUBSCRIBE, row("c-1", "between@shop.example")._replace(consent_proof="proof-7"))

    former = ("between@shop.example", "taken@shop.example")
    account.send(Operation.SUPPRESS, row("c-1", "new@shop.example")._replace(former_emails=former))

    assert account.app.status("between@shop.example", "101") == "NOT_SUBSCRIBED"
    assert account.app.status("taken@shop.example", "101") is None, "it is another customer's by now"


def test_a_suppression_may_end_only_the_kind_that_we_write(clock):
    with opened(clock=clock, options={"stops": "subscription"}) as account:
        account.client.prepare({}, [])
        account.send(Operation.SUPPRESS, row("c-1"))

        assert account.app.status("c-1@shop.example", "101") == "NOT_SUBSCRIBED"
        assert account.app.status("c-1@shop.example", "102") is None


def test_an_address_that_hubspot_refuses_to_suppress_is_a_row_error_without_it(account):
    error = account.send(Operation.SUPPRESS, row("c-1", "ada at shop")).errors["c-1"]

    assert error.code == "INVALID_EMAIL"
    assert "ada" not in error.message


def test_an_opt_in_is_recorded_with_its_proof_once(account):
    opted_in = row("c-1")._replace(consent_proof="proof-7", consented_at=datetime(2026, 3, 1, tzinfo=UTC))

    for _ in range(2):
        assert account.send(Operation.SUBSCRIBE, opted_in).errors == {}
    kept = account.app.documents.kind("status")["c-1@shop.example"]
    assert kept == {
        "101": {
            "status": "SUBSCRIBED",
            "legalBasis": "CONSENT_WITH_NOTICE",
            "legalBasisExplanation": "Letterpress: consent proof-7 of 2026-03-01",
        }
    }
    assert account.upsert(row("c-1")).errors == {}  # HubSpot made a contact of the address, which is taken over


def test_an_opt_out_at_hubspot_is_lifted_by_nobody_but_the_person(account):
    account.upsert(row("c-1"))
    account.app.unsubscribe("c-1@shop.example")

    assert account.send(Operation.SUBSCRIBE, row("c-1")).errors["c-1"].code == "OPTED_OUT"
    assert account.app.status("c-1@shop.example", "101") == "NOT_SUBSCRIBED"


def test_suppressions_come_back_with_reason_and_the_instant_of_the_event(account, clock):
    account.upsert(*(row(f"c-{n}") for n in range(1, 6)))
    happened = {}
    for customer_id, what in (
        ("c-1", account.app.unsubscribe),
        ("c-2", account.app.bounce),
        ("c-3", account.app.complain),
        ("c-4", lambda email: account.app.unsubscribe(email, "101")),
        ("c-5", lambda email: account.app.unsubscribe(email, "102")),  # a kind of mail that is not ours
    ):
        clock.pause(60)
        what(f"{customer_id}@shop.example")
        happened[customer_id] = datetime.fromtimestamp(clock(), UTC)
    clock.pause(60)
    account.upsert(*(row(f"c-{n}", firstname="later") for n in range(1, 6)))  # which is no new opt-out

    events, position = account.client.suppressions(None)

    assert {(event.external_id, event.reason, event.suppressed_at) for event in events} == {
        ("c-1", "unsubscribed", happened["c-1"]),
        ("c-2", "bounced", happened["c-2"]),
        ("c-3", "unsubscribed", happened["c-3"]),
        ("c-3", "complained", happened["c-3"]),
        ("c-4", "unsubscribed", happened["c-4"]),
    }
    assert {event.email for event in events} == {f"c-{n}@shop.example" for n in range(1, 5)}
    assert {event.reason for event in events} <= set(STRENGTH)
    assert position is not None


def test_whoever_came_back_at_hubspot_is_no_longer_suppressed_there(account):
    account.upsert(row("c-1"))
    account.app.unsubscribe("c-1@shop.example")
    account.app.resubscribe("c-1@shop.example")

    assert account.client.suppressions(None)[0] == []


def test_the_position_goes_on_where_the_last_pull_ended(account, clock):
    account.upsert(row("c-1"), row("c-2"), row("c-3"))
    account.app.unsubscribe("c-1@shop.example")
    account.app.complain("c-3@shop.example")
    first, position = account.client.suppressions(None)
    clock.pause(consent.INDEXED / 1_000 + 1)
    account.app.unsubscribe("c-2@shop.example")
    second, position = account.client.suppressions(position)
    third, last = account.client.suppressions(position)

    assert {event.external_id for event in first} == {"c-1", "c-3"}
    assert {event.external_id for event in second} == {"c-1", "c-2", "c-3"}  # some may not have been indexed then
    assert [(event.external_id, event.reason) for event in third] == [("c-2", "unsubscribed"), ("c-3", "complained")]
    assert last == position


def test_what_the_search_does_not_find_yet_is_found_by_a_later_pull(clock):
    with opened(clock=clock, job_seconds=120) as account:
        account.client.prepare(ATTRIBUTES, [])
        account.upsert(row("c-1"))
        account.app.unsubscribe("c-1@shop.example")
        first, position = account.client.suppressions(None)
        clock.pause(120)
        second, _ = account.client.suppressions(position)

    assert first == []
    assert [event.external_id for event in second] == ["c-1"]


def test_a_change_that_is_indexed_after_later_ones_is_not_lost(account, clock):
    account.upsert(row("c-1"), row("c-2"))
    account.app.unsubscribe("c-1@shop.example")
    clock.pause(60)
    account.app.unsubscribe("c-2@shop.example")
    answer, late = account.app.answer, account.record_id("c-1")

    def without_late(method, url, *rest):
        found = answer(method, url, *rest)
        if url.endswith("/search"):
            found.body["results"] = [one for one in found.body["results"] if one["id"] != late]
        return found

    account.app.answer = without_late
    first, position = account.client.suppressions(None)
    account.app.answer = answer
    second, _ = account.client.suppressions(position)

    assert [event.external_id for event in first] == ["c-2"]
    assert {event.external_id for event in second} == {"c-1", "c-2"}


def test_nobody_is_lost_where_more_are_suppressed_than_a_search_reaches(account, monkeypatch):
    monkeypatch.setattr(stand_in_contacts, "REACH", 250)
    monkeypatch.setattr(consent, "EVENT_PAGE", 20)
    for number in range(450):
        account.app.add_contact(email=f"p{number}@shop.example")
        account.app.bounce(f"p{number}@shop.example")
    for number in range(50):
        account.app.complain(f"p{number}@shop.example")

    events, _ = account.client.suppressions(None)

    reasons = [event.reason for event in events]
    assert {event.email for event in events if event.reason == "bounced"} == {f"p{n}@shop.example" for n in range(450)}
    assert (reasons.count("bounced"), reasons.count("complained"), reasons.count("unsubscribed")) == (450, 50, 50)


def test_without_the_scope_of_email_events_complaints_are_left_out(clock):
    with opened(clock=clock, options={"reads_complaints": False}) as account:
        account.app.add_contact(email="p@shop.example")
        account.app.complain("p@shop.example")
        events, _ = account.client.suppressions(None)

        assert [event.reason for event in events] == ["unsubscribed"]
        assert not any(path == consent.EVENTS for _, path, _ in account.requests)


# Removal and moves


def test_a_deleted_contact_is_gone_and_the_person_may_come_back(account):
    account.upsert(row("c-1"), row("c-2"))

    for _ in range(2):
        assert account.send(Operation.DELETE, row("c-1", vendor_id="5")).errors == {}
        assert account.contact("c-1") is None
    assert account.contact("c-2") is not None
    assert account.upsert(row("c-1")).errors == {}


def test_an_erased_person_is_gone_for_good_and_the_address_is_not_taken_again(account):
    account.upsert(row("c-1"), row("c-2"))

    for _ in range(2):
        assert account.send(Operation.ERASE, row("c-1")).errors == {}
    assert account.contact("c-1") is None
    assert account.contact("c-2") is not None
    assert account.upsert(row("c-3", "c-1@shop.example")).errors["c-3"].code == "INVALID_EMAIL"


def test_an_erasure_takes_a_contact_that_only_has_the_address_and_no_other_person_s(account):
    account.app.add_contact(email="c-1@shop.example")
    account.upsert(row("c-9", "shared@shop.example"))

    account.send(Operation.ERASE, row("c-1"))
    account.send(Operation.ERASE, row("c-2", "shared@shop.example"))
    account.send(Operation.ERASE, row("c-3", "never@shop.example"))

    assert [one["values"]["email"] for one in account.app.contacts] == ["shared@shop.example"]
    assert list(account.app.documents.kind("blocked_address")) == ["c-1@shop.example"]  # never@ was not told to it


def test_a_move_gives_the_contact_the_surviving_id(account):
    record = account.upsert(row("c-1", firstname="Ada")).vendor_ids["c-1"]

    for _ in range(2):
        assert account.send(Operation.MOVE, Row("c-1", moves_to="c-9")).errors == {}
        assert account.record_id("c-9") == record
        assert account.contact("c-1") is None


def test_a_move_to_somebody_who_is_there_merges_the_two(account):
    list_id = account.app.add_list("Champions")
    ids = account.upsert(row("c-1", firstname="Ada", decile="3"), row("c-9", firstname="Augusta")).vendor_ids
    account.send(Operation.JOIN, row("c-1", vendor_id=ids["c-1"]), list_id=list_id)

    for _ in range(2):
        assert account.send(Operation.MOVE, Row("c-1", moves_to="c-9")).errors == {}

    kept = account.contact("c-9")
    assert (kept["firstname"], kept["decile"], kept["email"]) == ("Augusta", "3", "c-9@shop.example")
    assert account.contact("c-1") is None
    assert account.app.members(list_id) == {account.record_id("c-9")}
    stale = row("c-9", firstname="Augusta Ada")._replace(vendor_id=ids["c-9"])
    assert account.upsert(stale).vendor_ids == {"c-9": account.record_id("c-9")}


# Reading


def test_reading_returns_what_was_written_by_the_field_map_s_names(account):
    account.upsert(row("c-1", firstname="Ada", segments="a;b", first_order="2024-01-31"), row("c-2"), row("c-3"))
    account.app.unsubscribe("c-2@shop.example", "101")
    account.app.bounce("c-3@shop.example")

    held = {one.customer_id: one for one in account.client.read([row(f"c-{n}") for n in range(1, 5)], list(ATTRIBUTES))}

    assert set(held) == {"c-1", "c-2", "c-3"}
    wanted = {"firstname": "Ada", "segments": "a;b", "first_order": "2024-01-31"}
    assert held["c-1"].attributes == {**dict.fromkeys(ATTRIBUTES), **wanted}
    assert (held["c-1"].email, held["c-1"].vendor_id) == ("c-1@shop.example", account.record_id("c-1"))
    assert [held[name].is_suppressed for name in ("c-1", "c-2", "c-3")] == [False, True, True]


def test_more_people_than_a_batch_holds_are_read(account):
    for start in (0, 100, 200):
        account.upsert(*(row(f"c-{n}") for n in range(start, start + 100)))

    assert len(account.client.read([row(f"c-{n}") for n in range(300)], ["firstname"])) == 300


def test_nothing_is_ever_queued(account):
    assert not account.client.is_busy()
    with pytest.raises(ValueError, match="expected no job"):
        account.client.results(Operation.UPSERT, "1", [])


def test_the_client_is_used_from_several_threads(account):
    barrier = threading.Barrier(4)

    def send(start: int) -> int:
        barrier.wait()
        return len(account.upsert(*(row(f"c-{n}") for n in range(start, start + 50))).vendor_ids)

    with ThreadPoolExecutor(4) as pool:
        written = sum(pool.map(send, range(0, 200, 50)))

    assert written == 200
    assert account.client.requests == len(account.requests)


def test_what_is_sent_is_the_engine_s_payload_with_a_number(account):
    account.upsert(row("c-1", firstname="Ada"))

    body = next(body for _, path, body in account.requests if path.endswith("/upsert"))
    assert body == {"inputs": [{**orjson.loads(row("c-1", firstname="Ada").payload), "objectWriteTraceId": "0"}]}
