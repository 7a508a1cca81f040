"""Apply the serving version of a model to every customer, and leave the scores as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ml import config, files
from ml.errors import ModelError, NoChampion
from ml.frames import deciles, read_frames, utc

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = (
    "model_name",
    "model_version",
    "as_of",
    "customer_id",
    "score",
    "decile",
    "tier",
    "scored_at",
    "run_id",
)
"""The columns of ``scores.parquet``, in order; the last two are metadata, outside of every comparison."""

__all__ = ["COLUMNS", "NoChampion", "ScoringResult", "score"]


@dataclass(frozen=True)
class ScoringResult:
    """What was scored, and whether a file changed; ``uri`` is the Parquet file."""

    model_name: str
    model_version: str
    rows: int
    changed: bool
    uri: str


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
    audit: Callable[[pd.DataFrame], object] | None = None,
) -> ScoringResult:
    """Score with the version that serves, as of ``as_of``.

    Writes ``<scores>/<model>/<version>/<as_of>/scores.parquet`` and then ``scores.json``: the scores are there
    once it is, with the hash of their file in it. A repeated run finds both and leaves them untouched.
    ``audit`` gets the frame of new scores before it is written; what it raises leaves the files as they are.
    Raises :class:`NoChampion` where no version serves.
    """
    from ml import registry as versions

    as_of = utc(as_of)
    model = config.configured(name, configuration or config.DEFAULT)
    serving = versions.champion(name, registry_url)
    if serving is None:
        raise NoChampion(f"{name}: no version serves; train the model, or see why its gate refused it")
    version = serving.model_version
    fitted = model.spec.load(versions.read(registry, version))
    result = model.spec.score(fitted, read_frames(features, model.features, as_of), as_of)
    table = _table(name, version, as_of, result, utc(scored_at), run_id)
    content_hash = _content_hash(table)
    instant = as_of.strftime("%Y%m%dT%H%M%SZ")
    folder = files.join(scores, name, version, instant)
    uri = files.join(folder, "scores.parquet")
    about = {
        "model_name": name,
        "model_version": version,
        "as_of": as_of.isoformat(),
        "features_version": features_version,
        "rows": table.num_rows,
        "content_hash": content_hash,
    }
    changed = not _is_written(folder, content_hash)
    if changed:
        if audit is not None:
            audit(table.to_pandas())
        content = _parquet(table)
        files.write_bytes(uri, content)
        about["file_sha256"] = files.sha256(content)
        files.write_bytes(files.join(folder, "scores.json"), files.json_bytes(about))
    return ScoringResult(name, version, table.num_rows, changed, uri)


def _table(
    name: str, version: str, as_of: datetime, result: pd.DataFrame, scored_at: datetime, run_id: str
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    result = result.sort_values("customer_id", kind="stable").reset_index(drop=True)
    if not np.isfinite(result["score"].to_numpy(dtype=float)).all() or result["tier"].isna().any():
        broken = int((~np.isfinite(result["score"].to_numpy(dtype=float)) | result["tier"].isna()).sum())
        raise ModelError(f"{name} {version}: {broken} customers got no finite score or no tier; roll back")
    rows = len(result)
    instant = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "model_name": pa.array([name] * rows, pa.string()),
            "model_version": pa.array([version] * rows, pa.string()),
            "as_of": pa.array([as_of] * rows, instant),
            "customer_id": pa.array(result["customer_id"].to_numpy(dtype=object), pa.string()),
            "score": pa.array(result["score"].to_numpy(dtype=float), pa.float64()),
            "decile": pa.array(deciles(result["customer_id"], result["score"]), pa.int32()),
            "tier": pa.array(result["tier"].to_numpy(dtype=object), pa.string()),
            "scored_at": pa.array([scored_at] * rows, instant),
            "run_id": pa.array([run_id] * rows, pa.string()),
        }
    )


def _content_hash(table: pa.Table) -> str:
    """The SHA-256 over the rows without the metadata columns."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    content = table.drop_columns(["scored_at", "run_id"]).combine_chunks()
    with pa.ipc.new_stream(sink, content.schema) as stream:
        stream.write_table(content)
    return files.sha256(sink.getvalue().to_pybytes())


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _is_written(folder: str, content_hash: str) -> bool:
    """Whether the folder holds these very scores, whole: a kill may have left the file without its record."""
    about = _read(files.join(folder, "scores.json"))
    if not isinstance(about, dict) or about.get("content_hash") != content_hash:
        return False
    try:
        return files.sha256(files.read_bytes(files.join(folder, "scores.parquet"))) == about.get("file_sha256")
    except FileNotFoundError:
        return False


def _read(uri: str) -> object:
    try:
        return files.read_json(uri)
    except (FileNotFoundError, ValueError):
        return None
