"""Purchase propensity: how likely a customer is to order within the next 30 days.

Everybody who has ordered or visited the shop is scored, whenever that was: a visitor without an order may become a
customer, and a customer who has been silent for a year gets a low score rather than none.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from ml.propensity.engine import model_spec
from ml.propensity.outcomes import ordered
from ml.propensity.settings import PropensitySettings, Target
from ml.spec import Frames


class Settings(PropensitySettings):
    """Settings of the model."""


def eligible(inputs: pd.DataFrame, settings: PropensitySettings) -> np.ndarray:
    """Who has ordered or visited."""
    del settings
    return (inputs["days_since_last_order"].notna() | inputs["days_since_last_session"].notna()).to_numpy()


def truth(frames: Frames, cut: datetime, until: datetime, customers: pd.Index) -> np.ndarray:
    """1 with an order in (cut, until], else 0."""
    return ordered(frames, cut, until, customers)


TARGET = Target(
    name="purchase_propensity",
    frame="customer_orders",
    eligible=eligible,
    truth=truth,
    recency="days_since_last_order",
    frequency="order_days",
)

MODEL = model_spec(
    TARGET, Settings, ("customer_orders", "customer_order_lines", "customer_sessions", "customer_emails")
)
