"""Consent and suppression are a hard gate at every vendor, whatever people do here and there."""

import shutil
import tempfile
from pathlib import Path

import pytest
from consent_histories import EVENTS, History, Human
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from vendor_line import of_vendors, vendor_line

VENDORS = ("klaviyo", "mailchimp", "braze")
PEOPLE, ROUNDS = 6, 5
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

COMMON = {
    "deadline": None,
    "derandomize": True,
    "phases": (Phase.generate, Phase.shrink),
    "suppress_health_check": FIXTURES,
}
rounds = st.lists(st.sampled_from(EVENTS), min_size=PEOPLE, max_size=PEOPLE)
histories = st.lists(rounds, min_size=ROUNDS - 1, max_size=ROUNDS)


# One person a line: what happens in each round; the first half have consented before. Who merges becomes the next one.
STORIES = (
    ("grants", "unsubscribes there", "changes address", "changes", "grants"),
    ("grants", "complains there", "grants", "changes address", "grants"),
    ("grants", "bounces there", "grants", "changes address", "grants"),
    ("grants", "unsubscribes there", "grants", "changes", "withdraws"),
    ("grants", "is erased", "grants", "comes back", "changes"),
    ("grants", "withdraws", "changes address", "grants", "changes"),
    ("unsubscribes between plan and apply", "changes", "grants", "changes", "withdraws"),
    ("grants", "leaves", "unsubscribes there", "comes back", "grants"),
    ("grants", "unsubscribes by webhook", "leaves", "comes back", "changes"),
    ("grants", "withdraws", "grants", "unsubscribes there", "changes"),
    ("grants", "complains there", "merges into the next", "nothing", "nothing"),
    ("grants", "nothing", "nothing", "grants", "changes"),
    ("grants", "unsubscribes there", "merges into the next", "nothing", "nothing"),
    ("grants", "nothing", "nothing", "grants", "changes"),
    ("grants", "nothing", "merges into the next", "nothing", "nothing"),
    ("grants", "nothing", "nothing", "unsubscribes there", "grants"),
)


@pytest.mark.parametrize("vendor", of_vendors(*VENDORS))
def test_the_gate_holds_in_every_story(clock, vendor):
    live_through(vendor, clock, [list(events) for events in zip(*STORIES, strict=True)])


@pytest.mark.parametrize("vendor", of_vendors(*VENDORS))
@settings(max_examples=2, **COMMON)
@given(history=histories)
def test_nobody_without_consent_is_in_any_payload_and_whoever_said_no_is_mailed_by_nobody(clock, vendor, history):
    live_through(vendor, clock, history)


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("vendor", of_vendors(*VENDORS))
@settings(max_examples=3, **COMMON)
@given(history=histories)
def test_the_gate_holds_over_many_more_histories(clock, vendor, history):
    live_through(vendor, clock, history)


def live_through(vendor: str, clock, history: list[list[str]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with vendor_line(vendor, folder, clock) as line:
            lived = History(line, clock, [Human(number) for number in range(len(history[0]))])
            for one in lived.people[: len(lived.people) // 2]:  # half of them have consented at the beginning
                one.is_granted, one.proof = True, 1
            for events in history:
                lived.live(events)
    finally:
        shutil.rmtree(folder)
