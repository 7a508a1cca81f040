"""Live suppression: who must not be written to, whatever the published warehouse says.

Pulls, webhooks and erasure write here at once. The store can only narrow what the warehouse allows; a row is
lifted by a proven, later opt-in of the person and by nothing else, and never after a complaint, a hard bounce
or an erasure. It holds keyed hashes, never the e-mail: one of the normalised address and, except for a bounce,
one of the customer, because a dead mailbox says nothing about the person's next one, while every other reason
is the person's will and outlives a change of address.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.stores import CURSORS, SUPPRESSIONS

LIFTABLE = ("consent_withdrawn", "unsubscribed")
FINAL = ("bounced", "complained", "erased")
STRENGTH = {reason: rank for rank, reason in enumerate((*LIFTABLE, *FINAL))}  # the later in the list, the stronger


@dataclass(frozen=True)
class Suppression:
    """One entry: a keyed hash, why, who said so, when, and the source's own sequence."""

    subject_hash: str
    reason: str
    source: str
    suppressed_at: datetime
    sequence: int = 0


def normalise_email(email: str) -> str:
    """The form that is hashed: no blanks around it, lower case."""
    return email.strip().lower()


def hash_email(email: str, identity_key: bytes) -> str:
    """HMAC-SHA256 of the normalised e-mail, in hex: useless without the key."""
    return hmac.digest(identity_key, normalise_email(email).encode(), "sha256").hex()


def mark(email: str | None, identity_key: bytes) -> str:
    """What tells the address of an opt-in without holding it: it ends the name that the ledger keeps its profile by."""
    return ":" + hash_email(email or "", identity_key)[:16]


def hash_customer(customer_id: str, identity_key: bytes) -> str:
    """The keyed hash that a person's own will is kept under, whatever the address."""
    return hmac.digest(identity_key, b"customer:" + customer_id.encode(), "sha256").hex()


def subjects(email: str | None, customer_id: str | None, identity_key: bytes) -> list[str]:
    """The hashes to ask for before anything leaves for this person and address."""
    hashes = [hash_email(email, identity_key)] if email else []
    return [*hashes, hash_customer(customer_id, identity_key)] if customer_id else hashes


def entries(
    *,
    email: str | None,
    customer_id: str | None,
    reason: str,
    source: str,
    suppressed_at: datetime,
    identity_key: bytes,
    sequence: int = 0,
) -> list[Suppression]:
    """What one event suppresses: the address, and the person too unless only the mailbox is dead."""
    person = None if reason == "bounced" else customer_id
    return [
        Suppression(subject_hash, reason, source, suppressed_at, sequence)
        for subject_hash in subjects(email, person, identity_key)
    ]


def suppress(connection: sa.Connection, entries: Iterable[Suppression]) -> int:
    """Record suppressions within a write transaction; returns how many hashes are newly suppressed.

    A known hash keeps the stronger reason and the later instant; a new event after a lift suppresses again.
    An event that is not later than the lift (a repeated pull) changes nothing. Raises ValueError for a reason
    that is not one of ours.
    """
    wanted: dict[str, Suppression] = {}
    news = 0
    for entry in entries:
        if entry.reason not in STRENGTH:
            raise ValueError(
                f"suppression from {entry.source}: expected a reason of {', '.join(STRENGTH)}, "
                f"found {entry.reason!r}; map it in the destination's module"
            )
        other = wanted.get(entry.subject_hash)
        wanted[entry.subject_hash] = entry if other is None else _merged(other, entry)
    known = _rows(connection, wanted)
    rows = []
    change = last_change(connection) + 1
    for subject_hash, entry in wanted.items():
        row = known.get(subject_hash)
        if row is not None and row["lifted_at"] is None:
            entry = _merged(_entry(row), entry)
        elif row is not None and entry.reason in LIFTABLE and entry.suppressed_at <= row["lifted_at"]:
            continue
        else:
            news += 1
        rows.append({**entry.__dict__, "change": change, "lifted_at": None, "lift_proof": None})
    stores.upsert(connection, SUPPRESSIONS, rows)
    return news


def lift(connection: sa.Connection, hashes: Iterable[str], *, opted_in_at: datetime, proof: str) -> bool:
    """Lift a person's suppressions on the proof of a later opt-in; false where they stay or there are none.

    ``hashes`` are the person's :func:`subjects`: all of them are lifted or none. An opt-in that is not later
    than the suppression lifts nothing, nor does any opt-in after a complaint, a hard bounce or an erasure.
    Raises ValueError without a proof.
    """
    if not proof:
        raise ValueError("suppression: expected the proof of an opt-in, found none; nothing is lifted without it")
    active = [row for row in _rows(connection, hashes).values() if row["lifted_at"] is None]
    if not active or any(row["reason"] not in LIFTABLE or opted_in_at <= row["suppressed_at"] for row in active):
        return False
    connection.execute(
        sa.update(SUPPRESSIONS)
        .where(SUPPRESSIONS.c.subject_hash.in_([row["subject_hash"] for row in active]))
        .values(lifted_at=opted_in_at, lift_proof=proof)
    )
    return True


