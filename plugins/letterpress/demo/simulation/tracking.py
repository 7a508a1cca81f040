"""Web events in the vocabulary of the Segment specification, as a tracker in the browser would send them.

A page call sets the page that all events up to the next one carry in their context; most texts depend only on that
page. So they are made once for each page that somebody opened, and looked up from its events.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from letterpress.demo.simulation import mail, schemas
from letterpress.demo.simulation.columns import (
    assemble,
    constants,
    instants,
    join,
    json,
    look_up,
    money_json,
    ranges,
    texts,
    uuids,
)
from letterpress.demo.simulation.rendering import CHUNK, CURRENCY, Goods, campaign_id, customer_id, order_id
from letterpress.demo.simulation.simulator import Day
from letterpress.demo.simulation.visits import Columns
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
PARTS = ("source", "medium", "campaign")  # of the utm parameters
METHODS = {Step.SIGN_UP: "sign_up", Step.LOG_IN: "log_in"}
IS_PAGE = np.array([step <= Step.PAGE_PRODUCT or step in PAGES for step in Step])
TYPES = tuple("page" if IS_PAGE[step] else "identify" if step in METHODS else "track" for step in Step)
EVENTS = tuple(EVENT_NAMES.get(step) for step in Step)


@dataclass(frozen=True)
class _Places:
    """The shop's pages: home, the shelves, the products, then cart, checkout and thanks."""

    in_context: pa.Array  # of a page in the context, up to where the referrer's text begins
    in_properties: pa.Array  # of a page in the properties of its page call, up to the same place
    endings: pa.Array  # title and url of a page, up to where the query begins
    referrers: pa.Array  # of sources, of a mail, then of pages
    product_heads: pa.Array  # a product as events tell it, up to its price
    product_tails: pa.Array  # behind the price
    line_heads: pa.Array  # a product in a basket, up to its price


@lru_cache(maxsize=4)
def _places(goods: Goods) -> _Places:
    ids, names, shelves = goods.ids.to_pylist(), goods.names.to_pylist(), goods.categories.to_pylist()
    places: list[tuple[str, str, int | None]] = [(*PAGES[Step.PAGE_HOME], None)]
    places += [(f"/c/{shelf.name.lower()}", shelf.name, None) for shelf in CATEGORIES]
    places += [(f"/p/{product}", names[index], index) for index, product in enumerate(ids)]
    places += [(*PAGES[step], None) for step in (Step.PAGE_CART, Step.PAGE_CHECKOUT, Step.PAGE_DONE)]
    in_properties = []
    for path, _, product in places:
        known = {"path": path}
        if product is not None:
            known |= {"category": shelves[product], "product_id": ids[product]}
        in_properties.append(f'{json(known)[:-1]},"referrer":')
    return _Places(
        in_context=texts(f'"path":{json(path)},"referrer":' for path, _, _ in places),
        in_properties=texts(in_properties),
        endings=texts(f',"title":{json(title)},"url":{json(SITE + path)[:-1]}' for path, title, _ in places),
        referrers=texts(
            [json(source.referrer) for source in SOURCES] + [json("")] + [json(SITE + path) for path, _, _ in places]
        ),
        product_heads=texts(
            json({"category": shelf, "currency": CURRENCY, "name": name})[:-1] + ',"price":'
            for shelf, name in zip(shelves, names, strict=True)
        ),
        product_tails=texts(f',"product_id":{json(product)}' for product in ids),
        line_heads=texts(json({"category": shelf})[:-1] + ',"price":' for shelf in shelves),
    )


@cache
def _devices() -> pa.Array:
    """The context behind the page, by zone and agent."""
    return texts(f',"timezone":{json(zone)},"userAgent":{json(agent)}}}' for zone in ZONES for agent in AGENTS)


def _utm(number: int, others: tuple[str, ...]) -> tuple[str, str, str] | None:
    """Source, medium and name of a campaign: below ``NEWSLETTER`` of a source, from there on of a mailing."""
    if number < NEWSLETTER:
        return SOURCES[number].campaign
    mailing = number - NEWSLETTER
    if mailing < mail.EXTERNAL:
        return "newsletter", "email", campaign_id(mailing)
    source, medium, name = others[mailing - mail.EXTERNAL].split("\n")
    return (source, medium, name) if name else None


@lru_cache(maxsize=256)
def _campaign(words: tuple[str, str, str] | None) -> tuple[str, pa.Array]:
    """The query of a campaign's landing pages, and the context up to the page by country."""
    campaign = dict(zip(("source", "medium", "name"), words, strict=True)) if words else None
    query = "?" + urlencode({f"utm_{part}": word for part, word in zip(PARTS, words, strict=True)}) if words else ""
    starts = texts(f'{{"campaign":{json(campaign)},"locale":{json(country.locale)},"page":{{' for country in COUNTRIES)
    return query, starts


