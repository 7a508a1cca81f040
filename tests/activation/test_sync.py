"""What a sync does to the destination, and what it leaves alone."""

import logging
from dataclasses import replace

import orjson
import pytest
from activation_line import KEY, person

from letterpress import storage
from letterpress.activation import audience, ledger, stores
from letterpress.activation.destinations import Batch, Guard
from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.guard import GuardError
from letterpress.activation.plan import CHANGES, STANDING, read_plan
from letterpress.activation.syncs import render


def test_the_first_sync_creates_everybody_and_the_second_sends_nothing(line):
    first = line.sync(person(1), person(2), person(3).refused("no_consent"))
    assert first.accepted == 2
    assert set(line.at_esp()) == {"customer-00001", "customer-00002"}
    again = line.plan()
    assert again.counts["unchanged"] == 2
    assert again.refused == {"no_consent": 1}
    assert line.apply(again).requests == 0


def test_a_profile_arrives_under_the_names_of_the_field_map(line):
    line.sync(person(1, first_name='Zoë "Z" O\'Neil', segments="champions,weekend_browsers"))
    profile = line.at_esp()["customer-00001"]
    assert profile["email"] == "person1@example.com"
    assert profile["segments"] == ["champions", "weekend_browsers"]
    assert profile["attributes"] == {
        "first_name": 'Zoë "Z" O\'Neil',
        "country": "GB",
        "time_zone": "Europe/London",
        "loyalty_tier": "gold",
        "favourite_category": "Candles & Home",
        "orders": "10+",
        "rfm_code": "555",
        "rfm_segment": "Champions",
        "cluster": "loyal high spenders",
        "lifetime_value_tier": "high",
        "lifetime_value_decile": 10,
    }


def test_only_changed_payloads_are_sent_and_the_plan_names_what_changed(line):
    line.sync(person(1), person(2), person(3))
    line.audited.clear()
    line.publish(person(1), person(2, loyalty_tier="silver", segments="at_risk"), person(3))
    plan = line.plan()
    assert plan.counts["update"] == 1
    assert plan.changed_attributes == {"loyalty_tier": 1, "segments": 1}
    line.apply(plan)
    assert [payload["external_id"] for payload in line.audited] == ["customer-00002"]
    assert line.at_esp()["customer-00002"]["attributes"]["loyalty_tier"] == "silver"


def test_a_changed_email_is_an_update_of_the_same_profile(line):
    line.sync(person(1))
    plan_of = line.publish(person(1, email="new@example.com")) and line.plan()
    assert plan_of.changed_attributes == {"email": 1}
    line.apply(plan_of)
    assert line.at_esp()["customer-00001"]["email"] == "new@example.com"


def test_a_person_who_goes_back_to_an_earlier_state_is_sent_again(line):
    tiers = ["gold", "silver", "gold", "silver", "gold"]
    for tier in tiers:
        assert line.sync(person(1, loyalty_tier=tier)).accepted == 1
        assert line.at_esp()["customer-00001"]["attributes"]["loyalty_tier"] == tier


@pytest.mark.parametrize(
    ("nulls", "never_held", "once_held"),
    [
        ("write", {"loyalty_tier": None}, {"loyalty_tier": None}),
        ("skip", {}, {"loyalty_tier": "gold"}),
        ("clear", {}, {}),
    ],
)
def test_an_empty_value_is_written_skipped_or_cleared_by_rule(line, nulls, never_held, once_held):
    mapped = line.destination.attributes["loyalty_tier"].model_copy(update={"nulls": nulls})
    line.destination = line.destination.model_copy(update={"attributes": {"loyalty_tier": mapped}})
    line.sync(person(1, loyalty_tier=None), person(2, loyalty_tier="gold"))
    assert line.at_esp()["customer-00001"]["attributes"] == never_held
    line.sync(person(1, loyalty_tier=None), person(2, loyalty_tier=None))
    assert line.at_esp()["customer-00002"]["attributes"] == once_held
    assert line.plan().changes == 0


