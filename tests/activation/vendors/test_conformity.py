"""The check of a stand-in against its vendor's document finds what it is for, and nothing where all is right."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
from conformity import check

NOTE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
DOCUMENT = {
    "openapi": "3.0.2",
    "info": {"title": "Notes", "version": "1"},
    "paths": {
        "/notes": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}},
                },
                "responses": {
                    "201": {
                        "description": "made",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}},
                    },
                    "400": {"description": "refused"},
                },
            },
            "get": {"responses": {"500": {"description": "not implemented, and not asked for"}}},
        }
    },
    "components": {"schemas": {"Note": NOTE, "Unused": {"$ref": "#/components/schemas/Absent"}}},
}


def right(body: object) -> tuple[int, object]:
    """What the document says: a note is kept, anything else is refused."""
    if isinstance(body, dict) and isinstance(body.get("text"), str):
        return 201, body
    return 400, {"error": "no note"}


def fails(body: object) -> tuple[int, object]:
    return 500, {"error": "oops"}


def answers_something_else(body: object) -> tuple[int, object]:
    status, answer = right(body)
    return (status, {"text": 1}) if status == 201 else (status, answer)


def says_another_status(body: object) -> tuple[int, object]:
    status, answer = right(body)
    return (418, answer) if status == 201 else (status, answer)


def takes_anything(body: object) -> tuple[int, object]:
    return 201, {"text": "kept"}


def takes_any_object(body: object) -> tuple[int, object]:
    return (201, {"text": "kept"}) if isinstance(body, dict) else (400, {"error": "no object"})


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                body = orjson.loads(content)
            except orjson.JSONDecodeError:
                body = None
            status, answer = request.param(body)
            content = orjson.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("served", [right], indirect=True)
def test_nothing_is_found_where_the_document_is_kept(served):
    check(served, DOCUMENT, [("POST", "/notes")], {})


@pytest.mark.parametrize(
    ("served", "finding"),
    [
        (fails, "Server error"),
        (answers_something_else, "Response violates schema"),
        (says_another_status, "Undocumented status code"),
        (takes_any_object, "Schema-violating request accepted"),
        (takes_anything, "Schema-violating request accepted"),
    ],
    indirect=["served"],
)
def test_what_does_not_fit_the_document_is_found(served, finding):
    with pytest.raises(AssertionError) as found:
        check(served, DOCUMENT, [("POST", "/notes")], {})
    assert finding in str(found.value)
    assert "curl" in str(found.value)


@pytest.mark.parametrize("served", [takes_anything], indirect=True)
def test_a_vendor_that_takes_any_body_may_be_checked_without(served):
    check(served, DOCUMENT, [("POST", "/notes")], {}, rejects_bodies=False)
