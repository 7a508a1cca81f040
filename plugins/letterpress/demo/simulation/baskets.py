"""What a visit looks at, takes and pays; orders with their fates, and the stock that they eat."""

from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import chance, traits
from letterpress.demo.simulation.chance import DAY, HOUR, MINUTE, SECOND, Purpose
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns, Depth, Kind
from letterpress.demo.simulation.vocabulary import CATEGORIES, ORDER_STATUSES

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World

PLACED, SHIPPED, DELIVERED, CANCELLED, REFUNDED, PARTIALLY = range(len(ORDER_STATUSES))

FREE_SHIPPING = 4_000  # pence
SHIPPING = 395
STRANGERS_BASKET = 1.1


def fill(state: State, seed: int, day: int, visits: Columns, turn: int = 0) -> Columns:
    """The products that each visit looks at, one row each: visit, product, rank, added, quantity."""
    rng = chance.stream(seed, Purpose.BASKETS, day, turn)
    people = state.people
    depth, person, kind = visits["depth"], visits["person"], visits["kind"]
    count = len(depth)
    basket = np.where(person >= 0, people["basket"][person], STRANGERS_BASKET)
    units = np.where(depth == Depth.ORDER, 1 + rng.poisson(basket), 1 + rng.poisson(0.4, count))
    units = np.where(depth >= Depth.ADDING, units, 0)
    looked = np.where(depth >= Depth.PRODUCTS, rng.poisson(1.3, count), 0) + (depth == Depth.PRODUCTS)
    looked = np.where(kind == Kind.BOT, rng.integers(15, 55, count), looked)
    looked = np.where((visits["product"] >= 0) & (units + looked == 0), 1, looked)
    views = units + looked

    visit = np.repeat(np.arange(count), views)
    nth = np.arange(len(visit)) - np.repeat(np.cumsum(views) - views, views)
    product = _choose(state, rng, day, person[visit])
    landed = (nth == 0) & (visits["product"][visit] >= 0)
    product = np.where(landed, visits["product"][visit], product)
    # a product is looked at once in a visit, and taken as often as a unit fell on it
    _, first, same = np.unique(visit * len(state.products) + product, return_index=True, return_inverse=True)
    taken = np.bincount(same, weights=nth < units[visit]).astype(np.int64)
    rank = np.where(landed, -1.0, rng.random(len(visit)))
    items = {name: values[first] for name, values in {"visit": visit, "product": product, "rank": rank}.items()}
    items |= {"added": taken > 0, "quantity": np.maximum(taken, 1)}
    order = np.lexsort((items["rank"], items["visit"]))
    return {name: values[order] for name, values in items.items()}


def _choose(state: State, rng: np.random.Generator, day: int, person: np.ndarray) -> np.ndarray:
    """Products by taste, popularity and thrift among those that are on sale."""
    people, products = state.people, state.products
    count = len(person)
    average = np.arange(1, len(CATEGORIES) + 1) / len(CATEGORIES)
    taste = np.where((person >= 0)[:, None], people["taste"][person], average[None, :])
    shelf = (rng.random(count)[:, None] > taste[:, :-1]).sum(axis=1)
    order = np.argsort(products["category"], kind="stable")
    on_sale = (products["created_day"] < day) & (products["stock"] > 0)
    weight = np.where(on_sale, products["popularity"], 1e-12)[order]
    cumulative = np.cumsum(weight)
    ends = np.cumsum(np.bincount(products["category"], minlength=len(CATEGORIES)))
    upper = cumulative[ends - 1]
    lower = np.concatenate([[0.0], upper[:-1]])
    picks = []
    for _ in range(2):
        target = lower[shelf] + rng.random(count) * (upper - lower)[shelf]
        position = np.searchsorted(cumulative, target, side="right")
        start = np.concatenate([[0], ends[:-1]])[shelf]
        picks.append(order[np.clip(position, start, ends[shelf] - 1)])
    one, other = picks
    thrift = np.where(person >= 0, people["thrift"][person], 0.4)
    cheaper = np.where(products["price"][one] <= products["price"][other], one, other)
    return np.where(rng.random(count) < thrift, cheaper, one)


