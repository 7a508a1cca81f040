"""Segments of a dirty demo shop against pandas: members are counted again from the landed rows, and are the same.

Of the warehouse only the identity map is taken (accounts, addresses and devices → person) and the state of consent,
which has tests of its own. Everything else (copies, clocks, bots, scanners, test orders, currencies, refunds, visits)
is computed here from what landed, by other means than the models'.
"""

import csv
import json
from collections import defaultdict
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml
from landed_rows import PROJECT, WITHOUT_TESTS, Landing
from test_dbt_planted import LANDED_AS, hashed

from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.switches import Dirt

pytestmark = pytest.mark.slow

# 1 July: everybody's birthdays are spread over the year, so that one of them falls on the day.
TODAY = datetime.fromisoformat("2011-07-01T00:00:00+00:00")
DIRT = Dirt(
    date_formats=0.3, excessive_refunds=0.3, test_orders=0.05, copied_events=0.02, skewed_clocks=0.05, late_commits=0.02
)
WORLD = World(seed=11, customers=400, days=100, today=TODAY, dirt=DIRT)
VARIABLES = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
DAY, HOUR = 86_400, 3_600


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> tuple[Landing, dict[str, pd.DataFrame]]:
    """The landed rows as frames, in the order in which they landed, and the warehouse that dbt built of them."""
    import pyarrow as pa

    simulator = Simulator(WORLD)
    state = simulator.opening()
    parts = defaultdict(list)
    for _ in range(WORLD.days):
        day = simulator.play(state)
        for name, table in soil(WORLD, day, render(WORLD, state, day))[0].items():
            parts[name].append(table)
    tables = {name: pa.concat_tables(of, promote_options="default").combine_chunks() for name, of in parts.items()}
    landing = Landing(tmp_path_factory.mktemp("truth"))
    landing.load(**{LANDED_AS[name]: hashed(name, table) for name, table in tables.items()})
    landing.build("--select", "+dim_customer_segments", "dim_segments", *WITHOUT_TESTS,
                  as_of=TODAY)  # fmt: skip
    return landing, {name: hashed(name, table).to_pandas() for name, table in tables.items()}


@pytest.fixture(scope="module")
def identity(shop) -> dict[str, dict[str, str]]:
    """The only thing that is believed: which account, address and device is which person's."""
    landing, _ = shop
    queries = {
        "accounts": "select source_customer_key, customer_id from intermediate.int_identifiers_resolved",
        "emails": "select normalised_email, customer_id from intermediate.int_emails_resolved",
        "devices": "select anonymous_id, customer_id from intermediate.int_visitors_resolved",
        "consents": "select customer_id, email_consent_status from intermediate.int_consents_resolved",
    }
    return {name: dict(landing.query(query)) for name, query in queries.items()}


@pytest.fixture(scope="module")
def people(shop, identity) -> pd.DataFrame:
    """One row per person with what the segments ask, counted in pandas."""
    _, rows = shop
    found = pd.DataFrame(index=pd.Index(sorted(set(identity["accounts"].values())), name="customer_id"))
    found = found.join(bought(rows, identity)).join(visited(rows, identity)).join(mailed(rows, identity))
    counts = ["orders", "orders_30", "orders_90", "visits_30", "visit_days", "view_days", "engaged_days", "delivered"]
    found[counts] = found[counts].fillna(0)
    found["active_days"] = found[["visit_days", "engaged_days"]].max(axis=1)
    found["consent"] = found.index.map(identity["consents"])
    found["birthday"] = found.index.map(born(rows["customers"], identity))
    return found


def age(moments: pd.Series) -> pd.Series:
    """Seconds before today."""
    return (pd.Timestamp(TODAY) - moments).dt.total_seconds()


def first_copies(rows: pd.DataFrame, key: str, content: list[str]) -> pd.DataFrame:
    """Without rows that repeat one that landed before: its key, or all of its content."""
    return rows.drop_duplicates(key).drop_duplicates(content)


def latest_versions(rows: pd.DataFrame, key: str, *moments: str) -> pd.DataFrame:
    """Of each key the version that the source wrote last and that is known today."""
    at = rows[list(moments)].max(axis=1)
    known = rows.assign(at=at)[at <= TODAY]
    return known.sort_values("at", kind="stable").drop_duplicates(key, keep="last")


def normalised(email: object) -> str | None:
    if not isinstance(email, str):
        return None
    name, _, domain = "".join(email.split()).casefold().rpartition("@")
    return f"{name.partition('+')[0] or name}@{domain}"


