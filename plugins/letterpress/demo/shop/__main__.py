"""``python -m letterpress.demo.shop``: serve the demo shop where the settings say, until it is stopped."""

import socket
import sys

import uvicorn

from letterpress.demo.shop.app import UnusableHomeError, UnusableSwitchesError, create_app_from
from letterpress.demo.shop.database import DatabaseUnusable
from letterpress.demo.simulation.store import OtherWorld
from letterpress.settings import settings


def main() -> int:
    """Serve the shop until it is stopped; 3 where its port is taken, 2 where its database cannot be used."""
    configured = settings()
    with socket.socket(socket.AF_INET6 if ":" in configured.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((configured.host, configured.shop_port))
            listener.listen(128)
        except OSError as error:
            sys.stderr.write(
                f"the demo shop cannot listen on {configured.host}:{configured.shop_port} ({error.strerror}):"
                " stop what is there or set LETTERPRESS_SHOP_PORT to a free port\n"
            )
            return 3
        try:
            app = create_app_from(configured)
        except (OtherWorld, UnusableHomeError, UnusableSwitchesError, DatabaseUnusable) as error:
            sys.stderr.write(f"{error}\n")
            return 2
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
