"""The drift check: what a destination really holds, beside what the ledger says that it acknowledged.

A sample of people, or all, is read back. Differences are counted and named by attribute, never by value. ``repair``
marks them in the ledger, so that the next plan writes them again; nothing is written here.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from letterpress.activation import ledger, payloads, stores
from letterpress.activation.destinations import Connection, Destination, open_client
from letterpress.activation.destinations.spec import Client, Held, Row
from letterpress.activation.kept import Kept
from letterpress.activation.seal import Seal

log = logging.getLogger(__name__)

READ = 1_000  # people asked for at once
EXAMPLES = 5


@dataclass
class Drift:
    """What a comparison found: how many people differ, and in what."""

    destination: str
    checked: int = 0
    missing: int = 0
    differing: int = 0
    attributes: dict[str, int] = field(default_factory=dict)
    not_in_list: dict[str, int] = field(default_factory=dict)
    not_out_of_list: dict[str, int] = field(default_factory=dict)
    not_suppressed: int = 0
    repaired: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the destination holds what it acknowledged."""
        return not (self.missing or self.differing or self.not_in_list or self.not_out_of_list or self.not_suppressed)


def check(
    *,
    destination: Destination,
    connection: Connection,
    stores_url: str,
    identity_key: bytes,
    sample: int | None = 1_000,
    seed: str = "",
    repair: bool = False,
) -> Drift:
    """Read ``sample`` people back (none: everybody) and compare; ``repair`` lets the next plan write them again.

    The sample is drawn by a hash of id and ``seed``: the same seed asks for the same people. People with a change
    under way are left out. Raises DestinationError where the destination does not answer.
    """
    seal, found = Seal(identity_key), Drift(destination.name)
    again: dict[str, list[str]] = {}
    gone: dict[str, list[str]] = {}
    attributes = [mapped.attribute for mapped in destination.attributes.values()]
    with (
        stores.opened(stores_url) as engine,
        open_client(destination, connection, Kept(engine, Seal(identity_key), destination.name)) as client,
    ):
        with stores.reading(engine) as read:
            people = _sample(ledger.settled(read, destination.name), sample, seed)
        for start in range(0, len(people), READ):
            with stores.reading(engine) as read:
                expected = _expected(read, destination, seal, people[start : start + READ])
            there = _read(client, expected, attributes)
            for customer_id, one in expected.items():
                _compare(destination, customer_id, one, there.get(customer_id), found, again, gone)
            found.checked += len(expected)
            log.info("%s: %d of %d people read back", destination.name, found.checked, len(people))
        if repair:
            with stores.writing(engine) as write:
                found.repaired = sum(
                    ledger.plan_again(write, destination.name, ids, facet=facet, is_gone=are_gone)
                    for kinds, are_gone in ((again, False), (gone, True))
                    for facet, ids in kinds.items()
                )
    found.attributes = dict(sorted(found.attributes.items()))
    return found


def render(drift: Drift) -> str:
    """The comparison as a person reads it."""
    lines = [f"{drift.destination}: {drift.checked:,} people read back"]
    if drift.is_clean:
        return "\n".join([*lines, "  it holds what it acknowledged", ""])
    figures = {
        "missing there": drift.missing,
        "with other attributes": drift.differing,
        "suppressed here, not there": drift.not_suppressed,
    }
    lines += [f"  {name:<28} {number:>9,}" for name, number in figures.items() if number]
    lines += [f"    {name:<26} {number:>9,}" for name, number in drift.attributes.items()]
    lines += [f"  not in list {name:<16} {number:>9,}" for name, number in sorted(drift.not_in_list.items())]
    lines += [f"  still in list {name:<14} {number:>9,}" for name, number in sorted(drift.not_out_of_list.items())]
    lines += [f"    {one['customer']}: {', '.join(one['what'])}" for one in drift.examples]
    if drift.repaired:
        lines.append(f"  {drift.repaired:,} will be written again by the next sync")
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class _Expected:
    """What the ledger says of one person."""

    row: Row
    attributes: Mapping[str, Any]
    lists: frozenset[str]
    has_left: frozenset[str]
    is_suppressed: bool


