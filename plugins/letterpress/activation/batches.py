"""Batches of a plan: read from the pinned version, cut to the vendor's caps, and made ready to leave."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat, starmap
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
# What concerns a person also under former addresses; UPSERT has its own way to them.
FOLLOWING = (Operation.SUPPRESS, Operation.ERASE, Operation.DELETE, Operation.SUBSCRIBE, Operation.LEAVE)


class Item(NamedTuple):
    """One planned change with what leaves for it: the profile as wanted, none where it is to be removed."""

    profile: bytes | None
    customer_id: str
    action: str
    base_revision: int
    target: str
    email: str | None = None
    reason: str | None = None
    moves_to: str | None = None
    consent_proof: str | None = None
    consented_at: Any = None


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
        items = self._left()
        middle = len(items) // 2
        return [Batched(self.origin.operation, self.origin.facet, part) for part in (items[:middle], items[middle:])]

    def without(self, customer_ids: Collection[str]) -> list[Batched]:
        """One without some people, where anybody is left."""
        items = [item for item in self._left() if item.customer_id not in customer_ids]
        return [Batched(self.origin.operation, self.origin.facet, items)] if items else []

    def _left(self) -> list[Item]:
        left = {row.customer_id for row in self.rows}
        return [item for item in self.origin.items if item.customer_id in left]


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
        most, rows = endpoint.bytes - SMALL, endpoint.rows
        largest = min(endpoint.row_bytes or most, most)
        for facet in self._facets(operation):
            items: list[Item] = []
            size = 0
            for item in self._items(operation, facet):
                length = len(item[0]) + 1 if item[0] is not None else SMALL
                if item[0] is not None and length > largest:  # alone: it is refused before it leaves
                    yield Batched(operation, facet, [item])
                    continue
                if items and (len(items) == rows or size + length > most):
                    yield Batched(operation, facet, items)
                    items, size = [], 0
                items.append(item)
                size += length
            if items:
                yield Batched(operation, facet, items)

    def _facets(self, operation: Operation) -> list[str]:
        actions = [action for action, found in OPERATIONS.items() if found is operation]
        found = self._duck.execute(
            "select distinct facet from planned where list_contains(?, action) order by facet", [actions]
        )
        return [row[0] for row in found.fetchall()]

    def _items(self, operation: Operation, facet: str) -> Iterator[Item]:
        actions = ", ".join(f"'{action}'" for action, found in OPERATIONS.items() if found is operation)
        profile = "people.payload" if operation in (Operation.UPSERT, Operation.SUBSCRIBE) else "null"
        wanted = "planned.customer_id, planned.action, planned.base_revision, planned.target, people.email"
        if operation is not Operation.UPSERT:  # the most by far, for which these are not needed
            wanted += ", planned.reason, planned.moves_to, people.consent_proof, people.consented_at"
        query = f"""
            select case when action <> 'clear' then encode({profile}) end, {wanted}
            from planned
            left join {audience.relation(self._destination)} as people on people.customer_id = planned.customer_id
            where planned.action in ({actions}) and planned.facet = $facet
            order by planned.customer_id
        """
        given = {"facet": facet}
        if operation is Operation.UPSERT:  # the most by far: a column at once is less work than a row at once
            make = partial(tuple.__new__, Item)
            for rows in self._duck.sql(query, params=given).to_arrow_reader(FETCHED):
                columns = [column.to_numpy(zero_copy_only=False).tolist() for column in rows.columns]
                missing = [repeat(None)] * (len(Item._fields) - len(columns))
                yield from map(make, zip(*columns, *missing, strict=False))
            return
        found = self._duck.execute(query, given)
        while rows := found.fetchmany(FETCHED):
            yield from starmap(Item, rows)


class Sender:
    """Claims batches and hands them to the client."""

    def __init__(
        self,
        destination: Destination,
        engine: sa.Engine,
        client: Client,
        identity_key: bytes,
        run_id: str,
        plan: Plan | None,
    ):
        self.destination, self.engine, self.client = destination, engine, client
        self._identity_key, self._run_id, self._plan = identity_key, run_id, plan
        self._seal = Seal(identity_key)
        self._not_restored: set[str] = set()
        self._suppression_change = plan.suppression_change if plan else 0  # without a plan everybody is asked for
        self.skipped: Counter[str] = Counter()

    def begin(self, planned: Planned, operation: Operation) -> None:
        """Before an operation's first batch: whose opt-in the destination did not take, is not written to."""
        if operation not in (Operation.UPSERT, Operation.JOIN) or not planned.plan.counts["restore"]:
            return
        wanted = planned.ids("restore")
        with stores.reading(self.engine) as read:
            held = ledger.acknowledged(read, self.destination.name, ledger.CONSENT, wanted)
        self._not_restored = {one for one in wanted if not held.get(one, "").startswith(ledger.GRANTED)}

    def prepare(self, batched: Batched) -> Prepared | None:
        """Ask live suppression, claim, and make the rows; none where nothing is left to send."""
        operation, facet, name = batched.operation, batched.facet, self.destination.name
        with stores.writing(self.engine) as write:
            items = self._allowed(write, batched)
            changes = [Change(one.customer_id, operation, one.base_revision, one.target) for one in items]
            claims, skipped = ledger.examine(write, name, facet, changes)
            self.skipped.update(skipped.values())
            if not claims:
                return None
            if len(claims) < len(items):
                by_id = {item.customer_id: item for item in items}
                items = [by_id[one.customer_id] for one in claims]
            if operation is Operation.UPSERT:
                rows, profiles = self._profiles(write, claims, items)
            else:
                rows, profiles = self._people(write, operation, items), self._addresses(operation, items)
            batch = self._batch(batched, claims, rows)
            sealed = self._seal.seal_all([profile for _, _, profile in profiles])
            payloads_ = [(one, target, content) for (one, target, _), content in zip(profiles, sealed, strict=True)]
            ledger.claim(write, batch, claims, run_id=self._run_id, payloads=payloads_)
        return Prepared(batch, rows, batched)

    def send(self, prepared: Prepared) -> Results | Job:
        """The client's answer; called from several threads."""
        batch = prepared.batch
        return self.client.send(batch.operation, prepared.rows, key=batch.batch_id, list_id=batch.list_id)

    def impersonal(self, results: Results, rows: Sequence[Row]) -> Results:
        """An answer whose messages hold no value of the people that they are about."""
        if not results.errors:
            return results
        about = {row.customer_id: row for row in rows if row.customer_id in results.errors}
        errors = {}
        for customer_id, error in results.errors.items():
            row = about.get(customer_id)
            message = payloads.without_values(error.message, row and row.email, row and row.payload)
            errors[customer_id] = replace(error, message=message)
        return replace(results, errors=errors)

    def from_ledger(self, batch: Batch) -> list[Prepared]:
        """The two halves of a request of profiles, as the ledger has them; empty for one of a single person."""
        with stores.reading(self.engine) as read:
            rows = ledger.rows_of_batch(read, batch)
        if len(rows) < 2:
            return []
        people = self.under_way(batch, [row.customer_id for row in rows])
        items = [
            Item(
                people[row.customer_id].payload,
                row.customer_id,
                "create",
                row.revision,
                row.pending,
                people[row.customer_id].email,
            )
            for row in rows
        ]
        with stores.reading(self.engine) as read:
            people = [(item.customer_id, item.email) for item in items]
            stopped = suppression.stopped(read, people, self._identity_key)
        self.skipped.update({"suppressed": len(stopped)} if stopped else {})
        items = [item for item in items if item.customer_id not in stopped]
        middle = len(items) // 2
        halves = [Batched(batch.operation, batch.facet, part) for part in (items[:middle], items[middle:]) if part]
        prepared = [self.prepare(half) for half in halves]
        return [one for one in prepared if one is not None]

    def under_way(self, batch: Batch, customer_ids: Collection[str]) -> dict[str, Row]:
        """People of a queued request with the profiles that are pending, as the ledger has them."""
        if not customer_ids:
            return {}
        asked = set(customer_ids)
        with stores.reading(self.engine) as read:
            rows = [row for row in ledger.rows_of_batch(read, batch) if row.customer_id in asked]
            sealed = ledger.payloads(read, batch.destination, {row.customer_id: row.pending for row in rows})
        found = {}
        for row in rows:
            profile = self._seal.open(sealed[row.customer_id]) if row.customer_id in sealed else None
            email = payloads.email_of(self.destination, profile) if profile else None
            found[row.customer_id] = Row(row.customer_id, email, profile, row.vendor_id)
        return found

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
        later = suppression.since(connection, self._suppression_change)
        if not later:
            return set()
        return {
            item.customer_id
            for item in items
            if item.action != "clear"
            and not later.keys().isdisjoint(suppression.subjects(item.email, item.customer_id, self._identity_key))
        }

    def _profiles(
        self, connection: sa.Connection, claims: Sequence[Claim], items: Sequence[Item]
    ) -> tuple[list[Row], list[tuple[str, str, bytes]]]:
        """Rows with what has to be sent of each profile; and what the destination will then hold of each."""
        stored = self._stored(connection, claims, items)
        if not stored and all(item.profile is not None for item in items):
            rows = [
                Row(item.customer_id, item.email, item.profile, one.vendor_id)
                for one, item in zip(claims, items, strict=True)
            ]
            return rows, [(item.customer_id, item.target, item.profile or b"") for item in items]
        is_whole = self.destination.shape.is_written_by_subscribe
        rows, profiles = [], []
        for one, item in zip(claims, items, strict=True):
            theirs = stored.get(item.customer_id, {})
            before = theirs.get(one.acknowledged or "")
            # Whatever was claimed since then may have arrived: its answer was lost, or a later one was refused.
            others = [
                profile
                for target, profile in sorted(theirs.items(), key=lambda found, last=one.pending: found[0] == last)
                if target != one.acknowledged and profile != before and (is_whole or ledger.GRANTED not in target)
            ]
            email = item.email
            if item.profile is None:
                sent = payloads.cleared(self.destination, item.customer_id, before, others, is_certain=one.is_certain)
                email = self._first_email([*reversed(others), before])
            else:
                sent, then = payloads.update(self.destination, item.profile, before, others, is_certain=one.is_certain)
                profiles.append((item.customer_id, item.target, then))
            rows.append(
                Row(item.customer_id, email, sent, one.vendor_id, former_emails=self._former_emails(email, theirs))
            )
        return rows, profiles

    def _stored(
        self, connection: sa.Connection, claims: Sequence[Claim], items: Sequence[Item]
    ) -> dict[str, dict[str, bytes]]:
        """The profiles that the destination holds or may hold, by person and target, where it matters what it holds."""
        keeps = any(mapped.nulls == "skip" for mapped in self.destination.attributes.values())
        is_new = all(one.revision == 1 for one in claims) and not self.destination.subscribes
        if not any(item.profile is None for item in items) and (is_new or not (self.destination.shape.merges or keeps)):
            return {}
        return self._opened(connection, items)

    def _opened(self, connection: sa.Connection, items: Sequence[Item]) -> dict[str, dict[str, bytes]]:
        """The stored profiles of some people, by person and target; of opt-ins those under another address."""
        found: dict[str, dict[str, bytes]] = {}
        emails = {item.customer_id: item.email for item in items}
        is_whole = self.destination.shape.is_written_by_subscribe
        for customer_id, target, sealed in ledger.all_payloads(connection, self.destination.name, list(emails)):
            is_known = target.startswith(ledger.GRANTED) and target.endswith(
                suppression.mark(emails[customer_id], self._identity_key)
            )
            if not is_known or is_whole:
                found.setdefault(customer_id, {})[target] = self._seal.open(sealed)
        return found

    def _people(self, connection: sa.Connection, operation: Operation, items: Sequence[Item]) -> list[Row]:
        """Rows of people without their profile's attributes; where the audience has no address, the ledger's."""
        ids = [item.customer_id for item in items]
        vendor_ids = ledger.vendor_ids(connection, self.destination.name, ids)
        stored: dict[str, dict[str, bytes]] = {}
        if operation in FOLLOWING or not all(item.email for item in items):
            stored = self._opened(connection, items)
        named = [
            item if item.email else item._replace(email=self._first_email(stored.get(item.customer_id, {}).values()))
            for item in items
        ]
        return [
            Row(
                item.customer_id,
                item.email,
                item.profile,
                vendor_ids.get(item.customer_id),
                item.reason,
                item.consent_proof,
                item.consented_at,
                item.moves_to,
                self._former_emails(item.email, stored.get(item.customer_id, {})),
            )
            for item in named
        ]

    def _first_email(self, profiles: Iterable[bytes | None]) -> str | None:
        """The first address that one of these profiles has."""
        return next(self._emails(profiles), None)

    def _emails(self, profiles: Iterable[bytes | None]) -> Iterator[str]:
        found = (payloads.email_of(self.destination, one) for one in profiles if one)
        return (email for email in found if email)

    def _addresses(self, operation: Operation, items: Sequence[Item]) -> list[tuple[str, str, bytes]]:
        """An opt-in makes a profile of an address, which has to be found again if the next one is another."""
        if operation is not Operation.SUBSCRIBE:
            return []
        is_whole = self.destination.shape.is_written_by_subscribe
        return [
            (
                one.customer_id,
                one.target + suppression.mark(one.email, self._identity_key),
                (is_whole and one.profile) or payloads.addressed(self.destination, one.email),
            )
            for one in items
            if one.email
        ]

    def _former_emails(self, email: str | None, stored: Mapping[str, bytes]) -> tuple[str, ...]:
        """Other addresses than this one under which the destination holds a person, or may do so."""
        if not stored:
            return ()
        emails = set(self._emails(stored.values()))
        present = suppression.normalise_email(email or "")
        return tuple(sorted(one for one in emails if suppression.normalise_email(one) != present))

    def _batch(self, batched: Batched, claims: Sequence[Claim], rows: Sequence[Row]) -> Batch:
        """The request as the ledger knows it; its key is a keyed hash of all that it holds, and of nothing else."""
        list_id = self.destination.lists.get(batched.facet.removeprefix(ledger.LIST))
        content = hashlib.sha256(f"{self.destination.name}\n{batched.operation}\n{batched.facet}\n{list_id}".encode())
        lines = [f"{one.customer_id}\n{one.revision}\n{one.target}" for one in claims]
        content.update("\n".join(lines).encode())
        if batched.operation is Operation.UPSERT and any(one.acknowledged or one.pending for one in claims):
            for row in rows:  # parts of profiles: of which, the targets do not tell
                content.update(row.payload or b"")
        return Batch(
            batch_id=hmac.digest(self._identity_key, content.digest(), "sha256").hex(),
            destination=self.destination.name,
            facet=batched.facet,
            operation=batched.operation,
            list_id=list_id if batched.facet.startswith(ledger.LIST) else None,
            first_id=claims[0].customer_id,
            last_id=claims[-1].customer_id,
            people=len(claims),
            state=ledger.SENT,
            job_id=None,
            plan_id=self._plan.plan_id if self._plan else None,
        )
