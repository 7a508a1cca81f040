"""The plan: the difference between what the warehouse wants and what a destination has acknowledged.

Planning sends nothing and stores no personal values: ids, actions, names of changed attributes and keyed hashes.
Equal inputs (audience, ledger, suppression, field map) give the equal plan, with the equal id.

=========  =====================================================================================
suppress   held by the destination, and no longer eligible
erase      held by the destination, and erased for good
move       held under an id that became another person's: the profile moves to the surviving id
leave      in a list there, and no longer wanted in it
delete     held, and no longer in the audience or without an address, where leavers are deleted
clear      the same, where leavers lose their attributes
restore    suppressed at the destination, and the person has opted in anew
subscribe  eligible, and the destination records no opt-in yet (where it shall)
create     eligible, and the destination holds nothing of this person
update     eligible, and the profile differs, or the last answer was lost, or it shall be sent again
join       wanted in a list there, and not in it
unchanged  the destination has acknowledged exactly this
waiting    the destination still works on an earlier request
rejected   the destination refused exactly this; it waits until the row changes or is replayed
refused    not eligible: no consent, or suppressed (people to suppress or erase are counted here too)
=========  =====================================================================================
"""

import hashlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from letterpress import storage
from letterpress.activation import audience, decide, ledger, payloads, stores, suppression
from letterpress.activation.destinations import Destination
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.spec import Endpoint, Operation
from letterpress.activation.seal import Seal

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

# In the order of the operations.
OPERATIONS: Mapping[str, Operation] = {
    "suppress": Operation.SUPPRESS,
    "erase": Operation.ERASE,
    "move": Operation.MOVE,
    "leave": Operation.LEAVE,
    "delete": Operation.DELETE,
    "restore": Operation.SUBSCRIBE,
    "subscribe": Operation.SUBSCRIBE,
    "create": Operation.UPSERT,
    "update": Operation.UPSERT,
    "clear": Operation.UPSERT,
    "join": Operation.JOIN,
}
CHANGES = tuple(OPERATIONS)
STANDING = ("unchanged", "waiting", "rejected")
EXAMPLES = 3  # of each action, in the summary
NAMED = 50_000  # updates whose changed attributes are worked out; the rest is counted alone


