"""Applying a plan: batches that ask suppression, are claimed, leave, and advance the ledger on acknowledgement.

For each batch, in this order:

1. its payloads are read from the pinned version, compared with the plan's hashes, and audited;
2. one write transaction asks live suppression once more and claims the rest in the ledger;
3. the request leaves under an idempotency key that is a function of its content and the rows' revisions;
4. one write transaction records the answer, row by row.

A kill anywhere, and a second run (of this plan or of a new one), ends in the same state: a claimed row is
sent again as the same request, which the destination answers from its own store.
"""

import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from letterpress import storage
from letterpress.activation import audience, ledger, stores, suppression
from letterpress.activation.destinations import (
    Client,
    Connection,
    Destination,
    RowResult,
    SuppressionRequest,
    open_client,
)
from letterpress.activation.ledger import Change, Claim, Outcome
from letterpress.activation.plan import Plan

log = logging.getLogger(__name__)

Validate = Callable[[list[dict[str, Any]]], None]

# Whoever must not be written to is stopped first; deletions come before upserts, so that an e-mail is free.
STAGES = (("suppress",), ("delete",), ("restore",), ("create", "update"))


class GuardError(Exception):
    """A plan that a person has to approve before its first request."""


@dataclass(frozen=True)
class ApplyResult:
    """What became of a plan's rows, and how many requests it took."""

    plan_id: str
    destination: str
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    requests: int = 0


@dataclass(frozen=True)
class _Row:
    """One person of a batch: the change, and what leaves for it."""

    change: Change
    email: str | None
    reason: str | None
    consent_proof: str | None
    payload: bytes | None


def apply_plan(
    *,
    plan: Plan,
    destination: Destination,
    version_dir: str,
    connection: Connection,
    stores_url: str,
    identity_key: bytes,
    run_id: str,
    validate: Validate | None = None,
    is_approved: bool = False,
    memory_limit: str = "1GB",
) -> ApplyResult:
    """Bring a destination to what a plan wants.

    ``validate`` gets the payloads of each batch before it leaves and raises to stop the line. Raises
    GuardError for a plan that deletes too many people and is not approved, AudienceError when
    ``version_dir`` is not what the plan was made from, DestinationError when the destination fails for good:
    what was acknowledged until then is recorded, and the next run goes on from there.
    """
    if plan.destination != destination.name:
        raise ValueError(
            f"plan {plan.plan_id}: expected a plan for {destination.name}, found one for {plan.destination}"
        )
    _guard(plan, destination, is_approved)
    if not plan.changes:
        log.info("%s: plan %s: nothing to send", destination.name, plan.plan_id)
        return ApplyResult(plan.plan_id, destination.name)
    with (
        stores.opened(stores_url) as engine,
        audience.opened(version_dir, identity_key, memory_limit=memory_limit) as duck,
        open_client(destination, connection) as client,
    ):
        audience.check(duck, destination)
        duck.register("stored", storage.read_parquet(plan.uri))
        duck.execute("create temp table planned as select * from stored")
        duck.unregister("stored")
        line = _Line(destination, engine, client, identity_key, run_id, validate)
        done = 0
        for actions in STAGES:
            if not sum(plan.counts[action] for action in actions):
                continue
            for batch in _batches(_rows(duck, destination, actions), destination):
                line.send(batch)
                done += len(batch)
                log.info("%s: %d of %d people, %d requests", destination.name, done, plan.changes, client.requests)
        return ApplyResult(
            plan_id=plan.plan_id,
            destination=destination.name,
            accepted=line.counts.pop(ledger.ACCEPTED, 0),
            rejected=dict(sorted(line.counts.items())),
            skipped=dict(sorted(line.skipped.items())),
            requests=client.requests,
        )


