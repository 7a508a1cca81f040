"""What each vendor tells, in the words of every other e-mail source."""

import json
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webhook_vendors import (
    HOUR_AGO,
    hubspot,
    hubspot_change,
    klaviyo,
    klaviyo_event,
    mailchimp,
    mailchimp_form,
    salesforce,
    salesforce_event,
)

from letterpress.activation.webhooks.spec import Reading, Unreadable
from letterpress.activation.webhooks.vendors import VENDORS
from letterpress.sources import klaviyo as pull


def read(vendor: str, request) -> Reading:
    return VENDORS[vendor].read(request.body, request.headers)


@pytest.mark.parametrize(
    ("topic", "kind", "suppression"),
    [
        ("received_email", "delivered", None),
        ("opened_email", "open", None),
        ("clicked_email", "click", None),
        ("bounced_email", "bounce", None),
        ("marked_email_as_spam", "complaint", "complained"),
        ("unsubscribed_from_email_marketing", "unsubscribe", "unsubscribed"),
    ],
)
def test_klaviyos_topics_are_our_kinds_of_events(topic, kind, suppression):
    [event] = read("klaviyo", klaviyo(klaviyo_event(1, topic))).events
    assert (event.event_type, event.suppression) == (kind, suppression)
    assert (event.event_id, event.message_id, event.campaign_id) == (
        "4vRp1",
        "1309514400:01HXCAMPAIGN:01PROFILE1",
        "01HXCAMPAIGN",
    )
    assert (event.email, event.subject, event.vendor_id) == ("person1@example.com", "Spring is here", "01PROFILE1")
    assert event.occurred_at == HOUR_AGO


@pytest.mark.parametrize(
    ("topic", "metric"),
    [
        ("received_email", "Received Email"),
        ("opened_email", "Opened Email"),
        ("clicked_email", "Clicked Email"),
        ("bounced_email", "Bounced Email"),
        ("marked_email_as_spam", "Marked Email as Spam"),
        ("unsubscribed_from_email_marketing", "Unsubscribed from Email Marketing"),
    ],
)
def test_what_klaviyo_tells_by_webhook_is_named_as_what_its_api_gives(topic, metric):
    about = {"Bounce Type": "Hard", "URL": "https://shop.example.com/", "machine_open": True}
    told = klaviyo_event(1, topic, **about)
    profiles = {"01PROFILE1": {"email": "person1@example.com", "external_id": None}}
    [pulled] = pull.rows_of(told["payload"]["data"], metric=metric, profiles=profiles)
    [event] = read("klaviyo", klaviyo(told)).events
    for name in ("event_id", "event_type", "message_id", "campaign_id", "campaign_name", "subject", "email"):
        assert getattr(event, name) == pulled[name], name
    assert event.is_machine_open is pulled["is_machine_open"] is True
    assert event.occurred_at.isoformat() == pulled["occurred_at"]


def test_a_message_of_klaviyo_without_a_send_is_named_by_what_was_sent():
    [event] = read("klaviyo", klaviyo(klaviyo_event(1, **{"$_cohort$message_send_cohort": None}))).events
    assert event.message_id == "01HXCAMPAIGN:01PROFILE1"


def test_klaviyo_says_what_a_machine_opened_and_what_bounced_for_good():
    told = [
        klaviyo_event(1, "opened_email", **{"Apple Privacy Open": True}),
        klaviyo_event(2, "opened_email", machine_open=False),
        klaviyo_event(3, "clicked_email", **{"Bot Click": True, "URL": "https://shop.example.com/"}),
        klaviyo_event(4, "bounced_email", **{"Bounce Type": "Hard"}),
        klaviyo_event(5, "bounced_email", **{"Bounce Type": "Soft"}),
    ]
    events = read("klaviyo", klaviyo(*told)).events
    assert [event.is_machine_open for event in events] == [True, False, True, False, False]
    assert [event.url for event in events] == [None, None, "https://shop.example.com/", None, None]
    assert [event.suppression for event in events] == [None, None, None, "bounced", None]


def test_what_is_about_no_mail_or_has_no_time_is_counted_and_the_rest_is_read():
    nameless = klaviyo_event(4)
    del nameless["external_id"], nameless["payload"]["data"]["id"]
    timeless = klaviyo_event(3)
    timeless["payload"]["data"]["attributes"] = {}
    found = read("klaviyo", klaviyo(klaviyo_event(1), klaviyo_event(2, "sent_sms"), timeless, nameless))
    assert (len(found.events), found.other, found.broken) == (1, 1, 2)


def test_hubspot_tells_of_opt_outs_and_hard_bounces_by_its_own_name_for_the_person():
    told = [
        hubspot_change(1),
        hubspot_change(2, "hs_email_hard_bounce_reason_enum", "UNKNOWN_USER"),
        hubspot_change(3, "hs_email_optout", "false"),
        hubspot_change(4, "hs_email_hard_bounce_reason_enum", ""),
        hubspot_change(5, "firstname", "Ada"),
        hubspot_change(6, subscriptionType="contact.creation"),
        hubspot_change(7, subscriptionType="object.propertyChange", objectTypeId="0-1"),
        hubspot_change(8, subscriptionType="object.propertyChange", objectTypeId="0-2"),
    ]
    found = read("hubspot", hubspot(*told))
    assert [(event.vendor_id, event.suppression) for event in found.events] == [
        ("1001", "unsubscribed"),
        ("1002", "bounced"),
        ("1007", "unsubscribed"),
    ]
    assert (found.other, found.broken) == (5, 0)
    assert {event.message_id for event in found.events} == {None}


