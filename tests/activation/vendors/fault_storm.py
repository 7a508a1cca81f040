"""Random histories of people, synced through random faults: nobody is lost, doubled, or written to without consent.

One world is one destination's stand-in with an empty ledger. Several histories happen in it, one after the other: some
rounds of changes, consent given and withdrawn, unsubscribes at the vendor, joins, leaves, erasures, new ids and merged
ones, each followed by a pull, a plan and an apply that faults interrupt. At the end of each history comes one calm run,
and then everything at the vendor is compared with what is to be there.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from activation_line import KEY, row
from storm_faults import Answers, Deaths, Killed, apply_until_killed
from storm_people import Crowd, Somebody
from storm_vendors import NEVER_LIFTS, Profile, everyone
from vendor_clock import Clock, jumping
from vendor_line import VendorLine, vendor_line

from letterpress.activation import ledger, stores
from letterpress.activation.batches import WRITING, Sender
from letterpress.activation.destinations import Batch
from letterpress.activation.destinations.spec import DestinationError, Held

PEOPLE = 9
HISTORIES = 4  # in one world
ROUNDS = 3  # in one history
BATCH = 3  # people in a request of profiles: several requests a run
SIGKILLS = 0.06  # of the applies
DAY = 24 * 3600.0

_MARK = re.compile(rb"zq(\d+)k\d+q")


@dataclass
class Outcome:
    """What the storms over one destination did, and what was wrong afterwards, in words."""

    vendor: str
    fired: Counter[str] = field(default_factory=Counter)
    histories: int = 0
    applies: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    without_consent: list[str] = field(default_factory=list)
    reachable: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many faults really struck."""
        return self.fired.total()

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.doubled, *self.without_consent, *self.reachable]


def storm(vendor: str, folder: Path, *, faults: int, seed: int, specifications: Path | None = None) -> Outcome:
    """Histories in one world after the other until so many faults have struck."""
    outcome, number = Outcome(vendor), 0
    while outcome.faults < faults:
        home = folder / f"{vendor}-{seed}-{number}"
        home.mkdir(parents=True)
        with jumping() as clock, vendor_line(vendor, home, clock, specifications) as line:
            world = World(line, clock, Random(f"{vendor} {seed} {number}"), outcome)
            for _ in range(HISTORIES):
                world.history()
                if outcome.faults >= faults:
                    break
        number += 1
    return outcome


