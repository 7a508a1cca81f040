"""Tasks of the warehouse DAGs: resolve the inputs, build layer by layer, copy, audit, publish."""

import logging
from pathlib import Path

from airflow.sdk import BaseSensorOperator, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress.orchestration import context
from letterpress.orchestration.assets import ACTIVATION, DBT_MODELS, FEATURES, dbt_model
from letterpress.settings import settings
from letterpress.warehouse.database import WRITER_POOL

log = logging.getLogger(__name__)


class IngestSettled(BaseSensorOperator):
    """Wait until no ingest is under way, so that loads which arrive together are built once, not one by one."""

    template_fields = ("dag_ids",)

    def __init__(self, *, dag_ids: list[str], **arguments):
        super().__init__(poke_interval=3, timeout=1800, mode="poke", **arguments)
        self.dag_ids = dag_ids

    def poke(self, context) -> bool:
        """Whether none of the DAGs has a run queued or running."""
        instance = context["task_instance"]
        busy = [one for one in self.dag_ids if instance.get_dr_count(dag_id=one, states=["queued", "running"])]
        log.info("under way: %s", ", ".join(busy) or "nothing")
        return not busy


@task
def resolve_features() -> dict:
    """Fix the instant, the loads and the fingerprint; skip all that follows where it is published already."""
    from letterpress.warehouse import publish
    from letterpress.warehouse.inputs import features_inputs

    inputs = features_inputs(settings(), as_of=context.as_of())
    if publish.is_current(settings().published, inputs):
        raise AirflowSkipException(f"features {inputs.version} is published: unchanged inputs publish nothing")
    return inputs.to_json()


@task
def resolve_activation() -> dict:
    """Fix the features version and the scores to join; skip where that is published already."""
    from letterpress.warehouse import publish

    inputs = wanted_activation()
    if not inputs.scores:
        raise AirflowSkipException(f"no model has scored features {inputs.features_version} yet")
    if publish.is_current(settings().published, inputs):
        raise AirflowSkipException(f"activation {inputs.version} is published: unchanged inputs publish nothing")
    return inputs.to_json()


def wanted_activation():
    """The inputs of the activation version that follows from the current features version and the champions."""
    from letterpress.warehouse import publish
    from letterpress.warehouse.inputs import activation_inputs
    from ml.registry import serving_versions

    features = publish.manifest(settings().published, "features")["version"]
    champions = serving_versions(settings().registry, settings().stores)
    return activation_inputs(settings(), features_version=features, champions=champions)


@task(pool=WRITER_POOL, outlets=[DBT_MODELS], multiple_outputs=False)
def build_layer(inputs: dict, layer: str) -> dict:
    """Build one layer with its tests, in process; each published table becomes an asset event with its seconds."""
    from letterpress.warehouse import build, publish
    from letterpress.warehouse.inputs import Inputs

    inputs = Inputs.from_json(inputs)
    database = None
    if layer == "activation":
        database = publish.start_activation_candidate(settings(), inputs)
    result = build.build(settings(), inputs, layer, run_id=context.run_id(), database=database)
    events = get_current_context()["outlet_events"][DBT_MODELS]
    for node in result.nodes:
        relation = (node.relation or "").replace('"', "").partition(".")[2]
        if node.resource_type == "model" and relation.startswith(("marts.", "features.", "activation.")):
            events.add(dbt_model(relation), extra={"seconds": node.seconds, "version": inputs.version})
    return result.summary()


@task(pool=WRITER_POOL)
def copy_candidate(inputs: dict) -> str:
    """Copy the tables that may be published, under the writer's lock."""
    from letterpress.warehouse import publish
    from letterpress.warehouse.inputs import Inputs

    return str(publish.copy_features_candidate(settings(), Inputs.from_json(inputs)))


@task
def audit_candidate(inputs: dict, suites: dict[str, str]) -> dict:
    """Great Expectations decides whether the candidate may be used; ``suites`` maps suite to table."""
    from letterpress.orchestration.audits import audit, stop_on_error
    from letterpress.warehouse import publish
    from letterpress.warehouse.database import table_batches
    from letterpress.warehouse.inputs import Inputs

    inputs = Inputs.from_json(inputs)
    file = publish.candidate_dir(settings().published, inputs) / "warehouse.duckdb"
    audits = [
        audit(
            settings(),
            suite,
            table_batches(file, table),
            subject=f"{table} {inputs.version}",
            run_id=context.run_id(),
        )
        for suite, table in suites.items()
    ]
    return stop_on_error(audits, kept="the last published version stays in place")


def publish(channel: str):
    """The task that switches a channel's pointer and tells what follows."""
    asset = {"features": FEATURES, "activation": ACTIVATION}[channel]

    @task(task_id="publish", outlets=[asset])
    def publish_version(inputs: dict) -> dict:
        """Switch the pointer atomically, append history, prune old versions."""
        from letterpress.warehouse import publish as room
        from letterpress.warehouse.inputs import Inputs

        content = room.publish(settings(), Inputs.from_json(inputs))
        extra = {key: content[key] for key in ("version", "as_of", "known_through")}
        get_current_context()["outlet_events"][asset].extra = extra
        log.info("published %s %s: %s", channel, content["version"], content["row_counts"])
        return extra

    return publish_version


@task
def write_dbt_docs() -> str:
    """dbt's documentation of the published activation version, as one page."""
    from letterpress.warehouse import build
    from letterpress.warehouse import publish as room
    from letterpress.warehouse.inputs import Inputs

    content = room.manifest(settings().published, "activation")
    if build.documented_version(settings()) == content["version"]:
        raise AirflowSkipException(f"{content['version']} is documented")
    fields = {key: content[key] for key in Inputs.__dataclass_fields__}
    with room.lease(settings().published, "activation", content["version"]) as folder:
        return str(build.write_docs(settings(), Inputs.from_json(fields), Path(folder) / "warehouse.duckdb"))


@task
def write_data_docs() -> str:
    """Great Expectations' own pages over the latest results."""
    from expectations.runner import build_data_docs

    return str(build_data_docs(f"{settings().docs}/data/results", f"{settings().docs}/data/site"))
