"""The profile: which record speaks for a person, where its life cycle stands, what stays unknown, who may be mailed."""

import csv
import math

import pytest
from landed_rows import PROJECT, WITHOUT_TESTS, Landing, at
from small_shop import account, consent, line, order, product, web

AS_OF = at("2011-07-01")
MODELS = (*WITHOUT_TESTS, "--select")
GERMAN = {"country_code": "DE", "time_zone": "Europe/Berlin"}


def weekly(account_id: str, count: int, last: str) -> list[dict]:
    from datetime import timedelta

    days = [at(last) - timedelta(days=7 * back) for back in range(count)]
    return [
        order(f"{account_id}-{place}", account_id, None, 20.0, "2011-01-01", ordered_at=when, updated_at=when)
        for place, when in enumerate(days)
    ]


ACCOUNTS = [
    # One person: the later account lacks most of what the earlier one says.
    account(
        "ANN1",
        "ann@example.com",
        first_name="Ann",
        last_name="Smith",
        phone="020 7946 0018",
        birth_date="1980-07-02",
        loyalty_tier="gold",
        signed_up="2010-01-01",
        updated_at=at("2011-02-01"),
    ),
    account(
        "ANN2",
        "Ann+shop@example.com",
        first_name="Annie",
        last_name=None,
        country_code=None,
        time_zone=None,
        preferences="[]",
        loyalty_tier="silver",
        signed_up="2011-03-01",
        updated_at=at("2011-05-01"),
    ),
    # Two people who state one address.
    account("DORA", "family@example.com", first_name="Dora", last_name="Black", signed_up="2010-01-01"),
    account("ERIC", "family@example.com", first_name="Eric", last_name="White", signed_up="2011-01-01"),
    account("PROSPECT", "prospect@example.com", birth_date="1990-01-01"),
    account("NEW", "new@example.com", birth_date="1970-01-01"),
    account("ACTIVE", "active@example.com", preferences='["Kitchen", "Garden"]'),
    account("AT_RISK", "at.risk@example.com"),
    account("CHURNED", "churned@example.com", signed_up="2010-01-01"),
    account("WEEKLY", "weekly@example.com"),
    account("YEARLY", "yearly@example.com", signed_up="2008-01-01"),
    account("BERLIN", "berlin@example.com", **GERMAN),
    account("GERMAN", "german@example.com", **(GERMAN | {"time_zone": None})),
    account("NOWHERE", "nowhere@example.com", country_code=None, time_zone=None, loyalty_tier=None),
    account("TORN", "torn@example.com"),
]
CONSENTS = [consent(f"K-{one['customer_id']}", one["customer_id"], "granted", "2011-01-01") for one in ACCOUNTS]
ORDERS = [
    order("NEW", "NEW", None, 10.0, "2011-06-15"),
    order("ACTIVE", "ACTIVE", None, 10.0, "2011-01-02"),  # 180 days: just not at risk
    order("AT_RISK", "AT_RISK", None, 10.0, "2011-01-01 23:59"),
    order("CHURNED", "CHURNED", None, 10.0, "2010-07-05"),
    *weekly("WEEKLY", 6, "2011-04-25"),
    *(order(f"YEARLY{year}", "YEARLY", None, 50.0, f"{year}-09-01") for year in (2008, 2009, 2010)),
    order("GUEST", None, "gwen@example.com", 10.0, "2011-06-01"),
    # What the windows of the features include.
    order("TORN1", "TORN", None, 10.0, "2011-06-01"),
    order("TORN2", "TORN", None, 20.0, "2011-06-01 00:00:00.001"),
    order("TORN3", "TORN", None, 40.0, "2011-07-01"),
    order("TORN4", "TORN", None, 80.0, "2011-06-24 00:00:01", status="cancelled"),
]
LINES = [
    line("L1", "TORN2", "P1", 2, 10.0, "2011-06-01"),
    line("L2", "TORN3", "P2", 2, 10.0, "2011-07-01"),
    line("L3", "TORN3", "P1", 1, 10.0, "2011-07-01"),
    line("L4", "TORN2", "P2", 1, 10.0, "2011-06-01"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    landing = Landing(tmp_path_factory.mktemp("profile"))
    landing.load(
        crm__customers=ACCOUNTS,
        crm__consents=CONSENTS,
        catalogue__products=[product("P1", "Garden"), product("P2", "Kitchen")],
        shop__orders=ORDERS,
        shop__order_lines=LINES,
        web__events=[
            web("E1", "device", "WEEKLY", "2011-06-20 10:00"),
            web("E2", "device", "WEEKLY", "2011-06-20 10:05"),
        ],
    )
    answer = landing.dbt("build", *MODELS, "+sync_customers", "+fct_customer_features", as_of=AS_OF)
    assert answer.success, answer.exception or [(one.node.name, one.message) for one in answer.result]
    return landing


def person(shop: Landing, key: str) -> str:
    [[found]] = shop.query(
        f"select customer_id from intermediate.int_identifiers_resolved where source_customer_key = 'shop:{key}'"
    )
    return found


def row(shop: Landing, table: str, key: str, columns: str) -> tuple:
    [found] = shop.query(f"select {columns} from {table} where customer_id = '{person(shop, key)}'")
    return found


def profile(shop: Landing, key: str, columns: str) -> tuple:
    return row(shop, "marts.dim_customers", key, columns)


def features(shop: Landing, key: str, columns: str) -> tuple:
    return row(shop, "features.customer_features", key, columns)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("first_name", "Annie"),  # the latest account says so
        ("loyalty_tier", "silver"),
        ("email", "ann+shop@example.com"),
        ("last_name", "Smith"),  # what it lacks the earlier one has
        ("phone", "+442079460018"),
        ("country_code", "GB"),
        ("time_zone", "Europe/London"),
        ("stated_preferences", "Garden"),  # an empty list states nothing
        ("age_years", 30),
        ("age_band", "25-34"),
        ("demographics_updated_at", at("2011-05-01")),
        ("source_customer_count", 2),
    ],
)
def test_each_field_is_of_the_latest_account_that_has_it(shop, column, value):
    assert person(shop, "ANN1") == person(shop, "ANN2")
    assert profile(shop, "ANN1", column) == (value,)


