"""A plan's stages, one after the other: requests in flight, results of queued ones, batches that are halved."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

import sqlalchemy as sa

from letterpress.activation import ledger, stores
from letterpress.activation.batches import Planned, Prepared, Sender
from letterpress.activation.destinations import pace
from letterpress.activation.destinations.spec import (
    BatchRefused,
    DestinationError,
    Job,
    Operation,
    Results,
    Row,
    RowError,
)
from letterpress.activation.ledger import Batch

log = logging.getLogger(__name__)

STAGES = tuple(Operation)
FIRST_POLL, LONGEST_POLL = 1.0, 30.0  # seconds between two looks at queued requests
LOGGED_EVERY = 10.0  # seconds
ALL_BAD = 25  # people refused one by one, and nobody accepted: it is not the people


class _Queued(NamedTuple):
    """A request that the vendor works on, in the order of their coming; when to ask, after a pause of how long."""

    number: int
    ask_at: float
    pause: float
    batch: Batch


class _People(Sequence[Row]):
    """The people of a queued request, read from the ledger when they are asked for: most results name nobody."""

    def __init__(self, engine: sa.Engine, batch: Batch):
        self._engine, self._batch = engine, batch

    @cached_property
    def _rows(self) -> Sequence[Row]:
        with stores.reading(self._engine) as read:
            rows = ledger.rows_of_batch(read, self._batch)
        return [Row(row.customer_id, vendor_id=row.vendor_id) for row in rows]

    def __getitem__(self, place: Any) -> Any:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)


@contextmanager
def running(sender: Sender) -> Iterator["Run"]:
    """A run with threads of its own for asking after queued requests, as many as ask a vendor at once."""
    most = sender.destination.endpoints[Operation.UPSERT].in_flight
    with ThreadPoolExecutor(most, thread_name_prefix="results") as readers:
        yield Run(sender, readers, most)


class Run:
    """The stages of one plan, one after the other, each with several requests in flight."""

    def __init__(self, sender: Sender, readers: Executor, most_asked: int):
        self._sender = sender
        self._destination, self._engine, self._client = sender.destination, sender.engine, sender.client
        self._readers, self._most_asked = readers, most_asked
        self._queue: list[_Queued] = []  # a heap: the vendor works on the oldest first
        self._numbers = count()
        self._asked: dict[Future, _Queued] = {}
        self._is_slow = False
        self.counts: Counter[str] = Counter()
        self._refused_alone = 0
        self._told = time.monotonic()
        self._done = 0

    @property
    def outstanding(self) -> int:
        """For how many queued requests one has to wait."""
        return len(self._queue)

    def read_results(self) -> None:
        """Settle the queued requests of earlier runs whose results are there."""
        with stores.reading(self._engine) as read:
            queued = ledger.queued(read, self._destination.name)
        for batch, found in zip(queued, self._readers.map(self._result, queued), strict=True):
            if not self._is_settled(batch, found):
                self._wait_for(batch)

    def _result(self, batch: Batch) -> Results | BatchRefused | None:
        """What became of a queued request; none where the vendor still works on it. Called from several threads."""
        try:
            return self._client.results(batch.operation, batch.job_id or "", _People(self._engine, batch))
        except BatchRefused as refusal:
            return refusal

    def _is_settled(self, batch: Batch, found: Results | BatchRefused | None) -> bool:
        """Record the result of a queued request; false where there is none yet."""
        if isinstance(found, BatchRefused):
            self._refused_later(batch, found)
        elif found is not None:
            self._settle(batch, found, self._sender.under_way(batch, found.errors).values())
        return found is not None

    def _wait_for(self, batch: Batch) -> None:
        if self._destination.endpoints[batch.operation].is_awaited:
            heappush(self._queue, _Queued(next(self._numbers), pace.now() + FIRST_POLL, FIRST_POLL, batch))

    def settle_abandoned(self) -> None:
        """Where an answer was lost and the vendor queues, wait until its queue is empty: newer goes after older."""
        with stores.writing(self._engine) as write:
            operations = ledger.abandon(write, self._destination.name)
        if not any(self._destination.endpoints[Operation(one)].is_asynchronous for one in operations):
            return
        seconds = FIRST_POLL
        while self._client.is_busy():
            log.info("%s: waiting for requests that an earlier run left in the queue", self._destination.name)
            pace.pause(seconds)
            seconds = min(LONGEST_POLL, seconds * 1.5)

    def go_on(self, planned: Planned, stage: int) -> int:
        """Carry out stages until one has to wait for the queue; returns where to go on."""
        if planned.plan.of(Operation.UPSERT):
            attributes = {
                mapped.attribute: self._destination.type_of(column)
                for column, mapped in self._destination.attributes.items()
            }
            self._client.prepare(attributes, self._destination.lists.values())
        while stage < len(STAGES):
            if planned.plan.of(STAGES[stage]):
                if self._queue:
                    return stage
                self._stage(planned, STAGES[stage])
            stage += 1
        return stage

    def _stage(self, planned: Planned, operation: Operation) -> None:
        """Send all batches of one operation, and read the results of the queued ones meanwhile."""
        in_flight = self._destination.endpoints[operation].in_flight
        under_way: dict[Future, Prepared] = {}
        self._sender.begin(planned, operation)
        failure: DestinationError | None = None
        with ThreadPoolExecutor(in_flight, thread_name_prefix="activation") as pool:
            for prepared in self._batches(planned, operation):
                while len(under_way) >= in_flight and failure is None:
                    failure = self._collect(under_way)
                if failure is not None:
                    break
                if self._is_too_large(prepared):
                    continue
                under_way[pool.submit(self._sender.send, prepared)] = prepared
            while under_way:
                failure = self._collect(under_way) or failure
        while failure is None and (self._asked or (self._queue and self._queue[0].pause == FIRST_POLL)):
            failure = self._collect(under_way)
        if failure is not None:
            raise failure

    def _batches(self, planned: Planned, operation: Operation) -> Iterator[Prepared]:
        for batch in planned.batches(operation):
            prepared = self._sender.prepare(batch)
            if prepared is not None:
                yield prepared

    def _is_too_large(self, prepared: Prepared) -> bool:
        """Whether a person's profile is more than the vendor takes, which it never sees then."""
        endpoint = self._destination.endpoints[prepared.batch.operation]
        most = min(endpoint.row_bytes or endpoint.bytes, endpoint.bytes)
        size = len(prepared.rows[0].payload or b"")
        if len(prepared.rows) > 1 or size <= most:
            return False
        error = RowError("too_large", f"expected at most {most} bytes for one person, found {size}")
        self._settle(prepared.batch, Results({prepared.rows[0].customer_id: error}))
        return True

    def _collect(self, under_way: dict[Future, Prepared]) -> DestinationError | None:
        """Record the answers and the results that are there; returns the first failure."""
        self._ask()
        seconds = max(0.0, self._queue[0].ask_at - pace.now()) if self._may_ask() else None
        if not under_way and not self._asked:
            pace.pause(seconds or 0.0)
            return None
        done, _ = wait([*under_way, *self._asked], seconds, FIRST_COMPLETED)
        failure = None
        for future in done:
            try:
                if future in self._asked:
                    self._read(self._asked.pop(future), future.result())
                else:
                    self._sent(under_way.pop(future), future)
            except DestinationError as error:
                failure = failure or error
        return failure

    def _may_ask(self) -> bool:
        """Several results are asked for at once, but one alone where the last one was not there."""
        return bool(self._queue) and len(self._asked) < (1 if self._is_slow else self._most_asked)

    def _ask(self) -> None:
        """Ask for results that may be there, the oldest request's first."""
        while self._may_ask() and self._queue[0].ask_at <= pace.now():
            queued = heappop(self._queue)
            self._asked[self._readers.submit(self._result, queued.batch)] = queued

    def _read(self, queued: _Queued, found: Results | BatchRefused | None) -> None:
        self._is_slow = not self._is_settled(queued.batch, found)
        if self._is_slow:
            seconds = min(LONGEST_POLL, queued.pause * 1.5)
            heappush(self._queue, _Queued(queued.number, pace.now() + seconds, seconds, queued.batch))

    def _sent(self, prepared: Prepared, future: Future) -> None:
        try:
            self._answered(prepared, future.result())
        except BatchRefused as refusal:
            self._bisect(prepared, refusal)

    def _answered(self, prepared: Prepared, answer: Results | Job) -> None:
        if isinstance(answer, Job):
            with stores.writing(self._engine) as write:
                ledger.queue(write, prepared.batch.batch_id, answer.job_id)
            self._wait_for(replace(prepared.batch, state=ledger.QUEUED, job_id=answer.job_id))
            self._tell(prepared.batch, len(prepared.rows))
        else:
            self._settle(prepared.batch, answer, prepared.rows)

    def _bisect(self, prepared: Prepared, refusal: BatchRefused) -> None:
        """A request that was refused as a whole leaves again in two halves, down to the bad rows."""
        if len(prepared.rows) == 1:
            self._refused_alone += 1
            error = refusal.errors.get(prepared.rows[0].customer_id) or RowError(refusal.code, refusal.message)
            self._settle(prepared.batch, Results({prepared.rows[0].customer_id: error}), prepared.rows)
            if self._refused_alone >= ALL_BAD and not self.counts[ledger.ACCEPTED]:
                raise DestinationError(
                    f"{self._destination.name}: {prepared.batch.operation}: {self._refused_alone} people in a row were "
                    f"refused one by one with {refusal}, and nobody was accepted; next step: look at the field map and "
                    f"at what the destination has, then replay"
                )
            return
        are_named = any(row.customer_id in refusal.errors for row in prepared.rows)
        if are_named:  # the refusal says who is at fault: the rest leaves again without them
            with stores.writing(self._engine) as write:
                named = self._sender.impersonal(_at_fault(prepared, refusal), prepared.rows)
                counts = ledger.settle(write, prepared.batch, named)
            self.counts.update({code: number for code, number in counts.items() if code != "unanswered"})
        else:
            with stores.writing(self._engine) as write:
                ledger.refuse(write, prepared.batch)
        for half in prepared.without(refusal.errors) if are_named else prepared.halves():
            again = self._sender.prepare(half)
            if again is None:
                continue
            try:
                self._answered(again, self._sender.send(again))
            except BatchRefused as refused:
                self._bisect(again, refused)

    def _refused_later(self, batch: Batch, refusal: BatchRefused) -> None:
        """A queued request that came to nothing as a whole: its halves leave in its place."""
        if batch.operation is Operation.UPSERT:
            with stores.writing(self._engine) as write:
                ledger.refuse(write, batch)
            halves = self._sender.from_ledger(batch)
            if halves:
                for half in halves:
                    self._again(half)
                return
        with stores.reading(self._engine) as read:
            rows = ledger.rows_of_batch(read, batch)
        is_transient = batch.operation is not Operation.UPSERT
        error = RowError(refusal.code, refusal.message, is_transient=is_transient)
        self._settle(batch, Results({row.customer_id: error for row in rows}))

    def _again(self, prepared: Prepared) -> None:
        try:
            self._answered(prepared, self._sender.send(prepared))
        except BatchRefused as refusal:
            self._bisect(prepared, refusal)

    def _settle(self, batch: Batch, results: Results, rows: Iterable[Row] = ()) -> None:
        results = self._sender.impersonal(results, list(rows))
        with stores.writing(self._engine) as write:
            counts = ledger.settle(write, batch, results, receipt=self._sender.receipt_of(batch))
        unanswered = counts.pop("unanswered", 0)  # neither: the next run settles them
        self._sender.skipped.update({"unanswered": unanswered} if unanswered else {})
        self.counts.update(counts)
        if counts.get(ledger.ACCEPTED):
            self._refused_alone = 0
        self._tell(batch, batch.people)

    def _tell(self, batch: Batch, people: int) -> None:
        self._done += people
        if time.monotonic() - self._told >= LOGGED_EVERY:
            self._told = time.monotonic()
            log.info(
                "%s: %s: %d changes so far, %d requests",
                self._destination.name,
                batch.operation,
                self._done,
                self._client.requests,
            )


def _at_fault(prepared: Prepared, refusal: BatchRefused) -> Results:
    """A refusal that names people, as an answer: nobody else is settled by it."""
    others = frozenset(row.customer_id for row in prepared.rows) - refusal.errors.keys()
    return Results(refusal.errors, unanswered=others)
