"""### Explain a customer

Trigger it with a `customer_id`, or a source's id such as `shop:C000001`. The log of the task then shows one person:
the identities and why they are one, consent decisions, every segment with the rule's own values, scores, what was
sent when, and whether suppression stops it at this moment. The same stands in the task's XCom as JSON.

The log holds ids, keyed hashes, decisions and numbers, and neither name nor address. `make explain CUSTOMER=…` in a
terminal also takes an e-mail address, and shows the name.
"""

from airflow.sdk import DAG

from letterpress.orchestration import explain
from letterpress.orchestration.defaults import Tag, dag_defaults

with DAG(
    "explain_customer",
    schedule=None,
    doc_md=__doc__,
    **(
        dag_defaults(Tag.WAREHOUSE, Tag.PERSONAL_DATA, description="Explain one person: identities, consent, segments")
        | {"params": explain.PARAMS}
    ),
):
    explain.explain_customer()