@dataclass(frozen=True)
class Plan:
    """A stored plan: its numbers, and where its rows are.

    ``held`` are the people whose profile the destination has, ``reached`` those of them who are neither suppressed
    nor cleared there.
    """

    plan_id: str
    destination: str
    uri: str
    version: str
    field_map: str
    run_id: str
    people: int
    eligible: int
    held: int
    reached: int
    suppression_change: int
    counts: dict[str, int]
    refused: dict[str, int]
    calls: dict[str, int]
    least_seconds: dict[str, float]
    changed_attributes: dict[str, int] = field(default_factory=dict)
    lists: dict[str, dict[str, int]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many changes the plan makes."""
        return sum(self.counts[action] for action in CHANGES)

    def of(self, operation: Operation) -> int:
        """How many changes of one operation."""
        return sum(self.counts[action] for action, found in OPERATIONS.items() if found is operation)


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

    summary = _Summary()
    with (
        stores.fewer_collections(),
        stores.opened(stores_url) as engine,
        audience.opened(version_dir, identity_key, memory_limit=memory_limit) as duck,
        tempfile.TemporaryDirectory(prefix="letterpress-") as folder,
    ):
        audience.check(duck, destination)
        with stores.reading(engine) as connection:
            change = suppression.last_change(connection)
            decide.load(duck, connection, destination, identity_key)
        decide.decide(duck, destination)
        counts, refused, people, eligible, held, reached = _count(duck)
        digest = hashlib.sha256(f"{fingerprint(destination)}{sorted(counts.items())}{sorted(refused.items())}".encode())
        part = os.path.join(folder, "plan.parquet")
        with pq.ParquetWriter(part, _schema(), compression="zstd") as writer:
            for rows in _changed(duck, engine, destination, identity_key):
                for row in rows:
                    digest.update(repr(tuple(row.values())).encode())
                    summary.add(row)
                writer.write_table(pa.Table.from_pylist(rows, schema=_schema()))
        calls, seconds = _estimate(duck, destination, counts)
        plan_id = digest.hexdigest()[:20]
        uri = storage.join(plans, destination.name, f"{plan_id}.parquet")
        with open(part, "rb") as file:
            storage.write_bytes(uri, file.read())
    plan = Plan(
        plan_id=plan_id,
        destination=destination.name,
        uri=uri,
        version=version_dir.rstrip("/").rsplit("/", 1)[-1],
        field_map=fingerprint(destination),
        run_id=run_id,
        people=people,
        eligible=eligible,
        held=held,
        reached=reached,
        suppression_change=change,
        counts=counts,
        refused=refused,
        calls=calls,
        least_seconds=seconds,
        changed_attributes=dict(sorted(summary.attributes.items())),
        lists={name: dict(sorted(found.items())) for name, found in sorted(summary.lists.items())},
        examples=sorted(summary.examples, key=lambda one: (CHANGES.index(one["action"]), one["customer"])),
    )
    storage.write_json(uri.removesuffix(".parquet") + ".json", asdict(plan))
    log.info("%s: plan %s: %s", destination.name, plan_id, _figures(counts))
    return plan


def read_plan(uri: str) -> Plan:
    """A stored plan, by the URI of its rows or of its summary."""
    return Plan(**storage.read_json(uri.removesuffix(".parquet").removesuffix(".json") + ".json"))


def fingerprint(destination: Destination) -> str:
    """A hash of what decides the content of payloads: another field map is another plan."""
    content = destination.model_dump_json(exclude={"batch", "guard", "enabled"})
    return hashlib.sha256(f"{content}{destination.shape!r}".encode()).hexdigest()[:16]


class _Summary:
    """What a plan's page and log tell of its rows."""

    def __init__(self) -> None:
        self.attributes: Counter[str] = Counter()
        self.lists: dict[str, Counter[str]] = {}
        self.examples: list[dict[str, Any]] = []
        self._shown: Counter[str] = Counter()

    def add(self, row: dict[str, Any]) -> None:
        """Count one row; the first of each action are examples, by a shortened id and without any value."""
        action, changed = row["action"], row["changed"]
        self.attributes.update(changed or ())
        if row["facet"].startswith(ledger.LIST):
            self.lists.setdefault(row["facet"].removeprefix(ledger.LIST), Counter())[action] += 1
        self._shown[action] += 1
        if self._shown[action] <= EXAMPLES:
            details = changed or [row["reason"] or row["facet"].removeprefix(ledger.LIST)]
            self.examples.append({"action": action, "customer": f"{row['customer_id'][:6]}…", "changed": details})


def _figures(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {action}" for action, number in counts.items() if number) or "nobody"


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("facet", pa.string(), nullable=False),
            pa.field("action", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("changed", pa.list_(pa.string())),
            pa.field("base_revision", pa.int64(), nullable=False),
            pa.field("target", pa.string(), nullable=False),
            pa.field("moves_to", pa.string()),
        ]
    )


def _count(duck: "DuckDBPyConnection") -> tuple[dict[str, int], dict[str, int], int, int, int, int]:
    found = dict(
        duck.execute("""
            select action, count(*)
            from (
                select action from decided
                union all
                select profile_action from judged where profile_action = 'unchanged'
            )
            group by action
        """).fetchall()
    )
    counts = {action: found.get(action, 0) for action in (*CHANGES, *STANDING)}
    refused = duck.execute(
        "select reason, count(*) from judged where is_in_audience and reason is not null"
        " group by reason order by reason"
    ).fetchall()
    people, eligible, held, reached = duck.execute(f"""
        select
            count(*) filter (is_in_audience),
            count(*) filter (is_eligible),
            count(*) filter (is_held),
            count(*) filter (is_held and not may_be_suppressed and acknowledged is distinct from '{ledger.CLEARED}')
        from judged
    """).fetchall()[0]
    return counts, dict(refused), people, eligible, held, reached


def _changed(
    duck: "DuckDBPyConnection", engine: Any, destination: Destination, identity_key: bytes
) -> Iterator[list[dict[str, Any]]]:
    """The rows of the plan in the order of facets and ids, in slices, with the names of what changed."""
    seal, named = Seal(identity_key), 0
    names = ("customer_id", "facet", "action", "reason", "base_revision", "target", "moves_to")
    changed = duck.execute(
        f"select {', '.join(names)} from decided where action in {CHANGES} order by facet, customer_id"
    )
    for found in iter(lambda: changed.fetchmany(audience.BATCH_ROWS), []):
        rows = [dict(zip(names, row, strict=True)) for row in found]
        updated = [row["customer_id"] for row in rows if row["action"] == "update"][: NAMED - named]
        named += len(updated)
        differing = _named(duck, engine, destination, seal, updated) if updated else {}
        yield [
            {
                **{name: row[name] for name in names[:4]},
                "changed": differing.get(row["customer_id"]) if row["action"] == "update" else None,
                **{name: row[name] for name in names[4:]},
            }
            for row in rows
        ]


def _named(
    duck: "DuckDBPyConnection", engine: Any, destination: Destination, seal: Seal, customer_ids: Sequence[str]
) -> dict[str, list[str]]:
    """What differs between the acknowledged profile and the wanted one, by attribute; nothing where it is not known."""
    import pyarrow as pa

    with stores.reading(engine) as connection:
        before = ledger.payloads(
            connection, destination.name, ledger.certain(connection, destination.name, customer_ids)
        )
    asked = duck.cursor()
    asked.register("asked", pa.table({"customer_id": list(before)}))
    wanted = asked.execute(f"""
        select customer_id, payload from {audience.relation(destination)} where customer_id in (from asked)
    """).fetchall()
    pairs = ((seal.open(before[customer_id]), payload.encode()) for customer_id, payload in wanted)
    names = payloads.differing(destination, pairs)
    return {customer_id: found for (customer_id, _), found in zip(wanted, names, strict=True)}


def _estimate(
    duck: "DuckDBPyConnection", destination: Destination, counts: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, float]]:
    """How many requests each operation takes, and the least time that the vendor's limits leave for them."""
    calls: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    written = counts["create"] + counts["update"] + counts["clear"]
    size = 0
    if written:
        size = duck.execute(f"""
            select coalesce(avg(octet_length(encode(payload))), 0)
            from (select payload from {audience.relation(destination)} where is_eligible limit 1000)
        """).fetchall()[0][0]
    by_list = duck.execute(
        "select action, count(*) from decided where action in ('join', 'leave') group by facet, action"
    ).fetchall()
    for action, operation in OPERATIONS.items():
        if action in ("join", "leave"):
            groups = [number for found, number in by_list if found == action]
        else:
            groups = [counts[action]]
        endpoint: Endpoint | None = destination.endpoints.get(operation)
        if endpoint is None or not sum(groups):
            continue
        rows = endpoint.rows
        if operation is Operation.UPSERT and size:
            rows = max(1, min(rows, int(endpoint.bytes / (size + 1))))
        calls[operation] += sum(-(-number // rows) for number in groups)
    for operation, number in calls.items():
        endpoint = destination.endpoints[operation]
        seconds[operation] = round(least_seconds(number, endpoint.limits), 1)
    return {str(operation): number for operation, number in calls.items()}, {
        str(operation): found for operation, found in seconds.items()
    }