def bought(rows: dict[str, pd.DataFrame], identity: dict) -> pd.DataFrame:
    with open(PROJECT / "seeds" / "exchange_rates.csv", newline="", encoding="utf-8") as file:
        rates = [(row["currency"], date.fromisoformat(row["valid_from"]), float(row["units_per_pound"]))
                 for row in csv.DictReader(file)]  # fmt: skip

    def rate(currency: str, moment: pd.Timestamp) -> float:
        held = [(since, units) for name, since, units in rates if name == currency and since <= moment.date()]
        return max(held)[1] if held else np.nan

    orders = rows["orders"].copy()
    orders["email"] = orders["email"].map(normalised)
    orders["rate"] = [rate(*pair) for pair in zip(orders["currency"], orders["ordered_at"], strict=True)]
    by_staff = orders["email"].isin(VARIABLES["test_order_emails"])
    orders = orders[~by_staff & orders["rate"].notna() & (orders["total_amount"] >= 0)]
    orders = latest_versions(orders, "order_id", "ordered_at", "updated_at")
    refunds = latest_versions(rows["refunds"], "refund_id", "refunded_at", "updated_at")
    refunded = orders["order_id"].map(refunds[refunds["amount"] > 0].groupby("order_id")["amount"].sum()).fillna(0)
    cancelled = orders["status"] == "cancelled"
    taken = np.where(cancelled, orders["total_amount"], np.minimum(refunded, orders["total_amount"]))
    gross, back = ((amount / orders["rate"]).round(2) for amount in (orders["total_amount"], taken))
    orders["net"] = (gross - back).round(2)
    orders["is_purchase"] = (orders["net"] > 0) & ~cancelled
    account = ("shop:" + orders["customer_id"]).map(identity["accounts"])
    guest = orders["email"].map(identity["emails"])
    orders["person"] = account.where(orders["customer_id"].notna(), guest)
    orders["age"] = age(orders["ordered_at"])
    purchases = orders[orders["is_purchase"]].groupby("person")
    spent = orders.groupby("person")["net"].sum().round(2)
    found = pd.DataFrame(
        {
            "spend": spent,
            "orders": purchases.size(),
            "orders_30": orders[orders["is_purchase"] & (orders["age"] < 30 * DAY)].groupby("person").size(),
            "orders_90": orders[orders["is_purchase"] & (orders["age"] < 90 * DAY)].groupby("person").size(),
            "order_age": purchases["age"].min(),
            "any_order_at": orders.groupby("person")["ordered_at"].max(),
            "average": purchases["net"].mean(),
        }
    )
    buyers = found.loc[found["orders"] > 0, "spend"]
    found["percentile"] = (buyers.rank(method="min") - 1) / (len(buyers) - 1)
    return found


def visited(rows: dict[str, pd.DataFrame], identity: dict) -> pd.DataFrame:
    events = rows["events"].copy()
    names = {"page": "Page Viewed", "identify": "Identified"}
    events["name"] = events["type"].map(names).fillna(events["event"])
    events = events[
        events["message_id"].notna()
        & events["timestamp"].notna()
        & events["name"].notna()
        & (events["anonymous_id"].notna() | events["user_id"].notna())
    ]
    properties, context = (events[name].map(read_json) for name in ("properties", "context"))
    for name in ("product_id", "order_id", "price", "quantity"):
        events[name] = properties.map(lambda found, name=name: found.get(name))
    events["path"] = context.map(lambda found: (found.get("page") or {}).get("path"))
    agent = context.map(lambda found: (found.get("userAgent") or "").lower())
    content = ["timestamp", "anonymous_id", "user_id", "name", "path", "product_id", "order_id", "price", "quantity"]
    events = first_copies(events.assign(agent=agent), "message_id", content)

    ahead = (events["timestamp"] - events["received_at"]).dt.total_seconds()
    wrong = (ahead > VARIABLES["clock_ahead_minutes"] * 60) | (-ahead > VARIABLES["clock_behind_days"] * DAY)
    events["at"] = events["timestamp"].where(~wrong, events["received_at"])
    bots = [line.strip() for line in (PROJECT / "seeds" / "bot_user_agents.csv").read_text().splitlines()[1:]]
    is_bot = events["agent"].map(lambda text: any(pattern in text for pattern in bots if pattern))
    events = events[(events["at"] <= TODAY) & ~is_bot]

    events["visitor"] = events["anonymous_id"].fillna("customer:" + events["user_id"].fillna(""))
    events = events.sort_values(["visitor", "at"], kind="stable")
    pause = events.groupby("visitor")["at"].diff().dt.total_seconds()
    events["visit"] = (pause.isna() | (pause > VARIABLES["session_inactivity_minutes"] * 60)).cumsum()
    events["viewed"] = events["at"].where(events["name"] == "Product Viewed")
    events["added"] = events["at"].where(events["name"] == "Product Added")
    visits = events.groupby("visit").agg(
        visitor=("visitor", "first"), at=("at", "min"), viewed=("viewed", "max"), added=("added", "max")
    )
    signed_in = events[events["user_id"].notna()].groupby("visit")["user_id"].unique()
    visits["person"] = [
        whose(signed_in.get(visit), visitor, identity)
        for visit, visitor in zip(visits.index, visits["visitor"], strict=True)
    ]
    visits["day"] = visits["at"].dt.date
    recent = visits[age(visits["at"]) < VARIABLES["web_feature_days"] * DAY]
    of_all, of_recent = visits.groupby("person"), recent.groupby("person")
    return pd.DataFrame(
        {
            "visits_30": of_recent.size(),
            "visit_days": of_recent["day"].nunique(),
            "view_days": recent[recent["viewed"].notna()].groupby("person")["day"].nunique(),
            "view_age": age(of_all["viewed"].max()),
            "cart_at": of_all["added"].max(),
        }
    )


