"""What is about to leave for an ESP: the last look, at the very rows of the request.

A batch is the payloads of one request, ``external_id``, ``email``, ``segments`` and every attribute as
``attributes.<name>``. A field map decides what is sent; where it sends the facts that
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
    json_text,
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


LOCAL_ESP = [
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
    json_text("segments", optional=True),
    *_speaks_for(""),
    *_speaks_for("attributes."),
]

PAYLOADS: dict[str, list[Check]] = {"payload_local_esp": LOCAL_ESP}
