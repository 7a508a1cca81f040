"""Rows of every suite that a healthy line would bring, made as landing, dbt, the models and activation make them."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from letterpress.sources import landing

NOW = datetime(2011, 6, 1, 12, tzinfo=UTC)
CATEGORIES = ["Home", "Garden", "Toys"]


def good_frame(suite: str, rows: int = 12) -> pd.DataFrame:
    """A batch of ``rows`` rows that passes every check of the suite."""
    if suite.startswith("landed_"):
        source, entity = suite.removeprefix("landed_").split("__")
        maker = JOURNEY[entity] if source == "complete_journey" else LANDED[source if entity == "events" else entity]
        schema = landing.declared_schemas()[source, entity]
        content = [{**maker(i), "_row_hash": f"{i:064x}"} for i in range(rows)]
        return pa.Table.from_pylist(content, schema).to_pandas()
    maker = OTHERS[suite]
    return pd.DataFrame([maker(i) for i in range(rows)])


def _customer(i: int) -> dict:
    return {
        "customer_id": f"C{i:06d}", "email": f"person.{i}@example.com", "phone": None if i % 3 else "+44 20 7946 0000",
        "first_name": "Zoë", "last_name": "O'Neil", "birth_date": "1980-02-29" if i % 2 else None,
        "country_code": "GB", "time_zone": ["Europe/London", "America/Argentina/Salta", "UTC"][i % 3],
        "preferences": json.dumps(CATEGORIES[: i % 3]), "loyalty_tier": ["none", "bronze", "silver", "gold"][i % 4],
        "signed_up_at": NOW - timedelta(days=i), "updated_at": NOW,
    }  # fmt: skip


def _consent(i: int) -> dict:
    return {
        "consent_id": f"S{i}", "customer_id": f"C{i:06d}", "channel": "email",
        "status": "granted" if i % 3 else "withdrawn", "source": "checkout", "wording_version": "2",
        "proof": f"proof-{i}" if i % 3 else None, "recorded_at": NOW,
    }  # fmt: skip


def _product(i: int) -> dict:
    return {
        "product_id": f"P{i:04d}", "name": f"Mug {i}", "description": None, "category": CATEGORIES[i % 3],
        "price": 4.5 + i, "currency": "GBP", "stock_quantity": i, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip


def _order(i: int) -> dict:
    return {
        "order_id": f"O{i:06d}", "customer_id": f"C{i:06d}" if i % 4 else None, "email": f"person.{i}@example.com",
        "status": ["placed", "shipped", "delivered", "refunded"][i % 4], "currency": "GBP", "discount_amount": 0.0,
        "shipping_amount": 3.5, "total_amount": 20.0 + i, "ordered_at": NOW, "updated_at": NOW + timedelta(hours=i),
    }  # fmt: skip


def _order_line(i: int) -> dict:
    return {
        "order_line_id": f"L{i}", "order_id": f"O{i // 2:06d}", "product_id": f"P{i:04d}", "quantity": 1 + i % 5,
        "unit_price": 2.5, "line_amount": 2.5 * (1 + i % 5), "updated_at": NOW,
    }  # fmt: skip


def _refund(i: int) -> dict:
    return {
        "refund_id": f"R{i}", "order_id": f"O{i:06d}", "amount": 5.0, "reason": "damaged", "refunded_at": NOW,
        "updated_at": NOW,
    }  # fmt: skip


def _web_event(i: int) -> dict:
    kind = ["page", "track", "identify"][i % 3]
    return {
        "message_id": f"m{i}", "type": kind, "event": "Product Viewed" if kind == "track" else None,
        "anonymous_id": f"a{i % 5}", "user_id": f"C{i:06d}" if kind == "identify" else None,
        "timestamp": NOW - timedelta(minutes=i), "received_at": NOW, "properties": "{}",
        "context": json.dumps({"page": {"path": "/"}}),
    }  # fmt: skip


def _email_event(i: int) -> dict:
    kind = ["sent", "delivered", "open", "click", "bounce", "unsubscribe"][i % 6]
    return {
        "event_id": f"e{i}", "message_id": f"m{i}", "campaign_id": "spring", "campaign_name": "Spring",
        "subject": "Spring is here" if i % 4 else None, "customer_id": f"C{i:06d}",
        "email": f"person.{i}@example.com", "event_type": kind,
        "bounce_type": "hard" if kind == "bounce" else None, "is_machine_open": False, "url": None,
        "occurred_at": NOW, "received_at": NOW + timedelta(minutes=i),
    }  # fmt: skip


def _webhook_event(i: int) -> dict:
    return {"destination": "klaviyo", **_email_event(i)}


def _invoice_line(i: int) -> dict:
    return {
        "file": "invoices.parquet", "line_number": i + 1, "invoice_no": f"{'C' if i % 5 == 0 else ''}{536365 + i}",
        "stock_code": "85123A", "description": "WHITE MUG", "quantity": -2 if i % 5 == 0 else 6,
        "invoice_date": datetime(2011, 6, 1, 12, i % 60), "unit_price": 2.55,
        "customer_id": 17850 + i if i % 4 else None, "country": "United Kingdom",
    }  # fmt: skip


def _journey_transaction(i: int) -> dict:
    return {
        "file": "transactions.parquet", "line_number": i + 1, "household_id": 1 + i % 7, "store_id": 381,
        "basket_id": 31_198_676_055 + i // 3, "product_id": 1_000_000 + i, "quantity": 1 + i % 3, "sales_value": 2.5,
        "retail_disc": 0.5 * (i % 2), "coupon_disc": 0.0, "coupon_match_disc": 0.0, "week": 1 + i % 53,
        "transaction_timestamp": datetime(2017, 6, 1, 12, i % 60),
    }  # fmt: skip


def _journey_product(i: int) -> dict:
    return {
        "product_id": 1_000_000 + i, "manufacturer_id": 69, "department": "GROCERY",
        "brand": ["National", "Private"][i % 2], "package_size": "22 LB" if i % 3 else None,
        "product_category": "FRZN ICE", "product_type": "ICE - CRUSHED/CUBED",
    }  # fmt: skip


def _journey_demographics(i: int) -> dict:
    return {
        "household_id": 1 + i, "age": ["35-44", "65+"][i % 2],
        "income": ["Under 15K", "100-124K", "35-49K", "250K+"][i % 4],
        "home_ownership": "Homeowner" if i % 3 else None, "marital_status": "Married" if i % 2 else None,
        "household_size": ["2", "5+"][i % 2], "household_comp": "2 Adults Kids", "kids_count": ["0", "3+"][i % 2],
    }  # fmt: skip


def _journey_campaign(i: int) -> dict:
    return {"campaign_id": 1 + i % 27, "household_id": 1 + i}


def _journey_campaign_description(i: int) -> dict:
    return {
        "campaign_id": 1 + i, "campaign_type": f"Type {'ABC'[i % 3]}", "start_date": datetime(2017, 3, 3),
        "end_date": datetime(2017, 4, 9),
    }  # fmt: skip


def _journey_coupon(i: int) -> dict:
    return {
        "file": "coupons.parquet", "line_number": i + 1, "coupon_upc": 10_000_085_207, "product_id": 1_000_000 + i,
        "campaign_id": 1 + i % 27,
    }  # fmt: skip


def _journey_redemption(i: int) -> dict:
    return {
        "file": "coupon_redemptions.parquet", "line_number": i + 1, "household_id": 1 + i,
        "coupon_upc": 10_000_085_207, "campaign_id": 1 + i % 27, "redemption_date": datetime(2017, 3, 3),
    }  # fmt: skip


def _dim_customer(i: int) -> dict:
    suppressed = i % 6 == 0
    return {
        "customer_id": f"p{i}", "email": f"person.{i}@example.com" if i % 5 else None, "country_code": "GB",
        "time_zone": "Europe/London", "loyalty_tier": "gold" if i % 2 else None, "age_years": 41,
        "email_consent_status": ["granted", "withdrawn", "none"][i % 3], "is_email_suppressed": suppressed,
        "email_suppression_reason": "bounced" if suppressed else None, "order_count": i, "total_spend": 10.0 * i,
        "average_order_value": 10.0 if i else None, "web_session_count": i, "emails_delivered_count": i,
        "emails_opened_count": 0, "emails_clicked_count": 0, "source_systems": "crm,shop", "source_customer_count": 1,
        "lifecycle_stage": "active" if i else "prospect", "phone": "+442079460018" if i % 3 else None,
        "refund_rate": 0.25 if i else None, "email_open_rate": 0.5 if i else None,
        "email_click_rate": 0.0 if i else None,
        "as_of": pd.Timestamp(NOW),
    }  # fmt: skip


def _fct_order(i: int) -> dict:
    guest = i % 4 == 0
    return {
        "order_id": f"shop:O{i}", "source_system": "shop", "customer_id": None if guest else f"p{i}",
        "ordered_at": pd.Timestamp(NOW), "currency": "GBP", "units_per_pound": 1.0, "line_count": 2,
        "net_amount": 20.0 - 30 * (i % 7 == 0), "refunded_amount": 0.0, "is_cancelled": False, "is_guest": guest,
        "is_refund_capped": False,
    }  # fmt: skip


def _rfm(i: int) -> dict:
    recency, frequency, monetary = 1 + i % 5, 1 + (i + 1) % 5, 1 + (i + 2) % 5
    return {
        "customer_id": f"p{i}", "recency_days": i, "frequency": 1 + i, "monetary": 5.0 * i, "recency_score": recency,
        "frequency_score": frequency, "monetary_score": monetary, "rfm_code": f"{recency}{frequency}{monetary}",
        "rfm_segment": "Champions", "as_of": pd.Timestamp(NOW),
    }  # fmt: skip


def _mart_score(i: int) -> dict:
    return {key: value for key, value in _score(i).items() if key not in ("scored_at", "run_id")}


def _sync(i: int) -> dict:
    refused = i % 3 == 0
    return {
        "customer_id": f"p{i}", "email": None if refused else f"person.{i}@example.com", "country_code": "GB",
        "time_zone": "Europe/London", "loyalty_tier": "gold", "rfm_code": "555" if i % 2 else None,
        "clv_tier": "high" if i % 2 else None, "clv_decile": 1 + i % 10, "order_count_band": "2-4",
        "email_consent_status": "none" if refused else "granted", "consent_proof": None if refused else f"proof-{i}",
        "is_eligible": not refused, "refusal_reason": "no_consent" if refused else None, "as_of": pd.Timestamp(NOW),
    }  # fmt: skip


def _score(i: int) -> dict:
    return {
        "model_name": "customer_lifetime_value", "model_version": "3f2a", "as_of": pd.Timestamp(NOW),
        "customer_id": f"p{i}", "score": 0.1 * i, "decile": 1 + i % 10, "tier": ["high", "medium", "low"][i % 3],
        "reasons": "bought twice" if i % 2 else None, "details": None, "scored_at": pd.Timestamp(NOW), "run_id": "run",
    }  # fmt: skip


def _cluster(i: int) -> dict:
    return {**_score(i), "model_name": "customer_clusters", "score": (i % 97) / 100, "tier": f"cluster {i % 4}"}


def _payload(i: int) -> dict:
    return {
        "external_id": f"p{i}", "email": f"person.{i}@example.com", "segments": ["rfm_champions"][: i % 2],
        "attributes": {"rfm_code": "555", "is_eligible": True, "email_consent_status": "granted",
                       "refusal_reason": None, "is_email_suppressed": False},
    }  # fmt: skip


def flat_payload(i: int) -> dict:
    """A payload whose facts about eligibility stand beside the e-mail instead of among the attributes."""
    payload = _payload(i)
    return {**payload, **payload.pop("attributes"), "attributes": {"rfm_code": "555"}}


LANDED = {
    "customers": _customer, "consents": _consent, "products": _product, "orders": _order,
    "order_lines": _order_line, "refunds": _refund, "web": _web_event, "email": _email_event,
    "local_esp": _email_event, "webhooks": _webhook_event, "invoice_lines": _invoice_line,
    **dict.fromkeys(("klaviyo", "mailchimp", "hubspot", "braze"), _email_event),
}  # fmt: skip
JOURNEY = {
    "transactions": _journey_transaction, "products": _journey_product, "demographics": _journey_demographics,
    "campaigns": _journey_campaign, "campaign_descriptions": _journey_campaign_description,
    "coupons": _journey_coupon, "coupon_redemptions": _journey_redemption,
}  # fmt: skip
OTHERS = {
    "mart_dim_customers": _dim_customer, "mart_fct_orders": _fct_order, "mart_fct_customer_rfm": _rfm,
    "mart_fct_customer_scores": _mart_score, "mart_sync_customers": _sync, "scores": _score,
    "score_customer_clusters": _cluster, "score_customer_lifetime_value": _score, "score_uplift": _score,
    "score_profile_imputation": _score, "payload": _payload,
}  # fmt: skip
