"""What ESPs tell of their mail becomes engagement and consent of the right person, whichever of them it was."""

from datetime import timedelta

import pytest
from landed_rows import AS_OF, WITHOUT_TESTS, Landing, at
from small_shop import account, consent, mail

ESPS = ("klaviyo", "mailchimp", "hubspot", "braze")
PEOPLE = ("ann", "bob", "cid", "dan", "eve", "fay")
MODELS = (
    *("--select", "+fct_email_messages", "+int_email_engagement_summarised", "+dim_suppressions"),
    *("+dim_customer_consents", "+fct_consent_changes", "+fct_source_reconciliation", "+fct_quarantined_rows"),
    *("--indirect-selection", "cautious"),
)
UNTESTED = (*MODELS, *WITHOUT_TESTS)


def event(number: str, who: str, kind: str, when: str, **more) -> dict:
    """What an ESP tells that knows the address alone."""
    return mail(number, f"to-{who}", None, kind, when, email=f"{who}@example.com", **more)


def person(landing: Landing, who: str) -> str:
    [[found]] = landing.query(
        f"select customer_id from intermediate.int_identifiers_resolved where source_customer_key = 'shop:{who}'"
    )
    return found


def suppressions(landing: Landing) -> dict[str, str]:
    """Who is suppressed and why, by account."""
    names = {person(landing, who): who for who in PEOPLE}
    found = landing.query(
        "select customer_id, suppression_reason from marts.dim_suppressions where customer_id is not null"
    )
    return {names[customer_id]: reason for customer_id, reason in found}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    """Two builds: the accounts alone, for whom no ESP has landed anything; then all that the ESPs tell."""
    landing = Landing(tmp_path_factory.mktemp("esp_events"))
    landing.load(
        crm__customers=[account(who, f"{who}@example.com") for who in PEOPLE],
        crm__consents=[consent(f"c-{who}", who, "granted", "2011-01-01") for who in PEOPLE],
    )
    landing.build(*UNTESTED)
    assert landing.query("select count(*) from intermediate.int_email_events_unified") == [(0,)]
    ann = person(landing, "ann")
    opened = event("K2", "ann", "open", "2011-06-21 10:00", customer_id=ann)
    landing.load(
        klaviyo__events=[
            event("K1", "ann", "delivered", "2011-06-21 09:00", customer_id=ann),
            opened,
            event("K3", "ann", "open", "2011-06-21 09:00:01", customer_id=ann, is_machine_open=True),
            event("K4", "ann", "Forwarded Email", "2011-06-21 11:00", customer_id=ann),
            event("K5", "ann", "open", "2011-07-02"),
            # the external id of another system: the address tells
            event("K6", "fay", "click", "2011-06-22", customer_id="crm-0815", url="https://shop.example.com/"),
        ],
        mailchimp__events=[
            event("M1", "bob", "delivered", "2011-06-22 09:00"),
            event("M2", "bob", "unsubscribe", "2011-06-22 10:00"),
        ],
        hubspot__events=[
            event("H1", "cid", "complaint", "2011-06-23"),
            event("H2", "ann", "bounce", "2011-06-23", bounce_type="soft"),
        ],
        braze__events=[
            event("B1", "dan", "bounce", "2011-06-24", bounce_type="hard", campaign_id=None),
            event("B2", "eve", "unsubscribe", "2011-06-24", campaign_id=None),
        ],
    )
    # read again in the overlap of another extraction, and told once more under another id
    landing.load(klaviyo__events=[opened, opened | {"event_id": "K7"}])
    landing.build(*MODELS)
    return landing


def test_an_esp_s_mail_is_engagement_of_the_person_that_it_names_or_whose_address_it_is(shop):
    found = shop.query(
        "select email_message_id, customer_id, is_delivered, open_count, machine_open_count, is_clicked "
        "from marts.fct_email_messages where source_system in ('klaviyo', 'mailchimp') order by 1"
    )
    assert found == [
        ("klaviyo:to-ann", person(shop, "ann"), True, 1, 1, False),
        ("klaviyo:to-fay", person(shop, "fay"), False, 0, 0, True),
        ("mailchimp:to-bob", person(shop, "bob"), True, 0, 0, False),
    ]
    who = person(shop, "ann")
    columns = "emails_delivered_count, emails_opened_count, last_email_opened_at"
    [counts] = shop.query(
        f"select {columns} from intermediate.int_email_engagement_summarised where customer_id = '{who}'"
    )
    assert counts == (1, 1, at("2011-06-21 10:00"))


