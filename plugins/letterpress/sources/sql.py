"""Tables or views of a retailer's relational database, read through SQLAlchemy → Arrow pages → landing.

Paging is by key: ``where (cursor, key) > (…) order by cursor, key limit page_size``. Each page is a short read-only
transaction of its own, so that nothing is held open in a shop's database, memory is bounded on both sides, and a
lost connection goes on after the last row that arrived. A row that changes meanwhile moves to the end: it may be seen
twice, never missed. Only the declared columns are asked for; what else a table holds stays where it is.

dlt's ``sql_database`` would read the same tables, but as one long query: it can neither go on in the middle after a
lost connection nor end its transaction between pages, and its cursor is kept in a state that we throw away.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from letterpress.sources.config import Connection, Source
from letterpress.sources.entities import INSTANT, TEXT, Entity, Page
from letterpress.sources.errors import SchemaChanged, SourceError, SourceRefused, SourceUnavailable
from letterpress.sources.options import SqlOptions

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

# What a server says when another try will not help; by text, because a failed connection has no code.
_HOPELESS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """Every row from ``since`` (inclusive) on, in pages of ``source.page_size``, in the order of cursor and key.

    ``connection.base_url`` is SQLAlchemy's URL, ``token`` its password. A page is asked for up to
    ``source.retry.attempts`` times, waiting twice as long each time; then ``SourceUnavailable``. ``SourceRefused``
    where the database, the table or a column is not there or not ours to read; ``SchemaChanged`` where a cursor or a
    key is empty, or a column holds values of several types.
    """
    if entity.cursor is None:
        raise ValueError(f"{source.name}.{entity.name}: expected a cursor column to read a table by, found none")
    with closing(_Table(source, entity, connection)) as table:
        table.look()
        bound = datetime.fromisoformat(since) if since else None
        after: tuple[Any, ...] | None = None
        number = 0
        while True:
            rows = table.page(bound, after)
            if not rows:
                return
            number += 1
            yield Page(table.typed(rows, bound, f"page {number}"), f"page {number}")
            if len(rows) < source.page_size:
                return
            after = table.position(rows[-1])


class _Table:
    """One entity's table, over connections that are opened for each page and closed after it."""

    def __init__(self, source: Source, entity: Entity, connection: Connection) -> None:
        import sqlalchemy as sa

        options = source.options if isinstance(source.options, SqlOptions) else SqlOptions(reader="sql")
        self.source, self.entity = source, entity
        self.name = options.tables.get(entity.name, entity.name)
        self.schema = options.database_schema
        self.label = f"{source.name}.{entity.name}"
        self.url = _url(self.label, connection)
        self.where = f"{self.url.render_as_string(hide_password=True)}, table {self.qualified}"
        arguments = _arguments(self.url, source.retry.timeout_seconds)
        try:
            self.engine = sa.create_engine(_opened(self.url), poolclass=sa.NullPool, connect_args=arguments)
        except (ModuleNotFoundError, sa.exc.ArgumentError) as error:
            raise self._refused(
                f"a driver for {self.url.drivername}",
                f"{type(error).__name__}",
                "install it (PostgreSQL's: uv sync --extra postgres) or correct the connection",
            ) from None
        self.table: sa.Table | None = None

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def _order(self) -> list[str]:
        """The cursor before the key: what is written while pages are read comes behind what was read."""
        return sorted(self.entity.required, key=lambda name: name != self.entity.cursor)

    def close(self) -> None:
        self.engine.dispose()

    def look(self) -> None:
        """Find the table and its declared columns, and that each row can be paged by."""
        import sqlalchemy as sa

        def reflect(connection: "sa.Connection") -> "sa.Table | list[str]":
            try:
                return sa.Table(
                    self.name, sa.MetaData(), schema=self.schema, autoload_with=connection, resolve_fks=False
                )
            except sa.exc.NoSuchTableError:
                inspector = sa.inspect(connection)
                return sorted([*inspector.get_table_names(self.schema), *inspector.get_view_names(self.schema)])

        found = self._asked(reflect)
        if isinstance(found, list):
            raise self._refused(
                f"the table or view {self.qualified}", f"{found or 'none'}", "name it under options.tables of {source}"
            )
        self.table = found
        present = set(found.columns.keys())
        if missing := [name for name in self.entity.schema.names if name not in present]:
            raise self._refused(
                f"the columns {self.entity.schema.names}",
                f"{sorted(present)}, missing {missing}",
                "have a view made that has them, and name it under options.tables of {source}",
            )
        if ignored := sorted(present - set(self.entity.schema.names)):
            log.info("%s: columns that are not declared stay in the database: %s", self.label, ", ".join(ignored))
        for name in self.entity.required:
            empty = sa.select(sa.literal(1)).select_from(found).where(found.c[name].is_(None)).limit(1)
            if self._asked(lambda connection, empty=empty: connection.execute(empty).first()):
                raise SchemaChanged.at(
                    self.source.name, self.entity.name, name, expected=str(self.entity.schema.field(name).type),
                    found="no value", position=f"a row of the table {self.qualified}",
                )  # fmt: skip

    def page(self, since: datetime | None, after: tuple[Any, ...] | None) -> "Sequence[sa.Row[Any]]":
        """Up to ``page_size`` rows behind a position, or from an instant on."""
        import sqlalchemy as sa

        columns = self._columns()
        order = [columns[name] for name in self._order]
        query = sa.select(*(columns[name] for name in self.entity.schema.names)).order_by(*order)
        if after is not None:
            query = query.where(sa.tuple_(*order) > sa.tuple_(*after, types=[column.type for column in order]))
        elif since is not None:
            # A database that keeps instants as text compares them as text, however each is written: from the start
            # of the day, and typed() leaves out what lies before.
            text = isinstance(order[0].type, sa.String)
            query = query.where(order[0] >= (f"{since.astimezone(UTC):%Y-%m-%d}" if text else since))
        return self._asked(lambda connection: connection.execute(query.limit(self.source.page_size)).all())

    def position(self, row: "sa.Row[Any]") -> tuple[Any, ...]:
        """Where the next page goes on: cursor and key as the database gave them."""
        return tuple(row._mapping[name] for name in self._order)

    def typed(self, rows: "Sequence[sa.Row[Any]]", since: datetime | None, label: str) -> pa.Table:
        """The rows as an Arrow table; instants that were text become instants."""
        names = self.entity.schema.names
        table = pa.table(
            [
                self._array(name, list(values), label)
                for name, values in zip(names, zip(*rows, strict=True), strict=True)
            ],
            names=names,
        )
        cursor = self.entity.cursor or ""
        if since is None or table.schema.field(cursor).type != INSTANT:
            return table
        return table.filter(pc.greater_equal(table[cursor], pa.scalar(since, INSTANT)))

    def _array(self, name: str, values: list[Any], label: str) -> pa.Array:
        field = self.entity.schema.field(name)
        if field.metadata and b"json" in field.metadata:
            return pa.array([None if value is None else _json_text(value) for value in values], TEXT)
        if any(isinstance(value, UUID | Enum) for value in values):
            values = [None if value is None else str(value) for value in values]
        try:
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            kinds = sorted({type(value).__name__ for value in values if value is not None})
            raise self._changed(name, f"values of the types {kinds}", label, 0) from None
        if field.type != INSTANT or array.type != TEXT:
            return array
        if name == self.entity.cursor and (first := _first_elsewhere(values)) is not None:
            raise self._changed(
                name, "text that is no instant in UTC, by which rows could be put in order", label, first
            )
        try:
            return array.cast(INSTANT)
        except pa.ArrowInvalid:
            return array  # the contract says where

    def _changed(self, name: str, found: str, label: str, index: int) -> SchemaChanged:
        expected = str(self.entity.schema.field(name).type)
        position = f"{label}, row {index + 1}"
        return SchemaChanged.at(
            self.source.name, self.entity.name, name, expected=expected, found=found, position=position
        )

    def _columns(self) -> "sa.ColumnCollection[str, sa.Column[Any]]":
        if self.table is None:
            raise RuntimeError(f"{self.label}: look() comes before page()")
        return self.table.columns

    def _asked(self, ask: "Callable[[sa.Connection], Any]") -> Any:
        """The answer to one question in a transaction that cannot write, asked again where that may help."""
        import sqlalchemy as sa
        import tenacity

        retry = self.source.retry

        def once() -> Any:
            with self.engine.connect() as connection:
                if self.url.get_backend_name() == "postgresql":
                    connection = connection.execution_options(postgresql_readonly=True)
                with connection.begin():
                    return ask(connection)

        def again(error: BaseException) -> bool:
            lost = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not _is_hopeless(error)
            return lost or (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated)

        def tell(state: tenacity.RetryCallState) -> None:
            log.warning("%s: a question to the database failed: %s", self.label, _kind(state.outcome.exception()))

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            stop=tenacity.stop_after_attempt(retry.attempts),
            wait=tenacity.wait_exponential(multiplier=retry.backoff_seconds, max=retry.longest_wait_seconds),
            before_sleep=tell,
            reraise=True,
        )
        try:
            return attempts(once)
        except sa.exc.SQLAlchemyError as error:
            raise self._explained(error, again(error)) from None

    def _explained(self, error: Exception, worth_another_try: bool) -> SourceError:
        if worth_another_try:
            return SourceUnavailable(
                f"{self.label}: {self.where}: expected an answer, found {_kind(error)} after "
                f"{self.source.retry.attempts} attempts; nothing of {self.source.name} landed. Next step: see whether "
                f"the database is up and the connection {self.source.connection} points at it, then run "
                f"ingest_{self.source.name} again"
            )
        return self._refused(
            "an answer", _kind(error), f"check address, user, password and rights of the connection "
            f"{self.source.connection}",
        )  # fmt: skip

    def _refused(self, expected: str, found: str, step: str) -> SourceRefused:
        return SourceRefused(
            f"{self.label}: {self.where}: expected {expected}, found {found}; nothing of {self.source.name} landed. "
            f"Next step: {step.format(source=self.source.name)}, then run ingest_{self.source.name} again"
        )


