"""ESPs to extract from: the vendors' stand-ins with people who do something, and what Mailchimp's lacks of reports."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from letterpress.demo.vendors import mailchimp, mailchimp_audience, mailchimp_forms, mailchimp_pages, running
from letterpress.demo.vendors.standin import Answer, Call, route

BEGIN = datetime(2011, 6, 20, 9, tzinfo=UTC)
ADA, BEN = "ada@example.com", "ben@example.com"
LINK = "https://shop.example.com/mugs"
PEOPLE = {ADA: "person-a", BEN: "person-b"}


@dataclass
class Now:
    """The stand-ins' clock, which only a test moves."""

    instant: datetime = BEGIN

    def __call__(self) -> float:
        return self.instant.timestamp()

    def pass_by(self, **duration: float) -> None:
        self.instant += timedelta(**duration)


@dataclass
class Esp:
    """A stand-in, its clock, and the few things that every vendor's people do under the vendor's own names."""

    name: str
    app: Any
    base_url: str
    now: Now = field(default_factory=Now)

    def open(self, email: str) -> None:
        given = {"klaviyo": ("summer",), "mailchimp": ("summer",), "hubspot": (1,)}[self.name]
        self.app.open(email, *given)

    def unsubscribe(self, email: str) -> None:
        if self.name == "hubspot":
            self.app._note(email, "STATUSCHANGE", subscriptions=[{"id": 101, "status": "UNSUBSCRIBED"}])
        else:
            self.app.unsubscribe(email)


class Reports(mailchimp.Mailchimp):
    """Mailchimp's stand-in with campaigns, whom they were sent to, and who unsubscribed by them."""

    def send(self, campaign: str, emails: Mapping[str, str], **report: Any) -> None:
        """A campaign is sent; ``emails`` says of each address what became of it: sent, hard or soft."""
        people = [self._person(campaign, email) | {"status": status} for email, status in emails.items()]
        kept = {"id": campaign, "list_id": "a1b2c3d4e5", "send_time": self._now(), "unsubscribed": 0}
        self.documents.kind("report")[campaign] = {**kept, "abuse_reports": 0, **report}
        self.documents.kind("sent")[campaign] = people
        self.documents.kind("activity")[campaign] = {}

    def unsubscribe(self, email: str, campaign: str = "summer") -> None:
        """Somebody follows the link in a campaign's mail."""
        self._add(campaign, "unsubscribed", "left", self._person(campaign, email) | {"timestamp": self._now()})

    def complain(self, email: str, campaign: str = "summer") -> None:
        """Somebody calls a campaign's mail spam."""
        self._add(campaign, "abuse_reports", "spam", self._person(campaign, email) | {"date": self._now()})

    @route("GET", "/3.0/reports")
    def _list_reports(self, call: Call) -> Answer:
        since = call.query.get("since_send_time", "0001-01-01T00:00:00+00:00")
        found = [one for one in self.documents.kind("report").values() if _after(one["send_time"], since)]
        return self._page(call, "reports", found)

    @route("GET", "/3.0/reports/{campaign_id}/sent-to")
    def _list_sent(self, call: Call) -> Answer:
        return self._page(call, "sent_to", self.documents.kind("sent")[call.path["campaign_id"]])

    @route("GET", "/3.0/reports/{campaign_id}/unsubscribed")
    def _list_left(self, call: Call) -> Answer:
        return self._page(call, "unsubscribes", self.documents.kind("left")[call.path["campaign_id"]])

    @route("GET", "/3.0/reports/{campaign_id}/abuse-reports")
    def _list_spam(self, call: Call) -> Answer:
        return self._page(call, "abuse_reports", self.documents.kind("spam")[call.path["campaign_id"]])

    def _page(self, call: Call, key: str, found: list[Any]) -> Answer:
        query = {name: int(value) if name in ("count", "offset") else value for name, value in call.query.items()}
        assert set(query) <= {*mailchimp_forms.PAGES, "since_send_time"}
        return Answer(200, mailchimp_pages.page(query, key, list(found), dict))

    def _add(self, campaign: str, counter: str, kind: str, entry: Any) -> None:
        report = self.documents.kind("report")[campaign]
        self.documents.kind("report")[campaign] = {**report, counter: report[counter] + 1}
        self.documents.kind(kind)[campaign] = [*self.documents.kind(kind).get(campaign, []), entry]

    def _person(self, campaign: str, email: str) -> dict[str, Any]:
        return {"email_id": mailchimp_audience.subscriber_hash(email), "email_address": email, "campaign_id": campaign}


def _after(instant: str, since: str) -> bool:
    return datetime.fromisoformat(instant) > datetime.fromisoformat(since)


def _klaviyo(app: Any) -> None:
    for email, external_id in PEOPLE.items():
        app.people.upsert({"attributes": {"email": email, "external_id": external_id}}, clears=True)


def _mailchimp(app: Any) -> None:
    app.send("summer", dict.fromkeys(PEOPLE, "sent"), campaign_title="Summer", subject_line="It is warm")


PREPARED: dict[str, Callable[[Any], None]] = {"klaviyo": _klaviyo, "mailchimp": _mailchimp}


def served(name: str, specifications: Path, now: Now) -> AbstractContextManager[Any]:
    """A vendor's stand-in that is held to the vendor's document, with a key that all tests use."""
    return running(name, specifications=specifications, token="esp-key", clock=now)