def whose(accounts: object, visitor: str, identity: dict) -> str | None:
    """A visit in which people signed in is theirs if they are one; another is the device's."""
    if accounts is None:
        return identity["devices"].get(visitor)
    found = {identity["accounts"].get(f"shop:{account}") for account in accounts}
    return found.pop() if len(found) == 1 else None


def read_json(text: object) -> dict:
    try:
        return json.loads(text) or {}
    except (TypeError, ValueError):
        return {}


def mailed(rows: dict[str, pd.DataFrame], identity: dict) -> pd.DataFrame:
    events = rows["email_events"].copy()
    events["is_machine_open"] = events["is_machine_open"].fillna(False)
    events["email"] = events["email"].map(normalised)
    content = ["message_id", "customer_id", "email", "event_type", "bounce_type", "url", "is_machine_open"]
    events = first_copies(events, "event_id", [*content, "occurred_at"])
    events = events[events["occurred_at"] <= TODAY]
    account = ("shop:" + events["customer_id"]).map(identity["accounts"])
    events["person"] = account.fillna(events["email"].map(identity["emails"]))
    events["person"] = events["message_id"].map(events.groupby("message_id")["person"].max())
    own = events[events["event_type"].isin(["open", "click"]) & ~events["is_machine_open"]]
    engaged = own[~own["event_id"].isin(scanned(events))]
    messages = pd.DataFrame(
        {
            "person": events.groupby("message_id")["person"].first(),
            "age": age(events.groupby("message_id")["occurred_at"].min()),
            "delivered": events[events["event_type"] == "delivered"].groupby("message_id").size() > 0,
            "opened": engaged[engaged["event_type"] == "open"].groupby("message_id").size() > 0,
            "clicked": engaged[engaged["event_type"] == "click"].groupby("message_id").size() > 0,
        }
    )
    for name in ("delivered", "opened", "clicked"):
        messages[name] = messages[name].eq(True)
    recent = messages[messages["age"] < VARIABLES["email_feature_days"] * DAY].groupby("person")
    latest = engaged[age(engaged["occurred_at"]) < VARIABLES["email_recent_days"] * DAY]
    days = latest.assign(day=latest["occurred_at"].dt.date).groupby("person")["day"].nunique()
    through = recent["delivered"].sum().replace(0, np.nan)
    return pd.DataFrame(
        {
            "delivered": messages.groupby("person")["delivered"].sum(),
            "open_rate": recent["opened"].sum() / through,
            "click_rate": recent["clicked"].sum() / through,
            "engaged_days": days,
            "engaged_age": age(engaged.groupby("person")["occurred_at"].max()),
        }
    )


def scanned(events: pd.DataFrame) -> set[str]:
    """Clicks that a scanner made though nobody says so: many links at once, or on arrival before any open."""
    clicks = events[(events["event_type"] == "click") & ~events["is_machine_open"]]
    own_opens = events[(events["event_type"] == "open") & ~events["is_machine_open"]]
    delivered = events[events["event_type"] == "delivered"].groupby("message_id")["occurred_at"].min()
    opened = own_opens.groupby("message_id")["occurred_at"].min()
    burst = timedelta(seconds=VARIABLES["email_scanner_burst_seconds"])
    arrival = VARIABLES["email_scanner_arrival_seconds"]
    found = set()
    for message, of_message in clicks.groupby("message_id"):
        for click in of_message.itertuples():
            near = of_message[(of_message["occurred_at"] - click.occurred_at).abs() <= burst]
            after = (click.occurred_at - delivered.get(message, pd.NaT)).total_seconds()
            is_opened = message in opened and opened[message] <= click.occurred_at
            on_arrival = 0 <= after <= arrival and not is_opened
            if near["url"].nunique() >= VARIABLES["email_scanner_burst_links"] or on_arrival:
                found.add(click.event_id)
    return found


