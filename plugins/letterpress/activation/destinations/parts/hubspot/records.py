"""HubSpot's contacts as they are read, its refusals as they are understood, and the limits that its answers tell."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
import orjson

from letterpress.activation.destinations.http import JsonApi, chunked, masked
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Row, RowError

ID = "letterpress_id"
CONTACTS = "/crm/v3/objects/contacts"
ROWS, HISTORIES = 100, 50  # contacts of a batch, of one with the histories of properties
DAY = 86_400.0
PAUSES = {"DAILY": DAY, "TEN_SECONDLY_ROLLING": 10.0, "SECONDLY": 1.0}  # by policy; when the day ends is not said
LOCKED = 2.0  # seconds that HubSpot asks for after a 423
TRANSIENT = ("INTERNAL_ERROR", "RATE_LIMITS")  # categories that say nothing about the row
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|\S*[\d@_]\S*|\S+\.\S+")


class Records:
    """Contacts by a property whose values are unique."""

    def __init__(self, api: JsonApi):
        self.api = api

    def ask(self, endpoint: str, path: str, body: Any, method: str = "POST") -> Any:
        """A request that concerns no row of ours: what is wrong with it is wrong for all of them."""
        try:
            return self.api.post(endpoint, path, body, method=method)
        except BatchRefused as refusal:
            raise DestinationError(
                f"hubspot: {method} {path} was refused ({refusal}); check the names of attributes and options"
            ) from None

    def found(self, by: str, values: Iterable[str | None], properties: Sequence[str]) -> list[dict]:
        """The contacts that have one of these values; whoever is not there is left out."""
        found = []
        for chunk in chunked(dict.fromkeys(value for value in values if value), ROWS):
            body = {
                "idProperty": by,
                "inputs": [{"id": value} for value in chunk],
                "properties": list(properties),
                "propertiesWithHistory": [],
            }
            found += self.ask("read", f"{CONTACTS}/batch/read", body)["results"]
        return found

    def ids(self, customer_ids: Iterable[str | None]) -> dict[str, str]:
        """By customer id: HubSpot's own, as it is now."""
        return {contact["properties"][ID]: contact["id"] for contact in self.found(ID, customer_ids, [ID])}

    def histories(self, ids: Iterable[str], properties: Sequence[str], dated: Sequence[str]) -> Iterable[dict]:
        """Contacts by HubSpot's id, with all values that the ``dated`` properties ever had."""
        for chunk in chunked(ids, HISTORIES):
            body = {
                "inputs": [{"id": one} for one in chunk],
                "properties": list(properties),
                "propertiesWithHistory": list(dated),
            }
            yield from self.ask("read", f"{CONTACTS}/batch/read", body)["results"]


def email_of(contact: Mapping[str, Any]) -> str:
    """The address, in lower case as HubSpot keeps it; empty where there is none."""
    return (contact["properties"].get("email") or "").lower()


def milliseconds(instant: str) -> int:
    """Since 1970, of an instant in HubSpot's answers."""
    return round(datetime.fromisoformat(instant).timestamp() * 1_000)


def explained(error: Mapping[str, Any]) -> tuple[str, str]:
    """Code and message of a refusal, with the names of properties and without their values.

    HubSpot's texts quote values: what stands behind a colon or within quotes is left out, and what is no plain word.
    """
    parts = [part for part in error.get("errors") or [] if part]
    codes = list(dict.fromkeys(part["code"] for part in parts if part.get("code")))
    names = dict.fromkeys(name for part in parts for name in (part.get("context") or {}).get("propertyName", []))
    code = codes[0] if len(codes) == 1 else error.get("category") or "refused"
    if parts:
        return code, ", ".join(names)
    text = str(error.get("message") or "").split(":")[0]
    return code, _VALUE.sub("…", text)


def row_error(error: Mapping[str, Any], row: Row) -> RowError:
    """Why one person was refused; whatever was sent of the person is cut out of the message."""
    code, message = explained(error)
    values = [row.email or "", row.customer_id]
    if row.payload:
        values += [str(value) for value in orjson.loads(row.payload).get("properties", {}).values()]
    for value in sorted({value for value in values if len(value) > 2}, key=len, reverse=True):
        message = re.sub(re.escape(value), "…", message, flags=re.IGNORECASE)
    return RowError(code, masked(message), is_transient=error.get("category") in TRANSIENT)


def named(item: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """The rows that a part of an answer is about: by the number that was sent with each, else by our id."""
    context = item.get("context") or {}
    numbers = [item.get("objectWriteTraceId"), *context.get("objectWriteTraceId", [])]
    found = [rows[int(number)] for number in numbers if str(number).isdigit() and int(number) < len(rows)]
    if found:
        return found
    ids = {(item.get("properties") or {}).get(ID), *context.get("ids", [])}
    return [row for row in rows if row.customer_id in ids]


def body_of(response: httpx.Response) -> dict[str, Any]:
    """A refusal's JSON; empty where it is none (a gateway's page)."""
    try:
        found = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def patience(response: httpx.Response) -> float | None:
    """Seconds to wait after a 429 or 423, whose answers have no ``Retry-After``: by the policy that is used up."""
    if response.status_code == 423:
        return LOCKED
    return PAUSES.get(str(body_of(response).get("policyName")).upper()) if response.status_code == 429 else None


def left(response: httpx.Response) -> int | None:
    """How many more requests the private app may make in the present ten seconds; searches do not tell."""
    value = response.headers.get("X-HubSpot-RateLimit-Remaining", "")
    return int(value) if value.isdigit() else None
