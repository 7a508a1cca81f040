"""What a plan decides: a table of what the warehouse wants and what the ledger says, facet by facet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from activation_line import Line, person, write_version
from ledger_rows import PROOF, SAME, Decision, Facet, There, decisions

from letterpress import storage
from letterpress.activation import ledger
from letterpress.activation.destinations import destination
from letterpress.activation.plan import OPERATIONS, STANDING

LIST, MEMBER, OTHER_LIST = "list:champions", ledger.member_of("12"), ledger.member_of("11")
HUBSPOT = destination("hubspot")  # it can do everything
CONFIGURATIONS = {
    "keep": HUBSPOT.model_copy(update={"leavers": "keep"}),
    "clear": HUBSPOT.model_copy(update={"leavers": "clear"}),
    "delete": HUBSPOT.model_copy(update={"leavers": "delete"}),
    "subscribes": HUBSPOT.model_copy(update={"subscribes": True}),
    "list": HUBSPOT.model_copy(update={"lists": {"champions": "12"}}),
    "list, delete": HUBSPOT.model_copy(update={"lists": {"champions": "12"}, "leavers": "delete"}),
    "list, clear": HUBSPOT.model_copy(update={"lists": {"champions": "12"}, "leavers": "clear"}),
}

OTHER = "another profile"


def accepted(value: str | None = SAME) -> Facet:
    return Facet(value)


def sent(pending: str, before: str | None = None) -> Facet:
    return Facet(before, "sent", pending)


def queued(pending: str, before: str | None = None) -> Facet:
    return Facet(before, "sent", pending, is_queued=True)


def dead(pending: str, before: str | None = None) -> Facet:
    return Facet(before, "dead", pending)


def refused_for_now(pending: str, before: str | None = None) -> Facet:
    return Facet(before, "rejected", pending)


def planned(before: str | None = None) -> Facet:
    return Facet(before, "planned")


# Who is in the audience, and how.
MAY = {"segments": ""}
CHAMPION = {"segments": "champions"}
UNPROVEN = {"segments": "", "consent_proof": None}
GONE = None


def refused(reason: str) -> dict[str, Any]:
    return {"segments": "champions", "is_eligible": False, "refusal_reason": reason}


NO_EMAIL = {**refused("no_email"), "email": None}


@dataclass(frozen=True)
class Case:
    """A person of the audience, the ledger's facets, live suppression, and what is decided of each facet."""

    configuration: str
    wanted: Mapping[str, Any] | None
    ledger: Mapping[str, Facet]
    decided: Mapping[str, str]
    live: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def profile(configuration: str, wanted: Mapping | None, there: Facet | None, action: str | None, **more: Any) -> Case:
    """A case of the profile alone."""
    return Case(
        configuration, wanted, {"profile": there} if there else {}, {"profile": action} if action else {}, **more
    )


def consent(wanted: Mapping | None, there: Facet | None, action: str | None, **more: Any) -> Case:
    """A case of consent, of somebody whose profile is held as it is."""
    given = {"configuration": "keep", "profile": "unchanged" if wanted in (MAY, UNPROVEN) else None, **more}
    decided = {"consent": action, "profile": given.pop("profile")}
    return Case(
        wanted=wanted,
        ledger={"profile": accepted(), **({"consent": there} if there else {})},
        decided={facet: found for facet, found in decided.items() if found},
        **given,
    )


def member(wanted: Mapping | None, there: Facet | None, action: str | None, **more: Any) -> Case:
    """A case of a list, of somebody whose profile is held as it is."""
    given = {"configuration": "list", "profile": accepted(), "others": {"profile": "unchanged"}, **more}
    facets = {"profile": given.pop("profile"), LIST: there}
    others = given.pop("others")
    return Case(
        wanted=wanted,
        ledger={facet: found for facet, found in facets.items() if found},
        decided={**others, **({LIST: action} if action else {})},
        **given,
    )


