"""What a policy would have earned: unbiased by enumeration, and intervals that are right as often as they say."""

from itertools import product

import numpy as np
import pytest

from ml.off_policy.estimators import (
    doubly_robust,
    inverse_propensity,
    normal_interval,
    rejection_sampling,
    self_normalised,
)
from ml.off_policy.rewards import cross_fitted, smoothed_rates, softmax_policy

LOGGED = np.array([0.5, 0.3, 0.2])
POLICY = np.array([0.1, 0.2, 0.7])
CLICKS = np.array([0.2, 0.5, 0.8])
TRUTH = float(POLICY @ CLICKS)


def every_log(decisions=2):
    """All logs of a bandit of three actions, with the chance of each."""
    for actions in product(range(3), repeat=decisions):
        for rewards in product((0, 1), repeat=decisions):
            action, reward = np.array(actions), np.array(rewards)
            chance = np.prod(LOGGED[action] * np.where(reward == 1, CLICKS[action], 1 - CLICKS[action]))
            yield action, reward, float(chance)


def test_inverse_propensity_and_doubly_robust_are_unbiased_over_every_log():
    wrong_model = np.array([0.9, 0.1, 0.3])
    means = {"inverse propensity": 0.0, "doubly robust": 0.0}
    total = 0.0
    for action, reward, chance in every_log():
        weight = POLICY[action] / LOGGED[action]
        total += chance
        means["inverse propensity"] += chance * inverse_propensity(reward, weight).value
        ahead = np.full(2, POLICY @ wrong_model)
        means["doubly robust"] += chance * doubly_robust(reward, weight, wrong_model[action], ahead).value
    assert total == pytest.approx(1)
    assert list(means.values()) == pytest.approx([TRUTH, TRUTH])


def test_rejection_sampling_keeps_decisions_as_the_policy_would_draw_them():
    chance = np.random.default_rng(0)
    action = chance.choice(3, 60_000, p=LOGGED)
    reward = (chance.random(60_000) < CLICKS[action]).astype(float)
    found = rejection_sampling(reward, POLICY[action] / LOGGED[action], largest_weight=3.5, seed=1)
    assert found.decisions == pytest.approx(60_000 / 3.5, rel=0.03)
    assert found.value == pytest.approx(TRUTH, abs=0.012)


def test_a_constant_reward_is_exact_when_weights_are_normalised():
    weight = np.random.default_rng(1).exponential(size=50)
    assert self_normalised(np.full(50, 0.25), weight).value == pytest.approx(0.25)
    assert inverse_propensity(np.full(50, 0.25), weight).value != pytest.approx(0.25)


def test_a_perfect_model_of_the_reward_leaves_no_uncertainty():
    chance = np.random.default_rng(2)
    action = chance.choice(3, 500, p=LOGGED)
    found = doubly_robust(CLICKS[action], POLICY[action] / LOGGED[action], CLICKS[action], np.full(500, TRUTH))
    assert found.value == pytest.approx(TRUTH)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def rare(seed, rows=2500):
    """Clicks of 1 in 125 on twenty actions shown at random, and a policy that prefers a few of them."""
    chance = np.random.default_rng(seed)
    rates = 0.004 * np.exp(np.linspace(0, 1.5, 20))[None, :]
    policy = softmax_policy(rates, sharpness=2.0)
    action, context = chance.integers(0, 20, rows), np.zeros(rows, dtype=int)
    click = (chance.random(rows) < rates[0, action]).astype(float)
    return context, action, click, policy, float((policy * rates).sum())


def test_intervals_of_rare_clicks_cover_the_truth_and_are_no_wider_than_inverse_propensitys():
    right = {"ips": [], "sn": [], "dr": []}
    width = {name: [] for name in right}
    for seed in range(250):
        context, action, click, policy, truth = rare(seed)
        weight, largest = policy[0, action] * 20, policy.max() * 20
        logged, ahead = cross_fitted(context, action, click, policy)
        found = {
            "ips": inverse_propensity(click, weight, largest_weight=largest),
            "sn": self_normalised(click, weight, largest_weight=largest),
            "dr": doubly_robust(click, weight, logged, ahead, largest_weight=largest),
        }
        for name, one in found.items():
            assert 0 <= one.lower <= one.value <= one.upper
            right[name].append(one.lower <= truth <= one.upper)
            width[name].append(one.upper - one.lower)
    for name in right:
        assert 0.91 <= np.mean(right[name]) <= 0.985, name
    assert np.median(width["dr"]) <= np.median(width["ips"])
    assert np.median(width["sn"]) <= np.median(width["ips"])


