"""Serve one vendor's stand-in in the foreground: ``python -m letterpress.demo.vendors klaviyo --port 8092``."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from letterpress.demo.esp.server import listen
from letterpress.demo.vendors.server import make_server, stand_in, vendors


def main() -> None:
    """Serve until SIGINT or SIGTERM; the key is LETTERPRESS_VENDOR_TOKEN."""
    parser = argparse.ArgumentParser(prog="python -m letterpress.demo.vendors", description=__doc__)
    parser.add_argument("vendor", choices=vendors())
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, help="where its state is kept; nowhere unless given")
    parser.add_argument("--without-limits", action="store_true")
    parser.add_argument("--job-seconds", type=float, default=1.0, help="how long a queued job takes")
    given = parser.parse_args()
    app = stand_in(given.vendor)(
        given.folder and given.folder / f"{given.vendor}.sqlite",
        token=os.environ.get("LETTERPRESS_VENDOR_TOKEN", "vendor-test-token"),
        has_limits=not given.without_limits,
        job_seconds=given.job_seconds,
    )
    server = make_server(app)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
        await server.serve(sockets=[listen(given.host, given.port, "--port")])

    try:
        asyncio.run(serve())
    finally:
        app.documents.close()


if __name__ == "__main__":
    main()