STOPPED = "consent_withdrawn"
CASES = {
    # configuration, audience, ledger -> action
    # -- profiles of people who may be written to
    "new": profile("keep", MAY, None, "create"),
    "held as wanted": profile("keep", MAY, accepted(), "unchanged"),
    "held otherwise": profile("keep", MAY, accepted(OTHER), "update"),
    "held as wanted, to be sent again": profile("keep", MAY, planned(SAME), "update"),
    "held as wanted, another one's answer lost": profile("keep", MAY, sent(OTHER, SAME), "update"),
    "first answer lost": profile("keep", MAY, sent(SAME), "create"),
    "first answer lost, wanted otherwise by now": profile("keep", MAY, sent(OTHER), "create"),
    "first request queued": profile("keep", MAY, queued(SAME), "waiting"),
    "a change queued": profile("keep", MAY, queued(OTHER, SAME), "waiting"),
    "refused for what it is": profile("keep", MAY, dead(SAME), "rejected"),
    "refused, changed since": profile("keep", MAY, dead(OTHER), "create"),
    "a change refused": profile("keep", MAY, dead(SAME, OTHER), "rejected"),
    "a change refused, changed back since": profile("keep", MAY, dead(OTHER, SAME), "update"),
    "refused for now": profile("keep", MAY, refused_for_now(SAME), "create"),
    "a change refused for now": profile("keep", MAY, refused_for_now(SAME, OTHER), "update"),
    "deleted once, back again": profile("keep", MAY, accepted(None), "create"),
    "gone there, said the drift check": profile("keep", MAY, planned(), "create"),
    "cleared once, back again": profile("clear", MAY, accepted("cleared"), "update"),
    # -- people who may not be written to
    "never consented, unknown there": profile("keep", refused("no_consent"), None, None),
    "never consented, held": consent(refused("no_consent"), None, "suppress", reasons={"consent": STOPPED}),
    "unsubscribed": consent(refused("unsubscribed"), None, "suppress", reasons={"consent": "unsubscribed"}),
    "bounced": consent(refused("bounced"), None, "suppress", reasons={"consent": "bounced"}),
    "complained": consent(refused("complained"), None, "suppress", reasons={"consent": "complained"}),
    "withdrawn": consent(refused(STOPPED), None, "suppress", reasons={"consent": STOPPED}),
    "under age": consent(refused("under_age"), None, "suppress", reasons={"consent": STOPPED}),
    "opted in there, withdrawn": consent(refused(STOPPED), accepted("granted:x"), "suppress"),
    "suppressed there": consent(refused(STOPPED), accepted(STOPPED), None),
    "suppressed there for another reason": consent(refused("unsubscribed"), accepted(STOPPED), None),
    "suppressing answered by nobody": consent(refused(STOPPED), sent(STOPPED), "suppress"),
    "suppressing queued": consent(refused(STOPPED), queued(STOPPED), "waiting"),
    "suppressing refused": consent(refused(STOPPED), dead(STOPPED), "rejected"),
    "suppressing refused for another reason": consent(refused("unsubscribed"), dead(STOPPED), "suppress"),
    "suppressing refused for now": consent(refused(STOPPED), refused_for_now(STOPPED), "suppress"),
    "not suppressed there, said the drift check": consent(refused(STOPPED), planned(STOPPED), "suppress"),
    "a restore lost on the way, withdrawn again": consent(refused(STOPPED), sent(PROOF, STOPPED), "suppress"),
    "withdrawn while the profile is queued": Case(
        "keep", refused(STOPPED), {"profile": queued(SAME)}, {"profile": "waiting", "consent": "suppress"}
    ),
    "withdrawn while the first answer is lost": Case(
        "keep", refused(STOPPED), {"profile": sent(SAME)}, {"consent": "suppress"}
    ),
    "only the opt-in was recorded, withdrawn": Case(
        "keep", refused(STOPPED), {"consent": accepted("granted:x")}, {"consent": "suppress"}
    ),
    "only the opt-in was recorded, suppressed": Case("keep", refused(STOPPED), {"consent": accepted(STOPPED)}, {}),
    # -- live suppression, above what the warehouse says
    "live: unsubscribed": consent(
        MAY, None, "suppress", live="unsubscribed", profile=None, reasons={"consent": "unsubscribed"}
    ),
    "live: bounced": consent(MAY, None, "suppress", live="bounced", profile=None, reasons={"consent": "bounced"}),
    "live: unsubscribed, unknown there": profile("keep", MAY, None, None, live="unsubscribed"),
    # -- erased
    "erased by the warehouse": profile("keep", refused("erased"), accepted(), "erase", reasons={"profile": "erased"}),
    "erased live": profile("keep", MAY, accepted(), "erase", live="erased", reasons={"profile": "erased"}),
    "erased live, gone from the audience": profile("keep", GONE, accepted(), "erase", live="erased"),
    "erased, and only a suppression was recorded there": Case(
        "keep", refused("erased"), {"consent": accepted("unsubscribed")}, {"profile": "erase"}
    ),
    "erased, first answer lost": profile("keep", refused("erased"), sent(SAME), "erase"),
    "erased while a change is queued": profile("keep", refused("erased"), queued(SAME, OTHER), "waiting"),
    "erasing refused": profile("keep", refused("erased"), dead("erase", OTHER), "rejected"),
    "erased, unknown there": profile("keep", refused("erased"), None, None, live="erased"),
    "erased comes before leaving": profile("delete", GONE, accepted(), "erase", live="erased"),
    # -- back after a suppression
    "opted in anew": consent(MAY, accepted("unsubscribed"), "restore"),
    "opted in anew, unknown there": Case(
        "keep", MAY, {"consent": accepted("unsubscribed")}, {"consent": "restore", "profile": "create"}
    ),
    "suppressed there, without a proof": consent(UNPROVEN, accepted("unsubscribed"), None, profile=None),
    "a restore that was refused": consent(MAY, dead(PROOF, "unsubscribed"), "rejected", profile=None),
    "a restore that was refused, with another proof": consent(MAY, dead("granted:x", "unsubscribed"), "restore"),
    "a restore queued": consent(MAY, queued(PROOF, "unsubscribed"), "waiting"),
    "a restore answered by nobody": consent(MAY, sent(PROOF, "unsubscribed"), "restore"),
    "suppressing answered by nobody, opted in since": consent(MAY, sent(STOPPED), "restore"),
    "complained there: no opt-in lifts it": consent(MAY, accepted("complained"), None, profile=None),
    "bounced there, back with an opt-in": consent(MAY, accepted("bounced"), "restore"),
    "restored": consent(MAY, accepted(PROOF), None),
    "never suppressed": consent(MAY, None, None),
    # -- recording opt-ins
    "opt-ins are recorded: new": Case("subscribes", MAY, {}, {"consent": "subscribe", "profile": "create"}),
    "opt-ins are recorded: none yet": consent(MAY, None, "subscribe", configuration="subscribes"),
    "opt-ins are recorded: recorded": consent(MAY, accepted(PROOF), None, configuration="subscribes"),
    "opt-ins are recorded: an earlier proof": consent(MAY, accepted("granted:x"), None, configuration="subscribes"),
    "opt-ins are recorded: no proof": consent(UNPROVEN, None, None, configuration="subscribes"),
    "opt-ins are recorded: answer lost": consent(MAY, sent(PROOF), "subscribe", configuration="subscribes"),
    "opt-ins are recorded: refused": consent(MAY, dead(PROOF), "rejected", configuration="subscribes"),
    "opt-ins are recorded: refused before": consent(MAY, dead("granted:x"), "subscribe", configuration="subscribes"),
    "opt-ins are recorded: to be sent again": consent(MAY, planned(PROOF), "subscribe", configuration="subscribes"),
    "opt-ins are not recorded any more: answer lost": consent(MAY, sent(PROOF), "subscribe"),
    # -- leavers
    "leavers stay": profile("keep", GONE, accepted(), None),
    "leavers stay, without an address": profile("keep", NO_EMAIL, accepted(), None),
    "leavers are cleared": profile("clear", GONE, accepted(), "clear"),
    "leavers are cleared: done": profile("clear", GONE, accepted("cleared"), None),
    "leavers are cleared: answer lost": profile("clear", GONE, sent("cleared", SAME), "clear"),
    "leavers are cleared: first answer lost": profile("clear", GONE, sent(SAME), "clear"),
    "leavers are cleared: gone again before the answer": profile("clear", GONE, sent(SAME, "cleared"), "clear"),
    "leavers are cleared: queued": profile("clear", GONE, queued("cleared", SAME), "waiting"),
    "leavers are cleared: refused": profile("clear", GONE, dead("cleared", SAME), "rejected"),
    "leavers are cleared: another change was refused": profile("clear", GONE, dead(OTHER, SAME), "clear"),
    "leavers are cleared: without an address": profile("clear", NO_EMAIL, accepted(), "clear"),
    "leavers are cleared: never there": profile("clear", GONE, dead(SAME), None),
    "leavers are deleted": profile("delete", GONE, accepted(), "delete"),
    "leavers are deleted: done": profile("delete", GONE, accepted(None), None),
    "leavers are deleted: answer lost": profile("delete", GONE, sent("delete", SAME), "delete"),
    "leavers are deleted: refused": profile("delete", GONE, dead("delete", SAME), "rejected"),
    "leavers are deleted: replayed": profile("delete", GONE, planned(SAME), "delete"),
    "leavers are deleted: refused for now": profile("delete", GONE, refused_for_now("delete", SAME), "delete"),
    "leavers are deleted: without an address": profile("delete", NO_EMAIL, accepted(), "delete"),
    "leavers are deleted: refused people stay, suppressed": consent(
        refused(STOPPED), None, "suppress", configuration="delete"
    ),
    "leavers are deleted: a suppression outlives it": Case(
        "delete", GONE, {"profile": accepted(), "consent": accepted("unsubscribed")}, {"profile": "delete"}
    ),
    "leavers are deleted: erased afterwards": profile(
        "delete", GONE, accepted(None), "erase", live="erased"
    ),
    # -- lists
    "in the segment, new": Case("list", CHAMPION, {}, {"profile": "create", LIST: "join"}),
    "in the segment, not in the list": member(CHAMPION, None, "join"),
    "in the list": member(CHAMPION, accepted(MEMBER), None),
    "in the list that the segment had before": member(CHAMPION, accepted(OTHER_LIST), "join"),
    "out of the segment, in the list that it had before": member(MAY, accepted(OTHER_LIST), None),
    "joining answered by nobody": member(CHAMPION, sent(MEMBER), "join"),
    "joining queued": member(CHAMPION, queued(MEMBER), "waiting"),
    "joining refused": member(CHAMPION, dead(MEMBER), "rejected"),
    "joining refused for now": member(CHAMPION, refused_for_now(MEMBER), "join"),
    "joining refused, out of the segment": member(MAY, dead(MEMBER), None),
    "left, back in the segment": member(CHAMPION, accepted(None), "join"),
    "left there, said the drift check": member(CHAMPION, planned(), "join"),
    "out of the segment": member(MAY, accepted(MEMBER), "leave"),
    "out of the segment, never in the list": member(MAY, None, None),
    "out of the segment, left": member(MAY, accepted(None), None),
    "out of the segment, joining answered by nobody": member(MAY, sent(MEMBER), "leave"),
    "leaving answered by nobody": member(MAY, sent("leave", MEMBER), "leave"),
    "leaving refused": member(MAY, dead("leave", MEMBER), "rejected"),
    "leaving refused, back in the segment": member(CHAMPION, dead("leave", MEMBER), "join"),
    "still there, said the drift check": member(MAY, planned(), "leave"),
    "a member withdraws": member(refused(STOPPED), accepted(MEMBER), "leave", others={"consent": "suppress"}),
    "a member leaves the audience": member(GONE, accepted(MEMBER), "leave", others={}),
    "a member whose last change was refused stays": member(
        CHAMPION, accepted(MEMBER), None, profile=dead(SAME, OTHER), others={"profile": "rejected"}
    ),
    "whose profile was refused joins nothing": member(
        CHAMPION, None, None, profile=dead(SAME), others={"profile": "rejected"}
    ),
    "whose profile is queued joins once it is there": member(
        CHAMPION, None, "join", profile=queued(SAME), others={"profile": "waiting"}
    ),
    "withdrawn while a change is queued: joins nothing": member(
        refused(STOPPED), None, None, profile=queued(SAME, OTHER), others={"profile": "waiting", "consent": "suppress"}
    ),
    "suppressed there without a proof: a member leaves": Case(
        "list",
        {**CHAMPION, "consent_proof": None},
        {"profile": accepted(), "consent": accepted("unsubscribed"), LIST: accepted(MEMBER)},
        {LIST: "leave"},
    ),
    "a removed member needs not leave": member(
        GONE, accepted(MEMBER), None, configuration="list, delete", others={"profile": "delete"}
    ),
    "an erased member needs not leave": member(
        refused("erased"), accepted(MEMBER), None, others={"profile": "erase"}
    ),
    "a cleared member leaves": member(
        GONE, accepted(MEMBER), "leave", configuration="list, clear", others={"profile": "clear"}
    ),
    "deleting refused: a member leaves": member(
        GONE,
        accepted(MEMBER),
        "leave",
        configuration="list, delete",
        profile=dead("delete", SAME),
        others={"profile": "rejected"},
    ),
    "a list that is no longer configured is left alone": member(MAY, accepted(MEMBER), None, configuration="keep"),
}  # fmt: skip


