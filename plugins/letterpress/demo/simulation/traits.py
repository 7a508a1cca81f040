"""Hidden traits: who the customers are, what drives them, and what the shop sells. Laws in the comments."""

from typing import TYPE_CHECKING, Any

import numpy as np

from letterpress.demo.simulation import effects
from letterpress.demo.simulation.chance import Purpose, bits, day_of_year, stream
from letterpress.demo.simulation.switches import Dirt
from letterpress.demo.simulation.vocabulary import (
    ADJECTIVES,
    CATEGORIES,
    COUNTRIES,
    DESKTOP_AGENTS,
    FIRST_MOBILE,
    MAIL_DOMAINS,
    MOBILE_AGENTS,
)

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World

LONGEST_LEAD = 14  # days that somebody may look around before signing up
PRODUCTS = 120

# How an address was typed.
CLEAN, MISSING, INVALID, TAGGED = 0, 5, 6, 7
MESSY = (1, 2, 3, 4)  # mixed case, upper case, a blank behind, a blank before


def sign_ups(seed: int, customers: int, days: int) -> np.ndarray:
    """How many accounts open on each day of the history: many after the opening, exactly ``customers`` in all."""
    age = np.arange(days)
    weight = 1.0 + 2.5 * np.exp(-age / 35.0)
    return stream(seed, Purpose.COHORTS).multinomial(customers, weight / weight.sum())


def cohort(world: "World", day: int, history: np.ndarray) -> tuple[int, int, int]:
    """Who turns up on a day: new people, second accounts, and new people who use somebody else's account.

    A function of the day alone, known beforehand; new people and second accounts are all the day's sign-ups.
    """
    rng = stream(world.seed, Purpose.COHORTS, day)
    index = day - world.first_day
    rate = history.sum() / (len(history) + 2.5 * 35.0)
    count = int(history[index]) if index < len(history) else int(rng.poisson(rate))
    settled = index >= LONGEST_LEAD
    again = int(rng.binomial(count, world.dirt.second_accounts)) if settled else 0
    joining = int(rng.binomial(count, world.dirt.shared_accounts)) if settled else 0
    return count - again, again, joining


def draw_people(seed: int, day: int, count: int, joining: int) -> dict[str, Any]:
    """The people who turn up on a day, one value or array for each column of ``PEOPLE``; the last ones join."""
    rng = stream(seed, Purpose.PEOPLE, day)
    count += joining
    country = rng.choice(len(COUNTRIES), count, p=_shares([c.weight for c in COUNTRIES]))
    age = np.clip(rng.gamma(9.0, 4.6, count), 18, 92)
    taste = rng.dirichlet(np.full(len(CATEGORIES), 0.45), count) if count else np.zeros((0, len(CATEGORIES)))
    rate = rng.gamma(effects.RATE_SHAPE, 1 / effects.RATE_SCALE, count)
    thrift = rng.beta(1.5, 2.5, count)
    weariness = rng.gamma(1.0, 1.0, count)
    uplift = draw_uplift(rng, rate, thrift, weariness)
    joins = np.arange(count) >= count - joining
    birth_day = day - (age * 365.25).astype(np.int64)
    return {
        "country": country,
        "zone": draw_zones(rng, country),
        "first_name": rng.integers(0, 1 << 20, count),
        "last_name": rng.integers(0, 1 << 20, count),
        "birth_day": birth_day,
        "birthday": day_of_year(birth_day),
        "mail_style": rng.integers(0, 4, count),
        "mail_domain": rng.choice(len(MAIL_DOMAINS), count, p=[0.6, 0.25, 0.15]),
        "joins": joins,
        "sign_up_day": day,
        "lead_days": np.where(~joins & (rng.random(count) < 0.45), rng.integers(1, LONGEST_LEAD + 1, count), 0),
        "buys_at_sign_up": rng.random(count) < 0.58,
        "consents_at_sign_up": rng.random(count) < 0.71,
        "purchase_rate": rate,
        "dropout": rng.beta(*effects.DROPOUT, count),
        "basket": rng.gamma(effects.BASKET_SHAPE, effects.BASKET_SCALE, count),
        "thrift": thrift,
        "taste": np.cumsum(taste, axis=1),
        "seasonal": rng.gamma(4.0, 0.25, count),
        "visit_rate": rng.gamma(0.8, 0.062, count),
        "peak_hour": np.where(rng.random(count) < 0.65, rng.normal(20.0, 1.4, count), rng.normal(12.6, 1.5, count)),
        "weekend_shift": rng.normal(-1.5, 2.0, count),
        "mobile_share": rng.beta(1.7, 2.3, count),
        "open_rate": rng.beta(*effects.OPEN, count),
        "click_rate": rng.beta(*effects.CLICK, count),
        "subject_taste": rng.normal(effects.SUBJECT_MEANS, effects.SUBJECT_SPREADS, (count, len(effects.Subject))),
        "uplift": uplift,
        "persuasion": draw_persuasion(rng, uplift, thrift),
        "deterrence": np.where(uplift == effects.Uplift.SLEEPING_DOG, rng.uniform(*effects.DETERRENCE, count), 0.0),
        "mail_weariness": weariness,
        "opens_by_machine": rng.random(count) < effects.MACHINE_READERS,
        "scanner": np.where(
            rng.random(count) < effects.SCANNED_MAILBOXES, 1 + (rng.random(count) < effects.HIDDEN_SCANNERS), 0
        ),
        "dead_mailbox": rng.random(count) < effects.DEAD_AT_SIGN_UP,
        "agent": draw_agents(rng, count),
        "active": True,
        "bought": False,
        "account": -1,
        "first_account": -1,
        "pressure": 0.0,
        "pressure_at": 0,
        "anonymous_high": bits(rng, count, 2),
        "anonymous_low": bits(rng, count, 2),
        "device_known": False,
    }


