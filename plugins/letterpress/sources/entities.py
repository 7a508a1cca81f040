"""What a source module declares of each entity, and the few column types that landing knows."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

ROW_HASH = "_row_hash"
POSITION = "_position"

TEXT = pa.string()
WHOLE = pa.int64()
NUMBER = pa.float64()
FLAG = pa.bool_()
INSTANT = pa.timestamp("us", "UTC")
LOCAL_TIME = pa.timestamp("us")
DATE = pa.date32()

TYPES: Mapping[str, pa.DataType] = {str(kind): kind for kind in (TEXT, WHOLE, NUMBER, FLAG, INSTANT, LOCAL_TIME, DATE)}


def column(name: str, kind: pa.DataType, *, json: type | None = None) -> pa.Field:
    """One declared column. ``json=dict`` or ``json=list``: an object or array of the source, landed as JSON text."""
    return pa.field(name, kind, metadata={"json": json.__name__} if json else None)


@dataclass(frozen=True)
class Entity:
    """One table of a source.

    ``key`` names the row; ``cursor`` is the column by which the source tells what is new (an instant), or None
    where the module keeps a cursor of its own, such as a listing of files. Keys and cursor must not be empty.
    """

    name: str
    key: tuple[str, ...]
    cursor: str | None
    schema: pa.Schema
    path: str | None = None

    def __post_init__(self) -> None:
        names = set(self.schema.names)
        if missing := [name for name in self.required if name not in names]:
            raise ValueError(f"{self.name}: expected key and cursor among the columns, missing {missing}")
        if self.cursor and self.schema.field(self.cursor).type != INSTANT:
            found = self.schema.field(self.cursor).type
            raise ValueError(f"{self.name}.{self.cursor}: expected a cursor of type {INSTANT}, found {found}")
        if unknown := [field.name for field in self.schema if str(field.type) not in TYPES]:
            raise ValueError(f"{self.name}: expected column types {sorted(TYPES)}, found others in {unknown}")

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every row must fill."""
        return tuple(dict.fromkeys((*self.key, *((self.cursor,) if self.cursor else ()))))

    @property
    def landed_schema(self) -> pa.Schema:
        """The columns as they stand in landing: the declared ones and the row's hash."""
        fields = [pa.field(field.name, field.type) for field in self.schema]
        return pa.schema([*fields, pa.field(ROW_HASH, TEXT)])


class Page(NamedTuple):
    """Rows as the source gave them: objects of a REST page, or an Arrow table of a file.

    ``label`` says where they stood, for messages. ``cursor`` is where the next extraction continues once these
    rows have landed, for entities without a cursor column.
    """

    rows: list[dict[str, Any]] | pa.Table
    label: str
    cursor: str | None = None


def snake_case(name: str) -> str:
    """``CustomerID`` → ``customer_id``, ``receivedAt`` → ``received_at``; only letters, digits and ``_`` remain.

    Leading underscores go, because landing's own columns begin with one.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    words = re.sub(r"[^0-9A-Za-z]+", "_", words).strip("_").lower()
    return words if words and not words[0].isdigit() else f"column_{words}".rstrip("_")


def schema_of(*columns: pa.Field | Iterable[pa.Field]) -> pa.Schema:
    """A schema of columns and groups of columns."""
    fields: list[pa.Field] = []
    for item in columns:
        fields.extend([item] if isinstance(item, pa.Field) else item)
    return pa.schema(fields)
