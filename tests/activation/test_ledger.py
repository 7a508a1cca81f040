"""What the ledger says of each facet after every answer, on both kinds of store."""

import pytest
from ledger_book import LATER, LIST, NEVER

from letterpress.activation import ledger, stores
from letterpress.activation.destinations.spec import Operation, Results, RowError
from letterpress.activation.ledger import CONSENT, PROFILE

# -- states ------------------------------------------------------------------------------------------------------


def test_what_is_claimed_is_sent_until_it_is_acknowledged(book):
    batch, _ = book.begin({"c1": "a"})
    assert book.state("c1") == ("sent", None, "a", 1, 1)
    assert book.settle(batch, Results(vendor_ids={"c1": "V1"})) == {"accepted": 1}
    assert book.state("c1") == ("accepted", "a", None, 1, 0)
    assert book.read(ledger.vendor_ids, ["c1", "c2"]) == {"c1": "V1"}
    assert book.read(ledger.settled) == ["c1"]


def test_every_change_is_another_revision_also_back_to_an_earlier_value(book):
    for revision, target in enumerate("abab", 1):
        book.done({"c1": target})
        assert book.state("c1") == ("accepted", target, None, revision, 0)
        assert book.profiles() == {("c1", target): target}


def test_a_lost_answer_leaves_it_sent_and_the_same_is_tried_at_the_same_revision(book):
    book.done({"c1": "a"})
    book.begin({"c1": "b"})
    batch, _ = book.begin({"c1": "b"})
    assert book.state("c1") == ("sent", "a", "b", 2, 2)
    assert (book.claims["c1"].pending, book.claims["c1"].is_certain) == ("b", False)
    assert book.profiles() == {("c1", "a"): "a", ("c1", "b"): "b"}
    assert book.read(ledger.certain, ["c1"]) == {}
    assert book.settle(batch) == {"accepted": 1}
    assert book.profiles() == {("c1", "b"): "b"}


def test_another_value_after_a_lost_answer_is_another_change_that_knows_both(book):
    book.done({"c1": "a"})
    book.begin({"c1": "b"})
    book.begin({"c1": "c"})
    claim = book.claims["c1"]
    assert (claim.acknowledged, claim.pending, claim.is_certain) == ("a", "b", False)
    assert book.state("c1") == ("sent", "a", "c", 3, 1)


def test_the_answer_to_a_request_that_another_took_over_is_not_recorded(book):
    first, _ = book.begin({"c1": "a"})
    second, _ = book.begin({"c1": "a"})
    assert book.settle(first) == {}
    assert book.settle(first, Results({"c1": NEVER})) == {}
    assert book.state("c1")[0] == "sent"
    assert book.settle(second) == {"accepted": 1}


def test_refused_for_now_is_tried_again_until_it_has_been_tried_often_enough(book):
    states = [book.refused("c1", "a", LATER) for _ in range(ledger.ATTEMPTS)]
    assert states == ["rejected"] * (ledger.ATTEMPTS - 1) + ["dead"]
    assert book.begin({"c1": "a"}, c1=ledger.ATTEMPTS - 1)[1] == {"c1": "rejected"}
    assert book.refused("c1", "b", LATER) == "rejected", "another value is tried from the beginning"


def test_refused_for_what_it_is_waits_at_once_and_tells_why(book):
    book.done({"c1": "a", "c2": "a"})
    batch, _ = book.begin({"c1": "b", "c2": "b"})
    assert book.settle(batch, Results({"c1": NEVER})) == {"invalid_email": 1, "accepted": 1}
    assert book.state("c1") == ("dead", "a", "b", 2, 1)
    (letter,) = book.read(ledger.dead_letters)
    told = {name: letter[name] for name in ("customer_id", "facet", "state", "error_code", "error_message")}
    assert told == {
        "customer_id": "c1",
        "facet": "profile",
        "state": "dead",
        "error_code": "invalid_email",
        "error_message": "expected an address",
    }
    assert book.read(ledger.certain, ["c1", "c2"]) == {"c1": "a", "c2": "b"}


def test_a_refusal_says_nothing_of_an_earlier_try_whose_answer_was_lost(book):
    book.done({"c1": "a"})
    book.begin({"c1": "b"})
    assert book.refused("c1", "b", LATER) == "rejected"
    book.begin({"c1": "a"})
    claim = book.claims["c1"]
    assert (claim.acknowledged, claim.pending, claim.is_certain) == ("a", "b", False)


def test_whoever_is_left_out_of_an_answer_stays_open(book):
    batch, _ = book.begin({"c1": "a", "c2": "a", "c3": "a"})
    assert book.settle(batch, Results(unanswered=frozenset({"c2"}))) == {"unanswered": 1, "accepted": 2}
    assert book.state("c2")[0] == "sent"
    assert book.settle(batch) == {}, "a later answer to the same request does not concern them any more"
    book.done({"c2": "a"})


@pytest.mark.parametrize(
    ("base", "reason"), [(0, "superseded"), (1, "acknowledged"), (2, None)], ids=["older", "same", "newer"]
)
def test_a_plan_that_was_made_before_the_last_change_does_not_undo_it(book, base, reason):
    book.done({"c1": "a"})
    book.done({"c1": "b"})
    _, skipped = book.begin({"c1": "b" if base == 1 else "z"}, c1=base)
    assert skipped == ({"c1": reason} if reason else {})


def test_a_change_of_somebody_whom_the_ledger_has_forgotten_is_superseded(book):
    assert book.begin({"c1": "a"}, c1=3) == (None, {"c1": "superseded"})


# -- queued requests ---------------------------------------------------------------------------------------------


