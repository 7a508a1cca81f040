"""What the published warehouse wants at a destination: payloads and their keyed hashes, made inside DuckDB.

Plan and apply read the same expressions, so that what is sent is what was planned. A million people stream
through in Arrow batches; nothing is pulled into Python but what a plan changes.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from letterpress import storage
from letterpress.activation.configuration import nearest
from letterpress.activation.destinations import GATE, Destination

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HASH_LENGTH = 16  # hex digits for one attribute: it only has to differ when the value does
BATCH_ROWS = 50_000


class AudienceError(Exception):
    """A published version that cannot be synced, with what was expected and found."""


@contextmanager
def opened(version_dir: str, identity_key: bytes, *, memory_limit: str = "1GB") -> Iterator["DuckDBPyConnection"]:
    """A published version's marts, attached read-only as ``published``, with ``keyed(text)`` for HMAC-SHA256.

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

    customer_id, email, is_eligible, refusal_reason, consent_proof, segments (JSON list), payload (JSON text)
    and attribute_hashes (JSON object, the e-mail among them); payload and hashes are only worked out for the
    rows that a query asks them of.
    """
    pairs, hashes = [], [_hash_pair("email", "to_json(email)::varchar")]
    for column, mapped in destination.attributes.items():
        value = f'to_json("{column}")::varchar'
        if mapped.nulls == "write":
            value = f"coalesce({value}, 'null')"
        pairs.append(f"""'"{mapped.attribute}":' || {value}""")
        hashes.append(_hash_pair(mapped.attribute, value))
    segments = "to_json(list_sort(list_filter(string_split(coalesce(segments, ''), ','), lambda s: s <> '')))::varchar"
    return f"""(
        select
            customer_id,
            email,
            is_eligible and nullif(trim(email), '') is not null as is_eligible,
            case when is_eligible then 'no_email' else coalesce(refusal_reason, 'not_eligible') end as refusal_reason,
            consent_proof,
            {segments} as segments,
            '{{"external_id":' || to_json(customer_id)::varchar
                || ',"email":' || to_json(email)::varchar
                || ',"attributes":{{' || concat_ws(',', {", ".join(pairs) or "''"}) || '}}'
                || ',"segments":' || {segments} || '}}' as payload,
            '{{' || concat_ws(',', {", ".join(hashes)}) || '}}' as attribute_hashes
        from published.{destination.audience}
    )"""


def _hash_pair(name: str, value: str) -> str:
    return f"""'"{name}":"' || left(keyed('{name}=' || {value}), {HASH_LENGTH}) || '"'"""


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _hmac_pads(key: bytes) -> tuple[bytes, bytes]:
    """RFC 2104: the key's two pads, so that DuckDB's sha256 makes an HMAC."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
