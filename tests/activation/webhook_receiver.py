"""A webhook receiver in this process over a store of its own, for tests to send to and to look into."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from activation_line import KEY
from starlette.testclient import TestClient
from webhook_vendors import NOW, PUBLIC, SECRETS, Request

from letterpress.activation import stores, suppression
from letterpress.activation.webhooks.app import Receiver, create_app
from letterpress.activation.webhooks.configuration import endpoints
from letterpress.settings import Settings


def configured(**secrets: str) -> dict:
    """Endpoints of these destinations, each named after its vendor."""
    environment = {f"LETTERPRESS_WEBHOOK_SECRET_{name.upper()}": secret for name, secret in secrets.items()}
    return endpoints(Settings(webhooks=" ".join(secrets), webhooks_url=PUBLIC), environment)


@dataclass
class Box:
    """The service with a clock that a test moves, and what it has in its store."""

    folder: Path
    stores_url: str
    now: datetime = NOW
    landed: datetime | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    client: TestClient | None = None

    @contextmanager
    def serving(self) -> Iterator["Box"]:
        receiver = Receiver(
            endpoints=configured(**self.secrets),
            stores_url=self.stores_url,
            identity_key=KEY,
            confirmations=str(self.folder / "confirmations"),
            public_url=PUBLIC,
            clock=lambda: self.now,
            landed_through=lambda: self.landed,
            **self.changes,
        )
        with TestClient(create_app(receiver), raise_server_exceptions=False) as self.client:
            yield self

    def send(self, request: Request) -> int:
        """The status of the answer, which never has content."""
        answer = self.client.post(request.path, content=request.body, headers=dict(request.headers))
        assert answer.content == b""
        return answer.status_code

    def events(self) -> list[dict[str, Any]]:
        """What is kept, in the order in which it came."""
        table = stores.WEBHOOK_EVENTS
        query = sa.select(table).order_by(table.c.received_at, table.c.event_id)
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def stopped(self, number: int) -> dict[str, str]:
        """Whether person ``number`` is suppressed at this moment, by customer id and address, and why."""
        who = (f"customer-{number:05d}", f"person{number}@example.com")
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            return suppression.stopped(connection, [who], KEY)
