"""The plan: the difference between what the warehouse wants and what a destination has acknowledged.

Planning sends nothing and stores no personal values: ids, actions, names of changed attributes and keyed hashes.
Equal inputs (audience, ledger, suppression, field map) give the equal plan, with the equal id.

=========  =====================================================================================
create     eligible, and the destination holds nothing of this person
update     eligible, and the payload differs, or the last answer was lost
restore    suppressed at the destination, and the person has opted in anew: lift, then write
suppress   held by the destination, and no longer eligible
delete     held by the destination, and no longer in the audience, or without an e-mail
unchanged  the destination has acknowledged exactly this
rejected   the destination refused exactly this; it waits until the payload changes
refused    not eligible: no consent, or suppressed (people to suppress or delete are counted here too)
=========  =====================================================================================
"""

import hashlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from letterpress import storage
from letterpress.activation import audience, ledger, stores, suppression
from letterpress.activation.destinations import Destination

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

CHANGES = ("create", "update", "restore", "suppress", "delete")
EXAMPLES = 3  # of each action, in the summary

# Why the warehouse refuses somebody -> what the destination is told about a person whom it holds.
SUPPRESSION_REASON = """case
    when reason in ('unsubscribed', 'bounced', 'complained', 'erased') then reason else 'consent_withdrawn' end"""
ADDRESSLESS = "('no_email', 'invalid_email')"


@dataclass(frozen=True)
class Plan:
    """A stored plan: its numbers, and where its rows are."""

    plan_id: str
    destination: str
    uri: str
    version: str
    run_id: str
    people: int
    held: int
    counts: dict[str, int]
    refused: dict[str, int]
    changed_attributes: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many people the plan changes something for."""
        return sum(self.counts[action] for action in CHANGES)


def make_plan(
    *,
    destination: Destination,
    version_dir: str,
    stores_url: str,
    identity_key: bytes,
    plans: str,
    run_id: str,
    memory_limit: str = "1GB",
) -> Plan:
    """Compare a published version with the ledger; stores and returns the plan.

    Rows land in ``<plans>/<destination>/<plan_id>.parquet``, the summary beside it as ``.json``. Raises
    AudienceError for a version that cannot be synced.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    digest = hashlib.sha256(destination.model_dump_json(exclude={"batch", "guard"}).encode())
    attributes: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    with (
        stores.opened(stores_url) as engine,
        audience.opened(version_dir, identity_key, memory_limit=memory_limit) as duck,
        tempfile.TemporaryDirectory(prefix="letterpress-") as folder,
    ):
        audience.check(duck, destination)
        with stores.reading(engine) as connection:
            _load_ledger(duck, connection, destination.name)
            _load_stopped(duck, connection, destination, identity_key)
        _decide(duck, destination)
        counts, refused, people, held = _count(duck)
        part = os.path.join(folder, "plan.parquet")
        with pq.ParquetWriter(part, _schema(), compression="zstd") as writer:
            for rows in _changed(duck, engine, destination):
                for row in rows:
                    digest.update(repr(tuple(row.values())).encode())
                    attributes.update(row["changed"])
                    if sum(example["action"] == row["action"] for example in examples) < EXAMPLES:
                        examples.append(_example(row))
                writer.write_table(pa.Table.from_pylist(rows, schema=_schema()))
        digest.update(repr((sorted(counts.items()), sorted(refused.items()))).encode())
        plan_id = digest.hexdigest()[:20]
        uri = storage.join(plans, destination.name, f"{plan_id}.parquet")
        with open(part, "rb") as file:
            storage.write_bytes(uri, file.read())
    plan = Plan(
        plan_id=plan_id,
        destination=destination.name,
        uri=uri,
        version=version_dir.rstrip("/").rsplit("/", 1)[-1],
        run_id=run_id,
        people=people,
        held=held,
        counts=counts,
        refused=refused,
        changed_attributes=dict(sorted(attributes.items())),
        examples=sorted(examples, key=lambda example: (CHANGES.index(example["action"]), example["customer"])),
    )
    storage.write_json(uri.removesuffix(".parquet") + ".json", asdict(plan))
    log.info("%s: plan %s: %s", destination.name, plan_id, _figures(counts))
    return plan


def read_plan(uri: str) -> Plan:
    """A stored plan, by the URI of its rows or of its summary."""
    return Plan(**storage.read_json(uri.removesuffix(".parquet").removesuffix(".json") + ".json"))


