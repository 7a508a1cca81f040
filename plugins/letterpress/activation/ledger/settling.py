"""After the answer: what the destination acknowledged and what it refused, row by row."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.destinations.spec import Operation, Results, RowError
from letterpress.activation.ledger.marks import plan_again
from letterpress.activation.ledger.rows import (
    ACCEPTED,
    ATTEMPTS,
    CONSENT,
    DEAD,
    DONE,
    LIST,
    MOVES_TO,
    NOTHING_PENDING,
    PROFILE,
    REJECTED,
    REMOVALS,
    SENT,
    Batch,
    is_granted,
    set_batch,
    span_of,
)
from letterpress.activation.stores import ERASURES, LEDGER, PAYLOADS
from letterpress.activation.suppression import LIFTABLE

_NOTHING_HELD = {"state": ACCEPTED, "acknowledged": None, "vendor_id": None, **NOTHING_PENDING}


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
    ours = sa.and_(*span_of(batch), LEDGER.c.batch_id == batch.batch_id, LEDGER.c.state == SENT)
    if batch.operation in (Operation.DELETE, Operation.ERASE, Operation.MOVE):
        targets = dict(connection.execute(sa.select(LEDGER.c.customer_id, LEDGER.c.pending).where(ours)).all())
        _settle_people(connection, batch, targets, receipt)
        accepted = len(targets)
    else:
        values = {
            "state": ACCEPTED,
            "acknowledged": None if batch.operation in REMOVALS else LEDGER.c.pending,
            **NOTHING_PENDING,
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
    set_batch(connection, batch.batch_id, state=DONE)
    return dict(counts)


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
    """The former id's facets become the surviving one's, where that has none of its own.

    A profile that was never acknowledged may be there all the same: it stays open, under its new id.
    """
    survivors, theirs = (
        sa.and_(LEDGER.c.destination == destination, LEDGER.c.customer_id == one) for one in (new, old)
    )
    there = dict(connection.execute(sa.select(LEDGER.c.facet, LEDGER.c.state).where(survivors)).all())
    stopped = _stopped(connection, destination, (old, new))
    if (
        PROFILE in there
        and stopped.get(old) == Operation.SUPPRESS
        and new not in stopped
        and there.get(CONSENT) != SENT
    ):
        # The vendor may have taken our suppression over, and would tell of it as if the person had just unsubscribed.
        connection.execute(sa.delete(LEDGER).where(survivors, LEDGER.c.facet == CONSENT))
        there.pop(CONSENT, None)
    _unite_lists(connection, destination, old, new, there)
    settled = {"state": ACCEPTED, **NOTHING_PENDING}
    is_profile = sa.and_(theirs, LEDGER.c.facet == PROFILE, LEDGER.c.acknowledged.is_not(None))
    connection.execute(sa.update(LEDGER).where(is_profile).values(**settled))
    connection.execute(sa.update(LEDGER).where(theirs, LEDGER.c.facet.not_in(list(there))).values(customer_id=new))
    connection.execute(sa.delete(LEDGER).where(theirs))
    profiles = sa.and_(PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id == old)
    known = sa.select(PAYLOADS.c.target).where(PAYLOADS.c.destination == destination, PAYLOADS.c.customer_id == new)
    targets = [row[0] for row in connection.execute(known)]
    connection.execute(sa.update(PAYLOADS).where(profiles, PAYLOADS.c.target.not_in(targets)).values(customer_id=new))
    connection.execute(sa.delete(PAYLOADS).where(profiles))
    if PROFILE in there:  # the vendor made one of two profiles: what of which, only sending it again tells
        plan_again(connection, destination, [new])
    is_stopped = new in stopped if CONSENT in there else old in stopped
    if is_stopped and not stopped.keys() >= ({old, new} if PROFILE in there else {old}):
        plan_again(connection, destination, [new], facet=CONSENT)  # the other profile may get mail


def _unite_lists(connection: sa.Connection, destination: str, old: str, new: str, there: Mapping[str, str]) -> None:
    """A vendor that makes one of two profiles puts it into the lists of both; ``there`` are the survivor's facets."""
    mine = LEDGER.c.destination == destination
    lists = connection.execute(
        sa.select(LEDGER.c.facet, LEDGER.c.acknowledged, LEDGER.c.state).where(
            mine, LEDGER.c.customer_id == old, LEDGER.c.facet.startswith(LIST)
        )
    ).all()
    for facet, acknowledged, state in lists:
        if acknowledged is not None:
            survivors = sa.and_(mine, LEDGER.c.customer_id == new, LEDGER.c.facet == facet)
            connection.execute(sa.update(LEDGER).where(survivors).values(acknowledged=acknowledged))
        if state != ACCEPTED and there.get(facet) != SENT:  # who may have joined or left is to do so again
            plan_again(connection, destination, [new], facet=facet)


def _stopped(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> dict[str, str | None]:
    """To whom of these people no mail goes for sure (acknowledged, and nothing later that might be there), and how.

    ``suppress`` are those whom the destination suppresses because the warehouse said so, and who may come back.
    """
    query = sa.select(LEDGER.c.customer_id, LEDGER.c.acknowledged, LEDGER.c.operation).where(
        LEDGER.c.destination == destination,
        LEDGER.c.facet == CONSENT,
        LEDGER.c.customer_id.in_(customer_ids),
        LEDGER.c.state == ACCEPTED,
    )
    return {
        one: operation if acknowledged in LIFTABLE else None
        for one, acknowledged, operation in connection.execute(query)
        if not is_granted(acknowledged)
    }


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
            .where(*span_of(batch), LEDGER.c.customer_id.in_(chunk), LEDGER.c.batch_id == batch.batch_id)
            .values(batch_id=None)
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
