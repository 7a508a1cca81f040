"""A clock that nobody waits for, for the destinations' clients and the stand-ins alike."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from letterpress.activation.destinations import pace


class Clock:
    """Time that passes only where somebody waits; called, it is a stand-in's ``clock``.

    A thread waits from the instant that it last saw: two threads that wait for the same instant meet there, and do
    not add up. ``pauses`` are all the waits that were made, in seconds.
    """

    def __init__(self, start: float):
        self._instant, self._lock, self._seen = start, threading.Lock(), threading.local()
        self.start, self.pauses = start, []

    def now(self) -> float:
        with self._lock:
            self._seen.instant = self._instant
            return self._instant

    def pause(self, seconds: float) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self._instant = max(self._instant, getattr(self._seen, "instant", self._instant) + seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        with self._lock:
            self._instant += seconds

    def elapsed(self) -> float:
        """Seconds since the test began."""
        return self.now() - self.start

    __call__ = now


@contextmanager
def jumping() -> Iterator[Clock]:
    """Every client's clock and sleep are this one's, where no fixture of the tests does it."""
    clock = Clock(start=float(int(time.time())))
    before = pace.now, pace.pause, pace.since_1970
    pace.now, pace.pause, pace.since_1970 = clock.now, clock.pause, clock.now
    try:
        yield clock
    finally:
        pace.now, pace.pause, pace.since_1970 = before
