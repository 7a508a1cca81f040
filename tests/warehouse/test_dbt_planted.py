"""The demo shop's dirt, row by row: what its manifest says was planted, the audits let through and dbt gets right."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from landed_rows import Landing, at

from letterpress.demo.simulation import effects, schemas, truths
from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.switches import Dirt

pytestmark = pytest.mark.slow

TODAY = datetime(2011, 1, 10, tzinfo=UTC)
# What is rare by default is planted more often, so that a small world has all of it.
OFTEN = Dirt(
    date_formats=0.3, excessive_refunds=0.3, test_orders=0.05, copied_events=0.02, skewed_clocks=0.05, late_commits=0.02
)
LANDED_AS = {
    "customers": "crm__customers",
    "consents": "crm__consents",
    "products": "catalogue__products",
    "orders": "shop__orders",
    "order_lines": "shop__order_lines",
    "refunds": "shop__refunds",
    "events": "web__events",
    "email_events": "email__events",
}


@dataclass
class Planted:
    """A shop whose rows have landed and been built, and the manifest of its dirt."""

    landing: Landing
    tables: dict[str, pa.Table]
    manifest: dict[tuple[str, str], dict[str, dict]]

    def keys(self, kind: str, entity: str) -> dict[str, dict]:
        """What was planted by key, with its detail; there is some of it."""
        found = self.manifest[kind, entity]
        assert found, f"no {kind} was planted in {entity}: choose another seed or rate"
        return found

    def dispositions(self, model: str, key: str) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name, disposition in self.landing.query(f"select {key}, disposition from staging.{model} order by all"):
            found[name].append(disposition)
        return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Iterator[Planted]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "SCANNED_MAILBOXES", 0.1)  # of 300 people one in a hundred is nobody
        yield play(tmp_path_factory)


def play(tmp_path_factory) -> Planted:
    world = World(seed=4, customers=300, days=60, today=TODAY, dirt=OFTEN)
    simulator = Simulator(world)
    state = simulator.opening()
    parts, manifest = defaultdict(list), defaultdict(dict)
    for _ in range(world.days):
        day = simulator.play(state)
        tables, planted = soil(world, day, render(world, state, day))
        for name, table in tables.items():
            parts[name].append(table)
        for row in (*planted.to_pylist(), *truths.of(state, day)["planted"].to_pylist()):
            manifest[row["kind"], row["entity"]][row["key"]] = json.loads(row["detail"] or "{}")
    tables = {name: pa.concat_tables(of, promote_options="default").combine_chunks() for name, of in parts.items()}

    landing = Landing(tmp_path_factory.mktemp("planted"))
    middle = pc.quantile(tables["orders"]["_visible_at"], 0.5)[0].as_py()
    for earlier in (True, False):
        rows = {name: pc.less(table["_visible_at"], middle) for name, table in tables.items()}
        chosen = {
            LANDED_AS[name]: hashed(name, table.filter(rows[name] if earlier else pc.invert(rows[name])))
            for name, table in tables.items()
        }
        landing.load(**chosen)
    landing.build("--select", "tag:features_phase", as_of=TODAY)
    return Planted(landing, tables, manifest)


def hashed(entity: str, table: pa.Table) -> pa.Table:
    """The public columns with the hash that landing adds."""
    public = schemas.public(entity, table)
    hashes = [hashlib.sha256(json.dumps(row, default=str).encode()).hexdigest() for row in public.to_pylist()]
    return public.append_column("_row_hash", pa.array(hashes, pa.string()))


@pytest.mark.parametrize("entity", LANDED_AS)
@pytest.mark.parametrize("rows", [3, 1_000])
def test_the_audits_stop_no_batch_of_it(planted, entity, rows):
    from expectations import runner

    table = hashed(entity, planted.tables[entity])
    batches = [table.slice(start, rows).to_pandas() for start in range(0, min(table.num_rows, 5 * rows), rows)]
    for batch in batches:
        suite = f"landed_{LANDED_AS[entity]}"
        found = runner.validate(suite, [batch], subject="a test", run_id="run", checked_at=TODAY)
        assert found.errors == 0, found.summary()


@pytest.mark.parametrize(
    ("entity", "model", "key"),
    [("events", "stg_web__events", "message_id"), ("email_events", "stg_email__events", "event_id")],
)
def test_of_every_event_that_came_twice_one_is_used(planted, entity, model, key):
    found = planted.dispositions(model, key)
    for event in planted.keys("repeated_events", entity):
        known = [one for one in found[event] if one != "after_as_of"]
        assert known.count("duplicate") >= len(known) - 1, event
    for event, detail in planted.keys("copied_events", entity).items():
        both = [one for one in (*found[event], *found[detail["copy_of"]]) if one != "after_as_of"]
        assert len(both) < 2 or both.count("used") == 1, event


def test_no_event_is_taken_for_a_copy_that_is_none(planted):
    for entity, model, key in (
        ("events", "stg_web__events", "message_id"),
        ("email_events", "stg_email__events", "event_id"),
    ):
        again = set(planted.keys("repeated_events", entity)) | set(planted.keys("copied_events", entity))
        again |= {detail["copy_of"] for detail in planted.keys("copied_events", entity).values()}
        duplicates = {name for name, found in planted.dispositions(model, key).items() if "duplicate" in found}
        assert duplicates <= again


def test_the_staff_s_orders_are_in_quarantine_and_nobody_else_s(planted):
    found = planted.dispositions("stg_shop__orders", "shop_order_id")
    tests = {order for order, fates in found.items() if "quarantined:test_order" in fates}
    assert tests == set(planted.keys("test_orders", "orders"))
    assert all(set(found[order]) <= {"quarantined:test_order", "after_as_of"} for order in tests)


def test_the_quarantine_lists_the_planted_orders_and_what_hangs_on_them_and_nothing_else_of_the_shop(planted):
    listed = defaultdict(set)
    for entity, key, reason in planted.landing.query(
        "select entity_name, row_key, reason from marts.fct_quarantined_rows where source_name = 'shop'"
    ):
        listed[entity, reason].add(key)
    visible = planted.dispositions("stg_shop__orders", "shop_order_id")
    tests = {order for order in planted.keys("test_orders", "orders") if "quarantined:test_order" in visible[order]}
    assert listed["orders", "test_order"] == tests
    lines = planted.landing.query(
        "select shop_order_line_id, shop_order_id from staging.stg_shop__order_lines where disposition = 'used'"
    )
    assert listed["order_lines", "test_order"] == {line for line, order in lines if order in tests}
    assert {reason for _, reason in listed} <= {"test_order", "unknown_order"}


def test_dates_of_birth_are_right_or_unknown(planted):
    found = dict(
        planted.landing.query("select shop_customer_id, cast(birth_date as varchar) from staging.stg_crm__customers")
    )
    dirty = planted.keys("date_formats", "customers")
    assert {found[key] for key in dirty if found[key] != dirty[key]["birth_date"]} <= {None}
    unknown = [key for key in dirty if found[key] is None]
    assert set(unknown) <= set(planted.keys("missing_fields", "customers"))


def test_orders_in_euros_are_what_they_were_in_pounds(planted):
    found = dict(
        planted.landing.query("select substr(order_id, 6), gross_amount from marts.fct_orders where currency = 'EUR'")
    )
    euros = planted.keys("foreign_currency", "orders")
    assert set(found) <= set(euros)
    assert len(set(found) & set(euros)) > 0.9 * len(euros)
    for key in set(found) & set(euros):
        # each piece's price was rounded to the cent
        assert found[key] == pytest.approx(euros[key]["pence"] / 100, rel=0.01, abs=0.05), key


def test_refunds_above_the_order_are_seen_and_cost_no_more_than_it(planted):
    excessive = planted.keys("excessive_refunds", "refunds")
    of = dict(planted.landing.query("select shop_refund_id, shop_order_id from staging.stg_shop__refunds "
                                    "where disposition = 'used'"))  # fmt: skip
    capped = {
        order
        for [order] in planted.landing.query("select substr(order_id, 6) from marts.fct_orders where is_refund_capped")
    }
    assert capped == {of[refund] for refund in excessive if refund in of}


def test_a_clock_that_is_wrong_moves_no_event_by_more_than_it_was_late(planted):
    found = planted.landing.query(
        "select message_id, epoch_ms(device_at), epoch_ms(occurred_at), epoch_ms(received_at), is_clock_corrected "
        "from staging.stg_web__events where disposition = 'used'"
    )
    skewed = planted.keys("skewed_clocks", "events")
    again = set(planted.keys("copied_events", "events"))
    day = 24 * 3_600_000
    for key, device, occurred, received, corrected in found:
        if key in again:
            continue
        shift = skewed[key]["shift"] if key in skewed else 0
        impossible = device - received > 5 * 60_000 or received - device > 30 * day
        assert corrected == impossible, key
        assert shift or not corrected, key
        assert occurred == (received if corrected else device), key
    [[first]] = planted.landing.query("select min(started_at) from intermediate.int_sessions_summarised")
    assert first >= at("2010-11-11")


def test_machines_are_nobody_s_interest(planted):
    machines = "event_type in ('open', 'click') and is_machine_open"
    people = "event_type in ('open', 'click') and not is_machine_open"
    [[machine]] = planted.landing.query(
        f"select count(*) from staging.stg_email__events where disposition = 'used' and {machines}"
    )
    found = planted.landing.query(
        "select email_message_id from marts.fct_email_messages as messages "
        "where (is_opened or is_clicked) and not exists (select 1 from staging.stg_email__events as events "
        f"where disposition = 'used' and 'shop:' || message_id = email_message_id and {people})"
    )
    assert machine > 0
    assert found == []


def test_filters_that_hide_are_found_and_nobody_is_taken_for_one(planted):
    hidden = planted.keys("hidden_scanners", "email_events")
    copies = {key: of["copy_of"] for key, of in planted.keys("copied_events", "email_events").items()}
    found = planted.landing.query(
        "select event_id, is_suspected_scan from staging.stg_email__events as events "
        "join intermediate.int_email_clicks_judged as clicks "
        "on 'shop:' || events.message_id = clicks.email_message_id "
        "and events.url = clicks.url and events.occurred_at = clicks.occurred_at "
        "where disposition = 'used' and event_type = 'click' and not is_machine_open"
    )
    meant = [(copies.get(event, event) in hidden, suspected) for event, suspected in found]
    true = sum(planted and suspected for planted, suspected in meant)
    assert true > 20
    assert true >= 0.99 * sum(suspected for _, suspected in meant)
    assert true >= 0.99 * sum(planted for planted, _ in meant)


def test_late_commits_leave_the_latest_version_in_use(planted):
    found = planted.landing.query(
        "select count(*) from staging.stg_shop__orders as used join staging.stg_shop__orders as other "
        "using (shop_order_id) where used.disposition = 'used' and other.disposition = 'superseded' "
        "and other.updated_at > used.updated_at"
    )
    assert planted.keys("late_commits", "orders")
    assert found == [(0,)]
