"""A real SFTP server on the loopback, over a folder: with faults, and with logins and keys of its own."""

import os
import posixpath
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

LOGIN, SECRET = "letterpress", "not-for-anybody"


@dataclass
class SftpServer:
    """What a test changes and looks at."""

    root: Path
    host_key: paramiko.PKey
    port: int = 0
    keys: list[paramiko.PKey] = field(default_factory=list)  # that may log in, beside the password
    connections: int = 0
    replaces_by_rename: bool = True  # OpenSSH's posix-rename
    is_full: bool = False
    loses: list[int] = field(default_factory=list)  # the numbers of the calls that the connection is lost before
    loses_after: list[int] = field(default_factory=list)  # … after the call had its effect
    calls: int = 0

    @property
    def host_key_line(self) -> str:
        return f"{self.host_key.get_name()} {self.host_key.get_base64()}"


@contextmanager
def running(root: Path) -> Iterator[SftpServer]:
    """The server, until the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    server = SftpServer(root, paramiko.ECDSAKey.generate())
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    transports: list[paramiko.Transport] = []
    thread = threading.Thread(target=_accept, args=(server, listener, transports), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for transport in transports:
            transport.close()


def _accept(server: SftpServer, listener: socket.socket, transports: list[paramiko.Transport]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        server.connections += 1
        transport = paramiko.Transport(connection)
        transports.append(transport)
        transport.add_server_key(server.host_key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, server, transport)
        try:
            transport.start_server(server=_Door(server), event=threading.Event())
        except (paramiko.SSHException, EOFError):
            transport.close()


class _Door(paramiko.ServerInterface):
    def __init__(self, server: SftpServer):
        self._server = server

    def get_allowed_auths(self, username):
        return "password,publickey"

    def check_auth_password(self, username, password):
        is_right = (username, password) == (LOGIN, SECRET)
        return paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username, key):
        is_right = username == LOGIN and key in self._server.keys
        return paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def __init__(self, flags: int, file, owner: "_Files"):
        super().__init__(flags)
        self.readfile = self.writefile = file
        self._owner = owner

    def write(self, offset, data):
        if self._owner.server.is_full:
            return paramiko.SFTP_FAILURE  # version 3 of the protocol has no word for a full disk
        return self._owner.do(lambda: super(_Handle, self).write(offset, data))

    def read(self, offset, length):
        return self._owner.do(lambda: super(_Handle, self).read(offset, length))

    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, door, server: SftpServer, transport: paramiko.Transport):
        super().__init__(door)
        self.server, self._transport = server, transport

    def _path(self, path: str) -> str:
        return str(self.server.root) + posixpath.normpath("/" + path)

    def do(self, act):
        """One call, which the connection may be lost before or after."""
        self.server.calls += 1
        number = self.server.calls
        if number in self.server.loses:
            self._transport.close()
            return paramiko.SFTP_CONNECTION_LOST
        try:
            answer = act()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        if number in self.server.loses_after:
            self._transport.close()
        return paramiko.SFTP_OK if answer is None else answer

    def list_folder(self, path):
        folder = self._path(path)
        return self.do(
            lambda: [
                paramiko.SFTPAttributes.from_stat(os.stat(os.path.join(folder, name)), name)
                for name in os.listdir(folder)
            ]
        )

    def stat(self, path):
        return self.do(lambda: paramiko.SFTPAttributes.from_stat(os.stat(self._path(path))))

    lstat = stat

    def open(self, path, flags, attr):
        mode = "rb" if not flags & (os.O_WRONLY | os.O_RDWR) else "wb"
        return self.do(lambda: _Handle(flags, open(self._path(path), mode), self))

    def remove(self, path):
        return self.do(lambda: os.remove(self._path(path)))

    def rename(self, oldpath, newpath):
        if os.path.exists(self._path(newpath)):
            return paramiko.SFTP_FAILURE
        return self.do(lambda: os.rename(self._path(oldpath), self._path(newpath)))

    def posix_rename(self, oldpath, newpath):
        if not self.server.replaces_by_rename:
            return paramiko.SFTP_OP_UNSUPPORTED
        return self.do(lambda: os.replace(self._path(oldpath), self._path(newpath)))

    def mkdir(self, path, attr):
        return self.do(lambda: os.mkdir(self._path(path)))