class World:
    """One destination and its people."""

    def __init__(self, line: VendorLine, clock: Clock, random: Random, outcome: Outcome):
        self._line, self._clock, self._random, self._outcome = line, clock, random, outcome
        module = line.destination.module
        line.destination = line.destination.model_copy(update={"batch": Batch(rows=BATCH)})
        self._crowd = Crowd(random, clock.now, PEOPLE, NEVER_LIFTS.get(module, frozenset()))
        self._deaths, self._points = Deaths(), 60
        self._answers = None if module == "files" else Answers(random, outcome.fired, line.app)
        if module == "local_esp":
            line.app.state.faults = self._answers
        elif module != "files":
            line.app.next_fault, line.app.witness = self._answers, self._look_at

    def history(self) -> None:
        """Rounds of faults, one calm run, and a look at everything."""
        for _ in range(ROUNDS):
            self._round()
        self._calm_run()
        self._compare()
        self._outcome.histories += 1

    def _round(self) -> None:
        line, random = self._line, self._random
        self._clock.advance(3_600)
        self._crowd.happen(line, random.randint(1, 6))
        self._unsubscribe_at_vendor()
        self._clock.advance(60)
        self._disturb(random.choice((0.02, 0.1, 0.3, 0.6)))
        try:
            if not self._prepare():
                return
            plan = line.plan()
            for _ in range(random.randint(1, 3)):
                if self._is_applied(plan):
                    break
                if random.random() < 0.5:
                    self._crowd.stop_somebody(line)
                if random.random() < 0.5:
                    plan = line.plan()
        finally:
            self._disturb(0.0)

    def _prepare(self) -> bool:
        """What comes before a plan: pull, publish, lift; false where the destination did not answer."""
        try:
            self._line.pull()
        except DestinationError:
            return False
        self._line.publish(*self._crowd.rows(), moves=self._crowd.moves())
        self._line.lift()
        self._crowd.lifted()
        return True

    def _is_applied(self, plan: Any) -> bool:
        """One apply in the storm; false where it was interrupted."""
        self._outcome.applies += 1
        if self._random.random() < SIGKILLS:
            return not self._is_killed_for_real(plan)
        death = self._random.randint(1, max(20, self._points)) if self._random.random() < 0.5 else None
        try:
            with self._deaths.at(death), self._witnessed():
                result = self._line.apply(plan, validate=None)  # audits are tested elsewhere
        except Killed:
            self._outcome.fired["killed"] += 1
            return False
        except DestinationError:
            return False
        if death is None:
            self._points = self._deaths.passed
        self._outcome.fired["row refused"] += sum(result.rejected.values())
        return True

    def _is_killed_for_real(self, plan: Any) -> bool:
        """The process of a run dies of SIGKILL; its clock is its own, so that nothing here waits for one."""
        line = self._line
        given = {
            "plan": plan,
            "destination": line.destination,
            "version_dir": line.version_dir,
            "connection": line.connection,
            "stores_url": line.stores_url,
            "identity_key": KEY,
            "run_id": "killed",
            "is_approved": True,
        }
        probability, before = self._disturb(0.0), {}
        if hasattr(line.app, "job_seconds"):
            before = {"job_seconds": line.app.job_seconds, "has_limits": line.app.has_limits}
            line.app.job_seconds, line.app.has_limits = 0.0, False
        try:
            is_killed = apply_until_killed(given, self._random, self._answers)
        finally:
            for name, value in before.items():
                setattr(line.app, name, value)
            self._disturb(probability)
        self._outcome.fired["SIGKILL"] += is_killed
        return is_killed

    def _disturb(self, probability: float) -> float:
        """How likely a request meets a fault from now on; returns how likely it was."""
        if self._answers is None:
            return 0.0
        before, self._answers.probability = self._answers.probability, probability
        return before

    def _unsubscribe_at_vendor(self) -> None:
        """Somebody who gets mail there uses its footer."""
        unsubscribe = getattr(self._line.app, "unsubscribe", None)
        if unsubscribe is None or self._random.random() < 0.6:
            return
        there = {one.email: one.external_id for one in self._everyone() if one.is_reachable}
        candidates = [
            one
            for one in self._crowd.people.values()
            if one.is_allowed and not one.is_misspelt and there.get(one.row.email) == one.row.customer_id
        ]
        if candidates:
            one = self._random.choice(candidates)
            unsubscribe(one.row.email)
            self._crowd.unsubscribed_at_vendor(one)

    # What no request may hold

    @contextmanager
    def _witnessed(self) -> Iterator[None]:
        """Look at whom each request of a writing operation is about, before it leaves."""
        send = Sender.send

        def looked_at(sender: Sender, prepared: Any) -> Any:
            if prepared.batch.operation in WRITING:
                cleared = {item.customer_id for item in prepared.origin.items if item.action == "clear"}
                for one in prepared.rows:
                    if one.customer_id not in cleared and not self._crowd.people[one.customer_id].is_allowed:
                        self._tell_consent(one.customer_id, prepared.batch.operation)
            return send(sender, prepared)

        Sender.send = looked_at
        try:
            yield
        finally:
            Sender.send = send

    def _look_at(self, method: str, path: str, content: bytes) -> None:
        """Whose attributes a body holds: only theirs who may be written to."""
        found = {int(number) for number in _MARK.findall(content)}
        for number in found - self._crowd.allowed():
            self._tell_consent(f"customer-{number:05d}", path)

    def _tell_consent(self, customer_id: str, what: str) -> None:
        self._outcome.without_consent.append(f"{self._where()}: {customer_id} in {what}")

    def _where(self) -> str:
        return f"{self._outcome.vendor}, history {self._outcome.histories} of {self._line.folder.name}"

    # The end of a history

    def _calm_run(self) -> None:
        """Addresses are corrected, what was refused is tried again; where ids became one, the survivor follows."""
        self._crowd.settle()
        self._clock.advance(30 * DAY)
        line = self._line
        for _ in range(2):
            with stores.opened(line.stores_url) as engine, stores.writing(engine) as write:
                ledger.replay(write, line.destination.name)
            assert self._prepare()
            with self._witnessed():
                line.apply(line.plan(), validate=None)
            self._clock.advance(30 * DAY)

    def _everyone(self) -> list[Profile]:
        return everyone(self._line, [one.row for one in self._crowd.people.values()])

    def _compare(self) -> None:
        there = self._everyone()
        rows = [one.row for one in self._crowd.people.values()]
        held = self._line.held(*rows)
        for name, count in Counter(one.external_id for one in there if one.external_id).items():
            if count > 1:
                self._tell(self._outcome.doubled, name, f"{count} profiles with this id")
        for one in self._crowd.people.values():
            profiles = [profile for profile in there if self._is_of(one, profile)]
            if one.is_erased:
                self._compare_erased(one, profiles)
            elif one.row.customer_id in self._crowd.moved:
                self._compare_former(one, there, held.get(one.row.customer_id))
            elif one.is_allowed:
                self._compare_wanted(one, profiles, held.get(one.row.customer_id))
            elif one.is_in_audience:
                self._compare_refused(one, profiles)
            else:
                self._compare_leaver(one, held.get(one.row.customer_id))

    def _is_of(self, one: Somebody, profile: Profile) -> bool:
        """By the id, or by an address that the person ever had and that is nobody else's by now."""
        if profile.external_id is not None:
            return profile.external_id == one.row.customer_id
        return profile.email in self._crowd.addresses[one.row.customer_id]

    def _compare_wanted(self, one: Somebody, profiles: list[Profile], held: Held | None) -> None:
        if one.is_final:
            return  # only the person lets the vendor write again
        who, destination = one.row.customer_id, self._line.destination
        if held is None:
            self._tell(self._outcome.lost, who, "is not there")
            return
        if len(profiles) > 1:
            self._tell(self._outcome.doubled, who, f"{len(profiles)} profiles of one person: {profiles}")
        wanted = row(one.row)
        for column, mapped in destination.attributes.items():
            value, found = wanted.get(column), held.attributes.get(mapped.attribute)
            if plain(value) != plain(found):
                self._tell(self._outcome.lost, who, f"{mapped.attribute}: expected {value}, found {found}")
        if (held.email or "").lower() != one.row.email.lower():
            self._tell(self._outcome.lost, who, f"expected {one.row.email}, found {held.email}")
        if held.is_suppressed or not all(profile.is_reachable for profile in profiles):
            self._tell(self._outcome.lost, who, f"may be written to, and no mail goes there: {profiles}")
        list_id = destination.lists.get("champions")
        is_wanted = "champions" in (one.row.segments or "").split(",")
        for profile in profiles:
            if list_id is not None and profile.lists is not None and (list_id in profile.lists) != is_wanted:
                self._tell(self._outcome.lost, who, f"in the list: expected {is_wanted}, found {not is_wanted}")

    def _compare_refused(self, one: Somebody, profiles: list[Profile]) -> None:
        for profile in profiles:
            if profile.is_reachable:
                self._tell(self._outcome.reachable, one.row.customer_id, f"refused, and mail goes there: {profile}")
            if profile.lists and self._line.destination.lists["champions"] in profile.lists:
                self._tell(self._outcome.reachable, one.row.customer_id, "refused, and in the list")

    def _compare_erased(self, one: Somebody, profiles: list[Profile]) -> None:
        if profiles:
            self._tell(self._outcome.reachable, one.row.customer_id, f"erased, and there: {profiles}")

    def _compare_former(self, one: Somebody, there: list[Profile], held: Held | None) -> None:
        if held is not None and any(plain(value) is not None for value in held.attributes.values()):
            self._tell(self._outcome.doubled, one.row.customer_id, "a former id, and its profile is there")
        if any(profile.external_id == one.row.customer_id and profile.is_reachable for profile in there):
            self._tell(self._outcome.doubled, one.row.customer_id, "a former id, and mail goes there")

    def _compare_leaver(self, one: Somebody, held: Held | None) -> None:
        if held is None or self._line.destination.leavers == "keep":
            return
        if any(plain(value) is not None for value in held.attributes.values()):
            self._tell(self._outcome.doubled, one.row.customer_id, "has left, and the profile is there")

    def _tell(self, where: list[str], who: str, what: str) -> None:
        line = self._line
        with stores.opened(line.stores_url) as engine, stores.reading(engine) as read:
            rows = ledger.rows_of(read, line.destination.name, [who])
        names = ("facet", "state", "operation", "pending", "acknowledged", "error_code")
        said = [" ".join(str(one[name]) for name in names) for one in rows]
        where.append(f"{self._where()}: {who}: {what}; the ledger: {'; '.join(said) or 'nothing'}")


def plain(value: Any) -> Any:
    """A value as both sides can be compared: vendors tell numbers as texts, lists with their own separators."""
    if isinstance(value, str):
        value = re.split("[,;|]", value)
    if isinstance(value, list | tuple):
        return sorted(str(part) for part in value if part) or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else [str(value).lower()]
