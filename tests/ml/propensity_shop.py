"""A shop of planted behaviour as event frames: who buys often, browses before buying, clicks, and in which category."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
CATEGORIES = ("garden", "kitchen", "toys", "books", "lamps", "paper")
FRAMES = ("customer_orders", "customer_order_lines", "customer_sessions", "customer_emails")
INSTANTS = {
    "customer_orders": ("ordered_at",),
    "customer_order_lines": ("ordered_at",),
    "customer_sessions": ("started_at",),
    "customer_emails": ("sent_at", "delivered_at", "opened_at", "clicked_at", "unsubscribed_at"),
}


def typed(frames: dict[str, list[dict]]) -> dict[str, pd.DataFrame]:
    """Lists of rows as frames with instants in UTC; columns that no row has are missing values."""
    from ml.propensity.inputs import FRAMES as COLUMNS

    result = {}
    for name in FRAMES:
        frame = pd.DataFrame(frames.get(name, []), columns=list(COLUMNS[name]))
        for column in INSTANTS[name]:
            frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
        result[name] = frame
    return result


def shop(customers: int = 700, days: int = 330, seed: int = 3, as_of: datetime = AS_OF) -> dict[str, pd.DataFrame]:
    """Customers arrive, order at a rate of their own until they leave, browse before, and get weekly mail."""
    chance = np.random.default_rng(seed)
    rows: dict[str, list[dict]] = {name: [] for name in FRAMES}
    start = as_of - timedelta(days=days)
    for number in range(customers):
        customer = f"c{number:05d}"
        rate, clicks = chance.gamma(0.9, 1 / 30), chance.beta(0.4, 3.0)
        taste = chance.dirichlet(np.array([6, 4, 3, 2, 1, 1]) * 0.15)
        day = joined = chance.uniform(0, days * 0.7)
        leaves = joined + chance.exponential(250)
        while day < min(days, leaves):
            _order(rows, chance, customer, start + timedelta(days=day), taste)
            day += chance.exponential(1 / rate)
        for week in range(int(joined / 7) + 1, days // 7):
            _email(rows, chance, customer, start + timedelta(days=7.0 * week), clicks, as_of)
    return typed(rows)


def _order(rows, chance, customer, when, taste):
    order = f"o{len(rows['customer_orders']):06d}"
    kinds = chance.choice(CATEGORIES, size=1 + chance.poisson(1.5), p=taste)
    rows["customer_orders"].append(
        {
            "customer_id": customer,
            "order_id": order,
            "ordered_at": when,
            "gross_amount": round(float(chance.gamma(3, 12)), 2),
            "item_count": len(kinds),
        }
    )
    for kind in kinds:
        rows["customer_order_lines"].append(
            {
                "customer_id": customer,
                "order_id": order,
                "ordered_at": when,
                "product_id": f"{kind}-{chance.integers(8)}",
                "category": kind,
            }
        )
    rows["customer_sessions"].append(
        {
            "customer_id": customer,
            "session_id": f"s{len(rows['customer_sessions']):06d}",
            "started_at": when - timedelta(hours=float(chance.uniform(1, 20 * 24))),
            "product_view_count": int(chance.integers(1, 9)),
            "cart_addition_count": 1,
            "checkout_count": 1,
        }
    )


def _email(rows, chance, customer, when, clicks, as_of):
    opened = when + timedelta(hours=3) if chance.random() < min(1.0, 0.15 + 2 * clicks) else None
    clicked = when + timedelta(hours=4) if opened and chance.random() < clicks else None
    rows["customer_emails"].append(
        {
            "customer_id": customer,
            "email_message_id": f"m{len(rows['customer_emails']):06d}",
            "sent_at": when,
            "delivered_at": when + timedelta(minutes=1),
            "opened_at": opened if opened and opened <= as_of else None,
            "clicked_at": clicked if clicked and clicked <= as_of else None,
        }
    )
