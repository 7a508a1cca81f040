"""Tasks of the ingest DAGs: extract, then audit and commit what landed."""

import logging

from airflow.sdk import BaseHook, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress.orchestration import context
from letterpress.orchestration.assets import landed
from letterpress.settings import settings

log = logging.getLogger(__name__)


def connection(name: str):
    """Where a source is, from its Airflow Connection.

    A base URL with its key; of type `fs` a folder; of type `sqlite` or `postgres` a database, as SQLAlchemy's URL
    without the password, which is the key.
    """
    from letterpress.sources import Connection

    found = BaseHook.get_connection(name)
    if found.conn_type == "fs":
        return Connection(base_url=found.extra_dejson["path"])
    if found.conn_type == "sqlite":
        return Connection(base_url=f"sqlite:///{found.host}")
    if found.conn_type in ("postgres", "postgresql"):
        return Connection(base_url=_postgres_url(found), token=found.password or None)
    port = f":{found.port}" if found.port else ""
    return Connection(base_url=f"{found.schema or 'http'}://{found.host}{port}", token=found.password)


def _postgres_url(found) -> str:
    """Address, user and database, and of the extras those that are the driver's own, such as `sslmode`."""
    from sqlalchemy.engine import URL

    extra = {key: value for key, value in found.extra_dejson.items() if isinstance(value, str)}
    url = URL.create(
        "postgresql+psycopg",
        username=found.login,
        host=found.host,
        port=found.port,
        database=found.schema,
        query={key: value for key, value in extra.items() if not key.startswith("__")},
    )
    return url.render_as_string(hide_password=False)


@task(multiple_outputs=False)
def extract(source: str) -> dict:
    """Extract what is new into pending files; skip what follows where nothing is."""
    from letterpress.sources import load_sources
    from letterpress.sources.extract import extract as run

    as_of = context.as_of()
    name = load_sources()[source].connection
    load_id = run(
        source,
        landing=settings().landing,
        connections={name: connection(name)},
        as_of=as_of,
        run_id=context.run_id(),
    )
    if load_id is None:
        raise AirflowSkipException(f"{source}: nothing new, no load")
    return {"load_id": load_id, "as_of": as_of.isoformat()}


def land(source: str):
    """The task that audits every entity of a pending load and commits its manifest, or rejects it."""

    @task(task_id="land", outlets=[landed(source)])
    def land_source(source: str, load: dict) -> dict:
        """Audit the pending load batch by batch; commit rows and cursor together, or reject both."""
        from letterpress.orchestration.audits import AuditFailed, audit, stop_on_error
        from letterpress.sources import landing

        at, load_id = settings().landing, load["load_id"]
        audits = [
            audit(
                settings(),
                f"landed_{source}__{entity}",
                landing.batches(at, load_id, entity),
                subject=f"{source}.{entity} {load_id}",
                run_id=context.run_id(),
            )
            for entity, loaded in landing.load(at, load_id).entities.items()
            if loaded.rows
        ]
        try:
            counts = stop_on_error(audits, kept="nothing of this load is used and the cursor stays")
        except AuditFailed:
            counts = {key: sum(one[key] for one in audits) for key in ("checks", "warnings", "errors")}
            landing.reject(at, load_id, {"verdict": "failed", **counts})
            raise
        verdict = "warned" if counts["warnings"] else "passed"
        manifest = landing.commit(at, load_id, {"verdict": verdict, **counts})
        rows = {name: entity.rows for name, entity in manifest.entities.items()}
        log.info("%s: load %d committed: %s", source, manifest.load_sequence, rows)
        extra = {"as_of": load["as_of"], "load_sequence": manifest.load_sequence, "rows": rows}
        get_current_context()["outlet_events"][landed(source)].extra = extra
        return extra

    return land_source
