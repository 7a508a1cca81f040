"""What all stand-ins share: routes, credentials, limits, faults, and being held to the vendor's specification."""

import asyncio
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import orjson

from letterpress.demo.esp.faults import Fault, Faults
from letterpress.demo.vendors.documents import Documents
from letterpress.demo.vendors.limits import Clock, Window
from letterpress.demo.vendors.specification import Specification


@dataclass(frozen=True)
class Call:
    """One request; ``path`` holds the values of the route's ``{names}``, ``query`` the last value of each name."""

    method: str
    url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The body as JSON; none where there is none. Raises :class:`Refusal` for what is no JSON."""
        if not self.content:
            return None
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise Refusal(400, "invalid_json", "expected JSON") from None


@dataclass(frozen=True)
class Answer:
    """A status, what becomes JSON (bytes as they are, none for an empty body), and headers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that the vendor refuses; each stand-in gives it its vendor's form."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, **details: Any):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.details = dict(headers or {}), details


Handler = Callable[[Any, Call], Answer]


@dataclass(frozen=True)
class _Route:
    method: str
    template: str
    pattern: re.Pattern[str]
    limits: tuple[tuple[int, float], ...]
    group: str
    handler: Handler


def route(
    method: str, template: str, *, limits: Sequence[tuple[int, float]] = (), group: str | None = None
) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of ``METHOD /path/{name}``, under limits of (requests, seconds).

    Handlers of one ``group`` draw on the same limits.
    """

    def mark(handler: Handler) -> Handler:
        pattern = re.compile("^" + re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)) + "$")
        handler.route = _Route(method, template, pattern, tuple(limits), group or f"{method} {template}", handler)
        return handler

    return mark


class StandIn(ABC):
    """A vendor's API as its customers meet it. Subclasses mark their handlers with :func:`route`.

    ``specification`` holds every request and answer to the vendor's document: a request that does not fit is
    refused as the vendor would, an answer that does not fit is a fault of the stand-in and ends in 500.
    """

    name: ClassVar[str]
    specification_file: ClassVar[str | None] = None  # below the folder of specifications
    content_type: ClassVar[str] = "application/json"

    def __init__(
        self,
        path: Path | None = None,
        *,
        token: str = "vendor-test-token",
        specification: Specification | None = None,
        faults: Iterable[Fault] = (),
        has_limits: bool = True,
        job_seconds: float = 0.0,
        clock: Clock = time.time,
        next_fault: Callable[[str, str], Fault | None] | None = None,
        witness: Callable[[str, str, bytes], None] | None = None,
    ):
        self.token, self.specification, self.has_limits = token, specification, has_limits
        self.job_seconds, self.clock, self.faults = job_seconds, clock, Faults(faults)
        self.next_fault = next_fault or (lambda method, path: None)
        self.witness = witness or (lambda method, path, content: None)  # sees what came in, whatever becomes of it
        self.documents = Documents(path)
        self.calls: list[tuple[str, str, int]] = []  # method, path and status of each request
        self.complaints: list[str] = []  # answers of ours that did not fit the specification
        self._lock = threading.RLock()
        self._routes = [
            getattr(type(self), name).route for name in dir(type(self)) if hasattr(getattr(type(self), name), "route")
        ]
        self._routes.sort(key=lambda one: (one.template.count("{"), one.template))
        self._windows: dict[str, Window] = {}

    @abstractmethod
    def authorise(self, call: Call) -> None:
        """Raise :class:`Refusal` for a request without the right credentials."""

    @abstractmethod
    def refuse(self, refusal: Refusal) -> Answer:
        """The vendor's form of a refusal."""

    def throttle(self, wait: float, call: Call) -> Refusal:
        """The vendor's way of saying "too many"."""
        return Refusal(429, "throttled", "too many requests", {"Retry-After": str(max(1, round(wait + 0.499)))})

    def writes(self) -> int:
        """How many requests changed something or would have: everything but GET that was not refused."""
        return sum(method != "GET" and status < 400 for method, _, status in self.calls)

    def answer(self, method: str, url: str, query: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """One request from beginning to end."""
        with self._lock:
            answer = self._answered(method, url, query, headers, content)
            self.documents.commit()
            self.calls.append((method, url, answer.status))
            return answer

    def _answered(self, method: str, url: str, query: str, headers: Mapping[str, str], content: bytes) -> Answer:
        values = {name: found[-1] for name, found in parse_qs(query, keep_blank_values=True).items()}
        try:
            found = next(
                ((one, match) for one in self._routes if one.method == method and (match := one.pattern.match(url))),
                None,
            )
            call = Call(method, url, found[1].groupdict() if found else {}, values, headers, content)
            self.authorise(call)
            if found is None:
                raise Refusal(404, "not_found", f"no such resource: {method} {url}")
            self._count(found[0], call)
            self._hold(call)
            answer = found[0].handler(self, call)
        except Refusal as refusal:
            answer = self.refuse(refusal)
        return self._checked(method, url, answer)

    def _count(self, one: _Route, call: Call) -> None:
        if not (self.has_limits and one.limits):
            return
        window = self._windows.setdefault(one.group, Window(one.limits, self.clock))
        wait = window.take()
        if wait is not None:
            raise self.throttle(wait, call)

    def _hold(self, call: Call) -> None:
        """Refuse a body that the specification does not take."""
        if self.specification is None or call.method == "GET":
            return
        errors = self.specification.request_errors(call.method, call.url, call.body)
        if errors:
            raise Refusal(400, "invalid", errors[0])

    def _checked(self, method: str, url: str, answer: Answer) -> Answer:
        if self.specification is None or self.specification.find(method, url) is None:
            return answer
        body = None if answer.body is None else orjson.loads(_content(answer.body))
        errors = self.specification.answer_errors(method, url, answer.status, body)
        if not errors:
            return answer
        self.complaints += [f"{method} {url} answered {answer.status}: {error}" for error in errors]
        return Answer(500, {"stand_in": self.complaints[-1]})

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answer as ASGI wants it, or fail as the next fault says."""
        if scope["type"] != "http":
            return
        method, url = scope["method"], scope["path"]
        content = await _read(receive)
        if url == "/health":  # ours, for whoever started it: no vendor's
            await _send(send, Answer(200, {"status": "ok"}), "application/json", self.clock())
            return
        self.witness(method, url, content)
        fault = self.faults.take(method, url) or self.next_fault(method, url)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.status is not None:
                headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                with self._lock:
                    self.calls.append((method, url, fault.status))
                await _send(send, Answer(fault.status, None, headers), self.content_type, self.clock())
                return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = self.answer(method, url, scope["query_string"].decode(), headers, content)
        if fault is not None and fault.loses_answer:
            send.__self__.transport.abort()  # uvicorn's request cycle: executed, and nobody hears of it
            await asyncio.sleep(0.01)  # let uvicorn notice that nobody is there to be answered
            return
        await _send(send, answer, self.content_type, self.clock())


def _content(body: Any) -> bytes:
    return body if isinstance(body, bytes) else orjson.dumps(body)


async def _read(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Any, answer: Answer, content_type: str, instant: float) -> None:
    content = b"" if answer.body is None else _content(answer.body)
    headers = {"content-length": str(len(content)), "date": formatdate(instant, usegmt=True), **answer.headers}
    if content:
        headers.setdefault("content-type", content_type)
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})
