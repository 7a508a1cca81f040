"""What vendors send: events as their documents show them, signed by a second implementation of HMAC (RFC 2104)."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlencode

PUBLIC = "https://hooks.example.com"
NOW = datetime(2011, 7, 1, 12, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
SECRETS = {name: f"{name}-shared-with-nobody-else" for name in ("klaviyo", "hubspot", "salesforce", "mailchimp")}


def digest(secret: str, message: bytes) -> bytes:
    """HMAC-SHA256 from its definition."""
    key = secret.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in key) + message).digest()
    return hashlib.sha256(bytes(one ^ 0x5C for one in key) + inner).digest()


@dataclass(frozen=True)
class Request:
    """One delivery as a vendor sends it."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, **changes: str | None) -> "Request":
        """The same with other headers; one of none is left out."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        headers = {name: value for name, value in ({**self.headers, **named}).items() if value is not None}
        return replace(self, headers=headers)


def klaviyo_event(number: int, topic: str = "opened_email", *, at: datetime = HOUR_AGO, **about: object) -> dict:
    told = {
        "$message": "01HXCAMPAIGN", "$_cohort$message_send_cohort": "1309514400:01HXCAMPAIGN",
        "Campaign Name": "Spring", "Subject": "Spring is here",
        "Recipient Email Address": f"person{number}@example.com", **about,
    }  # fmt: skip
    attributes = {"timestamp": int(at.timestamp()), "datetime": at.isoformat(), "event_properties": told}
    person = {"profile": {"data": {"type": "profile", "id": f"01PROFILE{number}"}}}
    event = {"type": "event", "id": f"4vRp{number}", "attributes": attributes, "relationships": person}
    return {"external_id": f"4vRp{number}", "topic": f"event:klaviyo.{topic}", "payload": {"data": event}}


def klaviyo(*events: dict, now: datetime = NOW, secret: str = SECRETS["klaviyo"]) -> Request:
    meta = {"klaviyo_account_id": "AbC123", "klaviyo_webhook_id": "w-1", "timestamp": now.isoformat()}
    body = json.dumps({"data": list(events), "meta": meta}).encode()
    sent = format_datetime(now, usegmt=True)
    headers = {
        "content-type": "application/json", "klaviyo-webhook-id": "w-1", "klaviyo-timestamp": sent,
        "klaviyo-signature": digest(secret, body + sent.encode()).hex(),
    }  # fmt: skip
    return Request("/klaviyo", body, headers)


def hubspot_change(number: int, name: str = "hs_email_optout", value: str = "true", *, at=HOUR_AGO, **changes) -> dict:
    return {
        "eventId": 3816279340 + number, "subscriptionId": 25, "portalId": 33, "appId": 1160452, "attemptNumber": 0,
        "occurredAt": int(at.timestamp() * 1_000), "subscriptionType": "contact.propertyChange",
        "objectId": 1000 + number, "changeSource": "CRM_UI", "propertyName": name, "propertyValue": value, **changes,
    }  # fmt: skip


def hubspot(*changes: dict, now: datetime = NOW, secret: str = SECRETS["hubspot"], public: str = PUBLIC) -> Request:
    body, sent = json.dumps(list(changes)).encode(), str(int(now.timestamp() * 1_000))
    signed = b"POST" + f"{public}/hubspot".encode() + body + sent.encode()
    headers = {
        "content-type": "application/json", "x-hubspot-request-timestamp": sent,
        "x-hubspot-signature-v3": base64.b64encode(digest(secret, signed)).decode(),
    }  # fmt: skip
    return Request("/hubspot", body, headers)


def salesforce_event(number: int, kind: str = "EngagementEvents.EmailUnsubscribe", *, at=HOUR_AGO, **info) -> dict:
    return {
        "eventCategoryType": kind, "timestampUTC": int(at.timestamp() * 1_000), "mid": 1447640, "eid": 1447640,
        "definitionKey": "NA", "definitionId": "NA",
        "composite": {"jobId": "2001071", "batchId": "4119", "listId": "44609", "subscriberId": str(number)},
        "info": {"to": f"person{number}@example.com", "subscriberKey": f"customer-{number:05d}", **info},
    }  # fmt: skip


def salesforce(*events: dict, secret: str = SECRETS["salesforce"]) -> Request:
    body = json.dumps(list(events)).encode()
    signature = base64.b64encode(digest(secret, body)).decode()
    return Request("/salesforce", body, {"content-type": "application/json", "x-sfmc-ens-signature": signature})


def mailchimp_form(number: int, kind: str = "unsubscribe", *, at: datetime = HOUR_AGO, **data: str) -> dict[str, str]:
    given = {"action": "unsub", "reason": "manual"} if kind == "unsubscribe" else {"campaign_id": "4fjk2ma9xd"}
    given |= {"list_id": "a6b5da1054", "email": f"Person{number}@example.com", **data}
    return {"type": kind, "fired_at": f"{at:%Y-%m-%d %H:%M:%S}"} | {f"data[{key}]": one for key, one in given.items()}


def mailchimp(form: dict[str, str], *, secret: str = SECRETS["mailchimp"]) -> Request:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Request(f"/mailchimp/{secret}", urlencode(form).encode(), headers)


# One unsubscribe of person ``number`` from each vendor, as a signed delivery.
UNSUBSCRIBES = {
    "klaviyo": lambda number, **given: klaviyo(klaviyo_event(number, "unsubscribed_from_email_marketing"), **given),
    "hubspot": lambda number, **given: hubspot(hubspot_change(number), **given),
    "salesforce": lambda number, **given: salesforce(salesforce_event(number), **given),
    "mailchimp": lambda number, **given: mailchimp(mailchimp_form(number), **given),
}