def test_the_profile_says_which_system_each_part_is_from(shop):
    columns = "name_source, email_source, phone_source, country_source, age_source, preferences_source, orders_source"
    assert profile(shop, "ANN1", columns) == (*["crm"] * 6, None)
    assert profile(shop, "NOWHERE", columns) == ("crm", "crm", None, None, None, "crm", None)
    [guest] = shop.query(
        f"select {columns} from marts.dim_customers where email = 'gwen@example.com' and source_systems = 'shop'"
    )
    assert guest == (None, "shop_order", None, None, None, None, "shop")


def test_stated_preferences_are_a_list_in_the_person_s_order(shop):
    assert profile(shop, "ACTIVE", "stated_preferences") == ("Kitchen,Garden",)


@pytest.mark.parametrize(
    ("key", "stage", "expected_days"),
    [
        ("PROSPECT", "prospect", None),
        ("NEW", "new", 90),
        ("ACTIVE", "active", 90),
        ("AT_RISK", "at_risk", 90),
        ("CHURNED", "churned", 90),
        ("WEEKLY", "at_risk", 30),  # 67 days are long for somebody who came every week
        ("YEARLY", "active", 180),  # 303 days are not for somebody who comes every year
    ],
)
def test_the_life_cycle_is_measured_by_the_person_s_own_interval(shop, key, stage, expected_days):
    assert profile(shop, key, "lifecycle_stage, expected_purchase_interval_days") == (stage, expected_days)


def test_the_lifetime_value_up_to_now_is_the_net_spend(shop):
    columns = "historical_lifetime_value, total_spend, spend_365_days, order_count, purchase_interval_days"
    assert profile(shop, "YEARLY", columns) == (150.0, 150.0, 50.0, 3, 365.0)


