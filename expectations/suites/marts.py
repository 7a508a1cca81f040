"""Published candidates, batch by batch, before the pointer is switched to them.

Keys, grain and joins are dbt's. Here stands what nobody downstream may ever see, whatever was built:
values out of their vocabulary, an e-mail that is none, somebody eligible without consent.
"""

from expectations.suites.check import (
    COUNTRY,
    CURRENCY,
    EMAIL,
    NORMALISED,
    NOT_BLANK,
    TIME_ZONE,
    Check,
    between,
    columns,
    contains,
    distinct,
    empty,
    filled,
    matches,
    one_of,
    plausible_instant,
    rows,
)

LOYALTY_TIERS = ["none", "bronze", "silver", "gold"]
CONSENT_STATUSES = ["granted", "withdrawn", "none"]
SUPPRESSION_REASONS = ["unsubscribed", "bounced", "complained", "erased", "consent_withdrawn"]
LIFECYCLE_STAGES = ["prospect", "new", "active", "at_risk", "churned"]
ORDER_COUNT_BANDS = ["0", "1", "2-4", "5-9", "10+"]
REFUSAL_REASONS = [
    *("no_email", "invalid_email", "shared_address", "no_consent", "consent_withdrawn"),
    *("unsubscribed", "bounced", "complained", "erased"),
]
RFM_CODE = r"^[1-5]{3}$"
PHONE = r"^\+[1-9][0-9]{6,14}$"


def _as_of(name: str = "as_of") -> list[Check]:
    """One instant for the whole mart."""
    return [filled(name), plausible_instant(name), distinct(name, 1, 1)]


DIM_CUSTOMERS = [
    rows(1),
    filled("customer_id"),
    matches("customer_id", NOT_BLANK),
    matches("email", EMAIL),
    matches("email", NORMALISED),
    filled("email_consent_status"),
    one_of("email_consent_status", CONSENT_STATUSES),
    filled("is_email_suppressed"),
    one_of("email_suppression_reason", SUPPRESSION_REASONS),
    empty("email_suppression_reason", where=("is_email_suppressed", False)),
    filled("email_suppression_reason", where=("is_email_suppressed", True)),
    one_of("loyalty_tier", LOYALTY_TIERS),
    matches("country_code", COUNTRY, "warning"),
    matches("time_zone", TIME_ZONE, "warning"),
    between("age_years", 0, 120, "warning"),
    filled("order_count"),
    between("order_count", 0),
    between("web_session_count", 0),
    between("emails_delivered_count", 0),
    between("emails_opened_count", 0),
    between("emails_clicked_count", 0),
    # More given back than bought happens where the purchase is older than the history.
    between("total_spend", 0, None, "warning", mostly=0.95),
    between("average_order_value", 0, 1_000_000, "warning"),
    filled("lifecycle_stage"),
    one_of("lifecycle_stage", LIFECYCLE_STAGES),
    matches("phone", PHONE, "warning"),
    between("refund_rate", 0, 1, "warning", mostly=0.95),
    between("email_open_rate", 0, 1),
    between("email_click_rate", 0, 1),
    filled("source_systems"),
    between("source_customer_count", 1),
    *_as_of(),
]

FCT_ORDERS = [
    rows(1),
    filled("order_id"),
    matches("order_id", r"^[a-z][a-z0-9_]*:\S"),
    filled("source_system"),
    matches("source_system", r"^[a-z][a-z0-9_]*$"),
    filled("ordered_at"),
    plausible_instant("ordered_at"),
    filled("currency"),
    matches("currency", CURRENCY),
    # Amounts are in pounds: a rate of nothing would make them infinite.
    filled("units_per_pound"),
    between("units_per_pound", 1e-6),
    filled("net_amount"),
    between("net_amount", -10_000_000, 10_000_000),
    between("net_amount", -100_000, 100_000, "warning"),
    between("refunded_amount", 0),
    between("line_count", 0),
    filled("is_cancelled"),
    filled("is_refund_capped"),
    filled("is_guest"),
    filled("customer_id", where=("is_guest", False)),
    empty("customer_id", where=("is_guest", True)),
    filled("customer_id", "warning", mostly=0.5),
]

FCT_CUSTOMER_RFM = [
    rows(1, "warning"),
    filled("customer_id"),
    between("recency_days", 0),
    between("frequency", 1),
    between("monetary", 0, None, "warning", mostly=0.95),
    *(filled(f"{part}_score") for part in ("recency", "frequency", "monetary")),
    *(between(f"{part}_score", 1, 5) for part in ("recency", "frequency", "monetary")),
    # Quintiles: a batch of a thousand customers has all five of them.
    *(distinct(f"{part}_score", 5, 5, "warning", minimum_rows=1_000) for part in ("recency", "frequency", "monetary")),
    filled("rfm_code"),
    matches("rfm_code", RFM_CODE),
    filled("rfm_segment"),
    matches("rfm_segment", NOT_BLANK),
    *_as_of(),
]

FCT_CUSTOMER_SCORES = [
    rows(1),
    filled("customer_id"),
    filled("model_name"),
    filled("model_version"),
    filled("score"),
    between("score", -1e15, 1e15),
    filled("decile"),
    between("decile", 1, 10),
    filled("tier"),
    matches("tier", NOT_BLANK),
    filled("as_of"),
    plausible_instant("as_of"),
]

SYNC_CUSTOMERS = [
    columns("customer_id", "email", "email_consent_status", "consent_proof", "is_eligible", "refusal_reason"),
    rows(1),
    filled("customer_id"),
    filled("is_eligible"),
    one_of("refusal_reason", REFUSAL_REASONS),
    # Consent first: whoever is eligible has an address, a granted consent and its proof, and no reason against.
    filled("email", where=("is_eligible", True)),
    matches("email", EMAIL, where=("is_eligible", True)),
    matches("email", NORMALISED, where=("is_eligible", True)),
    filled("email_consent_status", where=("is_eligible", True)),
    one_of("email_consent_status", ["granted"], where=("is_eligible", True)),
    filled("consent_proof", where=("is_eligible", True)),
    empty("refusal_reason", where=("is_eligible", True)),
    filled("refusal_reason", where=("is_eligible", False)),
    one_of("order_count_band", ORDER_COUNT_BANDS),
    one_of("loyalty_tier", LOYALTY_TIERS),
    matches("rfm_code", RFM_CODE),
    one_of("clv_tier", ["high", "medium", "low"]),
    between("clv_decile", 1, 10),
    matches("country_code", COUNTRY, "warning"),
    matches("time_zone", TIME_ZONE, "warning"),
    contains("is_eligible", [True], minimum_rows=1_000),
    *_as_of(),
]

MARTS: dict[str, list[Check]] = {
    "mart_dim_customers": DIM_CUSTOMERS,
    "mart_fct_orders": FCT_ORDERS,
    "mart_fct_customer_rfm": FCT_CUSTOMER_RFM,
    "mart_fct_customer_scores": FCT_CUSTOMER_SCORES,
    "mart_sync_customers": SYNC_CUSTOMERS,
}
