"""Serving HTTP and SMTP in one process: for the command, and in a thread for tests."""

import asyncio
import contextlib
import errno
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import uvicorn

from letterpress.demo.esp.app import EspApp, create_app
from letterpress.demo.esp.faults import Fault, Faults
from letterpress.demo.esp.smtp import protocol


class PortTaken(Exception):
    """Another process listens where the ESP should."""

    def __init__(self, host: str, port: int, variable: str):
        super().__init__(
            f"The local ESP cannot listen on {host}:{port}: the port is taken."
            f" Set {variable} to a free one, or stop what listens there."
        )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that serves decides what a signal means."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A listening socket (port 0: any free one); raises :class:`PortTaken` naming the variable to set."""
    try:
        listening = socket.create_server((host, port), backlog=256)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken(host, port, variable) from error
        raise
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and answers then wait 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def _serve(app: EspApp, http: socket.socket, smtp: socket.socket, server: uvicorn.Server) -> None:
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: protocol(app.state.smtp_handler), sock=smtp)
    try:
        await server.serve(sockets=[http])
    finally:
        mail.close()


def _make_server(app: EspApp) -> uvicorn.Server:
    # No access log: a search on the pages has an address in its query.
    return _Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    )


def serve(app: EspApp, http: socket.socket, smtp: socket.socket) -> None:
    """Serve on two listening sockets until SIGINT or SIGTERM."""
    server = _make_server(app)

    async def until_signalled() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
        await _serve(app, http, smtp, server)

    try:
        asyncio.run(until_signalled())
    finally:
        app.state.database.close()


@dataclass(frozen=True)
class RunningEsp:
    """A local ESP that serves in this process; ``faults.add(Fault(...))`` makes it fail."""

    base_url: str
    smtp_host: str
    smtp_port: int
    token: str
    app: EspApp
    faults: Faults


@contextlib.contextmanager
def running(
    folder: str | Path,
    *,
    token: str = "local-esp-test-token",
    shop_url: str | None = None,
    clock: Callable[[], datetime] | None = None,
    faults: Iterable[Fault] = (),
) -> Iterator[RunningEsp]:
    """Serve HTTP and SMTP on free loopback ports in a thread until the block ends.

    The state is ``<folder>/esp.sqlite``: starting again over the same folder resumes it.
    """
    app = create_app(path=Path(folder) / "esp.sqlite", token=token, shop_url=shop_url, clock=clock, faults=faults)
    http, smtp = listen("127.0.0.1", 0, "the HTTP port"), listen("127.0.0.1", 0, "the SMTP port")
    app.state.base_url = f"http://127.0.0.1:{http.getsockname()[1]}"
    server = _make_server(app)
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(app, http, smtp, server)), name="local-esp", daemon=True
    )
    smtp_port = smtp.getsockname()[1]
    thread.start()  # both sockets listen already: a connection made now waits for the loop
    try:
        yield RunningEsp(app.state.base_url, "127.0.0.1", smtp_port, token, app, app.state.faults)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        app.state.database.close()


def read_token(secrets_folder: str | Path) -> str:
    """The token in ``<secrets>/esp_token``, made on the first start and readable by its owner alone."""
    path = Path(secrets_folder) / "esp_token"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(part, path)
        finally:
            os.unlink(part)
    return path.read_text().strip()
