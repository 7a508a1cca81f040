"""Runs of one destination at once, on both kinds of store: nobody is lost, and the later state wins in the end."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from activation_line import KEY, NOW, Line, person

from letterpress.activation import drift, ledger, stores, suppression
from letterpress.activation.destinations import Batch, destination

FIRST = [person(number, loyalty_tier="gold") for number in range(24)]
# Changed, unchanged, refused, deleted and new ones.
SECOND = [
    *(one.changed(loyalty_tier="silver") for one in FIRST[:8]),
    *FIRST[8:12],
    *(one.refused("unsubscribed") for one in FIRST[12:18]),
    *(person(number) for number in range(30, 36)),
]


@pytest.fixture
def line(tmp_path: Path, esp, stores_url: str) -> Line:
    """A line whose requests are small, so that runs meet."""
    where = destination("local_esp").model_copy(update={"batch": Batch(rows=3)})
    return Line(tmp_path, esp, stores_url, where)


def at_once(*works: Callable[[], object]) -> None:
    """Run these in threads of their own, from one instant on; raises what one of them raised."""
    barrier, errors = threading.Barrier(len(works)), []

    def working(work: Callable[[], object]) -> None:
        try:
            barrier.wait()
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=working, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    if errors:
        raise errors[0]


def check(line: Line, *people) -> None:
    """The ESP holds what the ledger says, which is what the audience wants."""
    assert line.plan().changes == 0
    found = drift.check(
        destination=line.destination,
        connection=line.connection,
        stores_url=line.stores_url,
        identity_key=KEY,
        sample=None,
    )
    assert found.is_clean
    there = line.at_esp()
    for one in people:
        if one.is_eligible:
            assert there[one.customer_id]["attributes"]["loyalty_tier"] == one.loyalty_tier
            assert not there[one.customer_id]["suppressed"]
        elif one.customer_id in there:
            assert there[one.customer_id]["suppressed"]
    assert {key for key, one in there.items() if not one["suppressed"]} == {
        one.customer_id for one in people if one.is_eligible
    }


@pytest.mark.parametrize("is_first_known", [True, False], ids=["after a first sync", "from the beginning"])
def test_two_plans_applied_at_once_and_one_more_run_end_as_the_later_plan_wants(line, is_first_known):
    if is_first_known:
        line.sync(*(one.changed(loyalty_tier="none") for one in FIRST))
    versions = [line.publish(*people) for people in (FIRST, SECOND)]
    plans = []
    for version in versions:
        line.version_dir = version
        plans.append(line.plan())
    at_once(
        *(
            lambda plan=plan, version=version: line.apply(plan, version_dir=version)
            for plan, version in zip(plans, versions, strict=True)
        )
    )
    assert {row["state"] for row in line.ledger().values()} <= {"accepted", "sent"}
    line.version_dir = versions[1]
    line.sync()
    check(line, *SECOND)


def test_a_plan_and_the_next_one_that_undoes_it_end_as_it_was(line):
    line.sync(*FIRST)
    changed = line.publish(*(one.changed(loyalty_tier="silver") for one in FIRST))
    plan = line.plan()
    back = line.publish(*FIRST)
    undoing = line.plan()
    assert undoing.changes == 0
    at_once(lambda: line.apply(plan, version_dir=changed), lambda: line.apply(undoing, version_dir=back))
    line.sync()
    check(line, *FIRST)


def test_four_runs_that_plan_and_apply_at_once_send_nobody_two_states(line):
    line.sync(*FIRST)
    line.publish(*SECOND)
    at_once(*(lambda: line.apply(line.plan()) for _ in range(4)))
    line.sync()
    check(line, *SECOND)


def test_two_destinations_at_once_do_not_disturb_each_other(line, tmp_path):
    other = Line(tmp_path / "other", line.esp, line.stores_url, line.destination.model_copy(update={"name": "other"}))
    line.publish(*FIRST)
    other.publish(*FIRST)
    at_once(line.sync, other.sync)
    assert len(line.ledger()) == len(other.ledger()) == len(FIRST)
    assert (line.plan().changes, other.plan().changes) == (0, 0)


def test_who_is_suppressed_while_a_plan_is_applied_is_in_no_request_that_is_claimed_later(line, monkeypatch):
    """A claim and a suppression are each alone in the store: one of them is first, and the other one knows."""
    order, moments, lock = itertools.count(), [], threading.Lock()
    claim, suppress = ledger.claim, suppression.suppress

    def claiming(connection, batch, claims, **named):
        claim(connection, batch, claims, **named)
        with lock:
            moments.append((next(order), "claimed", [one.customer_id for one in claims]))

    def suppressing(connection, entries):
        entries = list(entries)
        suppress(connection, entries)
        with lock:
            moments.append((next(order), "suppressed", [one.subject_hash for one in entries]))

    monkeypatch.setattr(ledger, "claim", claiming)
    monkeypatch.setattr(suppression, "suppress", suppressing)
    people = [person(number) for number in range(60)]
    line.publish(*people)
    plan = line.plan()
    stopped = people[::2]

    def stop():
        with stores.opened(line.stores_url) as engine:
            for one in reversed(stopped):
                with stores.writing(engine) as write:
                    given = {"customer_id": one.customer_id, "reason": "unsubscribed", "suppressed_at": NOW}
                    suppression.suppress(
                        write,
                        suppression.entries(email=one.email, source="test", identity_key=KEY, **given),
                    )

    at_once(stop, lambda: line.apply(plan))
    hashes = {suppression.hash_customer(one.customer_id, KEY): one.customer_id for one in people}
    since = {hashes[one]: at for at, what, ids in moments if what == "suppressed" for one in ids if one in hashes}
    assert len(since) == len(stopped)
    for at, what, ids in moments:
        if what == "claimed":
            assert not [who for who in ids if since.get(who, at) < at]
    line.sync()
    assert {key for key, one in line.at_esp().items() if not one["suppressed"]} == {
        one.customer_id for one in people if one not in stopped
    }
