"""Whom Braze may not write to any more: GET /email/unsubscribes and /email/hard_bounces, by days → landing.

Braze's REST API tells no deliveries, opens and clicks: they come by Currents alone, its stream of files, and what
lands there is a source of files. Complaints come as unsubscribes. Neither list says of which message, or which user.
The key needs the permissions email.unsubscribe and email.hard_bounces.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from letterpress.sources import email_events, rest
from letterpress.sources.config import Connection, Source
from letterpress.sources.email_events import Row
from letterpress.sources.entities import Entity, Page

ENTITIES = {"braze": (email_events.EMAIL_EVENTS,)}

FIRST_DAY = date(2011, 1, 1)  # Braze is no older
OVERLAP = 10  # rows of a page that are asked for again
LISTS = {
    "/email/unsubscribes": ("unsubscribed_at", {"event_type": "unsubscribe"}),
    "/email/hard_bounces": ("hard_bounced_at", {"event_type": "bounce", "bounce_type": "hard"}),
}


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """Both lists from the day of ``since`` to the end of today; raises as :func:`rest.bodies` does."""
    name = f"{source.name}.{entity.name}"
    start = datetime.fromisoformat(since).date() if since else FIRST_DAY
    # The end is a midnight, and Braze wants one: nothing is left out by a day too many.
    end = datetime.now(UTC).date() + timedelta(days=2)
    params = {"start_date": start.isoformat(), "end_date": max(end, start + timedelta(days=1)).isoformat()}
    paging = rest.by_offset(source.page_size, size_param="limit", overlap=min(OVERLAP, source.page_size - 1))
    for path, (instant, kind) in LISTS.items():
        listing = rest.Listing(path, "emails", paging, params, rest.bearer(connection))
        for number, body in enumerate(rest.bodies(source, name, connection, listing), start=1):
            label = f"{path}, page {number}"
            read = partial(rows_of, instant=instant, kind=kind)
            yield Page(email_events.rows(name, label, body["emails"], read), label)


def rows_of(entry: Mapping[str, Any], *, instant: str, kind: Mapping[str, str]) -> list[Row]:
    """One entry of a list as the event that brought it there."""
    row = email_events.event(
        event_id=email_events.event_id(kind["event_type"], entry["email"], entry[instant]),
        occurred_at=datetime.fromisoformat(entry[instant].replace(" +", "+")),  # 2016-08-25 15:24:32 +0000
        email=entry["email"],
        **kind,
    )
    return [row]
