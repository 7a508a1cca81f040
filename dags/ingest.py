"""### Ingest

One DAG for each source in `sources.yml`: **extract** what is new since the last accepted load (with an overlap
for late rows), then **land** it: Great Expectations checks every batch, and the manifest commits rows and
cursor together. Nothing new lands nothing; a failed check rejects the load and the cursor stays.

Emits the asset `landed_<source>`.
"""

from airflow.sdk import DAG

from letterpress.orchestration import ingest
from letterpress.orchestration.defaults import Tag, dag_defaults
from letterpress.sources import load_sources

for source in load_sources().values():
    with DAG(
        f"ingest_{source.name}",
        schedule=source.schedule,
        doc_md=__doc__,
        **dag_defaults(Tag.INGEST, Tag.PERSONAL_DATA, description=f"Extract, audit and land {source.name}"),
    ) as dag:
        ingest.land(source.name)(source.name, ingest.extract(source.name))

    globals()[dag.dag_id] = dag
