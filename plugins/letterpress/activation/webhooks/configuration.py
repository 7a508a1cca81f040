"""Which destinations tell by webhook, and the secrets that they share with us: from the environment, never from git.

``LETTERPRESS_WEBHOOKS`` names them (a destination that is not named after its vendor says it: ``shop_uk=klaviyo``),
``LETTERPRESS_WEBHOOK_SECRET_<DESTINATION>`` has each one's secret.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.webhooks.spec import Vendor
from letterpress.activation.webhooks.vendors import vendor
from letterpress.settings import Settings

SHORTEST_SECRET = 16
# Instead of a secret, until the vendor has given one: takes nothing in but the question whether the address is ours.
CONFIRMING = "confirming"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Endpoint:
    """One destination's address here. ``is_confirming``: it has no secret yet, and takes in no events."""

    destination: str
    vendor: Vendor
    secret: bytes = field(repr=False)
    is_confirming: bool = False


def endpoints(settings: Settings, environment: Mapping[str, str]) -> dict[str, Endpoint]:
    """The endpoints by destination. Raises ConfigurationError where a name, a secret or an address is missing."""
    named = re.split(r"[,\s]+", (settings.webhooks or "").strip())
    found = [_endpoint(name, environment) for name in named if name]
    if not found:
        raise ConfigurationError(
            "LETTERPRESS_WEBHOOKS: expected destinations that tell by webhook, such as 'klaviyo hubspot', found none; "
            "next step: set it for this process and for Airflow's, which lands what is told"
        )
    signing = [one.destination for one in found if one.vendor.signature and "uri" in one.vendor.signature.signed]
    if signing and not (settings.webhooks_url or "").startswith("https://"):
        raise ConfigurationError(
            f"LETTERPRESS_WEBHOOKS_URL: expected the address that {', '.join(signing)} calls, such as "
            f"https://hooks.example.com, because it is signed, found {'another' if settings.webhooks_url else 'none'}; "
            f"next step: set it to the public one, without /{signing[0]}"
        )
    return {one.destination: one for one in found}


def _endpoint(named: str, environment: Mapping[str, str]) -> Endpoint:
    destination, _, of = named.partition("=")
    if not _NAME.fullmatch(destination):
        raise ConfigurationError(
            f"LETTERPRESS_WEBHOOKS: expected a destination's name in small letters, found {destination!r}"
        )
    chosen = vendor(of or destination)
    variable = f"LETTERPRESS_WEBHOOK_SECRET_{destination.upper()}"
    secret = environment.get(variable, "")
    if chosen.confirms and secret == CONFIRMING:
        return Endpoint(destination, chosen, b"", is_confirming=True)
    if len(secret) < SHORTEST_SECRET:
        aside = f" ('{CONFIRMING}' until there is one)" if chosen.confirms else ""
        raise ConfigurationError(
            f"{variable}: expected at least {SHORTEST_SECRET} characters, found {len(secret) or 'none'}; next step: "
            f"set it to {chosen.secret}{aside}"
        )
    return Endpoint(destination, chosen, secret.encode())
