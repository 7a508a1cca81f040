"""HTTP for destinations: one lazy client with the vendor's pace, retries, and nothing of a body in a log."""

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
import tenacity

from letterpress.activation.destinations import pace
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.pace import Pace
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Endpoint

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes whole addresses, and people stand in their queries

ATTEMPTS = 8
LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it ends the run, which goes on at the next schedule
REFUSED = (400, 409, 413, 422)  # the content, not the sender, is wrong
_PERSONAL = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+|\+?\d[\d .()-]{6,}\d")


def masked(text: str, length: int = 200) -> str:
    """A vendor's message without e-mail addresses and numbers of seven digits or more, cut to a length."""
    return _PERSONAL.sub("…", text)[:length]


class _Again(Exception):
    """A request to be repeated, after ``wait`` seconds where the destination said so."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.why, self.wait = why, wait


def no_explanation(response: httpx.Response) -> tuple[str, str]:
    """Code and message of a refusal, where the vendor's form of them is not known: the status alone."""
    return f"http_{response.status_code}", ""


class JsonApi:
    """A vendor's JSON API. The connection opens with the first request and is then kept.

    ``endpoints`` are the module's: requests wait for their turn under the limits of the endpoint that they name.
    ``headers`` go with every request, ``auth`` signs them. ``explain`` reads the vendor's code and message from a
    refusal; both are masked here. ``is_throttled`` recognises an answer that means "too many" beside status 429;
    ``patience`` are the seconds to wait after one without a ``Retry-After``, ``left`` how many more requests any
    answer says may come now: none where it does not say.

    Throttling (honouring ``Retry-After``, else growing pauses), 5xx and lost connections are repeated. Whatever
    changes something has to have its effect once however often it is sent: its answer may have been lost.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        endpoints: Mapping[str, Endpoint],
        *,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        explain: Callable[[httpx.Response], tuple[str, str]] = no_explanation,
        is_throttled: Callable[[httpx.Response], bool] = lambda response: False,
        patience: Callable[[httpx.Response], float | None] = lambda response: None,
        left: Callable[[httpx.Response], int | None] = lambda response: None,
        timeout: float = 30.0,
    ):
        self.name = name
        self.requests = 0
        self._connection, self._endpoints, self._timeout = connection, endpoints, timeout
        self._headers, self._auth = dict(headers or {}), auth
        self._explain, self._is_throttled, self._patience, self._left = explain, is_throttled, patience, left
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        shared = {endpoint.shared: endpoint.limits for endpoint in endpoints.values() if endpoint.shared}
        groups = {group: Pace(limits) for group, limits in shared.items()}
        self._paces = {
            name: groups[endpoint.shared] if endpoint.shared else Pace(endpoint.limits)
            for name, endpoint in endpoints.items()
        }

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, endpoint: str, path: str, *, params: Any = None, missing: Collection[int] = ()) -> Any:
        """The answer's JSON; none where the status is one of ``missing``."""
        response = self.request(endpoint, "GET", path, params=params, expected=missing)
        return None if response.status_code in missing else _json(response)

    def post(
        self,
        endpoint: str,
        path: str,
        body: bytes | Any,
        *,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (),
        method: str = "POST",
    ) -> Any:
        """The answer's JSON (none for an empty body), also where its status is one of ``expected``.

        ``body`` is bytes of JSON or what becomes JSON. Raises :class:`BatchRefused` and
        :class:`DestinationError`.
        """
        return _json(self.request(endpoint, method, path, body=body, headers=headers, expected=expected))

    def request(
        self,
        endpoint: str,
        method: str,
        path: str,
        *,
        params: Any = None,
        body: bytes | Any = None,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (),
    ) -> httpx.Response:
        """The answer, where it is a success or its status one of ``expected``; repeats what is worth repeating."""
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            sleep=lambda seconds: pace.pause(seconds),  # looked up when it is needed: tests wait for nothing
            before_sleep=self._note,
            reraise=True,
        )
        sent = {"params": params, "content": content, "headers": headers}
        try:
            response = retrying(self._once, method, path, endpoint, sent, expected)
        except _Again as last:
            raise DestinationError(
                f"{self.name}: {method} {path} expected an answer, found {last.why} after {ATTEMPTS} attempts; "
                "what was under way is settled by the next run"
            ) from None
        if response.is_success or response.status_code in expected:
            return response
        code, message = (masked(text) for text in self._explain(response))
        if response.status_code in REFUSED and method != "GET":
            raise BatchRefused(code, message)
        remedy = "; check the connection's credentials" if response.status_code in (401, 403) else ""
        said = f" ({code}: {message})" if message else ""
        raise DestinationError(f"{self.name}: {method} {path} was refused with {response.status_code}{said}{remedy}")

    def _once(
        self, method: str, path: str, endpoint: str, sent: Mapping[str, Any], expected: Collection[int]
    ) -> httpx.Response:
        its_pace = self._paces[endpoint]
        with its_pace.turn() as began_at:
            with self._lock:
                self.requests += 1
            try:
                response = self._opened().request(method, path, **sent)
            except httpx.TransportError as error:
                raise _Again(error.__class__.__name__) from None
        left = self._left(response)
        if left is not None:
            its_pace.leave(left, began_at)
        if response.status_code in expected:
            return response
        if response.status_code == 429 or response.status_code >= 500 or self._is_throttled(response):
            wait = _retry_after(response)
            if wait is None:
                wait = self._patience(response)
            if wait is not None and wait > LONGEST_WAIT:
                raise DestinationError(
                    f"{self.name}: {method} {path} is limited for {wait:.0f} s, longer than the {LONGEST_WAIT:.0f} s "
                    "that a run waits; run again later"
                )
            raise _Again(str(response.status_code), wait)
        return response

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(
                    base_url=self._connection.base_url,
                    headers={"Content-Type": "application/json", "Accept": "application/json", **self._headers},
                    auth=self._auth,
                    timeout=httpx.Timeout(self._timeout, connect=5.0),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
                    verify=self._connection.base_url.startswith("https"),  # certificates take 50 ms to load
                )
            return self._client

    @staticmethod
    def _wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        told = getattr(error, "wait", None)
        return told if told is not None else tenacity.wait_exponential_jitter(multiplier=0.2, max=20)(state)

    def _note(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0.0
        method, path, endpoint = state.args[:3]
        if getattr(error, "wait", None) is not None:
            self._paces[endpoint].hold(seconds)  # the limit is the account's: the other threads wait too
        log.warning(
            "%s: %s %s: %s, attempt %d of %d, again in %.1f s",
            self.name,
            method,
            path,
            getattr(error, "why", "?"),
            state.attempt_number,
            ATTEMPTS,
            seconds,
        )


def _json(response: httpx.Response) -> Any:
    return orjson.loads(response.content) if response.content else None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait: the header is a number or an HTTP date, counted from the answer's own date."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then, now = parsedate_to_datetime(value), parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (then - now).total_seconds())


def chunked(values: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Values in lists of at most ``size``."""
    chunk: list[Any] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
