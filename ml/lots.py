"""Lots that belong to a customer and a purpose: equal wherever and in whatever batch they are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def lots(customer_id: Iterable[str], purpose: str) -> np.ndarray:
    """Two numbers in [0, 1) for each customer, (customers, 2), that depend on the customer and the purpose alone.

    BLAKE2b of both; the purpose names what is drawn for and when (``send_time|2011-07-01``), so that the lots of two
    experiments have nothing to do with each other.
    """
    start = f"{purpose}|".encode()
    words = [hashlib.blake2b(start + str(each).encode(), digest_size=16).digest() for each in customer_id]
    numbers = np.frombuffer(b"".join(words), dtype="<u8").reshape(-1, 2)
    return (numbers >> np.uint64(11)) * 2.0**-53
