"""What Klaviyo refuses, limits and breaks: caps, names, rates, credentials and faults."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
from klaviyo_line import KEY, connected, person

from letterpress.activation.destinations import klaviyo, pace
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Job, Operation, Row
from letterpress.demo.esp.faults import Fault
from letterpress.demo.vendors import running

HEADERS = {
    "Authorization": f"Klaviyo-API-Key {KEY}",
    "revision": klaviyo.REVISION,
    "Content-Type": "application/vnd.api+json",
}
ATTRIBUTES = {
    **dict.fromkeys(("first_name", "last_name", "organization", "title", "image", "locale"), "x"),
    **dict.fromkeys(("address1", "address2", "city", "region", "zip", "country", "timezone"), "x"),
    "phone_number": "+4930123456",
    "latitude": "52.52",
    "longitude": "13.40",
    "orders": 1,
}
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def line(clock, held_to):
    with connected(clock, held_to) as line:
        yield line


@pytest.fixture
def unlimited(clock):
    """Without limits and without jobs that take their time."""
    with connected(clock, has_limits=False, job_seconds=0.0) as line:
        yield line


def some(count: int, **given) -> list[Row]:
    return [person(number, **given) for number in range(count)]


def rows_of(operation: Operation, count: int, line) -> tuple[list[Row], str | None]:
    """People for an operation, and its list."""
    list_id = line.app.add_list("Champions") if operation in (Operation.JOIN, Operation.LEAVE) else None
    given = {
        Operation.SUPPRESS: {"reason": "unsubscribed"},
        Operation.SUBSCRIBE: {"consented_at": YESTERDAY},
        Operation.MOVE: {"moves_to": "C99999"},
    }
    return some(count, **given.get(operation, {})), list_id


@pytest.mark.parametrize(
    "operation", [Operation.SUPPRESS, Operation.SUBSCRIBE, Operation.UPSERT, Operation.JOIN, Operation.LEAVE]
)
def test_a_request_holds_exactly_as_many_people_as_klaviyo_takes(unlimited, operation):
    most = klaviyo.ENDPOINTS[operation].rows
    if operation in (Operation.JOIN, Operation.LEAVE):
        unlimited.send(Operation.UPSERT, some(most + 1))
    rows, list_id = rows_of(operation, most + 1, unlimited)
    assert unlimited.send(operation, rows[:most], list_id).errors == {}
    with pytest.raises(BatchRefused, match="invalid") as refused:
        unlimited.client.send(operation, rows, key="k", list_id=list_id)
    assert refused.value.errors == {}


def test_one_look_up_holds_exactly_as_many_people_as_klaviyo_takes(unlimited):
    unlimited.send(Operation.UPSERT, some(101))
    before = unlimited.client.requests
    assert len(unlimited.client.read(some(101), [])) == 101
    assert unlimited.client.requests == before + 2
    moves = [person(number, moves_to=f"D{number}") for number in range(klaviyo.ENDPOINTS[Operation.MOVE].rows)]
    before = unlimited.client.requests
    unlimited.send(Operation.MOVE, moves)
    assert unlimited.client.requests == before + 1 + len(moves)


def sized(number: int, length: int) -> Row:
    """Somebody whose payload has exactly so many bytes."""
    empty = len(person(number, attributes={"note": ""}).payload)
    return person(number, attributes={"note": "x" * (length - empty)})


def test_a_request_holds_exactly_as_many_bytes_as_klaviyo_takes(unlimited):
    most, each = klaviyo.ENDPOINTS[Operation.UPSERT].bytes, 90_000
    rows = [sized(number, each) for number in range(55)]
    rows.append(sized(55, most - 55 * (each + 1)))
    assert len(b",".join(row.payload for row in rows)) == most
    assert unlimited.send(Operation.UPSERT, rows).errors == {}
    rows[-1] = sized(55, len(rows[-1].payload) + 1)
    with pytest.raises(BatchRefused, match="payload_too_large: Payload too large"):
        unlimited.client.send(Operation.UPSERT, rows, key="k", list_id=None)


def test_a_profile_has_exactly_as_many_bytes_as_klaviyo_takes(unlimited):
    most = klaviyo.ENDPOINTS[Operation.UPSERT].row_bytes
    assert unlimited.send(Operation.UPSERT, [sized(1, most)]).errors == {}
    with pytest.raises(BatchRefused) as refused:
        unlimited.client.send(Operation.UPSERT, [sized(1, most), sized(2, most + 1)], key="k", list_id=None)
    assert set(refused.value.errors) == {"C2"}


def test_an_erasure_names_one_person(unlimited):
    both = {"type": "profile", "id": "01", "attributes": {"email": "person1@example.com"}}
    body = {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": both}}}}
    answer = httpx.post(f"{unlimited.vendor.base_url}/api/data-privacy-deletion-jobs", json=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "invalid")


def paths_of(node: object, path: tuple = ()) -> list[tuple]:
    """Every key of a body; the names under properties are the customer's own."""
    if isinstance(node, list):
        return [found for place, item in enumerate(node[:1]) for found in paths_of(item, (*path, place))]
    if not isinstance(node, dict):
        return []
    found = []
    for name, value in node.items():
        found.append((*path, name))
        if name != "properties":
            found += paths_of(value, (*path, name))
    return found


