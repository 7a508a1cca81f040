"""A retailer's database: every row lands once, whatever the connection does; on SQLite and on a real PostgreSQL."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from source_doubles import START, Line, source_named

from letterpress.sources import Connection
from letterpress.sources.entities import FLAG, INSTANT, NUMBER, TEXT, WHOLE, Entity, column, schema_of
from letterpress.sources.errors import SchemaChanged, SourceRefused, SourceUnavailable
from letterpress.sources.options import RestOptions, SqlOptions
from letterpress.sources.sql import pages

SCHEMA = sa.MetaData()
ORDERS = sa.Table(
    "orders",
    SCHEMA,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("currency", sa.Text),
    *(sa.Column(name, sa.Double) for name in ("discount_amount", "shipping_amount", "total_amount")),
    *(sa.Column(name, sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql")) for name in ("ordered_at",)),
    sa.Column("updated_at", sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql")),
)
LINES = sa.Table(
    "order_lines",
    SCHEMA,
    sa.Column("order_line_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text),
    sa.Column("product_id", sa.Text),
    sa.Column("quantity", sa.BigInteger),
    sa.Column("unit_price", sa.Double),
    sa.Column("line_amount", sa.Double),
    sa.Column("updated_at", sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql")),
)
REFUNDS = sa.Table(
    "refunds",
    SCHEMA,
    sa.Column("refund_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text),
    sa.Column("amount", sa.Double),
    sa.Column("reason", sa.Text),
    *(
        sa.Column(name, sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql"))
        for name in ("refunded_at", "updated_at")
    ),
)


class Database:
    """A retailer's database with orders to change."""

    def __init__(self, url: str, schema: str | None = None) -> None:
        self.url = url
        arguments = {"options": f"-csearch_path={schema}"} if schema else {}
        self.engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    def at(self, hours: float) -> str | datetime:
        instant = START + timedelta(hours=hours)
        return f"{instant:%Y-%m-%dT%H:%M:%S}.000Z" if self.is_sqlite else instant

    def order(self, number: int, *, hours: float, **changes: object) -> None:
        row = {"order_id": f"O{number:04d}", "status": "placed", "currency": "GBP", "total_amount": 10.5}
        row |= {"ordered_at": self.at(0), "updated_at": self.at(hours)} | changes
        with self.engine.begin() as connection:
            connection.execute(ORDERS.delete().where(ORDERS.c.order_id == row["order_id"]))
            connection.execute(ORDERS.insert(), row)

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'orders.sqlite'}")
    else:
        url = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
        if not url:
            pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to read orders from")
        found = Database(url)
        with found.engine.begin() as connection:
            connection.execute(sa.text("drop schema if exists retailer cascade"))
            connection.execute(sa.text("create schema retailer"))
        found = Database(url, "retailer")
    SCHEMA.create_all(found.engine)
    yield found
    found.engine.dispose()


SHOP = source_named("shop", page_size=7)


@pytest.fixture
def retailer(tmp_path: Path, database: Database) -> Line:
    return Line(str(tmp_path / "landing"), database.url)


@pytest.fixture
def shop(database: Database):
    schema = None if database.is_sqlite else "retailer"
    return SHOP.model_copy(update={"options": SqlOptions(reader="sql", database_schema=schema)})


def read(
    source, database: Database, entity_name: str = "orders", since: str | None = None, url: str = ""
) -> list[dict]:
    entity = next(one for one in source.declared() if one.name == entity_name)
    found = pages(source, entity, since=since, connection=Connection(base_url=url or database.url))
    return [row for page in found for row in page.rows.to_pylist()]


def test_orders_land_once_and_only_what_changed_lands_again(database, retailer, shop):
    for number in range(20):
        database.order(number, hours=number)
    with database.engine.begin() as connection:
        connection.execute(
            LINES.insert(), {"order_line_id": "L1", "order_id": "O0001", "quantity": 3, "updated_at": database.at(1)}
        )
    first = retailer.land(shop)
    again = retailer.extract(shop)
    database.order(3, hours=30, status="shipped")
    database.order(20, hours=20)
    second = retailer.land(shop)
    assert {name: one.rows for name, one in first.entities.items()} == {"orders": 20, "order_lines": 1, "refunds": 0}
    assert again is None
    assert second.entities["orders"].rows == 2
    assert second.entities["orders"].cursor == "2011-06-02T06:00:00Z"
    rows = retailer.rows("orders").query("order_id == 'O0003'")
    assert rows["status"].tolist() == ["placed", "shipped"]
    assert rows["updated_at"].tolist() == [START + timedelta(hours=3), START + timedelta(hours=30)]
    assert rows["total_amount"].tolist() == [10.5, 10.5]


