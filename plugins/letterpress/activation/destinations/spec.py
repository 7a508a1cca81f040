"""What a destination's module declares, and what its client answers: all that the engine knows of a vendor.

A module beside this one has four names:

``SHAPE``      where the parts of a profile stand in the vendor's JSON, so that payloads are made inside DuckDB
``ENDPOINTS``  by operation: how many people and bytes one request holds, and how often it may be made
``Options``    the module's own settings, checked at start (a :class:`~letterpress.activation.configuration.Block`)
``open_client(connection, options)``  a context manager that yields a :class:`Client`

Whatever is not in ``ENDPOINTS`` the destination cannot do; a configuration that needs it is refused at start.
Everything else (what to send, when, to whom, in which batches, what was acknowledged) is the same for all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol


class Operation(StrEnum):
    """What can be asked of a destination, in the order in which a plan is applied.

    Whoever must not be written to is stopped first. Identifiers move before anything is removed or written, and
    deletions come before upserts, so that an address is free.
    """

    SUPPRESS = "suppress"  # no more mail to these people
    ERASE = "erase"  # forget the person, for good
    MOVE = "move"  # the profile goes from a person's former id to the surviving one
    LEAVE = "leave"  # out of a list
    DELETE = "delete"  # remove the profile; the person may come back
    SUBSCRIBE = "subscribe"  # record a proven opt-in; lifts an earlier withdrawal
    UPSERT = "upsert"  # create or update profiles
    JOIN = "join"  # into a list


@dataclass(frozen=True)
class Limit:
    """At most ``requests`` within any ``seconds``."""

    requests: int
    seconds: float


@dataclass(frozen=True)
class Endpoint:
    """What one kind of request may hold and how often it may be made.

    ``bytes`` is the largest body, ``row_bytes`` the largest payload of one person; ``in_flight`` how many
    requests may wait for their answers at once. ``shared`` names a limit that several endpoints draw on. A queued
    request that takes days is not ``is_awaited``: later runs read its result.
    """

    rows: int = 1
    bytes: int = 5_000_000
    row_bytes: int | None = None
    limits: tuple[Limit, ...] = ()
    in_flight: int = 4
    is_asynchronous: bool = False
    is_awaited: bool = True
    shared: str | None = None


@dataclass(frozen=True)
class Shape:
    """Where the parts of a profile stand in a vendor's JSON. A path has dots between its keys.

    An attribute of the field map goes to its own path in ``named``, else under ``attributes`` (at the top where
    that is empty). ``merges`` says that the vendor keeps the attributes that a payload does not name: updates
    then hold only what changed. ``cleared`` is the value that empties an attribute there.
    """

    external_id: str
    email: str
    attributes: str = ""
    named: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    merges: bool = True
    cleared: str | None = None
    is_written_by_subscribe: bool = False  # an opt-in carries the whole profile
    is_email_key: bool = False  # the vendor finds people by their address: it goes with every payload
    is_text_only: bool = False  # every attribute's value is a string
    list_separator: str | None = None  # lists are texts with this between; none: JSON arrays
    attribute_pattern: str = r"[A-Za-z][A-Za-z0-9_ .-]{0,99}"
    reserved: tuple[str, ...] = ()  # names that the vendor keeps for itself, or that only consent may write

    def accepts(self, name: str) -> bool:
        """Whether an attribute may be called so there."""
        return name in self.named or re.fullmatch(self.attribute_pattern, name) is not None

    def path_of(self, name: str) -> tuple[str, ...]:
        """The keys that lead to an attribute."""
        if name in self.named:
            return tuple(self.named[name].split("."))
        return (*self.attributes.split("."), name) if self.attributes else (name,)


class Row(NamedTuple):
    """One person of a request.

    ``payload`` is the profile in the vendor's shape (upsert, subscribe). ``vendor_id`` is what the vendor calls
    the person, where an earlier answer told. ``reason`` says why somebody is suppressed, ``consent_proof`` and
    ``consented_at`` prove an opt-in, ``moves_to`` is the surviving id. ``former_emails`` are other addresses under
    which the vendor holds the person, or may do so because an answer was lost.
    """

    customer_id: str
    email: str | None = None
    payload: bytes | None = None
    vendor_id: str | None = None
    reason: str | None = None
    consent_proof: str | None = None
    consented_at: datetime | None = None
    moves_to: str | None = None
    former_emails: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowError:
    """Why a destination refused one person: its code, and its message without personal data.

    A transient one is tried again at the next runs, another waits until the row changes or is replayed.
    """

    code: str
    message: str = ""
    is_transient: bool = False


@dataclass(frozen=True)
class Results:
    """The answer, person by person: who is in neither ``errors`` nor ``unanswered`` was accepted."""

    errors: Mapping[str, RowError] = field(default_factory=dict)
    vendor_ids: Mapping[str, str] = field(default_factory=dict)
    unanswered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Job:
    """The request was queued; its result is read later, under this id."""

    job_id: str


@dataclass(frozen=True)
class SuppressionEvent:
    """Somebody who must not be written to, as the destination reports it; ``sequence`` is its own, or 0."""

    email: str | None
    external_id: str | None
    reason: str  # one of letterpress.activation.suppression.STRENGTH
    suppressed_at: datetime
    sequence: int = 0


@dataclass(frozen=True)
class Held:
    """What a destination holds of one person, to compare with the ledger.

    ``attributes`` are by the field map's names (only those asked for), an empty value is none. ``lists`` is none
    where the destination does not tell, ``is_suppressed`` likewise.
    """

    customer_id: str
    email: str | None
    attributes: Mapping[str, Any]
    lists: frozenset[str] | None = None
    is_suppressed: bool | None = None
    vendor_id: str | None = None


class Client(Protocol):
    """What the engine asks of a destination.

    Throttling, 5xx and lost answers are repeated inside. Each call raises :class:`DestinationError` where the
    destination fails for good, and :class:`BatchRefused` where it refuses a request as a whole for its content.
    All may be called from several threads at once.
    """

    requests: int

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Make sure that the attributes (name -> type) and lists are there, before the first write."""

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results | Job:
        """Carry out one operation for these people.

        ``key`` is a function of the request's content, for vendors that take idempotency keys; ``list_id`` is
        the list of join and leave. What is sent again has the same effect once.
        """

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """The result of a queued request; none while the vendor still works on it."""

    def is_busy(self) -> bool:
        """Whether the vendor still works on queued requests whose ids we may not know."""

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Who was suppressed there since a position, and the position to go on from."""

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """What the destination holds of these people; whom it does not know is left out."""


class DestinationError(Exception):
    """A request that failed for good: destination, operation and status, never a body."""


class BatchRefused(Exception):
    """A request that was refused as a whole for its content: the vendor's code and message, without a value.

    ``errors`` are the people whom the refusal names, by customer id, where it names any: without them the rest may
    be sent again. Where it names nobody, halving finds who is at fault.
    """

    def __init__(self, code: str, message: str = "", errors: Mapping[str, RowError] | None = None):
        super().__init__(f"{code}: {message}" if message else code)
        self.code, self.message, self.errors = code, message, dict(errors or {})
