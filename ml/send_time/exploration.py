"""Logged randomisation: some customers get an hour by lot, so that the next fit can tell what hours do to opens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date

import numpy as np

from ml.send_time.clock import HOURS


def lots(customer_id: Iterable[str], period: date) -> np.ndarray:
    """Two numbers in [0, 1) for each customer, (customers, 2), that depend on the customer and the period alone."""
    purpose = f"{period.isoformat()}|".encode()
    words = [
        hashlib.blake2b(purpose + str(each).encode(), digest_size=16, person=b"send_time").digest()
        for each in customer_id
    ]
    numbers = np.frombuffer(b"".join(words), dtype="<u8").reshape(-1, 2)
    return (numbers >> np.uint64(11)) * 2.0**-53


def choose(best: np.ndarray, drawn: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The hour that each customer gets, and whether it is one by lot: any of the 24, the best one too."""
    by_lot = drawn[:, 0] < share
    return np.where(by_lot, np.floor(drawn[:, 1] * HOURS).astype(np.int64), best), by_lot


def propensities(best: np.ndarray, share: float) -> np.ndarray:
    """The chance of every hour for each customer, (customers, 24): ``(1 - share) 1[best] + share / 24``."""
    chances = np.full((len(best), HOURS), share / HOURS)
    chances[np.arange(len(best)), best] += 1.0 - share
    return chances
