"""Apply the serving version of a model to every customer, batch by batch, and leave the scores as Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ml import config, files
from ml.errors import ModelError, NoChampion
from ml.frames import NAMING, customer_ranges, deciles, read_frames, tiers, utc
from ml.spec import ANONYMOUS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ml.config import ConfiguredModel

COLUMNS = (
    "model_name",
    "model_version",
    "as_of",
    "customer_id",
    "score",
    "decile",
    "tier",
    "reasons",
    "details",
    "scored_at",
    "run_id",
)
"""The columns of ``scores.parquet``, in order; the last two are metadata, outside of every comparison."""

ITEM_COLUMNS = ("model_name", "model_version", "as_of", "customer_id", "rank", "item_id", "score", "reason")
"""The columns of ``items.parquet``, for models that rank things for a customer."""

BATCH = 100_000
"""Customers at a time."""

PIECE = 200_000
"""Rows of a row group, and of what is hashed at a time."""

_OWN = ("customer_id", "score", "tier", "reasons")

__all__ = ["COLUMNS", "ITEM_COLUMNS", "NoChampion", "ScoringResult", "score"]


@dataclass(frozen=True)
class ScoringResult:
    """What was scored, and whether a file changed; ``uri`` is the Parquet file.

    ``damaged`` says what is wrong with versions promoted later, whose files could not be used.
    """

    model_name: str
    model_version: str
    rows: int
    changed: bool
    uri: str
    items: int = 0
    damaged: list[str] = field(default_factory=list)


def score(
    name: str,
    *,
    features: str,
    as_of: datetime,
    registry: str,
    registry_url: str,
    scores: str,
    features_version: str,
    run_id: str,
    scored_at: datetime,
    configuration: str | None = None,
    audit: Callable[[Iterable[pd.DataFrame]], object] | None = None,
    batch: int = BATCH,
) -> ScoringResult:
    """Score with the version that serves, as of ``as_of``.

    Writes ``<scores>/<model>/<version>/<as_of>/scores.parquet``, for models with ranked lists ``items.parquet``, and
    then ``scores.json``: the scores are there once it is, with the hashes of their files in it. A repeated run finds
    all and leaves them untouched. ``batch`` customers are held at a time; how many makes no difference to what is
    written. ``audit`` gets the new scores in batches before they are written; what it raises leaves the files as they
    are. Raises :class:`NoChampion` where no version serves.
    """
    from ml import registry as versions

    as_of = utc(as_of)
    alias, artefact, damaged = versions.serving(name, registry, registry_url)  # before the model's libraries load
    model = config.configured(name, configuration or config.DEFAULT)
    version = alias.model_version
    fitted = model.spec.load(artefact)
    folder = files.join(scores, name, version, as_of.strftime(NAMING))
    uri = files.join(folder, "scores.parquet")
    with tempfile.TemporaryDirectory(prefix="letterpress-scores-") as work:
        items = _Items(f"{work}/items.parquet", name, version, as_of)
        rows = _rows(model, fitted, features, as_of, batch, items)
        table = _table(model, fitted, version, as_of, rows, utc(scored_at), run_id)
        hashes = {"content_hash": _content_hash(table), "items_hash": items.close()}
        changed = not _is_written(folder, hashes)
        if changed:
            if audit is not None:
                audit(_batches(table))
            about = {
                "model_name": name,
                "model_version": version,
                "as_of": as_of.isoformat(),
                "features_version": features_version,
                "rows": table.num_rows,
                "items": items.rows,
                **hashes,
            }
            content = _parquet(table)
            files.write_bytes(uri, content)
            about["file_sha256"] = files.sha256(content)
            if items.rows:
                about["items_sha256"] = files.put(items.path, files.join(folder, "items.parquet"))
            files.write_bytes(files.join(folder, "scores.json"), files.json_bytes(about))
    return ScoringResult(name, version, table.num_rows, changed, uri, items.rows, damaged)


def _rows(
    model: ConfiguredModel, fitted: Any, features: str, as_of: datetime, batch: int, items: _Items
) -> dict[str, pa.ChunkedArray]:
    """What the model says of everybody: ids, scores, tiers where it gives them itself, reasons, details as JSON."""
    import pyarrow as pa

    parts = []
    for customers in customer_ranges(features, model.features, batch):
        said = model.spec.score(fitted, read_frames(features, model.features, as_of, customers), as_of)
        rows = said.rows.sort_values("customer_id", kind="stable").reset_index(drop=True)
        parts.append(_columns(rows))
        items.write(said.items)
    table = pa.concat_tables(parts)
    return {name: table[name] for name in table.column_names}


def _columns(rows: pd.DataFrame) -> pa.Table:
    """One batch as Arrow, what the model says besides as one JSON object for each customer."""
    import pyarrow as pa

    text, count = pa.string(), len(rows)
    columns = {
        "customer_id": pa.array(rows["customer_id"].to_numpy(dtype=object), text),
        "score": pa.array(rows["score"].to_numpy(dtype=float), pa.float64(), from_pandas=True),
        "tier": pa.nulls(count, text),
        "reasons": pa.nulls(count, text),
        "details": pa.nulls(count, text),
    }
    for name in ("tier", "reasons"):
        if name in rows:
            columns[name] = pa.array(rows[name].astype(object).to_numpy(), text, from_pandas=True)
    besides = [name for name in rows.columns if name not in _OWN]
    if besides and count:
        columns["details"] = _json(pa.Table.from_pandas(rows[besides], preserve_index=False))
    return pa.table(columns)


def _json(table: pa.Table) -> pa.Array:
    """Each row as a JSON object; instants as ISO text in UTC, what is not a number as null."""
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            instants = pc.strftime(pc.cast(table[column.name], pa.timestamp("s", column.type.tz)), "%Y-%m-%dT%H:%M:%SZ")
            table = table.set_column(index, column.name, instants)
        elif pa.types.is_floating(column.type):
            number = pc.if_else(pc.is_finite(table[column.name]), table[column.name], None)
            table = table.set_column(index, column.name, number)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("said", table)
        text = connection.sql("select to_json(said)::varchar as details from said").to_arrow_table()
    return text["details"].combine_chunks().cast(pa.string())


def _table(
    model: ConfiguredModel,
    fitted: Any,
    version: str,
    as_of: datetime,
    rows: dict[str, pa.ChunkedArray],
    scored_at: datetime,
    run_id: str,
) -> pa.Table:
    """The whole of the scores, with what takes everybody to say: deciles and tiers."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    name, count = model.name, len(rows["score"])
    customers = pd.Series(rows["customer_id"].to_numpy(zero_copy_only=False))
    values = pd.Series(rows["score"].to_numpy(zero_copy_only=False))
    if model.spec.tiers is not None:
        given = model.spec.tiers(fitted)
        rows["tier"] = pa.chunked_array([pa.array(tiers(customers, values, given.shares, given.rest), pa.string())])
    broken = int((~np.isfinite(values.to_numpy(dtype=float))).sum()) + rows["tier"].null_count
    if broken:
        raise ModelError(f"{name} {version}: {broken} customers got no finite score or no tier; roll back")
    if customers.duplicated().any():
        again = int(customers.duplicated().sum())
        raise ModelError(f"{name} {version}: expected one score per customer, found {again} repeated; roll back")
    instant = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "model_name": pa.repeat(pa.scalar(name), count),
            "model_version": pa.repeat(pa.scalar(version), count),
            "as_of": pa.repeat(pa.scalar(as_of, instant), count),
            "customer_id": rows["customer_id"],
            "score": rows["score"],
            "decile": pa.array(deciles(customers, values), pa.int32()),
            "tier": rows["tier"],
            "reasons": rows["reasons"],
            "details": rows["details"],
            "scored_at": pa.repeat(pa.scalar(scored_at, instant), count),
            "run_id": pa.repeat(pa.scalar(run_id), count),
        }
    )


