"""Feature files in, cut at ``as_of``; deciles and tiers out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ml import files
from ml.errors import FeatureError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

SNAPSHOTS = {"customer_features": "as_of"}
"""Frames with one row per customer: the instant that the row was made for."""

EVENTS = {"customer_orders": "ordered_at"}
"""Frames with one row per event: the instant of the event."""

KEYS = {"customer_features": ["customer_id"], "customer_orders": ["customer_id", "ordered_at", "order_id"]}


def utc(as_of: datetime) -> datetime:
    """``as_of`` in UTC; a naive instant is refused."""
    if as_of.tzinfo is None:
        raise ValueError(f"as_of: expected an instant with its zone such as 2011-07-01T00:00:00Z, found {as_of}")
    return as_of.astimezone(UTC)


def read_frames(features: str, wanted: Mapping[str, tuple[str, ...]], as_of: datetime) -> dict[str, pd.DataFrame]:
    """The frames that a model reads, from ``<features>/<frame>.parquet``.

    Only the wanted columns and the frame's keys are read, rows come sorted by the keys, decimals as doubles
    and dates as timestamps. Events after ``as_of`` are cut off. Raises :class:`FeatureError` where a file or
    column is missing, where a customer stands twice in a snapshot, and where a snapshot was made for an
    instant after ``as_of``, since it would let a model see the future.
    """
    as_of = utc(as_of)
    frames = {}
    for frame, columns in wanted.items():
        uri = files.join(features, f"{frame}.parquet")
        time = SNAPSHOTS.get(frame) or EVENTS[frame]
        table = _read(uri, list(dict.fromkeys([*KEYS[frame], time, *columns])))
        table = _cut(uri, table, time, as_of, is_snapshot=frame in SNAPSHOTS)
        data = table.sort_by([(key, "ascending") for key in KEYS[frame]]).to_pandas()
        if frame in SNAPSHOTS and data["customer_id"].duplicated().any():
            repeated = int(data["customer_id"].duplicated().sum())
            raise FeatureError(f"{uri}: expected one row per customer, found {repeated} repeated; rebuild the features")
        frames[frame] = data
    return frames


def _read(uri: str, columns: list[str]) -> pa.Table:
    import fsspec
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with fsspec.open(uri, "rb") as file:
            source = pq.ParquetFile(file)
            missing = [column for column in columns if column not in source.schema_arrow.names]
            if missing:
                raise FeatureError(
                    f"{uri}: missing {', '.join(missing)}; found {', '.join(source.schema_arrow.names)};"
                    " publish the features again or correct `features` in models.yml"
                )
            table = source.read(columns=columns)
    except FileNotFoundError as error:
        raise FeatureError(f"{uri}: no such feature file; publish the features first") from error
    except pa.ArrowInvalid as error:
        raise FeatureError(f"{uri}: not a readable Parquet file ({error}); publish the features again") from error
    for index, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_decimal(kind):
            table = table.set_column(index, field.name, pc.cast(table[field.name], pa.float64()))
        elif pa.types.is_date(kind):
            table = table.set_column(index, field.name, pc.cast(table[field.name], pa.timestamp("us")))
    return table


def _cut(uri: str, table: pa.Table, column: str, as_of: datetime, *, is_snapshot: bool) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = table.schema.field(column).type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise FeatureError(f"{uri}: {column}: expected an instant with its zone, found {kind}")
    limit = pa.scalar(as_of, pa.timestamp("us", tz="UTC"))
    if not is_snapshot:
        return table.filter(pc.less_equal(table[column], limit))
    latest = pc.max(table[column]).as_py()
    if latest is not None and latest > as_of:
        raise FeatureError(
            f"{uri}: features as of {latest.isoformat()} are later than the as_of {as_of.isoformat()} asked for;"
            " a model must not see the future: publish features as of that instant or ask for a later as_of"
        )
    return table


def ranks(customer_id: pd.Series, score: pd.Series) -> np.ndarray:
    """Each row's place, 0 the lowest score; ties go by customer id, so that every run gives the same places."""
    import numpy as np

    order = np.lexsort((customer_id.to_numpy(dtype=str), score.to_numpy()))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def deciles(customer_id: pd.Series, score: pd.Series) -> np.ndarray:
    """1 to 10, 10 the best tenth; the tenths differ by one customer at most."""
    return ranks(customer_id, score) * 10 // max(len(score), 1) + 1


def tiers(customer_id: pd.Series, score: pd.Series, shares: Mapping[str, float], rest: str) -> np.ndarray:
    """Names for the best shares: ``{"high": .2, "medium": .3}`` calls the best fifth high, the next 30 % medium."""
    import numpy as np

    from_top = len(score) - 1 - ranks(customer_id, score)
    names = np.full(len(score), rest, dtype=object)
    start = 0.0
    for name, share in shares.items():
        end = start + share
        names[(from_top >= round(start * len(score))) & (from_top < round(end * len(score)))] = name
        start = end
    return names
