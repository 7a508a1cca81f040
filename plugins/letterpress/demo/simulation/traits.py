"""Hidden traits: who the customers are, what drives them, and what the shop sells. Laws in the comments."""

from typing import Any

import numpy as np

from letterpress.demo.simulation.chance import Purpose, bits, stream
from letterpress.demo.simulation.vocabulary import (
    ADJECTIVES,
    CATEGORIES,
    COUNTRIES,
    DESKTOP_AGENTS,
    FIRST_MOBILE,
    MAIL_DOMAINS,
    MOBILE_AGENTS,
)

LONGEST_LEAD = 14  # days that somebody may look around before signing up
DUPLICATE_SHARE = 0.03  # sign-ups by somebody who has an account already
PRODUCTS = 120


def sign_ups(seed: int, customers: int, days: int) -> np.ndarray:
    """How many accounts open on each day of the history: many after the opening, exactly ``customers`` in all."""
    age = np.arange(days)
    weight = 1.0 + 2.5 * np.exp(-age / 35.0)
    return stream(seed, Purpose.COHORTS).multinomial(customers, weight / weight.sum())


def cohort(seed: int, day: int, history: np.ndarray, first_day: int) -> tuple[int, int]:
    """New people and second accounts that sign up on a day; a function of the day alone, known beforehand."""
    rng = stream(seed, Purpose.COHORTS, day)
    index = day - first_day
    rate = history.sum() / (len(history) + 2.5 * 35.0)
    count = int(history[index]) if index < len(history) else int(rng.poisson(rate))
    again = int(rng.binomial(count, DUPLICATE_SHARE)) if index >= LONGEST_LEAD else 0
    return count - again, again


def draw_people(seed: int, day: int, count: int) -> dict[str, Any]:
    """The people who sign up on a day, one value or array for each column of ``PEOPLE``."""
    rng = stream(seed, Purpose.PEOPLE, day)
    country = rng.choice(len(COUNTRIES), count, p=_shares([c.weight for c in COUNTRIES]))
    age = np.clip(rng.gamma(9.0, 4.6, count), 18, 92)
    taste = rng.dirichlet(np.full(len(CATEGORIES), 0.45), count) if count else np.zeros((0, len(CATEGORIES)))
    return {
        "country": country,
        "zone": draw_zones(rng, country),
        "first_name": rng.integers(0, 1 << 20, count),
        "last_name": rng.integers(0, 1 << 20, count),
        "birth_day": day - (age * 365.25).astype(np.int64),
        "mail_style": rng.integers(0, 4, count),
        "mail_domain": rng.choice(len(MAIL_DOMAINS), count, p=[0.6, 0.25, 0.15]),
        "sign_up_day": day,
        "lead_days": np.where(rng.random(count) < 0.45, rng.integers(1, LONGEST_LEAD + 1, count), 0),
        "buys_at_sign_up": rng.random(count) < 0.58,
        "consents_at_sign_up": rng.random(count) < 0.71,
        # Beta-geometric: orders arrive as a Poisson process with a gamma rate, and after each repeat order
        # the customer leaves with a beta chance (Fader, Hardie and Lee 2005).
        "purchase_rate": rng.gamma(0.9, 1 / 24.0, count),
        "dropout": rng.beta(0.9, 4.6, count),
        "basket": rng.gamma(1.6, 1.1, count),
        "thrift": rng.beta(1.5, 2.5, count),
        "taste": np.cumsum(taste, axis=1),
        "visit_rate": rng.gamma(0.8, 0.062, count),
        "peak_hour": np.where(rng.random(count) < 0.65, rng.normal(20.0, 1.4, count), rng.normal(12.6, 1.5, count)),
        "open_rate": rng.beta(1.3, 3.6, count),
        "click_rate": rng.beta(1.5, 7.5, count),
        "mail_weariness": rng.gamma(1.0, 1.0, count),
        "opens_by_machine": rng.random(count) < 0.24,
        "dead_mailbox": rng.random(count) < 0.02,
        "agent": draw_agents(rng, count),
        "active": True,
        "bought": False,
        "account": -1,
        "first_account": -1,
        "anonymous_high": bits(rng, count, 2),
        "anonymous_low": bits(rng, count, 2),
        "device_known": False,
    }


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


def draw_mail_dirt(rng: np.random.Generator, count: int) -> np.ndarray:
    """How an address was typed: 0 clean, 1 mixed case, 2 upper case, 3 and 4 blanks, 5 missing, 6 invalid."""
    return rng.choice(7, count, p=[0.9, 0.03, 0.012, 0.012, 0.008, 0.02, 0.018])


def draw_products(seed: int, first_day: int, days: int) -> dict[str, Any]:
    """The catalogue: fifteen things a shelf, a fifth of them added during the history."""
    rng = stream(seed, Purpose.CATALOGUE)
    category = np.repeat(np.arange(len(CATEGORIES)), PRODUCTS // len(CATEGORIES))
    thing = np.tile(np.arange(PRODUCTS // len(CATEGORIES)), len(CATEGORIES))
    median = np.array([shelf.median_price for shelf in CATEGORIES])[category]
    price = draw_price_endings(rng, median * 100 * np.exp(rng.normal(0, 0.45, PRODUCTS)))
    popularity = rng.pareto(1.6, PRODUCTS) + 0.3
    later = rng.random(PRODUCTS) < 0.2
    created = np.where(
        later, first_day + rng.integers(1, max(days, 2), PRODUCTS), first_day - rng.integers(5, 40, PRODUCTS)
    )
    delivery = np.ceil(12 * popularity).astype(np.int64) + 12
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
