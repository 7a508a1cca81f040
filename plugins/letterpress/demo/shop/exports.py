"""The files that the shop's back office writes every night into a folder, ``<home>/shop/exports/``.

When the clock has passed a midnight, three files appear that carry the date of the day that ended:

=============================  =======================================================================
``products_<date>.csv``        the whole catalogue, as it stands when the file is written
``customers_<date>.jsonl``     accounts that are new or changed since the last night's file
``orders_<date>.parquet``      orders that are new or changed since the last night's file
=============================  =======================================================================

A clock that passes several midnights at once is a back office that was down: it writes one set of files, with all
that has changed. The first set holds the whole history. Files appear whole or not at all.

The horrors, all by the switch ``file_horrors`` (of files); without it, plain RFC 4180 in UTF-8 and plain JSON lines:

=====================  ===============================================================================
dialect                semicolons between cells, commas in decimals
encoding               UTF-8 with a byte order mark, or Windows-1252, by file
line ends              CRLF or LF, by file
header                 another spelling: ``Product ID``, ``Stock Quantity``
blank lines            among the rows, in CSV and in JSON lines
total                  a last line of CSV that is no product: ``Total;120 products``
quoted line breaks     in some descriptions, with doubled quotes (the same products every night)
half-written line      JSON lines end in the beginning of a row that stands whole above, in some files
=====================  ===============================================================================
"""

import csv
import io
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from letterpress import storage
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.columns import INSTANT
from letterpress.demo.simulation.schemas import SCHEMAS
from letterpress.demo.simulation.store import Store

log = logging.getLogger(__name__)

BATCH_ROWS = 10_000
BLANK_LINES = 0.05  # of rows of a file with horrors
NOTES = 0.15  # of products: a description with a quoted line break
HALF_WRITTEN = 0.5  # of JSON lines files with horrors
INCREMENTS = ("customers", "orders")
NOTE = '\nSold in a box marked "handle with care".'


class Exports:
    """Writes the night's files; what was written last is kept beside the store."""

    def __init__(self, folder: Path, store: Store):
        self.folder = folder
        self._store = store
        self._record = str(store.path.parent / "exports.json")
        self._seed, self._rate = store.world.seed, store.world.dirt.file_horrors

    def update(self) -> None:
        """The same where the clock has moved; what cannot be written now is written with the next advance."""
        try:
            self.prepare()
        except OSError as error:
            log.error("exports to %s: %s; the next advance tries again", self.folder, error.strerror)

    def prepare(self) -> None:
        """Write the files of the last midnight that the clock has passed, where they are not there yet."""
        night = self._store.now() // chance.DAY - 1
        done = storage.read_json(self._record) if storage.exists(self._record) else {}
        if done.get("night") == night:
            return
        until = {name: self._store.position(name) for name in (*INCREMENTS, "products")}
        since = {name: done.get("positions", {}).get(name, 0) for name in INCREMENTS}
        if any(since[name] > until[name] for name in INCREMENTS):  # the store was made anew
            since = dict.fromkeys(INCREMENTS, 0)
        date = chance.date_of(night).isoformat()
        self._write_products(f"products_{date}.csv", until["products"])
        self._write_customers(f"customers_{date}.jsonl", since["customers"], until["customers"])
        self._write_orders(f"orders_{date}.parquet", since["orders"], until["orders"])
        # last: after a kill before it, the same files are written again
        storage.write_json(self._record, {"night": night, "positions": {name: until[name] for name in INCREMENTS}})
        log.info("exports: the files of %s are written", date)

    def _bodies(self, entity: str, since: int, until: int) -> Iterator[bytes]:
        after = None
        while found := self._store.changed(entity, since, until, after, BATCH_ROWS):
            yield from (body for _, _, body in found)
            after = found[-1][:2]

    def _chance(self, name: str) -> tuple[random.Random, bool]:
        """The chances of one file, and whether it gets the horrors."""
        drawn = random.Random(f"{self._seed} {name}")
        return drawn, drawn.random() < self._rate

    def _write_products(self, name: str, until: int) -> None:
        drawn, is_horrible = self._chance(name)
        columns = SCHEMAS["products"].names
        end = drawn.choice(["\r\n", "\n"]) if is_horrible else "\r\n"
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=";" if is_horrible else ",", lineterminator=end)
        writer.writerow([_title(column) for column in columns] if is_horrible else columns)
        count = 0
        for body in self._bodies("products", 0, until):
            product = orjson.loads(body)
            noted = random.Random(f"{self._seed} {product['product_id']}").random() < NOTES * self._rate
            if noted and product["description"]:
                product["description"] += NOTE
            writer.writerow([_cell(product[column], is_horrible) for column in columns])
            count += 1
            if is_horrible and drawn.random() < BLANK_LINES:
                text.write(end)
        if is_horrible:
            text.write(f"{end}Total;{count} products{end}")
        content = text.getvalue()
        encoding = drawn.choice(["utf-8-sig", "windows-1252"]) if is_horrible else "utf-8"
        try:
            encoded = content.encode(encoding)
        except UnicodeEncodeError:  # a name that the old code page has no sign for
            encoded = content.encode("utf-8-sig")
        storage.write_bytes(str(self.folder / name), encoded)

    def _write_customers(self, name: str, since: int, until: int) -> None:
        drawn, is_horrible = self._chance(name)
        body = b""
        with _whole(self.folder / name) as file:
            for body in self._bodies("customers", since, until):
                file.write(body + b"\n")
                if is_horrible and drawn.random() < BLANK_LINES:
                    file.write(b"\n")
            if is_horrible and body and drawn.random() < HALF_WRITTEN:
                file.write(body[: len(body) // 2])

    def _write_orders(self, name: str, since: int, until: int) -> None:
        schema = SCHEMAS["orders"]
        instants = [field.name for field in schema if field.type == INSTANT]
        with _whole(self.folder / name) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            rows: list[dict] = []
            for body in self._bodies("orders", since, until):
                rows.append(orjson.loads(body))
                if len(rows) == BATCH_ROWS:
                    writer.write_table(_orders(rows, schema, instants))
                    rows.clear()
            writer.write_table(_orders(rows, schema, instants))


def _orders(rows: list[dict], schema: pa.Schema, instants: list[str]) -> pa.Table:
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    arrays = [
        pa.array(columns[field.name], pa.string()).cast(INSTANT)
        if field.name in instants
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _title(column: str) -> str:
    """``stock_quantity`` as people write it over a column of a spreadsheet."""
    return " ".join("ID" if word == "id" else word.capitalize() for word in column.split("_"))


def _cell(value: object, is_horrible: bool) -> object:
    return str(value).replace(".", ",") if is_horrible and isinstance(value, float) else value


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
