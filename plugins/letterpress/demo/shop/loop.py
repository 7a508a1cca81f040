"""The closed loop: what the local ESP delivered is read by the shop's people, and what they do comes of it.

Answers are played when the shop's clock moves: opens, clicks, unsubscribes and the rest go back to the ESP once
their instant has come; a click becomes a visit of the shop, and some visits an order. The instants of an answer
lie after the mail's and after everything that the shop has shown already.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson

from letterpress.demo.shop.mailboxes import EspUnreachable, Mail, Mailboxes, Reaction
from letterpress.demo.simulation import answers, chance, identity, reading
from letterpress.demo.simulation import mail as messages
from letterpress.demo.simulation.answers import FIRST_SHELF, GENERAL, NO_LINK, Mailing
from letterpress.demo.simulation.simulator import Simulator
from letterpress.demo.simulation.store import Answered, Store
from letterpress.demo.simulation.tables import State

log = logging.getLogger(__name__)

MOST_LINKS = 30


class Outlet(Protocol):
    """An interface of the shop that follows what it shows: its order database, its files, its webhooks."""

    def update(self) -> None:
        """Follow up to now; what cannot be done now is done with a later advance."""


class ClosedLoop:
    """Moves the shop's clock, with the mail of the local ESP in between; without an ESP the clock moves alone.

    The outlets follow each time.
    """

    def __init__(self, store: Store, mailboxes: Mailboxes | None, outlets: Sequence[Outlet] = ()):
        self._store = store
        self.mailboxes = mailboxes
        self._outlets = outlets
        self._following = Lock()

    def advance(self, by: int) -> int:
        """Move the clock by milliseconds; the new time comes back.

        Where the ESP cannot be reached the clock moves all the same: the mail is answered, and what was not told is
        told, with a later advance.
        """
        letters = self._fetch()
        before = self._store.now()
        now = self._store.advance(by, None if letters is None else partial(answer, letters))
        self._tell(before, now)
        with self._following:
            for outlet in self._outlets:
                outlet.update()
        return now

    def _fetch(self) -> list[Mail] | None:
        if self.mailboxes is None:
            return None
        try:
            return self.mailboxes.fetch(self._store.mail_sequence())
        except EspUnreachable as error:
            log.warning("mail is not answered: %s", error)
            return None

    def _tell(self, before: int, now: int) -> None:
        """Hand the ESP what has happened until now; what was due earlier is received only now."""
        due = self._store.due_reactions() if self.mailboxes is not None else []
        if not due or self.mailboxes is None:
            return
        reactions = [_reaction(body, at, at if at > before else now) for _, at, body in due]
        try:
            rejected = self.mailboxes.react(reactions)
        except EspUnreachable as error:
            log.warning("%d reactions to mail are told later: %s", len(due), error)
            return
        for code, count in Counter(one.code for one in rejected).items():
            log.warning("the local ESP rejected %d reactions to mail: %s", count, code)
        self._store.forget_reactions(one for one, _, _ in due)


def answer(letters: Sequence[Mail], simulator: Simulator, state: State, now: int, sequence: int) -> Answered:
    """Let people answer the mails after ``sequence`` that reached them up to ``now``, the clock before it moves.

    Clicks of days to come wait in the state. Mail to somebody whom the shop does not know stays unanswered.
    """
    letters = [letter for letter in letters if letter.sequence > sequence]
    last = max((letter.sequence for letter in letters), default=sequence)
    readers = _readers(state, letters)
    known = [(letter, person) for letter, person in zip(letters, readers, strict=True) if person >= 0]
    if not known:
        return Answered(last, [], None)
    letters, persons = [letter for letter, _ in known], np.array([person for _, person in known])
    mailing = _mailing(state, letters, persons, now)
    played = answers.answer(state, simulator.world.seed, simulator.world.behaviour, mailing)
    reactions = _reactions(letters, messages.collect(played, mailing))
    clicks = messages.visits_caused(played, mailing, _campaigns(state, letters))
    today = clicks["at"] < chance.start_of(state.next_day)
    state.clicks.append({name: values[~today] for name, values in clicks.items()})
    if not today.any():
        return Answered(last, reactions, None)
    state.turns += 1
    followed = {name: values[today] for name, values in clicks.items()}
    return Answered(last, reactions, simulator.follow(state, followed, state.turns))


def mailbox(address: str) -> str:
    """The mailbox that an address leads to: no blanks, lower case, no tag."""
    local, _, host = address.strip().lower().partition("@")
    return f"{local.partition('+')[0]}@{host}"


def _readers(state: State, letters: Sequence[Mail]) -> list[int]:
    """The person who reads each mail, -1 for a stranger."""
    if not letters or not len(state.accounts):
        return [-1] * len(letters)
    clean, _ = identity.addresses(state, np.arange(len(state.accounts)))
    owners = dict(zip(reversed(clean.to_pylist()), reversed(state.accounts["mail_person"].tolist()), strict=True))
    return [owners.get(mailbox(letter.recipient), -1) for letter in letters]


def _mailing(state: State, letters: Sequence[Mail], persons: np.ndarray, now: int) -> Mailing:
    people, count = state.people, len(letters)
    width = min(max((len(letter.links) for letter in letters), default=0), MOST_LINKS)
    links = np.full((count, max(width, 1)), NO_LINK, np.int64)
    number, at, kind, shelf = np.zeros(count, np.uint64), np.zeros(count, np.int64), [], []
    subject = np.zeros((count, len(reading.Subject)), bool)
    names, _ = identity.full_name(*(people[name][persons] for name in ("country", "first_name", "last_name")))
    for row, (letter, person, first_name) in enumerate(zip(letters, persons.tolist(), names.to_pylist(), strict=True)):
        accepted = chance.milliseconds(letter.accepted_at)
        for column, url in enumerate(letter.links[:MOST_LINKS]):
            links[row, column] = _target(url, len(state.products))
        # by what the person sees, not by the ESP's id: another installation has other ids and the same people
        seen = f"{letter.campaign_id}\n{letter.subject}\n{person}\n{accepted}".encode()
        number[row] = int.from_bytes(hashlib.sha256(seen).digest()[:8])
        at[row] = max(accepted, now)
        kind.append(reading.kind(letter.subject, letter.campaign_name or ""))
        subject[row] = reading.features(letter.subject, first_name)
        shelf.append(reading.shelf(letter.subject, letter.links))
    return Mailing(number, persons, at, np.array(kind, np.int64), subject, np.array(shelf, np.int64), links)


def _target(url: str, products: int) -> int:
    product = reading.product(url)
    if 0 <= product < products:
        return product
    shelf = reading.shelf("", [url])
    return FIRST_SHELF - shelf if shelf >= 0 else GENERAL


def _campaigns(state: State, letters: Sequence[Mail]) -> np.ndarray:
    """The number of each mail's campaign, by the utm parameters of its first link that has some."""
    numbers = []
    for letter in letters:
        queries = (parse_qs(urlsplit(url).query) for url in letter.links)
        query = next((one for one in queries if "utm_campaign" in one), {})
        name = "\n".join(query.get(part, [""])[0] for part in ("utm_source", "utm_medium", "utm_campaign"))
        if name not in state.campaigns:
            state.campaigns.append(name)
        numbers.append(messages.EXTERNAL + state.campaigns.index(name))
    return np.array(numbers, np.int64)


def _reactions(letters: Sequence[Mail], events: answers.Columns) -> list[tuple[int, bytes]]:
    """The events as they wait to be told; that a mail was sent and delivered the ESP knows itself."""
    told = ~np.isin(events["type"], (messages.Mail.SENT, messages.Mail.DELIVERED))
    columns: dict[str, list[Any]] = {name: values[told].tolist() for name, values in events.items()}
    rows = zip(*(columns[name] for name in ("mail", "type", "at", "machine", "link", "bounce")), strict=True)
    found = []
    for row, kind, at, machine, link, bounce in rows:
        body = {
            "message_id": letters[row].message_id,
            "kind": messages.EVENT_TYPES[kind],
            "is_machine": bool(machine),
            "link": link if link >= 0 else None,
            "bounce_type": messages.BOUNCE_TYPES[bounce],
        }
        found.append((at, orjson.dumps(body)))
    return found


def _reaction(body: bytes, at: int, received_at: int) -> Reaction:
    return Reaction(at=chance.moment(at), received_at=chance.moment(received_at), **orjson.loads(body))
