"""A workspace of Braze for tests: the stand-in, the module's client, and people."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from letterpress.activation.destinations.braze import Braze, Options, open_client
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.spec import Operation, Results, Row
from letterpress.demo.vendors import RunningVendor, running

CUSTOM = ("loyalty_tier", "rfm_segment", "segments", "orders", "is_member", "next_visit")
PROFILE = {
    "first_name": "Ada",
    "last_name": "Byron",
    "country": "GB",
    "home_city": "London",
    "language": "en",
    "time_zone": "Europe/London",
    "dob": "1985-12-10",
    "gender": "F",
    "phone": "+442071838750",
    "loyalty_tier": "gold",
    "segments": ["lapsing", "vip"],
    "orders": 7,
    "is_member": True,
}


def address(customer_id: str) -> str:
    return f"{customer_id}@example.com"


def person(customer_id: str, **attributes: Any) -> Row:
    """Somebody with these attributes, or those of ``PROFILE``."""
    email = attributes.pop("email", address(customer_id))
    payload = {"external_id": customer_id, "email": email, **(attributes or PROFILE)}
    return Row(customer_id, email=email, payload=orjson.dumps(payload))


def send(client: Braze, operation: Operation, *rows: Row) -> Results:
    return client.send(operation, rows, key="key", list_id=None)


@contextmanager
def workspace(**given: Any) -> Iterator[tuple[RunningVendor, Braze]]:
    """A stand-in that knows ``CUSTOM`` attributes alone, and a client of it; its answers fit the specification."""
    with running("braze", **{"custom_attributes": CUSTOM, **given}) as vendor:
        with open_client(Connection(vendor.base_url, vendor.token), Options()) as client:
            yield vendor, client
        assert vendor.app.complaints == []
