"""The landed rows in PostgreSQL, for a team whose warehouse it is: an inputs index in, tables of ``landing`` out.

``python -m letterpress.warehouse.postgres INDEX`` and then ``dbt build --target postgres`` (dbt-postgres), both with
the same LETTERPRESS_POSTGRES_* variables. A load that is there is not loaded again; what has no load sequence
(history, scores) is made equal to what the index lists.
"""

import argparse
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import history, inputs

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

FUNCTIONS = Path(__file__).with_suffix(".sql")
BATCH_ROWS = 50_000
# One loader at a time: the number names the lock, nothing more.
_LOCK = 7_355_608
_NAME = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Loaded:
    """What a call brought: files and rows that were not there, and files that the index no longer lists."""

    files: int
    rows: int
    removed_files: int


def connect() -> "psycopg.Connection":
    """A connection by LETTERPRESS_POSTGRES_HOST, _PORT, _USER, _PASSWORD and _DATABASE, as profiles.yml reads them."""
    import psycopg

    return psycopg.connect(
        host=os.environ.get("LETTERPRESS_POSTGRES_HOST", "127.0.0.1"),
        port=int(os.environ.get("LETTERPRESS_POSTGRES_PORT", "5432")),
        user=os.environ.get("LETTERPRESS_POSTGRES_USER", "letterpress"),
        password=os.environ.get("LETTERPRESS_POSTGRES_PASSWORD") or None,
        dbname=os.environ.get("LETTERPRESS_POSTGRES_DATABASE", "letterpress"),
    )


def create_database(connection: "psycopg.Connection", name: str) -> None:
    """Create a database in which text compares, and changes its case, as in DuckDB. Needs an autocommit connection."""
    connection.execute(
        f"create database {_quoted(name)} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C.UTF-8'"
    )
    connection.execute(f"alter database {_quoted(name)} set timezone = 'UTC'")


def load(connection: "psycopg.Connection", index: str, *, identity_key: bytes) -> Loaded:
    """Bring what an inputs index lists into ``landing.<source>__<entity>``, typed as its owner declares it.

    Each file commits by itself: a load that is interrupted goes on where it stopped. Raises ``ValueError`` where
    the database would not build what DuckDB builds.
    """
    _check(connection)
    connection.execute("select pg_advisory_lock(%s)", [_LOCK])
    try:
        connection.execute(FUNCTIONS.read_text())
        connection.execute("delete from landing.identity_key")
        connection.execute("insert into landing.identity_key (key_hex) values (%s)", [identity_key.hex().upper()])
        for (source, entity), schema in declared_schemas().items():
            _declare(connection, f"{source}__{entity}", schema)
        connection.commit()
        return _bring(connection, storage.read_parquet(index).to_pylist())
    finally:
        connection.rollback()
        connection.execute("select pg_advisory_unlock(%s)", [_LOCK])
        connection.commit()


def declared_schemas() -> dict[tuple[str, str], pa.Schema]:
    """Every entity that dbt reads, with its columns: what the sources declare, the history, and the scores."""
    from letterpress.sources import landing

    schemas = dict(landing.declared_schemas())
    schemas |= {("history", name): schema for name, schema in history.SCHEMAS.items()}
    schemas |= {("scores", name): schema for name, schema in inputs.SCORED.items()}
    return schemas


def _check(connection: "psycopg.Connection") -> None:
    found = connection.execute(
        "select datcollate, datctype, pg_encoding_to_char(encoding), current_setting('TimeZone') "
        "from pg_database where datname = current_database()"
    ).fetchone()
    collation, ctype, encoding, zone = found
    right = collation.lower() in ("c", "posix", "c.utf-8", "c.utf8") and ctype.lower() in ("c.utf-8", "c.utf8")
    if not right or encoding != "UTF8" or zone != "UTC":
        raise ValueError(
            "PostgreSQL: expected a database with lc_collate C, lc_ctype C.UTF-8, encoding UTF8 and time zone UTC, "
            f"found {collation}, {ctype}, {encoding} and {zone}; next step: create database … template template0 "
            "encoding 'UTF8' lc_collate 'C' lc_ctype 'C.UTF-8', then alter database … set timezone = 'UTC'"
        )


def _declare(connection: "psycopg.Connection", table: str, schema: pa.Schema) -> None:
    """The entity's table, with a column that was declared later added to it."""
    columns = [f"{_quoted(field.name)} {_type(field)}" for field in schema]
    own = ["_load_sequence bigint not null", "_file_id bigint not null", "_file_row_number bigint not null"]
    connection.execute(f"create table if not exists landing.{_quoted(table)} ({', '.join([*columns, *own])})")
    for column in columns:
        connection.execute(f"alter table landing.{_quoted(table)} add column if not exists {column}")


