"""Requests that a vendor queues: their results are read while later ones are sent, and seldom where they take long."""

import pytest
from activation_line import person
from vendor_line import vendor_line

from letterpress.activation.destinations import Batch
from letterpress.activation.destinations.klaviyo import ENDPOINTS
from letterpress.activation.destinations.pace import least_seconds
from letterpress.activation.destinations.spec import DestinationError, Operation
from letterpress.demo.esp import Fault

JOBS = 160  # one more window than the 150 that Klaviyo takes in a minute


@pytest.fixture
def line(tmp_path, clock):
    with vendor_line("klaviyo", tmp_path, clock) as found:
        alone = {"batch": Batch(rows=1), "subscribes": False, "lists": {}}
        found.destination = found.destination.model_copy(update=alone)
        found.publish(*(person(number) for number in range(JOBS)))
        yield found


def kinds(line) -> list[str]:
    """What was asked of the vendor: jobs posted and jobs asked for."""
    jobs = "/api/profile-bulk-import-jobs"
    return [
        "post" if method == "POST" else "ask"
        for method, path, status in line.app.calls
        if status < 400 and path.startswith(jobs) and not path.endswith("/import-errors")
    ]


def test_many_imports_take_hardly_longer_than_the_limits_leave(line, clock):
    plan, began = line.plan(), clock.now()
    assert line.apply(plan).accepted == JOBS
    asked = kinds(line)
    assert asked.count("post") == JOBS
    assert asked.count("ask") < 1.1 * JOBS
    assert asked.index("ask") < JOBS / 4  # long before the last one was posted
    least = least_seconds(JOBS, ENDPOINTS[Operation.UPSERT].limits) + line.app.job_seconds
    # A clock that jumps wherever somebody waits takes turns from the others: in real time it is at most 1.1.
    assert clock.now() - began <= 1.2 * least


def test_imports_that_take_long_are_seldom_asked_for_while_others_are_sent(line):
    line.app.job_seconds = 600.0
    assert line.sync().accepted == JOBS
    asked = kinds(line)
    while_sending = asked[: len(asked) - asked[::-1].index("post")]
    assert while_sending.count("post") == JOBS
    assert while_sending.count("ask") <= 10


def test_a_vendor_that_fails_while_results_are_read_loses_none(line):
    failing = {"on": True}

    def fails(method, path):
        is_result = method == "GET" and path.startswith("/api/profile-bulk-import-jobs/")
        return Fault(path="", status=503) if failing["on"] and is_result else None

    line.app.next_fault = fails
    with pytest.raises(DestinationError, match="503"):
        line.sync()
    failing["on"] = False
    line.sync()
    assert line.states() == {"accepted": JOBS}
    assert kinds(line).count("post") == JOBS
    assert line.plan().changes == 0
