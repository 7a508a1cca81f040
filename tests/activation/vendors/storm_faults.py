"""What goes wrong: answers of the vendor, and deaths of the process at any point of a run."""

import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import sqlalchemy as sa
from vendor_clock import jumping

from letterpress.activation.apply import apply_plan
from letterpress.activation.batches import Sender
from letterpress.demo.esp import Fault

ANSWERS = {
    "429 with Retry-After": {"status": 429},
    "429 without": {"status": 429},
    "500": {"status": 500},
    "503": {"status": 503},
    "answer lost": {"loses_answer": True},
}


class Killed(BaseException):
    """The process dies here: nothing that catches errors sees it."""


class Answers:
    """What a stand-in asks at each request: it meets a fault with some probability, and what was met is counted."""

    def __init__(self, random: Random, fired: Counter[str], app: Any):
        self._random, self._fired, self._app = random, fired, app
        self._kinds = dict(ANSWERS)
        if getattr(app, "name", None) == "mailchimp":
            self._kinds["bare 403"] = {"status": 403}
        self.probability = 0.0
        self.at_request: Callable[[], None] | None = None

    def __call__(self, method: str, path: str) -> Fault | None:
        if self.at_request is not None:
            self.at_request()
        if self._random.random() >= self.probability:
            return None
        if self._is_cancelled(method, path):
            return None
        kind = self._random.choice(sorted(self._kinds))
        self._fired[kind] += 1
        retry_after = self._random.choice((1, 5, 30, 200)) if kind == "429 with Retry-After" else None
        return Fault(path="", retry_after=retry_after, **self._kinds[kind])

    take = __call__

    def _is_cancelled(self, method: str, path: str) -> bool:
        """Somebody at Klaviyo stops the job that is asked for."""
        job = re.fullmatch("/api/profile-bulk-import-jobs/([^/]+)", path)
        if method != "GET" or job is None or self._random.random() < 0.7:
            return False
        if self._app.jobs.jobs[job[1]]["work"] is None:
            return False
        self._app.jobs.cancel(job[1])
        self._fired["job cancelled"] += 1
        return True


class Deaths:
    """Kills the run at the n-th of the points that it passes: statements, commits, requests before and after."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.passed = 0

    def point(self, *_: Any) -> None:
        """One point; does not return from the last one."""
        self.passed += 1
        if self._left is None:
            return
        self._left -= 1
        if self._left == 0:
            raise Killed

    @contextmanager
    def at(self, number: int | None) -> Iterator[None]:
        """Let the run in the block die at a point, or only count them."""
        self._left, self.passed = number, 0
        send = Sender.send

        def sent(sender: Sender, prepared: Any) -> Any:
            self.point()
            answer = send(sender, prepared)
            self.point()
            return answer

        Sender.send = sent
        events = ("before_cursor_execute", "commit")
        for event in events:
            sa.event.listen(sa.Engine, event, self.point)
        try:
            yield
        finally:
            Sender.send = send
            for event in events:
                sa.event.remove(sa.Engine, event, self.point)
            self._left = None


def apply_until_killed(given: dict[str, Any], random: Random, answers: Answers | None) -> bool:
    """Apply in a process of its own that gets a SIGKILL at a request or after some time; whether it died of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["storm_faults"])
    process = context.Process(target=_apply, args=(given, list(sys.path)), daemon=True)
    left = random.randint(1, 12)

    def strike() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(process.pid, signal.SIGKILL)

    process.start()
    if answers is not None and random.random() < 0.6:
        answers.at_request = strike
    else:
        process.join(random.uniform(0.05, 0.6))
        process.kill()
    process.join(600)
    if answers is not None:
        answers.at_request = None
    if process.is_alive():
        process.kill()
        raise RuntimeError("a run in its own process: expected it to end within 600 s, found it still at work")
    return process.exitcode == -signal.SIGKILL


def _apply(given: dict[str, Any], path: list[str]) -> None:
    """What runs in the process that is killed; what it raises otherwise is what a run raises in a storm."""
    sys.path[:] = path
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with jumping():
        apply_plan(**given)
