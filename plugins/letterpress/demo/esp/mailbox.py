"""Accepted mail and everything that happens to it."""

import hashlib
import sqlite3
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from letterpress.demo.esp.addresses import normalised
from letterpress.demo.esp.database import Database
from letterpress.demo.esp.suppressions import active_reasons, suppress
from letterpress.demo.esp.tracking import Delivered

_EVENT_COLUMNS = """
    events.event_id, events.message_id, messages.campaign_id, messages.campaign_name, messages.subject,
    messages.external_id as customer_id, messages.recipient as email, events.event_type, events.bounce_type,
    events.is_machine_open, events.url, events.occurred_at, events.received_at
"""


# What an event means for the next mail: (event type, bounce type) -> reason of a suppression.
SUPPRESSES = {
    ("unsubscribe", None): "unsubscribed",
    ("complaint", None): "complained",
    ("bounce", "hard"): "bounced",
}


class SuppressedRecipient(Exception):
    """The recipient must not get mail; ``reason`` says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class KeyOfAnotherMessage(Exception):
    """An idempotency key came again with another recipient."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What the sender says about a mail."""

    idempotency_key: str | None
    campaign_id: str | None
    campaign_name: str | None
    external_id: str | None
    sender: str
    recipient: str
    subject: str


class Mailbox:
    """Messages by their idempotency key, and their events in the order of time."""

    def __init__(self, database: Database):
        self._database = database

    def accept(self, envelope: Envelope, deliver: Callable[[str], Delivered], now: str) -> str:
        """Store and deliver a mail, once for each idempotency key; returns its message id.

        ``deliver`` makes the delivered form for a message id. Raises :class:`SuppressedRecipient`, and
        :class:`KeyOfAnotherMessage` when the key belongs to a mail to somebody else.
        """
        key = envelope.idempotency_key
        message_id = "m_" + (hashlib.sha256(key.encode()).hexdigest()[:24] if key else uuid.uuid4().hex[:24])
        delivered = deliver(message_id)
        recipient_key = normalised(envelope.recipient)
        with self._database.transaction() as connection:
            if key:
                seen = connection.execute(
                    "select message_id, recipient_key from messages where idempotency_key = ?", (key,)
                ).fetchone()
                if seen is not None:
                    if seen["recipient_key"] != recipient_key:
                        raise KeyOfAnotherMessage
                    return seen["message_id"]
            reasons = active_reasons(connection, envelope.recipient, envelope.external_id)
            if reasons:
                raise SuppressedRecipient(reasons[-1])
            connection.execute(
                "insert into messages (message_id, idempotency_key, campaign_id, campaign_name, external_id,"
                " sender, recipient, recipient_key, subject, preview, content, accepted_at)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    message_id,
                    key,
                    envelope.campaign_id,
                    envelope.campaign_name,
                    envelope.external_id,
                    envelope.sender,
                    envelope.recipient,
                    recipient_key,
                    envelope.subject,
                    delivered.preview,
                    zlib.compress(delivered.content),
                    now,
                ),
            )
            connection.executemany(
                "insert into links values (?, ?, ?)",
                [(message_id, number, url) for number, url in enumerate(delivered.links)],
            )
            record(connection, message_id, "sent", now)
            record(connection, message_id, "delivered", now)
        return message_id

    def is_refused(self, recipient: str) -> str | None:
        """Why an address gets no mail, or ``None``."""
        with self._database.reading() as connection:
            reasons = active_reasons(connection, recipient, None)
        return reasons[-1] if reasons else None

    def by_key(self, idempotency_key: str) -> dict[str, Any] | None:
        """Id and time of the mail that was accepted under a key: settles a send whose answer was lost."""
        with self._database.reading() as connection:
            row = connection.execute(
                "select message_id, accepted_at from messages where idempotency_key = ?", (idempotency_key,)
            ).fetchone()
        return dict(row) if row else None

    def opened(self, message_id: str, now: str, *, is_machine: bool) -> None:
        """Somebody loaded the pixel."""
        with self._database.transaction() as connection:
            record(connection, message_id, "open", now, is_machine=is_machine)

    def clicked(self, message_id: str, number: int, now: str, *, is_machine: bool) -> str | None:
        """Somebody followed a link; returns where it leads, ``None`` where the mail has no such link."""
        with self._database.transaction() as connection:
            link = connection.execute(
                "select url from links where message_id = ? and number = ?", (message_id, number)
            ).fetchone()
            if link is None:
                return None
            record(connection, message_id, "click", now, url=link["url"], is_machine=is_machine)
        return link["url"]

    def link(self, message_id: str, number: int) -> str | None:
        """Where a link leads, without a click."""
        with self._database.reading() as connection:
            row = connection.execute(
                "select url from links where message_id = ? and number = ?", (message_id, number)
            ).fetchone()
        return row["url"] if row else None

    def unsubscribed(self, message_id: str, now: str) -> bool:
        """The recipient wants no more mail; false where there is no such message."""
        return self._leave(message_id, now, event_type="unsubscribe")

    def complained(self, message_id: str, now: str) -> bool:
        """The recipient marked the mail as spam; false where there is no such message."""
        return self._leave(message_id, now, event_type="complaint")

    def bounced(self, message_id: str, now: str, *, bounce_type: str) -> bool:
        """The mailbox sent the mail back; only a hard bounce suppresses. False without such a message."""
        return self._leave(message_id, now, event_type="bounce", bounce_type=bounce_type)

    def _leave(self, message_id: str, now: str, *, event_type: str, bounce_type: str | None = None) -> bool:
        with self._database.transaction() as connection:
            message = connection.execute(
                "select recipient, external_id from messages where message_id = ?", (message_id,)
            ).fetchone()
            if message is None:
                return False
            record(connection, message_id, event_type, now, bounce_type=bounce_type)
            reason = SUPPRESSES.get((event_type, bounce_type))
            if reason is not None:
                suppress(
                    connection,
                    email=message["recipient"],
                    external_id=message["external_id"],
                    reason=reason,
                    now=now,
                )
        return True

    def events(
        self, *, since: str | None, after: tuple[str, str], size: int
    ) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
        """Events by time of receipt and id; with the position to go on from, ``None`` at the end."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select {_EVENT_COLUMNS} from events join messages using (message_id)"
                " where (events.received_at, events.event_id) > (?, ?) and events.received_at >= ?"
                " order by events.received_at, events.event_id limit ?",
                (*after, since or "", size + 1),
            ).fetchall()
        found = [{**dict(row), "is_machine_open": bool(row["is_machine_open"])} for row in rows[:size]]
        position = (found[-1]["received_at"], found[-1]["event_id"]) if len(rows) > size else None
        return found, position


def record(
    connection: sqlite3.Connection,
    message_id: str,
    event_type: str,
    at: str,
    *,
    received_at: str | None = None,
    bounce_type: str | None = None,
    url: str | None = None,
    is_machine: bool = False,
) -> bool:
    """Record an event, received at once unless told otherwise; false where it was recorded before.

    Its id is its content, so the same thing at the same instant is one event. The shop's clock stands still
    between its steps: looking at a mail three times in a row is one open.
    """
    content = "\n".join((message_id, event_type, bounce_type or "", url or "", str(is_machine), at))
    recorded = connection.execute(
        "insert into events (event_id, message_id, event_type, bounce_type, is_machine_open, url,"
        " occurred_at, received_at) values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        (
            f"e_{hashlib.sha256(content.encode()).hexdigest()[:24]}",
            message_id,
            event_type,
            bounce_type,
            is_machine,
            url,
            at,
            received_at or at,
        ),
    )
    return recorded.rowcount == 1
