"""### Activation

`sync_<destination>`: suppressions come in first; then the **plan**, the difference between what the warehouse
wants and what the ESP has acknowledged, is shown and stored, and **audited**: guards, and the expectations of every
profile that would leave. What something speaks against waits for a person's **approval**. Then it is **submitted**,
and the results of what the vendor queues are **polled**; the ledger advances on each acknowledgement. Nobody without
consent is in any payload. *Syncs* in the menu shows plans, results and refusals.

`drift_<destination>` reads a sample back from the ESP and compares it with the ledger; with `repair` the next sync
writes again what differs. `campaign_<name>` mails one segment, at most once a person.

Emit `synced_<destination>` and `sent_<campaign>`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from letterpress.activation.campaign import campaigns
from letterpress.activation.destinations import destinations
from letterpress.orchestration import activation
from letterpress.orchestration.assets import ACTIVATION, synced
from letterpress.orchestration.campaigns import send
from letterpress.orchestration.defaults import Tag, dag_defaults

SAMPLE = Param(
    1_000, type=["null", "integer"], minimum=1, title="Sample", description="People to read back; empty: all."
)
REPAIR = Param(False, type="boolean", title="Repair", description="Let the next sync write again what differs.")

for name in destinations():
    shared = dag_defaults(Tag.ACTIVATION, Tag.PERSONAL_DATA, description=f"Sync customers to {name}")
    # A plan may wait half a day for a person, and a vendor's queue for hours.
    with DAG(
        f"sync_{name}", schedule=[ACTIVATION], doc_md=__doc__, **(shared | {"dagrun_timeout": timedelta(days=1)})
    ) as dag:
        pulled, version = activation.pull_suppressions(name), activation.pin_activation()
        planned = activation.plan(name, version)
        audited = activation.audit(name, version, planned)
        submitted = activation.submit(name, version, audited)
        pulled >> planned
        activation.whether_to_ask(audited) >> [activation.approve(name), submitted]
        dag.get_task("approve") >> submitted >> activation.poll(name, submitted)
    globals()[dag.dag_id] = dag

    shared = dag_defaults(Tag.ACTIVATION, Tag.PERSONAL_DATA, description=f"Compare {name} with the ledger")
    with DAG(
        f"drift_{name}",
        schedule="@weekly",
        doc_md=__doc__,
        **(shared | {"params": {"sample": SAMPLE, "repair": REPAIR}}),
    ) as dag:
        activation.compare(name)
    globals()[dag.dag_id] = dag

for name, campaign in campaigns().items():
    with DAG(
        f"campaign_{name}",
        schedule=[synced(campaign.destination)],
        doc_md=__doc__,
        **dag_defaults(Tag.CAMPAIGN, Tag.PERSONAL_DATA, description=f"Mail {campaign.segment}: {campaign.title}"),
    ) as dag:
        pulled, version = activation.pull_suppressions(campaign.destination), activation.pin_activation()
        pulled >> send(name)(name, version)
    globals()[dag.dag_id] = dag
