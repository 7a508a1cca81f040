"""The demo shop: ``crm``, ``catalogue``, ``shop``, ``web`` and ``email`` are rooms of one back office.

Its REST API has all of them: GET /v1/<entity>?since=&page_size=&cursor= → pages ordered by cursor column and key →
landing. By their options in ``sources.yml``, ``shop`` is read from the order database and ``catalogue`` from files.
"""

from dataclasses import replace

from letterpress.sources import email_events, rest
from letterpress.sources.entities import INSTANT, NUMBER, TEXT, WHOLE, Entity, column, schema_of

CUSTOMERS = Entity(
    name="customers",
    key=("customer_id",),
    cursor="updated_at",
    schema=schema_of(
        column("customer_id", TEXT),
        column("email", TEXT),
        column("phone", TEXT),
        column("first_name", TEXT),
        column("last_name", TEXT),
        column("birth_date", TEXT),
        column("country_code", TEXT),
        column("time_zone", TEXT),
        column("preferences", TEXT, json=list),
        column("loyalty_tier", TEXT),
        column("signed_up_at", INSTANT),
        column("updated_at", INSTANT),
    ),
)

CONSENTS = Entity(
    name="consents",
    key=("consent_id",),
    cursor="recorded_at",
    schema=schema_of(
        column("consent_id", TEXT),
        column("customer_id", TEXT),
        column("channel", TEXT),
        column("status", TEXT),
        column("source", TEXT),
        column("wording_version", TEXT),
        column("proof", TEXT),
        column("recorded_at", INSTANT),
    ),
)

PRODUCTS = Entity(
    name="products",
    key=("product_id",),
    cursor="updated_at",
    schema=schema_of(
        column("product_id", TEXT),
        column("name", TEXT),
        column("description", TEXT),
        column("category", TEXT),
        column("price", NUMBER),
        column("currency", TEXT),
        column("stock_quantity", WHOLE),
        column("created_at", INSTANT),
        column("updated_at", INSTANT),
    ),
)

ORDERS = Entity(
    name="orders",
    key=("order_id",),
    cursor="updated_at",
    schema=schema_of(
        column("order_id", TEXT),
        column("customer_id", TEXT),
        column("email", TEXT),
        column("status", TEXT),
        column("currency", TEXT),
        column("discount_amount", NUMBER),
        column("shipping_amount", NUMBER),
        column("total_amount", NUMBER),
        column("ordered_at", INSTANT),
        column("updated_at", INSTANT),
    ),
)

ORDER_LINES = Entity(
    name="order_lines",
    key=("order_line_id",),
    cursor="updated_at",
    schema=schema_of(
        column("order_line_id", TEXT),
        column("order_id", TEXT),
        column("product_id", TEXT),
        column("quantity", WHOLE),
        column("unit_price", NUMBER),
        column("line_amount", NUMBER),
        column("updated_at", INSTANT),
    ),
)

REFUNDS = Entity(
    name="refunds",
    key=("refund_id",),
    cursor="updated_at",
    schema=schema_of(
        column("refund_id", TEXT),
        column("order_id", TEXT),
        column("amount", NUMBER),
        column("reason", TEXT),
        column("refunded_at", INSTANT),
        column("updated_at", INSTANT),
    ),
)

WEB_EVENTS = Entity(
    name="events",
    key=("message_id",),
    cursor="received_at",
    schema=schema_of(
        column("message_id", TEXT),
        column("type", TEXT),
        column("event", TEXT),
        column("anonymous_id", TEXT),
        column("user_id", TEXT),
        column("timestamp", INSTANT),
        column("received_at", INSTANT),
        column("properties", TEXT, json=dict),
        column("context", TEXT, json=dict),
    ),
    path="/v1/events",
)

EMAIL_EVENTS = replace(email_events.EMAIL_EVENTS, path="/v1/email_events")

ENTITIES = {
    "crm": (CUSTOMERS, CONSENTS),
    "catalogue": (PRODUCTS,),
    "shop": (ORDERS, ORDER_LINES, REFUNDS),
    "web": (WEB_EVENTS,),
    "email": (EMAIL_EVENTS,),
}

pages = rest.pages