@dataclass(frozen=True)
class _Products:
    """The properties of products at the prices of a day."""

    viewed: pa.Array  # by product
    added: pa.Array  # by product and quantity
    lines: pa.Array  # by product and quantity: what a basket holds

    @classmethod
    def of(cls, places: _Places, prices: np.ndarray, most: int) -> "_Products":
        """The texts for quantities from 1 to ``most``."""
        price = money_json(prices)
        product = np.repeat(np.arange(len(prices)), most)
        tails = look_up(places.product_tails, product)
        quantity = pa.array(np.tile(np.arange(1, most + 1), len(prices))).cast(pa.string())
        ending = join(look_up(price, product), tails, ',"quantity":', quantity, "}")
        return cls(
            viewed=join(places.product_heads, price, places.product_tails, "}"),
            added=join(look_up(places.product_heads, product), ending),
            lines=join(look_up(places.line_heads, product), ending),
        )


def events(day: Day, goods: Goods, others: tuple[str, ...]) -> pa.Table:
    """One row for every step that the tracker saw; ``others`` are the campaigns that the shop did not send."""
    steps = {name: values[day.steps["seen"]] for name, values in day.steps.items()}
    visits = day.visits
    places = _places(goods)
    campaign = np.where(visits["source"] >= NEWSLETTER, NEWSLETTER + visits["campaign"], visits["source"])
    campaigns, campaign = np.unique(np.concatenate([[0], campaign]), return_inverse=True)
    campaign = campaign[1:]  # 0 stays the source that nobody paid for
    queries, starts = zip(*(_campaign(_utm(number, others)) for number in campaigns.tolist()), strict=True)

    visit, step, first = steps["visit"], steps["step"], steps["first"]
    opened = np.flatnonzero(IS_PAGE[step])  # the page calls
    page = np.cumsum(IS_PAGE[step]) - 1  # which of them each step follows; a visit begins with one
    code = _page_codes(steps, day.items["product"], goods, opened)
    landing = first[opened]
    before = np.concatenate([[0], code[:-1]]) + NEWSLETTER + 1
    of = visit[opened]
    referrer = np.where(landing, np.minimum(visits["source"][of], NEWSLETTER), before)
    seen_campaign = np.where(landing, campaign[of], 0)
    shape = (len(places.endings), len(places.referrers), len(queries))
    distinct, key = np.unique(np.ravel_multi_index((code, referrer, seen_campaign), shape), return_inverse=True)
    its_code, its_referrer, its_query = np.unravel_index(distinct, shape)
    ending = join(
        look_up(places.referrers, its_referrer),
        look_up(places.endings, its_code),
        look_up(texts(json(query)[1:-1] for query in queries), its_query),
        '"}',
    )
    in_context = join(look_up(places.in_context, its_code), ending)
    in_properties = join(look_up(places.in_properties, its_code), ending)
    beginnings = pa.concat_arrays(starts)
    start = seen_campaign * len(COUNTRIES) + visits["country"][of]
    device = visits["zone"][of] * len(AGENTS) + visits["agent"][of]
    here = slice(visit[0], visit[-1] + 1) if len(visit) else slice(0, 0)  # the visits of these steps
    anonymous = uuids(visits["anonymous_high"][here], visits["anonymous_low"][here])
    user = customer_id(visits["account"][here], visits["account"][here] >= 0)
    baskets = _Baskets(day, steps, places)

    parts = []
    for begin in range(0, max(len(step), 1), CHUNK):
        rows = slice(begin, begin + CHUNK)
        pages = slice(*(page[rows][[0, -1]] + [0, 1]).tolist()) if len(step) else slice(0, 0)
        contexts = join(
            look_up(beginnings, start[pages]),
            look_up(in_context, key[pages]),
            look_up(_devices(), device[pages]),
        )
        columns = {
            "message_id": uuids(steps["id_high"][rows], steps["id_low"][rows]),
            "type": look_up(constants(TYPES), step[rows]),
            "event": look_up(constants(EVENTS), step[rows]),
            "anonymous_id": look_up(anonymous, visit[rows] - here.start),
            "user_id": look_up(user, visit[rows] - here.start, steps["known"][rows]),
            "timestamp": instants(steps["at"][rows]),
            "received_at": instants(steps["received_at"][rows]),
            "properties": _properties(step, rows, look_up(in_properties, key[pages]), baskets),
            "context": look_up(contexts, page[rows] - pages.start),
        }
        parts.append(schemas.table("events", columns, steps["id_high"][rows], steps["received_at"][rows]))
    return pa.concat_tables(parts)