def test_rows_of_one_instant_are_paged_by_their_key(database, shop):
    for number in range(23):
        database.order(number, hours=5)
    assert [row["order_id"] for row in read(shop, database)] == [f"O{number:04d}" for number in range(23)]


def test_what_is_written_while_pages_are_read_comes_behind_what_was_read(database, shop):
    for number in range(10, 20):
        database.order(number, hours=number)
    entity = next(one for one in shop.declared() if one.name == "orders")
    found = pages(shop, entity, since=None, connection=Connection(base_url=database.url))
    read_first = next(found).rows["order_id"].to_pylist()
    database.order(1, hours=21)  # its key lies before the first page
    database.order(30, hours=22)
    later = [row for page in found for row in page.rows["order_id"].to_pylist()]
    assert [*read_first, *later] == [*(f"O{number:04d}" for number in range(10, 20)), "O0001", "O0030"]


def test_since_is_inclusive_and_leaves_out_what_lies_before(database, shop):
    for number in range(30):
        database.order(number, hours=number)
    found = read(shop, database, since="2011-06-01T20:00:00Z")
    assert [row["order_id"] for row in found] == [f"O{number:04d}" for number in range(20, 30)]


def test_a_row_that_appears_late_behind_the_cursor_is_found_in_the_overlap(database, retailer, shop):
    database.order(1, hours=10)
    retailer.land(shop)
    database.order(2, hours=8)
    second = retailer.land(shop)
    assert second.entities["orders"].rows == 1
    assert retailer.rows("orders")["order_id"].tolist() == ["O0001", "O0002"]


def test_the_same_orders_have_the_same_hashes_from_the_database_and_from_the_api(
    database, retailer, shop, api, tmp_path
):
    changes = {"customer_id": "C1", "email": "a@example.com", "discount_amount": None, "shipping_amount": 4.0}
    database.order(1, hours=1, **changes)
    retailer.land(shop)
    row = {"order_id": "O0001", "status": "placed", "currency": "GBP", "total_amount": 10.5} | changes
    row |= {"ordered_at": "2011-06-01T00:00:00.000Z", "updated_at": "2011-06-01T01:00:00.000Z"}
    api.tables |= {"/v1/orders": [row]}
    by_rest = Line(str(tmp_path / "other"), api.url)
    by_rest.land(source_named("shop", options=RestOptions(reader="rest")))
    assert retailer.rows("orders")["_row_hash"].tolist() == by_rest.rows("orders")["_row_hash"].tolist()


def test_columns_that_are_not_declared_stay_in_the_database(database, retailer, shop):
    database.run("alter table orders add column card_number text")
    database.order(1, hours=1)
    assert retailer.land(shop).entities["orders"].new_columns == ()
    assert "card_number" not in retailer.rows("orders").columns


def test_a_view_under_another_name_is_read(database, shop):
    database.order(1, hours=1, status="placed")
    database.order(2, hours=2, status="cancelled")
    database.run("create view sales as select * from orders where status <> 'cancelled'")
    given = shop.model_copy(update={"options": shop.options.model_copy(update={"tables": {"orders": "sales"}})})
    assert [row["order_id"] for row in read(given, database)] == ["O0001"]


def test_a_missing_table_is_named_with_those_that_are_there(database, shop):
    database.run("drop table refunds")
    with pytest.raises(SourceRefused) as caught:
        read(shop, database, "refunds")
    message = str(caught.value)
    assert "expected the table or view" in message
    assert "['order_lines', 'orders']" in message
    assert "options.tables" in message


def test_a_missing_column_is_named(database, shop):
    database.run("alter table orders drop column currency")
    with pytest.raises(SourceRefused, match=r"missing \['currency'\]"):
        read(shop, database)


def test_a_row_without_a_cursor_stops_the_extraction_because_paging_would_pass_it_by(database, retailer, shop):
    database.order(1, hours=1)
    database.order(2, hours=2, updated_at=None)
    with pytest.raises(SchemaChanged) as caught:
        retailer.extract(shop)
    assert (caught.value.entity, caught.value.column, caught.value.found) == ("orders", "updated_at", "no value")
    assert retailer.files() == set()


def test_another_type_of_a_column_lands_nothing(database, retailer, shop):
    database.run("alter table orders drop column total_amount", "alter table orders add column total_amount text")
    database.order(1, hours=1, total_amount=None)
    database.run("update orders set total_amount = 'ten pounds'")
    with pytest.raises(SchemaChanged) as caught:
        retailer.extract(shop)
    assert (caught.value.column, caught.value.found) == ("total_amount", "string")
    assert "ten pounds" not in str(caught.value)


def test_nothing_can_be_written_through_the_source(database, shop):
    from letterpress.sources.sql import _Table

    database.order(1, hours=1)
    orders = shop.declared()[0]
    table = _Table(shop, orders, Connection(base_url=database.url))
    with pytest.raises(SourceRefused if not database.is_sqlite else SourceUnavailable):
        table._asked(lambda connection: connection.execute(sa.text(f"delete from {table.qualified}")))
    assert len(read(shop, database)) == 1


