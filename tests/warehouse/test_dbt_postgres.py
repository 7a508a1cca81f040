"""The whole project on PostgreSQL 15: from the same landed rows it builds, row by row, the same marts as DuckDB."""

import copy
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import small_scores
from landed_rows import IDENTITY_KEY, WITHOUT_TESTS, Landing

from letterpress.warehouse import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

COMPARED = ("marts", "features", "activation", "operations")
# Sums of doubles depend on the order of their rows; nothing else may differ.
TOLERANCE = 1e-9
PASSED = ("success", "pass", "no-op")


@dataclass
class Engines:
    """One landing, and the two warehouses that are built from it."""

    duckdb: Landing
    postgresql: Landing

    def build(self, *flags: str, as_of: datetime) -> None:
        """Everything on both engines, on PostgreSQL with every test unless flags leave them out.

        Says which node broke where.
        """
        index = self.duckdb.folder / f"listed-{self.duckdb.sequence}.parquet"
        pq.write_table(pa.Table.from_pylist(self.duckdb.index), index)
        with postgres.connect() as connection:
            postgres.load(connection, str(index), identity_key=IDENTITY_KEY)
        self.postgresql.index, self.postgresql.sequence = self.duckdb.index, self.duckdb.sequence
        broken = []
        for name, landing in (("duckdb", self.duckdb), ("postgresql", self.postgresql)):
            target, chosen = ("postgres", flags) if name == "postgresql" else ("warehouse", WITHOUT_TESTS)
            answer = landing.dbt("build", "--target", target, *chosen, as_of=as_of)
            assert answer.exception is None, f"{name}: {answer.exception}"
            broken += [
                f"{name}: {one.status}: {one.node.name}: {one.message}"
                for one in answer.result
                if one.status not in PASSED and "operation" not in str(one.node.resource_type)
            ]
        assert not broken, "\n".join(broken)

    def differences(self) -> list[str]:
        """Where the marts differ: table, column and the first keys; empty where they are equal."""
        import duckdb

        manifest = self.duckdb.manifest()
        models = [node for node in manifest.nodes.values() if node.resource_type == "model" and node.schema in COMPARED]
        assert models
        found = []
        with (
            duckdb.connect(str(self.duckdb.database), read_only=True) as ours,
            postgres.connect() as theirs,
        ):
            ours.execute("set TimeZone = 'UTC'")
            for model in models:
                query = f'select * from "{model.schema}"."{model.alias}"'
                columns = [one[0] for one in ours.execute(query).description]
                left = rows_by_key(columns, ours.execute(query).fetchall(), key_of(model, manifest))
                cursor = theirs.execute(query)
                assert [one.name for one in cursor.description] == columns, f"{model.name}: other columns"
                right = rows_by_key(columns, cursor.fetchall(), key_of(model, manifest))
                found += table_differences(model, columns, left, right)
        return found

    def count(self, table: str) -> int:
        """Rows of a mart: a comparison of empty ones would prove nothing."""
        [[number]] = self.duckdb.query(f"select count(*) from {table}")
        return number


def key_of(model, manifest) -> list[str]:
    """The columns that a test of the model states to be unique, everywhere; all of them where it names none."""
    for test in manifest.nodes.values():
        metadata = getattr(test, "test_metadata", None)
        if metadata is None or test.attached_node != model.unique_id or test.config.where:
            continue
        if metadata.name == "unique":
            return [metadata.kwargs["column_name"]]
        if metadata.name == "unique_combination" and set(metadata.kwargs["columns"]) <= set(model.columns):
            return list(metadata.kwargs["columns"])
    return list(model.columns)


def rows_by_key(columns: list[str], rows: list[tuple], key: list[str]) -> dict[tuple, dict[str, Any]]:
    found = {}
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        found[tuple(named[name] for name in key)] = named
    assert len(found) == len(rows), f"expected {key} to be unique"
    return found


