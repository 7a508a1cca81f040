"""Who comes to the shop on a day, when, from where and how far: the behaviour behind every session."""

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import answers, chance, effects, traits
from letterpress.demo.simulation.chance import DAY, HOUR, SECOND, Purpose
from letterpress.demo.simulation.switches import Behaviour
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import AGENTS, COUNTRIES, FIRST_BOT, NEWSLETTER, SOURCES

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World

Columns = dict[str, np.ndarray]


class Kind(IntEnum):
    """Why a visit happens."""

    SIGN_UP = 0
    ORDER = 1
    CLICK = 2
    BROWSE = 3
    ANONYMOUS = 4
    BOT = 5


class Depth(IntEnum):
    """How far a visit goes."""

    LANDING = 0
    PRODUCTS = 1
    ADDING = 2
    CART = 3
    CHECKOUT = 4
    ORDER = 5


GUEST_CONVERSION = 0.028  # of visits by people without an account
GUEST_CHECKOUT = 0.03  # account holders who do not bother to log in
STAYS_LOGGED_IN = 0.7
BLOCKED = 0.04  # visits whose browser blocks the tracker
LEFT_FOR_GOOD = 0.12  # of the visits that remain after the last order
KIOSKS = 4  # devices that everybody uses


def plan(state: State, world: "World", day: int, again: int) -> Columns:
    """The visits of a day in order of their start, and the accounts that those who sign up will get.

    ``again`` people who have an account already open a second one.

    Marks people as buyers or as gone for good; the accounts themselves are opened by the caller, because
    the instant of signing up is known only when the visit has been played.
    """
    rng = chance.stream(world.seed, Purpose.VISITS, day)
    people, behaviour = state.people, world.behaviour
    _join_households(state, rng, day)
    busy = chance.season(day) if behaviour.seasons else 1.0
    parts = [
        _sign_ups(state, rng, day, again),
        _orders(state, rng, day, busy, behaviour),
        _clicks(state, rng, day),
        _browsing(state, rng, day, busy, behaviour),
        _anonymous(len(people), rng, day, busy),
    ]
    _rotate_cookies(state, rng)
    parts.append(_bots(rng, day, world.dirt.bots * sum(len(part["at"]) for part in parts)))
    return _dressed(state, rng, parts, world)


def follow(state: State, world: "World", day: int, turn: int, clicks: Columns) -> Columns:
    """The visits that mails cause within a day that has been played already."""
    rng = chance.stream(world.seed, Purpose.VISITS, day, turn)
    return _dressed(state, rng, [_from_clicks(state, rng, day, clicks)], world)


def _dressed(state: State, rng: np.random.Generator, parts: list[Columns], world: "World") -> Columns:
    visits = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(visits["at"], kind="stable")
    visits = {name: values[order] for name, values in visits.items()}
    known = (visits["person"] >= 0) & (visits["kind"] != Kind.SIGN_UP)
    on_kiosk = known & (rng.random(len(known)) < world.dirt.kiosks)
    visits["kiosk"] = np.where(on_kiosk, rng.integers(0, KIOSKS, len(known)), -1)
    _assign_accounts(state, rng, visits)
    _dress(state, rng, visits, kiosks(world.seed))
    return visits


def kiosks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The anonymous ids of the devices that everybody uses, high and low words; their cookies are never cleared."""
    rng = chance.stream(seed, Purpose.KIOSKS)
    return chance.bits(rng, KIOSKS), chance.bits(rng, KIOSKS)


def _part(rng: np.random.Generator, at: np.ndarray, **columns: np.ndarray | int) -> Columns:
    count = len(at)
    source = rng.choice(len(SOURCES), count, p=np.array([source.weight for source in SOURCES]))
    values = {"source": source, "product": -1, "campaign": -1, "offered": 0, **columns}
    part = {name: np.broadcast_to(np.asarray(value, np.int64), count) for name, value in values.items()}
    return {"at": at, **part}


def _starts(rng: np.random.Generator, day: int, peak: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Instants within the UTC day, at hours that are usual where the visitor lives."""
    count = len(peak)
    hour = np.where(rng.random(count) < 0.8, rng.normal(peak, 2.0), rng.uniform(7.0, 23.5, count))
    local = (hour * HOUR).astype(np.int64) - chance.zone_offsets(day)[zone]
    return chance.start_of(day) + np.clip(local % DAY, SECOND, DAY - 5 * SECOND)


