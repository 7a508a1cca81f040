"""Destinations: what ``destinations.yml`` says, checked against the audience's contract and the module's shape."""

import re
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from letterpress.activation.configuration import Block, ConfigurationError, line_of, nearest, read_blocks
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.contract import GATE, audiences
from letterpress.activation.destinations.spec import Client, Endpoint, Operation, Shape

FILE = Path(__file__).parents[1] / "destinations.yml"

# What a column of each type may become: the first is what it becomes unless the field map says otherwise.
TYPES: Mapping[str, tuple[str, ...]] = {
    "varchar": ("string", "list"),
    "bigint": ("number", "string"),
    "double": ("number", "string"),
    "boolean": ("boolean", "string"),
    "date": ("date", "string"),
    "timestamptz": ("datetime", "date", "string"),
}
FORMATS = ("iso", "epoch_seconds", "epoch_milliseconds")


class Batch(Block):
    """How much one profile request may hold, where that shall be less than the vendor allows."""

    rows: int | None = Field(default=None, gt=0)
    bytes: int | None = Field(default=None, ge=1_000)


class Guard(Block):
    """What stops a plan before its first request, until a person approves it.

    A plan that removes more people than ``removed_percent`` of those held, and at least ``removed_at_least``;
    an audience with fewer people who may be written to than the destination reaches, by ``shrunken_percent``.
    """

    removed_percent: float = Field(default=20, ge=0, le=100)
    removed_at_least: int = Field(default=50, ge=0)
    shrunken_percent: float = Field(default=30, ge=0, le=100)


class Attribute(Block):
    """A column's name at the destination, its type there, its format, and what becomes of an empty value."""

    attribute: str = Field(min_length=1)
    type: Literal["string", "number", "boolean", "date", "datetime", "list"] | None = None
    format: str = Field(default="iso", description="of dates: iso, epoch_seconds, epoch_milliseconds or strftime's")
    decimals: int = Field(default=2, ge=0, le=10, description="of numbers with a fraction")
    nulls: Literal["write", "skip", "clear"] = "clear"

    @field_validator("format")
    @classmethod
    def known_format(cls, value: str) -> str:
        """A name, or a pattern with at least one directive."""
        if value not in FORMATS and not re.search(r"%[a-zA-Z]", value):
            raise ValueError(f"expected {', '.join(FORMATS)} or a pattern such as %d/%m/%Y, found {value!r}")
        return value


