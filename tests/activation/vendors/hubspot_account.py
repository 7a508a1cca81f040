"""A HubSpot account of a test: the stand-in, the module's client, and rows as the engine makes them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from letterpress.activation.destinations import hubspot
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.spec import Operation, Results, Row
from letterpress.demo.vendors import RunningVendor, running
from letterpress.demo.vendors.hubspot import HubSpot as StandIn

ATTRIBUTES = {
    "firstname": "string",
    "loyalty": "string",
    "decile": "number",
    "is_loyal": "boolean",
    "first_order": "date",
    "best_send": "datetime",
    "segments": "list",
}


@dataclass
class Account:
    """``requests`` are what the client sent: method, path and body."""

    server: RunningVendor
    client: hubspot.HubSpot
    http: httpx.Client
    requests: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def app(self) -> StandIn:
        return self.server.app

    def send(self, operation: Operation, *rows: Row, list_id: str | None = None) -> Results:
        return self.client.send(operation, rows, key="key", list_id=list_id)

    def upsert(self, *rows: Row) -> Results:
        return self.send(Operation.UPSERT, *rows)

    def contact(self, customer_id: str) -> dict[str, Any] | None:
        """What HubSpot holds under our id, without what is empty."""
        record = self.app.contacts.find(customer_id, "letterpress_id")
        return record and {name: value for name, value in record["values"].items() if value is not None}

    def record_id(self, customer_id: str) -> str:
        return self.app.contacts.find(customer_id, "letterpress_id")["id"]

    def state(self) -> Any:
        """All that HubSpot knows, without instants, ids of records and what it counted."""
        contacts = sorted((list(one["values"].items()) for one in self.app.contacts), key=str)
        members = {
            key: sorted(self.app.contacts.find(one)["values"].get("letterpress_id") for one in self.app.members(key))
            for key in self.app.documents.kind("list")
        }
        statuses = dict(self.app.documents.kind("status"))
        return contacts, members, statuses, sorted(self.app.documents.kind("blocked_address"))

    def raw(self, method: str, path: str, body: Any) -> httpx.Response:
        """A request past the client."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.http.request(method, path, content=content)


@contextlib.contextmanager
def opened(*, token: str | None = None, options: dict[str, Any] | None = None, **given: Any) -> Iterator[Account]:
    """A fresh account; ``given`` goes to the stand-in."""
    chosen = hubspot.Options(**{"subscription_id": "101", **(options or {})})
    with running("hubspot", **given) as server:
        connection = Connection(server.base_url, token or server.token)
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        with (
            hubspot.open_client(connection, chosen) as client,
            httpx.Client(base_url=server.base_url, headers=headers) as http,
        ):
            account = Account(server, client, http)
            answer = server.app.answer

            def record(method: str, url: str, query: str, headers: Any, content: bytes) -> Any:
                account.requests.append((method, url, _json(content)))
                return answer(method, url, query, headers, content)

            server.app.answer = record
            yield account


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        return content


def row(customer_id: str, email: str | None = None, *, vendor_id: str | None = None, **attributes: str) -> Row:
    """A person with a payload in the module's shape; the address is made of the id unless given."""
    email = email if email is not None else f"{customer_id}@shop.example"
    shape, payload = hubspot.SHAPE, {}
    parts = {
        tuple(shape.external_id.split(".")): customer_id,
        tuple(shape.email.split(".")): email,
        **{tuple(name.split(".")): value for name, value in shape.constants.items()},
        **{shape.path_of(name): value for name, value in attributes.items()},
    }
    for path, value in parts.items():
        place = payload
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return Row(customer_id, email, orjson.dumps(payload), vendor_id)


def with_proof(one: Row) -> Row:
    """Somebody who has opted in, or out."""
    return one._replace(
        reason="consent_withdrawn", consent_proof="proof-7", consented_at=datetime(2026, 3, 1, tzinfo=UTC)
    )


def prepare_people(account: Account) -> tuple[str, dict[str, str]]:
    """What operations need: properties, a list, and three contacts of whom the last is in it; with record ids."""
    list_id = account.app.add_list("Champions")
    account.client.prepare(ATTRIBUTES, [list_id])
    account.app.add_contact(email="c-7@shop.example", lastname="Form")
    ids = account.upsert(*(row(f"c-{n}", firstname="Ada", segments="a") for n in (1, 2, 3))).vendor_ids
    account.send(Operation.JOIN, row("c-3", vendor_id=ids["c-3"]), list_id=list_id)
    return list_id, ids


def operate(account: Account, operation: str, list_id: str, ids: dict[str, str]) -> Results | None:
    """One of everything that a client does there: operations, and what else asks or changes something."""
    match operation:
        case "prepare":
            return account.client.prepare({**ATTRIBUTES, "city": "string", "is_new": "boolean"}, [list_id])
        case "suppressions":
            account.app.complain("c-3@shop.example")
            account.client.suppressions(None)
            return None
        case "read":
            account.client.read([row("c-1")], ["firstname"])
            return None
        case "new list property":
            account.client.prepare({"interests": "list"}, [])
            return account.upsert(row("c-1", interests="tea;coffee"))
        case Operation.UPSERT:
            rows = (
                row("c-1", firstname="Augusta", segments="a;b"),
                row("c-7", firstname="Grace"),
                row("c-8", decile="x"),
            )
            return account.upsert(*rows)
        case Operation.MOVE:
            account.send(Operation.MOVE, Row("c-1", vendor_id=ids["c-1"], moves_to="c-9"))
            return account.send(Operation.MOVE, Row("c-3", vendor_id=ids["c-3"], moves_to="c-2"))
        case Operation.JOIN | Operation.LEAVE:
            return account.send(operation, row("c-1", vendor_id=ids["c-1"]), row("c-3"), list_id=list_id)
        case Operation.DELETE:
            return account.send(operation, row("c-1"), row("c-3"))
    return account.send(Operation(operation), with_proof(row("c-1")))


ALL = (*Operation, "prepare", "suppressions", "read", "new list property")
