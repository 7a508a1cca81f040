"""Identities that became others: what a plan moves, writes, removes, and when it waits."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from activation_line import Person, person, write_version
from ledger_rows import REVISION, SAME, Decision, Facet, There, decisions

from letterpress.activation import ledger
from letterpress.activation.destinations import destination
from letterpress.activation.destinations.spec import Operation

HUBSPOT = destination("hubspot")
A, B, C = (person(number, segments="champions") for number in (1, 2, 3))
HELD, OTHER, MOVED = Facet(SAME), Facet("another profile"), "move:customer-00002"


@pytest.fixture
def plan(tmp_path: Path):
    """What is decided: people of the audience, identity changes (account, former id, later id), the ledger's."""
    versions = []

    def planned(
        audience: Sequence[Person], moves: Sequence[tuple[str, Person, Person]], *held: There, where=HUBSPOT
    ) -> dict[str, dict[str, str]]:
        folder = tmp_path / f"version-{len(versions)}"
        changes = [(account, old.customer_id, new.customer_id) for account, old, new in moves]
        version = write_version(folder, list(audience), changes)
        versions.append(decisions(where, version, f"sqlite:///{folder}/stores.sqlite", list(held)))
        return {who: {facet: _told(one) for facet, one in facets.items()} for who, facets in versions[-1].items()}

    planned.versions = versions
    return planned


def _told(one: Decision) -> str:
    return f"{one.action} to {one.moves_to}" if one.moves_to and one.action == "move" else one.action


def held(one: Person, profile: Facet = OTHER, **facets: Facet) -> There:
    return There(one, {"profile": profile, **facets})


ONE, OTHER_ONE = A.customer_id, B.customer_id


def test_a_profile_moves_to_a_surviving_id_that_is_free_there_and_is_written_afterwards(plan):
    found = plan([B], [("shop:1", A, B)], held(A))
    assert found == {ONE: {"profile": f"move to {OTHER_ONE}"}, OTHER_ONE: {"profile": "update"}}
    assert plan.versions[0][ONE]["profile"].reason is None, "nobody withdrew"
    bases = {who: facets["profile"].base_revision for who, facets in plan.versions[0].items()}
    assert bases == {ONE: REVISION, OTHER_ONE: REVISION + 1}


def test_a_profile_moves_into_the_one_that_the_surviving_id_has(plan):
    found = plan([B], [("shop:1", A, B)], held(A), held(B, HELD))
    assert found == {ONE: {"profile": f"move to {OTHER_ONE}"}, OTHER_ONE: {"profile": "unchanged"}}


def test_who_moved_twice_since_the_last_run_moves_once_to_the_last_id(plan):
    found = plan([C], [("shop:1", A, B), ("shop:1", B, C)], held(A))
    assert found == {ONE: {"profile": f"move to {C.customer_id}"}, C.customer_id: {"profile": "update"}}


def test_two_former_ids_of_one_person_move_both_and_the_first_takes_the_profile(plan):
    found = plan([C], [("shop:1", A, C), ("shop:2", B, C)], held(A), held(B))
    assert found == {
        ONE: {"profile": f"move to {C.customer_id}"},
        OTHER_ONE: {"profile": f"move to {C.customer_id}"},
        C.customer_id: {"profile": "update"},
    }
    assert plan.versions[0][C.customer_id]["profile"].base_revision == REVISION + 1


def test_an_id_that_was_split_and_is_still_somebody_keeps_its_profile(plan):
    found = plan([A, B], [("shop:2", A, B)], held(A, HELD))
    assert found == {ONE: {"profile": "unchanged"}, OTHER_ONE: {"profile": "create"}}


def test_of_an_id_that_was_split_and_is_nobody_now_the_first_takes_the_profile(plan):
    found = plan([B, C], [("shop:1", A, B), ("shop:2", A, C)], held(A))
    assert found == {
        ONE: {"profile": f"move to {OTHER_ONE}"},
        OTHER_ONE: {"profile": "update"},
        C.customer_id: {"profile": "create"},
    }


def test_a_former_id_that_nothing_is_held_of_moves_nowhere(plan):
    assert plan([B], [("shop:1", A, B)]) == {OTHER_ONE: {"profile": "create"}}
    assert plan([B], [("shop:1", A, B)], held(A, Facet(None))) == {OTHER_ONE: {"profile": "create"}}


REFUSED = B.refused("unsubscribed")


def test_a_move_whose_answer_was_lost_and_that_leads_on_by_now_is_looked_for_at_both_ids(plan):
    lost = held(A, Facet("x", "sent", MOVED))
    found = plan([C], [("shop:1", A, B), ("shop:1", B, C)], lost)
    assert found == {
        ONE: {"profile": f"move to {C.customer_id}"},
        OTHER_ONE: {"profile": f"move to {C.customer_id}"},
        C.customer_id: {"profile": "update"},
    }
    assert plan.versions[0][OTHER_ONE]["profile"].base_revision == 0
    found = plan([B, C], [("shop:1", A, B), ("shop:1", B, C)], lost)
    assert OTHER_ONE in found, "somebody's still: it is written to, not moved"
    assert found[OTHER_ONE] == {"profile": "create"}


def test_who_may_not_be_written_to_is_suppressed_under_the_id_that_is_known_there_and_moves(plan):
    found = plan([REFUSED], [("shop:1", A, B)], held(A))
    assert found == {ONE: {"consent": "suppress", "profile": f"move to {OTHER_ONE}"}}
    assert plan.versions[0][ONE]["consent"].reason == "unsubscribed"