def test_a_missing_database_is_told_without_its_password(database, shop, tmp_path):
    if database.is_sqlite:
        url, expected = f"sqlite:///{tmp_path}/nowhere/orders.sqlite", SourceUnavailable
    else:
        there = sa.make_url(database.url).set(database="nowhere", password="sesame-open")
        url, expected = there.render_as_string(hide_password=False), SourceRefused
    with pytest.raises(expected) as caught:
        read(shop, database, url=url)
    assert "nowhere" in str(caught.value)
    assert "Next step" in str(caught.value)
    assert "sesame-open" not in str(caught.value)


def test_a_password_stands_in_no_form_of_a_connection_and_in_no_error(shop):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://reader@127.0.0.1:{closed.getsockname()[1]}/orders"
    connection = Connection(base_url=url, token="sesame-open")
    with pytest.raises(SourceUnavailable) as caught:
        next(pages(SHOP, SHOP.declared()[0], since=None, connection=connection))
    assert "after 4 attempts" in str(caught.value)
    assert "sesame-open" not in repr(connection) + str(caught.value)


def test_an_address_that_is_no_database_is_refused():
    with pytest.raises(SourceRefused, match="type postgres or sqlite"):
        next(pages(SHOP, SHOP.declared()[0], since=None, connection=Connection(base_url="the shop")))


def test_a_database_without_its_driver_is_refused_with_how_to_get_it():
    connection = Connection(base_url="mysql://reader@127.0.0.1/shop", token="sesame-open")
    with pytest.raises(SourceRefused, match="expected a driver for mysql") as caught:
        next(pages(SHOP, SHOP.declared()[0], since=None, connection=connection))
    assert "sesame-open" not in str(caught.value)


class Cut:
    """A way to the database that is cut after so many bytes of answers, as often as it is told."""

    def __init__(self, target: tuple[str, int], cuts: list[int]) -> None:
        self.cuts, self.made = cuts, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = target
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.create_connection(self.target)
        left = self.cuts.pop(0) if self.cuts else None

        def ask() -> None:
            with suppress(OSError):
                while chunk := client.recv(65536):
                    server.sendall(chunk)

        threading.Thread(target=ask, daemon=True).start()
        with suppress(OSError):
            while chunk := server.recv(65536):
                if left is not None and (left := left - len(chunk)) < 0:
                    self.made += 1
                    break
                client.sendall(chunk)
        for one in (client, server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self.listener.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_lost_connection_goes_on_after_the_last_row_that_arrived(database, shop):
    for number in range(40):
        database.order(number, hours=number)
    there = sa.make_url(database.url)
    way = Cut((there.host, there.port), [None, None, None, None, None, 700, 700, None, 900])
    found = read(shop, database, url=there.set(port=way.port).render_as_string(hide_password=False))
    way.close()
    assert way.made == 3
    assert [row["order_id"] for row in found] == [f"O{number:04d}" for number in range(40)]


THINGS = Entity(
    name="things",
    key=("thing_id",),
    cursor="seen_at",
    schema=schema_of(
        column("thing_id", TEXT),
        column("price", NUMBER),
        column("pieces", WHOLE),
        column("is_open", FLAG),
        column("tags", TEXT, json=list),
        column("seen_at", INSTANT),
    ),
)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_types_of_a_real_postgresql_become_those_of_landing(database, shop):
    from letterpress.sources.contract import Contract

    database.run(
        "create table things (thing_id uuid primary key, price numeric(10, 2), pieces smallint, is_open boolean,"
        " tags jsonb, seen_at timestamptz)",
        "insert into things values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 12.50, 3, true, '[\"b\", \"a\"]',"
        " '2011-06-01 12:00+02')",
        "insert into things (thing_id, seen_at) values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', '2011-06-02 12:00+02')",
    )
    found = pages(shop, THINGS, since=None, connection=Connection(base_url=database.url))
    rows = Contract("shop", THINGS).apply(next(found)).select(THINGS.schema.names).to_pylist()
    assert rows[0] == {
        "thing_id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "price": 12.5,
        "pieces": 3,
        "is_open": True,
        "tags": '["b","a"]',
        "seen_at": datetime(2011, 6, 1, 10, tzinfo=UTC),
    }
    assert [rows[1][name] for name in ("price", "pieces", "is_open", "tags")] == [None] * 4


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_text_in_another_zone_cannot_be_put_in_order_and_is_refused(database, shop):
    database.order(1, hours=1, updated_at="2011-06-01T12:00:00+02:00")
    with pytest.raises(SchemaChanged, match="no instant in UTC"):
        read(shop, database)