def misspelled(body: dict, path: tuple) -> dict:
    body = orjson.loads(orjson.dumps(body))
    node = body
    for key in path[:-1]:
        node = node[key]
    node[f"{path[-1]}z"] = node.pop(path[-1])
    return body


@pytest.fixture(scope="module")
def written():
    """Every request that writes, as the module makes it: method, path and body."""
    found = {}
    with (
        running("klaviyo", has_limits=False) as vendor,
        klaviyo.open_client(klaviyo.Connection(vendor.base_url, KEY), klaviyo.Options()) as client,
    ):

        def note(request: httpx.Request) -> None:
            if request.method != "GET":
                found[request.method, request.url.path] = orjson.loads(request.content)

        client._api._opened().event_hooks = {"request": [note]}
        list_id = vendor.app.add_list("Champions")
        client.send(Operation.UPSERT, [person(1, attributes=ATTRIBUTES), person(2)], key="k", list_id=None)
        emptied = person(1, attributes={**ATTRIBUTES, "orders": None})
        client.send(Operation.UPSERT, [emptied], key="k", list_id=None)
        client.send(Operation.SUPPRESS, [person(2, reason="unsubscribed")], key="k", list_id=None)
        client.send(Operation.SUBSCRIBE, [person(1, consented_at=YESTERDAY)], key="k", list_id=None)
        client.send(Operation.JOIN, [person(1)], key="k", list_id=list_id)
        client.send(Operation.LEAVE, [person(1)], key="k", list_id=list_id)
        client.send(Operation.MOVE, [person(1, moves_to="C3")], key="k", list_id=None)
        client.send(Operation.MOVE, [Row("C3", moves_to="C2")], key="k", list_id=None)
        client.send(Operation.ERASE, [person(2)], key="k", list_id=None)
    return found


def test_every_field_that_is_written_is_refused_misspelled(written, held_to):
    assert len(written) == 10
    tried = 0
    with running("klaviyo", specifications=held_to, has_limits=False) as vendor, httpx.Client(headers=HEADERS) as http:
        with klaviyo.open_client(klaviyo.Connection(vendor.base_url, KEY), klaviyo.Options()) as client:
            client.send(Operation.UPSERT, [person(1), person(2)], key="k", list_id=None)
        taken = []
        for (method, path), body in written.items():
            for place in paths_of(body):
                content = orjson.dumps(misspelled(body, place))
                answer = http.request(method, vendor.base_url + path, content=content)
                tried += 1
                if answer.status_code != 400:
                    taken.append((method, path, place, answer.status_code))
        assert taken == []
        assert vendor.app.complaints == []
    assert tried > 100