class Destination(Block):
    """One block of ``destinations.yml``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    module: str
    connection: str = Field(min_length=1, description="the Airflow Connection with the address and the key")
    enabled: bool = True
    audience: str
    batch: Batch = Batch()
    guard: Guard = Guard()
    leavers: Literal["keep", "clear", "delete"] = Field(
        default="keep", description="the profile of somebody who leaves the audience; lists they always leave"
    )
    subscribes: bool = Field(default=False, description="record the opt-in there of everybody who may be written to")
    attributes: dict[str, Attribute]
    lists: dict[str, str] = Field(default_factory=dict, description="segment key -> the list's id at the destination")
    options: dict[str, Any] = Field(default_factory=dict, description="the module's own settings")

    @field_validator("module")
    @classmethod
    def is_there(cls, value: str) -> str:
        """A module beside this one, or somebody else's that can be imported."""
        if value in modules():
            return value
        try:
            found = find_spec(value)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise ValueError(
                f"expected a module beside {FILE.name} or one that can be imported, found {value!r}; "
                f"{nearest(value.rsplit('.', 1)[-1], modules())}"
            )
        return value

    @model_validator(mode="after")
    def consistent(self) -> "Destination":
        """Everything that is named is there: columns, types, attribute names, operations, options."""
        self._check_attributes()
        self._check_operations()
        try:
            self.checked_options()
        except ValidationError as error:
            found = error.errors()[0]
            field = ".".join(str(part) for part in found["loc"])
            known = (
                f"; {nearest(field, list(self.loaded().Options.model_fields))}"
                if found["type"] == "extra_forbidden"
                else ""
            )
            raise ValueError(f"options.{field}: {found['msg']}{known}") from None
        return self

    def _check_attributes(self) -> None:
        known, shape = audiences(), self.shape
        if self.audience not in known:
            raise ValueError(f"audience: unknown table {self.audience!r}; {nearest(self.audience, list(known))}")
        columns = known[self.audience]
        for column, mapped in self.attributes.items():
            where = f"attributes.{column}"
            if column in GATE:
                raise ValueError(f"{where}: a sync never writes consent; remove this line")
            if column not in columns:
                raise ValueError(f"{where}: unknown column of {self.audience}; {nearest(column, list(columns))}")
            allowed = TYPES[columns[column]]
            if mapped.type is not None and mapped.type not in allowed:
                raise ValueError(
                    f"{where}.type: expected {' or '.join(allowed)} for a {columns[column]}, found {mapped.type}"
                )
            if mapped.attribute in shape.reserved:
                raise ValueError(f"{where}: expected another name, found {mapped.attribute!r}, which is taken")
            if not shape.accepts(mapped.attribute):
                raise ValueError(
                    f"{where}: expected a name like {shape.attribute_pattern}, found {mapped.attribute!r}, which "
                    f"{self.module} does not take"
                )
        names = [mapped.attribute for mapped in self.attributes.values()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"attributes: expected each name once, found {twice[0]!r} for several columns")

    def _check_operations(self) -> None:
        needed = {
            "module": (Operation.UPSERT, Operation.SUPPRESS, Operation.ERASE),
            "lists": (Operation.JOIN, Operation.LEAVE) if self.lists else (),
            "subscribes": (Operation.SUBSCRIBE,) if self.subscribes else (),
            "leavers": (Operation.DELETE,) if self.leavers == "delete" else (),
        }
        for name, operations in needed.items():
            for operation in operations:
                if operation not in self.endpoints:
                    raise ValueError(f"{name}: {self.module} has no operation {operation}; remove this line")
        if not {Operation.MOVE, Operation.DELETE} & set(self.endpoints):
            raise ValueError(
                f"module: {self.module} has neither move nor delete: the former profile of a merged person would stay, "
                "and be mailed too"
            )
        cap = self.loaded().ENDPOINTS[Operation.UPSERT]
        for name in ("rows", "bytes"):
            wanted, most = getattr(self.batch, name), getattr(cap, name)
            if wanted is not None and wanted > most:
                raise ValueError(f"batch.{name}: expected at most {most}, which {self.module} takes, found {wanted}")

    def loaded(self) -> ModuleType:
        """The destination's module."""
        return _loaded(self.module)

    @property
    def shape(self) -> Shape:
        """Where the parts of a profile stand in the vendor's JSON."""
        return self.loaded().SHAPE

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What requests may hold, with this block's own, smaller batches."""
        found = dict(self.loaded().ENDPOINTS)
        upsert = found[Operation.UPSERT]
        limits = {name: value for name, value in self.batch.model_dump().items() if value is not None}
        found[Operation.UPSERT] = Endpoint(**{**upsert.__dict__, **limits})
        return found

    def checked_options(self) -> Block:
        """The module's settings, as its ``Options`` understand them."""
        return self.loaded().Options.model_validate(self.options)

    def type_of(self, column: str) -> str:
        """What a mapped column becomes at the destination."""
        return self.attributes[column].type or TYPES[audiences()[self.audience][column]][0]


@cache
def destinations(path: Path = FILE, *, include_disabled: bool = False) -> dict[str, Destination]:
    """The destinations that are switched on, or all; raises ConfigurationError naming file, line and field."""
    found = read_blocks(path, Destination)
    return {name: one for name, one in found.items() if one.enabled or include_disabled}


def destination(name: str, path: Path = FILE) -> Destination:
    """One destination, switched on or not; raises ConfigurationError with the nearest name where there is none."""
    known = destinations(path, include_disabled=True)
    if name not in known:
        raise ConfigurationError(f"{path.name}: unknown destination {name!r}; {nearest(name, list(known))}")
    return known[name]


def missing_connection(where: Destination, path: Path = FILE) -> ConfigurationError:
    """What to say where Airflow does not know a destination's connection."""
    line = line_of(path, where.name, "connection")
    return ConfigurationError(
        f"{path.name}, line {line}: {where.name}.connection: Airflow has no connection {where.connection!r}; next "
        f"step: airflow connections add {where.connection} --conn-type http --conn-host … --conn-password …, or "
        f"AIRFLOW_CONN_{where.connection.upper()}"
    )


def open_client(
    where: Destination, connection: Connection, kept: MutableMapping[str, str] | None = None
) -> AbstractContextManager[Client]:
    """The client of a destination's module; it connects with its first request, and finds there what it kept."""
    given = connection if kept is None else replace(connection, kept=kept)
    return where.loaded().open_client(given, where.checked_options())


@cache
def _loaded(module: str) -> ModuleType:
    """A module beside this one, or somebody else's; asked for with every person."""
    return import_module(f"{__name__}.{module}" if module in modules() else module)


@cache
def modules() -> list[str]:
    """The modules beside this one that are destinations."""
    helpers = ("__init__", "connections", "contract", "http", "pace", "spec")
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in helpers)
