"""What the ledger keeps of people whose ids became others or who were erased; and that it is sealed. On both stores."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from ledger_book import ESP, LIST, NEVER, SEAL, Book

from letterpress.activation import ledger, stores
from letterpress.activation.destinations.spec import Operation, Results
from letterpress.activation.kept import Kept
from letterpress.activation.ledger import CONSENT, PROFILE
from letterpress.activation.seal import Seal

# -- identities --------------------------------------------------------------------------------------------------


def move(book: Book, old: str, new: str) -> None:
    book.done({old: f"move:{new}"}, Operation.MOVE)


def test_everything_of_a_former_id_becomes_the_surviving_ones_where_that_has_none(book):
    batch, _ = book.begin({"old": "a"})
    book.settle(batch, Results(vendor_ids={"old": "V1"}))
    book.done({"old": "member"}, Operation.JOIN, LIST)
    book.done({"old": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert [set(book.rows(facet)) for facet in (PROFILE, LIST, CONSENT)] == [{"new"}] * 3
    assert book.state("new") == ("accepted", "a", None, 2, 0)
    assert book.read(ledger.vendor_ids, ["new"]) == {"new": "V1"}
    assert book.profiles() == {("new", "a"): "a"}


@pytest.mark.parametrize("then", ["move:new", "b", "erase"])
def test_an_id_that_a_lost_move_may_have_made_stays_known_when_something_else_is_done(book, then):
    book.done({"old": "a"})
    book.begin({"old": "move:between"}, Operation.MOVE)
    operations = {"move:new": Operation.MOVE, "b": Operation.UPSERT, "erase": Operation.ERASE}
    book.done({"old": then}, operations[then])
    assert book.state("between")[:4] == ("sent", None, then, 0)
    book.done({"between": "move:new"}, Operation.MOVE)
    assert "between" not in book.rows()


def test_a_lost_move_that_is_made_again_opens_no_other_id(book):
    book.done({"old": "a"})
    book.begin({"old": "move:new"}, Operation.MOVE)
    book.done({"old": "move:new"}, Operation.MOVE)
    assert set(book.rows()) == {"new"}


def test_where_both_have_a_profile_the_survivors_is_written_again(book):
    book.done({"new": "n", "old": "o"})
    book.done({"new": "member"}, Operation.JOIN, LIST)
    book.done({"old": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new")[:2] == ("planned", "n")
    assert set(book.rows(PROFILE)) == {"new"}
    assert book.state("new", CONSENT)[1] == "unsubscribed", "no suppression gets lost with an id"
    # What the former profile held may be part of the one that the vendor made of both: it has to be emptied there.
    assert book.profiles() == {("new", "n"): "n", ("new", "o"): "o"}


def test_a_former_ids_join_whose_answer_was_lost_makes_the_survivors_membership_uncertain(book):
    """The vendor may have it in the list, and has the survivor there then: to join or to leave again tells."""
    book.done({"new": "n", "old": "o"})
    book.done({"new": "member"}, Operation.JOIN, LIST)
    book.done({"new": "leave"}, Operation.LEAVE, LIST)
    book.begin({"old": "member"}, Operation.JOIN, LIST)
    move(book, "old", "new")
    assert book.state("new", LIST)[:3] == ("planned", None, None)


def test_a_former_ids_leave_whose_answer_was_lost_does_so_too(book):
    book.done({"new": "n", "old": "o"})
    book.done({"new": "member", "old": "member"}, Operation.JOIN, LIST)
    book.begin({"old": "leave"}, Operation.LEAVE, LIST)
    move(book, "old", "new")
    assert book.state("new", LIST)[:2] == ("planned", "member")


def test_what_is_under_way_of_the_survivor_stays_so(book):
    book.done({"new": "n", "old": "o"})
    book.begin({"old": "member"}, Operation.JOIN, LIST)
    book.begin({"new": "member"}, Operation.JOIN, LIST)
    move(book, "old", "new")
    assert book.state("new", LIST)[:3] == ("sent", None, "member")


def test_where_both_have_a_word_on_consent_the_survivors_own_stands(book):
    """What the vendor made of both, the next pull tells; nothing is lifted for it."""
    book.done({"new": "n", "old": "o"})
    book.done({"new": "granted:x"}, Operation.SUBSCRIBE, CONSENT)
    book.done({"old": "complained"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new", CONSENT)[:2] == ("accepted", "granted:x")
    assert set(book.rows(CONSENT)) == {"new"}


@pytest.mark.parametrize("said", [None, "granted:x", "unsubscribed, and the answer was lost"])
def test_where_mail_may_go_to_the_former_ids_profile_the_survivors_suppression_is_sent_again(book, said):
    book.done({"old": "o"})
    book.done({"new": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    if said == "granted:x":
        book.done({"old": said}, Operation.SUBSCRIBE, CONSENT)
    elif said:
        book.begin({"old": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new", CONSENT)[:2] == ("planned", "unsubscribed")


def test_where_mail_may_go_to_the_survivors_profile_the_former_ids_suppression_is_sent_again(book):
    book.done({"new": "n", "old": "o"})
    book.done({"old": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new", CONSENT)[:2] == ("planned", "unsubscribed")


def test_where_neither_profile_gets_mail_nothing_is_sent_again(book):
    book.done({"new": "n", "old": "o"})
    book.done({"new": "unsubscribed", "old": "consent_withdrawn"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new", CONSENT)[:2] == ("accepted", "unsubscribed")


def test_a_suppression_of_ours_that_a_vendor_may_take_over_is_the_survivors_until_it_is_lifted_there(book):
    """The next pull tells of it again: it is known as ours, and whoever may be written to is opted in again."""
    book.done({"new": "n", "old": "o"})
    book.done({"new": "granted:x"}, Operation.SUBSCRIBE, CONSENT)
    book.done({"old": "consent_withdrawn"}, Operation.SUPPRESS, CONSENT)
    move(book, "old", "new")
    assert book.state("new", CONSENT)[:2] == ("planned", "consent_withdrawn")
    assert book.rows(CONSENT)["new"]["operation"] == "suppress"


# -- erasure -----------------------------------------------------------------------------------------------------


def test_an_erasure_leaves_nothing_but_a_receipt_without_a_name(book):
    book.done({"c1": "a", "c2": "a"})
    book.done({"c1": "member"}, Operation.JOIN, LIST)
    book.done({"c1": "unsubscribed"}, Operation.SUPPRESS, CONSENT)
    batch, _ = book.begin({"c1": "erase"}, Operation.ERASE)
    book.settle(batch, receipt=lambda who: (f"subject {len(who)}".ljust(64), "receipt".ljust(64)))
    assert [set(book.rows(facet)) for facet in (PROFILE, LIST, CONSENT)] == [{"c2"}, set(), set()]
    assert book.profiles() == {("c2", "a"): "a"}
    with stores.reading(book.engine) as read:
        receipts = [dict(row) for row in read.execute(stores.ERASURES.select()).mappings()]
    assert len(receipts) == 1
    assert "c1" not in repr(receipts)


def test_an_erasure_that_was_refused_leaves_no_receipt_and_all_as_it_was(book):
    book.done({"c1": "a"})
    batch, _ = book.begin({"c1": "erase"}, Operation.ERASE)
    assert book.settle(batch, Results({"c1": NEVER}), receipt=lambda who: ("s", "r")) == {"invalid_email": 1}
    assert book.state("c1")[:3] == ("dead", "a", "erase")
    with stores.reading(book.engine) as read:
        assert read.execute(stores.ERASURES.select()).all() == []
    assert book.profiles() == {("c1", "a"): "a"}


# -- what is kept is sealed, and apart ---------------------------------------------------------------------------


def _everything(engine: sa.Engine, tables: Sequence[sa.Table]) -> str:
    with stores.reading(engine) as read:
        return repr([[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row]
                     for table in tables for row in read.execute(table.select())])  # fmt: skip


def test_what_a_client_keeps_is_sealed_and_its_own(book):
    kept, other = Kept(book.engine, SEAL, "esp"), Kept(book.engine, SEAL, "other")
    kept["token"] = "a secret token"
    kept["token"] = "a newer secret token"
    other["token"] = "another one's"
    assert dict(kept) == {"token": "a newer secret token"}
    assert "secret" not in _everything(book.engine, [stores.KEPT])
    del kept["token"]
    assert (len(kept), kept.get("token"), other["token"]) == (0, None, "another one's")


def test_profiles_are_sealed_and_opened_by_their_key_alone(book):
    from cryptography.exceptions import InvalidTag

    book.done({"c1": "ada@example.com"})
    with stores.reading(book.engine) as read:
        (sealed,) = ledger.payloads(read, ESP, {"c1": "ada@example.com"}).values()
    assert b"ada" not in sealed
    with pytest.raises(InvalidTag):
        Seal(b"another key of the tests, thirty").open(sealed)


def test_destinations_know_nothing_of_each_other(book):
    other = Book(book.engine, "other")
    book.done({"c1": "a"})
    other.done({"c1": "b"})
    book.refused("c1", "z", NEVER)
    assert other.write(ledger.replay) == 0
    assert other.state("c1")[:2] == ("accepted", "b")
    batch, _ = book.begin({"c1": "erase"}, Operation.ERASE)
    book.settle(batch, receipt=lambda who: ("s", "r"))
    assert other.profiles() == {("c1", "b"): "b"}