FAULTS = {
    "too many, with a time": Fault(status=429, retry_after=3, times=2),
    "too many, without": Fault(status=429, times=2),
    "a breakdown": Fault(status=500, times=3),
    "an answer lost after success": Fault(loses_answer=True, times=2),
}
STEPS = [
    (Operation.UPSERT, [person(1, attributes={"orders": 1}), person(2), person(3)]),
    (Operation.UPSERT, [person(1, attributes={"orders": None, "city": "Ulm"}), person(4)]),
    (Operation.SUPPRESS, [person(2, reason="unsubscribed"), person(3, reason="bounced")]),
    (Operation.SUBSCRIBE, [person(1, consented_at=YESTERDAY)]),
    (Operation.JOIN, [person(1), person(4)]),
    (Operation.LEAVE, [person(4)]),
    (Operation.MOVE, [person(4, moves_to="C5")]),
    (Operation.MOVE, [Row("C1", moves_to="C5")]),
    (Operation.ERASE, [person(3)]),
]


def told(line, faults=()) -> list[dict]:
    """The state after all of the steps, each of which meets the faults."""
    list_id = line.app.add_list("Champions")
    for operation, rows in STEPS:
        for fault in faults:
            line.app.faults.add(fault)
        assert line.send(operation, rows, list_id).errors == {}
    return line.state()


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_breaks_the_state_is_the_same(clock, held_to, fault):
    with connected(clock, held_to) as line:
        expected = told(line)
    with connected(clock, held_to) as line:
        assert told(line, [FAULTS[fault]]) == expected
    assert len(expected) == 2
    if fault == "too many, with a time":
        assert clock.pauses.count(3.0) >= len(STEPS)


@pytest.mark.parametrize("operation", [one for one in Operation if one in klaviyo.ENDPOINTS])
def test_the_real_limits_are_kept_and_used(clock, operation):
    """The client under Klaviyo's limits is never told "too many", and needs hardly more than the least time."""
    limits = klaviyo.ENDPOINTS[operation].limits
    count = limits[1].requests + limits[0].requests + 5
    with connected(clock, job_seconds=0.0) as line:
        list_id = line.app.add_list("Champions")
        people = [person(number) for number in range(3)]
        line.send(Operation.UPSERT, people)
        known = [
            Row(row.customer_id, row.email, vendor_id=line.profile(number)["id"]) for number, row in enumerate(people)
        ]
        clock.advance(120)
        begin = clock.now()
        for number in range(count):
            row = known[number % 3]
            if operation is Operation.MOVE:
                row = Row(f"C{number % 2}", moves_to=f"C{1 - number % 2}")
                line.app.people.upsert(orjson.loads(person(number % 2).payload), clears=False)
                line.app.people.erase(next(iter(line.app.people.profiles)))
            if operation is Operation.UPSERT:
                row = people[number % 3]
            line.client.send(operation, [row], key="k", list_id=list_id)
        took = clock.now() - begin
    statuses = {status for _, _, status in line.app.calls}
    assert 429 not in statuses
    assert took <= 1.1 * pace.least_seconds(count, limits)


def test_several_threads_keep_to_one_limit(clock):
    endpoint = klaviyo.ENDPOINTS[Operation.JOIN]
    count = 2 * endpoint.limits[1].requests
    with connected(clock, job_seconds=0.0) as line:
        list_id = line.app.add_list("Champions")
        line.send(Operation.UPSERT, [person(1)])
        row = Row("C1", vendor_id=line.profile(1)["id"])
        clock.advance(120)

        def join(_: int) -> None:
            assert line.client.send(Operation.JOIN, [row], key="k", list_id=list_id).errors == {}

        with ThreadPoolExecutor(endpoint.in_flight) as threads:
            list(threads.map(join, range(count)))
    statuses = [status for method, _, status in line.app.calls if method == "POST"]
    assert statuses.count(204) == count
    assert 429 not in statuses


