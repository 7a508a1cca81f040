"""What destinations and people say about consent, before anything is pushed: into live suppression at once."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from letterpress.activation import audience, ledger, stores, suppression
from letterpress.activation.destinations import Connection, Destination, destinations, open_client
from letterpress.activation.destinations.spec import Operation, SuppressionEvent
from letterpress.activation.kept import Kept
from letterpress.activation.seal import Seal

log = logging.getLogger(__name__)


def pull_suppressions(*, destination: Destination, connection: Connection, stores_url: str, identity_key: bytes) -> int:
    """Fetch what the destination has suppressed since the last pull; returns how many hashes are new.

    The store and the position in the destination's list commit together. Raises DestinationError when the
    destination does not answer: then nothing may be pushed.
    """
    name = f"{destination.name}.suppressions"
    with (
        stores.opened(stores_url) as engine,
        open_client(destination, connection, Kept(engine, Seal(identity_key), destination.name)) as client,
    ):
        with stores.reading(engine) as read:
            since = suppression.position(read, name)
        events, position = client.suppressions(since)
        with stores.writing(engine) as write:
            new = take_over(write, destination.name, events, identity_key=identity_key)
            if position is not None:
                suppression.advance(write, name, position)
    log.info("%s: %d suppressions read, %d new hashes", destination.name, len(events), new)
    return new


def take_over(
    connection: sa.Connection, destination: str, events: Sequence[SuppressionEvent], *, identity_key: bytes
) -> int:
    """Suppress whom a destination has suppressed, within a write transaction; returns how many hashes are new.

    It makes no difference whether the destination was asked or told of it by itself.
    """
    ours = _suppressed_by_us(connection, destination, events)
    events = [one for one in events if one.external_id not in ours or one.reason not in suppression.LIFTABLE]
    new = suppression.suppress(connection, _entries(events, destination, identity_key))
    people = {event.external_id: event for event in events if event.external_id}
    news = ledger.note_suppressed(connection, destination, {one: event.reason for one, event in people.items()})
    told = {one: people[one] for one in news}
    elsewhere = _opted_in_elsewhere(connection, destination, told, identity_key)
    ledger.plan_again(connection, destination, elsewhere, facet=ledger.CONSENT)
    return new


def _opted_in_elsewhere(
    connection: sa.Connection, destination: str, events: Mapping[str, SuppressionEvent], identity_key: bytes
) -> set[str]:
    """Whose opt-in the destination has, or may have, for another address than the one that it suppresses.

    Mail may go there still, which the event says nothing of.
    """
    return {
        customer_id
        for customer_id, target, _ in ledger.all_payloads(connection, destination, events)
        if target.startswith(ledger.GRANTED)
        and (email := events[customer_id].email)
        and not target.endswith(suppression.mark(email, identity_key))
    }


def _entries(events: Sequence[SuppressionEvent], source: str, identity_key: bytes) -> list[suppression.Suppression]:
    return [
        entry
        for event in events
        for entry in suppression.entries(
            email=event.email,
            customer_id=event.external_id,
            reason=event.reason,
            source=source,
            suppressed_at=event.suppressed_at,
            sequence=event.sequence,
            identity_key=identity_key,
        )
    ]


def _suppressed_by_us(connection: sa.Connection, destination: str, events: Sequence[SuppressionEvent]) -> set[str]:
    """Whom the destination suppresses because we asked it to, when the warehouse knew of a withdrawal.

    The instant that it tells is that of our request, later than the withdrawal: taken over, it would outlive an
    opt-in that was given in between. The warehouse goes on refusing these people by itself. It may come back under
    another reason: whoever gets no mail has nothing to unsubscribe from. Where no answer says that our request
    arrived, they may get mail, and what is told may be their own will: that counts.
    """
    rows = ledger.rows_of(connection, destination, {event.external_id for event in events if event.external_id})
    return {
        row["customer_id"]
        for row in rows
        if row["facet"] == ledger.CONSENT
        and row["operation"] == Operation.SUPPRESS
        and row["pending"] is None
        and row["acknowledged"] in suppression.LIFTABLE
    }


def lift_opted_in(*, destination: Destination, version_dir: str, stores_url: str, identity_key: bytes) -> int:
    """Lift the suppressions of those who have proven a later opt-in; returns how many people.

    The proof is the warehouse's: eligible in the audience, with a consent record, granted after the
    suppression. Complaints, hard bounces and erasures stay, and so does whoever has no proof.
    """
    lifted = 0
    with stores.opened(stores_url) as engine:
        with stores.reading(engine) as read:
            if suppression.is_empty(read):
                return 0
        with audience.opened(version_dir, identity_key) as duck:
            people = duck.execute(f"""
                select customer_id, email, consent_proof, consent_changed_at
                from published.{destination.audience}
                where is_eligible and email is not null and consent_proof is not null
                    and email_consent_status = 'granted' and consent_changed_at is not null
                order by customer_id
            """)
            while rows := people.fetchmany(audience.BATCH_ROWS):
                lifted += _lift(engine, rows, identity_key)
    log.info("%s: %d people have opted in again", destination.name, lifted)
    return lifted


def _lift(engine: sa.Engine, rows: Iterable[tuple], identity_key: bytes) -> int:
    rows, lifted = list(rows), 0
    with stores.writing(engine) as write:
        stopped = suppression.stopped(write, [(row[0], row[1]) for row in rows], identity_key)
        telling = set(destinations(include_disabled=True)) if stopped else set()
        for customer_id, email, proof, granted_at in rows:
            if customer_id not in stopped:
                continue
            subjects = suppression.subjects(email, customer_id, identity_key)
            told = suppression.told_by(write, subjects)
            if suppression.lift(write, subjects, opted_in_at=granted_at, proof=proof):
                lifted += 1
                # A destination that told of an address alone still suppresses it: what is lifted here, is not there.
                for source in told.keys() & telling:
                    ledger.note_suppressed(write, source, {customer_id: told[source]})
    return lifted
