"""The local ESP: bulk profiles and suppressions by HTTP, mail by SMTP (see ``campaign.py``)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import orjson

from letterpress.activation.configuration import Block
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.destinations.spec import (
    Endpoint,
    Held,
    Operation,
    Results,
    Row,
    RowError,
    Shape,
    SuppressionEvent,
)

PAGE = 1_000

# Profiles are replaced whole there: a payload without an attribute removes it.
SHAPE = Shape(
    external_id="external_id",
    email="email",
    attributes="attributes",
    named={"segments": "segments"},
    merges=False,
    reserved=("external_id", "email"),
)

ENDPOINTS = {
    Operation.SUPPRESS: Endpoint(rows=1_000),
    Operation.ERASE: Endpoint(rows=1_000),
    Operation.MOVE: Endpoint(rows=1_000),
    Operation.DELETE: Endpoint(rows=1_000),
    Operation.SUBSCRIBE: Endpoint(rows=1),
    Operation.UPSERT: Endpoint(rows=1_000, bytes=1_000_000, in_flight=1),
    "read": Endpoint(),
}


class Options(Block):
    """It has no settings of its own."""


@dataclass(frozen=True)
class Receipt:
    """A message that the local ESP took over."""

    message_id: str
    accepted_at: datetime


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["LocalEsp"]:
    """A client that connects with its first request and is closed at the end."""
    api = JsonApi("local_esp", connection, ENDPOINTS, headers={"Authorization": f"Bearer {connection.token}"})
    try:
        yield LocalEsp(api)
    finally:
        api.close()


class LocalEsp:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`, and receipts of mails."""

    def __init__(self, api: JsonApi):
        self._api = api

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Attributes are free there."""

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """One request; a person who opts in anew is one of their own."""
        match operation:
            case Operation.UPSERT:
                body = b'{"profiles":[' + b",".join(row.payload or b"" for row in rows) + b"]}"
                return self._keyed(operation, "/api/profiles", body, key)
            case Operation.DELETE | Operation.ERASE:
                body = orjson.dumps({"external_ids": [row.customer_id for row in rows]})
                if operation is Operation.ERASE:
                    self._suppress(operation, rows, "erased")
                return self._keyed(operation, "/api/profiles/delete", body, key)
            case Operation.MOVE:
                moves = [{"external_id": row.customer_id, "new_external_id": row.moves_to} for row in rows]
                return self._keyed(operation, "/api/profiles/move", orjson.dumps({"moves": moves}), key)
            case Operation.SUPPRESS:
                return self._suppress(operation, rows)
            case Operation.SUBSCRIBE:
                return self._lift(rows[0])
        raise ValueError(f"local_esp: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing is queued there."""
        raise ValueError(f"local_esp: expected no job, found {job_id}")

    def is_busy(self) -> bool:
        """Nothing is queued there."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """``GET /api/suppressions``; the position is the last instant, read again to miss none at the same."""
        events = [
            SuppressionEvent(
                email=row["email"],
                external_id=row["external_id"],
                reason=row["reason"],
                suppressed_at=datetime.fromisoformat(row["suppressed_at"]),
                sequence=row["sequence"],
            )
            for row in self._pages("/api/suppressions", since)
        ]
        latest = max((event.suppressed_at for event in events), default=None)
        return events, latest.isoformat() if latest else since

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """``GET /api/profiles``: all of them, of which the wanted ones are kept."""
        wanted = {row.customer_id for row in rows}
        return [
            Held(
                customer_id=profile["external_id"],
                email=profile["email"],
                attributes={
                    name: profile["segments"] if name == "segments" else profile["attributes"].get(name)
                    for name in attributes
                },
                is_suppressed=profile["suppressed"],
            )
            for profile in self._pages("/api/profiles", None)
            if profile["external_id"] in wanted
        ]

    def receipt(self, idempotency_key: str) -> Receipt | None:
        """``GET /api/messages/{key}``: the message that was accepted under a key, if any."""
        found = self._api.get("read", f"/api/messages/{idempotency_key}", missing=(404,))
        return found and Receipt(found["message_id"], datetime.fromisoformat(found["accepted_at"]))

    def _keyed(self, operation: Operation, path: str, body: bytes, key: str) -> Results:
        return _results(self._api.post(operation, path, body, headers={"Idempotency-Key": key}))

    def _suppress(self, operation: Operation, rows: Sequence[Row], reason: str | None = None) -> Results:
        """``POST /api/suppressions``: the same one again changes nothing there, so the key is not needed."""
        people = [{"external_id": row.customer_id, "email": row.email, "reason": reason or row.reason} for row in rows]
        return _results(self._api.post(operation, "/api/suppressions", {"suppressions": people}))

    def _lift(self, row: Row) -> Results:
        """``POST /api/suppressions/lift``; a complaint, a hard bounce or a used proof is refused."""
        body = {"external_id": row.customer_id, "email": row.email, "consent_proof": row.consent_proof}
        answer = self._api.post(Operation.SUBSCRIBE, "/api/suppressions/lift", body, expected=(409,))
        error = answer.get("error")
        return Results({row.customer_id: RowError(error["code"], error["message"])} if error else {})

    def _pages(self, path: str, since: str | None) -> Iterator[dict]:
        cursor = None
        while True:
            params = {"page_size": PAGE, "since": since, "cursor": cursor}
            page = self._api.get("read", path, params={name: value for name, value in params.items() if value})
            yield from page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return


def _results(answer: dict) -> Results:
    return Results(
        {
            row["external_id"]: RowError(row["error"]["code"], row["error"]["message"])
            for row in answer["results"]
            if row["status"] == "rejected"
        }
    )
