"""Whom a lost answer, or an address told without a name, leaves where the ledger alone would not look."""

from datetime import UTC, datetime

import pytest
from activation_line import person
from storm_vendors import everyone
from vendor_line import VendorLine

from letterpress.activation.destinations.spec import DestinationError
from letterpress.demo.esp import Fault

WEEK = 7 * 24 * 3600.0


def losing(line: VendorLine, path: str) -> None:
    """A sync whose requests to a path are carried out and never answered."""
    line.app.faults.add(Fault(path=path, method="POST", loses_answer=True, times=8))
    with pytest.raises(DestinationError):
        line.sync()


def reachable(line: VendorLine, *people) -> set[str | None]:
    return {one.email for one in everyone(line, people) if one.is_reachable}


def test_who_got_another_address_in_a_lost_request_and_withdraws_then_is_suppressed_there(vendor):
    line = vendor("mailchimp")
    line.sync(person(1), person(2))
    moved = person(1, email="new@example.com")
    line.publish(moved, person(2))
    losing(line, "/3.0/lists/a1b2c3d4e5")
    assert reachable(line, moved, person(2)) == {"new@example.com", "person2@example.com"}
    assert line.sync(moved.refused("consent_withdrawn"), person(2)).rejected == {}
    assert reachable(line, moved, person(2)) == {"person2@example.com"}


def test_a_profile_that_a_lost_request_made_is_erased_under_its_later_id(vendor, clock):
    line = vendor("braze")
    line.publish(person(1), person(2))
    losing(line, "/users/track")
    now = person(7, email="person1@example.com").refused("no_consent")
    line.publish(now, person(2), moves=[("shop:C1", "customer-00001", "customer-00007")])
    line.sync()
    assert {one.external_id for one in everyone(line, [])} == {"customer-00007", "customer-00002"}
    line.suppress(now, "erased")
    assert line.sync(person(2)).rejected == {}
    clock.advance(WEEK)
    assert {one.external_id for one in everyone(line, [])} == {"customer-00002"}


@pytest.mark.parametrize("name", ["klaviyo", "braze"])  # Braze tells of addresses alone
def test_who_unsubscribes_there_and_opts_in_again_between_two_syncs_gets_mail_again(vendor, clock, name):
    line = vendor(name)
    line.sync(person(1))
    clock.advance(60.0)
    line.app.unsubscribe("person1@example.com")
    clock.advance(WEEK)
    line.pull()
    granted_at = datetime.fromtimestamp(clock.now() - 60, UTC)
    back = person(1, consent_proof="proof-2", granted_at=granted_at)
    line.publish(back)
    assert line.lift() == 1
    assert line.plan().counts["restore"] == 1
    assert line.sync().rejected == {}
    clock.advance(60.0)
    assert reachable(line, back) == {"person1@example.com"}
    assert line.plan().changes == 0
