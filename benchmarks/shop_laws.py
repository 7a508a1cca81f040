"""The demo shop against the laws that it is made from, and BG/NBD fitted on its orders against what was planted.

Run as ``python benchmarks/shop_laws.py [--customers 200000] [--days 365]`` with ``PYTHONPATH=.:plugins``, or by
``make bench``. Plays a shop whose customers do nothing but buy (no seasons, birthdays, mail effects, dirt), takes the
orders from the facts of each day and fits ``ml.lifetime.bg_nbd``. Prints a table and writes a list of ``{"what",
"measured", "unit", "reach", "holds", "baseline"}``. Ends with 1 if a planted parameter is missed by 5 % or more, or
a law does not fit. ``tests/demo/test_shop_laws.py`` tests the same laws, and those of visits and mail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import betaln, gammaln

from letterpress.demo.simulation import effects
from letterpress.demo.simulation.simulator import Day, Simulator, World
from letterpress.demo.simulation.switches import Behaviour, Dirt
from letterpress.demo.simulation.tables import State
from ml.lifetime import bg_nbd

REPOSITORY = Path(__file__).resolve().parents[1]
TODAY = datetime(2011, 7, 4, tzinfo=UTC)
WINDOW = 100  # days over which purchases are counted
MARGIN = 0.05  # of r, alpha and a / (a + b)
LEVEL = 0.001  # a law that is so unlikely does not hold; of twenty true laws one in fifty seeds would show one


def plain_world(*, seed: int, customers: int, days: int) -> World:
    """A shop whose customers follow the laws of purchase and nothing else."""
    return World(seed, customers, days, TODAY, behaviour=Behaviour.plain(), dirt=Dirt.off())


@dataclass(frozen=True)
class Bought:
    """The orders of known people in the order of person and time, and the shop's hidden state at the end.

    ``orders`` has person, day (counted from 1970), nth (0 for the first order of a person), units and subtotal (pence,
    before discount and shipping).
    """

    orders: pd.DataFrame
    state: State

    @property
    def end(self) -> int:
        """The day after the last one."""
        return self.state.next_day


def play(world: World, watch: Callable[[Day], None] = lambda day: None) -> Bought:
    """Play the whole history of a world; ``watch`` sees the facts of each day."""
    simulator = Simulator(world)
    state = simulator.opening()
    parts = []
    for _ in range(world.days):
        facts = simulator.play(state)
        orders, lines = facts.orders, facts.lines
        of = np.searchsorted(orders["number"], lines["order"])
        count = len(orders["number"])
        parts.append(
            pd.DataFrame(
                {
                    "person": orders["person"],
                    "day": facts.day,
                    "at": orders["ordered_at"],
                    "units": np.bincount(of, weights=lines["quantity"], minlength=count).astype(np.int64),
                    "subtotal": orders["total"] - orders["shipping"] + orders["discount"],
                }
            )
        )
        watch(facts)
    orders = pd.concat(parts, ignore_index=True)
    orders = orders[orders["person"] >= 0].sort_values(["person", "at"], kind="stable", ignore_index=True)
    return Bought(orders.assign(nth=orders.groupby("person").cumcount()), state)


def purchase_chances(days: float, most: int) -> np.ndarray:
    """Chances of 0, 1, ... ``most`` repeat orders in so many days after the first order's day, then of more.

    Equation (8) of Fader, Hardie and Lee 2005. It holds for whole days exactly: a day's Poisson count is thinned by
    the orders after which somebody leaves.
    """
    r, alpha, (a, b) = effects.RATE_SHAPE, effects.RATE_SCALE, effects.DROPOUT
    x = np.arange(most + 1)
    counts = np.exp(
        gammaln(r + x)
        - gammaln(r)
        - gammaln(x + 1)
        + r * np.log(alpha / (alpha + days))
        + x * np.log(days / (alpha + days))
    )
    stays = np.exp(betaln(a, b + x) - betaln(a, b)) * counts
    before = np.concatenate([[0.0], np.cumsum(counts)[:-1]])
    leaves = np.where(x > 0, np.exp(betaln(a + 1, np.maximum(b + x - 1, b)) - betaln(a, b)) * (1.0 - before), 0.0)
    found = stays + leaves
    return np.append(found, 1.0 - found.sum())


def first_gap_chances(days: int) -> np.ndarray:
    """Chances that the first repeat order comes 1, 2, ... ``days`` days after the first order's day, then later.

    An exponential time whose rate is gamma is Lomax, and nobody leaves before a repeat order.
    """
    later = (effects.RATE_SCALE / (effects.RATE_SCALE + np.arange(days + 1))) ** effects.RATE_SHAPE
    return np.append(later[:-1] - later[1:], later[-1])


def dropout_chances(orders: np.ndarray) -> np.ndarray:
    """The chance that somebody who has just placed the n-th repeat order leaves for good: a / (a + b + n - 1).

    Whatever time it took, as rate and drop-out are independent; so it needs no care for those still active.
    """
    a, b = effects.DROPOUT
    return a / (a + b + orders - 1.0)


def unit_chances(most: int) -> np.ndarray:
    """Chances of 1, 2, ... ``most`` units in an order, then of more: one and a Poisson number with a gamma mean."""
    units = stats.nbinom(effects.BASKET_SHAPE, 1.0 / (1.0 + effects.BASKET_SCALE))
    found = units.pmf(np.arange(most))
    return np.append(found, 1.0 - found.sum())


def purchase_counts(bought: Bought, days: int, most: int) -> np.ndarray:
    """How many people placed 0, 1, ... ``most``, more repeat orders in the days after their first order's day.

    Of all whose first order is that long ago.
    """
    orders = bought.orders
    first = orders.groupby("person")["day"].transform("first")
    seen = first + days < bought.end
    within = orders[seen & (orders["day"] <= first + days)]
    repeats = within.groupby("person").size() - 1
    return np.bincount(np.minimum(repeats, most + 1), minlength=most + 2)


def first_gap_counts(bought: Bought, days: int) -> np.ndarray:
    """How many people ordered again 1, 2, ... ``days`` days after their first order's day, or later."""
    orders = bought.orders
    first = orders[orders["nth"] == 0].set_index("person")["day"]
    second = orders[orders["nth"] == 1].set_index("person")["day"]
    seen = first[first + days < bought.end]
    gap = (second.reindex(seen.index) - seen).fillna(days + 1)
    return np.bincount(np.minimum(gap.to_numpy(np.int64), days + 1), minlength=days + 2)[1:]


