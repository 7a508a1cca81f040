"""What the published warehouse wants at a destination: payloads and their keyed hashes, made inside DuckDB.

Plan and apply read the same expressions, so that what is sent is what was planned. A million people stream
through in Arrow batches; nothing is pulled into Python but what a plan changes.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from letterpress import storage
from letterpress.activation.configuration import nearest
from letterpress.activation.destinations import Destination
from letterpress.activation.destinations.contract import GATE, audiences

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH_ROWS = 50_000
TARGET_LENGTH = 32  # hex digits: 128 bits


class AudienceError(Exception):
    """A published version that cannot be synced, with what was expected and found."""


@contextmanager
def opened(version_dir: str, identity_key: bytes, *, memory_limit: str = "1GB") -> Iterator["DuckDBPyConnection"]:
    """A published version's marts, attached read-only as ``published``, with ``keyed(text)`` for HMAC-SHA256.

    ``target(payload)`` is what the ledger tells a profile by: keyed, so that nobody finds out a profile by trying. The
    MD5 within only tells whether it has changed, in less time than a second SHA-256 of a kilobyte takes.

    The key is a variable of this connection: it stands in no SQL text. Raises :class:`AudienceError` where
    there is no such version.
    """
    import duckdb

    path = storage.join(version_dir, "warehouse.duckdb")
    if not storage.exists(path):
        raise AudienceError(f"{path}: expected a published version, found no file; publish the warehouse first")
    inner, outer = _hmac_pads(identity_key)
    with tempfile.TemporaryDirectory(prefix="letterpress-") as spill:
        connection = duckdb.connect(config={"memory_limit": memory_limit, "temp_directory": spill})
        try:
            connection.execute(f"attach '{_quoted(storage.filesystem(path)[1])}' as published (read_only)")
            connection.execute("set TimeZone = 'UTC'")
            connection.execute("set preserve_insertion_order = false")
            connection.execute("set variable hmac_inner = ?", [inner])
            connection.execute("set variable hmac_outer = ?", [outer])
            connection.execute(
                "create temp macro keyed(message) as sha256(getvariable('hmac_outer') || "
                "unhex(sha256(getvariable('hmac_inner') || encode(message))))"
            )
            connection.execute(f"create temp macro target(payload) as left(keyed(md5(payload)), {TARGET_LENGTH})")
            yield connection
        finally:
            connection.close()


def check(connection: "DuckDBPyConnection", destination: Destination) -> None:
    """The audience's table has every column that the gate and the field map read, one row a person.

    Raises :class:`AudienceError` naming the destination, the column and the nearest one that is there.
    """
    from duckdb import CatalogException

    try:
        empty = connection.execute(f"select * from published.{destination.audience} limit 0")
    except CatalogException:
        raise AudienceError(
            f"{destination.name}: expected the table {destination.audience}, found none in this version"
        ) from None
    found = [column[0] for column in empty.description]
    empty.fetchall()
    for column in ("customer_id", "email", "segments", *GATE, *destination.attributes):
        if column not in found:
            raise AudienceError(
                f"{destination.name}: {destination.audience} has no column {column!r}; {nearest(column, found)}"
            )
    twice = connection.execute(
        f"select count(*) - count(distinct customer_id) from published.{destination.audience}"
    ).fetchall()[0][0]
    if twice:
        raise AudienceError(
            f"{destination.name}: expected one row a customer in {destination.audience}, found {twice} more; "
            "is there more than one row a person in dim_customers?"
        )


def relation(destination: Destination) -> str:
    """A subquery with one row a person.

    customer_id, email, is_eligible, refusal_reason, consent_proof, consented_at, segments (with commas between) and
    payload, the whole profile as JSON in the vendor's shape. The payload is only worked out for the rows that a
    query asks it of.
    """
    values, payload = _payload(destination)
    return f"""(
        select
            customer_id,
            email,
            is_eligible and nullif(trim(email), '') is not null as is_eligible,
            case when is_eligible then 'no_email' else coalesce(refusal_reason, 'not_eligible') end as refusal_reason,
            consent_proof,
            consent_changed_at as consented_at,
            coalesce(segments, '') as segments,
            {payload} as payload
        from (select *, {values} from published.{destination.audience})
    )"""


def columns(destination: Destination) -> str:
    """The mapped columns under the destination's names, as an audit of what leaves reads them."""
    pairs = [f'"{column}" as "attributes.{mapped.attribute}"' for column, mapped in destination.attributes.items()]
    return ", ".join(["customer_id as external_id", "email", "is_eligible", *pairs])


