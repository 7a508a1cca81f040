"""The shop's own mail: what is sent to whom, and how each mailbox and its owner answer."""

from enum import IntEnum

import numpy as np

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.chance import DAY, HOUR, MINUTE, SECOND, Purpose
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns
from letterpress.demo.simulation.vocabulary import CATEGORIES

TUESDAY = 1
WELCOMED_AT = 8 * HOUR
SENT_AT = 9 * HOUR
WELCOME = 0  # the campaign number of the greeting; a newsletter's number is its day
NO_CAMPAIGN = -1

GRANTED, WITHDRAWN = 1, 2
UNSUBSCRIBE_LINK = 3

SOFT_BOUNCES = 0.008
UNSUBSCRIBES = 0.0013  # of the delivered, and more of those who have read
UNSUBSCRIBES_AFTER_READING = 0.009
COMPLAINTS = 0.00035
VISIT_AFTER_CLICK = 0.86
LATE = 0.02


class Mail(IntEnum):
    """What can happen to a message."""

    SENT = 0
    DELIVERED = 1
    OPEN = 2
    CLICK = 3
    BOUNCE = 4
    UNSUBSCRIBE = 5
    COMPLAINT = 6


EVENT_TYPES = tuple(kind.name.lower() for kind in Mail)
BOUNCE_TYPES = (None, "hard", "soft")


def featured(state: State, seed: int, campaign: int) -> np.ndarray:
    """The four products that a campaign shows: popular ones of its category and of the others."""
    rng = chance.stream(seed, Purpose.CATALOGUE, campaign)
    products = state.products
    on_sale = products["created_day"] < campaign if campaign else np.ones(len(products), bool)
    weight = np.where(on_sale, products["popularity"], 1e-12)
    weight = weight * np.where(products["category"] == category_of(campaign), 6.0, 1.0)
    return rng.choice(len(products), 4, replace=False, p=weight / weight.sum())


