"""Facts become rows: what the API shows, one JSON object each, with its key and the instant it appears."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson

from letterpress.demo.simulation import mail
from letterpress.demo.simulation.chance import date_of, hexadecimal, iso, iso_many, start_of
from letterpress.demo.simulation.identity import FIRST_GUEST, address, addresses, as_typed, full_name, telephone
from letterpress.demo.simulation.simulator import Day, World
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import (
    ADJECTIVES,
    CAMPAIGN_THEMES,
    CATEGORIES,
    CONSENT_SOURCES,
    CONSENT_STATUSES,
    COUNTRIES,
    LOYALTY_TIERS,
    ORDER_STATUSES,
    REFUND_REASONS,
    SITE,
    ZONES,
)


class Row(NamedTuple):
    """A version of a row: the latest one whose instant has come is what the API shows."""

    key: str
    at: int
    body: bytes


CURRENCY = "GBP"
WORDING_CHANGED = 200  # days after the opening


def customer_id(account: int) -> str:
    """The shop's name for an account."""
    return f"C{account + 1:06d}"


def product_id(product: int) -> str:
    """The shop's name for a product."""
    return f"P{product + 1:04d}"


def order_id(number: int) -> str:
    """The shop's name for an order."""
    return f"O{number:06d}"


def pounds(pence: int) -> float:
    """Money as the API shows it."""
    return round(pence / 100, 2)


def campaign_id(campaign: int) -> str:
    """The name of a mailing in links and events."""
    return f"newsletter-{date_of(campaign)}" if campaign else "welcome"


def campaign_name(campaign: int) -> str:
    """The title of a mailing."""
    if not campaign:
        return "Welcome"
    theme = CAMPAIGN_THEMES[campaign // 7 % len(CAMPAIGN_THEMES)]
    return theme.format(category=CATEGORIES[mail.category_of(campaign)].name)


class Goods:
    """The names of the products, made once for a state."""

    def __init__(self, state: State):
        self.names = []
        self.shelves = state.products["category"].tolist()
        for shelf, code in zip(self.shelves, state.products["name"].tolist(), strict=True):
            self.names.append(f"{ADJECTIVES[code // 100]} {CATEGORIES[shelf].things[code % 100]}")
        self.created = state.products["created_day"].tolist()

    def description(self, product: int) -> str:
        """A sentence that a shop would write."""
        shelf = CATEGORIES[self.shelves[product]]
        return f"{self.names[product]} from our {shelf.name.lower()} range, made to be used every day and given away."


def render(world: World, state: State, day: Day) -> dict[str, Iterator[Row]]:
    """The rows of a day by entity."""
    goods = Goods(state)
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "customers": lambda: _customers(state, day),
        "consents": lambda: _consents(world, day),
        "products": lambda: _products(goods, day),
        "orders": lambda: _orders(state, day),
        "order_lines": lambda: _order_lines(day),
        "refunds": lambda: _refunds(day),
        "email_events": lambda: _email_events(state, day),
    }
    return {name: part() for name, part in parts.items()}


def _rows(columns: dict[str, np.ndarray], *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name].tolist() for name in names), strict=True)


def _customers(state: State, day: Day) -> Iterator[Row]:
    people, held, versions = state.people, state.accounts, day.customers
    account = versions["account"]
    person = held["person"][account]
    mails = addresses(state, account)
    static = zip(
        *(people[name][person].tolist() for name in ("country", "zone", "first_name", "last_name", "birth_day")),
        held["has_birth_date"][account].tolist(),
        iso_many(held["signed_up_at"][account]),
        strict=True,
    )
    rows = _rows(versions, "account", "at", "tier", "phone", "preferences")
    for (number, at, tier, phone, likes), fixed, (_, typed) in zip(rows, static, mails, strict=True):
        country, zone, first, last, birth_day, has_birth_date, signed_up = fixed
        first_name, last_name = full_name(country, first, last)
        row = {
            "customer_id": customer_id(number),
            "email": typed,
            "phone": telephone(country, phone) if phone >= 0 else None,
            "first_name": first_name,
            "last_name": last_name,
            "birth_date": date_of(birth_day).isoformat() if has_birth_date else None,
            "country_code": COUNTRIES[country].code,
            "time_zone": ZONES[zone],
            "preferences": [shelf.name for bit, shelf in enumerate(CATEGORIES) if likes >> bit & 1],
            "loyalty_tier": LOYALTY_TIERS[tier],
            "signed_up_at": signed_up,
            "updated_at": iso(at),
        }
        yield Row(row["customer_id"], at, orjson.dumps(row))


def _consents(world: World, day: Day) -> Iterator[Row]:
    wording = "2" if day.day - world.first_day >= WORDING_CHANGED else "1"
    for number, account, status, source, proof, at in _rows(
        day.consents, "number", "account", "status", "source", "proof", "at"
    ):
        row = {
            "consent_id": f"K{number:07d}",
            "customer_id": customer_id(account),
            "channel": "email",
            "status": CONSENT_STATUSES[status],
            "source": CONSENT_SOURCES[source],
            "wording_version": wording,
            "proof": f"prf_{proof:016x}",
            "recorded_at": iso(at),
        }
        yield Row(row["consent_id"], at, orjson.dumps(row))


