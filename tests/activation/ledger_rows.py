"""The ledger laid out row by row, and what is decided of it, for tests of the plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from activation_line import KEY, NOW, Person

from letterpress.activation import audience, decide, stores, suppression
from letterpress.activation.destinations import Destination

# Values of a facet that depend on the person: filled in when the rows are laid out.
SAME, PROOF = "<what the audience wants>", "<the opt-in of the audience's proof>"
REVISION = 3


@dataclass(frozen=True)
class Facet:
    """One row of the ledger: what was acknowledged, and the last change that was begun."""

    acknowledged: str | None = None
    state: str = "accepted"
    pending: str | None = None
    is_queued: bool = False


class Decision(NamedTuple):
    """What was decided of one facet."""

    action: str
    reason: str | None
    moves_to: str | None
    base_revision: int


@dataclass(frozen=True)
class There:
    """What is known of one person: the ledger's facets, and why live suppression stops them."""

    one: Person
    facets: Mapping[str, Facet]
    live: str | None = None


def decisions(where: Destination, version: str, stores_url: str, people: list[There]) -> dict[str, dict[str, Decision]]:
    """Lay the ledger out and decide: by person and facet, also what stays as it is."""
    with stores.opened(stores_url) as engine, audience.opened(version, KEY) as duck:
        values = {
            customer_id: {SAME: same, PROOF: proof}
            for customer_id, same, proof in duck.execute(f"""
                select customer_id, target(payload),
                       'granted:' || left(keyed('proof:' || consent_proof), 16)
                from {audience.relation(where)}
            """).fetchall()
        }
        with stores.writing(engine) as write:
            for there in people:
                lay_out(write, where.name, there, values.get(there.one.customer_id, {}))
        with stores.reading(engine) as read:
            decide.load(duck, read, where, KEY)
        decide.decide(duck, where)
        found: dict[str, dict[str, Decision]] = {}
        for customer_id, facet, *rest in duck.execute(
            "select customer_id, facet, action, reason, moves_to, base_revision from decided union all "
            "select customer_id, 'profile', profile_action, null, null, base_revision from judged "
            "where profile_action = 'unchanged'"
        ).fetchall():
            assert facet not in found.setdefault(customer_id, {}), "one decision a facet"
            found[customer_id][facet] = Decision(*rest)
        return found


def lay_out(connection: Any, name: str, there: There, values: Mapping[str, str]) -> None:
    """One person's rows of the ledger, and the live suppression."""
    one = there.one
    for facet, row in there.facets.items():
        batch_id = f"{one.customer_id} {facet}" if row.state == "sent" else None
        given = {"destination": name, "facet": facet}
        whole = {
            "customer_id": one.customer_id,
            "acknowledged": values.get(row.acknowledged, row.acknowledged),
            "state": row.state,
            "pending": values.get(row.pending, row.pending),
            "revision": REVISION,
            "attempt": 1,
            "batch_id": batch_id,
        }
        connection.execute(stores.LEDGER.insert().values(**given, **whole))
        if row.is_queued:
            ids = {"first_id": one.customer_id, "last_id": one.customer_id, "people": 1}
            batch = {"batch_id": batch_id, "operation": "upsert", "state": "queued", "job_id": "J1"}
            connection.execute(stores.BATCHES.insert().values(**given, **batch, **ids))
    if there.live:
        suppression.suppress(
            connection,
            suppression.entries(
                email=one.email,
                customer_id=one.customer_id,
                reason=there.live,
                source="test",
                suppressed_at=NOW,
                identity_key=KEY,
            ),
        )
