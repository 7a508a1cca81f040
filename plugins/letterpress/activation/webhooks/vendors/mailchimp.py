"""Mailchimp's audience webhooks: one form a delivery, not signed; the secret is the end of their address.

https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/: Mailchimp asks for the address with a
GET before it saves it, and its instants are UTC without saying so. They tell of addresses and not of messages, which
are pulled. Switch their source "api" off: what Letterpress itself changes needs no webhook back.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import md5
from urllib.parse import parse_qs

from letterpress.activation.webhooks.spec import Event, Reading, Unreadable, Vendor
from letterpress.activation.webhooks.vendors.fields import text

# The merge field that holds our id of the person.
_CUSTOMER = "data[merges][CUSTOMERID]"


def read(body: bytes, headers: Mapping[str, str]) -> Reading:
    """The event of a delivery. Raises Unreadable where it is no form of Mailchimp's."""
    try:
        fields = {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=500).items()}
    except ValueError:
        raise Unreadable("expected a form") from None
    if "type" not in fields:
        raise Unreadable("expected a type")
    kind = _kind(fields)
    if kind is None:
        return Reading([], other=1)
    email, occurred_at = text(fields.get("data[email]")), _fired_at(fields.get("fired_at"))
    if email is None or occurred_at is None:
        return Reading([], broken=1)
    event = Event(
        event_type=kind,
        occurred_at=occurred_at,
        told=(kind, fields.get("data[list_id]", ""), email.lower(), fields["fired_at"]),
        campaign_id=text(fields.get("data[campaign_id]")),
        customer_id=text(fields.get(_CUSTOMER)),
        email=email,
        bounce_type="hard" if kind == "bounce" else None,
        # Mailchimp's own name for a member, by which the ledger may know the person.
        vendor_id=md5(email.lower().encode(), usedforsecurity=False).hexdigest(),
    )
    return Reading([event])


def _kind(fields: Mapping[str, str]) -> str | None:
    reason = fields.get("data[reason]")
    if fields["type"] == "cleaned":
        return {"hard": "bounce", "abuse": "complaint"}.get(reason or "")
    # "delete" removes a member from the audience, which is the marketer's doing and nobody's wish.
    if fields["type"] != "unsubscribe" or fields.get("data[action]", "unsub") != "unsub":
        return None
    return "complaint" if reason == "abuse" else "unsubscribe"


def _fired_at(found: str | None) -> datetime | None:
    try:
        return datetime.strptime(found or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


VENDOR = Vendor(
    name="mailchimp",
    secret="a random text of your own: the end of the address that Mailchimp is given",
    media_type="application/x-www-form-urlencoded",
    read=read,
)
