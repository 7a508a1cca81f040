"""The shop over HTTP: paging that loses nothing, a clock that moves, refusals that say why, faults on demand."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from letterpress.demo.shop.app import LISTS, Fault, create_app
from letterpress.demo.simulation.switches import Dirt

pytestmark = pytest.mark.usefixtures("played_once")

TODAY = datetime(2011, 1, 12, tzinfo=UTC)
KEYS = {
    "customers": "customer_id",
    "consents": "consent_id",
    "products": "product_id",
    "orders": "order_id",
    "order_lines": "order_line_id",
    "refunds": "refund_id",
    "events": "messageId",
    "email_events": "event_id",
}
CURSORS = {entity: field for entity, _, field, _ in LISTS}


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it was ready"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)


def small_shop(home: Path) -> FastAPI:
    return create_app(home=home, seed=11, customers=50, days=45, today=TODAY, dirt=Dirt.off())


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[httpx.Client]:
    """A shop that nobody advances."""
    with served(small_shop(tmp_path_factory.mktemp("shop"))) as client:
        yield client


@pytest.fixture
def own_client(tmp_path) -> Iterator[httpx.Client]:
    """A shop for one test."""
    with served(small_shop(tmp_path)) as client:
        yield client


def pages(client: httpx.Client, entity: str, **parameters) -> list[dict]:
    rows, cursor = [], None
    while True:
        answer = client.get(f"/v1/{entity}", params=parameters | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows
        assert len(page["data"]) == parameters.get("page_size", 500)


def test_health(client):
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("entity", KEYS)
def test_pages_of_any_size_are_the_same_rows_in_the_order_of_cursor_field_and_key(client, entity):
    whole = pages(client, entity, page_size=1000)
    position = [(row[CURSORS[entity]], row[KEYS[entity]]) for row in whole]

    assert position == sorted(position)
    assert len({key for _, key in position}) == len(whole)
    assert pages(client, entity, page_size=7 if len(whole) < 700 else 333) == whole


def test_a_page_that_ends_exactly_at_the_last_row_is_the_last_page(client):
    count = len(pages(client, "customers", page_size=1000))

    answer = client.get("/v1/customers", params={"page_size": count}).json()

    assert len(answer["data"]) == count
    assert answer["next_cursor"] is None


def test_since_is_inclusive_and_knows_other_zones(client):
    rows = pages(client, "orders", page_size=1000)
    middle = rows[len(rows) // 2]["updated_at"]
    expected = [row for row in rows if row["updated_at"] >= middle]

    assert pages(client, "orders", since=middle) == expected
    elsewhere = datetime.fromisoformat(middle).astimezone(datetime.strptime("+0530", "%z").tzinfo)
    assert pages(client, "orders", since=elsewhere.isoformat(), page_size=5) == expected
    assert pages(client, "orders", since="2030-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("parameters", "names", "says"),
    [
        ({"since": "yesterday"}, "since", "datetime"),
        ({"since": "2011-01-01T00:00:00"}, "since", "timezone"),
        ({"page_size": 0}, "page_size", "greater than or equal to 1"),
        ({"page_size": 1001}, "page_size", "less than or equal to 1000"),
        ({"page_size": "many"}, "page_size", "integer"),
        ({"cursor": "bm90IGEgY3Vyc29y"}, "cursor", "expected next_cursor"),
        ({"cursor": "ü"}, "cursor", "expected next_cursor"),
        ({"cursor": "WyJvcmRlcnMiLDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LCJ4Il0"}, "cursor", "expected next_cursor"),
        ({"pagesize": 10}, "pagesize", "not permitted"),
    ],
)
def test_malformed_parameters_are_refused_by_name(client, parameters, names, says):
    answer = client.get("/v1/orders", params=parameters)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"][-1] == names
    assert says in problem["msg"]


def test_a_cursor_of_another_list_is_refused(client):
    cursor = client.get("/v1/customers", params={"page_size": 1}).json()["next_cursor"]

    answer = client.get("/v1/orders", params={"cursor": cursor})

    assert answer.status_code == 422
    assert "expected a cursor of orders, found one of customers" in answer.text


def test_paging_while_the_shop_goes_on_loses_no_row(own_client):
    first = own_client.get("/v1/orders", params={"page_size": 20}).json()
    own_client.post("/v1/clock/advance", json={"days": 5})
    rest = pages(own_client, "orders", page_size=20, cursor=first["next_cursor"])

    latest = {row["order_id"]: row for row in first["data"] + rest}
    assert latest == {row["order_id"]: row for row in pages(own_client, "orders")}


def test_the_next_day_brings_rows_after_the_old_clock_and_changes_none_before(own_client):
    before = {entity: pages(own_client, entity, page_size=1000) for entity in KEYS}
    was = own_client.get("/v1/clock").json()["now"]
    answer = own_client.post("/v1/clock/advance", json={"days": 1})
    after = {entity: pages(own_client, entity, page_size=1000) for entity in KEYS}

    assert datetime.fromisoformat(was) == TODAY
    assert answer.json()["now"] == "2011-01-13T00:00:00Z"
    assert own_client.get("/v1/clock").json() == answer.json()
    for entity, key in KEYS.items():
        old = {row[key]: row for row in before[entity]}
        changed = [row for row in after[entity] if old.get(row[key]) != row]
        now = TODAY.isoformat().replace("+00:00", "Z")
        assert all(now < row[CURSORS[entity]] <= "2011-01-13T00:00:00.000Z" for row in changed)
        assert pages(own_client, entity, since=now) == changed
    assert len(after["events"]) > len(before["events"])


def test_hours_add_up_to_a_day(tmp_path):
    with served(small_shop(tmp_path / "day")) as day, served(small_shop(tmp_path / "hours")) as hours:
        day.post("/v1/clock/advance", json={"days": 1})
        for step in (1, 11, 12):
            hours.post("/v1/clock/advance", json={"hours": step})
        for entity in KEYS:
            assert pages(day, entity) == pages(hours, entity)


@pytest.mark.parametrize("body", [{}, {"days": -1}, {"weeks": 1}, {"days": 0, "hours": 0}, {"hours": "many"}])
def test_the_clock_refuses_what_it_does_not_understand(client, body):
    answer = client.post("/v1/clock/advance", json=body)

    assert answer.status_code == 422
    assert datetime.fromisoformat(client.get("/v1/clock").json()["now"]) == TODAY


def stream(client: httpx.Client, **request) -> list[tuple[str, str]]:
    with client.stream("GET", "/v1/stream", **request) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return list(zip(ids, data, strict=True))


def test_the_stream_tells_the_events_and_ends_when_it_has_caught_up(client):
    listed = pages(client, "events", since="2011-01-05T00:00:00Z")

    told = stream(client, params={"since": "2011-01-05T00:00:00Z"})

    assert [httpx.Response(200, text=data).json() for _, data in told] == listed


def test_the_stream_resumes_after_the_last_event_id(client):
    told = stream(client)

    assert stream(client, headers={"Last-Event-ID": told[-4][0]}) == told[-3:]
    assert client.get("/v1/stream", headers={"Last-Event-ID": "nonsense"}).status_code == 422


def test_a_followed_stream_goes_on_when_the_clock_moves(own_client):
    now = own_client.get("/v1/clock").json()["now"]
    with own_client.stream("GET", "/v1/stream", params={"since": now, "follow": 1}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": waiting"
        httpx.post(str(own_client.base_url.join("/v1/clock/advance")), json={"days": 1}, timeout=30)
        first = next(line for line in lines if line.startswith("data: "))
    assert '"receivedAt":"2011-01-12T' in first


def test_planted_faults_are_answered_once_and_in_order(tmp_path):
    faults = [Fault(status=429, retry_after=2), Fault(status=500, path="/v1/orders")]
    app = create_app(home=tmp_path, customers=3, days=3, today=TODAY, faults=faults)
    with served(app) as client:
        assert client.get("/health").status_code == 200
        limited = client.get("/v1/customers")
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
        assert client.get("/v1/customers").status_code == 200
        broken = client.get("/v1/orders")
        assert (broken.status_code, "retry-after" in broken.headers) == (500, False)
        assert client.get("/v1/orders").status_code == 200
        app.state.faults.append(Fault(status=503))
        assert client.get("/v1/clock").status_code == 503
        assert client.get("/v1/clock").status_code == 200
    assert faults == []


def test_the_description_names_every_list_and_its_fields(client):
    description = client.get("/openapi.json").json()

    schemas = description["components"]["schemas"]
    for entity, model, field, _ in LISTS:
        operation = description["paths"][f"/v1/{entity}"]["get"]
        assert {parameter["name"] for parameter in operation["parameters"]} == {"since", "page_size", "cursor"}
        assert field in operation["description"]
        row = client.get(f"/v1/{entity}", params={"page_size": 1}).json()["data"]
        for found in row:
            assert found.keys() == schemas[model.__name__]["properties"].keys()
    assert client.get("/docs").status_code == 200
