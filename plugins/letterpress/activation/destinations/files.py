"""Files: a folder here, in an object store or on an SFTP server, that another system imports from.

Each request becomes one file that never changes, and a manifest that is written after it. What stands where, what
the columns mean and how to read it all is told to the receiving side in ``parts/files/README.md``.

A request's name is a function of its key, so that what is sent again is found to be there and is not written
again. That asks of the key that it differs where the same content is meant once more (joined, left and joined
again), as keys with the ledger's revisions in them do.
"""

import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC

import orjson
from pydantic import Field

from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.parts.files import folders, inbound, manifests, replay
from letterpress.activation.destinations.parts.files.tables import CLEARED, Format, fault
from letterpress.activation.destinations.spec import (
    Endpoint,
    Held,
    Operation,
    Results,
    Row,
    RowError,
    Shape,
    SuppressionEvent,
)

log = logging.getLogger(__name__)

# One row a person, whole: a value that is not there is an empty field. All values are texts, as in any CSV.
SHAPE = Shape(
    external_id="external_id",
    email="email",
    merges=False,
    is_text_only=True,
    list_separator="|",
    attribute_pattern=r"[A-Za-z_][A-Za-z0-9_ .-]{0,62}",
    reserved=("external_id", "email"),
)

# There are no caps but our own: they keep a request within what a run's memory holds. One request at a time, since
# the order of the files is the order in which they are to be read.
_FILE = Endpoint(rows=50_000, bytes=32_000_000, in_flight=1)
ENDPOINTS = dict.fromkeys(Operation, _FILE)

COLUMNS = {
    Operation.SUPPRESS: ("external_id", "email", "reason"),
    Operation.ERASE: ("external_id",),  # an address would be the last that is kept of somebody who is to be forgotten
    Operation.MOVE: ("external_id", "moves_to"),
    Operation.LEAVE: ("external_id", "email", "list"),
    Operation.DELETE: ("external_id", "email"),
    Operation.SUBSCRIBE: ("external_id", "email", "consented_at", "consent_proof"),
    Operation.JOIN: ("external_id", "email", "list"),
}
PROFILE = ("external_id", "email")  # of an upsert; then the field map's attributes, in its order


