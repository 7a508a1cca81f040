"""The shop's database: what the API shows now, what is still to come, and the hidden state, in one SQLite file.

A start or an advance is one transaction: after a kill the file holds the old day or the new one.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from letterpress.demo.simulation import chance, truths
from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import render
from letterpress.demo.simulation.schemas import ENTITIES, KEYS, bodies
from letterpress.demo.simulation.simulator import Day, Simulator, World
from letterpress.demo.simulation.tables import State

CACHE_KIBIBYTES = 128 * 1024  # while the history is written, so that it reaches the disk once
OVERWRITTEN = frozenset({"customers", "products", "orders"})

_SCHEMA = """
create table shop (only integer primary key check (only = 1), world text not null, now integer not null,
                   round integer not null, mail_sequence integer not null, state blob not null);
create table reactions (id integer primary key, at integer not null, body blob not null);
create table coming (visible_at integer not null, entity text not null, key text not null, at integer not null,
                     body blob not null);
"""
_APPENDED = "create table {entity} (key text not null, at integer not null, body blob not null)"
_OVERWRITTEN = (  # shown: the round, that is the start or advance, in which the version was shown
    "create table {entity} (key text primary key, at integer not null, body blob not null, shown integer not null)"
)
_INDEX = "create index {entity}_at on {entity} (at, key)"
_TRUTH = "truth_{name}"  # a table for each of the truths; the API never reads them


@dataclass(frozen=True)
class Answered:
    """What came of the mail that has reached people: reactions (at, body) for the ESP, and visits of the day shown."""

    sequence: int  # of the last mail
    reactions: list[tuple[int, bytes]]
    visits: Day | None


Answer = Callable[[Simulator, State, int, int], Answered]  # the clock before it moves, the last answered mail


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
        for name, schema in truths.SCHEMAS.items():
            columns = ", ".join(f"{field.name} {_affinity(field.type)}" for field in schema)
            connection.execute(f"create table {_TRUTH.format(name=name)} ({columns})")
        world = orjson.dumps(self.world.description()).decode()
        connection.execute("insert into shop values (1, ?, 0, 1, 0, x'')", (world,))
        self._play(connection, self._simulator.opening(), chance.milliseconds(self.world.today))
        for name in ENTITIES:  # cheaper than keeping them while the history is written
            connection.execute(_INDEX.format(entity=name))
        for name in OVERWRITTEN:
            connection.execute(f"create index {name}_shown on {name} (shown)")
        connection.execute("create index coming_visible_at on coming (visible_at)")
        connection.execute(f"create index planted_kind on {_TRUTH.format(name='planted')} (kind)")

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

    def advance(self, by: int, answer: "Answer | None" = None) -> int:
        """Move the clock by milliseconds, playing every day that it enters; the new time comes back.

        ``answer`` is called first, within the same transaction: what people do with the mail that has reached them.
        """
        with self._open() as connection:
            connection.execute("begin immediate")
            self._check(connection)
            now, sequence, blob = connection.execute("select now, mail_sequence, state from shop").fetchone()
            state = State.load(blob)
            connection.execute("update shop set round = round + 1")
            if answer is not None:
                answered = answer(self._simulator, state, now, sequence)
                connection.execute("update shop set mail_sequence = ?", (answered.sequence,))
                connection.executemany("insert into reactions (at, body) values (?, ?)", answered.reactions)
                if answered.visits is not None:
                    self._write(connection, state, answered.visits, now)
            self._play(connection, state, now + by)
            connection.execute("commit")
            return now + by

    def mail_sequence(self) -> int:
        """The ESP's number of the last mail that has been answered."""
        with self._open() as connection:
            return connection.execute("select mail_sequence from shop").fetchone()[0]

    def due_reactions(self) -> list[tuple[int, int, bytes]]:
        """Reactions (id, at, body) whose instant has come and that the ESP may not know yet."""
        with self._open() as connection:
            query = "select id, at, body from reactions where at <= (select now from shop) order by at, id"
            return connection.execute(query).fetchall()

    def forget_reactions(self, ids: Iterable[int]) -> None:
        """Reactions that the ESP has recorded."""
        with self._open() as connection:
            connection.execute("begin immediate")
            connection.executemany("delete from reactions where id = ?", ((one,) for one in ids))
            connection.execute("commit")

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

    def page_before(self, entity: str, after: tuple[int, str], size: int) -> list[tuple[int, str, bytes]]:
        """Up to ``size`` rows up to a position, in the order of ``page``."""
        query = (
            f"select at, key, body from {_known(entity)} where (at, key) <= (?, ?) order by at desc, key desc limit ?"
        )
        with self._open() as connection:
            return connection.execute(query, (*after, size)).fetchall()[::-1]

    def position(self, entity: str) -> int:
        """Up to where an entity is shown now, for ``changed``."""
        query = "select round from shop" if _known(entity) in OVERWRITTEN else f"select max(rowid) from {entity}"
        with self._open() as connection:
            return connection.execute(query).fetchone()[0] or 0

    def changed(
        self, entity: str, since: int, until: int, after: tuple[int, str] | None, size: int
    ) -> list[tuple[int, str, bytes]]:
        """Up to ``size`` rows as ``page`` gives them, of those that were shown after a position up to another one.

        Whatever instant a row carries, it is found: by when it was shown, and by nothing else.
        """
        shown = "shown" if _known(entity) in OVERWRITTEN else "rowid"
        query = (
            f"select at, key, body from {entity} where {shown} > ? and {shown} <= ? and (at, key) > (?, ?)"
            " order by at, key limit ?"
        )
        with self._open() as connection:
            return connection.execute(query, (since, until, *(after or (-(2**62), "")), size)).fetchall()

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
            self._write(connection, state, self._simulator.play(state), now)
        for name in ENTITIES:
            due = "select key, at, body from coming where visible_at <= ? and entity = ?"
            self._upsert(connection, name, connection.execute(due, (now, name)).fetchall())
        connection.execute("delete from coming where visible_at <= ?", (now,))
        connection.execute("update shop set now = ?, state = ?", (now, state.dump()))

    def _write(self, connection: sqlite3.Connection, state: State, day: Day, now: int) -> None:
        """Show the rows of a day whose instant has come, keep the others for later, and note what is true of it."""
        truth = truths.of(state, day)
        tables, planted = soil(self.world, day, render(self.world, state, day))
        truth["planted"] = pa.concat_tables([truth["planted"], planted])
        for name, table in truth.items():
            marks = ", ".join("?" * table.num_columns)
            rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
            connection.executemany(f"insert into {_TRUTH.format(name=name)} values ({marks})", rows)
        for name, table in tables.items():
            self._show(connection, name, table, now)

    def _show(self, connection: sqlite3.Connection, entity: str, table: pa.Table, now: int) -> None:
        here: list[tuple[str, int, bytes]] = []
        later: list[tuple[int, str, str, int, bytes]] = []
        columns = (table[name].to_pylist() for name in (KEYS[entity], "_at", "_visible_at"))
        for key, at, visible_at, body in zip(*columns, bodies(entity, table), strict=True):
            if visible_at <= now:
                here.append((key, at, body))
            else:
                later.append((visible_at, entity, key, at, body))
        self._upsert(connection, entity, here)
        connection.executemany("insert into coming values (?, ?, ?, ?, ?)", later)

    @staticmethod
    def _upsert(connection: sqlite3.Connection, entity: str, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """The latest version of a row wins, in whatever order versions arrive."""
        statement = f"insert into {entity} values (?, ?, ?)"
        if entity in OVERWRITTEN:
            statement = (
                f"insert into {entity} values (?, ?, ?, (select round from shop)) on conflict (key) do update"
                " set at = excluded.at, body = excluded.body, shown = excluded.shown"
                " where (excluded.at, excluded.body) >= (at, body)"
            )
        connection.executemany(statement, rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as connection:
            yield connection


def _affinity(kind: pa.DataType) -> str:
    return "text" if pa.types.is_string(kind) else "integer"


def _known(entity: str) -> str:
    if entity not in ENTITIES:
        raise KeyError(f"the shop has {', '.join(ENTITIES)}; found {entity}")
    return entity