def table_differences(model, columns: list[str], left: Mapping, right: Mapping) -> list[str]:
    personal = {name for name, column in model.columns.items() if column.config.meta.get("pii")}

    def first(keys: list[tuple]) -> str:
        return ", ".join(sorted(map(str, keys))[:3])

    found = []
    for name, there, absent in (("duckdb", left, right), ("postgresql", right, left)):
        if alone := [key for key in there if key not in absent]:
            found.append(f"{model.name}: {len(alone)} rows in {name} alone, the first {first(alone)}")
    for column in columns:
        if differing := [key for key in left if key in right and not same(left[key][column], right[key][column])]:
            example = sorted(differing, key=str)[0]
            values = "" if column in personal else f": {left[example][column]!r} and {right[example][column]!r}"
            found.append(f"{model.name}.{column}: {len(differing)} rows differ, the first {first(differing)}{values}")
    return found


def same(left: Any, right: Any) -> bool:
    """Equal, of one type, doubles nearly so; an instant is the same in any zone."""
    if isinstance(left, float) and isinstance(right, float):
        return (
            left == right
            or (math.isnan(left) and math.isnan(right))
            or math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=1e-12)
        )
    return type(left) is type(right) and left == right


@pytest.fixture
def engines(tmp_path) -> Iterator[Engines]:
    url = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to build on")
    import psycopg

    server = urlsplit(url)
    # dbt's project as parsed names the database: one of this process, made anew for each test.
    name = f"letterpress_{os.getpid()}"
    address = {"host": server.hostname, "port": server.port, "user": server.username, "password": server.password}
    with psycopg.connect(**address, dbname=server.path[1:], autocommit=True) as connection:
        postgres.create_database(connection, name)
        ours = Landing(tmp_path)
        theirs = copy.copy(ours)
        theirs.folder = tmp_path / "postgresql"
        theirs.folder.mkdir()
        (theirs.folder / "key").write_bytes(IDENTITY_KEY)
        try:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("LETTERPRESS_POSTGRES_HOST", address["host"])
                environment.setenv("LETTERPRESS_POSTGRES_PORT", str(address["port"]))
                environment.setenv("LETTERPRESS_POSTGRES_USER", address["user"])
                environment.setenv("LETTERPRESS_POSTGRES_PASSWORD", address["password"] or "")
                environment.setenv("LETTERPRESS_POSTGRES_DATABASE", name)
                yield Engines(ours, theirs)
        finally:
            connection.execute(f'drop database "{name}" with (force)')


def test_a_shop_with_dirt_is_the_same_on_both_engines_whole_and_after_more_has_landed(engines):
    today = datetime(2011, 1, 10, tzinfo=UTC)
    tables = shop_with_dirt(today)
    # Of the shop's rows a half lands before the first build with most of the others, and the rest before the second.
    half, most = (int(cut) for cut in pc.quantile(tables["orders"]["_visible_at"], [0.5, 0.9]).to_pylist())
    engines.duckdb.load(**visible(tables, 0, half))
    engines.duckdb.load(**visible(tables, half, most))
    engines.build(*WITHOUT_TESTS, as_of=today)
    assert engines.differences() == []
    people = [one for (one,) in engines.duckdb.query("select customer_id from marts.dim_customers order by 1 limit 2")]
    engines.duckdb.load(**visible(tables, most, 2**62), **scored(people, today), **sent_to(people, today))
    engines.build(as_of=today)
    assert engines.differences() == []
    assert engines.count("marts.dim_customers") > 500
    assert engines.count("marts.fct_customer_predictions") == engines.count("marts.fct_customer_suggestions") == 2
    assert engines.count("operations.fct_sends") == engines.count("operations.fct_segment_changes") == 2


def test_real_retailers_are_the_same_on_both_engines(engines, real_data):
    engines.duckdb.load(**some_invoices(real_data), **some_households(real_data))
    engines.build(as_of=datetime(2017, 12, 2, tzinfo=UTC))
    assert engines.differences() == []
    assert engines.count("marts.fct_orders") > 4_000


