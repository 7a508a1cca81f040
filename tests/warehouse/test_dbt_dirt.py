"""What a living shop's rows do wrong, case by case: nothing breaks, nothing is silently wrong, every row has a fate."""

from datetime import date

import pyarrow as pa
import pytest
from landed_rows import AS_OF, Landing, at, declared_schemas, rows_as_table
from small_shop import BOT, BROWSER, account, consent, line, mail, order, product, web

FEATURES = ("--select", "tag:features_phase")
NO_BREAK = "\N{NO-BREAK SPACE}"

BIRTH_DATES = {
    # account: country, as written, as meant
    "B1": ("GB", "1980-05-03", date(1980, 5, 3)),
    "B2": ("GB", "03/05/1980", date(1980, 5, 3)),
    "B3": ("US", "03/05/1980", date(1980, 3, 5)),
    "B4": ("DE", "3.5.1980", date(1980, 5, 3)),
    "B5": ("US", "5 Mar 1980", date(1980, 3, 5)),
    "B6": ("FR", "1980-5-3", date(1980, 5, 3)),
    "B7": (None, "03/05/1980", None),  # the third of May, or the fifth of March
    "B8": (None, "25/12/1980", date(1980, 12, 25)),
    "B9": (None, "04/04/1980", date(1980, 4, 4)),
    "B10": ("GB", "31/02/1980", None),
    "B11": ("GB", "3/5/80", None),
    "B12": ("GB", f" 5{NO_BREAK}May 1980 ", date(1980, 5, 5)),
    "B13": ("GB", "soon", None),
}

ACCOUNTS = [
    *(account(key, None, country_code=land, birth_date=text) for key, (land, text, _) in BIRTH_DATES.items()),
    account("N1", None, first_name=f"Zoe\N{COMBINING DIAERESIS}{NO_BREAK}Ann ", last_name="van  den   Berg"),
    account("N2", None, first_name=None, country_code=None, time_zone=None, preferences=None),
    # one mailbox
    account("T1", "Ann@Example.com", signed_up="2011-01-01"),
    account("T2", f"ann+Shop@example.com{NO_BREAK}", signed_up="2011-02-01"),
    # an address that no audit would let out, and one that is nothing but a tag
    account("T3", 'ann"x@example.com'),
    account("T4", f"an{NO_BREAK}n@example.com"),
    account("T5", "+tag@example.com"),
    # two people with one address are one profile for now
    account("S1", "house@example.com", first_name="Ada"),
    account("S2", "HOUSE@example.com", first_name="Bea", signed_up="2011-03-01"),
    account("V", "visitor@example.com"),
    account("W", "other@example.com"),
    account("M", "mailed@example.com"),
]

ORDERS = [
    order("EUR1", "V", "visitor@example.com", 118.0, "2011-03-31 23:59", currency="EUR"),
    order("EUR2", "V", "visitor@example.com", 100.0, "2011-04-01", currency="eur ", status="refunded"),
    order("EUR3", "V", "visitor@example.com", 50.0, "2009-12-31", currency="EUR"),
    order("XXX", None, "unknown@example.com", 50.0, "2011-03-01", currency="XXX"),
    order("TEST1", None, "test@example.com", 9.0, "2011-03-01"),
    order("TEST2", None, f" Test@EXAMPLE.com{NO_BREAK}", 9.0, "2011-03-02"),
    order("REF1", "W", "other@example.com", 40.0, "2011-03-03", status="refunded"),
    order("REF2", "W", "other@example.com", 60.0, "2011-03-04", status="cancelled"),
    order("REF3", "W", "other@example.com", 20.0, "2011-03-05", currency="EUR", status="refunded"),
    # the latest order of an account that has not landed yet has lost its e-mail
    order("LOST1", "C9", "new@example.com", 10.0, "2011-06-29"),
    order("LOST2", "C9", None, 10.0, "2011-06-30"),
    order("GUEST", None, None, 10.0, "2011-06-30"),
    order("TAG", None, "ANN+gift@example.com", 5.0, "2011-06-30"),
]

LINES = [
    line("L1", "EUR1", "P1", 2, 59.0, "2011-03-31"),
    line("L2", "XXX", "P1", 5, 10.0, "2011-03-01"),
    line("L3", "TEST1", "P1", 1, 9.0, "2011-03-01"),
    line("L4", "TEST2", "P1", 1, 9.0, "2011-03-02"),
    line("L5", "REF1", "P2", 4, 10.0, "2011-03-03"),
    line("L6", "NEVER", "P2", 4, 10.0, "2011-03-03"),
    line("L7", "EUR3", "P2", 4, 10.0, "2009-12-31"),
]


