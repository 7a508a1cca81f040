"""Online Retail (UCI 352, CC BY 4.0): the invoices of a UK gift shop, as Parquet files in a folder.

``<folder>/*.parquet`` → batches with file name and line number → landing. The cursor is the listing of the files
by content, so that a file is read once; a file that changed is read again and only its other lines land. Instants
stay London local time without a zone, as the file has them: staging turns them into UTC.
"""

import hashlib
import json
import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from letterpress import storage
from letterpress.sources.config import Connection, Source
from letterpress.sources.entities import (
    LOCAL_TIME,
    NUMBER,
    TEXT,
    WHOLE,
    Entity,
    Page,
    column,
    schema_of,
    snake_case,
)
from letterpress.sources.errors import SourceRefused

log = logging.getLogger(__name__)

BATCH_ROWS = 50_000

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

_HOW_TO_GET = (
    "Next step: download the data set 352 'Online Retail' of the UCI Machine Learning Repository "
    "(https://archive.ics.uci.edu/dataset/352/online+retail), save its sheet as a Parquet file under its own column "
    "names, and name the file's folder in LETTERPRESS_ONLINE_RETAIL"
)


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """The lines of every file that has not landed yet, in batches.

    ``since`` is the listing of the last accepted load: JSON, file name → SHA-256. Each page's cursor adds the file
    that it completes. Raises ``SourceRefused`` where folder, files or columns are missing.
    """
    folder = connection.base_url
    files = [name for name in storage.names(folder) if name.endswith(".parquet")]
    if not files:
        found = "none" if storage.exists(folder) else "no such folder"
        raise SourceRefused(f"{source.name}: {folder}: expected Parquet files, found {found}. {_HOW_TO_GET}")
    landed: dict[str, str] = json.loads(since) if since else {}
    known = dict(landed)
    for name in files:
        uri = storage.join(folder, name)
        fingerprint = _fingerprint(uri)
        if fingerprint in known.values():
            if known.get(name) != fingerprint:
                log.warning("%s: %s has the content of a file that has landed; skipped", source.name, name)
            continue
        known[name] = fingerprint
        yield from _lines(source, entity, uri, name, json.dumps(known, sort_keys=True))


def _lines(source: Source, entity: Entity, uri: str, name: str, cursor: str) -> Iterator[Page]:
    system, path = storage.filesystem(uri)
    with system.open(path, "rb") as file:
        try:
            parquet = pq.ParquetFile(file)
        except pa.ArrowInvalid:
            raise SourceRefused(
                f"{source.name}: {uri}: expected a Parquet file, found something else. {_HOW_TO_GET}"
            ) from None
        present = {snake_case(column) for column in parquet.schema_arrow.names}
        if missing := [field for field in entity.schema.names if field not in (*entity.key, *present)]:
            raise SourceRefused(
                f"{source.name}: {uri}: expected the columns {[*entity.schema.names][len(entity.key) :]} (in any "
                f"spelling of case), missing {missing}. {_HOW_TO_GET}"
            )
        line = 1
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            table = table.drop_columns([key for key in table.column_names if snake_case(key) in entity.key])
            numbers = pa.array(range(line, line + table.num_rows), WHOLE)
            table = table.add_column(0, "line_number", numbers)
            table = table.add_column(0, "file", pa.array([name] * table.num_rows, TEXT))
            yield Page(table, f"{name}, batch from line {line}", cursor)
            line += batch.num_rows


def _fingerprint(uri: str) -> str:
    digest = hashlib.sha256()
    system, path = storage.filesystem(uri)
    with system.open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