class _Items:
    """Ranked lists, written to a file of this machine as they come, and the hash of all rows."""

    def __init__(self, path: str, name: str, version: str, as_of: datetime) -> None:
        self.path, self.rows = path, 0
        self._about = {"model_name": name, "model_version": version, "as_of": as_of}
        self._waiting: list[pa.Table] = []
        self._writer, self._hash = None, None

    def write(self, items: pd.DataFrame | None) -> None:
        """One batch, sorted by customer and rank. What is said of nobody in particular is taken from the first."""
        if items is None or items.empty:
            return
        if self.rows:
            items = items[items["customer_id"] != ANONYMOUS]
        table = self._arrow(items.sort_values(["customer_id", "rank"], kind="stable"))
        self.rows += table.num_rows
        self._waiting.append(table)
        self._flush(PIECE)

    def close(self) -> str | None:
        """The hash; None where there are no rows."""
        self._flush(1)
        if self._writer is None:
            return None
        self._writer.close()
        return self._hash.hexdigest()

    def _flush(self, least: int) -> None:
        """Write pieces of one size, wherever the batches ended: so they leave no trace in file and hash."""
        import hashlib

        import pyarrow as pa
        import pyarrow.parquet as pq

        if sum(table.num_rows for table in self._waiting) < least:
            return
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            self._writer, self._hash = pq.ParquetWriter(self.path, table.schema, compression="zstd"), hashlib.sha256()
        start = 0
        while table.num_rows - start >= least:
            piece = table.slice(start, PIECE).combine_chunks()
            self._writer.write_table(piece)
            _hash_into(self._hash, piece)
            start += piece.num_rows
        self._waiting = [table.slice(start)]

    def _arrow(self, items: pd.DataFrame) -> pa.Table:
        import pyarrow as pa

        count, text = len(items), pa.string()
        instant = pa.scalar(self._about["as_of"], pa.timestamp("us", tz="UTC"))
        return pa.table(
            {
                "model_name": pa.repeat(pa.scalar(self._about["model_name"]), count),
                "model_version": pa.repeat(pa.scalar(self._about["model_version"]), count),
                "as_of": pa.repeat(instant, count),
                "customer_id": pa.array(items["customer_id"].to_numpy(dtype=object), text),
                "rank": pa.array(items["rank"].to_numpy(), pa.int32()),
                "item_id": pa.array(items["item_id"].to_numpy(dtype=object), text),
                "score": pa.array(items["score"].to_numpy(dtype=float), pa.float64()),
                "reason": pa.array(items["reason"].astype(object).to_numpy(), text, from_pandas=True),
            }
        )


