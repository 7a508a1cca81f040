"""The simulated shop: the same days from the same seed, arithmetic that holds, and dirt as it was planted."""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from letterpress.demo.simulation import chance, rows, truths
from letterpress.demo.simulation.rendering import render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.store import ENTITIES, OtherWorld, Store
from letterpress.demo.simulation.switches import Dirt
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import COUNTRIES, LOYALTY_PENCE, LOYALTY_TIERS, ZONES
from letterpress.settings import REPOSITORY

TODAY = datetime(2011, 1, 10, tzinfo=UTC)
SMALL = World(seed=7, customers=60, days=40, today=TODAY)


def make(path: Path, world: World = SMALL) -> Store:
    store = Store(path / "shop.sqlite", world)
    store.prepare()
    return store


def everything(store: Store) -> dict[str, list[tuple]]:
    """Every row shown, every row still to come, what is true of them, and the hidden state."""
    with sqlite3.connect(store.path) as connection:
        found = {
            name: connection.execute(f"select key, at, body from {name} order by key, at").fetchall()
            for name in ENTITIES
        }
        found["coming"] = connection.execute("select * from coming order by entity, at, key, body").fetchall()
        for name in truths.SCHEMAS:
            found[f"truth_{name}"] = sorted(connection.execute(f"select * from truth_{name}"))
        now, state = connection.execute("select now, state from shop").fetchone()
    held = State.load(state)
    arrays = [getattr(held, name).arrays() for name in ("people", "accounts", "products", "clicks")]
    found["state"] = [(name, array.dtype.str, array.tobytes()) for table in arrays for name, array in table.items()]
    found["clock"] = [(now, held.next_day, held.orders, held.order_lines, held.refunds, held.consents)]
    return found


def shown(store: Store, entity: str) -> list[dict]:
    return [orjson.loads(body) for _, _, body in store.page(entity, None, None, 10**9)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> dict[str, list[dict]]:
    """A shop large enough to show every kind of thing, and clean, so that its arithmetic is exact: all its rows."""
    world = World(seed=4, customers=400, days=150, today=TODAY, dirt=Dirt.off())
    store = make(tmp_path_factory.mktemp("shop"), world)
    return {name: shown(store, name) for name in ENTITIES}


@pytest.fixture(scope="module")
def dirty_shop(tmp_path_factory) -> dict[str, list[dict]]:
    """The same shop with all its dirt."""
    store = make(tmp_path_factory.mktemp("dirty_shop"), World(seed=4, customers=400, days=150, today=TODAY))
    return {name: shown(store, name) for name in ENTITIES}


def test_day_by_day_with_restarts_equals_all_at_once_equals_hour_by_hour(tmp_path):
    at_once = make(tmp_path / "at_once")
    at_once.advance(10 * chance.DAY)
    by_day = make(tmp_path / "by_day")
    for _ in range(10):
        by_day.advance(chance.DAY)
        by_day = make(tmp_path / "by_day")  # a new process would do no more
    by_hours = make(tmp_path / "by_hours")
    for hours in [7, 1, 30, 50, 5, 3, 48, 24, 60, 12]:
        by_hours.advance(hours * chance.HOUR)

    expected = everything(at_once)
    assert everything(by_day) == expected
    assert everything(by_hours) == expected
    assert at_once.now() == chance.milliseconds(TODAY + timedelta(days=10))


def test_an_hour_shows_only_what_has_happened(tmp_path):
    store = make(tmp_path)
    store.advance(13 * chance.HOUR)

    now = chance.milliseconds(TODAY) + 13 * chance.HOUR
    with sqlite3.connect(store.path) as connection:
        latest = [connection.execute(f"select max(at) from {name}").fetchone()[0] for name in ENTITIES]
        earliest_to_come = connection.execute("select min(at) from coming").fetchone()[0]
    last = max(at for at in latest if at is not None)
    assert last <= now < earliest_to_come
    assert last > chance.milliseconds(TODAY)


def test_what_was_planted_lies_in_the_file_and_a_row_committed_late_is_hidden_until_then(tmp_path):
    store = make(tmp_path, World(7, 400, 10, TODAY, dirt=replace(Dirt.off(), late_commits=0.9)))
    store.advance(18 * chance.HOUR)
    hidden_once = 0
    for _ in range(15):
        store.advance(4 * chance.MINUTE)
        with sqlite3.connect(store.path) as connection:
            late = connection.execute(
                "select coming.key, coming.entity from coming join truth_planted as planted"
                " on planted.key = coming.key and planted.entity = coming.entity and planted.at = coming.at"
                " where kind = 'late_commits' and coming.at <= ? and visible_at > ?",
                (store.now(), store.now()),
            ).fetchall()
        hidden_once += len(late)
        for key, entity in late:
            if entity in ("events", "email_events"):  # of a customer an older version may be shown
                assert key not in [row[1] for row in store.page(entity, None, None, 10**9)]
    assert hidden_once > 10
    with sqlite3.connect(store.path) as connection:
        kinds = dict(connection.execute("select kind, count(*) from truth_planted group by kind"))
    assert kinds["late_commits"] > 1_000
    assert set(ENTITIES).isdisjoint({f"truth_{name}" for name in truths.SCHEMAS})


@pytest.mark.slow
def test_other_processes_agree(tmp_path):
    script = (
        "import sys, hashlib, sqlite3; from pathlib import Path; from datetime import datetime, UTC\n"
        "from letterpress.demo.simulation.store import Store, World, ENTITIES\n"
        f"store = Store(Path(sys.argv[1]), World(7, 60, 40, datetime.fromisoformat({TODAY.isoformat()!r})))\n"
        "store.prepare(); digest = hashlib.sha256()\n"
        "connection = sqlite3.connect(store.path)\n"
        "for name in ENTITIES:\n"
        "    for row in connection.execute(f'select key, at, body from {name} order by key, at'):\n"
        "        digest.update(repr(row).encode())\n"
        "sys.stdout.write(digest.hexdigest())\n"
    )
    digests = set()
    for number, (hash_seed, threads, zone) in enumerate([("1", "1", "UTC"), ("2", "4", "Asia/Tokyo")]):
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "TZ": zone,
            "PYTHONPATH": str(REPOSITORY / "plugins"),
        }
        answer = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / str(number) / "shop.sqlite")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(answer.stdout)
    here, digest = make(tmp_path / "here"), hashlib.sha256()
    for name in ENTITIES:
        for row in everything(here)[name]:
            digest.update(repr(row).encode())
    assert digests == {digest.hexdigest()}


