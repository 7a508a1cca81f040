"""What became of customers after a cut."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from ml.propensity.inputs import instants
from ml.spec import Frames


def ordered(frames: Frames, cut: datetime, until: datetime, customers: pd.Index) -> np.ndarray:
    """1.0 for each customer of the index with an order in (cut, until], else 0.0."""
    orders = frames["customer_orders"]
    happened = _within(instants(orders, "ordered_at"), cut, until)
    return customers.isin(orders.loc[happened, "customer_id"]).astype(float)


def clicked(frames: Frames, cut: datetime, until: datetime, customers: pd.Index) -> np.ndarray:
    """1.0 with a click by ``until`` on an e-mail delivered in (cut, until], 0.0 with the e-mail alone, else missing."""
    emails = frames["customer_emails"]
    arrived = _within(instants(emails, "delivered_at"), cut, until)
    done = arrived & (instants(emails, "clicked_at") <= _number(until))
    received = customers.isin(emails.loc[arrived, "customer_id"])
    return np.where(received, customers.isin(emails.loc[done, "customer_id"]).astype(float), np.nan)


def _within(times: np.ndarray, cut: datetime, until: datetime) -> np.ndarray:
    return (times > _number(cut)) & (times <= _number(until))


def _number(instant: datetime) -> int:
    return pd.Timestamp(instant).tz_convert("UTC").value // 1000
