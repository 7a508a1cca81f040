"""Churn propensity: how likely an active customer is to fall silent.

Churned is who does not order in the next ``horizon_days`` (90). Scored are customers of whom that silence would say
something: active, that is with an order in the last ``horizon_days``, and with a rhythm of their own within the
horizon, that is a mean interval between days with an order of at most ``horizon_days``. Whoever churns has missed at
least one whole interval of their own. A customer who orders twice a year is not lost after 90 days and gets no score;
one with a single order has no rhythm yet and counts while ``minimum_order_days`` is 1.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
from pydantic import Field

from ml.propensity.engine import model_spec
from ml.propensity.outcomes import ordered
from ml.propensity.settings import PropensitySettings, Target
from ml.spec import Frames


class Settings(PropensitySettings):
    """Settings of the model."""

    horizon_days: int = Field(default=90, gt=0, description="silence of so many days is churn")
    minimum_order_days: int = Field(default=1, ge=1, description="fewest days with an order; 2: repeat customers only")


def eligible(inputs: pd.DataFrame, settings: Settings) -> np.ndarray:
    """Active customers whose own rhythm is within the horizon."""
    recent = inputs["days_since_last_order"] < settings.horizon_days
    slow = inputs["interval_days_mean"] > settings.horizon_days
    return (recent & ~slow & (inputs["order_days"] >= settings.minimum_order_days)).to_numpy()


def truth(frames: Frames, cut: datetime, until: datetime, customers: pd.Index) -> np.ndarray:
    """1 without an order in (cut, until], else 0."""
    return 1 - ordered(frames, cut, until, customers)


TARGET = Target(
    name="churn_propensity",
    frame="customer_orders",
    eligible=eligible,
    truth=truth,
    recency="days_since_last_order",
    frequency="order_days",
    rises=False,
)

MODEL = model_spec(
    TARGET, Settings, ("customer_orders", "customer_order_lines", "customer_sessions", "customer_emails")
)
