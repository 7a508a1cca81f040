"""Serving a stand-in: in a thread for tests, in the foreground for the command."""

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

from letterpress.demo.esp.server import listen
from letterpress.demo.vendors.specification import Specification
from letterpress.demo.vendors.standin import StandIn


@dataclass(frozen=True)
class RunningVendor:
    """A stand-in that serves in this process; ``app.faults.add(Fault(...))`` makes it fail."""

    base_url: str
    token: str
    app: StandIn


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that serves decides what a signal means."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@cache
def vendors() -> tuple[str, ...]:
    """The vendors that there is a stand-in for: modules beside this one that say which class theirs is."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(one.stem for one in modules if "\nSTAND_IN = " in one.read_text(encoding="utf-8"))


def stand_in(vendor: str) -> type[StandIn]:
    """The class of a vendor's stand-in: ``STAND_IN`` of the module of its name."""
    if vendor not in vendors():
        raise ValueError(f"expected a vendor of {', '.join(vendors())}, found {vendor!r}")
    return importlib.import_module(f"letterpress.demo.vendors.{vendor}").STAND_IN


@contextlib.contextmanager
def running(
    vendor: str, folder: str | Path | None = None, *, specifications: Path | None = None, **given: Any
) -> Iterator[RunningVendor]:
    """Serve a vendor's stand-in on a free loopback port until the block ends.

    ``folder`` keeps its state (none: memory alone), ``specifications`` is the folder of the vendors' documents that
    requests and answers are held to; the rest goes to :class:`StandIn`.
    """
    kind = stand_in(vendor)
    document = None
    if specifications is not None and kind.specification_file is not None:
        document = Specification.read(specifications / kind.specification_file)
    app = kind(None if folder is None else Path(folder) / f"{vendor}.sqlite", specification=document, **given)
    listening = listen("127.0.0.1", 0, "a port")
    server = make_server(app)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listening])), name=f"vendor-{vendor}", daemon=True
    )
    thread.start()
    try:
        yield RunningVendor(f"http://127.0.0.1:{listening.getsockname()[1]}", app.token, app)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        app.documents.close()


def make_server(app: StandIn) -> uvicorn.Server:
    """uvicorn without an access log, which would hold addresses, and without a word on answers lost on purpose."""
    return _Server(
        uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            date_header=False,  # the stand-in dates its answers by its own clock
            lifespan="off",
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=1 << 16,
        )
    )