def _of_people(state: State, rng: np.random.Generator, day: int, who: np.ndarray, **columns) -> Columns:
    people = state.people
    at = columns.pop("at", None)
    if at is None:
        weekend = chance.weekday(day) >= 5
        peak = people["peak_hour"][who] + np.where(weekend, people["weekend_shift"][who], 0.0)
        at = _starts(rng, day, peak, people["zone"][who])
    return _part(rng, at, person=who, **columns)


def _sign_ups(state: State, rng: np.random.Generator, day: int, again: int) -> Columns:
    people, accounts = state.people, state.accounts
    new = np.flatnonzero((people["sign_up_day"] == day) & ~people["joins"])
    holder = people["account"]
    legible = traits.is_deliverable(accounts["mail_dirt"][holder]) if len(accounts) else np.zeros(0, bool)
    may = (holder >= 0) & (people["first_account"] == holder) & (people["sign_up_day"] < day - 7) & ~people["joins"]
    candidates = np.flatnonzero(may & legible) if len(accounts) else np.zeros(0, np.int64)
    second = rng.choice(candidates, min(again, len(candidates)), replace=False)
    who = np.concatenate([new, second])
    buys = np.concatenate([people["buys_at_sign_up"][new], rng.random(len(second)) < 0.4])
    people["bought"][who[buys]] = True
    depth = np.where(buys, Depth.ORDER, rng.integers(Depth.LANDING, Depth.ADDING + 1, len(who)))
    return _of_people(state, rng, day, who, kind=Kind.SIGN_UP, depth=depth)


def neighbours(state: State, rng: np.random.Generator, country: np.ndarray) -> np.ndarray:
    """An account by lot of somebody in each of these countries; -1 where there is none."""
    if not len(country) or not len(state.accounts):
        return np.full(len(country), -1, np.int64)
    holders = state.people["country"][state.accounts["person"]]
    order = np.argsort(holders, kind="stable")
    start, end = (np.searchsorted(holders[order], country, side=side) for side in ("left", "right"))
    picked = start + (rng.random(len(country)) * (end - start)).astype(np.int64)
    return np.where(end > start, order[np.minimum(picked, len(order) - 1)], -1)


def _join_households(state: State, rng: np.random.Generator, day: int) -> None:
    """Those who never open an account of their own use one of somebody in their country from this day on."""
    people = state.people
    joiners = np.flatnonzero((people["sign_up_day"] == day) & people["joins"])
    people["account"][joiners] = people["first_account"][joiners] = neighbours(state, rng, people["country"][joiners])


def _orders(state: State, rng: np.random.Generator, day: int, busy: float, behaviour: Behaviour) -> Columns:
    """First orders of those who only signed up, and repeat orders by the beta-geometric story."""
    people = state.people
    settled = (people["account"] >= 0) & people["active"] & (people["sign_up_day"] < day)
    rate = np.where(people["bought"], people["purchase_rate"], effects.FIRST_ORDER_RATE)
    if behaviour.seasons:
        rate = rate * np.maximum(1.0 + people["seasonal"] * (busy - 1.0), 0.05)
    if behaviour.birthdays:
        apart = chance.days_from_birthday(people["birthday"], day)
        rate = np.where(apart <= effects.BIRTHDAY_DAYS, rate * effects.BIRTHDAY_FACTOR, rate)
    if behaviour.fatigue:
        dogs = np.flatnonzero(people["deterrence"] > 0)
        pressure = answers.pressure_at(people, dogs, np.full(len(dogs), chance.start_of(day)))
        rate[dogs] *= np.exp(-people["deterrence"][dogs] * pressure)
    count = np.where(settled, rng.poisson(rate), 0)
    count = np.where(people["bought"], count, np.minimum(count, 1))
    buyers = []
    for turn in range(int(count.max(initial=0))):
        now = np.flatnonzero((count > turn) & people["active"])
        buyers.append(now)
        _after_order(state, rng, now)
    who = np.concatenate(buyers) if buyers else np.zeros(0, np.int64)
    return _of_people(state, rng, day, who, kind=Kind.ORDER, depth=int(Depth.ORDER))


