"""What ESPs document of an event becomes a row of the one shape, kind by kind; what is not so is refused, unquoted."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from source_doubles import Api, Line, source_named

from letterpress.sources import braze, email_events, hubspot, klaviyo, mailchimp
from letterpress.sources.email_events import EMAIL_EVENTS
from letterpress.sources.errors import SourceRefused, SourceUnavailable
from letterpress.sources.mailchimp import Campaign

PROFILES = {"QqXc3w": {"email": "ada@example.com", "external_id": "person-a"}}
SENT = "1642928713:UupFUS"
HUBSPOT = {
    "id": "e-2",
    "created": 1308560400123,
    "recipient": "ada@example.com",
    "emailCampaignId": 7,
    "sentBy": {"id": "e-1", "created": 1308560400000},
}
CAMPAIGN = Campaign("42694e9e57", "57afe96172", "Freddie's Jokes", "Get it", datetime(2011, 6, 20, tzinfo=UTC), 0, 0)
MEMBER = {"email_id": "d1e6f4c4", "email_address": "ada@example.com"}


def klaviyo_event(**properties: Any) -> dict[str, Any]:
    """An event of Klaviyo's, as its API writes one."""
    return {
        "type": "event",
        "id": "32CLkDXR68M",
        "attributes": {
            "datetime": "2011-06-20T09:05:16+00:00",
            "timestamp": 1308560716,
            "event_properties": {
                "$ESP": 0,
                "$_cohort$message_send_cohort": SENT,
                "$message": "UupFUS",
                "Campaign Name": "Summer",
                "Subject": "It is warm",
                **properties,
            },
        },
        "relationships": {"profile": {"data": {"type": "profile", "id": "QqXc3w"}}},
    }


def of_klaviyo(metric: str, **properties: Any) -> dict[str, Any]:
    [row] = klaviyo.rows_of(klaviyo_event(**properties), metric=metric, profiles=PROFILES)
    return row


def of_hubspot(kind: str, **more: Any) -> dict[str, Any]:
    [row] = hubspot.rows_of(HUBSPOT | {"type": kind} | more)
    return row


def test_a_row_has_the_columns_that_land_and_no_other() -> None:
    rows = [
        of_klaviyo("Opened Email"),
        of_hubspot("OPEN"),
        *mailchimp.sent_to(CAMPAIGN, MEMBER | {"status": "sent"}),
        *braze.rows_of(
            {"email": "ada@example.com", "unsubscribed_at": "2016-08-25 15:24:32 +0000"},
            instant="unsubscribed_at",
            kind={"event_type": "unsubscribe"},
        ),
    ]
    assert all(list(row) == EMAIL_EVENTS.schema.names for row in rows)


def test_klaviyo_s_event_names_person_message_and_campaign() -> None:
    assert of_klaviyo("Received Email") == {
        "event_id": "32CLkDXR68M",
        "message_id": f"{SENT}:QqXc3w",
        "campaign_id": "UupFUS",
        "campaign_name": "Summer",
        "subject": "It is warm",
        "customer_id": "person-a",
        "email": "ada@example.com",
        "event_type": "delivered",
        "bounce_type": None,
        "is_machine_open": False,
        "url": None,
        "occurred_at": "2011-06-20T09:05:16+00:00",
        "received_at": "2011-06-20T09:05:16+00:00",
    }


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("Received Email", "delivered"),
        ("Opened Email", "open"),
        ("Clicked Email", "click"),
        ("Bounced Email", "bounce"),
        ("Marked Email as Spam", "complaint"),
        ("Unsubscribed from Email Marketing", "unsubscribe"),
        ("Forwarded Email", "Forwarded Email"),
    ],
)
def test_klaviyo_s_metrics_are_our_kinds(metric: str, kind: str) -> None:
    assert of_klaviyo(metric)["event_type"] == kind


@pytest.mark.parametrize(
    ("properties", "is_machine"),
    [
        ({}, False),
        ({"machine_open": True}, True),
        ({"machine_open": "false", "Apple Privacy Open": "True"}, True),
        ({"Bot Click": False}, False),
        ({"Bot Click": "true"}, True),
    ],
)
def test_klaviyo_says_what_a_program_did(properties: dict[str, Any], is_machine: bool) -> None:
    assert of_klaviyo("Opened Email", **properties)["is_machine_open"] is is_machine