def test_another_seed_makes_other_people(tmp_path):
    one = shown(make(tmp_path / "one"), "customers")
    other = shown(make(tmp_path / "other", World(8, 60, 40, TODAY)), "customers")

    assert {row["email"] for row in one} != {row["email"] for row in other}


@pytest.mark.parametrize(
    "world",
    [
        World(9, 60, 40, TODAY),
        World(7, 61, 40, TODAY),
        World(7, 60, 41, TODAY),
        World(7, 60, 40, TODAY + timedelta(days=1)),
    ],
)
def test_a_shop_made_with_other_parameters_is_refused_and_left_alone(tmp_path, world):
    before = everything(make(tmp_path))

    with pytest.raises(OtherWorld) as refusal:
        make(tmp_path, world)

    text = str(refusal.value)
    assert str(tmp_path / "shop.sqlite") in text
    assert "LETTERPRESS_SHOP_SEED" in text
    assert "remove the folder" in text
    assert everything(Store(tmp_path / "shop.sqlite", SMALL)) == before


@pytest.mark.parametrize(("customers", "days"), [(1, 1), (1, 30), (5, 3)])
def test_the_smallest_shops_open_and_go_on(tmp_path, customers, days):
    store = make(tmp_path, World(1, customers, days, TODAY))
    store.advance(5 * chance.DAY)

    assert len(shown(store, "customers")) >= customers
    assert len(shown(store, "products")) > 50


def test_nothing_of_a_day_appears_before_it_begins():
    simulator = Simulator(SMALL)
    state = simulator.opening()
    for _ in range(SMALL.days):
        start = chance.start_of(state.next_day)
        day = simulator.play(state)
        instants = [table["_at"].to_numpy() for table in render(SMALL, state, day).values()]
        assert np.concatenate(instants).min() > start


def test_a_state_survives_being_written_and_read():
    simulator = Simulator(SMALL)
    state = simulator.opening()
    for _ in range(10):
        simulator.play(state)

    read = State.load(state.dump())

    for name in ("people", "accounts", "products", "clicks"):
        before, after = getattr(state, name).arrays(), getattr(read, name).arrays()
        assert before.keys() == after.keys()
        for column in before:
            np.testing.assert_array_equal(before[column], after[column])


