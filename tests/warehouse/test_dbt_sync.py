"""sync_customers: what an e-mail tool shall know of a person, with and without scores, and the same again tomorrow."""

from datetime import date, datetime, timedelta

import pytest
from landed_rows import AS_OF, WITHOUT_TESTS, Landing, at
from small_scores import items, score, send_time
from small_shop import account, consent, order, product, web

from ml.models.uplift import DO_NOT_MAIL, MAIL

ACTIVATION = ("--select", "tag:activation_phase", "tag:operations")
PREDICTED = (
    "cluster, clv_tier, clv_decile, purchase_propensity_tier, churn_propensity_tier, click_propensity_tier, "
    "is_uplift_target, subject_line_style, best_send_weekday, best_send_hour, predicted_interests, "
    "recommendation_kind, recommended_product_ids, recommended_product_names"
)
TIERED = {
    "customer_clusters": "Loyal",
    "customer_lifetime_value": "high",
    "purchase_propensity": "medium",
    "churn_propensity": "low",
    "click_propensity": "high",
    "uplift": MAIL,
}


def scored(people: dict[str, str], as_of: datetime = AS_OF, number: float = 0.5, drawn_hour: int = 7) -> dict:
    """Scores and items of ADA and BOB at an instant; CAM and DAN have none."""
    ada, bob = people["ADA"], people["BOB"]
    rows = [
        *(score(model, ada, tier, number) for model, tier in TIERED.items()),
        score("recommendations", ada, "buy again", number),
        score("subject_lines", ada, "personal", number, style="question", lift=number),
        score("send_time", ada, "personal", number, **send_time(1, 19, 11, drawn_hour)),
        score("uplift", bob, DO_NOT_MAIL, number),
        score("recommendations", bob, "none", number),
        score("send_time", bob, "everyone", number, **send_time(5, 19, 11, drawn_hour)),
        score("profile_imputation", bob, "imputed", number, age_years=41.0),
    ]
    ranked = [
        *items("category_affinity", ada, ["Kitchen", "Food, Drink", "Art", "Garden", "Books"]),
        *items("recommendations", ada, ["shop:P3", "shop:P1", "shop:P9", "shop:P,4", "shop:P2", "shop:P5"]),
        *items("category_affinity", bob, ["Garden"]),
        *items("recommendations", "(anonymous)", ["shop:P1"]),
    ]
    return {
        "scores__scores": [row | {"as_of": as_of, "scored_at": as_of} for row in rows],
        "scores__items": [row | {"as_of": as_of} for row in ranked],
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    """Four people without any score: the first run."""
    landing = Landing(tmp_path_factory.mktemp("sync"))
    landing.load(
        crm__customers=[
            account("ADA", "ada@example.com", last_name="Byron", phone="+44 20 7946 0018", birth_date="1980-12-10",
                    preferences='["Kitchen", "Food, Drink"]'),
            account("BOB", "bob@example.com"),
            account("CAM", "cam@example.com", last_name=None, preferences="[]", country_code=None, time_zone=None),
            account("DAN", "dan@example.com"),
        ],
        crm__consents=[
            consent("K1", "ADA", "granted", "2011-01-01 09:30"),
            consent("K2", "BOB", "granted", "2011-01-01"),
            consent("K3", "BOB", "withdrawn", "2011-05-05 08:00", "unsubscribe_link"),
            consent("K4", "DAN", "granted", "2011-02-01"),
        ],
        catalogue__products=[
            product("P1", "Garden") | {"name": "Mug, blue,large"},
            *(product(f"P{number}", "Kitchen") for number in (2, 3, 5)),
        ],
        shop__orders=[
            order("O1", "ADA", None, 150.0, "2011-03-01 12:00"),
            order("O2", "ADA", None, 150.0, "2011-06-20 23:59"),
            order("O3", "DAN", None, 10.0, "2011-06-25"),
        ],
        web__events=[web("E1", "device", "ADA", "2011-06-25 10:00", "Product Viewed")],
    )  # fmt: skip
    landing.build(*WITHOUT_TESTS)
    return landing


@pytest.fixture(scope="module")
def people(shop) -> dict[str, str]:
    found = shop.query("select email, customer_id from marts.dim_customers")
    return {email.partition("@")[0].upper(): customer_id for email, customer_id in found}


@pytest.fixture(scope="module")
def before(shop) -> list[tuple]:
    return audience(shop)


@pytest.fixture(scope="module")
def scored_shop(shop, people, before) -> Landing:
    """The same shop once the models have spoken, with every test of the activation phase over it."""
    shop.load(**scored(people))
    shop.build(*ACTIVATION)
    return shop


def audience(shop: Landing) -> list[tuple]:
    return shop.query("select * exclude (as_of) from activation.sync_customers order by customer_id")


def row(shop: Landing, customer_id: str, columns: str) -> tuple:
    [found] = shop.query(f"select {columns} from activation.sync_customers where customer_id = '{customer_id}'")
    return found


def test_without_any_score_everybody_is_there_and_nothing_is_predicted(before, scored_shop, people):
    assert len(before) == 4
    assert row(scored_shop, people["DAN"], PREDICTED) == (None,) * 14
    assert [one for one in audience(scored_shop) if one[0] == people["DAN"]] == [
        one for one in before if one[0] == people["DAN"]
    ]


def test_a_scored_person_has_the_tier_of_every_model_and_no_score(scored_shop, people):
    columns = (
        "cluster, clv_tier, clv_decile, purchase_propensity_tier, churn_propensity_tier, click_propensity_tier, "
        "is_uplift_target, subject_line_style, recommendation_kind"
    )
    expected = ("Loyal", "high", 10, "medium", "low", "high", True, "question", "buy again")
    assert row(scored_shop, people["ADA"], columns) == expected
    types = scored_shop.query(
        "select distinct data_type from information_schema.columns where table_name = 'sync_customers'"
    )
    assert ("DOUBLE",) not in types


def test_interests_and_recommendations_stand_in_the_order_of_their_ranks(scored_shop, people):
    columns = "predicted_interests, recommended_product_ids, recommended_product_names"
    assert row(scored_shop, people["ADA"], columns) == (
        "Kitchen,Food Drink,Art",
        "shop:P3,shop:P1,shop:P9,shop:P2",  # of the first five the one with a comma in its id is left out
        "Product P3,Mug blue large,shop:P9,Product P2",
    )
    assert row(scored_shop, people["BOB"], f"{columns}, recommendation_kind") == ("Garden", None, None, None)


def test_the_best_hour_is_that_of_the_weekday_whatever_was_drawn_by_lot(scored_shop, people):
    columns = "best_send_weekday, best_send_hour"
    assert row(scored_shop, people["ADA"], columns) == (1, 19)
    assert row(scored_shop, people["BOB"], columns) == (5, 11)


def test_whom_the_model_would_not_mail_is_told_from_whom_it_does_not_know(scored_shop, people):
    found = [row(scored_shop, people[name], "is_uplift_target") for name in ("ADA", "BOB", "CAM")]
    assert found == [(True,), (False,), (None,)]


def test_behaviour_tags_are_the_segments_of_rules_in_alphabetical_order(scored_shop, people):
    segments, tags, key, name = row(
        scored_shop, people["ADA"], "segments, behaviour_tags, rfm_segment_key, rfm_segment"
    )
    assert tags == "big_baskets,engagement_low,high_value,recent_browsers,recent_purchasers"
    assert segments.split(",") == sorted([*tags.split(","), key])
    assert name.lower().replace(" ", "_") == key
    assert row(scored_shop, people["CAM"], "segments, behaviour_tags, rfm_segment_key") == (
        "engagement_inactive",
        "engagement_inactive",
        None,
    )


def test_the_profile_leaves_as_it_stands_and_gaps_stay_gaps(scored_shop, people):
    columns = "last_name, phone, country_code, age_band, preferred_device, lifecycle_stage, stated_preferences"
    ada = ("Byron", "+442079460018", "GB", "25-34", "desktop", "active", "Kitchen,Food Drink")
    assert row(scored_shop, people["ADA"], columns) == ada
    assert row(scored_shop, people["CAM"], columns) == (None, None, None, None, None, "prospect", None)


def test_orders_are_told_by_day_and_a_consent_by_its_instant(scored_shop, people):
    columns = "first_order_date, last_order_date, email_consent_status, consent_changed_at"
    days = (date(2011, 3, 1), date(2011, 6, 20))
    assert row(scored_shop, people["ADA"], columns) == (*days, "granted", at("2011-01-01 09:30"))
    assert row(scored_shop, people["BOB"], columns) == (None, None, "withdrawn", at("2011-05-05 08:00"))
    assert row(scored_shop, people["CAM"], columns) == (None, None, "none", None)


def test_a_scoring_that_says_the_same_in_words_changes_nobody(scored_shop, people):
    rows = audience(scored_shop)
    scored_shop.build(*ACTIVATION, *WITHOUT_TESTS)
    assert audience(scored_shop) == rows
    later = AS_OF + timedelta(hours=6)
    scored_shop.load(**scored(people, later, number=0.4, drawn_hour=3))
    scored_shop.build(*WITHOUT_TESTS, as_of=later)
    assert audience(scored_shop) == rows
    [[scored_at]] = scored_shop.query("select max(as_of) from marts.fct_customer_scores")
    assert scored_at == later
