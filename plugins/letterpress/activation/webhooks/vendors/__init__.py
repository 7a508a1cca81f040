"""The vendors that tell by webhook: one module each with ``VENDOR``."""

from letterpress.activation.configuration import ConfigurationError, nearest
from letterpress.activation.webhooks.spec import Vendor
from letterpress.activation.webhooks.vendors import hubspot, klaviyo, mailchimp, salesforce

VENDORS = {module.VENDOR.name: module.VENDOR for module in (hubspot, klaviyo, mailchimp, salesforce)}


def vendor(name: str) -> Vendor:
    """A vendor by name; raises ConfigurationError with the nearest known one."""
    if name not in VENDORS:
        raise ConfigurationError(
            f"LETTERPRESS_WEBHOOKS: expected a vendor that tells by webhook, found {name!r}; "
            f"{nearest(name, [*VENDORS])}"
        )
    return VENDORS[name]
