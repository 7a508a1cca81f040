"""What the propensities have in common: their settings, and what sets one apart from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from ml.propensity.inputs import point_in_time_inputs
from ml.spec import Frames, ModelSettings


class PropensitySettings(ModelSettings):
    """Settings of every propensity."""

    horizon_days: int = Field(default=30, gt=0, description="how far ahead the score looks")
    step_days: int = Field(default=30, gt=0, description="days between two training snapshots")
    snapshots: int = Field(default=12, ge=1, le=60, description="most snapshots to learn from, the latest ones")
    minimum_history_days: int = Field(default=30, ge=0, description="days of events before the first snapshot")
    minimum_cases: int = Field(default=50, ge=10, description="fewest customers with and without the outcome to fit")
    customers: int = Field(default=8_000, ge=100, description="customers to learn from, drawn by chance if more")
    trials: int = Field(default=20, ge=1, description="settings of the chosen model that are tried on validation")
    tie: float = Field(default=0.005, ge=0, description="ROC-AUC within which the simpler model is taken")
    leak_roc_auc: float = Field(default=0.98, gt=0.5, le=1, description="one input alone must stay below it")
    high_share: float = Field(default=0.1, gt=0, lt=1, description="the highest scores, tier high")
    medium_share: float = Field(default=0.2, gt=0, lt=1, description="the next ones, tier medium; the rest is low")

    @model_validator(mode="after")
    def room_for_the_rest(self) -> PropensitySettings:
        """The named shares leave somebody in tier low."""
        if self.high_share + self.medium_share >= 1:
            raise ValueError("high_share + medium_share must stay below 1")
        return self


@dataclass(frozen=True)
class Target:
    """What a propensity foretells.

    * ``frame``: the event frame that the outcome is read from; snapshots begin after its first event.
    * ``eligible(inputs, settings)`` → a boolean for each row: who gets a score.
    * ``truth(frames, cut, until, customers)`` → 1.0, 0.0 or missing (no outcome to speak of) for each customer of the
      index, from what happened in (cut, until] and was known at ``until``.
    * ``recency``, ``frequency``: the inputs of the simple rule that the model has to beat; ``rises`` says whether
      recent and frequent customers are the likely ones.
    * ``make_inputs``: :func:`ml.propensity.inputs.point_in_time_inputs`, or a function that adds to it.
    """

    name: str
    frame: str
    eligible: Callable[[pd.DataFrame, PropensitySettings], np.ndarray]
    truth: Callable[[Frames, datetime, datetime, pd.Index], np.ndarray]
    recency: str
    frequency: str
    rises: bool = True
    make_inputs: Callable[..., pd.DataFrame] = point_in_time_inputs
