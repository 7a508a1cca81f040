"""What the pages ask: messages with their state, one message with its events, campaigns with their counts."""

import zlib
from typing import Any

from letterpress.demo.esp.database import Database

STATES = {
    "delivered": "delivered",
    "open": "opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "bounce": "bounced",
    "complaint": "spam",
}

_WHERE = """
    (:search = '' or instr(messages.recipient_key, :search) or instr(lower(messages.subject), :search)
        or instr(lower(coalesce(messages.external_id, '')), :search)
        or instr(lower(coalesce(messages.campaign_name, messages.campaign_id, '')), :search))
    and (:campaign = '' or messages.campaign_id = :campaign)
    and (:person = '' or messages.external_id = :person)
    and (:state = '' or exists (select 1 from events
        where events.message_id = messages.message_id and events.event_type = :state
            and not events.is_machine_open))
"""


class Outbox:
    """Read-only queries for the pages; what a machine opened counts as no state of a message."""

    def __init__(self, database: Database):
        self._database = database

    def browse(
        self,
        *,
        search: str = "",
        campaign: str = "",
        state: str = "",
        person: str = "",
        offset: int,
        size: int,
    ) -> tuple[list[dict[str, Any]], int]:
        """Messages, newest first, each with its set of ``states``, and how many there are in all."""
        given = {
            "search": search.strip().lower(),
            "campaign": campaign,
            "state": state,
            "person": person,
            "size": size,
            "offset": offset,
        }
        with self._database.reading() as connection:
            total = connection.execute(f"select count(*) as n from messages where {_WHERE}", given).fetchone()["n"]
            rows = connection.execute(
                "select message_id, campaign_id, campaign_name, external_id, recipient, subject, preview, accepted_at,"
                " (select group_concat(distinct event_type) from events where not events.is_machine_open"
                " and events.message_id = messages.message_id) as event_types"
                f" from messages where {_WHERE} order by sequence desc limit :size offset :offset",
                given,
            ).fetchall()
        messages = []
        for row in rows:
            types = set((row["event_types"] or "").split(","))
            messages.append({**dict(row), "states": _states(types)})
        return messages, total

    def counts(self, campaign: str = "") -> dict[str, int]:
        """How many messages reached each state; ``accepted`` is all of them."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "select event_type, count(distinct message_id) as n"
                " from events join messages using (message_id)"
                " where not is_machine_open and (:campaign = '' or campaign_id = :campaign) group by 1",
                {"campaign": campaign},
            ).fetchall()
        found = {row["event_type"]: row["n"] for row in rows}
        return {"accepted": found.get("sent", 0)} | {name: found.get(kind, 0) for kind, name in STATES.items()}

    def campaigns(self) -> list[dict[str, Any]]:
        """Every campaign that sent something, with its number of messages, the latest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "select campaign_id, max(campaign_name) as campaign_name, count(*) as n from messages"
                " where campaign_id is not null group by 1 order by max(sequence) desc"
            ).fetchall()
        return [dict(row) for row in rows]

    def message(self, message_id: str) -> dict[str, Any] | None:
        """One message with its delivered ``content`` (bytes), ``events``, ``links`` and ``states``."""
        with self._database.reading() as connection:
            row = connection.execute("select * from messages where message_id = ?", (message_id,)).fetchone()
            if row is None:
                return None
            events = connection.execute(
                "select event_type, bounce_type, is_machine_open, url, occurred_at from events"
                " where message_id = ? order by sequence",
                (message_id,),
            ).fetchall()
            links = connection.execute(
                "select url, (select count(*) from events where events.message_id = links.message_id"
                " and events.event_type = 'click' and events.url = links.url) as clicks"
                " from links where message_id = ? order by number",
                (message_id,),
            ).fetchall()
        return {
            **dict(row),
            "content": zlib.decompress(row["content"]),
            "events": [dict(event) for event in events],
            "links": [dict(link) for link in links],
            "states": _states({event["event_type"] for event in events if not event["is_machine_open"]}),
        }


def _states(types: set[str]) -> list[str]:
    return [name for kind, name in STATES.items() if kind in types]
