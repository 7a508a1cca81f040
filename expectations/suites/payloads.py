"""What is about to leave for an ESP: the last look, at every profile of a plan before its first request.

A batch is people of a plan, ``external_id``, ``email``, ``is_eligible`` and every mapped column as
``attributes.<name>``, the same for each destination. A field map decides what is sent; where it sends the facts that
decide eligibility, they have to speak for the person.
"""

from expectations.suites.check import (
    EMAIL,
    NORMALISED,
    NOT_BLANK,
    Check,
    columns,
    empty,
    filled,
    matches,
    one_of,
    rows,
    unique,
)


def _speaks_for(prefix: str) -> list[Check]:
    """Eligibility, where a payload carries it."""
    return [
        filled(f"{prefix}is_eligible", optional=True),
        one_of(f"{prefix}is_eligible", [True], optional=True),
        filled(f"{prefix}email_consent_status", optional=True),
        one_of(f"{prefix}email_consent_status", ["granted"], optional=True),
        empty(f"{prefix}refusal_reason", optional=True),
        one_of(f"{prefix}is_email_suppressed", [False], optional=True),
    ]


PAYLOAD = [
    columns("external_id", "email"),
    rows(1),
    filled("external_id"),
    matches("external_id", NOT_BLANK),
    unique("external_id"),
    filled("email"),
    matches("email", EMAIL),
    matches("email", NORMALISED),
    # Two people may share an address; many of them doing so is an identity that went wrong.
    unique("email", "warning"),
    *_speaks_for(""),
    *_speaks_for("attributes."),
]

PAYLOADS: dict[str, list[Check]] = {"payload": PAYLOAD}
