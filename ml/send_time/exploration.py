"""Logged randomisation: some customers get an hour by lot, so that the next fit can tell what hours do to opens."""

from __future__ import annotations

import numpy as np

from ml.send_time.clock import HOURS


def choose(best: np.ndarray, drawn: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The hour that each customer gets, and whether it is one by lot: any of the 24, the best one too.

    ``drawn`` are two numbers in [0, 1) for each customer, (customers, 2).
    """
    by_lot = drawn[:, 0] < share
    return np.where(by_lot, np.floor(drawn[:, 1] * HOURS).astype(np.int64), best), by_lot


def propensities(best: np.ndarray, share: float) -> np.ndarray:
    """The chance of every hour for each customer, (customers, 24): ``(1 - share) 1[best] + share / 24``."""
    chances = np.full((len(best), HOURS), share / HOURS)
    chances[np.arange(len(best)), best] += 1.0 - share
    return chances
