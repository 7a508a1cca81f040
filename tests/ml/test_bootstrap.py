"""Intervals of differences: right as often as they promise, paired, and the same on every run."""

import numpy as np
import pytest

from ml.bootstrap import difference_interval, paired_interval


@pytest.mark.parametrize("skewed", [False, True], ids=["symmetric", "skewed"])
def test_the_interval_covers_the_true_difference_as_often_as_it_promises(skewed):
    covered = 0
    for seed in range(400):
        chance = np.random.default_rng(seed)
        common = chance.normal(0, 5, 80)
        gain = chance.exponential(1.0, 80) if skewed else chance.normal(1.0, 1.0, 80)
        _, lower, upper = difference_interval(common + gain, common, draws=600, seed=seed)
        covered += lower <= 1.0 <= upper
    assert 0.915 <= covered / 400 <= 0.975


def test_what_both_sides_have_in_common_does_not_widen_the_interval():
    chance = np.random.default_rng(1)
    common, gain = chance.normal(0, 100, 500), chance.normal(0.2, 0.5, 500)
    difference, lower, upper = difference_interval(common + gain, common)
    assert difference == pytest.approx(gain.mean())
    assert 0 < lower < difference < upper < 0.3


def test_the_interval_turns_round_with_the_sides():
    chance = np.random.default_rng(2)
    one, other = chance.normal(1, 1, 300), chance.normal(0, 1, 300)
    difference, lower, upper = difference_interval(one, other)
    turned = difference_interval(other, one)
    assert turned == pytest.approx((-difference, -upper, -lower), abs=0.02)


def test_equal_arguments_give_equal_intervals_and_another_seed_does_not():
    chance = np.random.default_rng(3)
    one, other = chance.normal(size=50), chance.normal(size=50)
    assert difference_interval(one, other) == difference_interval(one, other)
    assert difference_interval(one, other) != difference_interval(one, other, seed=1)


def test_a_difference_without_spread_is_its_own_interval():
    assert difference_interval(np.full(9, 2.0), np.full(9, 1.5)) == (0.5, 0.5, 0.5)


def test_a_statistic_is_compared_on_the_same_resampled_units():
    chance = np.random.default_rng(4)
    truth = chance.normal(size=300)
    good, poor = truth + chance.normal(0, 0.5, 300), truth + chance.normal(0, 2, 300)

    def correlations(rows):
        return np.corrcoef(truth[rows], good[rows])[0, 1], np.corrcoef(truth[rows], poor[rows])[0, 1]

    difference, lower, upper = paired_interval(correlations, 300, draws=500)
    assert 0 < lower < difference < upper
    assert paired_interval(lambda rows: (correlations(rows)[0],) * 2, 300, draws=50) == (0.0, 0.0, 0.0)


def test_a_mean_as_a_statistic_agrees_with_the_mean_difference():
    chance = np.random.default_rng(5)
    one, other = chance.normal(0.3, 1, 400), chance.normal(0, 1, 400)
    general = paired_interval(lambda rows: (one[rows].mean(), other[rows].mean()), 400)
    assert general == pytest.approx(difference_interval(one, other), abs=0.02)


def test_a_statistic_that_few_draws_know_is_refused():
    positive = np.arange(50) == 0

    def rate(rows):
        return (1.0 if positive[rows].any() else np.nan), 0.0

    with pytest.raises(ValueError, match="too few units"):
        paired_interval(rate, 50, draws=200)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [([1.0], [1.0, 2.0], "one value per unit"), ([], [], "one value per unit"), ([np.nan], [1.0], "not finite")],
)
def test_values_that_cannot_be_compared_are_refused(one, other, message):
    with pytest.raises(ValueError, match=message):
        difference_interval(np.array(one), np.array(other))


def test_the_interval_of_plain_noise_is_as_wide_as_the_normal_law_says():
    noise = np.random.default_rng(0).normal(0, 1, 400)
    _, low, high = difference_interval(noise, np.zeros(400), seed=1)
    assert high - low == pytest.approx(2 * 1.96 * noise.std() / 20, rel=0.1)
