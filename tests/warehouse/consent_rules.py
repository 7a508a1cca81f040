"""The rules of consent in plain Python, told as a story: one account, one instant after another.

Nothing of it looks like the SQL: the models of dbt are compared with it over many histories.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime

OWN_ACTS = ("sign_up_form", "checkout", "preference_centre")
FINAL = ("erased", "complained", "bounced")
SEVERITY = ("erased", "complained", "bounced", "unsubscribed", "withdrawn", "requested", "granted", "none")


@dataclass(frozen=True)
class Account:
    key: str
    person: str | None
    address: str | None = None
    country: str | None = "GB"
    former_person: str | None = None


@dataclass(frozen=True)
class Record:
    key: str
    account: str
    channel: str
    status: str
    source: str
    proof: str | None
    at: datetime


@dataclass(frozen=True)
class Event:
    """What happened to a message: to an account's (the shop's mail) or to a person's (Letterpress's own)."""

    key: str
    kind: str
    at: datetime
    account: str | None = None
    person: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Erasure:
    address: str
    at: datetime


@dataclass(frozen=True)
class World:
    """Who there is, where each person is written to, and all that was decided."""

    accounts: tuple[Account, ...] = ()
    addresses: dict[str, str | None] = field(default_factory=dict)
    records: tuple[Record, ...] = ()
    events: tuple[Event, ...] = ()
    erasures: tuple[Erasure, ...] = ()
    double_opt_in: dict[str, object] = field(default_factory=dict)

    def with_more(self, **more) -> "World":
        return replace(self, **{name: getattr(self, name) + tuple(rows) for name, rows in more.items()})

    def by(self, instant: datetime) -> "World":
        """What of it had happened by then."""
        return replace(
            self,
            **{
                name: tuple(row for row in getattr(self, name) if row.at <= instant)
                for name in ("records", "events", "erasures")
            },
        )

    def merged(self, one: str, other: str) -> "World":
        """The same world in which two persons are found to be one, who keeps the id and the address of the first."""
        accounts = tuple(replace(a, person=one, former_person=other) if a.person == other else a for a in self.accounts)
        addresses = {person: address for person, address in self.addresses.items() if person != other}
        return replace(self, accounts=accounts, addresses=addresses)


@dataclass
class Story:
    """What one account said about one channel: its state by instant, its own opt-ins, why a record did not count."""

    states: list[tuple[datetime, str]] = field(default_factory=list)
    opt_ins: list[tuple[datetime, datetime, str]] = field(default_factory=list)  # counts from, recorded, proof
    flaws: dict[str, str | None] = field(default_factory=dict)

    def state(self, by: datetime | None = None) -> str:
        return next((state for at, state in reversed(self.states) if by is None or at <= by), "none")


def needs_request(world: World, account: Account, channel: str) -> bool:
    countries = world.double_opt_in.get(channel, ())
    return countries == "all" or (bool(countries) and account.country in (None, *countries))


def story(world: World, account: Account, channel: str) -> Story:
    instants = defaultdict(list)
    for record in world.records:
        if record.account == account.key and record.channel == channel:
            instants[record.at].append(record)
    told, state, request, was_withdrawn, waiting = Story(), "none", None, False, []
    asks = needs_request(world, account, channel)
    for at in sorted(instants):
        records = instants[at]
        statuses = {record.status for record in records}
        for record in records:
            flaw = None
            stronger = {"granted": {"withdrawn", "requested"}, "requested": {"withdrawn"}}.get(record.status, set())
            if statuses & stronger:
                flaw = "outweighed"
            elif record.status == "granted" and not record.proof:
                flaw = "unproven"
            elif record.status == "granted" and asks and request is None:
                flaw = "unconfirmed"
            elif record.status == "requested":
                flaw = "unconfirmed"
                waiting.append(record.key)
            told.flaws[record.key] = flaw
        if "withdrawn" in statuses:
            state, request, was_withdrawn = "withdrawn", None, True
        elif "requested" in statuses:
            request = at
            state = "requested" if state == "none" else state
        else:
            sound = [record for record in records if told.flaws[record.key] is None]
            own = [record for record in sound if record.source in OWN_ACTS]
            if own:
                state = "granted"
                told.opt_ins += [(request if asks else at, at, record.proof) for record in own]
            for record in sound:
                if record not in own and state == "withdrawn":
                    told.flaws[record.key] = "not_own_act"
                else:
                    state = "granted"
                    if record in own or not was_withdrawn:
                        told.flaws |= dict.fromkeys(waiting)
                        waiting = []
            if state == "none":
                state = "requested"
        told.states.append((at, state))
    return told


@dataclass
class Verdict:
    """Everything that the rules say of a world."""

    states: dict[tuple[str, str], str]
    suppressed: dict[str, str]
    addresses: dict[str, str]
    flaws: dict[str, str | None]
    lifted: dict[str, datetime | None]
    known: list[Account]
    stories: dict[tuple[str, str], Story]
    stops: dict[str, list[tuple[datetime, datetime | None, str]]]

    def standing(self, person: str, channel: str, at: datetime) -> str:
        """Where the person stood at an instant: the most severe of all that held by then."""
        reasons = [
            reason
            for since, until, reason in self.stops.get(person, [])
            if since <= at and (until is None or until > at) and (channel == "email" or reason == "erased")
        ]
        return worst([*reasons, *standing_of(self.known, self.stories, person, channel, by=at)])

    def is_sendable(self, person: str, channel: str = "email") -> bool:
        stopped = self.suppressed.get(person)
        is_stopped = stopped is not None and (channel == "email" or stopped == "erased")
        return self.states.get((person, channel)) == "granted" and not is_stopped


def touched(world: World, event: Event) -> list[Account]:
    """The accounts of known people that an event is about."""
    return [
        account
        for account in world.accounts
        if account.person is not None
        and (names(event, account) or (event.person and event.person in (account.person, account.former_person)))
    ]


def names(event: Event, account: Account) -> bool:
    """Whether the event names the account or its address, and not only its person."""
    return account.key == event.account or (event.address is not None and account.address == event.address)


def lifted_at(world: World, event: Event, stories: dict) -> datetime | None:
    """When an unsubscribe ended: every touched account that ever said anything opted in again."""
    about = touched(world, event)
    speaking = [account for account in about if stories[account.key, "email"].states]
    if any(names(event, account) for account in about) and not any(names(event, account) for account in speaking):
        return None
    again = [
        min((moment for start, moment, _ in stories[account.key, "email"].opt_ins if start > event.at), default=None)
        for account in speaking
    ]
    return max(again) if again and None not in again else None


def judge(world: World) -> Verdict:
    known = [account for account in world.accounts if account.person is not None]
    channels = {"email"} | {record.channel for record in world.records}
    stories = {(account.key, channel): story(world, account, channel) for account in known for channel in channels}
    flaws = {key: flaw for told in stories.values() for key, flaw in told.flaws.items()}

    lifted = {event.key: lifted_at(world, event, stories) for event in world.events if event.kind == "unsubscribe"}

    stops, addresses = defaultdict(list), defaultdict(list)  # (since, until, reason)
    for event in world.events:
        reason = {"unsubscribe": "unsubscribed", "complaint": "complained", "hard bounce": "bounced"}.get(event.kind)
        if reason is None:
            continue
        until = lifted.get(event.key)
        if event.address is not None and until is None:
            addresses[event.address].append(reason)
        for person in {account.person for account in touched(world, event)}:
            current = world.addresses.get(person)
            left_it = None not in (event.address, current) and event.address != current
            if not (reason == "bounced" and left_it):
                stops[person].append((event.at, until, reason))
    for erasure in world.erasures:
        addresses[erasure.address].append("erased")
        for account in known:
            if account.address == erasure.address:
                stops[account.person].append((erasure.at, None, "erased"))

    states = {
        (person, channel): worst(standing_of(known, stories, person, channel))
        for person in {account.person for account in known}
        for channel in channels
    }
    suppressed = {
        person: worst(reason for _, until, reason in found if until is None)
        for person, found in stops.items()
        if any(until is None for _, until, _ in found)
    }
    listed = {address: worst(reasons) for address, reasons in addresses.items()}
    return Verdict(states, suppressed, listed, flaws, lifted, known, stories, dict(stops))


def standing_of(known: list[Account], stories: dict, person: str, channel: str, by: datetime | None = None):
    """The states of a person's accounts that said anything about the channel by then."""
    return [stories[account.key, channel].state(by) for account in known if account.person == person]


def worst(found) -> str:
    """Of several states or reasons the most severe; none where there is none."""
    return min([*found, "none"], key=SEVERITY.index)
