"""As-of truth: the past, rebuilt from what was known, is the past that was built; late data is all that differs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import small_shop as shop
from landed_home import Home
from landed_rows import AS_OF, at
from shortcuts import without_dbt_tests

from letterpress.warehouse.database import connect
from letterpress.warehouse.rebuild import Knowledge, Rebuilt, rebuild_range

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

# What is about loads, not about people: late rows come in a later load, or in more of them.
ABOUT_LOADS = ("_load_sequence", "known_through")

FIRST = {
    "crm__customers": shop.ACCOUNTS,
    "crm__consents": shop.CONSENTS,
    "catalogue__products": [shop.product("P1", "Garden"), shop.product("P2", "Kitchen")],
    "shop__orders": shop.ORDERS,
    "shop__order_lines": shop.LINES,
    "shop__refunds": shop.REFUNDS,
    "web__events": shop.EVENTS,
    "email__events": shop.MAILS,
    "online_retail__invoice_lines": shop.INVOICE_LINES[:2],
}

# Happened before the instant, landed after it.
LATE = {
    "shop__orders": [shop.order("O20", "C5", "eve@example.com", 25.0, "2011-06-25")],
    "shop__order_lines": [shop.line("L20", "O20", "P2", 1, 25.0, "2011-06-25")],
    "web__events": [shop.web("E20", "device-1", "C1", "2011-06-29 09:00", "Product Viewed")],
    "email__events": [shop.mail("M20", "m2", "C1", "click", "2011-06-29 10:00", url="https://shop.example/")],
    "crm__consents": [shop.consent("K20", "C4", "withdrawn", "2011-06-15", "preference_centre")],
}

# Happened after it, some of it by a millisecond: whatever is known, the past must not know of it.
NEXT = "2011-07-01 00:00:00.001"
LATER = {
    "crm__customers": [
        shop.account("C7", "kim@example.com", birth_date="1980-07-02", updated_at=at("2011-07-01 12:00"))
        | {"first_name": "Renamed", "loyalty_tier": "gold"},
        shop.account("C8", "zoe@example.com", signed_up=NEXT),
        shop.account("C1", "other@example.com", updated_at=at(NEXT)),
    ],
    "shop__orders": [
        shop.order("O21", "C1", "ann@example.com", 99.0, NEXT),
        shop.order("O1", "C1", "ann@example.com", 99.0, "2011-05-01", updated_at=at(NEXT)),
    ],
    "shop__order_lines": [shop.line("L21", "O21", "P1", 9, 11.0, "2011-07-01 13:00")],
    "web__events": [
        shop.web("E21", "device-9", "C6", "2011-07-01 13:00", "Product Viewed"),
        shop.web("E22", "kiosk", "C7", NEXT, "Product Viewed"),
    ],
    "email__events": [
        shop.mail("M21", "m9", "C6", "delivered", "2011-07-01 13:00"),
        shop.mail("M22", "m2", "C1", "complaint", NEXT),
    ],
    "crm__consents": [shop.consent("K21", "C1", "withdrawn", NEXT, "preference_centre")],
    "online_retail__invoice_lines": [
        # 01:00:00.001 in London is one millisecond after the instant.
        shop.invoice(99, "599999", "22423", 1, 10.0, invoice_date=datetime(2011, 7, 1, 1, 0, 0, 1_000)),
    ],
}


@dataclass
class Past:
    """One instant three times: as it was built, and rebuilt later from what was known then and is known now."""

    home: Home
    built: Path
    as_known_then: Rebuilt
    as_known_now: Rebuilt
    live_before: dict[str, bytes]
    live_after: dict[str, bytes]


def merged(*loads: dict[str, list]) -> dict[str, list]:
    names = dict.fromkeys(name for load in loads for name in load)
    return {name: [row for load in loads for row in load.get(name, [])] for name in names}


def live(home: Home) -> dict[str, bytes]:
    """All that a rebuild must leave alone."""
    root = Path(home.settings.home)
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and file.relative_to(root).parts[0] != "rebuilt"
    }


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Past:
    home = Home(tmp_path_factory.mktemp("home"))
    known = home.land(AS_OF, **FIRST)
    built = home.publish_features(AS_OF)
    home.land(AS_OF + timedelta(days=1), **merged(LATE, LATER))
    before = live(home)
    knowledge = (Knowledge(known_through=known), Knowledge())
    with without_dbt_tests():
        then, now = (rebuild_range(home.settings, [AS_OF], knowledge=one, run_id="test")[0] for one in knowledge)
    return Past(home, built, then, now, before, live(home))


@contextmanager
def compared(one: Path | str, other: Path | str) -> Iterator["Compared"]:
    with connect(":memory:", read_only=False) as connection:
        for name, folder in (("one", one), ("other", other)):
            connection.execute(f"attach '{Path(folder) / 'warehouse.duckdb'}' as {name} (read_only)")
        yield Compared(connection)


@dataclass
class Compared:
    """Two versions side by side."""

    connection: object

    def tables(self, name: str) -> list[str]:
        return [
            f"{schema}.{table}"
            for schema, table in self.connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = ? "
                "and schema_name in ('marts', 'features') order by 1, 2",
                [name],
            ).fetchall()
        ]

    def columns(self, table: str, but: tuple[str, ...] = ()) -> str:
        schema, _, name = table.partition(".")
        found = self.connection.execute(
            "select column_name from duckdb_columns() where database_name = 'one' and schema_name = ? "
            "and table_name = ? order by column_index",
            [schema, name],
        ).fetchall()
        return ", ".join(f'"{column}"' for (column,) in found if column not in but)

    def difference(self, table: str, columns: str = "*") -> list[tuple]:
        """Rows that stand in one of the two alone, each as often as it does."""
        both = [f"(select {columns} from {name}.{table})" for name in ("one", "other")]
        queries = [f"({left} except all {right})" for left, right in (both, both[::-1])]
        return self.connection.execute(" union all ".join(queries)).fetchall()

    def changed(self, table: str, key: str, but: tuple[str, ...] = ()) -> set:
        """The keys of the rows that differ."""
        names = [name.strip('" ') for name in self.columns(table, but).split(",")]
        return {row[names.index(key)] for row in self.difference(table, self.columns(table, but))}

    def imputed(self, table: str) -> tuple[str, ...]:
        """The columns that hold what is usual where nothing is known."""
        names = [name.strip('" ') for name in self.columns(table).split(",")]
        return tuple(name for name in names if f"is_{name}_imputed" in names)

    def person(self, source_customer_key: str) -> str:
        return self.connection.execute(
            "select customer_id from other.marts.dim_customer_identities where source_customer_key = ?",
            [source_customer_key],
        ).fetchone()[0]


def test_every_table_rebuilt_from_what_was_known_then_is_the_table_that_was_built_then(past):
    with compared(past.built, past.as_known_then.folder) as versions:
        tables = versions.tables("one")
        assert tables == versions.tables("other")
        assert {"marts.dim_customers", "marts.dim_customer_segments", "features.customer_features"} <= set(tables)
        assert {table: rows for table in tables if (rows := versions.difference(table))} == {}
        assert versions.connection.execute("select count(*) from one.marts.dim_customers").fetchone()[0] > 5


def test_the_feature_files_are_equal_to_the_byte(past):
    def files(folder: Path | str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (Path(folder) / "features").glob("*.parquet")}

    assert files(past.built) == files(past.as_known_then.folder)
    assert files(past.built)


def test_with_todays_knowledge_the_late_order_is_the_only_order_that_differs(past):
    with compared(past.built, past.as_known_now.folder) as versions:
        assert versions.changed("marts.fct_orders", "order_id") == {"shop:O20"}
        assert versions.changed("features.customer_orders", "order_id") == {"shop:O20"}


def test_with_todays_knowledge_exactly_the_people_whom_late_data_is_about_differ(past):
    with compared(past.built, past.as_known_now.folder) as versions:
        ann, eve, no_email = (versions.person(f"shop:{number}") for number in ("C1", "C5", "C4"))
        # A withdrawal is no behaviour: it changes the profile and no feature. What is usual among all, and stands for
        # what is not known of somebody, moves with anybody's late data; that it moves as it should, see below.
        features = "features.customer_features"
        assert versions.changed(features, "customer_id", but=versions.imputed(features)) == {ann, eve}
        assert versions.changed("marts.dim_customers", "customer_id") >= {ann, eve, no_email}
        found = versions.connection.execute(
            "select one.email_consent_status, other.email_consent_status from one.marts.dim_customers as one "
            "inner join other.marts.dim_customers as other using (customer_id) where customer_id = ?",
            [no_email],
        ).fetchone()
        assert found == ("granted", "withdrawn")


def test_whatever_is_known_nothing_that_happened_later_is_in_the_past(past):
    for one in (past.as_known_then, past.as_known_now):
        with connect(Path(one.folder) / "warehouse.duckdb") as connection:
            orders = connection.execute("select order_id from marts.fct_orders").fetchall()
            people = connection.execute("select source_customer_key from marts.dim_customer_identities").fetchall()
            names = connection.execute("select first_name, loyalty_tier from marts.dim_customers").fetchall()
        assert ("shop:O21",) not in orders
        assert ("shop:C8",) not in people
        assert not {"Renamed", "gold"} & {value for row in names for value in row}


def test_the_rebuild_of_the_past_leaves_everything_that_is_live_as_it_was(past):
    assert past.live_after == past.live_before


def test_with_todays_knowledge_the_past_is_what_it_would_have_been_had_the_late_data_been_on_time(past, tmp_path):
    """So the difference is exactly the late data, in every table: ranks and shares that it moves for others too."""
    on_time = Home(tmp_path)
    on_time.land(AS_OF, **merged(FIRST, LATE))
    with compared(on_time.publish_features(AS_OF), past.as_known_now.folder) as versions:
        tables = [table for table in versions.tables("one") if table != "marts.fct_source_reconciliation"]
        differing = {
            table: rows
            for table in tables
            if (rows := versions.difference(table, versions.columns(table, but=ABOUT_LOADS)))
        }
        assert differing == {}
        # Of the rows that landed, those that happened later are told apart, and nothing else.
        rest = versions.connection.execute(
            "select source_name, entity_name, disposition, sum(row_count) from other.marts.fct_source_reconciliation "
            "where disposition not in ('landed', 'after_as_of') group by all "
            "except select source_name, entity_name, disposition, sum(row_count) "
            "from one.marts.fct_source_reconciliation group by all"
        ).fetchall()
        assert rest == []


def test_a_live_warehouse_that_goes_back_holds_nothing_of_what_came_later(past, tmp_path):
    """Marts that write only what has changed are built whole with all that they follow from."""
    fresh = Home(tmp_path)
    fresh.land(AS_OF, **FIRST)
    fresh.land(AS_OF + timedelta(days=1), **merged(LATE, LATER))
    with compared(*(home.publish_features(at("2011-06-15")) for home in (past.home, fresh))) as versions:
        assert {table for table in versions.tables("one") if versions.difference(table)} == set()
        assert versions.connection.execute("select count(*) > 0 from one.marts.fct_email_messages").fetchone()[0]
