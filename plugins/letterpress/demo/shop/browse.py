"""What the shop's pages read: the rows that the API shows, and nothing of what is still to come or hidden.

The file is opened for reading only. Rows are JSON; a customer's are found by their text, which needs no index that
the simulation would have to keep. What grows with the visits is searched among the newest rows only.
"""

import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import orjson

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.store import Store

SEARCHED_EVENTS = 200_000  # the newest web events and mail events in which a customer's are looked for
SEARCHED_MAIL = 400_000
EVENT_KINDS = (
    "page",
    "identify",
    "Product Viewed",
    "Product Added",
    "Cart Viewed",
    "Checkout Started",
    "Order Completed",
)

Body = dict[str, Any]


class Pulse(NamedTuple):
    """What went on in the day before the shop's now; what was taken counts orders in pounds only."""

    orders: int
    taken: float
    visitors: int
    mails: int
    on_the_way: int


class News(NamedTuple):
    """Web events that came after a position: how many, the newest of them, and the position after them."""

    position: int
    count: int
    events: list[Body]


class Shelves:
    """The questions that the pages ask, each answered from the file as it stands."""

    def __init__(self, store: Store):
        self._store = store

    def products(self) -> list[Body]:
        """The catalogue in the order of its ids."""
        with self._open() as connection:
            return _bodies(connection.execute("select body from products order by key"))

    def product(self, product_id: str) -> Body | None:
        """A product; none where there is none of this id."""
        return self._row("products", product_id)

    def customer(self, customer_id: str) -> Body | None:
        """A customer as the back office has them; none where there is none of this id."""
        return self._row("customers", customer_id)

    def customers(self, search: str, offset: int, size: int) -> tuple[list[Body], int]:
        """Up to ``size`` customers whose name, address or id holds every word of the search, and how many there are.

        Case, accents and the kind of blank make no difference.
        """
        words = fold(search).split()
        with self._open() as connection:
            if not words:
                total = connection.execute("select count(*) from customers").fetchone()[0]
                page = connection.execute("select body from customers order by key limit ? offset ?", (size, offset))
                return _bodies(page), total
            found = []
            for (body,) in connection.execute("select body from customers order by key"):
                row = orjson.loads(body)
                names = ("first_name", "last_name", "email", "customer_id")
                text = fold(" ".join(str(row.get(name) or "") for name in names))
                if all(word in text for word in words):
                    found.append(row)
        return found[offset : offset + size], len(found)

    def consents(self, customer_id: str) -> list[Body]:
        """The consent records of a customer, the newest first."""
        return self._of("consents", customer_id, "recorded_at")

    def orders(self, customer_id: str) -> list[Body]:
        """The orders of a customer, the newest first, each with its ``lines`` and ``refunds``."""
        orders = self._of("orders", customer_id, "ordered_at")
        parts: dict[str, dict[str, list[Body]]] = {}
        wanted = orjson.dumps([order["order_id"] for order in orders]).decode()
        with self._open() as connection:
            for entity in ("order_lines", "refunds"):
                parts[entity] = defaultdict(list)
                query = f"""
                    select body from {entity}
                    where json_extract(cast(body as text), '$.order_id') in (select value from json_each(?))
                    order by key
                """
                for row in _bodies(connection.execute(query, (wanted,))) if orders else []:
                    parts[entity][row["order_id"]].append(row)
        return [
            order | {"lines": parts["order_lines"][order["order_id"]], "refunds": parts["refunds"][order["order_id"]]}
            for order in orders
        ]

    def mails(self, customer_id: str, count: int) -> tuple[list[Body], int]:
        """The newest ``count`` mails to a customer with the ``states`` of each, and how many there are."""
        mails: dict[str, Body] = {}
        for event in self._of("email_events", customer_id, "occurred_at", SEARCHED_MAIL)[::-1]:
            mail = mails.setdefault(str(event.get("message_id")), event | {"states": []})
            state = str(event.get("event_type"))
            if state == "open" and event.get("is_machine_open"):
                state = "machine open"
            if state not in mail["states"]:
                mail["states"].append(state)
        newest = sorted(mails.values(), key=lambda mail: str(mail.get("occurred_at")), reverse=True)
        return newest[:count], len(newest)

    def events_of(self, customer_id: str, count: int) -> list[Body]:
        """The newest web events of a customer while they were known."""
        return self._of("events", customer_id, "receivedAt", SEARCHED_EVENTS)[:count]

    def pulse(self, now: int) -> Pulse:
        """What went on in the day before this instant."""
        since = now - chance.DAY
        text = "json_extract(cast(body as text), ?)"
        with self._open() as connection:
            changed = _bodies(connection.execute("select body from orders where at > ?", (since,)))
            start = chance.iso(since)
            orders = [order for order in changed if str(order.get("ordered_at")) > start]
            visitors = connection.execute(
                f"select count(distinct {text}) from events where at > ?", ("$.anonymousId", since)
            ).fetchone()[0]
            mails = connection.execute(
                f"select count(*) from email_events where at > ? and {text} = 'sent'", (since, "$.event_type")
            ).fetchone()[0]
            on_the_way = connection.execute(
                f"select count(*) from orders where {text} = 'shipped'", ("$.status",)
            ).fetchone()[0]
        taken = sum(number(order.get("total_amount")) or 0.0 for order in orders if order.get("currency") == "GBP")
        return Pulse(len(orders), taken, visitors, mails, on_the_way)

    def position(self) -> int:
        """Where the events end: a position for ``news``."""
        with self._open() as connection:
            return connection.execute("select coalesce(max(rowid), 0) from events").fetchone()[0]

    def last_events(self, kind: str, count: int) -> list[Body]:
        """The newest events, the newest first; of one of ``EVENT_KINDS`` or of all for an empty text."""
        of_kind, values = _of_kind(kind)
        query = f"select body from events where {of_kind} order by at desc, key desc limit ?"
        with self._open() as connection:
            return _bodies(connection.execute(query, (*values, count)))

    def news(self, after: int, kind: str, count: int) -> News:
        """The events written after a position, whenever they were received; up to ``count`` of them, newest first."""
        of_kind, values = _of_kind(kind)
        where = f"from events where rowid > ? and {of_kind}"
        with self._open() as connection:
            connection.execute("begin")
            end = connection.execute("select coalesce(max(rowid), 0) from events").fetchone()[0]
            total = connection.execute(f"select count(*) {where}", (after, *values)).fetchone()[0]
            newest = connection.execute(f"select body {where} order by +at desc limit ?", (after, *values, count))
            return News(end, total, _bodies(newest))

    def _row(self, entity: str, key: str) -> Body | None:
        with self._open() as connection:
            found = connection.execute(f"select body from {entity} where key = ?", (key,)).fetchone()
        return orjson.loads(found[0]) if found else None

    def _of(self, entity: str, customer_id: str, order: str, newest: int = 2**62) -> list[Body]:
        """A customer's rows, the newest first, looked for among so many of those written last."""
        # the text comes first because it is quick: what else holds it is sorted out once it is read
        query = f"""
            select body from {entity}
            where rowid > (select max(rowid) - ? from {entity}) and instr(cast(body as blob), ?)
        """
        with self._open() as connection:
            rows = _bodies(connection.execute(query, (newest, orjson.dumps(customer_id))))
        field = "userId" if entity == "events" else "customer_id"
        return sorted(
            (row for row in rows if row.get(field) == customer_id), key=lambda row: str(row.get(order)), reverse=True
        )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        address = self._store.path.resolve().as_uri() + "?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=60, isolation_level=None)) as connection:
            yield connection


def number(value: Any) -> float | None:
    """A number, also where it comes as text; none for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def fold(text: str) -> str:
    """Text for comparison: without case, accents and kinds of blank."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))


def _of_kind(kind: str) -> tuple[str, tuple[str, ...]]:
    if not kind:
        return "true", ()
    path = "$.type" if kind in ("page", "identify") else "$.event"
    return "json_extract(cast(body as text), ?) = ?", (path, kind)


def _bodies(rows: sqlite3.Cursor) -> list[Body]:
    return [orjson.loads(body) for (body,) in rows]
