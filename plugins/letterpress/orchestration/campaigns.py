"""Tasks of the campaign DAGs: a segment's messages."""

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress.orchestration import context
from letterpress.orchestration.assets import sent
from letterpress.orchestration.connections import connection_of, identity_key
from letterpress.settings import settings


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
                connection=connection_of(found),
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