def test_a_log_without_a_click_still_leaves_room_above():
    found = inverse_propensity(np.zeros(1000), np.ones(1000), largest_weight=1.0)
    assert (found.value, found.lower) == (0, 0)
    assert found.upper == pytest.approx(1.92 / 1000, rel=0.01)  # half of 3.84: the likelihood interval of no event
    assert inverse_propensity(np.zeros(1000), np.ones(1000), largest_weight=5.0).upper == pytest.approx(
        5 * found.upper, rel=0.01
    )


def test_the_likelihood_interval_is_the_binomials_where_all_weights_are_one():
    from scipy.optimize import brentq

    clicks, rows = 12, 800
    reward = (np.arange(rows) < clicks).astype(float)
    found = inverse_propensity(reward, np.ones(rows), largest_weight=1.0)

    def excess(rate):
        share = clicks / rows
        likelihood = clicks * np.log(share / rate) + (rows - clicks) * np.log((1 - share) / (1 - rate))
        return 2 * likelihood - 3.841459

    assert found.lower == pytest.approx(brentq(excess, 1e-6, clicks / rows), rel=1e-5)
    assert found.upper == pytest.approx(brentq(excess, clicks / rows, 0.5), rel=1e-5)


def test_many_common_rewards_give_the_normal_interval():
    chance = np.random.default_rng(3)
    reward, weight = (chance.random(20_000) < 0.4).astype(float), chance.uniform(0.5, 1.5, 20_000)
    found = inverse_propensity(reward, weight)
    assert (found.lower, found.upper) == pytest.approx(normal_interval(found), rel=1e-3)


def test_rates_shrink_to_the_wider_ones_and_more_so_where_actions_do_not_differ():
    chance = np.random.default_rng(4)
    context, action = np.zeros(40_000, dtype=int), chance.integers(0, 4, 40_000)
    same = (chance.random(40_000) < 0.05).astype(float)
    apart = (chance.random(40_000) < np.array([0.01, 0.02, 0.05, 0.12])[action]).astype(float)
    assert np.ptp(smoothed_rates(context, action, same, (1, 4))) < 0.01
    found = smoothed_rates(context, action, apart, (1, 4))[0]
    assert found == pytest.approx([0.01, 0.02, 0.05, 0.12], abs=0.006)
    assert (smoothed_rates(context, action, np.zeros(40_000), (1, 4)) > 0).all()


def test_a_models_expectation_of_a_row_does_not_know_its_click():
    context, action, click, policy, _ = rare(0, rows=400)
    logged, ahead = cross_fitted(context, action, click, policy)
    for row in np.flatnonzero(click)[:3]:
        other = click.copy()
        other[row] = 0
        again = cross_fitted(context, action, other, policy)
        assert (again[0][row], again[1][row]) == (logged[row], ahead[row])
    assert len(set(ahead)) <= 5


def test_a_policy_prefers_better_actions_and_keeps_exploring():
    policy = softmax_policy(np.array([[0.01, 0.02, 0.04]]), sharpness=1.0, exploration=0.1)
    assert policy.sum() == pytest.approx(1)
    assert policy[0] == pytest.approx(0.9 * np.array([1, 2, 4]) / 7 + 0.1 / 3)


@pytest.mark.parametrize(
    ("reward", "weight", "largest", "message"),
    [
        ([1.0], [1.0, 1.0], None, "a reward and a weight"),
        ([], [], None, "a reward and a weight"),
        ([2.0], [1.0], None, "between 0 and 1"),
        ([1.0], [0.0], None, "not all 0"),
        ([1.0], [4.0], 2.0, "largest_weight"),
    ],
)
def test_logs_that_cannot_be_meant_are_refused(reward, weight, largest, message):
    with pytest.raises(ValueError, match=message):
        inverse_propensity(np.array(reward), np.array(weight), largest_weight=largest)
