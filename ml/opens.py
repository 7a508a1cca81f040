"""What became of mail: when it is known, and who opened what has come since."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from ml.spec import Frames

MATURE = pd.Timedelta(days=3)
"""A mail has this long to be opened before it counts as not opened."""


def opened_since(frames: Frames, scored_as_of: datetime, as_of: datetime, days: int) -> pd.DataFrame | None:
    """``customer_id``, ``truth``: the share of each customer's mail since an earlier instant that was opened.

    None until ``days`` have passed; customers without mail are left out.
    """
    if as_of - scored_as_of < pd.Timedelta(days=days):
        return None
    mails = frames["customer_emails"]
    is_mature = (mails["delivered_at"] > scored_as_of) & (mails["delivered_at"] <= pd.Timestamp(as_of) - MATURE)
    mails = mails[is_mature]
    opened = (mails["opened_at"] <= as_of) | (mails["clicked_at"] <= as_of)
    return opened.groupby(mails["customer_id"]).mean().rename("truth").reset_index()
