"""Files of a folder, CSV, JSON lines or Parquet, through ``letterpress.storage`` → batches → landing.

The cursor is the listing of the files by content, so that a file is read once; a file that changed is read again
and only its other rows land. Files are read in the order of their names. A key column called ``file`` or
``line_number`` is filled in. CSV is read by Python's reader, because it knows the line that each row stands on,
which Arrow's does not tell; its columns are typed by Arrow.
"""

import codecs
import csv
import hashlib
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import BinaryIO, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from letterpress import storage
from letterpress.sources.config import Connection, Source
from letterpress.sources.entities import NUMBER, TEXT, WHOLE, Entity, Page, snake_case
from letterpress.sources.errors import SchemaChanged, SourceRefused
from letterpress.sources.options import Dialect, FileOptions

log = logging.getLogger(__name__)

BATCH_ROWS = 50_000
FILLED_IN = {"file": TEXT, "line_number": WHOLE}

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _File:
    """One file to read, with all that an error has to name."""

    source: Source
    entity: Entity
    options: FileOptions
    uri: str
    name: str
    cursor: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        system, path = storage.filesystem(self.uri)
        with system.open(path, "rb") as file:
            yield file

    def page(self, rows: pa.Table | list[dict], lines: list[int], label: str) -> Page:
        """A page whose key columns that stand in no file are filled in."""
        values = {"file": [self.name] * len(lines), "line_number": lines}
        filled = {name: values[name] for name in FILLED_IN if name in self.entity.key}
        if isinstance(rows, list):
            rows = [
                {name: value for name, value in row.items() if snake_case(name) not in filled}
                | {name: values[index] for name, values in filled.items()}
                for index, row in enumerate(rows)
            ]
            return Page(rows, label, self.cursor)
        rows = rows.drop_columns([name for name in rows.column_names if snake_case(name) in filled])
        for name, column in filled.items():
            rows = rows.append_column(name, pa.array(column, FILLED_IN[name]))
        return Page(rows, label, self.cursor)

    @property
    def expected(self) -> list[str]:
        """The declared columns that have to stand in the file."""
        return [name for name in self.entity.schema.names if not (name in FILLED_IN and name in self.entity.key)]

    def column(self, header: str) -> str:
        """The column that a header means."""
        return self.options.columns.get(header.strip()) or snake_case(header)

    def missing(self, present: set[str]) -> list[str]:
        return [name for name in self.expected if name not in present]

    def refused(self, expected: str, found: str, *, line: int | None = None, step: str | None = None) -> SourceRefused:
        where = self.uri if line is None else f"{self.uri}, line {line}"
        step = step or "have the file put right, then run ingest_{source} again"
        return SourceRefused(
            f"{self.source.name}.{self.entity.name}: {where}: expected {expected}, found {found}; nothing of "
            f"{self.source.name} landed. Next step: {self.options.next_step or step.format(source=self.source.name)}"
        )

    def without_columns(self, missing: list[str]) -> SourceRefused:
        return self.refused(
            f"the columns {self.expected} (in any spelling of case)",
            f"missing {missing}",
            step="have them put in, or name their headers under options.columns of {source} in sources.yml",
        )


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """The rows of every file that has not landed yet, in batches.

    ``since`` is the listing of the last accepted load: JSON, file name → SHA-256. Each page's cursor adds the file
    that it completes. Raises ``SourceRefused`` where folder, files or columns are missing or a row cannot be read,
    ``SchemaChanged`` where a cell is not of its column's type.
    """
    options = source.options
    if not isinstance(options, FileOptions):
        raise TypeError(f"{source.name}: expected options of the reader files, found {options!r}")
    folder, pattern = connection.base_url, options.pattern.replace("{entity}", entity.name)
    names = [name for name in storage.names(folder) if fnmatchcase(name, pattern)]
    if not names:
        found = "none" if storage.exists(folder) else "no such folder"
        step = options.next_step or f"look whether the connection {source.connection} and options.pattern are right"
        raise SourceRefused(
            f"{source.name}.{entity.name}: {folder}: expected files {pattern}, found {found}; nothing of "
            f"{source.name} landed. Next step: {step}"
        )
    known = _listing(since)
    for name in names:
        uri = storage.join(folder, name)
        fingerprint = _fingerprint(uri)
        if fingerprint in known.values():
            if known.get(name) != fingerprint:
                log.info("%s: %s has the content of a file that was read before; skipped", source.name, name)
            continue
        known[name] = fingerprint
        file = _File(source, entity, options, uri, name, json.dumps(known, sort_keys=True))
        yield from _READERS[options.kind or ""](file)


