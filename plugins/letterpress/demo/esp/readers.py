"""Readers of the delivered mail, as the demo shop plays them: what lies in their mailboxes and what they do with it."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from letterpress.demo.esp.clock import instant
from letterpress.demo.esp.database import Database
from letterpress.demo.esp.mailbox import SUPPRESSES, record
from letterpress.demo.esp.suppressions import suppress

REFUSALS = {
    "unknown_message": "expected the id of an accepted message, found another",
    "untracked": "expected a message of a campaign, found one without pixel, links and way out",
    "unknown_link": "expected the number of a link of this message, found none or another",
    "no_link": "expected a link number for a click only, found one for another kind",
    "bounce_type": "expected bounce_type for a bounce and for nothing else",
    "is_machine": "expected is_machine for an open or a click only",
    "too_early": "expected an instant at or after the message's accepted_at, found an earlier one",
    "received_too_early": "expected received_at at or after at, found an earlier one",
}

_MAIL = """
    select sequence, message_id, accepted_at, campaign_id, campaign_name, external_id, recipient, subject, preview
    from messages where sequence > ? order by sequence limit ?
"""
_LINKS = """
    select links.message_id, links.url from messages join links using (message_id)
    where messages.sequence > ? and messages.sequence <= ? order by messages.sequence, links.number
"""
_MESSAGES = """
    select message_id, accepted_at, recipient, external_id,
        coalesce(idempotency_key, campaign_id, campaign_name, external_id) is not null as is_tracked
    from messages where message_id in (select value from json_each(?))
"""
_URLS = "select message_id, number, url from links where message_id in (select value from json_each(?))"


class Reaction(BaseModel):
    """What a person or a machine did with a message, at an instant of the simulated world."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: str = Field(max_length=200)
    kind: Literal["open", "click", "unsubscribe", "complaint", "bounce"]
    at: AwareDatetime
    received_at: AwareDatetime
    is_machine: bool = False
    link: int | None = Field(default=None, description="of a click: its place in the message's links, from 0")
    bounce_type: Literal["hard", "soft"] | None = None


class Readers:
    """Lists what was delivered and records what became of it. Nothing here asks what time it is."""

    def __init__(self, database: Database):
        self._database = database

    def mail(self, *, after: int, size: int) -> list[dict[str, Any]]:
        """Up to ``size`` messages after a sequence, in its order; ``links`` holds their URLs by number."""
        with self._database.reading() as connection:
            rows = connection.execute(_MAIL, (after, size)).fetchall()
            links = connection.execute(_LINKS, (after, rows[-1]["sequence"])).fetchall() if rows else []
        of_message = defaultdict(list)
        for link in links:
            of_message[link["message_id"]].append(link["url"])
        return [{**dict(row), "links": of_message[row["message_id"]]} for row in rows]

    def react(self, reactions: Sequence[Reaction]) -> list[str | None]:
        """Record reactions in one transaction; for each ``None``, or why it was refused: a key of ``REFUSALS``.

        Events and suppressions are those that pixel, link, unsubscribe page and the message's buttons make. The
        same reaction again is neither a second event nor a second suppression, even after an opt-in has lifted
        the first.
        """
        with self._database.transaction() as connection:
            messages = {row["message_id"]: row for row in connection.execute(_MESSAGES, (_ids(reactions),))}
            clicks = [reaction for reaction in reactions if reaction.link is not None]
            links: dict[tuple[str, int | None], str] = {
                (row["message_id"], row["number"]): row["url"] for row in connection.execute(_URLS, (_ids(clicks),))
            }
            return [
                _react(
                    connection,
                    reaction,
                    messages.get(reaction.message_id),
                    links.get((reaction.message_id, reaction.link)),
                )
                for reaction in reactions
            ]


def _ids(reactions: Sequence[Reaction]) -> str:
    return json.dumps(list({reaction.message_id for reaction in reactions}))


def _react(
    connection: sqlite3.Connection, reaction: Reaction, message: sqlite3.Row | None, url: str | None
) -> str | None:
    if message is None:
        return "unknown_message"
    at, received_at = instant(reaction.at), instant(reaction.received_at)
    if at < message["accepted_at"]:
        return "too_early"
    if received_at < at:
        return "received_too_early"
    refusal = _contradiction(reaction, is_tracked=message["is_tracked"], has_link=url is not None)
    if refusal is not None:
        return refusal
    is_new = record(
        connection,
        reaction.message_id,
        reaction.kind,
        at,
        received_at=received_at,
        bounce_type=reaction.bounce_type,
        url=url,
        is_machine=reaction.is_machine,
    )
    reason = SUPPRESSES.get((reaction.kind, reaction.bounce_type))
    if is_new and reason is not None:
        suppress(
            connection,
            email=message["recipient"],
            external_id=message["external_id"],
            reason=reason,
            now=max(received_at, _last_suppressed_at(connection)),
        )
    return None


def _contradiction(reaction: Reaction, *, is_tracked: bool, has_link: bool) -> str | None:
    """Why nobody could have done this with the message."""
    if not is_tracked and reaction.kind in ("open", "click", "unsubscribe"):
        return "untracked"
    if reaction.kind == "click" and not has_link:
        return "unknown_link"
    if reaction.kind != "click" and reaction.link is not None:
        return "no_link"
    if (reaction.kind == "bounce") != (reaction.bounce_type is not None):
        return "bounce_type"
    if reaction.is_machine and reaction.kind not in ("open", "click"):
        return "is_machine"
    return None


def _last_suppressed_at(connection: sqlite3.Connection) -> str:
    """A pull goes on from the last instant that it saw: a suppression behind that would never be pulled."""
    row = connection.execute("select suppressed_at from suppressions order by sequence desc limit 1").fetchone()
    return row["suppressed_at"] if row else ""
