"""Complete Journey in the warehouse: small cases, and the real tables against plain SQL over the files."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import small_journey
from landed_rows import PROJECT, WITHOUT_TESTS, Landing, at

pytestmark = pytest.mark.slow

SPRING = datetime(2017, 3, 20, tzinfo=UTC)
WINTER = datetime(2017, 12, 2, tzinfo=UTC)
SUMMER = datetime(2017, 6, 15, 12, tzinfo=UTC)
TABLES = (
    *("transactions", "products", "demographics", "campaigns"),
    *("campaign_descriptions", "coupons", "coupon_redemptions"),
)
BY_LINE = {"transactions", "coupons", "coupon_redemptions"}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Landing:
    landing = Landing(tmp_path_factory.mktemp("journey"))
    small_journey.load(landing)
    landing.build(
        *("--select", "+fct_orders", "+dim_products", "+int_order_lines_unified", "+fct_source_reconciliation"),
        *("+dim_coupon_campaigns", "+fct_coupon_campaign_receipts", "+fct_customer_promotions"),
        *("+assert_landed_rows_are_accounted_for", "assert_journey_baskets_add_up_to_their_lines"),
        as_of=SPRING,
    )
    return landing


def test_each_line_is_classified_by_what_it_is(small):
    found = small.query(
        "select line_number, _load_sequence, disposition from staging.stg_complete_journey__transactions order by all"
    )
    assert found == [
        (1, 1, "used"),
        (2, 1, "used"),
        (3, 1, "used:coupon"),
        (4, 1, "used"),
        (5, 1, "quarantined:nothing_sold"),
        (6, 1, "used:no_quantity"),
        (7, 1, "used:free"),
        (8, 1, "used"),
        (9, 1, "used"),
        (10, 1, "duplicate"),
        (11, 1, "quarantined:negative_amount"),
        (12, 1, "quarantined:unknown_currency"),
        (13, 1, "after_as_of"),
        (14, 1, "superseded"),
        (14, 2, "used"),
    ]


def test_the_time_is_utc_and_the_amount_what_the_store_receives(small):
    rows = small.query(
        "select order_id, currency, order_status, line_count, item_count, gross_amount, net_amount, is_purchase, "
        "ordered_at from marts.fct_orders order by order_id"
    )
    moment = at("2017-02-01 00:30")
    # 1.2367 dollars for a pound in February: the average of January.
    assert rows == [
        ("complete_journey:10", "USD", "completed", 5, 6, *2 * (round((3.0 + 26.62 + 4.9 + 8.0) / 1.2367, 2),),
         True, moment),
        ("complete_journey:11", "USD", "completed", 2, 2, *2 * (round(45.0 / 1.2367, 2),), True, moment),
        ("complete_journey:12", "USD", "completed", 1, 0, *2 * (0.08,), True, moment),
    ]  # fmt: skip


def test_fuel_is_measured_and_not_counted(small):
    rows = small.query(
        "select basket_id, quantity, measured_quantity::double, measured_unit, is_sold_by_amount "
        "from intermediate.int_basket_lines_measured where journey_product_id = '200' order by all"
    )
    assert rows == [("10", 1, 11.0, "gallon", False), ("11", 1, None, None, True)]


def test_prices_are_those_of_the_shelf(small):
    rows = small.query(
        "select product_id, product_name, category, product_kind, price, is_product from marts.dim_products "
        "where source_system = 'complete_journey' order by all"
    )
    assert rows == [
        # 3.00 received, .50 off by the card and .25 by the match, for two pieces.
        ("complete_journey:100", "CEREAL, 12 OZ", "FOOD", "product", round(1.875 / 1.2367, 2), True),
        ("complete_journey:101", "CEREAL, 12 OZ", "FOOD", "product", round(2.0 / 1.2367, 2), True),
        ("complete_journey:102", "CEREAL, 12 OZ", "FOOD", "product", None, True),
        ("complete_journey:103", None, None, "product", round(8.0 / 1.2367, 2), True),
        ("complete_journey:104", "NEVER SOLD", "FOOD", "product", None, True),
        ("complete_journey:200", "GASOLINE-REG UNLEADED", "FUEL", "product", round(2.42 / 1.2367, 2), True),
        ("complete_journey:300", "OUTSIDE VENDORS GIFT CARDS", "COUPON/MISC ITEMS", "voucher",
         round(25.0 / 1.2367, 2), False),
        ("complete_journey:998", None, None, "product", round(4.9 / 1.2367, 2), True),
    ]  # fmt: skip


def test_a_coupon_on_a_line_of_its_own_is_no_product_of_the_order(small):
    products = small.query(
        "select product_id from intermediate.int_order_lines_unified where order_id = 'complete_journey:10' order by 1"
    )
    assert [key for (key,) in products] == [f"complete_journey:{number}" for number in (100, 101, 103, 200, 998)]


def test_a_household_is_one_person_without_an_address(small):
    rows = small.query(
        "select source_customer_key, source_system, sendable_email, normalised_email, first_seen_at "
        "from intermediate.int_identifiers_resolved order by 1"
    )
    assert rows == [
        (f"complete_journey:{number}", "complete_journey", None, None, at("2017-02-01 00:30")) for number in (1, 2)
    ]
    [[people]] = small.query("select count(distinct customer_id) from intermediate.int_identifiers_resolved")
    assert people == 2


def test_what_is_known_of_a_household_stays_a_band(small):
    rows = small.query(
        "select source_customer_key, country_code, time_zone, age_band, income_band, home_ownership, "
        "household_size_band, kids_count_band, age_least, income_least, household_size_least, kids_count_least, "
        "has_demographics from intermediate.int_households_described order by 1"
    )
    assert rows == [
        ("complete_journey:1", "US", "Etc/GMT+5", "65+", "35-49K", None, "5+", "3+", 65, 35_000, 5, 3, True),
        ("complete_journey:2", "US", "Etc/GMT+5", *9 * (None,), False),
    ]


def test_redemptions_count_as_the_response_of_the_campaigns_that_have_begun(small):
    campaigns = small.query(
        "select coupon_campaign_id, coupon_count, product_count, recipient_count, redeemer_count, redemption_count, "
        "response_rate from marts.dim_coupon_campaigns order by 1"
    )
    assert campaigns == [("complete_journey:1", 1, 2, 2, 1, 2, 0.5)]
    receipts = small.query(
        "select source_customer_key, coupon_campaign_id, redemption_count, redeemed_coupon_count, is_redeemed, "
        "first_redemption_date::varchar, received_at from marts.fct_coupon_campaign_receipts "
        "join intermediate.int_identifiers_resolved using (customer_id) order by 1"
    )
    began = at("2017-03-03 05:00")
    assert receipts == [
        ("complete_journey:1", "complete_journey:1", 2, 2, True, "2017-03-05", began),
        ("complete_journey:2", "complete_journey:1", 0, 0, False, None, began),
    ]


def test_discounts_are_told_apart_by_who_gives_them(small):
    [row] = small.query(
        "select basket_count, coupon_basket_count, campaigns_received_count, campaigns_redeemed_count, "
        "redemption_count, shelf_amount, loyalty_discount_amount, coupon_discount_amount, "
        "coupon_match_discount_amount, response_rate from marts.fct_customer_promotions "
        "join intermediate.int_identifiers_resolved using (customer_id) where source_customer_key like '%:1'"
    )
    dollars = (3.0 + 0.75 + 26.62 + 4.9 + 2.0 + 8.0 + 0.1, 2.5, 1.75, 0.25)
    assert row[:5] == (2, 1, 1, 1, 2)
    assert row[5:9] == pytest.approx([amount / 1.2367 for amount in dollars], abs=0.006)
    assert row[9] == 1.0


def test_every_landed_row_has_a_fate(small):
    rows = small.query(
        "select entity_name, disposition, row_count from marts.fct_source_reconciliation "
        "where source_name = 'complete_journey' and disposition not in ('used', 'landed') "
        "and entity_name <> 'transactions' order by all"
    )
    assert rows == [
        ("campaign_descriptions", "after_as_of", 1),
        ("campaign_descriptions", "quarantined:ends_before_it_starts", 1),
        ("campaigns", "quarantined:unknown_campaign", 1),
        ("campaigns", "quarantined:unknown_customer", 1),
        ("coupon_redemptions", "after_as_of", 1),
        ("coupon_redemptions", "duplicate", 1),
        ("coupon_redemptions", "quarantined:not_received", 1),
        ("coupons", "duplicate", 1),
    ]


PLAIN = """
    create temp table rates as
    select valid_from, lead(valid_from, 1, date '9999-01-01') over (order by valid_from) as until, units_per_pound
    from read_csv('{seeds}/exchange_rates.csv', header = true) where currency = 'USD';

    create temp table lines as
    select *, round(sales_value, 4) as sales, round(retail_disc + coupon_disc + coupon_match_disc, 4) as discounts,
        transaction_timestamp as bought, units_per_pound as rate
    from read_parquet('{folder}/transactions.parquet')
    join rates on transaction_timestamp::date >= valid_from and transaction_timestamp::date < until;

    create temp table baskets as
    select basket_id, any_value(household_id) as household, any_value(bought) as bought, any_value(rate) as rate,
        round(sum(sales) / any_value(rate), 2) as pounds, sum(sales) as dollars, count(*) as lines
    from lines where quantity > 0 or sales > 0 group by basket_id
