"""Landed files in PostgreSQL: loaded once, typed as declared, and into no database that would build other tables."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_shop
from landed_rows import IDENTITY_KEY, Landing

from letterpress.warehouse import postgres


@pytest.fixture
def server() -> dict:
    url = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to load into")
    parts = urlsplit(url)
    return {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}


@pytest.fixture
def connection(server) -> Iterator:
    import psycopg

    name = f"letterpress_landing_{os.getpid()}"
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as administrator:
        postgres.create_database(administrator, name)
        try:
            with psycopg.connect(**server, dbname=name) as found:
                yield found
        finally:
            administrator.execute(f'drop database "{name}" with (force)')


def load(connection, landing: Landing) -> postgres.Loaded:
    index = landing.folder / "index.parquet"
    pq.write_table(pa.Table.from_pylist(landing.index), index)
    return postgres.load(connection, str(index), identity_key=IDENTITY_KEY)


def test_what_is_there_is_not_loaded_again_and_what_is_new_is(connection, tmp_path):
    landing = small_shop.land(Landing(tmp_path))
    assert load(connection, landing).rows > 0
    assert load(connection, landing) == postgres.Loaded(files=0, rows=0, removed_files=0)
    landing.load(crm__customers=[small_shop.account("C8", 'a "quoted", name@example.com', phone="", last_name=None)])
    assert load(connection, landing) == postgres.Loaded(files=1, rows=1, removed_files=0)
    [row] = connection.execute(
        "select email, phone, last_name, signed_up_at = timestamptz '2011-01-01 00:00:00+00', _load_sequence "
        "from landing.crm__customers where customer_id = 'C8'"
    ).fetchall()
    assert row == ('a "quoted", name@example.com', "", None, True, 3)


def test_history_is_what_the_index_lists(connection, tmp_path):
    landing = Landing(tmp_path)
    change = {"version": "v1", "source_customer_key": "shop:C1", "old_customer_id": "a", "new_customer_id": "b"}
    landing.load(history__identity_changes=[change | {"as_of": small_shop.at("2011-06-01")}])
    landing.index[-1]["load_sequence"] = 0
    assert load(connection, landing).rows == 1
    landing.index.pop()
    assert load(connection, landing).removed_files == 1
    assert connection.execute("select count(*) from landing.history__identity_changes").fetchone() == (0,)


def test_a_database_that_would_sort_or_fold_text_otherwise_is_refused(server, tmp_path):
    import psycopg

    with (
        psycopg.connect(**server, dbname="postgres") as connection,
        pytest.raises(ValueError, match=r"lc_ctype C\.UTF-8"),
    ):
        load(connection, Landing(tmp_path))


def test_the_functions_mean_what_duckdb_means(connection, tmp_path):
    import duckdb

    load(connection, Landing(tmp_path))
    formats = ["%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%d/%m/%Y"]
    for text in ("1980-5-3", " 5  MAR 1980 ", "5 march 1980", "31.02.1980", "005.03.1980", "5Mar1980", "soon", None):
        assert (
            connection.execute("select landing.date_or_null(%s, %s)", [text, formats]).fetchone()
            == duckdb.execute(f"select cast(try_strptime(?, {formats}) as date)", [text]).fetchone()
        ), text
    for text in ("1_000", " 5 ", ".5", "1e3", "1e400", "1,5", "0x10", "", "-inf", None):
        assert (
            connection.execute("select landing.number_or_null(%s)", [text]).fetchone()
            == duckdb.execute("select try_cast(? as double)", [text]).fetchone()
        ), text
    for number in (2.675, 1.005, 10.025, -0.125, 0.5, 1.5, 2.5, -2.00005):
        assert (
            connection.execute("select landing.rounded(%s::double precision, 2)", [number]).fetchone()
            == duckdb.execute("select round(cast(? as double), 2)", [number]).fetchone()
        ), number
    key = f"from_hex('{IDENTITY_KEY.hex()}')"
    hashed = f"left(sha256(hex({key}) || sha256(hex({key}) || ?)), 32)"
    assert (
        connection.execute("select landing.keyed_hash(%s, key_hex) from landing.identity_key", ["shop:C1"]).fetchone()
        == duckdb.execute(f"select {hashed}", ["shop:C1"]).fetchone()
    )
