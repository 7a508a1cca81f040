"""The demo shop: a simulated retailer's back office behind a REST API and an event stream.

``python -m letterpress.demo.shop`` serves it on ``LETTERPRESS_HOST`` and ``LETTERPRESS_SHOP_PORT``. The first
start makes the history; ``POST /v1/clock/advance`` moves the clock and makes what happened until then.
"""

import asyncio
import base64
import binascii
import html
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from letterpress.demo.simulation import chance, rows
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import OtherWorld, Store
from letterpress.settings import Settings, settings

logger = logging.getLogger(__name__)

LARGEST_PAGE = 1_000
TODAY: datetime = Settings.model_fields["shop_today"].default
POLL_SECONDS = 0.5

# entity, the model of its rows, the field that cursors follow, what it is
LISTS: tuple[tuple[str, type[BaseModel], str, str], ...] = (
    ("customers", rows.Customer, "updated_at", "Accounts of the CRM; a changed one appears again."),
    ("consents", rows.Consent, "recorded_at", "Records of consent, only added to."),
    ("products", rows.Product, "updated_at", "The catalogue with prices and stock; a changed one appears again."),
    ("orders", rows.Order, "updated_at", "Orders as they stand; a changed one appears again."),
    ("order_lines", rows.OrderLine, "updated_at", "The products of each order."),
    ("refunds", rows.Refund, "updated_at", "Money given back."),
    ("events", rows.Event, "receivedAt", "Web events in the vocabulary of the Segment specification."),
    ("email_events", rows.EmailEvent, "received_at", "What happened to the mail that the shop sent."),
)


class UnusableHomeError(Exception):
    """The home is not a folder of this machine."""


class Fault(BaseModel):
    """An answer that a test plants: the next matching request gets it instead of the real one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int = Field(ge=400, le=599)
    retry_after: float | None = Field(default=None, description="seconds, for the Retry-After header")
    path: str = Field(default="/v1/", description="requests whose path begins with this")


class FaultMiddleware:
    """Answers with the planted faults, each once and in their order."""

    def __init__(self, app: ASGIApp, faults: list[Fault]):
        self.app = app
        self.faults = faults
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        fault = self._take(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
            return
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        answer = JSONResponse({"detail": "planted by a test"}, fault.status, headers)
        await answer(scope, receive, send)

    def _take(self, path: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self.faults):
                if path.startswith(fault.path):
                    return self.faults.pop(index)
        return None


class Paging(BaseModel):
    """How every list is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime | None = Field(
        default=None,
        description="only rows whose cursor field is at or after this instant (ISO 8601 with zone)",
        examples=["2011-06-30T00:00:00Z"],
    )
    page_size: int = Field(default=500, ge=1, le=LARGEST_PAGE)
    cursor: str | None = Field(default=None, description="next_cursor of the page before; since is then not used")


def encode_cursor(entity: str, after: tuple[int, str]) -> str:
    """A position as clients see it."""
    return base64.urlsafe_b64encode(orjson.dumps([entity, *after])).decode().rstrip("=")


def decode_cursor(entity: str, cursor: str) -> tuple[int, str]:
    """The position that ``encode_cursor`` wrote for this entity; ValueError where it is another text."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        name, at, key = found
    except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise ValueError("expected next_cursor of the page before, unchanged") from error
    if name != entity:
        raise ValueError(f"expected a cursor of {entity}, found one of {name}")
    if type(at) is not int or abs(at) >= 2**62 or not isinstance(key, str):
        raise ValueError("expected next_cursor of the page before, unchanged")
    return at, key


def _refuse(*location: str, message: str) -> HTTPException:
    return HTTPException(422, [{"loc": location, "msg": message, "type": "value_error"}])


def create_app(
    *,
    home: str | Path,
    seed: int = 1,
    customers: int = 1_000,
    days: int = 365,
    today: datetime = TODAY,
    faults: list[Fault] | None = None,
) -> FastAPI:
    """The shop as an application; its history is made here where ``<home>/shop/shop.sqlite`` is absent.

    ``faults`` is a list that tests may go on filling while the application runs (``app.state.faults``).
    Raises ``OtherWorld`` where the file was made with other parameters.
    """
    store = Store(Path(home) / "shop" / "shop.sqlite", World(seed, customers, days, today))
    store.prepare()
    app = FastAPI(
        title="Letterpress demo shop",
        version="1",
        description="A simulated retailer's back office. Lists are ordered by their cursor field and key; page with"
        " `next_cursor`, come back later with `since`. Overwritten rows appear again under their new cursor value.",
    )
    app.state.faults = faults if faults is not None else []
    app.add_middleware(FaultMiddleware, faults=app.state.faults)
    app.state.store = store
    for entity, model, field, summary in LISTS:
        _add_list(app, store, entity, model, field, summary)
    _add_stream(app, store)
    _add_clock(app, store)
    _add_page(app, store)

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        # the input itself is not repeated: it may hold somebody's data
        names = ("loc", "msg", "type")
        detail = [{name: problem[name] for name in names} for problem in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    @app.get("/health", tags=["operations"])
    def health() -> dict[str, str]:
        """Whether the shop is open."""
        return {"status": "ok"}

    return app


def _add_list(app: FastAPI, store: Store, entity: str, model: type[BaseModel], field: str, summary: str) -> None:
    def read(paging: Annotated[Paging, Query()]) -> Response:
        try:
            after = decode_cursor(entity, paging.cursor) if paging.cursor else None
        except ValueError as error:
            raise _refuse("query", "cursor", message=str(error)) from error
        since = chance.milliseconds(paging.since) if paging.since else None
        found = store.page(entity, since, after, paging.page_size + 1)
        page = found[: paging.page_size]
        cursor = encode_cursor(entity, page[-1][:2]) if len(found) > len(page) else None
        body = b'{"data":[' + b",".join(row[2] for row in page) + b'],"next_cursor":' + orjson.dumps(cursor) + b"}"
        return Response(body, media_type="application/json")

    app.add_api_route(
        f"/v1/{entity}",
        read,
        methods=["GET"],
        response_model=rows.Rows[model],
        summary=summary,
        description=f"Cursor field: `{field}`.",
        operation_id=f"list_{entity}",
        tags=["lists"],
    )


def _add_stream(app: FastAPI, store: Store) -> None:
    @app.get("/v1/stream", tags=["stream"], response_class=StreamingResponse)
    async def stream(
        request: Request,
        since: Annotated[AwareDatetime | None, Query(description="from this instant of receivedAt on")] = None,
        follow: Annotated[bool, Query(description="stay open and send what the clock brings")] = False,
        last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
    ) -> StreamingResponse:
        """The web events as server-sent events in the order of receivedAt; ends when caught up unless follow=1."""
        try:
            after = decode_cursor("events", last_event_id) if last_event_id else None
        except ValueError as error:
            raise _refuse("header", "last-event-id", message=str(error)) from error
        start = chance.milliseconds(since) if since else None
        return StreamingResponse(_events(request, store, start, after, follow), media_type="text/event-stream")


async def _events(
    request: Request, store: Store, since: int | None, after: tuple[int, str] | None, follow: bool
) -> AsyncIterator[bytes]:
    while True:
        found = await run_in_threadpool(store.page, "events", since, after, LARGEST_PAGE)
        if found:
            yield b"".join(
                b"id: %s\ndata: %s\n\n" % (encode_cursor("events", (at, key)).encode(), body) for at, key, body in found
            )
            after = found[-1][:2]
            continue
        if not follow or await request.is_disconnected():
            return
        yield b": waiting\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _add_clock(app: FastAPI, store: Store) -> None:
    @app.get("/v1/clock", tags=["clock"])
    def read_clock() -> rows.Clock:
        """The shop's time."""
        return rows.Clock(now=chance.iso(store.now()))

    @app.post("/v1/clock/advance", tags=["clock"])
    def advance(by: rows.Advance) -> rows.Clock:
        """Move the clock and make what happened until then; the same steps always make the same data."""
        step = by.days * chance.DAY + by.hours * chance.HOUR
        if not step:
            raise _refuse("body", message="expected days or hours above 0, found neither")
        return rows.Clock(now=chance.iso(store.advance(step)))


