"""A shop of a few people, each of them a case that the warehouse must get right."""

from landed_rows import Landing, at

BROWSER = '{"userAgent": "Mozilla/5.0 (Windows NT 6.1)", "page": {"path": "/p"}}'
BOT = '{"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}'


def account(number: str, email: str | None, *, signed_up: str = "2011-01-01", **more) -> dict:
    return {
        "customer_id": number,
        "email": email,
        "first_name": f"First {number}",
        "country_code": "GB",
        "time_zone": "Europe/London",
        "preferences": '["Garden"]',
        "loyalty_tier": "none",
        "signed_up_at": at(signed_up),
        "updated_at": at(signed_up),
    } | more


def consent(number: str, account_id: str, status: str, when: str, source: str = "sign_up_form") -> dict:
    return {
        "consent_id": number,
        "customer_id": account_id,
        "channel": "email",
        "status": status,
        "source": source,
        "wording_version": "1",
        "proof": f"proof-{number}",
        "recorded_at": at(when),
    }


def order(number: str, account_id: str | None, email: str | None, total: float, when: str, **more) -> dict:
    return {
        "order_id": number,
        "customer_id": account_id,
        "email": email,
        "status": "delivered",
        "currency": "GBP",
        "discount_amount": 0.0,
        "shipping_amount": 0.0,
        "total_amount": total,
        "ordered_at": at(when),
        "updated_at": at(when),
    } | more


def line(number: str, order_id: str, product: str, quantity: int, price: float, when: str) -> dict:
    return {
        "order_line_id": number,
        "order_id": order_id,
        "product_id": product,
        "quantity": quantity,
        "unit_price": price,
        "line_amount": quantity * price,
        "updated_at": at(when),
    }


def product(number: str, category: str) -> dict:
    created = at("2010-07-01")
    return {
        "product_id": number,
        "name": f"Product {number}",
        "description": "A product",
        "category": category,
        "price": 10.0,
        "currency": "GBP",
        "stock_quantity": 5,
        "created_at": created,
        "updated_at": created,
    }


def web(number: str, device: str | None, account_id: str | None, when: str, event: str | None = None, **more) -> dict:
    return {
        "message_id": number,
        "type": "track" if event else "page",
        "event": event,
        "anonymous_id": device,
        "user_id": account_id,
        "timestamp": at(when),
        "received_at": at(when),
        "properties": '{"product_id": "P1", "category": "Garden", "price": 10}',
        "context": BROWSER,
    } | more


def mail(number: str, message: str, person: str, kind: str, when: str, **more) -> dict:
    return {
        "event_id": number,
        "message_id": message,
        "campaign_id": "spring",
        "campaign_name": "Spring",
        "customer_id": person,
        "email": None,
        "event_type": kind,
        "bounce_type": None,
        "is_machine_open": False,
        "url": None,
        "occurred_at": at(when),
        "received_at": at(when),
    } | more


def invoice(number: int, invoice_no: str, stock_code: str, quantity: int, price: float, **more) -> dict:
    return {
        "file": "invoices.parquet",
        "line_number": number,
        "invoice_no": invoice_no,
        "stock_code": stock_code,
        "description": f"THING {stock_code}",
        "quantity": quantity,
        "invoice_date": at("2011-06-01 12:00").replace(tzinfo=None),
        "unit_price": price,
        "customer_id": 17850,
        "country": "United Kingdom",
    } | more


ACCOUNTS = [
    account("C1", "  Ann@Example.com "),
    account("C2", "ann@example.com", signed_up="2011-02-01", first_name="Annie"),
    account("C3", "bob@example"),
    account("C4", None),
    account("C5", "eve@example.com"),
    account("C6", "dan@example.com"),
    account("C7", "kim@example.com", birth_date="1980-07-02"),
]

CONSENTS = [
    consent("K1", "C1", "granted", "2011-01-01"),
    consent("K3", "C3", "granted", "2011-01-01"),
    consent("K4", "C4", "granted", "2011-01-01"),
    consent("K5", "C5", "granted", "2011-01-01"),
    consent("K6", "C6", "granted", "2011-01-01"),
    consent("K6", "C6", "granted", "2011-01-01"),
    consent("K7", "C7", "granted", "2011-01-01"),
    consent("K8", "C7", "withdrawn", "2011-03-01", "unsubscribe_link"),
    consent("K9", "C7", "granted", "2011-03-01", "preference_centre"),
    consent("K10", "C404", "granted", "2011-03-01"),
    # After the unsubscribe and the bounce below.
    consent("K11", "C5", "granted", "2011-05-01", "preference_centre"),
    consent("K12", "C6", "granted", "2011-05-01", "preference_centre"),
]

ORDERS = [
    order("O1", "C1", "ann@example.com", 30.0, "2011-05-01"),
    order("O2", None, "ANN@example.com", 20.0, "2011-06-01"),
    order("O3", None, "guest@example.com", 10.0, "2011-06-02"),
    order("O4", None, None, 10.0, "2011-06-02"),
    order("O5", "C5", "eve@example.com", 50.0, "2011-06-03", status="cancelled"),
    order("O6", "C6", "dan@example.com", 40.0, "2011-06-04", status="partially_refunded"),
    # An account whose row has not landed yet.
    order("O7", "C9", "new@example.com", 15.0, "2011-06-30 23:00"),
]

