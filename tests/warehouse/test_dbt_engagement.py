"""E-mail engagement: what counts as interest, for whom, on which day, and which orders a click led to."""

import math
from collections import defaultdict
from datetime import timedelta

import pytest
from landed_rows import AS_OF, WITHOUT_TESTS, Landing, at
from small_shop import account, line, mail, order

MODELS = ("--select", "+fct_email_messages", "+fct_email_campaigns", "+fct_email_days", "+fct_email_customer_days",
          "+int_email_engagement_summarised", "--indirect-selection", "cautious")  # fmt: skip
UNTESTED = (*MODELS, *WITHOUT_TESTS)
SHOP = "https://shop.example.com/"


def click(number: str, message: str, person: str, when: str, link: str = "a", **more) -> dict:
    return mail(number, message, person, "click", when, url=SHOP + link, **more)


ACCOUNTS = [
    account("A", "ann@example.com"),
    account("B", "bob@example.com"),
    account("C", "cid@example.com"),
    account("D", "dan@example.com"),
]

READING = [
    mail("R1", "read", "A", "sent", "2011-06-01 09:00"),
    mail("R2", "read", "A", "delivered", "2011-06-01 09:00:05"),
    mail("R3", "read", "A", "open", "2011-06-01 09:01", is_machine_open=True),
    mail("R4", "read", "A", "open", "2011-06-02 23:59:59"),
    mail("R5", "read", "A", "open", "2011-06-03 00:00:01"),
    click("R6", "read", "A", "2011-06-03 00:00:05"),
    # a program alone
    mail("R7", "unread", "A", "delivered", "2011-06-10 09:00"),
    mail("R8", "unread", "A", "open", "2011-06-10 09:01", is_machine_open=True),
    click("R9", "unread", "A", "2011-06-10 09:00:01", is_machine_open=True),
    # a message that came back, and what nobody can say the campaign of
    mail("R10", "hard", "B", "bounce", "2011-06-10 09:00", bounce_type="hard", campaign_id="lost"),
    mail("R11", "soft", "B", "bounce", "2011-06-11 09:00", bounce_type="soft"),
    mail("R12", "left", "B", "delivered", "2011-06-12 09:00"),
    mail("R13", "left", "B", "unsubscribe", "2011-06-12 10:00"),
    mail("R14", "spam", "B", "delivered", "2011-06-13 09:00", campaign_name=None),
    mail("R15", "spam", "B", "complaint", "2011-06-13 10:00"),
    mail("R16", "later", "A", "delivered", "2011-07-01 00:00"),
    mail("R17", "later", "A", "open", "2011-07-01 00:00:01"),
    # a recipient whom only the address tells, and one event that names nobody
    mail("R18", "address", "C404", "delivered", "2011-06-14 09:00", email="Cid@Example.com"),
    mail("R19", "address", None, "open", "2011-06-14 10:00"),
]

SCANNED = ("quick", "slow", "burst", "two", "opened", "both", "early")
SCANS = [
    *(mail(f"S-{name}", name, "C", "delivered", "2011-06-20 09:00") for name in SCANNED),
    click("S10", "quick", "C", "2011-06-20 09:00:10"),
    click("S11", "slow", "C", "2011-06-20 09:00:10.001"),
    # three links within five seconds, an hour later; and two
    click("S12", "burst", "C", "2011-06-20 10:00:00", "a"),
    click("S13", "burst", "C", "2011-06-20 10:00:05", "b"),
    click("S14", "burst", "C", "2011-06-20 10:00:03", "c"),
    click("S15", "two", "C", "2011-06-20 10:00:00", "a"),
    click("S16", "two", "C", "2011-06-20 10:00:05", "b"),
    click("S17", "two", "C", "2011-06-20 10:00:10.001", "c"),
    # somebody who sat there
    mail("S18", "opened", "C", "open", "2011-06-20 09:00:03"),
    click("S19", "opened", "C", "2011-06-20 09:00:07"),
    # the filter first, the person after it
    click("S20", "both", "C", "2011-06-20 09:00:01"),
    mail("S21", "both", "C", "open", "2011-06-21 09:00:00"),
    click("S22", "both", "C", "2011-06-21 09:00:07"),
    # clocks that disagree
    click("S23", "early", "C", "2011-06-20 08:59:59"),
]

