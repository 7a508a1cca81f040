"""The simulated shop, one day at a time: what a day yields depends on the state and the day, on nothing else."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from letterpress.demo.simulation import accounts, baskets, chance, mail, traits, visits, web
from letterpress.demo.simulation.chance import Purpose, bits, stream
from letterpress.demo.simulation.switches import Behaviour, Dirt
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns

VERSION = 2  # raised whenever the same parameters give other data


@dataclass(frozen=True)
class World:
    """What a shop is made from; equal worlds have equal histories."""

    seed: int
    customers: int
    days: int
    today: datetime
    behaviour: Behaviour = field(default_factory=Behaviour)
    dirt: Dirt = field(default_factory=Dirt)

    @property
    def first_day(self) -> int:
        """The day of the opening, counted from 1970."""
        return chance.day_of(self.today) - self.days

    def description(self) -> dict[str, Any]:
        """The parameters as they are stored and compared."""
        return {
            "seed": self.seed,
            "customers": self.customers,
            "days": self.days,
            "today": chance.iso(chance.milliseconds(self.today)),
            "behaviour": asdict(self.behaviour),
            "dirt": asdict(self.dirt),
            "simulator": VERSION,
        }


@dataclass
class Day:
    """The facts of one day as columns, ready to be rendered as rows.

    ``customers`` and ``products`` are versions (account or product, at, and what may change); every other
    entity is described where it is made. Instants may lie days ahead: a row is shown from its instant on.
    """

    day: int
    turn: int  # 0: the day itself; later ones play on within it
    customers: Columns
    consents: Columns
    products: Columns
    prices: np.ndarray  # of the day, in pence; the nightly count may move them
    visits: Columns
    items: Columns
    steps: Columns
    orders: Columns
    lines: Columns
    statuses: Columns
    refunds: Columns
    mails: Columns


class Simulator:
    """Plays the days of a world; keeps nothing between calls but the world itself."""

    def __init__(self, world: World):
        self.world = world
        self._history = traits.sign_ups(world.seed, world.customers, world.days)

    def opening(self) -> State:
        """The state on the eve of the first day: a full catalogue, and people who have heard of the shop."""
        state = State(next_day=self.world.first_day)
        state.products.append(traits.draw_products(self.world))
        for day in range(self.world.first_day, self.world.first_day + traits.LONGEST_LEAD):
            self._hear_of_the_shop(state, day)
        return state

    def _hear_of_the_shop(self, state: State, day: int) -> None:
        new, _, joining = traits.cohort(self.world, day, self._history)
        if new + joining:
            state.people.append(traits.draw_people(self.world.seed, day, new, joining))

    def play(self, state: State) -> Day:
        """Play the state's next day: the state moves on, the day's facts come back."""
        world, seed, day = self.world, self.world.seed, state.next_day
        self._hear_of_the_shop(state, day + traits.LONGEST_LEAD)
        _, again, _ = traits.cohort(world, day, self._history)

        shelves = self._first_products(state) if day == world.first_day else None
        preferences = accounts.decide_consent(state, seed, day)
        mails, unsubscribed = mail.send(state, world, day)
        came = visits.plan(state, world, day, again)
        items = baskets.fill(state, seed, day, came)
        steps, moments = web.play(world, day, came, items)
        old = len(state.accounts)
        agreed = accounts.open_accounts(state, world, day, came, moments["signed_up_at"])
        new = np.arange(old, len(state.accounts))
        bought = baskets.order(state, world, day, came, items, moments["ordered_at"])
        orders = bought["orders"]

        opened = self._customers(state, new, state.accounts["signed_up_at"][new], tier=0)
        lifted = accounts.lift_tiers(state, orders)
        busy = np.concatenate([new, orders["account"][orders["account"] >= 0]])
        edited = accounts.edit(state, seed, day, busy)
        versions = [
            opened,
            self._customers(state, lifted["account"], lifted["at"]),
            self._customers(state, edited["account"], edited["at"]),
        ]
        consents = self._consents(state, day, agreed, preferences, unsubscribed)
        prices = state.products["price"].copy()
        stock = baskets.count_stock(state, seed, day, bought["lines"])
        if shelves is not None:
            stock = _join([shelves, stock])
        state.next_day = day + 1
        return Day(
            day=day,
            turn=0,
            customers=_join(versions),
            consents=consents,
            products=stock,
            prices=prices,
            visits=came,
            items=items,
            steps=steps,
            mails=mails,
            **bought,
        )

    def follow(self, state: State, clicks: Columns, turn: int) -> Day:
        """Play visits that mails have caused within the last day that was played; ``turn`` counts from 1.

        ``clicks`` are rows of ``State.clicks``. Nothing else happens: no mail, no sign-up, no count of the stock.
        """
        world, day = self.world, state.next_day - 1
        came = visits.follow(state, world, day, turn, clicks)
        items = baskets.fill(state, world.seed, day, came, turn)
        steps, moments = web.play(world, day, came, items, turn)
        bought = baskets.order(state, world, day, came, items, moments["ordered_at"], turn)
        lifted = accounts.lift_tiers(state, bought["orders"])
        return Day(
            day=day,
            turn=turn,
            customers=self._customers(state, lifted["account"], lifted["at"]),
            consents=_nothing(("account", "status", "source", "at", "number", "proof")),
            products=_nothing(("product", "price", "stock", "at")),
            prices=state.products["price"].copy(),
            visits=came,
            items=items,
            steps=steps,
            mails=_nothing(mail.EVENT_COLUMNS),
            **bought,
        )

    def _customers(self, state: State, account: np.ndarray, at: np.ndarray, tier: int | None = None) -> Columns:
        """Versions of accounts: what may change, as it is now."""
        held = state.accounts
        return {
            "account": account,
            "at": at,
            "tier": held["tier"][account] if tier is None else np.full(len(account), tier),
            "phone": np.where(held["has_phone"][account], held["phone"][account], -1),
            "preferences": held["preferences"][account].astype(np.int64),
        }

    def _consents(
        self, state: State, day: int, agreed: Columns, preferences: Columns, unsubscribed: Columns
    ) -> Columns:
        granted = np.full(len(agreed["at"]), mail.GRANTED)
        withdrawn = np.full(len(unsubscribed["at"]), mail.WITHDRAWN)
        centre = np.full(len(preferences["at"]), accounts.PREFERENCE_CENTRE)
        link = np.full(len(unsubscribed["at"]), accounts.UNSUBSCRIBE_LINK)
        consents = {
            "account": np.concatenate([agreed["account"], preferences["account"], unsubscribed["account"]]),
            "status": np.concatenate([granted, preferences["status"], withdrawn]),
            "source": np.concatenate([agreed["source"], centre, link]),
            "at": np.concatenate([agreed["at"], preferences["at"], unsubscribed["at"]]),
        }
        order = np.argsort(consents["at"], kind="stable")
        consents = {name: values[order] for name, values in consents.items()}
        count = len(order)
        consents["number"] = state.numbers("consents", count)
        # a stream of its own: the proof must not move when behaviour draws more or less
        consents["proof"] = bits(stream(self.world.seed, Purpose.PROOFS, day), count)
        return consents

    def _first_products(self, state: State) -> Columns:
        """What is on the shelves on the morning of the opening."""
        there = np.flatnonzero(state.products["created_day"] < self.world.first_day)
        opening = chance.start_of(self.world.first_day) + chance.MINUTE
        return {
            "product": there,
            "price": state.products["price"][there],
            "stock": state.products["stock"][there],
            "at": np.full(len(there), opening),
        }


def _join(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _nothing(names: tuple[str, ...]) -> Columns:
    """Columns without rows."""
    words = ("proof", "id_high", "id_low")
    return {name: np.zeros(0, np.uint64 if name in words else np.int64) for name in names}
