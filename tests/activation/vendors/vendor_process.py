"""An apply of a vendor's plan in a process of its own, which kills itself where a test wants it.

``python … <JSON>``; see ``test_kills_async.py``.
"""

import json
import os
import signal
import sys

from letterpress.activation import apply, ledger, stages
from letterpress.activation.destinations import Connection, Destination
from letterpress.activation.plan import read_plan


def main(given: dict) -> None:
    stages.FIRST_POLL = given["first_poll"]
    if given["settling"]:
        kill_before_settling(*given["settling"])
    apply.apply_plan(
        plan=read_plan(given["plan"]),
        destination=Destination.model_validate_json(given["destination"]),
        version_dir=given["version_dir"],
        connection=Connection(**given["connection"]),
        stores_url=given["stores_url"],
        identity_key=bytes.fromhex(given["key"]),
        run_id="killed",
    )


def kill_before_settling(operation: str, number: int) -> None:
    """Die when the answer to the request of this number is here, and is not recorded yet."""
    settle, seen = ledger.settle, []

    def settling(connection, batch, *rest, **named):
        if batch.operation == operation:
            seen.append(batch)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return settle(connection, batch, *rest, **named)

    ledger.settle = settling


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
