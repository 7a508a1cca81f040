"""Tasks of the activation DAGs: suppressions in, plan, apply; and a campaign's messages."""

import logging
from itertools import count

from airflow.sdk import BaseHook, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress import storage
from letterpress.orchestration import context
from letterpress.orchestration.assets import sent, synced
from letterpress.settings import settings

log = logging.getLogger(__name__)


def esp_connection(name: str):
    """An ESP's address and key from its Airflow Connection; SMTP's address stands in the connection's extra."""
    from letterpress.activation.destinations import Connection

    found = BaseHook.get_connection(name)
    extra = found.extra_dejson
    return Connection(
        base_url=f"{found.schema or 'http'}://{found.host}:{found.port}",
        token=found.password,
        smtp_host=extra.get("smtp_host", found.host),
        smtp_port=int(extra.get("smtp_port", settings().smtp_port)),
    )


def identity_key() -> bytes:
    """The key of person ids and of the suppression store's hashes."""
    return storage.read_bytes(storage.join(settings().secrets, "identity_key")).strip()


@task
def pull_suppressions(name: str) -> int:
    """Unsubscribes, bounces and complaints come in before anything goes out."""
    from letterpress.activation.destinations import destination
    from letterpress.activation.pull import pull_suppressions as pull

    found = destination(name)
    return pull(
        destination=found,
        connection=esp_connection(found.connection),
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


@task
def plan(name: str, version: str) -> dict:
    """The difference between what the warehouse wants and what the ESP acknowledged; shown, then stored."""
    from letterpress.activation import plan as room
    from letterpress.activation.destinations import destination
    from letterpress.activation.pull import lift_opted_in
    from letterpress.warehouse import publish

    with publish.lease(settings().published, "activation", version) as folder:
        lifted = lift_opted_in(
            destination=destination(name),
            version_dir=str(folder),
            stores_url=settings().stores,
            identity_key=identity_key(),
        )
        log.info("%d suppressions lifted by a later, proven opt-in of the person", lifted)
        made = room.make_plan(
            destination=destination(name),
            version_dir=str(folder),
            stores_url=settings().stores,
            identity_key=identity_key(),
            plans=settings().plans,
            run_id=context.run_id(),
        )
    log.info("%s", room.render(made))
    return {"uri": made.uri, "changes": made.changes, "counts": made.counts, "refused": made.refused}


def apply(name: str):
    """The task that carries a plan out and advances the ledger on each acknowledgement."""

    @task(task_id="apply", outlets=[synced(name)])
    def apply_plan(name: str, version: str, planned: dict) -> dict:
        """Send only what changed; consent and suppression are asked again before each batch leaves."""
        from letterpress.activation.apply import apply_plan as run
        from letterpress.activation.destinations import destination
        from letterpress.activation.plan import read_plan
        from letterpress.warehouse import publish

        if not planned["changes"]:
            raise AirflowSkipException(f"{name}: the ESP holds what the warehouse says; nothing to send")
        made, found = read_plan(planned["uri"]), destination(name)
        with publish.lease(settings().published, "activation", version) as folder:
            result = run(
                plan=made,
                destination=found,
                version_dir=str(folder),
                connection=esp_connection(found.connection),
                stores_url=settings().stores,
                identity_key=identity_key(),
                run_id=context.run_id(),
                validate=payload_audit(name, made.plan_id),
            )
        outcome = {
            "plan_id": made.plan_id,
            "accepted": result.accepted,
            "rejected": result.rejected,
            "skipped": result.skipped,
            "requests": result.requests,
        }
        get_current_context()["outlet_events"][synced(name)].extra = outcome
        return outcome

    return apply_plan


def payload_audit(name: str, plan_id: str):
    """What asks Great Expectations of each outgoing batch, and keeps it here where an error check fails."""
    import pandas as pd

    from letterpress.orchestration.audits import audit, stop_on_error

    run_id, batches = context.run_id(), count(1)

    def validate(payloads: list[dict]) -> None:
        found = audit(
            settings(),
            f"payload_{name}",
            [pd.DataFrame(payloads)],
            subject=f"batch {next(batches)} to {name} of plan {plan_id}",
            run_id=run_id,
        )
        stop_on_error([found], kept="no payload of this batch left")

    return validate


def send(name: str):
    """The task that mails a campaign, at most once to each person."""

    @task(task_id="send", outlets=[sent(name)])
    def send_campaign(name: str, version: str) -> dict:
        """Render and send; consent and suppression are asked before each message."""
        from letterpress.activation import campaign as room
        from letterpress.activation.destinations import destination
        from letterpress.activation.sends import export_sends
        from letterpress.warehouse import publish

        chosen = room.campaign(name)
        found = destination(chosen.destination)
        with publish.lease(settings().published, "activation", version) as folder:
            result = room.send_campaign(
                campaign=chosen,
                destination=found,
                version_dir=str(folder),
                connection=esp_connection(found.connection),
                stores_url=settings().stores,
                identity_key=identity_key(),
                shop_url=settings().storefront,
                run_id=context.run_id(),
            )
        export_sends(stores_url=settings().stores, history=settings().history)
        outcome = {"sent": result.sent, "already_sent": result.already_sent, "refused": result.refused}
        if not result.sent:
            raise AirflowSkipException(f"{name}: nobody new to write to: {outcome}")
        get_current_context()["outlet_events"][sent(name)].extra = outcome
        return outcome

    return send_campaign
