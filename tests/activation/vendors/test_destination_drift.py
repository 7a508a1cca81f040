"""What differs between a destination and the ledger is found, named without a value, and written again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from activation_line import KEY, Person, person
from vendor_line import VendorLine, of_vendors, vendor_line

from letterpress.activation import drift, ledger, stores
from letterpress.activation.destinations import pace
from letterpress.activation.destinations.spec import DestinationError, Job, Operation, Row
from letterpress.activation.seal import Seal
from letterpress.demo.esp import Fault

VENDORS = ("local_esp", "klaviyo", "mailchimp", "hubspot", "braze")
PEOPLE = [person(number, favourite_category=None) for number in range(1, 5)]
ONE = PEOPLE[0]


@pytest.fixture(params=of_vendors(*VENDORS))
def line(request: pytest.FixtureRequest, tmp_path: Path, clock) -> Iterator[VendorLine]:
    with vendor_line(request.param, tmp_path, clock) as served:
        yield served


def held_payload(line: VendorLine, one: Person) -> dict[str, Any]:
    """The profile that the ledger says the destination holds."""
    with stores.opened(line.stores_url) as engine, stores.reading(engine) as read:
        target = ledger.certain(read, line.destination.name, [one.customer_id])
        return orjson.loads(Seal(KEY).open(ledger.payloads(read, line.destination.name, target)[one.customer_id]))


def behind_our_back(line: VendorLine, operation: Operation, one: Person, **values: Any) -> None:
    """Somebody does something at the destination, which the ledger knows nothing of."""
    shape = line.destination.shape
    content = held_payload(line, one)
    for name, value in values.items():
        path = tuple(shape.email.split(".")) if name == "email" else shape.path_of(attribute(line, name))
        place = content
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    row = Row(
        one.customer_id,
        values.get("email", one.email),
        orjson.dumps(content),
        consent_proof="by hand",
        consented_at=None,
    )
    list_id = line.destination.lists.get("champions")
    with line.client() as client:
        answer = client.send(operation, [row], key=f"by hand {operation} {values}", list_id=list_id)
        while isinstance(answer, Job) and client.results(operation, answer.job_id, [row]) is None:
            pace.pause(1.0)


def attribute(line: VendorLine, column: str) -> str:
    return line.destination.attributes[column].attribute


def repaired(line: VendorLine, clock: Any) -> None:
    """One repair and one sync, and nothing differs any more; a second repair finds nothing."""
    assert line.drift(repair=True).repaired >= 1
    assert line.plan().changes >= 1
    line.sync()
    clock.advance(60.0)
    assert line.drift(repair=True).is_clean
    assert line.plan().changes == 0


def test_a_destination_that_holds_what_it_acknowledged_has_no_drift(line):
    line.sync(*PEOPLE)
    found = line.drift(sample=None)
    assert (found.checked, found.is_clean, found.repaired) == (4, True, 0)
    assert drift.render(found) == f"{line.destination.name}: 4 people read back\n  it holds what it acknowledged\n"


def test_a_value_that_was_changed_there_is_named_and_written_again(line, clock):
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.UPSERT, ONE, loyalty_tier="secret bronze")
    clock.advance(60.0)
    found = line.drift()
    assert (found.differing, found.attributes) == (1, {attribute(line, "loyalty_tier"): 1})
    told = drift.render(found)
    assert attribute(line, "loyalty_tier") in told
    assert "bronze" not in told + repr(found)
    assert ONE.customer_id not in told
    repaired(line, clock)
    assert line.value(ONE, "loyalty_tier") == "gold"


def test_a_value_that_we_never_wrote_is_emptied_again(line, clock):
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.UPSERT, ONE, favourite_category="Kitchen")
    clock.advance(60.0)
    assert line.drift().attributes == {attribute(line, "favourite_category"): 1}
    repaired(line, clock)
    assert line.value(ONE, "favourite_category") is None


def test_where_an_empty_value_is_skipped_the_destinations_own_is_no_drift(line, clock):
    mapped = line.destination.attributes["favourite_category"].model_copy(update={"nulls": "skip"})
    attributes = {**line.destination.attributes, "favourite_category": mapped}
    line.destination = line.destination.model_copy(update={"attributes": attributes})
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.UPSERT, ONE, favourite_category="Kitchen")
    clock.advance(60.0)
    assert line.drift(repair=True).is_clean
    assert line.plan().changes == 0
    assert line.value(ONE, "favourite_category") == "Kitchen"


DELETING = [one for one in VENDORS if one != "klaviyo"]


@pytest.mark.parametrize("line", of_vendors(*DELETING), indirect=True)
def test_a_profile_that_was_deleted_there_is_made_again(line, clock):
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.DELETE, ONE)
    found = line.drift()
    assert (found.missing, found.differing) == (1, 0)
    repaired(line, clock)
    assert line.value(ONE, "loyalty_tier") == "gold"


@pytest.mark.parametrize("name", ["klaviyo", "hubspot", "braze"])
def test_an_address_that_was_changed_there_is_named_and_set_again(vendor, clock, name):
    line = vendor(name)
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.UPSERT, ONE, email="elsewhere@example.com")
    clock.advance(60.0)
    assert line.drift().attributes == {"email": 1}
    repaired(line, clock)
    assert line.held(ONE)[ONE.customer_id].email == ONE.email


def test_lists_that_differ_are_named_and_set_right(vendor, clock):
    line = vendor("mailchimp")  # of those with lists, it alone tells them with people
    out = person(5, segments="at_risk")
    line.sync(*PEOPLE, out)
    line.sync(*PEOPLE[:3], PEOPLE[3].changed(segments="at_risk"), out)
    behind_our_back(line, Operation.LEAVE, ONE)
    behind_our_back(line, Operation.JOIN, PEOPLE[3])
    found = line.drift()
    assert (found.not_in_list, found.not_out_of_list) == ({"champions": 1}, {"champions": 1})
    assert found.differing == 0
    repaired(line, clock)
    people = line.held(*PEOPLE)
    tag = line.destination.lists["champions"]
    assert {who for who, one in people.items() if tag in one.lists} == {one.customer_id for one in PEOPLE[:3]}


@pytest.mark.parametrize("name", ["klaviyo", "braze", "local_esp"])
def test_who_is_not_suppressed_there_any_more_is_suppressed_again(vendor, clock, name):
    line = vendor(name)
    line.sync(*PEOPLE)
    line.sync(ONE.refused("consent_withdrawn"), *PEOPLE[1:])
    clock.advance(60.0)
    behind_our_back(line, Operation.SUBSCRIBE, ONE)
    clock.advance(60.0)
    assert line.held(ONE)[ONE.customer_id].is_suppressed is False
    found = line.drift()
    assert (found.not_suppressed, found.differing) == (1, 0)
    repaired(line, clock)
    assert line.held(ONE)[ONE.customer_id].is_suppressed


def test_looking_alone_changes_nothing(vendor, clock):
    line = vendor("braze")
    line.sync(*PEOPLE)
    behind_our_back(line, Operation.UPSERT, ONE, loyalty_tier="bronze")
    before, writes = line.ledger(), line.writes()
    assert not line.drift().is_clean
    assert (line.ledger(), line.writes()) == (before, writes)
    assert line.plan().changes == 0


def test_a_sample_is_the_same_people_for_the_same_seed(vendor):
    line = vendor("local_esp")
    people = [person(number) for number in range(40)]
    line.sync(*people)
    behind_our_back(line, Operation.DELETE, people[7])
    found = [line.drift(sample=20, seed=f"week {week}").missing for week in range(12)]
    again = [line.drift(sample=20, seed=f"week {week}").missing for week in range(12)]
    assert found == again
    assert set(found) == {0, 1}
    assert line.drift(sample=20).checked == 20
    assert line.drift(sample=None).checked == 40


def test_people_with_a_change_under_way_are_left_out(vendor):
    line = vendor("local_esp")
    line.sync(*PEOPLE)
    with stores.opened(line.stores_url) as engine, stores.writing(engine) as write:
        ledger.plan_again(write, line.destination.name, [ONE.customer_id])
    assert line.drift().checked == 3


def test_what_a_merged_profile_brought_along_is_emptied(vendor, clock):
    """Klaviyo keeps what the surviving profile lacks: it is the former person's."""
    line = vendor("klaviyo")
    former, survivor = person(1, favourite_category="Kitchen"), person(2, favourite_category=None)
    line.sync(former, survivor)
    line.publish(survivor, moves=[("shop:1", former.customer_id, survivor.customer_id)])
    line.sync()
    clock.advance(60.0)
    assert line.value(survivor, "favourite_category") == "Kitchen"
    line.sync()
    clock.advance(60.0)
    assert line.value(survivor, "favourite_category") is None
    assert line.drift().is_clean


