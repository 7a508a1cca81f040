"""HubSpot on a bad day, at its limits, and with what it does not take: nothing is lost, doubled or told to anybody."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest
from hubspot_account import ALL, ATTRIBUTES, opened, operate, prepare_people, row, with_proof

from letterpress.activation.destinations import hubspot
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.parts.hubspot import consent, records
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Operation
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors.hubspot_parts import account as stand_in
from letterpress.demo.vendors.hubspot_parts import bodies

FAULTS = {
    "429 with a Retry-After": {"status": 429, "retry_after": 3},
    "429 without": {"status": 429},
    "500": {"status": 500},
    "an answer lost after success": {"loses_answer": True},
}
CONTACTS = "/crm/v3/objects/contacts"
LIST = "/crm/v3/lists/{list_id}/memberships/add-and-remove"


@pytest.mark.parametrize("operation", ALL)
def test_a_bad_day_ends_in_the_same_state(operation, clock):
    with opened(clock=clock) as account:
        list_id, ids = prepare_people(account)
        account.requests.clear()
        expected = operate(account, operation, list_id, ids)
        state, paths = account.state(), list(dict.fromkeys((method, path) for method, path, _ in account.requests))
    for name, fault in FAULTS.items():
        with opened(clock=clock) as account:
            list_id, ids = prepare_people(account)
            clock.pauses.clear()
            for method, path in paths:
                account.app.faults.add(Fault(path=path, method=method, **fault))

            results = operate(account, operation, list_id, ids)

            assert account.state() == state, name
            assert results == expected, name
            assert len(clock.pauses) >= len(paths), name
            assert (3 in clock.pauses) == (fault.get("retry_after") == 3), name


def test_wrong_credentials_name_the_remedy_and_no_secret(clock):
    with opened(clock=clock, token=" ".join(("not", "the", "key"))) as account:
        for operation in (*Operation, "read", "suppressions", "prepare"):
            with pytest.raises(DestinationError, match="check the connection's credentials") as refused:
                operate(account, operation, "1", {"c-1": "1", "c-3": "3"})
            assert "not the key" not in str(refused.value)
            assert "401" in str(refused.value)


def test_nothing_personal_is_logged_or_told_in_an_error(clock, caplog):
    caplog.set_level(logging.DEBUG)
    with opened(clock=clock) as account:
        list_id, ids = prepare_people(account)
        for operation in ALL:
            account.app.faults.add(Fault(path="/", status=500))
            results = operate(account, operation, list_id, ids)
            for error in results.errors.values() if results else ():
                caplog.handler.records.append(logging.makeLogRecord({"msg": f"{error.code} {error.message}"}))
        with pytest.raises(BatchRefused, match="PROPERTY_DOESNT_EXIST") as refused:
            account.upsert(row("c-5", "grace@shop.example", nowhere="Hopper"))
    told = caplog.text + str(refused.value) + "".join(record.getMessage() for record in caplog.records)

    assert "attempt 1" in told
    for personal in ("shop.example", "Augusta", "Grace", "Hopper", "proof-7", account.server.token):
        assert personal not in told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "Duplicate IDs found in batch input: [c-1, ada@shop.example]. IDs must be unique",
            "Duplicate IDs found in batch input",
        ),
        ("Email address ada.shop.example is invalid", "Email address … is invalid"),
        ("ada@shop.example is already unsubscribed", "… is already unsubscribed"),
        ('Option "Ada Lovelace" is not valid', "Option … is not valid"),
        ("Contact already exists. Existing ID: 12345", "Contact already exists. Existing ID"),
        (None, ""),
    ],
)
def test_a_refusal_is_told_in_hubspot_s_words_and_without_its_values(message, told):
    assert records.explained({"category": "VALIDATION_ERROR", "message": message}) == ("VALIDATION_ERROR", told)


def test_what_was_sent_of_a_person_is_cut_out_of_the_person_s_error():
    person = row("c-1", "ada@shop.example", firstname="Ada", lastname="King Lovelace")
    error = {"category": "INTERNAL_ERROR", "message": "We could not write Ada of KING LOVELACE now"}

    told = records.row_error(error, person)

    assert (told.code, told.message, told.is_transient) == ("INTERNAL_ERROR", "We could not write … of … now", True)


def test_a_page_of_a_gateway_is_no_explanation():
    assert records.body_of(httpx.Response(400, content=b"<html>Bad Request</html>")) == {}
    assert records.body_of(httpx.Response(400, content=b"[]")) == {}
    assert records.explained({}) == ("refused", "")


# Limits


def test_the_client_keeps_to_the_limit_and_wastes_no_time(clock):
    with opened(clock=clock) as account:
        list_id = account.app.add_list("Champions")
        record = account.app.add_contact(email="p@shop.example")
        people = [row(f"c-{n}", vendor_id=record) for n in range(350)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: account.client.send(Operation.LEAVE, [one], key="", list_id=list_id), people))

        assert 429 not in {status for _, _, status in account.app.calls}
        assert len(account.app.calls) == 350
        least = least_seconds(350, hubspot.ENDPOINTS[Operation.LEAVE].limits)
        assert least == 30
        assert clock.elapsed() <= 1.1 * least


def test_searches_keep_to_their_own_limit(clock, monkeypatch):
    monkeypatch.setattr(consent, "PAGE", 10)
    with opened(clock=clock) as account:
        for number in range(145):
            account.app.add_contact(email=f"p{number}@shop.example")
            account.app.bounce(f"p{number}@shop.example")
        events, _ = account.client.suppressions(None)

        assert len(events) == 145
        assert {status for _, path, status in account.app.calls if path.endswith("/search")} == {200}
        assert sum(path.endswith("/search") for _, path, _ in account.app.calls) == 15
        assert clock.elapsed() <= 1.1 * least_seconds(15, hubspot.ENDPOINTS["search"].limits)


def test_what_another_program_uses_up_is_seen_in_the_answers_and_waited_for(clock):
    with opened(clock=clock) as account:
        account.client.prepare({}, [])
        clock.pause(10)
        clock.pauses.clear()
        account.app.share_limit(60)
        for _ in range(80):
            account.client.read([row("c-1")], [])

        assert 429 not in {status for _, _, status in account.app.calls}
        assert clock.elapsed() - 10 <= 11


def test_a_limit_that_is_set_too_high_is_corrected_by_the_answers(clock):
    with opened(clock=clock, options={"requests_per_ten_seconds": 190}) as account:
        account.client.prepare({}, [])
        clock.pause(10)
        clock.pauses.clear()
        for _ in range(250):
            account.client.read([row("c-1")], [])

        assert 429 not in {status for _, _, status in account.app.calls}
        assert clock.elapsed() - 10 <= 22


def test_a_refused_burst_waits_as_long_as_its_policy_says(clock, monkeypatch):
    monkeypatch.setattr(records, "left", lambda response: None)
    with opened(clock=clock, options={"requests_per_ten_seconds": 250}) as account:
        account.client.prepare({}, [])
        clock.pause(10)
        clock.pauses.clear()
        for _ in range(101):
            account.client.read([row("c-1")], [])

        assert [status for _, _, status in account.app.calls][-2:] == [429, 207]
        assert clock.pauses == [10.0]


def test_when_the_day_is_spent_the_run_ends_without_trying_again(clock):
    with opened(clock=clock) as account:
        account.app.is_day_spent = True
        with pytest.raises(DestinationError, match="run again later"):
            account.client.read([row("c-1")], [])

        assert [status for _, _, status in account.app.calls] == [429]
        assert clock.pauses == []


def test_a_locked_record_is_tried_again_after_two_seconds(clock):
    with opened(clock=clock) as account:
        account.client.prepare({}, [])
        clock.pause(10)
        clock.pauses.clear()
        account.app.is_locked = 1
        account.client.read([row("c-1")], [])

        assert clock.pauses == [2.0]


# What HubSpot does not take


def test_a_batch_holds_as_many_rows_as_the_endpoint_says_and_not_one_more(clock):
    with opened(clock=clock) as account:
        account.client.prepare(ATTRIBUTES, [])
        list_id = account.app.add_list("Champions")
        most = {name: hubspot.ENDPOINTS[name].rows for name in (Operation.UPSERT, Operation.DELETE, Operation.JOIN)}
        people = [row(f"c-{n}") for n in range(101)]
        assert len(account.upsert(*people[: most[Operation.UPSERT]]).vendor_ids) == 100
        assert account.send(Operation.DELETE, *people[: most[Operation.DELETE]]).errors == {}
        assert account.contact("c-99") is None
        ids = [str(number) for number in range(1, 1_002)]
        members = {"recordIdsToAdd": ids[: most[Operation.JOIN]], "recordIdsToRemove": ids[: most[Operation.JOIN]]}
        assert account.raw("PUT", LIST.format(list_id=list_id), members).status_code == 200

        def refused(method: str, path: str, body: Any) -> int:
            return account.raw(method, path, body).status_code

        inputs = [{**orjson.loads(one.payload), "objectWriteTraceId": str(n)} for n, one in enumerate(people)]
        names = [{"id": str(n)} for n in range(101)]
        histories = {"inputs": names[:51], "properties": [], "propertiesWithHistory": ["email"]}
        assert refused("POST", f"{CONTACTS}/batch/upsert", {"inputs": inputs}) == 400
        assert refused("POST", f"{CONTACTS}/batch/update", {"inputs": inputs}) == 400
        assert refused("POST", f"{CONTACTS}/batch/archive", {"inputs": names}) == 400
        assert refused("POST", f"{CONTACTS}/batch/read", {**histories, "inputs": names}) == 400
        assert refused("POST", f"{CONTACTS}/batch/read", histories) == 400
        assert refused("POST", f"{CONTACTS}/batch/read", {**histories, "inputs": names[:50]}) == 207
        assert refused("POST", f"{CONTACTS}/search", {"limit": 201}) == 400
        assert refused("POST", f"{CONTACTS}/search", {"limit": 200}) == 200
        assert refused("POST", f"{CONTACTS}/search", {"limit": 200, "after": "9801"}) == 400
        for side in members:
            assert refused("PUT", LIST.format(list_id=list_id), {**members, side: ids}) == 400
        new = {"label": "x", "groupName": "contactinformation", "type": "string", "fieldType": "text"}
        properties = [{**new, "name": f"p{number}"} for number in range(101)]
        assert refused("POST", "/crm/v3/properties/contacts/batch/create", {"inputs": properties}) == 400
        assert refused("POST", "/crm/v3/properties/contacts/batch/create", {"inputs": properties[:100]}) == 201


def test_a_body_has_as_many_bytes_as_the_endpoint_says_and_not_one_more(clock):
    with opened(clock=clock) as account:
        account.client.prepare(ATTRIBUTES, [])
        most, rows = hubspot.ENDPOINTS[Operation.UPSERT].bytes, hubspot.ENDPOINTS[Operation.UPSERT].rows
        empty = len(row("c-100", firstname="").payload)
        people = [row(f"c-{n}", firstname="x" * (most // rows - empty)) for n in range(100, 100 + rows)]
        assert most - rows < sum(len(one.payload) for one in people) <= most
        assert account.upsert(*people).errors == {}

        assert bodies.BYTES == hubspot.BODY
        for size, status in ((bodies.BYTES, 200), (bodies.BYTES + 1, 413)):
            padded = orjson.dumps({"inputs": []}).ljust(size)
            assert account.raw("POST", f"{CONTACTS}/batch/upsert", padded).status_code == status


def test_the_endpoints_limits_are_those_that_the_stand_in_counts():
    for endpoint in hubspot.ENDPOINTS.values():
        theirs = stand_in.ACCOUNT if endpoint.shared else stand_in.SEARCH
        assert [(limit.requests, limit.seconds) for limit in endpoint.limits] == [theirs["limits"][0]]


@pytest.mark.parametrize("operation", ALL)
def test_a_misspelled_field_is_refused(operation, clock):
    with opened(clock=clock, has_limits=False) as account:
        list_id, ids = prepare_people(account)
        account.requests.clear()
        operate(account, operation, list_id, ids)
        sent = [(method, path, body) for method, path, body in account.requests if body is not None]
        assert sent
        for method, path, body in sent:
            for renamed, wrong in misspelled(body):
                answer = account.raw(method, path, wrong)
                assert answer.status_code == 400, (path, wrong)
                assert renamed in answer.text


def misspelled(node: Any) -> Iterator[tuple[str, Any]]:
    """The body once for each of its keys, with that one misspelled."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{name}x", {f"{key}x" if key == name else key: one for key, one in node.items()}
            for renamed, inner in misspelled(value):
                yield renamed, {**node, name: inner}
    elif isinstance(node, list):
        for number, value in enumerate(node):
            for renamed, inner in misspelled(value):
                yield renamed, [*node[:number], inner, *node[number + 1 :]]


