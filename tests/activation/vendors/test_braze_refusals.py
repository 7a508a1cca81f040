"""Braze's caps, limits, refusals and bad days: nothing is lost, written twice, or told to a log."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest
from braze_workspace import PROFILE, address, person, send, workspace

from letterpress.activation.destinations.braze import ENDPOINTS, PAGE, Options, open_client
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Operation, Row
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors import braze_requests
from letterpress.demo.vendors.braze import Braze as StandIn


@pytest.fixture
def both(clock, held_to):
    with workspace(clock=clock, specifications=held_to) as pair:
        yield pair


@pytest.fixture
def vendor(both):
    return both[0]


@pytest.fixture
def client(both):
    return both[1]


@pytest.fixture
def raw(vendor):
    """Requests as anybody could make them."""
    with httpx.Client(base_url=vendor.base_url, headers={"Authorization": f"Bearer {vendor.token}"}) as one:
        yield one


@pytest.fixture
def recorded(monkeypatch):
    """Method, path, parameters and body of every request of a client."""
    found = []
    request = httpx.Client.request

    def noting(self, method, path, *, params=None, content=None, **given):
        found.append((method, path, params, content and orjson.loads(content)))
        return request(self, method, path, params=params, content=content, **given)

    monkeypatch.setattr(httpx.Client, "request", noting)
    return found


CAPS = [
    ("/users/track", Operation.UPSERT, lambda ids: {"attributes": [{"external_id": one, "orders": 1} for one in ids]}),
    ("/users/track", "withdraw", lambda ids: {"attributes": [{"external_id": one, "orders": 1} for one in ids]}),
    (
        "/email/status",
        Operation.SUPPRESS,
        lambda ids: {"email": [*map(address, ids)], "subscription_state": "opted_in"},
    ),
    (
        "/email/status",
        Operation.SUBSCRIBE,
        lambda ids: {"email": [*map(address, ids)], "subscription_state": "opted_in"},
    ),
    ("/email/blocklist", Operation.SUPPRESS, lambda ids: {"email": [*map(address, ids)]}),
    ("/users/delete", Operation.DELETE, lambda ids: {"external_ids": ids}),
    ("/users/delete", Operation.ERASE, lambda ids: {"external_ids": ids}),
    (
        "/users/external_ids/rename",
        Operation.MOVE,
        lambda ids: {
            "external_id_renames": [{"current_external_id": one, "new_external_id": f"n-{one}"} for one in ids]
        },
    ),
    ("/users/external_ids/remove", "remove", lambda ids: {"external_ids": ids}),
    (
        "/users/merge",
        "merge",
        lambda ids: {
            "merge_updates": [
                {"identifier_to_merge": {"external_id": one}, "identifier_to_keep": {"external_id": f"n-{one}"}}
                for one in ids
            ]
        },
    ),
    ("/users/export/ids", "read", lambda ids: {"external_ids": ids, "fields_to_export": ["email"]}),
]


@pytest.mark.parametrize(("path", "endpoint", "body"), CAPS)
def test_a_request_holds_as_many_people_as_the_module_says_and_no_more(raw, path, endpoint, body):
    most = ENDPOINTS[endpoint].rows
    assert raw.post(path, json=body([f"c-{one}" for one in range(most)])).status_code in (201, 202)
    assert raw.post(path, json=body([f"c-{one}" for one in range(most + 1)])).status_code == 400


@pytest.mark.parametrize("path", ["/email/unsubscribes", "/email/hard_bounces"])
def test_a_page_holds_as_many_addresses_as_the_module_asks_for_and_no_more(raw, path):
    days = {"start_date": "2026-01-01", "end_date": "2026-01-02"}
    assert raw.get(path, params={**days, "limit": PAGE}).status_code == 200
    assert raw.get(path, params={**days, "limit": PAGE + 1}).status_code == 400
    assert ENDPOINTS["suppressions"].rows == PAGE


def test_a_request_holds_as_many_bytes_as_the_module_says_and_no_more(raw):
    most = ENDPOINTS[Operation.UPSERT].bytes
    body = orjson.dumps({"attributes": [{"external_id": "c-1", "orders": 1}]})
    assert raw.post("/users/track", content=body + b" " * (most - len(body))).status_code == 201
    assert raw.post("/users/track", content=body + b" " * (most + 1 - len(body))).status_code == 413
    assert most == braze_requests.BYTES


def test_a_request_that_is_too_large_is_refused_as_a_whole(client):
    with pytest.raises(BatchRefused, match="http_400: Max Input Length Exceeded"):
        send(client, Operation.UPSERT, *(person(f"c-{number}") for number in range(76)))


ASKED = {
    "upsert": lambda client: send(client, Operation.UPSERT, person("c-1")),
    "suppress": lambda client: send(
        client, Operation.SUPPRESS, Row("c-1", email=address("c-1"), reason="unsubscribed")
    ),
    "block": lambda client: send(client, Operation.SUPPRESS, Row("c-1", email=address("c-1"), reason="complained")),
    "subscribe": lambda client: send(client, Operation.SUBSCRIBE, person("c-1")),
    "delete": lambda client: send(client, Operation.DELETE, Row("c-1")),
    "erase": lambda client: send(client, Operation.ERASE, Row("c-1")),
    "rename": lambda client: send(client, Operation.MOVE, Row("there", moves_to="new")),
    "merge": lambda client: send(client, Operation.MOVE, Row("there", moves_to="also-there")),
    "read": lambda client: client.read([Row("there")], list(PROFILE)),
    "suppressions": lambda client: client.suppressions(None),
}


def misspelled(node):
    """The same, once for every key in it, with that key changed."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, {(f"{one}x" if one == name else one): part for one, part in node.items()}
            yield from ((inner, {**node, name: changed}) for inner, changed in misspelled(value))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from ((name, [*node[:index], changed, *node[index + 1 :]]) for name, changed in misspelled(item))


