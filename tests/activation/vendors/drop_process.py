"""A process that writes one file of a drop, and kills itself where a test wants it: see ``test_files_kills.py``."""

import os
import signal
import sys

import orjson

from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.files import Options, open_client
from letterpress.activation.destinations.spec import Operation, Results, Row


def person(number: int) -> Row:
    values = {"external_id": f"c{number}", "email": f"person{number}@example.com", "tier": "gold"}
    return Row(f"c{number}", values["email"], orjson.dumps(values))


ROWS = {Operation.UPSERT: [person(1), person(2)], Operation.ERASE: [person(1)]}


def write(where: list[str], operation: Operation, kill: str = "") -> None:
    """Send one operation; ``kill`` is ``after 1`` (write, of a number) or ``renaming`` (the first file)."""
    base, login, secret, host_key = where
    connection = Connection(base, secret, login=login or None, extra={"host_key": host_key} if host_key else {})
    with open_client(connection, Options()) as client:
        client.prepare({"tier": "string"}, ())
        real, writes = client._folder.write, []

        def killing(path: str, content: bytes) -> None:
            real(path, content)
            writes.append(path)
            if kill == f"after {len(writes) - 1}":
                os.kill(os.getpid(), signal.SIGKILL)

        if kill:
            client._folder.write = killing
        if kill == "renaming":
            os.replace = lambda part, path: os.kill(os.getpid(), signal.SIGKILL)
        assert client.send(operation, ROWS[operation], key=operation, list_id=None) == Results()


if __name__ == "__main__":
    write(sys.argv[1:5], Operation(sys.argv[5]), sys.argv[6])
