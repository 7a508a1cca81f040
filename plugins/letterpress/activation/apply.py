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
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from letterpress import storage
from letterpress.activation import audience, guard, ledger, stages, stores
from letterpress.activation.batches import Planned, Sender
from letterpress.activation.destinations import Connection, Destination, open_client, pace
from letterpress.activation.destinations.spec import Operation
from letterpress.activation.kept import Kept
from letterpress.activation.plan import Plan, fingerprint
from letterpress.activation.seal import Seal

log = logging.getLogger(__name__)


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
    seconds = stages.FIRST_POLL
    while result.outstanding:
        pace.pause(seconds)
        seconds = min(stages.LONGEST_POLL, seconds * 1.5)
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
            return ApplyResult(plan.plan_id, destination.name, stage=len(stages.STAGES))
        kept = Kept(engine, Seal(identity_key), destination.name)
        client = stack.enter_context(open_client(destination, connection, kept))
        sender = Sender(destination, engine, client, identity_key, run_id, plan)
        run = stack.enter_context(stages.running(sender))
        run.read_results()
        is_left = any(plan.of(operation) for operation in stages.STAGES[stage:])
        if is_left and not run.outstanding:
            duck = stack.enter_context(audience.opened(version_dir, identity_key, memory_limit=memory_limit))
            audience.check(duck, destination)
            planned = Planned(duck, destination, plan)
            if stage == 0:
                run.settle_abandoned()
            stage = run.go_on(planned, stage)
        elif not is_left:
            stage = len(stages.STAGES)
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
        with (
            open_client(destination, connection, kept) as client,
            stages.running(Sender(destination, engine, client, identity_key, run_id, None)) as run,
        ):
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
