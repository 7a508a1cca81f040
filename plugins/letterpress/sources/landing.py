"""Landing's book: a load is pending after its extraction, and exists once its manifest is committed.

``<source>/<entity>/<load_id>-<n>.parquet`` are the rows, immutable. ``_manifests/<sequence>.json`` is the only truth
about which of them count; it holds the cursor too, so that rows and cursor commit together.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from letterpress import storage
from letterpress.sources import locks
from letterpress.sources.config import load_sources
from letterpress.sources.errors import LoadSuperseded

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

log = logging.getLogger(__name__)

_MANIFEST = re.compile(r"^(\d{10})\.json$")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The content of its JSON file."""
        return self.model_dump(mode="json", by_alias=True)


class Verdict(_Record):
    """What the audit of a load said."""

    verdict: Literal["passed", "warned", "failed"]
    checks: int = 0
    warnings: int = 0
    errors: int = 0


class EntityLoad(_Record):
    """What a load brought of one entity. ``files`` are relative to landing.

    ``cursor`` is where the next extraction continues (an instant, or whatever the source module keeps); ``reach``
    the newest cursor value that this load or one before it landed, which may lie ahead of the cursor.
    """

    files: tuple[str, ...] = ()
    rows: int = 0
    columns: dict[str, str] = Field(default_factory=dict, alias="schema")
    schema_hash: str = ""
    new_columns: tuple[str, ...] = ()
    json_columns: tuple[str, ...] = ()
    repeated_rows: int = 0
    cursor: str | None = None
    reach: str | None = None


class Pending(_Record):
    """An extracted load that waits for its audit. ``base_sequence``: the last manifest that it knew."""

    load_id: str
    source: str
    as_of: datetime
    run_id: str
    extracted_at: datetime
    base_sequence: int
    entities: dict[str, EntityLoad]


class Rejected(Pending):
    """A load that its audit kept out; its files stay until the next load of the source is rejected."""

    audit: Verdict
    rejected_at: datetime


class Manifest(_Record):
    """A load that counts."""

    load_id: str
    load_sequence: int
    source: str
    as_of: datetime
    committed_at: datetime
    run_id: str
    entities: dict[str, EntityLoad]
    audit: Verdict

    @property
    def rows(self) -> int:
        """Rows of all entities."""
        return sum(entity.rows for entity in self.entities.values())


_Kind = TypeVar("_Kind", bound=_Record)


def manifests(landing: str, known_through: int | None = None, source: str | None = None) -> list[Manifest]:
    """Accepted loads in the order of their sequence, up to ``known_through`` (inclusive), of one source or of all."""
    found = (_manifest(landing, number) for number in _sequences(landing, known_through))
    return [manifest for manifest in found if source in (None, manifest.source)]


def last_manifest(landing: str, source: str, known_through: int | None = None) -> Manifest | None:
    """The newest accepted load of a source; None before the first."""
    return next(newest_first(landing, source, known_through), None)


def newest_first(landing: str, source: str, known_through: int | None = None) -> Iterator[Manifest]:
    """The accepted loads of a source, the newest first, each read only when it is asked for."""
    for number in reversed(_sequences(landing, known_through)):
        if (manifest := _manifest(landing, number)).source == source:
            yield manifest


def pending(landing: str, source: str | None = None) -> list[Pending]:
    """The loads that wait for a verdict."""
    folder = storage.join(landing, "_pending")
    loads = [_read(Pending, storage.join(folder, name)) for name in storage.names(folder) if name.endswith(".json")]
    return [load for load in loads if load is not None and source in (None, load.source)]


def load(landing: str, load_id: str) -> Pending | Rejected | Manifest:
    """A load in whatever state it is. Raises ``LookupError`` where there is none of this id."""
    found = _waiting(landing, load_id) or _rejected(landing, load_id) or _committed(landing, load_id)
    if found is None:
        raise LookupError(
            f"{landing}: load {load_id}: expected it pending, accepted or rejected, found none of them: a newer "
            f"extraction of its source has replaced it; next step: run the source's ingest DAG again"
        )
    return found


