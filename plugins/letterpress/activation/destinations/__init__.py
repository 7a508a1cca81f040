"""Destinations: what ``destinations.yml`` says, and what every destination's module must offer.

A module exposes ``open_client(connection) -> Client``. Everything else (what to send, when, to whom, and what
was acknowledged) is the same for all of them and stands outside.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field, field_validator, model_validator

from letterpress.activation.configuration import Block, ConfigurationError, nearest

FILE = Path(__file__).parents[1] / "destinations.yml"

# What the audience marts offer. Those of the gate decide who may be written to and never leave themselves.
COLUMNS = {
    "activation.sync_customers": (
        "first_name",
        "country_code",
        "time_zone",
        "loyalty_tier",
        "favourite_category",
        "rfm_code",
        "rfm_segment",
        "cluster",
        "clv_tier",
        "clv_decile",
        "order_count_band",
    )
}
GATE = ("email_consent_status", "consent_proof", "is_eligible", "refusal_reason")
RESERVED = ("external_id", "email", "segments")


@dataclass(frozen=True)
class Connection:
    """Where a destination is and its key; the key is kept out of every representation."""

    base_url: str
    token: str = field(repr=False)
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 25


class Batch(Block):
    """How much one request may hold."""

    rows: int = Field(default=500, gt=0, le=100_000)
    bytes: int = Field(default=1_000_000, ge=1_000)


class Guard(Block):
    """A plan that deletes more than both stops before its first request, until a person approves it."""

    deleted_percent: float = Field(default=20, ge=0, le=100)
    deleted_at_least: int = Field(default=50, ge=0)


class Attribute(Block):
    """A column's name at the destination, and what becomes of an empty value."""

    attribute: str = Field(min_length=1, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    nulls: Literal["write", "skip", "clear"] = "clear"

    @field_validator("attribute")
    @classmethod
    def free(cls, value: str) -> str:
        """Names that the payload itself uses are taken."""
        if value in RESERVED:
            raise ValueError(f"expected another name, found {value!r}, which every payload has already")
        return value


class Destination(Block):
    """One block of ``destinations.yml``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    module: str
    connection: str = Field(min_length=1, description="the Airflow Connection with the URL and the key")
    audience: str
    batch: Batch = Batch()
    guard: Guard = Guard()
    attributes: dict[str, Attribute]

    @model_validator(mode="after")
    def known_columns(self) -> "Destination":
        """Only columns of the audience are mapped, none twice, and none of the gate's."""
        if self.audience not in COLUMNS:
            raise ValueError(f"audience: unknown table {self.audience!r}; {nearest(self.audience, list(COLUMNS))}")
        known = COLUMNS[self.audience]
        for column in self.attributes:
            if column in GATE:
                raise ValueError(f"attributes.{column}: a sync never writes consent; remove this line")
            if column not in known:
                raise ValueError(f"attributes.{column}: unknown column of {self.audience}; {nearest(column, known)}")
        names = [mapped.attribute for mapped in self.attributes.values()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"attributes: expected each name once, found {twice[0]!r} for several columns")
        return self


@dataclass(frozen=True)
class RowResult:
    """The destination's answer about one row: ``error_code`` is null where it was accepted."""

    external_id: str
    error_code: str | None = None


@dataclass(frozen=True)
class SuppressionRequest:
    """One person whom the destination must not write to any more."""

    external_id: str
    email: str | None
    reason: str


@dataclass(frozen=True)
class SuppressionEvent:
    """A suppression that the destination reports."""

    email: str | None
    external_id: str | None
    reason: str
    suppressed_at: datetime
    sequence: int


@dataclass(frozen=True)
class Receipt:
    """A message that the destination took over."""

    message_id: str
    accepted_at: datetime


class Client(Protocol):
    """What the engine asks of a destination. Requests are retried inside; each raises :class:`DestinationError`."""

    requests: int

    def upsert(self, payloads: Sequence[bytes], idempotency_key: str) -> list[RowResult]:
        """Create or replace profiles; each payload is one JSON object."""

    def delete(self, external_ids: Sequence[str], idempotency_key: str) -> list[RowResult]:
        """Remove profiles."""

    def suppress(self, people: Sequence[SuppressionRequest], idempotency_key: str) -> list[RowResult]:
        """Stop all mail to these people."""

    def lift(self, external_id: str, email: str, consent_proof: str) -> RowResult:
        """Let a person in again who has opted in anew."""

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """What was suppressed since a position, and the position to go on from."""

    def receipt(self, idempotency_key: str) -> Receipt | None:
        """The message that was accepted under a key, if any."""


class DestinationError(Exception):
    """A request that failed for good: destination, operation and status, never a body."""


@cache
def destinations(path: Path = FILE) -> dict[str, Destination]:
    """Every destination, checked; raises :class:`ConfigurationError` naming file, line and field."""
    from letterpress.activation.configuration import read_blocks

    return read_blocks(path, Destination)


def destination(name: str, path: Path = FILE) -> Destination:
    """One destination; raises :class:`ConfigurationError` with the nearest name where there is none."""
    known = destinations(path)
    if name not in known:
        raise ConfigurationError(f"{path.name}: unknown destination {name!r}; {nearest(name, list(known))}")
    return known[name]


def open_client(where: Destination, connection: Connection) -> AbstractContextManager[Client]:
    """The client of a destination's module; it connects with its first request."""
    return import_module(where.module).open_client(connection)
