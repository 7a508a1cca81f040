"""Files by path or URI (whatever fsspec knows), written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


def join(*parts: str) -> str:
    """Join URI parts with single slashes."""
    return "/".join(part.strip("/") if index else part.rstrip("/") for index, part in enumerate(parts))


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    system, path = fsspec.core.url_to_fs(uri)
    return system.exists(path)


def names(uri: str) -> list[str]:
    """What lies in a folder, sorted; nothing where there is no folder."""
    system, path = fsspec.core.url_to_fs(uri)
    if not system.exists(path):
        return []
    found = system.ls(path, detail=False)
    return sorted(name for one in found if not (name := os.path.basename(one.rstrip("/"))).startswith("."))


def read_bytes(uri: str) -> bytes:
    """A whole file."""
    with fsspec.open(uri, "rb") as file:
        return file.read()


def write_bytes(uri: str, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old one or the new one."""
    system, path = fsspec.core.url_to_fs(uri)
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


def put(path: str, uri: str) -> str:
    """Bring a file of this machine to its place in one step; returns its SHA-256."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    system, target = fsspec.core.url_to_fs(uri)
    system.makedirs(os.path.dirname(target), exist_ok=True)
    if isinstance(system, LocalFileSystem):
        part = f"{target}.{uuid.uuid4().hex}.part"
        try:
            shutil.copyfile(path, part)
            os.replace(part, target)
        finally:
            if os.path.exists(part):
                os.unlink(part)
    else:
        system.put_file(path, target)
    return digest


def json_bytes(content: Any) -> bytes:
    """Canonical JSON: sorted keys, no NaN, so that equal contents are equal bytes."""
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def read_json(uri: str) -> Any:
    """A whole JSON file."""
    return json.loads(read_bytes(uri))


def sha256(content: bytes) -> str:
    """The hexadecimal digest of some bytes."""
    return hashlib.sha256(content).hexdigest()
