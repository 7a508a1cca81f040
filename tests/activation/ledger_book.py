"""The ledger of one destination, claimed and settled request by request, for tests to drive."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from activation_line import KEY

from letterpress.activation import ledger, stores
from letterpress.activation.destinations.spec import Operation, Results, RowError
from letterpress.activation.ledger import PROFILE, Batch, Change
from letterpress.activation.seal import Seal

ESP, LIST = "esp", "list:champions"
LATER = RowError("busy", "come back later", is_transient=True)
NEVER = RowError("invalid_email", "expected an address")
SEAL = Seal(KEY)


class Book:
    """The ledger of one destination, claimed and settled request by request."""

    def __init__(self, engine: sa.Engine, name: str = ESP):
        self.engine, self.name, self._number = engine, name, 0

    def begin(
        self, targets: Mapping[str, str], operation: Operation = Operation.UPSERT, facet: str = PROFILE, **bases: int
    ) -> tuple[Batch | None, dict[str, str]]:
        """Examine and claim; the request, and who was skipped. ``bases`` are the revisions that were planned on."""
        self._number += 1
        known = self.rows(facet)
        changes = [
            Change(who, operation, bases.get(who, known[who]["revision"] if who in known else 0), target)
            for who, target in sorted(targets.items())
        ]
        with stores.writing(self.engine) as write:
            claims, skipped = ledger.examine(write, self.name, facet, changes)
            if not claims:
                return None, skipped
            first, last = claims[0].customer_id, claims[-1].customer_id
            batch = Batch(
                f"{self.name}-{self._number}", self.name, facet, operation, None, first, last, len(claims), "sent",
                None, "plan",
            )  # fmt: skip
            profiles = (
                [(one.customer_id, one.target, SEAL.seal(one.target.encode())) for one in claims]
                if facet == PROFILE and operation is Operation.UPSERT
                else []
            )
            ledger.claim(write, batch, claims, run_id="run", payloads=profiles)
        self.claims = {one.customer_id: one for one in claims}
        return batch, skipped

    def settle(self, batch: Batch, results: Results = Results(), **given: Any) -> dict[str, int]:  # noqa: B008
        with stores.writing(self.engine) as write:
            return ledger.settle(write, batch, results, **given)

    def done(self, targets: Mapping[str, str], operation: Operation = Operation.UPSERT, facet: str = PROFILE) -> None:
        """A request that was accepted."""
        batch, skipped = self.begin(targets, operation, facet)
        assert skipped == {}
        assert self.settle(batch) == {"accepted": len(targets)}

    def refused(self, who: str, target: str, error: RowError) -> str:
        """A request that was refused for one person; the state afterwards."""
        batch, _ = self.begin({who: target})
        assert self.settle(batch, Results({who: error})) == {error.code: 1}
        return self.rows()[who]["state"]

    def write(self, function: Any, *given: Any, **named: Any) -> Any:
        with stores.writing(self.engine) as write:
            return function(write, self.name, *given, **named)

    def read(self, function: Any, *given: Any, **named: Any) -> Any:
        with stores.reading(self.engine) as read:
            return function(read, self.name, *given, **named)

    def rows(self, facet: str = PROFILE) -> dict[str, dict[str, Any]]:
        query = stores.LEDGER.select().where(stores.LEDGER.c.destination == self.name, stores.LEDGER.c.facet == facet)
        with stores.reading(self.engine) as read:
            return {row["customer_id"]: dict(row) for row in read.execute(query).mappings()}

    def state(self, who: str, facet: str = PROFILE) -> tuple:
        """State, what was acknowledged, what is pending, revision, attempt."""
        row = self.rows(facet)[who]
        return tuple(row[name] for name in ("state", "acknowledged", "pending", "revision", "attempt"))

    def profiles(self) -> dict[tuple[str, str], str]:
        """The sealed profiles, opened, by person and target."""
        query = stores.PAYLOADS.select().where(stores.PAYLOADS.c.destination == self.name)
        with stores.reading(self.engine) as read:
            found = read.execute(query).mappings().all()
        return {(row["customer_id"], row["target"]): SEAL.open(row["sealed"]).decode() for row in found}
