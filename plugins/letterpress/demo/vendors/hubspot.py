"""HubSpot's API as its customers meet it: contacts, properties, static lists, consent by kind of mail, email events."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from letterpress.demo.vendors.hubspot_parts.account import ACCOUNT, KINDS
from letterpress.demo.vendors.hubspot_parts.account_routes import AccountRoutes
from letterpress.demo.vendors.hubspot_parts.contact_routes import ContactRoutes
from letterpress.demo.vendors.hubspot_parts.contacts import Contacts
from letterpress.demo.vendors.limits import Window
from letterpress.demo.vendors.standin import Answer, Call, Refusal

BURST, INTERVAL = ACCOUNT["limits"][0]


def _kept(action: Callable[..., Any]) -> Callable[..., Any]:
    """What people do is kept as requests are: between them, and in the file."""

    @functools.wraps(action)
    def acting(self: "HubSpot", *given: Any, **named: Any) -> Any:
        with self._lock:
            found = action(self, *given, **named)
            self.documents.commit()
            return found

    return acting


class HubSpot(ContactRoutes, AccountRoutes):
    """One account, with data privacy switched on. A search finds what was changed ``job_seconds`` ago."""

    name = "hubspot"

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.contacts = Contacts(self.documents, self.clock, KINDS)
        self.is_day_spent = False  # whether all requests of the day are used up
        self.is_locked = 0  # so many requests more find a locked record
        self._correlations = itertools.count(1)

    # What people do at HubSpot, and with its mails

    @_kept
    def add_list(self, name: str, processing: str = "MANUAL", object_type: str = "0-1") -> str:
        """A new list; returns its id."""
        key = str(self.number("list"))
        one = {"id": key, "name": name, "processing": processing, "type": object_type, "members": {}}
        self.documents.kind("list")[key] = one
        return key

    @_kept
    def add_contact(self, **properties: str) -> str:
        """Somebody fills in a form; returns the record's id."""
        return self.contacts.write(None, self.contacts.accepted(None, properties))["id"]

    def members(self, list_id: str) -> set[str]:
        """The records of a list."""
        return set(self.documents.kind("list")[list_id]["members"])

    def status(self, email: str, kind: str) -> str | None:
        """SUBSCRIBED, NOT_SUBSCRIBED or none."""
        return self.documents.kind("status").get(email.lower(), {}).get(kind, {}).get("status")

    @_kept
    def unsubscribe(self, email: str, kind: str | None = None) -> None:
        """The person ends one kind of mail, or all."""
        for one in [kind] if kind else KINDS:
            self.set_status(email, one, "NOT_SUBSCRIBED")
        if kind is None:
            self.mark(email, hs_email_optout="true")
        self._note(email, "STATUSCHANGE")

    @_kept
    def resubscribe(self, email: str) -> None:
        """The person takes it back, on the page for preferences."""
        for one in KINDS:
            self.set_status(email, one, "SUBSCRIBED")
        self.mark(email, hs_email_optout="false")
        self._note(email, "STATUSCHANGE")

    @_kept
    def bounce(self, email: str, reason: str = "UNKNOWN_USER") -> None:
        """A mail comes back for good."""
        self.mark(email, hs_email_hard_bounce_reason_enum=reason)
        self._note(email, "BOUNCE")

    @_kept
    def complain(self, email: str) -> None:
        """The person calls a mail spam, and HubSpot opts the person out."""
        self.unsubscribe(email)
        self._note(email, "SPAMREPORT")

    @_kept
    def open(self, email: str, campaign: int = 1) -> None:
        """The person opens a mail."""
        self._note(email, "OPEN", campaign)

    @_kept
    def click(self, email: str, campaign: int = 1, url: str = "https://shop.example/") -> None:
        """The person follows a link."""
        self._note(email, "CLICK", campaign, url=url)

    @_kept
    def share_limit(self, requests: int) -> None:
        """Another program makes so many requests with the same private app."""
        window = self._windows.setdefault(ACCOUNT["group"], Window(ACCOUNT["limits"], self.clock))
        for _ in range(requests):
            window.take()

    def _note(self, email: str, kind: str, campaign: int = 1, **more: Any) -> None:
        key = str(self.number("event"))
        event = {"id": key, "created": round(self.clock() * 1_000), "type": kind, "recipient": email.lower()}
        account = {"portalId": 1, "appId": 1, "appName": "Batch", "emailCampaignId": campaign}
        self.documents.kind("event")[key] = {**event, **account, **more}

    # How HubSpot answers

    def answer(self, *given: Any) -> Answer:
        """Every answer but those to searches says what is left of the ten seconds."""
        with self._lock:
            answer = super().answer(*given)
            if given[1].endswith("/search") or answer.status == 401:
                return answer
            window = self._windows.get(ACCOUNT["group"])
            told = {
                "Max": BURST,
                "Remaining": window.left() if window else BURST,
                "Interval-Milliseconds": round(INTERVAL * 1_000),
            }
            headers = {f"X-HubSpot-RateLimit-{name}": str(value) for name, value in told.items()}
            return replace(answer, headers={**headers, **answer.headers})

    def authorise(self, call: Call) -> None:
        """A private app's token."""
        if call.headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if self.is_day_spent:
            raise self._too_many("DAILY")
        if self.is_locked:
            self.is_locked -= 1
            raise Refusal(423, "LOCKED", "The record is locked")

    def throttle(self, wait: float, call: Call) -> Refusal:
        """HubSpot names the policy, and not how long to wait."""
        if call.url.endswith("/search"):
            return self._too_many("SECONDLY")
        return self._too_many("DAILY" if wait > INTERVAL else "TEN_SECONDLY_ROLLING")

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"status": "error", "category": …}``, and the parts of it under ``errors``."""
        ours = {"not_found": "OBJECT_NOT_FOUND", "invalid": "VALIDATION_ERROR", "invalid_json": "VALIDATION_ERROR"}
        body = {
            "status": "error",
            "message": refusal.message,
            "correlationId": f"00000000-0000-4000-8000-{next(self._correlations):012d}",
            "category": ours.get(refusal.code, refusal.code),
            **refusal.details,
        }
        return Answer(refusal.status, body, refusal.headers)

    def _too_many(self, policy: str) -> Refusal:
        text = f"You have reached your {policy.lower()} limit."
        return Refusal(429, "RATE_LIMITS", text, errorType="RATE_LIMIT", policyName=policy)


STAND_IN = HubSpot