def test_each_part_says_how_fresh_it_is(shop):
    columns = "transactions_updated_at, behaviour_updated_at, engagement_updated_at, consent_updated_at"
    assert profile(shop, "WEEKLY", columns) == (at("2011-04-25"), at("2011-06-20 10:05"), None, at("2011-01-01"))


def test_an_address_is_written_to_for_its_owner_alone(shop):
    columns = "refusal_reason, is_eligible"
    assert person(shop, "DORA") != person(shop, "ERIC")
    assert row(shop, "activation.sync_customers", "DORA", columns) == (None, True)
    assert row(shop, "activation.sync_customers", "ERIC", columns) == ("shared_address", False)
    assert shop.query("select count(*) from marts.dim_customers where is_email_shared") == [(1,)]


def test_what_is_filled_in_is_the_statistic_of_those_who_are_known(shop):
    found = dict(
        shop.query(
            "select column_name || coalesce(nullif(':' || group_value, ':'), ''), replacement "
            "from intermediate.int_replacements_computed"
        )
    )
    assert found["country_code"] == "GB"
    assert found["time_zone"] == "Europe/London"
    assert found["time_zone:DE"] == "Europe/Berlin"  # Germans are not moved to London
    assert found["age_years"] == "30"  # of 21, 30 and 41
    assert found["loyalty_tier"] == "none"
    assert found["preferred_device"] == "desktop"


def test_of_equally_frequent_categories_the_first_in_the_alphabet_is_filled_in(shop):
    # TORN spent 30 in Garden and 30 in Kitchen: its own favourite is a tie as well.
    assert profile(shop, "TORN", "favourite_category") == ("Garden",)
    assert features(shop, "NEW", "favourite_category, is_favourite_category_imputed") == ("Garden", True)
    assert features(shop, "TORN", "favourite_category, is_favourite_category_imputed") == ("Garden", False)


def test_every_filled_in_value_has_its_flag_and_the_profile_keeps_the_gap(shop):
    columns = ["country_code", "time_zone", "age_years", "loyalty_tier", "favourite_category", "preferred_device"]
    for column in [*columns, "preferred_visit_hour"]:
        wrong = shop.query(
            "select count(*) from features.customer_features as features "
            "inner join marts.dim_customers as truth using (customer_id) "
            f"where features.is_{column}_imputed <> (truth.{column} is null) or features.{column} is null "
            f"or not features.is_{column}_imputed and features.{column} <> truth.{column}"
        )
        assert wrong == [(0,)], column
    assert features(shop, "NEW", "age_years, is_age_years_imputed") == (41, False)
    assert features(shop, "ACTIVE", "age_years, is_age_years_imputed") == (30, True)


def test_what_decides_about_sending_is_never_filled_in(shop):
    row_of_nowhere = row(shop, "activation.sync_customers", "NOWHERE", "country_code, time_zone, loyalty_tier")
    assert row_of_nowhere == (None, None, None)
    imputed = {name for [name] in shop.query("select distinct column_name from intermediate.int_replacements_computed")}
    assert not {name for name in imputed if "email" in name or "consent" in name or "phone" in name}


def test_a_window_ends_with_as_of_and_leaves_out_its_own_first_instant(shop):
    columns = "orders_7d, orders_30d, orders_90d, spend_7d, spend_30d, recency_days, frequency"
    # TORN1 is 30 days old to the instant, TORN3 happens at as_of, TORN4 is cancelled.
    assert features(shop, "TORN", columns) == (1, 2, 3, 40.0, 60.0, 0, 3)


def test_shares_and_entropy_of_categories(shop):
    share, entropy, distinct = features(shop, "TORN", "favourite_category_share, category_entropy, distinct_categories")
    assert (share, distinct) == (0.5, 2)
    assert entropy == pytest.approx(math.log(2), abs=1e-6)
    assert features(shop, "NEW", "favourite_category_share, category_entropy, distinct_categories") == (None,) * 3


