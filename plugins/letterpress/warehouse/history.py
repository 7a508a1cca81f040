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
}

# (old, new) are two attached versions; an old one that is absent is an empty one.
_CHANGES = {
    "segment_changes": """
        select ? as version, customer_id, segment_key, change, ?::timestamptz as as_of
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
        select ? as version, source_customer_key, old.customer_id as old_customer_id,
               current.customer_id as new_customer_id, ?::timestamptz as as_of
        from {old_identities} as old
        inner join new.marts.dim_customer_identities as current using (source_customer_key)
        where old.customer_id <> current.customer_id
        order by source_customer_key
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


def record_changes(history: str, *, old: str | None, new: str, version: str, as_of: str) -> dict[str, int]:
    """Compare two published versions (folders) and append who entered or left a segment and whose id changed.

    A function of the two versions alone: repeating it after a kill writes the same files.
    """
    counts = {}
    with connect(":memory:", read_only=False) as connection:
        connection.execute(f"attach '{Path(new) / 'warehouse.duckdb'}' as new (read_only)")
        names = {"old_segments": "(select '' as customer_id, '' as segment_key where false)"}
        names["old_identities"] = "(select '' as source_customer_key, '' as customer_id where false)"
        if old is not None:
            connection.execute(f"attach '{Path(old) / 'warehouse.duckdb'}' as old (read_only)")
            names = {
                "old_segments": "old.marts.dim_customer_segments",
                "old_identities": "old.marts.dim_customer_identities",
            }
        for name, query in _CHANGES.items():
            table = connection.sql(query.format(**names), params=[version, as_of]).to_arrow_table()
            append(history, name, version, table)
            counts[name] = table.num_rows
    return counts