def commit(landing: str, load_id: str, verdict: Verdict | Mapping[str, Any]) -> Manifest:
    """Make a pending load exist under the next load sequence, and return its manifest.

    Committing the same load again returns the first manifest. Raises ``ValueError`` for a failed verdict,
    ``LookupError`` for a load that is not there (any more), and ``LoadSuperseded`` where another load of the
    source was accepted since this one was extracted: both hold the rows after the same cursor.
    """
    audit = _verdict(verdict)
    if audit.verdict == "failed":
        raise ValueError(f"load {load_id}: expected a verdict of passed or warned, found failed; next step: reject it")
    waiting = _waiting(landing, load_id)
    if waiting is None:
        return _accepted(landing, load_id)
    with locks.hold(landing, waiting.source, "commit"):
        waiting = _waiting(landing, load_id)
        if waiting is None:
            return _accepted(landing, load_id)
        manifest = _create_manifest(landing, waiting, audit)
        storage.delete(_uri(landing, "_pending", load_id))
    rows = {name: entity.rows for name, entity in manifest.entities.items()}
    log.info("%s: load %s accepted as %d: %s", manifest.source, load_id, manifest.load_sequence, rows)
    return manifest


def reject(landing: str, load_id: str, verdict: Verdict | Mapping[str, Any]) -> Rejected:
    """Keep a pending load out, with the verdict; the cursor stays where it was.

    Rejecting the same load again returns the first record. The files of the source's earlier rejected loads go:
    they hold rows that this load holds as well. Raises ``ValueError`` for a load that was accepted.
    """
    found = load(landing, load_id)
    with locks.hold(landing, found.source, "commit"):
        found = load(landing, load_id)
        if type(found) is Pending:
            found = Rejected(**found.model_dump(), audit=_verdict(verdict), rejected_at=datetime.now(UTC))
            storage.write_json(_uri(landing, "_rejected", load_id), found.to_json())
        elif not isinstance(found, Rejected):
            raise ValueError(
                f"load {load_id}: expected a pending load, found it accepted as {found.load_sequence}; next step: "
                f"none, an accepted load stays"
            )
        storage.delete(_uri(landing, "_pending", load_id))
        for name in storage.names(storage.join(landing, "_rejected")):
            older = _rejected(landing, name.removesuffix(".json"))
            if older and older.source == found.source and older.rejected_at < found.rejected_at:
                delete_files(landing, older)
    log.warning("%s: load %s rejected: %s", found.source, load_id, found.audit.to_json())
    return found


def batches(landing: str, load_id: str, entity: str, rows: int = 50_000) -> "Iterator[pd.DataFrame]":
    """The landed rows of a load in any state, at most ``rows`` at a time, files in their order.

    Raises ``LookupError`` for an unknown load or entity.
    """
    import pyarrow.parquet as pq

    found = load(landing, load_id)
    if entity not in found.entities:
        raise LookupError(f"load {load_id}: expected one of {sorted(found.entities)}, found {entity!r}")
    for name in found.entities[entity].files:
        system, path = storage.filesystem(storage.join(landing, name))
        with system.open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=rows):
                yield batch.to_pandas()


def entities() -> list[tuple[str, str]]:
    """(source, entity) of everything declared, enabled or not."""
    return [
        (name, entity) for name, source in load_sources(include_disabled=True).items() for entity in source.entities
    ]


def declared_schemas() -> "dict[tuple[str, str], pa.Schema]":
    """The landed columns of each (source, entity): what an absent source is typed by."""
    return {
        (name, entity.name): entity.landed_schema
        for name, source in load_sources(include_disabled=True).items()
        for entity in source.declared()
    }


def last_sequence(landing: str) -> int:
    """The newest load sequence of all sources; 0 before the first load."""
    return max(_sequences(landing), default=0)


