"""Live suppression narrows, and only a proven later opt-in widens again."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from activation_line import KEY, NOW

from letterpress.activation import stores, suppression
from letterpress.activation.suppression import Suppression, hash_email, subjects

LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)


@pytest.fixture
def connection(stores_url):
    with stores.opened(stores_url) as engine, stores.writing(engine) as open_connection:
        yield open_connection


def entry(email="ada@example.com", reason="unsubscribed", at=NOW, source="local_esp"):
    return Suppression(hash_email(email, KEY), reason, source, at)


def test_an_email_is_suppressed_whatever_its_case_and_blanks(connection):
    assert suppression.suppress(connection, [entry(" Ada@Example.com ")]) == 1
    asked = {hash_email(email, KEY) for email in ("ada@example.COM", "grace@example.com")}
    assert suppression.is_suppressed(connection, asked) == {hash_email("ada@example.com", KEY)}


def test_the_store_holds_no_email(connection):
    suppression.suppress(connection, [entry()])
    rows = connection.execute(sa.select(stores.SUPPRESSIONS)).all()
    assert "example.com" not in repr(rows)
    assert hash_email("ada@example.com", KEY) != hash_email("ada@example.com", b"another key")


def test_the_stronger_reason_stays_and_a_repeat_changes_nothing(connection):
    suppression.suppress(connection, [entry(reason="complained")])
    assert suppression.suppress(connection, [entry(reason="unsubscribed", at=LATER)]) == 0
    assert suppression.reasons(connection, [entry().subject_hash]) == {entry().subject_hash: "complained"}


def test_a_later_proven_opt_in_lifts_an_unsubscribe(connection):
    suppression.suppress(connection, [entry()])
    assert suppression.lift(connection, [entry().subject_hash], opted_in_at=LATER, proof="p")
    assert suppression.is_suppressed(connection, [entry().subject_hash]) == set()


@pytest.mark.parametrize("reason", ["complained", "bounced", "erased"])
def test_no_opt_in_lifts_a_complaint_a_hard_bounce_or_an_erasure(connection, reason):
    suppression.suppress(connection, [entry(reason=reason)])
    assert not suppression.lift(connection, [entry().subject_hash], opted_in_at=LATER, proof="p")
    assert suppression.is_suppressed(connection, [entry().subject_hash])


@pytest.mark.parametrize("opted_in_at", [EARLIER, NOW])
def test_an_opt_in_that_is_not_later_lifts_nothing(connection, opted_in_at):
    suppression.suppress(connection, [entry()])
    assert not suppression.lift(connection, [entry().subject_hash], opted_in_at=opted_in_at, proof="p")
    assert suppression.is_suppressed(connection, [entry().subject_hash])


def test_nothing_is_lifted_without_a_proof(connection):
    suppression.suppress(connection, [entry()])
    with pytest.raises(ValueError, match="expected the proof"):
        suppression.lift(connection, [entry().subject_hash], opted_in_at=LATER, proof="")
    assert suppression.is_suppressed(connection, [entry().subject_hash])


def test_after_a_lift_the_old_event_stays_lifted_and_a_new_one_suppresses(connection):
    suppression.suppress(connection, [entry()])
    suppression.lift(connection, [entry().subject_hash], opted_in_at=LATER, proof="p")
    assert suppression.suppress(connection, [entry()]) == 0
    assert suppression.is_suppressed(connection, [entry().subject_hash]) == set()
    assert suppression.suppress(connection, [entry(at=LATER + timedelta(seconds=1))]) == 1
    assert suppression.is_suppressed(connection, [entry().subject_hash])


def test_a_complaint_that_arrives_late_suppresses_even_after_a_lift(connection):
    suppression.suppress(connection, [entry()])
    suppression.lift(connection, [entry().subject_hash], opted_in_at=LATER, proof="p")
    assert suppression.suppress(connection, [entry(reason="complained", at=EARLIER)]) == 1


def test_a_persons_will_outlives_a_change_of_address_but_a_dead_mailbox_does_not(connection):
    given = {"customer_id": "c1", "source": "esp", "suppressed_at": NOW, "identity_key": KEY}
    for email, reason in (("old@example.com", "bounced"), ("left@example.com", "unsubscribed")):
        customer_id = "bounced-one" if reason == "bounced" else "c1"
        suppression.suppress(
            connection,
            suppression.entries(**{**given, "customer_id": customer_id}, email=email, reason=reason),
        )
    people = [("bounced-one", "new@example.com"), ("c1", "new-too@example.com"), ("c3", "old@example.com")]
    assert suppression.stopped(connection, people, KEY) == {"c1": "unsubscribed", "c3": "bounced"}


def test_a_lift_concerns_address_and_person_together_or_neither(connection):
    one = {"source": "esp", "suppressed_at": NOW, "identity_key": KEY}
    suppression.suppress(
        connection,
        suppression.entries(email="a@example.com", customer_id="c1", reason="unsubscribed", **one)
        + suppression.entries(email="a@example.com", customer_id=None, reason="bounced", **one),
    )
    hashes = subjects("a@example.com", "c1", KEY)
    assert not suppression.lift(connection, hashes, opted_in_at=LATER, proof="p")
    assert suppression.is_suppressed(connection, hashes) == set(hashes)


def test_an_unknown_reason_is_refused_by_name(connection):
    with pytest.raises(ValueError, match="found 'bored'"):
        suppression.suppress(connection, [entry(reason="bored")])


def test_a_naive_instant_is_refused(connection):
    with pytest.raises(sa.exc.StatementError, match="with its zone"):
        suppression.suppress(connection, [entry(at=NOW.replace(tzinfo=None))])


def test_the_summary_counts_by_reason(stores_url):
    with stores.opened(stores_url) as engine, stores.writing(engine) as connection:
        suppression.suppress(
            connection, [entry(), entry("b@example.com", "bounced"), entry("c@example.com", "bounced")]
        )
    assert suppression.summary(stores_url) == {"bounced": 2, "unsubscribed": 1}
