"""Online Retail (UCI 352, CC BY 4.0): the invoices of a UK gift shop, as Parquet files in a folder.

``<folder>/*.parquet`` → batches with file name and line number, by ``files.py`` → landing. Instants stay London local
time without a zone, as the file has them: staging turns them into UTC.
"""

from letterpress.sources.entities import LOCAL_TIME, NUMBER, TEXT, WHOLE, Entity, column, schema_of

INVOICE_LINES = Entity(
    name="invoice_lines",
    key=("file", "line_number"),
    cursor=None,
    schema=schema_of(
        column("file", TEXT),
        column("line_number", WHOLE),
        column("invoice_no", TEXT),
        column("stock_code", TEXT),
        column("description", TEXT),
        column("quantity", WHOLE),
        column("invoice_date", LOCAL_TIME),
        column("unit_price", NUMBER),
        column("customer_id", WHOLE),
        column("country", TEXT),
    ),
)

ENTITIES = {"online_retail": (INVOICE_LINES,)}