def _products(goods: Goods, day: Day) -> Iterator[Row]:
    for product, price, stock, at in _rows(day.products, "product", "price", "stock", "at"):
        created = goods.created[product]
        row = {
            "product_id": product_id(product),
            "name": goods.names[product],
            "description": goods.description(product),
            "category": CATEGORIES[goods.shelves[product]].name,
            "price": pounds(price),
            "currency": CURRENCY,
            "stock_quantity": stock,
            "created_at": iso(start_of(created) + 8 * 3_600_000),
            "updated_at": iso(at),
        }
        yield Row(row["product_id"], at, orjson.dumps(row))


def _orders(state: State, day: Day) -> Iterator[Row]:
    bodies = []
    mails = order_mails(state, day)
    columns = ("number", "account", "ordered_at", "discount", "shipping", "total")
    for (number, account, ordered_at, discount, shipping, total), typed in zip(
        _rows(day.orders, *columns), mails, strict=True
    ):
        bodies.append(
            {
                "order_id": order_id(number),
                "customer_id": customer_id(account) if account >= 0 else None,
                "email": typed,
                "status": None,
                "currency": CURRENCY,
                "discount_amount": pounds(discount),
                "shipping_amount": pounds(shipping),
                "total_amount": pounds(total),
                "ordered_at": iso(ordered_at),
            }
        )
    for index, status, at in _rows(day.statuses, "row", "status", "at"):
        body = bodies[index] | {"status": ORDER_STATUSES[status], "updated_at": iso(at)}
        yield Row(body["order_id"], at, orjson.dumps(body))


def order_mails(state: State, day: Day) -> list[str | None]:
    """The address on each order: the account's, the one an account holder types as a guest, or a stranger's."""
    orders, people = day.orders, state.people
    account, person = orders["account"], orders["person"]
    if not len(account):
        return []
    by_account = addresses(state, np.maximum(account, 0)) if len(state.accounts) else [("", None)] * len(account)
    found: list[str | None] = []
    columns = ("number", "country", "first_name", "last_name", "mail_style", "mail_domain", "mail_dirt")
    for index, (number, country, first, last, style, domain, dirt) in enumerate(_rows(orders, *columns)):
        if account[index] >= 0:
            found.append(by_account[index][1])
            continue
        if person[index] >= 0:
            holder = int(person[index])
            country, first, last, style, domain = (
                int(people[name][holder])
                for name in ("country", "first_name", "last_name", "mail_style", "mail_domain")
            )
            number = holder
        else:
            number += FIRST_GUEST
        found.append(as_typed(address(full_name(country, first, last), number, style, domain), dirt, number))
    return found


def _order_lines(day: Day) -> Iterator[Row]:
    for number, order, product, quantity, price, amount, at in _rows(
        day.lines, "number", "order", "product", "quantity", "price", "amount", "at"
    ):
        row = {
            "order_line_id": f"L{number:07d}",
            "order_id": order_id(order),
            "product_id": product_id(product),
            "quantity": quantity,
            "unit_price": pounds(price),
            "line_amount": pounds(amount),
            "updated_at": iso(at),
        }
        yield Row(row["order_line_id"], at, orjson.dumps(row))


def _refunds(day: Day) -> Iterator[Row]:
    for number, order, amount, reason, at in _rows(day.refunds, "number", "order", "amount", "reason", "at"):
        row = {
            "refund_id": f"R{number:06d}",
            "order_id": order_id(order),
            "amount": pounds(amount),
            "reason": REFUND_REASONS[reason],
            "refunded_at": iso(at),
            "updated_at": iso(at),
        }
        yield Row(row["refund_id"], at, orjson.dumps(row))


def _email_events(state: State, day: Day) -> Iterator[Row]:
    mails = day.mails
    accounts, where = np.unique(mails["account"], return_inverse=True)
    clean = [address for address, _ in addresses(state, accounts)]
    ids = hexadecimal(mails["id_high"], mails["id_low"])
    occurred, received = iso_many(mails["at"]), iso_many(mails["received_at"])
    columns = ("account", "campaign", "type", "bounce", "machine", "product", "received_at")
    for index, (account, campaign, kind, bounce, machine, product, at) in enumerate(_rows(mails, *columns)):
        name = campaign_id(campaign)
        row = {
            "event_id": ids[index],
            "message_id": f"{name}.{customer_id(account)}",
            "campaign_id": name,
            "campaign_name": campaign_name(campaign),
            "customer_id": customer_id(account),
            "email": clean[where[index]],
            "event_type": mail.EVENT_TYPES[kind],
            "bounce_type": mail.BOUNCE_TYPES[bounce],
            "is_machine_open": bool(machine),
            "url": link(product, campaign) if kind == mail.Mail.CLICK else None,
            "occurred_at": occurred[index],
            "received_at": received[index],
        }
        yield Row(row["event_id"], at, orjson.dumps(row))


def link(product: int, campaign: int) -> str:
    """Where a newsletter leads."""
    query = f"utm_source=newsletter&utm_medium=email&utm_campaign={campaign_id(campaign)}"
    return f"{SITE}/p/{product_id(product)}?{query}"
