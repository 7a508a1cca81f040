"""One extraction of a source at a time, and no commit beside the clearing away of what was not committed."""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from letterpress import storage
from letterpress.sources.errors import SourceBusy

WAIT_SECONDS = 900.0


@contextmanager
def hold(landing: str, source: str, purpose: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock of a source and purpose; the kernel gives it back when the process ends, however it ends.

    Local landings keep the lock beside the files. For an object store it is this machine's own.
    Raises ``SourceBusy`` when another holds it for longer than ``wait_seconds``.
    """
    system, path = storage.filesystem(landing)
    if isinstance(system, LocalFileSystem):
        folder = Path(path) / "_locks"
    else:
        folder = Path(tempfile.gettempdir()) / f"letterpress-{hashlib.sha256(landing.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source}.{purpose}.lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SourceBusy(
                        f"{source}: expected the lock {file} within {wait_seconds:g} s, found it held by another "
                        f"process; next step: wait for the other run of ingest_{source}, or end it"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
