"""Mailchimp's stand-in and a client of it, and people as the engine hands them over."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from letterpress.activation.destinations import mailchimp
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.spec import Operation, Row
from letterpress.demo.vendors import RunningVendor, running
from letterpress.demo.vendors.mailchimp import Mailchimp
from letterpress.demo.vendors.mailchimp_audience import LIST_ID, subscriber_hash

KEY = "not-a-real-key-us6"
OPTED_IN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ATTRIBUTES = {"FNAME": "string", "RFM": "string", "DECILE": "number", "SINCE": "date", "SEGMENTS": "list"}
ANNA, BEN, CARA = "anna@example.com", "ben@example.com", "cara@example.com"


@pytest.fixture(scope="module", params=["alone", pytest.param("held to the specification", marks=pytest.mark.slow)])
def served(request: pytest.FixtureRequest) -> Iterator[RunningVendor]:
    """One server for all tests, which takes a while to stop; its own checks have to do without the specification."""
    document = None if request.param == "alone" else request.getfixturevalue("specifications")
    with running("mailchimp", specifications=document, token=KEY) as server:
        yield server


@pytest.fixture
def vendor(served: RunningVendor, clock: Any) -> Iterator[RunningVendor]:
    """A stand-in that remembers nothing of other tests."""
    served.app.__dict__ = vars(Mailchimp(token=KEY, specification=served.app.specification, clock=clock))
    yield served
    assert served.app.complaints == []


@pytest.fixture
def opened() -> Iterator[Callable[..., mailchimp.Mailchimp]]:
    """Opens clients that are closed at the end."""
    with ExitStack() as stack:

        def opened(vendor: RunningVendor, token: str = KEY, list_id: str = LIST_ID) -> mailchimp.Mailchimp:
            options = mailchimp.Options(list_id=list_id)
            return stack.enter_context(mailchimp.open_client(Connection(vendor.base_url, token), options))

        yield opened


@pytest.fixture
def client(vendor: RunningVendor, opened: Callable[..., mailchimp.Mailchimp]) -> mailchimp.Mailchimp:
    """A client whose merge fields are there."""
    client = opened(vendor)
    client.prepare(ATTRIBUTES, [])
    vendor.app.calls.clear()
    return client


def person(customer_id: str, email: str | None, *, vendor_id: str | None = None, **merge_fields: Any) -> Row:
    """Somebody with a profile in Mailchimp's shape."""
    payload = {"email_address": email, "merge_fields": {"CUSTOMERID": customer_id, **merge_fields}}
    return Row(customer_id, email, orjson.dumps(payload), vendor_id, consented_at=OPTED_IN)


def send(client: mailchimp.Mailchimp, operation: Operation, *rows: Row, tag: str | None = None):
    return client.send(operation, rows, key="a key", list_id=tag)


def subscribed(client: mailchimp.Mailchimp, *people: tuple[str, str]) -> None:
    """People who have opted in at the shop."""
    results = send(client, Operation.SUBSCRIBE, *(person(*one) for one in people))
    assert results.errors == {}


def state(vendor: RunningVendor) -> dict[str, Any]:
    """All that the stand-in holds, but for when."""
    audience = vendor.app.audience
    members = {
        key: {name: value for name, value in one.items() if name != "last_changed"}
        for key, one in audience.members.items()
    }
    return copy.deepcopy({"members": members, "forgotten": dict(audience.forgotten), "fields": sorted(audience.fields)})


def documents(vendor: RunningVendor) -> dict[str, dict[str, Any]]:
    """A copy of everything that the stand-in remembers."""
    kinds = ("members", "forgotten", "merge_fields", "segments", "abuse_reports", "activity")
    return {name: copy.deepcopy(dict(vendor.app.documents.kind(name))) for name in kinds}


def restore(vendor: RunningVendor, before: dict[str, dict[str, Any]]) -> None:
    for name, kept in before.items():
        kind = vendor.app.documents.kind(name)
        kind.clear()
        kind.update(copy.deepcopy(kept))


def raw(vendor: RunningVendor, method: str, path: str, body: Any = None) -> httpx.Response:
    """A request that the module would not make."""
    address = f"{vendor.base_url}/3.0/lists/{LIST_ID}{path}"
    return httpx.request(method, address, json=body, auth=("anybody", KEY))


@pytest.fixture
def populated(vendor, client) -> str:
    """Anna in a tag and Ben are subscribed; the tag's id."""
    tag = vendor.app.add_tag("VIP")
    subscribed(client, ("c1", ANNA), ("c2", BEN))
    send(client, Operation.JOIN, Row("c1", ANNA), tag=tag)
    vendor.app.calls.clear()
    return tag


EVERY = {
    Operation.SUBSCRIBE: person("c1", ANNA, FNAME="Anna"),
    Operation.UPSERT: person("c1", CARA, vendor_id=subscriber_hash(ANNA), FNAME="Anna"),
    Operation.SUPPRESS: Row("c1", ANNA, vendor_id=subscriber_hash(ANNA)),
    Operation.JOIN: Row("c2", BEN, vendor_id=subscriber_hash(BEN)),
    Operation.LEAVE: Row("c1", ANNA, vendor_id=subscriber_hash(ANNA)),
    Operation.MOVE: Row("c1", ANNA, vendor_id=subscriber_hash(ANNA), moves_to="c9"),
    Operation.DELETE: Row("c1", ANNA, vendor_id=subscriber_hash(ANNA)),
    Operation.ERASE: Row("c1", ANNA, vendor_id=subscriber_hash(ANNA)),
}
