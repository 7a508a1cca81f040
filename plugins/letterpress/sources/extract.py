"""Extract one source: pages → typed Arrow → dlt → new rows only → landing, and a pending load for the audit.

Nothing counts before ``landing.commit``. A killed extraction leaves a marker under ``_work``; the next extraction of
the source removes what it had moved in.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from letterpress import storage
from letterpress.sources import landing as book
from letterpress.sources import locks
from letterpress.sources.config import Connection, Source, load_sources

if TYPE_CHECKING:
    import pyarrow as pa

    from letterpress.sources.contract import Contract
    from letterpress.sources.entities import Entity

log = logging.getLogger(__name__)

_PAGES_BETWEEN_LOGS = 25


def extract(
    source: str | Source,
    *,
    landing: str,
    connections: Mapping[str, Connection],
    as_of: datetime,
    run_id: str,
) -> str | None:
    """Read what is new of a source, and return the id of the pending load; None where nothing is new.

    ``connections`` is by the name that ``sources.yml`` gives. ``as_of`` bounds the cursor, not the rows: whatever
    the source knows lands, and what lies after ``as_of`` is read again next time. A run that asks again before its
    load has a verdict gets the same load. Raises a ``SourceError``, and then nothing has landed.
    """
    block = load_sources(include_disabled=True)[source] if isinstance(source, str) else source
    if block.connection not in connections:
        raise KeyError(f"{block.name}: expected the connection {block.connection!r}, found {sorted(connections)}")
    if as_of.tzinfo is None:
        raise ValueError(f"{block.name}: expected as_of with its zone, found {as_of}; next step: pass it in UTC")
    with locks.hold(landing, block.name, "extraction"):
        if (waiting := _resumed(landing, block.name, run_id)) is not None:
            log.info("%s: load %s of this run waits for its verdict", block.name, waiting.load_id)
            return waiting.load_id
        _clear(landing, block.name)
        load_id = f"{block.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        return _Extraction(block, landing, connections[block.connection], as_of, run_id, load_id).run()


class _Extraction:
    """One run over one source, under its lock."""

    def __init__(
        self, source: Source, landing: str, connection: Connection, as_of: datetime, run_id: str, load_id: str
    ) -> None:
        self.source, self.landing, self.connection = source, landing, connection
        self.as_of, self.run_id, self.load_id = as_of, run_id, load_id
        self.base_sequence = book.last_sequence(landing)
        last = book.last_manifest(landing, source.name, self.base_sequence)
        self.last: Mapping[str, book.EntityLoad] = last.entities if last else {}
        self.cursors: dict[str, str] = {}
        self.marker = storage.join(landing, "_work", source.name, f"{load_id}.json")

    def run(self) -> str | None:
        from letterpress.sources.contract import Contract
        from letterpress.sources.spool import spool

        entities = self.source.declared()
        contracts = {
            entity.name: Contract(self.source.name, entity, before.columns, before.json_columns)
            for entity in entities
            for before in [self.last.get(entity.name, book.EntityLoad())]
        }
        storage.write_json(self.marker, {"load_id": self.load_id, "entities": [entity.name for entity in entities]})
        work = _work_folder(self.landing, self.source.name, self.load_id)
        kept = False
        try:
            spooled = spool(
                self.source.name,
                {entity.name: self._reader(entity, contracts[entity.name]) for entity in entities},
                work / "spool",
            )
            loads = {
                entity.name: self._settle(entity, contracts[entity.name], spooled[entity.name], work)
                for entity in entities
            }
            if any(entity.rows for entity in loads.values()):
                self._hand_over(loads)
                kept = True
        finally:
            shutil.rmtree(work, ignore_errors=True)
            if not kept:
                _remove_files(self.landing, self.source.name, self.load_id, [entity.name for entity in entities])
            storage.delete(self.marker)
        rows = {name: entity.rows for name, entity in loads.items()}
        repeated = sum(entity.repeated_rows for entity in loads.values())
        log.info("%s: %s new, %d seen before", self.source.name, rows if kept else "nothing", repeated)
        return self.load_id if kept else None

    def _reader(self, entity: "Entity", contract: "Contract") -> "Any":
        reader = self.source.load_reader()
        since = self._since(entity)
        name = f"{self.source.name}.{entity.name}"

        def tables() -> "Iterator[pa.Table]":
            number = 0
            pages = reader.pages(self.source, entity, since=since, connection=self.connection)
            for number, page in enumerate(pages, start=1):
                table = contract.apply(page)
                if page.cursor is not None:
                    self.cursors[entity.name] = page.cursor
                if number % _PAGES_BETWEEN_LOGS == 0:
                    log.info("%s: %d pages, %d rows so far", name, number, contract.rows)
                if table.num_rows:
                    yield table
            log.info("%s: %d pages, %d rows", name, number, contract.rows)

        return tables

    def _since(self, entity: "Entity") -> str | None:
        before = self.last.get(entity.name)
        if before is None or before.cursor is None or entity.cursor is None:
            return before.cursor if before else None
        return _iso(datetime.fromisoformat(before.cursor) - self.source.overlap)

    def _settle(self, entity: "Entity", contract: "Contract", files: list[Path], work: Path) -> book.EntityLoad:
        from letterpress.sources.settle import Settling

        before = self.last.get(entity.name, book.EntityLoad())
        if not files:
            return self._load(contract, before, cursor=self.cursors.get(entity.name, before.cursor))
        with Settling(files, landing=self.landing, cursor=entity.cursor, scratch=work / "scratch") as settling:
            spooled = settling.look()
            landed = self._landed_since(entity, _iso(spooled.oldest) if spooled.oldest else None)
            settled = settling.write(landed, contract.schema, work / "new" / entity.name / self.load_id)
        names = []
        for file in settled.files:
            names.append(storage.join(self.source.name, entity.name, file.name))
            _move(file, storage.join(self.landing, names[-1]))
        if entity.cursor is None:
            cursor, reach = self.cursors.get(entity.name, before.cursor), None
        else:
            cursor = _later(before.cursor, min(spooled.newest, self.as_of))
            reach = _later(before.reach, settled.newest)
        return self._load(
            contract,
            before,
            files=tuple(names),
            rows=settled.rows,
            repeated_rows=spooled.rows - settled.rows,
            cursor=cursor,
            reach=reach,
        )

    def _load(self, contract: "Contract", before: book.EntityLoad, **values: Any) -> book.EntityLoad:
        columns = contract.recorded
        return book.EntityLoad(
            columns=columns,
            schema_hash=hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest(),
            new_columns=tuple(contract.new_columns),
            json_columns=tuple(contract.json_columns),
            **({"reach": before.reach} | values),
        )

    def _landed_since(self, entity: "Entity", oldest: str | None) -> list[str]:
        """Files that may hold rows from ``oldest`` on. No load before one whose reach is older can hold any."""
        files: list[str] = []
        for manifest in book.newest_first(self.landing, self.source.name, self.base_sequence):
            brought = manifest.entities.get(entity.name)
            if brought is None:
                continue
            if oldest and brought.reach and datetime.fromisoformat(brought.reach) < datetime.fromisoformat(oldest):
                break
            files.extend(storage.join(self.landing, name) for name in brought.files)
        return files

    def _hand_over(self, loads: dict[str, book.EntityLoad]) -> None:
        book.write_pending(
            self.landing,
            book.Pending(
                load_id=self.load_id,
                source=self.source.name,
                as_of=self.as_of,
                run_id=self.run_id,
                extracted_at=datetime.now(UTC),
                base_sequence=self.base_sequence,
                entities=loads,
            ),
        )


def _resumed(landing: str, source: str, run_id: str) -> book.Pending | None:
    """The pending load that this very run has extracted, unless another load of the source came in since."""
    last = book.last_manifest(landing, source)
    for waiting in book.pending(landing, source):
        if waiting.run_id == run_id and (last is None or last.load_sequence <= waiting.base_sequence):
            return waiting
    return None


def _clear(landing: str, source: str) -> None:
    """Remove what earlier runs left: loads without a verdict, and the files of killed extractions."""
    with locks.hold(landing, source, "commit"):
        for waiting in book.pending(landing, source):
            if any(manifest.load_id == waiting.load_id for manifest in _after(landing, source, waiting)):
                storage.delete(storage.join(landing, "_pending", f"{waiting.load_id}.json"))
                continue
            log.warning("%s: load %s never had a verdict; extracted anew", source, waiting.load_id)
            storage.write_json(
                storage.join(landing, "_work", source, f"{waiting.load_id}.json"),
                {"load_id": waiting.load_id, "entities": sorted(waiting.entities)},
            )
            book.discard(landing, waiting)
        folder = storage.join(landing, "_work", source)
        for name in storage.names(folder):
            if not name.endswith(".json"):
                continue
            left = storage.read_json(storage.join(folder, name))
            if not book.is_known(landing, left["load_id"]):
                _remove_files(landing, source, left["load_id"], left["entities"])
            storage.delete(storage.join(folder, left["load_id"]))
            storage.delete(storage.join(folder, name))


def _after(landing: str, source: str, waiting: book.Pending) -> Iterator[book.Manifest]:
    for manifest in book.newest_first(landing, source):
        if manifest.load_sequence <= waiting.base_sequence:
            return
        yield manifest


def _remove_files(landing: str, source: str, load_id: str, entities: list[str]) -> None:
    for entity in entities:
        folder = storage.join(landing, source, entity)
        for name in storage.names(folder):
            if name.startswith(f"{load_id}-"):
                storage.delete(storage.join(folder, name))


def _work_folder(landing: str, source: str, load_id: str) -> Path:
    """A scratch folder beside the files, so that moving them in is a rename; elsewhere for an object store."""
    system, path = storage.filesystem(landing)
    if not isinstance(system, LocalFileSystem):
        return Path(tempfile.mkdtemp(prefix=f"{load_id}-"))
    folder = Path(path) / "_work" / source / load_id
    folder.mkdir(parents=True)
    return folder


def _move(file: Path, uri: str) -> None:
    """Put a finished file in its place, on the disk and not only in its cache."""
    system, path = storage.filesystem(uri)
    system.makedirs(os.path.dirname(path), exist_ok=True)
    if not isinstance(system, LocalFileSystem):
        system.put_file(str(file), path)
        return
    with file.open("rb") as content:
        os.fsync(content.fileno())
    os.replace(file, path)


def _later(before: str | None, now: datetime | None) -> str | None:
    if now is None or (before is not None and datetime.fromisoformat(before) >= now):
        return before
    return _iso(now)


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