def dropouts(bought: Bought, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of those who placed the n-th repeat order, n from 1 to ``most``: how many, and how many left after it."""
    last = bought.orders.groupby("person")["nth"].max()
    active = bought.state.people["active"][last.index]
    placed = np.array([(last >= n).sum() for n in range(1, most + 1)])
    left = np.array([((last == n) & ~active).sum() for n in range(1, most + 1)])
    return placed, left


def unit_counts(bought: Bought, most: int) -> np.ndarray:
    """How many people's first orders are of 1, 2, ... ``most``, more units."""
    first = bought.orders.loc[bought.orders["nth"] == 0, "units"]
    return np.bincount(np.minimum(first, most + 1), minlength=most + 2)[1:]


def summary(bought: Bought) -> pd.DataFrame:
    """What BG/NBD needs of each person who has bought, in days, cancelled orders included.

    Nobody orders again on the day of their first order, so that time runs from its end; an order lies in the middle of
    its day.
    """
    people = bought.orders.groupby("person")
    purchases = people.size() - 1
    first, last = people["day"].first(), people["day"].last()
    return pd.DataFrame(
        {
            "purchases": purchases,
            "recency": np.where(purchases > 0, last - first - 0.5, 0.0),
            "age": (bought.end - 1 - first).astype(float),
        }
    )


def goodness(observed: np.ndarray, expected: np.ndarray) -> float:
    """The p of Pearson's chi-square for counts that sum to the same; neighbours join until five are expected."""
    cells = np.floor(np.cumsum(expected) / 5.0 - 1e-9).astype(np.int64)
    _, cell = np.unique(cells, return_inverse=True)
    found, wanted = (np.bincount(cell, weights=counts) for counts in (observed, expected))
    if wanted[-1] < 5.0 and len(wanted) > 1:
        found, wanted = (np.append(counts[:-2], counts[-2:].sum()) for counts in (found, wanted))
    return float(stats.chi2.sf(((found - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


def chances_hold(tried: np.ndarray, happened: np.ndarray, chance: np.ndarray) -> float:
    """The p of a chi-square over groups in each of which something happens by a known chance."""
    expected = tried * chance
    return float(stats.chi2.sf(((happened - expected) ** 2 / (expected * (1.0 - chance))).sum(), len(tried)))


def recovery(fitted: bg_nbd.BgNbd) -> dict[str, tuple[float, float]]:
    """Fitted and planted value of what has to be recovered: r, alpha in days, a / (a + b)."""
    a, b = effects.DROPOUT
    return {
        "r": (fitted.r, effects.RATE_SHAPE),
        "alpha": (fitted.alpha, effects.RATE_SCALE),
        "a / (a + b)": (fitted.a / (fitted.a + fitted.b) if fitted.b else 0.0, a / (a + b)),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every law holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "shop_laws.json")
    options = parser.parse_args(arguments)
    if options.days <= WINDOW:
        parser.error(f"--days: expected more than the {WINDOW} days of a window, found {options.days}")
    rows = measure(plain_world(seed=options.seed, customers=options.customers, days=options.days))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + f"\n\nwritten to {options.output}\n")
    return 0 if all(row["holds"] is not False for row in rows) else 1


def measure(world: World) -> list[dict[str, Any]]:
    """Every figure, as the benchmarks' common rows; the baseline is what was planted."""
    started = time.perf_counter()
    bought = play(world)
    played = time.perf_counter() - started
    started = time.perf_counter()
    people = summary(bought)
    fitted = bg_nbd.fit(people)
    seconds = time.perf_counter() - started
    rows = [
        _row(f"{world.customers:,} customers, {world.days} days: played", played, "s"),
        _row(f"{len(people):,} buyers, {len(bought.orders):,} orders: BG/NBD fitted", seconds, "s"),
    ]
    for name, (found, planted) in recovery(fitted).items():
        holds = abs(found / planted - 1) < MARGIN
        rows.append(_row(f"BG/NBD {name}", found, "", f"+- {MARGIN:.0%}", holds, planted))
    for name, counts, law in (
        (f"repeat orders in {WINDOW} days", purchase_counts(bought, WINDOW, 20), purchase_chances(WINDOW, 20)),
        ("days to the first repeat order", first_gap_counts(bought, WINDOW), first_gap_chances(WINDOW)),
        ("units of a first order", unit_counts(bought, 12), unit_chances(12)),
    ):
        rows.append(_law(name, goodness(counts, law * counts.sum())))
    placed, left = dropouts(bought, 10)
    after = dropout_chances(np.arange(1, 11))
    rows.append(_law("leaving after repeat orders 1 to 10", chances_hold(placed, left, after)))
    return rows


def _law(what: str, p: float) -> dict[str, Any]:
    return _row(f"{what}: p of chi-square", p, "", f"> {LEVEL}", p > LEVEL)


def _row(
    what: str,
    measured: float,
    unit: str,
    reach: str | None = None,
    holds: bool | None = None,
    baseline: float | None = None,
) -> dict[str, Any]:
    found = {"what": what, "measured": round(float(measured), 5), "unit": unit, "reach": reach, "holds": holds}
    return found | {"baseline": baseline}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':<62} {'measured':>12} {'planted':>9} {'reach':>8}  holds"]
    for row in rows:
        planted = "" if row["baseline"] is None else f"{row['baseline']:.4g}"
        measured = f"{row['measured']:.4g} {row['unit']}".strip()
        holds = {None: "", True: "yes", False: "NO"}[row["holds"]]
        lines.append(f"{row['what']:<62} {measured:>12} {planted:>9} {row['reach'] or '':>8}  {holds}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