@pytest.mark.parametrize(("told", "kind"), [("Hard", "hard"), ("Soft", "soft"), (None, None)])
def test_klaviyo_says_how_a_mail_came_back_or_says_nothing(told: str | None, kind: str | None) -> None:
    assert of_klaviyo("Bounced Email", **{"Bounce Type": told})["bounce_type"] == kind


def test_an_event_without_a_message_stands_for_one_of_its_own() -> None:
    event = klaviyo_event()
    event["attributes"]["event_properties"] = None
    [row] = klaviyo.rows_of(event, metric="Unsubscribed from Email Marketing", profiles={})
    assert (row["message_id"], row["campaign_id"], row["email"]) == ("32CLkDXR68M", None, None)
    assert of_hubspot("STATUSCHANGE", sentBy=None)["message_id"] == "e-2"


def test_hubspot_s_event_names_the_mail_by_its_sending() -> None:
    opened = of_hubspot("OPEN")
    assert opened["message_id"] == of_hubspot("SENT", id="e-1", sentBy=None)["message_id"] == "e-1"
    assert opened["occurred_at"] == "2011-06-20T09:00:00.123000+00:00"
    assert (opened["campaign_id"], opened["customer_id"], opened["email"]) == ("7", None, "ada@example.com")


@pytest.mark.parametrize(
    ("kind", "more", "is_left_out"),
    [
        ("OPEN", {}, False),
        ("PROCESSED", {}, True),
        ("DROPPED", {}, True),
        ("TELEPORTED", {}, False),
        ("STATUSCHANGE", {}, True),
        ("STATUSCHANGE", {"portalSubscriptionStatus": "SUBSCRIBED"}, True),
        ("STATUSCHANGE", {"portalSubscriptionStatus": "UNSUBSCRIBED"}, False),
        ("STATUSCHANGE", {"subscriptions": [{"id": 1, "status": "SUBSCRIBED"}]}, True),
        ("STATUSCHANGE", {"subscriptions": [{"id": 1, "status": "UNSUBSCRIBED"}]}, False),
    ],
)
def test_a_change_of_status_at_hubspot_counts_where_it_ends_something(
    kind: str, more: dict[str, Any], is_left_out: bool
) -> None:
    assert hubspot.is_left_out(HUBSPOT | {"type": kind} | more) is is_left_out


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"category": "UNKNOWN_USER", "status": "5.1.1"}, "hard"),
        ({"category": "MAILBOX_FULL", "status": "5.2.2"}, "soft"),
        ({"category": "POLICY", "status": "5.1.8"}, "soft"),
        ({"status": "5.1.1"}, "hard"),
        ({"status": "5.7.1"}, "soft"),
        ({}, "soft"),
    ],
)
def test_only_a_mailbox_that_is_none_is_a_hard_bounce_at_hubspot(more: dict[str, Any], kind: str) -> None:
    assert of_hubspot("BOUNCE", **more)["bounce_type"] == kind


def test_mailchimp_s_recipient_got_the_mail_unless_it_came_back() -> None:
    kinds = {
        status: [row["event_type"] for row in mailchimp.sent_to(CAMPAIGN, MEMBER | {"status": status})]
        for status in ("sent", "hard", "soft")
    }
    assert kinds == {"sent": ["sent", "delivered"], "hard": ["sent"], "soft": ["sent"]}


def test_mailchimp_s_automation_has_no_instant_of_its_own_and_its_readers_have() -> None:
    automation = Campaign.of({"id": "welcome", "list_id": "57afe96172", "send_time": ""})
    assert mailchimp.sent_to(automation, MEMBER | {"status": "sent"}) == []
    opened = MEMBER | {"activity": [{"action": "open", "timestamp": "2011-06-20T10:00:00+00:00"}]}
    assert [row["event_type"] for row in mailchimp.activity(automation, opened)] == ["open"]


