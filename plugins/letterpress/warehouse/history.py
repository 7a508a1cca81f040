"""What depends on the path: appended as Parquet after each switch, read by dbt as a source, never derived again."""

from pathlib import Path

import pyarrow as pa

from expectations.runner import RESULTS_SCHEMA
from letterpress import storage
from letterpress.warehouse.database import connect

_AT = pa.timestamp("us", "UTC")

SCHEMAS: dict[str, pa.Schema] = {
    "audits": RESULTS_SCHEMA,
    "builds": pa.schema(
        [
            ("build_id", pa.string()),
            ("run_id", pa.string()),
            ("layer", pa.string()),
            ("node", pa.string()),
            ("resource_type", pa.string()),
            ("status", pa.string()),
            ("seconds", pa.float64()),
            ("failures", pa.int64()),
            ("message", pa.string()),
            ("finished_at", _AT),
        ]
    ),
    "segment_changes": pa.schema(
        [
            ("version", pa.string()),
            ("customer_id", pa.string()),
            ("segment_key", pa.string()),
            ("change", pa.string()),
            ("as_of", _AT),
            ("publication_number", pa.int64()),
        ]
    ),
    "segment_sizes": pa.schema(
        [
            ("publication_number", pa.int64()),
            ("version", pa.string()),
            ("segment_key", pa.string()),
            ("member_count", pa.int64()),
            ("entered_count", pa.int64()),
            ("left_count", pa.int64()),
            ("as_of", _AT),
        ]
    ),
    "identity_changes": pa.schema(
        [
            ("version", pa.string()),
            ("source_customer_key", pa.string()),
            ("old_customer_id", pa.string()),
            ("new_customer_id", pa.string()),
            ("as_of", _AT),
        ]
    ),
    "sends": pa.schema(
        [
            ("campaign_id", pa.string()),
            ("customer_id", pa.string()),
            ("destination", pa.string()),
            ("state", pa.string()),
            ("accepted_at", _AT),
            ("message_id", pa.string()),
        ]
    ),
    # Whom nobody may write to again: dbt's keyed hash (macro keyed_hash) of the normalised address, since nothing
    # else of an erased person may be kept. Whoever erases appends here.
    "erasures": pa.schema(
        [
            ("erasure_id", pa.string()),
            ("address_hash", pa.string()),
            ("erased_at", _AT),
        ]
    ),
}

# (old, new) are two attached versions; an old one that is absent is an empty one.
_CHANGES = {
    "segment_changes": """
        select $version as version, customer_id, segment_key, change, $as_of::timestamptz as as_of,
               $number::bigint as publication_number
        from (
            (select customer_id, segment_key, 'entered' as change
             from (select customer_id, segment_key from new.marts.dim_customer_segments
                   except select customer_id, segment_key from {old_segments}))
            union all
            (select customer_id, segment_key, 'left' as change
             from (select customer_id, segment_key from {old_segments}
                   except select customer_id, segment_key from new.marts.dim_customer_segments))
        )
        order by customer_id, segment_key, change
    """,
    "identity_changes": """
        select $version as version, source_customer_key, old.customer_id as old_customer_id,
               current.customer_id as new_customer_id, $as_of::timestamptz as as_of
        from {old_identities} as old
        inner join new.marts.dim_customer_identities as current using (source_customer_key)
        where old.customer_id <> current.customer_id
        order by source_customer_key
    """,
    # Last: its file is the mark that the others are written.
    "segment_sizes": """
        select $number::bigint as publication_number, $version as version, segment_key,
               count(new_id) as member_count,
               count(*) filter (new_id is not null and old_id is null) as entered_count,
               count(*) filter (new_id is null and old_id is not null) as left_count,
               $as_of::timestamptz as as_of
        from (
            select coalesce(current.segment_key, old.segment_key) as segment_key,
                   current.customer_id as new_id, old.customer_id as old_id
            from new.marts.dim_customer_segments as current
            full join {old_segments} as old using (segment_key, customer_id)
            union all
            select segment_key, null as new_id, null as old_id from {segments}
        )
        group by segment_key
        order by segment_key
    """,
}


def files(history: str, name: str) -> list[str]:
    """The files of one history, sorted."""
    folder = storage.join(history, name)
    return [storage.join(folder, file) for file in storage.names(folder) if file.endswith(".parquet")]


def append(history: str, name: str, key: str, table: pa.Table) -> str | None:
    """Write one file of a history; the same key replaces it, so that a repeated run adds nothing twice."""
    if table.num_rows == 0:
        return None
    uri = storage.join(history, name, f"{key}.parquet")
    storage.write_parquet(uri, table.cast(SCHEMAS[name]))
    return uri


def recorded(history: str) -> tuple[int, str | None]:
    """The number and the name of the version that was recorded last; (0, None) before the first."""
    names = [uri.rsplit("/", 1)[-1].removesuffix(".parquet") for uri in files(history, "segment_sizes")]
    if not names:
        return 0, None
    number, version = names[-1].split("-", 1)
    return int(number), version


def record_changes(history: str, *, old: str | None, new: str, version: str, as_of: str) -> dict[str, int]:
    """Compare two published versions (folders) and append who entered or left a segment and whose id changed.

    The version that was recorded last takes the place of ``old`` while its folder stands beside ``new``: after going
    back from it, or when an earlier version is published again, another one is current, and the history would repeat
    or lack changes. So the changes, replayed in the order of their publication numbers, give the members of the last
    one. Repeating it after a kill writes the same files, and nothing once all of them are there.
    """
    number, last = recorded(history)
    if last == version:
        return {}
    if last is not None and (Path(new).parent / last / "warehouse.duckdb").exists():
        old = str(Path(new).parent / last)
    counts = {}
    given = {"number": number + 1, "version": version, "as_of": as_of}
    with connect(":memory:", read_only=False) as connection:
        connection.execute(f"attach '{Path(new) / 'warehouse.duckdb'}' as new (read_only)")
        names = {
            "old_segments": "(select '' as customer_id, '' as segment_key where false)",
            "old_identities": "(select '' as source_customer_key, '' as customer_id where false)",
            "segments": _segments(connection),
        }
        if old is not None:
            connection.execute(f"attach '{Path(old) / 'warehouse.duckdb'}' as old (read_only)")
            names |= {
                "old_segments": "old.marts.dim_customer_segments",
                "old_identities": "old.marts.dim_customer_identities",
            }
        for name, query in _CHANGES.items():
            asked = {parameter: value for parameter, value in given.items() if f"${parameter}" in query}
            table = connection.sql(query.format(**names), params=asked).to_arrow_table()
            append(history, name, f"{number + 1:06d}-{version}", table)
            counts[name] = table.num_rows
    return counts


def _segments(connection) -> str:
    """Every segment of the new version, members or not; versions of before dim_segments tell those with members."""
    found = connection.execute(
        "select table_name from duckdb_tables() where database_name = 'new' and table_name = 'dim_segments'"
    ).fetchall()
    return "new.marts.dim_segments" if found else "new.marts.dim_customer_segments"
