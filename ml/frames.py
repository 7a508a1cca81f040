"""Feature files in, cut at ``as_of``; deciles and tiers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from ml import files
from ml.errors import FeatureError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

SNAPSHOTS = {"customer_features": "as_of", "products": "as_of"}
"""Frames with one row per customer or product: the instant that the row was made for."""

EVENTS = {
    "customer_orders": "ordered_at",
    "customer_order_lines": "ordered_at",
    "customer_sessions": "started_at",
    "customer_emails": "sent_at",
    "experiments": "assigned_at",
}
"""Frames with one row per event: the instant of the event. Later instants in a row tell what came of it."""

KEYS = {
    "customer_features": ["customer_id"],
    "products": ["product_id"],
    "customer_orders": ["customer_id", "ordered_at", "order_id"],
    "customer_order_lines": ["customer_id", "ordered_at", "order_line_id"],
    "customer_sessions": ["customer_id", "started_at", "session_id"],
    "customer_emails": ["customer_id", "sent_at", "email_message_id"],
    "experiments": ["customer_id", "assigned_at", "experiment_id"],
}

NAMING = "%Y%m%dT%H%M%SZ"
"""How a file or folder is named after its instant, in UTC: names sort as instants do."""

CustomerRange: TypeAlias = tuple[str | None, str | None]
"""Customers from the first id on and before the second; None is no bound."""


def utc(as_of: datetime) -> datetime:
    """``as_of`` in UTC; a naive instant is refused."""
    if as_of.tzinfo is None:
        raise ValueError(f"as_of: expected an instant with its zone such as 2011-07-01T00:00:00Z, found {as_of}")
    return as_of.astimezone(UTC)


def read_frames(
    features: str, wanted: Mapping[str, tuple[str, ...]], as_of: datetime, customers: CustomerRange = (None, None)
) -> dict[str, pd.DataFrame]:
    """The frames that a model reads, from ``<features>/<frame>.parquet``.

    Only the wanted columns, the frame's keys and the customers asked for are read (products always all), rows come
    sorted by the keys, decimals as doubles and dates as timestamps. Events after ``as_of`` are cut off, and so is
    what came of earlier events after it. Raises :class:`FeatureError` where a file or column is missing, where a
    customer stands twice in a snapshot, and where a snapshot was made for an instant after ``as_of``, since it
    would let a model see the future.
    """
    as_of = utc(as_of)
    frames = {}
    for frame, columns in wanted.items():
        uri = files.join(features, f"{frame}.parquet")
        time = SNAPSHOTS.get(frame) or EVENTS[frame]
        keys = KEYS[frame]
        table = _read(uri, list(dict.fromkeys([*keys, time, *columns])), customers if "customer_id" in keys else None)
        table = _cut(uri, table, time, as_of, is_snapshot=frame in SNAPSHOTS)
        data = table.sort_by([(key, "ascending") for key in keys]).to_pandas()
        if frame in SNAPSHOTS and data[keys[0]].duplicated().any():
            again = int(data[keys[0]].duplicated().sum())
            raise FeatureError(f"{uri}: expected one row per {keys[0]}, found {again} repeated; rebuild the features")
        frames[frame] = data
    return frames


def customer_ranges(features: str, wanted: Iterable[str], rows: int) -> list[CustomerRange]:
    """Ranges of customers that together are everybody, each with about ``rows`` customers.

    Cut along the ids of the first wanted frame that has customers; the first and the last range have no outer
    bound, so that nobody is left out who stands in another frame alone.
    """
    import fsspec
    import numpy as np
    import pyarrow.parquet as pq

    frame = next((name for name in wanted if "customer_id" in KEYS[name]), None)
    if frame is None:
        return [(None, None)]
    uri = files.join(features, f"{frame}.parquet")
    try:
        with fsspec.open(uri, "rb") as file:
            ids = pq.read_table(file, columns=["customer_id"])["customer_id"].unique().to_numpy(zero_copy_only=False)
    except FileNotFoundError as error:
        raise FeatureError(f"{uri}: no such feature file; publish the features first") from error
    bounds = [str(one) for one in np.sort(ids)[rows::rows]]
    return list(zip([None, *bounds], [*bounds, None], strict=True))


def column_names(features: str, frame: str) -> list[str]:
    """The columns that ``<features>/<frame>.parquet`` has; raises :class:`FeatureError` where there is no such file."""
    import fsspec
    import pyarrow.parquet as pq

    uri = files.join(features, f"{frame}.parquet")
    try:
        with fsspec.open(uri, "rb") as file:
            return pq.read_schema(file).names
    except FileNotFoundError as error:
        raise FeatureError(f"{uri}: no such feature file; publish the features first") from error


def _read(uri: str, columns: list[str], customers: CustomerRange | None) -> pa.Table:
    import fsspec
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    low, high = customers or (None, None)
    within = [("customer_id", ">=", low)] if low is not None else []
    within += [("customer_id", "<", high)] if high is not None else []
    try:
        with fsspec.open(uri, "rb") as file:
            names = pq.read_schema(file).names
            missing = [column for column in columns if column not in names]
            if missing:
                raise FeatureError(
                    f"{uri}: missing {', '.join(missing)}; found {', '.join(names)};"
                    " publish the features again or correct `features` in models.yml"
                )
            file.seek(0)
            table = pq.read_table(file, columns=columns, filters=within or None)
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
        table = table.filter(pc.less_equal(table[column], limit))
        for index, field in enumerate(table.schema):
            if field.name != column and pa.types.is_timestamp(field.type) and field.type.tz is not None:
                known = pc.if_else(pc.less_equal(table[field.name], limit), table[field.name], None)
                table = table.set_column(index, field.name, known)
        return table
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
