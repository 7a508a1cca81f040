"""Keeping to a vendor's limits without wasting them: a window that slides, and waits for all of a client's threads."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from letterpress.activation.destinations.spec import Limit

FORGOTTEN = 100_000  # requests: the simulation of more goes on in proportion


def now() -> float:
    """Seconds of a clock that only goes forward."""
    return time.monotonic()


def since_1970() -> float:
    """Seconds of the calendar's clock, for what outlives the process."""
    return time.time()


def pause(seconds: float) -> None:
    """Wait: every pause of a destination's client is made here."""
    time.sleep(seconds)


class Pace:
    """At most so many requests in any window, as the vendor sees them.

    A request reaches the vendor at some instant between its start and its answer. So one that is under way
    counts, and one that was answered counts for a whole window from its answer on: however long requests
    travel, no window at the vendor holds more than the limit, and windows that begin on the clock neither.
    """

    def __init__(self, limits: Sequence[Limit] = ()):
        self._limits = tuple(limits)
        self._longest = max((limit.seconds for limit in limits), default=0.0)
        self._ends: deque[float] = deque()
        self._under_way = 0
        self._held_until = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Wait for the turn of one request, and count it when the block ends; the block has the instant it began."""
        self._wait()
        try:
            yield now()
        finally:
            with self._changed:
                self._under_way -= 1
                self._ends.append(now())
                self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """The vendor said to come back later: nobody goes before."""
        with self._changed:
            self._held_until = max(self._held_until, now() + seconds)

    def leave(self, left: int, asked_at: float) -> None:
        """The vendor says that no more than ``left`` may come now, which is less where others draw on its limit.

        What is missing to that counts, in the longest window, as answered when the vendor was ``asked_at``: it is
        free again after a whole one. What was said longer ago says nothing any more.
        """
        if not self._limits:
            return
        with self._changed:
            if self._forget() - asked_at >= self._longest:
                return
            most = max(self._limits, key=lambda limit: limit.seconds).requests
            missing = most - self._under_way - len(self._ends) - left
            if missing > 0:
                self._ends = deque(sorted([*self._ends, *[asked_at] * missing]))

    def _wait(self) -> None:
        while True:
            with self._changed:
                wait = self._seconds_to_wait()
                if wait == 0:
                    self._under_way += 1
                    return
                if wait is None:  # too many are under way: the next answer changes that
                    self._changed.wait(timeout=1.0)
                    continue
            pause(wait)

    def _forget(self) -> float:
        """Forget the answers that no window holds any more; returns the instant."""
        instant = now()
        while self._ends and self._ends[0] <= instant - self._longest:
            self._ends.popleft()
        return instant

    def _seconds_to_wait(self) -> float | None:
        instant = self._forget()
        wait = max(0.0, self._held_until - instant)
        for limit in self._limits:
            if self._under_way >= limit.requests:
                return None
            free = limit.requests - self._under_way  # answered ones that may count beside those under way
            if len(self._ends) >= free:
                oldest = next(islice(reversed(self._ends), free - 1, None))
                wait = max(wait, oldest + limit.seconds - instant)
        return wait


def least_seconds(requests: int, limits: Sequence[Limit]) -> float:
    """The least time in which so many requests may be made one after the other: when the last one may start."""
    if not limits or requests <= 0:
        return 0.0
    simulated = min(requests, FORGOTTEN)
    longest = max(limit.requests for limit in limits)
    starts: deque[float] = deque(maxlen=longest)
    last = 0.0
    for _ in range(simulated):
        for limit in limits:
            if len(starts) >= limit.requests:
                last = max(last, starts[-limit.requests] + limit.seconds)
        starts.append(last)
    return last * requests / simulated
