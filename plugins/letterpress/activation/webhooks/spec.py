"""What a vendor's module declares, and the one shape that all of their events are read into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

Part = Literal["method", "uri", "body", "timestamp"]


@dataclass(frozen=True)
class Event:
    """One thing that happened to a message or to a person's will, in the words of every other e-mail source.

    ``event_id`` is the vendor's own, the same that its API gives, so that an event which is pulled too counts once.
    Where the vendor gives none, ``told`` names what makes this event the one that it is. ``vendor_id`` is what the
    vendor calls the person, ``customer_id`` what we do.
    """

    event_type: str
    occurred_at: datetime
    event_id: str | None = None
    told: tuple[str, ...] = ()
    message_id: str | None = None
    campaign_id: str | None = None
    campaign_name: str | None = None
    subject: str | None = None
    customer_id: str | None = None
    email: str | None = None
    bounce_type: str | None = None
    is_machine_open: bool | None = None
    url: str | None = None
    vendor_id: str | None = field(default=None, repr=False)

    @property
    def suppression(self) -> str | None:
        """Why nobody may write to this person any more; none where it says nothing of that."""
        if self.event_type == "bounce":
            return "bounced" if self.bounce_type == "hard" else None
        return {"unsubscribe": "unsubscribed", "complaint": "complained"}.get(self.event_type)


class Reading(NamedTuple):
    """The events of a delivery, and how many things in it were about something else or could not be understood."""

    events: list[Event]
    other: int = 0
    broken: int = 0


class Unreadable(Exception):
    """A delivery that is not of its vendor's form as a whole."""


@dataclass(frozen=True)
class Signature:
    """HMAC-SHA256 under the shared secret over these parts, one after the other, in this header."""

    header: str
    encoding: Literal["hex", "base64"]
    signed: tuple[Part, ...]


@dataclass(frozen=True)
class Timestamp:
    """When the vendor sent it, in this header; ``read`` raises ValueError for what is no instant."""

    header: str
    read: Callable[[str], datetime]


@dataclass(frozen=True)
class Vendor:
    """How one vendor's deliveries are known to be its own, and how they are read.

    Without a ``signature`` the secret is the end of the URL: ``POST /<destination>/<secret>``. ``oldest`` refuses
    what happened earlier, where no time is signed that would tell a late replay. ``confirms`` recognises the
    unsigned request with which a vendor asks whether the address is really ours, and returns what has to be handed
    back to it. ``secret`` says where the secret comes from, for whoever has to set it.
    """

    name: str
    secret: str
    media_type: str
    read: Callable[[bytes, Mapping[str, str]], Reading]
    signature: Signature | None = None
    timestamp: Timestamp | None = None
    oldest: timedelta | None = None
    confirms: Callable[[bytes], dict[str, str] | None] | None = None
