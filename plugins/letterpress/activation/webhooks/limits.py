"""Bad requests are cheap, and fewer are looked at than come: by address, in bounded memory, in few lines of log."""

import logging
from collections import Counter, OrderedDict
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

log = logging.getLogger(__name__)

ALLOWED = 60  # bad requests from one address ...
WITHIN = timedelta(minutes=1)  # ... before the rest of such a while is refused unread
ADDRESSES = 10_000  # that are remembered; the one that was bad the longest ago goes first
TOLD_EVERY = timedelta(minutes=1)


class BadRequests:
    """Counts them by address for as long as ``WITHIN``, and tells of all of them together once in ``TOLD_EVERY``."""

    def __init__(self, allowed: int = ALLOWED):
        self._allowed = allowed
        self._counts: OrderedDict[str, tuple[datetime, int]] = OrderedDict()
        self._reasons: Counter[str] = Counter()
        self._told_at: datetime | None = None

    def is_exhausted(self, address: str, now: datetime) -> bool:
        """Whether an address has sent so many that it is not listened to for now."""
        since, count = self._counts.get(_network(address), (now, 0))
        return count >= self._allowed and now - since < WITHIN

    def note(self, address: str, reason: str, now: datetime) -> None:
        """One more."""
        network = _network(address)
        since, count = self._counts.pop(network, (now, 0))
        self._counts[network] = (since, count + 1) if now - since < WITHIN else (now, 1)
        if len(self._counts) > ADDRESSES:
            self._counts.popitem(last=False)
        self._reasons[reason] += 1
        if self._told_at is None or now - self._told_at >= TOLD_EVERY:
            self.tell(now)

    def tell(self, now: datetime) -> None:
        """Log what was refused since the last time; no address and nothing of the requests."""
        if self._reasons:
            listed = ", ".join(f"{count} {reason}" for reason, count in sorted(self._reasons.items()))
            log.warning("requests refused: %s", listed)
        self._reasons.clear()
        self._told_at = now


def _network(address: str) -> str:
    """Whoever has an address of version 6 has the 2^64 beside it too."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else str(found)
