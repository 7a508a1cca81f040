"""What an e-mail address must look like here, and when two of them are the same mailbox."""

import re

_ADDRESS = re.compile(
    r"[^\s@<>()\[\],;:\\\"]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)


def normalised(address: str) -> str:
    """The form that profiles, messages and suppressions are matched by: no blanks around it, lower case."""
    return address.strip().lower()


def is_valid(address: str) -> bool:
    """Whether an address can be delivered to: one ``@``, no blanks or separators, a domain with a dot."""
    address = address.strip()
    local = address.rpartition("@")[0]
    return (
        len(address) <= 254
        and _ADDRESS.fullmatch(address) is not None
        and not local.startswith(".")
        and not local.endswith(".")
        and ".." not in local
    )