def _listing(since: str | None) -> dict[str, str]:
    """The files that have landed; none where the source was read another way before, which told an instant."""
    try:
        found = json.loads(since or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(uri: str) -> str:
    digest = hashlib.sha256()
    system, path = storage.filesystem(uri)
    with system.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _parquet(file: _File) -> Iterator[Page]:
    with file.open() as content:
        try:
            parquet = pq.ParquetFile(content)
        except pa.ArrowInvalid:
            raise file.refused("a Parquet file", "something else") from None
        names = [file.column(name) for name in parquet.schema_arrow.names]
        if missing := file.missing(set(names)):
            raise file.without_columns(missing)
        line = 1
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            table = pa.Table.from_batches([batch]).rename_columns(names)
            lines = list(range(line, line + table.num_rows))
            yield file.page(table, lines, f"{file.name}, batch from line {line}")
            line += batch.num_rows


def _json_lines(file: _File) -> Iterator[Page]:
    import orjson

    rows: list[dict] = []
    lines: list[int] = []
    broken: int | None = None
    with _text(file, _encoding(file)) as text:
        for line, content in enumerate(text, start=1):
            if not content.strip():
                continue
            if broken is not None:
                break
            try:
                row = orjson.loads(content)
            except orjson.JSONDecodeError:
                broken = line
                continue
            if not isinstance(row, dict):
                raise file.refused("a JSON object", "another JSON value", line=line)
            rows.append({file.options.columns.get(name, name): value for name, value in row.items()})
            lines.append(line)
            if len(rows) == BATCH_ROWS:
                yield file.page(rows, lines, _from(file, lines))
                rows, lines = [], []
        else:
            if broken is not None and file.options.skip_broken_last_line:
                _skip(file, broken)
                broken = None
    if broken is not None:
        raise file.refused("a JSON object", "text that is no JSON", line=broken)
    if rows:
        yield file.page(rows, lines, _from(file, lines))


def _from(file: _File, lines: list[int]) -> str:
    return f"{file.name}, batch from line {lines[0]}"


def _skip(file: _File, line: int) -> None:
    log.warning("%s.%s: %s, line %d: 1 half-written last line skipped", *_names(file), file.name, line)


def _names(file: _File) -> tuple[str, str]:
    return file.source.name, file.entity.name


def _csv(file: _File) -> Iterator[Page]:
    encoding = _encoding(file)
    dialect, names = _header(file, encoding)
    cells: list[list[str]] = [[] for _ in names]
    lines: list[int] = []
    for line, row in _data_rows(file, encoding, dialect, len(names)):
        for column, cell in zip(cells, row, strict=True):
            column.append(cell)
        lines.append(line)
        if len(lines) == BATCH_ROWS:
            yield _typed(file, dialect, names, cells, lines)
            cells, lines = [[] for _ in names], []
    if lines:
        yield _typed(file, dialect, names, cells, lines)


def _header(file: _File, encoding: str) -> tuple[Dialect, list[str]]:
    """The dialect under which the header has every declared column, and the columns in the file's order."""
    fewest: list[str] | None = None
    for dialect in file.options.dialects:
        with _text(file, encoding) as text:
            try:
                row = next((row for row in _reader(text, dialect) if any(map(str.strip, row))), [])
            except csv.Error:
                row = []
        names = [file.column(cell) for cell in row]
        missing = file.missing(set(names))
        if not missing:
            return dialect, names
        if fewest is None or len(missing) < len(fewest):
            fewest = missing
    raise file.without_columns(fewest or [])


def _data_rows(file: _File, encoding: str, dialect: Dialect, width: int) -> Iterator[tuple[int, list[str]]]:
    """Every row below the header with the line that it begins on, without blank and trailing ones."""
    held: list[tuple[int, list[str]]] = []  # they are no data where nothing but their like follows
    with _text(file, encoding) as text:
        rows = _numbered(_reader(text, dialect))
        next(rows)
        for line, row in rows:
            if row is not None and file.options.trailing_rows and row[0].startswith(file.options.trailing_rows):
                held.append((line, row))
                continue
            for one, content in [*held, (line, row)]:
                if content is not None and len(content) == width:
                    yield one, content
                    continue
                if one == line and file.options.skip_broken_last_line and next(rows, None) is None:
                    _skip(file, line)
                    return
                found = "quotes that do not end or fit" if content is None else f"{len(content)} cells"
                raise file.refused(f"{width} cells", found, line=one)
            held.clear()


def _reader(text: TextIO, dialect: Dialect) -> "csv._reader":  # type: ignore[name-defined]
    return csv.reader(text, delimiter=dialect.delimiter, strict=True)


def _numbered(reader: "csv._reader") -> Iterator[tuple[int, list[str] | None]]:  # type: ignore[name-defined]
    """The rows that are not blank with the line each begins on; None for one whose quotes are wrong."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, None
            continue
        if any(map(str.strip, row)):
            yield line, row


def _typed(file: _File, dialect: Dialect, names: list[str], cells: list[list[str]], lines: list[int]) -> Page:
    arrays = []
    for name, column in zip(names, cells, strict=True):
        kind = file.entity.schema.field(name).type if name in file.entity.schema.names else TEXT
        found = [None if cell.strip() in file.options.missing else cell for cell in column]
        arrays.append(_column(file, name, kind, found, dialect, lines))
    return file.page(pa.table(arrays, names=names), lines, _from(file, lines))


def _column(
    file: _File, name: str, kind: pa.DataType, cells: list[str | None], dialect: Dialect, lines: list[int]
) -> pa.Array:
    values = pa.array(cells, TEXT)
    if kind == TEXT:
        return values
    typed = _cast(values, kind, dialect)
    if typed is None:
        first = next(index for index in range(len(values)) if _cast(values.slice(index, 1), kind, dialect) is None)
        decimal = f" written with {dialect.decimal!r}" if kind == NUMBER else ""
        zone = " with its zone" if pa.types.is_timestamp(kind) and kind.tz else ""
        raise SchemaChanged.at(
            *_names(file), name, expected=f"{kind}{decimal}{zone}", found="text that is none",
            position=f"{file.name}, line {lines[first]}",
        )  # fmt: skip
    return typed


def _cast(values: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array | None:
    """The cells as values of their type, None where one of them is not."""
    values = pc.utf8_trim_whitespace(values)
    if kind == NUMBER and dialect.decimal == ",":
        if pc.any(pc.match_substring(values, ".")).as_py():
            return None
        values = pc.replace_substring(values, ",", ".")
    try:
        typed = values.cast(kind)
    except pa.ArrowInvalid:
        return None
    return None if kind == NUMBER and pc.any(pc.invert(pc.is_finite(typed))).as_py() else typed


def _encoding(file: _File) -> str:
    """The first of the encodings in which the whole file can be read."""
    furthest = 1
    for encoding in file.options.encodings:
        decoder, line = codecs.getincrementaldecoder(encoding)(), 1
        with file.open() as content:
            try:
                while chunk := content.read(_CHUNK):
                    line += decoder.decode(chunk).count("\n")
                decoder.decode(b"", final=True)
                return encoding
            except UnicodeDecodeError as error:
                furthest = max(furthest, line + error.object[: error.start].count(b"\n"))
    raise file.refused(f"text in {' or '.join(file.options.encodings)}", "bytes that are none", line=furthest)


@contextmanager
def _text(file: _File, encoding: str) -> Iterator[TextIO]:
    with file.open() as content, io.TextIOWrapper(content, encoding=encoding, newline="") as text:
        yield text


_READERS = {"csv": _csv, "json_lines": _json_lines, "parquet": _parquet}
