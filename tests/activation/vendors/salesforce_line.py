"""A stand-in of Marketing Cloud, a client that is connected to it, and what the tests ask of both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from letterpress.activation.destinations import salesforce
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.salesforce import Options, Salesforce
from letterpress.activation.destinations.spec import Operation, Results, Row
from letterpress.demo.vendors import RunningVendor, running
from letterpress.demo.vendors.specification import Specification

DOCUMENT = Path(__file__).with_name("salesforce.json")
PROFILES, SUPPRESSIONS, LIST = "letterpress_customers", "letterpress_suppressions", "letterpress_win_back"
JOB_SECONDS = 4.0
ATTRIBUTES = {
    "FirstName": "string",
    "Segments": "list",
    "LifetimeValueDecile": "number",
    "AverageOrderValue": "number",
    "IsStoreMember": "boolean",
    "LastOrderDate": "date",
}


@dataclass
class Line:
    """``client`` is open, ``http`` for requests past it; ``clock`` is the one of both sides."""

    vendor: RunningVendor
    client: Salesforce
    http: httpx.Client
    clock: Any

    def settle(self, operation: Operation, rows: Sequence[Row], list_id: str | None = None) -> Results:
        """Send one request and ask for its results, with the rows in another order, until they are there."""
        job = self.client.send(operation, rows, key="a function of the content", list_id=list_id)
        for _ in range(100):
            results = self.client.results(operation, job.job_id, rows[::-1])
            if results is not None:
                return results
            self.clock.pause(1.0)
        raise AssertionError(f"expected results of {operation} within 100 s, found none")

    def state(self) -> dict[str, list[dict]]:
        """All rows of all data extensions."""
        return {key: self.vendor.app.rows(key) for key in self.vendor.app.documents.kind("extensions")}

    def only_row(self, key: str) -> dict:
        (row,) = self.vendor.app.rows(key)
        return row

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request past the client, with a token of its own; a body of bytes as it is."""
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token()}", **headers}
        return self.http.request(method, path, content=content, headers=headers)

    def token(self) -> str:
        tokens = self.vendor.app.documents.kind("tokens")
        tokens["of a test"] = self.clock.now() + 1_000_000
        return "of a test"

    def requested(self, path: str) -> int:
        """How many requests to paths that begin so the stand-in has answered."""
        return sum(url.startswith(path) for _, url, _ in self.vendor.app.calls)


def connection(vendor: RunningVendor, **changed: Any) -> Connection:
    given = {"login": "letterpress", "extra": {"account_id": "510000001"}, **changed}
    return Connection(given.pop("base_url", vendor.base_url), given.pop("token", vendor.token), **given)


@contextmanager
def line(clock: Any, *, is_held: bool = False, **given: Any) -> Iterator[Line]:
    """Serve and connect; ``is_held`` holds the stand-in to the document of these tests."""
    with running("salesforce", clock=clock, **{"job_seconds": JOB_SECONDS, **given}) as vendor:
        if is_held:
            vendor.app.specification = Specification.read(DOCUMENT)
        options = Options(data_extension=PROFILES, suppression_extension=SUPPRESSIONS)
        with (
            salesforce.open_client(connection(vendor), options) as client,
            httpx.Client(base_url=vendor.base_url, verify=False, timeout=60) as http,
        ):
            yield Line(vendor, client, http, clock)
        assert vendor.app.complaints == []


def person(number: int = 1, **attributes: Any) -> Row:
    """A customer with a profile in the shape of the module."""
    customer_id, email = f"customer-{number}", attributes.pop("EmailAddress", f"anna{number}@example.com")
    payload = {"ContactKey": customer_id, "EmailAddress": email, "IsActive": True, **attributes}
    return Row(
        customer_id,
        email,
        payload=orjson.dumps(payload),
        reason="unsubscribed",
        consent_proof=f"proof-{number}",
    )
