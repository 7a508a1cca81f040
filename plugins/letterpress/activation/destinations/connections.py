"""Where a destination is and the keys to it, as an Airflow Connection has them."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Connection:
    """An address and a secret; the secret is kept out of every representation.

    ``login`` and ``extra`` are the Airflow Connection's own, for vendors that need more than a token. ``kept`` is
    where a client keeps values between runs; the engine gives one that outlives the process.
    """

    base_url: str
    token: str = field(repr=False)
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 25
    login: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kept: MutableMapping[str, str] = field(default_factory=dict, repr=False, compare=False)