def _bring(connection: "psycopg.Connection", listed: Sequence[dict]) -> Loaded:
    known = {
        uri: (file_id, source, entity, sequence, content)
        for file_id, uri, source, entity, sequence, content in connection.execute(
            "select file_id, uri, source, entity, load_sequence, content_hash from landing.files"
        )
    }
    schemas = declared_schemas()
    present = {row["uri"] for row in listed}
    removed = [uri for uri, (_, _, _, sequence, _) in known.items() if sequence == 0 and uri not in present]
    for uri in removed:
        _remove(connection, *known[uri][:3])
    connection.commit()
    files = rows = 0
    for row in sorted(listed, key=lambda one: (one["load_sequence"], one["uri"])):
        uri, source, entity, sequence = row["uri"], row["source"], row["entity"], row["load_sequence"]
        # A load's files never change; a file of the history may be written again under its name.
        content = None if sequence else hashlib.sha256(storage.read_bytes(uri)).hexdigest()
        if uri in known:
            if known[uri][4] == content:
                continue
            _remove(connection, *known[uri][:3])
        count = _copy(connection, row, content, schemas[source, entity])
        connection.commit()
        files, rows = files + 1, rows + count
        log.info("%s.%s: %d rows of load %d", source, entity, count, sequence)
    for source, entity in schemas:
        connection.execute(f"analyze landing.{_quoted(f'{source}__{entity}')}")
    connection.commit()
    return Loaded(files, rows, len(removed))


def _remove(connection: "psycopg.Connection", file_id: int, source: str, entity: str) -> None:
    connection.execute(f"delete from landing.{_quoted(f'{source}__{entity}')} where _file_id = %s", [file_id])
    connection.execute("delete from landing.files where file_id = %s", [file_id])


def _copy(connection: "psycopg.Connection", file: dict, content: str | None, schema: pa.Schema) -> int:
    """One listed file's rows; returns how many."""
    source, entity, sequence = file["source"], file["entity"], file["load_sequence"]
    [file_id] = connection.execute(
        "insert into landing.files (uri, source, entity, load_sequence, loaded_at, row_count, content_hash) "
        "values (%s, %s, %s, %s, %s, 0, %s) returning file_id",
        [file["uri"], source, entity, sequence, file["loaded_at"], content],
    ).fetchone()
    columns = ", ".join(_quoted(name) for name in [*schema.names, "_load_sequence", "_file_id", "_file_row_number"])
    rows = 0
    with connection.cursor().copy(
        f"copy landing.{_quoted(f'{source}__{entity}')} ({columns}) from stdin (format csv)"
    ) as copy:
        for batch in _batches(file["uri"], schema):
            copy.write(_csv(batch, sequence, file_id, rows))
            rows += batch.num_rows
    connection.execute("update landing.files set row_count = %s where file_id = %s", [rows, file_id])
    return rows


def _batches(uri: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """A file's rows in pieces under the declared schema: an absent column is null, an undeclared one is left out."""
    import pyarrow.parquet as pq

    filesystem, path = storage.filesystem(uri)
    with filesystem.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
            found = batch.schema.names
            yield pa.table(
                [
                    batch.column(field.name).cast(field.type)
                    if field.name in found
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ],
                schema=pa.schema([pa.field(field.name, field.type) for field in schema]),
            )


def _csv(table: pa.Table, sequence: int, file_id: int, first_row: int) -> bytes:
    import pyarrow.csv as csv

    for name, value in (("_load_sequence", sequence), ("_file_id", file_id)):
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.int64()), table.num_rows))
    numbers = pa.array(range(first_row, first_row + table.num_rows), pa.int64())
    table = table.append_column("_file_row_number", numbers)
    sink = pa.BufferOutputStream()
    # Every text stands in quotes, so that an empty one is none and null stays apart from it.
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    # PostgreSQL's texts cannot hold a NUL.
    return sink.getvalue().to_pybytes().replace(b"\x00", "\N{REPLACEMENT CHARACTER}".encode())


def _type(field: pa.Field) -> str:
    kinds = (
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
        (pa.types.is_int64, "bigint"),
        (pa.types.is_int32, "integer"),
        (pa.types.is_float64, "double precision"),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_date, "date"),
        (pa.types.is_timestamp, "timestamptz" if getattr(field.type, "tz", None) else "timestamp"),
        (pa.types.is_decimal, f"numeric({getattr(field.type, 'precision', 0)}, {getattr(field.type, 'scale', 0)})"),
    )
    for is_kind, name in kinds:
        if is_kind(field.type):
            return name
    raise ValueError(
        f"column {field.name}: expected a type that PostgreSQL has, found {field.type}; next step: declare it as text"
    )


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name}: expected a name in lower case letters, digits and underscores")
    return f'"{name}"'


def main(arguments: Sequence[str] | None = None) -> int:
    """Load what an inputs index lists; the connection comes from the environment. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="letterpress.warehouse.postgres", description="Load landed rows.")
    parser.add_argument("index", help="an inputs index, such as …/warehouse/inputs/<fingerprint>.parquet")
    given = parser.parse_args(arguments)
    settings = Settings()
    with connect() as connection:
        key = storage.read_bytes(storage.join(settings.secrets, "identity_key"))
        loaded = load(connection, given.index, identity_key=key)
    log.info("%d files with %d rows loaded, %d files removed", loaded.files, loaded.rows, loaded.removed_files)
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(main())
