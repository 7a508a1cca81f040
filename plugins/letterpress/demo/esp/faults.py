"""Faults that tests switch on: what a real provider does on a bad day."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, ``times`` times, for requests whose path begins with ``path``.

    ``path="smtp"`` is the end of a mail's DATA. With ``status`` the request is answered so and not executed
    (429 with ``retry_after`` seconds; SMTP: 451). With ``loses_answer`` it is executed and committed, and
    then the connection is cut. ``delay`` seconds pass before anything else, alone or with the others.
    """

    path: str = "/api/"
    method: str | None = None
    status: int | None = None
    retry_after: int | None = None
    delay: float = 0.0
    loses_answer: bool = False
    times: int = 1


class Faults:
    """The faults still to come; each is used up by the requests that it hits."""

    def __init__(self, faults: Iterable[Fault] = ()):
        self._lock = threading.Lock()
        self._left: list[list] = [[fault, fault.times] for fault in faults]

    def add(self, fault: Fault) -> None:
        """Switch one on while the ESP runs."""
        with self._lock:
            self._left.append([fault, fault.times])

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if any."""
        with self._lock:
            for entry in self._left:
                fault, left = entry
                if left > 0 and path.startswith(fault.path) and fault.method in (None, method):
                    entry[1] -= 1
                    return fault
        return None
