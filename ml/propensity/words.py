"""Inputs in words that a marketer may read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

NOUNS = {
    "orders": ("orders", "order", "orders"),
    "sessions": ("visits", "visit", "visits"),
    "product_views": ("product views", "product view", "product views"),
    "cart_additions": ("carts", "product put into the cart", "products put into the cart"),
    "checkouts": ("carts", "checkout started", "checkouts started"),
    "emails_delivered": ("e-mails", "e-mail received", "e-mails received"),
    "emails_opened": ("e-mail opens", "e-mail opened", "e-mails opened"),
    "emails_clicked": ("e-mail clicks", "e-mail clicked", "e-mails clicked"),
    "order_days": ("orders", "day with an order", "days with an order"),
    "sessions_since_last_order": ("visits", "visit since the last order", "visits since the last order"),
    "distinct_products": ("assortment", "different product bought", "different products bought"),
    "distinct_categories": ("assortment", "category bought from", "categories bought from"),
}
"""Counts: topic, one, several."""

SINCE = {
    "order": ("recency", "last order", "never ordered"),
    "session": ("visits", "last visit", "never visited"),
    "product_view": ("product views", "last product view", "no product viewed yet"),
    "cart_addition": ("carts", "last product put into the cart", "nothing put into the cart yet"),
    "email_delivered": ("e-mails", "last e-mail received", "no e-mail received yet"),
    "email_opened": ("e-mail opens", "last e-mail opened", "no e-mail opened yet"),
    "email_clicked": ("e-mail clicks", "last click in an e-mail", "no click in an e-mail yet"),
}
"""Days since the last one: topic, what, and the words where it never happened."""

OTHERS: dict[str, tuple[str, str, str]] = {
    "average_order_value": ("spend", "spends {:.0f} per order", "never ordered"),
    "largest_order": ("spend", "largest order {:.0f}", "never ordered"),
    "items_per_order": ("basket", "{:.1f} items per order", "never ordered"),
    "days_since_first_order": ("tenure", "first order {ago}", "never ordered"),
    "interval_days_mean": ("rhythm", "orders about every {days}", "no rhythm of orders yet"),
    "interval_days_std": ("rhythm", "intervals between orders vary by {days}", "too few orders for a rhythm"),
    "recency_to_interval": ("recency", "silent for {:.1f} times the usual interval", "no rhythm of orders yet"),
    "order_rate_month": ("orders", "{:.1f} orders a month", "never ordered"),
    "order_span_share": ("recency", "ordered over {:.0%} of the time since the first order", "ordered only just now"),
    "repeat_product_share": ("assortment", "{:.0%} of products bought again", "never ordered"),
    "session_rate_month": ("visits", "{:.1f} visits a month", "never visited"),
    "missed_sessions": ("visits", "silent for the time of {:.1f} usual visits", "never visited"),
    "product_views_per_session": ("product views", "{:.1f} products viewed per visit", "never visited"),
    "email_open_rate": ("e-mail opens", "opens {:.0%} of e-mails", "no e-mail received yet"),
    "email_click_rate": ("e-mail clicks", "clicks in {:.0%} of e-mails", "no e-mail received yet"),
    "email_open_rate_90d": ("e-mail opens", "opened {:.0%} of the e-mails of 90 days", "no e-mail in 90 days"),
    "email_click_rate_90d": ("e-mail clicks", "clicked in {:.0%} of the e-mails of 90 days", "no e-mail in 90 days"),
}
"""The rest: topic, the words around the value, and the words where it is missing."""

MOST = 3


def topic(name: str) -> str:
    """What an input is about; inputs of one topic say one thing to a reader."""
    return _entry(name)[0]


def phrases(name: str, values: np.ndarray) -> np.ndarray:
    """One phrase for each value of an input."""
    speak = _entry(name)[1]
    rounded = np.round(values, 2)
    unique, places = np.unique(rounded, return_inverse=True, equal_nan=True)
    return np.array([speak(float(value)) for value in unique], dtype=object)[places]


def reasons(names: Sequence[str], values: np.ndarray, contributions: np.ndarray) -> np.ndarray:
    """Up to three phrases for each row, joined by "; ": what moves its score from the average most.

    ``values`` and ``contributions``: rows × inputs. The contributions of a topic are added up; reasons are the
    topics that push the way that the whole score goes, each in the words of its strongest input.
    """
    rows = len(values)
    if not rows:
        return np.empty(0, dtype=object)
    topics = list(dict.fromkeys(topic(name) for name in names))
    direction = np.where(contributions.sum(axis=1) >= 0, 1.0, -1.0)
    pushes = contributions * direction[:, None]
    total, strongest = np.empty((rows, len(topics))), np.empty((rows, len(topics)), dtype=np.int64)
    for place, one in enumerate(topics):
        members = np.array([number for number, name in enumerate(names) if topic(name) == one])
        total[:, place] = pushes[:, members].sum(axis=1)
        strongest[:, place] = members[pushes[:, members].argmax(axis=1)]
    order = np.argsort(-total, axis=1, kind="stable")[:, :MOST]
    texts = np.full((rows, order.shape[1]), "", dtype=object)
    chosen = np.take_along_axis(strongest, order, axis=1)
    counts = np.take_along_axis(total, order, axis=1) > 1e-9
    for number, name in enumerate(names):
        here = (chosen == number) & counts
        if here.any():
            texts[here] = phrases(name, values[np.nonzero(here)[0], number])
    return np.array(["; ".join(dict.fromkeys(text for text in row if text)) for row in texts], dtype=object)


def _entry(name: str) -> tuple[str, Callable[[float], str]]:
    stem, days = _window(name)
    within = f" in the last {days} days" if days else ""
    if name in OTHERS:
        about, text, missing = OTHERS[name]
        return (
            about,
            lambda value: missing if np.isnan(value) else text.format(value, days=_days(value), ago=_ago(value)),
        )
    if stem in NOUNS:
        about, one, several = NOUNS[stem]
        return about, lambda value: _count(value, one, several, within)
    if stem == "spend":
        when = within or " in all"
        return "spend", lambda value: f"spent {value:.0f}{when}" if value > 0 else f"spent nothing{within}"
    if stem.startswith("days_since_last_") and (what := stem.removeprefix("days_since_last_")) in SINCE:
        about, last, never = SINCE[what]
        return about, lambda value: never if np.isnan(value) else f"{last} {_ago(value)}"
    if name == "is_unsubscribed":
        return "consent", lambda value: "has unsubscribed" if value > 0 else "has not unsubscribed"
    plain = name.replace("_", " ")
    return plain, lambda value: f"{plain} unknown" if np.isnan(value) else f"{plain} {value:g}"


def _window(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)_(\d+)d", name)
    return (found[1], int(found[2])) if found else (name, 0)


def _count(value: float, one: str, several: str, within: str) -> str:
    if np.isnan(value):
        return f"{several} unknown{within}"
    number = round(value)
    return f"{number or 'no'} {one if number == 1 else several}{within}"


def _filled(text: str, value: float) -> str:
    return text.format(value, days=_days(value), ago=_ago(value))


def _days(value: float) -> str:
    number = max(round(value), 1)
    return f"{number} day{'' if number == 1 else 's'}"


def _ago(value: float) -> str:
    return f"{_days(np.floor(value))} ago" if value >= 1 else "less than a day ago"
