"""``python -m letterpress.demo.history``: any amount of the demo shop's history as Parquet, without serving it.

``OUT/<entity>/part-00001.parquet`` … hold what the API would have shown by ``TODAY``, with every version of the rows
that it overwrites, in the order in which it was rendered; ``OUT/truth/`` holds what ``letterpress.demo.truth`` reads;
``OUT/manifest.json`` is written last. One thread plays a day, another renders the one before, piece by piece, and a
third writes the piece before; what is written depends on none of them.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from letterpress import storage
from letterpress.demo.parts import Parts
from letterpress.demo.simulation import chance, truths
from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import Known, pieces, render
from letterpress.demo.simulation.schemas import ENTITIES, SCHEMAS, public
from letterpress.demo.simulation.simulator import Day, Simulator, World
from letterpress.demo.simulation.switches import Dirt
from letterpress.demo.simulation.tables import State
from letterpress.settings import Settings, settings

MANIFEST = "manifest.json"
TRUTH = "truth"
EVENTS = ("events", "email_events")
PIECE = 1 << 18  # events whose texts are in memory at once
SAY_EVERY = 3.0  # seconds
LONGEST = 3_650  # days that a search for a number of events may try
PILOT = 30_000  # customers that a search plays: fewer, and their heavy tails show
PILOT_DAYS = 5_000_000  # customers times days of one trial
TOLERANCE = 0.05


class HistoryError(Exception):
    """What was asked for cannot be written; the text says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Write the history that the arguments ask for; 2 where it cannot be written."""
    configured = settings()
    parser = argparse.ArgumentParser(prog="letterpress.demo.history", description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=_positive, default=configured.shop_customers)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--events", type=_positive, help="web and mail events to come near to, by choosing the days")
    length.add_argument("--days", type=_positive, help="of history; LETTERPRESS_SHOP_DAYS unless given")
    parser.add_argument("--seed", type=int, default=configured.shop_seed)
    parser.add_argument("--out", type=Path, help="a local folder; <LETTERPRESS_HOME>/shop-history unless given")
    options = parser.parse_args(arguments)
    try:
        dirt = Dirt.parse(configured.shop_dirt)
    except ValueError as error:
        sys.stderr.write(f"LETTERPRESS_SHOP_DIRT: {error}\n")
        return 2
    try:
        out = options.out or Path(_local_home(configured)) / "shop-history"
        make(
            out.expanduser().resolve(),
            customers=options.customers,
            days=options.days or (None if options.events else configured.shop_days),
            events=options.events,
            seed=options.seed,
            today=configured.shop_today,
            dirt=dirt,
        )
    except HistoryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _local_home(configured: Settings) -> str:
    home = configured.home.removeprefix("file://")
    if "://" in home:
        raise HistoryError(f"LETTERPRESS_HOME is {home}: a history needs a local folder; next step: give one by OUT=")
    return home


def make(
    out: Path,
    *,
    customers: int,
    days: int | None,
    events: int | None,
    seed: int,
    today: datetime,
    dirt: Dirt,
) -> dict[str, Any]:
    """Write a history into a folder and give back its manifest; exactly one of ``days`` and ``events`` is given.

    A whole history of the same parameters is left as it is, an unfinished one is begun anew. Raises
    ``HistoryError`` where the folder holds something else, or where no number of days makes that many events.
    """
    world = World(seed, customers, days or 1, today, dirt=dirt)
    asked = world.description() | {"days": days, "events": events}
    if (out / MANIFEST).exists():
        return _same(out, asked)
    _clear(out)
    if events:
        world = World(seed, customers, fitting_days(world, events), today, dirt=dirt)
    written = _Writer(out, world)
    state = written.play()
    write_truth(out / TRUTH, state)
    manifest = written.manifest() | {"asked": asked, "parameters": world.description()}
    storage.write_json(str(out / MANIFEST), manifest)
    _say(f"{out}: {manifest['events']:,} events of {customers:,} customers in {world.days:,} days")
    return manifest


def _say(text: str) -> None:
    sys.stderr.write(f"shop history: {text}\n")
    sys.stderr.flush()


def _same(out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    manifest = storage.read_json(str(out / MANIFEST))
    found = manifest["asked"]
    differing = [name for name in asked if found.get(name) != asked[name]]
    if differing:
        raise HistoryError(
            f"{out} holds a history with "
            + ", ".join(f"{name} {found.get(name)}" for name in differing)
            + "; asked for "
            + ", ".join(f"{name} {asked[name]}" for name in differing)
            + ". Next step: give another folder by OUT=, or remove this one"
        )
    _say(f"{out} holds this history already: {manifest['events']:,} events; nothing to do")
    return manifest


def _clear(out: Path) -> None:
    """Remove what a killed run left behind, and nothing that another program may have written."""
    known = {*ENTITIES, TRUTH}
    strange = sorted(path.name for path in out.iterdir() if path.name not in known) if out.is_dir() else []
    if strange or (out.exists() and not out.is_dir()):
        raise HistoryError(
            f"{out}: expected no such folder, an empty one or an unfinished history, found "
            + (", ".join(strange[:5]) if strange else "a file")
            + "; next step: give another folder by OUT="
        )
    for name in known:
        shutil.rmtree(out / name, ignore_errors=True)


def write_truth(folder: Path, state: State) -> None:
    """The hidden state at the end; who used which device, who ordered and what was planted is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "state.npz").open("wb") as sink:
        state.write(sink)


