"""Facts become tables: what the API shows, one Arrow table for each entity, see ``schemas``."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise, zip_longest

import numpy as np
import pyarrow as pa

from letterpress.demo.simulation import chance, mail, schemas
from letterpress.demo.simulation.chance import date_of
from letterpress.demo.simulation.columns import (
    assemble,
    constants,
    hexadecimal,
    instants,
    join,
    json,
    look_up,
    money,
    numbered,
    texts,
    uuids,
)
from letterpress.demo.simulation.identity import FIRST_GUEST, address, addresses, as_typed, full_name, telephone
from letterpress.demo.simulation.simulator import Day, World
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns
from letterpress.demo.simulation.vocabulary import (
    ADJECTIVES,
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

CURRENCY = "GBP"
WORDING_CHANGED = 200  # days after the opening
CHUNK = 1 << 17  # rows of an entity whose texts are made at once: what a large day holds in memory beside its tables
PEOPLE = ("country", "zone", "first_name", "last_name", "birth_day", "mail_style", "mail_domain")
ACCOUNTS = ("person", "mail_person", "signed_up_at", "has_birth_date", "mail_dirt")
PRODUCTS = ("category", "name", "created_day")


@dataclass(frozen=True)
class Known:
    """What rendering needs of a state: columns that never change once written.

    ``State.append`` writes behind them, so they may be read while another thread plays the next day.
    """

    people: Columns
    accounts: Columns
    products: Columns
    campaigns: tuple[str, ...]  # of others: source, medium and name in lines

    @classmethod
    def of(cls, state: "State | Known") -> "Known":
        """The columns as they are now, without copying."""
        if isinstance(state, Known):
            return state
        return cls(
            people={name: state.people[name] for name in PEOPLE},
            accounts={name: state.accounts[name] for name in ACCOUNTS},
            products={name: state.products[name] for name in PRODUCTS},
            campaigns=tuple(state.campaigns),
        )


def customer_id(account: np.ndarray, there: np.ndarray | None = None) -> pa.Array:
    """The shop's names for accounts; null where ``there`` is false."""
    return numbered("C", account + 1, 6, there)


def product_id(product: np.ndarray) -> pa.Array:
    """The shop's names for products."""
    return numbered("P", product + 1, 4)


def order_id(number: np.ndarray) -> pa.Array:
    """The shop's names for orders."""
    return numbered("O", number, 6)


def campaign_id(campaign: int) -> str:
    """The name of one of the shop's mailings in links and events."""
    standing = {mail.WELCOME: "welcome", mail.BIRTHDAY: "birthday"}
    return standing.get(campaign) or f"newsletter-{date_of(campaign)}"


def campaign_name(campaign: int) -> str:
    """The title of a mailing."""
    return _filled(mail.theme(campaign).name, campaign)


def subject(campaign: int, variant: int) -> str:
    """A subject line of a mailing; ``{name}`` stands for the reader's first name, as in the template."""
    return _filled(mail.theme(campaign).subjects[variant], campaign)


def _filled(text: str, campaign: int) -> str:
    return text.replace("{category}", CATEGORIES[mail.category_of(campaign)].name)


class Goods:
    """The texts of a catalogue, by the numbers of its products."""

    def __init__(self, shelf: tuple[int, ...], name: tuple[int, ...]):
        self.shelf = np.array(shelf, np.int64)
        shelves = [CATEGORIES[one] for one in shelf]
        names = [f"{ADJECTIVES[code // 100]} {of.things[code % 100]}" for of, code in zip(shelves, name, strict=True)]
        self.ids = product_id(np.arange(len(names)))
        self.names = texts(names)
        self.categories = texts(shelf.name for shelf in shelves)
        self.descriptions = texts(
            f"{name} from our {shelf.name.lower()} range, made to be used every day and given away."
            for name, shelf in zip(names, shelves, strict=True)
        )

    @staticmethod
    @lru_cache(maxsize=4)
    def of(shelf: tuple[int, ...], name: tuple[int, ...]) -> "Goods":
        """The same object for the same catalogue, so that what is made from it is made once."""
        return Goods(shelf, name)


def render(world: World, state: State | Known, day: Day) -> dict[str, pa.Table]:
    """The rows of a day by entity, as ``schemas`` describes them."""
    from letterpress.demo.simulation.tracking import events

    known = Known.of(state)
    goods = Goods.of(tuple(known.products["category"].tolist()), tuple(known.products["name"].tolist()))
    return {
        "customers": _customers(known, day),
        "consents": _consents(world, day),
        "products": _products(known, goods, day),
        "orders": _orders(known, day),
        "order_lines": _order_lines(goods, day),
        "refunds": _refunds(day),
        "events": events(day, goods, known.campaigns),
        "email_events": _email_events(known, goods, day),
    }


