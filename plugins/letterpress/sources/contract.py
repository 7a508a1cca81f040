"""The schema contract: rows as a source gives them become Arrow tables of known types, or the extraction stops.

A declared column has its declared type. A column that is not declared lands under the type that its first values
have and is recorded; from then on it is as fixed as a declared one. A number of JSON lands as a double, because
JSON tells no whole numbers from others.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from letterpress.sources.entities import (
    DATE,
    FLAG,
    INSTANT,
    LOCAL_TIME,
    NUMBER,
    POSITION,
    ROW_HASH,
    TEXT,
    TYPES,
    WHOLE,
    Entity,
    Page,
    snake_case,
)
from letterpress.sources.errors import SchemaChanged

log = logging.getLogger(__name__)


class Contract:
    """The columns of one entity during one extraction: declared, recorded by earlier loads, and new.

    ``recorded`` is the schema of the entity's last accepted load (column → type as text), ``recorded_json`` the
    columns among them that hold JSON text of objects and arrays.
    """

    def __init__(
        self,
        source: str,
        entity: Entity,
        recorded: Mapping[str, str] | None = None,
        recorded_json: Iterable[str] = (),
    ) -> None:
        self.source = source
        self.entity = entity
        self.new_columns: list[str] = []
        self.columns: dict[str, pa.DataType] = {field.name: field.type for field in entity.schema}
        self._json: dict[str, tuple[type, ...]] = {
            field.name: (dict,) if field.metadata[b"json"] == b"dict" else (list,)
            for field in entity.schema
            if field.metadata and b"json" in field.metadata
        }
        for name, kind in (recorded or {}).items():
            if name not in (ROW_HASH, *self.columns):
                self.columns[name] = TYPES[kind]
                if name in recorded_json:
                    self._json[name] = (dict, list)
        self._rows = 0
        self._names: dict[str, str] = {}

    @property
    def schema(self) -> pa.Schema:
        """What lands: every known column and the row's hash."""
        return pa.schema([*self.columns.items(), (ROW_HASH, TEXT)])

    @property
    def recorded(self) -> dict[str, str]:
        """The same as text, for the manifest."""
        return {field.name: str(field.type) for field in self.schema}

    @property
    def json_columns(self) -> list[str]:
        """Columns that hold JSON text."""
        return sorted(self._json)

    @property
    def rows(self) -> int:
        """Rows seen so far."""
        return self._rows

    def apply(self, page: Page) -> pa.Table:
        """One page, typed, with ``_row_hash`` and its running ``_position``. Raises ``SchemaChanged``."""
        if isinstance(page.rows, pa.Table):
            arrays, length = self._of_table(page.rows, page.label), page.rows.num_rows
        else:
            arrays, length = self._of_rows(page.rows, page.label), len(page.rows)
        for name in self.entity.required:
            if (array := arrays[name]).null_count:
                raise self._changed(name, "no value", page.label, pc.index(pc.is_null(array), True).as_py())
        table = pa.table(arrays, schema=pa.schema(list(self.columns.items())))
        table = table.append_column(ROW_HASH, row_hashes(table))
        table = table.append_column(POSITION, pa.array(range(self._rows, self._rows + length), WHOLE))
        self._rows += length
        return table

    def _of_rows(self, rows: list[dict[str, Any]], label: str) -> dict[str, pa.Array]:
        found: dict[str, list[Any]] = {}
        origin: dict[str, str] = {}
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise self._changed("(row)", f"JSON {_kind(row)}", label, index, expected="JSON object")
            for original, value in row.items():
                name = self._names.get(original) or self._names.setdefault(original, snake_case(original))
                if origin.setdefault(name, original) != original:
                    raise self._changed(name, "two fields of this name", label, index, expected="one field")
                if value is not None:
                    values = found.get(name)
                    if values is None:
                        values = found[name] = [None] * len(rows)
                    values[index] = value
        for name in sorted(set(found) - set(self.columns)):
            kind = next(type(value) for value in found[name] if value is not None)
            self._learn(name, {bool: FLAG, int: NUMBER, float: NUMBER}.get(kind, TEXT), json=kind in (dict, list))
        empty = [None] * len(rows)
        return {name: self._array(name, kind, found.get(name, empty), label) for name, kind in self.columns.items()}

    def _array(self, name: str, kind: pa.DataType, values: list[Any], label: str) -> pa.Array:
        if name in self._json:
            self._require(name, values, label, lambda value: type(value) in self._json[name])
            return pa.array([None if value is None else _json_text(value) for value in values], TEXT)
        if kind == INSTANT:
            return self._instants(name, values, label)
        if not {type(value) for value in values} <= {type(None), *_PLAIN[kind]}:
            self._require(name, values, label, _ACCEPTS[kind])
        try:
            return pa.array(values, TEXT if kind in (DATE, LOCAL_TIME) else kind).cast(kind)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
            return pa.array([value and value.encode("utf-8", "replace").decode() for value in values], TEXT)
        except (pa.ArrowInvalid, OverflowError):
            self._require(name, values, label, _holds(kind))
            raise

    def _instants(self, name: str, values: list[Any], label: str) -> pa.Array:
        self._require(name, values, label, lambda value: type(value) is str)
        try:
            return pa.array(values, TEXT).cast(INSTANT)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            parsed = [None if value is None else _instant(value) for value in values]
        for index, (value, instant) in enumerate(zip(values, parsed, strict=True)):
            if value is not None and instant is None:
                raise self._changed(name, "text that is no instant with a zone", label, index)
        return pa.array(parsed, INSTANT)

    def _of_table(self, table: pa.Table, label: str) -> dict[str, pa.Array]:
        table = table.rename_columns([snake_case(name) for name in table.column_names])
        if len(set(table.column_names)) < table.num_columns:
            raise self._changed("(columns)", "two columns of one name", label, 0, expected="one column")
        for field in sorted(table.schema, key=lambda field: field.name):
            if field.name not in self.columns and table[field.name].null_count < table.num_rows:
                family = _family(field.type)
                self._learn(field.name, family or TEXT, json=family is None)
        return {
            name: self._cast(name, kind, table[name], label)
            if name in table.column_names
            else pa.nulls(table.num_rows, kind)
            for name, kind in self.columns.items()
        }

    def _cast(self, name: str, kind: pa.DataType, values: pa.ChunkedArray, label: str) -> pa.Array:
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
        if values.null_count == len(values):
            return pa.nulls(len(values), kind)
        family = _family(values.type)
        if family is None and name in self._json:
            return pa.array([None if value is None else _json_text(value) for value in values.to_pylist()], TEXT)
        if family == TEXT and name in self._json:  # files and databases keep objects and arrays as text
            parsed = [None if text is None else _parsed(text) for text in values.to_pylist()]
            return self._array(name, kind, parsed, label)
        numbers = family in (WHOLE, NUMBER) and kind in (WHOLE, NUMBER)
        if (family != kind and not numbers) or name in self._json:
            raise self._changed(name, str(values.type), label, pc.index(pc.is_valid(values), True).as_py())
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            whole = pc.equal(pc.floor(values), values) if pa.types.is_floating(values.type) else None
            first = pc.index(whole, False).as_py() if whole is not None else 0
            raise self._changed(name, f"{values.type} that {kind} does not hold", label, max(first, 0)) from None

    def _learn(self, name: str, kind: pa.DataType, *, json: bool) -> None:
        self.columns[name] = kind
        self.new_columns.append(name)
        if json:
            self._json[name] = (dict, list)
        log.warning("%s.%s: new column %s lands as %s", self.source, self.entity.name, name, kind)

    def _require(self, name: str, values: list[Any], label: str, accepts: Callable[[Any], bool]) -> None:
        for index, value in enumerate(values):
            if value is not None and not accepts(value):
                raise self._changed(name, f"JSON {_kind(value)}", label, index)

    def _changed(self, name: str, found: str, label: str, index: int, *, expected: str | None = None) -> SchemaChanged:
        if expected is None:
            kind = self.columns[name]
            wanted = " or ".join(_NAMES[json] for json in self._json.get(name, ()))
            expected = f"JSON {wanted}" if wanted else str(kind)
        position = f"{label}, row {index + 1}"
        return SchemaChanged.at(self.source, self.entity.name, name, expected=expected, found=found, position=position)


