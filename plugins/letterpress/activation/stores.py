"""The operational stores' schema and engine: SQLite by default, PostgreSQL by URL, the same semantics on both.

The tables are described here in one place and read and written by one module each: ``suppression.py`` owns
``suppressions`` and ``cursors``, ``ledger.py`` owns ``profiles``, ``sends.py`` owns ``sends``. Nobody else
touches them.

A write transaction is alone: ``BEGIN IMMEDIATE`` on SQLite, one advisory lock on PostgreSQL. What it reads
therefore still holds when it commits, which is what lets a batch ask suppression and claim its rows at once.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

WRITERS_LOCK = 0x1E77E4  # any constant; it only has to be ours on that PostgreSQL database
BUSY_MILLISECONDS = 60_000
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


SUPPRESSIONS = sa.Table(
    "suppressions",
    METADATA,
    sa.Column("subject_hash", sa.String(64), primary_key=True),  # keyed hash of an e-mail or a customer id
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("suppressed_at", Instant(), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),  # the source's own; 0 where it has none
    sa.Column("lifted_at", Instant()),  # the later opt-in's instant, with its proof
    sa.Column("lift_proof", sa.String(200)),
)

CURSORS = sa.Table(
    "cursors",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("position", sa.String(64), nullable=False),
)

PROFILES = sa.Table(
    "profiles",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(128), primary_key=True),
    # What the destination last acknowledged: keyed hashes, null where it holds nothing of this person.
    sa.Column("payload_hash", sa.String(64)),
    sa.Column("segments_hash", sa.String(64)),
    sa.Column("attribute_hashes", sa.Text),
    sa.Column("is_suppressed", sa.Boolean, nullable=False, default=False),
    # The last change that was begun.
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("pending_hash", sa.String(64)),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("idempotency_key", sa.String(64)),
    sa.Column("error_code", sa.String(64)),
    sa.Column("run_id", sa.String(250)),
    sa.Column("vendor_job_id", sa.String(128)),
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
        if not sa.inspect(engine).has_table(SENDS.name):  # the last one created, in one transaction with the rest
            with writing(engine) as connection:
                for table in METADATA.sorted_tables:
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        yield engine
    finally:
        engine.dispose()


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