def _batches(table: pa.Table, rows: int = 50_000) -> Iterator[pd.DataFrame]:
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows).to_pandas()


def _content_hash(table: pa.Table) -> str:
    """The SHA-256 over the rows without the metadata columns, however they are cut into chunks."""
    import hashlib

    digest = hashlib.sha256()
    content = table.drop_columns(["scored_at", "run_id"])
    for start in range(0, table.num_rows, PIECE):
        _hash_into(digest, content.slice(start, PIECE).combine_chunks())
    return digest.hexdigest()


def _hash_into(digest: Any, piece: pa.Table) -> None:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, piece.schema) as stream:
        stream.write_table(piece)
    digest.update(sink.getvalue())


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=PIECE)
    return sink.getvalue().to_pybytes()


def _is_written(folder: str, hashes: dict[str, str | None]) -> bool:
    """Whether the folder holds these very scores, whole: a kill may have left a file without its record."""
    about = _read(files.join(folder, "scores.json"))
    if not isinstance(about, dict) or any(about.get(name) != value for name, value in hashes.items()):
        return False
    try:
        return all(
            files.sha256(files.read_bytes(files.join(folder, file))) == about.get(name)
            for file, name in (("scores.parquet", "file_sha256"), ("items.parquet", "items_sha256"))
            if file == "scores.parquet" or about.get("items")
        )
    except FileNotFoundError:
        return False


def _read(uri: str) -> object:
    try:
        return files.read_json(uri)
    except (FileNotFoundError, ValueError):
        return None
