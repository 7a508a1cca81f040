"""The shop's database: what the API shows now, what is still to come, and the hidden state, in one SQLite file.

A start or an advance is one transaction: after a kill the file holds the old day or the new one.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.rendering import Goods, Row, render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.tracking import events

ENTITIES = ("customers", "consents", "products", "orders", "order_lines", "refunds", "events", "email_events")
CACHE_KIBIBYTES = 128 * 1024  # while the history is written, so that it reaches the disk once
OVERWRITTEN = frozenset({"customers", "products", "orders"})

_SCHEMA = """
create table shop (only integer primary key check (only = 1), world text not null, now integer not null,
                   state blob not null);
create table coming (at integer not null, entity text not null, key text not null, body blob not null);
"""
_APPENDED = "create table {entity} (key text not null, at integer not null, body blob not null)"
_OVERWRITTEN = "create table {entity} (key text primary key, at integer not null, body blob not null)"
_INDEX = "create index {entity}_at on {entity} (at, key)"


class OtherWorld(Exception):
    """The file on disk was made from other parameters."""


class Store:
    """Opens the file for each call, so that it may be used from any thread and by several processes."""

    def __init__(self, path: Path, world: World):
        self.path = path
        self.world = world
        self._simulator = Simulator(world)

    def prepare(self) -> None:
        """Create the shop with its whole history, or check that the one on disk is of the same world.

        Raises ``OtherWorld`` where it is not: its ids would mean other people.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.execute("begin immediate")
            if connection.execute("select 1 from sqlite_master where name = 'shop'").fetchone():
                self._check(connection)
            else:
                self._create(connection)
            connection.execute("commit")
            # after the commit: a new file is written once with a rollback journal, and twice with this one
            connection.execute("pragma journal_mode = wal")

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"pragma cache_size = -{CACHE_KIBIBYTES}")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        for name in ENTITIES:
            connection.execute((_OVERWRITTEN if name in OVERWRITTEN else _APPENDED).format(entity=name))
        world = orjson.dumps(self.world.description()).decode()
        connection.execute("insert into shop values (1, ?, 0, x'')", (world,))
        self._play(connection, self._simulator.opening(), chance.milliseconds(self.world.today))
        for name in (*ENTITIES, "coming"):  # cheaper than keeping them while the history is written
            connection.execute(_INDEX.format(entity=name))

    def _check(self, connection: sqlite3.Connection) -> None:
        found = orjson.loads(connection.execute("select world from shop").fetchone()[0])
        expected = self.world.description()
        differing = [name for name in expected if found.get(name) != expected[name]]
        if differing:
            raise OtherWorld(
                f"the demo shop in {self.path} was made with "
                + ", ".join(f"{name} {found.get(name)}" for name in differing)
                + "; the settings ask for "
                + ", ".join(f"{name} {expected[name]}" for name in differing)
                + ". Set LETTERPRESS_SHOP_SEED, _CUSTOMERS, _DAYS and _TODAY back, or remove the folder"
                f" {self.path.parent} (and what was extracted from it) to make a new shop"
            )

    def now(self) -> int:
        """The shop's clock, in milliseconds."""
        with self._open() as connection:
            return connection.execute("select now from shop").fetchone()[0]

    def advance(self, by: int) -> int:
        """Move the clock by milliseconds, playing every day that it enters; the new time comes back."""
        with self._open() as connection:
            connection.execute("begin immediate")
            self._check(connection)
            now, state = connection.execute("select now, state from shop").fetchone()
            self._play(connection, State.load(state), now + by)
            connection.execute("commit")
            return now + by

    def page(
        self, entity: str, since: int | None, after: tuple[int, str] | None, size: int
    ) -> list[tuple[int, str, bytes]]:
        """Up to ``size`` rows (instant, key, body) from ``since`` on (inclusive), or after a position.

        A row that changes while somebody pages moves to the end: it may be seen twice, never missed.
        """
        if after is not None:
            where, values = "(at, key) > (?, ?)", after
        else:
            where, values = "at >= ?", (since if since is not None else -(2**62),)
        query = f"select at, key, body from {_known(entity)} where {where} order by at, key limit ?"
        with self._open() as connection:
            return connection.execute(query, (*values, size)).fetchall()

    def counts(self) -> dict[str, int]:
        """Rows of each entity that the API shows now."""
        with self._open() as connection:
            return {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in ENTITIES}

    def last(self, entity: str, count: int) -> list[dict[str, Any]]:
        """The newest rows, the newest first."""
        query = f"select body from {_known(entity)} order by at desc, key desc limit ?"
        with self._open() as connection:
            return [orjson.loads(body) for (body,) in connection.execute(query, (count,))]

    def _play(self, connection: sqlite3.Connection, state: State, now: int) -> None:
        """Play days until the clock stands within a played one, and show every row whose instant has come."""
        while chance.start_of(state.next_day) < now:
            day = self._simulator.play(state)
            for name, rows in render(self.world, state, day).items():
                self._write(connection, name, rows, now)
            self._write(connection, "events", events(state, day, Goods(state)), now)
        for name in ENTITIES:
            due = "select key, at, body from coming where entity = ? and at <= ? order by at"
            self._upsert(connection, name, connection.execute(due, (name, now)).fetchall())
        connection.execute("delete from coming where at <= ?", (now,))
        connection.execute("update shop set now = ?, state = ?", (now, state.dump()))

    def _write(self, connection: sqlite3.Connection, entity: str, rows: Iterable[Row], now: int) -> None:
        """Show the rows whose instant has come and keep the others for later."""
        here: list[Row] = []
        later: list[tuple[int, str, str, bytes]] = []
        for row in rows:
            if row.at <= now:
                here.append(row)
            else:
                later.append((row.at, entity, row.key, row.body))
        self._upsert(connection, entity, here)
        connection.executemany("insert into coming values (?, ?, ?, ?)", later)

    @staticmethod
    def _upsert(connection: sqlite3.Connection, entity: str, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """The latest version of a row wins, in whatever order versions arrive."""
        statement = f"insert into {entity} values (?, ?, ?)"
        if entity in OVERWRITTEN:
            statement += (
                " on conflict (key) do update set at = excluded.at, body = excluded.body where excluded.at >= at"
            )
        connection.executemany(statement, rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as connection:
            yield connection


def _known(entity: str) -> str:
    if entity not in ENTITIES:
        raise KeyError(f"the shop has {', '.join(ENTITIES)}; found {entity}")
    return entity