def test_who_leaves_complains_or_is_gone_at_an_esp_gets_no_mail_from_anybody(shop):
    assert suppressions(shop) == {"bob": "unsubscribed", "cid": "complained", "dan": "bounced", "eve": "unsubscribed"}
    sendable = shop.query("select customer_id from marts.dim_customer_consents where channel = 'email' and is_sendable")
    assert {one for (one,) in sendable} == {person(shop, "ann"), person(shop, "fay")}
    told = shop.query(
        "select decision_source, decision from marts.fct_consent_changes where decision_source <> 'sign_up_form' "
        "order by all"
    )
    assert told == [
        ("braze", "bounced"),
        ("braze", "unsubscribed"),
        ("hubspot", "complained"),
        ("mailchimp", "unsubscribed"),
    ]


def test_a_later_opt_in_lifts_an_unsubscribe_at_an_esp_as_any_other(shop, tmp_path):
    landing = Landing(tmp_path)
    landing.load(
        crm__customers=[account(who, f"{who}@example.com") for who in PEOPLE],
        crm__consents=[
            consent("c-1", "bob", "granted", "2011-01-01"),
            consent("c-2", "bob", "granted", "2011-06-25", source="preference_centre"),
        ],
        mailchimp__events=[event("M2", "bob", "unsubscribe", "2011-06-22 10:00")],
    )
    landing.build(*UNTESTED)
    assert suppressions(landing) == {}


def test_a_kind_that_nobody_knows_is_quarantined_by_name_and_counted(shop):
    assert shop.query("select source_name, row_key, reason from marts.fct_quarantined_rows") == [
        ("klaviyo", "K4", "unknown_type")
    ]
    counts = shop.query(
        "select source_name, disposition, sum(row_count) from marts.fct_source_reconciliation "
        f"where source_name in {ESPS} group by all order by all"
    )
    assert counts == [
        ("braze", "landed", 2),
        ("braze", "used", 2),
        ("hubspot", "landed", 2),
        ("hubspot", "used", 2),
        ("klaviyo", "after_as_of", 1),
        ("klaviyo", "duplicate", 2),
        ("klaviyo", "landed", 8),
        ("klaviyo", "quarantined:unknown_type", 1),
        ("klaviyo", "used", 4),
        ("mailchimp", "landed", 2),
        ("mailchimp", "used", 2),
    ]


@pytest.mark.slow
def test_what_an_esp_tells_late_is_added_as_if_it_had_been_there(tmp_path):
    """Two ESPs whose loads come in turns: what a full build of all of them gives, however the loads were cut."""
    marts = ("fct_email_messages", "dim_suppressions", "fct_consent_changes")
    accounts = {"crm__customers": [account(who, f"{who}@example.com") for who in PEOPLE]}
    steps = [
        {"klaviyo__events": [event("K2", "ann", "open", "2011-06-21")]},
        {"hubspot__events": [event("H1", "ann", "click", "2011-06-28", url="https://shop.example.com/a")]},
        {"klaviyo__events": [event("K1", "ann", "delivered", "2011-06-20")]},
        {"hubspot__events": [event("H2", "ann", "unsubscribe", "2011-06-27")], "braze__events": []},
    ]
    grown, whole = Landing(tmp_path / "grown"), Landing(tmp_path / "whole")
    for landing in (grown, whole):
        landing.load(**accounts)
    for number, step in enumerate(steps):
        grown.load(**step)
        whole.load(**step)
        grown.build(*UNTESTED, as_of=AS_OF - timedelta(days=len(steps) - number - 1))
    whole.build(*UNTESTED)
    for mart in marts:
        query = f"select * from marts.{mart} order by all"
        assert grown.query(query) == whole.query(query)
    assert len(whole.query("select * from marts.fct_email_messages")) == 2
