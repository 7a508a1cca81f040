"""### Documentation

After each activation version: Great Expectations' Data Docs over the latest results, and dbt's documentation as
one page that needs no server.
"""

from airflow.sdk import DAG

from letterpress.orchestration import warehouse
from letterpress.orchestration.assets import ACTIVATION
from letterpress.orchestration.defaults import Tag, dag_defaults

with DAG(
    "documentation",
    schedule=[ACTIVATION],
    doc_md=__doc__,
    **dag_defaults(Tag.DOCUMENTATION, description="Write Data Docs and dbt docs"),
):
    warehouse.write_dbt_docs()
    warehouse.write_data_docs()