class _Stage:
    """A thread that does one thing after the other; whoever hands it more waits until the last one is done.

    So no more than two of what it is handed are in memory: the one it works on, and the next.
    """

    def __init__(self, name: str):
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._working: Future[None] | None = None

    def hand(self, work: Callable[..., None], *what: Any) -> None:
        """Begin with something once the last thing is done; raises what that one raised."""
        self.wait()
        self._working = self._pool.submit(work, *what)

    def wait(self) -> None:
        """Until nothing is being done."""
        working, self._working = self._working, None
        if working is not None:
            working.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()


class _Writer:
    """Plays a world from its opening to its today and writes every table of it."""

    def __init__(self, out: Path, world: World):
        self.world, self.today = world, chance.milliseconds(world.today)
        self.tables = {name: Parts(out / name, SCHEMAS[name]) for name in ENTITIES}
        self.truths = {name: Parts(out / TRUTH / name, schema) for name, schema in truths.SCHEMAS.items()}
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self._began = self._said = time.monotonic()

    def play(self) -> State:
        """Play and write; the state of the last day comes back."""
        simulator = Simulator(self.world)
        state = simulator.opening()
        with _Stage("writing") as writing, _Stage("rendering") as rendering:
            while chance.start_of(state.next_day) < self.today:
                day = simulator.play(state)
                rendering.hand(self._render, Known.of(state), day, truths.of(state, day), writing)
                self._progress(day.day - self.world.first_day + 1)
            rendering.wait()
            writing.wait()
        for parts in (*self.tables.values(), *self.truths.values()):
            parts.close()
        return state

    def _render(self, known: Known, day: Day, truth: dict[str, pa.Table], writing: _Stage) -> None:
        for piece in pieces(day, PIECE):
            tables, planted = soil(self.world, piece, render(self.world, known, piece))
            truth["planted"] = pa.concat_tables([truth["planted"], planted]) if "planted" in truth else planted
            writing.hand(self._write, tables, truth)
            truth = {}

    def _write(self, tables: dict[str, pa.Table], truth: dict[str, pa.Table]) -> None:
        for name, table in truth.items():
            self.truths[name].write(table)
        for name, table in tables.items():
            if table.num_rows and pc.max(table["_visible_at"]).as_py() > self.today:
                table = table.filter(pc.less_equal(table["_visible_at"], self.today))
            if table.num_rows:
                seen = pc.min_max(table["_at"]).as_py()
                self.first[name] = min(self.first.get(name, seen["min"]), seen["min"])
                self.last[name] = max(self.last.get(name, seen["max"]), seen["max"])
                self.tables[name].write(public(name, table))

    def _progress(self, number: int) -> None:
        now = time.monotonic()
        if now - self._said < SAY_EVERY and number < self.world.days:
            return
        self._said = now
        rows = sum(parts.rows for parts in self.tables.values())
        resident = psutil.Process().memory_info().rss / 2**30
        pace = rows / max(now - self._began, 1e-3)
        _say(f"day {number:,} of {self.world.days:,}, {rows:,} rows, {pace:,.0f} rows/s, {resident:.2f} GiB resident")

    def manifest(self) -> dict[str, Any]:
        """What was written, without anything that another run would not repeat."""
        return {
            "entities": {
                name: _described(parts)
                | {
                    "first": chance.iso(self.first[name]) if name in self.first else None,
                    "last": chance.iso(self.last[name]) if name in self.last else None,
                }
                for name, parts in self.tables.items()
            },
            "events": sum(self.tables[name].rows for name in EVENTS),
            "truth": {name: _described(parts) for name, parts in self.truths.items()},
        }


