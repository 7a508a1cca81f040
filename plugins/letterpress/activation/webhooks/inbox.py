"""What vendors tell, kept until it has landed, and suppression at once: one transaction, and an event counts once.

The table is the receiver's memory, too: an event that is in it was told before, in the same delivery sent again or
in another one, and changes nothing. It stays for ``KEPT``, longer than any vendor repeats itself.
"""

import hmac
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from letterpress.activation import ledger, stores
from letterpress.activation.destinations.spec import SuppressionEvent
from letterpress.activation.pull import take_over
from letterpress.activation.stores import WEBHOOK_EVENTS
from letterpress.activation.webhooks.spec import Event

log = logging.getLogger(__name__)

KEPT = timedelta(days=8)  # Salesforce repeats a delivery for seven
AHEAD = timedelta(minutes=5)  # what a vendor's clock may be ahead of ours
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST_ID = 128  # of an event or a person, as the stores keep it

_COLUMNS = tuple(column.name for column in WEBHOOK_EVENTS.columns)


@dataclass(frozen=True)
class Taken:
    """What became of a delivery: events that are new, those told before, hashes that are newly suppressed."""

    new: int = 0
    known: int = 0
    suppressed: int = 0
    nobody: int = 0  # who wants no more mail, and is neither an address nor a person of ours


def plausible(events: Iterable[Event], *, now: datetime, oldest: timedelta | None) -> tuple[list[Event], int]:
    """The events that can have happened when they say, and how many cannot, or are too old to be told only now."""
    earliest = now - oldest if oldest else EARLIEST
    found = list(events)
    kept = [event for event in found if earliest <= event.occurred_at <= now + AHEAD]
    return kept, len(found) - len(kept)


def take_in(
    engine: sa.Engine, destination: str, events: Sequence[Event], *, identity_key: bytes, now: datetime
) -> Taken:
    """Keep what is new, and suppress whom it says; durable when this returns."""
    named = {_event_id(event, destination, identity_key): _storable(event) for event in events}
    if not named:
        return Taken()
    with stores.writing(engine) as connection:
        known = _known(connection, destination, named)
        fresh = {event_id: event for event_id, event in named.items() if event_id not in known}
        if not fresh:
            return Taken(known=len(named))
        fresh = _with_people(connection, destination, fresh)
        at = text_of(_position(connection, now))
        rows = [_row(destination, event_id, event, at) for event_id, event in fresh.items()]
        stores.write_many(connection, WEBHOOK_EVENTS, _COLUMNS, rows)
        stopped = [_stop(event) for event in fresh.values() if event.suppression]
        reached = [one for one in stopped if one.email or one.external_id]
        suppressed = take_over(connection, destination, reached, identity_key=identity_key)
    return Taken(len(fresh), len(known), suppressed, len(stopped) - len(reached))


def forget(engine: sa.Engine, *, landed_through: datetime | None, now: datetime) -> int:
    """Remove what has landed and will not be told again; returns how many events."""
    if landed_through is None:
        return 0
    with stores.writing(engine) as connection:
        gone = connection.execute(
            sa.delete(WEBHOOK_EVENTS).where(
                WEBHOOK_EVENTS.c.received_at <= text_of(landed_through),
                WEBHOOK_EVENTS.c.received_at < text_of(now - KEPT),
            )
        ).rowcount
    if gone:
        log.info("webhooks: %d events forgotten that have landed", gone)
    return gone


def text_of(instant: datetime) -> str:
    """An instant as the table keeps it, so that texts are in the order of time: always with microseconds, in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _event_id(event: Event, destination: str, identity_key: bytes) -> str:
    """The vendor's id; else a keyed hash of what makes the event this one, which tells nothing of an address."""
    if event.event_id and len(event.event_id) <= LONGEST_ID:
        return event.event_id
    told = "\n".join((destination, *((event.event_id,) if event.event_id else event.told)))
    return hmac.digest(identity_key, told.encode(), "sha256").hex()


def _storable(event: Event) -> Event:
    """Nobody of ours has an id as long as this one: it is somebody else's name for the person."""
    return replace(event, customer_id=None) if len(event.customer_id or "") > LONGEST_ID else event


def _known(connection: sa.Connection, destination: str, event_ids: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for chunk in stores.chunks(event_ids):
        query = sa.select(WEBHOOK_EVENTS.c.event_id).where(
            WEBHOOK_EVENTS.c.destination == destination, WEBHOOK_EVENTS.c.event_id.in_(chunk)
        )
        found.update(connection.scalars(query))
    return found


def _position(connection: sa.Connection, now: datetime) -> datetime:
    """Later than every delivery before, though a clock went back: whatever was read up to here is complete."""
    last = connection.scalar(sa.select(sa.func.max(WEBHOOK_EVENTS.c.received_at)))
    return now if last is None else max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))


def _with_people(connection: sa.Connection, destination: str, events: dict[str, Event]) -> dict[str, Event]:
    """The same events with the person's id, where the ledger knows whom the vendor means.

    It is asked for those who want no more mail, and for those of whom the vendor tells no address.
    """
    wanted = {
        event.vendor_id
        for event in events.values()
        if event.vendor_id and not event.customer_id and (event.suppression or not event.email)
    }
    people = ledger.people_of(connection, destination, sorted(wanted))
    return {
        event_id: replace(event, customer_id=people.get(event.vendor_id)) if event.vendor_id in wanted else event
        for event_id, event in events.items()
    }


def _row(destination: str, event_id: str, event: Event, received_at: str) -> tuple:
    values = asdict(event) | {
        "destination": destination,
        "event_id": event_id,
        "message_id": event.message_id or event_id,  # what names no message stands for one of its own
        "occurred_at": text_of(event.occurred_at),
        "received_at": received_at,
    }
    return tuple(values[name] for name in _COLUMNS)


def _stop(event: Event) -> SuppressionEvent:
    return SuppressionEvent(event.email, event.customer_id, event.suppression or "", event.occurred_at)
