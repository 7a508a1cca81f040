"""The shop's order database holds what the API shows, whatever happens in between; on SQLite and on PostgreSQL."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from letterpress.demo.shop.database import MARK, MIRRORED, DatabaseUnusable, OrderDatabase
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.schemas import KEYS
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import Store
from letterpress.settings import REPOSITORY

pytestmark = pytest.mark.usefixtures("played_once")

WORLD = World(seed=2, customers=60, days=40, today=datetime(2011, 2, 1, tzinfo=UTC))


def made(folder: Path, world: World = WORLD) -> Store:
    store = Store(folder / "shop" / "shop.sqlite", world)
    store.prepare()
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'orders.sqlite'}"
        return
    server = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to mirror orders into")
    name = f"shop_{os.getpid()}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"drop database if exists {name} with (force)"))
        connection.execute(sa.text(f"create database {name}"))
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))


def query(url: str, text: str) -> list[dict]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        found = connection.execute(sa.text(text))
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


def shown(store: Store, entity: str) -> dict[str, dict]:
    """What the API shows, with instants as such."""
    rows = (orjson.loads(body) for _, _, body in store.page(entity, None, None, 10**9))
    return {row[KEYS[entity]]: typed(row) for row in rows}


def typed(row: dict) -> dict:
    def one(name: str, value: object) -> object:
        if name.endswith("_at") and isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC) if isinstance(value, datetime) else value

    return {name: one(name, value) for name, value in row.items()}


def held(url: str, entity: str) -> dict[str, dict]:
    return {row[KEYS[entity]]: typed(row) for row in query(url, f"select * from {entity}")}


def assert_mirrored(url: str, store: Store) -> None:
    for entity in MIRRORED:
        assert held(url, entity) == shown(store, entity), entity


def test_a_start_mirrors_the_history_and_each_advance_what_changed(store, url):
    database = OrderDatabase(url, store)
    database.prepare()
    assert_mirrored(url, store)
    before = held(url, "orders")
    for hours in (5, 24, 24 * 4):
        store.advance(hours * chance.HOUR)
        database.update()
        assert_mirrored(url, store)
    after = held(url, "orders")
    assert len(after) > len(before)
    assert any(after[key] != row for key, row in before.items()), "no order changed, so nothing was overwritten"


def test_columns_are_typed(store, url):
    OrderDatabase(url, store).prepare()
    kinds = {column["name"]: column["type"] for column in sa.inspect(sa.create_engine(url)).get_columns("order_lines")}
    assert isinstance(kinds["quantity"], sa.BigInteger)
    assert isinstance(kinds["unit_price"], sa.Double)
    if url.startswith("postgresql"):
        assert isinstance(kinds["updated_at"], sa.DateTime)
        assert kinds["updated_at"].timezone
    else:
        assert {len(row["updated_at"]) for row in query(url, "select updated_at from orders")} == {24}


def test_a_second_start_writes_nothing_and_an_emptied_database_is_filled_again(store, url, caplog):
    OrderDatabase(url, store).prepare()
    positions = query(url, f"select * from {MARK} order by entity")
    OrderDatabase(url, store).prepare()
    assert query(url, f"select * from {MARK} order by entity") == positions
    query(url, "delete from order_lines")
    query(url, "drop table refunds")
    assert "anew" not in caplog.text
    OrderDatabase(url, store).prepare()
    assert_mirrored(url, store)
    assert "order_lines begins anew" in caplog.text


def test_a_row_that_is_shown_after_its_instant_is_not_passed_by(store, url):
    """The position is that of the showing: a row may carry an instant long before it."""
    database = OrderDatabase(url, store)
    database.prepare()
    late = dict.fromkeys(held(url, "refunds").popitem()[1]) | {"refund_id": "R-late"}
    late |= {"updated_at": "2010-12-31T00:00:00.000Z"}
    with store._open() as connection:
        at = chance.milliseconds(datetime(2010, 12, 31, tzinfo=UTC))
        connection.execute("insert into refunds (key, at, body) values (?, ?, ?)", ("R-late", at, orjson.dumps(late)))
    store.advance(chance.HOUR)
    database.update()
    assert "R-late" in held(url, "refunds")
    assert_mirrored(url, store)


def test_another_shop_replaces_the_mirror(store, url, tmp_path):
    OrderDatabase(url, store).prepare()
    other = made(tmp_path / "other", World(seed=9, customers=20, days=20, today=WORLD.today))
    OrderDatabase(url, other).prepare()
    assert_mirrored(url, other)


def test_tables_of_somebody_else_are_left_alone(store, url):
    query(url, "create table orders (order_id text primary key, total double precision)")
    query(url, "insert into orders values ('theirs', 1)")
    with pytest.raises(DatabaseUnusable) as caught:
        OrderDatabase(url, store).prepare()
    assert "LETTERPRESS_SHOP_DATABASE_URL" in str(caught.value)
    assert "tables of somebody else (orders)" in str(caught.value)
    assert query(url, "select order_id from orders") == [{"order_id": "theirs"}]


KILLED = """
import os, sys
from pathlib import Path
from letterpress.demo.shop import database
from test_shop_database import WORLD, made
database.BATCH_ROWS = 20
store = made(Path(sys.argv[1]))
left = int(sys.argv[3])
class Store:
    world, position = store.world, store.position
    def changed(self, *given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return store.changed(*given)
database.OrderDatabase(sys.argv[2], Store()).prepare()
"""


@pytest.mark.parametrize("calls", [0, 2, 7])
def test_a_kill_in_the_middle_leaves_a_mirror_that_the_next_start_completes(store, url, tmp_path, calls):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "plugins"), str(Path(__file__).parent)])
    }
    command = [sys.executable, "-c", KILLED, str(tmp_path), url, str(calls)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for entity, row in [(entity, query(url, f"select count(*) as count from {entity}")) for entity in MIRRORED]:
        assert row[0]["count"] in (0, len(shown(store, entity))), "a part of a mirroring was committed"
    OrderDatabase(url, store).prepare()
    assert_mirrored(url, store)


def test_a_database_that_is_away_during_an_advance_is_behind_and_catches_up(store, tmp_path, caplog):
    folder = tmp_path / "away"
    url = f"sqlite:///{folder / 'orders.sqlite'}"
    database = OrderDatabase(url, store)
    database.prepare()
    folder.rename(tmp_path / "gone")
    folder.write_text("no folder")
    store.advance(chance.DAY)
    database.update()
    assert "behind the shop" in caplog.text
    folder.unlink()
    (tmp_path / "gone").rename(folder)
    store.advance(chance.DAY)
    database.update()
    assert_mirrored(url, store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    ["postgresql+psycopg://shop:sesame-open@127.0.0.1:{port}/shop", "mysql://shop:sesame-open@localhost/x", "no"],
)
def test_a_shop_without_its_database_ends_with_the_setting_and_the_next_step(tmp_path, given):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = given.format(port=closed.getsockname()[1])
        environment = os.environ | {
            "LETTERPRESS_HOME": str(tmp_path),
            "LETTERPRESS_SHOP_CUSTOMERS": "10",
            "LETTERPRESS_SHOP_DAYS": "5",
            "LETTERPRESS_SHOP_PORT": "0",
            "LETTERPRESS_SHOP_DATABASE_URL": url,
            "PYTHONPATH": str(REPOSITORY / "plugins"),
        }
        command = [sys.executable, "-m", "letterpress.demo.shop"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "LETTERPRESS_SHOP_DATABASE_URL" in done.stderr
    assert "Next step" in done.stderr
    assert "sesame-open" not in done.stderr


def test_a_reader_beside_an_advance_sees_whole_states(store, url):
    """Every line that can be seen belongs to an order that can be seen."""
    database = OrderDatabase(url, store)
    database.prepare()
    stop, orphans = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            text = "select count(*) as count from order_lines where order_id not in (select order_id from orders)"
            orphans.append(query(url, text)[0]["count"])

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(3):
        store.advance(chance.DAY)
        database.update()
    stop.set()
    reader.join()
    assert len(orphans) > 1
    assert set(orphans) == {0}
