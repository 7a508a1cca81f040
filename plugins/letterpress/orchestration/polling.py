"""Waiting for a vendor's queue without holding a worker: the task sleeps in the triggerer between two looks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

FIRST, LONGEST = 5.0, 60.0  # seconds between two looks


class PollJobs(BaseOperator):
    """Goes on with a sync until no queued request is outstanding; deferred in between.

    ``advance(submitted)`` reads results and carries out what had to wait for them; it returns what happened so far,
    with how much is ``outstanding``. ``done(outcome, context)`` is told when nothing is. The ledger alone knows the
    vendor's jobs, and the stored plan how far it went: a lost or repeated poll changes nothing.
    """

    template_fields = ("submitted",)

    def __init__(
        self,
        *,
        submitted: Any,
        advance: Callable[[dict], dict],
        done: Callable[[dict, Any], dict],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.submitted, self.advance, self.done = submitted, advance, done

    def execute(self, context: Any) -> dict:
        """Look once; wait where something is outstanding."""
        return self._go_on(context, self.submitted, FIRST)

    def resume(self, context: Any, event: Any = None, seconds: float = FIRST) -> dict:
        """Look again."""
        del event
        return self._go_on(context, self.advance(self.submitted), seconds)

    def _go_on(self, context: Any, outcome: dict, seconds: float) -> dict:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        if outcome["outstanding"]:
            self.log.info("%d requests are still worked on; looking again in %.0f s", outcome["outstanding"], seconds)
            self.defer(
                trigger=TimeDeltaTrigger(timedelta(seconds=seconds)),
                method_name="resume",
                kwargs={"seconds": min(LONGEST, seconds * 1.5)},
            )
        return self.done(outcome, context)
