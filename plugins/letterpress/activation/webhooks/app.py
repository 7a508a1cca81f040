"""The receiver: ``POST /<destination>`` (and ``/<destination>/<secret>`` where a vendor does not sign).

Answers have no content. 200: durable, or there already. 400: not of the vendor's form. 401: not the vendor's, or not
of now. 404: nobody is configured here. 408, 413, 415: too slow, too large, of another kind. 429: an address that has
sent too many of these. 503: could not be kept, send it again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from letterpress import storage
from letterpress.activation import stores
from letterpress.activation.webhooks import inbox, signing
from letterpress.activation.webhooks.configuration import Endpoint
from letterpress.activation.webhooks.limits import WITHIN, BadRequests
from letterpress.activation.webhooks.spec import Unreadable

log = logging.getLogger(__name__)

LARGEST_BODY = 5_000_000
BODY_SECONDS = 10.0
FORGET_SECONDS = 3_600.0


@dataclass(frozen=True)
class Receiver:
    """All that the service needs. ``landed_through`` tells how far the events have landed, as landing's book says."""

    endpoints: Mapping[str, Endpoint]
    stores_url: str
    identity_key: bytes = field(repr=False)
    confirmations: str  # the folder for what a vendor wants to be handed back
    public_url: str = ""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    landed_through: Callable[[], datetime | None] = lambda: None
    largest_body: int = LARGEST_BODY


class _Answer(Exception):
    """The end of a request that is not taken in: a status for the vendor, a reason for the log."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


def create_app(receiver: Receiver) -> FastAPI:
    """The service over a store that is opened when it starts and closed when it ends."""
    bad = BadRequests()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with stores.opened(receiver.stores_url) as engine:
            app.state.engine = engine
            forgetting = asyncio.create_task(_forget(engine, receiver))
            yield
            forgetting.cancel()
            bad.tell(receiver.clock())

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.api_route("/{destination}/{secret}", methods=["GET", "HEAD"])
    async def asked(request: Request, destination: str, secret: str) -> Response:
        """Mailchimp asks for an address before it saves it."""
        return await answered(request, lambda: _entrance(receiver, request, destination, secret))

    @app.post("/{destination}")
    @app.post("/{destination}/{secret}")
    async def told(request: Request, destination: str, secret: str | None = None) -> Response:
        async def take_in() -> None:
            endpoint = await _entrance(receiver, request, destination, secret)
            await _take_in(app.state.engine, receiver, endpoint, request)

        return await answered(request, take_in)

    async def answered(request: Request, answer: Callable) -> Response:
        now, address = receiver.clock(), request.client.host if request.client else ""
        if bad.is_exhausted(address, now):
            return Response(status_code=429, headers={"Retry-After": f"{WITHIN.total_seconds():.0f}"})
        try:
            await answer()
        except _Answer as end:
            if end.status < 500:
                bad.note(address, end.reason, now)
            return Response(status_code=end.status)
        return Response(status_code=200)

    return app


async def _entrance(receiver: Receiver, request: Request, destination: str, secret: str | None) -> Endpoint:
    """Whose address it is; where the vendor does not sign, the secret has to be its end."""
    endpoint = receiver.endpoints.get(destination)
    if endpoint is None:
        raise _Answer(404, "of no destination")
    is_open = endpoint.vendor.signature is None
    if is_open and not signing.has_secret(endpoint.secret, secret):
        raise _Answer(401, "wrong secret in the address")
    if not is_open and (secret is not None or request.method != "POST"):
        raise _Answer(404, "of no destination")
    return endpoint


async def _take_in(engine: sa.Engine, receiver: Receiver, endpoint: Endpoint, request: Request) -> None:
    """Check a delivery and keep it. Raises _Answer."""
    vendor, now = endpoint.vendor, receiver.clock()
    headers = dict(request.headers)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != vendor.media_type:
        raise _Answer(415, "of another content type")
    if headers.get("content-encoding", "identity") != "identity":
        raise _Answer(415, "of another encoding")
    if endpoint.is_confirming:
        return await _confirm(receiver, endpoint, request)
    try:
        signing.look(vendor, headers, now)
        body = await _body(request, receiver.largest_body)
        path = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope["query_string"]
        uri = receiver.public_url.rstrip("/") + (path + (b"?" + query if query else b"")).decode("latin-1")
        signing.check(vendor, endpoint.secret, signing.Delivery(request.method, uri, headers, body))
    except signing.Refused as refused:
        raise _Answer(401, str(refused)) from None
    await run_in_threadpool(_keep, engine, receiver, endpoint, headers, body, now)


def _keep(
    engine: sa.Engine, receiver: Receiver, endpoint: Endpoint, headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    destination, vendor = endpoint.destination, endpoint.vendor
    try:
        reading = vendor.read(body, headers)
    except Unreadable as problem:
        log.warning("%s: a genuine delivery that cannot be read: %s", destination, problem)
        raise _Answer(400, "not of the vendor's form") from None
    events, untimely = inbox.plausible(reading.events, now=now, oldest=vendor.oldest)
    try:
        taken = inbox.take_in(engine, destination, events, identity_key=receiver.identity_key, now=now)
    except sa.exc.SQLAlchemyError as error:
        # Its words may hold what was to be written, which is somebody's address.
        log.error("%s: a delivery could not be kept: %s; it will be sent again", destination, type(error).__name__)
        raise _Answer(503, "could not be kept") from None
    level = logging.WARNING if reading.broken or untimely or taken.nobody else logging.INFO
    log.log(
        level,
        "%s: %d events new, %d told before, %d hashes suppressed; %d of other kinds, %d broken, %d out of their time, "
        "%d about nobody whom the ledger knows",
        *(destination, taken.new, taken.known, taken.suppressed),
        *(reading.other, reading.broken, untimely, taken.nobody),
    )


async def _confirm(receiver: Receiver, endpoint: Endpoint, request: Request) -> None:
    """Keep what the vendor wants to be handed back, for its owner's eyes; the next question replaces it."""
    found = endpoint.vendor.confirms(await _body(request, 10_000)) if endpoint.vendor.confirms else None
    if found is None:
        raise _Answer(401, "no question whether the address is ours")
    file = storage.join(receiver.confirmations, f"{endpoint.destination}.json")
    await run_in_threadpool(storage.write_json, file, found)
    log.warning(
        "%s: the vendor asks whether this address is ours; next step: hand it %s back", endpoint.destination, file
    )


async def _body(request: Request, largest: int) -> bytes:
    """The whole body, as long as it is not too large and not too slow."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > largest:
        raise _Answer(413, "too large")
    pieces, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                size += len(piece)
                if size > largest:
                    raise _Answer(413, "too large")
                pieces.append(piece)
    except TimeoutError:
        raise _Answer(408, "too slow") from None
    except ClientDisconnect:
        raise _Answer(400, "cut off") from None
    return b"".join(pieces)


async def _forget(engine: sa.Engine, receiver: Receiver) -> None:
    """Now and then remove what has landed; a round that fails is made up for by the next one."""
    while True:
        try:
            landed = await run_in_threadpool(receiver.landed_through)
            await run_in_threadpool(inbox.forget, engine, landed_through=landed, now=receiver.clock())
        except (sa.exc.SQLAlchemyError, OSError) as error:
            log.warning("webhooks: nothing forgotten this time: %s", type(error).__name__)
        await asyncio.sleep(FORGET_SECONDS)
