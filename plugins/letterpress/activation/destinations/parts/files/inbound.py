"""What the receiving side says back: CSV files of people who must not be written to, dropped into ``inbound/``."""

import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from letterpress.activation.destinations.parts.files.folders import NAME, Folder
from letterpress.activation.destinations.parts.files.tables import Format, parse
from letterpress.activation.destinations.spec import DestinationError, SuppressionEvent
from letterpress.activation.suppression import STRENGTH

log = logging.getLogger(__name__)

SUBFOLDER = "inbound"
PULLED = "pulled"
COLUMNS = ("email", "external_id", "reason", "occurred_at")


def events(folder: Folder, path: str, form: Format, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
    """The rows of the files that were not read before a position, and the position after them.

    The order of names means nothing, so a file that was dropped late under an early name is read as well. A
    position is the hash of the names and contents that were read; the list itself lies beside, in ``pulled/``.
    Where it is lost, all is read again, which changes nothing that is known. A file may be taken away once it was
    read. Raises :class:`DestinationError` for a file that changed after it was read, or that is not understood.
    """
    before = _read_before(folder, path, since)
    after: dict[str, str] = {}
    found: list[SuppressionEvent] = []
    for name in folder.names(f"{path}/{SUBFOLDER}"):
        if name.startswith(".") or not name.endswith((".csv", ".csv.gz")):
            continue  # what is still being written has another name
        place = f"{path}/{SUBFOLDER}/{name}"
        content = folder.read(place)
        if content is None:
            continue  # taken away since it was listed
        after[name] = hashlib.sha256(content).hexdigest()
        if not before or name not in before:
            found.extend(_events(place, form, content))
        elif before[name] != after[name]:
            raise DestinationError(
                f"{NAME}: {place}: expected the content that was read before, found another: a file must not change "
                "once it was dropped; drop what is new under a new name, and put back or remove this one"
            )
    if after == before:
        return found, since
    position = _position(after)
    folder.write(f"{path}/{PULLED}/{position}.json", orjson.dumps(after, option=orjson.OPT_SORT_KEYS))
    for name in folder.names(f"{path}/{PULLED}"):
        if name not in (f"{since}.json", f"{position}.json"):
            folder.delete(f"{path}/{PULLED}/{name}")
    return found, position


def _position(files: Mapping[str, str]) -> str:
    return hashlib.sha256(orjson.dumps(files, option=orjson.OPT_SORT_KEYS)).hexdigest()[:40]


def _read_before(folder: Folder, path: str, since: str | None) -> dict[str, str] | None:
    """Names and hashes of what was read; none where nobody knows any more."""
    content = folder.read(f"{path}/{PULLED}/{since}.json") if since else b"{}"
    try:
        before = orjson.loads(content or b"")
        if not since or _position(before) == since:
            return before
    except orjson.JSONDecodeError:
        pass
    log.warning("%s: %s: what was read is not known any more, so all is read again", NAME, path)
    return None


def _events(place: str, form: Format, content: bytes) -> list[SuppressionEvent]:
    try:
        header, rows = parse(form, content)
        if sorted(header) != sorted(COLUMNS):  # what is there instead may be a row, so none of it is told
            lacking = [column for column in COLUMNS if column not in header]
            found = f"none called {' or '.join(lacking)}" if lacking else "more than these"
            raise ValueError(f"expected a header with the columns {', '.join(COLUMNS)}, found {found}")
        return [_event(number, dict(zip(header, row, strict=True))) for number, row in enumerate(rows, start=1)]
    except ValueError as error:
        raise DestinationError(
            f"{NAME}: {place}: {error}; nothing is pushed until this file is put right or removed"
        ) from None


def _event(number: int, row: Mapping[str, str | None]) -> SuppressionEvent:
    email, person, reason, instant = (row[column] for column in COLUMNS)
    if not email and not person:
        raise ValueError(f"row {number}: expected an email or an external_id, found neither")
    if reason not in STRENGTH:
        raise ValueError(f"row {number}: reason: expected {', '.join(STRENGTH)}, found another")
    try:
        occurred_at = datetime.fromisoformat(instant or "")
    except ValueError:
        occurred_at = None
    if occurred_at is None or occurred_at.tzinfo is None:
        raise ValueError(f"row {number}: occurred_at: expected an instant like 2026-11-05T08:30:00Z, found none")
    return SuppressionEvent(email, person, reason, occurred_at.astimezone(UTC))
