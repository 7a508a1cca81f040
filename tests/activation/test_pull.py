"""What the destination says about consent comes first, and an opt-in after it is the only way back."""

from datetime import timedelta

import pytest
from activation_line import KEY, NOW, person
from ledger_book import ESP, NEVER, SEAL

from letterpress.activation import ledger, stores, suppression
from letterpress.activation.destinations import local_esp
from letterpress.activation.destinations.spec import Operation, Results, SuppressionEvent
from letterpress.activation.pull import take_over

BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(days=1)


def at_esp(line, one, reason):
    instant = NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line.esp.app.state.suppressions.add(
        [{"email": one.email, "external_id": one.customer_id, "reason": reason}], instant
    )


def test_an_unsubscribe_at_the_destination_stops_the_next_sync(line):
    line.sync(person(1), person(2))
    at_esp(line, person(1), "unsubscribed")
    assert line.pull() == 2
    line.publish(person(1, loyalty_tier="none"), person(2))
    plan = line.plan()
    assert plan.changes == 0
    assert plan.refused == {"unsubscribed": 1}


def test_pulling_again_finds_nothing_new(line):
    at_esp(line, person(1), "bounced")
    assert line.pull() == 1
    assert line.pull() == 0
    assert suppression.summary(line.stores_url) == {"bounced": 1}


def test_more_suppressions_than_one_page_are_all_read(line):
    rows = [{"email": f"q{n}@example.com", "external_id": None, "reason": "unsubscribed"} for n in range(1_005)]
    line.esp.app.state.suppressions.add(rows, "2011-07-01T00:00:00.000Z")
    assert line.pull() == 1_005


def test_a_later_opt_in_lifts_at_the_destination_too(line):
    line.sync(person(1))
    at_esp(line, person(1), "unsubscribed")
    line.pull()
    line.publish(person(1, consent_proof="proof-2", granted_at=AFTER))
    assert line.lift() == 1
    plan = line.plan()
    assert plan.counts["restore"] == 1
    line.apply(plan)
    assert not line.at_esp()["customer-00001"]["suppressed"]
    assert line.plan().changes == 0
    assert ledger.summary(line.stores_url, destination="local_esp")["suppressed"] == 0


def test_an_opt_in_before_the_unsubscribe_lifts_nothing(line):
    at_esp(line, person(1), "unsubscribed")
    line.pull()
    line.publish(person(1, granted_at=BEFORE))
    assert line.lift() == 0
    assert line.plan().refused == {"unsubscribed": 1}


def test_no_opt_in_brings_back_somebody_who_complained(line):
    line.sync(person(1))
    at_esp(line, person(1), "complained")
    line.pull()
    line.publish(person(1, consent_proof="proof-2", granted_at=AFTER))
    assert line.lift() == 0
    assert line.plan().refused == {"complained": 1}
    assert line.at_esp()["customer-00001"]["suppressed"]


def test_somebody_whom_the_destination_suppressed_before_the_first_sync_is_lifted_there(line):
    at_esp(line, person(1), "unsubscribed")
    line.pull()
    line.publish(person(1, consent_proof="proof-2", granted_at=AFTER))
    line.lift()
    line.sync()
    assert not line.at_esp()["customer-00001"]["suppressed"]


def test_a_used_proof_lifts_nothing_and_waits_for_a_new_one(line):
    line.sync(person(1))
    for proof in ("proof-2", "proof-3"):
        at_esp(line, person(1), "unsubscribed")
        line.pull()
        line.publish(person(1, consent_proof=proof, granted_at=AFTER))
        line.lift()
        if proof == "proof-3":
            line.publish(person(1, consent_proof="proof-2", granted_at=AFTER))
            refused = line.sync()
            assert refused.rejected == {"proof_used": 1}
            assert line.sync().requests == 0
            line.publish(person(1, consent_proof=proof, granted_at=AFTER))
        assert line.sync().accepted == 1
    assert not line.at_esp()["customer-00001"]["suppressed"]