def category_of(campaign: int) -> int:
    """The category that a campaign is about."""
    return (campaign // 7 * 3) % len(CATEGORIES)


def send(state: State, seed: int, day: int) -> tuple[Columns, Columns]:
    """Greetings to yesterday's new subscribers and, on a Tuesday, the newsletter to everybody who agreed.

    Gives back the mail events and the consents withdrawn by their unsubscribe links (account, at).
    Clicks that lead to a visit are put on the state's list; bounced and complaining accounts are marked.
    """
    rng = chance.stream(seed, Purpose.MAIL, day)
    accounts = state.accounts
    may = (accounts["consent"] == GRANTED) & ~accounts["suppressed"] & (accounts["mail_dirt"] < 5)
    mailings = [(WELCOME, may & (accounts["signed_up_at"] >= chance.start_of(day - 1)), WELCOMED_AT)]
    if chance.weekday(day) == TUESDAY:
        mailings.append((day, may, SENT_AT))
    sent = []
    for campaign, mask, hour in mailings:
        readers = np.flatnonzero(mask)
        at = chance.start_of(day) + hour + np.arange(len(readers)) * 35
        sent.append(_play(state, seed, rng, day, readers, at, campaign))
    events = {name: np.concatenate([part[name] for part in sent]) for name in sent[0]}
    left = events["type"] == Mail.UNSUBSCRIBE
    withdrawn = {"account": events["account"][left], "at": events["at"][left] + SECOND}
    accounts["consent"][withdrawn["account"]] = WITHDRAWN
    accounts["consent_day"][withdrawn["account"]] = day
    return events, withdrawn


def _play(
    state: State, seed: int, rng: np.random.Generator, day: int, account: np.ndarray, sent: np.ndarray, campaign: int
) -> Columns:
    """Every event of one mailing."""
    people, accounts = state.people, state.accounts
    count = len(account)
    person = accounts["person"][account]
    weeks = np.minimum((day - people["sign_up_day"][person]) / 7, 30)
    weariness = people["mail_weariness"][person]

    hard = people["dead_mailbox"][person]
    soft = ~hard & (rng.random(count) < SOFT_BOUNCES)
    arrives = ~hard & ~soft
    answered = sent + rng.integers(SECOND, 25 * SECOND, count)

    by_machine = arrives & people["opens_by_machine"][person]
    machine_at = answered + rng.integers(2 * SECOND, 300 * SECOND, count)
    open_rate = people["open_rate"][person] * np.exp(-0.014 * weariness * weeks)
    open_rate = np.minimum(open_rate * (1.6 if campaign == WELCOME else 1.0), 0.97)
    opens = arrives & (rng.random(count) < open_rate)
    open_at = _next_active_time(state, rng, person, answered)
    again = opens & (rng.random(count) < 0.18)
    again_at = open_at + rng.integers(10 * MINUTE, 9 * HOUR, count)

    clicks = opens & (rng.random(count) < people["click_rate"][person])
    click_at = open_at + rng.integers(4 * SECOND, 90 * SECOND, count)
    offered = featured(state, seed, campaign)
    product = offered[rng.integers(0, len(offered), count)]
    second = clicks & (rng.random(count) < 0.2)
    second_at = click_at + rng.integers(20 * SECOND, 4 * MINUTE, count)
    second_product = offered[rng.integers(0, len(offered), count)]

    had_enough = UNSUBSCRIBES + np.where(opens, UNSUBSCRIBES_AFTER_READING * weariness, 0.0)
    leaves = arrives & (rng.random(count) < had_enough)
    seen_at = np.where(opens, open_at, answered + rng.integers(HOUR, 40 * HOUR, count))
    leaves_at = seen_at + rng.integers(15 * SECOND, 4 * MINUTE, count)
    complains = arrives & ~leaves & (rng.random(count) < COMPLAINTS * (0.5 + weariness))
    accounts["suppressed"][account[hard | complains]] = True

    visits = clicks & (rng.random(count) < VISIT_AFTER_CLICK)
    state.clicks.append(
        {
            "at": (click_at + rng.integers(900, 4_000, count))[visits],
            "person": person[visits],
            "product": product[visits],
            "campaign": np.full(int(visits.sum()), campaign),
        }
    )
    return _collect(
        rng,
        account,
        campaign,
        [
            (Mail.SENT, np.ones(count, bool), sent, {}),
            (Mail.DELIVERED, arrives, answered, {}),
            (Mail.BOUNCE, hard, answered, {"bounce": 1}),
            (Mail.BOUNCE, soft, answered, {"bounce": 2}),
            (Mail.OPEN, by_machine, machine_at, {"machine": 1}),
            (Mail.OPEN, opens, open_at, {}),
            (Mail.OPEN, again, again_at, {}),
            (Mail.CLICK, clicks, click_at, {"product": product}),
            (Mail.CLICK, second, second_at, {"product": second_product}),
            (Mail.UNSUBSCRIBE, leaves, leaves_at, {}),
            (Mail.COMPLAINT, complains, leaves_at, {}),
        ],
    )


def _next_active_time(state: State, rng: np.random.Generator, person: np.ndarray, after: np.ndarray) -> np.ndarray:
    """When people read: some at once, others around their usual hour on one of the next days.

    Never in the last two hours of a UTC day, so that a visit after a click ends on the day it began.
    """
    people = state.people
    count = len(person)
    soon = after + (rng.lognormal(3.6, 1.1, count) * MINUTE).astype(np.int64)
    offset = chance.zone_offsets(int(after[0] // DAY))[people["zone"][person]] if count else 0
    hour = (rng.normal(people["peak_hour"][person], 1.5) * HOUR).astype(np.int64) - offset
    wait = np.minimum(rng.geometric(0.62, count) - 1, 4) * DAY
    usual = after + (hour - after) % DAY + wait
    at = np.where(rng.random(count) < 0.35, np.minimum(soon, after + 20 * HOUR), usual)
    return np.where(at % DAY >= 22 * HOUR, at + 9 * HOUR, at)


def _collect(
    rng: np.random.Generator, account: np.ndarray, campaign: int, parts: list[tuple[int, np.ndarray, np.ndarray, dict]]
) -> Columns:
    """One row an event, in the order of message and time."""
    defaults = {"bounce": 0, "machine": 0, "product": -1}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("account", "type", "at", *defaults)}
    for kind, mask, at, extra in parts:
        rows = int(mask.sum())
        columns["account"].append(account[mask])
        columns["type"].append(np.full(rows, int(kind)))
        columns["at"].append(at[mask])
        for name, value in (defaults | extra).items():
            columns[name].append(np.broadcast_to(np.asarray(value, np.int64), len(mask))[mask])
    events = {name: np.concatenate(values) for name, values in columns.items()}
    order = np.lexsort((events["type"], events["at"], events["account"]))
    events = {name: values[order] for name, values in events.items()}
    count = len(order)
    delay = rng.integers(300, 20 * SECOND, count)
    late = rng.random(count) < LATE
    events["received_at"] = events["at"] + np.where(late, rng.integers(HOUR, 47 * HOUR, count), delay)
    events["campaign"] = np.full(count, campaign)
    events["id_high"], events["id_low"] = chance.bits(rng, count), chance.bits(rng, count)
    return events
