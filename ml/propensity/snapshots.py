"""Snapshots of the past to learn from: inputs as of a cut, the outcome from the time after it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from ml.propensity.inputs import FRAMES, NEVER, TIMES, WINDOWS, instants
from ml.propensity.settings import PropensitySettings, Target
from ml.spec import Frames


@dataclass(frozen=True)
class Snapshot:
    """Eligible customers with a known outcome: ``inputs`` indexed by customer, ``truth`` 0.0 or 1.0."""

    cut: datetime
    inputs: pd.DataFrame
    truth: np.ndarray


@dataclass(frozen=True)
class Split:
    """Cuts in time order; no part's outcomes reach beyond the first cut of the next part."""

    train: tuple[datetime, ...]
    validation: tuple[datetime, ...]
    test: tuple[datetime, ...]


def cuts(target: Target, frames: Frames, as_of: datetime, settings: PropensitySettings) -> tuple[datetime, ...]:
    """The instants of the snapshots, ascending: back from the last one whose outcome is known at ``as_of``."""
    first = _first_event(target, frames)
    if first is None:
        return ()
    earliest = first + timedelta(days=settings.minimum_history_days)
    last = as_of - timedelta(days=settings.horizon_days)
    found = [last - timedelta(days=settings.step_days * number) for number in range(settings.snapshots)]
    return tuple(sorted(cut for cut in found if cut >= earliest))


def split(every: Sequence[datetime], horizon_days: int) -> Split:
    """About 70 / 15 / 15 of the cuts in time order, at least one in each part where there are enough.

    A cut is left out where its outcome would reach past the first cut of the next part: what happened then would be
    learnt from and foretold at once. With too few cuts validation stays empty first, then train.
    """
    horizon = timedelta(days=horizon_days)
    if not every:
        return Split((), (), ())
    share = max(1, round(0.15 * len(every)))
    test = tuple(every[-share:])
    before = tuple(cut for cut in every if cut + horizon <= test[0])
    validation = before[-share:]
    train = tuple(cut for cut in before if validation and cut + horizon <= validation[0])
    if not train:
        return Split(before, (), test)
    return Split(train, validation, test)


def snapshot(
    target: Target,
    frames: Frames,
    cut: datetime,
    settings: PropensitySettings,
    observed: Collection[str],
) -> Snapshot:
    """One snapshot; customers in ascending order."""
    inputs = target.make_inputs(frames, cut, None, observed)
    inputs = inputs[target.eligible(inputs, settings)]
    truth = target.truth(frames, cut, cut + timedelta(days=settings.horizon_days), inputs.index)
    return Snapshot(cut, inputs[~np.isnan(truth)], truth[~np.isnan(truth)])


def sample(frames: Frames, customers: int, seed: int) -> dict[str, pd.DataFrame]:
    """The event frames of some customers, drawn by chance where there are more."""
    events = {name: frames[name] for name in FRAMES if name in frames}
    parts = [np.asarray(frame["customer_id"].unique(), dtype=object) for frame in events.values()]
    everybody = np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=object)
    if len(everybody) <= customers:
        return events
    drawn = np.random.default_rng(seed).choice(everybody, customers, replace=False)
    return {name: frame[frame["customer_id"].isin(drawn)] for name, frame in events.items()}


def usable(snapshots: Sequence[Snapshot], history_days: float) -> tuple[str, ...]:
    """The inputs to learn from: those that vary, and whose window fits into the history of the first snapshot.

    A count over 365 days in a shop of 90 days is a count of everything; it would grow with the age of the shop and
    mean something else at each snapshot.
    """
    data = pd.concat([one.inputs for one in snapshots])
    too_long = tuple(f"_{days}d" for days in WINDOWS if days > history_days)
    return tuple(
        column for column in data.columns if data[column].nunique(dropna=False) > 1 and not column.endswith(too_long)
    )


def history_days(target: Target, frames: Frames, cut: datetime) -> float:
    """Days from the first event of the target's frame to the cut."""
    first = _first_event(target, frames)
    return 0.0 if first is None else (cut - first).total_seconds() / 86_400


def _first_event(target: Target, frames: Frames) -> datetime | None:
    frame = frames.get(target.frame)
    if frame is None or not len(frame):
        return None
    times = instants(frame, TIMES[target.frame])
    if times.min() == NEVER:
        return None
    return pd.Timestamp(int(times.min()), unit="us", tz="UTC").to_pydatetime()
