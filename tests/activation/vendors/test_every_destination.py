"""What every destination has to do alike: plan, apply, plan again, in the engine as it runs, on its stand-in."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from activation_line import person
from storm_vendors import everyone
from vendor_line import VENDORS, VendorLine, of_vendors, vendor_line, vendor_list

from letterpress.activation import ledger, stores, suppression
from letterpress.activation.destinations import destinations
from letterpress.activation.destinations.spec import Operation


def every_one(but: Collection[str] = (), having: Operation | None = None) -> pytest.MarkDecorator:
    """For a test that says nothing of some destinations."""
    blocks = destinations(include_disabled=True)
    chosen = [one for one in VENDORS if one not in but and (having is None or having in blocks[one].endpoints)]
    return pytest.mark.parametrize("every", of_vendors(*chosen), indirect=True)


@pytest.fixture(params=of_vendors(*VENDORS))
def every(request: pytest.FixtureRequest, tmp_path: Path, clock) -> Iterator[VendorLine]:
    document = request.getfixturevalue("specifications") if request.param in ("klaviyo", "mailchimp", "braze") else None
    with vendor_line(request.param, tmp_path, clock, document) as line:
        yield line


def test_who_may_be_written_to_is_created_and_a_second_run_writes_nothing(every):
    people = [person(1), person(2, first_name="Zoë"), person(3).refused("no_consent")]
    assert every.sync(*people).rejected == {}
    held = every.held(*people)
    assert set(held) == {"customer-00001", "customer-00002"}
    assert held["customer-00002"].email == "person2@example.com"
    assert every.value(people[1], "first_name") == "Zoë"
    writes = every.writes()
    again = every.sync()
    assert (again.accepted, every.writes() - writes) == (0, 0)
    assert every.plan().changes == 0


def test_what_changed_arrives_and_what_emptied_is_emptied(every):
    every.sync(person(1, loyalty_tier="gold", favourite_category="Kitchen"))
    every.publish(person(1, loyalty_tier="silver", favourite_category=None))
    plan = every.plan()
    names = {every.destination.attributes[column].attribute for column in ("loyalty_tier", "favourite_category")}
    assert set(plan.changed_attributes) == names
    assert every.apply(plan).rejected == {}
    assert every.value(person(1), "loyalty_tier") == "silver"
    assert every.value(person(1), "favourite_category") is None
    assert every.value(person(1), "first_name") == "Ada"


def test_another_address_is_the_same_person(every):
    every.sync(person(1))
    changed = person(1, email="new@example.com")
    assert every.sync(changed).rejected == {}
    assert every.held(changed)["customer-00001"].email == "new@example.com"
    assert every.plan().changes == 0


def test_who_withdraws_is_suppressed_there_and_a_proven_opt_in_lifts_it(every, clock):
    every.sync(person(1), person(2))
    assert every.sync(person(1).refused("consent_withdrawn"), person(2)).rejected == {}
    held = every.held(person(1))["customer-00001"]
    assert held.is_suppressed in (True, None)
    writes = every.writes()
    every.sync(person(1, loyalty_tier="changed").refused("consent_withdrawn"), person(2))
    assert every.writes() == writes
    clock.advance(24 * 3600.0)
    back = person(1, consent_proof="proof-2", granted_at=datetime.fromtimestamp(clock.now() - 60, UTC))
    result = every.sync(back, person(2))
    if every.destination.module == "hubspot":  # only the person can lift an opt-out there
        assert result.rejected == {"OPTED_OUT": 1}
        assert every.held(back)["customer-00001"].is_suppressed
    else:
        assert result.rejected == {}
        clock.advance(60.0)
        assert every.held(back)["customer-00001"].is_suppressed in (False, None)
    assert every.plan().changes == 0


def test_who_withdraws_and_moves_house_at_once_is_suppressed_where_mail_goes(every, clock):
    every.sync(person(1), person(2))
    moved = person(1, email="new@example.com").refused("consent_withdrawn")
    assert every.sync(moved, person(2)).rejected == {}
    clock.advance(60.0)
    reachable = {one.email for one in everyone(every, [moved, person(2)]) if one.is_reachable}
    assert reachable == {"person2@example.com"}
    assert every.plan().changes == 0


@pytest.mark.parametrize("is_merged", [False, True], ids=["renamed", "merged"])
def test_who_withdraws_and_moves_house_under_another_id_at_once_is_suppressed_where_mail_goes(every, clock, is_merged):
    every.sync(person(1), person(2), *([person(7)] if is_merged else []))
    moved = person(7, email="new@example.com").refused("consent_withdrawn")
    every.publish(moved, person(2), moves=[("shop:C1", "customer-00001", "customer-00007")])
    assert every.sync().rejected == {}
    clock.advance(60.0)
    reachable = {one.email for one in everyone(every, [person(1), moved, person(2)]) if one.is_reachable}
    assert reachable == {"person2@example.com"}
    every.sync()  # where a vendor makes one of two profiles, what it made is looked after again
    assert every.plan().changes == 0


def test_who_withdraws_after_a_suppressed_id_became_theirs_is_suppressed(every, clock):
    stays = person(7)
    every.sync(person(1), person(2), stays)
    every.sync(person(1).refused("consent_withdrawn"), person(2), stays)
    every.publish(person(2), stays, moves=[("shop:C1", "customer-00001", "customer-00007")])
    every.apply(every.plan())
    clock.advance(60.0)
    stopped = stays.refused("consent_withdrawn")
    every.publish(person(2), stopped, moves=[("shop:C1", "customer-00001", "customer-00007")])
    assert every.sync().rejected == {}
    clock.advance(60.0)
    reachable = {one.email for one in everyone(every, [person(1), person(2), stopped]) if one.is_reachable}
    assert reachable == {"person2@example.com"}
    assert every.plan().changes == 0


def test_who_is_erased_and_moves_house_under_another_id_at_once_is_gone(every, clock):
    every.sync(person(1), person(2))
    moved = person(7, email="new@example.com")
    every.publish(moved, person(2), moves=[("shop:C1", "customer-00001", "customer-00007")])
    every.suppress(moved, "erased")
    assert every.sync().rejected == {}
    clock.advance(30 * 24 * 3600.0)
    every.sync()
    assert set(every.held(person(1), moved, person(2))) == {"customer-00002"}
    assert {one for one, _ in every.ledger()} == {"customer-00002"}
    assert every.plan().changes == 0


@every_one(but={"hubspot"})  # only the person can lift an opt-out there
def test_who_comes_back_with_another_address_is_one_profile(every, clock):
    every.sync(person(1))
    every.sync(person(1).refused("consent_withdrawn"))
    clock.advance(24 * 3600.0)
    granted_at = datetime.fromtimestamp(clock.now() - 60, UTC)
    back = person(1, email="new@example.com", consent_proof="proof-2", granted_at=granted_at)
    assert every.sync(back).rejected == {}
    clock.advance(60.0)
    there = everyone(every, [back])
    assert [(one.external_id, one.email, one.is_reachable) for one in there] == [
        ("customer-00001", "new@example.com", True)
    ]
    assert every.plan().changes == 0


def test_who_comes_back_with_another_address_and_withdraws_again_is_suppressed_at_both(every, clock):
    every.sync(person(1))
    every.sync(person(1).refused("consent_withdrawn"))
    clock.advance(30.0)
    granted_at = datetime.fromtimestamp(clock.now() - 10, UTC)
    back = person(1, email="new@example.com", consent_proof="proof-2", granted_at=granted_at)
    every.pull()
    every.sync(back)
    clock.advance(30.0)
    every.pull()
    moved = person(1, email="newer@example.com", consent_proof="proof-2", granted_at=granted_at)
    every.sync(moved.refused("consent_withdrawn"))
    clock.advance(60.0)
    assert {one.email for one in everyone(every, [moved]) if one.is_reachable} == set()
    assert every.plan().changes == 0


def test_who_is_suppressed_between_plan_and_batch_is_in_no_payload(every):
    every.publish(person(1), person(2))
    plan = every.plan()
    every.suppress(person(2), "unsubscribed")
    result = every.apply(plan)
    assert result.skipped["suppressed"] >= 1
    assert set(every.held(person(1), person(2))) == {"customer-00001"}


@every_one(having=Operation.JOIN)  # the others get memberships as an attribute
def test_lists_follow_the_segments(every):
    every.sync(person(1, segments="champions"), person(2, segments="at_risk"), person(3, segments="champions"))
    assert _members(every) == {"customer-00001", "customer-00003"}
    every.publish(
        person(1, segments="at_risk"), person(2, segments="at_risk,champions"), person(3).refused("unsubscribed")
    )
    plan = every.plan()
    assert plan.lists == {"champions": {"join": 1, "leave": 2}}
    assert every.apply(plan).rejected == {}
    assert _members(every) == {"customer-00002"}
    assert every.plan().changes == 0


@every_one(having=Operation.JOIN, but={"salesforce", "files"})  # whose lists are not told apart by asking
def test_another_list_for_a_segment_is_filled(every):
    every.sync(person(1), person(2, segments="at_risk"))
    every.destination = every.destination.model_copy(
        update={"lists": {"champions": vendor_list(every.destination.module, every.app, "Winners")}}
    )
    assert every.plan().lists == {"champions": {"join": 1}}
    assert every.sync().rejected == {}
    assert _members(every) == {"customer-00001"}
    assert every.plan().changes == 0
    every.sync(person(1, segments="at_risk"), person(2, segments="at_risk"))
    assert _members(every) == set()


def test_who_leaves_the_audience_keeps_or_loses_what_the_configuration_says(every):
    shows = Operation.DELETE in every.destination.endpoints
    for rule in ("keep", "clear", *(["delete"] if shows else [])):
        every.destination = every.destination.model_copy(update={"leavers": rule})
        one, other = person(1), person(2)
        every.sync(one, other)
        assert every.sync(other).rejected == {}
        held = every.held(one).get("customer-00001")
        if rule == "keep":
            assert every.value(one, "loyalty_tier") == "gold"
        elif rule == "clear":
            assert held is not None
            assert every.value(one, "loyalty_tier") is None
        else:
            assert held is None or every.value(one, "loyalty_tier") is None
        assert every.plan().changes == 0


def test_a_merged_person_moves_to_the_surviving_id(every, clock):
    every.sync(person(1), person(2))
    every.publish(person(2), moves=[("shop:C1", "customer-00001", "customer-00002")])
    assert every.sync().rejected == {}
    clock.advance(60.0)
    every.sync()  # where a vendor makes one of two profiles, the survivor is written again
    clock.advance(60.0)
    held = every.held(person(1), person(2))
    assert "customer-00002" in held
    gone = held.get("customer-00001")
    assert gone is None or all(value in (None, "", []) for value in gone.attributes.values())
    assert every.plan().changes == 0
    assert {one for one, facet in every.ledger() if facet == ledger.PROFILE} >= {"customer-00002"}


def test_a_person_whose_id_changed_is_not_written_to_twice(every):
    every.sync(person(1))
    every.publish(person(7, email="person1@example.com"), moves=[("shop:C1", "customer-00001", "customer-00007")])
    assert every.sync().rejected == {}
    held = every.held(person(1), person(7, email="person1@example.com"))
    assert "customer-00007" in held
    gone = held.get("customer-00001")
    assert gone is None or all(value in (None, "", []) for value in gone.attributes.values())
    assert every.plan().changes == 0


def test_an_erasure_reaches_the_destination_leaves_a_receipt_and_nobody_comes_back(every, clock):
    every.sync(person(1), person(2))
    every.suppress(person(1), "erased")
    result = every.sync(person(1), person(2))
    assert result.rejected == {}
    clock.advance(30 * 24 * 3600.0)
    every.sync(person(1), person(2))
    assert "customer-00001" not in every.held(person(1), person(2))
    assert {one for one, _ in every.ledger()} == {"customer-00002"}
    with stores.opened(every.stores_url) as engine, stores.reading(engine) as connection:
        receipts = connection.execute(stores.ERASURES.select()).mappings().all()
        sealed = connection.execute(stores.PAYLOADS.select()).mappings().all()
    assert [len(one["receipt_hash"]) for one in receipts] == [64]
    assert {one["customer_id"] for one in sealed} == {"customer-00002"}
    plan = every.plan()
    assert plan.refused == {"erased": 1}
    assert plan.changes == 0


@every_one(having=Operation.DELETE)
def test_an_erasure_reaches_who_was_deleted_before(every, clock):
    every.destination = every.destination.model_copy(update={"leavers": "delete"})
    every.sync(person(1), person(2))
    every.sync(person(2))
    every.suppress(person(1), "erased")
    assert every.sync(person(2)).rejected == {}
    clock.advance(30 * 24 * 3600.0)
    every.sync(person(2))
    assert {one for one, _ in every.ledger()} == {"customer-00002"}
    assert set(every.held(person(1), person(2))) == {"customer-00002"}
    with stores.opened(every.stores_url) as engine, stores.reading(engine) as connection:
        assert len(connection.execute(stores.ERASURES.select()).all()) == 1
    assert every.plan().changes == 0


@every_one(but={"files"})  # a file takes every address
def test_a_bad_row_is_found_told_and_tried_again_when_it_changes_or_on_request(every):
    everybody = [person(number) for number in range(1, 8)]
    bad = person(4, email="not an address")
    result = every.sync(*everybody[:3], bad, *everybody[4:])
    assert 1 <= sum(result.rejected.values()) <= 2, "one person's profile, and opt-in where there is one"
    assert set(every.held(*everybody)) == {one.customer_id for one in everybody if one.customer_id != bad.customer_id}
    with stores.opened(every.stores_url) as engine, stores.reading(engine) as connection:
        letters = ledger.dead_letters(connection, every.destination.name)
    assert {one["customer_id"] for one in letters} == {"customer-00004"}
    assert all("not an address" not in str(one["error_message"]) for one in letters)
    assert every.plan().changes == 0
    with stores.opened(every.stores_url) as engine, stores.writing(engine) as connection:
        assert ledger.replay(connection, every.destination.name) >= 1
    assert every.plan().changes >= 1
    assert sum(every.sync().rejected.values()) >= 1
    assert every.sync(*everybody).rejected == {}
    assert "customer-00004" in every.held(*everybody)


def test_drift_is_found_named_and_repaired(every):
    people = [person(number) for number in range(1, 5)]
    every.sync(*people)
    assert every.drift().is_clean
    assert every.drift().checked == 4
    _disturb(every, people[0])
    found = every.drift(repair=True)
    assert not found.is_clean
    assert found.differing + found.missing == 1
    assert found.repaired >= 1
    every.sync(*people)
    assert every.drift().is_clean
    assert every.value(people[0], "loyalty_tier") == "gold"


@every_one(but={"local_esp", "files"})  # see tests/activation/test_pull.py and test_files_back.py
def test_unsubscribes_there_stop_the_next_sync(every, clock):
    every.sync(person(1), person(2))
    clock.advance(60.0)
    every.app.unsubscribe("person1@example.com")
    clock.advance(60.0)
    assert every.pull() >= 1
    every.publish(person(1, loyalty_tier="silver"), person(2, loyalty_tier="silver"))
    plan = every.plan()
    assert plan.refused == {"unsubscribed": 1}
    every.apply(plan)
    assert every.value(person(1), "loyalty_tier") == "gold"
    assert every.value(person(2), "loyalty_tier") == "silver"
    assert suppression.summary(every.stores_url).get("unsubscribed", 0) >= 1


def _members(line: VendorLine) -> set[str]:
    """Who is in the list, as the destination tells it, or as the ledger says it acknowledged where it does not."""
    people = [person(number) for number in range(1, 4)]
    held = line.held(*people)
    if all(one.lists is not None for one in held.values()):
        return {one.customer_id for one in held.values() if line.destination.lists["champions"] in one.lists}
    rows = line.ledger()
    return {one for (one, facet), row in rows.items() if facet == "list:champions" and row["acknowledged"]}


def _disturb(line: VendorLine, one) -> None:
    """Somebody changes an attribute at the destination, behind the ledger's back."""
    from letterpress.activation import payloads
    from letterpress.activation.destinations.spec import Job, Row

    destination = line.destination
    shape, name = destination.shape, destination.attributes["loyalty_tier"].attribute
    with stores.opened(line.stores_url) as engine, stores.reading(engine) as connection:
        from activation_line import KEY

        from letterpress.activation.seal import Seal

        target = ledger.certain(connection, destination.name, [one.customer_id])
        held = Seal(KEY).open(ledger.payloads(connection, destination.name, target)[one.customer_id])
    import orjson

    content = orjson.loads(held)
    place = content
    for key in shape.path_of(name)[:-1]:
        place = place[key]
    place[shape.path_of(name)[-1]] = "bronze"
    row = Row(one.customer_id, one.email, orjson.dumps(content))
    with line.client() as client:
        answer = client.send(Operation.UPSERT, [row], key="by hand", list_id=None)
        if isinstance(answer, Job):
            from letterpress.activation.destinations import pace

            while client.results(Operation.UPSERT, answer.job_id, [row]) is None:
                pace.pause(1.0)
    assert payloads.values(destination, held)[name] == "gold"
