"""What the models would write of a few people: one row a score, one row a ranked item."""

import json
from collections.abc import Sequence
from datetime import datetime

from landed_rows import AS_OF


def score(model: str, person: str, tier: str, number: float = 1.0, *, as_of: datetime = AS_OF, **details) -> dict:
    """One score; ``details`` are what the model says besides."""
    return {
        "model_name": model,
        "model_version": "v1",
        "as_of": as_of,
        "customer_id": person,
        "score": number,
        "decile": 10,
        "tier": tier,
        "reasons": None,
        "details": json.dumps(details) if details else None,
        "scored_at": as_of,
        "run_id": "r",
    }


def items(model: str, person: str, ranked: Sequence[str], *, as_of: datetime = AS_OF) -> list[dict]:
    """A ranked list, the best first; its rows land in the opposite order."""
    rows = [
        {
            "model_name": model,
            "model_version": "v1",
            "as_of": as_of,
            "customer_id": person,
            "rank": place,
            "item_id": item,
            "score": 1 / place,
            "reason": None,
        }
        for place, item in enumerate(ranked, start=1)
    ]
    return rows[::-1]


def send_time(weekday: int, workday_hour: int, weekend_hour: int, drawn_hour: int | None = None) -> dict:
    """Details of the model of that name; ``drawn_hour`` is the one given out by lot instead of the best one."""
    best = weekend_hour if weekday >= 5 else workday_hour
    return {
        "local_hour": best if drawn_hour is None else drawn_hour,
        "weekday": weekday,
        "time_zone": "Europe/London",
        "is_exploration": drawn_hour is not None,
        "workday_hour": workday_hour,
        "weekend_hour": weekend_hour,
    }
