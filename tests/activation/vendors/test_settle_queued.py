"""What an earlier run left in a vendor's queue is read before the next plan, so that the plan knows of it."""

import pytest
from activation_line import KEY, person
from vendor_line import vendor_line

from letterpress.activation.apply import settle_queued


@pytest.fixture
def line(tmp_path, clock):
    with vendor_line("klaviyo", tmp_path, clock, job_seconds=60.0) as line:
        yield line


def settled(line) -> int:
    return settle_queued(
        destination=line.destination,
        connection=line.connection,
        stores_url=line.stores_url,
        identity_key=KEY,
        run_id="run",
    )


def test_a_job_that_ended_between_two_runs_is_settled_without_a_request_that_changes_anything(line, clock):
    line.publish(person(1), person(2))
    left = line.apply(line.plan(), wait=False)
    assert left.outstanding == 1
    assert line.plan().counts["waiting"] == 2
    assert settled(line) == 1
    clock.advance(120.0)
    writes = line.writes()
    assert settled(line) == 0
    assert line.writes() == writes
    assert line.plan().counts["unchanged"] >= 2


def test_where_nothing_is_queued_nobody_is_asked(line):
    assert settled(line) == 0
    assert line.app.calls == []
