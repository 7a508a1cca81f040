"""From spooled files to landed ones: rows that landed before are dropped, the others move in, in bounded memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from letterpress import storage
from letterpress.sources.entities import POSITION, ROW_HASH

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_PER_FILE = 1_000_000
BATCH_ROWS = 50_000
MEMORY_LIMIT = "512MB"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Spooled:
    """The rows of one entity before repeats are dropped; ``oldest`` and ``newest`` by the cursor column."""

    rows: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class Settled:
    """The files that hold what is new, in order."""

    files: tuple[Path, ...]
    rows: int
    newest: datetime | None


class Settling:
    """One entity's way from ``spooled`` files to files of new rows, in a DuckDB of its own."""

    def __init__(self, spooled: Sequence[Path], *, landing: str, cursor: str | None, scratch: Path) -> None:
        import duckdb

        scratch.mkdir(parents=True, exist_ok=True)
        self._con: DuckDBPyConnection = duckdb.connect(
            config={"memory_limit": MEMORY_LIMIT, "threads": 2, "temp_directory": str(scratch)}
        )
        self._con.execute("set TimeZone = 'UTC'")
        system, _ = storage.filesystem(landing)
        if not isinstance(system, LocalFileSystem):
            self._con.register_filesystem(system)
        self._cursor = cursor
        self._con.execute(
            f"create view spooled as select * from read_parquet({_listed(spooled)}, union_by_name = true)"
        )

    def __enter__(self) -> "Settling":
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def look(self) -> Spooled:
        """How many rows there are, and between which cursor values."""
        rows, oldest, newest = self._con.execute(
            f"select count(*), {self._micros('min')}, {self._micros('max')} from spooled"
        ).fetchone()
        return Spooled(rows, _instant(oldest), _instant(newest))

    def write(self, landed: Iterable[str], schema: pa.Schema, stem: Path) -> Settled:
        """Write the rows whose content is not in ``landed`` (URIs), each content once, as ``<stem>-<n>.parquet``.

        The hash covers the key, so equal hashes are equal rows under an equal key. Rows keep the source's order.
        """
        landed = [_path(uri) for uri in landed]
        self._con.execute(
            f"create or replace temp table repeats as select {ROW_HASH}, min({POSITION}) as first_position "
            f"from spooled group by {ROW_HASH} having count(*) > 1"
        )
        has_landed = (
            f"and not exists (select 1 from read_parquet({_listed(landed)}, union_by_name = true) as landed "
            f"where landed.{ROW_HASH} = spooled.{ROW_HASH})"
            if landed
            else ""
        )
        self._con.execute(
            f"create or replace view fresh as select * from spooled where not exists (select 1 from repeats where "
            f"repeats.{ROW_HASH} = spooled.{ROW_HASH} and spooled.{POSITION} > repeats.first_position) {has_landed}"
        )
        columns = ", ".join(f'"{name}"' for name in schema.names)
        reader = self._con.sql(f"select {columns} from fresh order by {POSITION}").to_arrow_reader(BATCH_ROWS)
        files, rows = _write(reader, schema, stem)
        return Settled(tuple(files), rows, self._newest(files))

    def _newest(self, files: Sequence[Path]) -> datetime | None:
        if not files or self._cursor is None:
            return None
        query = f"select {self._micros('max')} from read_parquet({_listed(files)})"
        return _instant(self._con.execute(query).fetchone()[0])

    def _micros(self, function: str) -> str:
        return f'epoch_us({function}("{self._cursor}"))' if self._cursor else "null"


def _write(reader: pa.RecordBatchReader, schema: pa.Schema, stem: Path) -> tuple[list[Path], int]:
    files: list[Path] = []
    writer, rows, in_file = None, 0, 0
    try:
        for batch in reader:
            if not batch.num_rows:
                continue
            if writer is None or in_file >= ROWS_PER_FILE:
                if writer is not None:
                    writer.close()
                files.append(stem.with_name(f"{stem.name}-{len(files)}.parquet"))
                files[-1].parent.mkdir(parents=True, exist_ok=True)
                writer, in_file = pq.ParquetWriter(files[-1], schema, compression="zstd"), 0
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            rows, in_file = rows + batch.num_rows, in_file + batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    return files, rows


def _path(uri: str) -> str:
    system, path = storage.filesystem(uri)
    return path if isinstance(system, LocalFileSystem) else uri


def _listed(paths: Iterable[Path | str]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
