"""Is a delivery the vendor's, of now, and whole? Looked at on the bytes as they came, before anything is read."""

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from letterpress.activation.webhooks.spec import Vendor

WINDOW = timedelta(minutes=5)  # between the vendor's clock and ours, to both sides

# HubSpot signs its address with these written out, whatever way they came.
_WRITTEN_OUT = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


@dataclass(frozen=True)
class Delivery:
    """A request as it came: header names in lower case, ``uri`` the public address that the vendor called."""

    method: str
    uri: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Refused(Exception):
    """A delivery that is not taken in; the reason is for our log, never for the answer."""


def look(vendor: Vendor, headers: Mapping[str, str], now: datetime) -> None:
    """What the headers alone tell, before the body is read. Raises Refused."""
    if vendor.signature and not headers.get(vendor.signature.header):
        raise Refused("no signature")
    if vendor.timestamp is None:
        return
    try:
        sent_at = vendor.timestamp.read(headers.get(vendor.timestamp.header, ""))
    except (ValueError, TypeError, OverflowError):
        raise Refused("no timestamp") from None
    if abs(now - sent_at) > WINDOW:
        raise Refused("timestamp out of the window")


def check(vendor: Vendor, secret: bytes, delivery: Delivery) -> None:
    """Whether the signature is that of every signed part, under our secret, in constant time. Raises Refused."""
    signature = vendor.signature
    if signature is None:
        return  # the secret stands in the address, see has_secret
    timestamp = delivery.headers.get(vendor.timestamp.header, "") if vendor.timestamp else ""
    parts = {
        "method": delivery.method.encode(),
        "uri": _WRITTEN_OUT.sub(lambda found: bytes.fromhex(found[0][1:]).decode(), delivery.uri).encode(),
        "body": delivery.body,
        "timestamp": timestamp.encode("latin-1", "replace"),
    }
    expected = hmac.digest(secret, b"".join(parts[name] for name in signature.signed), "sha256")
    written = expected.hex().encode() if signature.encoding == "hex" else base64.b64encode(expected)
    if not hmac.compare_digest(written, delivery.headers[signature.header].encode("latin-1", "replace")):
        raise Refused("wrong signature")


def has_secret(secret: bytes, given: str | None) -> bool:
    """Whether the end of an address is the secret, in constant time."""
    return hmac.compare_digest(secret, (given or "").encode())
