"""A guard against inputs that know the future; run at each training."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ml.errors import FeatureError
from ml.propensity.inputs import NEVER, TIMES, instants
from ml.propensity.settings import Target
from ml.propensity.snapshots import Snapshot
from ml.spec import Frames

FEWEST = 20
"""Customers with and without the outcome below which an input's ROC-AUC says nothing."""


class LeakError(FeatureError):
    """An input knows what happened after its cut."""


def check(
    target: Target, frames: Frames, snapshot: Snapshot, observed: Collection[str], highest_roc_auc: float
) -> None:
    """Raise :class:`LeakError` that names the input where one knows the future.

    Two checks. Exact: inputs made from frames that end at the cut must equal those made from all frames. Statistical,
    for what was joined in without an instant: no single input may foretell the outcome almost perfectly.
    """
    cut, inputs = snapshot.cut, snapshot.inputs
    again = target.make_inputs(truncated(frames, cut), cut, inputs.index, observed)
    for column in inputs.columns:
        one = inputs[column].to_numpy()
        other = again[column].to_numpy() if column in again.columns else np.full(len(inputs), np.nan)
        differs = int((~((one == other) | (np.isnan(one) & np.isnan(other)))).sum())
        if differs:
            raise LeakError(
                f"{target.name}: the input {column} knows the future: as of {cut.isoformat()} it differs for {differs}"
                f" of {len(inputs)} customers once later events are taken away; make it from what was known at the cut"
            )
    for column in inputs.columns:
        value = single_roc_auc(inputs[column].to_numpy(), snapshot.truth)
        if value is not None and value >= highest_roc_auc:
            raise LeakError(
                f"{target.name}: the input {column} alone foretells the outcome with ROC-AUC {value:.3f}, expected"
                f" below {highest_roc_auc:g}: it probably knows the future; take it out, or raise leak_roc_auc if it"
                " is right"
            )


def truncated(frames: Frames, cut: datetime) -> dict[str, pd.DataFrame]:
    """The frames as they were at the cut: later rows are gone, and later instants of earlier rows did not happen."""
    instant = pd.Timestamp(cut).tz_convert("UTC").value // 1000
    result = {}
    for name, frame in frames.items():
        if name in TIMES:
            frame = frame[instants(frame, TIMES[name]) <= instant]
        later = {}
        for column in frame.columns:
            if isinstance(frame[column].dtype, pd.DatetimeTZDtype):
                times = instants(frame, column)
                later[column] = frame[column].mask((times > instant) & (times != NEVER))
        result[name] = frame.assign(**later)
    return result


def single_roc_auc(values: np.ndarray, truth: np.ndarray) -> float | None:
    """The ROC-AUC of one input in its better direction; a missing value is a low one. None with too few cases.

    From the ranks, by Mann and Whitney: (R - n1 (n1 + 1) / 2) / (n1 n0).
    """
    positive = truth == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if min(n1, n0) < FEWEST:
        return None
    ranks = rankdata(np.where(np.isnan(values), -np.inf, values))
    area = (ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)
    return float(max(area, 1 - area))
