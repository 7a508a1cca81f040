"""The whole engine on one destination's stand-in, for tests that every destination has to pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activation_line import KEY, Line

from letterpress.activation import drift, stores
from letterpress.activation.destinations import Connection, Destination, destination, destinations, open_client
from letterpress.activation.destinations.spec import Client, Held, Operation, Row
from letterpress.activation.kept import Kept
from letterpress.activation.seal import Seal
from letterpress.demo.esp import running as running_esp
from letterpress.demo.vendors import running

VENDORS = tuple(destinations(include_disabled=True))  # whoever has a block has to pass
_EVERYDAY = destinations()
SEGMENT = "champions"
DOCUMENTS = {"klaviyo", "mailchimp", "braze"}  # those with a specification beside the checkout


def of_vendors(*names: str) -> list[Any]:
    """Parameters of a test: who is switched on takes part every day, the others in the slow proofs."""
    import pytest

    return [pytest.param(name, marks=() if name in _EVERYDAY else pytest.mark.slow) for name in names]


@dataclass
class VendorLine(Line):
    """A line to any destination; ``app`` is its stand-in, the local ESP's or none for files."""

    connection_: Connection | None = None
    app: Any = None
    list_id: str | None = None

    @property
    def connection(self) -> Connection:
        return self.connection_

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The destination's client, with what earlier ones kept."""
        with stores.opened(self.stores_url) as engine:
            kept = Kept(engine, Seal(KEY), self.destination.name)
            with open_client(self.destination, self.connection, kept) as client:
                yield client

    def held(self, *people: Any) -> dict[str, Held]:
        """What the destination holds of these people, as its own client reads it."""
        rows = [Row(one.customer_id, email=one.email) for one in people]
        names = [mapped.attribute for mapped in self.destination.attributes.values()]
        with self.client() as client:
            return {one.customer_id: one for one in client.read(rows, names)}

    def value(self, one: Any, column: str) -> Any:
        """One attribute of one person there, by the audience's column; lists as a set."""
        found = self.held(one)[one.customer_id].attributes[self.destination.attributes[column].attribute]
        return None if found in ("", []) else found

    def writes(self) -> int:
        """How many requests changed something so far."""
        if self.destination.module == "files":
            return len(list(self.folder.rglob("manifests/*.json")))
        if self.destination.module == "local_esp":
            with self.app.state.database.reading() as connection:
                return connection.execute("select count(*) from requests").fetchone()[0]
        reading = ("/v2/token", "/search", "/batch/read", "/export/ids")
        return sum(
            method != "GET" and status < 400 and not path.endswith(reading) for method, path, status in self.app.calls
        )

    def drift(self, **options: Any) -> drift.Drift:
        return drift.check(
            destination=self.destination,
            connection=self.connection,
            stores_url=self.stores_url,
            identity_key=KEY,
            **options,
        )


@contextmanager
def vendor_line(
    name: str, folder: Path, clock: Any, specifications: Path | None = None, *, job_seconds: float = 2.0
) -> Iterator[VendorLine]:
    """Serve a destination and make a line to it, with a list where it has lists."""
    block = destination(name)
    vendor = block.module
    url = f"sqlite:///{folder}/stores.sqlite"
    if vendor == "files":
        (folder / "drop").mkdir()
        connection = Connection(f"file://{folder}/drop", "")
        yield VendorLine(folder, None, url, _with_list(block, "champions"), connection_=connection)
        return
    if vendor == "local_esp":
        from activation_line import NOW

        with running_esp(folder / "esp", clock=lambda: NOW) as esp:
            connection = Connection(esp.base_url, esp.token, esp.smtp_host, esp.smtp_port)
            yield VendorLine(folder, esp, url, block, connection_=connection, app=esp.app)
        return
    given: dict[str, Any] = {"clock": clock, "job_seconds": job_seconds}
    if vendor in DOCUMENTS:
        given["specifications"] = specifications
    with running(vendor, folder / "vendor", **given) as server:
        extra: dict[str, Any] = {"account_id": "510000001"} if vendor == "salesforce" else {}
        connection = Connection(server.base_url, server.token, login="letterpress", extra=extra)
        yield VendorLine(
            folder,
            None,
            url,
            _with_list(block, vendor_list(vendor, server.app)),
            connection_=connection,
            app=server.app,
        )
        assert server.app.complaints == []


def vendor_list(vendor: str, app: Any, name: str = "Champions") -> str | None:
    """A list of a stand-in's, made where it can be; none where there are no lists."""
    if vendor == "salesforce":
        return "letterpress_win_back"
    make = getattr(app, "add_list", None) or getattr(app, "add_tag", None)
    return make(name) if make else None


def _with_list(block: Destination, list_id: str | None) -> Destination:
    if list_id is None or Operation.JOIN not in block.endpoints:
        return block
    return block.model_copy(update={"lists": {SEGMENT: list_id}})
