"""The plan of many people of whom one in a hundred changed, beside a full ledger and live suppression."""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.destinations.common import KEY, Engine, job, klaviyo, peak, publish, row, say
from letterpress.activation import stores, suppression
from letterpress.activation.destinations import Connection

SUPPRESSED = 50_000  # hashes: an address and a person each
SECONDS, MEMORY = 10.0, 2.0


def measure(folder: Path, people: int, runs: int) -> list[dict[str, Any]]:
    """Fill a ledger, publish a version in which one in a hundred changed, plan it in processes of their own."""
    engine = _engine(folder)
    first, second = publish(folder / "first", people), publish(folder / "second", people, tier="silver")
    hashes = min(SUPPRESSED, people // 10)
    _suppress(engine, hashes)
    job("planning", folder=str(folder), version=first, applies=True)
    answers = [job("planning", folder=str(folder), version=second, applies=False) for _ in range(runs)]
    changed = {answer["changes"] for answer in answers}
    expected = _expected(people, hashes)
    if changed != {expected}:
        raise RuntimeError(f"plan: expected {expected} changes of {people} people, found {sorted(changed)}")
    seconds = statistics.median(answer["seconds"] for answer in answers)
    memory = max(answer["peak"] for answer in answers)
    is_full = people >= 1_000_000
    what = f"plan: {people:,} people, {expected:,} changed, {hashes:,} suppressed hashes"
    return [
        row(
            what,
            round(seconds, 2),
            "s",
            f"<= {SECONDS:g}" if is_full else None,
            seconds <= SECONDS if is_full else None,
        ),
        row(
            "plan: peak resident memory",
            round(memory, 2),
            "GiB",
            f"<= {MEMORY:g}" if is_full else None,
            memory <= MEMORY if is_full else None,
        ),
    ]


def _engine(folder: Path) -> Engine:
    return Engine(folder, klaviyo(module="benchmarks.destinations.accepting"), Connection("http://127.0.0.1", "none"))


def _suppress(engine: Engine, hashes: int) -> None:
    """Half as many people, spread over all, each by address and id."""
    entries = [
        entry
        for number in range(hashes // 2)
        for entry in suppression.entries(
            email=f"person{_suppressed(number)}@example.com",
            customer_id=_customer_id(_suppressed(number)),
            reason="unsubscribed",
            source="benchmark",
            suppressed_at=datetime(2011, 5, 1, tzinfo=UTC),
            identity_key=KEY,
        )
    ]
    with stores.opened(engine.given["stores_url"]) as opened, stores.writing(opened) as connection:
        suppression.suppress(connection, entries)


def _suppressed(number: int) -> int:
    """The number of the next person to suppress: some of the changed, some of those without consent."""
    return number * 3


def _customer_id(number: int) -> str:
    import hashlib

    return hashlib.md5(f"customer {number}".encode(), usedforsecurity=False).hexdigest()


def _expected(people: int, hashes: int) -> int:
    """How many of the changed may be written to."""
    stopped = {_suppressed(number) for number in range(hashes // 2)}
    return sum(number not in stopped for number in range(1, people, 100))  # none of them is one in twenty


def _run(given: dict[str, Any]) -> None:
    engine = _engine(Path(given["folder"]))
    began = time.perf_counter()
    plan = engine.plan(given["version"])
    seconds = time.perf_counter() - began
    if given["applies"]:
        engine.apply(given["version"], plan)
    say({"seconds": seconds, "changes": plan.changes, "peak": peak()})


if __name__ == "__main__":
    _run(json.loads(sys.argv[2]))
