"""What people do with Mailchimp's mail (Marketing API 3.0): GET /3.0/reports → of each campaign its people → landing.

No list tells every person's events since an instant, so each campaign is asked: for its recipients when it was sent
since then, for opens, clicks and bounces since then as long as it is ``CAMPAIGN_DAYS`` old at most, for unsubscribes
and complaints where its report counts any. People are named by their addresses. Mailchimp does not tell machines'
opens from people's; what hidden filters follow is found in the warehouse. Who unsubscribes elsewhere than in a
campaign's mail is not among them: the destination's own suppressions tell.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from letterpress.sources import email_events, rest
from letterpress.sources.config import Connection, Source
from letterpress.sources.email_events import Row
from letterpress.sources.entities import Entity, Page

ENTITIES = {"mailchimp": (email_events.EMAIL_EVENTS,)}

CAMPAIGN_DAYS = 90
REPORT = ("id", "list_id", "campaign_title", "subject_line", "send_time", "unsubscribed", "abuse_reports")


@dataclass(frozen=True)
class Campaign:
    """A campaign that was sent, as its report tells of it."""

    id: str
    list_id: str
    title: str | None
    subject: str | None
    sent_at: datetime | None
    unsubscribed: int
    complaints: int

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> "Campaign":
        """The campaign of a report."""
        return cls(
            id=report["id"],
            list_id=report["list_id"],
            title=report.get("campaign_title"),
            subject=report.get("subject_line"),
            sent_at=datetime.fromisoformat(report["send_time"]) if report.get("send_time") else None,
            unsubscribed=report.get("unsubscribed") or 0,
            complaints=report.get("abuse_reports") or 0,
        )

    def event(self, person: Mapping[str, Any], kind: str, at: datetime, *more: str | None, **columns: Any) -> Row:
        """An event of one person's mail; ``more`` tells apart what happened to it in one second."""
        return email_events.event(
            event_id=email_events.event_id(self.id, person["email_id"], kind, at.isoformat(), *more),
            event_type=kind,
            occurred_at=at,
            message_id=f"{self.id}:{person['email_id']}",
            campaign_id=self.id,
            campaign_name=self.title,
            subject=self.subject,
            email=person["email_address"],
            **columns,
        )


def sent_to(campaign: Campaign, person: Mapping[str, Any]) -> list[Row]:
    """A recipient: the mail was sent, and delivered unless it bounced, which the activity tells with its instant.

    Nothing of a campaign that goes to each person at another time: Mailchimp does not tell when.
    """
    if campaign.sent_at is None:
        return []
    kinds = ("sent", "delivered") if person["status"] == "sent" else ("sent",)
    return [campaign.event(person, kind, campaign.sent_at) for kind in kinds]


def activity(campaign: Campaign, person: Mapping[str, Any]) -> list[Row]:
    """All that one person did with a campaign's mail: open, click and bounce are the vendor's words too."""
    return [
        campaign.event(
            person,
            one["action"],
            datetime.fromisoformat(one["timestamp"]),
            one.get("url"),
            url=one.get("url"),
            bounce_type=one.get("type") if one["action"] == "bounce" else None,
        )
        for one in person["activity"]
    ]


def unsubscribed(campaign: Campaign, person: Mapping[str, Any]) -> list[Row]:
    """Somebody who unsubscribed by a campaign's mail."""
    return [campaign.event(person, "unsubscribe", datetime.fromisoformat(person["timestamp"]))]


def complained(campaign: Campaign, report: Mapping[str, Any]) -> list[Row]:
    """Somebody who called a campaign's mail spam."""
    return [campaign.event(report, "complaint", datetime.fromisoformat(report["date"]))]


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """What happened from ``since`` on; raises as :func:`rest.bodies` does."""
    account = _Account(source, f"{source.name}.{entity.name}", connection)
    begin = datetime.fromisoformat(since) if since else None
    campaigns = account.campaigns(begin)
    for campaign in campaigns:
        path = f"/3.0/reports/{campaign.id}"
        if begin is None or (campaign.sent_at is not None and campaign.sent_at >= begin):
            yield from account.people(campaign, f"{path}/sent-to", "sent_to", sent_to, "status")
        moment = {"since": _second(begin)} if begin else {}
        actions = ("activity.action", "activity.type", "activity.timestamp", "activity.url")
        yield from account.people(campaign, f"{path}/email-activity", "emails", activity, *actions, **moment)
        if campaign.unsubscribed:
            yield from account.people(campaign, f"{path}/unsubscribed", "unsubscribes", unsubscribed, "timestamp")
        if campaign.complaints:
            yield from account.people(campaign, f"{path}/abuse-reports", "abuse_reports", complained, "date")


class _Account:
    """One account's lists, asked for the fields that are needed and no other: no names, no network addresses."""

    def __init__(self, source: Source, name: str, connection: Connection):
        self._source, self._name = source, name
        self._connection = connection.model_copy(update={"base_url": connection.base_url.removesuffix("/3.0")})
        self._headers = _authorisation(connection)

    def campaigns(self, begin: datetime | None) -> list[Campaign]:
        """Those that were sent at most ``CAMPAIGN_DAYS`` before an instant, or all."""
        since = {"since_send_time": _second(begin - timedelta(days=CAMPAIGN_DAYS))} if begin else {}
        found: list[Campaign] = []
        for label, body in self._bodies("/3.0/reports", "reports", REPORT, since):
            found += email_events.rows(self._name, label, body["reports"], lambda report: [Campaign.of(report)])
        return found

    def people(
        self,
        campaign: Campaign,
        path: str,
        key: str,
        read: Callable[[Campaign, Mapping[str, Any]], list[Row]],
        *fields: str,
        **params: str,
    ) -> Iterator[Page]:
        """The rows of a campaign's list, page by page."""
        for label, body in self._bodies(path, key, ("email_id", "email_address", *fields), params):
            yield Page(email_events.rows(self._name, label, body[key], partial(read, campaign)), label)

    def _bodies(
        self, path: str, key: str, fields: tuple[str, ...], params: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        asked = {"fields": ",".join(f"{key}.{name}" for name in fields), **params}
        paging = rest.by_offset(self._source.page_size, size_param="count")
        listing = rest.Listing(path, key, paging, asked, self._headers)
        bodies = rest.bodies(self._source, self._name, self._connection, listing)
        for number, body in enumerate(bodies, start=1):
            yield f"{path}, page {number}", body


def _authorisation(connection: Connection) -> dict[str, str]:
    """HTTP basic for an API key, which ends in its data centre, and a bearer token for what OAuth gave."""
    key = rest.key_of(connection)
    if not re.search(r"-[a-z]{2}\d+$", key):
        return rest.bearer(connection)
    return {"Authorization": f"Basic {base64.b64encode(f'letterpress:{key}'.encode()).decode()}"}


def _second(at: datetime) -> str:
    """An instant as Mailchimp takes it, to the second."""
    return at.isoformat(timespec="seconds")
