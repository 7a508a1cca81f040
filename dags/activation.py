"""### Activation

`sync_<destination>`: suppressions come in first; then the **plan**, the difference between what the warehouse
wants and what the ESP has acknowledged, is shown and stored; then it is **applied**, and the ledger advances on
each acknowledgement. Nobody without consent is in any payload. `campaign_<name>` mails one segment, at most once
a person.

Emit `synced_<destination>` and `sent_<campaign>`.
"""

from airflow.sdk import DAG

from letterpress.activation.campaign import campaigns
from letterpress.activation.destinations import destinations
from letterpress.orchestration import activation
from letterpress.orchestration.assets import ACTIVATION, synced
from letterpress.orchestration.defaults import Tag, dag_defaults

for name in destinations():
    with DAG(
        f"sync_{name}",
        schedule=[ACTIVATION],
        doc_md=__doc__,
        **dag_defaults(Tag.ACTIVATION, Tag.PERSONAL_DATA, description=f"Sync customers to {name}"),
    ) as dag:
        pulled, version = activation.pull_suppressions(name), activation.pin_activation()
        planned = activation.plan(name, version)
        pulled >> planned
        activation.apply(name)(name, version, planned)
    globals()[dag.dag_id] = dag

for name, campaign in campaigns().items():
    with DAG(
        f"campaign_{name}",
        schedule=[synced(campaign.destination)],
        doc_md=__doc__,
        **dag_defaults(Tag.CAMPAIGN, Tag.PERSONAL_DATA, description=f"Mail {campaign.segment}: {campaign.title}"),
    ) as dag:
        pulled, version = activation.pull_suppressions(campaign.destination), activation.pin_activation()
        pulled >> activation.send(name)(name, version)
    globals()[dag.dag_id] = dag
