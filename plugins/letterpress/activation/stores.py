"""The operational stores' schema and engine: SQLite by default, PostgreSQL by URL, the same semantics on both.

The tables are described here in one place and read and written by one module each: ``suppression.py`` owns
``suppressions`` and ``cursors``, ``ledger`` owns ``ledger``, ``payloads``, ``batches`` and ``erasures``, ``kept.py``
owns ``kept``, ``sends.py`` owns ``sends``, ``webhooks/inbox.py`` owns ``webhook_events``. Nobody else touches them.

A write transaction is alone: ``BEGIN IMMEDIATE`` on SQLite, one advisory lock on PostgreSQL. What it reads
therefore still holds when it commits, which is what lets a batch ask suppression and claim its rows at once.
"""

import gc
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

WRITERS_LOCK = 0x1E77E4  # any constant; it only has to be ours on that PostgreSQL database
BUSY_MILLISECONDS = 60_000
MANY_PARAMETERS = 2_000  # values in one INSERT of several rows
PARAMETERS = 500  # ids in one IN clause: far below every driver's limit

METADATA = sa.MetaData()


class Instant(sa.types.TypeDecorator):
    """An aware instant in UTC, on SQLite too, which keeps no zone; a naive one is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"stores: expected an instant with its zone, found {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Ids in the order of their bytes on every database: a batch is a span of them.
BYTEWISE = sa.String(128).with_variant(postgresql.VARCHAR(128, collation="C"), "postgresql")

SUPPRESSIONS = sa.Table(
    "suppressions",
    METADATA,
    sa.Column("subject_hash", sa.String(64), primary_key=True),  # keyed hash of an e-mail or a customer id
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("suppressed_at", Instant(), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),  # the source's own; 0 where it has none
    sa.Column("change", sa.BigInteger, nullable=False, server_default="0"),  # this store's own: the last write's number
    sa.Column("lifted_at", Instant()),  # the later opt-in's instant, with its proof
    sa.Column("lift_proof", sa.String(200)),
    sa.Index("suppressions_by_change", "change"),
)

CURSORS = sa.Table(
    "cursors",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("position", sa.String(64), nullable=False),
)

# destination x person x facet: what the destination last acknowledged. A facet is "profile", "consent" or
# "list:<segment key>"; each is changed, acknowledged and refused by itself.
LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("facet", sa.String(160), primary_key=True),
    sa.Column("customer_id", BYTEWISE, primary_key=True),
    # What the destination acknowledged: a keyed hash of the profile, a state of consent, which list; null for nothing.
    sa.Column("acknowledged", sa.String(64)),
    sa.Column("vendor_id", sa.String(128)),
    # The last change that was begun.
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("operation", sa.String(16)),
    sa.Column("pending", sa.String(64)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("batch_id", sa.String(64)),
    sa.Column("error_code", sa.String(200)),
    sa.Column("error_message", sa.String(200)),
    sqlite_with_rowid=False,
)
sa.Index(  # a vendor's webhooks name people by its own ids
    "ledger_by_vendor_id",
    LEDGER.c.destination,
    LEDGER.c.vendor_id,
    sqlite_where=LEDGER.c.vendor_id.is_not(None),
    postgresql_where=LEDGER.c.vendor_id.is_not(None),
)

# The profiles behind the ledger's hashes, acknowledged and pending ones, sealed; apart from it, so that a plan does
# not read them.
PAYLOADS = sa.Table(
    "payloads",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("customer_id", BYTEWISE, primary_key=True),
    sa.Column("target", sa.String(64), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# One request: which rows it carried is in the ledger, under its id.
BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("batch_id", sa.String(64), primary_key=True),  # the request's idempotency key
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("facet", sa.String(160), nullable=False),
    sa.Column("operation", sa.String(16), nullable=False),
    sa.Column("list_id", sa.String(128)),
    sa.Column("first_id", sa.String(128), nullable=False),
    sa.Column("last_id", sa.String(128), nullable=False),
    sa.Column("people", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("job_id", sa.String(250)),
    sa.Column("run_id", sa.String(250)),
    sa.Column("plan_id", sa.String(64)),
)

# Who was erased at a destination: keyed hashes alone, for whoever asks for the proof.
ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("subject_hash", sa.String(64), primary_key=True),
    sa.Column("receipt_hash", sa.String(64), nullable=False),
    sa.Column("run_id", sa.String(250)),
)

# What a destination's client keeps between runs, sealed.
KEPT = sa.Table(
    "kept",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

SENDS = sa.Table(
    "sends",
    METADATA,
    sa.Column("campaign_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(128), primary_key=True),
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("idempotency_key", sa.String(64), nullable=False, unique=True),
    sa.Column("message_id", sa.String(250)),
    sa.Column("accepted_at", Instant()),
    sa.Column("error_code", sa.String(64)),
    sa.Column("run_id", sa.String(250)),
)

# What vendors told by webhook, on its way to landing: the one table with addresses in it, for a few days. The source
# ``webhooks`` reads it, so the columns are that source's, and instants are text in UTC of one length.
WEBHOOK_EVENTS = sa.Table(
    "webhook_events",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("event_id", sa.String(128), primary_key=True),
    *(
        sa.Column(name, sa.Text)
        for name in ("message_id", "campaign_id", "campaign_name", "subject", "customer_id", "email")
    ),
    sa.Column("event_type", sa.String(16), nullable=False),
    sa.Column("bounce_type", sa.String(16)),
    sa.Column("is_machine_open", sa.Boolean),
    sa.Column("url", sa.Text),
    sa.Column("occurred_at", sa.String(27), nullable=False),
    sa.Column("received_at", sa.String(27), nullable=False),  # of one delivery's events the same, and only growing
    sa.Index("webhook_events_by_receipt", "received_at"),
)


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """An engine for ``sqlite:///…`` or ``postgresql://…`` whose tables exist; closed at the end.

    Several processes may open the same, still empty store at once. Raises ValueError for any other database.
    """
    address = sa.make_url(url)
    backend = address.get_backend_name()
    if backend == "sqlite":
        if not address.database or address.database == ":memory:":
            raise ValueError(f"stores: expected a SQLite file such as sqlite:////var/lib/x.sqlite, found {url!r}")
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(address)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    elif backend == "postgresql":
        engine = sa.create_engine(address, pool_pre_ping=True)
    else:
        raise ValueError(f"stores: expected a sqlite:/// or postgresql:// URL, found a {backend} one")
    try:
        if not _is_complete(engine):
            with writing(engine) as connection:
                _complete(connection)
        yield engine
    finally:
        engine.dispose()


def _is_complete(engine: sa.Engine) -> bool:
    """Whether the tables are there, with the column that came last."""
    inspector = sa.inspect(engine)
    if not {table.name for table in METADATA.sorted_tables} <= set(inspector.get_table_names()):
        return False
    return "change" in {column["name"] for column in inspector.get_columns(SUPPRESSIONS.name)}


def _complete(connection: sa.Connection) -> None:
    """Create what is missing; a store of an earlier version gets the columns that came since."""
    for table in METADATA.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(connection.dialect)
                default = f" default {column.server_default.arg}" if column.server_default is not None else ""
                connection.exec_driver_sql(f"alter table {table.name} add column {column.name} {kind}{default}")
        for index in table.indexes:
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One write transaction, alone among writers; committed at the end, rolled back on an error."""
    with engine.connect().execution_options(is_write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS_LOCK)))
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One consistent read."""
    with engine.connect() as connection, connection.begin():
        yield connection


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or replace the given columns of those whose primary key is there."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


def write_many(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    same: Mapping[str, Any] | None = None,
) -> None:
    """Insert many rows of plain values, or replace the given columns of those that are there.

    ``same`` are columns with one value for all rows. Several rows go in one statement: on SQLite that takes half
    the time of one statement a row.
    """
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    same = dict(same or {})
    names = [*same, *columns]
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    casts = [
        f"cast({value} as {table.c[name].type.compile(connection.dialect).split(' COLLATE ')[0]})"
        for name, value in [
            *((name, mark) for name in same),
            *((name, f"column{place}") for place, name in enumerate(columns, 1)),
        ]
    ]
    one = f"({', '.join([mark] * len(columns))})"
    size = max(1, MANY_PARAMETERS // len(columns))
    constants = tuple(same.values())
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        connection.exec_driver_sql(
            f"insert into {table.name} ({', '.join(names)}) select {', '.join(casts)}"
            f" from (values {', '.join([one] * len(some))}) as given where true"
            f" on conflict ({', '.join(keys)}) do {f'update set {changed}' if changed else 'nothing'}",
            (*constants, *chain.from_iterable(some)),
        )


def fetched(connection: sa.Connection, query: sa.Select, size: int = 50_000) -> Iterator[Sequence[Sequence[Any]]]:
    """A query's rows in slices, streamed; on SQLite as the driver gives them, in half the time for many rows."""
    if connection.dialect.name == "sqlite":
        cursor = connection.execute(query).cursor
        while rows := cursor.fetchmany(size):
            yield rows
    else:
        yield from connection.execute(query, execution_options={"yield_per": size}).partitions()


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Rows by the ten thousand hold no cycles: looking for some at every 700th takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def chunks(values: Iterable[str], size: int = PARAMETERS) -> Iterator[list[str]]:
    """Values in lists that fit into one ``IN``."""
    chunk: list[str] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Transactions are begun by us, readers go on beside the one writer, a commit survives a power cut."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA page_size = 16384")  # a new file's: several ledger rows with their payloads fit in a page
    if cursor.execute("PRAGMA journal_mode").fetchall()[0][0] != "wal":
        _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """The switch does not wait for others as statements do, so that two first starts at once need this loop."""
    import sqlite3

    for attempt in range(200):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 199:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: sa.Connection) -> None:
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
