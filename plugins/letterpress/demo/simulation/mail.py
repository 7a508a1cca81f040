"""The shop's own mail: what is sent to whom, and what its readers do with it.

A newsletter every Tuesday, a greeting to new subscribers, a mail on the birthday. The newsletter is an honest
experiment: a tenth of the readers gets none, the others one of its subject lines by lot, and three in ten of them
at an hour by lot.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import answers, chance, effects, reading, traits
from letterpress.demo.simulation.answers import Answers, Mailing
from letterpress.demo.simulation.chance import HOUR, SECOND, Purpose
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns
from letterpress.demo.simulation.vocabulary import BIRTHDAY_THEME, CATEGORIES, THEMES, WELCOME_THEME, Theme

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World

TUESDAY = 1
WELCOMED_AT = 8 * HOUR
SENT_AT = 9 * HOUR
WELCOME, BIRTHDAY = 0, 1  # the campaign numbers of the standing mails; a newsletter's number is its day
EXTERNAL = 1_000_000  # campaigns of others are numbered from here, see ``State.campaigns``
HELD_OUT = 0.1  # of a newsletter's readers
AT_ANY_HOUR = 0.3  # of those who get it

GRANTED, WITHDRAWN = 1, 2
UNSUBSCRIBE_LINK = 3


class Mail(IntEnum):
    """What can happen to a message."""

    SENT = 0
    DELIVERED = 1
    OPEN = 2
    CLICK = 3
    BOUNCE = 4
    UNSUBSCRIBE = 5
    COMPLAINT = 6


EVENT_COLUMNS = (
    *("account", "type", "at", "bounce", "machine", "scanned", "link", "product", "received_at"),
    *("campaign", "variant", "day", "id_high", "id_low"),
)
EVENT_TYPES = tuple(kind.name.lower() for kind in Mail)
BOUNCE_TYPES = (None, "hard", "soft")


def theme(campaign: int) -> Theme:
    """What a campaign is about, and its subject lines."""
    if campaign in (WELCOME, BIRTHDAY):
        return (WELCOME_THEME, BIRTHDAY_THEME)[campaign]
    return THEMES[campaign // 7 % len(THEMES)]


def featured(state: State, seed: int, campaign: int) -> np.ndarray:
    """The four products that a campaign shows: popular ones of its category and of the others."""
    rng = chance.stream(seed, Purpose.CATALOGUE, campaign)
    products = state.products
    on_sale = products["created_day"] < campaign if campaign > BIRTHDAY else np.ones(len(products), bool)
    weight = np.where(on_sale, products["popularity"], 1e-12)
    weight = weight * np.where(products["category"] == category_of(campaign), 6.0, 1.0)
    return rng.choice(len(products), 4, replace=False, p=weight / weight.sum())


def category_of(campaign: int) -> int:
    """The category that a campaign is about."""
    return (campaign // 7 * 3) % len(CATEGORIES)


def send(state: State, world: "World", day: int) -> tuple[Columns, Columns]:
    """Greetings to yesterday's new subscribers and for birthdays and, on a Tuesday, the newsletter to all who agreed.

    Gives back the mail events and the consents withdrawn by their unsubscribe links (account, at).
    Clicks that lead to a visit are put on the state's list; bounced and complaining accounts are marked.
    """
    rng = chance.stream(world.seed, Purpose.MAIL, day)
    people, accounts = state.people, state.accounts
    people["dead_mailbox"][rng.random(len(people)) < effects.DIES] = True
    may = (accounts["consent"] == GRANTED) & ~accounts["suppressed"] & traits.is_deliverable(accounts["mail_dirt"])
    mailings = [(WELCOME, may & (accounts["signed_up_at"] >= chance.start_of(day - 1)))]
    today = chance.days_from_birthday(people["birthday"], day) == 0
    told = accounts["has_birth_date"] & today[accounts["person"]]
    mailings.append((BIRTHDAY, may & told & world.behaviour.birthdays))
    if chance.weekday(day) == TUESDAY:
        mailings.append((day, may))
    sent = [_play(state, world, rng, day, np.flatnonzero(mask), campaign) for campaign, mask in mailings]
    events = {name: np.concatenate([part[name] for part in sent]) for name in sent[0]}
    left = events["type"] == Mail.UNSUBSCRIBE
    withdrawn = {"account": events["account"][left], "at": events["at"][left] + SECOND}
    accounts["consent"][withdrawn["account"]] = WITHDRAWN
    accounts["consent_day"][withdrawn["account"]] = day
    return events, withdrawn


def _play(
    state: State, world: "World", rng: np.random.Generator, day: int, account: np.ndarray, campaign: int
) -> Columns:
    """Every event of one mailing."""
    accounts = state.accounts
    lots = chance.keyed(world.seed, Purpose.MAILINGS, _number(account, campaign, day), 4)
    hour = np.full(len(account), WELCOMED_AT)
    if campaign > BIRTHDAY:
        kept = lots[:, 0] >= HELD_OUT
        account, lots = account[kept], lots[kept]
        hour = np.where(lots[:, 1] < AT_ANY_HOUR, np.floor(lots[:, 2] * 24) * HOUR, SENT_AT).astype(np.int64)
    subjects = theme(campaign).subjects
    variant = (lots[:, 3] * len(subjects)).astype(np.int64)
    offered = featured(state, world.seed, campaign)
    shelf = category_of(campaign) if "{category}" in theme(campaign).name else -1
    person = accounts["mail_person"][account]
    mailing = Mailing(
        number=_number(account, campaign, day),
        person=person,
        at=chance.start_of(day) + hour + np.arange(len(account)) * 5,
        kind=np.array([reading.kind(subject, theme(campaign).name) for subject in subjects])[variant],
        subject=np.array([reading.features(subject, "") for subject in subjects])[variant],
        shelf=np.full(len(account), shelf),
        links=np.broadcast_to(offered, (len(account), len(offered))),
    )
    played = answers.answer(state, world.seed, world.behaviour, mailing)
    accounts["suppressed"][account[played.hard | played.complains]] = True
    state.clicks.append(visits_caused(played, mailing, np.full(len(account), campaign)))
    events = collect(played, mailing)
    row = events.pop("mail")
    count = len(row)
    late = rng.random(count) < world.dirt.late_hours
    delay = np.where(late, rng.integers(HOUR, 47 * HOUR, count), rng.integers(300, 20 * SECOND, count))
    return {
        "account": account[row],
        **events,
        "received_at": events["at"] + delay,
        "campaign": np.full(count, campaign),
        "variant": variant[row],
        "day": np.full(count, day),
        "id_high": chance.bits(rng, count),
        "id_low": chance.bits(rng, count),
    }


def _number(account: np.ndarray, campaign: int, day: int) -> np.ndarray:
    """The identity of a mail: its account, day and standing or weekly campaign."""
    return (account.astype(np.uint64) << np.uint64(20)) | np.uint64(day * 4 + min(campaign, 2))


def visits_caused(played: Answers, mailing: Mailing, campaign: np.ndarray) -> Columns:
    """The visits that the mails lead to, as rows of ``State.clicks``."""
    rows = np.flatnonzero(played.visits)
    return {
        "at": played.visit_at[rows],
        "person": mailing.person[rows],
        "product": np.maximum(mailing.links[rows, played.link[rows]], -1),
        "campaign": campaign[rows],
        "buys": played.buys[rows],
        "offered": mailing.subject[rows, reading.Subject.DISCOUNT],
    }


def collect(played: Answers, mailing: Mailing) -> Columns:
    """Everything that happened, a row each in the order of mail and time.

    Columns: mail (row of the mailing), type, at, bounce (0 none, 1 hard, 2 soft), machine (0 or 1: known as one),
    scanned (1 by a filter that names itself, 2 by one that hides), link (column of the mailing's links) and product,
    both -1 where nothing of the kind was clicked.
    """
    count, links = mailing.links.shape
    everybody = np.ones(count, bool)
    nothing = {"bounce": 0, "machine": 0, "scanned": 0, "link": np.full(count, -1)}
    parts: list[tuple[int, np.ndarray, np.ndarray, dict]] = [
        (Mail.SENT, everybody, mailing.at, {}),
        (Mail.DELIVERED, ~played.hard & ~played.soft, played.answered_at, {}),
        (Mail.BOUNCE, played.hard, played.answered_at, {"bounce": 1}),
        (Mail.BOUNCE, played.soft, played.answered_at, {"bounce": 2}),
        (Mail.OPEN, played.machine_opens, played.machine_at, {"machine": 1}),
        (Mail.OPEN, played.opens, played.open_at, {}),
        (Mail.OPEN, played.opens_again, played.again_at, {}),
        (Mail.CLICK, played.clicks, played.click_at, {"link": played.link}),
        (Mail.CLICK, played.second_click, played.second_at, {"link": played.second_link}),
        (Mail.UNSUBSCRIBE, played.unsubscribes, played.leaves_at, {}),
        (Mail.COMPLAINT, played.complains, played.leaves_at, {}),
    ]
    for link in range(links):
        there = mailing.links[:, link] != answers.NO_LINK
        scanned = played.answered_at + SECOND + link * 350
        for scanner in (1, 2):
            named = {"machine": 2 - scanner, "scanned": scanner, "link": np.full(count, link)}
            parts.append((Mail.CLICK, there & (played.scanner == scanner), scanned, named))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("mail", "type", "at", *nothing)}
    for kind, mask, at, extra in parts:
        rows = np.flatnonzero(mask)
        columns["mail"].append(rows)
        columns["type"].append(np.full(len(rows), int(kind)))
        columns["at"].append(at[rows])
        for name, value in (nothing | extra).items():
            columns[name].append(np.broadcast_to(np.asarray(value, np.int64), count)[rows])
    events = {name: np.concatenate(values) for name, values in columns.items()}
    order = np.lexsort((events["link"], events["type"], events["at"], events["mail"]))
    events = {name: values[order] for name, values in events.items()}
    link = events["link"]
    target = mailing.links[events["mail"], np.maximum(link, 0)] if count else link
    events["product"] = np.where(link >= 0, np.maximum(target, -1), -1)
    return events
