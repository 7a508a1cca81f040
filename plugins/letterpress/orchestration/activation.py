"""Tasks of the activation DAGs: suppressions in, plan, apply; and a campaign's messages."""

import logging

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
def pull_suppressions(destination: str) -> int:
    """Unsubscribes, bounces and complaints come in before anything goes out."""
    from letterpress.activation.destinations import load_destinations
    from letterpress.activation.suppression import pull_suppressions as pull

    found = load_destinations()[destination]
    return pull(found, esp_connection(found.connection), stores_url=settings().stores, identity_key=identity_key())


@task
def pin_activation() -> str:
    """Pin one activation version for the whole run: the one that triggered it, else the current one."""
    from letterpress.warehouse import publish

    triggered = context.triggering("version")
    wanted = triggered[-1] if triggered else None
    return publish.manifest(settings().published, "activation", wanted)["version"]


@task
def plan(destination: str, version: str) -> dict:
    """The difference between what the warehouse wants and what the ESP acknowledged; shown, then stored."""
    from letterpress.activation import plan as room
    from letterpress.activation.destinations import load_destinations
    from letterpress.warehouse import publish

    with publish.lease(settings().published, "activation", version) as folder:
        made = room.make_plan(
            load_destinations()[destination],
            version_dir=str(folder),
            stores_url=settings().stores,
            identity_key=identity_key(),
            plans=settings().plans,
            run_id=context.run_id(),
        )
    log.info("%s", room.render(made))
    return {"plan_id": made.plan_id, "calls": made.calls, "counts": made.counts, "refused": made.refused}


def apply(destination: str):
    """The task that carries a plan out and advances the ledger on each acknowledgement."""

    @task(task_id="apply", outlets=[synced(destination)])
    def apply_plan(destination: str, version: str, planned: dict) -> dict:
        """Send only what changed; consent and suppression are asked again before each batch leaves."""
        from letterpress.activation import plan as room
        from letterpress.activation.apply import apply_plan as run
        from letterpress.activation.destinations import load_destinations
        from letterpress.orchestration.audits import audit, stop_on_error
        from letterpress.warehouse import publish

        if not planned["calls"]:
            raise AirflowSkipException(f"{destination}: the ESP holds what the warehouse says; nothing to send")

        def validate(payloads: list[dict]) -> None:
            import pandas as pd

            found = audit(
                settings(),
                f"payload_{destination}",
                [pd.DataFrame(payloads)],
                subject=f"payloads to {destination} of {planned['plan_id']}",
                run_id=context.run_id(),
            )
            stop_on_error([found], kept="no payload of this batch left")

        found = load_destinations()[destination]
        with publish.lease(settings().published, "activation", version) as folder:
            result = run(
                room.load_plan(settings().plans, destination, planned["plan_id"]),
                found,
                esp_connection(found.connection),
                version_dir=str(folder),
                stores_url=settings().stores,
                identity_key=identity_key(),
                run_id=context.run_id(),
                validate=validate,
            )
        outcome = {
            "plan_id": planned["plan_id"],
            "version": version,
            "accepted": result.accepted,
            "rejected": result.rejected,
            "requests": result.requests,
        }
        get_current_context()["outlet_events"][synced(destination)].extra = outcome
        return outcome

    return apply_plan


def send(campaign: str):
    """The task that mails a campaign, at most once to each person."""

    @task(task_id="send", outlets=[sent(campaign)])
    def send_campaign(campaign: str, version: str) -> dict:
        """Render and send; consent and suppression are asked before each message."""
        from letterpress.activation import campaign as room
        from letterpress.activation.destinations import load_destinations
        from letterpress.warehouse import publish

        found = room.load_campaigns()[campaign]
        destination = load_destinations()[found.destination]
        with publish.lease(settings().published, "activation", version) as folder:
            result = room.send_campaign(
                found,
                destination,
                esp_connection(destination.connection),
                version_dir=str(folder),
                stores_url=settings().stores,
                identity_key=identity_key(),
                shop_url=settings().shop,
                run_id=context.run_id(),
            )
        room.export_sends(settings().stores, settings().history)
        outcome = {"sent": result.sent, "already_sent": result.already_sent, "refused": result.refused}
        if not result.sent:
            raise AirflowSkipException(f"{campaign}: nobody new to write to: {outcome}")
        get_current_context()["outlet_events"][sent(campaign)].extra = outcome
        return outcome

    return send_campaign