@pytest.mark.parametrize("name", ["klaviyo", "mailchimp", "hubspot", "braze"])
@pytest.mark.parametrize("leaves", [False, True], ids=["emptied since", "left since"])
def test_what_arrived_though_its_answer_was_lost_does_not_stay_there(vendor, clock, name, leaves):
    line = vendor(name)
    line.destination = line.destination.model_copy(update={"leavers": "clear", "subscribes": False})
    path = {
        "klaviyo": "/api/profile-bulk-import-jobs",
        "mailchimp": "/3.0/lists/a1b2c3d4e5",
        "hubspot": "/crm/v3/objects/contacts/batch/upsert",
        "braze": "/users/track",
    }[name]
    line.sync(person(2))
    line.publish(person(1, favourite_category="Kitchen"), person(2))
    line.app.faults.add(Fault(path=path, method="POST", loses_answer=True, times=8))
    with pytest.raises(DestinationError, match="8 attempts"):
        line.apply(line.plan())
    clock.advance(60.0)
    assert line.value(person(1), "favourite_category") == "Kitchen"
    if leaves:
        line.sync(person(2))
    else:
        line.sync(person(1, favourite_category=None), person(2))
    clock.advance(60.0)
    assert line.value(person(1), "favourite_category") is None
    assert line.value(person(1), "loyalty_tier") == (None if leaves else "gold")
    assert line.plan().changes == 0
