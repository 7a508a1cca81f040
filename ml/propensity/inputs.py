"""What was known of every customer at an instant: one function for training snapshots and for scoring.

Nothing later than the cut goes in, not even what became known later of something earlier: an e-mail that was sent
before the cut and opened after it is not opened yet. Refunds come later than their order, so money is the gross
amount. Inputs that trend with the calendar (the month, the age of the shop) are left out by design: a model would
learn them on snapshots that never come back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from ml.errors import FeatureError
from ml.spec import Frames

FRAMES: dict[str, tuple[str, ...]] = {
    "customer_orders": ("customer_id", "order_id", "ordered_at", "gross_amount", "item_count"),
    "customer_order_lines": ("customer_id", "order_id", "ordered_at", "product_id", "category"),
    "customer_sessions": (
        "customer_id",
        "session_id",
        "started_at",
        "product_view_count",
        "cart_addition_count",
        "checkout_count",
    ),
    "customer_emails": (
        "customer_id",
        "email_message_id",
        "sent_at",
        "delivered_at",
        "opened_at",
        "clicked_at",
        "unsubscribed_at",
    ),
}
"""The frames that inputs are made from, and the columns that are read; a frame may be absent or empty."""

WINDOWS = (7, 30, 90, 365)
"""Days that counts and sums look back."""

DAY = 86_400_000_000
"""Microseconds."""

SESSION_SETTLES = DAY
"""A session's counts go on growing after its start, and the frame does not hold its end: it is known a day later."""

NEVER = np.iinfo(np.int64).max
MONEY_UNITS = 10_000  # sums of whole numbers are exact, so that the order of rows cannot change them


def point_in_time_inputs(
    frames: Frames,
    cut: datetime,
    customers: Collection[str] | None = None,
    observed: Collection[str] | None = None,
) -> pd.DataFrame:
    """Inputs of every customer as of ``cut``, which is included.

    ``frames``: event frames by name, see :data:`FRAMES`; rows in any order, repeated rows count once.
    ``customers``: whom to describe; without it everybody of whom something is known at the cut.
    ``observed``: frames that the shop has at all; without it those with a row that is known at the cut. The columns
    of other frames are missing values, since behaviour that nobody recorded is unknown and not zero.

    Returns float columns, indexed by ``customer_id`` in ascending order. Counts are of events, ``spend`` is gross
    money, ages and intervals are days, rates are shares. ``<name>_<d>d`` looks back d days: cut - d < t <= cut.
    Raises :class:`FeatureError` where an instant has no zone or a column is absent.
    """
    instant = pd.Timestamp(cut).tz_convert("UTC").value // 1000
    known = {name: _known(frames, name, instant) for name in FRAMES}
    if customers is None:
        parts = [frame["customer_id"].unique() for frame in known.values()]
        customers = np.concatenate([np.asarray(part, dtype=object) for part in parts])
    index = pd.Index(np.unique(np.asarray(list(customers), dtype=object)), name="customer_id", dtype=object)
    observed = {name for name, frame in known.items() if len(frame)} if observed is None else set(observed)
    makers = {
        "customer_orders": _orders,
        "customer_order_lines": _lines,
        "customer_sessions": _sessions,
        "customer_emails": _emails,
    }
    columns: dict[str, np.ndarray] = {}
    events = {name: _once(_events(frame, index, instant), ONCE.get(name)) for name, frame in known.items()}
    for name, make in makers.items():
        made = make(events[name])
        columns |= made if name in observed else {column: np.full(len(index), np.nan) for column in made}
    columns["sessions_since_last_order"] = _since_last_order(events["customer_sessions"], events["customer_orders"])
    if not {"customer_sessions", "customer_orders"} <= observed:
        columns["sessions_since_last_order"][:] = np.nan
    return pd.DataFrame(columns, index=index)


