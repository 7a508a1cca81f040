"""Shared counts: noise of exactly the promised law, a budget that holds, and nobody who can be told from the rest."""

from fractions import Fraction
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from ml.privacy import BudgetExceeded, PrivacyBudget, discrete_laplace, margin, private_counts, probability

LEVELS = {"country": ["GB", "DE"], "device": ["mobile", "desktop"]}


def people():
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(100)],
            "country": ["GB"] * 70 + ["DE"] * 20 + ["VA"] * 10,
            "device": ["mobile", "desktop"] * 50,
        }
    )


@pytest.mark.parametrize("epsilon", [Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(7, 3)])
def test_the_noise_follows_its_law(epsilon):
    scale, chance = 1 / epsilon, Random(20261127)
    draws = np.array([discrete_laplace(scale, chance) for _ in range(20_000)])
    reach = margin(scale, 0.95)
    inner = np.arange(-reach, reach + 1)
    seen = [int((draws < -reach).sum()), *[int((draws == x).sum()) for x in inner], int((draws > reach).sum())]
    law = [probability(int(x), scale) for x in inner]
    tail = (1 - sum(law)) / 2
    assert chisquare(seen, np.array([tail, *law, tail]) * len(draws)).pvalue > 0.001
    deviation = np.sqrt(2 * np.exp(-float(epsilon))) / (1 - np.exp(-float(epsilon)))
    assert abs(draws.mean()) < 4 * deviation / np.sqrt(len(draws))


@given(st.fractions(min_value=Fraction(1, 20), max_value=5), st.integers(-50, 50))
def test_one_customer_more_or_less_changes_no_answer_by_more_than_e_to_the_epsilon(epsilon, noise):
    ratio = probability(noise, 1 / epsilon) / probability(noise + 1, 1 / epsilon)
    bound = np.exp(float(epsilon)) * (1 + 1e-9)
    assert 1 / bound <= ratio <= bound


@given(st.fractions(min_value=Fraction(1, 20), max_value=5))
def test_the_margin_covers_as_promised_and_no_further(epsilon):
    def within(reach):
        return sum(probability(x, 1 / epsilon) for x in range(-reach, reach + 1))

    found = margin(1 / epsilon)
    assert within(found) >= 0.95 - 1e-9
    assert found == 0 or within(found - 1) < 0.95 + 1e-9


def test_every_cell_is_there_and_the_noise_has_no_bias():
    answers = [
        private_counts(people(), LEVELS, table="t", epsilon=1, budget=PrivacyBudget(1), seed=seed).counts.set_index(
            ["country", "device"]
        )["count"]
        for seed in range(1_000)
    ]
    assert len(answers[0]) == 9
    mean = pd.concat(answers, axis=1).mean(axis=1)
    error = 4 * np.sqrt(2 * np.exp(-1)) / (1 - np.exp(-1)) / np.sqrt(len(answers))
    assert mean["GB", "mobile"] == pytest.approx(35, abs=error)
    assert mean["DE", "desktop"] == pytest.approx(10, abs=error)
    assert mean["other", "mobile"] == pytest.approx(5, abs=error)
    assert mean["GB", "other"] == pytest.approx(0, abs=error)
    assert min(answer["GB", "other"] for answer in answers) < 0


def test_what_is_shared_differs_from_run_to_run():
    tables = [
        private_counts(people(), LEVELS, table="t", epsilon="0.01", budget=PrivacyBudget(1)).counts["count"].tolist()
        for _ in range(2)
    ]
    assert tables[0] != tables[1]


def test_the_budget_is_spent_exactly_and_refused_beyond():
    budget = PrivacyBudget("0.3")
    for table in ("one", "two", "three"):
        private_counts(people(), {"country": ["GB"]}, table=table, epsilon=0.1, budget=budget, seed=1)
    assert budget.left == 0
    with pytest.raises(BudgetExceeded, match=r"four: epsilon 0\.001 asked for, 0 of 0\.3 left"):
        private_counts(people(), {"country": ["GB"]}, table="four", epsilon=0.001, budget=budget, seed=1)
    assert set(budget.spent) == {"one", "two", "three"}


def test_a_table_is_counted_once():
    budget = PrivacyBudget(1)
    budget.spend("one", 0.1)
    with pytest.raises(BudgetExceeded, match="counted in this report already"):
        budget.spend("one", 0.1)
    assert sum(budget.split(["two", "three", "four"]).values()) == budget.left == Fraction(9, 10)


def test_a_customer_who_would_count_twice_is_refused_before_anything_is_spent():
    budget = PrivacyBudget(1)
    with pytest.raises(ValueError, match="one row per customer, found 1 repeated"):
        private_counts(pd.concat([people(), people().head(1)]), LEVELS, table="t", epsilon=1, budget=budget)
    assert budget.left == 1


@pytest.mark.parametrize("epsilon", [0, -1, "0"])
def test_an_epsilon_that_promises_nothing_is_refused(epsilon):
    with pytest.raises(ValueError, match="above 0"):
        PrivacyBudget(epsilon)
