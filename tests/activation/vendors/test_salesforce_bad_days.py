"""Marketing Cloud on a bad day: lost answers, too many requests, tokens that end, and what is said of it."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from salesforce_line import ATTRIBUTES, LIST, PROFILES, SUPPRESSIONS, Line, connection, line, person

from letterpress.activation.destinations import pace, salesforce
from letterpress.activation.destinations.parts.salesforce.token import Token
from letterpress.activation.destinations.salesforce import ENDPOINTS, Options
from letterpress.activation.destinations.spec import DestinationError, Operation, Results
from letterpress.demo.esp.faults import Fault

DELETE = "/contacts/v1/contacts/actions/delete"
FULL = dict(zip(ATTRIBUTES, ("Anna", "champions", 9, 48.25, True, "2026-11-01"), strict=True))
FAULTS = [
    Fault(path="", status=429, retry_after=7),
    Fault(path="", status=429),
    Fault(path="", status=500),
    Fault(path="", status=503, times=3),
    Fault(path="", loses_answer=True),
]


@pytest.fixture
def sfmc(clock) -> Iterator[Line]:
    with line(clock) as opened:
        yield opened


@pytest.mark.parametrize("fault", FAULTS, ids=["429 with a time", "429", "500", "503 three times", "lost answer"])
@pytest.mark.parametrize("path", ["/v2/token", "/data/v1/async/dataextensions", "/data/v1/async/", DELETE])
def test_a_bad_day_ends_in_the_same_state_as_a_good_one(clock, fault, path):
    states, writes = [], []
    for faults in ([], [replace(fault, path=path)]):
        with line(clock, faults=faults) as sfmc:
            for operation in (Operation.UPSERT, Operation.JOIN, Operation.SUPPRESS, Operation.ERASE):
                rows = [person(1, **FULL), person(2)] if operation is not Operation.ERASE else [person(2)]
                assert sfmc.settle(operation, rows, LIST) == Results()
            states.append(sfmc.state())
            writes.append(sfmc.vendor.app.writes())
            failed = [status for *_, status in sfmc.vendor.app.calls if status >= 400]
            assert failed == ([fault.status] * fault.times if faults and fault.status else [])
    assert states[0] == states[1]
    assert writes[1] - writes[0] == (1 if fault.loses_answer else 0)
    if fault.retry_after:
        assert 7.0 in clock.pauses


def test_a_wait_beyond_reason_ends_the_run(clock):
    fault = Fault(path="/data/", status=429, retry_after=3_600)
    with line(clock, faults=[fault]) as sfmc, pytest.raises(DestinationError, match="limited for 3600 s"):
        sfmc.client.send(Operation.UPSERT, [person()], key="key", list_id=None)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"token": "a wrong secret"}, "invalid_client"),
        ({"login": "a wrong client"}, "invalid_client"),
        ({"extra": {"account_id": "7"}}, "invalid_request"),
    ],
)
def test_wrong_credentials_are_said_with_the_remedy_and_without_a_secret(sfmc, changed, found):
    options = Options(data_extension=PROFILES, suppression_extension=SUPPRESSIONS)
    given = connection(sfmc.vendor, **changed)
    with salesforce.open_client(given, options) as client, pytest.raises(DestinationError) as error:
        client.send(Operation.UPSERT, [person()], key="key", list_id=None)
    assert f"found {found}; next step: check the connection's credentials" in str(error.value)
    for secret in (sfmc.vendor.token, given.token, given.login):
        assert secret not in str(error.value)


def test_a_token_without_the_right_to_a_request_is_said_with_the_remedy(clock):
    said = "refused with 403; check the connection's credentials"
    fault = Fault(path="/data/", status=403)
    with line(clock, faults=[fault]) as sfmc, pytest.raises(DestinationError, match=said):
        sfmc.client.send(Operation.UPSERT, [person()], key="key", list_id=None)


def test_one_token_serves_all_threads_until_shortly_before_its_end(sfmc):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: sfmc.settle(Operation.UPSERT, [person(number)]), range(16)))
    assert sfmc.requested("/v2/token") == 1
    begun = sfmc.clock.elapsed()
    sfmc.clock.pause(1_010 - begun)
    sfmc.settle(Operation.UPSERT, [person()])
    assert sfmc.requested("/v2/token") == 1
    sfmc.clock.pause(60)  # not yet ended, but about to
    sfmc.settle(Operation.UPSERT, [person()])
    assert sfmc.requested("/v2/token") == 2
    assert not [status for *_, status in sfmc.vendor.app.calls if status == 401]


def test_a_refused_token_is_replaced_once_for_all_threads(sfmc):
    sfmc.client.suppressions(None)
    sfmc.vendor.app.expire_tokens()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: sfmc.client.suppressions(None), range(8)))
    assert sfmc.requested("/v2/token") == 2


def test_a_token_that_is_always_refused_ends_in_an_error_and_in_two_requests(clock):
    with line(clock, faults=[Fault(path="/data/", status=401, times=9)]) as sfmc:
        with pytest.raises(DestinationError, match="refused with 401; check the connection's credentials"):
            sfmc.client.send(Operation.UPSERT, [person()], key="key", list_id=None)
        assert sfmc.requested("/data/") == 2


@pytest.mark.parametrize(
    ("extra", "address"),
    [
        ({}, "https://abc.auth.marketingcloudapis.com"),
        (
            {"auth_url": "https://other.auth.marketingcloudapis.com/v2/token"},
            "https://other.auth.marketingcloudapis.com",
        ),
        ({"auth_url": "https://other.auth.marketingcloudapis.com/"}, "https://other.auth.marketingcloudapis.com"),
    ],
)
def test_tokens_come_from_the_account_s_own_address(sfmc, extra, address):
    given = connection(sfmc.vendor, base_url="https://abc.rest.marketingcloudapis.com", extra=extra)
    assert Token(given).api._connection.base_url == address


def test_under_the_vendor_s_limit_nothing_is_refused_and_little_time_is_lost(sfmc):
    requests = 4_100
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: sfmc.client.results(Operation.UPSERT, "unknown", [person()]), range(requests)))
    limits = ENDPOINTS["status"].limits
    assert not [status for *_, status in sfmc.vendor.app.calls if status == 429]
    assert sfmc.requested("/data/v1/async") == requests
    assert (
        0 < pace.least_seconds(requests, limits) <= sfmc.clock.elapsed() <= 1.1 * pace.least_seconds(requests, limits)
    )


def test_the_vendor_s_limit_is_one_for_all_its_requests(sfmc):
    statuses = [sfmc.call("GET", "/data/v1/customObjects?$search=letter").status_code for _ in range(2_000)]
    refused = sfmc.call("GET", "/data/v1/async/1/status")
    assert set(statuses) == {200}
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()["errorcode"]) == (429, "60", 50100)


def test_no_log_and_no_error_holds_anything_personal(clock, caplog):
    caplog.set_level(logging.DEBUG)
    faults = [Fault(path="/data/v1/customobjectdata", status=500), Fault(path="/data/v1/async", status=500)]
    with line(clock, faults=faults) as sfmc:
        rows = [person(1, FirstName="Annabella"), person(2, EmailAddress="annabella.example.com")]
        results = sfmc.settle(Operation.UPSERT, rows)
        sfmc.client.read([rows[0]], ["FirstName"])
        sfmc.vendor.app.documents.kind(f"rows:{PROFILES}").update(
            {str(n): {"ContactKey": str(n)} for n in range(2_600)}
        )
        sfmc.client.read([rows[0]], ["FirstName"])  # with a filter that names the person
    assert "again in" in caplog.text
    said = [caplog.text, *(error.message for error in results.errors.values())]
    for secret in ("annabella", "anna1@", sfmc.vendor.token):
        assert not [text for text in said if secret in text.lower()]
    # The library's own log has addresses of requests, which name a person by a keyed hash and by nothing else.
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("letterpress")]
    assert ours
    assert not [text for text in ours if "customer-1" in text]
