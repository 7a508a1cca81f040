"""Applying a plan: batches that ask suppression, are claimed, leave, and advance the ledger on acknowledgement.

For each batch, in this order:

1. one write transaction asks live suppression once more and claims the rest in the ledger;
2. the request leaves, several at once where the vendor lets them, under a key that is a function of its content;
3. one write transaction records the answer, row by row; of a queued request its id, and its result when it is read.

A kill anywhere, and a second run (of this plan or of a new one), ends in the same state: a claimed row is sent
again, which has its effect once, and a queued request's result is read.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from letterpress import storage
from letterpress.activation import audience, guard, ledger, stores
from letterpress.activation.batches import Planned, Prepared, Sender
from letterpress.activation.destinations import Connection, Destination, open_client, pace
from letterpress.activation.destinations.spec import (
    BatchRefused,
    DestinationError,
    Job,
    Operation,
    Results,
    Row,
    RowError,
)
from letterpress.activation.kept import Kept
from letterpress.activation.ledger import Batch
from letterpress.activation.plan import OPERATIONS, Plan, fingerprint
from letterpress.activation.seal import Seal

log = logging.getLogger(__name__)

STAGES = tuple(Operation)
FIRST_POLL, LONGEST_POLL = 1.0, 30.0  # seconds between two looks at queued requests
LOGGED_EVERY = 10.0  # seconds
ALL_BAD = 25  # people refused one by one, and nobody accepted: it is not the people


@dataclass
class ApplyResult:
    """What became of a plan's changes so far, and how many requests it took.

    ``outstanding`` queued requests have no result yet; ``stage`` is the operation to go on with afterwards.
    """

    plan_id: str
    destination: str
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0
    outstanding: int = 0
    stage: int = 0

    def add(self, later: "ApplyResult") -> "ApplyResult":
        """This and a later part of the same run."""
        return ApplyResult(
            self.plan_id,
            self.destination,
            self.accepted + later.accepted,
            dict(sorted((Counter(self.rejected) + Counter(later.rejected)).items())),
            dict(sorted((Counter(self.skipped) + Counter(later.skipped)).items())),
            self.requests + later.requests,
            round(self.seconds + later.seconds, 3),
            later.outstanding,
            later.stage,
        )


def apply_plan(**given: Any) -> ApplyResult:
    """Bring a destination to what a plan wants, waiting for queued requests; takes what :func:`advance` takes."""
    result = advance(**given)
    seconds = FIRST_POLL
    while result.outstanding:
        pace.pause(seconds)
        seconds = min(LONGEST_POLL, seconds * 1.5)
        result = result.add(advance(**{**given, "stage": result.stage}))
    return result


def advance(
    *,
    plan: Plan,
    destination: Destination,
    version_dir: str,
    connection: Connection,
    stores_url: str,
    identity_key: bytes,
    run_id: str,
    validate: guard.Validate | None = None,
    is_approved: bool = False,
    stage: int = 0,
    memory_limit: str = "1GB",
) -> ApplyResult:
    """Carry a plan out as far as it goes without waiting for the destination's queue longer than for a first look.

    Results of queued requests are read first; where some are still worked on, later operations wait, and the
    caller comes back with the ``stage`` that is returned. ``validate`` sees every profile before the first
    request and raises to stop the line. Raises GuardError for a plan that a person has to approve,
    AudienceError when ``version_dir`` is not what the plan was made from, DestinationError when the
    destination fails for good: what was acknowledged until then is recorded, and the next run goes on.
    """
    _check(plan, destination, version_dir)
    if stage == 0:
        guard.check(plan, destination, is_approved=is_approved)
        if validate is not None and (plan.of(Operation.UPSERT) or plan.of(Operation.SUBSCRIBE)):
            guard.audit(plan, destination, version_dir, identity_key, validate)
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(stores.fewer_collections())
        engine = stack.enter_context(stores.opened(stores_url))
        with stores.reading(engine) as read:
            is_idle = not plan.changes and not ledger.queued(read, destination.name)
        if is_idle:
            log.info("%s: plan %s: nothing to send", destination.name, plan.plan_id)
            return ApplyResult(plan.plan_id, destination.name, stage=len(STAGES))
        kept = Kept(engine, Seal(identity_key), destination.name)
        client = stack.enter_context(open_client(destination, connection, kept))
        sender = Sender(destination, engine, client, identity_key, run_id, plan)
        run = _Run(sender)
        run.read_results()
        is_left = any(plan.of(operation) for operation in STAGES[stage:])
        if is_left and not run.outstanding:
            duck = stack.enter_context(audience.opened(version_dir, identity_key, memory_limit=memory_limit))
            audience.check(duck, destination)
            planned = Planned(duck, destination, plan)
            if stage == 0:
                run.settle_abandoned()
            stage = run.go_on(planned, stage)
        elif not is_left:
            stage = len(STAGES)
        result = ApplyResult(
            plan_id=plan.plan_id,
            destination=destination.name,
            accepted=run.counts.pop(ledger.ACCEPTED, 0),
            rejected=dict(sorted(run.counts.items())),
            skipped=dict(sorted(sender.skipped.items())),
            requests=client.requests,
            seconds=round(time.monotonic() - began, 3),
            outstanding=run.outstanding,
            stage=stage,
        )
    _keep(plan, result)
    return result


def settle_queued(
    *, destination: Destination, connection: Connection, stores_url: str, identity_key: bytes, run_id: str
) -> int:
    """Read the results of what earlier runs left in the destination's queue; returns how many are still worked on.

    Before a plan, so that it knows what was acknowledged meanwhile.
    """
    with stores.opened(stores_url) as engine:
        with stores.reading(engine) as read:
            if not ledger.queued(read, destination.name):
                return 0
        kept = Kept(engine, Seal(identity_key), destination.name)
        with open_client(destination, connection, kept) as client:
            run = _Run(Sender(destination, engine, client, identity_key, run_id, None))
            run.read_results()
            return run.outstanding


def result_of(plan: Plan) -> ApplyResult | None:
    """What became of a plan, over all runs of it; none before the first."""
    uri = _result_uri(plan)
    return ApplyResult(**storage.read_json(uri)) if storage.exists(uri) else None


def _result_uri(plan: Plan) -> str:
    return plan.uri.removesuffix(".parquet") + ".result.json"


def _keep(plan: Plan, result: ApplyResult) -> None:
    before = result_of(plan)
    storage.write_json(_result_uri(plan), asdict(before.add(result) if before else result))


def _check(plan: Plan, destination: Destination, version_dir: str) -> None:
    if plan.destination != destination.name:
        raise ValueError(
            f"plan {plan.plan_id}: expected a plan for {destination.name}, found one for {plan.destination}"
        )
    version = version_dir.rstrip("/").rsplit("/", 1)[-1]
    if version != plan.version or fingerprint(destination) != plan.field_map:
        what = (
            f"version {plan.version}, found {version}" if version != plan.version else "the field map it was made with"
        )
        raise audience.AudienceError(
            f"{destination.name}: plan {plan.plan_id}: expected {what}; a plan is applied with what it was made from: "
            "plan again"
        )


class _Queued(NamedTuple):
    """A request that the vendor works on: when to ask for its result, and how long to wait if it is not there."""

    ask_at: float
    pause: float
    batch: Batch


class _Run:
    """The stages of one plan, one after the other, each with several requests in flight."""

    def __init__(self, sender: Sender):
        self._sender = sender
        self._destination, self._engine, self._client = sender.destination, sender.engine, sender.client
        self._queue: deque[_Queued] = deque()
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
        for batch in queued:
            if not self._is_settled(batch):
                self._wait_for(batch)

    def _is_settled(self, batch: Batch) -> bool:
        """Settle a queued request; false where the vendor still works on it."""
        with stores.reading(self._engine) as read:
            rows = ledger.rows_of_batch(read, batch)
        people = [Row(row.customer_id, vendor_id=row.vendor_id) for row in rows]
        try:
            results = self._client.results(batch.operation, batch.job_id or "", people)
        except BatchRefused as refusal:
            self._refused_later(batch, refusal)
            return True
        if results is None:
            return False
        self._settle(batch, results, self._sender.under_way(batch, results.errors).values())
        return True

    def _wait_for(self, batch: Batch) -> None:
        if self._destination.endpoints[batch.operation].is_awaited:
            self._queue.append(_Queued(pace.now() + FIRST_POLL, FIRST_POLL, batch))

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
                    failure = self._collect(under_way, FIRST_COMPLETED) or self._look()
                if failure is not None:
                    break
                if self._is_too_large(prepared):
                    continue
                under_way[pool.submit(self._sender.send, prepared)] = prepared
            while under_way:
                failure = self._collect(under_way, FIRST_COMPLETED) or failure
        while failure is None and self._queue and self._queue[0].pause == FIRST_POLL:
            pace.pause(max(0.0, self._queue[0].ask_at - pace.now()))
            failure = self._look()
        if failure is not None:
            raise failure

    def _look(self) -> DestinationError | None:
        """Read the results that are there, of the oldest request first: a vendor works on them in their order."""
        while self._queue and self._queue[0].ask_at <= pace.now():
            queued = self._queue.popleft()
            try:
                is_settled = self._is_settled(queued.batch)
            except DestinationError as error:
                return error
            if not is_settled:
                seconds = min(LONGEST_POLL, queued.pause * 1.5)
                self._queue.appendleft(_Queued(pace.now() + seconds, seconds, queued.batch))
        return None

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

    def _collect(self, under_way: dict[Future, Prepared], until: str) -> DestinationError | None:
        """Record the answers that are there; returns the first failure."""
        done, _ = wait(under_way, return_when=until)
        failure = None
        for future in done:
            prepared = under_way.pop(future)
            try:
                self._answered(prepared, future.result())
            except BatchRefused as refusal:
                self._bisect(prepared, refusal)
            except DestinationError as error:
                failure = failure or error
        return failure

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


def stage_names(actions: Sequence[str]) -> list[Operation]:
    """The operations that some actions of a plan need, in the order in which they are carried out."""
    wanted = {OPERATIONS[action] for action in actions}
    return [operation for operation in STAGES if operation in wanted]
