"""Tables too large for memory as Parquet parts in a folder, with a hash of their rows that no chunking changes."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_IN_A_PART = 1_000_000
ROWS_IN_A_GROUP = 1 << 17
NAME = "part-{number:05d}.parquet"


class TableHash:
    """SHA-256 over the columns of a table that comes in pieces: equal rows in equal order give equal hashes.

    Over each column go its name and type, which rows are null, and the values of the others; of texts the lengths and
    the bytes, each in a stream of its own, so that neither chunks nor the files' layout matter.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[tuple[str, str], tuple] = {}

    def update(self, table: pa.Table) -> None:
        """The next rows."""
        for field, column in zip(table.schema, table.columns, strict=True):
            name = (field.name, str(field.type))
            if name not in self._columns:  # appeared late: null until then
                self._columns[name] = tuple(hashlib.sha256() for _ in range(3))
                self._columns[name][0].update(b"\0" * self.rows)
            there, lengths, values = self._columns[name]
            for chunk in column.chunks:
                there.update(chunk.is_valid().to_numpy(zero_copy_only=False))
                _feed(chunk.drop_null() if chunk.null_count else chunk, lengths, values)
        self.rows += table.num_rows

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        whole = hashlib.sha256(str(self.rows).encode())
        for name, streams in sorted(self._columns.items()):
            whole.update("\0".join(name).encode())
            for stream in streams:
                whole.update(stream.digest())
        return whole.hexdigest()


def _feed(chunk: pa.Array, lengths: "hashlib._Hash", values: "hashlib._Hash") -> None:
    if not len(chunk):
        return
    if pa.types.is_string(chunk.type):
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        lengths.update(np.ascontiguousarray(np.diff(ends)))
        if ends[-1] > ends[0]:
            values.update(memoryview(data)[ends[0] : ends[-1]])
    elif pa.types.is_boolean(chunk.type):
        values.update(chunk.to_numpy(zero_copy_only=False))
    else:
        width = chunk.type.bit_width // 8
        start = chunk.offset * width
        values.update(memoryview(chunk.buffers()[1])[start : start + len(chunk) * width])


class Parts:
    """Writes one table as ``part-00001.parquet``, … of about a million rows each; ``close`` ends it.

    Columns may appear while it is written: a new part begins with them, and they are there from then on.
    """

    def __init__(self, folder: Path, schema: pa.Schema, rows_in_a_part: int = ROWS_IN_A_PART):
        self.folder, self.schema = folder, schema
        self.hash = TableHash()
        self.parts = 0
        self._most = rows_in_a_part
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._in_part = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self.hash.rows

    def write(self, table: pa.Table) -> None:
        """The next rows; columns that the schema has and the table has not are null."""
        new = [field for field in table.schema if field.name not in self.schema.names]
        if new:
            self._end_part()
            self.schema = pa.schema([*self.schema, *new])
        if table.schema != self.schema:
            table = pa.Table.from_arrays([self._column(table, field) for field in self.schema], schema=self.schema)
        self.hash.update(table)
        self._waiting.append(table)
        if sum(waiting.num_rows for waiting in self._waiting) >= ROWS_IN_A_GROUP:
            self._flush()

    @staticmethod
    def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
        if field.name in table.schema.names:
            return table[field.name].cast(field.type)
        return pa.nulls(table.num_rows, field.type)

    def _flush(self) -> None:
        table, self._waiting = pa.concat_tables(self._waiting), []
        start = 0
        while start < table.num_rows:
            piece = table.slice(start, self._most - self._in_part)
            if self._writer is None:
                self.parts += 1
                # texts that hardly repeat would only fill the dictionary until it is given up
                repeating = [field.name for field in self.schema if _repeats(piece, field.name)]
                self._writer = pq.ParquetWriter(
                    self.folder / NAME.format(number=self.parts),
                    self.schema,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=repeating,
                )
            self._writer.write_table(piece, row_group_size=ROWS_IN_A_GROUP)
            start += piece.num_rows
            self._in_part += piece.num_rows
            if self._in_part >= self._most:
                self._end_part()

    def _end_part(self) -> None:
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_part = None, 0

    def close(self) -> None:
        """Write what is waiting; a table without rows gets one part without rows, so that readers see its columns."""
        if not self.rows:
            self._waiting = []
            pq.write_table(self.schema.empty_table(), self.folder / NAME.format(number=1))
            self.parts = 1
        self._end_part()


def _repeats(table: pa.Table, name: str) -> bool:
    """Whether the first rows of a column hold few values often."""
    first = table[name].slice(0, 4_096)
    return len(first.unique()) * 4 < len(first)
