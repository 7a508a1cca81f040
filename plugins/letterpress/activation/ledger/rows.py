"""The words of the ledger: states, facets, and what a change, a claim and a request are."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from letterpress.activation.destinations.spec import Operation
from letterpress.activation.stores import BATCHES, LEDGER

PLANNED, SENT, ACCEPTED, REJECTED, DEAD = "planned", "sent", "accepted", "rejected", "dead"


QUEUED, DONE, REFUSED, ABANDONED = "queued", "done", "refused", "abandoned"  # of batches, beside sent


PROFILE, CONSENT, LIST = "profile", "consent", "list:"


GRANTED, CLEARED, MOVES_TO = "granted", "cleared", "move:"


ATTEMPTS = 3  # of a row that is refused for the time being


REMOVALS = (Operation.LEAVE, Operation.DELETE, Operation.ERASE)


NOTHING_PENDING = {
    "pending": None,
    "attempt": 0,
    "error_code": None,
    "error_message": None,
}


class Change(NamedTuple):
    """One person's planned change of one facet, and the revision of the ledger that it was planned on."""

    customer_id: str
    operation: Operation
    base_revision: int
    target: str  # what is wanted: another target is another change


class Claim(NamedTuple):
    """A change that may leave now, at this revision.

    ``acknowledged`` is the hash of what the destination holds, ``pending`` of what it may hold instead: an answer
    was lost, or an earlier try was refused.
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


def is_granted(acknowledged: str | None) -> bool:
    """Whether a destination holds no refusal of a person: an acknowledged opt-in, or nothing at all."""
    return acknowledged is None or acknowledged.startswith(GRANTED)


def member_of(list_id: str) -> str:
    """What is acknowledged of somebody in a list: another one under the same segment is joined anew."""
    return f"member:{hashlib.sha256(list_id.encode()).hexdigest()[:16]}"


def span_of(batch: Batch) -> tuple[sa.ColumnElement, ...]:
    """Where a request's rows are in the primary key."""
    return (
        LEDGER.c.destination == batch.destination,
        LEDGER.c.facet == batch.facet,
        LEDGER.c.customer_id.between(batch.first_id, batch.last_id),
    )


def set_batch(connection: sa.Connection, batch_id: str, **values: object) -> None:
    """Change what is known of a request."""
    connection.execute(sa.update(BATCHES).where(BATCHES.c.batch_id == batch_id).values(**values))


def batch_of(row: Mapping) -> Batch:
    """A request as its table has it."""
    names = Batch.__dataclass_fields__
    return Batch(**{name: row[name] for name in names if name != "operation"}, operation=Operation(row["operation"]))
