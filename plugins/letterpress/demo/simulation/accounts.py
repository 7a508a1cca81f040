"""Accounts: opened at the end of a visit, changed by their owners, lifted by what they spend; and their consent."""

from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import chance, traits
from letterpress.demo.simulation.chance import HOUR, MINUTE, Purpose
from letterpress.demo.simulation.mail import GRANTED, WITHDRAWN
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns, Depth, Kind, neighbours
from letterpress.demo.simulation.vocabulary import LOYALTY_PENCE

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World

SIGN_UP_FORM, CHECKOUT, PREFERENCE_CENTRE, UNSUBSCRIBE_LINK = range(4)

EDITS_PHONE = 0.0006  # a day
EDITS_PREFERENCES = 0.0006
GRANTS = 0.0004  # a day, of those who never agreed
GRANTS_AGAIN = 0.0006  # a day, of those who withdrew a month ago or earlier
WITHDRAWS = 0.00025  # a day, in the preference centre


def open_accounts(state: State, world: "World", day: int, visits: Columns, signed_up_at: np.ndarray) -> Columns:
    """Open the accounts that ``visits.plan`` has numbered; their first consents come back (account, source, at)."""
    rng = chance.stream(world.seed, Purpose.SIGN_UPS, day)
    people = state.people
    rows = np.flatnonzero(visits["kind"] == Kind.SIGN_UP)
    person, again, at = visits["person"][rows], visits["again"][rows], signed_up_at[rows]
    count = len(rows)
    typed = traits.draw_mail_dirt(rng, count, world.dirt)
    typed = np.where(again & ~traits.is_deliverable(typed), traits.CLEAN, typed)  # found by its address
    consents = np.where(again, rng.random(count) < 0.6, people["consents_at_sign_up"][person])
    account = state.accounts.append(
        {
            "person": person,
            "signed_up_at": at,
            "mail_person": _whose_address(state, rng, person, again, world.dirt.shared_emails),
            "mail_dirt": typed,
            "has_phone": rng.random(count) < 0.64,
            "phone": rng.integers(0, 10**8, count),
            "has_birth_date": rng.random(count) < 0.72,
            "preferences": _favourites(state, person) * (rng.random(count) < 0.8),
            "tier": np.zeros(count, np.int64),
            "spent": np.zeros(count, np.int64),
            "consent": np.where(consents, GRANTED, 0),
            "consent_day": np.full(count, day),
            "suppressed": np.zeros(count, bool),
        }
    )
    people["account"][person] = account
    people["first_account"][person] = np.where(again, people["first_account"][person], account)
    source = np.where(visits["depth"][rows] == Depth.ORDER, CHECKOUT, SIGN_UP_FORM)
    return {"account": account[consents], "source": source[consents], "at": at[consents]}


def _whose_address(
    state: State, rng: np.random.Generator, person: np.ndarray, again: np.ndarray, shared: float
) -> np.ndarray:
    """The person whose address each account gives: rarely that of somebody in the same country."""
    rows = np.flatnonzero((rng.random(len(person)) < shared) & ~again)
    near = neighbours(state, rng, state.people["country"][person[rows]])
    owner = person.copy()
    owner[rows[near >= 0]] = state.accounts["mail_person"][near[near >= 0]]
    return owner


def _favourites(state: State, person: np.ndarray) -> np.ndarray:
    """The categories that somebody likes best, one bit each."""
    taste = np.diff(state.people["taste"][person], axis=1, prepend=0.0)
    return ((taste > 0.18) << np.arange(taste.shape[1])).sum(axis=1)


def lift_tiers(state: State, orders: Columns) -> Columns:
    """Add up what was spent; a row (account, at) for every account that reached another tier with its last order."""
    accounts = state.accounts
    counts = (orders["account"] >= 0) & ~orders["cancelled"]
    account, total, at = orders["account"][counts], orders["total"][counts], orders["ordered_at"][counts]
    np.add.at(accounts["spent"], account, total)
    last = np.zeros(len(accounts), np.int64)
    np.maximum.at(last, account, at)
    tier = np.searchsorted(np.array(LOYALTY_PENCE), accounts["spent"], side="right")
    lifted = np.flatnonzero(tier != accounts["tier"])
    accounts["tier"][lifted] = tier[lifted]
    return {"account": lifted, "at": last[lifted] + 3 * MINUTE // 2}


def edit(state: State, seed: int, day: int, busy: np.ndarray) -> Columns:
    """Changes that people make to their own data, a row (account, at) each; ``busy`` accounts are left alone."""
    rng = chance.stream(seed, Purpose.PROFILE, day)
    accounts = state.accounts
    count = len(accounts)
    free = np.ones(count, bool)
    free[busy] = False
    phone = free & (rng.random(count) < EDITS_PHONE)
    likes = free & (rng.random(count) < EDITS_PREFERENCES)
    accounts["has_phone"][phone] = True
    accounts["phone"][phone] = rng.integers(0, 10**8, int(phone.sum()))
    liked = np.flatnonzero(likes)
    shelf = np.left_shift(1, rng.integers(0, 8, len(liked)))
    accounts["preferences"][liked] = accounts["preferences"][liked] ^ shelf
    changed = np.flatnonzero(phone | likes)
    return {"account": changed, "at": _daytime(rng, day, len(changed))}


def decide_consent(state: State, seed: int, day: int) -> Columns:
    """Consents granted and withdrawn in the preference centre: rows (account, status, at)."""
    rng = chance.stream(seed, Purpose.CONSENT, day)
    accounts = state.accounts
    consent, since = accounts["consent"], day - accounts["consent_day"]
    draw = rng.random(len(accounts))
    grants = ((consent == 0) & (since > 0) & (draw < GRANTS)) | (
        (consent == WITHDRAWN) & (since > 30) & (draw < GRANTS_AGAIN)
    )
    withdraws = (consent == GRANTED) & (since > 0) & (draw < WITHDRAWS)
    accounts["consent"][:] = np.where(grants, GRANTED, np.where(withdraws, WITHDRAWN, consent))
    changed = np.flatnonzero(grants | withdraws)
    accounts["consent_day"][changed] = day
    return {"account": changed, "status": accounts["consent"][changed], "at": _daytime(rng, day, len(changed))}


def _daytime(rng: np.random.Generator, day: int, count: int) -> np.ndarray:
    return chance.start_of(day) + rng.integers(6 * HOUR, 22 * HOUR, count)
