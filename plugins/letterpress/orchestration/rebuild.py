"""The task that rebuilds one past instant beside the live warehouse, and the form that asks for it."""

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, get_current_context, task

from letterpress.orchestration import context
from letterpress.settings import settings
from letterpress.warehouse.database import WRITER_POOL

log = logging.getLogger(__name__)

PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As of",
        description="Rebuild this instant (ISO 8601 with zone). Empty: the run's own date, as a backfill gives it.",
    ),
    "known_through": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Known through",
        description="Know the loads up to this sequence. Empty: all that have landed.",
    ),
    "as_known_then": Param(
        False,
        type="boolean",
        title="As known then",
        description="Know only what had landed at that instant.",
    ),
}


# In the pool of the one writer, behind whatever the live line wants: two dbt builds do not share one machine's memory.
@task(pool=WRITER_POOL, priority_weight=-100, execution_timeout=timedelta(hours=2))
def rebuild_instant() -> dict:
    """Profile, segments and features as of the run's date, in a folder of their own; nothing is published or sent."""
    from letterpress.warehouse.rebuild import Knowledge, rebuild_range

    params = get_current_context()["params"]
    knowledge = Knowledge(params.get("known_through"), bool(params.get("as_known_then")))
    [done] = rebuild_range(settings(), [_instant(params)], knowledge=knowledge, run_id=context.run_id())
    return {
        "as_of": done.as_of.isoformat(),
        "known_through": done.known_through,
        "version": done.version,
        "customers": done.customers,
        "is_new": done.is_new,
        "folder": done.folder,
    }


def _instant(params: dict) -> datetime:
    """The form's instant, else the run's logical date: never the clock, nor the demo shop's."""
    if params.get("as_of"):
        return datetime.fromisoformat(params["as_of"]).astimezone(UTC)
    found = get_current_context().get("logical_date")
    if found is None:
        raise ValueError(
            "as_of: expected an instant in the form or a logical date, found neither; next step: trigger the run with "
            "one of them, or start a backfill over a range of dates"
        )
    return found.astimezone(UTC)
