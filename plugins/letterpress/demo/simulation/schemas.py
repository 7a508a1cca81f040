"""The rendered tables: their columns as they land, the hidden ones, and the same rows as the API's JSON objects."""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from letterpress.demo.simulation.columns import INSTANT

TEXT, WHOLE, NUMBER, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

# beside the public columns of every table; never served
HIDDEN = pa.schema(
    [
        pa.field("_number", pa.uint64()),  # a stable identity of the row, for randomness that is keyed
        pa.field("_at", pa.int64()),  # milliseconds: what the row carries in its cursor column
        pa.field("_visible_at", pa.int64()),  # milliseconds: from when on the API shows it
    ]
)
SIGNED_UP_OFFSET = "_signed_up_offset"  # minutes, optional: signed_up_at is written in that offset


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS = {
    "customers": _schema(
        customer_id=TEXT,
        email=TEXT,
        phone=TEXT,
        first_name=TEXT,
        last_name=TEXT,
        birth_date=TEXT,
        country_code=TEXT,
        time_zone=TEXT,
        preferences=TEXT,
        loyalty_tier=TEXT,
        signed_up_at=INSTANT,
        updated_at=INSTANT,
    ),
    "consents": _schema(
        consent_id=TEXT,
        customer_id=TEXT,
        channel=TEXT,
        status=TEXT,
        source=TEXT,
        wording_version=TEXT,
        proof=TEXT,
        recorded_at=INSTANT,
    ),
    "products": _schema(
        product_id=TEXT,
        name=TEXT,
        description=TEXT,
        category=TEXT,
        price=NUMBER,
        currency=TEXT,
        stock_quantity=WHOLE,
        created_at=INSTANT,
        updated_at=INSTANT,
    ),
    "orders": _schema(
        order_id=TEXT,
        customer_id=TEXT,
        email=TEXT,
        status=TEXT,
        currency=TEXT,
        discount_amount=NUMBER,
        shipping_amount=NUMBER,
        total_amount=NUMBER,
        ordered_at=INSTANT,
        updated_at=INSTANT,
    ),
    "order_lines": _schema(
        order_line_id=TEXT,
        order_id=TEXT,
        product_id=TEXT,
        quantity=WHOLE,
        unit_price=NUMBER,
        line_amount=NUMBER,
        updated_at=INSTANT,
    ),
    "refunds": _schema(
        refund_id=TEXT,
        order_id=TEXT,
        amount=NUMBER,
        reason=TEXT,
        refunded_at=INSTANT,
        updated_at=INSTANT,
    ),
    "events": _schema(
        message_id=TEXT,
        type=TEXT,
        event=TEXT,
        anonymous_id=TEXT,
        user_id=TEXT,
        timestamp=INSTANT,
        received_at=INSTANT,
        properties=TEXT,
        context=TEXT,
    ),
    "email_events": _schema(
        event_id=TEXT,
        message_id=TEXT,
        campaign_id=TEXT,
        campaign_name=TEXT,
        subject=TEXT,
        customer_id=TEXT,
        email=TEXT,
        event_type=TEXT,
        bounce_type=TEXT,
        is_machine_open=FLAG,
        url=TEXT,
        occurred_at=INSTANT,
        received_at=INSTANT,
    ),
}
ENTITIES = tuple(SCHEMAS)
KEYS = {name: schema.names[0] for name, schema in SCHEMAS.items()}
JSON = {"customers": {"preferences"}, "events": {"properties", "context"}}
API_NAMES = {
    "events": {
        "message_id": "messageId",
        "anonymous_id": "anonymousId",
        "user_id": "userId",
        "received_at": "receivedAt",
    }
}


def table(entity: str, columns: dict[str, Any], number: np.ndarray, at: np.ndarray) -> pa.Table:
    """The public columns in their order with the hidden ones behind; raises where a column or its type is another.

    ``columns`` holds Arrow or numpy columns, or one text for all rows; ``at`` is in milliseconds.
    """
    count = len(at)
    full = columns | {"_number": number.astype(np.uint64), "_at": at.astype(np.int64)}
    full["_visible_at"] = full["_at"]
    schema = pa.schema([*SCHEMAS[entity], *HIDDEN])
    arrays = []
    for field in schema:
        values = full.pop(field.name)
        if isinstance(values, str):
            values = pa.repeat(pa.scalar(values, field.type), count)
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    if full:
        raise ValueError(f"{entity}: expected the columns {schema.names}, found {sorted(full)} beside them")
    return pa.Table.from_arrays(arrays, schema=schema)


def public(entity: str, rendered: pa.Table) -> pa.Table:
    """The table without its hidden columns."""
    return rendered.select([name for name in rendered.column_names if not name.startswith("_")])


def bodies(entity: str, rendered: pa.Table) -> list[bytes]:
    """The rows as the API's JSON objects.

    A column that the schema does not know is written only where it has a value: before it appeared, the
    source had no such field.
    """
    names, values, extra = [], [], []
    for name in public(entity, rendered).column_names:
        column = _values(entity, rendered, name)
        if name in SCHEMAS[entity].names:
            names.append(API_NAMES.get(entity, {}).get(name, name))
            values.append(column)
        else:
            extra.append((name, column))
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    for name, column in extra:
        for row, value in zip(rows, column, strict=True):
            if value is not None:
                row[name] = value
    return [orjson.dumps(row) for row in rows]


def _values(entity: str, rendered: pa.Table, name: str) -> list[Any]:
    column = rendered[name]
    if name == "signed_up_at" and SIGNED_UP_OFFSET in rendered.column_names:
        return _in_zones(column, rendered[SIGNED_UP_OFFSET])
    if pa.types.is_timestamp(column.type):
        return _iso(column)
    found = column.to_numpy(zero_copy_only=False).tolist() if column.type == TEXT else column.to_pylist()
    if name in JSON.get(entity, ()):
        return [None if text is None else orjson.Fragment(text) for text in found]
    return found


def _iso(column: pa.ChunkedArray) -> list[str | None]:
    """Instants with milliseconds and Z."""
    return [None if text == "NaT" else f"{text}Z" for text in _moments(column)]


def _in_zones(column: pa.ChunkedArray, offsets: pa.ChunkedArray) -> list[str | None]:
    """Instants as a clock shows them that many minutes ahead of UTC, where an offset is known."""
    given = offsets.is_valid().to_numpy()
    minutes = offsets.fill_null(0).to_numpy().astype(np.int64)
    local = _moments(column, minutes * 60_000)
    return [
        None if text == "NaT" else f"{text}{_offset(ahead)}" if known else f"{text}Z"
        for text, ahead, known in zip(local, minutes.tolist(), given.tolist(), strict=True)
    ]


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _moments(column: pa.ChunkedArray, ahead: np.ndarray | int = 0) -> list[str]:
    at = column.to_numpy().astype("datetime64[ms]") + np.asarray(ahead, "timedelta64[ms]")
    return np.datetime_as_string(at, unit="ms").tolist()
