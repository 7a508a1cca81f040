"""Local clocks: hours and weekdays where people live, and the next instant at which a clock shows an hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

HOURS = 24
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKEND = 5  # the first day of the weekend, Monday is 0


@cache
def is_zone(name: object) -> bool:
    """Whether this is the name of a time zone that the machine knows."""
    if not isinstance(name, str) or not name:
        return False
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder, a path, no such zone
        return False
    return True


def local(instants: pd.Series, zones: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What clocks and calendars show: the hour of the day with its fraction, 0 to 24, and the weekday, Monday 0.

    ``instants`` are in UTC without gaps, ``zones`` one known name for each. Both answers have one value an instant.
    """
    names = np.asarray(zones, dtype=object)
    hours, weekdays = np.zeros(len(instants)), np.zeros(len(instants), dtype=np.int64)
    codes, kinds = pd.factorize(names)
    for code, zone in enumerate(kinds):
        rows = np.flatnonzero(codes == code)
        shown = instants.iloc[rows].dt.tz_convert(zone).dt.tz_localize(None)
        hours[rows] = ((shown - shown.dt.normalize()) / pd.Timedelta(hours=1)).to_numpy()
        weekdays[rows] = shown.dt.day_of_week.to_numpy()
    return hours, weekdays


def next_time(as_of: datetime, zone: str, weekday: int, hour: int) -> datetime:
    """The first instant after ``as_of``, in UTC, at which it is ``hour`` o'clock on ``weekday`` (Monday 0) in ``zone``.

    Where a clock shows the hour twice (it is put back) the first of the two that is still to come counts; where it
    skips the hour (it is put forward) the instant is as much later as the clock jumps (PEP 495, ``fold=0``).
    """
    clock = ZoneInfo(zone)
    today = as_of.astimezone(clock).date()
    for weeks in range(3):
        day = today + timedelta(days=(weekday - today.weekday()) % 7 + 7 * weeks)
        for fold in (0, 1):
            shown = datetime.combine(day, time(hour, fold=fold), tzinfo=clock)
            instant = shown.astimezone(UTC)
            is_real = instant.astimezone(clock).replace(tzinfo=None) == shown.replace(tzinfo=None, fold=0)
            if instant > as_of and (is_real or fold == 0):
                return instant
    raise ValueError(f"next_time: no {hour} o'clock on day {weekday} in {zone} within three weeks of {as_of}")


def part_of_day(hour: float) -> str:
    """In words, for a reason: "in the evening"."""
    for until, words in ((5, "at night"), (11, "in the morning"), (14, "around midday"), (17, "in the afternoon")):
        if hour < until:
            return words
    return "in the evening" if hour < 22 else "late in the evening"
