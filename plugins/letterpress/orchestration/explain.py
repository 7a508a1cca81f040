"""The task that explains one person in a log, without personal data."""

import logging

from airflow.sdk import Param, get_current_context, task

from letterpress.settings import settings

log = logging.getLogger(__name__)

PARAMS = {
    "customer": Param(
        "",
        type="string",
        minLength=1,
        # Whatever stands in the form is kept with the run: no address gets that far.
        pattern="^[^@]+$",
        title="Customer",
        description="A customer_id, or a source's id with its name such as shop:C000001. No e-mail address: what you "
        "type here stays with the run; `make explain` in a terminal takes one.",
    ),
}


@task
def explain_customer() -> dict:
    """The page in the log, its rows in the XCom: ids, keyed hashes, decisions and numbers alone."""
    from letterpress.operations.environment import secret
    from letterpress.operations.explain import explain, render

    asked = get_current_context()["params"]["customer"]
    key = secret(settings(), "identity_key").encode()
    explained = explain(settings(), asked, identity_key=key, is_safe=True)
    for line in render(explained).splitlines():
        log.info("%s", line)
    return explained.to_json()