def test_polling_keeps_to_the_limits_too(clock):
    with connected(clock, job_seconds=10_000.0) as line:
        job = line.client.send(Operation.UPSERT, [person(1)], key="k", list_id=None)
        assert isinstance(job, Job)
        for _ in range(200):
            assert line.client.results(Operation.UPSERT, job.job_id, [person(1)]) is None
        for _ in range(200):
            line.client.is_busy()
        for _ in range(800):
            line.client.suppressions(None)
    assert 429 not in {status for _, _, status in line.app.calls}


def test_without_the_pace_the_stand_in_says_too_many_as_klaviyo_does(clock):
    with running("klaviyo", clock=clock) as vendor:
        url = f"{vendor.base_url}/api/profile-bulk-import-jobs"
        answers = [httpx.get(url, headers=HEADERS) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json()["errors"][0]["code"] == "throttled"


def test_a_refusal_that_explains_nothing_is_no_success(line):
    line.app.faults.add(Fault(status=400))
    results = line.send(Operation.UPSERT, [person(1, attributes={"orders": None})])
    assert results.errors["C1"].code == "http_400"
    line.app.faults.add(Fault(status=422))
    with pytest.raises(BatchRefused, match="http_422"):
        line.client.send(Operation.SUBSCRIBE, [person(1), person(2)], key="k", list_id=None)


def test_wrong_credentials_name_the_remedy_and_no_secret(clock, held_to):
    with connected(clock, held_to, token="not-the-key") as line, pytest.raises(DestinationError) as refused:
        line.client.send(Operation.UPSERT, [person(1)], key="k", list_id=None)
    assert "401" in str(refused.value)
    assert "check the connection's credentials" in str(refused.value)
    assert "not-the-key" not in str(refused.value)


def test_nothing_personal_stands_in_an_error_or_a_log(line, caplog):
    caplog.set_level(logging.DEBUG)
    secret, phone = "secret.person@nowhere", "+49 30 1234567"
    found = []
    line.app.faults.add(Fault(status=500, times=2))
    rows = [person(1, email=secret, attributes={"first_name": "Rosalind"})]
    found += [str(error) for error in line.send(Operation.UPSERT, rows).errors.values()]
    tries = [
        (Operation.UPSERT, [person(2, attributes={"phone_number": phone, "first_name": "Rosalind"})]),
        (Operation.UPSERT, [person(2, email=secret, attributes={"first_name": None})]),
        (Operation.SUPPRESS, [Row("C3", "no address of Rosalind", reason="unsubscribed")]),
        (Operation.ERASE, [Row("C5", secret)]),
        (Operation.SUBSCRIBE, [Row("C4", secret, consented_at=datetime.now(UTC) + timedelta(days=9))]),
    ]
    for operation, people in tries:
        try:
            found.append(str(line.send(operation, people).errors))
        except BatchRefused as refused:
            found += [str(refused), *(str(error) for error in refused.errors.values())]
    assert len(found) >= 5
    said = "\n".join([*found, caplog.text])
    for personal in (secret, phone, "Rosalind", "1234567", KEY):
        assert personal not in said


def test_sending_costs_next_to_nothing_beyond_joining_bytes():
    class Sink:
        """Takes a request and answers at once."""

        def request(self, endpoint, method, path, **sent):
            self.body = sent["body"]
            return httpx.Response(202, json={"data": {"id": "J1"}})

    sink = Sink()
    client = klaviyo.Klaviyo(sink, klaviyo.Options())
    rows = some(10_000, attributes={"first_name": "Anna", "orders": 3, "loyalty_tier": "gold"})
    client.send(Operation.UPSERT, rows, key="k", list_id=None)
    assert len(orjson.loads(sink.body)["data"]["attributes"]["profiles"]["data"]) == 10_000
    sent, joined = [], []
    for _ in range(7):  # by turns: a machine that is busy is so for both
        begin = time.perf_counter()
        client.send(Operation.UPSERT, rows, key="k", list_id=None)
        middle = time.perf_counter()
        b",".join([row.payload for row in rows])
        sent.append(middle - begin)
        joined.append(time.perf_counter() - middle)
    assert min(sent) < 4 * min(joined)
