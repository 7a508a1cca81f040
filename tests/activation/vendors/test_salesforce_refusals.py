"""What Marketing Cloud refuses, and what becomes of it here: rows and whole requests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from salesforce_line import ATTRIBUTES, LIST, PROFILES, SUPPRESSIONS, Line, line, person

from letterpress.activation.destinations.parts.salesforce.errors import error_in, explain
from letterpress.activation.destinations.salesforce import ENDPOINTS
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Operation, Results, Row, RowError
from letterpress.demo.vendors.salesforce import BYTES, CONTACTS, PAGE, ROWS

ROWS_OF = "/data/v1/async/dataextensions/key:{}/rows"
DELETE = "/contacts/v1/contacts/actions/delete"
WRITES = {
    Operation.UPSERT: PROFILES,
    Operation.DELETE: PROFILES,
    Operation.JOIN: LIST,
    Operation.LEAVE: LIST,
    Operation.SUPPRESS: SUPPRESSIONS,
    Operation.SUBSCRIBE: SUPPRESSIONS,
}
FULL = dict(zip(ATTRIBUTES, ("Anna", "champions", 9, 48.25, True, "2026-11-01"), strict=True))


@pytest.fixture
def sfmc(clock) -> Iterator[Line]:
    with line(clock) as opened:
        yield opened


def sent_by(sfmc: Line, monkeypatch: pytest.MonkeyPatch, operation: Operation) -> tuple[str, str, dict]:
    """Method, path with query, and body of the one write that an operation makes."""
    writes: list[tuple[str, str, dict]] = []
    answer = sfmc.vendor.app.answer

    def seen(method: str, url: str, query: str, headers: Any, content: bytes) -> Any:
        if method != "GET" and url != "/v2/token":
            writes.append((method, f"{url}?{query}" if query else url, orjson.loads(content)))
        return answer(method, url, query, headers, content)

    monkeypatch.setattr(sfmc.vendor.app, "answer", seen)
    row = person(1, **FULL)._replace(consented_at=datetime(2026, 11, 20, tzinfo=UTC))
    sfmc.client.send(operation, [row], key="key", list_id=LIST)
    (write,) = writes
    return write


def misspelled(body: dict) -> Iterator[tuple[str, dict]]:
    """The body with one key after the other renamed, those of its first row included."""
    for name in body:
        yield name, {(f"{name}x" if key == name else key): value for key, value in body.items()}
    for item in body.get("items", [])[:1]:
        for name in item:
            renamed = {(f"{name}x" if key == name else key): value for key, value in item.items()}
            yield f"items.{name}", {**body, "items": [renamed]}


@pytest.mark.parametrize("operation", [operation for operation in Operation if operation in ENDPOINTS])
def test_every_field_that_is_written_is_refused_when_it_is_misspelled(sfmc, monkeypatch, operation):
    method, path, body = sent_by(sfmc, monkeypatch, operation)
    sfmc.clock.pause(10)
    before, names = sfmc.state(), []
    assert sfmc.call(method, path, body).is_success
    for name, wrong in misspelled(body):
        names.append(name)
        assert sfmc.call(method, path, wrong).status_code == 400, name
    sfmc.clock.pause(10)
    assert sfmc.state() == before
    assert len(names) >= 2


@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "account_id"])
def test_every_field_of_a_token_s_request_is_refused_when_it_is_misspelled(sfmc, name):
    body = {
        "grant_type": "client_credentials",
        "client_id": "letterpress",
        "client_secret": sfmc.vendor.token,
        "account_id": "510000001",
    }
    assert sfmc.call("POST", "/v2/token", body).status_code == 200
    body[f"{name}x"] = body.pop(name)
    assert sfmc.call("POST", "/v2/token", body).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "$filte=ContactKey eq 'a'",
        "$pagesize=10",
        f"$pageSize={PAGE + 1}",
        "$filter=ContactKeyx eq 'a'",
        "$filter=ContactKey eq a",
        "$filter=ContactKey+eq+'a'",  # the gateway's own: a blank is %20
    ],
)
def test_a_rowset_is_refused_for_a_wrong_query(sfmc, query):
    path = f"/data/v1/customobjectdata/key/{PROFILES}/rowset?"
    assert sfmc.call("GET", f"{path}$filter=ContactKey%20eq%20'a'&$pageSize={PAGE}").status_code == 200
    assert sfmc.call("GET", path + query.replace(" ", "%20")).status_code == 400


def test_an_upsert_holds_exactly_as_many_rows_as_the_vendor_takes(sfmc):
    assert ENDPOINTS[Operation.UPSERT].rows == ROWS
    items = [{"ContactKey": str(number), "IsActive": True} for number in range(ROWS + 1)]
    path = ROWS_OF.format(PROFILES)
    assert sfmc.call("PUT", path, {"items": items[:ROWS]}).status_code == 202
    assert sfmc.call("PUT", path, {"items": items}).status_code == 400


@pytest.mark.parametrize("operation", WRITES)
def test_a_body_holds_exactly_as_many_bytes_as_the_vendor_takes(sfmc, operation):
    assert ENDPOINTS[operation].bytes == BYTES
    assert ENDPOINTS[operation].rows <= ROWS
    body = b'{"items":[{"ContactKey":"customer-1"}]}'
    path = ROWS_OF.format(WRITES[operation])
    assert sfmc.call("PUT", path, body.ljust(BYTES)).status_code == 202
    assert sfmc.call("PUT", path, body.ljust(BYTES + 1)).status_code == 413


def test_a_contact_deletion_holds_exactly_as_many_people_as_the_stand_in_takes(sfmc):
    assert ENDPOINTS[Operation.ERASE].rows == CONTACTS
    body = {"values": [str(number) for number in range(CONTACTS + 1)], "DeleteOperationType": "ContactAndAttributes"}
    assert sfmc.call("POST", f"{DELETE}?type=keys", {**body, "values": body["values"][:-1]}).status_code == 200
    assert sfmc.call("POST", f"{DELETE}?type=keys", body).status_code == 400


def test_rows_without_a_payload_fit_into_a_body_however_long_they_are(sfmc):
    people = [
        Row(f"{number:064}", "a" * 64 + "@" + "b" * 185 + ".com", consent_proof="p" * 64) for number in range(10_000)
    ]
    for operation in (Operation.JOIN, Operation.SUPPRESS, Operation.SUBSCRIBE):
        assert ENDPOINTS[operation].rows == len(people)
        sfmc.client.send(operation, people, key="key", list_id=LIST)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"EmailAddress": "anna.smith.example.com"}, "2"),
        ({"EmailAddress": "anna@smith"}, "2"),
        ({"FirstName": "Anna Smith" * 30}, "2"),
        ({"FirstName": 4}, "2"),
        ({"LifetimeValueDecile": "nine"}, "2"),
        ({"LifetimeValueDecile": 9.5}, "2"),
        ({"IsStoreMember": "true"}, "2"),
        ({"LastOrderDate": "1 November"}, "2"),
        ({"IsActive": None}, "UnexpectedError"),
    ],
)
def test_a_row_that_is_refused_comes_back_by_its_customer_without_its_values(sfmc, attributes, code):
    rows = [person(number, **(attributes if number in (1, 60, 119) else {})) for number in range(1, 121)]
    results = sfmc.settle(Operation.UPSERT, rows)

    assert set(results.errors) == {"customer-1", "customer-60", "customer-119"}  # over three pages of fifty
    for error in results.errors.values():
        assert error.code == code
        assert error.message
        assert not error.is_transient
        for value in map(str, attributes.values()):
            assert value[:60] not in error.message
    assert len(sfmc.vendor.app.rows(PROFILES)) == 117


def test_a_deadlock_is_tried_again_and_another_error_is_not(sfmc):
    job = sfmc.client.send(Operation.UPSERT, [person(1), person(2), person(3)], key="key", list_id=None)
    sfmc.clock.pause(4)
    deadlock = "Transaction (Process ID 51) was deadlocked on lock resources. Rerun the transaction."
    results = [
        {"status": "OK"},
        {"status": "Error", "errorCode": 2, "message": deadlock},
        {
            "status": "Error",
            "errorCode": "UnexpectedError",
            "message": "duplicate key (customer-3), 'Anna', +49 30 123456789",
        },
    ]
    sfmc.vendor.app.rows(PROFILES)
    sfmc.vendor.app.documents.kind("requests")[job.job_id]["results"] = results

    errors = sfmc.client.results(Operation.UPSERT, job.job_id, [person(1), person(2), person(3)]).errors
    assert errors == {
        "customer-2": RowError("2", "Transaction … was deadlocked on lock resources. Rerun the transaction.", True),
        "customer-3": RowError("UnexpectedError", "duplicate key …, …, …"),
    }


def test_results_that_cannot_be_told_apart_are_no_answer(sfmc):
    job = sfmc.client.send(Operation.UPSERT, [person(1), person(2)], key="key", list_id=None)
    sfmc.clock.pause(4)
    sfmc.vendor.app.rows(PROFILES)
    request, error = sfmc.vendor.app.documents.kind("requests")[job.job_id], {"status": "Error", "message": "no"}

    request["results"] = [error]
    both = frozenset({"customer-1", "customer-2"})
    assert sfmc.client.results(Operation.UPSERT, job.job_id, [person(1), person(2)]) == Results(unanswered=both)


def test_a_page_that_is_not_the_next_one_ends_in_an_error_and_in_no_wrong_blame(sfmc, monkeypatch):
    rows = [person(number, FirstName=4) for number in range(60)]
    job = sfmc.client.send(Operation.UPSERT, rows, key="key", list_id=None)
    sfmc.clock.pause(4)
    answer = sfmc.vendor.app.answer
    ignoring = lambda method, url, query, *rest: answer(method, url, query.replace("page=2", "page=1"), *rest)  # noqa: E731
    monkeypatch.setattr(sfmc.vendor.app, "answer", ignoring)
    with pytest.raises(DestinationError, match="expected page 2, found page 1"):
        sfmc.client.results(Operation.UPSERT, job.job_id, rows)


@pytest.mark.parametrize("state", [None, "Error"])
def test_a_request_that_stays_unknown_or_in_error_is_given_up_after_a_while(sfmc, monkeypatch, state):
    status = {} if state is None else {"status": {"requestStatus": state, "hasErrors": False}}
    monkeypatch.setattr(sfmc.client._api, "get", lambda *_, **__: status)
    assert sfmc.client.results(Operation.UPSERT, "job", [person()]) is None
    sfmc.clock.pause(119)
    assert sfmc.client.results(Operation.UPSERT, "job", [person()]) is None
    sfmc.clock.pause(2)
    found = sfmc.client.results(Operation.UPSERT, "job", [person()])
    if state is None:
        assert found == Results(unanswered=frozenset({"customer-1"}))
    else:
        assert found.errors["customer-1"].is_transient


@pytest.mark.parametrize(
    ("status", "background", "has_errors", "code"),
    [
        ("Completed", "Aborted", False, "Aborted"),
        ("Invalid", None, False, "Invalid"),
        ("Completed", "Completed", True, "Incomplete"),
    ],
)
def test_a_contact_deletion_that_was_not_carried_out_is_an_error(
    sfmc, monkeypatch, status, background, has_errors, code
):
    summary = [{"backgroundOperationStatusID": background}] if background else []
    operation = {"status": status, "errorsOccurredInBatchProcess": has_errors}
    answer = {"operation": operation, "backgroundOperationsSummary": summary}
    monkeypatch.setattr(sfmc.client._api, "get", lambda *_, **__: answer)
    assert sfmc.client.results(Operation.ERASE, "1", [person()]).errors["customer-1"].code == code


def test_a_contact_deletion_that_does_not_begin_is_said_with_the_remedy(sfmc, monkeypatch):
    monkeypatch.setattr(sfmc.client._api, "post", lambda *_, **__: {"operationInitiated": False})
    with pytest.raises(DestinationError, match="next step: enable contact deletion"):
        sfmc.client.send(Operation.ERASE, [person()], key="key", list_id=None)


def test_a_request_that_is_refused_as_a_whole_names_its_code_and_no_value(sfmc):
    row = person()._replace(payload=orjson.dumps({"ContactKey": "customer-1", "Naem of anna1@example.com": "Anna"}))
    with pytest.raises(BatchRefused) as refused:
        sfmc.client.send(Operation.UPSERT, [row], key="key", list_id=None)
    assert refused.value.code == "ColumnNotFound"
    assert refused.value.message == "The column … is not in the data extension."
    assert sfmc.vendor.app.rows(PROFILES) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "no row of 'Anna'", "errorcode": 10006}, ("10006", "no row of …")),
        ({"error": "invalid_client", "error_description": "no"}, ("invalid_client", "no")),
        ({"resultMessages": [{"resultMessage": {"resultCode": "Gone", "message": "x"}}]}, ("Gone", "x")),
        ({"resultMessages": []}, ("http_400", "")),
        ([], ("http_400", "")),
        ("<html>", ("http_400", "")),
    ],
)
def test_each_form_of_a_refusal_is_understood(body, expected):
    content = body if isinstance(body, str) else orjson.dumps(body)
    assert explain(httpx.Response(400, content=content)) == expected


def test_an_error_is_found_in_an_answer_that_calls_itself_a_success():
    said = {"resultType": "Operational", "resultClass": "Error", "resultCode": "CustomObjectNotFound", "message": "x"}
    assert error_in({"requestId": "1", "resultMessages": [said]}) == ("CustomObjectNotFound", "x")
    assert error_in({"requestId": "1", "resultMessages": [{**said, "resultClass": "Warning"}]}) is None
    assert error_in({"requestId": "1", "resultMessages": []}) is None
