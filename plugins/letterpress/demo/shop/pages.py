"""The shop as a person sees it: shelves, products, customers, the stream of events, and the clock with its buttons.

Everything shown comes from the shop's rows and is escaped; names and addresses are as dirty here as they are there.
The pages work without a script; the one of the events has one, which puts new events on top. Only a person moves the
clock here: a form that another site submits is refused.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from fastapi import FastAPI, Header, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from letterpress.demo.forms import is_foreign, paging
from letterpress.demo.shop.browse import EVENT_KINDS, Shelves, fold, number
from letterpress.demo.shop.pictures import picture
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.store import Store

SHELF_SIZE = 40  # products of a page
LIST_SIZE = 50  # customers of a page, events and mails of a customer
STREAM_SIZE = 100  # events that a page begins with, and that it is sent at once
FEW = 5  # left in stock: said beside the price
POLL_SECONDS = 0.5
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=3600",
}
STATIC = {"style.css": "text/css", "events.js": "text/javascript"}
SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
_FOLDER = Path(__file__).parent / "templates"

Text = Annotated[str, Query(max_length=200)]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
Optional = Annotated[str | None, Header()]


def _moment(value: Any, form: str = "%-d %b %Y, %H:%M") -> str:
    """An instant in the shop's zone; what is none is shown as it came."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return "" if value is None else str(value)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime(form)


def _money(value: Any, currency: Any = "GBP") -> str:
    """An amount with its currency; what is no number is shown as it came."""
    amount = number(str(value))
    if amount is None:
        return "" if value is None else str(value)
    return f"{SYMBOLS.get(currency, f'{currency} ')}{amount:,.2f}"


def _stock(product: dict[str, Any]) -> str:
    """What a visitor is told about the stock; nothing where there is enough, or nothing is known."""
    left = number(product.get("stock_quantity"))
    if left is None or left > FEW:
        return ""
    return f"only {left:.0f} left" if left > 0 else "sold out"


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=ChainableUndefined,  # rows may lack a field
    )
    environment.filters["moment"] = _moment
    environment.filters["money"] = _money
    environment.filters["stock"] = _stock
    environment.filters["hue"] = lambda text: sum(map(ord, str(text))) * 47 % 12
    environment.filters["segment_path"] = lambda text: quote(str(text), safe="")
    return environment


def _render(template: str, **given: Any) -> str:
    return _environment().get_template(template).render(**given)


def _clock(now: int) -> dict[str, Any]:
    """The shop's time as the pages and their script show it."""
    moment = datetime.fromtimestamp(now / 1000, UTC)
    minutes = moment.hour * 60 + moment.minute
    return {
        "instant": chance.iso(now),
        "day": moment.strftime("%A, %-d %B %Y"),
        "short": moment.strftime("%a %-d %b %Y"),
        "time": moment.strftime("%H:%M"),
        "hour_hand": minutes / 2 % 360,
        "minute_hand": minutes % 60 * 6,
    }


