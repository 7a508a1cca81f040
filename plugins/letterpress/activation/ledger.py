"""The ledger: what each destination last acknowledged about each person, as keyed hashes.

A row advances only on the destination's acknowledgement. Before a request leaves, its rows are *claimed*
(state ``sent``, the hash that is under way, a revision); after the answer they are *settled* (``accepted`` or
``rejected``). A kill in between leaves ``sent``: nobody knows whether the destination has it, so the next plan
takes the row up again, and as the same content at the same revision has the same idempotency key, the
destination answers from its own store.

The revision counts the changes begun. It is part of the idempotency key, because a person who goes from A to
B and back to A is a new change and must not be answered with the acknowledgement of the first A.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.stores import PROFILES, SENDS

PLANNED, SENT, ACCEPTED, REJECTED = "planned", "sent", "accepted", "rejected"


@dataclass(frozen=True)
class Change:
    """One person's planned change: what is wanted, and the revision of the ledger that it was planned on."""

    customer_id: str
    action: str  # create | update | restore | suppress | delete
    base_revision: int
    target: str  # a hash of what is wanted: another target is another change
    payload_hash: str | None = None  # null for suppress and delete
    segments_hash: str | None = None
    attribute_hashes: str | None = None  # a JSON object, attribute name -> hash


@dataclass(frozen=True)
class Claim:
    """A change that may leave now, at this revision."""

    change: Change
    revision: int


@dataclass(frozen=True)
class Outcome:
    """What the destination said about one person."""

    is_accepted: bool
    error_code: str | None = None


def claim(
    connection: sa.Connection,
    destination: str,
    changes: Sequence[Change],
    *,
    key_of: Callable[[Sequence[Claim]], str],
    run_id: str,
) -> tuple[list[Claim], dict[str, str]]:
    """Mark changes as under way, within a write transaction; returns those to send, and why others are not.

    ``key_of`` makes the idempotency key of the request that will carry the claimed ones.

    Not sent: ``acknowledged`` (another run or an earlier attempt has done it), ``rejected`` (the destination
    refused this very content), ``superseded`` (the ledger has moved on since the plan was made).
    """
    rows = rows_of(connection, destination, (change.customer_id for change in changes))
    claims: list[Claim] = []
    skipped: dict[str, str] = {}
    written = []
    for change in changes:
        row = rows.get(change.customer_id)
        revision, attempt = change.base_revision + 1, 1
        if row is not None:
            is_same = row["pending_hash"] == change.target and row["revision"] in (
                change.base_revision,
                change.base_revision + 1,
            )
            if is_same and row["state"] == SENT:
                revision, attempt = row["revision"], row["attempt"] + 1
            elif row["revision"] != change.base_revision:
                skipped[change.customer_id] = (
                    {ACCEPTED: "acknowledged", REJECTED: "rejected"}[row["state"]] if is_same else "superseded"
                )
                continue
        claims.append(Claim(change, revision))
        written.append(
            {
                "destination": destination,
                "customer_id": change.customer_id,
                "state": SENT,
                "action": change.action,
                "pending_hash": change.target,
                "revision": revision,
                "attempt": attempt,
                "error_code": None,
                "run_id": run_id,
            }
        )
    key = key_of(claims) if claims else None
    written = [{**row, "idempotency_key": key} for row in written]
    new = [{**row, "is_suppressed": False} for row in written if row["customer_id"] not in rows]
    stores.upsert(connection, PROFILES, new)
    stores.upsert(
        connection,
        PROFILES,
        [
            {**row, "is_suppressed": rows[row["customer_id"]]["is_suppressed"]}
            for row in written
            if row["customer_id"] in rows
        ],
    )
    return claims, skipped


def settle(
    connection: sa.Connection, destination: str, claims: Sequence[Claim], outcomes: Mapping[str, Outcome]
) -> dict[str, int]:
    """Record answers, within a write transaction; returns the number of rows by state or error code.

    An answer to a claim that is no longer the row's (another run has gone on) is not recorded. A person whom
    the destination did not mention stays ``sent``.
    """
    rows = rows_of(connection, destination, (item.change.customer_id for item in claims))
    accepted, rejected = [], []
    counts: dict[str, int] = {}
    for item in claims:
        change = item.change
        outcome, row = outcomes.get(change.customer_id), rows[change.customer_id]
        if outcome is None or row["revision"] != item.revision or row["pending_hash"] != change.target:
            counts["unsettled"] = counts.get("unsettled", 0) + 1
            continue
        key = {"destination": destination, "customer_id": change.customer_id}
        must = {"state": row["state"], "action": row["action"], "revision": row["revision"], "attempt": row["attempt"]}
        if outcome.is_accepted:
            accepted.append({**key, **must, **_acknowledged(row, change), "state": ACCEPTED, "error_code": None})
            counts[ACCEPTED] = counts.get(ACCEPTED, 0) + 1
        else:
            code = outcome.error_code or "unknown"
            rejected.append(
                {**key, **must, "is_suppressed": row["is_suppressed"], "state": REJECTED, "error_code": code}
            )
            counts[code] = counts.get(code, 0) + 1
    stores.upsert(connection, PROFILES, accepted)
    stores.upsert(connection, PROFILES, rejected)
    return counts


