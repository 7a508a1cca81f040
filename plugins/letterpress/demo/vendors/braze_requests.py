"""How Braze reads requests, and the corrections to the community's OpenAPI document that describes them."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from letterpress.demo.vendors.braze_profiles import EMAIL
from letterpress.demo.vendors.specification import Specification
from letterpress.demo.vendors.standin import Answer, Call, Refusal

ROWS, PAGE, PAGES = 50, 100, 500
BYTES = 4_000_000  # Braze documents none; more than this no proxy in front of it can be trusted to take


def corrected(document: Mapping[str, Any]) -> dict[str, Any]:
    """The community's document, where its schemas contradict its own descriptions and what Braze answers.

    Addresses may be one or a list; a merge is answered with 202; errors may be objects.
    """
    whole = copy.deepcopy(dict(document))
    several = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    for path in ("/email/status", "/email/blocklist"):
        content = whole["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        content["schema"]["properties"]["email"] = several
    answers = whole["paths"]["/users/merge"]["post"]["responses"]
    answers["202"] = answers["201"]
    whole["components"]["schemas"]["Error"]["properties"]["errors"]["items"] = {"type": ["string", "object"]}
    return whole


@cache
def corrected_specification(given: Specification) -> Specification:
    """The specification with :func:`corrected`; made once."""
    return Specification(corrected(given.document))


def wrong(message: str) -> Refusal:
    """A refusal of the whole request."""
    return Refusal(400, "invalid", message)


def body_of(call: Call, *names: str) -> dict[str, Any]:
    """A body that holds these names and no other."""
    if len(call.content) > BYTES:
        raise Refusal(413, "too_large", "Request Entity Too Large")
    body = call.body
    if not isinstance(body, dict):
        raise wrong("Bad syntax")
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise wrong(f"unknown field '{unknown[0]}'")
    return body


def list_of(body: Mapping[str, Any], name: str, most: int, too_many: str | None = None) -> list[Any]:
    """A non-empty list of a body, of at most so many."""
    found = body.get(name)
    if not isinstance(found, list) or not found:
        raise wrong(f"'{name}' must be a non-empty array")
    if len(found) > most:
        raise wrong(too_many or "The max number of ids per request was exceeded")
    return found


def identifiers_of(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of user ids."""
    found = list_of(body, name, ROWS)
    if not all(_is_id(one) for one in found):
        raise wrong(f"'{name}' must be an array of strings")
    return found


def emails_of(body: Mapping[str, Any]) -> list[str]:
    """One address or a list of them, in lower case."""
    found = body.get("email")
    emails = [found] if isinstance(found, str) else list_of(body, "email", ROWS)
    if not all(isinstance(one, str) and EMAIL.fullmatch(one) for one in emails):
        raise wrong("'email' must be a valid email address, or an array of them")
    return [one.lower() for one in emails]


def pair_of(found: Any, *names: str) -> list[str]:
    """The ids of an object that holds these names and no other."""
    if not isinstance(found, dict) or set(found) != set(names) or not all(_is_id(found[name]) for name in names):
        raise wrong(f"expected an object with {' and '.join(names)}")
    return [found[name] for name in names]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255


def page_of(call: Call, found: Mapping[str, float], column: str, *more: str) -> Answer:
    """Entries of whole days, newest first unless asked otherwise."""
    query = call.query
    if set(query) - {"start_date", "end_date", "limit", "offset", *more}:
        raise wrong("unknown parameter")
    try:
        start, end = (_midnight(query[name]) for name in ("start_date", "end_date"))
        limit, offset = int(query.get("limit", PAGE)), int(query.get("offset", 0))
    except (KeyError, ValueError):
        raise wrong("'end_date' and 'start_date' must be dates, 'limit' and 'offset' integers") from None
    direction = query.get("sort_direction", "desc")
    if start >= end or not 1 < limit <= PAGES or offset < 0 or direction not in ("asc", "desc"):
        raise wrong("'start_date' must be before 'end_date', 'limit' at most 500")
    rows = sorted((at, email) for email, at in found.items() if start <= at < end)
    if direction == "desc":
        rows.reverse()
    listed = [{"email": email, column: _written(at)} for at, email in rows[offset : offset + limit]]
    return Answer(200, {"emails": listed, "message": "success"})


def _midnight(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