def order(
    state: State, world: "World", day: int, visits: Columns, items: Columns, at: np.ndarray, turn: int = 0
) -> dict[str, Columns]:
    """Orders of the visits that buy, with lines and every later status; ``at`` is when each visit ordered.

    Gives back ``orders`` (one row an order), ``lines``, ``statuses`` (one row for every change of an order)
    and ``refunds``. Total = lines + shipping − discount; a refund is never more than the total.
    """
    rng = chance.stream(world.seed, Purpose.ORDERS, day, turn)
    bought = np.flatnonzero(visits["depth"] == Depth.ORDER)
    count = len(bought)
    position = np.full(len(visits["depth"]), -1)
    position[bought] = np.arange(count)
    line = np.flatnonzero(items["added"] & (position[items["visit"]] >= 0))
    of = position[items["visit"][line]]
    price = state.products["price"][items["product"][line]]
    amount = price * items["quantity"][line]
    subtotal = np.bincount(of, weights=amount, minlength=count).astype(np.int64)
    reduced = rng.random(count) < np.where(visits["offered"][bought] > 0, 0.85, 0.1)
    discount = np.where(reduced, np.rint(subtotal * 0.1).astype(np.int64), 0)
    shipping = np.where(subtotal - discount >= FREE_SHIPPING, 0, SHIPPING)
    number = state.numbers("orders", count)
    orders = {
        "number": number,
        "visit": bought,
        "account": np.where(visits["as_guest"][bought], -1, visits["account"][bought]),
        "person": visits["person"][bought],
        "ordered_at": at[bought],
        "discount": discount,
        "shipping": shipping,
        "total": subtotal - discount + shipping,
        "cancelled": rng.random(count) < 0.03,
        # who a guest says to be; of no use where somebody is logged in
        "country": visits["country"][bought],
        "first_name": rng.integers(0, 1 << 20, count),
        "last_name": rng.integers(0, 1 << 20, count),
        "mail_style": rng.integers(0, 4, count),
        "mail_domain": rng.integers(0, 3, count),
        "mail_dirt": traits.draw_mail_dirt(rng, count, world.dirt),
    }
    lines = {
        "number": state.numbers("order_lines", len(line)),
        "order": number[of],
        "product": items["product"][line],
        "quantity": items["quantity"][line],
        "price": price,
        "amount": amount,
        "at": at[bought][of],
    }
    first_line = np.zeros(count, np.int64)
    first_line[of[::-1]] = amount[::-1]
    one_line = np.rint(np.floor(first_line * (subtotal - discount) / np.maximum(subtotal, 1))).astype(np.int64)
    statuses, refunds = _fates(state, rng, orders, np.bincount(of, minlength=count), one_line)
    return {"orders": orders, "lines": lines, "statuses": statuses, "refunds": refunds}


def _fates(
    state: State, rng: np.random.Generator, orders: Columns, lines: np.ndarray, one_line: np.ndarray
) -> tuple[Columns, Columns]:
    """What becomes of orders in the days after: shipped and delivered, cancelled, sent back."""
    placed, cancelled, count = orders["ordered_at"], orders["cancelled"], len(lines)
    shipped = placed + rng.integers(8 * HOUR, 40 * HOUR, count)
    delivered = shipped + rng.integers(30 * HOUR, 5 * DAY, count)
    off = placed + rng.integers(20 * MINUTE, 7 * HOUR, count)
    returns = (rng.random(count) < 0.07) & ~cancelled
    refunded = delivered + rng.integers(DAY, 25 * DAY, count)
    whole = (rng.random(count) < 0.45) | (lines < 2)
    kept = ~cancelled
    changes = [
        (np.ones(count, bool), PLACED, placed),
        (kept, SHIPPED, shipped),
        (kept, DELIVERED, delivered),
        (cancelled, CANCELLED, off),
        (returns & whole, REFUNDED, refunded),
        (returns & ~whole, PARTIALLY, refunded),
    ]
    statuses = {
        "row": np.concatenate([np.flatnonzero(mask) for mask, _, _ in changes]),
        "status": np.concatenate([np.full(mask.sum(), status) for mask, status, _ in changes]),
        "at": np.concatenate([at[mask] for mask, _, at in changes]),
    }
    refunds = {
        "number": state.numbers("refunds", int(returns.sum())),
        "order": orders["number"][returns],
        "amount": np.where(whole, orders["total"], one_line)[returns],
        "reason": rng.integers(0, 5, int(returns.sum())),
        "at": refunded[returns],
    }
    return statuses, refunds


def count_stock(state: State, seed: int, day: int, lines: Columns) -> Columns:
    """The nightly count: what was sold is gone, what runs low is restocked, a few prices move.

    Gives back one row for each product that changed or is new, as it is from then on.
    """
    rng = chance.stream(seed, Purpose.STOCK, day)
    products = state.products
    count = len(products)
    sold = np.bincount(lines["product"], weights=lines["quantity"], minlength=count).astype(np.int64)
    products["stock"][:] = np.maximum(products["stock"] - sold, 0)
    low = (products["stock"] <= products["reorder_at"]) & (rng.random(count) < 0.35)
    products["stock"][:] += np.where(low, products["delivery"], 0)
    on_sale = products["created_day"] < day
    moved = on_sale & (rng.random(count) < 0.004)
    factor = rng.choice(np.array([0.8, 0.9, 1.05, 1.1]), count)
    pounds = np.maximum(np.floor(products["price"] * factor / 100), 1)
    products["price"][:] = np.where(moved, pounds * 100 + 99, products["price"]).astype(np.int64)
    changed = np.flatnonzero(on_sale & ((sold > 0) | low | moved))
    at = chance.start_of(day) + 23 * HOUR + 50 * MINUTE + changed * SECOND
    new = np.flatnonzero(products["created_day"] == day)
    return {
        "product": np.concatenate([new, changed]),
        "price": products["price"][np.concatenate([new, changed])],
        "stock": products["stock"][np.concatenate([new, changed])],
        "at": np.concatenate([np.full(len(new), chance.start_of(day) + 8 * HOUR), at]),
    }
