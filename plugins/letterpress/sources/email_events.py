"""E-mail events in the one shape that every sender's land in, and what turns a vendor's own words into it."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from letterpress.sources.entities import FLAG, INSTANT, TEXT, Entity, column, schema_of
from letterpress.sources.errors import SourceUnavailable

log = logging.getLogger(__name__)

Row = dict[str, Any]
Made = TypeVar("Made")

EMAIL_EVENTS = Entity(
    name="events",
    key=("event_id",),
    cursor="received_at",
    schema=schema_of(
        column("event_id", TEXT),
        column("message_id", TEXT),
        column("campaign_id", TEXT),
        column("campaign_name", TEXT),
        column("subject", TEXT),
        column("customer_id", TEXT),
        column("email", TEXT),
        column("event_type", TEXT),
        column("bounce_type", TEXT),
        column("is_machine_open", FLAG),
        column("url", TEXT),
        column("occurred_at", INSTANT),
        column("received_at", INSTANT),
    ),
)


def event(*, event_id: str, event_type: str, occurred_at: datetime, message_id: str | None = None, **more: Any) -> Row:
    """One row of :data:`EMAIL_EVENTS`; what is not given is empty.

    An event that names no message stands for a message of its own. A vendor hears of an event as it happens, and
    tells no other instant. A kind that we have no word for keeps the vendor's: the warehouse quarantines it.
    """
    at = occurred_at.astimezone(UTC).isoformat()
    return {
        **dict.fromkeys(EMAIL_EVENTS.schema.names),
        "event_id": event_id,
        "message_id": message_id or event_id,
        "event_type": event_type,
        "is_machine_open": False,
        "occurred_at": at,
        "received_at": at,
        **more,
    }


def event_id(*parts: str | None) -> str:
    """An id for an event that its vendor gives none: a hash of all that makes it this one, personal or not."""
    return hashlib.sha256("\x1f".join(part or "" for part in parts).encode()).hexdigest()[:32]


def rows(name: str, label: str, found: Iterable[Any], read: Callable[[Any], list[Made]]) -> list[Made]:
    """The rows, or whatever else ``read`` makes of what a page holds.

    Raises ``SourceUnavailable`` for what is not as the vendor documents it, and keeps its values out of the message.
    """
    made: list[Made] = []
    for place, one in enumerate(found):
        try:
            made += read(one)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            lacking = (
                f"one without {error}" if isinstance(error, KeyError) else f"one that ends in {type(error).__name__}"
            )
            raise SourceUnavailable(
                f"{name}: {label}, row {place}: expected it as the vendor documents it, found {lacking}; nothing "
                f"landed. Next step: compare the vendor's changelog with the module of {name.split('.')[0]}"
            ) from None
    return made


def log_left_out(name: str, kinds: Mapping[str, int]) -> None:
    """Say how many events (or sets of them) were left out on purpose, by the vendor's word for their kind."""
    if kinds:
        log.info("%s: no engagement, left out: %s", name, dict(sorted(kinds.items())))