def born(customers: pd.DataFrame, identity: dict) -> dict[str, bool]:
    """Whose birthday is today: of several accounts the one that was changed last and tells the day."""
    known = latest_versions(customers, "customer_id", "signed_up_at", "updated_at").sort_values("updated_at")
    found = {}
    for row in known.itertuples():
        day = birth_date(row.birth_date, row.country_code)
        if day is not None:
            found[identity["accounts"].get(f"shop:{row.customer_id}")] = (day.month, day.day) == (
                TODAY.month,
                TODAY.day,
            )
    return found


def birth_date(text: object, country: object) -> date | None:
    if not isinstance(text, str):
        return None
    read = set()
    for pattern, countries in (("%m/%d/%Y", "first"), ("%d/%m/%Y", "last"), ("%Y-%m-%d", None), ("%d.%m.%Y", None),
                               ("%d %b %Y", None), ("%d %B %Y", None)):  # fmt: skip
        month_first = country in VARIABLES["month_first_countries"]
        if isinstance(country, str) and countries and (countries == "first") != month_first:
            continue
        try:
            read.add(datetime.strptime(text.strip(), pattern).date())
        except ValueError:
            continue
    return read.pop() if len(read) == 1 else None


# Each segment in words of pandas. A comparison with what is missing is false, as it is in the rules.
EXPECTED = {
    "high_value": lambda p: p["percentile"] >= 0.9,
    "recent_purchasers": lambda p: p["order_age"] < 30 * DAY,
    "monthly_buyers": lambda p: p["orders_30"] >= 3,
    "frequent_buyers": lambda p: p["orders_90"] >= 4,
    "lapsed_buyers": lambda p: p["order_age"] >= 30 * DAY,
    "big_baskets": lambda p: p["average"] > 100,
    "recent_browsers": lambda p: p["view_age"] < 7 * DAY,
    "frequent_browsers": lambda p: p["view_days"] >= 4,
    "frequent_visitors": lambda p: p["visits_30"] > 5,
    "recent_abandoners": lambda p: (age(p["cart_at"]) < 7 * DAY) & ~(p["any_order_at"] >= p["cart_at"]),
    "viewed_not_bought": lambda p: (p["view_age"] < 48 * HOUR) & ~(p["order_age"] < 48 * HOUR),
    "inactive_subscribers": lambda p: (
        (p["consent"] == "granted") & (p["delivered"] >= 1) & ~(p["engaged_age"] < 30 * DAY)
    ),
    "keen_openers": lambda p: p["open_rate"] >= 0.75,
    "keen_clickers": lambda p: p["click_rate"] > 0.5,
    "engaged_non_purchasers": lambda p: (p["click_rate"] >= 0.5) & ~(p["order_age"] < 30 * DAY),
    "high_engagement_buyers": lambda p: (p["orders_90"] >= 1) & (p["active_days"] >= 8),
    "slipping_away": lambda p: (p["order_age"] >= 182 * DAY) & (p["active_days"] <= 1),
    "engagement_high": lambda p: p["active_days"] >= 20,
    "engagement_moderate": lambda p: p["active_days"].between(4, 19),
    "engagement_low": lambda p: p["active_days"].between(1, 3),
    "engagement_inactive": lambda p: p["active_days"] == 0,
    "birthday_today": lambda p: p["birthday"].eq(True),
}


def test_every_segment_that_ships_is_counted_again():
    assert set(EXPECTED) <= {rule["key"] for rule in VARIABLES["rule_segments"]}


def test_most_segments_have_members_here(shop):
    landing, _ = shop
    sizes = dict(landing.query("select segment_key, count(*) from marts.dim_customer_segments group by 1"))
    empty = sorted(set(EXPECTED) - set(sizes))
    # A history of a hundred days has nobody whose last order is half a year old.
    assert set(empty) <= {"slipping_away", "engagement_high", "birthday_today", "keen_clickers"}, sizes


@pytest.mark.parametrize("segment", EXPECTED)
def test_nobody_is_missing_from_a_segment_and_nobody_is_in_it_who_should_not_be(shop, people, segment):
    landing, _ = shop
    found = {
        row[0]
        for row in landing.query(f"select customer_id from marts.dim_customer_segments where segment_key = '{segment}'")
    }
    expected = set(people.index[EXPECTED[segment](people)])
    assert (sorted(expected - found), sorted(found - expected)) == ([], [])
