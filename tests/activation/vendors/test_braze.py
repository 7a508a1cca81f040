"""What is asked of Braze happens there, once however often it is asked."""

import pytest
from braze_workspace import CUSTOM, PROFILE, address, person, send, workspace

from letterpress.activation.destinations.braze import SHAPE
from letterpress.activation.destinations.spec import BatchRefused, Operation, Row
from letterpress.demo.esp.faults import Fault


@pytest.fixture
def both(clock, held_to):
    with workspace(clock=clock, specifications=held_to) as pair:
        yield pair


@pytest.fixture
def client(both):
    return both[1]


@pytest.fixture
def app(both):
    return both[0].app


def test_a_profile_is_there_with_all_that_was_written(client, app):
    assert send(client, Operation.UPSERT, person("c-1")).errors == {}
    held = app.users["c-1"]
    assert {name: held[name] for name in PROFILE if name not in CUSTOM} == {
        name: value for name, value in PROFILE.items() if name not in CUSTOM
    }
    assert held["custom_attributes"] == {name: PROFILE[name] for name in PROFILE if name in CUSTOM}
    assert app.state_of(address("c-1")) == "subscribed"


def test_an_update_leaves_what_it_does_not_name_and_is_billed_for_what_it_names(client, app):
    send(client, Operation.UPSERT, person("c-1"))
    first = app.data_points
    changed = b'{"external_id":"c-1","loyalty_tier":"silver"}'
    send(client, Operation.UPSERT, Row("c-1", email=address("c-1"), payload=changed))
    assert app.users["c-1"]["custom_attributes"]["loyalty_tier"] == "silver"
    assert (app.users["c-1"]["first_name"], app.users["c-1"]["email"]) == ("Ada", address("c-1"))
    assert first == len(PROFILE) + 1  # with the address
    assert app.data_points - first == 1


def test_nothing_empties_an_attribute(client, app):
    assert SHAPE.merges
    send(client, Operation.UPSERT, person("c-1"))
    send(client, Operation.UPSERT, person("c-1", home_city=SHAPE.cleared, loyalty_tier=SHAPE.cleared))
    assert "home_city" not in app.users["c-1"]
    assert "loyalty_tier" not in app.users["c-1"]["custom_attributes"]


def test_a_profile_sync_leaves_the_subscription_state_alone(client, app):
    app.unsubscribe(address("c-1"))
    send(client, Operation.UPSERT, person("c-1"))
    assert app.state_of(address("c-1")) == "unsubscribed"
    for name in ("email_subscribe", "push_subscribe", "subscription_groups", "email", "external_id"):
        assert name in SHAPE.reserved


def test_what_was_written_is_read_in_the_names_of_the_field_map(client, app):
    send(client, Operation.UPSERT, person("c-1"), person("c-2", loyalty_tier="silver"))
    app.unsubscribe(address("c-2"))
    names = [*PROFILE, "rfm_segment"]
    one, two = client.read([Row("c-1"), Row("c-2"), Row("c-3")], names)
    assert (one.customer_id, one.email, one.is_suppressed, one.lists) == ("c-1", address("c-1"), False, None)
    assert one.attributes == {**PROFILE, "rfm_segment": None}
    assert two.attributes == {**dict.fromkeys(names), "loyalty_tier": "silver"}
    assert two.is_suppressed


def test_an_empty_value_is_read_as_none(client):
    send(client, Operation.UPSERT, person("c-1", loyalty_tier="", segments=[], orders=0))
    held = client.read([Row("c-1")], ["loyalty_tier", "segments", "orders"])[0]
    assert held.attributes == {"loyalty_tier": None, "segments": None, "orders": 0}


def test_a_profile_that_a_former_id_leads_to_is_not_read_as_that_of_the_former_id(client, app):
    send(client, Operation.UPSERT, person("new"))
    app.deprecated["old"] = "new"
    assert client.read([Row("old")], []) == []


def test_more_people_than_a_request_holds_are_read(client):
    rows = [person(f"c-{number}", loyalty_tier="gold") for number in range(70)]
    send(client, Operation.UPSERT, *rows)
    assert {held.customer_id for held in client.read(rows, ["loyalty_tier"])} == {row.customer_id for row in rows}


def test_whoever_is_suppressed_is_mailed_neither_at_the_new_address_nor_at_the_one_that_braze_has(client, app):
    send(client, Operation.UPSERT, person("c-1", email="old@example.com"))
    send(client, Operation.SUPPRESS, Row("c-1", email="new@example.com", reason="consent_withdrawn"))
    assert not app.may_mail("old@example.com")
    assert not app.may_mail("new@example.com")
    assert app.hard_bounces == {}


def test_whoever_has_no_address_any_more_is_suppressed_all_the_same(client, app):
    send(client, Operation.UPSERT, person("c-1"))
    points = app.data_points
    assert send(client, Operation.SUPPRESS, Row("c-1", reason="no_email")).errors == {}
    assert not app.may_mail(address("c-1"))
    assert app.data_points == points  # states are not billed


def test_suppressing_makes_no_profile(client, app):
    send(client, Operation.SUPPRESS, Row("c-1", email=address("c-1"), reason="unsubscribed"))
    assert dict(app.users) == {}
    assert not app.may_mail(address("c-1"))


@pytest.mark.parametrize("reason", ["bounced", "complained"])
def test_a_dead_mailbox_and_a_complaint_are_blocked_for_good(client, app, reason):
    send(client, Operation.UPSERT, person("c-1"))
    send(client, Operation.SUPPRESS, Row("c-1", email=address("c-1"), reason=reason))
    send(client, Operation.SUBSCRIBE, person("c-1"))
    assert app.state_of(address("c-1")) == "opted_in"
    assert not app.may_mail(address("c-1"))


