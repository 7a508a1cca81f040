"""The local ESP: bulk profiles and suppressions by HTTP, mail by SMTP (see ``campaign.py``)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import orjson

from letterpress.activation.destinations import (
    Connection,
    Receipt,
    RowResult,
    SuppressionEvent,
    SuppressionRequest,
)
from letterpress.activation.destinations.http import JsonApi

PAGE = 1_000


@contextmanager
def open_client(connection: Connection) -> Iterator["LocalEsp"]:
    """A client that connects with its first request and is closed at the end."""
    api = JsonApi("local_esp", connection)
    try:
        yield LocalEsp(api)
    finally:
        api.close()


class LocalEsp:
    """The operations of :class:`letterpress.activation.destinations.Client`."""

    def __init__(self, api: JsonApi):
        self._api = api

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def upsert(self, payloads: Sequence[bytes], idempotency_key: str) -> list[RowResult]:
        """``POST /api/profiles``."""
        body = b'{"profiles":[' + b",".join(payloads) + b"]}"
        return _results(self._api.post("/api/profiles", body, idempotency_key=idempotency_key))

    def delete(self, external_ids: Sequence[str], idempotency_key: str) -> list[RowResult]:
        """``POST /api/profiles/delete``; a profile that is not there counts as deleted."""
        body = orjson.dumps({"external_ids": list(external_ids)})
        return _results(self._api.post("/api/profiles/delete", body, idempotency_key=idempotency_key))

    def suppress(self, people: Sequence[SuppressionRequest], idempotency_key: str) -> list[RowResult]:
        """``POST /api/suppressions``: the same one again changes nothing there, so the key is not needed."""
        rows = [
            {"external_id": person.external_id, "email": person.email, "reason": person.reason} for person in people
        ]
        return _results(self._api.post("/api/suppressions", orjson.dumps({"suppressions": rows})))

    def lift(self, external_id: str, email: str, consent_proof: str) -> RowResult:
        """``POST /api/suppressions/lift``; a complaint, a hard bounce or a used proof is refused."""
        body = orjson.dumps({"external_id": external_id, "email": email, "consent_proof": consent_proof})
        answer = self._api.post("/api/suppressions/lift", body, refused=409)
        return RowResult(external_id, _error_code(answer))

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

    def profiles(self) -> Iterator[dict]:
        """``GET /api/profiles``: everything that the ESP holds, to compare with the ledger."""
        yield from self._pages("/api/profiles", None)

    def receipt(self, idempotency_key: str) -> Receipt | None:
        """``GET /api/messages/{key}``."""
        found = self._api.get(f"/api/messages/{idempotency_key}", missing=404)
        return found and Receipt(found["message_id"], datetime.fromisoformat(found["accepted_at"]))

    def _pages(self, path: str, since: str | None) -> Iterator[dict]:
        cursor = None
        while True:
            params = {"page_size": PAGE, "since": since, "cursor": cursor}
            page = self._api.get(path, params={name: value for name, value in params.items() if value})
            yield from page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return


def _results(answer: dict) -> list[RowResult]:
    return [
        RowResult(row["external_id"], row["error"]["code"] if row["status"] == "rejected" else None)
        for row in answer["results"]
    ]


def _error_code(answer: dict) -> str | None:
    error = answer.get("error")
    return error["code"] if error else None
