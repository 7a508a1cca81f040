"""Keeping to a vendor's limits: never more in any window as the vendor counts, and no slower than it has to be."""

import heapq
import itertools
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letterpress.activation.destinations import pace
from letterpress.activation.destinations.pace import Pace, least_seconds
from letterpress.activation.destinations.spec import Limit

TICK = 1 / 64  # of all instants here: sums of them are exact
QUICK = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


class Simulation:
    """Threads on a clock of their own, one running at a time: it goes on when the running one waits.

    ``pause`` and ``now`` stand in for the real ones; a condition made by :meth:`condition` blocks here.
    """

    def __init__(self):
        self.instant = 0.0
        self._due: list[tuple[float, int, threading.Event]] = []
        self._blocked: list[threading.Event] = []
        self._numbers = itertools.count()
        self.errors: list[BaseException] = []

    def now(self) -> float:
        return self.instant

    def pause(self, seconds: float) -> None:
        assert seconds >= 0, "nobody waits backwards"
        event = threading.Event()
        self._later(self.instant + seconds, event)
        self._next()
        event.wait()

    def condition(self) -> threading.Condition:
        simulation = self

        class Simulated(threading.Condition):
            def wait(self, timeout: float | None = None) -> bool:
                event = threading.Event()
                simulation._blocked.append(event)
                self.release()
                simulation._next()
                event.wait()
                self.acquire()
                return True

            def notify_all(self) -> None:
                for event in simulation._blocked:
                    simulation._later(simulation.instant, event)
                simulation._blocked.clear()

        return Simulated()

    def run(self, *works: Callable[[], None]) -> None:
        """Run these at once until all have ended; raises what one of them raised."""
        threads = []
        for work in works:
            start = threading.Event()
            self._later(0.0, start)
            threads.append(threading.Thread(target=self._work, args=(work, start), daemon=True))
            threads[-1].start()
        self._next()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive() or self.errors, "a thread waits for ever"
        if self.errors:
            raise self.errors[0]

    def _work(self, work: Callable[[], None], start: threading.Event) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            self.errors.append(error)
        self._next()

    def _later(self, instant: float, event: threading.Event) -> None:
        heapq.heappush(self._due, (instant, next(self._numbers), event))

    def _next(self) -> None:
        if self._due:
            self.instant, _, event = heapq.heappop(self._due)
            event.set()


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Limit]], tuple[Simulation, Pace]]:
    """A simulation and a pace under these limits in it."""

    def make(limits: Sequence[Limit]) -> tuple[Simulation, Pace]:
        simulation = Simulation()
        monkeypatch.setattr(pace, "now", simulation.now)
        monkeypatch.setattr(pace, "pause", simulation.pause)
        made = Pace(limits)
        made._changed = simulation.condition()
        return simulation, made

    return make


def most_sliding(arrivals: Sequence[float], seconds: float) -> int:
    """The most requests in any window [t, t + seconds)."""
    arrivals = sorted(arrivals)
    return max((bisect_left(arrivals, first + seconds) - place for place, first in enumerate(arrivals)), default=0)