def _came_from(request: Request) -> str:
    """The page of this shop that a form was on; the storefront where that is unknown."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host"):
        return "/"
    path = "/" + referer.path.lstrip("/\\")  # two slashes would lead to another host
    return f"{path}?{referer.query}" if referer.query else path


def install(app: FastAPI, store: Store) -> None:
    """Add the pages; their buttons move the clock by ``app.state.loop``, as the API does."""
    shelves = Shelves(store)

    def page(template: str, http_status: int = 200, **given: Any) -> HTMLResponse:
        return HTMLResponse(_render(template, clock=_clock(store.now()), **given), http_status, HEADERS)

    def not_found(what: str) -> HTMLResponse:
        return page("notice.html", 404, title="Not found", text=what)

    _add_shop(app, store, shelves, page, not_found)
    _add_customers(app, shelves, page, not_found)
    _add_events(app, store, shelves, page)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and request.method == "GET" and not request.url.path.startswith("/v1"):
            return await run_in_threadpool(not_found, "This shop has no such page.")
        return await http_exception_handler(request, error)

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in STATIC:
            return not_found("This shop has no such file.")
        headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
        return Response((_FOLDER / name).read_bytes(), media_type=STATIC[name], headers=headers)

    @app.get("/about", include_in_schema=False)
    def about() -> Response:
        return page("about.html", here="about", counts=store.counts())

    def move(request: Request, by: int) -> Response:
        if is_foreign(request):
            return page("notice.html", 403, title="Refused", text="This form came from another site.")
        app.state.loop.advance(by)  # not the store: people answer their mail in between
        return RedirectResponse(_came_from(request), 303, HEADERS)

    @app.post("/next-hour", include_in_schema=False)
    def next_hour(request: Request) -> Response:
        return move(request, chance.HOUR)

    @app.post("/next-day", include_in_schema=False)
    def next_day(request: Request) -> Response:
        return move(request, chance.DAY)


def _add_shop(app: FastAPI, store: Store, shelves: Shelves, page: Any, not_found: Any) -> None:
    def shelf(path: str, category: str, q: str, turned_to: int) -> Response:
        products = shelves.products()
        faces: dict[str, str] = {}  # the product that stands for each category
        for product in products:
            if product.get("category"):
                faces.setdefault(str(product["category"]), product["product_id"])
        title = next((name for name in faces if name.lower() == category.lower()), "")
        if category and not title:
            return not_found(f"This shop has no shelf called {category}.")
        words = fold(q).split()
        shown = [
            product
            for product in products
            if (not title or product.get("category") == title)
            and all(word in fold(f"{product.get('name')} {product.get('category')}") for word in words)
        ]
        shown.sort(key=lambda product: str(product.get("created_at")), reverse=True)
        first = (turned_to - 1) * SHELF_SIZE
        return page(
            "shelf.html",
            here="shop",
            category=title,
            faces=dict(sorted(faces.items())),
            products=shown[first : first + SHELF_SIZE],
            paging=paging(path, turned_to, SHELF_SIZE, len(shown), q=q),
            pulse=None if title or q else shelves.pulse(store.now()),
            q=q,
        )

    @app.get("/", include_in_schema=False)
    def storefront(q: Text = "", turned_to: PageNumber = 1) -> Response:
        return shelf("/", "", q, turned_to)

    @app.get("/c/{category}", include_in_schema=False)
    def category_page(category: str, turned_to: PageNumber = 1) -> Response:
        return shelf(f"/c/{quote(category, safe='')}", category, "", turned_to)

    @app.get("/p/{product_id}", include_in_schema=False)
    def product_page(product_id: str) -> Response:
        product = shelves.product(product_id)
        if product is None:
            return not_found("This shop has no such product.")
        beside = [other for other in shelves.products() if other.get("category") == product.get("category")]
        at = next((place for place, other in enumerate(beside) if other["product_id"] == product_id), 0)
        neighbours = (beside[at + 1 :] + beside[:at])[:6]
        return page("product.html", here="shop", product=product, neighbours=neighbours)

    @app.get("/pictures/{product_id}.svg", include_in_schema=False)
    def picture_file(product_id: str, if_none_match: Optional = None) -> Response:
        product = shelves.product(product_id)
        if product is None:
            return not_found("This shop has no such product.")
        drawn = picture(str(product.get("name") or "Product")).encode()
        headers = PICTURE_HEADERS | {"ETag": f'"{hashlib.sha256(drawn).hexdigest()[:20]}"'}
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(drawn, media_type="image/svg+xml", headers=headers)


def _add_customers(app: FastAPI, shelves: Shelves, page: Any, not_found: Any) -> None:
    @app.get("/customers", include_in_schema=False)
    def customers(q: Text = "", turned_to: PageNumber = 1) -> Response:
        found, total = shelves.customers(q, (turned_to - 1) * LIST_SIZE, LIST_SIZE)
        around = paging("/customers", turned_to, LIST_SIZE, total, q=q)
        return page("customers.html", here="customers", customers=found, paging=around, q=q)

    @app.get("/customers/{customer_id}", include_in_schema=False)
    def customer_page(customer_id: str) -> Response:
        customer = shelves.customer(customer_id)
        if customer is None:
            return not_found("This shop has no such customer.")
        mails, mail_count = shelves.mails(customer_id, LIST_SIZE)
        return page(
            "customer.html",
            here="customers",
            customer=customer,
            consents=shelves.consents(customer_id),
            orders=shelves.orders(customer_id),
            products={product["product_id"]: product for product in shelves.products()},
            mails=mails,
            mail_count=mail_count,
            events=shelves.events_of(customer_id, LIST_SIZE),
        )


def _add_events(app: FastAPI, store: Store, shelves: Shelves, page: Any) -> None:
    @app.get("/events", include_in_schema=False)
    def events(kind: Text = "") -> Response:
        kind = kind if kind in EVENT_KINDS else ""
        position = shelves.position()  # first: what is written meanwhile comes twice rather than never
        return page(
            "events.html",
            here="events",
            kind=kind,
            kinds=EVENT_KINDS,
            events=shelves.last_events(kind, STREAM_SIZE),
            source="/events/stream?" + urlencode({"kind": kind, "after": position}),
        )

    @app.get("/events/stream", include_in_schema=False)
    async def stream(
        request: Request,
        kind: Text = "",
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Optional = None,
    ) -> StreamingResponse:
        if last_event_id and last_event_id.isascii() and last_event_id.isdigit():
            after = int(last_event_id[:18])
        told = _tell(request, store, shelves, kind if kind in EVENT_KINDS else "", after)
        return StreamingResponse(told, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _tell(request: Request, store: Store, shelves: Shelves, kind: str, after: int) -> AsyncIterator[bytes]:
    """The clock whenever it has moved, and rows for the page's list whenever events have come."""
    told_now = None
    while not await request.is_disconnected():
        now = await run_in_threadpool(store.now)
        if now != told_now:
            told_now = now
            yield b"event: clock\ndata: %s\n\n" % orjson.dumps(_clock(now))
        news = await run_in_threadpool(shelves.news, after, kind, STREAM_SIZE)
        if news.count:
            rows = await run_in_threadpool(_render, "event_rows.html", events=news.events, is_new=True)
            body = orjson.dumps({"count": news.count, "rows": rows})
            yield b"id: %d\nevent: news\ndata: %s\n\n" % (news.position, body)
        after = news.position
        await asyncio.sleep(POLL_SECONDS)
