"""Extracted batches, before their manifest makes them a load.

An error here means that the source or its reading is broken: columns missing, keys null, vocabulary
unknown, clocks without sense. Dirt that a living shop always has (no e-mail, a date in another format, a
late event, a clock that is wrong, a cancelled invoice) is the warehouse's to clean: it passes, or warns
where its amount is unusual. A share is asked of enough rows to be one: in the twenty rows of a quiet
quarter of an hour a single visit may be most of them. Keys that occur twice warn, because a source that
changes while it is read repeats rows and staging keeps one of them; events are delivered at least once,
so that some of theirs always do.
"""

from expectations.suites.check import (
    COUNTRY,
    CURRENCY,
    DATE,
    EARLIEST,
    EMAIL,
    LATEST,
    NOT_BLANK,
    TIME_ZONE,
    Check,
    between,
    columns,
    distinct,
    filled,
    json_text,
    matches,
    not_before,
    one_of,
    plausible_instant,
    rows,
    unique,
)

EMAIL_EVENT_TYPES = ["sent", "delivered", "open", "click", "bounce", "unsubscribe", "complaint"]
WEB_EVENT_TYPES = ["page", "track", "identify", "screen", "group", "alias"]
WEB_EVENTS = ["Product Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Order Completed"]
MANY = 100  # rows: of fewer a share says little
ORDER_STATUSES = ["placed", "shipped", "delivered", "cancelled", "refunded", "partially_refunded"]


def _keyed(key: str, cursor: str, repetition: Check | None = None) -> list[Check]:
    """What every entity owes: rows, a key, a hash of the content, an instant to go on from."""
    return [
        rows(1),
        filled(key),
        matches(key, NOT_BLANK),
        repetition or unique(key, "warning"),
        filled("_row_hash"),
        filled(cursor),
        plausible_instant(cursor),
    ]


def _events(key: str) -> list[Check]:
    """What every stream of events owes, each of which may be delivered more than once."""
    return _keyed(key, "received_at", unique(key, "warning", mostly=0.9, minimum_rows=MANY))


CUSTOMERS = [
    columns(
        *("customer_id", "email", "phone", "first_name", "last_name", "birth_date", "country_code"),
        *("time_zone", "preferences", "loyalty_tier", "signed_up_at", "updated_at", "_row_hash"),
    ),
    *_keyed("customer_id", "updated_at"),
    filled("email", "warning", mostly=0.8, minimum_rows=MANY),
    matches("email", EMAIL, "warning", mostly=0.85, minimum_rows=MANY),
    # Half of the e-mails without an @ is not dirt: it is another column.
    matches("email", "@", mostly=0.5, minimum_rows=MANY),
    matches("email", "@", "warning", mostly=0.5),
    filled("first_name", "warning", mostly=0.9, minimum_rows=MANY),
    filled("country_code", "warning", mostly=0.9, minimum_rows=MANY),
    filled("time_zone", "warning", mostly=0.9, minimum_rows=MANY),
    one_of("loyalty_tier", ["none", "bronze", "silver", "gold"]),
    matches("country_code", COUNTRY, "warning"),
    matches("time_zone", TIME_ZONE, "warning"),
    # Every country has its own way to write a date, and some forms let it through.
    matches("birth_date", DATE, "warning", mostly=0.8, minimum_rows=MANY),
    json_text("preferences"),
    filled("signed_up_at", "warning"),
    plausible_instant("signed_up_at", "warning"),
    not_before("updated_at", "signed_up_at"),
]

CONSENTS = [
    columns(
        *("consent_id", "customer_id", "channel", "status", "source", "wording_version", "proof"),
        *("recorded_at", "_row_hash"),
    ),
    *_keyed("consent_id", "recorded_at"),
    # Consent decides who may be written to: nothing about it is guessed.
    filled("customer_id"),
    filled("channel"),
    filled("status"),
    one_of("status", ["granted", "withdrawn", "requested", "unconfirmed", "pending"]),
    one_of("channel", ["email", "sms", "push"], "warning"),
    one_of("source", ["sign_up_form", "checkout", "preference_centre", "unsubscribe_link"], "warning"),
    filled("proof", "warning", where=("status", "granted")),
]

