"""Whether what is said of reading hours comes true: on readings, and on mail that went out at hours by lot."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.send_time.clock import HOURS
from ml.send_time.readings import Deliveries, Readings

CAUSED_LAG = 6.0
"""An open sooner after delivery, in hours, says as much of the mail as of its reader; it is not measured on."""

_LEAST_EFFECTIVE = 30.0


def unprompted(events: Readings) -> Readings:
    """Events whose hour the reader chose: visits, and opens long after delivery."""
    return events.where(np.isnan(events.lag) | (events.lag > CAUSED_LAG))


def histogram(events: Readings) -> np.ndarray:
    """Everybody's hours of reading on weekdays and at weekends, (2, 24): shares, with one more event in each hour."""
    cell = events.is_weekend.astype(np.int64) * HOURS + events.hour.astype(np.int64) % HOURS
    counts = np.bincount(cell, minlength=2 * HOURS).reshape(2, HOURS) + 1.0
    return counts / counts.sum(axis=1, keepdims=True)


def histogram_densities(before: Readings, events: Readings, people: int) -> tuple[np.ndarray, np.ndarray]:
    """The two simple answers, one density an hour for each event: everybody's histogram, and the person's own.

    The own histogram is raw but for one part in a hundred that is spread over the day, since no hour is impossible;
    who has none has everybody's.
    """
    shared = histogram(before)
    hour, day = events.hour.astype(np.int64) % HOURS, events.is_weekend.astype(np.int64)
    everybody = shared[day, hour]
    width = 2 * HOURS
    cell = before.person * width + before.is_weekend.astype(np.int64) * HOURS + before.hour.astype(np.int64) % HOURS
    own = np.bincount(cell, minlength=people * width).reshape(people, 2, HOURS)
    count = own.sum(axis=2)[events.person, day]
    raw = 0.99 * own[events.person, day, hour] / np.maximum(count, 1) + 0.01 / HOURS
    return everybody, np.where(count > 0, raw, everybody)


def circular_mean(person: np.ndarray, hour: np.ndarray, people: int) -> np.ndarray:
    """The mean direction of each person's hours, on the clock; NaN for nobody's."""
    angle = 2 * np.pi / HOURS * hour
    sine = np.bincount(person, np.sin(angle), minlength=people)
    cosine = np.bincount(person, np.cos(angle), minlength=people)
    mean = np.arctan2(sine, cosine) * HOURS / (2 * np.pi) % HOURS
    return np.where(np.bincount(person, minlength=people) > 0, mean, np.nan)


def open_rate(mail: Deliveries, best: np.ndarray) -> tuple[float | None, float | None, int]:
    """``(rate, standard error, mails)``: the open rate if every mail came within an hour of ``best`` (mails, ints).

    Self-normalised inverse propensity weighting (Swaminathan and Joachims 2015). The policy takes each of the three
    hours around ``best`` alike; the chance with which an hour was used is its share of the campaign's mail, which is
    right where hours went by lot: only campaigns that used at least half of the clock count. None where the weights
    are worth less than 30 mails.
    """
    instants = pd.DatetimeIndex(mail.delivered_at)
    told = pd.DataFrame({"campaign": mail.campaign, "hour": instants.hour})
    spread = told.groupby("campaign")["hour"].transform("nunique").to_numpy() >= HOURS // 2
    size = told.groupby("campaign")["hour"].transform("size").to_numpy()
    same = told.groupby(["campaign", "hour"])["hour"].transform("size").to_numpy()
    apart = (mail.hour.astype(np.int64) - best + 1) % HOURS
    used = spread & (apart <= 2)
    weight = np.where(used, size / same / 3.0, 0.0)
    total = float(weight.sum())
    if total == 0 or total**2 / float((weight**2).sum()) < _LEAST_EFFECTIVE:
        return None, None, int(used.sum())
    rate = float(weight @ mail.opened) / total
    error = float(np.sqrt((weight**2) @ (mail.opened - rate) ** 2)) / total
    return rate, error, int(used.sum())
