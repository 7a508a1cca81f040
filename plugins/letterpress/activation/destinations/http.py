"""HTTP for destinations: one lazy client, retries under the same idempotency key, nothing of a body in a log."""

import logging
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
import tenacity

from letterpress.activation.destinations import Connection, DestinationError

log = logging.getLogger(__name__)

ATTEMPTS = 8
LONGEST_WAIT = 120.0  # seconds; a Retry-After beyond it ends the run, which goes on at the next schedule


def pause(seconds: float) -> None:
    """Wait before a request is repeated."""
    time.sleep(seconds)


class _Again(Exception):
    """A request to be repeated, after ``wait`` seconds where the destination said so."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.why, self.wait = why, wait


class JsonApi:
    """A JSON API with a bearer token. The connection opens with the first request and is then kept.

    429 (honouring ``Retry-After``), 5xx and lost connections are repeated with growing pauses. Every request
    that changes something therefore carries an idempotency key: its answer may have been lost after success.
    """

    def __init__(self, name: str, connection: Connection):
        self.name = name
        self.requests = 0
        self._connection = connection
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, path: str, *, params: dict[str, Any] | None = None, missing: int | None = None) -> Any:
        """The answer's JSON; none where the status is ``missing``."""
        return self._request("GET", path, params=params, missing=missing)

    def post(self, path: str, body: bytes, *, idempotency_key: str | None = None, refused: int | None = None) -> Any:
        """The answer's JSON; with status ``refused`` it is the destination's own refusal, returned as well."""
        headers = {"Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return self._request("POST", path, content=body, headers=headers, refused=refused)

    def _request(self, method: str, path: str, **request: Any) -> Any:
        missing, refused = request.pop("missing", None), request.pop("refused", None)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            sleep=lambda seconds: pause(seconds),  # looked up when it is needed: tests wait for nothing
            before_sleep=self._note,
            reraise=True,
        )
        try:
            response = retrying(self._once, method, path, **request)
        except _Again as last:
            raise DestinationError(
                f"{self.name}: {method} {path} expected an answer, found {last.why} after {ATTEMPTS} attempts; "
                "what was under way is settled by the next run"
            ) from None
        if missing is not None and response.status_code == missing:
            return None
        if response.is_success or (refused is not None and response.status_code == refused):
            return orjson.loads(response.content)
        remedy = "; check the connection's token" if response.status_code in (401, 403) else ""
        raise DestinationError(f"{self.name}: {method} {path} was refused with {response.status_code}{remedy}")

    def _once(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._client is None:
            self._client = httpx.Client(
                base_url=self._connection.base_url,
                headers={"Authorization": f"Bearer {self._connection.token}"},
                timeout=httpx.Timeout(30.0, connect=5.0),
                verify=self._connection.base_url.startswith("https"),  # certificates take 50 ms to load
            )
        self.requests += 1
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise _Again(error.__class__.__name__) from None
        if response.status_code == 429 or response.status_code >= 500:
            wait = _retry_after(response)
            if wait is not None and wait > LONGEST_WAIT:
                raise DestinationError(
                    f"{self.name}: {method} {path} is limited for {wait:.0f} s, longer than the {LONGEST_WAIT:.0f} s "
                    "that a run waits; run again later"
                )
            raise _Again(str(response.status_code), wait)
        return response

    @staticmethod
    def _wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        told = getattr(error, "wait", None)
        return told if told is not None else tenacity.wait_exponential_jitter(multiplier=0.2, max=20)(state)

    def _note(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "%s: %s %s: %s, attempt %d of %d, again in %.1f s",
            self.name,
            *state.args[:2],
            getattr(error, "why", "?"),
            state.attempt_number,
            ATTEMPTS,
            state.next_action.sleep if state.next_action else 0,
        )


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
