"""What people do with Klaviyo's mail (revision 2026-07-15): GET /api/metrics → of each GET /api/events → landing.

Read are Klaviyo's own metrics that speak of e-mail; orders, text messages and other tools' metrics are not asked for.
The profile's external id is the person's id as the destination sent it. The key needs the scopes metrics:read,
events:read and profiles:read.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from letterpress.sources import email_events, rest
from letterpress.sources.config import Connection, Source
from letterpress.sources.email_events import Row
from letterpress.sources.entities import Entity, Page

ENTITIES = {"klaviyo": (email_events.EMAIL_EVENTS,)}

REVISION = "2026-07-15"
KINDS = {
    "Received Email": "delivered",
    "Opened Email": "open",
    "Clicked Email": "click",
    "Bounced Email": "bounce",
    "Marked Email as Spam": "complaint",
    "Unsubscribed from Email Marketing": "unsubscribe",
}
# No engagement: an opt-in is the shop's to record with its proof, and a mail that Klaviyo held back went to nobody.
LEFT_OUT = ("Dropped Email", "Subscribed to Email Marketing", "Updated Email Preferences")
MACHINES = ("machine_open", "Apple Privacy Open", "Bot Click")
COHORT = "$_cohort$message_send_cohort"  # instant and message of one send


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """The events of each e-mail metric from ``since`` on; raises as :func:`rest.bodies` does."""
    name = f"{source.name}.{entity.name}"
    headers = {"Authorization": f"Klaviyo-API-Key {rest.key_of(connection)}", "revision": REVISION}
    paging = rest.by_link("links.next")
    listing = rest.Listing(
        "/api/metrics", "data", paging, {"filter": 'equals(integration.name,"Klaviyo")'}, headers=headers
    )
    metrics: list[tuple[str, str]] = []
    for body in rest.bodies(source, name, connection, listing):
        metrics += email_events.rows(name, "metrics", body["data"], _email_metrics)
    email_events.log_left_out(name, {f"metric {metric}": 1 for metric, _ in metrics if metric in LEFT_OUT})
    for metric, metric_id in sorted(one for one in metrics if one[0] not in LEFT_OUT):
        params = {
            "filter": f'equals(metric_id,"{metric_id}")' + (f",greater-or-equal(datetime,{since})" if since else ""),
            "sort": "datetime",
            "include": "profile",
            "fields[profile]": "email,external_id",
            "page[size]": source.page_size,
        }
        listing = rest.Listing("/api/events", "data", paging, params, headers)
        for number, body in enumerate(rest.bodies(source, name, connection, listing), start=1):
            label = f"{metric}, page {number}"
            profiles = {one["id"]: one["attributes"] for one in body.get("included", ()) if one["type"] == "profile"}
            read = partial(rows_of, metric=metric, profiles=profiles)
            yield Page(email_events.rows(name, label, body["data"], read), label)


def _email_metrics(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and id of a metric that speaks of e-mail."""
    metric = resource["attributes"]["name"]
    return [(metric, resource["id"])] if "email" in metric.lower() else []


def rows_of(event: Mapping[str, Any], *, metric: str, profiles: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """One event of a metric; the metric's own name where it is none of ``KINDS``.

    A message has one id for all who get it, so that the send and the profile are needed to tell which one it was.
    """
    attributes = event["attributes"]
    properties = attributes.get("event_properties") or {}
    profile_id = event["relationships"]["profile"]["data"]["id"]
    profile = profiles.get(profile_id, {})
    send = properties.get(COHORT) or properties.get("$message")
    row = email_events.event(
        event_id=event["id"],
        event_type=KINDS.get(metric, metric),
        occurred_at=datetime.fromisoformat(attributes["datetime"]),
        message_id=send and f"{send}:{profile_id}",
        campaign_id=properties.get("$message"),
        campaign_name=properties.get("Campaign Name"),
        subject=properties.get("Subject"),
        customer_id=profile.get("external_id"),
        email=profile.get("email"),
        bounce_type=(properties.get("Bounce Type") or "").lower() or None,
        url=properties.get("URL"),
        is_machine_open=any(str(properties.get(name)).lower() == "true" for name in MACHINES),
    )
    return [row]
