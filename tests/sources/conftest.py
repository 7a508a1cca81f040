"""The API double on loopback and a landing to extract into."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from source_doubles import Api, Line, event


@pytest.fixture
def api() -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            served.requests.append((parts.path, query))
            served.headers.append(dict(self.headers))
            fault = served.faults.pop(0) if served.faults else None
            if fault and fault.reset:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = served.body or json.dumps(served.answer(parts.path, query)).encode()
            if fault and not fault.cut:
                body = b"{}"
            self.send_response(fault.status if fault and not fault.cut else 200)
            for name, value in (fault.headers if fault else {}).items():
                self.send_header(name, value)
            if fault and fault.cut:
                body = body[: len(body) // 2]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Api(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def line(tmp_path: Path, api: Api) -> Line:
    return Line(str(tmp_path / "landing"), api.url)


@pytest.fixture
def web(api: Api) -> Api:
    """The API with a hundred web events, one an hour."""
    api.cursors["/v1/events"] = "receivedAt"
    api.tables["/v1/events"] = [event(number) for number in range(100)]
    return api