def _acknowledged(row: Mapping, change: Change) -> dict[str, object]:
    """What the destination holds after it accepted a change."""
    if change.action == "delete":
        return {
            "payload_hash": None,
            "segments_hash": None,
            "attribute_hashes": None,
            "is_suppressed": row["is_suppressed"],
        }
    if change.action == "suppress":
        return {
            "payload_hash": row["payload_hash"],
            "segments_hash": row["segments_hash"],
            "attribute_hashes": row["attribute_hashes"],
            "is_suppressed": True,
        }
    return {
        "payload_hash": change.payload_hash,
        "segments_hash": change.segments_hash,
        "attribute_hashes": change.attribute_hashes,
        "is_suppressed": False,
    }


def mark_suppressed(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> None:
    """The destination itself said that it suppresses these people: no request of ours is needed.

    People whom the ledger does not know get a row too, or nobody would lift the suppression there after a
    new opt-in.
    """
    ids = sorted(set(customer_ids))
    known = rows_of(connection, destination, ids)
    new = {"destination": destination, "state": ACCEPTED, "action": "suppress", "revision": 0, "attempt": 0}
    stores.upsert(
        connection,
        PROFILES,
        [{**new, "customer_id": one, "is_suppressed": True} for one in ids if one not in known],
    )
    for chunk in stores.chunks(known):
        connection.execute(
            sa.update(PROFILES)
            .where(PROFILES.c.destination == destination, PROFILES.c.customer_id.in_(chunk))
            .values(is_suppressed=True)
        )


def rows_of(connection: sa.Connection, destination: str, customer_ids: Iterable[str]) -> dict[str, Mapping]:
    """The ledger's rows of these people, by customer id."""
    found: dict[str, Mapping] = {}
    for chunk in stores.chunks(customer_ids):
        query = sa.select(PROFILES).where(PROFILES.c.destination == destination, PROFILES.c.customer_id.in_(chunk))
        found.update((row["customer_id"], row) for row in connection.execute(query).mappings())
    return found


def held(connection: sa.Connection, destination: str) -> sa.Result:
    """Every person of a destination, streamed: what a plan compares the warehouse with."""
    query = sa.select(
        PROFILES.c.customer_id,
        PROFILES.c.payload_hash,
        PROFILES.c.is_suppressed,
        PROFILES.c.state,
        PROFILES.c.action,
        PROFILES.c.pending_hash,
        PROFILES.c.revision,
        PROFILES.c.error_code,
    ).where(PROFILES.c.destination == destination)
    return connection.execute(query, execution_options={"yield_per": 50_000})


def summary(stores_url: str, *, destination: str) -> dict[str, object]:
    """The ledger in numbers: people by state, how many are held and suppressed, rejections by code."""
    c = PROFILES.c
    where = c.destination == destination
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:
        states = connection.execute(
            sa.select(c.state, sa.func.count()).where(where).group_by(c.state).order_by(c.state)
        )
        by_state = dict(states.all())
        codes = connection.execute(
            sa.select(c.error_code, sa.func.count())
            .where(where, c.state == REJECTED)
            .group_by(c.error_code)
            .order_by(c.error_code)
        )
        rejected = dict(codes.all())
        is_held = sa.and_(where, c.payload_hash.is_not(None))
        held_count = connection.scalar(sa.select(sa.func.count()).where(is_held))
        suppressed = connection.scalar(sa.select(sa.func.count()).where(where, c.is_suppressed))
        sends = connection.execute(
            sa.select(SENDS.c.campaign_id, SENDS.c.state, sa.func.count())
            .where(SENDS.c.destination == destination)
            .group_by(SENDS.c.campaign_id, SENDS.c.state)
            .order_by(SENDS.c.campaign_id, SENDS.c.state)
        )
        by_campaign: dict[str, dict[str, int]] = {}
        for campaign_id, state, number in sends:
            by_campaign.setdefault(campaign_id, {})[state] = number
    return {
        "destination": destination,
        "states": by_state,
        "held": held_count,
        "suppressed": suppressed,
        "rejected": rejected,
        "sends": by_campaign,
    }