def _page_codes(steps: Columns, products: np.ndarray, goods: Goods, opened: np.ndarray) -> np.ndarray:
    """The number of the page that each page call opens, in the order of ``_Places``."""
    step, item, visit = (steps[name][opened] for name in ("step", "item", "visit"))
    count = len(goods.shelf)
    product = products[np.maximum(item, 0)] if len(products) else np.zeros(len(item), np.int64)
    shelf = np.where(item >= 0, goods.shelf[product], visit % len(CATEGORIES))
    behind = 1 + len(CATEGORIES) + count
    kinds = (Step.PAGE_HOME, Step.PAGE_CATEGORY, Step.PAGE_PRODUCT, Step.PAGE_CART, Step.PAGE_CHECKOUT)
    codes = [0, 1 + shelf, 1 + len(CATEGORIES) + product, behind, behind + 1]
    return np.select([step == kind for kind in kinds], codes, behind + 2).astype(np.int64)


class _Baskets:
    """What lies in each visit's basket so far, and what products, baskets and orders say of themselves."""

    def __init__(self, day: Day, steps: Columns, places: _Places):
        most = int(day.items["quantity"].max(initial=1))
        self.texts, self.orders = _Products.of(places, day.prices, most), day.orders
        self.visit, self.item = steps["visit"], steps["item"]
        self.product = day.items["product"]
        self.counted = self.product * most + day.items["quantity"] - 1
        adds = steps["step"] == Step.PRODUCT_ADDED
        self.taken = self.item[adds]  # rows of items, in the order in which they were taken
        amounts = day.prices[self.product[self.taken]] * day.items["quantity"][self.taken]
        self.spent = np.concatenate([[0], np.cumsum(amounts)])
        self.before = np.cumsum(adds) - adds
        starts = np.maximum.accumulate(np.where(steps["first"], np.arange(len(adds)), 0))
        self.from_start = self.before[starts]
        self.order = np.full(len(day.visits["at"]), -1)
        self.order[day.orders["visit"]] = np.arange(len(day.orders["visit"]))

    def viewed(self, rows: np.ndarray) -> pa.Array:
        """The properties of Product Viewed."""
        return look_up(self.texts.viewed, self.product[self.item[rows]])

    def added(self, rows: np.ndarray) -> pa.Array:
        """The properties of Product Added."""
        return look_up(self.texts.added, self.counted[self.item[rows]])

    def held(self, rows: np.ndarray) -> pa.Array:
        """The properties of Cart Viewed and Checkout Started."""
        value = self.spent[self.before[rows]] - self.spent[self.from_start[rows]]
        return join(f'{{"currency":"{CURRENCY}","products":[', self._lines(rows), '],"value":', money_json(value), "}")

    def ordered(self, rows: np.ndarray) -> pa.Array:
        """The properties of Order Completed."""
        order = {name: values[self.order[self.visit[rows]]] for name, values in self.orders.items()}
        return join(
            f'{{"currency":"{CURRENCY}","discount":',
            money_json(order["discount"]),
            ',"order_id":"',
            order_id(order["number"]),
            '","products":[',
            self._lines(rows),
            '],"shipping":',
            money_json(order["shipping"]),
            ',"subtotal":',
            money_json(order["total"] - order["shipping"] + order["discount"]),
            ',"total":',
            money_json(order["total"]),
            "}",
        )

    def _lines(self, rows: np.ndarray) -> pa.Array:
        taken, offsets = ranges(self.from_start[rows], self.before[rows])
        lines = look_up(self.texts.lines, self.counted[self.taken[taken]])
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lines), ",")


def _properties(step: np.ndarray, rows: slice, pages: pa.Array, baskets: _Baskets) -> pa.Array:
    """The properties of some steps; ``pages`` holds those of the page calls from the first step's page on."""
    some = step[rows]
    opened = np.flatnonzero(IS_PAGE[some])
    parts = [(opened, pages.slice(len(pages) - len(opened)))]
    for wanted, of in (
        ((Step.PRODUCT_VIEWED,), baskets.viewed),
        ((Step.PRODUCT_ADDED,), baskets.added),
        ((Step.CART_VIEWED, Step.CHECKOUT_STARTED), baskets.held),
        ((Step.ORDER_COMPLETED,), baskets.ordered),
    ):
        here = np.flatnonzero(np.isin(some, wanted))
        parts.append((here, of(here + rows.start)))
    for wanted, method in METHODS.items():
        here = np.flatnonzero(some == wanted)
        parts.append((here, pa.repeat(json({"method": method}), len(here))))
    return assemble(len(some), parts)
