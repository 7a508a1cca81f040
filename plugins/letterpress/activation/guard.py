"""What stops a plan before its first request, until a person approves it; and the audit of what would leave."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from letterpress import storage
from letterpress.activation import audience
from letterpress.activation.destinations import Destination
from letterpress.activation.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

Validate = Callable[["pd.DataFrame"], None]


class GuardError(Exception):
    """A plan that a person has to approve before its first request."""


def objections(plan: Plan, destination: Destination) -> list[str]:
    """What speaks against carrying a plan out unseen, in words; empty where nothing does."""
    guard, found = destination.guard, []
    if plan.reached and not plan.eligible:
        found.append(
            f"nobody of {plan.people} people may be written to, and {plan.reached} are reached there: the audience is "
            "empty"
        )
    elif plan.reached >= guard.removed_at_least and plan.eligible < plan.reached * (1 - guard.shrunken_percent / 100):
        percent = 100 * (1 - plan.eligible / plan.reached)
        found.append(
            f"the audience shrank from {plan.reached} to {plan.eligible} people ({percent:.0f} %), expected at most "
            f"{guard.shrunken_percent:g} %"
        )
    removed = plan.counts["delete"] + plan.counts["clear"]
    percent = 100 * removed / plan.held if plan.held else 0
    if removed >= guard.removed_at_least and percent > guard.removed_percent:
        found.append(
            f"it deletes {removed} of {plan.held} people ({percent:.0f} %), expected at most "
            f"{guard.removed_percent:g} %"
        )
    return found


def check(plan: Plan, destination: Destination, *, is_approved: bool) -> None:
    """Raises GuardError where something speaks against the plan and nobody has approved it."""
    found = [] if is_approved else objections(plan, destination)
    if found:
        raise GuardError(
            f"{destination.name}: plan {plan.plan_id}: {'; '.join(found)}. Look at the audience; if it is right, "
            "approve the plan"
        )


def audit(plan: Plan, destination: Destination, version_dir: str, identity_key: bytes, validate: Validate) -> int:
    """Show ``validate`` everybody whose profile would leave, in frames; returns how many people.

    ``validate`` raises to stop the line: nothing has left by then.
    """
    people = 0
    for frame in frames(plan, destination, version_dir, identity_key):
        people += len(frame)
        validate(frame)
    return people


def frames(plan: Plan, destination: Destination, version_dir: str, identity_key: bytes) -> Iterator["pd.DataFrame"]:
    """Everybody whose profile would leave: external_id, email, is_eligible, each attribute as ``attributes.<name>``."""
    with audience.opened(version_dir, identity_key) as duck:
        duck.register("stored", storage.read_parquet(plan.uri))
        found = duck.sql(f"""
            select {audience.columns(destination)}
            from published.{destination.audience}
            where customer_id in (
                select customer_id from stored where action in ('create', 'update', 'restore', 'subscribe')
            )
            order by customer_id
        """)
        for batch in found.to_arrow_reader(audience.BATCH_ROWS):
            if batch.num_rows:
                yield batch.to_pandas()
