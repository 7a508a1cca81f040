"""The shop's order database: orders, their lines and refunds in tables of a relational database, for readers by SQL.

It follows what the shop shows. Rows and the position up to which they are mirrored are committed together, so that a
kill between two steps repeats one and loses none, and an emptied database is filled again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from letterpress.demo.simulation.columns import INSTANT
from letterpress.demo.simulation.schemas import KEYS, NUMBER, SCHEMAS, WHOLE
from letterpress.demo.simulation.store import Store

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

MIRRORED = ("orders", "order_lines", "refunds")
MARK = "letterpress_shop_mirror"
BATCH_ROWS = 5_000


class DatabaseUnusable(Exception):
    """The order database cannot be reached, or its tables are somebody else's."""


class OrderDatabase:
    """A mirror of the store's orders behind a SQLAlchemy URL (sqlite, postgresql+psycopg)."""

    def __init__(self, url: str, store: Store):
        self._url = url
        self._store = store

    def prepare(self) -> None:
        """Make the tables that are not there, and bring them up to date.

        A mirror of another shop is emptied first. Raises ``DatabaseUnusable``.
        """
        import sqlalchemy as sa

        try:
            with self._begin() as connection:
                present = set(sa.inspect(connection).get_table_names())
                if foreign := sorted(present & set(MIRRORED)) if MARK not in present else []:
                    raise DatabaseUnusable(
                        f"LETTERPRESS_SHOP_DATABASE_URL, {self._shown}: expected a database of the shop's own, found"
                        f" tables of somebody else ({', '.join(foreign)}). Next step: name an empty database"
                    )
                self._tables.create_all(connection)
                self._refill_where_needed(connection)
            self._mirror()
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError, OSError) as error:
            raise DatabaseUnusable(
                f"LETTERPRESS_SHOP_DATABASE_URL, {self._shown}: expected a database that can be written to, found"
                f" {_kind(error)}. Next step: start the database, correct the setting (sqlite:///<file> or"
                " postgresql+psycopg://<user>:<password>@<host>:<port>/<database>), or leave it out for a SQLite file"
            ) from None

    def update(self) -> None:
        """Mirror what the shop has shown since the last time; what cannot be written now goes with the next time."""
        import sqlalchemy as sa

        try:
            self._mirror()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            log.error("the order database %s is behind the shop: %s; the next advance tries again", self._shown,
                      _kind(error))  # fmt: skip

    def _mirror(self) -> None:
        for entity in MIRRORED:
            with self._begin() as connection:
                rows = self._mirror_entity(connection, entity)
            if rows:
                log.info("order database: %d rows of %s", rows, entity)

    def _mirror_entity(self, connection: "sa.Connection", entity: str) -> int:
        import sqlalchemy as sa

        mark = self._tables.tables[MARK]
        query = sa.select(mark.c.position).where(mark.c.entity == entity).with_for_update()
        since, until = connection.execute(query).scalar_one(), self._store.position(entity)
        statement, after, count = self._upsert(connection, entity), None, 0
        while since < until and (found := self._store.changed(entity, since, until, after, BATCH_ROWS)):
            connection.execute(statement, [self._row(connection, entity, body) for _, _, body in found])
            after, count = found[-1][:2], count + len(found)
        connection.execute(mark.update().where(mark.c.entity == entity).values(position=until))
        return count

    def _refill_where_needed(self, connection: "sa.Connection") -> None:
        """Begin anew where the mirror is of another shop, of a later one, or was emptied."""
        import sqlalchemy as sa

        mark, world = self._tables.tables[MARK], orjson.dumps(self._store.world.description()).decode()
        known = {row.entity: row for row in connection.execute(sa.select(mark))}
        for entity in MIRRORED:
            table, row = self._tables.tables[entity], known.get(entity)
            is_ours = row is not None and row.world == world and row.position <= self._store.position(entity)
            if is_ours and (row.position == 0 or connection.execute(sa.select(table).limit(1)).first() is not None):
                continue
            if row is not None:
                log.warning("order database: %s begins anew", entity)
            connection.execute(table.delete())
            connection.execute(mark.delete().where(mark.c.entity == entity))
            connection.execute(mark.insert(), {"entity": entity, "position": 0, "world": world})

    def _upsert(self, connection: "sa.Connection", entity: str) -> Any:
        from sqlalchemy.dialects import postgresql, sqlite

        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement, key = dialect.insert(self._tables.tables[entity]), KEYS[entity]
        changed = {name: statement.excluded[name] for name in SCHEMAS[entity].names if name != key}
        return statement.on_conflict_do_update(index_elements=[key], set_=changed)

    @staticmethod
    def _row(connection: "sa.Connection", entity: str, body: bytes) -> dict[str, Any]:
        """A row with a value for each column; what the schema does not know stays the API's."""
        given = orjson.loads(body)
        row = {name: given.get(name) for name in SCHEMAS[entity].names}
        if connection.dialect.name != "sqlite":
            for field in SCHEMAS[entity]:
                if field.type == INSTANT and row[field.name] is not None:
                    row[field.name] = datetime.fromisoformat(row[field.name])
        return row

    @cached_property
    def _tables(self) -> "sa.MetaData":
        import sqlalchemy as sa

        instant = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
        kinds = {INSTANT: instant, WHOLE: sa.BigInteger(), NUMBER: sa.Double()}
        metadata = sa.MetaData()
        for entity in MIRRORED:
            columns = [
                sa.Column(field.name, kinds.get(field.type, sa.Text()), primary_key=field.name == KEYS[entity])
                for field in SCHEMAS[entity]
            ]
            sa.Table(entity, metadata, *columns, sa.Index(f"{entity}_updated_at", "updated_at", KEYS[entity]))
        sa.Table(
            MARK,
            metadata,
            sa.Column("entity", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.Column("world", sa.Text, nullable=False),
        )
        return metadata

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa

        url = sa.make_url(self._url)
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise sa.exc.NoSuchModuleError("neither sqlite nor postgresql")
        if url.get_backend_name() == "postgresql":
            return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 10})
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": 30})

    @contextmanager
    def _begin(self) -> Iterator["sa.Connection"]:
        with self._engine.begin() as connection:
            yield connection

    @property
    def _shown(self) -> str:
        """The URL without its password."""
        import sqlalchemy as sa

        try:
            return sa.make_url(self._url).render_as_string(hide_password=True)
        except sa.exc.ArgumentError:
            return "(no URL)"


def _kind(error: BaseException) -> str:
    """What went wrong, without what a driver wrote of it, which may hold rows."""
    cause = getattr(error, "orig", None) or error
    missing = f" ({error.name})" if isinstance(error, ModuleNotFoundError) else ""
    return type(cause).__name__ + missing
