"""What the ledger says: of people, of requests, and in numbers."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.ledger.rows import (
    ACCEPTED,
    CONSENT,
    DEAD,
    LIST,
    PROFILE,
    QUEUED,
    REJECTED,
    SENT,
    Batch,
    batch_of,
    span_of,
)
from letterpress.activation.stores import BATCHES, ERASURES, LEDGER, PAYLOADS, SENDS


def dead_letters(connection: sa.Connection, destination: str, *, most: int = 1_000) -> list[Mapping]:
    """What the destination refused: customer_id, facet, state, attempt, its code and its message."""
    query = (
        sa.select(
            LEDGER.c.customer_id,
            LEDGER.c.facet,
            LEDGER.c.state,
            LEDGER.c.operation,
            LEDGER.c.attempt,
            LEDGER.c.error_code,
            LEDGER.c.error_message,
        )
        .where(LEDGER.c.destination == destination, LEDGER.c.state.in_((REJECTED, DEAD)))
        .order_by(LEDGER.c.error_code, LEDGER.c.facet, LEDGER.c.customer_id)
        .limit(most)
    )
    return list(connection.execute(query).mappings())


def queued(connection: sa.Connection, destination: str) -> list[Batch]:
    """The requests whose results are still to be read, the oldest plan's first."""
    query = sa.select(BATCHES).where(BATCHES.c.destination == destination, BATCHES.c.state == QUEUED)
    return sorted((batch_of(row) for row in connection.execute(query).mappings()), key=lambda one: one.first_id)


def rows_of_batch(connection: sa.Connection, batch: Batch) -> list[sa.Row]:
    """The rows under way in a request, in the order of their ids: customer_id, pending, revision, vendor_id."""
    query = (
        sa.select(LEDGER.c.customer_id, LEDGER.c.pending, LEDGER.c.revision, LEDGER.c.vendor_id)
        .where(*span_of(batch), LEDGER.c.batch_id == batch.batch_id, LEDGER.c.state == SENT)
        .order_by(LEDGER.c.customer_id)
    )
    return list(connection.execute(query).all())


