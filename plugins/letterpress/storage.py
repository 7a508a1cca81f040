"""The one module that opens URIs: a bare path, ``file://`` or whatever fsspec knows."""

import json
import os
import uuid
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem


def join(*parts: str) -> str:
    """Join URI parts with single slashes."""
    return "/".join(part.strip("/") if index else part.rstrip("/") for index, part in enumerate(parts))


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The file system that owns a URI, and the path within it."""
    return fsspec.core.url_to_fs(uri)


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    system, path = filesystem(uri)
    return system.exists(path)


def names(uri: str) -> list[str]:
    """The sorted names directly inside a folder; empty where the folder is absent."""
    system, path = filesystem(uri)
    system.invalidate_cache()
    if not system.isdir(path):
        return []
    return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in system.ls(path, detail=False))


def read_bytes(uri: str) -> bytes:
    """A whole file."""
    with fsspec.open(uri, "rb") as file:
        return file.read()


def read_json(uri: str) -> Any:
    """A whole JSON file."""
    return json.loads(read_bytes(uri))


def write_bytes(uri: str, content: bytes) -> None:
    """Replace a file whole or not at all: a reader sees the old one or the new one, after a power cut too."""
    system, path = filesystem(uri)
    system.makedirs(os.path.dirname(path), exist_ok=True)
    if not isinstance(system, LocalFileSystem):
        system.pipe_file(path, content)  # an object appears whole when its upload ends
        return
    part = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def write_json(uri: str, content: Any) -> None:
    """Replace a JSON file whole; keys sorted, so that equal contents are equal bytes."""
    write_bytes(uri, (json.dumps(content, indent=2, sort_keys=True, default=str) + "\n").encode())


def create_json(uri: str, content: Any) -> bool:
    """Write a JSON file only where none is: true for the one caller that created it.

    This is the compare-and-swap that manifests are committed with. A local file is written aside and
    linked, so that it appears whole and a second writer loses.
    """
    body = (json.dumps(content, indent=2, sort_keys=True, default=str) + "\n").encode()
    system, path = filesystem(uri)
    system.makedirs(os.path.dirname(path), exist_ok=True)
    if not isinstance(system, LocalFileSystem):
        try:
            system.pipe_file(path, body, mode="create")
        except FileExistsError:
            return False
        return True
    part = f"{path}.{uuid.uuid4().hex}.part"
    with open(part, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(part)
    return True


def write_parquet(uri: str, table: pa.Table) -> None:
    """Replace a Parquet file whole (zstd; the same table gives the same bytes)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(uri, sink.getvalue().to_pybytes())


def read_parquet(uri: str) -> pa.Table:
    """A whole, small Parquet file."""
    with fsspec.open(uri, "rb") as file:
        return pq.read_table(file)


def modified_at(uri: str) -> float:
    """When a file was written last, in seconds since 1970; for showing and sorting alone."""
    system, path = filesystem(uri)
    return system.modified(path).timestamp()


def delete(uri: str) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where there is none."""
    system, path = filesystem(uri)
    if system.exists(path):
        system.rm(path, recursive=True)
