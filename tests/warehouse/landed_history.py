"""A demo shop's history, as `make shop-history` writes it, as a landed load."""

from pathlib import Path

from landed_rows import Landing

LANDED_AS = {
    "customers": "crm__customers",
    "consents": "crm__consents",
    "products": "catalogue__products",
    "orders": "shop__orders",
    "order_lines": "shop__order_lines",
    "refunds": "shop__refunds",
    "events": "web__events",
    "email_events": "email__events",
}


def land_history(landing: Landing, folder: Path) -> None:
    """Land a history in one load, each row with a hash of its content."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        landing.load(
            **{
                landed: connection.sql(
                    f"select rows_written.*, md5(rows_written::varchar) as _row_hash"
                    f" from read_parquet('{folder / entity}/*.parquet', union_by_name = true) as rows_written"
                ).to_arrow_table()
                for entity, landed in LANDED_AS.items()
            }
        )