def test_planning_again_gives_the_equal_plan_and_sends_nothing(line):
    line.publish(person(1), person(2).refused("no_email"), person(3, email=None))
    one, other = line.plan("one"), line.plan("other")
    assert one.plan_id == other.plan_id
    assert replace(one, run_id="") == replace(other, run_id="")
    assert one.refused == {"no_email": 2}
    assert line.at_esp() == {}
    assert read_plan(other.uri) == other


def test_another_audience_ledger_or_field_map_is_another_plan(line):
    line.publish(person(1))
    first = line.plan()
    line.publish(person(1, first_name="Grace"))
    second = line.plan()
    line.apply(second)
    third = line.plan()
    without = dict(list(line.destination.attributes.items())[1:])
    line.destination = line.destination.model_copy(update={"attributes": without})
    fourth = line.plan()
    assert len({plan.plan_id for plan in (first, second, third, fourth)}) == 4
    assert fourth.changed_attributes == {"first_name": 1}


def test_plan_ledger_log_and_rendering_hold_no_personal_values(line, caplog):
    caplog.set_level(logging.DEBUG)
    secret = person(1, email="ada.lovelace@secret.example", first_name="Adalovelace")
    line.sync(secret)
    plan = line.publish(secret.changed(first_name="Countess")) and line.plan()
    line.apply(plan)
    with stores.opened(line.stores_url) as engine, stores.reading(engine) as connection:
        rows = repr(ledger.rows_of(connection, "local_esp", [secret.customer_id]))
    stored = storage.read_parquet(plan.uri).to_pylist()
    texts = [rows, repr(stored), storage.read_bytes(plan.uri.replace(".parquet", ".json")).decode(), render(plan)]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("letterpress.a", "httpx"))]
    for text in (*texts, *ours):
        for value in ("secret.example", "lovelace", "Adalovelace", "Countess"):
            assert value not in text


def test_a_rendered_plan_tells_the_numbers_reasons_and_changes(line):
    line.sync(person(1), person(2), person(4))
    line.publish(person(1, loyalty_tier="none"), person(2).refused("unsubscribed"), person(3), person(4))
    text = render(line.plan())
    assert "create             1" in text
    assert "update             1" in text
    assert "suppress           1" in text
    assert "unchanged          1" in text
    assert "unsubscribed                 1" in text
    assert "loyalty_tier" in text
    assert "4 people in the audience, 3 may be written to, 3 held" in text


def test_a_row_that_the_destination_rejects_waits_until_its_payload_changes(line):
    broken = person(2, email="not an address")
    result = line.sync(person(1), broken)
    assert result.accepted == 1
    assert result.rejected == {"invalid_email": 1}
    again = line.plan()
    assert again.counts["rejected"] == 1
    assert line.apply(again).requests == 0
    assert line.sync(person(1), broken.changed(email="fixed@example.com")).accepted == 1
    assert ledger.summary(line.stores_url, destination="local_esp") == {
        "destination": "local_esp",
        "states": {"accepted": 2},
        "held": 2,
        "suppressed": 0,
        "rejected": {},
        "members": {},
        "erased": 0,
        "queued": 0,
        "sends": {},
    }


def test_somebody_who_is_no_longer_in_the_audience_is_deleted(line):
    line.sync(person(1), person(2))
    assert line.sync(person(2)).accepted == 1
    assert set(line.at_esp()) == {"customer-00002"}
    assert line.plan().changes == 0
    assert line.sync(person(1), person(2)).accepted == 1
    assert set(line.at_esp()) == {"customer-00001", "customer-00002"}


def test_somebody_whose_address_is_gone_is_deleted_not_suppressed(line):
    line.sync(person(1))
    line.sync(person(1, email=None).refused("no_email"))
    assert line.at_esp() == {}
    assert line.sync(person(1)).accepted == 1


def test_a_plan_that_deletes_too_many_stops_before_the_first_request(line):
    line.destination = line.destination.model_copy(update={"guard": Guard(removed_percent=20, removed_at_least=3)})
    line.sync(*(person(number) for number in range(10)))
    plan = line.publish(person(0), person(1)) and line.plan()
    with pytest.raises(GuardError) as stopped:
        line.apply(plan, is_approved=False)
    assert "deletes 8 of 10 people (80 %)" in str(stopped.value)
    assert len(line.at_esp()) == 10
    assert line.apply(plan, is_approved=True).accepted == 8


