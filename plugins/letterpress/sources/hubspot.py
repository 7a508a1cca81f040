"""What people do with HubSpot's mail: GET /email/public/v1/events?startTimestamp=&limit=&offset= → landing.

The first version of this API is the one that tells what each recipient did; it has no successor for that. It names
people by their addresses alone, and campaigns by their ids. The private app needs the scope content.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from letterpress.sources import email_events, rest
from letterpress.sources.config import Connection, Source
from letterpress.sources.email_events import Row
from letterpress.sources.entities import Entity, Page

ENTITIES = {"hubspot": (email_events.EMAIL_EVENTS,)}

KINDS = {
    "SENT": "sent",
    "DELIVERED": "delivered",
    "OPEN": "open",
    "CLICK": "click",
    "BOUNCE": "bounce",
    "SPAMREPORT": "complaint",
    "STATUSCHANGE": "unsubscribe",
}
# Steps of a delivery that are neither its beginning nor its end, mails that HubSpot held back, and what is done with
# a mail outside of its links.
LEFT_OUT = ("DEFERRED", "DROPPED", "FORWARD", "PRINT", "PROCESSED", "SUPPRESSED")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """Every event from ``since`` on; raises as :func:`rest.bodies` does."""
    name, left_out = f"{source.name}.{entity.name}", Counter()
    params = {"limit": source.page_size}
    if since:
        params["startTimestamp"] = (datetime.fromisoformat(since) - EPOCH) // timedelta(milliseconds=1)
    paging = rest.by_cursor("offset", "offset", more="hasMore")
    listing = rest.Listing("/email/public/v1/events", "events", paging, params, rest.bearer(connection))
    for number, body in enumerate(rest.bodies(source, name, connection, listing), start=1):
        label = f"page {number}"
        wanted = [event for event in body["events"] if not is_left_out(event)]
        left_out.update(event["type"] for event in body["events"] if is_left_out(event))
        yield Page(email_events.rows(name, label, wanted, rows_of), label)
    email_events.log_left_out(name, left_out)


def is_left_out(event: Mapping[str, Any]) -> bool:
    """Whether it is no engagement. A change of status is, where it ends something, whoever asked for it."""
    kind = event.get("type")
    return kind in LEFT_OUT or (kind == "STATUSCHANGE" and not _ends_something(event))


def rows_of(event: Mapping[str, Any]) -> list[Row]:
    """One event; of HubSpot's own kind where that is none of ``KINDS``."""
    kind = event["type"]
    sent_by = event.get("sentBy") or {}
    row = email_events.event(
        event_id=event["id"],
        event_type=KINDS.get(kind, kind),
        occurred_at=EPOCH + timedelta(milliseconds=event["created"]),
        message_id=event["id"] if kind == "SENT" else sent_by.get("id"),
        campaign_id=str(event["emailCampaignId"]) if event.get("emailCampaignId") else None,
        subject=event.get("subject"),
        email=event.get("recipient"),
        bounce_type=_bounce_type(event) if kind == "BOUNCE" else None,
        url=event.get("url"),
        is_machine_open=event.get("filteredEvent") is True,
    )
    return [row]


def _ends_something(event: Mapping[str, Any]) -> bool:
    """Whether somebody wants no mail any more, or one kind of it less."""
    states = [event.get("portalSubscriptionStatus"), *(one.get("status") for one in event.get("subscriptions") or ())]
    return "UNSUBSCRIBED" in states


def _bounce_type(event: Mapping[str, Any]) -> str:
    """hard where the mailbox is none: HubSpot says so, or else the status of the answer (5.1.x: no such address).

    A full mailbox, a policy or a text that looks like spam says nothing of the address.
    """
    category = event.get("category")
    is_hard = category == "UNKNOWN_USER" or (not category and str(event.get("status") or "").startswith("5.1."))
    return "hard" if is_hard else "soft"
