"""Web events in the vocabulary of the Segment specification, as a tracker in the browser would send them."""

from collections.abc import Iterator
from typing import Any

import orjson

from letterpress.demo.simulation.chance import hexadecimal, iso_many
from letterpress.demo.simulation.rendering import (
    CURRENCY,
    Goods,
    Row,
    campaign_id,
    customer_id,
    order_id,
    pounds,
    product_id,
)
from letterpress.demo.simulation.simulator import Day
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import AGENTS, CATEGORIES, COUNTRIES, NEWSLETTER, SITE, SOURCES, ZONES
from letterpress.demo.simulation.web import Step

EVENT_NAMES = {
    Step.PRODUCT_VIEWED: "Product Viewed",
    Step.PRODUCT_ADDED: "Product Added",
    Step.CART_VIEWED: "Cart Viewed",
    Step.CHECKOUT_STARTED: "Checkout Started",
    Step.ORDER_COMPLETED: "Order Completed",
}
PAGES = {
    Step.PAGE_HOME: ("/", "Letterpress Shop"),
    Step.PAGE_CART: ("/cart", "Your basket"),
    Step.PAGE_CHECKOUT: ("/checkout", "Checkout"),
    Step.PAGE_DONE: ("/checkout/done", "Thank you"),
}


class _Visit:
    """What stays the same, or is carried along, within one visit."""

    def __init__(self, visits: dict[str, list[Any]], row: int):
        country = COUNTRIES[visits["country"][row]]
        self.anonymous_id = visits["anonymous_id"][row]
        account = visits["account"][row]
        self.user_id = customer_id(account) if account >= 0 else None
        self.locale, self.zone = country.locale, ZONES[visits["zone"][row]]
        self.agent = AGENTS[visits["agent"][row]]
        self.campaign = _campaign(visits["source"][row], visits["campaign"][row])
        self.referrer = SOURCES[visits["source"][row]].referrer if visits["source"][row] < NEWSLETTER else ""
        self.search = ""
        if self.campaign:
            source, medium, name = self.campaign.values()
            self.search = f"?utm_source={source}&utm_medium={medium}&utm_campaign={name}"
        self.page = {"url": SITE + "/", "path": "/", "referrer": self.referrer, "title": "Letterpress Shop"}
        self.landing = True
        self.basket: list[dict[str, Any]] = []

    def turn_to(self, path: str, title: str, first: bool) -> None:
        """A page call: the page before becomes the referrer, and the campaign stays behind on the landing page."""
        referrer = self.referrer if first else SITE + self.page["path"]
        self.landing = first
        url = SITE + path + (self.search if first else "")
        self.page = {"url": url, "path": path, "referrer": referrer, "title": title}

    def context(self) -> dict[str, Any]:
        """The context that every event of the current page carries."""
        return {
            "page": self.page,
            "userAgent": self.agent,
            "locale": self.locale,
            "timezone": self.zone,
            "campaign": self.campaign if self.landing else None,
        }


def _campaign(source: int, campaign: int) -> dict[str, str] | None:
    if source == NEWSLETTER:
        return {"source": "newsletter", "medium": "email", "name": campaign_id(campaign)}
    paid = SOURCES[source].campaign
    return dict(zip(("source", "medium", "name"), paid, strict=True)) if paid else None


def events(state: State, day: Day, goods: Goods) -> Iterator[Row]:
    """One row for every step that the tracker saw."""
    steps = {name: values[day.steps["seen"]] for name, values in day.steps.items()}
    visits: dict[str, list[Any]] = {
        name: day.visits[name].tolist() for name in ("account", "country", "zone", "agent", "source", "campaign")
    }
    visits["anonymous_id"] = hexadecimal(day.visits["anonymous_high"], day.visits["anonymous_low"])
    orders = _orders(day)
    products = [_product(goods, state, product) for product in range(len(state.products))]
    prices = [pounds(price) for price in day.prices.tolist()]
    item_product, item_quantity = day.items["product"].tolist(), day.items["quantity"].tolist()
    ids = hexadecimal(steps["id_high"], steps["id_low"])
    sent, received = iso_many(steps["at"]), iso_many(steps["received_at"])
    names = ("visit", "step", "item", "received_at", "known", "first")
    visit = None
    for index, (row, step, item, at, known, first) in enumerate(
        zip(*(steps[name].tolist() for name in names), strict=True)
    ):
        if first or visit is None:
            visit = _Visit(visits, row)
        product = None
        if item >= 0:
            product = products[item_product[item]] | {"price": prices[item_product[item]]}
        properties: dict[str, Any]
        event, kind = EVENT_NAMES.get(step), "track"
        if step <= Step.PAGE_PRODUCT or step in PAGES:
            kind = "page"
            path, title = _page(step, product, row)
            visit.turn_to(path, title, first)
            properties = dict(visit.page)
            if step == Step.PAGE_PRODUCT:
                properties["product_id"] = product["product_id"]
                properties["category"] = product["category"]
        elif step == Step.PRODUCT_VIEWED:
            properties = product
        elif step == Step.PRODUCT_ADDED:
            properties = product | {"quantity": item_quantity[item]}
            visit.basket.append({name: properties[name] for name in ("product_id", "category", "price", "quantity")})
        elif step == Step.ORDER_COMPLETED:
            properties = orders[row] | {"products": visit.basket}
        elif step in (Step.CART_VIEWED, Step.CHECKOUT_STARTED):
            value = sum(line["price"] * line["quantity"] for line in visit.basket)
            properties = {"value": round(value, 2), "currency": CURRENCY, "products": visit.basket}
        else:
            kind = "identify"
            properties = {"method": "sign_up" if step == Step.SIGN_UP else "log_in"}
        body = {
            "messageId": ids[index],
            "type": kind,
            "event": event,
            "anonymousId": visit.anonymous_id,
            "userId": visit.user_id if known else None,
            "timestamp": sent[index],
            "receivedAt": received[index],
            "properties": properties,
            "context": visit.context(),
        }
        yield Row(ids[index], at, orjson.dumps(body))


def _page(step: int, product: dict[str, Any] | None, visit: int) -> tuple[str, str]:
    if step == Step.PAGE_PRODUCT:
        return f"/p/{product['product_id']}", product["name"]
    if step == Step.PAGE_CATEGORY:
        name = product["category"] if product else CATEGORIES[visit % len(CATEGORIES)].name
        return f"/c/{name.lower()}", name
    return PAGES[Step(step)]


def _product(goods: Goods, state: State, product: int) -> dict[str, Any]:
    return {
        "product_id": product_id(product),
        "name": goods.names[product],
        "category": CATEGORIES[goods.shelves[product]].name,
        "currency": CURRENCY,
    }


def _orders(day: Day) -> dict[int, dict[str, Any]]:
    """What the confirmation page knows about the order of each visit."""
    orders = day.orders
    columns = ("visit", "number", "total", "shipping", "discount")
    found = {}
    for visit, number, total, shipping, discount in zip(*(orders[name].tolist() for name in columns), strict=True):
        found[visit] = {
            "order_id": order_id(number),
            "total": pounds(total),
            "subtotal": pounds(total - shipping + discount),
            "shipping": pounds(shipping),
            "discount": pounds(discount),
            "currency": CURRENCY,
        }
    return found