LINES = [
    line("L1", "O1", "P1", 3, 10.0, "2011-05-01"),
    line("L2", "O2", "P2", 2, 10.0, "2011-06-01"),
    line("L3", "O3", "P1", 1, 10.0, "2011-06-02"),
    line("L4", "O4", "P1", 1, 10.0, "2011-06-02"),
    line("L5", "O5", "P1", 5, 10.0, "2011-06-03"),
    line("L6", "O6", "P1", 4, 10.0, "2011-06-04"),
    line("L7", "O7", "P2", 1, 15.0, "2011-06-30"),
    line("L8", "O404", "P1", 1, 10.0, "2011-06-04"),
    line("L9", "O1", "P1", 0, 10.0, "2011-05-01"),
]

REFUNDS = [
    {
        "refund_id": "R1",
        "order_id": "O6",
        "amount": 15.0,
        "reason": "damaged",
        "refunded_at": at("2011-06-10"),
        "updated_at": at("2011-06-10"),
    }
]

EVENTS = [
    # One visit of an unknown device that logs in, another an hour later.
    web("E1", "device-1", None, "2011-06-20 10:00"),
    web("E2", "device-1", None, "2011-06-20 10:30", "Product Viewed"),
    web("E3", "device-1", "C1", "2011-06-20 10:31", type="identify"),
    web("E4", "device-1", None, "2011-06-20 11:31:00.001", "Product Added"),
    # A device that two people share.
    web("E5", "kiosk", "C5", "2011-06-20 09:00"),
    web("E6", "kiosk", "C6", "2011-06-20 12:00"),
    web("E7", "kiosk", None, "2011-06-20 15:00"),
    web("E8", "device-2", None, "2011-06-20 10:00", context=BOT),
    web("E1", "device-1", None, "2011-06-20 10:00", received_at=at("2011-06-22")),
    web("E9", None, None, "2011-06-20 10:00"),
    web("E10", "device-3", None, "2011-06-20 10:00", properties="{not json", context=BROWSER),
]

MAILS = [
    mail("M1", "m1", "C1", "delivered", "2011-06-01"),
    mail("M2", "m1", "C1", "open", "2011-06-01 10:00", is_machine_open=True),
    mail("M3", "m2", "C1", "delivered", "2011-06-08"),
    mail("M4", "m2", "C1", "open", "2011-06-08 10:00"),
    mail("M5", "m2", "C1", "open", "2011-06-08 11:00"),
    mail("M6", "m2", "C1", "click", "2011-06-08 12:00", url="https://shop.example/"),
    mail("M7", "m3", "C5", "unsubscribe", "2011-04-01"),
    mail("M8", "m4", "C6", "bounce", "2011-04-01", bounce_type="hard", email="dan@example.com"),
    mail("M9", "m5", "C404", "delivered", "2011-04-01"),
]

INVOICE_LINES = [
    invoice(1, "536365", "85123a", 6, 2.5),
    invoice(2, "536365", "85123a", 6, 2.5),  # the whole line again
    invoice(3, "536365", "POST", 1, 15.0),
    invoice(4, "536365", "22423", 2, 10.0, description=None),
    invoice(5, "C536379", "85123A", -2, 2.5, invoice_date=at("2011-06-05").replace(tzinfo=None)),
    invoice(6, "C536379", "22086", -1, 7.0, invoice_date=at("2011-06-05").replace(tzinfo=None)),
    invoice(7, "A563185", "B", 1, 11062.06, customer_id=None),
    invoice(8, "536366", "22423", 1, 10.0, customer_id=None),
    invoice(9, "536367", "22423", 1, 0.0),
    invoice(10, "536367", "22423", -1, 10.0),
    invoice(11, "536367", "AMAZONFEE", 1, 10.0),
    invoice(12, "536368", "22423", 1, 10.0, country="EIRE", customer_id=12583),
    invoice(13, "C536369", "22423", 1, 10.0),
    invoice(14, "X1", "22423", 1, 10.0),
    invoice(15, "536370", "22423", 1, 10.0, description="THING OTHER"),
    invoice(16, "536370", "22423", 1, 10.5, description="THING OTHER"),
]


def land(landing: Landing) -> Landing:
    """All of it in one load, and newer versions of two rows in a second."""
    landing.load(
        crm__customers=ACCOUNTS,
        crm__consents=CONSENTS,
        catalogue__products=[product("P1", "Garden"), product("P2", "Kitchen")],
        shop__orders=ORDERS,
        shop__order_lines=LINES,
        shop__refunds=REFUNDS,
        web__events=EVENTS,
        email__events=MAILS,
        online_retail__invoice_lines=INVOICE_LINES,
    )
    landing.load(
        crm__customers=[account("C7", "kim@example.com", birth_date="1980-07-02", updated_at=at("2011-02-02"))],
        shop__orders=[
            order("O1", "C1", "ann@example.com", 30.0, "2011-05-01", updated_at=at("2011-05-03"), status="shipped")
        ],
    )
    return landing
