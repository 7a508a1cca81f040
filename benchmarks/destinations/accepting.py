"""A destination of Klaviyo's shape and caps that accepts everything at once: it fills a ledger with many people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from letterpress.activation.destinations import klaviyo
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.spec import Held, Operation, Results, Row, SuppressionEvent

SHAPE, ENDPOINTS, Options = klaviyo.SHAPE, klaviyo.ENDPOINTS, klaviyo.Options


class Accepting:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`, all of which succeed."""

    requests = 0

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Everything is there."""

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """Accepted."""
        self.requests += 1
        return Results()

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing is ever queued."""
        return Results()

    def is_busy(self) -> bool:
        """Never."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Nobody unsubscribes."""
        return [], since

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """Nothing is kept."""
        return []


@contextmanager
def open_client(connection: Connection, options: klaviyo.Options) -> Iterator[Accepting]:
    """A client without a connection."""
    yield Accepting()
