"""Stand-ins for e-mail service providers: their APIs on loopback, without an account.

Each keeps state, takes what the vendor takes and refuses what it refuses: caps, rate limits, queued jobs with errors
row by row, unknown fields, wrong credentials. Tests hold them to the vendor's specification and call them with the
vendor's own SDK; ``python -m letterpress.demo.vendors klaviyo`` serves one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from letterpress.demo.vendors.server import RunningVendor, running

__all__ = ["RunningVendor", "running"]


def __getattr__(name: str) -> Any:
    """Import the server only when somebody asks for it."""
    if name in __all__:
        from letterpress.demo.vendors import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
