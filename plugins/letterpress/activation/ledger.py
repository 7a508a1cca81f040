"""The ledger: what each destination last acknowledged about each person.

A row advances only on the destination's acknowledgement. Before a request leaves, its rows are *claimed* (state
``sent``, what is under way, a revision, the request's id); when the answer is known they are *settled*
(``accepted``, ``rejected`` or ``dead``). A queued request's answer is known once its result was read. A kill in
between leaves ``sent``: nobody knows whether the destination has it, so the next plan takes the row up again.

=========  ===============================================================================================
planned    to be sent again though nothing changed: a person asked for it, or the drift check found it
sent       under way, or its answer was lost
accepted   the destination acknowledged it
rejected   refused for the time being; tried again by the next runs
dead       refused for what it is: waits until the row changes or is replayed
=========  ===============================================================================================

The revision counts the changes begun. It is part of the idempotency key, because a person who goes from A to
B and back to A is a new change and must not be answered with the acknowledgement of the first A.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.destinations.spec import Operation, Results, RowError
from letterpress.activation.stores import BATCHES, ERASURES, LEDGER, PAYLOADS, SENDS

PLANNED, SENT, ACCEPTED, REJECTED, DEAD = "planned", "sent", "accepted", "rejected", "dead"
QUEUED, DONE, REFUSED, ABANDONED = "queued", "done", "refused", "abandoned"  # of batches, beside sent

PROFILE, CONSENT, LIST = "profile", "consent", "list:"
GRANTED, MEMBER, CLEARED, MOVES_TO = "granted", "member", "cleared", "move:"

ATTEMPTS = 3  # of a row that is refused for the time being
REMOVALS = (Operation.LEAVE, Operation.DELETE, Operation.ERASE)


class Change(NamedTuple):
    """One person's planned change of one facet, and the revision of the ledger that it was planned on."""

    customer_id: str
    operation: Operation
    base_revision: int
    target: str  # what is wanted: another target is another change


class Claim(NamedTuple):
    """A change that may leave now, at this revision.

    ``acknowledged`` is the hash of what the destination holds, ``pending`` of what it may hold instead because an
    answer was lost.
    """

    customer_id: str
    target: str
    revision: int
    attempt: int = 1
    acknowledged: str | None = None
    pending: str | None = None
    vendor_id: str | None = None
    is_certain: bool = True  # that the destination holds what it acknowledged


