"""The outbox pages and the addresses that recipients reach."""


def install(app) -> None:
    """Add the pages."""

    @app.get("/health")
    def health() -> dict:
        """Whether the ESP serves."""
        return {"status": "ok"}