def pieces(day: Day, most: int) -> Iterator[Day]:
    """The day cut into parts of about so many web and mail events, for those who cannot hold all its texts at once.

    Rendered one by one they give the same rows in the same order. A visit and a mail stay whole; everything but
    events is in the first part.
    """
    visit = day.steps["visit"]
    mails = np.stack([day.mails[name] for name in ("account", "campaign", "day")])
    web = _cuts(np.flatnonzero(visit[1:] != visit[:-1]) + 1, len(visit), most)
    mail_events = _cuts(np.flatnonzero((mails[:, 1:] != mails[:, :-1]).any(axis=0)) + 1, mails.shape[1], most)
    for number, (steps, events) in enumerate(zip_longest(web, mail_events, fillvalue=slice(0, 0))):
        part = {
            name: {key: values[rows] for key, values in getattr(day, name).items()}
            for name, rows in (("steps", steps), ("mails", events))
        }
        if number:
            for name in ("customers", "consents", "products", "lines", "statuses", "refunds"):
                part[name] = {key: values[:0] for key, values in getattr(day, name).items()}
        yield replace(day, **part)


def _cuts(borders: np.ndarray, count: int, most: int) -> list[slice]:
    """Slices of about ``most`` rows that end at borders."""
    wanted = np.arange(most, count, most)
    ends = np.unique(borders[np.minimum(np.searchsorted(borders, wanted), len(borders) - 1)]) if len(borders) else []
    edges = [0, *(int(end) for end in ends), count]
    return [slice(start, stop) for start, stop in pairwise(edges) if stop > start or not count]


@cache
def _preferences() -> pa.Array:
    """The JSON list of categories for every combination of bits."""
    return texts(
        json([shelf.name for bit, shelf in enumerate(CATEGORIES) if mask >> bit & 1])
        for mask in range(1 << len(CATEGORIES))
    )


def _customers(known: Known, day: Day) -> pa.Table:
    people, held, versions = known.people, known.accounts, day.customers
    account, at = versions["account"], versions["at"]
    person = held["person"][account]
    country = people["country"][person]
    _, typed = addresses(known, account)
    first, last = full_name(country, people["first_name"][person], people["last_name"][person])
    born = pa.array(people["birth_day"][person].astype(np.int32), mask=~held["has_birth_date"][account])
    columns = {
        "customer_id": customer_id(account),
        "email": typed,
        "phone": telephone(country, versions["phone"]),
        "first_name": first,
        "last_name": last,
        "birth_date": born.cast(pa.date32()).cast(pa.string()),
        "country_code": look_up(constants(tuple(place.code for place in COUNTRIES)), country),
        "time_zone": look_up(constants(ZONES), people["zone"][person]),
        "preferences": look_up(_preferences(), versions["preferences"]),
        "loyalty_tier": look_up(constants(LOYALTY_TIERS), versions["tier"]),
        "signed_up_at": instants(held["signed_up_at"][account]),
        "updated_at": instants(at),
    }
    return schemas.table("customers", columns, account, at)


def _consents(world: World, day: Day) -> pa.Table:
    records = day.consents
    columns = {
        "consent_id": numbered("K", records["number"], 7),
        "customer_id": customer_id(records["account"]),
        "channel": "email",
        "status": look_up(constants(CONSENT_STATUSES), records["status"]),
        "source": look_up(constants(CONSENT_SOURCES), records["source"]),
        "wording_version": "2" if day.day - world.first_day >= WORDING_CHANGED else "1",
        "proof": join("prf_", hexadecimal(records["proof"])),
        "recorded_at": instants(records["at"]),
    }
    return schemas.table("consents", columns, records["number"], records["at"])


def _products(known: Known, goods: Goods, day: Day) -> pa.Table:
    versions = day.products
    product, at = versions["product"], versions["at"]
    created = known.products["created_day"][product].astype(np.int64) * chance.DAY + 8 * chance.HOUR
    columns = {
        "product_id": look_up(goods.ids, product),
        "name": look_up(goods.names, product),
        "description": look_up(goods.descriptions, product),
        "category": look_up(goods.categories, product),
        "price": money(versions["price"]),
        "currency": CURRENCY,
        "stock_quantity": versions["stock"],
        "created_at": instants(created),
        "updated_at": instants(at),
    }
    return schemas.table("products", columns, product, at)


def _orders(known: Known, day: Day) -> pa.Table:
    """A row for every change of an order; all but status and instant stay as they were."""
    orders, row, at = day.orders, day.statuses["row"], day.statuses["at"]
    fixed = {
        "order_id": order_id(orders["number"]),
        "customer_id": customer_id(orders["account"], orders["account"] >= 0),
        "email": _order_mails(known, orders),
    }
    columns = {name: look_up(values, row) for name, values in fixed.items()} | {
        "status": look_up(constants(ORDER_STATUSES), day.statuses["status"]),
        "currency": CURRENCY,
        "discount_amount": money(orders["discount"])[row],
        "shipping_amount": money(orders["shipping"])[row],
        "total_amount": money(orders["total"])[row],
        "ordered_at": instants(orders["ordered_at"][row]),
        "updated_at": instants(at),
    }
    return schemas.table("orders", columns, orders["number"][row], at)