def test_the_month_a_year_ago_is_known_of_those_alone_who_were_known_then(shop):
    assert features(shop, "CHURNED", "orders_month_year_ago, spend_month_year_ago") == (1, 10.0)
    assert features(shop, "YEARLY", "orders_month_year_ago, spend_month_year_ago") == (0, 0.0)
    assert features(shop, "NEW", "orders_month_year_ago, spend_month_year_ago") == (None, None)


def test_a_misspelt_statistic_is_refused_with_the_column_that_has_it(shop):
    answer = shop.dbt(
        "run",
        "--select",
        "int_replacements_computed",
        as_of=AS_OF,
        variables={"imputed_columns": {"age_years": {"statistic": "medain"}}},
    )
    assert not answer.success
    messages = " ".join(str(one.message) for one in answer.result or []) + str(answer.exception)
    assert "statistic of age_years, found medain" in messages


def test_the_project_s_own_tests_of_the_profile_pass(shop):
    chosen = ["dim_customers", "sync_customers", "fct_customer_features", "int_customers_merged"]
    chosen += ["int_customers_profiled", "int_replacements_computed", "int_orders_summarised"]
    answer = shop.dbt("test", "--exclude-resource-type", "unit_test", "--select", *chosen, as_of=AS_OF)
    broken = [(one.node.name, one.message) for one in answer.result if one.status not in ("pass", "no-op")]
    assert broken == []
    assert "assert_an_address_is_sent_to_one_person" in {one.node.name for one in answer.result}


@pytest.fixture(scope="module")
def codes() -> dict[tuple[int, int, int], dict[str, str]]:
    """The seed: recency, frequency and monetary score → its row."""
    with (PROJECT / "seeds" / "rfm_segments.csv").open() as file:
        return {tuple(map(int, one["rfm_code"])): one for one in csv.DictReader(file)}


def test_every_rfm_code_has_one_of_the_eleven_segments_and_each_of_them_one_action(codes):
    scores = range(1, 6)
    assert set(codes) == {(r, f, m) for r in scores for f in scores for m in scores}
    assert {one["segment_name"] for one in codes.values()} == {
        *("Champions", "Loyal Customers", "Potential Loyalists", "New Customers", "Promising", "Need Attention"),
        *("About To Sleep", "At Risk", "Can't Lose Them", "Hibernating", "Lost"),
    }
    actions = {(one["segment_key"], one["segment_name"], one["suggested_action"]) for one in codes.values()}
    assert len(actions) == 11


@pytest.mark.parametrize(
    ("axis", "order"),
    [
        # At the same recency, more purchases or more money never lead to a worse segment.
        (
            "value",
            {
                **{"lost": 0, "hibernating": 1, "new_customers": 1, "promising": 1, "about_to_sleep": 2},
                **{"potential_loyalists": 3, "need_attention": 3, "at_risk": 3},
                **{"loyal_customers": 4, "cant_lose_them": 4, "champions": 5},
            },
        ),
        # At the same value, a later purchase never does.
        (
            "recency",
            {
                **{"lost": 0, "cant_lose_them": 0, "hibernating": 1, "at_risk": 1},
                **{"about_to_sleep": 2, "need_attention": 2, "promising": 2, "loyal_customers": 2},
                **{"potential_loyalists": 3, "new_customers": 3, "champions": 3},
            },
        ),
    ],
)
def test_a_better_rfm_score_never_leads_to_a_worse_segment(codes, axis, order):
    standing = {code: order[one["segment_key"]] for code, one in codes.items()}
    steps = [(1, 0, 0)] if axis == "recency" else [(0, 1, 0), (0, 0, 1)]
    for code, rank in standing.items():
        for step in steps:
            better = tuple(score + more for score, more in zip(code, step, strict=True))
            assert standing.get(better, rank) >= rank, (code, better)
