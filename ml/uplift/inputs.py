"""What was known of customers at given instants: the inputs of the effect, the same for training and for scoring."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.spec import Frames

LONGEST = 730.0
"""Days that stand for never, and to which longer times are cut."""

WORDS = {
    "days_since_order": "days since the last order",
    "days_as_buyer": "days since the first order",
    "orders_365": "orders in a year",
    "spend_365": "spend in a year",
    "discount_365": "discount in a year",
    "days_since_email": "days since the last e-mail",
    "emails_90": "e-mails in 90 days",
    "opens_90": "opens in 90 days",
    "clicks_90": "clicks in 90 days",
    "visits_30": "visits in 30 days",
}
"""Input → what it is, in words; the columns of :func:`inputs_at`, in order."""


def inputs_at(moments: pd.DataFrame, frames: Frames) -> pd.DataFrame:
    """One row of inputs for each row of ``moments`` (``customer_id``, ``at``), in its order and with its index.

    Only events strictly before ``at`` count, and each by the instant at which it happened: an e-mail that was sent
    before and opened after is sent, not opened. Reads ``customer_orders`` (``ordered_at``, ``net_amount``,
    ``gross_amount``), ``customer_emails`` (``sent_at``, ``opened_at``, ``clicked_at``) and ``customer_sessions``
    (``started_at``); any may be empty.
    """
    customers = pd.Index(moments["customer_id"].unique())
    code, at = customers.get_indexer(moments["customer_id"]), _seconds(moments["at"])
    orders, emails, visits = (frames[f"customer_{name}"] for name in ("orders", "emails", "sessions"))
    ordered = _History(customers, orders, "ordered_at", ("net_amount", "gross_amount"))
    sent, opened, clicked = (_History(customers, emails, f"{what}_at") for what in ("sent", "opened", "clicked"))
    visited = _History(customers, visits, "started_at")
    net, gross = (ordered.total(code, at, 365, amount) for amount in ("net_amount", "gross_amount"))
    columns = {
        "days_since_order": ordered.days_since(code, at),
        "days_as_buyer": ordered.days_since(code, at, first=True),
        "orders_365": np.log1p(ordered.total(code, at, 365)),
        "spend_365": np.log1p(np.maximum(net, 0.0)),
        "discount_365": np.clip(1 - net / np.where(gross > 0, gross, 1.0), 0.0, 1.0) * (gross > 0),
        "days_since_email": sent.days_since(code, at),
        "emails_90": np.log1p(sent.total(code, at, 90)),
        "opens_90": np.log1p(opened.total(code, at, 90)),
        "clicks_90": np.log1p(clicked.total(code, at, 90)),
        "visits_30": np.log1p(visited.total(code, at, 30)),
    }
    return pd.DataFrame(columns, index=moments.index)[list(WORDS)]


def ordered_within(moments: pd.DataFrame, orders: pd.DataFrame, days: int) -> np.ndarray:
    """1 where the customer ordered at or after ``at`` and less than ``days`` later, else 0."""
    customers = pd.Index(moments["customer_id"].unique())
    code, at = customers.get_indexer(moments["customer_id"]), _seconds(moments["at"])
    history = _History(customers, orders, "ordered_at")
    return (history.total(code, at + days * 86_400, days) > 0).astype(float)


class _History:
    """Events of one kind, by customer and second, with running totals; asked about spans before given seconds."""

    def __init__(self, customers: pd.Index, events: pd.DataFrame, time: str, amounts: tuple[str, ...] = ()) -> None:
        code = customers.get_indexer(events["customer_id"])
        kept = (code >= 0) & events[time].notna().to_numpy()
        events = events[kept]
        seconds = _seconds(events[time])
        values = [events[name].fillna(0.0).to_numpy(dtype=float) for name in amounts]
        order = np.lexsort((*values, seconds, code[kept]))  # equal instants too, so that sums do not depend on the rows
        self.code, self.second = code[kept][order], seconds[order]
        self.totals = {name: np.r_[0.0, np.cumsum(one[order])] for name, one in zip(amounts, values, strict=True)}
        self.key = self.code * _SPAN + self.second

    def total(self, code: np.ndarray, at: np.ndarray, days: int, amount: str | None = None) -> np.ndarray:
        """Events of the last ``days`` before ``at``, counted or summed."""
        from_, until = self._before(code, at - days * 86_400), self._before(code, at)
        if amount is None:
            return (until - from_).astype(float)
        return np.round(self.totals[amount][until] - self.totals[amount][from_], 6)

    def days_since(self, code: np.ndarray, at: np.ndarray, *, first: bool = False) -> np.ndarray:
        """Days since the last (or first) event before ``at``, ``LONGEST`` at most and where there is none."""
        until, from_ = self._before(code, at), self._before(code, np.zeros_like(at))
        if not len(self.second):
            return np.full(len(at), LONGEST)
        found = self.second[np.clip(from_ if first else until - 1, 0, len(self.second) - 1)]
        return np.where(until > from_, np.minimum((at - found) / 86_400, LONGEST), LONGEST)

    def _before(self, code: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.key, code * _SPAN + at, side="left")


_SPAN = 1 << 36
"""Seconds for each customer's stretch of the key: two thousand years, for 100 million customers."""


def _seconds(instants: pd.Series) -> np.ndarray:
    """Whole seconds since 1970."""
    return pd.to_datetime(instants, utc=True).dt.as_unit("s").astype("int64").to_numpy()
