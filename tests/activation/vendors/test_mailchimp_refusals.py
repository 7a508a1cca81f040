"""What Mailchimp refuses is told person by person, its limits are kept, and no secret or address is told."""

import asyncio
import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import mailchimp_line as line
import orjson
import pytest
from mailchimp_line import (
    ANNA,
    ATTRIBUTES,
    BEN,
    CARA,
    EVERY,
    KEY,
    person,
    raw,
    send,
    state,
    subscribed,
)

from letterpress.activation.destinations import mailchimp
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Operation, Row
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors import RunningVendor
from letterpress.demo.vendors.mailchimp import CONNECTIONS, MEMBERS_A_REQUEST
from letterpress.demo.vendors.mailchimp_audience import LIST_ID, MERGE_FIELDS, subscriber_hash
from letterpress.demo.vendors.standin import Refusal

served, vendor, opened, client, populated = line.served, line.vendor, line.opened, line.client, line.populated


# Preparing.


def test_missing_merge_fields_are_created_with_their_types_and_hidden_from_the_sign_up_form(vendor, opened):
    opened(vendor).prepare(ATTRIBUTES, [])
    fields = vendor.app.audience.fields
    assert {tag: fields[tag]["type"] for tag in ("CUSTOMERID", *ATTRIBUTES)} == {
        "CUSTOMERID": "text",
        "FNAME": "text",
        "RFM": "text",
        "DECILE": "number",
        "SINCE": "date",
        "SEGMENTS": "text",
    }
    assert fields["RFM"]["public"] is False


def test_preparing_again_creates_nothing(vendor, client):
    before = state(vendor)
    client.prepare(ATTRIBUTES, [])
    assert state(vendor) == before
    assert vendor.app.writes() == 0


@pytest.mark.parametrize(
    ("attributes", "tags", "message"),
    [
        ({"IS_VIP": "boolean"}, [], "merge field IS_VIP: expected one of .*, found boolean.*the type string"),
        ({"ADDRESS": "string"}, [], "merge field ADDRESS: expected text or .* for a string, found address; map"),
        ({"FNAME": "number"}, [], "merge field FNAME: expected number for a number, found text"),
        ({f"F{number}": "string" for number in range(76)}, [], "room for 77 merge fields, found 4 of 80 taken"),
        ({}, ["1", "7"], r"expected ids of tags of this audience, found 7; there are: 1 \(VIP\)"),
    ],
)
def test_what_cannot_be_prepared_is_told_with_its_remedy(vendor, opened, attributes, tags, message):
    vendor.app.add_tag("VIP")
    with pytest.raises(DestinationError, match=message):
        opened(vendor).prepare(attributes, tags)
    assert vendor.app.writes() == 0


def test_as_many_merge_fields_as_the_vendor_takes_are_created(vendor, opened):
    assert mailchimp.MOST_MERGE_FIELDS == MERGE_FIELDS
    opened(vendor).prepare({f"F{number}": "string" for number in range(75)}, [])
    assert len(vendor.app.audience.fields) == MERGE_FIELDS
    assert raw(vendor, "POST", "/merge-fields", {"tag": "MORE", "name": "More", "type": "text"}).status_code == 400


def test_a_merge_field_that_the_vendor_refuses_is_named(vendor, opened):
    with pytest.raises(DestinationError, match="ABCDEFGHIJK: expected to create it, found invalid_resource"):
        opened(vendor).prepare({"ABCDEFGHIJK": "string"}, [])


def test_merge_tags_have_at_most_ten_characters_and_are_upper_case():
    assert mailchimp.SHAPE.accepts("ABCDEFGHI0")
    assert not any(mailchimp.SHAPE.accepts(name) for name in ("ABCDEFGHI01", "Fname", "1ST", ""))


# What is refused.


