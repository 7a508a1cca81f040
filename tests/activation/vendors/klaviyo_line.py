"""Klaviyo's client on the stand-in, and people as the engine hands them over."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from letterpress.activation.destinations import klaviyo
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.spec import Job, Operation, Results, Row
from letterpress.demo.vendors import RunningVendor, running

KEY = "vendor-test-token"
JOB_SECONDS = 4.0


def payload(customer_id: str, email: str | None, attributes: dict[str, Any]) -> bytes:
    """A profile as DuckDB makes it of the module's shape."""
    found: dict[str, Any] = dict(klaviyo.SHAPE.constants)
    placed = {
        tuple(klaviyo.SHAPE.external_id.split(".")): customer_id,
        tuple(klaviyo.SHAPE.email.split(".")): email,
        **{klaviyo.SHAPE.path_of(name): value for name, value in attributes.items()},
    }
    for (*parents, name), value in placed.items():
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return orjson.dumps(found)


def person(number: int, *, email: str | None = None, attributes: dict[str, Any] | None = None, **given: Any) -> Row:
    """Somebody with an address, and a payload of these attributes."""
    email = email or f"person{number}@example.com"
    customer_id = f"C{number}"
    return Row(customer_id, email, payload=payload(customer_id, email, attributes or {}), **given)


@dataclass
class Line:
    """The client and the vendor that it talks to."""

    client: klaviyo.Klaviyo
    vendor: RunningVendor
    clock: Any

    @property
    def app(self) -> Any:
        return self.vendor.app

    def send(self, operation: Operation, rows: Sequence[Row], list_id: str | None = None) -> Results:
        """Send, and wait until the vendor is done with it and with everything else."""
        answer = self.client.send(operation, rows, key="unused", list_id=list_id)
        if isinstance(answer, Job):
            while (results := self.client.results(operation, answer.job_id, rows)) is None:
                self.clock.advance(1.0)
            answer = results
        self.clock.advance(JOB_SECONDS)
        return answer

    def profile(self, number: int) -> dict:
        """The stand-in's profile of a person."""
        return self.app.profile(f"person{number}@example.com")

    def reasons(self, number: int) -> list[str]:
        """Why a person gets no mail."""
        return [one["reason"] for one in self.profile(number)["marketing"]["suppression"]]

    def state(self) -> list[dict]:
        """All profiles without what passes with time."""
        with self.app._lock:
            self.app.jobs.work()
            found = [dict(one) for one in self.app.people.profiles.values()]
        for one in found:
            for name in ("id", "created", "updated"):
                del one[name]
            marketing = {name: value for name, value in one["marketing"].items() if name != "last_updated"}
            one["marketing"] = {
                **marketing,
                "consent_timestamp": marketing["consent_timestamp"] is not None,
                "suppression": [entry["reason"] for entry in marketing["suppression"]],
            }
        return found


@contextmanager
def connected(clock: Any, specifications: Path | None = None, token: str = KEY, **given: Any) -> Iterator[Line]:
    """A running stand-in under its real limits, on the test's clock, and a client of it."""
    given = {"job_seconds": JOB_SECONDS, **given}
    with running("klaviyo", specifications=specifications, clock=clock, **given) as vendor:
        connection = Connection(vendor.base_url, token)
        with klaviyo.open_client(connection, klaviyo.Options()) as client:
            yield Line(client, vendor, clock)
        assert vendor.app.complaints == []
