"""A folder on an SFTP server: one lazy connection, made again where it is lost."""

import io
import posixpath
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from letterpress.activation.destinations import pace
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.parts.files import ssh
from letterpress.activation.destinations.parts.files.folders import NAME, PART, failure, missing, shown
from letterpress.activation.destinations.spec import DestinationError

if TYPE_CHECKING:
    from paramiko import SFTPClient, SSHClient

ATTEMPTS = 5
ANSWER_SECONDS = 60.0  # the server says nothing for so long: the connection is lost

T = TypeVar("T")


class SftpFolder:
    """A folder on a server, over one connection; calls wait for each other.

    The address is ``sftp://host:port/folder`` (without a folder: the login's own). The connection's extra holds
    ``host_key`` (``ssh-ed25519 AAAA…``; without it the machine's known_hosts is asked, and a key that is not
    known is refused), and, instead of a password, ``private_key`` (its text) or ``key_file``, with
    ``private_key_passphrase``: the names that Airflow's own SFTP connections use.
    """

    def __init__(self, connection: Connection):
        self.requests = 0
        self._connection = connection
        parts = urlsplit(connection.base_url)
        try:
            self._host, self._port, self._base = parts.hostname or "", parts.port or 22, parts.path or "."
        except ValueError:
            self._host = ""
        if not self._host:
            raise DestinationError(
                f"{NAME}: expected an address like sftp://host:22/folder, found one without a host or with a port that "
                "is no number; correct the connection's host and port"
            )
        self._ssh: SSHClient | None = None
        self._sftp: SFTPClient | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """The folder is there."""
        if not self._run("", lambda sftp: _is_there(sftp, self._base)):
            raise missing(self._place(""))

    def make(self, path: str) -> None:
        """Make sure that a folder within it is there."""

        def act(sftp: "SFTPClient") -> None:
            folder = self._base
            for part in path.strip("/").split("/"):
                folder = posixpath.join(folder, part)
                if not _is_there(sftp, folder):
                    sftp.mkdir(folder)

        self._run(path, act)

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; none where it is not there."""

        def act(sftp: "SFTPClient") -> list[str]:
            try:
                return sorted(sftp.listdir(self._at(path)))
            except FileNotFoundError:
                return []

        return self._run(path, act)

    def read(self, path: str) -> bytes | None:
        """A whole file; none where there is none."""

        def act(sftp: "SFTPClient") -> bytes | None:
            content = io.BytesIO()
            try:
                sftp.getfo(self._at(path), content)
            except FileNotFoundError:
                return None
            return content.getvalue()

        return self._run(path, act)

    def write(self, path: str, content: bytes) -> None:
        """Replace a file whole or not at all: it gets its name when the server has said that all of it is there."""

        def act(sftp: "SFTPClient") -> None:
            part = self._at(path) + PART
            sftp.putfo(io.BytesIO(content), part, len(content), confirm=True)
            self._replace(sftp, part, self._at(path))

        self._run(path, act)

    def delete(self, path: str) -> None:
        """Remove a file, where there is one."""
        self._run(path, lambda sftp: _remove(sftp, self._at(path)))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._ssh is not None:
            self._ssh.close()
        self._ssh = self._sftp = None

    def _replace(self, sftp: "SFTPClient", part: str, path: str) -> None:
        try:
            sftp.posix_rename(part, path)
        except OSError as error:
            if error.errno is not None or self._is_lost(error):
                raise
            _remove(sftp, path)  # a server without OpenSSH's extension renames to names that are free, and no others
            sftp.rename(part, path)

    def _run(self, path: str, action: Callable[["SFTPClient"], T]) -> T:
        """What an action gives; it is repeated on a new connection where the old one is lost."""
        found = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                pace.pause(0.5 * 2**attempt)
            with self._lock:
                self.requests += 1
                try:
                    return action(self._opened())
                except Exception as error:
                    if not self._is_lost(error):
                        if isinstance(error, OSError):
                            raise failure(self._place(path), error) from None
                        raise
                    found = error.__class__.__name__
                    self.close()
        raise DestinationError(
            f"{NAME}: {self._place(path)}: expected an answer, found {found} after {ATTEMPTS} attempts; can the server "
            "be reached at this host and port? What was under way is settled by the next run"
        )

    def _is_lost(self, error: Exception) -> bool:
        """Whether the connection is gone or was never there, rather than the request refused."""
        import paramiko

        if isinstance(error, (paramiko.SSHException, EOFError)):
            return True
        if not isinstance(error, OSError) or isinstance(error, (FileNotFoundError, PermissionError)):
            return False
        transport = self._ssh.get_transport() if self._ssh is not None else None
        is_alive = transport is not None and transport.is_active()
        return not is_alive or isinstance(error, (ConnectionError, TimeoutError))

    def _opened(self) -> "SFTPClient":
        if self._sftp is None:
            self._ssh = ssh.connected(self._connection, self._host, self._port)
            self._sftp = self._ssh.open_sftp()
            self._sftp.get_channel().settimeout(ANSWER_SECONDS)
        return self._sftp

    def _at(self, path: str) -> str:
        return posixpath.join(self._base, path)

    def _place(self, path: str) -> str:
        return shown(self._connection.base_url, path)


def _is_there(sftp: "SFTPClient", path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _remove(sftp: "SFTPClient", path: str) -> None:
    try:
        sftp.remove(path)
    except FileNotFoundError:
        return