def test_values_that_are_no_texts_are_refused(clock):
    with opened(clock=clock) as account:
        account.client.prepare(ATTRIBUTES, [])
        for value in (7, True, None, ["a"]):
            body = {"inputs": [{"id": "c-1", "idProperty": "letterpress_id", "properties": {"decile": value}}]}
            assert account.raw("POST", f"{CONTACTS}/batch/upsert", body).status_code == 400


def test_without_numbers_at_the_rows_hubspot_writes_all_or_nothing(clock):
    with opened(clock=clock) as account:
        account.client.prepare(ATTRIBUTES, [])
        inputs = [orjson.loads(one.payload) for one in (row("c-1"), row("c-2", decile="x"))]

        answer = account.raw("POST", f"{CONTACTS}/batch/upsert", {"inputs": inputs})

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["code"] == "INVALID_NUMBER"
        assert account.contact("c-1") is None


def test_an_opt_out_outlives_the_stand_in_in_its_file(clock, tmp_path):
    with opened(clock=clock, folder=tmp_path) as account:
        list_id, ids = prepare_people(account)
        account.send(Operation.SUPPRESS, with_proof(row("c-1")))
        account.app.bounce("c-2@shop.example")
        state = account.state()
    with opened(clock=clock, folder=tmp_path) as account:
        assert account.state() == state
        assert account.app.members(list_id) == {ids["c-3"]}
        assert account.upsert(row("c-1")).vendor_ids == {"c-1": ids["c-1"]}
