"""What a build is made from: one index of files that dbt reads, and the fingerprint that says whether it changed."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from letterpress import storage
from letterpress.settings import REPOSITORY, Settings
from letterpress.warehouse import history

DBT_PROJECT = REPOSITORY / "dbt_project"

INDEX_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("entity", pa.string()),
        ("uri", pa.string()),
        ("load_sequence", pa.int64()),
        ("loaded_at", pa.timestamp("us", "UTC")),
    ]
)

SCORES_SCHEMA = pa.schema(
    [
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("as_of", pa.timestamp("us", "UTC")),
        ("customer_id", pa.string()),
        ("score", pa.float64()),
        ("decile", pa.int64()),
        ("tier", pa.string()),
        ("reasons", pa.string()),
        ("details", pa.string()),
        ("scored_at", pa.timestamp("us", "UTC")),
        ("run_id", pa.string()),
    ]
)

ITEMS_SCHEMA = pa.schema(
    [
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("as_of", pa.timestamp("us", "UTC")),
        ("customer_id", pa.string()),
        ("rank", pa.int64()),
        ("item_id", pa.string()),
        ("score", pa.float64()),
        ("reason", pa.string()),
    ]
)

SCORED = {"scores": SCORES_SCHEMA, "items": ITEMS_SCHEMA}
"""What models write, by entity of the source ``scores``."""


@dataclass(frozen=True)
class Inputs:
    """One build's inputs; travels between tasks as plain JSON."""

    channel: str
    version: str
    fingerprint: str
    as_of: str
    known_through: int
    index: str
    features_version: str | None = None
    scores: tuple[str, ...] = ()

    def to_json(self) -> dict:
        """For XCom and manifests."""
        return asdict(self) | {"scores": list(self.scores)}

    @classmethod
    def from_json(cls, content: dict) -> "Inputs":
        """The inverse of ``to_json``."""
        return cls(**(content | {"scores": tuple(content["scores"])}))


