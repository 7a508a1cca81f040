"""One stage of activation in a process of its own, for tests that kill it: ``python … <JSON of arguments>``."""

import json
import sys

from letterpress.activation.apply import apply_plan
from letterpress.activation.campaign import campaign, send_campaign
from letterpress.activation.destinations import Batch, Connection, destination
from letterpress.activation.plan import read_plan


def main(stage: str, arguments: dict) -> None:
    where = destination("local_esp").model_copy(update={"batch": Batch(rows=arguments["rows"])})
    given = {
        "destination": where,
        "version_dir": arguments["version_dir"],
        "connection": Connection(**arguments["connection"]),
        "stores_url": arguments["stores_url"],
        "identity_key": bytes.fromhex(arguments["key"]),
        "run_id": "killed",
    }
    if stage == "apply":
        apply_plan(plan=read_plan(arguments["plan"]), **given)
    else:
        send_campaign(campaign=campaign("champions_thank_you"), shop_url="http://127.0.0.1:8090", **given)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
