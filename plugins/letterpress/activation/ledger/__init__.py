"""The ledger: what each destination last acknowledged about each person.

A row advances only on the destination's acknowledgement. Before a request leaves, its rows are *claimed* (state
``sent``, what is under way, a revision, the request's id); when the answer is known they are *settled*
(``accepted``, ``rejected`` or ``dead``). A queued request's answer is known once its result was read. A kill in
between leaves ``sent``: nobody knows whether the destination has it, so the next plan takes the row up again.

=========  ===============================================================================================
planned    to be sent again though nothing changed: a person asked for it, or the drift check found it
sent       under way, or its answer was lost
accepted   the destination acknowledged it
rejected   refused for the time being; tried again by the next runs
dead       refused for what it is: waits until the row changes or is replayed
=========  ===============================================================================================

The revision counts the changes begun. It is part of the idempotency key, because a person who goes from A to
B and back to A is a new change and must not be answered with the acknowledgement of the first A.
"""

from letterpress.activation.ledger.claims import abandon, claim, examine, queue, refuse
from letterpress.activation.ledger.marks import note_suppressed, plan_again, replay
from letterpress.activation.ledger.queries import (
    acknowledged,
    all_payloads,
    certain,
    dead_letters,
    held,
    payloads,
    people_of,
    queued,
    rows_of,
    rows_of_batch,
    settled,
    summary,
    unsettled,
    vendor_ids,
)
from letterpress.activation.ledger.rows import (
    ABANDONED,
    ACCEPTED,
    ATTEMPTS,
    CLEARED,
    CONSENT,
    DEAD,
    DONE,
    GRANTED,
    LIST,
    MOVES_TO,
    PLANNED,
    PROFILE,
    QUEUED,
    REFUSED,
    REJECTED,
    REMOVALS,
    SENT,
    Batch,
    Change,
    Claim,
    is_granted,
    member_of,
)
from letterpress.activation.ledger.settling import settle

__all__ = [
    "ABANDONED",
    "ACCEPTED",
    "ATTEMPTS",
    "CLEARED",
    "CONSENT",
    "DEAD",
    "DONE",
    "GRANTED",
    "LIST",
    "MOVES_TO",
    "PLANNED",
    "PROFILE",
    "QUEUED",
    "REFUSED",
    "REJECTED",
    "REMOVALS",
    "SENT",
    "Batch",
    "Change",
    "Claim",
    "abandon",
    "acknowledged",
    "all_payloads",
    "certain",
    "claim",
    "dead_letters",
    "examine",
    "held",
    "is_granted",
    "member_of",
    "note_suppressed",
    "payloads",
    "people_of",
    "plan_again",
    "queue",
    "queued",
    "refuse",
    "replay",
    "rows_of",
    "rows_of_batch",
    "settle",
    "settled",
    "summary",
    "unsettled",
    "vendor_ids",
]
