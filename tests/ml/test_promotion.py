"""The gate: good enough at all, and not worse than what serves."""

import pytest

from ml.config import PromotionGate
from ml.promotion import decide

GATE = PromotionGate(metric="skill", minimum=0.2, margin=0.05)


@pytest.mark.parametrize(("value", "promote"), [(0.19, False), (0.2, True), (0.9, True)], ids=["below", "at", "above"])
def test_the_first_version_has_to_reach_the_minimum(value, promote):
    decision = decide(GATE, {"skill": value})
    assert decision.promote is promote
    assert "skill" in decision.reason


@pytest.mark.parametrize(("new", "promote"), [(0.44, False), (0.45, True), (0.6, True)])
def test_a_challenger_may_be_worse_by_the_margin_at_most(new, promote):
    decision = decide(GATE, {"skill": 0.5}, challenger={"skill": new}, champion={"skill": 0.5})
    assert decision.promote is promote
    assert "on the same data" in decision.reason


def test_smaller_is_better_where_the_gate_says_so():
    gate = PromotionGate(metric="error", direction="minimise", minimum=1.0, margin=0.1)
    assert decide(gate, {"error": 0.9}).promote
    assert not decide(gate, {"error": 1.1}).promote
    assert not decide(gate, {"error": 0.9}, challenger={"error": 0.9}, champion={"error": 0.7}).promote
    assert decide(gate, {"error": 0.9}, challenger={"error": 0.75}, champion={"error": 0.7}).promote


def test_what_cannot_be_measured_serves_only_where_nothing_else_does_and_the_gate_allows_it():
    lenient = GATE.model_copy(update={"unmeasured": "first"})
    assert not decide(GATE, {"skill": None}).promote
    assert decide(lenient, {"skill": None}).promote
    assert not decide(lenient, {"skill": None}, challenger={}, champion={"skill": 0.3}).promote


def test_a_champion_that_cannot_be_measured_does_not_block():
    assert decide(GATE, {"skill": 0.3}, challenger={"skill": 0.3}, champion={}).promote
