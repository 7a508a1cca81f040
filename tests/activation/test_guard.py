"""What stops a plan before its first request, and what lets it go on."""

import pytest
from activation_line import person

from letterpress.activation.destinations import Guard
from letterpress.activation.guard import GuardError, objections

MANY = [person(number) for number in range(60)]


def guarded(line, **rules):
    line.destination = line.destination.model_copy(update=rules)
    return line


def requests(line) -> int:
    """How many requests the ESP has had, of any kind."""
    with line.esp.app.state.database.reading() as connection:
        return connection.execute("select count(*) from requests").fetchone()[0]


def stopped(line, match: str, **options) -> None:
    """The plan stops with these words, before the first request, and changes nothing."""
    plan, there, ledger, before = line.plan(), line.at_esp(), line.ledger(), requests(line)
    with pytest.raises(GuardError, match=match) as error:
        line.apply(plan, is_approved=False, **options)
    assert plan.plan_id in str(error.value)
    assert "approve the plan" in str(error.value)
    assert (line.at_esp(), line.ledger(), requests(line)) == (there, ledger, before)


def test_nobody_left_to_write_to_stops_it(line):
    line.sync(*MANY[:3])
    line.publish(*(one.refused("no_consent") for one in MANY[:3]))
    stopped(line, "nobody of 3 people may be written to, and 3 are reached there: the audience is empty")
    assert line.apply(line.plan(), is_approved=True).accepted == 3
    assert all(one["suppressed"] for one in line.at_esp().values())


def test_an_audience_without_a_row_stops_it_even_in_a_small_shop(line):
    line.sync(person(1))
    line.publish()
    stopped(line, "nobody of 0 people may be written to, and 1 are reached there")


def test_an_audience_that_shrank_stops_it(line):
    line.sync(*MANY)
    line.publish(*MANY[:41], *(one.refused("no_consent") for one in MANY[41:]))
    stopped(line, r"the audience shrank from 60 to 41 people \(32 %\), expected at most 30 %")
    line.publish(*MANY[:42], *(one.refused("no_consent") for one in MANY[42:]))
    assert line.apply(line.plan(), is_approved=False).accepted == 18


@pytest.mark.parametrize("rule", ["delete", "clear"])
def test_too_many_removals_stop_it(line, rule):
    guarded(line, leavers=rule, guard=Guard(removed_percent=20, removed_at_least=10, shrunken_percent=100))
    line.sync(*MANY)
    line.publish(*MANY[:47])
    stopped(line, r"it deletes 13 of 60 people \(22 %\), expected at most 20 %")
    line.publish(*MANY[:48])
    assert line.apply(line.plan(), is_approved=False).accepted == 12
    assert line.plan().changes == 0


def test_an_approved_plan_goes_on_and_only_that_one(line):
    guarded(line, guard=Guard(removed_percent=20, removed_at_least=10))
    line.sync(*MANY)
    line.publish(*MANY[:40])
    assert line.apply(line.plan(), is_approved=True).accepted == 20
    assert set(line.at_esp()) == {one.customer_id for one in MANY[:40]}
    line.publish(*MANY[:20])
    stopped(line, "it deletes 20 of 40")


def test_a_small_shop_may_lose_half_of_its_few_people(line):
    guarded(line, guard=Guard(removed_at_least=50))
    line.sync(*MANY[:49])
    assert line.sync(MANY[0], is_approved=False).accepted == 48


def test_a_shop_that_may_lose_nobody_is_stopped_by_the_first(line):
    guarded(line, guard=Guard(removed_percent=0, removed_at_least=0, shrunken_percent=100))
    line.sync(person(1), person(2), person(3))
    line.publish(person(1), person(2))
    stopped(line, r"it deletes 1 of 3 people \(33 %\), expected at most 0 %")


def test_the_first_sync_is_never_stopped(line):
    guarded(line, guard=Guard(removed_percent=0, removed_at_least=0, shrunken_percent=0))
    line.publish(*MANY[:2], person(70).refused("no_consent"))
    assert line.apply(line.plan(), is_approved=False).accepted == 2


def test_several_objections_are_told_together(line):
    guarded(line, guard=Guard(removed_percent=20, removed_at_least=10))
    line.sync(*MANY)
    line.publish(*MANY[:30])
    assert len(objections(line.plan(), line.destination)) == 2
    stopped(line, "the audience shrank from 60 to 30 people .*; it deletes 30 of 60")


def test_people_who_are_suppressed_there_are_no_loss_of_the_audience(line):
    """Unsubscribes add up over the years: they stop no plan but the one that brings many at once."""
    guarded(line, leavers="keep")
    line.sync(*MANY)
    for kept in (50, 40, 30, 25):
        line.publish(*MANY[:kept], *(one.refused("unsubscribed") for one in MANY[kept:]))
        assert line.apply(line.plan(), is_approved=False).accepted >= 5
    line.publish(*MANY[:25], *(one.refused("unsubscribed") for one in MANY[25:]))
    assert objections(line.plan(), line.destination) == []


def test_people_who_were_cleared_are_no_loss_of_the_audience_either(line):
    guarded(line, leavers="clear", guard=Guard(removed_percent=50))
    line.sync(*MANY)
    for kept in (50, 40, 30):
        line.publish(*MANY[:kept])
        assert line.apply(line.plan(), is_approved=False).accepted == 10
    assert objections(line.plan(), line.destination) == []


def test_payloads_that_fail_their_audit_stop_it_and_an_approval_does_not_help(line):
    def fail(frame):
        raise RuntimeError(f"{len(frame)} payloads failed")

    line.publish(*MANY[:3])
    plan, before = line.plan(), requests(line)
    for is_approved in (False, True):
        with pytest.raises(RuntimeError, match="3 payloads failed"):
            line.apply(plan, validate=fail, is_approved=is_approved)
    assert (line.at_esp(), line.ledger(), requests(line)) == ({}, {}, before)
    assert line.apply(plan).accepted == 3


def test_the_audit_sees_who_is_written_to_and_nobody_else(line):
    line.sync(person(1), person(2), person(3))
    line.audited.clear()
    line.sync(person(1, loyalty_tier="silver"), person(2), person(3).refused("unsubscribed"), person(4))
    assert [one["external_id"] for one in line.audited] == ["customer-00001", "customer-00004"]
    assert line.audited[0]["attributes.loyalty_tier"] == "silver"
    assert {one["is_eligible"] for one in line.audited} == {True}


def test_a_plan_that_writes_no_profile_needs_no_audit(line):
    line.sync(person(1), person(2), person(3))
    line.audited.clear()
    line.sync(person(1), person(2), person(3).refused("unsubscribed"))
    assert line.audited == []