def test_batches_keep_to_the_caps_by_count_and_by_bytes(line, monkeypatch):
    bodies = []
    post = JsonApi.post

    def recorded(self, endpoint, path, body, **given):
        bodies.append(body)
        return post(self, endpoint, path, body, **given)

    monkeypatch.setattr(JsonApi, "post", recorded)
    everybody = [person(number) for number in range(23)]
    line.destination = line.destination.model_copy(update={"batch": Batch(rows=10, bytes=1_000_000)})
    assert line.sync(*everybody).requests == 3
    assert [len(orjson.loads(body)["profiles"]) for body in bodies] == [10, 10, 3]
    bodies.clear()
    line.destination = line.destination.model_copy(update={"batch": Batch(rows=10, bytes=1_600)})
    line.sync(*(one.changed(first_name="B") for one in everybody))
    assert max(len(orjson.loads(body)["profiles"]) for body in bodies) < 5
    assert all(len(body) <= 1_600 for body in bodies)
    assert sum(len(orjson.loads(body)["profiles"]) for body in bodies) == 23


def test_payloads_that_fail_their_audit_stop_the_line_and_the_ledger_stays(line):
    def fail(batch):
        raise RuntimeError("payloads failed")

    plan = line.publish(person(1)) and line.plan()
    with pytest.raises(RuntimeError, match="payloads failed"):
        line.apply(plan, validate=fail)
    assert line.at_esp() == {}
    assert line.ledger() == {}


def test_a_plan_is_applied_with_the_version_that_it_was_made_from_only(line):
    plan = line.publish(person(1)) and line.plan()
    line.publish(person(1, first_name="Grace"))
    with pytest.raises(audience.AudienceError, match="expected version published-1, found published-2"):
        line.apply(plan)
    assert line.at_esp() == {}


def test_an_outdated_plan_does_not_undo_a_newer_one(line):
    old_version = line.publish(person(1, loyalty_tier="bronze"))
    old = line.plan()
    line.sync(person(1, loyalty_tier="gold"))
    result = line.apply(old, version_dir=old_version)
    assert result.skipped == {"superseded": 1}
    assert line.at_esp()["customer-00001"]["attributes"]["loyalty_tier"] == "gold"


def test_the_same_plan_applied_again_sends_nothing(line):
    plan = line.publish(person(1), person(2, email="broken")) and line.plan()
    line.apply(plan)
    again = line.apply(plan)
    assert again.requests == 0
    assert again.skipped == {"acknowledged": 1, "rejected": 1}


def test_a_version_without_the_audience_or_a_column_is_refused_by_name(line, tmp_path):
    import duckdb

    line.version_dir = str(tmp_path / "nowhere")
    with pytest.raises(audience.AudienceError, match="publish the warehouse first"):
        line.plan()
    folder = line.publish(person(1))
    with duckdb.connect(f"{folder}/warehouse.duckdb") as connection:
        connection.execute("alter table activation.sync_customers rename column clv_tier to clv_tiers")
    with pytest.raises(audience.AudienceError, match="no column 'clv_tier'; did you mean 'clv_tiers'"):
        line.plan()


def test_two_rows_of_one_customer_stop_the_plan(line):
    line.publish(person(1), person(1, first_name="Twice"))
    with pytest.raises(audience.AudienceError, match="expected one row a customer"):
        line.plan()


def test_keyed_hashes_of_the_warehouse_are_hmac_sha256(line):
    import hmac

    folder = line.publish(person(1))
    for key in (KEY, b"k" * 100):
        with audience.opened(folder, key) as duck:
            found = duck.execute("select keyed('é£')").fetchall()[0][0]
        assert found == hmac.new(key, "é£".encode(), "sha256").hexdigest()


def test_every_kind_of_change_is_counted(line):
    line.publish(person(1))
    assert set(line.plan().counts) == {*CHANGES, *STANDING}