def test_who_is_suppressed_there_already_only_moves(plan):
    found = plan([REFUSED], [("shop:1", A, B)], held(A, consent=Facet("unsubscribed")))
    assert found == {ONE: {"profile": f"move to {OTHER_ONE}"}}


def test_both_ids_are_suppressed_where_mail_may_go_to_both(plan):
    found = plan([REFUSED], [("shop:1", A, B)], held(A), held(B))
    assert found == {
        ONE: {"consent": "suppress", "profile": f"move to {OTHER_ONE}"},
        OTHER_ONE: {"consent": "suppress"},
    }
    found = plan([REFUSED], [("shop:1", A, B)], held(A), There(B, {"consent": Facet("granted:1")}))
    assert found == {
        ONE: {"consent": "suppress", "profile": f"move to {OTHER_ONE}"},
        OTHER_ONE: {"consent": "suppress"},
    }
    found = plan([REFUSED], [("shop:1", A, B)], held(A), held(B, consent=Facet("unsubscribed")))
    assert found == {ONE: {"consent": "suppress", "profile": f"move to {OTHER_ONE}"}}


def test_a_suppression_of_a_former_id_waits_for_its_queue_or_for_a_replay(plan):
    queued = Facet("granted:1", "sent", "granted:2", is_queued=True)
    assert plan([REFUSED], [("shop:1", A, B)], held(A, consent=queued))[ONE]["consent"] == "waiting"
    dead = Facet(None, "dead", "unsubscribed")
    assert plan([REFUSED], [("shop:1", A, B)], held(A, consent=dead))[ONE]["consent"] == "rejected"


def test_a_former_id_whose_move_was_refused_is_suppressed_all_the_same(plan):
    found = plan([REFUSED], [("shop:1", A, B)], held(A, Facet("x", "dead", MOVED)))
    assert found == {ONE: {"consent": "suppress", "profile": "rejected"}}


def test_a_profile_whose_change_is_queued_waits_before_it_moves(plan):
    found = plan([B], [("shop:1", A, B)], held(A, Facet("x", "sent", "y", is_queued=True)))
    assert found == {ONE: {"profile": "waiting"}, OTHER_ONE: {"profile": "waiting"}}


def test_a_move_that_was_refused_waits_until_it_is_replayed_and_the_survivor_is_written_all_the_same(plan):
    found = plan([B], [("shop:1", A, B)], held(A, Facet("x", "dead", MOVED)))
    assert found == {ONE: {"profile": "rejected"}, OTHER_ONE: {"profile": "create"}}
    found = plan([B], [("shop:1", A, B)], held(A, Facet("x", "dead", MOVED)), held(B, HELD))
    assert found == {ONE: {"profile": "rejected"}, OTHER_ONE: {"profile": "unchanged"}}
    found = plan([B], [("shop:1", A, B)], held(A, Facet("x", "planned")))
    assert found[ONE] == {"profile": f"move to {OTHER_ONE}"}


def test_a_move_whose_answer_was_lost_is_made_again(plan):
    found = plan([B], [("shop:1", A, B)], held(A, Facet("x", "sent", MOVED)))
    assert found[ONE] == {"profile": f"move to {OTHER_ONE}"}


def test_an_erased_id_is_erased_and_moves_nowhere(plan):
    found = plan([B], [("shop:1", A, B)], There(A, {"profile": OTHER}, live="erased"))
    assert found == {ONE: {"profile": "erase"}, OTHER_ONE: {"profile": "create"}}


@pytest.mark.parametrize("is_held", [False, True], ids=["nowhere yet", "held too"])
def test_who_was_erased_under_the_present_id_is_erased_under_the_former_one(plan, is_held):
    erased = There(B, {"profile": OTHER} if is_held else {}, live="erased")
    found = plan([B], [("shop:1", A, B)], held(A), erased)
    assert found == {ONE: {"profile": "erase"}} | ({OTHER_ONE: {"profile": "erase"}} if is_held else {})
    found = plan([B.refused("erased")], [("shop:1", A, B)], held(A))
    assert found == {ONE: {"profile": "erase"}}


def test_the_lists_of_a_former_id_move_with_it(plan):
    where = HUBSPOT.model_copy(update={"lists": {"champions": "12"}})
    found = plan([B], [("shop:1", A, B)], held(A, **{"list:champions": Facet(ledger.member_of("12"))}), where=where)
    assert found == {
        ONE: {"profile": f"move to {OTHER_ONE}"},
        OTHER_ONE: {"profile": "update", "list:champions": "join"},
    }


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ((Operation.MOVE,), {ONE: {"profile": "delete"}, OTHER_ONE: {"profile": "create"}}),
        ((Operation.MOVE, Operation.DELETE), {OTHER_ONE: {"profile": "create"}}),
    ],
    ids=["deletes", "can neither move nor delete"],
)
def test_a_vendor_that_cannot_move_forgets_the_former_id_where_it_can(plan, monkeypatch, left_out, expected):
    endpoints = {name: one for name, one in HUBSPOT.endpoints.items() if name not in left_out}
    monkeypatch.setattr(type(HUBSPOT), "endpoints", property(lambda self: endpoints))
    assert plan([B], [("shop:1", A, B)], held(A)) == expected
