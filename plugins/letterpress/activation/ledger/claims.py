"""Before a request leaves: which changes may, and marking them as under way."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.destinations.spec import Operation
from letterpress.activation.ledger.rows import (
    ABANDONED,
    ACCEPTED,
    DEAD,
    MOVES_TO,
    PROFILE,
    QUEUED,
    REFUSED,
    REJECTED,
    REMOVALS,
    SENT,
    Batch,
    Change,
    Claim,
    set_batch,
)
from letterpress.activation.stores import BATCHES, LEDGER, PAYLOADS

_KNOWN = (
    LEDGER.c.customer_id,
    LEDGER.c.acknowledged,
    LEDGER.c.vendor_id,
    LEDGER.c.state,
    LEDGER.c.pending,
    LEDGER.c.revision,
    LEDGER.c.attempt,
    LEDGER.c.batch_id,
)


def examine(
    connection: sa.Connection, destination: str, facet: str, changes: Sequence[Change]
) -> tuple[list[Claim], dict[str, str]]:
    """Which changes may leave now, within a write transaction, and why the others may not.

    ``changes`` are in the order of their ids. Not sent: ``acknowledged`` (another run or an earlier attempt has
    done it), ``rejected`` (the destination refused this very content), ``superseded`` (the ledger has moved on
    since the plan was made), ``queued`` (the destination still works on an earlier request).
    """
    if not changes:
        return [], {}
    rows = known_rows(connection, destination, facet, changes)
    queued = _queued(connection, {row.batch_id for row in rows.values() if row.state == SENT and row.batch_id})
    claims: list[Claim] = []
    skipped: dict[str, str] = {}
    for customer_id, operation, base_revision, target in changes:
        row = rows.get(customer_id)
        if row is None:
            if base_revision:
                skipped[customer_id] = "superseded"
            else:
                claims.append(Claim(customer_id, target, 1))
            continue
        is_same, ahead = row.pending == target, row.revision - base_revision
        if row.state == SENT and row.batch_id in queued:
            skipped[customer_id] = "queued"
        elif row.state == SENT and is_same and ahead in (0, 1):
            claims.append(_claim(row, target, row.revision, row.attempt + 1))
        elif ahead == 0:
            claims.append(_claim(row, target, row.revision + 1, row.attempt + 1 if is_same else 1))
        elif ahead == 1 and row.state == ACCEPTED and (row.acknowledged == target or operation in REMOVALS):
            skipped[customer_id] = "acknowledged"
        elif ahead == 1 and row.state in (REJECTED, DEAD) and is_same:
            skipped[customer_id] = "rejected"
        else:
            skipped[customer_id] = "superseded"
    return claims, skipped


def claim(
    connection: sa.Connection,
    batch: Batch,
    claims: Sequence[Claim],
    *,
    run_id: str,
    payloads: Sequence[tuple[str, str, bytes]] = (),
) -> None:
    """Mark what was examined as under way in one request, within the same write transaction.

    ``payloads`` are the profiles that the destination will hold: customer_id, target, sealed. A move whose answer was
    lost may have been made: where something else is done now, the id that it went to is known from here on.
    """
    if batch.facet == PROFILE:
        _open_ids(connection, batch, claims)
    stores.write_many(
        connection,
        LEDGER,
        ("customer_id", "pending", "revision", "attempt"),
        [(one.customer_id, one.target, one.revision, one.attempt) for one in claims],
        {
            "destination": batch.destination,
            "facet": batch.facet,
            "state": SENT,
            "operation": str(batch.operation),
            "batch_id": batch.batch_id,
        },
    )
    stores.write_many(
        connection, PAYLOADS, ("customer_id", "target", "sealed"), payloads, {"destination": batch.destination}
    )
    stores.upsert(connection, BATCHES, [{**batch.__dict__, "operation": str(batch.operation), "run_id": run_id}])


def _open_ids(connection: sa.Connection, batch: Batch, claims: Sequence[Claim]) -> None:
    """Rows for the ids that earlier moves may have made, and that the ledger does not know."""
    begun = {
        one.pending.removeprefix(MOVES_TO): one.target
        for one in claims
        if one.pending and one.pending.startswith(MOVES_TO) and one.pending != one.target
    }
    wanted = [Change(one, Operation.MOVE, 0, target) for one, target in sorted(begun.items())]
    known = known_rows(connection, batch.destination, PROFILE, wanted) if wanted else {}
    rows = [(one.customer_id, one.target) for one in wanted if one.customer_id not in known]
    same = {"destination": batch.destination, "facet": PROFILE, "state": SENT, "operation": str(Operation.MOVE)}
    stores.write_many(connection, LEDGER, ("customer_id", "pending"), rows, {**same, "revision": 0, "attempt": 0})


def abandon(connection: sa.Connection, destination: str) -> list[str]:
    """Requests that an earlier run left without an answer: nobody waits for them any more; their operations."""
    left = sa.and_(BATCHES.c.destination == destination, BATCHES.c.state == SENT)
    found = [row[0] for row in connection.execute(sa.select(BATCHES.c.operation).where(left).distinct())]
    connection.execute(sa.update(BATCHES).where(left).values(state=ABANDONED))
    return found


def queue(connection: sa.Connection, batch_id: str, job_id: str) -> None:
    """The destination has taken a request over and will tell its result under this id."""
    set_batch(connection, batch_id, state=QUEUED, job_id=job_id)


def refuse(connection: sa.Connection, batch: Batch) -> None:
    """The destination refused a request as a whole: its rows are free to leave in smaller ones."""
    set_batch(connection, batch.batch_id, state=REFUSED)


def known_rows(connection: sa.Connection, destination: str, facet: str, changes: Sequence[Change]) -> dict[str, sa.Row]:
    """The rows of these people, who are in the order of their ids; one look where there are none at all."""
    mine = sa.and_(LEDGER.c.destination == destination, LEDGER.c.facet == facet)
    span = LEDGER.c.customer_id.between(changes[0].customer_id, changes[-1].customer_id)
    if connection.execute(sa.select(LEDGER.c.customer_id).where(mine, span).limit(1)).first() is None:
        return {}
    found: dict[str, sa.Row] = {}
    for chunk in stores.chunks(one.customer_id for one in changes):
        query = sa.select(*_KNOWN).where(mine, LEDGER.c.customer_id.in_(chunk))
        found.update((row.customer_id, row) for row in connection.execute(query))
    return found


def _claim(row: sa.Row, target: str, revision: int, attempt: int) -> Claim:
    # Refused for now says nothing of an earlier try, whose answer may have been lost.
    pending = row.pending if row.state != ACCEPTED else None
    is_certain = row.state == ACCEPTED
    return Claim(row.customer_id, target, revision, attempt, row.acknowledged, pending, row.vendor_id, is_certain)


def _queued(connection: sa.Connection, batch_ids: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for chunk in stores.chunks(batch_ids):
        query = sa.select(BATCHES.c.batch_id).where(BATCHES.c.batch_id.in_(chunk), BATCHES.c.state == QUEUED)
        found.update(row[0] for row in connection.execute(query))
    return found