def _after_order(state: State, rng: np.random.Generator, who: np.ndarray) -> None:
    """A repeat order may be the last one; a first order never is."""
    people = state.people
    leaves = (rng.random(len(who)) < people["dropout"][who]) & people["bought"][who]
    people["active"][who[leaves]] = False
    people["bought"][who] = True


def _clicks(state: State, rng: np.random.Generator, day: int) -> Columns:
    """Visits of the day that a mail has caused."""
    due = state.clicks["at"] < chance.start_of(day + 1)
    clicks = {name: values[due].copy() for name, values in state.clicks.arrays().items()}
    state.clicks.keep(~due)
    return _from_clicks(state, rng, day, clicks)


def _from_clicks(state: State, rng: np.random.Generator, day: int, clicks: Columns) -> Columns:
    """They start where the mail's link led; who has left the shop for good buys no more."""
    who = clicks["person"].astype(np.int64)
    depth = rng.choice(5, len(who), p=[0.42, 0.34, 0.13, 0.07, 0.04])
    buys = clicks["buys"] & state.people["active"][who]
    first = np.zeros(len(who), bool)
    first[np.unique(who, return_index=True)[1]] = True
    buys &= first  # one order a day from mails
    _after_order(state, rng, who[buys])
    return _of_people(
        state,
        rng,
        day,
        who,
        at=clicks["at"],
        kind=Kind.CLICK,
        depth=np.where(buys, Depth.ORDER, depth),
        source=NEWSLETTER,
        product=clicks["product"],
        campaign=clicks["campaign"],
        offered=clicks["offered"],
    )


def _browsing(state: State, rng: np.random.Generator, day: int, busy: float, behaviour: Behaviour) -> Columns:
    """Visits without a purpose, and those of people who have not signed up yet."""
    people = state.people
    ahead = people["sign_up_day"] - day
    rate = people["visit_rate"] * busy
    if behaviour.seasons:
        rate = rate * chance.WEEKDAY[chance.weekday(day)]
    rate = np.where(people["active"], rate, rate * LEFT_FOR_GOOD)
    rate = np.where((ahead > 0) & (ahead <= people["lead_days"]), 0.3, rate)
    rate = np.where((ahead == 0) | (ahead > people["lead_days"]), 0.0, rate)
    who = np.repeat(np.arange(len(people)), rng.poisson(rate))
    depth = rng.choice(5, len(who), p=[0.24, 0.48, 0.15, 0.09, 0.04])
    return _of_people(state, rng, day, who, kind=Kind.BROWSE, depth=depth)


def _anonymous(size: int, rng: np.random.Generator, day: int, busy: float) -> Columns:
    """People who never sign up; a few of them buy as guests."""
    count = rng.poisson((1.0 + 0.014 * size) * busy) if size else 0
    depth = rng.choice(5, count, p=[0.55, 0.32, 0.07, 0.04, 0.02])
    depth = np.where(rng.random(count) < GUEST_CONVERSION, Depth.ORDER, depth)
    country = _countries(rng, count)
    zone = traits.draw_zones(rng, country)
    at = _starts(rng, day, np.full(count, 19.0), zone)
    return _part(rng, at, person=-1, kind=Kind.ANONYMOUS, depth=depth)


