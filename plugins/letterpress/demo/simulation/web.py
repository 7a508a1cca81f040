"""A visit played step by step: page calls, product and checkout events, and the moment somebody becomes known."""

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.chance import DAY, HOUR, MINUTE, SECOND, Purpose
from letterpress.demo.simulation.visits import Columns, Depth, Kind

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import World


class Step(IntEnum):
    """What happens in a visit; the number is only a name, the order comes from the rank."""

    PAGE_HOME = 0
    PAGE_CATEGORY = 1
    PAGE_PRODUCT = 2
    PRODUCT_VIEWED = 3
    PRODUCT_ADDED = 4
    PAGE_CART = 5
    CART_VIEWED = 6
    PAGE_CHECKOUT = 7
    CHECKOUT_STARTED = 8
    SIGN_UP = 9
    LOG_IN = 10
    PAGE_DONE = 11
    ORDER_COMPLETED = 12


# mean seconds before a step; steps that a page fires itself follow within a second
PAUSE = np.array([0, 9, 24, 0, 16, 8, 0, 14, 0, 22, 12, 45, 0])
LONGEST_PAUSE = 6 * MINUTE  # far below the half hour that ends a session
LATEST = 2 * DAY


def play(world: "World", day: int, visits: Columns, items: Columns, turn: int = 0) -> tuple[Columns, Columns]:
    """All steps of a day's visits in order, and per visit when it ended, signed up and ordered (-1: never).

    Steps: visit, step, item (row of ``items``, -1 for none), at, received_at, known (after log-in or
    sign-up), seen (the tracker was not blocked), first (the landing page), id_high, id_low.
    """
    rng = chance.stream(world.seed, Purpose.WEB, day, turn)
    count = len(visits["at"])
    visit, rank, step, item = _script(rng, visits, items)
    order = np.lexsort((rank, visit))
    visit, rank, step, item = visit[order], rank[order], step[order], item[order]

    at = _clock(rng, day, visits, visit, step)
    moments = {}
    for name, wanted in {"signed_up_at": Step.SIGN_UP, "ordered_at": Step.ORDER_COMPLETED}.items():
        moments[name] = np.full(count, -1, np.int64)
        moments[name][visit[step == wanted]] = at[step == wanted]
    identified = np.full(count, np.iinfo(np.int64).max)
    becomes_known = (step == Step.SIGN_UP) | (step == Step.LOG_IN)
    identified[visit[becomes_known]] = at[becomes_known]

    late = (rng.random(count) < world.dirt.late_hours)[visit]
    held_back = rng.integers(HOUR, 44 * HOUR, count)[visit]
    ends = np.zeros(count, np.int64)
    np.maximum.at(ends, visit, at)
    received = at + rng.integers(40, 1_800, len(at))
    received = np.where(late, np.minimum(ends[visit] + held_back, at + LATEST), received)
    first = np.ones(len(visit), bool)
    first[1:] = visit[1:] != visit[:-1]
    steps = {
        "visit": visit,
        "step": step,
        "item": item,
        "at": at,
        "received_at": received,
        "known": visits["logged_in"][visit] | (at >= identified[visit]),
        "seen": ~visits["blocked"][visit],
        "first": first,
        "id_high": chance.bits(rng, len(visit)),
        "id_low": chance.bits(rng, len(visit)),
    }
    return steps, moments


def _script(
    rng: np.random.Generator, visits: Columns, items: Columns
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Visit, rank, step and item of every step; the ranks of items leave room before and after."""
    count = len(visits["at"])
    depth = visits["depth"]
    views = np.bincount(items["visit"], minlength=count)
    nth = np.arange(len(items["visit"])) - (np.cumsum(views) - views)[items["visit"]]
    item = np.arange(len(nth))
    has_landing = np.flatnonzero(visits["product"] < 0)
    home = rng.random(len(has_landing)) < 0.62
    passes_shelf = (rng.random(len(nth)) < 0.3) & (nth > 0)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(visit: np.ndarray, rank: np.ndarray | int, step: np.ndarray | int, item: np.ndarray | int = -1) -> None:
        shape = len(visit)
        parts.append((visit, *(np.broadcast_to(np.asarray(x, np.int64), shape) for x in (rank, step, item))))

    add(has_landing, 0, np.where(home, Step.PAGE_HOME, Step.PAGE_CATEGORY))
    add(items["visit"][passes_shelf], 9 + 10 * nth[passes_shelf], Step.PAGE_CATEGORY, item[passes_shelf])
    add(items["visit"], 10 + 10 * nth, Step.PAGE_PRODUCT, item)
    add(items["visit"], 11 + 10 * nth, Step.PRODUCT_VIEWED, item)
    taken = items["added"]
    add(items["visit"][taken], 12 + 10 * nth[taken], Step.PRODUCT_ADDED, item[taken])
    far = 100_000
    for least, page, event in (
        (Depth.CART, Step.PAGE_CART, Step.CART_VIEWED),
        (Depth.CHECKOUT, Step.PAGE_CHECKOUT, Step.CHECKOUT_STARTED),
        (Depth.ORDER, Step.PAGE_DONE, Step.ORDER_COMPLETED),
    ):
        reached = np.flatnonzero(depth >= least)
        add(reached, far * int(least), page)
        add(reached, far * int(least) + 1, event)
    # buyers give their name between checkout and order, others at the end of what they looked at
    signs_up = visits["kind"] == Kind.SIGN_UP
    for step, mask in ((Step.SIGN_UP, signs_up), (Step.LOG_IN, visits["logs_in"])):
        who = np.flatnonzero(mask)
        before_order = far * int(Depth.ORDER) - 1
        add(who, np.where(depth[who] == Depth.ORDER, before_order, far * int(Depth.ADDING)), step)
    return tuple(np.concatenate([part[index] for part in parts]) for index in range(4))


def _clock(rng: np.random.Generator, day: int, visits: Columns, visit: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The instant of every step; a visit that would pass midnight starts earlier."""
    pause = rng.exponential(1.0, len(visit)) * PAUSE[step] * SECOND + rng.integers(90, 700, len(visit))
    hasty = (visits["kind"] == Kind.BOT)[visit]
    pause = np.where(hasty, rng.integers(150, 1_200, len(visit)), np.minimum(pause, LONGEST_PAUSE))
    elapsed = np.cumsum(pause.astype(np.int64))
    starts = np.ones(len(visit), bool)
    starts[1:] = visit[1:] != visit[:-1]
    at_start = np.zeros(len(visits["at"]), np.int64)
    at_start[visit[starts]] = elapsed[starts]
    at = visits["at"][visit] + elapsed - at_start[visit]
    ends = np.zeros(len(visits["at"]), np.int64)
    np.maximum.at(ends, visit, at)
    over = np.maximum(ends - (chance.start_of(day + 1) - SECOND), 0)
    return at - over[visit]