def most_on_the_clock(arrivals: Sequence[float], seconds: float) -> int:
    """The most requests in any window that begins on the clock, as vendors count that reset each minute."""
    return max(Counter(arrival // seconds for arrival in arrivals).values(), default=0)


limits_ = st.lists(
    st.builds(Limit, requests=st.integers(1, 6), seconds=st.integers(1, 8).map(float)), min_size=1, max_size=3
)
ticks = st.integers(0, 96).map(lambda number: number * TICK)
trips = st.lists(st.tuples(ticks, ticks), min_size=1, max_size=10)  # to the vendor, and back


@settings(max_examples=60, **QUICK)
@given(limits=limits_, threads=st.lists(trips, min_size=1, max_size=6))
def test_however_many_threads_and_however_long_requests_travel_no_window_holds_more(simulated, limits, threads):
    _no_window_holds_more(simulated, limits, threads)


@pytest.mark.slow
@settings(max_examples=500, **QUICK)
@given(limits=limits_, threads=st.lists(trips, min_size=1, max_size=10))
def test_the_windows_hold_over_many_more_runs(simulated, limits, threads):
    _no_window_holds_more(simulated, limits, threads)


def _no_window_holds_more(simulated, limits, threads) -> None:
    simulation, made = simulated(limits)
    arrivals: list[float] = []

    def work(its_trips):
        def working():
            for there, back in its_trips:
                with made.turn():
                    simulation.pause(there)
                    arrivals.append(simulation.now())
                    simulation.pause(back)

        return working

    simulation.run(*(work(one) for one in threads))
    assert len(arrivals) == sum(map(len, threads)), "everybody had a turn"
    for limit in limits:
        assert most_sliding(arrivals, limit.seconds) <= limit.requests
        assert most_on_the_clock(arrivals, limit.seconds) <= limit.requests


@settings(max_examples=60, **QUICK)
@given(limits=limits_, number=st.integers(1, 80))
def test_one_thread_needs_the_least_time_where_requests_take_none(simulated, limits, number):
    starts = _started(simulated, limits, number, 0.0)
    assert starts[-1] == least_seconds(number, limits)


@settings(max_examples=60, **QUICK)
@given(limits=limits_, number=st.integers(1, 80), share=st.integers(1, 4))
def test_one_thread_waits_at_most_a_tenth_longer_than_the_least(simulated, limits, number, share):
    """A window counts from the answer, so a tenth of it may go by with the request on its way."""
    travels = min(limit.seconds for limit in limits) * share / 64
    waits: list[float] = []
    starts = _started(simulated, limits, number, travels, waits)
    least = least_seconds(number, limits)
    assert sum(waits) <= 1.1 * least
    assert starts[-1] <= max(1.1 * least, least + (number - 1) * travels)


def _started(simulated, limits, number: int, travels: float, waits: list[float] | None = None) -> list[float]:
    simulation, made = simulated(limits)
    starts: list[float] = []

    def work():
        for _ in range(number):
            asked = simulation.now()
            with made.turn() as began:
                starts.append(began)
                if waits is not None:
                    waits.append(began - asked)
                simulation.pause(travels)

    simulation.run(work)
    return starts


@pytest.mark.parametrize(
    ("requests", "limits", "seconds"),
    [
        (0, [Limit(1, 1)], 0.0),
        (100, [], 0.0),
        (10, [Limit(10, 1)], 0.0),
        (11, [Limit(10, 1)], 1.0),
        (151, [Limit(10, 1), Limit(150, 60)], 60.0),
        (301, [Limit(10, 1), Limit(150, 60)], 120.0),
        (3, [Limit(1, 20), Limit(100, 1)], 40.0),
    ],
)
def test_the_least_time_is_when_the_last_request_may_start(requests, limits, seconds):
    assert least_seconds(requests, limits) == seconds


def test_the_least_time_of_very_many_requests_goes_on_in_proportion():
    assert least_seconds(1_000_000, [Limit(10, 1)]) == pytest.approx(99_999, rel=0.001)


def test_without_limits_nobody_waits(simulated):
    assert _started(simulated, [], 50, 0.0) == [0.0] * 50


def test_a_request_that_fails_counts_too(simulated):
    simulation, made = simulated([Limit(2, 10)])
    starts = []

    def fail():
        with made.turn() as began:
            starts.append(began)
            raise ConnectionError

    def work():
        for _ in range(3):
            with pytest.raises(ConnectionError):
                fail()

    simulation.run(work)
    assert starts == [0.0, 0.0, 10.0]


@settings(max_examples=40, **QUICK)
@given(threads=st.lists(trips, min_size=2, max_size=5), after=st.integers(0, 8), seconds=st.integers(1, 30))
def test_when_the_vendor_says_later_nobody_goes_before(simulated, threads, after, seconds):
    simulation, made = simulated([Limit(3, 2.0)])
    starts: list[float] = []
    held: list[tuple[float, float]] = []

    def work(its_trips):
        def working():
            for there, back in its_trips:
                with made.turn():
                    starts.append(simulation.now())
                    simulation.pause(there + back)
                if len(starts) > after and not held:
                    made.hold(float(seconds))
                    held.append((simulation.now(), simulation.now() + seconds))

        return working

    simulation.run(*(work(one) for one in threads))
    for since, until in held:
        assert not [start for start in starts if since < start < until]


def test_a_shorter_word_does_not_end_a_longer_one(simulated):
    simulation, made = simulated([])
    made.hold(10.0)
    made.hold(2.0)
    starts = []

    def work():
        with made.turn() as began:
            starts.append(began)

    simulation.run(work)
    assert starts == [10.0]


@settings(max_examples=60, **QUICK)
@given(
    limit=st.builds(Limit, requests=st.integers(2, 8), seconds=st.integers(1, 8).map(float)),
    others=st.lists(st.integers(0, 7), min_size=1, max_size=12),
    travels=ticks,
)
def test_with_others_on_the_same_limit_what_the_vendor_says_is_left_is_kept(simulated, limit, others, travels):
    """Another program makes requests between ours; each answer says how many more may come now."""
    simulation, made = simulated([limit])
    arrivals: list[float] = []
    refused = []

    def counted() -> int:
        return len([one for one in arrivals if one > simulation.now() - limit.seconds])

    def work():
        for number in others:
            with made.turn() as began:
                simulation.pause(travels)
                if counted() >= limit.requests:
                    refused.append(simulation.now())
                arrivals.append(simulation.now())
                arrivals.extend([simulation.now()] * min(number, max(0, limit.requests - counted())))
                left = max(0, limit.requests - counted())
            made.leave(left, began)

    simulation.run(work)
    assert refused == []


def test_what_was_said_longer_ago_than_a_window_says_nothing_any_more(simulated):
    simulation, made = simulated([Limit(5, 10)])
    starts = []

    def work():
        simulation.pause(20.0)
        made.leave(0, asked_at=5.0)
        for _ in range(5):
            with made.turn() as began:
                starts.append(began)
        made.leave(0, asked_at=simulation.now())
        with made.turn() as began:
            starts.append(began)

    simulation.run(work)
    assert starts == [20.0] * 5 + [30.0]


def test_no_limit_is_left_out_of_what_the_vendor_says(simulated):
    _, made = simulated([])
    made.leave(0, asked_at=0.0)
    with made.turn() as began:
        assert began == 0.0
