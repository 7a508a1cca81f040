"""What the tests of a drop of files share: people, a folder, and what is in it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from letterpress.activation.destinations import Connection
from letterpress.activation.destinations.files import FileDrop, Options, open_client
from letterpress.activation.destinations.spec import Operation, Row

ATTRIBUTES = {"first_name": "string", "tier": "string", "segments": "list"}

SECRET = "jane@example.com"

INBOUND = """\
email,external_id,reason,occurred_at
a@example.com,c1,unsubscribed,2026-11-05T08:30:00Z
b@example.com,,bounced,2026-11-05T10:30:00+01:00
,c3,complained,2026-11-05T08:30:00Z
"""


def person(number: int, **values) -> Row:
    """One person's upsert: the payload as SHAPE asks for it."""
    customer_id, email = f"c{number}", f"person{number}@example.com"
    values = {"first_name": f"Name {number}", "tier": "gold", "segments": "loyal|new", **values}
    return Row(customer_id, email, orjson.dumps({"external_id": customer_id, "email": email, **values}))


def manifests(base: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted((base / "customers" / "manifests").iterdir())]


def table(base: Path, manifest: dict) -> list[list[str]]:
    """A file as any reader of CSV sees it."""
    text = (base / "customers" / manifest["file"]).read_bytes().decode("utf-8")
    return list(csv.reader(io.StringIO(text, newline="")))


def files(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


def empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


ROWS = {
    Operation.SUPPRESS: Row("c1", "person1@example.com", reason="unsubscribed"),
    Operation.ERASE: Row("c1", "person1@example.com"),
    Operation.MOVE: Row("c1", moves_to="c2"),
    Operation.LEAVE: Row("c1", "person1@example.com"),
    Operation.DELETE: Row("c1", "person1@example.com"),
    Operation.SUBSCRIBE: Row(
        "c1", "person1@example.com", consent_proof="proof-1", consented_at=datetime(2026, 11, 5, 8, 30, tzinfo=UTC)
    ),
    Operation.UPSERT: person(1),
    Operation.JOIN: Row("c1", "person1@example.com"),
}


EXPECTED = {
    Operation.SUPPRESS: ["c1", "person1@example.com", "unsubscribed"],
    Operation.ERASE: ["c1"],
    Operation.MOVE: ["c1", "c2"],
    Operation.LEAVE: ["c1", "person1@example.com", "vip"],
    Operation.DELETE: ["c1", "person1@example.com"],
    Operation.SUBSCRIBE: ["c1", "person1@example.com", "2026-11-05T08:30:00+00:00", "proof-1"],
    Operation.UPSERT: ["c1", "person1@example.com", "Name 1", "gold", "loyal|new"],
    Operation.JOIN: ["c1", "person1@example.com", "vip"],
}


def list_of(operation: Operation) -> str | None:
    return "vip" if operation in (Operation.JOIN, Operation.LEAVE) else None


@contextmanager
def connecting(base: Path) -> Iterator[Callable[..., FileDrop]]:
    """What opens clients for a folder, prepared with the field map's attributes, by their options."""
    with ExitStack() as stack:

        def connect(**options) -> FileDrop:
            client = stack.enter_context(open_client(Connection(base.as_uri(), ""), Options(**options)))
            client.prepare(ATTRIBUTES, ["a list"])
            return client

        yield connect