def render(plan: Plan) -> str:
    """The plan as a person reads it: numbers, reasons, changed attributes, and examples without any value."""
    lines = [
        f"Plan {plan.plan_id} for {plan.destination}, from version {plan.version}",
        f"  {plan.people:,} people in the audience, {plan.held:,} held by the destination",
        "",
    ]
    lines += [f"  {action:<10} {plan.counts[action]:>9,}" for action in (*CHANGES, "unchanged", "rejected")]
    lines.append(f"  {'refused':<10} {sum(plan.refused.values()):>9,}")
    lines += [f"    {reason:<20} {number:>9,}" for reason, number in sorted(plan.refused.items())]
    if plan.changed_attributes:
        lines += ["", "  Changed in updates:"]
        lines += [f"    {name:<24} {number:>9,}" for name, number in plan.changed_attributes.items()]
    if plan.examples:
        lines += ["", "  Examples:"]
        for example in plan.examples:
            changed = ", ".join(example["changed"])
            lines.append(f"    {example['action']:<9} {example['customer']}{': ' + changed if changed else ''}")
    if not plan.changes:
        lines += ["", "  Nothing to send."]
    return "\n".join(lines) + "\n"


def _example(row: dict[str, Any]) -> dict[str, Any]:
    """One row for a reader: a shortened id, never a value."""
    customer = row["customer_id"]
    return {"action": row["action"], "customer": f"{customer[:6]}…", "changed": row["changed"] or [row["reason"] or ""]}


def _figures(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {action}" for action, number in counts.items() if number) or "nobody"


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("action", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("changed", pa.list_(pa.string())),
            pa.field("cleared", pa.list_(pa.string())),
            pa.field("base_revision", pa.int64(), nullable=False),
            pa.field("target", pa.string(), nullable=False),
            pa.field("payload_hash", pa.string()),
            pa.field("segments_hash", pa.string()),
        ]
    )


def _load_ledger(duck: "DuckDBPyConnection", connection: Any, destination: str) -> None:
    """The ledger's hashes as a table beside the marts, in slices."""
    import pyarrow as pa

    schema = pa.schema(
        {
            "customer_id": pa.string(),
            "payload_hash": pa.string(),
            "is_suppressed": pa.bool_(),
            "state": pa.string(),
            "action": pa.string(),
            "pending_hash": pa.string(),
            "revision": pa.int64(),
            "error_code": pa.string(),
        }
    )
    duck.register("slice", schema.empty_table())
    duck.execute("create temp table held as select * from slice")
    for rows in ledger.held(connection, destination).partitions():
        columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True)]
        duck.register("slice", pa.table(columns, schema=schema))
        duck.execute("insert into held select * from slice")
    duck.unregister("slice")


def _load_stopped(duck: "DuckDBPyConnection", connection: Any, destination: Destination, identity_key: bytes) -> None:
    """Whom live suppression stops, of those whom the warehouse would let through."""
    duck.execute("create temp table stopped (customer_id varchar, reason varchar)")
    if suppression.is_empty(connection):
        return
    people = duck.execute(
        f"select customer_id, email from published.{destination.audience} where is_eligible and email is not null"
    )
    stopped: list[tuple[str, str]] = []
    while rows := people.fetchmany(audience.BATCH_ROWS):
        stopped.extend(suppression.stopped(connection, rows, identity_key).items())
    if stopped:
        duck.executemany("insert into stopped values (?, ?)", stopped)