class _Line:
    """One batch after the other to one destination, with the counts so far."""

    def __init__(
        self,
        destination: Destination,
        engine: sa.Engine,
        client: Client,
        identity_key: bytes,
        run_id: str,
        validate: Validate | None,
    ):
        self._destination = destination
        self._engine = engine
        self._client = client
        self._identity_key = identity_key
        self._run_id = run_id
        self._validate = validate
        self.counts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def send(self, batch: Sequence[_Row]) -> None:
        """Audit, ask, claim, send, record."""
        if self._validate is not None and batch[0].payload is not None:
            self._validate([orjson.loads(row.payload) for row in batch])
        rows = {row.change.customer_id: row for row in batch}
        with stores.writing(self._engine) as connection:
            allowed = self._still_allowed(connection, batch)
            claims, skipped = ledger.claim(
                connection,
                self._destination.name,
                [row.change for row in allowed],
                key_of=lambda claimed: self._key(claimed, rows),
                run_id=self._run_id,
            )
        self.skipped.update(skipped.values())
        if not claims:
            return
        results = self._request(claims, rows)
        outcomes = {result.external_id: Outcome(result.error_code is None, result.error_code) for result in results}
        with stores.writing(self._engine) as connection:
            self.counts.update(ledger.settle(connection, self._destination.name, claims, outcomes))

    def _still_allowed(self, connection: sa.Connection, batch: Sequence[_Row]) -> list[_Row]:
        """Without those who were suppressed since the plan was made; it is the last thing before the claim."""
        if batch[0].payload is None:
            return list(batch)
        people = [(row.change.customer_id, row.email) for row in batch]
        stopped = suppression.stopped(connection, people, self._identity_key)
        self.skipped.update({"suppressed": len(stopped)} if stopped else {})
        return [row for row in batch if row.change.customer_id not in stopped]

    def _key(self, claims: Sequence[Claim], rows: dict[str, _Row]) -> str:
        """A keyed hash of everything that the request holds: the same request, the same key, nothing else."""
        message = hashlib.sha256(f"{self._destination.name}\n{claims[0].change.action}".encode())
        for item in claims:
            message.update(f"\n{item.change.customer_id}\n{item.revision}\n{item.change.target}\n".encode())
            message.update(rows[item.change.customer_id].payload or b"")
        return hmac.digest(self._identity_key, message.digest(), "sha256").hex()

    def _request(self, claims: Sequence[Claim], rows: dict[str, _Row]) -> list[RowResult]:
        key = self._key(claims, rows)
        people = [rows[item.change.customer_id] for item in claims]
        action = claims[0].change.action
        if action == "suppress":
            return self._client.suppress(
                [SuppressionRequest(row.change.customer_id, row.email, row.reason) for row in people], key
            )
        if action == "delete":
            return self._client.delete([row.change.customer_id for row in people], key)
        refused: list[RowResult] = []
        if action == "restore":
            lifted = [self._client.lift(row.change.customer_id, row.email, row.consent_proof) for row in people]
            refused = [result for result in lifted if result.error_code is not None]
            kept_out = {result.external_id for result in refused}
            people = [row for row in people if row.change.customer_id not in kept_out]
            claims = [item for item in claims if item.change.customer_id not in kept_out]
            key = self._key(claims, rows) if claims else key
        if not people:
            return refused
        return refused + self._client.upsert([row.payload for row in people], key)


def _guard(plan: Plan, destination: Destination, is_approved: bool) -> None:
    guard, deleted = destination.guard, plan.counts["delete"]
    percent = 100 * deleted / plan.held if plan.held else 0
    if is_approved or deleted < guard.deleted_at_least or percent <= guard.deleted_percent:
        return
    raise GuardError(
        f"{destination.name}: plan {plan.plan_id} deletes {deleted} of {plan.held} people ({percent:.0f} %), "
        f"expected at most {guard.deleted_percent:g} %. Look at the audience; if it is right, approve the plan"
    )


def _rows(duck: Any, destination: Destination, actions: Sequence[str]) -> Iterator[_Row]:
    """A stage's people in the order of their ids, streamed, each with what leaves for them."""
    wanted = ", ".join(f"'{action}'" for action in actions)
    has_payload = not {"suppress", "delete"} & set(actions)
    payload = (
        "people.payload, people.attribute_hashes, people.consent_proof, keyed(people.payload) = planned.payload_hash"
        if has_payload
        else "null, null, null, true"
    )
    found = duck.execute(f"""
        select
            planned.customer_id, planned.action, planned.base_revision, planned.target, planned.payload_hash,
            planned.segments_hash, planned.reason, planned.cleared, people.email, {payload}
        from planned
        left join {audience.relation(destination)} as people on people.customer_id = planned.customer_id
        where planned.action in ({wanted})
        order by planned.customer_id
    """)
    while rows := found.fetchmany(5_000):
        for row in rows:
            customer_id, action, revision, target, payload_hash, segments_hash, reason, cleared = row[:8]
            email, text, hashes, proof, is_same = row[8:]
            if not is_same:
                raise audience.AudienceError(
                    f"{destination.name}: customer {customer_id[:6]}…: expected the payload that was planned, found "
                    "another; apply a plan with the version that it was made from"
                )
            yield _Row(
                Change(customer_id, action, revision, target, payload_hash, segments_hash, hashes),
                email,
                reason,
                proof,
                _with_cleared(text.encode(), cleared) if has_payload else None,
            )


def _with_cleared(payload: bytes, cleared: Iterable[str] | None) -> bytes:
    """The payload with null for the attributes that the destination holds and the person no longer has."""
    if not cleared:
        return payload
    content = orjson.loads(payload)
    content["attributes"].update(dict.fromkeys(cleared))
    return orjson.dumps(content)


def _batches(rows: Iterable[_Row], destination: Destination) -> Iterator[list[_Row]]:
    """Rows up to the destination's caps, by count and by bytes."""
    batch: list[_Row] = []
    size = 0
    for row in rows:
        length = len(row.payload) + 1 if row.payload else 300
        if batch and (len(batch) == destination.batch.rows or size + length > destination.batch.bytes):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch
