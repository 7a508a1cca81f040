"""What vendors told by webhook becomes engagement and consent of the right person, and counts once."""

from datetime import timedelta

import pytest
from landed_rows import AS_OF, WITHOUT_TESTS, Landing, at
from small_shop import account, consent, mail

pytestmark = pytest.mark.slow

MODELS = (
    *("--select", "+fct_email_messages", "+fct_email_customer_days", "+dim_suppressions", "+dim_customer_consents"),
    *("+fct_consent_changes", "+fct_source_reconciliation", "+fct_quarantined_rows"),
    *WITHOUT_TESTS,
)
PEOPLE = ("ann", "bob", "cid", "dan")


def told(number: str, message: str, who: str | None, kind: str, when: str, by: str = "local_esp", **more) -> dict:
    """An event by webhook that names the address alone."""
    address = {"email": f"{who}@example.com" if who else None}
    return mail(number, message, None, kind, when, destination=by, **{**address, **more})


def person(landing: Landing, who: str) -> str:
    [[found]] = landing.query(
        f"select customer_id from intermediate.int_identifiers_resolved where source_customer_key = 'shop:{who}'"
    )
    return found


def message(landing: Landing, email_message_id: str, columns: str) -> tuple:
    [found] = landing.query(
        f"select {columns} from marts.fct_email_messages where email_message_id = '{email_message_id}'"
    )
    return found


def shop(folder) -> Landing:
    landing = Landing(folder)
    landing.load(
        crm__customers=[account(who, f"{who}@example.com") for who in PEOPLE],
        crm__consents=[consent(f"c-{who}", who, "granted", "2011-01-01") for who in PEOPLE],
    )
    return landing


FIRST = [
    told("W1", "letter:1", "ann", "delivered", "2011-06-20 09:00"),
    told("W2", "letter:1", "ann", "open", "2011-06-20 10:00"),
    told("W3", "letter:1", "ann", "click", "2011-06-20 10:05", url="https://shop.example.com/"),
    told("W1", "letter:2", "bob", "delivered", "2011-06-21 09:00", by="klaviyo"),
    told("W4", "letter:2", "bob", "unsubscribe", "2011-06-21 10:00", by="klaviyo"),
    told("W5", "W5", "cid", "bounce", "2011-06-22", by="mailchimp", bounce_type="hard"),
    told("W6", "W6", "dan", "complaint", "2011-07-02", by="mailchimp"),
]
PULLED = [
    {name: value for name, value in one.items() if name != "destination"}
    for one in FIRST
    if one["destination"] == "local_esp"
]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Landing:
    """The webhooks come first; a later load of the ESP's own API tells the same and one event more."""
    landing = shop(tmp_path_factory.mktemp("webhooks"))
    landing.build(*MODELS)
    landing.load(webhooks__events=FIRST)
    landing.build(*MODELS)
    assert message(landing, "local_esp:letter:1", "open_count, click_count") == (1, 1)
    more = told("W9", "letter:1", "ann", "open", "2011-06-20 12:00")
    landing.load(
        local_esp__events=[*PULLED, {name: value for name, value in more.items() if name != "destination"}],
        webhooks__events=[FIRST[1], FIRST[1] | {"received_at": at("2011-06-25")}],
    )
    landing.build(*MODELS)
    return landing


def test_an_event_that_was_told_and_pulled_counts_once(both):
    found = message(both, "local_esp:letter:1", "customer_id, open_count, click_count, is_delivered")
    assert found == (person(both, "ann"), 2, 1, True)
    repeated = both.query("select source_system, event_id from intermediate.int_webhook_events_repeated order by all")
    assert repeated == [("local_esp", "W1"), ("local_esp", "W2"), ("local_esp", "W3")]
    ids = both.query("select source_system, event_id from intermediate.int_email_events_unified order by all")
    assert ids == [
        ("klaviyo", "W1"),
        ("klaviyo", "W4"),
        *(("local_esp", f"W{number}") for number in (1, 2, 3, 9)),
        ("mailchimp", "W5"),
    ]


def test_two_vendors_may_use_one_id_for_different_events(both):
    found = both.query(
        "select destination, disposition from staging.stg_webhooks__events where event_id = 'W1' order by 1"
    )
    assert found == [("klaviyo", "used"), ("local_esp", "used")]
    assert message(both, "klaviyo:letter:2", "customer_id, is_delivered") == (person(both, "bob"), True)


def test_an_event_that_a_vendor_told_again_later_is_a_duplicate(both):
    found = both.query(
        "select _load_sequence, disposition from staging.stg_webhooks__events where event_id = 'W2' order by all"
    )
    assert found == [(2, "used"), (3, "duplicate"), (3, "duplicate")]


def test_whoever_unsubscribed_or_bounced_by_webhook_is_suppressed(both):
    found = dict(
        both.query("select customer_id, suppression_reason from marts.dim_suppressions where customer_id is not null")
    )
    assert found == {person(both, "bob"): "unsubscribed", person(both, "cid"): "bounced"}
    [[source]] = both.query(
        f"select decision_source from marts.fct_consent_changes where customer_id = '{person(both, 'bob')}' "
        "and decision = 'unsubscribed'"
    )
    assert source == "klaviyo"


def test_every_landed_event_has_a_fate(both):
    query = "select disposition, row_count from marts.fct_source_reconciliation where source_name = 'webhooks'"
    found = dict(both.query(query))
    assert found == {"landed": 9, "used": 6, "duplicate": 2, "after_as_of": 1}


def test_built_step_by_step_and_at_once_the_tables_are_the_same(both, tmp_path):
    whole = shop(tmp_path)
    whole.load(webhooks__events=FIRST)
    more = told("W9", "letter:1", "ann", "open", "2011-06-20 12:00")
    whole.load(
        local_esp__events=[*PULLED, {name: value for name, value in more.items() if name != "destination"}],
        webhooks__events=[FIRST[1], FIRST[1] | {"received_at": at("2011-06-25")}],
    )
    whole.build(*MODELS)
    for table in ("marts.fct_email_messages", "marts.fct_email_customer_days", "marts.fct_consent_changes"):
        query = f"select * from {table} order by all"
        assert whole.query(query) == both.query(query), table


def test_what_had_not_happened_yet_counts_once_it_has(both):
    both.build(*MODELS, as_of=AS_OF + timedelta(days=2))
    found = dict(
        both.query("select customer_id, suppression_reason from marts.dim_suppressions where customer_id is not null")
    )
    assert found[person(both, "dan")] == "complained"