def _decide(duck: "DuckDBPyConnection", destination: Destination) -> None:
    """One row a person of either side, with what to do."""
    duck.execute(f"""
        create temp table decided as
        with wanted as (
            select
                people.customer_id,
                people.is_eligible and stopped.reason is null as is_eligible,
                coalesce(stopped.reason, people.refusal_reason) as reason,
                people.consent_proof,
                case when people.is_eligible and stopped.reason is null then keyed(people.payload) end as wanted_hash,
                case when people.is_eligible and stopped.reason is null then keyed(people.segments) end as segments_hash
            from {audience.relation(destination)} as people
            left join stopped on stopped.customer_id = people.customer_id
        ),
        compared as (
            select
                coalesce(wanted.customer_id, held.customer_id) as customer_id,
                wanted.customer_id is not null as is_in_audience,
                coalesce(wanted.is_eligible, false) as is_eligible,
                case when not wanted.is_eligible then wanted.reason end as reason,
                wanted.consent_proof,
                wanted.wanted_hash,
                wanted.segments_hash,
                held.payload_hash as held_hash,
                coalesce(held.state = 'sent', false) as is_unsettled,
                held.payload_hash is not null or coalesce(held.state = 'sent', false) as is_held,
                coalesce(held.is_suppressed, false) as is_suppressed,
                coalesce(held.is_suppressed or (held.state = 'sent' and held.action = 'suppress'), false)
                    as may_be_suppressed,
                case when held.state = 'rejected' then held.pending_hash end as rejected_target,
                held.error_code,
                coalesce(held.revision, 0) as base_revision
            from wanted
            full outer join held on held.customer_id = wanted.customer_id
        ),
        judged as (
            select
                *,
                case
                    when not is_in_audience then case when is_held then 'delete' else 'absent' end
                    when not is_eligible and not is_held then 'refused'
                    when not is_eligible and reason in {ADDRESSLESS} then 'delete'
                    when not is_eligible then
                        case when is_suppressed and not is_unsettled then 'refused' else 'suppress' end
                    when may_be_suppressed and consent_proof is null then 'unproven'
                    when may_be_suppressed then 'restore'
                    when held_hash is null then 'create'
                    when is_unsettled or held_hash <> wanted_hash then 'update'
                    else 'unchanged'
                end as action
            from compared
        ),
        aimed as (
            select
                *,
                case action
                    when 'restore' then keyed('restore' || wanted_hash || consent_proof)
                    when 'suppress' then 'suppress:' || {SUPPRESSION_REASON}
                    when 'delete' then 'delete'
                    else wanted_hash
                end as target
            from judged
        )
        select
            customer_id,
            is_in_audience,
            is_held,
            case when action in ('create', 'update', 'restore', 'suppress', 'delete') and rejected_target = target
                then 'rejected' else action end as action,
            case when action = 'unproven' then 'suppressed_without_proof' else reason end as reason,
            case when action = 'suppress' then {SUPPRESSION_REASON} end as told_reason,
            base_revision,
            target,
            case when action in ('create', 'update', 'restore') then wanted_hash end as payload_hash,
            case when action in ('create', 'update', 'restore') then segments_hash end as segments_hash
        from aimed
    """)


def _count(duck: "DuckDBPyConnection") -> tuple[dict[str, int], dict[str, int], int, int]:
    found = dict(duck.execute("select action, count(*) from decided group by action").fetchall())
    counts = {action: found.get(action, 0) for action in (*CHANGES, "unchanged", "rejected")}
    refused = duck.execute(
        "select reason, count(*) from decided where is_in_audience and reason is not null"
        " group by reason order by reason"
    ).fetchall()
    people, held = duck.execute(
        "select count(*) filter (is_in_audience), count(*) filter (is_held) from decided"
    ).fetchall()[0]
    return counts, dict(refused), people, held


def _changed(duck: "DuckDBPyConnection", engine: Any, destination: Destination) -> Iterator[list[dict[str, Any]]]:
    """The rows of the plan in the order of their ids, in slices, with the names of what changed."""
    import orjson

    clears = {mapped.attribute for mapped in destination.attributes.values() if mapped.nulls == "clear"}
    changed = duck.execute(f"""
        select
            decided.customer_id, decided.action, decided.told_reason, decided.base_revision, decided.target,
            decided.payload_hash, decided.segments_hash,
            case when decided.payload_hash is not null then people.attribute_hashes end as attribute_hashes
        from decided
        left join {audience.relation(destination)} as people on people.customer_id = decided.customer_id
        where decided.action in {CHANGES}
        order by decided.customer_id
    """)
    while rows := changed.fetchmany(audience.BATCH_ROWS):
        ids = [row[0] for row in rows if row[1] in ("update", "restore")]
        with stores.reading(engine) as connection:
            known = ledger.rows_of(connection, destination.name, ids) if ids else {}
        slice_ = []
        for customer_id, action, reason, revision, target, payload_hash, segments_hash, hashes in rows:
            row = known.get(customer_id)
            before = orjson.loads(row["attribute_hashes"]) if row and row["attribute_hashes"] else {}
            after = orjson.loads(hashes) if hashes else {}
            names: list[str] = []
            if before:
                names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
                names += ["segments"] if row["segments_hash"] != segments_hash else []
            slice_.append(
                {
                    "customer_id": customer_id,
                    "action": action,
                    "reason": reason,
                    "changed": names,
                    "cleared": [name for name in sorted(before) if name not in after and name in clears],
                    "base_revision": revision,
                    "target": target,
                    "payload_hash": payload_hash,
                    "segments_hash": segments_hash,
                }
            )
        yield slice_
