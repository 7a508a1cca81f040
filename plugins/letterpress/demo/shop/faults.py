"""What the shop's API does on a bad day.

===================  =======  ===========  ====================================================================
switch (``Faults``)  default  of           what a client sees
===================  =======  ===========  ====================================================================
throttled            .002     requests     429 without ``Retry-After``
throttled_until      .002     requests     429 with ``Retry-After: 1``
failing              .003     requests     500 with a body of plain text
reset                .002     requests     the connection is reset before an answer
truncated            .002     requests     200 and the headers, half of the body, the end of the connection
slow                 .004     requests     the right answer after half a second to two
repeated_pages       .02      later pages  up to 5 rows of the page before come again in front of it (it is longer
                                           than asked for); every row still comes
changed_types        .02      days         a broken deployment: from 02:00 to 05:00 of the shop's clock (UTC) the
                                           list of products has ``stock_quantity`` as text
===================  =======  ===========  ====================================================================

The requests are those to the lists and to the event stream; the clock, the pages and ``/health`` never fail. A request
has one fault at most: rates that add up to more than 1 leave nothing for the last kinds. After a fault the same path
and query is answered at once, so that a client that asks again gets through. Which request fails follows from the
shop's seed and the request's number in this process, which page repeats from its position, which day is broken from
the day.

Pages that skip under concurrent writes are no fault of this kind: rows that become visible behind a cursor that has
passed them are dirt (``late_commits``), so that the manifest names them. Beside the rates a test can plant a
``Fault``: one answer to one request.
"""

import asyncio
import hashlib
import logging
import socket
import struct
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import orjson
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.chance import Purpose
from letterpress.demo.simulation.switches import Faults

log = logging.getLogger(__name__)

REPEATED_ROWS = 5
BROKEN_FROM, BROKEN_UNTIL = 2 * chance.HOUR, 5 * chance.HOUR  # of a day, UTC
SLOW_SECONDS = (0.5, 2.0)
KINDS = ("throttled", "throttled_until", "failing", "reset", "truncated", "slow")  # of what happens to a request


class Fault(BaseModel):
    """An answer that a test plants: the next matching request gets it instead of the real one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int = Field(ge=400, le=599)
    retry_after: float | None = Field(default=None, description="seconds, for the Retry-After header")
    path: str = Field(default="/v1/", description="requests whose path begins with this")


@dataclass(frozen=True)
class Misfortune:
    """What happens to one request: a kind of ``KINDS``, and a lot of [0, 1) for its size."""

    kind: str
    size: float


class FaultMiddleware:
    """Answers with the planted faults, each once and in their order; beside them the API fails at its rates."""

    def __init__(self, app: ASGIApp, faults: list[Fault], rates: Faults, seed: int):
        self._app, self._faults, self._seed = app, faults, seed
        self._lock = threading.Lock()  # tests plant from their own thread
        self._requests = count()
        self._failed: set[tuple[str, bytes]] = set()  # path and query of requests whose last answer was a fault
        self._upto = np.cumsum([getattr(rates, kind) for kind in KINDS])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, fail, or hand it on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        planted = self._take(path)
        if planted is not None:
            headers = {} if planted.retry_after is None else {"Retry-After": f"{planted.retry_after:g}"}
            await JSONResponse({"detail": "planted by a test"}, planted.status, headers)(scope, receive, send)
            return
        is_exposed = scope["method"] == "GET" and path.startswith("/v1/") and not path.startswith("/v1/clock")
        misfortune = self.misfortune(path, scope["query_string"]) if is_exposed else None
        if misfortune is None:
            await self._app(scope, receive, send)
            return
        log.info("a fault by intent (LETTERPRESS_SHOP_FAULTS): %s, GET %s", misfortune.kind, path)
        await _fail(misfortune, self._app, scope, receive, send)

    def misfortune(self, path: str, query: bytes) -> Misfortune | None:
        """What happens to the next request, if anything; never twice in a row to the same path and query."""
        asked = (path, query)
        which, size = _lots(self._seed, Purpose.FAULTS, next(self._requests), 2)
        place = int(np.searchsorted(self._upto, which, side="right"))
        if asked in self._failed or place == len(KINDS):
            self._failed.discard(asked)
            return None
        self._failed.add(asked)
        return Misfortune(KINDS[place], size)

    def _take(self, path: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self._faults):
                if path.startswith(fault.path):
                    return self._faults.pop(index)
        return None


def repeated_rows(rates: Faults, seed: int, cursor: str, rows: int) -> int:
    """How many rows of the page before come again in front of a page of ``rows`` rows; always fewer than those."""
    number = int.from_bytes(hashlib.blake2b(cursor.encode(), digest_size=8).digest())
    lot = _lots(seed, Purpose.PAGES, number, 1)[0]
    return min(REPEATED_ROWS, rows - 1) if lot < rates.repeated_pages else 0


def has_changed_types(rates: Faults, seed: int, now: int) -> bool:
    """Whether the broken deployment serves the products at an instant (milliseconds)."""
    if not BROKEN_FROM <= now % chance.DAY < BROKEN_UNTIL:
        return False
    return _lots(seed, Purpose.DEPLOYS, now // chance.DAY, 1)[0] < rates.changed_types


def with_changed_types(body: bytes) -> bytes:
    """A product as the broken deployment writes it."""
    product = orjson.loads(body)
    if product["stock_quantity"] is not None:
        product["stock_quantity"] = str(product["stock_quantity"])
    return orjson.dumps(product)


async def _fail(what: Misfortune, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    if what.kind in ("throttled", "throttled_until"):
        headers = {"Retry-After": "1"} if what.kind == "throttled_until" else {}
        await JSONResponse({"detail": "too many requests"}, 429, headers)(scope, receive, send)
    elif what.kind == "failing":
        await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
    elif what.kind == "reset":
        await _cut(receive, reset=True)
    elif what.kind == "truncated":
        await _truncated(app, scope, receive, send)
    else:
        shortest, longest = SLOW_SECONDS
        await asyncio.sleep(shortest + (longest - shortest) * what.size)
        await app(scope, receive, send)


async def _truncated(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The answer up to the middle of its body's first part, under the length that the whole would have."""
    is_cut = False

    async def half(message: MutableMapping[str, Any]) -> None:
        nonlocal is_cut
        if is_cut:
            return
        if message["type"] == "http.response.body":
            is_cut = True
            body = message.get("body", b"")
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
            await _cut(receive)
        else:
            await send(message)

    await app(scope, receive, half)


async def _cut(receive: Receive, *, reset: bool = False) -> None:
    """End the connection once what was written is on its way, or at once with a reset; wait until it is gone."""
    cycle = getattr(receive, "__self__", None)  # uvicorn's, of this request
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise ConnectionResetError("the answer is lost")
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass  # else uvicorn would miss the rest of the answer, and say so in its log


def _lots(seed: int, purpose: Purpose, number: int, draws: int) -> list[float]:
    return chance.keyed(seed, purpose, np.array([number], np.uint64), draws)[0].tolist()