@pytest.mark.parametrize(
    ("bad", "code", "is_transient"),
    [
        (person("c1", "anna@nowhere.invalid"), "invalid_email", False),
        (person("c1", "no address"), "invalid_email", False),
        (person("c1", "erased@example.com"), "forgotten_email", False),
        (person("c1", "eager@example.com"), "too_many_signups", True),
        (person("c1", ANNA, DECILE="many"), "invalid_merge_field", False),
        (person("c1", ANNA, SINCE="some day"), "invalid_merge_field", False),
        (person("c1", ANNA, FNAME="A" * 256), "invalid_merge_field", False),
        (person("c1", ANNA, FNAME=True), "invalid_merge_field", False),
        (person("c1", ANNA, FNAM="Anna"), "invalid_merge_field", False),
        (person("c1", "BEN@example.com"), "duplicate_email", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_bad_row_is_told_by_its_customer_and_the_others_are_written(vendor, client, bad, code, is_transient):
    subscribed(client, ("c3", "erased@example.com"))
    send(client, Operation.ERASE, Row("c3", "erased@example.com"))
    vendor.app.audience.overwhelmed.add("eager@example.com")
    for operation, name in ((Operation.SUBSCRIBE, "Ben"), (Operation.UPSERT, "Benjamin")):
        results = send(client, operation, person("c2", BEN, FNAME=name), bad)
        assert set(results.errors) == {"c1"}
        error = results.errors["c1"]
        assert (error.code, error.is_transient) == (code, is_transient)
        assert error.message
        assert "@" not in error.message
        assert vendor.app.member(BEN)["merge_fields"]["FNAME"] == name


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        (Operation.UPSERT, "email_address"),
        (Operation.SUBSCRIBE, "email_address"),
        (Operation.SUPPRESS, "email_address"),
        (Operation.JOIN, "email_addresses"),
        (Operation.LEAVE, "email_addresses"),
    ],
    ids=str,
)
def test_an_error_for_an_address_that_was_not_sent_leaves_those_unanswered_who_may_be_meant(
    vendor, client, populated, operation, names
):
    """The vendor may write an address in another way than we did."""

    def rewritten(method, url, query, headers, content):
        answer = answered(method, url, query, headers, content)
        if method == "POST":
            error = {"error": "something else", names: ["x@example.com"] if names.endswith("es") else "x@example.com"}
            answer.body["errors"].append(error)
            for name in ("new_members", "updated_members", "members_added", "members_removed"):
                answer.body[name] = [one for one in answer.body.get(name, []) if one["email_address"] != BEN]
        return answer

    answered = vendor.app.answer
    vendor.app.answer = rewritten
    rows = [person("c1", ANNA), person("c2", BEN)]
    if operation is Operation.LEAVE:
        send(client, Operation.JOIN, *rows, tag=populated)
    results = send(client, operation, *rows, tag=populated)
    assert (results.errors, results.unanswered) == ({}, {"c2"})
    assert "c2" not in results.vendor_ids


def test_a_text_of_255_bytes_is_the_longest_that_is_taken(vendor, client):
    assert send(client, Operation.UPSERT, person("c1", ANNA, FNAME="é" * 127 + "e")).errors == {}
    assert (
        send(client, Operation.UPSERT, person("c1", ANNA, FNAME="é" * 128)).errors["c1"].code == "invalid_merge_field"
    )


def test_a_request_that_is_refused_as_a_whole_can_be_told_from_a_row(vendor, client):
    payload = {"email_address": ANNA, "merge_fields": {"CUSTOMERID": "c1"}, "language": 5}
    with pytest.raises(BatchRefused) as refused:
        send(client, Operation.UPSERT, Row("c1", ANNA, orjson.dumps(payload)), person("c2", BEN))
    assert refused.value.code == "invalid_resource"
    assert "@" not in str(refused.value)
    assert vendor.app.member(BEN) is None


def test_as_many_people_as_the_vendor_takes_stand_in_one_request(vendor, client):
    rows = [person(f"c{number}", f"person{number}@example.com") for number in range(MEMBERS_A_REQUEST + 1)]
    tag = vendor.app.add_tag("VIP")
    many = (Operation.SUBSCRIBE, Operation.UPSERT, Operation.SUPPRESS, Operation.JOIN, Operation.LEAVE)
    for operation in many:
        assert mailchimp.ENDPOINTS[operation].rows == MEMBERS_A_REQUEST
        assert send(client, operation, *rows[:-1], tag=tag).errors == {}
        with pytest.raises(BatchRefused) as refused:
            send(client, operation, *rows, tag=tag)
        assert refused.value.code == "invalid_resource"
    assert len(vendor.app.calls) == 2 * len(many)


def keys_of(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every key in a body; of an array, the first item's."""
    if isinstance(node, list) and node:
        yield from keys_of(node[0], (*path, 0))
    elif isinstance(node, dict):
        for name, value in node.items():
            yield (*path, name)
            yield from keys_of(value, (*path, name))


def misspelled(body: Any, path: tuple) -> Any:
    changed = copy.deepcopy(body)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[f"{path[-1]}X"] = node.pop(path[-1])
    return changed


def test_every_field_that_the_module_writes_is_refused_when_it_is_misspelled(vendor, client, populated):
    seen: dict[tuple[str, str], Any] = {}
    answered = vendor.app.answer

    def recorded(method, url, query, headers, content):
        if content:
            seen.setdefault((method, url.replace(subscriber_hash(ANNA), "{hash}"), operation), (url, content))
        return answered(method, url, query, headers, content)

    vendor.app.answer = recorded
    for operation in (Operation.SUBSCRIBE, Operation.JOIN, Operation.LEAVE, Operation.MOVE, Operation.SUPPRESS):
        send(client, operation, EVERY[operation], tag=populated)
    operation = "suppress by hash"
    send(client, Operation.SUPPRESS, Row("c9", None, vendor_id=subscriber_hash(ANNA)))
    operation = Operation.UPSERT
    send(client, operation, person("c9", CARA, vendor_id=subscriber_hash(ANNA), FNAME="Anna"))
    operation = "prepare"
    client.prepare({"NEW": "string"}, [])
    vendor.app.answer = answered
    subscribed(client, ("c1", ANNA))
    taken = []
    for (method, _, operation), (url, content) in seen.items():
        body = orjson.loads(content)
        for path in keys_of(body):
            path_below = url.removeprefix(f"/3.0/lists/{LIST_ID}")
            response = raw(vendor, method, path_below, misspelled(body, path))
            if response.is_success and not response.json().get("errors"):
                taken.append(f"{operation}: {'.'.join(map(str, path))}")
    assert len(seen) == 9
    assert taken == []


# Limits and credentials.


def test_ten_requests_at_once_are_taken_and_the_eleventh_is_refused(vendor):
    vendor.app.next_fault = lambda method, path: Fault(delay=0.5)

    async def statuses(count: int) -> list[int]:
        async with httpx.AsyncClient(auth=("anybody", KEY), timeout=10) as http:
            answers = await asyncio.gather(*(http.get(f"{vendor.base_url}/3.0/ping") for _ in range(count)))
        assert all(answer.json()["status"] == 429 for answer in answers if answer.status_code == 429)
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(statuses(CONNECTIONS)) == [200] * CONNECTIONS
    assert asyncio.run(statuses(CONNECTIONS + 1)) == [*[200] * CONNECTIONS, 429]


def test_a_client_never_has_more_than_ten_requests_open_and_wastes_no_time(vendor, client, clock, no_pauses):
    """Operations draw on one limit: eight threads that write and eight that read are still ten requests."""
    vendor.app.next_fault = lambda method, path: Fault(delay=0.02)
    rows = [person(f"c{number}", f"person{number}@example.com") for number in range(60)]
    started = threading.Barrier(16)

    def write(row: Row | None) -> None:
        if row is None:
            started.wait()
        else:
            send(client, Operation.UPSERT, row)
            client.read([row], ["FNAME"])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, [*[None] * 16, *rows]))
    limits = mailchimp.ENDPOINTS[Operation.UPSERT].limits
    assert vendor.app.most_open == CONNECTIONS
    assert {status for _, _, status in vendor.app.calls} == {200}
    assert no_pauses == []
    assert clock.elapsed() <= 1.1 * least_seconds(client.requests, limits)
    assert {endpoint.shared for endpoint in mailchimp.ENDPOINTS.values()} == {"connections"}


