"""What HubSpot knows of consent: opt-outs by kind of mail, hard bounces, complaints; and how it is told of them."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from letterpress.activation.destinations.parts.hubspot.records import (
    CONTACTS,
    ID,
    Records,
    email_of,
    milliseconds,
    row_error,
)
from letterpress.activation.destinations.spec import DestinationError, Operation, Row, RowError, SuppressionEvent

SUBSCRIPTIONS, EVENTS = "/communication-preferences/v3", "/email/public/v1/events"
PAGE, EVENT_PAGE = 200, 1_000  # contacts of a search, email events
INDEXED = 600_000  # milliseconds after which a change can be searched for, for certain: later ones are read again
OPTED_OUT, BOUNCED = "hs_email_optout", "hs_email_hard_bounce_reason_enum"


class Consent:
    """Reads and writes consent. ``kind`` is the subscription type of the mails that Letterpress writes.

    ``legal_basis`` goes with every change: accounts with data privacy switched on want one.
    """

    def __init__(self, records: Records, kind: str, legal_basis: str):
        self._records, self._kind, self._legal_basis = records, kind, legal_basis
        self._kinds: list[str] | None = None
        self._lock = threading.Lock()
        self.stops = (OPTED_OUT, f"{OPTED_OUT}_{kind}", BOUNCED)  # properties that say that nobody may write

    def check(self) -> None:
        """Refuse a kind of mail that HubSpot does not have."""
        kinds = self.kinds()
        if self._kind not in kinds:
            raise DestinationError(
                f"hubspot: options.subscription_id: expected one of {', '.join(kinds)}, found {self._kind}; HubSpot "
                "shows them under Settings, Marketing, Email, Subscription types"
            )

    def kinds(self) -> list[str]:
        """The ids of all kinds of mail that are in use, read once."""
        with self._lock:
            if self._kinds is None:
                found = self._records.api.get("read", f"{SUBSCRIPTIONS}/definitions")["subscriptionDefinitions"]
                self._kinds = [one["id"] for one in found if one["isActive"]]
            return self._kinds

    def stop(self, row: Row, kinds: Sequence[str]) -> RowError | None:
        """End kinds of mail to our address of a person and to those that HubSpot has of the person.

        They are older where a contact was not updated; an opt-in for another address makes a contact without our id.
        """
        held = self._records.found(ID, [row.customer_id], ["email"])
        for contact in self._records.found("email", row.former_emails, [ID, "email"]):
            held += [] if contact["properties"].get(ID) else [contact]
        emails = {email for email in ((row.email or "").lower(), *map(email_of, held)) if email}
        why = f"Letterpress: {row.reason or 'suppressed'}"
        for email in sorted(emails):
            for kind in kinds:
                error = self._set(Operation.SUPPRESS, "unsubscribe", row._replace(email=email), kind, why)
                if error:
                    return error
        return None

    def subscribe(self, row: Row) -> RowError | None:
        """Record an opt-in with its proof. What the person has ended, HubSpot lets nobody else begin again."""
        when = f" of {row.consented_at.date().isoformat()}" if row.consented_at else ""
        why = f"Letterpress: consent {row.consent_proof}{when}"
        return self._set(Operation.SUBSCRIBE, "subscribe", row, self._kind, why)

    def _set(self, operation: Operation, verb: str, row: Row, kind: str, why: str) -> RowError | None:
        """``POST …/subscribe`` or ``…/unsubscribe``: that it was so before is as good."""
        body = {
            "emailAddress": row.email,
            "subscriptionId": kind,
            "legalBasis": self._legal_basis,
            "legalBasisExplanation": why,
        }
        answer = self._records.api.post(operation, f"{SUBSCRIPTIONS}/{verb}", body, expected=(400,))
        if answer.get("status") != "error":
            return None
        message = answer.get("message") or ""
        if f"is already {verb}d" in message:
            return None
        if "because they have unsubscribed" in message:
            return RowError("OPTED_OUT", "only the person can lift an opt-out, on HubSpot's page for preferences")
        return row_error(answer, row)

    def suppressions(self, since: str | None, *, reads_complaints: bool) -> tuple[list[SuppressionEvent], str | None]:
        """Opt-outs and bounces of contacts that changed, dated by their properties' history, and complaints.

        A contact's own date of change says nothing of its opt-out: every upsert of ours moves it. The position has
        one instant for contacts and one for email events.
        """
        position = {"contacts": 0, "events": 0, **(orjson.loads(since) if since else {})}
        changed = list(self._changed(max(0, position["contacts"] - INDEXED)))
        ids = [contact["id"] for contact in changed]
        contacts = self._records.histories(ids, [ID, "email"], self.stops)
        events = [event for contact in contacts for event in self._events(contact)]
        complaints = list(self._complaints(max(0, position["events"] - INDEXED))) if reads_complaints else []
        found = self._records.found("email", [one["recipient"].lower() for one in complaints], [ID, "email"])
        ours = {email_of(contact): contact["properties"].get(ID) or None for contact in found}
        for one in complaints:
            email, at = one["recipient"].lower(), datetime.fromtimestamp(one["created"] / 1_000, UTC)
            events.append(SuppressionEvent(email, ours.get(email), "complained", at))
        modified = [milliseconds(contact["properties"]["lastmodifieddate"]) for contact in changed]
        position["contacts"] = max([position["contacts"], *modified])
        position["events"] = max([position["events"], *(one["created"] for one in complaints)])
        return events, orjson.dumps(position).decode() if any(position.values()) else since

    def _changed(self, since: int) -> Iterator[dict]:
        """Contacts with a stop that changed since. They come by record id: a search by date ends at 10,000."""
        last = "0"
        while True:
            narrow = [
                {"propertyName": "lastmodifieddate", "operator": "GTE", "value": str(since)},
                {"propertyName": "hs_object_id", "operator": "GT", "value": last},
            ]
            body = {
                "filterGroups": [{"filters": [_is_set(name), *narrow]} for name in self.stops],
                "sorts": ["hs_object_id"],
                "properties": ["lastmodifieddate"],
                "limit": PAGE,
            }
            page = self._records.ask("search", f"{CONTACTS}/search", body)["results"]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]["id"]

    def _events(self, contact: Mapping[str, Any]) -> Iterator[SuppressionEvent]:
        """By reason, the instant that the present value of the earliest of its properties was first there."""
        instants: dict[str, list[datetime]] = {}
        for name in self.stops:
            history = contact["propertiesWithHistory"].get(name) or []
            since = None
            for version in history:  # the latest first
                if version["value"] in ("", "false") or version["value"] != history[0]["value"]:
                    break
                since = version["timestamp"]
            if since:
                reason = "bounced" if name == BOUNCED else "unsubscribed"
                instants.setdefault(reason, []).append(datetime.fromisoformat(since))
        external_id = contact["properties"].get(ID) or None
        for reason, found in instants.items():
            yield SuppressionEvent(email_of(contact) or None, external_id, reason, min(found))

    def _complaints(self, since: int) -> Iterator[dict]:
        params = {"eventType": "SPAMREPORT", "startTimestamp": since, "limit": EVENT_PAGE}
        while True:
            page = self._records.api.get("read", EVENTS, params=params)
            yield from page["events"]
            if not page["hasMore"]:
                return
            params["offset"] = page["offset"]


def _is_set(name: str) -> dict[str, str]:
    if name == BOUNCED:
        return {"propertyName": name, "operator": "HAS_PROPERTY"}
    return {"propertyName": name, "operator": "EQ", "value": "true"}