def test_every_row_is_as_the_description_says(shop):
    models = {
        "customers": rows.Customer,
        "consents": rows.Consent,
        "products": rows.Product,
        "orders": rows.Order,
        "order_lines": rows.OrderLine,
        "refunds": rows.Refund,
        "events": rows.Event,
        "email_events": rows.EmailEvent,
    }
    for name, model in models.items():
        assert shop[name], f"no {name}"
        for row in shop[name][:: max(1, len(shop[name]) // 500)]:
            model.model_validate(row)


def test_keys_are_unique_and_references_hold(shop):
    keys = {
        "customers": "customer_id",
        "consents": "consent_id",
        "products": "product_id",
        "orders": "order_id",
        "order_lines": "order_line_id",
        "refunds": "refund_id",
        "events": "messageId",
        "email_events": "event_id",
    }
    ids = {name: [row[key] for row in shop[name]] for name, key in keys.items()}
    for name, values in ids.items():
        assert len(set(values)) == len(values), name
    assert len(ids["customers"]) == 400
    assert {row["customer_id"] for row in shop["consents"] + shop["email_events"]} <= set(ids["customers"])
    assert {row["customer_id"] for row in shop["orders"]} <= {*ids["customers"], None}
    assert {row["order_id"] for row in shop["order_lines"]} == set(ids["orders"])
    assert {row["product_id"] for row in shop["order_lines"]} <= set(ids["products"])
    assert {row["order_id"] for row in shop["refunds"]} <= set(ids["orders"])
    assert {row["userId"] for row in shop["events"]} <= {*ids["customers"], None}


def test_the_arithmetic_of_orders_holds(shop):
    lines, refunds = defaultdict(int), defaultdict(int)
    for line in shop["order_lines"]:
        amount = round(line["line_amount"] * 100)
        assert amount == line["quantity"] * round(line["unit_price"] * 100)
        lines[line["order_id"]] += amount
    for refund in shop["refunds"]:
        assert refund["amount"] > 0
        refunds[refund["order_id"]] += round(refund["amount"] * 100)
    for order in shop["orders"]:
        total, shipping, discount = (
            round(order[name] * 100) for name in ("total_amount", "shipping_amount", "discount_amount")
        )
        assert total == lines[order["order_id"]] + shipping - discount
        refunded = refunds[order["order_id"]]
        match order["status"]:
            case "refunded":
                assert refunded == total
            case "partially_refunded":
                assert 0 < refunded < total
            case _:
                assert refunded == 0
    assert {"delivered", "cancelled", "refunded", "partially_refunded"} <= {o["status"] for o in shop["orders"]}


def test_order_completed_events_tell_the_order(shop):
    orders = {order["order_id"]: order for order in shop["orders"]}
    completed = [event for event in shop["events"] if event["event"] == "Order Completed"]
    for event in completed:
        order = orders[event["properties"]["order_id"]]
        assert event["properties"]["total"] == order["total_amount"]
        assert event["timestamp"] == order["ordered_at"]
        assert event["userId"] == order["customer_id"]
        paid = sum(line["price"] * line["quantity"] for line in event["properties"]["products"])
        assert round(paid, 2) == event["properties"]["subtotal"]
    assert len({event["properties"]["order_id"] for event in completed}) == len(completed)
    assert 0.9 < len(completed) / len(orders) < 1  # some browsers block the tracker


def test_visits_go_forward_and_anonymous_ids_become_known(shop):
    by_device = defaultdict(list)
    for event in shop["events"]:
        by_device[event["anonymousId"]].append(event)
    became_known = 0
    for device in by_device.values():
        device.sort(key=lambda event: event["timestamp"])
        users = [event["userId"] for event in device]
        kinds = [event["type"] for event in device]
        if None in users and any(users):
            became_known += 1
            first = next(index for index, user in enumerate(users) if user)
            assert "identify" in kinds[: first + 1]
    assert became_known > 50
    steps = Counter(event["event"] for event in shop["events"] if event["type"] == "track")
    assert (
        steps["Product Viewed"]
        > steps["Product Added"]
        > steps["Cart Viewed"]
        > steps["Checkout Started"]
        > steps["Order Completed"]
    )


def test_some_visits_arrive_hours_late_and_a_clean_shop_has_none(shop):
    late = World(seed=4, customers=400, days=60, today=TODAY, dirt=replace(Dirt.off(), late_hours=0.03))
    simulator, delays = Simulator(late), []
    state = simulator.opening()
    for _ in range(late.days):
        table = render(late, state, simulator.play(state))["events"]
        delays.append(table["_at"].to_numpy() - table["timestamp"].cast(pa.int64()).to_numpy())
    delay = np.concatenate(delays)

    assert delay.min() > 0
    assert delay.max() <= 2 * chance.DAY
    assert 0.01 < (delay > 10 * chance.MINUTE).mean() < 0.06
    clean = (
        datetime.fromisoformat(event["receivedAt"]) - datetime.fromisoformat(event["timestamp"])
        for event in shop["events"]
    )
    assert max(clean) < timedelta(minutes=10)


def test_accounts_are_as_dirty_as_planted(dirty_shop):
    mails = [row["email"] for row in dirty_shop["customers"]]
    given = [mail for mail in mails if mail is not None]
    normal = Counter(mail.strip().lower() for mail in given)
    assert 0 < len(mails) - len(given) < 0.05 * len(mails)
    assert 0.01 < sum(mail != mail.strip().lower() for mail in given) / len(mails) < 0.12
    assert 0.005 < sum(count - 1 for count in normal.values()) / len(mails) < 0.06
    broken = [mail for mail in normal if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", mail)]
    assert 0 < len(broken) < 0.05 * len(normal)
    hosts = {mail.rpartition("@")[2] for mail in normal if "@" in mail and not mail.endswith("@")}
    assert hosts <= {"example.com", "example.org", "example.net", "example"}


def test_countries_zones_and_tiers_fit(shop):
    zones = {country.code: {zone for zone, _ in country.zones} for country in COUNTRIES}
    spent = defaultdict(int)
    for order in shop["orders"]:
        if order["status"] != "cancelled" and order["customer_id"]:
            spent[order["customer_id"]] += round(order["total_amount"] * 100)
    for row in shop["customers"]:
        assert row["time_zone"] in zones[row["country_code"]]
        assert row["signed_up_at"] <= row["updated_at"]
        reached = sum(spent[row["customer_id"]] >= limit for limit in LOYALTY_PENCE)
        # an order that is cancelled after the clock's day already does not count
        assert LOYALTY_TIERS.index(row["loyalty_tier"]) in (reached, max(reached - 1, 0))
    assert len(zones) > 5
    assert set().union(*zones.values()) == set(ZONES)


def test_mail_goes_only_to_those_who_agreed_and_stops_when_they_leave(shop):
    consents = defaultdict(list)
    for record in shop["consents"]:
        consents[record["customer_id"]].append((record["recorded_at"], record["status"]))
    events_of = defaultdict(list)
    for event in shop["email_events"]:
        events_of[event["message_id"]].append(event)
    for message in events_of.values():
        kinds = [event["event_type"] for event in sorted(message, key=lambda event: event["occurred_at"])]
        sent = next((event for event in message if event["event_type"] == "sent"), None)
        if sent is None:
            continue  # its "sent" is still on the way: late events exist for mail, too
        assert kinds[0] == "sent"
        before = [status for at, status in sorted(consents[sent["customer_id"]]) if at <= sent["occurred_at"]]
        assert before
        assert before[-1] == "granted"
        if "bounce" in kinds:
            assert set(kinds) == {"sent", "bounce"}
    left = [event for event in shop["email_events"] if event["event_type"] == "unsubscribe"]
    for event in left:
        after = [
            record
            for record in shop["consents"]
            if record["customer_id"] == event["customer_id"]
            and record["source"] == "unsubscribe_link"
            and record["recorded_at"] > event["occurred_at"]
        ]
        assert after
        assert after[0]["status"] == "withdrawn"
    assert left
    kinds = {event["event_type"] for event in shop["email_events"]}
    assert kinds >= {"sent", "delivered", "open", "click", "bounce", "unsubscribe"}


def test_clicks_come_before_the_visits_that_they_lead_to(shop):
    clicks = defaultdict(list)
    for event in shop["email_events"]:
        if event["event_type"] == "click":
            clicks[event["campaign_id"]].append((event["occurred_at"], event["url"].split("?")[0]))
    landings = [
        event
        for event in shop["events"]
        if event["type"] == "page" and (event["context"]["campaign"] or {}).get("source") == "newsletter"
    ]
    assert landings
    for event in landings:
        page = event["context"]["page"]["url"].split("?")[0]
        campaign = event["context"]["campaign"]["name"]
        earlier = [at for at, url in clicks[campaign] if url == page and at < event["timestamp"]]
        assert earlier, event["messageId"]


def test_bots_are_among_the_visitors(dirty_shop):
    agents = Counter(event["context"].get("userAgent", "") for event in dirty_shop["events"])
    assert any("Googlebot" in agent for agent in agents)
    assert (
        0.005
        < sum(count for agent, count in agents.items() if "bot" in agent.lower()) / len(dirty_shop["events"])
        < 0.2
    )


def test_purchases_are_heterogeneous_and_seasonal(tmp_path):
    world = World(seed=5, customers=1_500, days=365, today=datetime(2011, 7, 1, tzinfo=UTC))
    simulator = Simulator(world)
    state = simulator.opening()
    counts, by_month = Counter(), Counter()
    for _ in range(200):
        day = simulator.play(state)
        person = day.orders["person"]
        counts.update(person[person >= 0].tolist())
        by_month[chance.date_of(day.day).month] += len(person)
    values = np.array(list(counts.values()))
    assert values.var() > 1.5 * values.mean()  # one rate for everybody would give about the mean
    assert by_month[12] > 1.3 * by_month[10]
