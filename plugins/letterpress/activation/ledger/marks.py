"""What changes the ledger without a request: suppressions that a destination reports, rows to be sent again."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.destinations.spec import Operation
from letterpress.activation.ledger.claims import known_rows
from letterpress.activation.ledger.rows import (
    ACCEPTED,
    CONSENT,
    DEAD,
    NOTHING_PENDING,
    PLANNED,
    PROFILE,
    REJECTED,
    Change,
    is_granted,
)
from letterpress.activation.stores import LEDGER


def note_suppressed(connection: sa.Connection, destination: str, people: Mapping[str, str]) -> list[str]:
    """The destination itself said that it suppresses these people (customer id -> reason): no request is needed.

    Returns of whom that is news. People whom the ledger does not know get a row too, or nobody would lift the
    suppression there after a new opt-in.
    """
    if not people:
        return []
    wanted = [Change(one, Operation.SUPPRESS, 0, reason) for one, reason in sorted(people.items())]
    known = known_rows(connection, destination, CONSENT, wanted)
    rows = [
        (one, reason, known[one].revision + 1 if one in known else 0)
        for one, _, _, reason in wanted
        if one not in known or is_granted(known[one].acknowledged) or known[one].state != ACCEPTED
    ]
    same = {"destination": destination, "facet": CONSENT, "state": ACCEPTED, "attempt": 0, "pending": None}
    stores.write_many(connection, LEDGER, ("customer_id", "acknowledged", "revision"), rows, same)
    return [row[0] for row in rows]


def plan_again(
    connection: sa.Connection,
    destination: str,
    customer_ids: Iterable[str],
    *,
    facet: str = PROFILE,
    is_gone: bool = False,
) -> int:
    """Send rows again though nothing changed; returns how many. ``is_gone``: the destination holds nothing there."""
    values: dict[str, object] = {"state": PLANNED, **NOTHING_PENDING, "revision": LEDGER.c.revision + 1}
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
        sa.update(LEDGER).where(refused).values(state=PLANNED, **NOTHING_PENDING, revision=LEDGER.c.revision + 1)
    )
    return found.rowcount
