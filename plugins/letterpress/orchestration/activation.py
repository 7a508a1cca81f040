"""Tasks of the sync DAGs: suppressions in, plan, audit, a person's approval, submit, poll; and the drift check."""

import logging
from datetime import timedelta

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress import storage
from letterpress.orchestration import context
from letterpress.orchestration.assets import synced
from letterpress.orchestration.connections import connection_of, identity_key
from letterpress.orchestration.pages import SyncLink
from letterpress.orchestration.polling import PollJobs
from letterpress.settings import settings

log = logging.getLogger(__name__)

APPROVAL = timedelta(hours=12)  # that a plan waits for a person
TEXT = """{{ ti.xcom_pull(task_ids='audit')['objections'] | map('string') | join('\\n\\n') }}

The plan, its numbers and examples: [/letterpress/syncs](/letterpress/syncs). Approve to carry it out as it is; reject
to leave the destination as it is, and look at the audience first."""


@task
def pull_suppressions(name: str) -> int:
    """Unsubscribes, bounces and complaints come in before anything goes out."""
    from letterpress.activation.destinations import destination
    from letterpress.activation.pull import pull_suppressions as pull

    found = destination(name)
    return pull(
        destination=found,
        connection=connection_of(found),
        stores_url=settings().stores,
        identity_key=identity_key(),
    )


@task
def pin_activation() -> str:
    """Pin one activation version for the whole run: the one that triggered it, else the current one."""
    from letterpress.warehouse import publish

    triggered = context.triggering("version")
    wanted = triggered[-1] if triggered else None
    return publish.manifest(settings().published, "activation", wanted)["version"]


def plan(name: str, version: str):
    """The task that plans, with a link to the plan's page."""
    planned = make_plan(name, version)
    planned.operator.operator_extra_links = (SyncLink(),)
    return planned


@task(task_id="plan")
def make_plan(name: str, version: str) -> dict:
    """The difference between what the warehouse wants and what the ESP acknowledged; shown, then stored."""
    from letterpress.activation import plan as room
    from letterpress.activation.apply import settle_queued
    from letterpress.activation.destinations import destination
    from letterpress.activation.pull import lift_opted_in
    from letterpress.activation.syncs import render
    from letterpress.warehouse import publish

    found = destination(name)
    left = settle_queued(
        destination=found,
        connection=connection_of(found),
        stores_url=settings().stores,
        identity_key=identity_key(),
        run_id=context.run_id(),
    )
    if left:
        log.info("%d queued requests of earlier runs are still worked on", left)
    with publish.lease(settings().published, "activation", version) as folder:
        lifted = lift_opted_in(
            destination=found,
            version_dir=str(folder),
            stores_url=settings().stores,
            identity_key=identity_key(),
        )
        log.info("%d suppressions lifted by a later, proven opt-in of the person", lifted)
        made = room.make_plan(
            destination=found,
            version_dir=str(folder),
            stores_url=settings().stores,
            identity_key=identity_key(),
            plans=settings().plans,
            run_id=context.run_id(),
        )
    log.info("%s", render(made))
    return {"uri": made.uri, "changes": made.changes, "counts": made.counts, "refused": made.refused}


@task
def audit(name: str, version: str, planned: dict) -> dict:
    """What speaks against the plan: guards, and the expectations of every profile that would leave."""
    from letterpress.activation import guard
    from letterpress.activation.destinations import destination
    from letterpress.activation.plan import read_plan
    from letterpress.warehouse import publish

    if not planned["changes"]:
        raise AirflowSkipException(f"{name}: the ESP holds what the warehouse says; nothing to send")
    made, found = read_plan(planned["uri"]), destination(name)
    objections = guard.objections(made, found)
    with publish.lease(settings().published, "activation", version) as folder:
        failed = _failed_checks(name, made.plan_id, guard.frames(made, found, str(folder), identity_key()))
    if failed:
        objections.append(f"payloads: {failed}")
    for objection in objections:
        log.warning("%s: plan %s: %s", name, made.plan_id, objection)
    return {**planned, "objections": objections}


