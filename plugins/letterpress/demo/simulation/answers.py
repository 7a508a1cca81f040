"""What people do with a mail: whether and when they open it, follow it, buy because of it, or leave.

The same functions answer the shop's own mail and what the local ESP delivered. An answer depends on the person, the
mail and the instant, never on what else is answered with it: every chance is drawn by the mail's own number.
"""

from dataclasses import dataclass

import numpy as np

from letterpress.demo.simulation import chance, effects
from letterpress.demo.simulation.chance import DAY, HOUR, MINUTE, SECOND, Purpose
from letterpress.demo.simulation.effects import Message, Uplift
from letterpress.demo.simulation.switches import Behaviour
from letterpress.demo.simulation.tables import State, Table

Columns = dict[str, np.ndarray]

_DRAWS = 20


GENERAL, NO_LINK, FIRST_SHELF = -1, -2, -10


@dataclass(frozen=True)
class Mailing:
    """Mails as they reach people, one value a mail; ``links`` has a column for each link.

    A link leads to a product (its number), to a category (``FIRST_SHELF`` less the category), to the shop in
    ``GENERAL``, or there is ``NO_LINK`` in that column.
    """

    number: np.ndarray  # uint64: the mail's identity
    person: np.ndarray
    at: np.ndarray  # delivered, in milliseconds
    kind: np.ndarray  # effects.Message
    subject: np.ndarray  # (mails, effects.Subject) of bool: what the subject line has
    shelf: np.ndarray  # the category it is about, -1 for none
    links: np.ndarray  # (mails, n)


def tastes(people: Table, person: np.ndarray) -> np.ndarray:
    """How much each person likes each category: shares, (people, categories)."""
    return np.diff(people["taste"][person].astype(np.float64), axis=1, prepend=0.0)


def link_fit(people: Table, products: Table, mailing: Mailing) -> np.ndarray:
    """How well each link suits the reader, 0 to 1, (mails, n): a category that holds half of the taste fits.

    -1 where a link leads to no product and no category.
    """
    links = mailing.links
    shelf = np.where(links >= 0, products["category"][np.maximum(links, 0)], FIRST_SHELF - links)
    rows = np.arange(len(links))[:, None]
    shown = (links >= 0) | (links <= FIRST_SHELF)
    taste = np.minimum(2.0 * tastes(people, mailing.person), 1.0)
    return np.where(shown, taste[rows, np.where(shown, shelf, 0)], -1.0)


def fit(people: Table, mailing: Mailing, by_link: np.ndarray) -> np.ndarray:
    """How well a mail's content suits its reader, 0 to 1: the mean of what it shows, else its category, else 0."""
    shown = by_link >= 0
    count = shown.sum(axis=1)
    mean = np.where(shown, by_link, 0.0).sum(axis=1) / np.maximum(count, 1)
    taste = np.minimum(2.0 * tastes(people, mailing.person), 1.0)
    topic = taste[np.arange(len(count)), np.maximum(mailing.shelf, 0)]
    return np.where(count > 0, mean, np.where(mailing.shelf >= 0, topic, 0.0))


def best_hour(people: Table, person: np.ndarray, weekend: np.ndarray | bool) -> np.ndarray:
    """The hour of the day, in their own zone, at which people read most."""
    return (people["peak_hour"][person] + np.where(weekend, people["weekend_shift"][person], 0.0)) % 24.0


