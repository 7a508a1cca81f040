"""A proxy that kills the client of a connection with SIGKILL when something certain passes by."""

import os
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager


class KillingProxy:
    """Passes a TCP connection on until its moment comes, then kills the client and passes nothing more on."""

    def __init__(self, upstream: tuple[str, int], *, mark: bytes, is_answer: bool, after: int):
        self._upstream, self._mark, self._is_answer, self._left = upstream, mark, is_answer, after
        self._lock = threading.Lock()
        self.victim: subprocess.Popen | None = None
        self.has_victim = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._upstream)
            for source, sink, is_answer in ((client, upstream, False), (upstream, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(1 << 20):
                if is_answer == self._is_answer and self._mark in data and self._is_time():
                    self.has_victim.wait(30)
                    os.kill(self.victim.pid, signal.SIGKILL)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _is_time(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


@contextmanager
def killing(upstream: tuple[str, int], **moment):
    proxy = KillingProxy(upstream, **moment)
    try:
        yield proxy
    finally:
        proxy.server.close()
