"""The local ESP's one SQLite file: schema, transactions, and answers that are given once."""

import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
create table if not exists meta (name text primary key, value text not null);

create table if not exists profiles (
    external_id text primary key,
    email text not null,
    email_key text not null,
    attributes text not null,
    segments text not null,
    updated_at text not null
);
create index if not exists profiles_by_email on profiles (email_key);

create table if not exists requests (
    idempotency_key text primary key,
    request_hash text not null,
    answer text not null,
    answered_at text not null
);

create table if not exists suppressions (
    sequence integer primary key autoincrement,
    email text,
    email_key text,
    external_id text,
    reason text not null,
    suppressed_at text not null,
    lifted_at text
);
create unique index if not exists suppressions_once
    on suppressions (coalesce(email_key, ''), coalesce(external_id, ''), reason) where lifted_at is null;
create index if not exists suppressions_by_email on suppressions (email_key);
create index if not exists suppressions_by_person on suppressions (external_id);

create table if not exists lifts (
    consent_proof text primary key,
    external_id text,
    email_key text,
    lifted_at text not null
);

create table if not exists messages (
    sequence integer primary key autoincrement,
    message_id text not null unique,
    idempotency_key text unique,
    campaign_id text,
    campaign_name text,
    external_id text,
    sender text not null,
    recipient text not null,
    recipient_key text not null,
    subject text not null,
    preview text not null,
    content blob not null,
    accepted_at text not null
);
create index if not exists messages_by_person on messages (external_id);

create table if not exists links (
    message_id text not null references messages (message_id),
    number integer not null,
    url text not null,
    primary key (message_id, number)
);

create table if not exists events (
    sequence integer primary key autoincrement,
    event_id text not null unique,
    message_id text not null references messages (message_id),
    event_type text not null,
    bounce_type text,
    is_machine_open integer not null,
    url text,
    occurred_at text not null,
    received_at text not null
);
create index if not exists events_by_message on events (message_id, event_type);
create index if not exists events_by_time on events (received_at, event_id);
"""


class KeyReused(Exception):
    """An idempotency key came again with another request."""


class Database:
    """One connection for the whole process; every statement runs within :meth:`transaction`.

    ``synchronous = full`` with a write-ahead log: what was answered survives a kill and a power cut.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # addresses: the owner alone may read
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute("pragma foreign_keys = on")
        self._connection.executescript(f"begin immediate; {SCHEMA} commit;")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is committed when the block ends, or nothing of it."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of the last commit."""
        with self._lock:
            self._connection.execute("begin")
            try:
                yield self._connection
            finally:
                self._connection.execute("rollback")

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._connection.close()

    def recall(self, name: str) -> str | None:
        """A remembered value."""
        with self.reading() as connection:
            row = connection.execute("select value from meta where name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        with self.transaction() as connection:
            connection.execute(
                "insert into meta values (?, ?) on conflict (name) do update set value = excluded.value",
                (name, value),
            )

    def signing_key(self) -> bytes:
        """The key of the tracking links, made on the first start."""
        with self.transaction() as connection:
            connection.execute(
                "insert into meta values ('signing_key', ?) on conflict (name) do nothing",
                (secrets.token_hex(32),),
            )
            row = connection.execute("select value from meta where name = 'signing_key'").fetchone()
        return bytes.fromhex(row["value"])

    def once(
        self,
        idempotency_key: str,
        operation: str,
        request: Any,
        now: str,
        execute: Callable[[sqlite3.Connection], Any],
    ) -> Any:
        """Execute a request the first time its key is seen and give the same answer ever after.

        Effects and answer are committed together. Raises :class:`KeyReused` when the key was used for
        another operation or another request.
        """
        canonical = json.dumps([operation, request], sort_keys=True, separators=(",", ":"))
        request_hash = hashlib.sha256(canonical.encode()).hexdigest()
        with self.transaction() as connection:
            seen = connection.execute(
                "select request_hash, answer from requests where idempotency_key = ?", (idempotency_key,)
            ).fetchone()
            if seen is not None:
                if seen["request_hash"] != request_hash:
                    raise KeyReused(idempotency_key)
                return json.loads(seen["answer"])
            answer = execute(connection)
            connection.execute(
                "insert into requests values (?, ?, ?, ?)",
                (idempotency_key, request_hash, json.dumps(answer), now),
            )
            return answer
