"""The whole dbt project over a small shop: every test of its own passes, and every case comes out right."""

import pytest
from landed_rows import AS_OF, WITHOUT_TESTS, Landing, at
from small_shop import land, order

FEATURES = ("--select", "tag:features_phase")
ACTIVATION = ("--select", "tag:activation_phase", "tag:operations")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    """Built in two phases, as it is in production; scores come in between."""
    landing = land(Landing(tmp_path_factory.mktemp("warehouse")))
    landing.build(*FEATURES)
    people = [row[0] for row in landing.query("select customer_id from marts.dim_customers order by 1")]
    score = {
        "model_version": "v1",
        "decile": 10,
        "run_id": "r",
        "scored_at": AS_OF,
        "as_of": AS_OF,
        "score": 1.0,
        "reasons": None,
        "details": None,
    }
    old = score | {"as_of": at("2011-05-01"), "tier": "low"}
    landing.load(
        scores__scores=[
            *(score | {"model_name": "customer_clusters", "customer_id": one, "tier": "Loyal"} for one in people),
            *(old | {"model_name": "customer_lifetime_value", "customer_id": one} for one in people),
            score | {"model_name": "customer_lifetime_value", "customer_id": people[0], "tier": "high"},
        ],
        history__sends=[
            {"campaign_id": "spring", "customer_id": people[0], "destination": "local_esp", "state": state}
            | {"accepted_at": when, "message_id": number}
            for state, when, number in [("sent", None, None), ("accepted", at("2011-06-01"), "m-1")]
        ],
        history__segment_changes=[
            {"version": "1", "customer_id": people[0], "segment_key": "lost", "change": "entered", "as_of": AS_OF}
        ],
    )
    landing.build(*ACTIVATION)
    return landing


def person(shop: Landing, key: str) -> str:
    [[found]] = shop.query(f"select customer_id from marts.dim_customer_identities where source_customer_key = '{key}'")
    return found


def profile(shop: Landing, key: str, columns: str) -> tuple:
    [row] = shop.query(f"select {columns} from marts.dim_customers where customer_id = '{person(shop, key)}'")
    return row


def test_accounts_with_the_same_normalised_email_are_one_person(shop):
    # Two accounts, and a guest's order with the address.
    assert person(shop, "shop:C1") == person(shop, "shop:C2")
    assert profile(shop, "shop:C1", "email, first_name, source_customer_count") == ("ann@example.com", "Annie", 3)


def test_people_without_a_valid_email_stay_alone(shop):
    assert len({person(shop, f"shop:C{number}") for number in (3, 4, 5)}) == 3
    assert profile(shop, "shop:C3", "email, has_invalid_email") == (None, True)


def test_a_guest_order_joins_the_person_with_its_email(shop):
    found = dict(shop.query("select order_id, customer_id from marts.fct_orders where source_system = 'shop'"))
    assert found["shop:O2"] == person(shop, "shop:C1")
    [[guest]] = shop.query("select customer_id from marts.dim_customers where email = 'guest@example.com'")
    assert found["shop:O3"] == guest
    assert found["shop:O4"] is None
    assert found["shop:O7"] == person(shop, "shop:C9")


def test_person_ids_need_the_identity_key(shop):
    import hashlib

    assert len(person(shop, "shop:C1")) == 32
    assert person(shop, "shop:C1") not in hashlib.sha256(b"shop:C1").hexdigest()


def test_the_identity_key_stands_in_no_compiled_sql(shop):
    from landed_rows import IDENTITY_KEY

    for file in (shop.folder / "target").rglob("*.sql"):
        text = file.read_text()
        assert IDENTITY_KEY.decode() not in text
        assert IDENTITY_KEY.hex().upper() not in text.upper()


def test_net_amounts_count_refunds_and_cancellations(shop):
    found = shop.query(
        "select order_id, gross_amount, refunded_amount, net_amount, is_purchase from marts.fct_orders "
        "where order_id in ('shop:O1', 'shop:O5', 'shop:O6') order by 1"
    )
    assert found == [
        ("shop:O1", 30.0, 0.0, 30.0, True),
        ("shop:O5", 50.0, 50.0, 0.0, False),
        ("shop:O6", 40.0, 15.0, 25.0, True),
    ]


def test_the_profile_adds_up(shop):
    columns = "order_count, total_spend, average_order_value, favourite_category, web_session_count"
    assert profile(shop, "shop:C1", columns) == (2, 50.0, 25.0, "Garden", 2)
    assert profile(shop, "shop:C7", "age_years") == (30,)


def test_only_what_a_person_opened_counts_as_engagement(shop):
    columns = "emails_delivered_count, emails_opened_count, emails_clicked_count, last_email_engaged_at"
    assert profile(shop, "shop:C1", columns) == (2, 1, 1, at("2011-06-08 12:00"))


def test_visits_end_after_half_an_hour_and_anonymous_events_join_the_one_person_of_the_device(shop):
    sessions = shop.query(
        "select visitor_key, event_count, customer_id is not null from intermediate.int_sessions_attributed order by"
        " visitor_key, started_at"
    )
    assert sorted((count, is_known) for _, count, is_known in sessions) == [
        (1, False),
        (1, False),
        (1, True),
        (1, True),
        (1, True),
        (3, True),
    ]


