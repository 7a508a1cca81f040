"""What a task learns from its run: the instant to build as of, and the run's name."""

from datetime import datetime

from airflow.sdk import get_current_context

from letterpress.settings import settings


def run_id() -> str:
    """``<dag>/<run>``: metadata of files and ledgers."""
    instance = get_current_context()["task_instance"]
    return f"{instance.dag_id}/{instance.run_id}"


def as_of() -> datetime:
    """The run's instant: its parameter, else its triggering events', else the data interval or the shop's clock."""
    from letterpress.sources.clock import resolve_as_of

    context = get_current_context()
    if context["params"].get("as_of"):
        return datetime.fromisoformat(context["params"]["as_of"])
    found = triggering("as_of")
    if found:
        return max(datetime.fromisoformat(value) for value in found)
    return resolve_as_of(settings(), context.get("data_interval_end") or context["dag_run"].run_after)


def triggering(key: str) -> list:
    """A key's values in the extras of the asset events that triggered this run, oldest first."""
    events = get_current_context().get("triggering_asset_events") or {}
    flat = [event for group in events.values() for event in group]
    return [event.extra[key] for event in sorted(flat, key=lambda event: event.timestamp) if key in event.extra]