def _failed_checks(name: str, plan_id: str, frames) -> str:
    """What Great Expectations says against what would leave, in words; empty where no check of severity error fails."""
    from letterpress.orchestration.audits import audit as asked

    found = asked(settings(), "payload", frames, subject=f"plan {plan_id} to {name}", run_id=context.run_id())
    return found["summary"] if found["verdict"] == "failed" else ""


@task.branch
def whether_to_ask(audited: dict) -> str:
    """A plan that something speaks against waits for a person."""
    return "approve" if audited["objections"] else "submit"


def approve(name: str):
    """The task that waits for a person: it shows what speaks against the plan."""
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    return ApprovalOperator(
        task_id="approve",
        subject=f"{name}: a plan that has to be looked at",
        body=TEXT,
        execution_timeout=None,
        response_timeout=APPROVAL,
    )


def advance(name: str, version: str, audited: dict, *, is_first: bool) -> dict:
    """Carry a plan out as far as it goes without waiting; what happened so far."""
    from letterpress.activation.apply import advance as run
    from letterpress.activation.apply import result_of
    from letterpress.activation.destinations import destination
    from letterpress.activation.plan import read_plan
    from letterpress.activation.syncs import render
    from letterpress.warehouse import publish

    made, found = read_plan(audited["uri"]), destination(name)
    before = None if is_first else result_of(made)
    with publish.lease(settings().published, "activation", version) as folder:
        run(
            plan=made,
            destination=found,
            version_dir=str(folder),
            connection=connection_of(found),
            stores_url=settings().stores,
            identity_key=identity_key(),
            run_id=context.run_id(),
            is_approved=bool(audited["objections"]),  # this task runs after the approval, or there was no need of one
            stage=before.stage if before else 0,
        )
    result = result_of(made)
    log.info("%s", render(made, result))
    return {
        **audited,
        "version": version,
        "plan_id": made.plan_id,
        "accepted": result.accepted,
        "rejected": result.rejected,
        "skipped": result.skipped,
        "requests": result.requests,
        "outstanding": result.outstanding,
    }


def submit(name: str, version: str, audited):
    """The task that sends, with a link to the plan's page."""
    submitted = send_changes(name, version, audited)
    submitted.operator.operator_extra_links = (SyncLink(),)
    return submitted


@task(task_id="submit", trigger_rule="none_failed_min_one_success")
def send_changes(name: str, version: str, audited: dict) -> dict:
    """Send what changed; live suppression is asked again before each batch leaves."""
    if not audited:  # nothing to send; the rule that lets this task follow a skipped approval lets it start here too
        raise AirflowSkipException(f"{name}: nothing to send")
    return advance(name, version, audited, is_first=True)


def poll(name: str, submitted) -> PollJobs:
    """The task that reads the results of queued requests, carries out what waited for them, and tells the asset."""
    return PollJobs(
        task_id="poll",
        submitted=submitted,
        advance=lambda outcome: advance(name, outcome["version"], outcome, is_first=False),
        done=lambda outcome, run: _announce(name, outcome, run),
        outlets=[synced(name)],
    )


def _announce(name: str, outcome: dict, run) -> dict:
    told = {one: outcome[one] for one in ("plan_id", "accepted", "rejected", "skipped", "requests")}
    run["outlet_events"][synced(name)].extra = told
    return told


@task
def compare(name: str) -> dict:
    """Read a sample back from the ESP and compare it with the ledger; with ``repair`` the next sync writes it again."""
    from dataclasses import asdict

    from letterpress.activation import drift
    from letterpress.activation.destinations import destination

    found = destination(name)
    given = get_current_context()["params"]
    result = drift.check(
        destination=found,
        connection=connection_of(found),
        stores_url=settings().stores,
        identity_key=identity_key(),
        sample=given["sample"],
        seed=context.run_id(),
        repair=given["repair"],
    )
    log.info("%s", drift.render(result))
    storage.write_json(storage.join(settings().plans, name, "drift", "latest.json"), asdict(result))
    return asdict(result)
