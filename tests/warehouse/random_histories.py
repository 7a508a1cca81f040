"""Random histories of web and mail events, as dirty and as late as real ones, split into loads in any order."""

import json
import random
from datetime import datetime, timedelta

from landed_rows import at
from small_shop import account, consent, order

BEGINS = at("2011-06-01")
AGENTS = (
    "Mozilla/5.0 (Windows NT 6.1)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 4_3 like Mac OS X) Mobile/8F190",
    "Mozilla/5.0 (iPad; CPU OS 4_3 like Mac OS X) Mobile/8F190",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
EVENTS = (None, None, "Product Viewed", "Product Viewed", "Product Added", "Checkout Started", "Order Completed")
# Steps that lie on, just below and just above the half hour that ends a visit.
STEPS = (0, 1, 60, 600, 1799, 1800, 1801, 3600, 20_000, 90_000)


def web_events(rng: random.Random, devices: int) -> list[dict]:
    """Events of some devices; accounts sign in on some of them, several on a few."""
    rows = []
    for device in range(devices):
        clock = BEGINS + timedelta(seconds=rng.randrange(86_400 * 20))
        signs_in = rng.sample(range(1, 9), k=rng.choice((0, 1, 1, 1, 2)))
        zone = rng.choice(("Europe/London", "America/New_York", "Nowhere/Land", None))
        for number in range(rng.randrange(1, 12)):
            clock += timedelta(seconds=rng.choice(STEPS))
            name = rng.choice(EVENTS)
            campaign = rng.choice((None, None, {"source": "news", "medium": "email", "name": rng.choice("xyz")}))
            context = {"userAgent": rng.choice(AGENTS), "timezone": zone, "campaign": campaign, "page": {"path": "/p"}}
            rows.append(
                {
                    "message_id": f"W{device}-{number}",
                    "type": "track" if name else "page",
                    "event": name,
                    "anonymous_id": f"D{device}" if rng.random() < 0.95 else None,
                    "user_id": f"C{rng.choice(signs_in)}" if signs_in and rng.random() < 0.4 else None,
                    "timestamp": clock,
                    "received_at": clock + timedelta(seconds=rng.choice((0, 1, 5_000))),
                    "properties": json.dumps({"product_id": f"P{rng.randrange(5)}", "price": 10})
                    if rng.random() < 0.95
                    else "{broken",
                    "context": json.dumps(context),
                }
            )
    return rows


def mail_events(rng: random.Random, messages: int) -> list[dict]:
    """What became of some messages, over several days."""
    rows = []
    for message in range(messages):
        clock = BEGINS + timedelta(seconds=rng.randrange(86_400 * 20))
        person = rng.randrange(1, 10)
        kinds = ["sent", rng.choice(("delivered", "delivered", "delivered", "bounce"))]
        kinds += rng.choices(
            ("open", "open", "click", "unsubscribe", "complaint"), (5, 3, 4, 1, 0.3), k=rng.randrange(5)
        )
        for number, kind in enumerate(kinds):
            clock += timedelta(seconds=rng.choice((0, 1, 2, 60, 40_000, 100_000)))
            rows.append(
                {
                    "event_id": f"E{message}-{number}",
                    "message_id": f"M{message}",
                    "campaign_id": f"K{message % 3}",
                    "campaign_name": f"Campaign {message % 3}",
                    "customer_id": f"C{person}",
                    "email": f"person{person}@example.com" if rng.random() < 0.8 else None,
                    "event_type": kind,
                    "bounce_type": rng.choice(("hard", "soft")) if kind == "bounce" else None,
                    "is_machine_open": kind == "open" and rng.random() < 0.3,
                    "url": f"https://shop.example.com/{rng.randrange(3)}" if kind == "click" else None,
                    "occurred_at": clock,
                    "received_at": clock + timedelta(seconds=1),
                }
            )
    return rows


def again(rng: random.Random, rows: list[dict], key: str, share: float) -> list[dict]:
    """Copies of some rows: as they are, under the same key with another content, or under another key."""
    copies = []
    for row in rng.sample(rows, k=int(len(rows) * share)):
        way = rng.randrange(3)
        if way == 0:
            copies.append(dict(row))
        elif way == 1:
            changed = "occurred_at" if "occurred_at" in row else "timestamp"
            copies.append(row | {changed: row[changed] + timedelta(seconds=7)})
        else:
            copies.append(row | {key: f"{row[key]}-copy"})
    return copies


def loads(seed: int, count: int, *, devices: int = 60, messages: int = 60) -> list[dict[str, list[dict]]]:
    """Loads of all entities by the names of ``Landing.load``: every row falls into one of them by lot."""
    rng = random.Random(seed)
    web, mail = web_events(rng, devices), mail_events(rng, messages)
    accounts = [
        account(f"C{number}", f"person{number // 2}@example.com", signed_up="2011-05-01", last_name="Smith")
        | {"first_name": rng.choice(("Ann", "Ann", "Bob"))}
        for number in range(1, 10)
    ]
    rows = {
        "web__events": web + again(rng, web, "message_id", 0.2),
        "email__events": mail + again(rng, mail, "event_id", 0.2),
        "crm__customers": accounts
        + [one | {"updated_at": at("2011-06-10"), "email": "moved@example.com"} for one in rng.sample(accounts, k=2)],
        "crm__consents": [
            consent(f"K{number}", f"C{rng.randrange(1, 10)}", rng.choice(("granted", "withdrawn")), f"2011-06-{day:02}")
            for number, day in enumerate(rng.choices(range(1, 25), k=20))
        ],
        "shop__orders": [
            order(
                f"O{number}",
                rng.choice((None, f"C{rng.randrange(1, 10)}")),
                f"person{number}@example.com",
                10.0 + number,
                f"2011-06-{day:02}",
            )
            for number, day in enumerate(rng.choices(range(1, 25), k=30))
        ],
    }
    split: list[dict[str, list[dict]]] = [{name: [] for name in rows} for _ in range(count)]
    for name, entity in rows.items():
        for row in entity:
            split[rng.randrange(count)][name].append(row)
    return split


def instants(count: int) -> list[datetime]:
    """What each build is built for: later and later, and at first before much of what has landed."""
    return [BEGINS + timedelta(days=8 + 14 * number / max(count - 1, 1)) for number in range(count)]
