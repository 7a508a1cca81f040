"""Klaviyo's system webhooks: up to 1,000 events a delivery, each as its Events API gives it.

https://developers.klaviyo.com/en/docs/working_with_system_webhooks: the signature is over body and timestamp, hex;
an answer of 200, 201 or 202 within five seconds counts; after 48 hours without one the webhook is switched off.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from letterpress.activation.webhooks.spec import Event, Reading, Signature, Timestamp, Unreadable, Vendor
from letterpress.activation.webhooks.vendors.fields import epoch, inside, instant, objects, parsed, text

_TOPIC = "event:klaviyo."
_KINDS = {
    "received_email": "delivered",
    "email_delivered": "delivered",
    "opened_email": "open",
    "clicked_email": "click",
    "bounced_email": "bounce",
    "marked_email_as_spam": "complaint",
    "unsubscribed_from_email_marketing": "unsubscribe",
}
# Said of opens and clicks that a program made: privacy proxies, and bots that follow links.
_MACHINE = ("machine_open", "Apple Privacy Open", "Bot Click")
_SEND = "$_cohort$message_send_cohort"  # instant and message of one send


def sent_at(header: str) -> datetime:
    """``Klaviyo-Timestamp``: ``Thu, 04 Jan 2024 18:05:25 GMT``. Raises ValueError for anything else."""
    found = parsedate_to_datetime(header)
    if found.tzinfo is None:
        raise ValueError("expected a date with its zone")
    return found.astimezone(UTC)


def read(body: bytes, headers: Mapping[str, str]) -> Reading:
    """The events of a delivery. Raises Unreadable where it is not Klaviyo's, or of another webhook than it says."""
    found = parsed(body)
    webhook = inside(found, "meta", "klaviyo_webhook_id")
    if webhook is None or webhook != headers.get("klaviyo-webhook-id", webhook):
        raise Unreadable("expected one webhook's id in meta and in Klaviyo-Webhook-Id")
    events, other, broken = [], 0, 0
    for item in objects(inside(found, "data")):
        kind = _KINDS.get((text(item.get("topic")) or "").removeprefix(_TOPIC))
        if kind is None:
            other += 1
        elif (event := _event(kind, item)) is None:
            broken += 1
        else:
            events.append(event)
    return Reading(events, other, broken)


def _event(kind: str, item: dict) -> Event | None:
    told = inside(item, "payload", "data")
    event_id = text(inside(told, "id")) or text(item.get("external_id"))
    occurred_at = instant(inside(told, "attributes", "datetime")) or epoch(inside(told, "attributes", "timestamp"))
    if event_id is None or occurred_at is None:
        return None
    about = inside(told, "attributes", "event_properties") or {}
    profile = text(inside(told, "relationships", "profile", "data", "id"))
    campaign = text(inside(about, "$message"))
    send = text(inside(about, _SEND)) or campaign
    bounce = (text(inside(about, "Bounce Type")) or "").lower()
    return Event(
        event_type=kind,
        occurred_at=occurred_at,
        event_id=event_id,
        # Klaviyo numbers what it sends to many; one person's message is that and the person.
        message_id=f"{send}:{profile}" if send and profile else None,
        campaign_id=campaign,
        campaign_name=text(inside(about, "Campaign Name")),
        subject=text(inside(about, "Subject")),
        email=text(inside(about, "Recipient Email Address")),
        bounce_type=bounce if kind == "bounce" and bounce in ("hard", "soft") else None,
        is_machine_open=any(str(inside(about, name)).lower() == "true" for name in _MACHINE),
        url=text(inside(about, "URL")) if kind == "click" else None,
        vendor_id=profile,
    )


VENDOR = Vendor(
    name="klaviyo",
    secret="the secret_key that the webhook was made with",
    media_type="application/json",
    signature=Signature("klaviyo-signature", "hex", ("body", "timestamp")),
    timestamp=Timestamp("klaviyo-timestamp", sent_at),
    read=read,
)
