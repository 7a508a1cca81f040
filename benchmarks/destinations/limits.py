"""Klaviyo's limits in real time: how long an apply takes beside the least time that the limits leave.

The stand-in counts requests as the vendor does and refuses the one too many. For erasures the least is that of the
deletion requests, 3 a second and 60 a minute. A bulk import has three kinds of requests with a limit of their own (jobs
posted, their states asked for, their errors read), one of each a job, and none can be answered before the one ahead of
it: the least is that of one kind, plus the seconds that the last job takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.destinations.common import KEY, Engine, klaviyo, publish, row, serving
from letterpress.activation import ledger, stores, suppression
from letterpress.activation.destinations.klaviyo import ENDPOINTS
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.spec import Operation

REACH = 1.1
JOB_ROWS, JOB_SECONDS = 50, 1.0


def measure(folder: Path, erasures: int, jobs: Sequence[int]) -> list[dict[str, Any]]:
    """Erasures, then imports of so many jobs each, every time at a stand-in of its own."""
    logging.disable(logging.CRITICAL)
    imports = [one for number in jobs for one in _import(folder / f"imports-{number}", number)]
    return [*_erase(folder / "erasures", erasures), *imports]


def _erase(folder: Path, people: int) -> list[dict[str, Any]]:
    version = publish(folder / "version", people * 20 // 19 + 1)  # one in twenty has not consented
    with serving("klaviyo", "--job-seconds", "0") as connection:
        engine = Engine(folder, klaviyo(), connection)
        engine.apply(version)
        with stores.opened(engine.given["stores_url"]) as opened, stores.writing(opened) as write:
            held = ledger.settled(write, "klaviyo")[:people]
            entries = [
                entry
                for customer_id in held
                for entry in suppression.entries(
                    email=None,
                    customer_id=customer_id,
                    reason="erased",
                    source="benchmark",
                    suppressed_at=datetime.now(UTC),
                    identity_key=KEY,
                )
            ]
            suppression.suppress(write, entries)
        time.sleep(60)  # the windows are empty again
        seconds, plan = _timed(engine, version)
    if plan.counts["erase"] != len(held):
        raise RuntimeError(f"erasures: expected {len(held)}, found a plan of {plan.counts['erase']}")
    least = least_seconds(len(held), ENDPOINTS[Operation.ERASE].limits)
    return _rows(f"{len(held):,} erasures at 3/s and 60/min", seconds, least)


def _import(folder: Path, jobs: int) -> list[dict[str, Any]]:
    people = jobs * JOB_ROWS * 20 // 19 + 1  # likewise
    version = publish(folder / "version", people)
    with serving("klaviyo", "--job-seconds", str(JOB_SECONDS)) as connection:
        without_consent = klaviyo(rows=JOB_ROWS).model_copy(update={"subscribes": False})
        engine = Engine(folder, without_consent, connection)
        seconds, plan = _timed(engine, version)
    found = -(-plan.counts["create"] // JOB_ROWS)
    kinds = (Operation.UPSERT, "import", "import errors")
    least = max(least_seconds(found, ENDPOINTS[kind].limits) for kind in kinds) + JOB_SECONDS
    return _rows(f"{found:,} import jobs of {JOB_ROWS} at 10/s and 150/min, 1 s each", seconds, least)


def _timed(engine: Engine, version: str) -> tuple[float, Any]:
    plan = engine.plan(version)
    began = time.perf_counter()
    result = engine.apply(version, plan)
    seconds = time.perf_counter() - began
    if result.accepted != plan.changes:
        raise RuntimeError(f"limits: expected {plan.changes} changes to be accepted, found {result}")
    return seconds, plan


def _rows(what: str, seconds: float, least: float) -> list[dict[str, Any]]:
    if not least:
        raise ValueError(f"limits: expected work that the limits bind, found {what}, which they let pass: take more")
    ratio = seconds / least
    return [
        row(what, round(seconds, 1), "s", baseline=round(least, 1)),
        row("times the least that the limits leave", round(ratio, 2), "times", f"<= {REACH}", ratio <= REACH),
    ]
