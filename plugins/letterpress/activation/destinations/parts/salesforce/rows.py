"""The columns that Letterpress needs in Marketing Cloud, and what rows of suppressions say."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from letterpress.activation.destinations.spec import Row, SuppressionEvent

SOURCE = "letterpress"  # of our own rows; the account's have another
TEXT, ADDRESS, FLAG = ("Text",), ("EmailAddress",), ("Boolean",)
PROFILE = {"ContactKey": TEXT, "EmailAddress": ADDRESS, "IsActive": FLAG}
LIST = {"ContactKey": TEXT, "EmailAddress": ADDRESS, "IsMember": FLAG}
SUPPRESSION = {
    **dict.fromkeys(("ContactKey", "Source", "Reason", "SuppressedAt", "ConsentedAt", "ConsentProof"), TEXT),
    "EmailAddress": ADDRESS,
    "IsSuppressed": FLAG,
}


def suppression(row: Row) -> dict[str, Any]:
    """What our own row says of somebody who must not be written to."""
    return {"Source": SOURCE, "EmailAddress": row.email, "Reason": row.reason, "IsSuppressed": True}


def consent(row: Row) -> dict[str, Any]:
    """What our own row says of somebody who opted in: it stops nothing any more, and holds the proof."""
    consented_at = row.consented_at.astimezone(UTC).isoformat() if row.consented_at else None
    proof = {"ConsentedAt": consented_at, "ConsentProof": row.consent_proof}
    return {"Source": SOURCE, "EmailAddress": row.email, "Reason": None, "IsSuppressed": False, **proof}


def event(row: Mapping[str, str]) -> SuppressionEvent:
    """A row of the account's own; one that cannot be read in full stops the person all the same."""
    reason = row["reason"].strip().lower()
    try:
        suppressed_at = datetime.fromisoformat(row["suppressedat"].strip())
    except ValueError:
        suppressed_at = datetime.now(UTC)
    return SuppressionEvent(
        email=row["emailaddress"] or None,
        external_id=row["contactkey"],
        reason=reason if reason in ("bounced", "complained") else "unsubscribed",
        suppressed_at=suppressed_at if suppressed_at.tzinfo else suppressed_at.replace(tzinfo=UTC),
    )