def test_a_withdrawal_that_we_passed_on_does_not_outlive_an_opt_in_given_before_the_request(line):
    line.sync(person(1))
    line.sync(person(1).refused("consent_withdrawn"))
    assert line.at_esp()["customer-00001"]["suppressed"]
    line.pull()
    assert suppression.summary(line.stores_url) == {}
    line.publish(person(1, consent_proof="proof-2", granted_at=BEFORE))
    assert line.sync().accepted == 1
    assert not line.at_esp()["customer-00001"]["suppressed"]


def test_a_withdrawal_that_we_passed_on_and_that_comes_back_under_another_name_does_not_either(line):
    line.sync(person(1))
    line.sync(person(1).refused("consent_withdrawn"))
    at_esp(line, person(1), "unsubscribed")
    line.pull()
    assert suppression.summary(line.stores_url) == {}
    at_esp(line, person(1), "complained")
    line.pull()
    assert suppression.summary(line.stores_url) == {"complained": 2}


@pytest.mark.parametrize("answer", [None, Results({"c1": NEVER})], ids=["lost", "refused"])
def test_a_withdrawal_that_may_not_have_arrived_hides_none_that_the_person_tells_later(book, answer):
    """Somebody opts in again before the withdrawal is passed on, gets mail, and unsubscribes."""
    batch, _ = book.begin({"c1": "unsubscribed"}, Operation.SUPPRESS, ledger.CONSENT)
    if answer is not None:
        book.settle(batch, answer)
    with stores.writing(book.engine) as write:
        event = SuppressionEvent("person1@example.com", "c1", "unsubscribed", NOW)
        assert take_over(write, ESP, [event], identity_key=KEY) == 2
    assert book.state("c1", ledger.CONSENT)[:2] == ("accepted", "unsubscribed")


def test_without_a_proof_nobody_comes_back(line):
    line.sync(person(1))
    line.sync(person(1).refused("consent_withdrawn"))
    line.publish(person(1, consent_proof=None))
    plan = line.plan()
    assert plan.refused == {"suppressed_without_proof": 1}
    assert plan.changes == 0


def test_whom_only_the_person_can_bring_back_stays_away_and_the_others_are_written_to(line, monkeypatch):
    takes_no_opt_in = {name: one for name, one in local_esp.ENDPOINTS.items() if name != Operation.SUBSCRIBE}
    monkeypatch.setattr(local_esp, "ENDPOINTS", takes_no_opt_in)
    line.sync(person(1), person(2))
    line.sync(person(1).refused("consent_withdrawn"), person(2))
    back = person(1, consent_proof="proof-2", granted_at=NOW + timedelta(days=2), first_name="Grace")
    result = line.sync(back, person(2, first_name="Zoë"))
    assert (result.accepted, result.rejected) == (1, {})
    held = line.at_esp()
    assert held["customer-00001"]["attributes"]["first_name"] == "Ada"
    assert held["customer-00002"]["attributes"]["first_name"] == "Zoë"
    plan = line.plan()
    assert (plan.refused, plan.changes) == ({"suppressed_there": 1}, 0)


@pytest.mark.parametrize(("suppressed", "expected"), [("old@example.com", "planned"), ("new@example.com", "accepted")])
def test_a_suppression_of_another_address_than_the_opt_ins_is_sent_to_that_too(book, suppressed, expected):
    """The destination made a second profile of the new address, and tells of the first one that it gets no mail."""
    book.done({"c1": "granted:p"}, Operation.SUBSCRIBE, ledger.CONSENT)
    mark = suppression.mark("new@example.com", KEY)
    with stores.writing(book.engine) as write:
        opt_in = {"destination": ESP, "customer_id": "c1", "target": f"granted:p{mark}", "sealed": SEAL.seal(b"{}")}
        write.execute(stores.PAYLOADS.insert().values(**opt_in))
    event = SuppressionEvent(suppressed, "c1", "unsubscribed", NOW)
    for _ in range(2):  # events come again
        with stores.writing(book.engine) as write:
            take_over(write, ESP, [event], identity_key=KEY)
        assert book.state("c1", ledger.CONSENT)[:2] == (expected, "unsubscribed")
    book.done({"c1": "unsubscribed"}, Operation.SUPPRESS, ledger.CONSENT)
    with stores.writing(book.engine) as write:
        take_over(write, ESP, [event], identity_key=KEY)
    assert book.state("c1", ledger.CONSENT)[:2] == ("accepted", "unsubscribed")