def test_while_a_request_is_queued_its_people_wait(book):
    batch, _ = book.begin({"c1": "a", "c3": "a"})
    with stores.writing(book.engine) as write:
        ledger.queue(write, batch.batch_id, "J1")
    _, skipped = book.begin({"c1": "a", "c2": "a", "c3": "b"}, c1=0, c3=1)
    assert skipped == {"c1": "queued", "c3": "queued"}
    (queued,) = book.read(ledger.queued)
    assert (queued.job_id, queued.people, queued.operation) == ("J1", 2, Operation.UPSERT)
    with stores.reading(book.engine) as read:
        assert [row.customer_id for row in ledger.rows_of_batch(read, queued)] == ["c1", "c3"]
    assert book.settle(queued, Results({"c3": NEVER})) == {"invalid_email": 1, "accepted": 1}
    assert book.read(ledger.queued) == []


def test_a_request_without_an_answer_is_abandoned_and_its_people_are_free(book):
    book.begin({"c1": "a"})
    assert book.write(ledger.abandon) == ["upsert"]
    assert book.write(ledger.abandon) == []
    batch, skipped = book.begin({"c1": "a"})
    assert skipped == {}
    assert book.settle(batch) == {"accepted": 1}


def test_a_request_that_was_refused_as_a_whole_leaves_its_people_free(book):
    whole, _ = book.begin({"c1": "a", "c2": "a"})
    with stores.writing(book.engine) as write:
        ledger.queue(write, whole.batch_id, "J1")
        ledger.refuse(write, whole)
    half, skipped = book.begin({"c1": "a"})
    assert skipped == {}
    book.settle(half)
    assert [book.state(who)[0] for who in ("c1", "c2")] == ["accepted", "sent"]


# -- facets ------------------------------------------------------------------------------------------------------


def test_facets_of_one_person_are_changed_and_refused_apart(book):
    book.done({"c1": "a"})
    book.done({"c1": "member"}, Operation.JOIN, LIST)
    batch, _ = book.begin({"c1": "granted:x"}, Operation.SUBSCRIBE, CONSENT)
    book.settle(batch, Results({"c1": NEVER}))
    assert [book.state("c1", facet)[0] for facet in (PROFILE, LIST, CONSENT)] == ["accepted", "accepted", "dead"]
    book.done({"c1": "leave"}, Operation.LEAVE, LIST)
    assert book.state("c1", LIST)[:2] == ("accepted", None)
    assert book.state("c1")[:2] == ("accepted", "a")


def test_deleting_empties_profile_and_lists_and_what_was_said_of_consent_stays(book):
    book.done({"c1": "a", "c2": "a"})
    book.done({"c1": "member"}, Operation.JOIN, LIST)
    book.done({"c1": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    book.done({"c1": "delete"}, Operation.DELETE)
    assert [book.state("c1", facet)[1] for facet in (PROFILE, LIST, CONSENT)] == [None, None, "unsubscribed"]
    assert book.profiles() == {("c2", "a"): "a"}


def test_what_a_destination_says_of_consent_needs_no_request(book):
    book.done({"c1": "granted:x"}, Operation.SUBSCRIBE, CONSENT)
    book.done({"c2": "complained"}, Operation.SUPPRESS, CONSENT)
    people = {"c1": "unsubscribed", "c2": "unsubscribed", "c3": "bounced"}
    book.write(ledger.note_suppressed, people)
    found = {who: book.state(who, CONSENT)[:2] for who in people}
    assert found == {
        "c1": ("accepted", "unsubscribed"),
        "c2": ("accepted", "complained"),
        "c3": ("accepted", "bounced"),
    }
    before = {who: book.state(who, CONSENT) for who in people}
    book.write(ledger.note_suppressed, people)
    assert {who: book.state(who, CONSENT) for who in people} == before


def test_an_opt_in_on_its_way_is_not_recorded_over_what_the_destination_said_since(book):
    batch, _ = book.begin({"c1": "granted:x"}, Operation.SUBSCRIBE, CONSENT)
    book.write(ledger.note_suppressed, {"c1": "unsubscribed"})
    assert book.settle(batch) == {}
    assert book.state("c1", CONSENT)[:2] == ("accepted", "unsubscribed")


# -- again -------------------------------------------------------------------------------------------------------


def test_replaying_lets_what_was_refused_be_tried_again_all_or_one_code(book):
    for who, error in (("c1", NEVER), ("c2", LATER), ("c3", RowError("too_large"))):
        book.refused(who, "a", error)
    assert book.write(ledger.replay, error_code="invalid_email") == 1
    assert [book.state(who)[0] for who in ("c1", "c2", "c3")] == ["planned", "rejected", "dead"]
    assert book.write(ledger.replay, error_code="no such code") == 0
    assert book.write(ledger.replay) == 2
    assert book.read(ledger.dead_letters) == []
    assert book.state("c3") == ("planned", None, None, 2, 0)
    book.done({"c1": "a", "c2": "a", "c3": "a"})


def test_sending_again_knows_that_nothing_is_certain_and_what_is_gone(book):
    book.done({"c1": "a", "c2": "a"})
    assert book.write(ledger.plan_again, ["c1"]) == 1
    assert book.write(ledger.plan_again, ["c2"], is_gone=True) == 1
    assert (book.state("c1"), book.state("c2")) == (("planned", "a", None, 2, 0), ("planned", None, None, 2, 0))
    assert book.read(ledger.settled) == []
    book.begin({"c1": "a", "c2": "a"})
    assert [book.claims[who].is_certain for who in ("c1", "c2")] == [False, False]