def _url(label: str, connection: Connection) -> "sa.URL":
    """The connection's URL with its password, which stands in no message: ours hide it, and so does the URL."""
    import sqlalchemy as sa

    try:
        url = sa.make_url(connection.base_url)
    except sa.exc.ArgumentError:
        raise SourceRefused(
            f"{label}: expected a connection to a database (type postgres or sqlite), found another address; next "
            f"step: correct the connection"
        ) from None
    token = connection.token
    return url.set(password=token.get_secret_value()) if token and url.host else url


def _opened(url: "sa.URL") -> "sa.URL":
    """The URL to open: SQLite's file read-only, and not made where there is none."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return url
    from urllib.parse import quote

    return url.set(database=f"file:{quote(url.database)}", query={"mode": "ro", "uri": "true"})


def _arguments(url: "sa.URL", seconds: float) -> dict[str, Any]:
    """No answer within the timeout is a lost connection, whichever database it is."""
    if url.get_backend_name() == "postgresql":
        limit = f"-c statement_timeout={int(seconds * 1000)} -c default_transaction_read_only=on -c TimeZone=UTC"
        return {"connect_timeout": max(2, int(seconds)), "options": limit}
    return {"timeout": seconds} if url.get_backend_name() == "sqlite" else {}


def _is_hopeless(error: BaseException) -> bool:
    return any(text in str(error) for text in _HOPELESS)


def _kind(error: BaseException | None) -> str:
    """What went wrong, without what a driver wrote of it: that may hold an address, a statement or a value."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    refused = next((text for text in _HOPELESS if text in str(cause)), None)
    return type(cause).__name__ + (f" {state}" if state else "") + (f" ({refused})" if refused else "")


def _json_text(value: Any) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()


def _first_elsewhere(values: list[str]) -> int | None:
    """The first text that is not an instant in UTC: such texts are in the order of time, others are not."""
    return next((index for index, value in enumerate(values) if value and not value.endswith(("Z", "+00:00"))), None)
