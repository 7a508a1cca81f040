"""What Klaviyo's answers mean: whose errors, whose suppressions, what a profile holds, where the next page begins."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson

from letterpress.activation.destinations.http import masked, no_explanation
from letterpress.activation.destinations.spec import BatchRefused, Held, Row, RowError, SuppressionEvent

REASONS = {
    "UNSUBSCRIBE": "unsubscribed",
    "SPAM_COMPLAINT": "complained",
    "HARD_BOUNCE": "bounced",
    "INVALID_EMAIL": "bounced",
    "USER_SUPPRESSED": "consent_withdrawn",
}
_BEGINNING = datetime(2012, 1, 1, tzinfo=UTC)  # Klaviyo's own: nobody was suppressed there before
_OVERLAP = timedelta(minutes=10)  # a suppression may be seen a little later than it says
_POSITION = re.compile(r"/data/attributes/profiles/data/(\d+)(?:/|$)")


def explain(response: httpx.Response) -> tuple[str, str]:
    """Code and message of a refusal; what is missing where a key may not do something."""
    errors = _errors(response)
    if not errors:
        return no_explanation(response)
    error = errors[0]
    if response.status_code in (401, 403):
        return _code(error), masked(str(error.get("detail") or ""))
    return _code(error), _without_detail(error)


def refusal(response: httpx.Response, rows: Sequence[Row]) -> BatchRefused:
    """The refusal of a request, with the people whom it points at by their position; one of one person is theirs."""
    named: dict[str, RowError] = {}
    for error in _errors(response):
        row = rows[0] if len(rows) == 1 else _row_at(_pointer(error), rows)
        if row is not None:
            named.setdefault(row.customer_id, _row_error(error, row))
    unnamed = RowError(*explain(response))
    if len(rows) == 1 and not named:
        named[rows[0].customer_id] = unnamed
    first = next(iter(named.values()), unnamed)
    return BatchRefused(first.code, first.message, named)


def import_error(
    error: Mapping[str, Any], by_id: Mapping[str, Row], rows: Sequence[Row]
) -> tuple[Row | None, RowError]:
    """Whose error it is, and the error.

    Klaviyo repeats the profile: its external_id is the person, in whatever order the rows come here. Where it
    does not, the pointer's position counts, in the order in which the rows were sent.
    """
    payload = error.get("original_payload") or {}
    attributes = payload.get("attributes") if isinstance(payload.get("attributes"), dict) else payload
    row = by_id.get(attributes.get("external_id")) or _row_at(_pointer(error), rows)
    return row, _row_error(error, row, attributes)


def suppression_events(profile: Mapping[str, Any]) -> list[SuppressionEvent]:
    """Why somebody gets no mail there at all; what ended for one list alone is not told.

    A suppression "by a user" is a marketer's, or our own that comes back. Ours may have been for a dead mailbox,
    which says nothing about the person: so it counts for the address alone, and only where no other reason stands
    beside it.
    """
    attributes = profile["attributes"]
    found = attributes["subscriptions"]["email"]["marketing"].get("suppression") or []
    told = [one for one in found if one["reason"] != "USER_SUPPRESSED"] or found
    return [
        SuppressionEvent(
            email=attributes.get("email"),
            external_id=None if one["reason"] == "USER_SUPPRESSED" else attributes.get("external_id"),
            reason=REASONS[one["reason"]],
            suppressed_at=_utc(datetime.fromisoformat(one["timestamp"])),
        )
        for one in told
    ]


def held(profile: Mapping[str, Any], paths: Mapping[str, Sequence[str]]) -> Held:
    """A profile by the field map's names."""
    attributes = profile["attributes"]
    marketing = attributes["subscriptions"]["email"]["marketing"]
    return Held(
        customer_id=attributes["external_id"],
        email=attributes.get("email"),
        attributes={name: _value(profile, path) for name, path in paths.items()},
        is_suppressed=not marketing["can_receive_email_marketing"],
        vendor_id=profile["id"],
    )


def next_cursor(page: Mapping[str, Any]) -> str | None:
    """Where the next page begins; none after the last."""
    link = (page.get("links") or {}).get("next")
    return parse_qs(urlsplit(link).query)["page[cursor]"][0] if link else None


def timestamp(value: str | datetime | None) -> str:
    """An instant as its filters take it: in UTC with Z. Of a position, a little before it; none: the beginning."""
    if isinstance(value, datetime):
        return f"{_utc(value):%Y-%m-%dT%H:%M:%S.%fZ}"
    return timestamp(_BEGINNING if value is None else datetime.fromisoformat(value) - _OVERLAP)


def _utc(instant: datetime) -> datetime:
    """Klaviyo leaves the zone out where it is UTC."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _value(profile: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What stands at a path; an empty value is none."""
    value: Any = profile
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value == "" else value


def _row_at(pointer: str | None, rows: Sequence[Row]) -> Row | None:
    match = _POSITION.match(pointer or "")
    position = int(match[1]) if match else len(rows)
    return rows[position] if position < len(rows) else None


def _row_error(error: Mapping[str, Any], row: Row | None, repeated: Any = None) -> RowError:
    """An error without the values of whoever it is about: Klaviyo quotes what it does not like."""
    if row is None:
        return RowError(_code(error), _without_detail(error))
    sent = orjson.loads(row.payload)["attributes"] if row.payload else None
    message = str(error.get("detail") or error.get("title") or "")
    for value in sorted(_texts([row.email, sent, repeated]), key=len, reverse=True):
        message = message.replace(value, "…")
    return RowError(_code(error), masked(message))


def _texts(node: Any) -> set[str]:
    """All texts of a JSON value that may be quoted."""
    if isinstance(node, Mapping):
        node = list(node.values())
    if isinstance(node, list):
        return set().union(*map(_texts, node))
    return {node} if isinstance(node, str) and len(node) > 1 else set()


def _without_detail(error: Mapping[str, Any]) -> str:
    """What is wrong, and where: the detail may quote somebody's data."""
    return f"{masked(str(error.get('title') or ''))} ({_pointer(error) or 'the request'})"


def _code(error: Mapping[str, Any]) -> str:
    return masked(str(error.get("code") or "unknown"))


def _pointer(error: Mapping[str, Any]) -> str | None:
    return (error.get("source") or {}).get("pointer")


def _errors(response: httpx.Response) -> list[dict]:
    try:
        errors = orjson.loads(response.content)["errors"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