def test_a_dead_mailbox_says_nothing_about_the_person(client, app):
    send(client, Operation.UPSERT, person("c-1", email="alive@example.com"))
    send(client, Operation.SUPPRESS, Row("c-1", email="dead@example.com", reason="bounced"))
    assert app.may_mail("alive@example.com")
    assert not app.may_mail("dead@example.com")


def test_an_address_that_is_refused_does_not_keep_the_profile_from_being_stopped(client, app):
    send(client, Operation.UPSERT, person("c-1"))
    with pytest.raises(BatchRefused) as refused:
        send(client, Operation.SUPPRESS, Row("c-1", email="not an address", reason="unsubscribed"))
    assert "not an address" not in str(refused.value)
    assert not app.may_mail(address("c-1"))


def test_a_proven_opt_in_lifts_a_withdrawal_and_revives_nobody(client, app):
    people = [person(name) for name in ("left", "bounced", "complained")]
    app.unsubscribe(address("left"))
    app.bounce(address("bounced"))
    app.complain(address("complained"))
    assert send(client, Operation.SUBSCRIBE, *people).errors == {}
    assert app.state_of(address("left")) == "opted_in"
    assert [app.may_mail(row.email) for row in people] == [True, False, False]
    assert not any("remove" in path for _, path, _ in app.calls)


def test_an_opt_in_without_an_address_is_refused_alone(client, app):
    told = send(client, Operation.SUBSCRIBE, Row("c-1"), person("c-2"))
    assert told.errors["c-1"].code == "no_email"
    assert set(told.errors) == {"c-1"}
    assert app.state_of(address("c-2")) == "opted_in"


@pytest.mark.parametrize("operation", [Operation.DELETE, Operation.ERASE])
def test_a_profile_is_gone_and_asking_again_is_no_error(client, app, operation):
    send(client, Operation.UPSERT, person("c-1"), person("c-2"))
    for _ in range(2):
        assert send(client, operation, Row("c-1"), Row("never-there")).errors == {}
    assert set(app.users) == {"c-2"}


@pytest.mark.parametrize("times", [1, 2])
def test_a_profile_moves_to_the_surviving_id_and_leaves_no_way_back(client, app, times):
    send(client, Operation.UPSERT, person("old"))
    for _ in range(times):
        assert send(client, Operation.MOVE, Row("old", moves_to="new")).errors == {}
    assert set(app.users) == {"new"}
    assert app.users["new"]["first_name"] == "Ada"
    assert dict(app.deprecated) == {}
    send(client, Operation.DELETE, Row("old"))  # a deprecated id would take the surviving profile with it
    assert set(app.users) == {"new"}


@pytest.mark.parametrize("times", [1, 2])
def test_a_profile_is_merged_into_the_one_that_is_there(app, clock, client, times):
    app.job_seconds = 5
    send(client, Operation.UPSERT, person("old"), person("new", loyalty_tier="silver"))
    for _ in range(times):
        assert send(client, Operation.MOVE, Row("old", moves_to="new")).errors == {}
    assert set(app.users) == {"old", "new"}  # Braze works on it
    clock.pause(5)
    send(client, Operation.MOVE, Row("old", moves_to="new"))
    assert set(app.users) == {"new"}
    assert app.users["new"]["custom_attributes"]["loyalty_tier"] == "silver"
    assert app.users["new"]["first_name"] == "Ada"


def test_of_two_profiles_that_move_to_one_free_id_the_second_is_merged_by_the_next_run(client, app):
    send(client, Operation.UPSERT, person("one"), person("two"))
    rows = [Row("one", moves_to="new"), Row("two", moves_to="new")]
    first = send(client, Operation.MOVE, *rows)
    assert set(first.errors) == {"two"}
    assert first.errors["two"].is_transient
    assert send(client, Operation.MOVE, *rows).errors == {}
    send(client, Operation.MOVE, *rows)
    assert set(app.users) == {"new"}


def test_a_former_id_that_an_earlier_try_left_over_is_removed(both):
    vendor, client = both
    send(client, Operation.UPSERT, person("old"))
    vendor.app.faults.add(Fault(path="/users/external_ids/remove", status=500, times=8))
    with pytest.raises(Exception, match="8 attempts"):
        send(client, Operation.MOVE, Row("old", moves_to="new"))
    assert dict(vendor.app.deprecated) == {"old": "new"}
    assert send(client, Operation.MOVE, Row("old", moves_to="new")).errors == {}
    assert dict(vendor.app.deprecated) == {}


def test_a_profile_moves_back_to_an_id_that_was_left_over(client, app):
    send(client, Operation.UPSERT, person("new"))
    app.deprecated["old"] = "new"
    first = send(client, Operation.MOVE, Row("new", moves_to="old"))
    assert first.errors["new"].is_transient
    assert send(client, Operation.MOVE, Row("new", moves_to="old")).errors == {}
    assert set(app.users) == {"old"}


def test_what_a_workspace_holds_outlives_its_process(tmp_path, clock):
    with workspace(folder=tmp_path, clock=clock) as (vendor, client):
        send(client, Operation.UPSERT, person("c-1"))
        vendor.app.unsubscribe(address("c-1"))
        points = vendor.app.data_points
    with workspace(folder=tmp_path, clock=clock) as (vendor, client):
        assert client.read([Row("c-1")], ["first_name"])[0].attributes == {"first_name": "Ada"}
        assert not vendor.app.may_mail(address("c-1"))
        assert vendor.app.data_points == points
