"""Batches of a plan: read from the pinned version, cut to the vendor's caps, and made ready to leave."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from letterpress import storage
from letterpress.activation import audience, ledger, payloads, stores, suppression
from letterpress.activation.destinations import Destination
from letterpress.activation.destinations.spec import Client, Job, Operation, Results, Row
from letterpress.activation.ledger import Batch, Change, Claim
from letterpress.activation.plan import OPERATIONS, Plan
from letterpress.activation.seal import Seal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FETCHED = 5_000  # rows at once
SMALL = 300  # bytes that a person without a profile takes in a request
WRITING = (Operation.SUBSCRIBE, Operation.UPSERT, Operation.JOIN)  # only people who may be written to


class Item(NamedTuple):
    """One planned change with what leaves for it: the profile as wanted, none where it is to be removed."""

    customer_id: str
    action: str
    base_revision: int
    target: str
    reason: str | None = None
    moves_to: str | None = None
    email: str | None = None
    consent_proof: str | None = None
    consented_at: Any = None
    profile: bytes | None = None


@dataclass(frozen=True)
class Batched:
    """Changes of one operation and one facet that fit into one request."""

    operation: Operation
    facet: str
    items: Sequence[Item]


@dataclass(frozen=True)
class Prepared:
    """A claimed request: the rows that leave, and the changes that they came from."""

    batch: Batch
    rows: Sequence[Row]
    origin: Batched

    def halves(self) -> list[Batched]:
        """Two smaller ones of the people that left."""
        left = {row.customer_id for row in self.rows}
        items = [item for item in self.origin.items if item.customer_id in left]
        middle = len(items) // 2
        return [Batched(self.origin.operation, self.origin.facet, part) for part in (items[:middle], items[middle:])]


class Planned:
    """A stored plan beside the version that it was made from."""

    def __init__(self, duck: "DuckDBPyConnection", destination: Destination, plan: Plan):
        self._duck, self._destination, self.plan = duck, destination, plan
        duck.register("stored", storage.read_parquet(plan.uri))
        duck.execute("create temp table planned as select * exclude (changed) from stored")
        duck.unregister("stored")

    def ids(self, action: str) -> list[str]:
        """Who has an action."""
        found = self._duck.execute("select customer_id from planned where action = ? order by customer_id", [action])
        return [row[0] for row in found.fetchall()]

    def batches(self, operation: Operation) -> Iterator[Batched]:
        """An operation's changes in the order of facets and ids, cut to the vendor's caps."""
        endpoint = self._destination.endpoints[operation]
        facet, items, size = "", [], 0
        for item_facet, item in self._items(operation):
            length = len(item.profile) + 1 if item.profile is not None else SMALL
            if items and (item_facet != facet or len(items) == endpoint.rows or size + length > endpoint.bytes - SMALL):
                yield Batched(operation, facet, items)
                items, size = [], 0
            facet = item_facet
            items.append(item)
            size += length
        if items:
            yield Batched(operation, facet, items)

    def _items(self, operation: Operation) -> Iterator[tuple[str, Item]]:
        actions = ", ".join(f"'{action}'" for action, found in OPERATIONS.items() if found is operation)
        has_profile = operation in (Operation.UPSERT, Operation.SUBSCRIBE)
        found = self._duck.execute(f"""
            select
                planned.facet, planned.customer_id, planned.action, planned.base_revision, planned.target,
                planned.reason, planned.moves_to, people.email, people.consent_proof, people.consented_at,
                {"people.payload" if has_profile else "null"}
            from planned
            left join {audience.relation(self._destination)} as people on people.customer_id = planned.customer_id
            where planned.action in ({actions})
            order by planned.facet, planned.customer_id
        """)
        for rows in iter(lambda: found.fetchmany(FETCHED), []):
            for facet, *values, profile in rows:
                is_wanted = profile is not None and values[1] != "clear"
                yield facet, Item(*values, profile.encode() if is_wanted else None)


class Sender:
    """Claims batches and hands them to the client."""

    def __init__(
        self,
        destination: Destination,
        engine: sa.Engine,
        client: Client,
        identity_key: bytes,
        run_id: str,
        plan: Plan,
    ):
        self.destination, self.engine, self.client = destination, engine, client
        self._identity_key, self._run_id, self._plan = identity_key, run_id, plan
        self._seal = Seal(identity_key)
        self._not_restored: set[str] = set()
        self.skipped: Counter[str] = Counter()

    def begin(self, planned: Planned, operation: Operation) -> None:
        """Before an operation's first batch: whose opt-in the destination did not take, is not written to."""
        if operation not in (Operation.UPSERT, Operation.JOIN) or not self._plan.counts["restore"]:
            return
        wanted = planned.ids("restore")
        with stores.reading(self.engine) as read:
            held = ledger.acknowledged(read, self.destination.name, ledger.CONSENT, wanted)
        self._not_restored = {one for one in wanted if not held.get(one, "").startswith(ledger.GRANTED)}

    def prepare(self, batched: Batched) -> Prepared | None:
        """Ask live suppression, claim, and make the rows; none where nothing is left to send."""
        operation, facet = batched.operation, batched.facet
        with stores.writing(self.engine) as write:
            items = self._allowed(write, batched)
            changes = [self._change(item, operation, facet) for item in items]
            claims, skipped = ledger.examine(
                write, self.destination.name, facet, changes, with_payloads=self._needs_payloads(items, operation)
            )
            self.skipped.update(skipped.values())
            if not claims:
                return None
            by_id = {item.customer_id: item for item in items}
            known = self._known(write, operation, claims)
            made = [self._row(one, by_id[one.change.customer_id], operation, known) for one in claims]
            batch = self._batch(batched, [claimed for claimed, _ in made], [row for _, row in made])
            ledger.claim(write, batch, [claimed for claimed, _ in made], run_id=self._run_id)
        return Prepared(batch, [row for _, row in made], batched)

    def send(self, prepared: Prepared) -> Results | Job:
        """The client's answer; called from several threads."""
        batch = prepared.batch
        return self.client.send(batch.operation, prepared.rows, key=batch.batch_id, list_id=batch.list_id)

    def from_ledger(self, batch: Batch) -> list[Prepared]:
        """The two halves of a request of profiles, as the ledger has them; empty for one of a single person."""
        with stores.reading(self.engine) as read:
            rows = ledger.rows_of_batch(read, batch)
        if len(rows) < 2:
            return []
        items = []
        for row in rows:
            profile = self._seal.open(row.pending_payload) if row.pending_payload else None
            email = payloads.email_of(self.destination, profile) if profile else None
            items.append(Item(row.customer_id, "create", row.revision, row.pending, email=email, profile=profile))
        with stores.reading(self.engine) as read:
            people = [(item.customer_id, item.email) for item in items]
            stopped = suppression.stopped(read, people, self._identity_key)
        self.skipped.update({"suppressed": len(stopped)} if stopped else {})
        items = [item for item in items if item.customer_id not in stopped]
        middle = len(items) // 2
        halves = [Batched(batch.operation, batch.facet, part) for part in (items[:middle], items[middle:]) if part]
        prepared = [self.prepare(half) for half in halves]
        return [one for one in prepared if one is not None]

    def receipt_of(self, batch: Batch) -> Callable[[str], tuple[str, str]]:
        """What is kept of somebody erased: keyed hashes of the person, and of the request that did it."""

        def receipt(customer_id: str) -> tuple[str, str]:
            told = f"{batch.destination}\n{batch.job_id or batch.batch_id}\n{customer_id}"
            return (
                suppression.hash_customer(customer_id, self._identity_key),
                hmac.digest(self._identity_key, told.encode(), "sha256").hex(),
            )

        return receipt

    def _allowed(self, connection: sa.Connection, batched: Batched) -> Sequence[Item]:
        """Without those who were suppressed since the plan was made; it is the last thing before the claim."""
        if batched.operation not in WRITING:
            return batched.items
        items = [item for item in batched.items if item.customer_id not in self._not_restored]
        self.skipped.update(
            {"not_restored": len(batched.items) - len(items)} if len(items) < len(batched.items) else {}
        )
        stopped = self._stopped(connection, items)
        self.skipped.update({"suppressed": len(stopped)} if stopped else {})
        items = [item for item in items if item.customer_id not in stopped]
        if batched.operation is not Operation.JOIN:
            return items
        there = ledger.acknowledged(
            connection, self.destination.name, ledger.PROFILE, [one.customer_id for one in items]
        )
        missing = [item for item in items if item.customer_id not in there]
        self.skipped.update({"no_profile": len(missing)} if missing else {})
        return [item for item in items if item.customer_id in there]

    def _stopped(self, connection: sa.Connection, items: Sequence[Item]) -> set[str]:
        """Who was suppressed after the plan: the plan itself left out who was before."""
        later = suppression.since(connection, self._plan.suppression_change)
        if not later:
            return set()
        return {
            item.customer_id
            for item in items
            if item.action != "clear"
            and not later.keys().isdisjoint(suppression.subjects(item.email, item.customer_id, self._identity_key))
        }

    def _change(self, item: Item, operation: Operation, facet: str) -> Change:
        is_kept = operation is Operation.UPSERT and item.profile is not None
        sealed = self._seal.seal(item.profile) if is_kept else None
        return Change(item.customer_id, operation, item.base_revision, item.target, sealed, facet)

    def _needs_payloads(self, items: Sequence[Item], operation: Operation) -> bool:
        """Whether what is sent depends on what the destination holds."""
        if operation is not Operation.UPSERT:
            return False
        if any(item.action == "clear" for item in items):
            return True
        keeps = any(mapped.nulls == "skip" for mapped in self.destination.attributes.values())
        return (self.destination.shape.merges or keeps) and any(item.action != "create" for item in items)

    def _known(self, connection: sa.Connection, operation: Operation, claims: Sequence[Claim]) -> Mapping[str, Any]:
        """Addresses and vendors' ids that the ledger has, for operations that name people without their profile."""
        if operation is Operation.UPSERT:
            return {}
        ids = [one.change.customer_id for one in claims]
        found: dict[str, Any] = {"vendor": ledger.vendor_ids(connection, self.destination.name, ids)}
        sealed = ledger.payloads(connection, self.destination.name, ids)
        found["email"] = {
            one: payloads.email_of(self.destination, self._seal.open(content)) for one, content in sealed.items()
        }
        return found

    def _row(self, one: Claim, item: Item, operation: Operation, known: Mapping[str, Any]) -> tuple[Claim, Row]:
        """What leaves for one person, and the claim with what the destination will then hold."""
        if operation is not Operation.UPSERT:
            return one, Row(
                item.customer_id,
                item.email or known["email"].get(item.customer_id),
                item.profile,
                known["vendor"].get(item.customer_id),
                item.reason,
                item.consent_proof,
                item.consented_at,
                item.moves_to,
            )
        before = self._seal.open(one.acknowledged) if one.acknowledged else None
        if item.action == "clear":
            sent = payloads.cleared(self.destination, item.customer_id, before)
            return one._replace(change=one.change._replace(payload=None)), Row(
                item.customer_id, payloads.email_of(self.destination, before) if before else None, sent, one.vendor_id
            )
        if before is None and one.pending is None:
            return one, Row(item.customer_id, item.email, item.profile, one.vendor_id)
        pending = self._seal.open(one.pending) if one.pending else None
        sent, then = payloads.update(self.destination, item.profile or b"{}", before, pending)
        return one._replace(change=one.change._replace(payload=self._seal.seal(then))), Row(
            item.customer_id, item.email, sent, one.vendor_id
        )

    def _batch(self, batched: Batched, claims: Sequence[Claim], rows: Sequence[Row]) -> Batch:
        """The request as the ledger knows it; its key is a keyed hash of all that it holds, and of nothing else."""
        list_id = self.destination.lists.get(batched.facet.removeprefix(ledger.LIST))
        content = hashlib.sha256(f"{self.destination.name}\n{batched.operation}\n{batched.facet}\n{list_id}".encode())
        lines = [f"{one.change.customer_id}\n{one.revision}\n{one.change.target}" for one in claims]
        content.update("\n".join(lines).encode())
        if any(one.acknowledged is not None for one in claims):  # parts of profiles: of which, the targets do not tell
            for row in rows:
                content.update(row.payload or b"")
        return Batch(
            batch_id=hmac.digest(self._identity_key, content.digest(), "sha256").hex(),
            destination=self.destination.name,
            facet=batched.facet,
            operation=batched.operation,
            list_id=list_id if batched.facet.startswith(ledger.LIST) else None,
            first_id=claims[0].change.customer_id,
            last_id=claims[-1].change.customer_id,
            people=len(claims),
            state=ledger.SENT,
            job_id=None,
            plan_id=self._plan.plan_id,
        )