@dataclass(frozen=True)
class Batch:
    """One request, as the ledger knows it."""

    batch_id: str
    destination: str
    facet: str
    operation: Operation
    list_id: str | None
    first_id: str
    last_id: str
    people: int
    state: str
    job_id: str | None
    plan_id: str | None


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
    rows = _known(connection, destination, facet, changes)
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

    ``payloads`` are the profiles that the destination will hold: customer_id, target, sealed.
    """
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


def abandon(connection: sa.Connection, destination: str) -> list[str]:
    """Requests that an earlier run left without an answer: nobody waits for them any more; their operations."""
    left = sa.and_(BATCHES.c.destination == destination, BATCHES.c.state == SENT)
    found = [row[0] for row in connection.execute(sa.select(BATCHES.c.operation).where(left).distinct())]
    connection.execute(sa.update(BATCHES).where(left).values(state=ABANDONED))
    return found


def queue(connection: sa.Connection, batch_id: str, job_id: str) -> None:
    """The destination has taken a request over and will tell its result under this id."""
    _set_batch(connection, batch_id, state=QUEUED, job_id=job_id)


def refuse(connection: sa.Connection, batch: Batch) -> None:
    """The destination refused a request as a whole: its rows are free to leave in smaller ones."""
    _set_batch(connection, batch.batch_id, state=REFUSED)


def settle(
    connection: sa.Connection,
    batch: Batch,
    results: Results,
    *,
    receipt: Callable[[str], tuple[str, str]] | None = None,
) -> dict[str, int]:
    """Record the answer to a request, within a write transaction; returns the number of rows by state or error code.

    Only rows that are still this request's are touched: an answer to one that another run has gone on from is
    not recorded. A person whom the destination did not mention stays ``sent``. ``receipt`` makes the hashes of
    subject and receipt of somebody erased.
    """
    counts: Counter[str] = Counter()
    _leave_open(connection, batch, results.unanswered)
    if results.unanswered:
        counts["unanswered"] = len(results.unanswered)
    for customer_id, error in results.errors.items():
        if _reject(connection, batch, customer_id, error):
            counts[error.code] += 1
    ours = sa.and_(*_span(batch), LEDGER.c.batch_id == batch.batch_id, LEDGER.c.state == SENT)
    if batch.operation in (Operation.DELETE, Operation.ERASE, Operation.MOVE):
        targets = dict(connection.execute(sa.select(LEDGER.c.customer_id, LEDGER.c.pending).where(ours)).all())
        _settle_people(connection, batch, targets, receipt)
        accepted = len(targets)
    else:
        values = {
            "state": ACCEPTED,
            "acknowledged": None if batch.operation in REMOVALS else LEDGER.c.pending,
            **_NOTHING_PENDING,
        }
        changed: dict[str, str] = {}
        if batch.facet == PROFILE:
            query = sa.select(LEDGER.c.customer_id, LEDGER.c.pending).where(ours, LEDGER.c.revision > 1)
            changed = dict(connection.execute(query).all())
        accepted = connection.execute(sa.update(LEDGER).where(ours).values(**values)).rowcount
        _forget_payloads(connection, batch.destination, changed, but_these=True)
        _keep_vendor_ids(connection, batch.destination, results.vendor_ids)
    if accepted:
        counts[ACCEPTED] = accepted
    _set_batch(connection, batch.batch_id, state=DONE)
    return dict(counts)


_NOTHING_PENDING = {
    "pending": None,
    "attempt": 0,
    "error_code": None,
    "error_message": None,
}
_NOTHING_HELD = {"state": ACCEPTED, "acknowledged": None, "vendor_id": None, **_NOTHING_PENDING}


def _forget_payloads(
    connection: sa.Connection, destination: str, targets: Mapping[str, str], *, but_these: bool = False
) -> None:
    """Delete these people's profiles; ``but_these`` keeps the one of each person's target."""
    for chunk in stores.chunks(targets):
        theirs = sa.and_(PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id.in_(chunk))
        if but_these:
            theirs = sa.and_(theirs, PAYLOADS.c.target.not_in([targets[one] for one in chunk]))
        connection.execute(sa.delete(PAYLOADS).where(theirs))


def _settle_people(
    connection: sa.Connection,
    batch: Batch,
    targets: Mapping[str, str],
    receipt: Callable[[str], tuple[str, str]] | None,
) -> None:
    """What concerns all that a destination holds of a person; ``targets`` by customer id."""
    everything = LEDGER.c.destination == batch.destination
    for chunk in stores.chunks(targets):
        theirs = sa.and_(everything, LEDGER.c.customer_id.in_(chunk))
        if batch.operation is Operation.DELETE:
            # What was said about consent outlives the profile.
            connection.execute(sa.update(LEDGER).where(theirs, LEDGER.c.facet != CONSENT).values(**_NOTHING_HELD))
        elif batch.operation is Operation.ERASE:
            connection.execute(sa.delete(LEDGER).where(theirs))
    if batch.operation in REMOVALS:
        _forget_payloads(connection, batch.destination, targets)
    if batch.operation is Operation.ERASE and receipt is not None:
        rows = [(batch.destination, *receipt(one)) for one in targets]
        stores.write_many(connection, ERASURES, ("destination", "subject_hash", "receipt_hash"), rows)
    if batch.operation is Operation.MOVE:
        for one, target in targets.items():
            _rekey(connection, batch.destination, one, target.removeprefix(MOVES_TO))


def _rekey(connection: sa.Connection, destination: str, old: str, new: str) -> None:
    """The former id's facets become the surviving one's, where that has none of its own."""
    there = sa.select(LEDGER.c.facet).where(LEDGER.c.destination == destination, LEDGER.c.customer_id == new)
    facets = [row[0] for row in connection.execute(there)]
    theirs = sa.and_(LEDGER.c.destination == destination, LEDGER.c.customer_id == old)
    settled = {"state": ACCEPTED, **_NOTHING_PENDING}
    connection.execute(
        sa.update(LEDGER).where(theirs, LEDGER.c.facet.not_in(facets)).values(customer_id=new, **settled)
    )
    connection.execute(sa.delete(LEDGER).where(theirs))
    profiles = sa.and_(PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id == old)
    if PROFILE in facets:  # the vendor made one of two profiles: what of which, only sending it again tells
        connection.execute(sa.delete(PAYLOADS).where(profiles))
        plan_again(connection, destination, [new])
    else:
        connection.execute(sa.update(PAYLOADS).where(profiles).values(customer_id=new))


def _reject(connection: sa.Connection, batch: Batch, customer_id: str, error: RowError) -> bool:
    is_ours = sa.and_(
        LEDGER.c.destination == batch.destination,
        LEDGER.c.facet == batch.facet,
        LEDGER.c.customer_id == customer_id,
        LEDGER.c.batch_id == batch.batch_id,
        LEDGER.c.state == SENT,
    )
    state = sa.case((sa.and_(sa.literal(error.is_transient), LEDGER.c.attempt < ATTEMPTS), REJECTED), else_=DEAD)
    found = connection.execute(
        sa.update(LEDGER)
        .where(is_ours)
        .values(state=state, error_code=error.code[:200], error_message=error.message[:200] or None)
    )
    return found.rowcount == 1


def _leave_open(connection: sa.Connection, batch: Batch, customer_ids: Iterable[str]) -> None:
    for chunk in stores.chunks(customer_ids):
        connection.execute(
            sa.update(LEDGER)
            .where(*_span(batch), LEDGER.c.customer_id.in_(chunk), LEDGER.c.batch_id == batch.batch_id)
            .values(batch_id=None)
        )


def _span(batch: Batch) -> tuple[sa.ColumnElement, ...]:
    """Where a request's rows are in the primary key."""
    return (
        LEDGER.c.destination == batch.destination,
        LEDGER.c.facet == batch.facet,
        LEDGER.c.customer_id.between(batch.first_id, batch.last_id),
    )


def _keep_vendor_ids(connection: sa.Connection, destination: str, vendor_ids: Mapping[str, str]) -> None:
    """What the vendor calls people stands with their profiles."""
    if not vendor_ids:
        return
    statement = (
        sa.update(LEDGER)
        .where(
            LEDGER.c.destination == destination,
            LEDGER.c.facet == PROFILE,
            LEDGER.c.customer_id == sa.bindparam("who"),
        )
        .values(vendor_id=sa.bindparam("theirs"))
    )
    connection.execute(statement, [{"who": who, "theirs": theirs} for who, theirs in vendor_ids.items()])


def note_suppressed(connection: sa.Connection, destination: str, people: Mapping[str, str]) -> None:
    """The destination itself said that it suppresses these people (customer id -> reason): no request is needed.

    People whom the ledger does not know get a row too, or nobody would lift the suppression there after a
    new opt-in.
    """
    if not people:
        return
    wanted = [Change(one, Operation.SUPPRESS, 0, reason) for one, reason in sorted(people.items())]
    known = _known(connection, destination, CONSENT, wanted)
    rows = [
        (one, reason, known[one].revision + 1 if one in known else 0)
        for one, _, _, reason in wanted
        if one not in known or is_granted(known[one].acknowledged) or known[one].state != ACCEPTED
    ]
    same = {"destination": destination, "facet": CONSENT, "state": ACCEPTED, "attempt": 0, "pending": None}
    stores.write_many(connection, LEDGER, ("customer_id", "acknowledged", "revision"), rows, same)


def is_granted(acknowledged: str | None) -> bool:
    """Whether a destination holds no refusal of a person: an acknowledged opt-in, or nothing at all."""
    return acknowledged is None or acknowledged.startswith(GRANTED)


def plan_again(
    connection: sa.Connection,
    destination: str,
    customer_ids: Iterable[str],
    *,
    facet: str = PROFILE,
    is_gone: bool = False,
) -> int:
    """Send rows again though nothing changed; returns how many. ``is_gone``: the destination holds nothing there."""
    values: dict[str, object] = {"state": PLANNED, **_NOTHING_PENDING, "revision": LEDGER.c.revision + 1}
    if is_gone:
        values["acknowledged"] = None
    count = 0
    for chunk in stores.chunks(customer_ids):
        found = connection.execute(
            sa.update(LEDGER)
            .where(LEDGER.c.destination == destination, LEDGER.c.facet == facet, LEDGER.c.customer_id.in_(chunk))
            .values(**values)
        )
        count += found.rowcount
    return count


def replay(connection: sa.Connection, destination: str, *, error_code: str | None = None) -> int:
    """Let what the destination refused be tried again, all of it or what has one code; returns how many rows."""
    refused = sa.and_(LEDGER.c.destination == destination, LEDGER.c.state.in_((REJECTED, DEAD)))
    if error_code is not None:
        refused = sa.and_(refused, LEDGER.c.error_code == error_code)
    found = connection.execute(
        sa.update(LEDGER).where(refused).values(state=PLANNED, **_NOTHING_PENDING, revision=LEDGER.c.revision + 1)
    )
    return found.rowcount


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
    return sorted((_batch(row) for row in connection.execute(query).mappings()), key=lambda one: one.first_id)


def rows_of_batch(connection: sa.Connection, batch: Batch) -> list[sa.Row]:
    """The rows under way in a request, in the order of their ids: customer_id, pending, revision, vendor_id."""
    query = (
        sa.select(LEDGER.c.customer_id, LEDGER.c.pending, LEDGER.c.revision, LEDGER.c.vendor_id)
        .where(*_span(batch), LEDGER.c.batch_id == batch.batch_id, LEDGER.c.state == SENT)
        .order_by(LEDGER.c.customer_id)
    )
    return list(connection.execute(query))


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


def payloads(connection: sa.Connection, destination: str, targets: Mapping[str, str]) -> dict[str, bytes]:
    """The profiles of these people (customer id -> target), sealed, where there is one."""
    found: dict[str, bytes] = {}
    for chunk in stores.chunks(targets):
        query = sa.select(PAYLOADS.c.customer_id, PAYLOADS.c.target, PAYLOADS.c.sealed).where(
            PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id.in_(chunk)
        )
        found.update((one, sealed) for one, target, sealed in connection.execute(query) if target == targets[one])
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


def _known(connection: sa.Connection, destination: str, facet: str, changes: Sequence[Change]) -> dict[str, sa.Row]:
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
    pending = row.pending if row.state == SENT else None
    is_certain = row.state not in (SENT, PLANNED)
    return Claim(row.customer_id, target, revision, attempt, row.acknowledged, pending, row.vendor_id, is_certain)


def _queued(connection: sa.Connection, batch_ids: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for chunk in stores.chunks(batch_ids):
        query = sa.select(BATCHES.c.batch_id).where(BATCHES.c.batch_id.in_(chunk), BATCHES.c.state == QUEUED)
        found.update(row[0] for row in connection.execute(query))
    return found


def _set_batch(connection: sa.Connection, batch_id: str, **values: object) -> None:
    connection.execute(sa.update(BATCHES).where(BATCHES.c.batch_id == batch_id).values(**values))


def _batch(row: Mapping) -> Batch:
    names = Batch.__dataclass_fields__
    return Batch(**{name: row[name] for name in names if name != "operation"}, operation=Operation(row["operation"]))