@pytest.mark.parametrize("asked", ASKED)
def test_every_field_that_the_module_writes_is_refused_where_it_is_misspelled(client, raw, recorded, asked):
    send(client, Operation.UPSERT, person("there"), person("also-there"))
    recorded.clear()
    ASKED[asked](client)
    tried = 0
    for method, path, params, body in list(recorded):
        for name, changed in misspelled(body if params is None else params):
            tried += 1
            given = {"json": changed} if params is None else {"params": changed}
            answer = raw.request(method, path, **given)
            assert answer.status_code == 400, (path, name)
    assert tried


@pytest.mark.parametrize("name", ["timezone", "firstName", "Email", "externalid", "e_mail"])
def test_a_near_miss_that_braze_would_keep_as_a_new_attribute_is_refused_by_the_stand_in(clock, name):
    with workspace(clock=clock, custom_attributes=None) as (vendor, client):
        assert send(client, Operation.UPSERT, person("c-1", anything_else="1")).errors == {}
        assert set(send(client, Operation.UPSERT, person("c-2", **{name: "x"})).errors) == {"c-2"}
        assert set(vendor.app.users) == {"c-1"}


PATHS = (
    *("/users/track", "/users/delete", "/users/merge", "/users/export/ids"),
    *("/users/external_ids/rename", "/users/external_ids/remove", "/email/status", "/email/blocklist"),
)


def state(app):
    """All that the stand-in holds, without instants and counters."""
    text = orjson.dumps([dict(kind) for kind in (app.users, app.deprecated, app.states, app.hard_bounces, app.merges)])
    return re.sub(rb'"(at|created_at)":[0-9.]+|:\d{9,}\.\d+', b"", text)


def fault(kind, path):
    return {
        "429 with a time": Fault(path=path, status=429, retry_after=7),
        "429 without": Fault(path=path, status=429, times=2),
        "500": Fault(path=path, status=500, times=2),
        "lost answer": Fault(path=path, loses_answer=True),
    }[kind]


@pytest.mark.parametrize("kind", ["429 with a time", "429 without", "500", "lost answer"])
@pytest.mark.parametrize("asked", ["upsert", "suppress", "block", "subscribe", "delete", "erase", "rename", "merge"])
def test_a_bad_day_at_braze_ends_in_the_state_of_a_good_one(clock, asked, kind):
    ends = []
    for is_bad in (False, True):
        with workspace(clock=clock) as (vendor, client):
            send(client, Operation.UPSERT, person("there"), person("also-there"), person("c-1"))
            if is_bad:
                for path in PATHS:
                    vendor.app.faults.add(fault(kind, path))
            assert ASKED[asked](client).errors == {}
            ASKED[asked](client)  # merges are carried out, what was asked is asked again
            ends.append(state(vendor.app))
    assert ends[0] == ends[1]


def test_the_wait_that_is_told_is_kept(client, vendor, clock):
    vendor.app.faults.add(Fault(path="/users/track", status=429, retry_after=7))
    send(client, Operation.UPSERT, person("c-1"))
    assert clock.pauses == [7.0]


