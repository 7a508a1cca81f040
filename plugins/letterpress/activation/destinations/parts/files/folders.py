"""Folders that files are dropped into: here, in an object store, or (``sftp.py``) on a server."""

import errno
import os
import stat
from typing import Protocol
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from letterpress import storage
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import masked
from letterpress.activation.destinations.spec import DestinationError

NAME = "files"
PART = ".part"  # what a name ends in until all of the file is there


class Folder(Protocol):
    """A folder by the paths within it. Everything raises :class:`DestinationError`, and may be repeated."""

    requests: int

    def check(self) -> None:
        """The folder is there."""

    def make(self, path: str) -> None:
        """Make sure that a folder within it is there."""

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; none where it is not there."""

    def read(self, path: str) -> bytes | None:
        """A whole file; none where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Replace a file whole or not at all."""

    def delete(self, path: str) -> None:
        """Remove a file, where there is one."""

    def close(self) -> None:
        """Let go of what is open."""


def opened(connection: Connection) -> Folder:
    """The folder that a connection's address names; it is first touched when it is needed."""
    scheme = urlsplit(connection.base_url).scheme
    if scheme in ("http", "https"):
        raise DestinationError(
            f"{NAME}: expected an address like file:///folder, sftp://host:22/folder or s3://bucket/folder, found "
            f"{scheme}://; correct the connection's address"
        )
    if scheme == "sftp":
        from letterpress.activation.destinations.parts.files.sftp import SftpFolder

        return SftpFolder(connection)
    return UriFolder(connection.base_url)


class UriFolder:
    """A folder that ``letterpress.storage`` opens; an object store's credentials are those of its environment."""

    def __init__(self, base: str):
        self.requests = 0
        self._base = base

    def check(self) -> None:
        """See :class:`Folder`. An object store has no folders to look for."""
        system, path = self._system()
        if isinstance(system, LocalFileSystem):
            try:
                is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # os.path.isdir takes a lacking right for a lack
            except (FileNotFoundError, NotADirectoryError):
                is_folder = False
            except OSError as error:
                raise failure(self._place(), error) from None
            if not is_folder:
                raise missing(self._place())

    def make(self, path: str) -> None:
        """See :class:`Folder`."""
        system, folder = self._system(path)
        if isinstance(system, LocalFileSystem):
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise failure(self._place(path), error) from None

    def names(self, path: str) -> list[str]:
        """See :class:`Folder`."""
        self.requests += 1
        try:
            return storage.names(storage.join(self._base, path))
        except OSError as error:
            raise failure(self._place(path), error) from None

    def read(self, path: str) -> bytes | None:
        """See :class:`Folder`."""
        self.requests += 1
        try:
            return storage.read_bytes(storage.join(self._base, path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(self._place(path), error) from None

    def write(self, path: str, content: bytes) -> None:
        """See :class:`Folder`."""
        self.requests += 1
        try:
            storage.write_bytes(storage.join(self._base, path), content)
        except OSError as error:
            raise failure(self._place(path), error) from None

    def delete(self, path: str) -> None:
        """See :class:`Folder`."""
        self.requests += 1
        try:
            storage.delete(storage.join(self._base, path))
        except OSError as error:
            raise failure(self._place(path), error) from None

    def close(self) -> None:
        """Nothing stays open."""

    def _system(self, path: str = "") -> tuple[AbstractFileSystem, str]:
        try:
            return storage.filesystem(storage.join(self._base, path) if path else self._base)
        except (ImportError, ValueError):
            raise DestinationError(
                f"{NAME}: expected an address whose scheme fsspec knows, found {urlsplit(self._base).scheme}://; "
                "correct it, or install the package for it (s3fs for s3://, gcsfs for gs://, adlfs for az://)"
            ) from None

    def _place(self, path: str = "") -> str:
        return shown(self._base, path)


def shown(base: str, path: str = "") -> str:
    """An address as a message may show it: without login and password."""
    parts = urlsplit(base)
    if "@" in parts.netloc:
        base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return storage.join(base, path) if path else base


def missing(place: str) -> DestinationError:
    """The folder that everything is in is not there."""
    return DestinationError(f"{NAME}: expected the folder {place}, found none; make it, or correct the connection")


def failure(place: str, error: OSError) -> DestinationError:
    """What to say of an error of a file system, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        found, step = "no room for it", "make room there"
    elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
        found, step = "no right to it", "give the connection's login the right to read and write there"
    else:
        found, step = masked(error.strerror or str(error) or error.__class__.__name__), "look at the folder"
    return DestinationError(
        f"{NAME}: {place}: expected to use it, found {found}; {step} and run again: what was under way is settled then"
    )
