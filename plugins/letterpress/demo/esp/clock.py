"""The time of the ESP's events: the demo shop's clock, so that mail and orders share one calendar."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """An instant as it is stored and answered: UTC, always with milliseconds, so that text sorts as time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; raises ``ValueError`` where it is none or has no zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("expected an instant with its zone such as 2011-07-01T00:00:00Z")
    return moment.astimezone(UTC)


class ShopClock:
    """Reads ``GET /v1/clock`` of the shop, at most once in ``cache_seconds``, and never runs backwards.

    While the shop cannot be reached, the last time it told holds (``recall`` and ``remember`` keep it over a
    restart): an event stamped with the machine's time would lie years after everything else. Only where the
    shop was never reached at all the machine's clock counts.
    """

    def __init__(
        self,
        url: str,
        *,
        recall: Callable[[], str | None] = lambda: None,
        remember: Callable[[str], None] = lambda _: None,
        cache_seconds: float = 0.25,
        timeout: float = 2.0,
    ):
        self._url = f"{url.rstrip('/')}/v1/clock"
        self._recall = recall
        self._remember = remember
        self._cache_seconds = cache_seconds
        self._timeout = timeout
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._now: datetime | None = None

    def __call__(self) -> datetime:
        """The time of an event that happens now."""
        with self._lock:
            if self._asked_at is None:
                told = self._recall()
                self._now = parse_instant(told) if told else None
            if self._asked_at is None or time.monotonic() - self._asked_at >= self._cache_seconds:
                self._ask()
                self._asked_at = time.monotonic()
            return self._now or wall_clock()

    def _ask(self) -> None:
        try:
            # certificates take 50 ms to load, four times a second while mail comes in
            answer = httpx.get(self._url, timeout=self._timeout, verify=self._url.startswith("https"))
            answer.raise_for_status()
            told = parse_instant(answer.json()["now"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return
        if self._now is None or told > self._now:
            self._now = told
            self._remember(instant(told))