def _described(parts: Parts) -> dict[str, Any]:
    return {"rows": parts.rows, "parts": parts.parts, "hash": parts.hash.hexdigest()}


def fitting_days(world: World, events: int) -> int:
    """The days of history after which a world like this one has had about so many events.

    Every customer signs up within the history, however short it is, so events grow more slowly than days. Plays
    smaller worlds of the same shape; raises ``HistoryError`` where no number of days comes within 5 %, with what is
    possible.
    """
    tried: dict[int, float] = {}
    days = 64
    while days not in tried:
        tried[days] = expected_events(world, days)
        _say(f"{days:,} days make about {tried[days]:,.0f} events")
        best = min(tried, key=lambda one: abs(tried[one] - events))
        if abs(tried[best] / events - 1) < TOLERANCE / 5:
            break
        days = _next_trial(tried, events)
    if abs(tried[best] / events - 1) <= TOLERANCE:
        return best
    near = sorted(tried, key=lambda one: abs(tried[one] - events))[:2]
    raise HistoryError(
        f"{world.customers:,} customers cannot have {events:,} events within {LONGEST:,} days; possible are "
        + ", ".join(f"about {tried[one]:,.0f} with DAYS={one}" for one in sorted(near))
        + ". Next step: ask for one of these, or for other CUSTOMERS"
    )


def _next_trial(tried: dict[int, float], events: int) -> int:
    """Between the nearest trials below and above, on the line through them, else beyond the nearest one."""
    below = max((one for one in tried if tried[one] <= events), default=None)
    above = min((one for one in tried if tried[one] > events), default=None)
    if below is None or above is None:
        near = min(tried, key=lambda one: abs(tried[one] - events))
        guess = round(near * min(max((events / max(tried[near], 1.0)) ** 1.3, 1 / 8), 8))
        guess = max(guess, near + 1) if above is None else min(guess, near - 1)
        return min(max(guess, 1), LONGEST)
    if above - below <= 1:
        return below
    share = (events - tried[below]) / (tried[above] - tried[below])
    return int(min(max(round(below + share * (above - below)), below + 1), above - 1))


def expected_events(world: World, days: int) -> float:
    """Events that a world would have had by its today, had it opened so many days before; from a pilot."""
    customers = min(world.customers, PILOT, max(PILOT_DAYS // days, 300))
    pilot = World(
        **{name: getattr(world, name) for name in ("seed", "today", "behaviour", "dirt")},
        customers=customers,
        days=days,
    )
    simulator = Simulator(pilot)
    state = simulator.opening()
    found, today = 0, chance.milliseconds(world.today)
    while chance.start_of(state.next_day) < today:
        day = simulator.play(state)
        seen = day.steps["received_at"][day.steps["seen"]] <= today
        found += int(seen.sum()) + int((day.mails["received_at"] <= today).sum())
    rates = asdict(world.dirt)
    again = 1.0 + rates["repeated_events"] + rates["copied_events"]
    return found * again * world.customers / customers


if __name__ == "__main__":
    sys.exit(main())