def _order_mails(known: Known, orders: Columns) -> pa.Array:
    """The address on each order: the account's, the one an account holder types as a guest, or a stranger's."""
    people = known.people
    account, person = orders["account"], orders["person"]
    held = np.flatnonzero(account >= 0)
    guests = np.flatnonzero(account < 0)
    person = person[guests]
    if len(people["country"]):
        drawn = [
            np.where(person >= 0, people[name][person], orders[name][guests])
            for name in ("country", "first_name", "last_name", "mail_style", "mail_domain")
        ]
    else:
        drawn = [orders[name][guests] for name in ("country", "first_name", "last_name", "mail_style", "mail_domain")]
    country, first, last, style, domain = drawn
    number = np.where(person >= 0, person, orders["number"][guests] + FIRST_GUEST)
    local, host = address(country, first, last, number, style, domain)
    as_guest = as_typed(local, host, orders["mail_dirt"][guests], number)
    return assemble(len(account), [(held, addresses(known, account[held])[1]), (guests, as_guest)])


def _order_lines(goods: Goods, day: Day) -> pa.Table:
    lines = day.lines
    columns = {
        "order_line_id": numbered("L", lines["number"], 7),
        "order_id": order_id(lines["order"]),
        "product_id": look_up(goods.ids, lines["product"]),
        "quantity": lines["quantity"],
        "unit_price": money(lines["price"]),
        "line_amount": money(lines["amount"]),
        "updated_at": instants(lines["at"]),
    }
    return schemas.table("order_lines", columns, lines["number"], lines["at"])


def _refunds(day: Day) -> pa.Table:
    refunds = day.refunds
    columns = {
        "refund_id": numbered("R", refunds["number"], 6),
        "order_id": order_id(refunds["order"]),
        "amount": money(refunds["amount"]),
        "reason": look_up(constants(REFUND_REASONS), refunds["reason"]),
        "refunded_at": instants(refunds["at"]),
        "updated_at": instants(refunds["at"]),
    }
    return schemas.table("refunds", columns, refunds["number"], refunds["at"])


def _email_events(known: Known, goods: Goods, day: Day) -> pa.Table:
    mails = day.mails
    readers = np.zeros(len(known.accounts["person"]), bool)
    readers[mails["account"]] = True
    accounts = np.flatnonzero(readers)
    where = np.cumsum(readers) - 1
    reader = where[mails["account"]]
    # a birthday comes again: its mail is told apart by the day
    names = ("campaign", "day", "variant")
    shape = tuple(int(mails[name].max(initial=0)) + 1 for name in names)
    distinct, mailing = np.unique(np.ravel_multi_index([mails[name] for name in names], shape), return_inverse=True)
    sent = np.stack(np.unravel_index(distinct, shape), axis=1).tolist()
    ids = [campaign_id(campaign) for campaign, _, _ in sent]
    query = "utm_source=newsletter&utm_medium=email&utm_campaign="
    shared = {
        "ids": texts(ids),
        "messages": texts(
            f"{name}-{date_of(day)}." if campaign == mail.BIRTHDAY else f"{name}."
            for name, (campaign, day, _) in zip(ids, sent, strict=True)
        ),
        "names": texts(campaign_name(campaign) for campaign, _, _ in sent),
        "subjects": texts(subject(campaign, variant) for campaign, _, variant in sent),
        "customers": customer_id(accounts),
        "mails": addresses(known, accounts)[0],
        "pages": pa.concat_arrays([join(f"{SITE}/p/", goods.ids, f"?{query}"), texts([f"{SITE}/?{query}"])]),
    }
    parts = []
    for start in range(0, max(len(reader), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        part = {name: values[rows] for name, values in mails.items()}
        parts.append(_some_email_events(part, reader[rows], mailing[rows], shared))
    return pa.concat_tables(parts)


def _some_email_events(
    mails: Columns, reader: np.ndarray, mailing: np.ndarray, shared: dict[str, pa.Array]
) -> pa.Table:
    campaign_ids = look_up(shared["ids"], mailing)
    customers = look_up(shared["customers"], reader)
    clicked = mails["type"] == mail.Mail.CLICK
    page = np.where(mails["product"] >= 0, mails["product"], len(shared["pages"]) - 1)  # the last one is the shop's own
    columns = {
        "event_id": uuids(mails["id_high"], mails["id_low"]),
        "message_id": join(look_up(shared["messages"], mailing), customers),
        "campaign_id": campaign_ids,
        "campaign_name": look_up(shared["names"], mailing),
        "subject": look_up(shared["subjects"], mailing),
        "customer_id": customers,
        "email": look_up(shared["mails"], reader),
        "event_type": look_up(constants(mail.EVENT_TYPES), mails["type"]),
        "bounce_type": look_up(constants(mail.BOUNCE_TYPES), mails["bounce"]),
        "is_machine_open": mails["machine"].astype(bool),
        "url": join(look_up(shared["pages"], page, clicked), campaign_ids),
        "occurred_at": instants(mails["at"]),
        "received_at": instants(mails["received_at"]),
    }
    return schemas.table("email_events", columns, mails["id_high"], mails["received_at"])