@pytest.mark.parametrize(
    ("account_id", "reason"),
    [
        ("C1", None),
        ("C3", "invalid_email"),
        ("C4", "no_email"),
        ("C5", None),  # the later opt-in lifts the unsubscribe
        ("C6", "bounced"),  # and nothing lifts a hard bounce
        ("C7", "consent_withdrawn"),  # of two simultaneous records the withdrawal counts
        ("C9", "no_consent"),
    ],
)
def test_the_gate_says_why_somebody_is_refused(shop, account_id, reason):
    [row] = shop.query(
        f"select refusal_reason, is_eligible from activation.sync_customers "
        f"where customer_id = '{person(shop, f'shop:{account_id}')}'"
    )
    assert row == (reason, reason is None)


def test_online_retail_people_are_refused_for_want_of_consent(shop):
    found = shop.query(
        "select distinct refusal_reason from activation.sync_customers as audience "
        "join marts.dim_customers using (customer_id) where source_systems = 'online_retail'"
    )
    assert found == [("no_consent",)]


def test_every_line_of_online_retail_is_classified(shop):
    found = dict(
        shop.query(
            "select disposition, row_count from marts.fct_source_reconciliation where source_name = 'online_retail'"
        )
    )
    assert found == {
        "landed": 16,
        "duplicate": 1,
        "quarantined:adjustment": 1,
        "quarantined:cancellation_adds_quantity": 1,
        "quarantined:non_positive_price": 1,
        "quarantined:non_positive_quantity": 1,
        "quarantined:not_revenue": 1,
        "quarantined:unknown_invoice_kind": 1,
        "used": 6,
        "used:cancellation": 2,
        "used:no_customer": 1,
    }


def test_other_dispositions_are_counted_too(shop):
    found = shop.query(
        "select source_name || '.' || entity_name, disposition, row_count from marts.fct_source_reconciliation "
        "where source_name <> 'online_retail' and disposition not in ('landed', 'used') order by all"
    )
    assert found == [
        ("crm.consents", "duplicate", 1),
        ("crm.consents", "quarantined:unknown_customer", 1),
        ("crm.customers", "superseded", 1),
        ("shop.order_lines", "quarantined:non_positive_quantity", 1),
        ("shop.order_lines", "quarantined:unknown_order", 1),
        ("shop.orders", "superseded", 1),
        ("shop.orders", "used:guest", 3),
        ("web.events", "duplicate", 1),
        ("web.events", "quarantined:bot", 1),
        ("web.events", "quarantined:missing_visitor", 1),
    ]


def test_a_cancellation_is_the_refund_of_the_purchase_that_it_takes_back(shop):
    found = shop.query(
        "select order_id, order_status, gross_amount, refunded_amount, net_amount, is_purchase from marts.fct_orders "
        "where order_id in ('online_retail:536365', 'online_retail:C536379') order by 1"
    )
    assert found == [
        ("online_retail:536365", "partially_refunded", 50.0, 5.0, 45.0, True),
        ("online_retail:C536379", "cancelled", 0.0, 7.0, -7.0, False),
    ]


def test_invoices_without_customer_are_kept_as_orders_of_nobody(shop):
    found = shop.query("select customer_id, is_guest, net_amount from marts.fct_orders where order_id like '%:536366'")
    assert found == [(None, True, 10.0)]


def test_london_summer_time_becomes_utc(shop):
    [[found]] = shop.query("select ordered_at from marts.fct_orders where order_id = 'online_retail:536365'")
    assert found == at("2011-06-01 11:00")


def test_a_product_is_named_by_its_most_frequent_description(shop):
    found = shop.query(
        "select product_id, product_name, name_count, is_product from marts.dim_products "
        "where product_id in ('online_retail:22423', 'online_retail:POST') order by 1"
    )
    # "THING 22423" and "THING OTHER" are equally frequent: the first in the alphabet.
    assert found == [
        ("online_retail:22423", "THING 22423", 2, True),
        ("online_retail:POST", "THING POST", 1, False),
    ]


def test_only_the_latest_whole_set_of_scores_counts(shop):
    found = shop.query(
        "select model_name, tier, count(*) from marts.fct_customer_scores group by all order by model_name"
    )
    [[people]] = shop.query("select count(*) from marts.dim_customers")
    assert found == [("customer_clusters", "Loyal", people), ("customer_lifetime_value", "high", 1)]


def test_a_send_stands_where_its_latest_export_says(shop):
    assert shop.query("select send_state, message_id from operations.fct_sends") == [("accepted", "m-1")]


def test_the_layers_of_the_orchestration_hold_every_model_once(shop):
    later_phases = ("tag:activation_phase", "tag:operations")
    layers = [
        ("resource_type:seed", "path:models/staging,tag:features_phase", "--exclude", *later_phases),
        ("path:models/intermediate,tag:features_phase",),
        ("path:models/marts,tag:features_phase",),
        ("tag:activation_phase", "tag:operations"),
    ]
    listed = [set(shop.dbt("ls", "--resource-types", "model", "seed", "--select", *layer).result) for layer in layers]
    everything = set(shop.dbt("ls", "--resource-types", "model", "seed").result)
    assert set().union(*listed) == everything
    assert sum(len(layer) for layer in listed) == len(everything)


def test_an_event_at_as_of_itself_counts(tmp_path):
    landing = Landing(tmp_path)
    landing.load(shop__orders=[order("O1", "C1", "ann@example.com", 30.0, "2011-07-01")])
    assert landing.dbt("build", *WITHOUT_TESTS, *FEATURES).success
    assert landing.query("select order_id from marts.fct_orders") == [("shop:O1",)]