def test_mailchimp_s_activity_is_an_event_each_and_the_same_one_whenever_it_is_read() -> None:
    at = "2011-06-20T10:00:00+00:00"
    person = MEMBER | {
        "activity": [
            {"action": "open", "timestamp": at},
            {"action": "click", "timestamp": at, "url": "https://shop.example.com/a"},
            {"action": "click", "timestamp": at, "url": "https://shop.example.com/b"},
            {"action": "bounce", "timestamp": at, "type": "soft"},
        ]
    }
    rows = mailchimp.activity(CAMPAIGN, person)
    assert [(row["event_type"], row["bounce_type"]) for row in rows] == [
        ("open", None),
        ("click", None),
        ("click", None),
        ("bounce", "soft"),
    ]
    assert len({row["event_id"] for row in rows}) == 4
    assert mailchimp.activity(CAMPAIGN, person) == rows
    assert {row["message_id"] for row in rows} == {"42694e9e57:d1e6f4c4"}


@pytest.mark.parametrize("told", ["2016-08-25 15:24:32 +0000", "2016-08-25T15:24:32+00:00"])
def test_braze_s_instants_are_read_and_its_addresses_are_no_ids(told: str) -> None:
    [row] = braze.rows_of(
        {"email": "ada@example.com", "hard_bounced_at": told},
        instant="hard_bounced_at",
        kind={"event_type": "bounce", "bounce_type": "hard"},
    )
    assert row["occurred_at"] == "2016-08-25T15:24:32+00:00"
    assert "ada" not in row["event_id"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [({"email": "ada@example.com"}, "'unsubscribed_at'"), ({"unsubscribed_at": "ada@example.com"}, "'email'")],
)
def test_an_event_of_another_shape_is_named_without_its_values(broken: dict[str, Any], said: str) -> None:
    def read(one: Any) -> list[dict[str, Any]]:
        return braze.rows_of(one, instant="unsubscribed_at", kind={"event_type": "unsubscribe"})

    with pytest.raises(SourceUnavailable) as caught:
        email_events.rows("braze.events", "page 2", [broken], read)
    assert f"braze.events: page 2, row 0: expected it as the vendor documents it, found one without {said}" in str(
        caught.value
    )
    with pytest.raises(SourceUnavailable) as caught:
        email_events.rows("braze.events", "page 2", [{"email": "a@example.com", "unsubscribed_at": "ada@x"}], read)
    assert "ValueError" in str(caught.value)
    assert "ada@x" not in str(caught.value)


@pytest.mark.parametrize(
    ("following", "error", "said"),
    [
        ("http://elsewhere.example.com/api/metrics", SourceRefused, "://elsewhere.example.com"),
        ("//elsewhere.example.com/api/metrics", SourceRefused, "://elsewhere.example.com"),
        ("/api/metrics", SourceUnavailable, "found that of the page before"),
        (7, SourceUnavailable, '"links.next": string or null'),
    ],
)
def test_a_link_is_followed_on_the_same_host_and_only_once(
    line: Line, api: Api, following: Any, error: type[Exception], said: str
) -> None:
    api.body = json.dumps({"data": [], "links": {"next": following}}).encode()
    with pytest.raises(error) as caught:
        line.extract("klaviyo")
    assert said in str(caught.value)
    assert line.files() == set()


def test_a_page_that_says_there_is_more_and_not_where_is_refused(line: Line, api: Api) -> None:
    api.body = json.dumps({"events": [], "hasMore": True, "offset": ""}).encode()
    with pytest.raises(SourceUnavailable, match="found another body"):
        line.extract("hubspot")


def test_what_turns_us_away_before_the_api_is_asked_again_and_the_api_s_own_no_is_not(line: Line, api: Api) -> None:
    from source_doubles import Fault

    api.faults = [Fault(status=403, headers={"Content-Type": "text/html"})]
    api.body = json.dumps({"emails": []}).encode()
    assert line.extract(source_named("braze")) is None
    api.faults = [Fault(status=403, headers={"Content-Type": "application/json"})]
    with pytest.raises(SourceRefused, match="403"):
        line.extract("braze")
