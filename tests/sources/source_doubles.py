"""A small HTTP API on loopback that pages, forgets, repeats and fails on demand, and landings to extract into."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from letterpress.sources import Connection, Source, landing, load_sources
from letterpress.sources.config import Retry
from letterpress.sources.extract import extract

START = datetime(2011, 6, 1, tzinfo=UTC)
AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
PASSED = {"verdict": "passed", "checks": 3, "warnings": 0}


def iso(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


@dataclass
class Fault:
    """One answer that is not the page: a status, a reset, or a body cut short."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    cut: bool = False


@dataclass
class Api:
    """Rows by path, served as the shop serves them."""

    url: str
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    pages: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    ignores_since: bool = False
    body: bytes | None = None

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path in self.pages:
            pages = self.pages[path]
        else:
            rows, by = self.tables.get(path, []), self.cursors.get(path, "updated_at")
            if "since" in query and not self.ignores_since:
                since = datetime.fromisoformat(query["since"])
                rows = [row for row in rows if datetime.fromisoformat(row[by]) >= since]
            size = int(query["page_size"])
            pages = [rows[at : at + size] for at in range(0, len(rows), size)]
        at = int(query.get("cursor", 0))
        following = str(at + 1) if at + 1 < len(pages) else None
        return {"data": pages[at] if pages else [], "next_cursor": following}


def source_named(name: str, **changes: Any) -> Source:
    """A source as it is configured, with quick retries."""
    block = load_sources(include_disabled=True)[name]
    return block.model_copy(update={"retry": Retry(attempts=4, backoff_seconds=0.01), **changes})


class Line:
    """Extract and commit into one landing, and look at what is there."""

    def __init__(self, root: str, url: str) -> None:
        self.landing = root
        self.connections = {
            block.connection: Connection(base_url=url, token="esp-key")
            for block in load_sources(include_disabled=True).values()
        }
        self.runs = 0

    def extract(
        self, source: str | Source = "web", *, as_of: datetime = AS_OF, run_id: str | None = None
    ) -> str | None:
        self.runs += 1
        block = source_named(source) if isinstance(source, str) else source
        return extract(
            block,
            landing=self.landing,
            connections=self.connections,
            as_of=as_of,
            run_id=run_id or f"run-{self.runs}",
        )

    def land(self, source: str | Source = "web", *, as_of: datetime = AS_OF) -> landing.Manifest | None:
        load_id = self.extract(source, as_of=as_of)
        return None if load_id is None else landing.commit(self.landing, load_id, PASSED)

    def rows(self, entity: str = "events") -> pd.DataFrame:
        """Every accepted row of an entity."""
        frames = [
            frame.assign(load_sequence=manifest.load_sequence)
            for manifest in landing.manifests(self.landing)
            if entity in manifest.entities
            for frame in landing.batches(self.landing, manifest.load_id, entity)
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def files(self) -> set[str]:
        """Row files that are there, whether they count or not."""
        root = Path(self.landing)
        return {str(file.relative_to(root)) for file in root.rglob("*.parquet")}


def event(number: int, *, hours: float | None = None, **changes: Any) -> dict[str, Any]:
    """One web event, received ``hours`` after the start (its number unless given)."""
    at = START + timedelta(hours=number if hours is None else hours)
    return {
        "messageId": f"m{number:05d}",
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": f"a{number % 7}",
        "userId": None,
        "timestamp": iso(at),
        "receivedAt": iso(at),
        "properties": {"product_id": f"P{number % 5:04d}", "price": 4.5},
        "context": {"locale": "en-GB"},
        **changes,
    }
