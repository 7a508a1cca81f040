"""The one place that opens DuckDB files: a writer under its lock, readers on published copies."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

log = logging.getLogger(__name__)

# Airflow's pool of one slot: whatever opens the warehouse for writing runs in it.
WRITER_POOL = "warehouse_writer"


class WarehouseBusy(TimeoutError):
    """Somebody else held the writer's lock for longer than we were ready to wait."""


@contextmanager
def file_lock(path: Path, *, shared: bool = False, timeout: float = 0.0) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel lets go of it when the holder dies, SIGKILL included.

    Raises ``WarehouseBusy`` where it is not free within ``timeout`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = time.monotonic() + timeout
    with open(path, "a+") as file:
        while True:
            try:
                fcntl.flock(file, mode)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise WarehouseBusy(
                        f"{path.name}: expected the lock to be free within {timeout:g} s, found it held by another "
                        "process; next step: wait for the running build, or see in the Airflow UI who holds it"
                    ) from None
                time.sleep(0.2)
        yield


@contextmanager
def writer_lock(warehouse: str, *, timeout: float = 900.0) -> Iterator[None]:
    """The warehouse's single writer (dbt, or the copy of a candidate)."""
    with file_lock(Path(warehouse) / "writer.lock", timeout=timeout):
        yield


def warehouse_file(warehouse: str) -> Path:
    """The DuckDB file that dbt writes in the features phase."""
    return Path(warehouse) / "warehouse.duckdb"


def connect(file: Path | str, *, read_only: bool = True, memory_limit: str = "2GB") -> "duckdb.DuckDBPyConnection":
    """Open a DuckDB file in UTC, spilling beside the file. Close it, or use it in a ``with``."""
    import duckdb

    if read_only and not os.path.exists(file):
        raise FileNotFoundError(f"{file}: expected a DuckDB file, found none; next step: `make run` publishes one")
    spill = Path(file).parent / ".spill"
    connection = duckdb.connect(
        str(file), read_only=read_only, config={"memory_limit": memory_limit, "temp_directory": str(spill)}
    )
    connection.execute("set timezone = 'UTC'")
    return connection


def table_batches(file: Path | str, table: str, *, rows: int = 50_000) -> "Iterator[pd.DataFrame]":
    """A table's rows as frames of at most ``rows``, in bounded memory; one empty frame where there are none."""
    with connect(file) as connection:
        reader = connection.sql(f"from {table}").to_arrow_reader(rows)
        empty = True
        for batch in reader:
            if batch.num_rows:
                empty = False
                yield batch.to_pandas()
        if empty:
            yield reader.schema.empty_table().to_pandas()