PRODUCTS = [
    columns(
        *("product_id", "name", "description", "category", "price", "currency", "stock_quantity"),
        *("created_at", "updated_at", "_row_hash"),
    ),
    *_keyed("product_id", "updated_at"),
    filled("name", "warning"),
    filled("category", "warning", mostly=0.9, minimum_rows=MANY),
    filled("price"),
    between("price", 0, 1_000_000),
    matches("currency", CURRENCY),
    between("stock_quantity", 0, None, "warning"),
]

ORDERS = [
    columns(
        *("order_id", "customer_id", "email", "status", "currency", "discount_amount", "shipping_amount"),
        *("total_amount", "ordered_at", "updated_at", "_row_hash"),
    ),
    *_keyed("order_id", "updated_at"),
    filled("status"),
    one_of("status", ORDER_STATUSES),
    filled("currency"),
    matches("currency", CURRENCY),
    filled("total_amount"),
    between("total_amount", 0, 10_000_000),
    between("discount_amount", 0),
    between("shipping_amount", 0),
    filled("ordered_at"),
    plausible_instant("ordered_at"),
    not_before("updated_at", "ordered_at"),
    filled("customer_id", "warning", mostly=0.5, minimum_rows=MANY),
    filled("email", "warning", mostly=0.9, minimum_rows=MANY),
    matches("email", EMAIL, "warning", mostly=0.85, minimum_rows=MANY),
]

ORDER_LINES = [
    columns(
        *("order_line_id", "order_id", "product_id", "quantity", "unit_price", "line_amount", "updated_at"),
        "_row_hash",
    ),
    *_keyed("order_line_id", "updated_at"),
    filled("order_id"),
    filled("product_id"),
    filled("quantity"),
    between("quantity", 1),
    between("quantity", None, 10_000, "warning"),
    filled("unit_price"),
    between("unit_price", 0),
    between("line_amount", 0),
]

REFUNDS = [
    columns("refund_id", "order_id", "amount", "reason", "refunded_at", "updated_at", "_row_hash"),
    *_keyed("refund_id", "updated_at"),
    filled("order_id"),
    filled("amount"),
    between("amount", 0),
    filled("refunded_at"),
    plausible_instant("refunded_at"),
    filled("reason", "warning"),
]

WEB = [
    columns(
        *("message_id", "type", "event", "anonymous_id", "user_id", "timestamp", "received_at"),
        *("properties", "context", "_row_hash"),
    ),
    *_events("message_id"),
    filled("type"),
    one_of("type", WEB_EVENT_TYPES),
    one_of("event", WEB_EVENTS, "warning"),
    filled("event", "warning", where=("type", "track")),
    filled("user_id", "warning", where=("type", "identify")),
    filled("anonymous_id", "warning"),
    # A device's clock may be wrong, one visit at a time; many of them being wrong is a reading error.
    filled("timestamp", mostly=0.9, minimum_rows=MANY),
    filled("timestamp", "warning"),
    plausible_instant("timestamp", mostly=0.9, minimum_rows=MANY),
    plausible_instant("timestamp", "warning"),
    not_before("received_at", "timestamp", mostly=0.9, minimum_rows=MANY),
    json_text("properties"),
    json_text("context"),
]

_ANY_EMAIL_EVENTS = [
    columns(
        *("event_id", "message_id", "campaign_id", "campaign_name", "subject", "customer_id", "email"),
        *("event_type", "bounce_type", "is_machine_open", "url", "occurred_at", "received_at", "_row_hash"),
    ),
    *_events("event_id"),
    filled("event_type"),
    filled("bounce_type", "warning", where=("event_type", "bounce")),
    filled("occurred_at"),
    plausible_instant("occurred_at"),
    not_before("received_at", "occurred_at"),
    filled("message_id", "warning"),
    filled("is_machine_open", "warning", where=("event_type", "open")),
    matches("email", EMAIL, "warning", mostly=0.85, minimum_rows=MANY),
]

EMAIL_EVENTS = [
    *_ANY_EMAIL_EVENTS,
    one_of("event_type", EMAIL_EVENT_TYPES),
    one_of("bounce_type", ["hard", "soft"]),
    filled("customer_id", "warning", mostly=0.9, minimum_rows=MANY),
    filled("campaign_id", "warning", mostly=0.5, minimum_rows=MANY),
    filled("campaign_name", "warning", mostly=0.5, minimum_rows=MANY),
]