@pytest.mark.parametrize("token", ["not-it-us6", "not-it"], ids=["an API key", "a token"])
def test_wrong_credentials_are_told_with_the_remedy_and_without_the_secret(vendor, opened, token):
    with pytest.raises(DestinationError) as refused:
        opened(vendor, token=token).prepare(ATTRIBUTES, [])
    assert "401 (api_key_invalid: " in str(refused.value)
    assert "check the connection's credentials" in str(refused.value)
    assert token not in str(refused.value)


@pytest.mark.parametrize(("token", "kind"), [(KEY, "Basic"), ("oauth", "Bearer")], ids=["an API key", "a token"])
def test_an_api_key_and_a_token_of_oauth_are_each_sent_as_the_vendor_wants_them(vendor, opened, token, kind):
    def seen(call):
        kinds.append(call.headers["authorization"].split()[0])
        authorise(call)

    kinds, authorise = [], vendor.app.authorise
    vendor.app.token, vendor.app.authorise = token, seen
    assert opened(vendor, token=token).suppressions(None) == ([], None)
    assert set(kinds) == {kind}


def test_another_data_centre_than_the_key_s_is_told_before_the_first_request():
    connection = Connection("https://us1.api.mailchimp.com:443", KEY)
    with (
        pytest.raises(DestinationError, match=r"data centre of the key, us6, found us1\.api") as refused,
        mailchimp.open_client(connection, mailchimp.Options(list_id=LIST_ID)),
    ):
        pass
    assert KEY not in str(refused.value)


def test_the_api_s_version_may_stand_in_the_address(vendor, opened):
    with_version = RunningVendor(f"{vendor.base_url}/3.0/", vendor.token, vendor.app)
    assert opened(with_version).suppressions(None) == ([], None)


def test_a_refusal_with_a_reason_is_not_taken_for_throttling(vendor, client, monkeypatch):
    def forbid(call):
        raise Refusal(403, "Forbidden", "You do not have permission to perform this action.")

    before = client.requests
    monkeypatch.setattr(vendor.app, "authorise", forbid)
    with pytest.raises(DestinationError, match=r"refused with 403 \(forbidden: .*check the connection's credentials"):
        client.suppressions(None)
    assert client.requests == before + 1


def test_an_audience_that_is_not_there_stops_the_run(vendor, opened):
    with pytest.raises(DestinationError, match="refused with 404"):
        opened(vendor, list_id="0000000000").prepare(ATTRIBUTES, [])
