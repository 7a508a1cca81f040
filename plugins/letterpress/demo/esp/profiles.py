"""The profiles that Letterpress syncs: attributes and segments under the sender's own customer id."""

import json
import sqlite3
from typing import Any

from letterpress.demo.esp.addresses import is_valid, normalised
from letterpress.demo.esp.database import Database
from letterpress.demo.esp.suppressions import active_reasons

_SUPPRESSED = """exists (
    select 1 from suppressions where suppressions.lifted_at is null and (
        suppressions.email_key = profiles.email_key
        or (suppressions.external_id = profiles.external_id and suppressions.reason <> 'bounced')
    )
) as suppressed"""


class Profiles:
    """Upsert, delete and list; bulk requests are executed once for each idempotency key."""

    def __init__(self, database: Database):
        self._database = database

    def upsert(self, key: str, rows: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
        """Create or replace profiles by ``external_id``; one result a row, in order.

        A row that cannot be accepted is rejected alone: ``invalid_email``, ``missing_external_id`` or
        ``erased`` (a person whose erasure was recorded does not come back).
        """

        def execute(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            return [self._upsert_one(connection, row, now) for row in rows]

        return self._database.once(key, "profiles", rows, now, execute)

    def _upsert_one(self, connection: sqlite3.Connection, row: dict[str, Any], now: str) -> dict[str, Any]:
        external_id = row["external_id"]
        email = (row["email"] or "").strip()
        error = None
        if not external_id.strip():
            error = {"code": "missing_external_id", "message": "expected an external_id, found a blank"}
        elif not is_valid(email):
            error = {"code": "invalid_email", "message": "expected a deliverable e-mail address"}
        elif "erased" in active_reasons(connection, email, external_id):
            error = {"code": "erased", "message": "this person was erased and is not taken in again"}
        if error is None:
            connection.execute(
                "insert into profiles values (?, ?, ?, ?, ?, ?) on conflict (external_id) do update set"
                " email = excluded.email, email_key = excluded.email_key, attributes = excluded.attributes,"
                " segments = excluded.segments, updated_at = excluded.updated_at",
                (
                    external_id,
                    email,
                    normalised(email),
                    json.dumps(row["attributes"], sort_keys=True),
                    json.dumps(row["segments"]),
                    now,
                ),
            )
        return {"external_id": external_id, "status": "rejected" if error else "accepted", "error": error}

    def delete(self, key: str, external_ids: list[str], now: str) -> list[dict[str, Any]]:
        """Remove profiles; ``deleted`` or ``absent`` for each. Suppressions and past messages stay."""

        def execute(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            results = []
            for external_id in external_ids:
                gone = connection.execute("delete from profiles where external_id = ?", (external_id,))
                status = "deleted" if gone.rowcount else "absent"
                results.append({"external_id": external_id, "status": status, "error": None})
            return results

        return self._database.once(key, "profiles/delete", external_ids, now, execute)

    def move(self, key: str, moves: list[dict[str, str]], now: str) -> list[dict[str, Any]]:
        """Give profiles another ``external_id``; where that one has a profile, it stays and the former goes."""

        def execute(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            results = []
            for move in moves:
                old, new = move["external_id"], move["new_external_id"]
                there = connection.execute("select 1 from profiles where external_id = ?", (new,)).fetchone()
                if there:
                    connection.execute("delete from profiles where external_id = ?", (old,))
                else:
                    connection.execute(
                        "update profiles set external_id = ?, updated_at = ? where external_id = ?", (new, now, old)
                    )
                # Both may have been suppressed for one reason: once is enough.
                connection.execute(
                    "update or replace suppressions set external_id = ? where external_id = ?", (new, old)
                )
                results.append({"external_id": old, "status": "moved", "error": None})
            return results

        return self._database.once(key, "profiles/move", moves, now, execute)

    def page(self, *, after: str, size: int) -> tuple[list[dict[str, Any]], str | None]:
        """Profiles by ``external_id``; with the id to go on from, ``None`` at the end."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select *, {_SUPPRESSED} from profiles where external_id > ? order by external_id limit ?",
                (after, size + 1),
            ).fetchall()
        found = [_profile(row) for row in rows[:size]]
        return found, found[-1]["external_id"] if len(rows) > size else None

    def get(self, external_id: str) -> dict[str, Any] | None:
        """One profile, or ``None``."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"select *, {_SUPPRESSED} from profiles where external_id = ?", (external_id,)
            ).fetchone()
        return _profile(row) if row else None

    def browse(self, *, search: str, segment: str, offset: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """The profiles that a page shows, and how many there are in all."""
        where = (
            "(:search = '' or instr(email_key, :search) or instr(lower(external_id), :search)"
            " or instr(lower(attributes), :search))"
            " and (:segment = '' or exists"
            " (select 1 from json_each(profiles.segments) as member where member.value = :segment))"
        )
        given = {"search": search.strip().lower(), "segment": segment, "size": size, "offset": offset}
        with self._database.reading() as connection:
            total = connection.execute(f"select count(*) as n from profiles where {where}", given).fetchone()["n"]
            rows = connection.execute(
                f"select *, {_SUPPRESSED} from profiles where {where}"
                " order by updated_at desc, external_id limit :size offset :offset",
                given,
            ).fetchall()
        return [_profile(row) for row in rows], total

    def segments(self) -> list[tuple[str, int]]:
        """Every segment and its size, the largest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "select member.value as segment, count(*) as n from profiles,"
                " json_each(profiles.segments) as member group by 1 order by 2 desc, 1"
            ).fetchall()
        return [(row["segment"], row["n"]) for row in rows]


def _profile(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "external_id": row["external_id"],
        "email": row["email"],
        "attributes": json.loads(row["attributes"]),
        "segments": json.loads(row["segments"]),
        "suppressed": bool(row["suppressed"]),
        "updated_at": row["updated_at"],
    }