# A vendor invents a kind of event whenever it likes: the warehouse quarantines that kind, and the others count. Some
# tell the address of a person and nothing else.
ESP_EVENTS = [
    *_ANY_EMAIL_EVENTS,
    one_of("event_type", EMAIL_EVENT_TYPES, "warning"),
    one_of("bounce_type", ["hard", "soft"], "warning"),
    filled("email", "warning", mostly=0.85, minimum_rows=MANY),
]

# A vendor's clock may be a little ahead of ours, and some tell of a person and of no message.
WEBHOOK_EVENTS = [
    columns(
        *("destination", "event_id", "message_id", "campaign_id", "campaign_name", "subject", "customer_id", "email"),
        *("event_type", "bounce_type", "is_machine_open", "url", "occurred_at", "received_at", "_row_hash"),
    ),
    *_events("event_id"),
    filled("destination"),
    filled("event_type"),
    one_of("event_type", EMAIL_EVENT_TYPES),
    one_of("bounce_type", ["hard", "soft"]),
    filled("bounce_type", "warning", where=("event_type", "bounce")),
    filled("occurred_at"),
    plausible_instant("occurred_at"),
    not_before("received_at", "occurred_at", "warning"),
    filled("message_id", "warning", where=("event_type", "open")),
    filled("message_id", "warning", where=("event_type", "click")),
    matches("email", EMAIL, "warning", mostly=0.85, minimum_rows=MANY),
]

INVOICE_LINES = [
    columns(
        *("invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price"),
        *("customer_id", "country", "file", "line_number", "_row_hash"),
    ),
    rows(1),
    filled("file"),
    filled("line_number"),
    between("line_number", 1),
    filled("_row_hash"),
    filled("invoice_no"),
    # C cancels, A adjusts bad debt.
    matches("invoice_no", r"^[AC]?\d{6}$"),
    filled("stock_code"),
    filled("invoice_date"),
    # London local time, as the file has it.
    between("invoice_date", EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None)),
    filled("quantity"),
    filled("unit_price"),
    filled("description", "warning", mostly=0.98),
    between("quantity", -100_000, 100_000, "warning"),
    # Adjustments of bad debt have negative prices.
    between("unit_price", 0, None, "warning"),
    filled("customer_id", "warning", mostly=0.5),
    filled("country", "warning"),
]


def _lines() -> list[Check]:
    """What every entity owes whose rows are known by file and line."""
    return [
        rows(1),
        filled("file"),
        filled("line_number"),
        between("line_number", 1),
        filled("_row_hash"),
    ]


def _local_day(column: str) -> list[Check]:
    """A time or day without a zone, as the files have it."""
    return [
        filled(column),
        between(column, EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None)),
    ]


JOURNEY_TRANSACTIONS = [
    columns(
        *("file", "line_number", "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value"),
        *("retail_disc", "coupon_disc", "coupon_match_disc", "week", "transaction_timestamp", "_row_hash"),
    ),
    *_lines(),
    filled("household_id"),
    filled("basket_id"),
    filled("product_id"),
    filled("quantity"),
    # Fuel is counted in thousandths of a gallon.
    between("quantity", 0, 100_000),
    filled("sales_value"),
    between("sales_value", 0, 10_000),
    # Discounts as amounts: a negative one is the older edition of the data, which writes them below zero.
    between("retail_disc", 0),
    between("coupon_disc", 0),
    between("coupon_match_disc", 0),
    *_local_day("transaction_timestamp"),
    filled("store_id", "warning"),
    between("week", 1, 53, "warning"),
    # One line in 170 sells nothing; a tenth of them would be a reading error.
    between("quantity", 1, None, "warning", mostly=0.9, minimum_rows=MANY),
    distinct("household_id", 2, None, "warning", minimum_rows=MANY),
]

