"""A grocer of a few households, each line of it a case that the warehouse must get right."""

from datetime import datetime

from landed_rows import Landing


def local(text: str) -> datetime:
    """A time without a zone, as the files have it."""
    return datetime.fromisoformat(text)


def line(number: int, basket: int, product: int, quantity: int, sales: float, **more) -> dict:
    return {
        "file": "transactions.parquet",
        "line_number": number,
        "household_id": 1,
        "store_id": 381,
        "basket_id": basket,
        "product_id": product,
        "quantity": quantity,
        "sales_value": sales,
        "retail_disc": 0.0,
        "coupon_disc": 0.0,
        "coupon_match_disc": 0.0,
        "week": 1,
        "transaction_timestamp": local("2017-02-01T00:30:00"),
    } | more


LINES = [
    line(1, 10, 100, 2, 3.0, retail_disc=0.5, coupon_disc=0.75, coupon_match_disc=0.25),
    line(2, 10, 200, 11_000, 26.62),
    line(3, 10, 999, 0, 0.0, coupon_disc=1.0),
    line(4, 10, 998, 1, 4.9),
    line(5, 10, 101, 0, 4.4e-16),
    line(6, 10, 101, 0, 0.1, basket_id=12),
    line(7, 10, 101, 1, 0.0, retail_disc=2.0),
    line(8, 11, 200, 1, 20.0, household_id=2),
    line(9, 11, 300, 1, 25.0, household_id=2),
    line(10, 10, 100, 2, 3.0, retail_disc=0.5, coupon_disc=0.75, coupon_match_disc=0.25),
    line(11, 10, 102, -1, 3.0),
    line(12, 13, 100, 1, 1.5, transaction_timestamp=local("2016-12-31T23:59:59")),
    line(13, 14, 100, 1, 1.5, transaction_timestamp=local("2017-03-20T00:00:01")),
    line(14, 10, 103, 1, 9.0),
]


def product(number: int, kind: str | None, category: str | None = "FOOD", size: str | None = None) -> dict:
    return {
        "product_id": number,
        "manufacturer_id": 2,
        "department": "GROCERY",
        "brand": "National",
        "product_category": category,
        "product_type": kind,
        "package_size": size,
    }


def campaign(number: int, start: str, end: str) -> dict:
    return {"campaign_id": number, "campaign_type": "Type A", "start_date": local(start), "end_date": local(end)}


def redemption(number: int, household: int, campaign_id: int, day: str, coupon: int = 7) -> dict:
    return {
        "file": "coupon_redemptions.parquet",
        "line_number": number,
        "household_id": household,
        "coupon_upc": coupon,
        "campaign_id": campaign_id,
        "redemption_date": local(day),
    }


def coupon(number: int, product_id: int) -> dict:
    return {
        "file": "coupons.parquet", "line_number": number, "coupon_upc": 7, "product_id": product_id, "campaign_id": 1,
    }  # fmt: skip


def load(landing: Landing) -> None:
    """Two loads: the tables, and a file in which one line is corrected."""
    landing.load(
        complete_journey__transactions=LINES,
        complete_journey__products=[
            *(product(number, "CEREAL", size="12 OZ") for number in (100, 101, 102)),
            *(product(103, None, None), product(104, "NEVER SOLD")),
            product(200, "GASOLINE-REG UNLEADED", "COUPON/MISC ITEMS"),
            product(300, "OUTSIDE VENDORS GIFT CARDS", "COUPON/MISC ITEMS"),
        ],
        complete_journey__demographics=[
            {
                "household_id": number,
                "age": "65+",
                "income": "35-49K",
                "home_ownership": None,
                "marital_status": "Married",
                "household_size": "5+",
                "household_comp": "2 Adults Kids",
                "kids_count": "3+",
            }
            for number in (1, 77)
        ],
        complete_journey__campaigns=[
            {"campaign_id": number, "household_id": household}
            for number, household in ((1, 1), (1, 2), (1, 55), (2, 1), (2, 55), (3, 1))
        ],
        complete_journey__campaign_descriptions=[
            campaign(1, "2017-03-03", "2017-04-09"),
            campaign(2, "2017-03-20", "2017-04-20"),
            campaign(4, "2017-02-03", "2017-01-09"),
        ],
        complete_journey__coupons=[coupon(1, 100), coupon(2, 101), coupon(3, 100)],
        complete_journey__coupon_redemptions=[
            redemption(1, 1, 1, "2017-03-05"),
            redemption(2, 1, 1, "2017-03-05", coupon=8),
            redemption(3, 1, 1, "2017-03-05"),
            redemption(4, 1, 1, "2017-03-19"),
            redemption(5, 2, 9, "2017-03-05"),
        ],
    )
    # A later file corrects a line: what it says counts.
    landing.load(complete_journey__transactions=[line(14, 10, 103, 1, 8.0)])