def _payload(destination: Destination) -> tuple[str, str]:
    """SQL of a profile's values as JSON texts under names of their own, and of the JSON made of these.

    One flat concatenation, in which null values fall out with their keys, takes half the time of nested ones.
    """
    shape = destination.shape
    tree: dict[str, Any] = {}
    _put(tree, shape.external_id, "to_json(customer_id)::varchar")
    _put(tree, shape.email, "to_json(email)::varchar")
    for path, value in shape.constants.items():
        _put(tree, path, _text(json.dumps(value)))
    if shape.attributes:
        _put(tree, shape.attributes, {})
    for column, mapped in destination.attributes.items():
        value = _json_value(destination, column)
        if mapped.nulls == "write":
            value = f"coalesce({value}, {_text(json.dumps(shape.cleared))})"
        _put(tree, shape.path_of(mapped.attribute), value)
    values: list[str] = []
    payload = f"concat({', '.join(_object(tree, values))})"
    return ", ".join(f"{value} as {_name(place)}" for place, value in enumerate(values)), payload


def _put(tree: dict[str, Any], path: str | tuple[str, ...], value: Any) -> None:
    *above, last = path.split(".") if isinstance(path, str) else path
    for key in above:
        tree = tree.setdefault(key, {})
    tree.setdefault(last, value)


def _object(tree: dict[str, Any], values: list[str]) -> Iterator[str]:
    """The texts that make an object when they are concatenated; its values go to ``values``."""
    yield "'{'"
    is_first = "true"  # SQL: whether nothing stands before a member
    for key, value in tree.items():
        label = json.dumps(key) + ":"
        first, later = _text(label), _text(f",{label}")
        marked = f"case when {is_first} then {first} else {later} end"
        if isinstance(value, dict):
            yield marked
            yield from _object(value, values)
            is_first = "false"
        else:
            name = _name(len(values))
            values.append(value)
            yield f"case when {name} is not null then {marked} end"
            yield name
            is_first = f"{is_first} and {name} is null"
    yield "'}'"


def _name(place: int) -> str:
    return f'"value {place}"'


def _json_value(destination: Destination, column: str) -> str:
    """SQL for a column's JSON text, null where it is empty."""
    mapped, shape, kind = destination.attributes[column], destination.shape, destination.type_of(column)
    stored, name = audiences()[destination.audience][column], f'"{column}"'
    if stored == "double":
        name = f"case when isfinite({name}) then round({name}, {mapped.decimals}) end"
    if kind == "list":
        parts = f"list_filter(string_split({name}, ','), lambda part: part <> '')"
        if shape.list_separator is not None:
            return f"to_json(nullif(array_to_string({parts}, {_text(shape.list_separator)}), ''))::varchar"
        return f"to_json({parts})::varchar"
    if stored in ("date", "timestamptz"):
        return _instant(name, stored, kind, mapped.format, is_text=shape.is_text_only or kind == "string")
    if kind == "string" or shape.is_text_only:
        return f"to_json(({name})::varchar)::varchar"
    return f"({name})::varchar"


def _instant(name: str, stored: str, kind: str, form: str, *, is_text: bool) -> str:
    """Dates and instants (UTC) in one of the forms that vendors want, cut off below it: never later than they were."""
    if kind == "date" and stored == "timestamptz":
        name = f"({name})::date"
    if form in ("epoch_seconds", "epoch_milliseconds"):
        number = f"epoch_ms(({name})::timestamp)" if form == "epoch_milliseconds" else f"floor(epoch({name}))::bigint"
        return f"to_json(({number})::varchar)::varchar" if is_text else f"({number})::varchar"
    if form == "iso":
        form = "%Y-%m-%d" if kind == "date" or stored == "date" else "%Y-%m-%dT%H:%M:%SZ"
    return f"to_json(strftime({name}, {_text(form)}))::varchar"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _hmac_pads(key: bytes) -> tuple[bytes, bytes]:
    """RFC 2104: the key's two pads, so that DuckDB's sha256 makes an HMAC."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