def _sample(people: Sequence[str], size: int | None, seed: str) -> list[str]:
    if size is None or size >= len(people):
        return list(people)
    drawn = sorted(people, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())
    return sorted(drawn[:size])


def _expected(connection: Any, destination: Destination, seal: Seal, people: Sequence[str]) -> dict[str, _Expected]:
    facets: dict[str, dict[str, Mapping]] = {}
    for row in ledger.rows_of(connection, destination.name, people):
        facets.setdefault(row["customer_id"], {})[row["facet"]] = row
    targets = {one: facets[one][ledger.PROFILE]["acknowledged"] for one in facets}
    sealed = ledger.payloads(connection, destination.name, targets)
    found = {}
    for one, theirs in facets.items():
        profile = seal.open(sealed[one]) if one in sealed else None
        lists = {
            facet.removeprefix(ledger.LIST): row
            for facet, row in theirs.items()
            if facet.startswith(ledger.LIST) and row["state"] == ledger.ACCEPTED
        }
        consent = theirs.get(ledger.CONSENT)
        found[one] = _Expected(
            Row(
                one,
                email=payloads.email_of(destination, profile) if profile else None,
                vendor_id=theirs[ledger.PROFILE]["vendor_id"],
            ),
            payloads.values(destination, profile) if profile else {},
            frozenset(key for key, row in lists.items() if row["acknowledged"] is not None),
            frozenset(key for key, row in lists.items() if row["acknowledged"] is None),
            consent is not None and not ledger.is_granted(consent["acknowledged"]),
        )
    return found


def _read(client: Client, expected: Mapping[str, _Expected], attributes: Sequence[str]) -> dict[str, Held]:
    return {held.customer_id: held for held in client.read([one.row for one in expected.values()], attributes)}


def _compare(
    destination: Destination,
    customer_id: str,
    expected: _Expected,
    held: Held | None,
    found: Drift,
    again: dict[str, list[str]],
    gone: dict[str, list[str]],
) -> None:
    what: list[str] = []
    if held is None:
        found.missing += 1
        what.append("missing")
        gone.setdefault(ledger.PROFILE, []).append(customer_id)
        for key in expected.lists:
            gone.setdefault(f"{ledger.LIST}{key}", []).append(customer_id)
    else:
        # An empty value whose rule is "skip" leaves the destination what it has.
        kept = {mapped.attribute for mapped in destination.attributes.values() if mapped.nulls == "skip"}
        names = [
            name
            for name, value in expected.attributes.items()
            if _plain(value) != _plain(held.attributes.get(name)) and (_plain(value) is not None or name not in kept)
        ]
        if expected.row.email is not None and (held.email or "").lower() != expected.row.email.lower():
            names.append("email")
        if names:
            found.differing += 1
            found.attributes = dict(Counter(found.attributes) + Counter(names))
            what += names
            again.setdefault(ledger.PROFILE, []).append(customer_id)
        if held.lists is not None:
            what += _compare_lists(destination, customer_id, expected, held.lists, found, again, gone)
        if expected.is_suppressed and held.is_suppressed is False:
            found.not_suppressed += 1
            what.append("not suppressed")
            again.setdefault(ledger.CONSENT, []).append(customer_id)
    if what and len(found.examples) < EXAMPLES:
        found.examples.append({"customer": f"{customer_id[:6]}…", "what": what})


def _compare_lists(
    destination: Destination,
    customer_id: str,
    expected: _Expected,
    held: frozenset[str],
    found: Drift,
    again: dict[str, list[str]],
    gone: dict[str, list[str]],
) -> list[str]:
    what = []
    for key, list_id in destination.lists.items():
        if key in expected.lists and list_id not in held:
            found.not_in_list[key] = found.not_in_list.get(key, 0) + 1
            gone.setdefault(f"{ledger.LIST}{key}", []).append(customer_id)
            what.append(f"not in {key}")
        elif key in expected.has_left and list_id in held:
            found.not_out_of_list[key] = found.not_out_of_list.get(key, 0) + 1
            again.setdefault(f"{ledger.LIST}{key}", []).append(customer_id)
            what.append(f"still in {key}")
    return what


def _plain(value: Any) -> Any:
    """A value as both sides can be compared: vendors tell numbers as texts, and empty ones in several ways."""
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return sorted(str(one) for one in value)
    return str(value)
