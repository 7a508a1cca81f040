"""Click propensity: how likely a customer is to click an e-mail, if one is delivered in the next 30 days.

Everybody who has had an e-mail delivered is scored. Learnt from those who got one in the horizon; nobody can click
what did not come, so customers without mail then are neither a yes nor a no.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from ml.propensity.engine import model_spec
from ml.propensity.outcomes import clicked
from ml.propensity.settings import PropensitySettings, Target
from ml.spec import Frames


class Settings(PropensitySettings):
    """Settings of the model."""


def eligible(inputs: pd.DataFrame, settings: PropensitySettings) -> np.ndarray:
    """Who has had an e-mail delivered."""
    del settings
    return inputs["days_since_last_email_delivered"].notna().to_numpy()


def truth(frames: Frames, cut: datetime, until: datetime, customers: pd.Index) -> np.ndarray:
    """1 with a click on an e-mail delivered in (cut, until], 0 with such an e-mail only, missing without."""
    return clicked(frames, cut, until, customers)


TARGET = Target(
    name="click_propensity",
    frame="customer_emails",
    eligible=eligible,
    truth=truth,
    recency="days_since_last_email_clicked",
    frequency="emails_clicked_365d",
)

MODEL = model_spec(
    TARGET, Settings, ("customer_emails", "customer_orders", "customer_order_lines", "customer_sessions")
)