def write_pending(landing: str, waiting: Pending) -> None:
    """Hand a load to its audit; its files must be in place."""
    storage.write_json(_uri(landing, "_pending", waiting.load_id), waiting.to_json())


def is_known(landing: str, load_id: str, since_sequence: int = 0) -> bool:
    """Whether a load is pending, rejected or accepted after ``since_sequence``."""
    waiting = storage.exists(_uri(landing, "_pending", load_id)) or storage.exists(_uri(landing, "_rejected", load_id))
    return waiting or _committed(landing, load_id, since_sequence) is not None


def discard(landing: str, waiting: Pending) -> None:
    """Forget a pending load whose run never gave a verdict."""
    storage.delete(_uri(landing, "_pending", waiting.load_id))
    delete_files(landing, waiting)


def delete_files(landing: str, found: Pending) -> None:
    """Remove the files of a load that does not count."""
    for entity in found.entities.values():
        for name in entity.files:
            storage.delete(storage.join(landing, name))


def _create_manifest(landing: str, waiting: Pending, audit: Verdict) -> Manifest:
    """Compare and swap: the next number is taken by one writer, and what came in between is looked at first."""
    looked_at = waiting.base_sequence
    while True:
        for number in _sequences(landing):
            if number <= looked_at:
                continue
            other = _manifest(landing, number)
            if other.load_id == waiting.load_id:
                return other
            if other.source == waiting.source:
                raise LoadSuperseded(
                    f"{waiting.source}: load {waiting.load_id}: expected to follow load sequence "
                    f"{waiting.base_sequence}, found that {number} was accepted since; next step: run "
                    f"ingest_{waiting.source} again"
                )
            looked_at = number
        manifest = Manifest(
            load_id=waiting.load_id,
            load_sequence=looked_at + 1,
            source=waiting.source,
            as_of=waiting.as_of,
            committed_at=datetime.now(UTC),
            run_id=waiting.run_id,
            entities=waiting.entities,
            audit=audit,
        )
        if storage.create_json(_manifest_uri(landing, manifest.load_sequence), manifest.to_json()):
            return manifest


def _accepted(landing: str, load_id: str) -> Manifest:
    found = load(landing, load_id)
    if isinstance(found, Manifest):
        return found
    raise LookupError(
        f"load {load_id}: expected a pending load, found it rejected; next step: look at its audit, then run "
        f"ingest_{found.source} again"
    )


def _committed(landing: str, load_id: str, since_sequence: int = 0) -> Manifest | None:
    for number in reversed(_sequences(landing)):
        if number <= since_sequence:
            break
        if (manifest := _manifest(landing, number)).load_id == load_id:
            return manifest
    return None


def _waiting(landing: str, load_id: str) -> Pending | None:
    return _read(Pending, _uri(landing, "_pending", load_id))


def _rejected(landing: str, load_id: str) -> Rejected | None:
    return _read(Rejected, _uri(landing, "_rejected", load_id))


def _read(kind: type[_Kind], uri: str) -> _Kind | None:
    try:
        return kind.model_validate(storage.read_json(uri))
    except FileNotFoundError:
        return None


def _manifest(landing: str, number: int) -> Manifest:
    return Manifest.model_validate(storage.read_json(_manifest_uri(landing, number)))


def _sequences(landing: str, known_through: int | None = None) -> list[int]:
    found = (_MANIFEST.match(name) for name in storage.names(storage.join(landing, "_manifests")))
    numbers = sorted(int(match[1]) for match in found if match)
    return [number for number in numbers if known_through is None or number <= known_through]


def _manifest_uri(landing: str, number: int) -> str:
    return storage.join(landing, "_manifests", f"{number:010d}.json")


def _uri(landing: str, folder: str, load_id: str) -> str:
    return storage.join(landing, folder, f"{load_id}.json")


def _verdict(verdict: Verdict | Mapping[str, Any]) -> Verdict:
    return verdict if isinstance(verdict, Verdict) else Verdict.model_validate(dict(verdict))
