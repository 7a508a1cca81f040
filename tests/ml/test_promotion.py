"""The gate: good enough at all, and surely no worse than what serves by more than the margin."""

import numpy as np
import pandas as pd
import pytest

from ml.config import PromotionGate
from ml.promotion import Comparison, compare, decide

GATE = PromotionGate(metric="skill", minimum=0.2, margin=0.0)


def accuracy(held: pd.DataFrame) -> float | None:
    return float((held["truth"] == held["prediction"]).mean()) if len(held) else None


def held(customers: int, right: float, seed: int = 0, rows: int = 1) -> pd.DataFrame:
    """A hold-out in which so large a share of the predictions is right."""
    chance = np.random.default_rng(seed)
    ids = np.repeat([f"c{number:05d}" for number in range(customers)], rows)
    truth = np.arange(len(ids)) % 2
    wrong = chance.random(len(ids)) > right
    return pd.DataFrame({"customer_id": ids, "truth": truth, "prediction": np.where(wrong, 1 - truth, truth)})


@pytest.mark.parametrize(("value", "promote"), [(0.19, False), (0.2, True), (0.9, True)], ids=["below", "at", "above"])
def test_the_first_version_has_to_reach_the_minimum(value, promote):
    decision = decide(GATE, {"skill": value}, first=True)
    assert decision.promote is promote
    assert "skill" in decision.reason


@pytest.mark.parametrize(("lower", "promote"), [(-0.001, False), (0.0, False), (0.001, True)])
def test_the_lower_end_of_the_difference_has_to_be_above_the_margin(lower, promote):
    decision = decide(GATE, {"skill": 0.5}, first=False, comparison=Comparison(0.05, lower, 0.1, 300))
    assert decision.promote is promote
    assert "the same 300 customers" in decision.reason


def test_a_margin_below_zero_bears_a_loss_for_fresher_data():
    gate = GATE.model_copy(update={"margin": -0.02})
    assert decide(gate, {"skill": 0.5}, first=False, comparison=Comparison(0.0, -0.01, 0.01, 300)).promote
    assert not decide(gate, {"skill": 0.5}, first=False, comparison=Comparison(0.0, -0.03, 0.03, 300)).promote


def test_smaller_is_better_where_the_gate_says_so():
    gate = PromotionGate(metric="error", direction="minimise", minimum=1.0)
    assert decide(gate, {"error": 0.9}, first=True).promote
    assert not decide(gate, {"error": 1.1}, first=True).promote


def test_what_cannot_be_measured_serves_only_where_nothing_else_does_and_the_gate_allows_it():
    lenient = GATE.model_copy(update={"unmeasured": "first"})
    assert not decide(GATE, {"skill": None}, first=True).promote
    assert decide(lenient, {"skill": None}, first=True).promote
    assert not decide(lenient, {"skill": None}, first=False).promote


def test_a_champion_that_cannot_be_measured_does_not_block():
    assert decide(GATE, {"skill": 0.3}, first=False).promote


def test_a_clearly_better_challenger_is_surely_better_and_an_equal_one_is_not():
    better = compare(accuracy, held(400, 0.9), held(400, 0.6, seed=1))
    assert better.lower > 0.2
    assert better.lower < better.difference < better.upper
    equal = compare(accuracy, held(400, 0.75), held(400, 0.75, seed=1))
    assert equal.lower < 0 < equal.upper


def test_only_customers_on_both_sides_are_compared_whatever_the_order_of_the_rows():
    new, old = held(300, 0.8), held(400, 0.7, seed=1)
    found = compare(accuracy, new, old)
    shuffled = compare(accuracy, new.sample(frac=1, random_state=1), old.sample(frac=1, random_state=2))
    assert found == shuffled
    assert found.customers == 300
    assert found.difference == pytest.approx(accuracy(new) - accuracy(old.iloc[:300]))


def test_rows_of_one_customer_are_drawn_together():
    """Ten rows that say the same are one piece of evidence: the interval is as wide as with one row each."""
    one_new, one_old = held(200, 0.8), held(200, 0.7, seed=1)
    ten_new, ten_old = (pd.concat([one] * 10, ignore_index=True) for one in (one_new, one_old))
    assert compare(accuracy, ten_new, ten_old).lower == pytest.approx(compare(accuracy, one_new, one_old).lower)


def test_without_a_common_customer_nothing_is_compared():
    other = held(10, 0.5).assign(customer_id=[f"d{number}" for number in range(10)])
    assert compare(accuracy, held(10, 0.5), other) is None