def scored(people: list[str], as_of: datetime) -> dict[str, list[dict]]:
    """Scores and ranked items: of the first person a weekday, of the second a day of the weekend."""
    rows, ranked = [], []
    for day, person in zip((2, 6), people, strict=True):
        rows += [
            small_scores.score("uplift", person, "mail", as_of=as_of),
            small_scores.score("subject_lines", person, "everyone", as_of=as_of, style="plain"),
            small_scores.score("send_time", person, "personal", as_of=as_of, **small_scores.send_time(day, 9, 12)),
        ]
        categories = ["Kitchen", "Food, Drink", "Art", "Garden"]
        ranked += small_scores.items("category_affinity", person, categories, as_of=as_of)
        ranked += small_scores.items("recommendations", person, ["shop:P2", "shop:P1", "shop:P9"], as_of=as_of)
    return {"scores__scores": rows, "scores__items": ranked}


def sent_to(people: list[str], as_of: datetime) -> dict[str, list[dict]]:
    """What the line remembers of two people: a campaign each, and a segment that they came into."""
    return {
        "history__sends": [
            {"campaign_id": "spring", "customer_id": person, "destination": "local_esp", "state": "accepted"}
            | {"accepted_at": as_of, "message_id": f"m-{person}"}
            for person in people
        ],
        "history__segment_changes": [
            {"version": "1", "customer_id": person, "segment_key": "lost", "change": "entered", "as_of": as_of}
            for person in people
        ],
    }


def some_invoices(real_data) -> dict[str, pa.Table]:
    """Online Retail, all invoices of one customer in twenty."""
    import duckdb

    table = duckdb.sql(
        "select 'invoices.parquet' as file, row_number() over () as line_number, InvoiceNo as invoice_no, "
        "StockCode as stock_code, Description as description, Quantity::bigint as quantity, "
        "InvoiceDate as invoice_date, UnitPrice as unit_price, CustomerID::bigint as customer_id, "
        "Country as country, sha256(lines::varchar) as _row_hash "
        f"from read_parquet('{real_data}/online_retail/*.parquet') as lines where coalesce(CustomerID, 0) % 20 = 0"
    ).to_arrow_table()
    return {"online_retail__invoice_lines": table}


def some_households(real_data) -> dict[str, pa.Table]:
    """Complete Journey: everything about one household in twenty."""
    import duckdb
    from test_dbt_complete_journey import BY_LINE, TABLES

    found = {}
    for name in TABLES:
        file = f"{real_data}/complete_journey/{name}.parquet"
        number = f"'{name}.parquet' as file, row_number() over () as line_number, " if name in BY_LINE else ""
        columns = duckdb.sql(f"from read_parquet('{file}') limit 0").columns
        chosen = "where household_id::integer % 20 = 0" if "household_id" in columns else ""
        found[f"complete_journey__{name}"] = duckdb.sql(
            f"select {number}rows.*, sha256(rows::varchar) as _row_hash from read_parquet('{file}') as rows {chosen}"
        ).to_arrow_table()
    return found


def shop_with_dirt(today: datetime) -> dict[str, pa.Table]:
    """The rows of a thousand customers' two months, with everything that a living shop's rows do wrong."""
    from test_dbt_planted import OFTEN

    from letterpress.demo.simulation.dirt import soil
    from letterpress.demo.simulation.rendering import render
    from letterpress.demo.simulation.simulator import Simulator, World

    world = World(seed=7, customers=1_000, days=60, today=today, dirt=OFTEN)
    simulator = Simulator(world)
    state = simulator.opening()
    parts: dict[str, list[pa.Table]] = {}
    for _ in range(world.days):
        day = simulator.play(state)
        tables, _ = soil(world, day, render(world, state, day))
        for name, table in tables.items():
            parts.setdefault(name, []).append(table)
    return {name: pa.concat_tables(of, promote_options="default").combine_chunks() for name, of in parts.items()}


def visible(tables: Mapping[str, pa.Table], after: int, until: int) -> dict[str, pa.Table]:
    """What became visible in between (milliseconds), as it lands."""
    from test_dbt_planted import LANDED_AS, hashed

    found = {}
    for name, table in tables.items():
        when = table["_visible_at"]
        chosen = pc.and_(pc.greater(when, after), pc.less_equal(when, until))
        found[LANDED_AS[name]] = hashed(name, table.filter(chosen))
    return found
