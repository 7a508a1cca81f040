"""The FastAPI application: API, tracking addresses, outbox pages and the demo's side over one database."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from letterpress.demo.esp import api, demo, pages
from letterpress.demo.esp.clock import ShopClock, wall_clock
from letterpress.demo.esp.database import Database
from letterpress.demo.esp.faults import Fault, Faults
from letterpress.demo.esp.mailbox import Mailbox
from letterpress.demo.esp.outbox import Outbox
from letterpress.demo.esp.profiles import Profiles
from letterpress.demo.esp.readers import Readers
from letterpress.demo.esp.smtp import Handler
from letterpress.demo.esp.suppressions import Suppressions
from letterpress.demo.esp.tracking import Signer


class EspApp(FastAPI):
    """FastAPI with the faults that tests switch on in front of everything."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or fail as the next fault says."""
        fault = self.state.faults.take(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await super().__call__(scope, receive, send)
            return
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            error = {"error": {"code": "fault", "message": "switched on by a test"}}
            await JSONResponse(error, fault.status, headers)(scope, receive, send)
        elif fault.loses_answer:

            async def lose(_) -> None:
                return

            await super().__call__(scope, receive, lose)
            server = getattr(send, "__self__", None)  # uvicorn's request cycle
            if server is None or not hasattr(server, "transport"):
                raise ConnectionResetError("the answer is lost")
            server.transport.abort()
            await asyncio.sleep(0.01)  # let uvicorn notice that nobody is there to be answered
        else:
            await super().__call__(scope, receive, send)


def create_app(
    *,
    path: str | Path,
    token: str,
    base_url: str = "http://127.0.0.1:8091",
    shop_url: str | None = None,
    clock: Callable[[], datetime] | None = None,
    faults: Iterable[Fault] = (),
) -> EspApp:
    """Make the application over the SQLite file ``path``; ``app.state.smtp_handler`` takes its mail.

    ``base_url`` is where recipients reach it, written into every mail. The time of events comes from
    ``clock``, or from the shop at ``shop_url``, or from the machine where neither is given.
    """
    if not token:
        raise ValueError("the local ESP's token is empty: expected LETTERPRESS_ESP_TOKEN or secrets/esp_token")
    database = Database(path)
    app = EspApp(title="Letterpress local ESP", docs_url=None, redoc_url=None)
    state = app.state
    state.database = database
    state.token = token
    state.base_url = base_url.rstrip("/")
    state.faults = Faults(faults)
    state.signer = Signer(database.signing_key())
    if clock is not None:
        state.clock = clock
    elif shop_url is not None:
        state.clock = ShopClock(
            shop_url,
            recall=lambda: database.recall("shop_clock"),
            remember=lambda told: database.remember("shop_clock", told),
        )
    else:
        state.clock = wall_clock
    state.profiles = Profiles(database)
    state.suppressions = Suppressions(database)
    state.mailbox = Mailbox(database)
    state.outbox = Outbox(database)
    state.readers = Readers(database)
    state.smtp_handler = Handler(
        state.mailbox,
        signer=state.signer,
        clock=state.clock,
        base_url=lambda: state.base_url,
        faults=state.faults,
    )
    api.install(app)
    app.include_router(demo.router)
    pages.install(app)
    return app