def test_the_window_of_braze_is_waited_for_where_another_program_used_it_up(client, vendor, raw, clock):
    for _ in range(40):
        raw.post("/users/export/ids", json={"external_ids": ["c-1"], "fields_to_export": ["email"]})
    answer = raw.post("/users/export/ids", json={"external_ids": ["c-1"], "fields_to_export": ["email"]})
    assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (429, "0")
    assert "Retry-After" not in answer.headers
    client.read([Row("c-1")], [])
    assert clock.pauses == [1.0]


def test_a_wait_of_an_hour_ends_the_run(client, vendor, monkeypatch, clock):
    from letterpress.demo.vendors import standin

    monkeypatch.setattr(standin.Window, "take", lambda self: 3_000.0)
    with pytest.raises(DestinationError, match="limited for 3000 s, longer than the 120 s"):
        send(client, Operation.DELETE, Row("c-1"))


def test_a_wrong_key_is_answered_with_the_remedy_and_shown_nowhere(vendor, caplog):
    with (
        open_client(Connection(vendor.base_url, "a-wrong-key-of-braze"), Options()) as client,
        pytest.raises(DestinationError, match="check the connection's credentials") as refused,
    ):
        send(client, Operation.UPSERT, person("c-1"))
    assert "a-wrong-key-of-braze" not in str(refused.value) + caplog.text
    assert vendor.token not in str(refused.value) + caplog.text


def test_nothing_personal_is_in_a_log_or_an_error(client, vendor, caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    vendor.app.faults.add(Fault(path="/", status=500, times=3))
    said.append(str(send(client, Operation.UPSERT, person("c-1", email="ada at example.com", first_name="Ada"))))
    for asked in (
        lambda: send(client, Operation.SUPPRESS, Row("c-1", email="ada at example.com", reason="unsubscribed")),
        lambda: send(client, Operation.UPSERT, *(person(f"c-{number}") for number in range(80))),
    ):
        with pytest.raises(BatchRefused) as refused:
            asked()
        said.append(str(refused.value))
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("letterpress")]
    assert logged
    for secret in ("Ada", "ada at", "@example.com", PROFILE["phone"], vendor.token):
        assert not any(secret in text for text in (*said, *logged))


ROUTES = {
    Operation.UPSERT: "track",
    "withdraw": "track",
    Operation.SUPPRESS: "status",
    Operation.SUBSCRIBE: "status",
    Operation.DELETE: "delete",
    Operation.ERASE: "delete",
    "merge": "merge",
    Operation.MOVE: "rename",
    "remove": "remove",
    "read": "export",
    "suppressions": "unsubscribes",
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_module_keeps_to_the_limits_of_the_stand_in(endpoint):
    kept = getattr(StandIn, ROUTES[endpoint]).route
    limits = {(limit.requests, limit.seconds) for limit in ENDPOINTS[endpoint].limits}
    assert limits == set(kept.limits) - {(2_500, 60.0)}  # 40 a second are fewer


def test_endpoints_share_a_limit_exactly_where_they_share_it_at_braze():
    def partners(group_of):
        return {frozenset(two for two in ENDPOINTS if group_of(two) == group_of(one)) for one in ENDPOINTS}

    ours = partners(lambda name: ENDPOINTS[name].shared or name)
    assert ours == partners(lambda name: getattr(StandIn, ROUTES[name]).route.group)


@pytest.mark.slow
@pytest.mark.parametrize(("endpoint", "calls"), [(Operation.UPSERT, 3_050), ("read", 130), (Operation.MOVE, 1_010)])
def test_the_client_is_as_fast_as_braze_allows_and_is_never_told_to_wait(clock, endpoint, calls):
    made = {
        Operation.UPSERT: lambda client, number: send(client, Operation.UPSERT, person("c-1", orders=number)),
        "read": lambda client, number: client.read([Row(f"c-{number}")], []),
        Operation.MOVE: lambda client, number: send(client, Operation.MOVE, Row(f"c-{number}", moves_to=f"n-{number}")),
    }
    with workspace(clock=clock) as (vendor, client), ThreadPoolExecutor(ENDPOINTS[endpoint].in_flight) as pool:
        for number in range(calls if endpoint == Operation.MOVE else 0):
            vendor.app.users[f"c-{number}"] = {"external_id": f"c-{number}", "created_at": 0, "custom_attributes": {}}
        list(pool.map(lambda number: made[endpoint](client, number), range(calls)))
        assert client.requests == calls * (3 if endpoint == Operation.MOVE else 1)
        assert {status for _, _, status in vendor.app.calls} == {201}
    assert clock.elapsed() <= 1.1 * least_seconds(calls, ENDPOINTS[endpoint].limits)