def refund(number: str, order_id: str, amount: float) -> dict:
    when = at("2011-04-01")
    return {"refund_id": number, "order_id": order_id, "amount": amount, "refunded_at": when, "updated_at": when}


REFUNDS = [
    refund("R1", "EUR2", 60.0),
    refund("R2", "EUR2", 40.0),
    refund("R3", "REF1", 30.0),
    refund("R4", "REF1", 25.0),
    refund("R5", "REF2", 70.0),
    refund("R6", "REF3", 23.0),
    refund("R7", "TEST1", 9.0),
]

VIEW = '{"product_id": "P1"}'
EVENTS = [
    # the same again under its own id, and its content under another that the shop received first
    web("E1", "d1", "V", "2011-06-01 10:00", "Product Viewed", received_at=at("2011-06-01 10:00:02")),
    web("E1", "d1", "V", "2011-06-01 10:00", "Product Viewed", received_at=at("2011-06-01 10:09")),
    web("E0", "d1", "V", "2011-06-01 10:00", "Product Viewed", received_at=at("2011-06-01 10:00:01")),
    # not a copy: another product
    web("E2", "d1", "V", "2011-06-01 10:00", "Product Viewed", properties='{"product_id": "P2"}'),
    # clocks: in 2001, ahead by hours, ahead a little; and two that are only late
    web("K1", "d2", "V", "2001-01-01 00:00", received_at=at("2011-06-02 10:00")),
    web("K2", "d2", "V", "2011-06-03 15:00", received_at=at("2011-06-03 10:00")),
    web("K3", "d2", "V", "2011-06-04 10:04", received_at=at("2011-06-04 10:00")),
    web("K4", "d2", "V", "2011-06-05 10:00", received_at=at("2011-06-05 14:00")),
    web("K5", "d2", "V", "2011-06-06 10:00", received_at=at("2011-06-27 10:00")),
    # a clock of next year, received before as_of: it has happened
    web("K6", "d2", "V", "2012-06-07 10:00", received_at=at("2011-06-07 10:00")),
    # a clock of 2001, received after as_of: it is not known yet
    web("K7", "d2", "V", "2001-01-01 00:01", received_at=at("2011-07-01 10:00")),
    web("K8", "d2", "V", "2011-06-08 10:00", timestamp=None),
    # nobody's program, nobody's language
    web("U1", "d3", "V", "2011-06-09 10:00", context='{"page": {"path": "/p"}}'),
    web("U2", "d4", None, "2011-06-09 10:00", context=BOT),
    # a kiosk: two people, and one of whom only the account's number is known
    *(web(f"Q{i}", "kiosk", who, f"2011-06-10 1{i}:00") for i, who in enumerate(["V", None, "W", None])),
    web("Q7", "tablet", "V", "2011-06-11 10:00"),
    web("Q8", "tablet", "C404", "2011-06-11 12:00"),
    web("Q9", "tablet", None, "2011-06-11 14:00"),
]
OUT_OF_ORDER = [web("D2", "d5", "W", "2011-06-12 10:10"), web("D1", "d5", "W", "2011-06-12 10:00", context=BROWSER)]