def instants(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column's instants as whole microseconds since 1970 in UTC; ``NEVER`` where it did not happen."""
    values = frame[column]
    if not len(values):
        return np.empty(0, dtype=np.int64)
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        if values.isna().all():
            return np.full(len(values), NEVER)
        raise FeatureError(f"{column}: expected instants with their zone, found {values.dtype}; publish them in UTC")
    numbers = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    return np.where(values.isna(), NEVER, numbers)


TIMES = {
    "customer_orders": "ordered_at",
    "customer_order_lines": "ordered_at",
    "customer_sessions": "started_at",
    "customer_emails": "sent_at",
}
"""The instant from which on a row of a frame exists."""

ONCE = {"customer_orders": "order_id", "customer_sessions": "session_id", "customer_emails": "email_message_id"}
"""The key by which a customer's repeated rows count once; order lines have none."""


def _known(frames: Frames, name: str, instant: int) -> pd.DataFrame:
    """The rows of a frame that are known at the instant, each once."""
    frame = frames.get(name)
    if frame is None:
        return pd.DataFrame({column: [] for column in FRAMES[name]})
    missing = [column for column in FRAMES[name] if column not in frame.columns]
    if missing:
        raise FeatureError(
            f"{name}: missing {missing[0]}; found {', '.join(map(str, frame.columns))}; publish the features again"
        )
    settles = SESSION_SETTLES if name == "customer_sessions" else 0
    is_known = instants(frame, TIMES[name]) <= instant - settles
    return frame if is_known.all() else frame[is_known]


@dataclass(frozen=True)
class _Events:
    """Known rows of known customers: the customer's place in the index, and ages in microseconds at the cut."""

    rows: pd.DataFrame
    code: np.ndarray
    customers: int
    instant: int

    def age(self, column: str) -> np.ndarray:
        """Microseconds since it happened; negative where it has not happened yet."""
        times = instants(self.rows, column)
        return np.where(times == NEVER, -1, self.instant - np.minimum(times, NEVER - 1))

    def number(self, column: str) -> np.ndarray:
        """A column as numbers, 0 where it is not known."""
        values = pd.to_numeric(self.rows[column]).to_numpy(dtype=float, na_value=np.nan)
        return np.nan_to_num(values, nan=0.0)

    def text(self, column: str) -> np.ndarray:
        """A column as whole numbers, equal where the texts are; -1 where there is none."""
        return pd.factorize(self.rows[column])[0].astype(np.int64)

    def total(self, mask: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The number of rows, or the sum of weights, of each customer."""
        weights = None if weights is None else weights[mask]
        return np.bincount(self.code[mask], weights, minlength=self.customers).astype(float)

    def last(self, age: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Days since the last row of each customer; missing without one."""
        return self._extreme(np.minimum, NEVER, age, mask)

    def first(self, age: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Days since the first row of each customer; missing without one."""
        return self._extreme(np.maximum, -1, age, mask)

    def _extreme(self, which: np.ufunc, start: int, age: np.ndarray, mask: np.ndarray) -> np.ndarray:
        found = np.full(self.customers, start, dtype=np.int64)
        which.at(found, self.code[mask], age[mask])
        return np.where(found == start, np.nan, found / DAY)

    def distinct(self, *keys: np.ndarray) -> tuple[np.ndarray, ...]:
        """The distinct combinations of whole numbers from 0 with the customer's code in front, sorted."""
        combined = self.code.astype(np.int64)
        sizes = [int(key.max(initial=0)) + 1 for key in keys]
        for key, size in zip(keys, sizes, strict=True):
            combined = combined * size + key
        combined = np.sort(combined)  # np.unique hashes, which takes several times as long here
        combined = combined[np.diff(combined, prepend=-1) > 0]
        parts = []
        for size in reversed(sizes):
            combined, part = np.divmod(combined, size)
            parts.append(part)
        return combined, *reversed(parts)


def _events(known: pd.DataFrame, index: pd.Index, instant: int) -> _Events:
    place, names = pd.factorize(known["customer_id"])
    code = index.get_indexer(np.asarray(names, dtype=object))[place] if len(names) else place
    return _Events(known[code >= 0], code[code >= 0], len(index), instant)


def _once(events: _Events, key: str | None) -> _Events:
    """Each key of a customer once; all rows without a key."""
    if key is None:
        return events
    places = events.text(key)
    if places.max(initial=-1) + 1 == len(places):
        return events
    combined = events.code.astype(np.int64) * (int(places.max(initial=0)) + 2) + places + 1
    kept = np.unique(combined, return_index=True)[1]
    return _Events(events.rows.iloc[kept], events.code[kept], events.customers, events.instant)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _windows(events: _Events, name: str, age: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    happened = age >= 0
    return {f"{name}_{days}d": events.total(happened & (age < days * DAY), weights) for days in WINDOWS}


def _orders(events: _Events) -> dict[str, np.ndarray]:
    age = events.age("ordered_at")
    everything = age >= 0
    money = np.rint(events.number("gross_amount") * MONEY_UNITS)
    counts = events.total(everything)
    spend = events.total(everything, money) / MONEY_UNITS
    columns = {
        "orders": counts,
        **_windows(events, "orders", age),
        "spend": spend,
        **{name: total / MONEY_UNITS for name, total in _windows(events, "spend", age, money).items()},
        "average_order_value": _share(spend, counts),
        "largest_order": _largest(events, money),
        "items_per_order": _share(events.total(everything, np.rint(events.number("item_count"))), counts),
        "days_since_last_order": events.last(age, everything),
        "days_since_first_order": events.first(age, everything),
    }
    return columns | _rhythm(events, columns["days_since_last_order"], columns["days_since_first_order"])


def _largest(events: _Events, money: np.ndarray) -> np.ndarray:
    largest = np.full(events.customers, -np.inf)
    np.maximum.at(largest, events.code, money)
    return np.where(np.isfinite(largest), largest / MONEY_UNITS, np.nan)


def _rhythm(events: _Events, recency: np.ndarray, tenure: np.ndarray) -> dict[str, np.ndarray]:
    """Intervals between the days with an order: several orders of a day are one occasion.

    ``order_rate_month`` takes 30 days more than the tenure, so that a first order of yesterday is no daily rhythm;
    ``order_span_share`` is t_x / T of Fader, Hardie and Lee (2005): 1 just after an order, towards 0 with silence.
    """
    epoch_day = instants(events.rows, "ordered_at") // DAY
    code, day = events.distinct(epoch_day)
    occasions = np.bincount(code, minlength=events.customers).astype(float)
    same = code[1:] == code[:-1]
    gap = (day[1:] - day[:-1])[same].astype(float)
    owner = code[1:][same]
    number = np.bincount(owner, minlength=events.customers).astype(float)
    mean = _share(np.bincount(owner, gap, minlength=events.customers), number)
    square = _share(np.bincount(owner, gap**2, minlength=events.customers), number)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return {
        "order_days": occasions,
        "interval_days_mean": mean,
        "interval_days_std": np.where(number >= 2, spread, np.nan),
        "recency_to_interval": _share(recency, mean),
        "order_rate_month": occasions * 30 / (tenure + 30),
        "order_span_share": _share(tenure - recency, tenure),
    }


def _lines(events: _Events) -> dict[str, np.ndarray]:
    order, product, category = events.text("order_id"), events.text("product_id"), events.text("category")
    code, _, _ = events.distinct(order + 1, product + 1)
    bought = np.bincount(code, minlength=events.customers).astype(float)
    code, _ = events.distinct(product + 1)
    products = np.bincount(code, minlength=events.customers).astype(float)
    code, kind = events.distinct(category + 1)
    categories = np.bincount(code[kind > 0], minlength=events.customers).astype(float)
    return {
        "distinct_products": products,
        "distinct_categories": categories,
        "repeat_product_share": 1 - _share(products, bought),
    }


def _sessions(events: _Events) -> dict[str, np.ndarray]:
    """``missed_sessions``: how many visits the time since the last one would have held at the customer's own rate.

    Rates take 30 days more than the tenure, as in :func:`_rhythm`.
    """
    age = events.age("started_at")
    everything = age >= 0
    views, carts = events.number("product_view_count"), events.number("cart_addition_count")
    visits, recency, tenure = events.total(everything), events.last(age, everything), events.first(age, everything)
    return {
        **_windows(events, "sessions", age),
        "session_rate_month": visits * 30 / (tenure + 30),
        "missed_sessions": recency * visits / (tenure + 30),
        **_windows(events, "product_views", age, views),
        **_windows(events, "cart_additions", age, carts),
        "checkouts_30d": events.total(age < 30 * DAY, events.number("checkout_count")),
        "product_views_per_session": _share(events.total(everything, views), visits),
        "days_since_last_session": recency,
        "days_since_last_product_view": events.last(age, views > 0),
        "days_since_last_cart_addition": events.last(age, carts > 0),
    }


def _since_last_order(sessions: _Events, orders: _Events) -> np.ndarray:
    """Visits that began after the last order, all where there is none: whoever comes back to look has not left."""
    last = np.full(orders.customers, NEVER)
    np.minimum.at(last, orders.code, orders.age("ordered_at"))
    return sessions.total(sessions.age("started_at") < last[sessions.code])


def _emails(events: _Events) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    ever = {}
    for act in ("delivered", "opened", "clicked"):
        age = events.age(f"{act}_at")
        ever[act] = events.total(age >= 0)
        columns |= _windows(events, f"emails_{act}", age)
        columns[f"days_since_last_email_{act}"] = events.last(age, age >= 0)
    delivered = events.age("delivered_at")
    for act, rate in (("opened", "email_open_rate"), ("clicked", "email_click_rate")):
        recent = (delivered >= 0) & (delivered < 90 * DAY)
        done = recent & (events.age(f"{act}_at") >= 0)
        columns[f"{rate}_90d"] = _share(events.total(done), events.total(recent))
        columns[rate] = _share(ever[act], ever["delivered"])
    columns["is_unsubscribed"] = np.minimum(events.total(events.age("unsubscribed_at") >= 0), 1.0)
    return columns