def _bots(rng: np.random.Generator, day: int, mean: float) -> Columns:
    count = rng.poisson(mean)
    at = chance.start_of(day) + rng.integers(SECOND, DAY - 120 * SECOND, count)
    return _part(rng, at, person=-1, kind=Kind.BOT, depth=int(Depth.PRODUCTS), source=0)


def _countries(rng: np.random.Generator, count: int) -> np.ndarray:
    weights = np.array([country.weight for country in COUNTRIES])
    return rng.choice(len(COUNTRIES), count, p=weights / weights.sum())


def _assign_accounts(state: State, rng: np.random.Generator, visits: Columns) -> None:
    """Number the accounts about to be opened, and choose one for people who hold two."""
    people = state.people
    person, kind = visits["person"], visits["kind"]
    signs_up = kind == Kind.SIGN_UP
    known = person >= 0
    first, last = people["first_account"][person], people["account"][person]
    account = np.where(known, np.where(rng.random(len(person)) < 0.4, first, last), -1).astype(np.int64)
    account[signs_up] = len(state.accounts) + np.arange(signs_up.sum())
    visits["account"] = account
    visits["again"] = signs_up & (first >= 0)
    device = np.where(rng.random(len(person)) < np.where(known, people["mobile_share"][person], 0.42), 1, 0)
    visits["device"] = device
    own = visits["kiosk"] < 0  # nobody stays logged in on a kiosk
    was_known = known & own & people["device_known"][person, device]
    visits["logged_in"] = was_known & ~signs_up & (account >= 0) & (rng.random(len(person)) < STAYS_LOGGED_IN)
    buys = visits["depth"] == Depth.ORDER
    guest = (account >= 0) & ~signs_up & ~visits["logged_in"] & buys & (rng.random(len(person)) < GUEST_CHECKOUT)
    visits["as_guest"] = buys & ((account < 0) | guest)
    keen = (visits["depth"] >= Depth.CART) & (rng.random(len(person)) < 0.6)
    visits["logs_in"] = (account >= 0) & ~signs_up & ~visits["logged_in"] & ~visits["as_guest"] & (keen | buys)
    visits["blocked"] = rng.random(len(person)) < BLOCKED
    identified = (signs_up | visits["logs_in"]) & ~visits["blocked"] & own
    people["device_known"][person[identified], device[identified]] = True


def _rotate_cookies(state: State, rng: np.random.Generator) -> None:
    """Cookies are cleared now and then: the device comes back as somebody unknown."""
    people = state.people
    person, device = np.nonzero(rng.random(people["device_known"].shape) < 1 / 150)
    people["anonymous_high"][person, device] = chance.bits(rng, len(person))
    people["anonymous_low"][person, device] = chance.bits(rng, len(person))
    people["device_known"][person, device] = False


def _dress(state: State, rng: np.random.Generator, visits: Columns, shared: tuple[np.ndarray, np.ndarray]) -> None:
    """Where each visitor is, what they browse with, and the anonymous id of the device."""
    people = state.people
    person, device = visits["person"], visits["device"]
    known, count = person >= 0, len(person)
    stranger = _countries(rng, count)
    visits["country"] = np.where(known, people["country"][person], stranger)
    visits["zone"] = np.where(known, people["zone"][person], traits.draw_zones(rng, stranger))
    agent = traits.draw_agents(rng, count)[np.arange(count), device]
    bot = FIRST_BOT + rng.integers(0, len(AGENTS) - FIRST_BOT, count)
    agent = np.where(visits["kind"] == Kind.BOT, bot, agent)
    kiosk = visits["kiosk"]
    visits["agent"] = np.where(kiosk >= 0, 0, np.where(known, people["agent"][person, device], agent))
    for word, ids in zip(("anonymous_high", "anonymous_low"), shared, strict=True):
        own = np.where(known, people[word][person, device], chance.bits(rng, count))
        visits[word] = np.where(kiosk >= 0, ids[kiosk], own)