def hour_factor(people: Table, person: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What the hour of delivery makes of the opens: 1 at the person's best hour, less away from it."""
    local = at + _offsets(people, person, at)
    weekend = (local // DAY + 3) % 7 >= 5
    apart = np.abs(local % DAY / HOUR - best_hour(people, person, weekend))
    apart = np.minimum(apart, 24.0 - apart)
    return 1.0 - effects.HOUR_EFFECT * (1.0 - np.exp(-0.5 * (apart / effects.HOUR_WIDTH) ** 2))


def open_chance(people: Table, mailing: Mailing, pressure: np.ndarray, behaviour: Behaviour) -> np.ndarray:
    """The chance that each mail is opened by its reader, under so much ``pressure`` of earlier mails."""
    person = mailing.person
    logs = (people["subject_taste"][person] * mailing.subject).sum(axis=1)
    liked = np.minimum(2.0 * tastes(people, person), 1.0)[np.arange(len(person)), np.maximum(mailing.shelf, 0)]
    logs = logs + np.where(mailing.shelf >= 0, effects.TOPIC_EFFECT * (liked - 0.25), 0.0)
    if behaviour.fatigue:
        logs = logs - effects.TIRED_OPENS * people["mail_weariness"][person] * pressure
    factor = np.where(mailing.kind == Message.WELCOME, effects.WELCOME_OPENS, 1.0)
    if behaviour.birthdays:
        apart = chance.days_from_birthday(people["birthday"][person], mailing.at // DAY)
        timely = (mailing.kind == Message.BIRTHDAY) & (apart <= 3)
        factor = np.where(timely, effects.BIRTHDAY_OPENS, factor)
    rate = people["open_rate"][person] * hour_factor(people, person, mailing.at) * factor * np.exp(logs)
    return np.minimum(rate, effects.NOT_A_READER)


def click_chance(people: Table, mailing: Mailing, fits: np.ndarray) -> np.ndarray:
    """The chance that a reader who has opened follows a link."""
    rate = people["click_rate"][mailing.person] * np.exp(effects.CONTENT_EFFECT * fits)
    rate = np.where((mailing.links != NO_LINK).any(axis=1), rate, 0.0)
    return np.minimum(rate, effects.NOT_A_READER)


def order_chance(people: Table, mailing: Mailing, fits: np.ndarray) -> np.ndarray:
    """The chance that a visit from the mail ends in an order that would not have been without it."""
    persuasion = people["persuasion"][mailing.person, mailing.kind]
    return np.minimum(effects.CONVERSION * persuasion * np.exp(effects.FIT_CONVERSION * fits), 0.9)


def pressure_at(people: Table, person: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The pressure of earlier mails at an instant: each counted one and decays by e in ``PRESSURE_DAYS``."""
    passed = np.maximum(at - people["pressure_at"][person], 0) / (effects.PRESSURE_DAYS * DAY)
    return people["pressure"][person] * np.exp(-passed)


@dataclass(frozen=True)
class Answers:
    """What becomes of each mail of a mailing: masks and instants, one value a mail."""

    hard: np.ndarray
    soft: np.ndarray
    answered_at: np.ndarray  # delivered or bounced
    machine_opens: np.ndarray
    machine_at: np.ndarray
    scanner: np.ndarray  # 1: every link followed at delivery by one that names itself; 2: by one that hides
    opens: np.ndarray
    open_at: np.ndarray
    opens_again: np.ndarray
    again_at: np.ndarray
    clicks: np.ndarray
    click_at: np.ndarray
    link: np.ndarray  # the column of links that was clicked
    second_click: np.ndarray
    second_at: np.ndarray
    second_link: np.ndarray
    unsubscribes: np.ndarray
    complains: np.ndarray
    leaves_at: np.ndarray
    visits: np.ndarray
    visit_at: np.ndarray
    buys: np.ndarray


def answer(state: State, seed: int, behaviour: Behaviour, mailing: Mailing) -> Answers:
    """Play the readers of a mailing; the pressure on their mailboxes goes up by each mail that arrives."""
    people, person = state.people, mailing.person
    draw = chance.keyed(seed, Purpose.ANSWERS, mailing.number, _DRAWS).T
    hard = people["dead_mailbox"][person]
    soft = ~hard & (draw[0] < effects.SOFT_BOUNCES)
    arrives = ~hard & ~soft
    answered = mailing.at + (SECOND + draw[1] * 24 * SECOND).astype(np.int64)
    pressure = _press(people, person, mailing.at, arrives)

    opens = arrives & (draw[2] < open_chance(people, mailing, pressure, behaviour))
    open_at = _reading_time(people, person, answered, draw[3], draw[4], draw[5])
    by_link = link_fit(people, state.products, mailing)
    fits = fit(people, mailing, by_link)
    clicks = opens & (draw[6] < click_chance(people, mailing, fits))
    click_at = open_at + (4 * SECOND + draw[7] * 86 * SECOND).astype(np.int64)
    second_at = click_at + (20 * SECOND + draw[8] * 220 * SECOND).astype(np.int64)

    weariness = people["mail_weariness"][person]
    tired = 1.0 + effects.TIRED_LEAVES * weariness * pressure if behaviour.fatigue else np.ones(len(person))
    had_enough = effects.UNSUBSCRIBES + np.where(opens, effects.UNSUBSCRIBES_AFTER_READING * weariness, 0.0)
    driven = np.where(people["uplift"][person] == Uplift.SLEEPING_DOG, effects.DRIVEN_AWAY, 1.0)
    leaves = arrives & (draw[9] < np.minimum(had_enough * tired * driven, 0.5))
    complains = arrives & ~leaves & (draw[10] < effects.COMPLAINTS * (0.5 + weariness) * tired)
    seen_at = np.where(opens, open_at, answered + (HOUR + draw[11] * 39 * HOUR).astype(np.int64))
    visits = clicks & (draw[12] < effects.VISIT_AFTER_CLICK)
    return Answers(
        hard=hard,
        soft=soft,
        answered_at=answered,
        machine_opens=arrives & people["opens_by_machine"][person],
        machine_at=answered + (2 * SECOND + draw[13] * 298 * SECOND).astype(np.int64),
        scanner=np.where(arrives, people["scanner"][person], 0),
        opens=opens,
        open_at=open_at,
        opens_again=opens & (draw[14] < 0.18),
        again_at=open_at + (10 * MINUTE + draw[15] * 8.8 * HOUR).astype(np.int64),
        clicks=clicks,
        click_at=click_at,
        link=_which(mailing.links, by_link, draw[16]),
        second_click=clicks & (draw[17] < 0.2),
        second_at=second_at,
        second_link=_which(mailing.links, by_link, draw[18]),
        unsubscribes=leaves,
        complains=complains,
        leaves_at=seen_at + (15 * SECOND + draw[11] * 225 * SECOND).astype(np.int64),
        visits=visits,
        visit_at=click_at + (900 + draw[8] * 3_100).astype(np.int64),
        buys=visits & (draw[19] < order_chance(people, mailing, fits)) & behaviour.mail_effect,
    )


def _press(people: Table, person: np.ndarray, at: np.ndarray, arrives: np.ndarray) -> np.ndarray:
    """The pressure before each mail; then each that arrives adds one. People may be named several times."""
    before = np.zeros(len(person))
    order = np.lexsort((at, person))
    first = np.ones(len(order), bool)
    first[1:] = person[order][1:] != person[order][:-1]
    turn = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    for now in range(int(turn.max(initial=-1)) + 1):
        rows = order[turn == now]
        who = person[rows]
        before[rows] = pressure_at(people, who, at[rows])
        people["pressure"][who] = before[rows] + arrives[rows]
        people["pressure_at"][who] = np.maximum(people["pressure_at"][who], at[rows])
    return before


def _offsets(people: Table, person: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Milliseconds that each reader's zone is ahead of UTC."""
    zone, day = people["zone"][person], at // DAY
    offsets = np.zeros(len(person), np.int64)
    for each in np.unique(day):
        that = day == each
        offsets[that] = chance.zone_offsets(int(each))[zone[that]]
    return offsets


def _reading_time(
    people: Table, person: np.ndarray, after: np.ndarray, soon: np.ndarray, hour: np.ndarray, wait: np.ndarray
) -> np.ndarray:
    """When people read: some at once, others around their usual hour on one of the next days.

    Never in the last two hours of a UTC day, so that a visit after a click ends on the day it began.
    """
    from scipy.special import ndtri

    minutes = np.exp(3.6 + 1.1 * ndtri(np.clip(soon / 0.35, 1e-9, 1 - 1e-9)))
    at_once = after + np.minimum(minutes * MINUTE, 20 * HOUR).astype(np.int64)
    offset = _offsets(people, person, after)
    weekend = ((after + offset) // DAY + 3) % 7 >= 5
    usual = best_hour(people, person, weekend) + 1.5 * ndtri(np.clip(hour, 1e-9, 1 - 1e-9))
    usual = (usual * HOUR).astype(np.int64) - offset
    days = np.minimum(np.floor(np.log(np.maximum(wait, 1e-12)) / np.log(1 - 0.62)), 4).astype(np.int64)
    at = np.where(soon < 0.35, at_once, after + (usual - after) % DAY + days * DAY)
    return np.where(at % DAY >= 22 * HOUR, at + 9 * HOUR, at)


def _which(links: np.ndarray, fits: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """The link that somebody follows: rather one to what suits them."""
    weight = np.cumsum(np.where(links == NO_LINK, 0.0, np.exp(2.0 * np.maximum(fits, 0.0))), axis=1)
    return np.minimum((draw[:, None] * weight[:, -1:] >= weight).sum(axis=1), links.shape[1] - 1)