MAILS = [
    mail("M1", "m1", "M", "delivered", "2011-06-01", campaign_name=None),
    mail("M1", "m1", "M", "delivered", "2011-06-01", campaign_name=None, received_at=at("2011-06-02")),
    mail("M7", "m3", "M", "sent", "2011-06-20", subject="Zoë, summer is here"),
    # a scanner follows every link; the person opens a week later, which is heard of three weeks later
    mail("M2", "m1", "M", "click", "2011-06-01 00:01", is_machine_open=True, url="https://shop.example/1"),
    mail("M3", "m1", "M", "click", "2011-06-01 00:01", is_machine_open=True, url="https://shop.example/2"),
    mail("M4", "m1", "M", "open", "2011-06-08", received_at=at("2011-06-29")),
    mail("M5", "m1", "M", "open", "2011-06-08", received_at=at("2011-06-30")),  # M4 under another id
    mail("M6", "m2", "V", "bounce", "2011-06-01", bounce_type="hard", email="Visitor+old@example.com"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    """Everything in one load; the second brings what a cursor had passed, and a column that nobody declared."""
    landing = Landing(tmp_path_factory.mktemp("dirt"))
    landing.load(
        crm__customers=ACCOUNTS,
        crm__consents=[consent("K1", "T1", "granted", "2011-01-01")],
        catalogue__products=[product("P1", "Garden"), product("P2", "Kitchen") | {"category": None}],
        shop__orders=[*ORDERS, order("LATE", "W", None, 30.0, "2011-05-01", updated_at=at("2011-05-03"))],
        shop__order_lines=LINES,
        shop__refunds=REFUNDS,
        web__events=[*EVENTS, *OUT_OF_ORDER[:1]],
        email__events=MAILS,
    )
    more = rows_as_table(
        [account("R", "referred@example.com", birth_date="1980-05-03")], declared_schemas()["crm", "customers"]
    )
    landing.load(
        crm__customers=more.append_column("referral_code", pa.array(["FRIEND-1"])),
        # committed late: an older version lands after the newer one
        shop__orders=[order("LATE", "W", None, 99.0, "2011-05-01", updated_at=at("2011-05-02"), status="placed")],
        web__events=OUT_OF_ORDER[1:],
    )
    landing.build(*FEATURES)
    return landing


def person(shop: Landing, key: str) -> str:
    [[found]] = shop.query(f"select customer_id from marts.dim_customer_identities where source_customer_key = '{key}'")
    return found


def profile(shop: Landing, key: str, columns: str) -> tuple:
    [row] = shop.query(f"select {columns} from marts.dim_customers where customer_id = '{person(shop, key)}'")
    return row


def amounts(shop: Landing, order_id: str) -> tuple:
    [row] = shop.query(
        "select currency, gross_amount, refunded_amount, net_amount, is_refund_capped from marts.fct_orders "
        f"where order_id = 'shop:{order_id}'"
    )
    return row


def fates(shop: Landing, model: str, key: str) -> list[tuple]:
    return shop.query(f"select {key}, disposition from staging.{model} where disposition <> 'used' order by all")


@pytest.mark.parametrize("key", BIRTH_DATES)
def test_a_day_of_birth_is_read_as_its_country_writes_it_and_never_guessed(shop, key):
    assert profile(shop, f"shop:{key}", "birth_date") == (BIRTH_DATES[key][2],)


def test_names_are_the_same_text_however_they_were_typed(shop):
    assert profile(shop, "shop:N1", "first_name, last_name") == ("Zoë Ann", "van den Berg")


def test_missing_fields_leave_a_person_whole(shop):
    assert profile(shop, "shop:N2", "first_name, country_code, time_zone, order_count") == (None, None, None, 0)


def test_a_column_that_appears_neither_breaks_the_build_nor_changes_what_is_known(shop):
    assert profile(shop, "shop:R", "email, birth_date") == ("referred@example.com", date(1980, 5, 3))


def test_a_tag_behind_a_plus_sign_is_the_same_mailbox_and_mail_goes_where_it_was_asked_for(shop):
    assert person(shop, "shop:T1") == person(shop, "shop:T2")
    assert profile(shop, "shop:T1", "email, source_customer_count") == ("ann+shop@example.com", 3)
    [[buyer]] = shop.query("select customer_id from marts.fct_orders where order_id = 'shop:TAG'")
    assert buyer == person(shop, "shop:T1")
    assert shop.query("select email_as_given from staging.stg_crm__customers where shop_customer_id = 'T2'") == [
        (f"ann+Shop@example.com{NO_BREAK}",)
    ]


@pytest.mark.parametrize(
    ("domains", "found"),
    [
        ([], ["ann+shop@example.com", "ann@example.com"]),
        (["example.org"], ["ann+shop@example.com", "ann@example.com"]),
        (["example.org", "Example.com"], ["ann@example.com", "ann@example.com"]),
    ],
)
def test_whose_tags_are_dropped_is_a_variable(tmp_path, domains, found):
    landing = Landing(tmp_path)
    landing.load(crm__customers=ACCOUNTS)
    assert landing.dbt("build", "--select", "+stg_crm__customers", variables={"email_tag_domains": domains}).success
    assert [
        row[0]
        for row in landing.query(
            "select normalised_email from staging.stg_crm__customers where shop_customer_id in ('T1', 'T2') order by 1"
        )
    ] == found


@pytest.mark.parametrize("key", ["T3", "T4"])
def test_an_address_that_the_audits_would_refuse_is_invalid_before(shop, key):
    assert profile(shop, f"shop:{key}", "email, has_invalid_email") == (None, True)


def test_an_address_that_is_nothing_but_a_tag_keeps_it(shop):
    assert profile(shop, "shop:T5", "email") == ("+tag@example.com",)


def test_two_people_with_one_address_are_one_profile(shop):
    assert person(shop, "shop:S1") == person(shop, "shop:S2")
    assert profile(shop, "shop:S1", "first_name") == ("Bea",)


def test_an_order_in_euros_counts_in_pounds_at_the_rate_of_its_day(shop):
    winter, spring = (
        shop.query(
            "select cast(units_per_pound as double) from seeds.exchange_rates "
            f"where currency = 'EUR' and valid_from = '{day}'"
        )[0][0]
        for day in ("2011-01-01", "2011-04-01")
    )
    assert amounts(shop, "EUR1") == ("EUR", round(118 / winter, 2), 0.0, round(118 / winter, 2), False)
    # two refunds that are the whole order leave nothing of it, not a penny
    paid = round(100 / spring, 2)
    assert amounts(shop, "EUR2") == ("EUR", paid, paid, 0.0, False)
    [[lines]] = shop.query("select cast(line_amount as double) from intermediate.int_order_lines_unified "
                           "where order_id = 'shop:EUR1'")  # fmt: skip
    assert lines == pytest.approx(118 / winter, abs=0.0001)
    assert profile(shop, "shop:V", "total_spend, order_count") == (round(118 / winter, 2), 1)


def test_the_rates_are_those_that_the_demo_shop_takes_euros_at():
    from landed_rows import PROJECT

    from letterpress.demo.simulation.dirt import EUROS_PER_POUND

    rows = [text.split(",") for text in (PROJECT / "seeds" / "exchange_rates.csv").read_text().split()[1:]]
    found = {date.fromisoformat(day): float(rate) for currency, day, rate in rows if currency == "EUR"}
    assert found == EUROS_PER_POUND


def test_orders_that_do_not_count_take_their_lines_and_refunds_with_them(shop):
    assert fates(shop, "stg_shop__orders", "shop_order_id") == [
        ("EUR3", "quarantined:unknown_currency"),  # before the first rate
        ("LATE", "superseded"),
        ("TEST1", "quarantined:test_order"),
        ("TEST2", "quarantined:test_order"),
        ("XXX", "quarantined:unknown_currency"),
    ]
    assert shop.query(
        "select entity_name, disposition, row_count from marts.fct_source_reconciliation where source_name = 'shop' "
        "and disposition_kind = 'quarantined' and entity_name <> 'orders' order by all"
    ) == [
        ("order_lines", "quarantined:test_order", 2),
        ("order_lines", "quarantined:unknown_currency", 2),
        ("order_lines", "quarantined:unknown_order", 1),
        ("refunds", "quarantined:test_order", 1),
    ]
    refused = "('shop:TEST1', 'shop:TEST2', 'shop:XXX', 'shop:EUR3')"
    assert shop.query(f"select order_id from marts.fct_orders where order_id in {refused}") == []
    assert shop.query(f"select order_id from intermediate.int_order_lines_unified where order_id in {refused}") == []
    assert shop.query("select email from marts.dim_customers where email in ('test@example.com', 'unknown@example.com')"
                      ) == []  # fmt: skip


def test_a_refund_counts_up_to_what_was_paid(shop):
    assert amounts(shop, "REF1") == ("GBP", 40.0, 40.0, 0.0, True)
    assert amounts(shop, "REF2") == ("GBP", 60.0, 60.0, 0.0, True)
    assert amounts(shop, "REF3")[2:] == (amounts(shop, "REF3")[1], 0.0, True)
    assert profile(shop, "shop:W", "total_spend, order_count") == (30.0, 1)


def test_an_older_version_that_becomes_visible_late_replaces_nothing(shop):
    assert amounts(shop, "LATE")[1] == 30.0


def test_an_order_without_email_costs_its_account_neither_the_order_nor_an_earlier_email(shop):
    assert profile(shop, "shop:C9", "email, order_count") == ("new@example.com", 2)
    assert shop.query("select customer_id, is_guest from marts.fct_orders where order_id = 'shop:GUEST'") == [
        (None, True)
    ]


def test_a_product_without_category_is_bought_all_the_same(shop):
    assert profile(shop, "shop:V", "favourite_category") == ("Garden",)
    assert shop.query("select category from marts.dim_products where product_id = 'shop:P2'") == [(None,)]


def test_every_web_event_has_a_fate(shop):
    assert fates(shop, "stg_web__events", "message_id") == [
        ("E0", "duplicate"),  # the content of E1, which landed first
        ("E1", "duplicate"),  # the same id again
        ("K8", "quarantined:missing_time"),
    ]


def test_a_clock_that_cannot_be_right_gives_way_to_the_time_of_receipt(shop):
    found = shop.query(
        "select message_id, is_clock_corrected, occurred_at, device_at <> occurred_at from staging.stg_web__events "
        "where message_id between 'K1' and 'K7' order by 1"
    )
    assert found == [
        ("K1", True, at("2011-06-02 10:00"), True),
        ("K2", True, at("2011-06-03 10:00"), True),
        ("K3", False, at("2011-06-04 10:04"), False),
        ("K4", False, at("2011-06-05 10:00"), False),
        ("K5", False, at("2011-06-06 10:00"), False),
        ("K6", True, at("2011-06-07 10:00"), True),
        ("K7", True, at("2011-07-01 10:00"), True),
    ]
    [first, last] = profile(shop, "shop:V", "first_seen_at, last_seen_at")
    assert first >= at("2011-01-01")
    assert last <= AS_OF


def visits(shop: Landing, device: str) -> list[tuple]:
    """Start, events and person of a device's visits."""
    return shop.query(
        "select started_at, event_count, customer_id from intermediate.int_sessions_attributed "
        f"where visitor_key = '{device}' order by 1"
    )


def test_batches_out_of_order_are_one_visit(shop):
    assert visits(shop, "d5") == [(at("2011-06-12 10:00"), 2, person(shop, "shop:W"))]


def test_an_event_that_is_heard_of_after_as_of_is_in_no_visit(shop):
    assert at("2011-07-01 10:00") not in {start for start, _, _ in visits(shop, "d2")}


def test_an_event_of_an_unknown_program_counts_and_a_bot_does_not(shop):
    assert len(visits(shop, "d3")) == 1
    assert visits(shop, "d4") == []


def test_what_happens_unseen_on_a_shared_device_is_nobody_s(shop):
    v, w = person(shop, "shop:V"), person(shop, "shop:W")
    assert [who for _, _, who in visits(shop, "kiosk")] == [v, None, w, None]
    assert [who for _, _, who in visits(shop, "tablet")] == [v, None, None]
    assert [who for _, _, who in visits(shop, "d1")] == [v]


def test_neither_scanners_nor_copies_are_engagement(shop):
    assert fates(shop, "stg_email__events", "event_id") == [("M1", "duplicate"), ("M5", "duplicate")]
    columns = "emails_delivered_count, emails_opened_count, emails_clicked_count, last_email_engaged_at"
    assert profile(shop, "shop:M", columns) == (1, 1, 0, at("2011-06-08"))
    assert shop.query("select emails_opened_90d, emails_clicked_90d from features.customer_features "
                      f"where customer_id = '{person(shop, 'shop:M')}'") == [(1, 0)]  # fmt: skip


def test_a_subject_line_is_kept_where_the_event_says_it(shop):
    found = shop.query("select event_id, subject from staging.stg_email__events where event_id in ('M6', 'M7')")
    assert sorted(found) == [("M6", None), ("M7", "Zoë, summer is here")]


def test_a_hard_bounce_holds_for_the_mailbox_whatever_tag_it_was_sent_to(shop):
    assert profile(shop, "shop:V", "email_suppression_reason") == ("bounced",)


def test_landed_is_used_repeated_quarantined_and_not_yet_due(shop):
    found = shop.query(
        "select source_name, entity_name, sum(row_count) filter (disposition_kind = 'landed') "
        "- sum(row_count) filter (disposition_kind <> 'landed') from marts.fct_source_reconciliation "
        "group by all having sum(row_count) > 0 order by all"
    )
    assert {row[2] for row in found} == {0}
    assert [row[:2] for row in found] == [
        ("catalogue", "products"),
        ("crm", "consents"),
        ("crm", "customers"),
        ("email", "events"),
        ("shop", "order_lines"),
        ("shop", "orders"),
        ("shop", "refunds"),
        ("web", "events"),
    ]
