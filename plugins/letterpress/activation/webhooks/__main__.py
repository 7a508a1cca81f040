"""``python -m letterpress.activation.webhooks``: receive webhooks where the settings say, until SIGINT or SIGTERM."""

import logging
import os
import socket
import sys
from datetime import datetime
from pathlib import Path

import uvicorn

from letterpress import storage
from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.webhooks.app import Receiver, create_app
from letterpress.activation.webhooks.configuration import endpoints
from letterpress.settings import Settings, settings

SOURCE, ENTITY = "webhooks", "events"  # as sources.yml calls what lands from here


def identity_key(chosen: Settings) -> bytes:
    """The key that hashes are made with. Raises ConfigurationError where there is none yet."""
    file = Path(chosen.secrets) / "identity_key"
    if not file.is_file():
        raise ConfigurationError(
            f"{file}: expected the identity key, found none; next step: `make run` once, or let the deployment's init "
            f"make it, with the same LETTERPRESS_HOME"
        )
    return file.read_text().strip().encode()


def landed_through(landing: str) -> datetime | None:
    """How far the events have landed, as the last accepted load says."""
    from letterpress.sources import landing as book

    last = book.last_manifest(landing, SOURCE)
    entity = last.entities.get(ENTITY) if last else None
    return datetime.fromisoformat(entity.reach) if entity and entity.reach else None


def main() -> int:
    """Serve; 2 where the configuration is not complete, 3 where the port is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    chosen = settings()
    try:
        receiver = Receiver(
            endpoints=endpoints(chosen, os.environ),
            stores_url=chosen.stores,
            identity_key=identity_key(chosen),
            confirmations=storage.join(chosen.secrets, "webhooks"),
            public_url=chosen.webhooks_url or "",
            landed_through=lambda: landed_through(chosen.landing),
        )
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        listener = socket.create_server((chosen.host, chosen.webhooks_port), backlog=256)
    except OSError as error:
        sys.stderr.write(
            f"The webhook receiver cannot listen on {chosen.host}:{chosen.webhooks_port} ({error.strerror}): stop what "
            f"is there, or set LETTERPRESS_WEBHOOKS_PORT to a free port\n"
        )
        return 3
    os.umask(0o077)
    # No access log: an address has a secret in it where a vendor does not sign. X-Forwarded-For is believed of a proxy
    # on this machine, or of those in uvicorn's own FORWARDED_ALLOW_IPS.
    configured = uvicorn.Config(
        create_app(receiver),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(configured).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
