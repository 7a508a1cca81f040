"""The local ESP: a stand-in e-mail service provider on loopback, in one process.

Mail comes in by SMTP, profiles and suppressions by an HTTP API; the outbox pages show every message as its
recipient sees it. Opening, clicking, unsubscribing and complaining there are real events that the next
extraction fetches. Everything is in one SQLite file, and an answer is given only after its commit.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from letterpress.demo.esp.app import create_app
    from letterpress.demo.esp.faults import Fault
    from letterpress.demo.esp.server import RunningEsp, running

__all__ = ["Fault", "RunningEsp", "create_app", "running"]


def __getattr__(name: str) -> Any:
    """Import the web framework only when somebody asks for the application."""
    if name == "create_app":
        from letterpress.demo.esp.app import create_app

        return create_app
    if name == "Fault":
        from letterpress.demo.esp.faults import Fault

        return Fault
    if name in ("RunningEsp", "running"):
        from letterpress.demo.esp import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
