"""Who must not get mail: a list that only a new opt-in of the person shortens."""

import sqlite3
from typing import Any

from letterpress.demo.esp.addresses import normalised
from letterpress.demo.esp.database import Database

REASONS = ("unsubscribed", "bounced", "complained", "erased", "consent_withdrawn")
PERMANENT = ("bounced", "complained", "erased")

# A dead mailbox says nothing about the person's next one; every other reason is the person's will.
_CONCERNS = "lifted_at is null and (email_key = :email_key or (external_id = :external_id and reason <> 'bounced'))"


class LiftRefused(Exception):
    """A suppression that this request cannot lift; ``code`` says why, without the address."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def active_reasons(connection: sqlite3.Connection, email: str | None, external_id: str | None) -> list[str]:
    """Why this address or person is suppressed now; empty where mail may go."""
    rows = connection.execute(
        f"select reason from suppressions where {_CONCERNS} order by sequence",
        {"email_key": normalised(email) if email else None, "external_id": external_id},
    )
    return [row["reason"] for row in rows]


def suppress(
    connection: sqlite3.Connection, *, email: str | None, external_id: str | None, reason: str, now: str
) -> None:
    """Add a suppression; the same one again changes nothing."""
    connection.execute(
        "insert into suppressions (email, email_key, external_id, reason, suppressed_at)"
        " values (?, ?, ?, ?, ?) on conflict do nothing",
        (email, normalised(email) if email else None, external_id, reason, now),
    )


class Suppressions:
    """The suppression list as the API offers it."""

    def __init__(self, database: Database):
        self._database = database

    def add(self, rows: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
        """Suppress many; one result a row. An absent e-mail is taken from the profile where there is one."""
        results = []
        with self._database.transaction() as connection:
            for row in rows:
                email, external_id = row.get("email"), row.get("external_id")
                error = None
                if row["reason"] not in REASONS:
                    error = {
                        "code": "unknown_reason",
                        "message": f"expected one of {', '.join(REASONS)}, found {row['reason']!r}",
                    }
                elif not email and not external_id:
                    error = {
                        "code": "nobody",
                        "message": "expected an email or an external_id, found neither",
                    }
                else:
                    if not email:
                        profile = connection.execute(
                            "select email from profiles where external_id = ?", (external_id,)
                        ).fetchone()
                        email = profile["email"] if profile else None
                    suppress(connection, email=email, external_id=external_id, reason=row["reason"], now=now)
                results.append(
                    {
                        "external_id": external_id,
                        "status": "rejected" if error else "accepted",
                        "error": error,
                    }
                )
        return results

    def page(self, *, since: str | None, after: int, size: int) -> tuple[list[dict[str, Any]], int | None]:
        """Suppressions in force, by sequence; with the sequence to go on from, ``None`` at the end."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "select email, external_id, reason, suppressed_at, sequence from suppressions"
                " where lifted_at is null and sequence > ? and suppressed_at >= ? order by sequence limit ?",
                (after, since or "", size + 1),
            ).fetchall()
        found = [dict(row) for row in rows[:size]]
        return found, found[-1]["sequence"] if len(rows) > size else None

    def lift(self, *, email: str | None, external_id: str | None, consent_proof: str, now: str) -> dict[str, Any]:
        """Let a person in again who has opted in anew; raises :class:`LiftRefused`.

        A proof of consent serves once: after the next unsubscribe only a new one lifts again. Complaints,
        hard bounces and erasures stay.
        """
        person = {"email_key": normalised(email) if email else None, "external_id": external_id}
        with self._database.transaction() as connection:
            reasons = active_reasons(connection, email, external_id)
            permanent = [reason for reason in reasons if reason in PERMANENT]
            if permanent:
                raise LiftRefused(
                    "permanent",
                    f"expected a suppression that an opt-in lifts, found {permanent[0]}: it stays",
                )
            proof = connection.execute("select * from lifts where consent_proof = ?", (consent_proof,)).fetchone()
            if proof is not None:
                same = (proof["external_id"], proof["email_key"]) == (external_id, person["email_key"])
                if same and not reasons:
                    return {"external_id": external_id, "status": "lifted", "lifted_at": proof["lifted_at"]}
                raise LiftRefused("proof_used", "expected the proof of a new opt-in, found one that has lifted before")
            if not reasons:
                return {"external_id": external_id, "status": "not_suppressed", "lifted_at": None}
            connection.execute(f"update suppressions set lifted_at = :now where {_CONCERNS}", {**person, "now": now})
            connection.execute(
                "insert into lifts values (?, ?, ?, ?)",
                (consent_proof, external_id, person["email_key"], now),
            )
        return {"external_id": external_id, "status": "lifted", "lifted_at": now}

    def browse(self, *, offset: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """The list for the page, newest first, and how many there are in all."""
        with self._database.reading() as connection:
            total = connection.execute("select count(*) as n from suppressions where lifted_at is null").fetchone()["n"]
            rows = connection.execute(
                "select email, external_id, reason, suppressed_at from suppressions where lifted_at is null"
                " order by sequence desc limit ? offset ?",
                (size, offset),
            ).fetchall()
        return [dict(row) for row in rows], total