def is_suppressed(connection: sa.Connection, hashes: Iterable[str]) -> set[str]:
    """Which of these hashes are suppressed at this moment."""
    return set(reasons(connection, hashes))


def reasons(connection: sa.Connection, hashes: Iterable[str]) -> dict[str, str]:
    """The suppressed ones among these hashes, each with its reason."""
    found: dict[str, str] = {}
    for chunk in stores.chunks(hashes):
        query = sa.select(SUPPRESSIONS.c.subject_hash, SUPPRESSIONS.c.reason).where(
            SUPPRESSIONS.c.subject_hash.in_(chunk), SUPPRESSIONS.c.lifted_at.is_(None)
        )
        found.update(connection.execute(query).all())
    return found


def stopped(connection: sa.Connection, people: Iterable[tuple[str, str]], identity_key: bytes) -> dict[str, str]:
    """Which of these people (customer id, e-mail) are suppressed at this moment, each with the reason."""
    owners: dict[str, list[str]] = {}
    for customer_id, email in people:
        for subject_hash in subjects(email, customer_id, identity_key):
            owners.setdefault(subject_hash, []).append(customer_id)
    found: dict[str, str] = {}
    for subject_hash, reason in reasons(connection, owners).items():
        for customer_id in owners[subject_hash]:
            found[customer_id] = max(reason, found.get(customer_id, reason), key=STRENGTH.__getitem__)
    return found


def last_change(connection: sa.Connection) -> int:
    """The number of the latest write: what is suppressed later has a higher one."""
    return connection.scalar(sa.select(sa.func.coalesce(sa.func.max(SUPPRESSIONS.c.change), 0))) or 0


def told_by(connection: sa.Connection, hashes: Iterable[str]) -> dict[str, str]:
    """Who told of the suppressions in force among these hashes, each with its reason."""
    return {row["source"]: row["reason"] for row in _rows(connection, hashes).values() if row["lifted_at"] is None}


def since(connection: sa.Connection, change: int) -> dict[str, str]:
    """The hashes that were suppressed after a write and still are, each with its reason."""
    query = sa.select(SUPPRESSIONS.c.subject_hash, SUPPRESSIONS.c.reason).where(
        SUPPRESSIONS.c.change > change, SUPPRESSIONS.c.lifted_at.is_(None)
    )
    return dict(connection.execute(query).all())


def in_force() -> sa.Select:
    """The query for every hash that is suppressed at this moment, with its reason."""
    return sa.select(SUPPRESSIONS.c.subject_hash, SUPPRESSIONS.c.reason).where(SUPPRESSIONS.c.lifted_at.is_(None))


def is_empty(connection: sa.Connection) -> bool:
    """Whether nobody is suppressed."""
    return connection.execute(sa.select(SUPPRESSIONS.c.subject_hash).limit(1)).first() is None


def summary(stores_url: str) -> dict[str, int]:
    """How many hashes are suppressed, by reason."""
    query = (
        sa.select(SUPPRESSIONS.c.reason, sa.func.count())
        .where(SUPPRESSIONS.c.lifted_at.is_(None))
        .group_by(SUPPRESSIONS.c.reason)
        .order_by(SUPPRESSIONS.c.reason)
    )
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:
        return dict(connection.execute(query).all())


def position(connection: sa.Connection, name: str) -> str | None:
    """How far a source was pulled; none at the start."""
    return connection.execute(sa.select(CURSORS.c.position).where(CURSORS.c.name == name)).scalar()


def advance(connection: sa.Connection, name: str, to: str) -> None:
    """Remember a position, in the transaction that records what was pulled."""
    stores.upsert(connection, CURSORS, [{"name": name, "position": to}])


def _rows(connection: sa.Connection, hashes: Iterable[str]) -> dict[str, Mapping]:
    found: dict[str, Mapping] = {}
    for chunk in stores.chunks(hashes):
        query = sa.select(SUPPRESSIONS).where(SUPPRESSIONS.c.subject_hash.in_(chunk))
        for row in connection.execute(query).mappings():
            found[row["subject_hash"]] = row
    return found


def _entry(row: Mapping) -> Suppression:
    return Suppression(
        subject_hash=row["subject_hash"],
        reason=row["reason"],
        source=row["source"],
        suppressed_at=row["suppressed_at"],
        sequence=row["sequence"],
    )


def _merged(one: Suppression, other: Suppression) -> Suppression:
    """The stronger reason wins; among equals the later instant, so that an opt-in must be later than both."""
    ranked: Sequence[Suppression] = sorted((one, other), key=lambda entry: STRENGTH[entry.reason])
    strongest = ranked[-1]
    return Suppression(
        subject_hash=strongest.subject_hash,
        reason=strongest.reason,
        source=strongest.source,
        suppressed_at=max(one.suppressed_at, other.suppressed_at),
        sequence=max(one.sequence, other.sequence),
    )