def project_hash(project: Path = DBT_PROJECT) -> str:
    """Hash of all that dbt builds from: models, macros, seeds, tests and configuration."""
    digest = hashlib.sha256()
    for file in sorted(project.rglob("*")):
        relative = file.relative_to(project)
        if relative.parts[0] in ("target", "logs") or file.name.startswith("."):
            continue
        if file.is_file() and file.suffix in (".sql", ".yml", ".csv", ".md"):
            digest.update(str(relative).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def staged_entities(project: Path = DBT_PROJECT) -> list[str]:
    """The declared entities that have a staging model, as ``<source>.<entity>``: dbt's variable ``staged``."""
    from letterpress.sources import landing

    files = {file.stem for file in (project / "models" / "staging").glob("*/stg_*.sql")}
    return [
        f"{source}.{entity}"
        for source, entity in sorted(landing.declared_schemas())
        if f"stg_{source}__{entity}" in files
    ]


def seeds_hash(project: Path = DBT_PROJECT) -> str:
    """Hash of the seeds alone: what a marketer may have changed."""
    digest = hashlib.sha256()
    for file in sorted((project / "seeds").rglob("*.csv")):
        digest.update(str(file.relative_to(project)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def features_inputs(settings: Settings, *, as_of: datetime, known_through: int | None = None) -> Inputs:
    """Index every accepted load up to ``known_through`` (the newest unless given).

    Raises ``LookupError`` where nothing has landed yet.
    """
    from letterpress.sources import landing

    manifests = landing.manifests(settings.landing, known_through=known_through)
    if not manifests:
        raise LookupError(
            f"{settings.landing}: expected at least one accepted load, found none; next step: run an ingest_* DAG"
        )
    known = max(manifest.load_sequence for manifest in manifests)
    rows = [
        (
            manifest.source,
            name,
            storage.join(settings.landing, uri),
            manifest.load_sequence,
            manifest.committed_at,
        )
        for manifest in manifests
        for name, entity in manifest.entities.items()
        for uri in entity.files
    ]
    landed = [(uri.removeprefix(settings.landing), sequence) for _, _, uri, sequence, _ in rows]
    erased = [uri.removeprefix(settings.history) for uri in history.files(settings.history, "erasures")]
    fingerprint = _fingerprint(["features", _instant(as_of), landed, project_hash(), key_id(settings), erased])
    return Inputs(
        channel="features",
        version=f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{fingerprint[:12]}",
        fingerprint=fingerprint,
        as_of=_instant(as_of),
        known_through=known,
        index=_write_index(settings, fingerprint, rows),
    )


def activation_inputs(settings: Settings, *, features_version: str, champions: dict[str, str]) -> Inputs:
    """Index the scores that belong to a published features version: each champion's newest as of its instant.

    ``champions`` is model name → version. A model without a champion, or without scores yet, adds nothing.
    """
    manifest = storage.read_json(storage.join(settings.published, "features", features_version, "manifest.json"))
    as_of = datetime.fromisoformat(manifest["as_of"])
    stamp = f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    rows, scores = [], []
    for model, version in sorted(champions.items()):
        folder = storage.join(settings.scores, model, version)
        # scores.json is written last: a folder without it is what a kill left, and the next scoring mends it.
        known = [
            name
            for name in storage.names(folder)
            if name <= stamp and storage.exists(storage.join(folder, name, "scores.json"))
        ]
        if not known:
            continue
        summary = storage.read_json(storage.join(folder, known[-1], "scores.json"))
        rows.append(("scores", "scores", storage.join(folder, known[-1], "scores.parquet"), 0, as_of))
        if summary.get("items"):
            rows.append(("scores", "items", storage.join(folder, known[-1], "items.parquet"), 0, as_of))
        hashes = [summary[name] for name in ("content_hash", "items_hash") if summary.get(name)]
        scores.append("/".join([model, version, known[-1], *hashes]))
    fingerprint = _fingerprint(["activation", features_version, scores, project_hash()])
    return Inputs(
        channel="activation",
        version=f"{stamp}-{fingerprint[:12]}",
        fingerprint=fingerprint,
        as_of=manifest["as_of"],
        known_through=manifest["known_through"],
        index=_write_index(settings, fingerprint, rows),
        features_version=features_version,
        scores=tuple(scores),
    )


def _write_index(settings: Settings, fingerprint: str, rows: Iterable[tuple]) -> str:
    """Add history and, for each declared entity, a file without rows, so that an absent source still has types."""
    from letterpress.sources import landing

    index = list(rows)
    for name, schema in history.SCHEMAS.items():
        index.append(("history", name, _empty(settings, "history", name, schema), 0, None))
        index.extend(("history", name, uri, 0, None) for uri in history.files(settings.history, name))
    for (source, entity), schema in landing.declared_schemas().items():
        index.append((source, entity, _empty(settings, source, entity, schema), 0, None))
    for name, schema in SCORED.items():
        index.append(("scores", name, _empty(settings, "scores", name, schema), 0, None))
    index.sort(key=lambda row: (row[0], row[1], row[3], row[2]))
    columns = zip(*index, strict=True)
    table = pa.table([list(column) for column in columns], schema=INDEX_SCHEMA)
    uri = storage.join(settings.warehouse, "inputs", f"{fingerprint}.parquet")
    storage.write_parquet(uri, table)
    return uri


def _empty(settings: Settings, source: str, entity: str, schema: pa.Schema) -> str:
    content = hashlib.sha256(schema.to_string().encode()).hexdigest()[:12]
    uri = storage.join(settings.warehouse, "inputs", "declared", f"{source}.{entity}.{content}.parquet")
    if not storage.exists(uri):
        storage.write_parquet(uri, schema.empty_table())
    return uri


def _fingerprint(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def key_id(settings: Settings) -> str:
    """Other person ids follow from another key, so its hash belongs to the fingerprint (the key itself does not)."""
    key = storage.read_bytes(storage.join(settings.secrets, "identity_key"))
    return hashlib.sha256(b"letterpress-key-id\0" + key).hexdigest()[:16]