def row_hashes(table: pa.Table) -> pa.Array:
    """SHA-256 of each row's content as hexadecimal text.

    Each filled column adds ``name:length:value`` in the order of the names, so that neither the order of the
    columns nor a column that is still empty changes the hash. Instants count in microseconds.
    """
    if not table.num_rows:
        return pa.array([], TEXT)
    pieces = []
    for name in sorted(set(table.column_names) - {ROW_HASH, POSITION}):
        values = table[name].combine_chunks()
        if pa.types.is_timestamp(values.type):
            values = values.cast(WHOLE)
        values = values.cast(TEXT)
        length = pc.binary_length(values).cast(TEXT)
        pieces.append(pc.binary_join_element_wise(name, length, values, ":"))
    joined = pc.binary_join_element_wise(*pieces, ";", null_handling="skip")
    return pa.array([hashlib.sha256(line.encode()).hexdigest() for line in joined.to_pylist()], TEXT)


def _json_text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _instant(value: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else None


def _family(kind: pa.DataType) -> pa.DataType | None:
    """The landing type that an Arrow type belongs to; None for nested ones."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return TEXT
    if pa.types.is_boolean(kind):
        return FLAG
    if pa.types.is_integer(kind):
        return WHOLE
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBER
    if pa.types.is_timestamp(kind):
        return INSTANT if kind.tz else LOCAL_TIME
    return DATE if pa.types.is_date(kind) else None


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _holds(kind: pa.DataType) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        try:
            pa.array([value], TEXT if kind in (DATE, LOCAL_TIME) else kind).cast(kind)
        except (pa.ArrowInvalid, OverflowError):
            return False
        return True

    return holds


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


_NAMES = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}
_PLAIN: Mapping[pa.DataType, set[type]] = {
    TEXT: {str},
    WHOLE: {int},
    NUMBER: {int, float},
    FLAG: {bool},
    DATE: {str},
    LOCAL_TIME: {str},
}
_ACCEPTS: Mapping[pa.DataType, Callable[[Any], bool]] = {
    TEXT: lambda value: type(value) is str,
    WHOLE: _is_whole,
    NUMBER: lambda value: type(value) in (int, float),
    FLAG: lambda value: type(value) is bool,
    DATE: lambda value: type(value) is str,
    LOCAL_TIME: lambda value: type(value) is str,
}
