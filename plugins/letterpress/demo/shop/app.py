"""The shop's REST API, its event stream and its clock, as an application over one database."""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from letterpress.demo.shop import pages
from letterpress.demo.shop.database import OrderDatabase
from letterpress.demo.shop.exports import Exports
from letterpress.demo.shop.faults import Fault, FaultMiddleware, has_changed_types, repeated_rows, with_changed_types
from letterpress.demo.shop.loop import ClosedLoop
from letterpress.demo.shop.mailboxes import Mailboxes
from letterpress.demo.shop.webhooks import Webhooks
from letterpress.demo.simulation import chance, rows
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import Store
from letterpress.demo.simulation.switches import Dirt, Faults
from letterpress.settings import Settings

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


class UnusableSwitchesError(Exception):
    """The settings name a kind of dirt or a fault that there is not, or give it no rate."""


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
    dirt: Dirt | None = None,
    mailboxes: Mailboxes | None = None,
    database_url: str | None = None,
    exports: str | Path | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    rates: Faults | None = None,
    faults: list[Fault] | None = None,
) -> FastAPI:
    """The shop as an application; its history is made here where ``<home>/shop/shop.sqlite`` is absent.

    ``dirt`` is all on unless given. ``mailboxes`` are where its people read what the local ESP delivered; without
    them nobody answers. ``database_url`` is where its orders are mirrored, ``<home>/shop/orders.sqlite`` unless given;
    ``exports`` where it writes its nightly files, ``<home>/shop/exports``; ``webhook_url`` where its web events are
    sent. ``rates`` are how often its API fails, never unless given; ``faults`` is a list that tests may go on filling
    while the application runs (``app.state.faults``). Raises ``OtherWorld`` where the file was made with other
    parameters, ``DatabaseUnusable`` where the order database cannot be written to.
    """
    world = World(seed, customers, days, today, dirt=dirt or Dirt())
    store = Store(Path(home) / "shop" / "shop.sqlite", world)
    store.prepare()
    folder = store.path.parent
    outlets: list[OrderDatabase | Exports | Webhooks] = [
        OrderDatabase(database_url or f"sqlite:///{folder / 'orders.sqlite'}", store),
        Exports(Path(exports or folder / "exports"), store),
    ]
    if webhook_url:
        outlets.append(Webhooks(webhook_url, webhook_secret, store))
    for outlet in outlets:
        outlet.prepare()
    app = FastAPI(
        title="Letterpress demo shop",
        version="1",
        description="A simulated retailer's back office. Lists are ordered by their cursor field and key; page with"
        " `next_cursor`, come back later with `since`. Overwritten rows appear again under their new cursor value.",
    )
    app.state.faults = faults if faults is not None else []
    rates = rates or Faults.off()
    app.add_middleware(FaultMiddleware, faults=app.state.faults, rates=rates, seed=seed)
    app.state.store = store
    for entity, model, field, summary in LISTS:
        _add_list(app, store, rates, entity, model, field, summary)
    _add_stream(app, store)
    loop = app.state.loop = ClosedLoop(store, mailboxes, outlets)
    _add_clock(app, store, loop)
    pages.install(app, store)

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


def _add_list(
    app: FastAPI, store: Store, rates: Faults, entity: str, model: type[BaseModel], field: str, summary: str
) -> None:
    def read(paging: Annotated[Paging, Query()]) -> Response:
        try:
            after = decode_cursor(entity, paging.cursor) if paging.cursor else None
        except ValueError as error:
            raise _refuse("query", "cursor", message=str(error)) from error
        since = chance.milliseconds(paging.since) if paging.since else None
        found = store.page(entity, since, after, paging.page_size + 1)
        page = found[: paging.page_size]
        cursor = encode_cursor(entity, page[-1][:2]) if len(found) > len(page) else None
        if after is not None and page:
            again = repeated_rows(rates, store.world.seed, paging.cursor or "", len(page))
            page = [*(store.page_before(entity, after, again) if again else []), *page]
        if entity == "products" and has_changed_types(rates, store.world.seed, store.now()):
            page = [(at, key, with_changed_types(row)) for at, key, row in page]
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


def _add_clock(app: FastAPI, store: Store, loop: ClosedLoop) -> None:
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
        return rows.Clock(now=chance.iso(loop.advance(step)))


def create_app_from(configured: Settings, faults: list[Fault] | None = None) -> FastAPI:
    """The shop that the settings describe.

    ``UnusableHomeError`` where the home is not a local folder, ``UnusableSwitchesError`` where the switches are not.
    """
    from letterpress.demo.esp.server import read_token

    home = configured.home.removeprefix("file://")
    if "://" in home:
        raise UnusableHomeError(
            f"the demo shop keeps its database in LETTERPRESS_HOME: expected a local folder, found {home};"
            " run it with a local LETTERPRESS_HOME and point LETTERPRESS_SHOP_URL at it"
        )
    exports = configured.shop_exports.removeprefix("file://")
    if "://" in exports:
        raise UnusableHomeError(
            f"the demo shop writes its files into LETTERPRESS_SHOP_EXPORTS_FOLDER: expected a local folder, found"
            f" {exports}; give a local one, and the URI as the path of the Airflow Connection letterpress_shop_files"
        )
    try:
        dirt, rates = Dirt.parse(configured.shop_dirt), Faults.parse(configured.shop_faults)
    except ValueError as error:
        raise UnusableSwitchesError(f"LETTERPRESS_SHOP_DIRT or LETTERPRESS_SHOP_FAULTS: {error}") from None
    return create_app(
        home=home,
        seed=configured.shop_seed,
        customers=configured.shop_customers,
        days=configured.shop_days,
        today=configured.shop_today,
        dirt=dirt,
        rates=rates,
        mailboxes=Mailboxes(configured.esp, configured.esp_token or read_token(configured.secrets)),
        database_url=configured.shop_database,
        exports=exports,
        webhook_url=configured.shop_webhook_url,
        webhook_secret=configured.shop_webhook_secret,
        faults=faults,
    )