def test_a_change_that_hubspot_tells_at_another_attempt_is_the_same_event():
    [first] = read("hubspot", hubspot(hubspot_change(1))).events
    [second] = read("hubspot", hubspot(hubspot_change(1, attemptNumber=3))).events
    [other] = read("hubspot", hubspot(hubspot_change(1, at=HOUR_AGO + timedelta(seconds=1)))).events
    assert first.event_id == second.event_id != other.event_id


def test_salesforces_events_of_a_message_share_its_name_and_differ_in_what_they_are():
    told = [
        salesforce_event(1, "TransactionalSendEvents.EmailSent", renderedSubject="Spring is here"),
        salesforce_event(1, "TransactionalSendEvents.EmailBounced", bounceCode="HARD"),
        salesforce_event(1, "EngagementEvents.EmailOpen"),
        salesforce_event(1, "EngagementEvents.EmailClick", contentLink="https://shop.example.com/"),
        salesforce_event(1, "EngagementEvents.EmailUnsubscribe"),
        salesforce_event(1, "TransactionalSendEvents.SmsSent"),
    ]
    found = read("salesforce", salesforce(*told))
    assert [event.event_type for event in found.events] == ["sent", "bounce", "open", "click", "unsubscribe"]
    assert [event.suppression for event in found.events] == [None, "bounced", None, None, "unsubscribed"]
    assert {event.message_id for event in found.events} == {"2001071.44609.4119.1"}
    assert {event.customer_id for event in found.events} == {"customer-00001"}
    assert len({event.told for event in found.events}) == 5
    assert found.other == 1


def test_a_single_event_of_salesforce_needs_no_list():
    request = salesforce(salesforce_event(1))
    [event] = VENDORS["salesforce"].read(request.body[1:-1], {}).events
    assert event.occurred_at == HOUR_AGO


@pytest.mark.parametrize(
    ("kind", "data", "suppression"),
    [
        ("unsubscribe", {}, "unsubscribed"),
        ("unsubscribe", {"reason": "abuse"}, "complained"),
        ("unsubscribe", {"action": "delete"}, None),
        ("cleaned", {"reason": "hard"}, "bounced"),
        ("cleaned", {"reason": "abuse"}, "complained"),
        ("subscribe", {}, None),
        ("profile", {}, None),
        ("campaign", {"status": "sent"}, None),
    ],
)
def test_mailchimps_forms_say_who_wants_no_more_mail_and_why(kind, data, suppression):
    found = read("mailchimp", mailchimp(mailchimp_form(1, kind, **data)))
    assert [event.suppression for event in found.events] == ([suppression] if suppression else [])
    assert found.other == (0 if suppression else 1)


def test_mailchimp_names_the_person_by_the_merge_field_that_we_wrote():
    form = mailchimp_form(1) | {"data[merges][CUSTOMERID]": "customer-00001"}
    [event] = read("mailchimp", mailchimp(form)).events
    assert (event.customer_id, event.email, event.message_id) == ("customer-00001", "Person1@example.com", None)
    assert event.occurred_at == HOUR_AGO
    assert event.occurred_at.tzinfo is not None


@pytest.mark.parametrize("vendor", ["klaviyo", "hubspot", "salesforce"])
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"3", b'["a"]', b"[[]]", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_of_its_vendors_form_is_unreadable(vendor, body):
    with pytest.raises(Unreadable):
        VENDORS[vendor].read(body, {})


@pytest.mark.parametrize("body", [b"", b"type", b"\xff=\xff", urlencode([("a", "b")] * 501).encode()])
def test_a_form_without_a_type_is_unreadable(body):
    with pytest.raises(Unreadable):
        VENDORS["mailchimp"].read(body, {})


def mutations(event: dict):
    """The same JSON with anything at all in the place of any value."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    )

    def mutated(found):
        if isinstance(found, dict):
            return st.fixed_dictionaries({key: mutated(one) for key, one in found.items()}) | anything
        return st.just(found) | anything

    return mutated(event)


EXAMPLES = {
    "klaviyo": klaviyo_event(1, "bounced_email", **{"Bounce Type": "Hard"}),
    "hubspot": hubspot_change(1),
    "salesforce": salesforce_event(1, "TransactionalSendEvents.EmailBounced", bounceCode="HARD"),
}


@pytest.mark.parametrize("vendor", EXAMPLES)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data())
def test_no_event_of_whatever_form_breaks_the_reading(vendor, data):
    item = data.draw(mutations(EXAMPLES[vendor]))
    body = {"data": [item], "meta": {"klaviyo_webhook_id": "w"}} if vendor == "klaviyo" else [item]
    try:
        found = VENDORS[vendor].read(json.dumps(body).encode(), {})
    except Unreadable:
        return
    assert len(found.events) + found.other + found.broken == 1
    for event in found.events:
        assert isinstance(event.occurred_at, datetime)
        assert event.event_id or event.told
        texts = (event.email, event.url, event.subject, event.message_id, event.customer_id, *event.told)
        assert all(one is None or (isinstance(one, str) and "\0" not in one) for one in texts)
