"""Consent and suppression are a hard gate: no history lets anybody through who has not consented."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from activation_line import Line, person
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letterpress.activation.destinations import destination
from letterpress.activation.destinations.local_esp import LocalEsp
from letterpress.activation.destinations.spec import Operation
from letterpress.demo.esp import running

START = datetime(2011, 7, 1, tzinfo=UTC)
PEOPLE, ROUNDS = 8, 6
EVENTS = [
    "nothing",
    "changes",
    "grants",
    "grants",
    "withdraws",
    "unsubscribes at the ESP",
    "complains at the ESP",
    "unsubscribes by webhook",
    "leaves",
]


class Truth:
    """What one person wants, and what the warehouse knows of it: consent, but nothing of the ESP's events."""

    def __init__(self, number: int):
        self.number, self.is_there, self.is_granted, self.is_final = number, True, False, False
        self.granted_at, self.stopped_at, self.proof, self.tier = START, None, 0, "none"

    @property
    def may_be_written_to(self) -> bool:
        is_stopped = self.stopped_at is not None and self.stopped_at >= self.granted_at
        return self.is_there and self.is_granted and not self.is_final and not is_stopped

    def row(self):
        one = person(
            self.number,
            loyalty_tier=self.tier,
            consent_proof=f"proof-{self.number}-{self.proof}" if self.proof else None,
            granted_at=self.granted_at,
        )
        return one if self.is_granted else one.refused("consent_withdrawn" if self.proof else "no_consent")

    def meet(self, event: str, line: Line, now: datetime) -> None:
        one = self.row()
        stop = {"email": one.email, "external_id": one.customer_id}
        instant = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if event == "changes":
            self.tier = {"none": "gold"}.get(self.tier, "none")
        elif event == "grants":
            self.is_there = self.is_granted = True
            self.granted_at, self.proof = now, self.proof + 1
        elif event == "withdraws":
            self.is_granted = False
        elif event == "unsubscribes at the ESP":
            line.esp.app.state.suppressions.add([{**stop, "reason": "unsubscribed"}], instant)
            self.stopped_at = now
        elif event == "complains at the ESP":
            line.esp.app.state.suppressions.add([{**stop, "reason": "complained"}], instant)
            self.is_final = True
        elif event == "unsubscribes by webhook":
            line.suppress(one, "unsubscribed", now)
            self.stopped_at = now
        elif event == "leaves":
            self.is_there = False


histories = st.lists(st.lists(st.sampled_from(EVENTS), min_size=PEOPLE, max_size=PEOPLE), min_size=2, max_size=ROUNDS)


FIXTURES = [HealthCheck.function_scoped_fixture]


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=FIXTURES)
@given(histories)
def test_nobody_without_consent_is_in_any_payload_and_everybody_with_it_is_held(no_pauses, history):
    live_through(history)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=FIXTURES)
@given(histories)
def test_the_gate_holds_over_many_more_histories(no_pauses, history):
    live_through(history)


def live_through(history: list[list[str]]) -> None:
    folder = Path(tempfile.mkdtemp())
    now = [START]
    sent: list[str] = []
    send = LocalEsp.send

    def recorded(self, operation, rows, **given):
        if operation in (Operation.UPSERT, Operation.SUBSCRIBE):
            sent.extend(row.customer_id for row in rows)
        return send(self, operation, rows, **given)

    try:
        with running(folder / "esp", clock=lambda: now[0]) as esp, mock.patch.object(LocalEsp, "send", recorded):
            line = Line(folder, esp, f"sqlite:///{folder}/stores.sqlite", destination("local_esp"))
            people = [Truth(number) for number in range(PEOPLE)]
            for events in history:
                now[0] += timedelta(hours=1)
                for one, event in zip(people, events, strict=True):
                    one.meet(event, line, now[0])
                line.publish(*(one.row() for one in people if one.is_there))
                sent.clear()
                line.pull()
                line.lift()
                line.sync()
                allowed = {one.row().customer_id for one in people if one.may_be_written_to}
                reached = {key for key, profile in line.at_esp().items() if not profile["suppressed"]}
                assert set(sent) <= allowed
                assert reached == allowed
                assert line.plan().changes == 0
    finally:
        shutil.rmtree(folder)
