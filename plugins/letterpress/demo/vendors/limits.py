"""A vendor's rate limits, as the vendor counts them: requests that came in within the last seconds."""

from collections import deque
from collections.abc import Callable, Sequence

Clock = Callable[[], float]


class Window:
    """Counts requests against limits of (requests, seconds), each over a window that slides."""

    def __init__(self, limits: Sequence[tuple[int, float]], clock: Clock):
        self._limits, self._clock = tuple(limits), clock
        self._arrivals: deque[float] = deque(maxlen=max((requests for requests, _ in self._limits), default=1))

    def take(self) -> float | None:
        """Count one request in: none where it may pass, else the seconds until one may."""
        instant = self._clock()
        wait = 0.0
        for requests, seconds in self._limits:
            if len(self._arrivals) >= requests:
                wait = max(wait, self._arrivals[-requests] + seconds - instant)
        if wait > 0:
            return wait
        self._arrivals.append(instant)
        return None

    def left(self) -> int:
        """How many more may come now under the first limit."""
        requests, seconds = self._limits[0]
        instant = self._clock()
        return requests - sum(arrival > instant - seconds for arrival in list(self._arrivals)[-requests:])
