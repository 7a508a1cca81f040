"""Complete Journey (84.51, 2017): a grocer's baskets, products, households, campaigns and coupons, as Parquet files.

``<folder>/<entity>.parquet`` → batches, by ``files.py`` → landing. What its keys name uniquely lands by them; lines of
which one may repeat another land with file and line number, so that the warehouse can judge them. Times stay as the
files have them: ``transaction_timestamp`` is UTC without a zone, dates are days of the store; staging makes instants.
"""

from letterpress.sources.entities import LOCAL_TIME, NUMBER, TEXT, WHOLE, Entity, column, schema_of

_LINE = (column("file", TEXT), column("line_number", WHOLE))

TRANSACTIONS = Entity(
    name="transactions",
    key=("file", "line_number"),
    cursor=None,
    schema=schema_of(
        _LINE,
        column("household_id", WHOLE),
        column("store_id", WHOLE),
        column("basket_id", WHOLE),
        column("product_id", WHOLE),
        column("quantity", WHOLE),
        column("sales_value", NUMBER),
        column("retail_disc", NUMBER),
        column("coupon_disc", NUMBER),
        column("coupon_match_disc", NUMBER),
        column("week", WHOLE),
        column("transaction_timestamp", LOCAL_TIME),
    ),
)

PRODUCTS = Entity(
    name="products",
    key=("product_id",),
    cursor=None,
    schema=schema_of(
        column("product_id", WHOLE),
        column("manufacturer_id", WHOLE),
        column("department", TEXT),
        column("brand", TEXT),
        column("product_category", TEXT),
        column("product_type", TEXT),
        column("package_size", TEXT),
    ),
)

DEMOGRAPHICS = Entity(
    name="demographics",
    key=("household_id",),
    cursor=None,
    schema=schema_of(
        column("household_id", WHOLE),
        column("age", TEXT),
        column("income", TEXT),
        column("home_ownership", TEXT),
        column("marital_status", TEXT),
        column("household_size", TEXT),
        column("household_comp", TEXT),
        column("kids_count", TEXT),
    ),
)

CAMPAIGNS = Entity(
    name="campaigns",
    key=("campaign_id", "household_id"),
    cursor=None,
    schema=schema_of(column("campaign_id", WHOLE), column("household_id", WHOLE)),
)

CAMPAIGN_DESCRIPTIONS = Entity(
    name="campaign_descriptions",
    key=("campaign_id",),
    cursor=None,
    schema=schema_of(
        column("campaign_id", WHOLE),
        column("campaign_type", TEXT),
        column("start_date", LOCAL_TIME),
        column("end_date", LOCAL_TIME),
    ),
)

COUPONS = Entity(
    name="coupons",
    key=("file", "line_number"),
    cursor=None,
    schema=schema_of(
        _LINE,
        column("coupon_upc", WHOLE),
        column("product_id", WHOLE),
        column("campaign_id", WHOLE),
    ),
)

COUPON_REDEMPTIONS = Entity(
    name="coupon_redemptions",
    key=("file", "line_number"),
    cursor=None,
    schema=schema_of(
        _LINE,
        column("household_id", WHOLE),
        column("coupon_upc", WHOLE),
        column("campaign_id", WHOLE),
        column("redemption_date", LOCAL_TIME),
    ),
)

ENTITIES = {
    "complete_journey": (
        TRANSACTIONS, PRODUCTS, DEMOGRAPHICS, CAMPAIGNS, CAMPAIGN_DESCRIPTIONS, COUPONS, COUPON_REDEMPTIONS,
    )
}  # fmt: skip