JOURNEY_PRODUCTS = [
    columns(
        *("product_id", "manufacturer_id", "department", "brand", "product_category", "product_type"),
        *("package_size", "_row_hash"),
    ),
    rows(1),
    filled("product_id"),
    unique("product_id", "warning"),
    filled("_row_hash"),
    filled("department", "warning"),
    one_of("brand", ["National", "Private"], "warning"),
    filled("product_category", "warning", mostly=0.95, minimum_rows=MANY),
    filled("product_type", "warning", mostly=0.95, minimum_rows=MANY),
]

JOURNEY_DEMOGRAPHICS = [
    columns(
        *("household_id", "age", "income", "home_ownership", "marital_status", "household_size"),
        *("household_comp", "kids_count", "_row_hash"),
    ),
    rows(1),
    filled("household_id"),
    unique("household_id", "warning"),
    filled("_row_hash"),
    # The seed complete_journey_bands knows these; another band would have no beginning there.
    one_of("age", ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"], "warning"),
    matches("income", r"^(?:Under 15K|\d{2,3}-\d{2,3}K|250K\+)$", "warning"),
    one_of("home_ownership", ["Homeowner", "Renter", "Probable Homeowner", "Probable Renter"], "warning"),
    one_of("marital_status", ["Married", "Unmarried"], "warning"),
    one_of("household_size", ["1", "2", "3", "4", "5+"], "warning"),
    filled("household_comp", "warning", mostly=0.9, minimum_rows=MANY),
    one_of("kids_count", ["0", "1", "2", "3+"], "warning"),
]

JOURNEY_CAMPAIGNS = [
    columns("campaign_id", "household_id", "_row_hash"),
    rows(1),
    filled("campaign_id"),
    filled("household_id"),
    filled("_row_hash"),
]

JOURNEY_CAMPAIGN_DESCRIPTIONS = [
    columns("campaign_id", "campaign_type", "start_date", "end_date", "_row_hash"),
    rows(1),
    filled("campaign_id"),
    unique("campaign_id", "warning"),
    filled("_row_hash"),
    one_of("campaign_type", ["Type A", "Type B", "Type C"], "warning"),
    *_local_day("start_date"),
    *_local_day("end_date"),
    not_before("end_date", "start_date"),
]

JOURNEY_COUPONS = [
    columns("file", "line_number", "coupon_upc", "product_id", "campaign_id", "_row_hash"),
    *_lines(),
    filled("coupon_upc"),
    filled("product_id"),
    filled("campaign_id"),
]

JOURNEY_COUPON_REDEMPTIONS = [
    columns("file", "line_number", "household_id", "coupon_upc", "campaign_id", "redemption_date", "_row_hash"),
    *_lines(),
    filled("household_id"),
    filled("coupon_upc"),
    filled("campaign_id"),
    *_local_day("redemption_date"),
]

LANDED: dict[str, list[Check]] = {
    "landed_crm__customers": CUSTOMERS,
    "landed_crm__consents": CONSENTS,
    "landed_catalogue__products": PRODUCTS,
    "landed_shop__orders": ORDERS,
    "landed_shop__order_lines": ORDER_LINES,
    "landed_shop__refunds": REFUNDS,
    "landed_web__events": WEB,
    "landed_email__events": EMAIL_EVENTS,
    "landed_local_esp__events": EMAIL_EVENTS,
    "landed_webhooks__events": WEBHOOK_EVENTS,
    "landed_klaviyo__events": ESP_EVENTS,
    "landed_mailchimp__events": ESP_EVENTS,
    "landed_hubspot__events": ESP_EVENTS,
    "landed_braze__events": ESP_EVENTS,
    "landed_online_retail__invoice_lines": INVOICE_LINES,
    "landed_complete_journey__transactions": JOURNEY_TRANSACTIONS,
    "landed_complete_journey__products": JOURNEY_PRODUCTS,
    "landed_complete_journey__demographics": JOURNEY_DEMOGRAPHICS,
    "landed_complete_journey__campaigns": JOURNEY_CAMPAIGNS,
    "landed_complete_journey__campaign_descriptions": JOURNEY_CAMPAIGN_DESCRIPTIONS,
    "landed_complete_journey__coupons": JOURNEY_COUPONS,
    "landed_complete_journey__coupon_redemptions": JOURNEY_COUPON_REDEMPTIONS,
}