def draw_uplift(rng: np.random.Generator, rate: np.ndarray, thrift: np.ndarray, weariness: np.ndarray) -> np.ndarray:
    """Which of ``effects.Uplift`` each person is: the thrifty are persuadable, frequent buyers buy anyway."""
    lean = np.zeros((len(rate), len(effects.Uplift)))
    lean[:, effects.Uplift.PERSUADABLE] = 1.2 * (thrift - 0.375) / 0.22
    lean[:, effects.Uplift.SURE_THING] = 0.9 * (np.log(np.maximum(rate, 1e-6)) + 3.9)
    lean[:, effects.Uplift.SLEEPING_DOG] = 0.8 * (weariness - 1.0)
    gumbel = rng.gumbel(size=lean.shape)
    return np.argmax(np.log(effects.UPLIFT_SHARES) + lean + gumbel, axis=1)


def draw_persuasion(rng: np.random.Generator, uplift: np.ndarray, thrift: np.ndarray) -> np.ndarray:
    """How much each kind of message adds, a column for each of ``effects.Message``."""
    spread = rng.normal(0.0, effects.PERSUASION_SPREAD, (len(uplift), len(effects.Message)))
    persuasion = effects.PERSUASION[uplift][:, None] * effects.KIND_EFFECTS * np.exp(spread)
    persuasion[:, effects.Message.OFFER] *= 0.6 + 1.1 * thrift
    return persuasion


def draw_zones(rng: np.random.Generator, country: np.ndarray) -> np.ndarray:
    """A zone for each country drawn, by the share of people who live in it."""
    zones, offset = np.zeros(len(country), dtype=np.int64), 0
    chance = rng.random(len(country))
    for index, candidate in enumerate(COUNTRIES):
        cumulative = np.cumsum(_shares([weight for _, weight in candidate.zones]))
        picked = np.minimum(np.searchsorted(cumulative, chance, side="right"), len(cumulative) - 1)
        zones = np.where(country == index, offset + picked, zones)
        offset += len(candidate.zones)
    return zones


def draw_agents(rng: np.random.Generator, count: int) -> np.ndarray:
    """A desktop browser and a mobile one for each person."""
    desktop = rng.integers(0, len(DESKTOP_AGENTS), count)
    mobile = FIRST_MOBILE + rng.integers(0, len(MOBILE_AGENTS), count)
    return np.stack([desktop, mobile], axis=1)


def draw_mail_dirt(rng: np.random.Generator, count: int, dirt: Dirt) -> np.ndarray:
    """How an address was typed: ``CLEAN``, one of ``MESSY``, ``MISSING``, ``INVALID`` or ``TAGGED``."""
    messy = dirt.messy_emails * np.array([0.48, 0.2, 0.2, 0.12])
    wrong = [*messy, dirt.missing_emails, dirt.invalid_emails, dirt.plus_tags]
    return rng.choice(8, count, p=[1.0 - sum(wrong), *wrong])


def is_deliverable(mail_dirt: np.ndarray) -> np.ndarray:
    """Whether mail to an address that was typed so arrives."""
    return (mail_dirt != MISSING) & (mail_dirt != INVALID)


def draw_products(world: "World") -> dict[str, Any]:
    """The catalogue: fifteen things a shelf, a fifth of them added later; stock for so many customers."""
    rng, first_day, days = stream(world.seed, Purpose.CATALOGUE), world.first_day, world.days
    category = np.repeat(np.arange(len(CATEGORIES)), PRODUCTS // len(CATEGORIES))
    thing = np.tile(np.arange(PRODUCTS // len(CATEGORIES)), len(CATEGORIES))
    median = np.array([shelf.median_price for shelf in CATEGORIES])[category]
    price = draw_price_endings(rng, median * 100 * np.exp(rng.normal(0, 0.45, PRODUCTS)))
    popularity = rng.pareto(1.6, PRODUCTS) + 0.3
    later = rng.random(PRODUCTS) < 0.2
    created = np.where(
        later, first_day + rng.integers(1, max(days, 2), PRODUCTS), first_day - rng.integers(5, 40, PRODUCTS)
    )
    size = max(world.customers / 1_000, 1.0)
    delivery = np.ceil(12 * popularity * size).astype(np.int64) + 12
    order = np.argsort(created, kind="stable")  # numbers in the order of creation
    columns = {
        "category": category,
        "name": rng.integers(0, len(ADJECTIVES), PRODUCTS) * 100 + thing,
        "popularity": popularity,
        "created_day": created,
        "price": price,
        "stock": delivery + rng.integers(0, 12, PRODUCTS),
        "reorder_at": delivery // 3,
        "delivery": delivery,
    }
    return {name: values[order] for name, values in columns.items()}


def draw_price_endings(rng: np.random.Generator, pence: np.ndarray) -> np.ndarray:
    """Prices as shops like them: whole pounds less one penny, or a half."""
    pounds = np.maximum(np.floor(pence / 100), 1)
    ending = rng.choice(np.array([99, 95, 50, 0]), len(pence), p=[0.45, 0.25, 0.2, 0.1])
    return (pounds * 100 + ending).astype(np.int64)


def _shares(weights: list[float]) -> np.ndarray:
    total = np.array(weights)
    return total / total.sum()