"""


@pytest.fixture(scope="module")
def files(real_data) -> Path:
    folder = real_data / "complete_journey"
    if not folder.is_dir():
        pytest.skip("../shared/data/complete_journey: the real tables are not beside this checkout")
    return folder


@pytest.fixture(scope="module")
def plain(files):
    import duckdb

    with duckdb.connect() as connection:
        for statement in PLAIN.format(folder=files, seeds=PROJECT / "seeds").split(";"):
            connection.execute(statement)
        yield connection


@pytest.fixture(scope="module")
def landed(files, tmp_path_factory) -> Landing:
    import duckdb

    landing = Landing(tmp_path_factory.mktemp("complete_journey"))
    tables = {}
    for name in TABLES:
        number = f"'{name}.parquet' as file, row_number() over () as line_number, " if name in BY_LINE else ""
        tables[f"complete_journey__{name}"] = duckdb.sql(
            f"select {number}rows.*, sha256(rows::varchar) as _row_hash "
            f"from read_parquet('{files}/{name}.parquet') as rows"
        ).to_arrow_table()
    landing.load(**tables)
    return landing


@pytest.fixture(scope="module")
def warehouse(landed) -> Landing:
    landed.build("--select", "tag:features_phase", as_of=WINTER)
    return landed


@pytest.mark.slow
def test_all_672836_lines_are_accounted_for(warehouse, plain):
    found = dict(
        warehouse.query(
            "select disposition, row_count from marts.fct_source_reconciliation "
            "where source_name = 'complete_journey' and entity_name = 'transactions'"
        )
    )
    [[landed, nothing, coupon, odd, free]] = plain.sql(
        "select count(*), "
        "count(*) filter (quantity = 0 and sales = 0 and discounts = 0), "
        "count(*) filter (quantity = 0 and sales = 0 and discounts > 0), "
        "count(*) filter (quantity = 0 and sales > 0), count(*) filter (quantity > 0 and sales = 0) from lines"
    ).fetchall()
    assert landed == 672_836
    assert found == {
        "landed": landed,
        "quarantined:nothing_sold": nothing,
        "used:coupon": coupon,
        "used:no_quantity": odd,
        "used:free": free,
        "used": landed - nothing - coupon - odd - free,
    }


@pytest.mark.slow
def test_all_rows_of_the_other_tables_are_accounted_for(warehouse, files):
    import duckdb

    coupons = duckdb.sql(f"from read_parquet('{files}/coupons.parquet')")
    expected = {
        (name, disposition): count
        for name in TABLES
        if name != "transactions"
        for [count] in duckdb.sql(f"select count(*) from read_parquet('{files}/{name}.parquet')").fetchall()
        for disposition in ("landed", "used")
    }
    repeated = len(coupons) - len(coupons.distinct())
    began = "start_date + interval 5 hours <= timestamp '2017-12-02'"
    [[later]] = duckdb.sql(
        f"select count(*) from read_parquet('{files}/campaign_descriptions.parquet') where not {began}"
    ).fetchall()
    expected |= {("coupons", "duplicate"): repeated, ("campaign_descriptions", "after_as_of"): later}
    expected["coupons", "used"] -= repeated
    expected["campaign_descriptions", "used"] -= later
    found = warehouse.query(
        "select entity_name, disposition, row_count from marts.fct_source_reconciliation "
        "where source_name = 'complete_journey' and entity_name <> 'transactions'"
    )
    assert {(entity, disposition): count for entity, disposition, count in found} == expected
    assert (repeated, later) == (4_872, 3)


@pytest.mark.slow
def test_every_basket_is_an_order_with_its_own_amount(warehouse, plain):
    theirs = plain.sql(
        "select 'complete_journey:' || basket_id, 'complete_journey:' || household, lines, pounds, bought from baskets"
    ).fetchall()
    ours = warehouse.query(
        "select order_id, source_customer_key, line_count, gross_amount, ordered_at at time zone 'UTC' "
        "from marts.fct_orders join marts.dim_customer_identities using (customer_id)"
    )
    assert len(ours) == len(theirs) == 73_487
    expected = {key: (household, lines, at_) for key, household, lines, _, at_ in theirs}
    assert {key: (household, lines, at_) for key, household, lines, _, at_ in ours} == expected
    amounts = {key: pounds for key, _, _, pounds, _ in theirs}
    # Doubles that a half penny divides may fall either way: never by more than a penny, and hardly ever.
    off = [abs(pounds - amounts[key]) for key, _, _, pounds, _ in ours if abs(pounds - amounts[key]) > 1e-9]
    assert len(off) < 50
    assert max(off, default=0) < 0.0101
    [[dollars]] = warehouse.query("select sum(sales_amount)::double from intermediate.int_baskets_summarised")
    assert dollars == pytest.approx(plain.sql("select sum(sales_value) from lines").fetchall()[0][0], abs=0.005)


@pytest.mark.slow
def test_recency_frequency_and_monetary_of_every_household_agree(warehouse, plain):
    theirs = plain.sql(
        "select 'complete_journey:' || household, "
        "floor(epoch(timestamp '2017-12-02' - max(bought) filter (pounds > 0)) / 86400)::bigint, "
        "count(*) filter (pounds > 0), sum(pounds) from baskets group by household order by 1"
    ).fetchall()
    ours = warehouse.query(
        "select source_customer_key, recency_days, frequency, monetary from features.customer_features "
        "join marts.dim_customer_identities using (customer_id) order by 1"
    )
    assert len(ours) == 1_259
    assert [row[:3] for row in ours] == [row[:3] for row in theirs]
    assert [row[3] for row in ours] == pytest.approx([row[3] for row in theirs], abs=0.03)


@pytest.mark.slow
def test_every_household_is_segmented_and_nobody_can_be_written_to(warehouse):
    [[ranked]] = warehouse.query("select count(*) from marts.fct_customer_rfm")
    [[segmented]] = warehouse.query(
        "select count(distinct customer_id) from marts.dim_customer_segments where segment_kind = 'rfm'"
    )
    [[people, addresses, consenting]] = warehouse.query(
        "select count(*), count(email), count(*) filter (email_consent_status <> 'none') from marts.dim_customers"
    )
    assert (ranked, segmented, people, addresses, consenting) == (1_259, 1_259, 1_259, 0, 0)


@pytest.mark.slow
def test_receipts_and_redemptions_of_each_campaign_agree(warehouse, files):
    import duckdb

    theirs = duckdb.sql(
        f"""
        select 'complete_journey:' || campaign_id, campaign_type, start_date::date::varchar,
            (select count(*) from read_parquet('{files}/campaigns.parquet') as sent
             where sent.campaign_id = described.campaign_id),
            (select count(*) from read_parquet('{files}/coupon_redemptions.parquet') as redeemed
             where redeemed.campaign_id = described.campaign_id),
            (select count(distinct household_id) from read_parquet('{files}/coupon_redemptions.parquet') as redeemed
             where redeemed.campaign_id = described.campaign_id),
            (select count(distinct coupon_upc) from read_parquet('{files}/coupons.parquet') as coupons
             where coupons.campaign_id = described.campaign_id)
        from read_parquet('{files}/campaign_descriptions.parquet') as described
        where start_date < '2017-12-01' order by 1
        """
    ).fetchall()
    ours = warehouse.query(
        "select coupon_campaign_id, campaign_type, start_date::varchar, recipient_count, redemption_count, "
        "redeemer_count, coupon_count from marts.dim_coupon_campaigns order by 1"
    )
    assert len(ours) == 24
    assert ours == theirs
    assert sum(row[4] for row in ours) == 869
    [[received, answered]] = warehouse.query(
        "select count(*), count(*) filter (is_redeemed) from marts.fct_coupon_campaign_receipts"
    )
    assert (received, answered) == (sum(row[3] for row in ours), sum(row[5] for row in ours))


@pytest.mark.slow
def test_demographics_stand_beside_the_households_that_have_them(warehouse, files):
    import duckdb

    theirs = duckdb.sql(
        f"select age, income, household_size, kids_count, count(*) "
        f"from read_parquet('{files}/demographics.parquet') group by all order by all"
    ).fetchall()
    ours = warehouse.query(
        "select age_band, income_band, household_size_band, kids_count_band, count(*) "
        "from intermediate.int_households_described where has_demographics group by all order by all"
    )
    assert ours == theirs
    [[known, beginnings]] = warehouse.query(
        "select count(*), count(age_least + income_least + household_size_least + kids_count_least) "
        "from intermediate.int_households_described where has_demographics"
    )
    assert (known, beginnings) == (400, 400)


@pytest.mark.slow
def test_a_gallon_costs_what_it_cost_in_2017(warehouse):
    [[lines, price]] = warehouse.query(
        "select count(*), median(sales_amount / measured_quantity) from intermediate.int_basket_lines_measured "
        "where measured_unit = 'gallon'"
    )
    assert lines > 6_000
    assert 2.2 < price < 2.7


@pytest.mark.slow
def test_at_an_earlier_instant_only_what_had_happened_is_known(landed, warehouse, plain, tmp_path):
    """After the other tests: it builds another warehouse from the same landing."""
    earlier = Landing(tmp_path)
    earlier.index, earlier.sequence = landed.index, landed.sequence
    shutil.copy(landed.folder / "key", earlier.folder / "key")
    earlier.build("--select", "+fct_orders", "+dim_coupon_campaigns", *WITHOUT_TESTS, as_of=SUMMER)
    [theirs] = plain.sql(
        "select count(*), count(distinct household), sum(lines) from baskets "
        "where bought <= timestamp '2017-06-15 12:00'"
    ).fetchall()
    [ours] = earlier.query("select count(*), count(distinct customer_id), sum(line_count) from marts.fct_orders")
    assert tuple(map(int, ours)) == tuple(map(int, theirs))
    rows = earlier.query("select max(start_date)::varchar, sum(redemption_count) from marts.dim_coupon_campaigns")
    assert rows[0][0] == "2017-05-31"
    [[later]] = earlier.query(
        "select count(*) from staging.stg_complete_journey__coupon_redemptions "
        "where disposition like 'used%' and redemption_date > '2017-06-14'"
    )
    assert later == 0
