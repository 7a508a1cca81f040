"""HubSpot's webhooks: changes of a contact's properties, up to 100 a delivery; what mail did stands in two of them.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation: version 3
signs method, public address, body and timestamp, base64. Opens and clicks are no webhooks there; they are pulled.
"""

from collections.abc import Mapping
from datetime import datetime

from letterpress.activation.webhooks.spec import Event, Reading, Signature, Timestamp, Vendor
from letterpress.activation.webhooks.vendors.fields import epoch, objects, parsed, text

_CHANGES = ("contact.propertyChange", "object.propertyChange")


def sent_at(header: str) -> datetime:
    """``X-HubSpot-Request-Timestamp``: thousandths of seconds since 1970. Raises ValueError for anything else."""
    found = epoch(header, per_second=1_000) if header.isascii() and header.isdigit() else None
    if found is None:
        raise ValueError("expected thousandths of seconds")
    return found


def read(body: bytes, headers: Mapping[str, str]) -> Reading:
    """The events of a delivery. Raises Unreadable where it is no list of changes."""
    events, other, broken = [], 0, 0
    for change in objects(parsed(body)):
        kind = _kind(change)
        if kind is None:
            other += 1
        elif (event := _event(kind, change)) is None:
            broken += 1
        else:
            events.append(event)
    return Reading(events, other, broken)


def _kind(change: dict) -> str | None:
    if change.get("subscriptionType") not in _CHANGES or change.get("objectTypeId", "0-1") != "0-1":
        return None
    name, value = change.get("propertyName"), text(change.get("propertyValue"))
    if name == "hs_email_optout" and value == "true":
        return "unsubscribe"
    return "bounce" if name == "hs_email_hard_bounce_reason_enum" and value else None


def _event(kind: str, change: dict) -> Event | None:
    contact, number = text(change.get("objectId")), text(change.get("eventId"))
    at = change.get("occurredAt")
    occurred_at = epoch(at, per_second=1_000)
    if contact is None or number is None or occurred_at is None:
        return None
    return Event(
        event_type=kind,
        occurred_at=occurred_at,
        # eventId alone is not promised to be unique; attemptNumber differs between deliveries and is no part of it.
        event_id=f"{number}:{contact}:{at}",
        bounce_type="hard" if kind == "bounce" else None,
        vendor_id=contact,
    )


VENDOR = Vendor(
    name="hubspot",
    secret="the client secret of the app",
    media_type="application/json",
    signature=Signature("x-hubspot-signature-v3", "base64", ("method", "uri", "body", "timestamp")),
    timestamp=Timestamp("x-hubspot-request-timestamp", sent_at),
    read=read,
)
