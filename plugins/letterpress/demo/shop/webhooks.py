"""The shop's web events, sent to a receiver as a webhook destination of Segment sends them.

``POST`` of one event as JSON in the Segment specification, with ``X-Signature``: the HMAC-SHA1 of the body in
hexadecimal under the shared secret. Delivery is at least once, and in order for each visitor: visitors are dealt out
to a few lanes that send side by side. The position up to which everything was delivered is kept beside the store.

Like Segment, a request is sent again after 5xx, 429, 408, a timeout or no connection; another 4xx is the receiver's
last word on that event. A round ends after a bound of seconds, whatever the receiver does: the rest goes with the
next advance of the clock. https://segment.com/docs/connections/destinations/catalog/webhooks/
"""

import hashlib
import hmac
import logging
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import httpx
import orjson
import tenacity

from letterpress import storage
from letterpress.demo.simulation.store import Store

log = logging.getLogger(__name__)

LANES = 4
BATCH_EVENTS = 200  # what a kill repeats at most
REPEATED_STATUS = frozenset({408, 429, *range(500, 600)})

_Event = tuple[int, str, bytes]  # instant, key, body as the store has them


@dataclass(frozen=True)
class Queue:
    """Where delivery stands: events shown after ``since`` up to ``until``, of which those up to (at, key) are sent."""

    since: int
    until: int
    at: int | None = None
    key: str = ""

    @property
    def after(self) -> tuple[int, str] | None:
        """The last event that was sent."""
        return None if self.at is None else (self.at, self.key)


class _NotNow(Exception):
    """An answer after which the same request is worth another try."""


class _OutOfTime(Exception):
    """The round has to end."""


class Webhooks:
    """Sends what the shop shows to one receiver."""

    def __init__(
        self,
        url: str,
        secret: str | None,
        store: Store,
        *,
        bound_seconds: float = 10.0,
        timeout_seconds: float = 5.0,
        first_wait_seconds: float = 0.1,
    ):
        self._url, self._secret, self._store = url, (secret or "").encode(), store
        self._bound, self._timeout, self._first_wait = bound_seconds, timeout_seconds, first_wait_seconds
        self._record = str(store.path.parent / "webhooks.json")

    def prepare(self) -> None:
        """Begin with what is shown from now on: the history of a new receiver is not sent."""
        position = self._store.position("events")
        queue = self._queue()
        if queue is None or queue.until > position:
            self._keep(Queue(position, position))

    def update(self) -> None:
        """Send what the shop has shown since the last event that was sent, within the bound of seconds."""
        queue = self._queue() or Queue(0, 0)
        deadline = time.monotonic() + self._bound
        counts: Counter[str] = Counter()
        limits = httpx.Limits(max_connections=LANES, max_keepalive_connections=LANES)
        with httpx.Client(timeout=self._timeout, limits=limits) as client, ThreadPoolExecutor(LANES) as lanes:
            while time.monotonic() < deadline:
                if queue.since == queue.until:
                    queue = Queue(queue.since, self._store.position("events"))
                    if queue.since == queue.until:
                        break
                events = self._store.changed("events", queue.since, queue.until, queue.after, BATCH_EVENTS)
                if events:
                    last, complete = self._send(client, lanes, events, deadline, counts)
                    if last is not None:
                        queue = Queue(queue.since, queue.until, *last)
                    if not complete:
                        self._keep(queue)
                        break
                if len(events) < BATCH_EVENTS:
                    queue = Queue(queue.until, queue.until)
                self._keep(queue)
        self._tell(queue, counts)

    def _send(
        self, client: httpx.Client, lanes: ThreadPoolExecutor, events: Sequence[_Event], deadline: float,
        counts: "Counter[str]",
    ) -> tuple[tuple[int, str] | None, bool]:  # fmt: skip
        """Send a batch; the last event before the first that was not sent, and whether all were."""
        dealt: list[list[int]] = [[] for _ in range(LANES)]
        for index, (_, _, body) in enumerate(events):
            event = orjson.loads(body)
            visitor = event.get("anonymousId") or event.get("userId") or ""
            dealt[zlib.crc32(visitor.encode()) % LANES].append(index)
        reached = list(lanes.map(lambda indices: self._send_lane(client, events, indices, deadline), dealt))
        first_left = min((left for left, _ in reached if left is not None), default=len(events))
        for _, outcomes in reached:
            counts.update(outcomes)
        return (events[first_left - 1][:2] if first_left else None), first_left == len(events)

    def _send_lane(
        self, client: httpx.Client, events: Sequence[_Event], indices: Sequence[int], deadline: float
    ) -> "tuple[int | None, Counter[str]]":
        """Send one after the other; the first that was not sent, and how many fared how."""
        outcomes: Counter[str] = Counter()
        for index in indices:
            try:
                outcomes[self._post(client, events[index][2], deadline, outcomes)] += 1
            except (_NotNow, _OutOfTime, httpx.TransportError):
                return index, outcomes
        return None, outcomes

    def _post(self, client: httpx.Client, body: bytes, deadline: float, outcomes: "Counter[str]") -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "Segment.io/1.0"}
        if self._secret:
            headers["X-Signature"] = hmac.new(self._secret, body, hashlib.sha1).hexdigest()

        def once() -> str:
            if (left := deadline - time.monotonic()) <= 0:
                raise _OutOfTime
            answer = client.post(self._url, content=body, headers=headers, timeout=min(self._timeout, left))
            if answer.status_code in REPEATED_STATUS:
                raise _NotNow
            return "delivered" if answer.is_success else "refused"

        def again(_: tenacity.RetryCallState) -> None:
            outcomes["repeated"] += 1

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((_NotNow, httpx.TransportError)),
            wait=tenacity.wait_exponential(multiplier=self._first_wait, max=2),
            stop=tenacity.stop_before_delay(max(0.0, deadline - time.monotonic())),
            before_sleep=again,
            reraise=True,
        )
        return retrying(once)

    def _tell(self, queue: Queue, counts: "Counter[str]") -> None:
        waits = queue.since != queue.until
        if not counts and not waits:
            return
        host = urlsplit(self._url).hostname
        log.log(
            logging.WARNING if waits or counts["refused"] else logging.INFO,
            "webhooks to %s: %d events delivered, %d refused, %d requests repeated%s",
            host,
            *(counts[name] for name in ("delivered", "refused", "repeated")),
            "; the rest goes with the next advance" if waits else "",
        )

    def _queue(self) -> Queue | None:
        return Queue(**storage.read_json(self._record)) if storage.exists(self._record) else None

    def _keep(self, queue: Queue) -> None:
        storage.write_json(self._record, asdict(queue))
