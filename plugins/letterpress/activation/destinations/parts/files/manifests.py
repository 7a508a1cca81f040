"""The files of a drop and their manifests: what there is, in which order it was written, and taking people out of it.

A manifest's name holds the order and the request: ``0000000042-upsert-<digest>.json``. One listing tells the next
number and whether a request was carried out, without reading any of them. Two processes that write at the same
instant may share a number; the ledger's claims see to it that they then write about different people.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from letterpress.activation.destinations.parts.files.folders import NAME, PART, Folder
from letterpress.activation.destinations.parts.files.tables import Format, parse, render, without
from letterpress.activation.destinations.spec import DestinationError, Operation

SUBFOLDER = "manifests"
_NAME = re.compile(r"(\d{10})-(\w+-[0-9a-f]{32})\.json")


@dataclass(frozen=True)
class Manifest:
    """What one file asks for and holds. ``format`` is how it was written; ``list`` is that of join and leave."""

    sequence: int
    file: str
    operation: str
    list: str | None
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    format: dict[str, Any]


class Files:
    """The files under one folder, by their manifests."""

    def __init__(self, folder: Folder, path: str):
        self._folder, self._path = folder, path

    def is_written(self, stem: str) -> bool:
        """Whether a request's file and manifest are there."""
        return any(found == stem for _, found in self._listed())

    def write(
        self,
        stem: str,
        form: Format,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | None]],
        *,
        operation: Operation,
        list_id: str | None,
    ) -> Manifest:
        """The file, then its manifest: from then on it exists. The same one again replaces what a kill left."""
        content = render(form, columns, rows)
        name = stem + form.suffix
        self._folder.write(f"{self._path}/{name}", content)
        manifest = Manifest(
            sequence=max((number for number, _ in self._listed()), default=0) + 1,
            file=name,
            operation=operation.value,
            list=list_id,
            columns=tuple(columns),
            rows=len(rows),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            format=form.model_dump(include=set(Format.model_fields)),
        )
        self._store(manifest)
        return manifest

    def manifests(self, *operations: Operation) -> Iterator[Manifest]:
        """The manifests in the order of their files; of these operations, or all."""
        for number, stem in self._listed():
            if operations and stem.split("-")[0] not in operations:
                continue
            place = f"{self._path}/{SUBFOLDER}/{number:010d}-{stem}.json"
            content = self._folder.read(place)
            try:
                found = orjson.loads(content or b"")
                yield Manifest(**{**found, "columns": tuple(found["columns"])})
            except (TypeError, KeyError, orjson.JSONDecodeError):
                raise DestinationError(
                    f"{NAME}: {place}: expected a manifest as this version writes it, found something else; put back "
                    "the one that was written"
                ) from None

    def rows(self, manifest: Manifest) -> Iterator[dict[str, str | None]] | None:
        """A file's rows by the names of its columns; none where the receiving side has taken it away."""
        content = self._folder.read(f"{self._path}/{manifest.file}")
        if content is None:
            return None
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise self._changed(manifest, "expected the content that was written, found another")
        return self._parsed(manifest, content)

    def former(self, ids: Collection[str]) -> set[str]:
        """These ids, and the ones that were moved to them."""
        moved: list[dict[str, str | None]] = []
        for manifest in self.manifests(Operation.MOVE):
            content = self._folder.read(f"{self._path}/{manifest.file}")
            moved.extend(self._parsed(manifest, content) if content is not None else ())
        found = set(ids)
        for row in reversed(moved):
            if row["moves_to"] in found:
                found.add(row["external_id"] or "")
        return found

    def forget(self, ids: Collection[str]) -> None:
        """Take people out of every file that still holds them, except the requests to erase them.

        A manifest is written before its file: a kill in between leaves a file that still holds them, and the next
        call finds it. Moves come last, because they tell the former ids. What a kill left half-written goes too.
        """
        former = self.former(ids)

        def is_gone(row: Mapping[str, str]) -> bool:
            return row["external_id"] in former or row.get("moves_to") in former

        others = (one for one in Operation if one not in (Operation.ERASE, Operation.MOVE))
        for manifest in (*self.manifests(*others), *self.manifests(Operation.MOVE)):
            place = f"{self._path}/{manifest.file}"
            content = self._folder.read(place)
            if content is None:
                continue
            form = Format.model_validate(manifest.format)
            try:
                content, rows, gone = without(form, content, is_gone)
            except ValueError as error:
                raise self._changed(manifest, str(error)) from None
            if gone:
                digest = hashlib.sha256(content).hexdigest()
                self._store(replace(manifest, rows=rows, bytes=len(content), sha256=digest))
                self._folder.write(place, content)
        for name in self._folder.names(self._path):
            if name.endswith(PART):
                self._folder.delete(f"{self._path}/{name}")

    def _parsed(self, manifest: Manifest, content: bytes) -> Iterator[dict[str, str | None]]:
        try:
            header, rows = parse(Format.model_validate(manifest.format), content)
            yield from (dict(zip(header, row, strict=True)) for row in rows)
        except ValueError as error:
            raise self._changed(manifest, str(error)) from None

    def _changed(self, manifest: Manifest, why: str) -> DestinationError:
        return DestinationError(
            f"{NAME}: {self._path}/{manifest.file}: {why}; files of a drop never change: put back the one with the "
            f"SHA-256 {manifest.sha256[:12]}…, or remove it"
        )

    def _store(self, manifest: Manifest) -> None:
        stem = manifest.file.split(".")[0]
        content = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        self._folder.write(f"{self._path}/{SUBFOLDER}/{manifest.sequence:010d}-{stem}.json", content)

    def _listed(self) -> list[tuple[int, str]]:
        names = self._folder.names(f"{self._path}/{SUBFOLDER}")
        return [(int(found[1]), found[2]) for found in map(_NAME.fullmatch, names) if found]
