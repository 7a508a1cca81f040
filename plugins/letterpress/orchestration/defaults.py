"""Defaults, tags and callbacks of every DAG, once."""

import logging
from datetime import timedelta
from enum import StrEnum

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule

log = logging.getLogger(__name__)


class Tag(StrEnum):
    """The tags that DAGs may carry."""

    INGEST = "ingest"
    WAREHOUSE = "warehouse"
    MODELS = "models"
    ACTIVATION = "activation"
    CAMPAIGN = "campaign"
    DOCUMENTATION = "documentation"
    PERSONAL_DATA = "personal-data"


# Trying these again gives the same answer: somebody has to look first.
_FINAL = [
    "letterpress.sources.errors.SchemaChanged",
    "letterpress.sources.errors.SourceRefused",
    "letterpress.warehouse.build.BuildFailed",
    "letterpress.warehouse.rebuild.NotKnownThen",
    "letterpress.operations.explain.UnknownCustomer",
    "letterpress.orchestration.audits.AuditFailed",
]

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=_FINAL, action=RetryAction.FAIL, reason="the same input fails again")]
)


def report_failure(context) -> None:
    """Say in one line of the log what failed and where to look; never with data."""
    instance = context["task_instance"]
    log.error(
        "%s.%s failed in run %s: expected it to succeed, found %s; next step: this log above, or the run in the UI",
        instance.dag_id,
        instance.task_id,
        instance.run_id,
        type(context.get("exception")).__name__,
    )


AS_OF = Param(
    None,
    type=["null", "string"],
    format="date-time",
    title="As of",
    description="Build as of this instant (ISO 8601 with zone). Empty: the triggering data's own instant.",
)


def dag_defaults(*tags: Tag, description: str) -> dict:
    """Keyword arguments that every DAG shares."""
    return {
        "description": description,
        # No start date: the first run is the next one on the schedule, not the last one before the installation.
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": timedelta(hours=2),
        "tags": ["letterpress", *tags],
        "params": {"as_of": AS_OF},
        "default_args": {
            "owner": "letterpress",
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=10),
            "retry_policy": RETRY_POLICY,
            "execution_timeout": timedelta(minutes=30),
            "on_failure_callback": report_failure,
        },
    }