def _add_page(app: FastAPI, store: Store) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(_page(store))

    @app.post("/next-day", include_in_schema=False)
    def next_day() -> RedirectResponse:
        store.advance(chance.DAY)
        return RedirectResponse("/", 303)


def _page(store: Store) -> str:
    def cell(value: Any) -> str:
        return f"<td>{html.escape(str(value))}</td>"

    counts = "".join(
        f'<tr><td><a href="/v1/{name}?page_size=20">{name}</a></td><td class="number">{count:,}</td></tr>'
        for name, count in store.counts().items()
    )
    events = "".join(
        "<tr>"
        + cell(event["receivedAt"][:19].replace("T", " "))
        + cell(event["event"] or event["type"])
        + cell(event["context"]["page"]["path"])
        + cell(event["userId"] or "unknown")
        + "</tr>"
        for event in store.last("events", 20)
    )
    now = chance.iso(store.now())[:16].replace("T", " ")
    return _HTML.format(now=now, counts=counts, events=events)


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Demo shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #faf9f6; margin: 0; }}
main {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ margin-bottom: 0; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.clock {{ display: flex; align-items: center; gap: 1rem; background: #fff; border: 1px solid #ddd;
  border-radius: .5rem; padding: 1rem; }}
.clock strong {{ font-size: 1.4rem; font-variant-numeric: tabular-nums; }}
button {{ font: inherit; color: #fff; background: #1f5f5b; border: 0; border-radius: .4rem; padding: .5rem 1rem;
  cursor: pointer; }}
table {{ border-collapse: collapse; width: 100%; background: #fff; }}
td, th {{ text-align: left; padding: .3rem .75rem; border-bottom: 1px solid #eee; }}
td {{ font-variant-numeric: tabular-nums; }} .number {{ text-align: right; }} a {{ color: #1f5f5b; }}
</style></head><body><main>
<h1>Demo shop</h1>
<p>A simulated retailer's back office: customers, consents, orders, web events and mail, behind a REST API
(<a href="/docs">description</a>). Nobody here exists, and nothing happens until its clock moves.</p>
<div class="clock"><span>The shop's clock</span><strong>{now} UTC</strong>
<form method="post" action="/next-day"><button>Next day</button></form></div>
<h2>Rows</h2><table>{counts}</table>
<h2>Last events</h2>
<table><tr><th>received</th><th>event</th><th>page</th><th>customer</th></tr>{events}</table>
</main></body></html>
"""


def create_app_from(configured: Settings, faults: list[Fault] | None = None) -> FastAPI:
    """The shop that the settings describe; UnusableHomeError where the home is not a local folder."""
    home = configured.home.removeprefix("file://")
    if "://" in home:
        raise UnusableHomeError(
            f"the demo shop keeps its database in LETTERPRESS_HOME: expected a local folder, found {home};"
            " run it with a local LETTERPRESS_HOME and point LETTERPRESS_SHOP_URL at it"
        )
    return create_app(
        home=home,
        seed=configured.shop_seed,
        customers=configured.shop_customers,
        days=configured.shop_days,
        today=configured.shop_today,
        faults=faults,
    )


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
        except (OtherWorld, UnusableHomeError) as error:
            sys.stderr.write(f"{error}\n")
            return 2
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