class Options(Format):
    """How files are written, and the folder they are in, under the connection's address."""

    folder: str = Field(default="customers", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["FileDrop"]:
    """A client that touches the folder with its first request and is closed at the end."""
    folder = folders.opened(connection)
    try:
        yield FileDrop(folder, options)
    finally:
        folder.close()


class FileDrop:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`, as files."""

    def __init__(self, folder: folders.Folder, options: Options):
        self._folder, self._options = folder, options
        self._files = manifests.Files(folder, options.folder)
        self._attributes: tuple[str, ...] | None = None
        self._is_ready = False
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        """How often the folder was asked for something, repeated calls counted again."""
        return self._folder.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """The attributes are the columns of every upsert that follows; lists need nothing."""
        with self._lock:
            self._attributes = tuple(attributes)
            self._ready()

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """One file of those who can be written, unless it is there; erasing takes them out of all earlier ones."""
        with self._lock:
            self._ready()
            columns, table, errors = self._table(operation, rows, list_id)
            digest = hashlib.sha256(f"{operation}\n{list_id or ''}\n{key}".encode()).hexdigest()
            stem = f"{operation}-{digest[:32]}"
            if not table or self._files.is_written(stem):
                return Results(errors)
            if operation is Operation.ERASE:
                self._files.forget([row.customer_id for row in rows])
            written = self._files.write(stem, self._options, columns, table, operation=operation, list_id=list_id)
        log.info("%s: %s has %d people, number %d", folders.NAME, written.file, written.rows, written.sequence)
        return Results(errors)

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing is queued there."""
        raise ValueError(f"{folders.NAME}: expected no job, found {job_id}")

    def is_busy(self) -> bool:
        """Nothing is queued there."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """What the receiving side has dropped into ``inbound/`` since; see :func:`inbound.events`."""
        with self._lock:
            self._ready()
            return inbound.events(self._folder, self._options.folder, self._options, since)

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """What whoever has read all of the files in their order holds; see :func:`replay.held`."""
        with self._lock:
            self._ready()
            return replay.held(self._files, [row.customer_id for row in rows], attributes)

    def _ready(self) -> None:
        """The address is right, and the folders in it are there for everybody to see."""
        if not self._is_ready:
            self._folder.check()
            for name in (manifests.SUBFOLDER, inbound.SUBFOLDER, inbound.PULLED):
                self._folder.make(f"{self._options.folder}/{name}")
            self._is_ready = True

    def _table(
        self, operation: Operation, rows: Sequence[Row], list_id: str | None
    ) -> tuple[tuple[str, ...], list[list[str | None]], dict[str, RowError]]:
        """Columns and rows of a file, and whom it cannot hold."""
        errors: dict[str, RowError] = {}
        if operation is Operation.UPSERT:
            columns, found = self._profiles(rows, errors)
        else:
            columns, found = COLUMNS[operation], [_values(operation, row, list_id) for row in rows]
        table = []
        for row, values in zip(rows, found, strict=True):
            if row.customer_id in errors:
                continue
            error = _missing(operation, row) or self._unfit(columns, values)
            if error is None:
                table.append(values)
            else:
                errors[row.customer_id] = error
        return columns, table, errors

    def _profiles(
        self, rows: Sequence[Row], errors: dict[str, RowError]
    ) -> tuple[tuple[str, ...], list[list[str | None]]]:
        profiles = [_profile(row, errors) for row in rows]
        if self._attributes is None:  # nobody has said which there are: those of this file, in order of appearance
            named = dict.fromkeys(name for profile in profiles for name in profile)
            columns = (*PROFILE, *(name for name in named if name not in PROFILE))
        else:
            columns = (*PROFILE, *self._attributes)
        known = frozenset(columns)
        for row, profile in zip(rows, profiles, strict=True):
            if not known.issuperset(profile):
                unknown = ", ".join(sorted(set(profile) - known))
                error = RowError("unknown_attribute", f"expected the attributes of the field map, found {unknown}")
                errors.setdefault(row.customer_id, error)
        return columns, [[profile.get(name) for name in columns] for profile in profiles]

    def _unfit(self, columns: Sequence[str], values: Sequence[str | None]) -> RowError | None:
        if fault(self._options, "".join(value for value in values if value)) is None:
            return None  # together they fit, so each does
        for column, value in zip(columns, values, strict=True):
            found = fault(self._options, value) if value else None
            if found:
                return RowError(found[0], f"{column}: {found[1]}")
        return None


def _profile(row: Row, errors: dict[str, RowError]) -> dict[str, str | None]:
    """A payload's values as texts; a value that it says is gone is cleared."""
    try:
        content = orjson.loads(row.payload or b"")
        if content["external_id"] != row.customer_id:
            raise ValueError
    except (ValueError, TypeError, KeyError):
        errors[row.customer_id] = RowError("invalid_payload", "expected a JSON object with the person's external_id")
        return {}
    profile = {}
    for name, value in content.items():
        if value.__class__ is str:
            profile[name] = value
        elif value is None:
            profile[name] = CLEARED
        elif isinstance(value, (bool, int, float)):
            profile[name] = orjson.dumps(value).decode()
        else:
            errors[row.customer_id] = RowError("not_flat", f"{name}: expected one value, found several")
    return profile


def _values(operation: Operation, row: Row, list_id: str | None) -> list[str | None]:
    """A person's fields in the file of any operation but an upsert."""
    instant = row.consented_at.astimezone(UTC).isoformat() if row.consented_at else None
    fields = {
        "external_id": row.customer_id,
        "email": row.email,
        "reason": row.reason,
        "moves_to": row.moves_to,
        "list": list_id,
        "consented_at": instant,
        "consent_proof": row.consent_proof,
    }
    return [fields[column] for column in COLUMNS[operation]]


def _missing(operation: Operation, row: Row) -> RowError | None:
    """What an operation cannot do without."""
    if operation is Operation.SUBSCRIBE and not row.consent_proof:
        return RowError("no_proof", "expected the proof of an opt-in, found none")
    if operation is Operation.MOVE and not row.moves_to:
        return RowError("no_target", "expected the surviving id, found none")
    return None
