"""### Warehouse

`warehouse_features` waits until no ingest is under way, builds staging, intermediate and marts with dbt (one
build a layer, with its tests), copies a candidate, lets Great Expectations decide, and switches the pointer.
`warehouse_activation` adds scores and sync marts to the published features version, in a file of its own, and
publishes that the same way. Unchanged inputs publish nothing; a failed check keeps the last good version.

Emit `published_features` and `published_activation`, and one `dbt_<schema>.<table>` for each table.
"""

from airflow.sdk import DAG, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable

from letterpress.orchestration import warehouse
from letterpress.orchestration.assets import SCORES, landed
from letterpress.orchestration.defaults import Tag, dag_defaults
from letterpress.sources import load_sources

sources = load_sources()

with DAG(
    "warehouse_features",
    schedule=AssetOrTimeSchedule(
        # Once a day without new data too: recency and windows move with the instant.
        timetable=CronTriggerTimetable("45 3 * * *", timezone="UTC"),
        assets=AssetAny(*[landed(source) for source in sources]),
    ),
    doc_md=__doc__,
    **dag_defaults(Tag.WAREHOUSE, Tag.PERSONAL_DATA, description="Build, audit and publish what models read"),
):
    inputs = warehouse.resolve_features()
    warehouse.IngestSettled(task_id="ingest_settled", dag_ids=[f"ingest_{source}" for source in sources]) >> inputs
    layers = [
        warehouse.build_layer.override(task_id=f"build_{layer}")(inputs, layer)
        for layer in ("staging", "intermediate", "marts")
    ]
    candidate = warehouse.copy_candidate(inputs)
    audited = warehouse.audit_candidate(
        inputs,
        {
            "mart_dim_customers": "marts.dim_customers",
            "mart_fct_orders": "marts.fct_orders",
            "mart_fct_customer_rfm": "marts.fct_customer_rfm",
        },
    )
    layers[0] >> layers[1] >> layers[2] >> candidate >> audited >> warehouse.publish("features")(inputs)

with DAG(
    "warehouse_activation",
    schedule=[SCORES],
    doc_md=__doc__,
    **dag_defaults(Tag.WAREHOUSE, Tag.PERSONAL_DATA, description="Join the scores, audit and publish for the ESPs"),
):
    inputs = warehouse.resolve_activation()
    built = warehouse.build_layer.override(task_id="build_activation")(inputs, "activation")
    audited = warehouse.audit_candidate(
        inputs,
        {
            "mart_fct_customer_scores": "marts.fct_customer_scores",
            "mart_sync_customers": "activation.sync_customers",
        },
    )
    built >> audited >> warehouse.publish("activation")(inputs)