BUYING = [
    *(mail(f"B-{name}", name, "D", "delivered", "2011-06-10") for name in ("first", "second", "scan")),
    click("B10", "first", "D", "2011-06-10 12:00"),
    click("B11", "second", "D", "2011-06-12 12:00"),
    click("B12", "scan", "D", "2011-06-10 00:00:02"),
]
ORDERS = [
    order("O1", "D", "dan@example.com", 1.0, "2011-06-10 06:00"),  # after the scanner, before any click
    order("O2", "D", "dan@example.com", 2.0, "2011-06-10 12:00"),  # at the very instant of one
    order("O3", "D", "dan@example.com", 4.0, "2011-06-10 12:00:01"),
    order("O4", None, "DAN@example.com", 8.0, "2011-06-12 11:59"),  # as a guest
    order("O5", "D", "dan@example.com", 16.0, "2011-06-12 12:00"),  # at the instant of the next
    order("O6", "D", "dan@example.com", 32.0, "2011-06-17 12:00"),  # five days after it
    order("O7", "D", "dan@example.com", 64.0, "2011-06-17 12:00:01"),
    order("O8", "D", "dan@example.com", 128.0, "2011-06-13", status="cancelled"),
    order("O9", "A", "ann@example.com", 256.0, "2011-06-13"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    landing = Landing(tmp_path_factory.mktemp("engagement"))
    lines = [line(f"L{one['order_id']}", one["order_id"], "P1", 1, one["total_amount"], "2011-06-10") for one in ORDERS]
    landing.load(
        crm__customers=ACCOUNTS,
        shop__orders=ORDERS,
        shop__order_lines=lines,
        email__events=[
            *READING,
            *(one | {"campaign_id": "scans"} for one in SCANS),
            *(one | {"campaign_id": "sale"} for one in BUYING),
        ],
    )
    landing.build(*MODELS)
    return landing


def person(landing: Landing, account_id: str) -> str:
    [[found]] = landing.query(
        f"select customer_id from intermediate.int_identifiers_resolved where source_customer_key = 'shop:{account_id}'"
    )
    return found


def message(landing: Landing, name: str, columns: str) -> tuple:
    [found] = landing.query(f"select {columns} from marts.fct_email_messages where email_message_id = 'shop:{name}'")
    return found


def reader(landing: Landing, account_id: str, columns: str) -> tuple:
    who = person(landing, account_id)
    [found] = landing.query(
        f"select {columns} from intermediate.int_email_engagement_summarised where customer_id = '{who}'"
    )
    return found


def test_a_message_tells_what_its_reader_did_and_what_programs_did_apart(shop):
    counts = "open_count, click_count, machine_open_count, machine_click_count, suspected_click_count"
    assert message(shop, "read", counts) == (2, 1, 1, 0, 0)
    assert message(shop, "unread", counts) == (0, 0, 1, 1, 0)
    instants = "sent_at, delivered_at, first_opened_at, first_clicked_at"
    assert message(shop, "read", instants) == (
        at("2011-06-01 09:00"), at("2011-06-01 09:00:05"), at("2011-06-02 23:59:59"), at("2011-06-03 00:00:05")
    )  # fmt: skip
    assert message(shop, "unread", "is_opened, is_clicked, is_machine_opened, is_scanned") == (False, False, True, True)


def test_a_message_comes_back_or_makes_its_reader_leave(shop):
    columns = "is_delivered, is_bounced, is_hard_bounced, is_unsubscribed, is_complained"
    assert message(shop, "hard", columns) == (False, True, True, False, False)
    assert message(shop, "soft", columns) == (False, True, False, False, False)
    assert message(shop, "left", columns) == (True, False, False, True, False)
    assert message(shop, "spam", columns) == (True, False, False, False, True)


def test_what_happens_after_as_of_is_not_known(shop):
    assert message(shop, "later", "is_delivered, is_opened") == (True, False)


def test_a_recipient_is_found_by_the_address_and_from_any_event(shop):
    assert message(shop, "address", "customer_id, is_opened") == (person(shop, "C"), True)


def test_a_person_s_messages_count_once_and_days_of_interest_by_the_day(shop):
    columns = "emails_delivered_count, emails_opened_count, emails_clicked_count, engagement_days_30d"
    assert reader(shop, "A", columns) == (3, 1, 1, 2)
    assert reader(shop, "A", "last_email_delivered_at, last_email_engaged_at") == (AS_OF, at("2011-06-03 00:00:05"))
    assert reader(shop, "A", "email_open_rate, email_click_rate") == (1 / 3, 1 / 3)
    days = shop.query(
        "select event_date, opened_count, open_count, clicked_count, click_count from marts.fct_email_customer_days "
        f"where customer_id = '{person(shop, 'A')}' order by 1"
    )
    assert days == [(at("2011-06-02").date(), 1, 1, 0, 0), (at("2011-06-03").date(), 1, 1, 1, 1)]


def test_clicks_on_arrival_and_clicks_on_every_link_are_a_filter_s(shop):
    found = shop.query(
        "select substr(email_message_id, 6), sum(case when is_suspected_scan then 1 else 0 end), count(*) "
        "from intermediate.int_email_clicks_judged where email_message_id in (select email_message_id "
        "from marts.fct_email_messages where campaign_id = 'scans') group by 1 order by 1"
    )
    assert found == [
        ("both", 1, 2),
        ("burst", 3, 3),
        ("early", 0, 1),
        ("opened", 0, 1),
        ("quick", 1, 1),
        ("slow", 0, 1),
        ("two", 0, 3),
    ]


def test_a_filter_s_clicks_count_nowhere_as_interest(shop):
    columns = "is_clicked, is_scanned, click_count, suspected_click_count, first_clicked_at"
    assert message(shop, "burst", columns) == (False, True, 0, 3, None)
    assert message(shop, "both", columns) == (True, True, 1, 1, at("2011-06-21 09:00:07"))
    assert shop.query("select clicked_count, scanned_count from marts.fct_email_campaigns "
                      "where campaign_id = 'scans'") == [(5, 3)]  # fmt: skip
    assert shop.query("select event_date, clicked_count, scanned_count from marts.fct_email_days "
                      "where campaign_id = 'scans' order by 1") == [
        (at("2011-06-20").date(), 4, 3), (at("2011-06-21").date(), 1, 0)
    ]  # fmt: skip


def test_an_order_counts_for_the_last_click_before_it_within_the_window(shop):
    found = shop.query(
        "select substr(order_id, 6), substr(email_message_id, 6) from intermediate.int_email_orders_attributed "
        "order by 1"
    )
    assert found == [("O3", "first"), ("O4", "first"), ("O5", "first"), ("O6", "second")]
    columns = "attributed_order_count, attributed_revenue"
    assert message(shop, "first", columns) == (3, 28.0)
    assert message(shop, "second", columns) == (1, 32.0)
    assert message(shop, "scan", columns) == (0, 0.0)
    assert reader(shop, "D", "email_order_count, email_revenue, email_conversion_rate") == (4, 60, 4 / 3)


def test_a_campaign_s_rates_are_of_what_was_delivered(shop):
    rates = "open_rate, click_rate, click_to_open_rate, conversion_rate, unsubscribe_rate, complaint_rate, bounce_rate"
    counts = "campaign_name, message_count, delivered_count, opened_count, clicked_count, hard_bounced_count"
    [found] = shop.query(f"select {counts}, {rates} from marts.fct_email_campaigns where campaign_id = 'spring'")
    assert found == ("Spring", 7, 6, 2, 1, 0, 2 / 6, 1 / 6, 1 / 2, 0.0, 1 / 6, 1 / 6, 1 / 7)
    [found] = shop.query(f"select {counts}, {rates} from marts.fct_email_campaigns where campaign_id = 'lost'")
    assert found == ("Spring", 1, 0, 0, 0, 1, None, None, None, None, None, None, 1.0)
    [found] = shop.query("select attributed_order_count, attributed_revenue, conversion_rate "
                         "from marts.fct_email_campaigns where campaign_id = 'sale'")  # fmt: skip
    assert found == (4, 60.0, 4 / 3)
    days = shop.query("select event_date, attributed_order_count, attributed_revenue from marts.fct_email_days "
                      "where attributed_order_count > 0 order by 1")  # fmt: skip
    assert days == [
        (at("2011-06-10").date(), 1, 4.0),
        (at("2011-06-12").date(), 2, 24.0),
        (at("2011-06-17").date(), 1, 32.0),
    ]


def test_what_lands_late_changes_the_verdict_and_leaves_nothing_behind(tmp_path):
    landing = Landing(tmp_path)
    esp = mail("E1", "letter", None, "delivered", "2011-06-25 09:00", email="ann@example.com", campaign_id="esp")
    landing.load(
        crm__customers=ACCOUNTS,
        email__events=[
            click("T1", "late", "A", "2011-06-20 00:00:04"),
            mail("T2", "soon", "A", "delivered", "2011-06-30 23:00"),
            click("T3", "soon", "A", "2011-07-01 12:00"),
        ],
    )
    landing.build(*UNTESTED)
    assert message(landing, "late", "is_clicked, is_scanned") == (True, False)
    assert message(landing, "soon", "is_clicked") == (False,)
    assert reader(landing, "A", "engagement_days_30d, emails_clicked_count") == (1, 1)
    ann = person(landing, "A")
    landing.load(
        email__events=[mail("T0", "late", "A", "delivered", "2011-06-20 00:00")],
        local_esp__events=[
            esp | {"customer_id": ann},
            esp | {"event_id": "E2", "event_type": "open", "customer_id": ann, "occurred_at": at("2011-06-26")},
            # the id of somebody who is another by now
            esp | {"event_id": "E3", "message_id": "other", "customer_id": "0" * 32, "email": "bob@example.com"},
        ],
    )
    landing.build(*UNTESTED, as_of=AS_OF + timedelta(days=1))
    assert message(landing, "late", "is_clicked, is_scanned, delivered_at") == (False, True, at("2011-06-20"))
    assert message(landing, "soon", "is_clicked") == (True,)
    assert reader(landing, "A", "engagement_days_30d, emails_clicked_count, emails_opened_count") == (2, 1, 1)
    found = landing.query(
        "select email_message_id, customer_id from marts.fct_email_messages "
        "where source_system = 'local_esp' order by 1"
    )
    assert found == [("local_esp:letter", ann), ("local_esp:other", person(landing, "B"))]


class History:
    """A demo shop's history with its dirt, landed and built in two steps, and its raw rows."""

    def __init__(self, folder) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        from test_dbt_planted import LANDED_AS, OFTEN, TODAY, hashed

        from letterpress.demo.simulation import truths
        from letterpress.demo.simulation.dirt import soil
        from letterpress.demo.simulation.rendering import render
        from letterpress.demo.simulation.simulator import Simulator, World

        world = World(seed=7, customers=250, days=45, today=TODAY, dirt=OFTEN)
        simulator = Simulator(world)
        state = simulator.opening()
        parts = defaultdict(list)
        self.hidden = set()
        for _ in range(world.days):
            day = simulator.play(state)
            tables, _ = soil(world, day, render(world, state, day))
            for name, table in tables.items():
                parts[name].append(table)
            planted = truths.of(state, day)["planted"].to_pylist()
            self.hidden |= {row["key"] for row in planted if row["kind"] == "hidden_scanners"}
        tables = {name: pa.concat_tables(of, promote_options="default").combine_chunks() for name, of in parts.items()}
        self.as_of = TODAY
        self.landing = Landing(folder)
        middle = pc.quantile(tables["email_events"]["_visible_at"], 0.6)[0].as_py()
        for earlier in (True, False):
            seen = {name: pc.less(table["_visible_at"], middle) for name, table in tables.items()}
            self.landing.load(
                **{
                    LANDED_AS[name]: hashed(name, table.filter(seen[name] if earlier else pc.invert(seen[name])))
                    for name, table in tables.items()
                }
            )
            self.landing.build(*UNTESTED, as_of=TODAY if not earlier else TODAY - timedelta(days=12))
        self.events = tables["email_events"].to_pandas()
        self.events["landed"] = self.events["_visible_at"] >= middle
        self.people = dict(
            self.landing.query(
                "select substr(source_customer_key, 6), customer_id from intermediate.int_identifiers_resolved "
                "where source_customer_key like 'shop:%'"
            )
        )

    def used(self):
        """The events that count, once each, with pandas alone."""
        events = self.events.sort_values("landed", kind="stable").drop_duplicates("event_id")
        content = ["message_id", "event_type", "bounce_type", "is_machine_open", "url", "occurred_at", "customer_id"]
        events = events.drop_duplicates(content)
        return events[events["occurred_at"] <= self.as_of]

    def clicks(self, events):
        """The clicks that are not by a known machine, each with the verdict, by the rule as it is written."""
        clicks = events[(events["event_type"] == "click") & ~events["is_machine_open"]]
        delivered = events[events["event_type"] == "delivered"].groupby("message_id")["occurred_at"].min()
        opens = events[(events["event_type"] == "open") & ~events["is_machine_open"]]
        opened = opens.groupby("message_id")["occurred_at"].min()
        verdicts = []
        for name, of in clicks.groupby("message_id"):
            for one in of.itertuples():
                near = of[(of["occurred_at"] - one.occurred_at).abs() <= timedelta(seconds=5)]
                wait = one.occurred_at - delivered[name] if name in delivered else None
                first = wait is not None and timedelta(0) <= wait <= timedelta(seconds=10)
                first = first and not (name in opened and opened[name] <= one.occurred_at)
                verdicts.append((one.event_id, first or near["url"].nunique() >= 3))
        found = dict(verdicts)
        return clicks.assign(suspected=clicks["event_id"].map(found).astype(bool))


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> History:
    from letterpress.demo.simulation import effects

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "SCANNED_MAILBOXES", 0.1)
        return History(tmp_path_factory.mktemp("engagement_history"))


@pytest.mark.slow
def test_messages_campaigns_and_people_are_what_pandas_counts(history):
    events = history.used()
    clicks = history.clicks(events)
    human = clicks[~clicks["suspected"]]
    assert len(human) > 20
    messages = set(events["message_id"])
    delivered = set(events[events["event_type"] == "delivered"]["message_id"])
    opened = set(events[(events["event_type"] == "open") & ~events["is_machine_open"]]["message_id"])
    clicked = set(human["message_id"])

    found = history.landing.query(
        "select substr(email_message_id, 6), is_delivered, is_opened, is_clicked, click_count, suspected_click_count "
        "from marts.fct_email_messages"
    )
    by_message, suspected = human["message_id"].value_counts(), clicks[clicks["suspected"]]["message_id"].value_counts()
    assert {row[0]: row[1:] for row in found} == {
        one: (one in delivered, one in opened, one in clicked, by_message.get(one, 0), suspected.get(one, 0))
        for one in messages
    }

    campaign_of = dict(zip(events["message_id"], events["campaign_id"], strict=True))
    found = history.landing.query(
        "select campaign_id, message_count, delivered_count, opened_count, clicked_count, open_rate "
        "from marts.fct_email_campaigns"
    )
    assert {row[0] for row in found} == set(campaign_of.values())
    for campaign, *counts, open_rate in found:
        expected = [sum(campaign_of[one] == campaign for one in of) for of in (messages, delivered, opened, clicked)]
        assert counts == expected, campaign
        both = sum(campaign_of[one] == campaign for one in opened & delivered)
        assert math.isclose(open_rate, both / counts[1]), campaign

    person_of = {one: history.people[who] for one, who in zip(events["message_id"], events["customer_id"], strict=True)}
    found = history.landing.query(
        "select customer_id, emails_delivered_count, emails_opened_count, emails_clicked_count, emails_opened_30d "
        "from intermediate.int_email_engagement_summarised"
    )
    began = events.groupby("message_id")["occurred_at"].min()
    recent = {one for one in opened if history.as_of - began[one] < timedelta(days=30)}
    expected = defaultdict(lambda: [0, 0, 0, 0])
    for index, of in enumerate((delivered, opened, clicked, recent)):
        for one in of:
            expected[person_of[one]][index] += 1
    assert {row[0]: list(row[1:]) for row in found if any(row[1:])} == dict(expected)

    opens = events[(events["event_type"] == "open") & ~events["is_machine_open"]]
    interest = [*opens.itertuples(), *human.itertuples()]
    assert set(history.landing.query("select customer_id, event_date from marts.fct_email_customer_days")) == {
        (person_of[one.message_id], one.occurred_at.date()) for one in interest
    }


@pytest.mark.slow
def test_orders_go_to_the_last_click_as_a_loop_over_them_says(history):
    human = history.clicks(history.used()).query("not suspected")
    by_person = defaultdict(list)
    for one in human.itertuples():
        by_person[history.people[one.customer_id]].append((one.occurred_at, f"shop:{one.message_id}"))
    expected = {}
    for order_id, who, ordered_at in history.landing.query(
        "select order_id, customer_id, ordered_at from intermediate.int_orders_unified where is_purchase"
    ):
        before = [one for one in by_person.get(who, ()) if one[0] < ordered_at]
        if before and ordered_at - max(before)[0] <= timedelta(days=5):
            expected[order_id] = max(before)[1]
    found = history.landing.query("select order_id, email_message_id from intermediate.int_email_orders_attributed")
    assert len(expected) > 5
    assert dict(found) == expected


@pytest.mark.slow
def test_filters_that_hide_are_found_in_a_history_and_nobody_is_taken_for_one(history):
    clicks = history.clicks(history.used())
    hidden = clicks["event_id"].isin(history.hidden)
    assert hidden.sum() > 20
    # a filter's click whose message's delivery was received after as_of is judged by its links alone
    assert (clicks["suspected"] & hidden).sum() >= 0.99 * hidden.sum()
    people = clicks[clicks["suspected"] & ~hidden]
    copied = people.merge(clicks[hidden], on=["message_id", "url", "occurred_at"])
    assert len(people) - len(copied) <= 0.01 * clicks["suspected"].sum()
