"""Reading fields that come from outside: absent, of another type or empty they are none, and never an exception."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from letterpress.activation.webhooks.spec import Unreadable


def parsed(body: bytes) -> Any:
    """The JSON of a body. Raises Unreadable for anything else."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreadable("expected JSON") from None


def objects(found: Any) -> list[dict]:
    """A list of JSON objects; a single one counts as such a list. Raises Unreadable for anything else."""
    listed = [found] if isinstance(found, dict) else found
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unreadable("expected JSON objects")
    return listed


def inside(found: Any, *path: str) -> Any:
    """What stands at the end of a path of keys; none where there is no such thing."""
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def text(found: Any) -> str | None:
    """A filled text, or a number as text. PostgreSQL keeps no zero bytes, so they go."""
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return str(found).replace("\0", "").strip() or None


def epoch(found: Any, *, per_second: int = 1) -> datetime | None:
    """An instant from seconds since 1970, or from thousandths of them."""
    try:
        return datetime.fromtimestamp(float(found) / per_second, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def instant(found: Any) -> datetime | None:
    """An instant from ISO 8601 with its zone."""
    try:
        read = datetime.fromisoformat(found)
    except (TypeError, ValueError):
        return None
    return read.astimezone(UTC) if read.tzinfo else None