def vendor_ids(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> dict[str, str]:
    """What the vendor calls these people, where it is known."""
    found: dict[str, str] = {}
    for chunk in stores.chunks(customer_ids):
        query = sa.select(LEDGER.c.customer_id, LEDGER.c.vendor_id).where(
            LEDGER.c.destination == destination,
            LEDGER.c.facet == PROFILE,
            LEDGER.c.customer_id.in_(chunk),
            LEDGER.c.vendor_id.is_not(None),
        )
        found.update(connection.execute(query).all())
    return found


def people_of(connection: sa.Connection, destination: str, vendor_ids: Iterable[str]) -> dict[str, str]:
    """Whom a vendor means by its own ids, where an answer told: vendor id -> customer id."""
    found: dict[str, str] = {}
    for chunk in stores.chunks(vendor_ids):
        query = sa.select(LEDGER.c.vendor_id, LEDGER.c.customer_id).where(
            LEDGER.c.destination == destination, LEDGER.c.facet == PROFILE, LEDGER.c.vendor_id.in_(chunk)
        )
        found.update(connection.execute(query).all())
    return found


def payloads(connection: sa.Connection, destination: str, targets: Mapping[str, str]) -> dict[str, bytes]:
    """The profiles of these people (customer id -> target), sealed, where there is one."""
    found: dict[str, bytes] = {}
    for chunk in stores.chunks(targets):
        query = sa.select(PAYLOADS.c.customer_id, PAYLOADS.c.target, PAYLOADS.c.sealed).where(
            PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id.in_(chunk)
        )
        found.update((one, sealed) for one, target, sealed in connection.execute(query) if target == targets[one])
    return found


def all_payloads(
    connection: sa.Connection, destination: str, customer_ids: Iterable[str]
) -> list[tuple[str, str, bytes]]:
    """Every profile that the destination holds or may hold of these people: customer id, target, sealed."""
    found: list[tuple[str, str, bytes]] = []
    for chunk in stores.chunks(customer_ids):
        query = sa.select(PAYLOADS.c.customer_id, PAYLOADS.c.target, PAYLOADS.c.sealed).where(
            PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id.in_(chunk)
        )
        found += [tuple(row) for row in connection.execute(query.order_by(PAYLOADS.c.customer_id, PAYLOADS.c.target))]
    return found


def certain(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> dict[str, str]:
    """The targets that the destination holds of these people for sure: acknowledged, and no later answer lost."""
    found: dict[str, str] = {}
    for chunk in stores.chunks(customer_ids):
        query = sa.select(LEDGER.c.customer_id, LEDGER.c.acknowledged).where(
            LEDGER.c.destination == destination,
            LEDGER.c.facet == PROFILE,
            LEDGER.c.customer_id.in_(chunk),
            LEDGER.c.acknowledged.is_not(None),
            LEDGER.c.state != SENT,
        )
        found.update(connection.execute(query).all())
    return found


def acknowledged(
    connection: sa.Connection, destination: str, facet: str, customer_ids: Iterable[str]
) -> dict[str, str]:
    """What was last acknowledged of these people's facet, where that is something."""
    found: dict[str, str] = {}
    for chunk in stores.chunks(customer_ids):
        query = sa.select(LEDGER.c.customer_id, LEDGER.c.acknowledged).where(
            LEDGER.c.destination == destination,
            LEDGER.c.facet == facet,
            LEDGER.c.customer_id.in_(chunk),
            LEDGER.c.acknowledged.is_not(None),
        )
        found.update(connection.execute(query).all())
    return found


def rows_of(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> list[Mapping]:
    """Everything that the ledger says of these people, facet by facet."""
    found: list[Mapping] = []
    for chunk in stores.chunks(customer_ids):
        query = sa.select(LEDGER).where(LEDGER.c.destination == destination, LEDGER.c.customer_id.in_(chunk))
        found += connection.execute(query.order_by(LEDGER.c.customer_id, LEDGER.c.facet)).mappings()
    return found


def held(destination: str, facet: str) -> sa.Select:
    """The query for every person of a facet: customer_id, acknowledged, revision."""
    return sa.select(LEDGER.c.customer_id, LEDGER.c.acknowledged, LEDGER.c.revision).where(
        LEDGER.c.destination == destination, LEDGER.c.facet == facet
    )


def unsettled(destination: str, facet: str) -> sa.Select:
    """The query for what of a facet is not simply accepted: customer_id, state, operation, pending, is_queued."""
    is_queued = sa.func.coalesce(BATCHES.c.state == QUEUED, sa.false())
    return (
        sa.select(LEDGER.c.customer_id, LEDGER.c.state, LEDGER.c.operation, LEDGER.c.pending, is_queued)
        .select_from(LEDGER.outerjoin(BATCHES, BATCHES.c.batch_id == LEDGER.c.batch_id))
        .where(LEDGER.c.destination == destination, LEDGER.c.facet == facet, LEDGER.c.state != ACCEPTED)
    )


def settled(connection: sa.Connection, destination: str) -> list[str]:
    """Whose profile the destination holds for sure, in the order of their ids."""
    query = (
        sa.select(LEDGER.c.customer_id)
        .where(
            LEDGER.c.destination == destination,
            LEDGER.c.facet == PROFILE,
            LEDGER.c.acknowledged.is_not(None),
            LEDGER.c.state == ACCEPTED,
        )
        .order_by(LEDGER.c.customer_id)
    )
    return [row[0] for row in connection.execute(query)]


def summary(stores_url: str, *, destination: str) -> dict[str, object]:
    """The ledger in numbers: profiles by state, how many are held and suppressed, refusals by code, jobs, sends."""
    c = LEDGER.c
    where, is_profile = c.destination == destination, c.facet == PROFILE
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:

        def by(column: sa.ColumnElement, *conditions: sa.ColumnElement) -> dict[str, int]:
            query = sa.select(column, sa.func.count()).where(where, *conditions).group_by(column).order_by(column)
            return dict(connection.execute(query).all())

        def number(*conditions: sa.ColumnElement) -> int:
            return connection.scalar(sa.select(sa.func.count()).select_from(LEDGER).where(where, *conditions)) or 0

        sends = connection.execute(
            sa.select(SENDS.c.campaign_id, SENDS.c.state, sa.func.count())
            .where(SENDS.c.destination == destination)
            .group_by(SENDS.c.campaign_id, SENDS.c.state)
            .order_by(SENDS.c.campaign_id, SENDS.c.state)
        )
        by_campaign: dict[str, dict[str, int]] = {}
        for campaign_id, state, count in sends:
            by_campaign.setdefault(campaign_id, {})[state] = count
        return {
            "destination": destination,
            "states": by(c.state, is_profile),
            "held": number(is_profile, c.acknowledged.is_not(None)),
            "suppressed": number(c.facet == CONSENT, c.acknowledged.is_not(None), c.acknowledged.not_like("granted%")),
            "rejected": by(c.error_code, c.state.in_((REJECTED, DEAD))),
            "members": by(c.facet, c.facet.like(f"{LIST}%"), c.acknowledged.is_not(None)),
            "erased": connection.scalar(
                sa.select(sa.func.count()).select_from(ERASURES).where(ERASURES.c.destination == destination)
            ),
            "queued": len(queued(connection, destination)),
            "sends": by_campaign,
        }