@dataclass
class Decided:
    """What was decided of everybody, by configuration and case."""

    folder: Path
    found: dict[str, dict[str, dict[str, Decision]]] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, Decision]:
        configuration = CASES[name].configuration
        if configuration not in self.found:
            self.found[configuration] = self._decide(configuration)
        return self.found[configuration].get(name, {})

    def _decide(self, configuration: str) -> dict[str, dict[str, Decision]]:
        where = CONFIGURATIONS[configuration]
        cases = {name: case for name, case in CASES.items() if case.configuration == configuration}
        people = {name: person(number) for number, name in enumerate(cases)}
        rows = [people[name].changed(**case.wanted) for name, case in cases.items() if case.wanted is not None]
        folder = self.folder / configuration
        found = decisions(
            where,
            write_version(folder, rows),
            f"sqlite:///{folder}/stores.sqlite",
            [There(people[name], case.ledger, case.live) for name, case in cases.items()],
        )
        return {name: found.get(one.customer_id, {}) for name, one in people.items()}


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Decided:
    return Decided(tmp_path_factory.mktemp("decided"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_decided(decided, name):
    case, found = CASES[name], decided.of(name)
    assert {facet: one.action for facet, one in found.items()} == case.decided
    for facet, reason in case.reasons.items():
        assert found[facet].reason == reason


def test_every_action_and_standing_is_in_the_table():
    decided = {action for case in CASES.values() for action in case.decided.values()}
    assert decided == {*OPERATIONS, *STANDING} - {"move"}  # for moves see test_plan_moves.py


def test_equal_inputs_give_the_equal_plan_in_whatever_order_they_come(tmp_path, esp):
    people = [person(number, loyalty_tier=f"tier {number}") for number in range(6)]
    changed = [one.changed(loyalty_tier="gold") for one in people[:3]] + [people[3].refused(STOPPED), person(9)]
    plans = []
    for name, order in (("one", 1), ("other", -1)):
        line = Line(tmp_path / name, esp, f"sqlite:///{tmp_path}/{name}.sqlite", destination("local_esp"))
        line.sync(*people[::order])
        line.publish(*changed[::order])
        plans.append(line.plan(run_id=name))
    one, other = plans
    assert one.counts == {**dict.fromkeys(one.counts, 0), "update": 3, "suppress": 1, "create": 1, "delete": 2}
    assert one.plan_id == other.plan_id
    rows = [storage.read_parquet(plan.uri).to_pylist() for plan in plans]
    assert rows[0] == rows[1]


def test_a_suppression_of_nobody_whom_it_concerns_is_the_equal_plan(line):
    line.publish(person(1), person(2))
    before = line.plan()
    line.suppress(person(7), "unsubscribed")
    assert line.plan().plan_id == before.plan_id
    line.suppress(person(1), "unsubscribed")
    assert line.plan().plan_id != before.plan_id
