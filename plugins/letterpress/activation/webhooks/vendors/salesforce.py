"""Salesforce Marketing Cloud's Event Notification Service: up to 1,000 events a delivery.

https://developer.salesforce.com/docs/marketing/marketing-cloud/guide/ens-notification-signing.html: the signature is
over the body alone, base64, under the callback's key as it is written. No time is signed and a batch is repeated for
up to seven days, so that the age of its events tells a replay. Events have no id; a message is named by its composite.
"""

from collections.abc import Mapping
from datetime import timedelta

import orjson

from letterpress.activation.webhooks.spec import Event, Reading, Signature, Vendor
from letterpress.activation.webhooks.vendors.fields import epoch, inside, objects, parsed, text

_KINDS = {
    "TransactionalSendEvents.EmailSent": "sent",
    "TransactionalSendEvents.EmailBounced": "bounce",
    "EngagementEvents.EmailOpen": "open",
    "EngagementEvents.EmailClick": "click",
    "EngagementEvents.EmailUnsubscribe": "unsubscribe",
}


def read(body: bytes, headers: Mapping[str, str]) -> Reading:
    """The events of a delivery. Raises Unreadable where it is no list of them."""
    events, other, broken = [], 0, 0
    for item in objects(parsed(body)):
        kind = _KINDS.get(text(item.get("eventCategoryType")) or "")
        if kind is None:
            other += 1
        elif (event := _event(kind, item)) is None:
            broken += 1
        else:
            events.append(event)
    return Reading(events, other, broken)


def _event(kind: str, item: dict) -> Event | None:
    named = [text(inside(item, "composite", part)) for part in ("jobId", "listId", "batchId", "subscriberId")]
    occurred_at = epoch(item.get("timestampUTC"), per_second=1_000)
    if occurred_at is None or not all(named):
        return None
    told = item.get("info")
    definition = text(item.get("definitionKey"))
    bounce = (text(inside(told, "bounceCode")) or "").lower()
    message = ".".join(named)
    url = text(inside(told, "contentLink")) if kind == "click" else None
    return Event(
        event_type=kind,
        occurred_at=occurred_at,
        told=(str(item.get("mid")), message, kind, str(item.get("timestampUTC")), url or ""),
        message_id=message,
        campaign_id=named[0] if definition in (None, "NA") else definition,
        subject=text(inside(told, "renderedSubject")),
        customer_id=text(inside(told, "subscriberKey")),  # the contact key, which is our id
        email=text(inside(told, "to")),
        bounce_type=bounce if kind == "bounce" and bounce in ("hard", "soft") else None,
        url=url,
    )


def confirms(body: bytes) -> dict[str, str] | None:
    """The unsigned request that follows the making of a callback: what /platform/v1/ens-verify wants to be told."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or set(found) != {"callbackId", "verificationKey"}:
        return None
    return found if all(isinstance(value, str) and len(value) <= 200 for value in found.values()) else None


VENDOR = Vendor(
    name="salesforce",
    secret="the signatureKey that came with the callback",
    media_type="application/json",
    signature=Signature("x-sfmc-ens-signature", "base64", ("body",)),
    oldest=timedelta(days=8),
    confirms=confirms,
    read=read,
)
