"""### Rebuild the past

Start a **backfill** over a range of dates (in the UI: *Trigger* → *Backfill*): each run rebuilds profile, segments
and features as of its date at midnight UTC, in `rebuilt/<as_of>-<fingerprint>/` of its own. Nothing is published,
scored or sent, and the live warehouse is not touched. A date that is there already is left as it is.

By default a run knows every load that has landed; `known_through` bounds it by a load sequence, `as_known_then` by
what had landed at that date. The feature rows of all dates are one Parquet data set, `rebuilt/snapshots/`.

Emits nothing: no other DAG follows.
"""

from airflow.sdk import DAG

from letterpress.orchestration import rebuild
from letterpress.orchestration.defaults import Tag, dag_defaults
from letterpress.orchestration.timetables import BackfillOnly

with DAG(
    "warehouse_rebuild",
    schedule=BackfillOnly("0 0 * * *", timezone="UTC"),
    doc_md=__doc__,
    **(
        dag_defaults(Tag.WAREHOUSE, Tag.PERSONAL_DATA, description="Rebuild past dates; publishes and sends nothing")
        | {"params": rebuild.PARAMS}
    ),
):
    rebuild.rebuild_instant()
