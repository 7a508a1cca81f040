"""People to whom things happen: who may be written to at any moment is known here, and nowhere asked of the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from activation_line import Person, person

SEGMENTS = ("champions", "at_risk", "champions,at_risk", "")
TIERS = ("gold", "silver", "bronze", None)
CATEGORIES = ("Kitchen", "Garden", None)


@dataclass
class Somebody:
    """A person as the warehouse has it, and what only live suppression knows."""

    number: int
    row: Person
    is_in_audience: bool = True
    stopped_at: float | None = None  # since when live suppression stops the person
    is_erased: bool = False
    is_final: bool = False  # the vendor lets nobody but the person lift it
    is_misspelt: bool = False

    @property
    def is_allowed(self) -> bool:
        """Whether this person may be written to at this moment."""
        return self.is_in_audience and self.row.is_eligible and self.stopped_at is None and not self.is_erased


class Crowd:
    """A few people and the random things that happen to them between two runs.

    A first name is a mark that only its person ever bears: whose attributes a request holds can be read from it.
    ``never_lifts`` says of a source of refusals that the vendor takes no opt-in of ours after it.
    """

    def __init__(self, random: Random, now: Callable[[], float], size: int, never_lifts: frozenset[str]):
        self._random, self._now, self._never_lifts = random, now, never_lifts
        self._serial = 0
        self.people: dict[str, Somebody] = {}
        self.moved: dict[str, str] = {}  # former id -> the present one
        self.addresses: dict[str, set[str]] = {}  # all that a person ever had, by id
        for _ in range(size):
            self._join()

    def rows(self) -> list[Person]:
        """The audience as it is to be published."""
        return [one.row for one in self.people.values() if one.is_in_audience]

    def moves(self) -> list[tuple[str, str, str]]:
        """All identities that ever moved: account, former id, present id."""
        return [(f"shop:{old}", old, new) for old, new in self.moved.items()]

    def allowed(self) -> set[int]:
        """The numbers of those who may be written to at this moment."""
        return {one.number for one in self.people.values() if one.is_allowed}

    def happen(self, line: Any, things: int) -> None:
        """So many random things; by now the warehouse has read what live suppression knew first."""
        for one in self.people.values():
            if one.stopped_at is not None and one.row.is_eligible:
                one.row = one.row.refused("unsubscribed")
        for _ in range(things):
            everybody = [two for name, two in self.people.items() if not two.is_erased and name not in self.moved]
            one = self._random.choice(everybody)
            self._random.choices(
                [self._change, self._readdress, self._withdraw, self._opt_in, self._stop, self._leave, self._misspell,
                 self._erase, self._rename, self._merge, lambda line, one: self._join()],
                [30, 10, 12, 16, 6, 6, 8, 4, 4, 3, 8],
            )[0](line, one)  # fmt: skip

    def stop_somebody(self, line: Any) -> None:
        """Between plan and request, somebody who may be written to says no."""
        allowed = [one for one in self.people.values() if one.is_allowed and not one.is_misspelt]
        if allowed:
            self._stop(line, self._random.choice(allowed))

    def settle(self) -> None:
        """Addresses are corrected: what was refused for them is to arrive."""
        for one in self.people.values():
            if one.is_misspelt and not one.is_erased:
                one.is_misspelt = False
                self._set(one, email=self._address(one.row.customer_id))

    def unsubscribed_at_vendor(self, one: Somebody) -> None:
        """A mail's footer was used; the next pull brings it into live suppression."""
        one.stopped_at = self._now()
        one.is_final = one.is_final or "vendor" in self._never_lifts

    def lifted(self) -> None:
        """Whoever has opted in later than the suppression is let in again."""
        for one in self.people.values():
            is_proven = one.is_in_audience and one.row.is_eligible and not one.is_erased
            if one.stopped_at is not None and is_proven and one.row.granted_at.timestamp() > one.stopped_at:
                one.stopped_at = None

    def _set(self, one: Somebody, **values: Any) -> None:
        self._serial += 1
        one.row = one.row.changed(first_name=f"zq{one.number}k{self._serial}q", **values)

    def _address(self, customer_id: str) -> str:
        self._serial += 1
        found = f"mail{self._serial}@example.com"
        self.addresses.setdefault(customer_id, set()).add(found)
        return found

    def _join(self, email: str | None = None) -> Somebody:
        number = len(self.people) + 1
        row = person(number, consent_proof=f"proof-{number}", granted_at=_instant(self._now() - 60))
        one = Somebody(number, row.changed(email=email or self._address(row.customer_id)))
        if email is not None:
            self.addresses.setdefault(row.customer_id, set()).add(email)
        self._set(one, loyalty_tier=self._random.choice(TIERS), segments=self._random.choice(SEGMENTS))
        self.people[row.customer_id] = one
        return one

    def _change(self, line: Any, one: Somebody) -> None:
        values = {
            "loyalty_tier": self._random.choice(TIERS),
            "favourite_category": self._random.choice(CATEGORIES),
            "clv_decile": self._random.randint(1, 10),
            "segments": self._random.choice(SEGMENTS),
        }
        chosen = self._random.sample(sorted(values), self._random.randint(1, 4))
        self._set(one, **{name: values[name] for name in chosen})

    def _readdress(self, line: Any, one: Somebody) -> None:
        if not one.is_misspelt:
            self._set(one, email=self._address(one.row.customer_id))

    def _withdraw(self, line: Any, one: Somebody) -> None:
        if one.is_in_audience and not one.is_misspelt:
            one.row = one.row.refused("consent_withdrawn")
            self._set(one)
            one.is_final = one.is_final or "us" in self._never_lifts

    def _opt_in(self, line: Any, one: Somebody) -> None:
        if one.row.is_eligible and one.stopped_at is None:
            return
        self._serial += 1
        granted_at = _instant(self._now() - 1)
        self._set(
            one, is_eligible=True, refusal_reason=None, consent_proof=f"again-{self._serial}", granted_at=granted_at
        )

    def _stop(self, line: Any, one: Somebody) -> None:
        """A webhook or a page of ours: live suppression knows before the warehouse."""
        if not one.is_in_audience or one.is_misspelt:
            return
        line.suppress(one.row, "unsubscribed", at=_instant(self._now()))
        one.stopped_at = self._now()
        one.is_final = one.is_final or "us" in self._never_lifts
        if self._random.random() < 0.5:
            one.row = one.row.refused("unsubscribed")
        self._set(one)

    def _leave(self, line: Any, one: Somebody) -> None:
        """Out of the audience, or back into it."""
        if not one.is_in_audience:
            one.is_in_audience = True
        elif one.is_allowed and not one.is_final:
            one.is_in_audience = False

    def _misspell(self, line: Any, one: Somebody) -> None:
        """An address that no vendor takes, until it is corrected."""
        if one.is_allowed:
            one.is_misspelt = not one.is_misspelt
            self._set(one, email=f"no address {one.number}" if one.is_misspelt else self._address(one.row.customer_id))

    def _erase(self, line: Any, one: Somebody) -> None:
        line.suppress(one.row, "erased", at=_instant(self._now()))
        one.is_erased = True
        one.is_in_audience = self._random.random() < 0.5

    def _rename(self, line: Any, one: Somebody) -> None:
        """The same person under another id."""
        if not one.is_allowed or one.is_misspelt or one.is_final:
            return
        values = {name: getattr(one.row, name) for name in ("loyalty_tier", "favourite_category", "segments")}
        proof = {name: getattr(one.row, name) for name in ("consent_proof", "granted_at")}
        other = self._join(one.row.email)
        self._set(other, **values, **proof)
        self._moves(one, other)

    def _merge(self, line: Any, one: Somebody) -> None:
        """Two ids turn out to be one person; the other one stays, and the later opt-in is the person's."""
        others = [two for two in self.people.values() if two is not one and self._is_plain(two)]
        if others and self._is_plain(one):
            other = self._random.choice(others)
            if one.row.granted_at > other.row.granted_at:
                self._set(other, consent_proof=one.row.consent_proof, granted_at=one.row.granted_at)
            self._moves(one, other)

    def _moves(self, one: Somebody, other: Somebody) -> None:
        old, new = one.row.customer_id, other.row.customer_id
        one.is_in_audience = False
        self.moved = {former: new if present == old else present for former, present in self.moved.items()}
        self.moved[old] = new

    @staticmethod
    def _is_plain(one: Somebody) -> bool:
        return one.is_allowed and not one.is_misspelt and not one.is_final


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
