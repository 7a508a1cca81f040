"""Who is moved by an e-mail: measures with known answers, learners that find a planted effect, an honest decision."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.uplift.decision import Comparison, assess, decide, fit_best
from ml.uplift.experiment import effect_scores, experiment, folds
from ml.uplift.learners import LEARNERS, usable
from ml.uplift.measures import auuc, gain_values, qini, qini_curve, top_weights, uplift_at

FIRST = {"the first input": lambda inputs: inputs[:, 0]}


def planted(rows=4000, *, strength=0.2, seed=0, share=0.5):
    """The e-mail moves those whose second input is high; the first input alone says who acts anyway."""
    chance = np.random.default_rng(seed)
    inputs = chance.normal(size=(rows, 4))
    treated = (chance.random(rows) < share).astype(float)
    rate = np.clip(0.3 + 0.12 * inputs[:, 0] + strength * treated * (inputs[:, 1] > 0.3), 0.01, 0.99)
    return experiment(inputs, treated, (chance.random(rows) < rate).astype(float))


# Eight customers: in each pair one treated and one control, and the first two pairs are moved by the e-mail.
TREATED = np.array([1, 0, 1, 0, 1, 0, 1, 0])
OUTCOME = np.array([1, 0, 1, 0, 0, 0, 0, 0])
MOVED_FIRST = np.array([4, 4, 3, 3, 2, 2, 1, 1])


def test_the_qini_curve_counts_extra_outcomes_by_hand():
    shares, gains = qini_curve(MOVED_FIRST, TREATED, OUTCOME)
    assert shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert gains.tolist() == [0, 1, 2, 2, 2]


def test_the_qini_coefficient_by_hand():
    # Under this curve lies .25 * (.5 + 1.5 + 2 + 2) = 1.5, under the random line to (1, 2) 1. The bound's order begins
    # with the two treated who act, so it climbs to 2 at a quarter and stays there: .25 * 1 + .75 * 2 = 1.75.
    assert qini(MOVED_FIRST, TREATED, OUTCOME) == pytest.approx(0.5 / 0.75)
    perfect = 2 * (TREATED == OUTCOME) + TREATED
    assert qini(perfect, TREATED, OUTCOME) == pytest.approx(1)
    assert qini(np.ones(8), TREATED, OUTCOME) == pytest.approx(0)
    assert qini(-MOVED_FIRST, TREATED, OUTCOME) == pytest.approx(-0.5 / 0.75)


def test_area_and_uplift_of_the_best_share_by_hand():
    assert auuc(MOVED_FIRST, TREATED, OUTCOME) == pytest.approx(1.5 / 4)
    assert uplift_at(0.5, MOVED_FIRST, TREATED, OUTCOME) == 1
    assert uplift_at(1.0, MOVED_FIRST, TREATED, OUTCOME) == 0.5
    assert np.isnan(uplift_at(0.1, np.arange(8), TREATED, OUTCOME))


def test_a_share_through_customers_of_one_score_takes_a_part_of_each():
    assert top_weights(0.5, np.array([3.0, 1, 1, 1])) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert uplift_at(0.3, np.zeros(8), TREATED, OUTCOME) == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_measures_do_not_depend_on_the_order_of_rows_or_the_scale_of_scores(seed):
    chance = np.random.default_rng(seed)
    score = chance.integers(0, 6, 60).astype(float)
    treated, outcome = chance.integers(0, 2, 60), chance.integers(0, 2, 60)
    treated[:2], outcome[:2] = (0, 1), (0, 1)
    mixed = chance.permutation(60)
    for measure in (qini, auuc, lambda *arguments: uplift_at(0.3, *arguments)):
        found = measure(score, treated, outcome)
        assert measure(score[mixed], treated[mixed], outcome[mixed]) == pytest.approx(found)
        assert measure(np.exp(score), treated, outcome) == pytest.approx(found)


def test_the_gain_over_chance_is_the_area_above_the_random_line():
    chance = np.random.default_rng(1)
    score, effect = chance.permutation(500).astype(float), chance.normal(size=500)
    ordered = effect[np.argsort(-score)]
    curve = np.r_[0, np.cumsum(ordered)] / 500
    area = np.trapezoid(curve, np.linspace(0, 1, 501)) - curve[-1] / 2
    assert gain_values(score, effect).mean() == pytest.approx(area)
    assert gain_values(-score, effect).mean() == pytest.approx(-area)
    assert gain_values(np.zeros(500), effect).mean() == pytest.approx(0)


def test_the_spread_of_gain_values_is_that_of_the_gain_over_new_samples():
    gains, claimed = [], []
    for seed in range(400):
        chance = np.random.default_rng(seed)
        score = chance.normal(size=300)
        values = gain_values(score, score + chance.normal(0, 1, 300))
        gains.append(values.mean())
        claimed.append(values.std() / np.sqrt(300))
    assert np.mean(claimed) == pytest.approx(np.std(gains), rel=0.1)


def test_effect_scores_are_unbiased_however_poor_the_models_of_the_outcome():
    known = planted(60_000, share=0.8)
    truth = 0.2 * (known.inputs[:, 1] > 0.3).mean()
    for guess in (np.zeros(len(known)), np.full(len(known), 3.0)):
        scores = effect_scores(known, guess, -guess)
        assert scores.mean() == pytest.approx(truth, abs=4 * scores.std() / np.sqrt(len(known)))


def test_folds_keep_customers_whole_and_are_alike():
    chance = np.random.default_rng(2)
    unit = chance.integers(0, 700, 2000)
    known = experiment(
        np.zeros((2000, 1)), chance.integers(0, 2, 2000), (chance.random(2000) < 0.1).astype(float), unit=unit
    )
    seen = np.zeros(2000, dtype=int)
    for fitting, left_out in folds(known, 5, 0):
        assert not set(unit[fitting]) & set(unit[left_out])
        assert known.outcome[left_out].mean() == pytest.approx(0.1, abs=0.03)
        seen[left_out] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_every_learner_finds_a_planted_effect_in_its_unit(name, share):
    known, unseen = planted(8000, share=share), planted(4000, seed=1)
    learned = LEARNERS[name](known, 0)
    effect = learned.effect(unseen.inputs)
    moved = unseen.inputs[:, 1] > 0.3
    assert qini(effect, unseen.treated, unseen.outcome) > 0.05
    assert effect[moved].mean() - effect[~moved].mean() > 0.08
    assert effect.mean() == pytest.approx(0.2 * moved.mean(), abs=0.05)
    parts = np.abs(learned.contributions(unseen.inputs)).mean(axis=0)
    assert parts.argmax() == 1


def test_class_transformation_is_left_out_where_outcomes_are_amounts():
    known = planted(500)
    amounts = experiment(known.inputs, known.treated, known.outcome * 20.5)
    assert "class transformation" in usable(known)
    assert "class transformation" not in usable(amounts)
    with pytest.raises(ValueError, match="some of"):
        usable(known, ["magic"])


EVERY_KIND = ("class transformation", "doubly robust, boosted", "X-learner, boosted")
QUICK = ("two models, linear", "doubly robust, linear")


def test_the_decision_accepts_a_planted_effect():
    found = assess(planted(), FIRST, learners=QUICK, repeats=1)
    verdict = decide(found)
    assert verdict.target
    assert verdict.reason.startswith("target: ")
    assert [one.over for one in found.comparisons] == ["mailing as many at random", "the first input"]
    assert found.response.gain > 0


def test_the_decision_refuses_an_e_mail_that_works_alike_on_everybody():
    chance = np.random.default_rng(3)
    inputs, treated = chance.normal(size=(4000, 4)), chance.integers(0, 2, 4000)
    outcome = chance.random(4000) < 0.15 + 0.05 * inputs[:, 0].clip(-2, 2) + 0.1 * treated
    verdict = decide(assess(experiment(inputs, treated, outcome), FIRST, learners=QUICK, repeats=1))
    assert not verdict.target
    assert "mail everybody" in verdict.reason


def test_the_decision_refuses_a_model_that_a_simple_rule_equals():
    """The effect follows the first input, so its order is as good as any model's."""
    chance = np.random.default_rng(4)
    inputs, treated = chance.normal(size=(6000, 4)), chance.integers(0, 2, 6000)
    outcome = chance.random(6000) < 0.1 + 0.1 * treated * (1 + inputs[:, 0].clip(-1, 2))
    found = assess(experiment(inputs, treated, outcome), FIRST, learners=QUICK, repeats=1)
    verdict = decide(found)
    assert found.comparisons[0].lower > 0
    assert not verdict.target
    assert "not surely better than" in verdict.reason


def test_the_decision_refuses_where_the_response_model_gains_more():
    found = assess(planted(), FIRST, learners=QUICK, repeats=1)
    better = replace(found, response=Comparison("the response model", -0.001, -0.01, 0.01))
    verdict = decide(better)
    assert not verdict.target
    assert "not better than the response model" in verdict.reason


def test_noise_is_accepted_no_more_often_than_the_confidence_allows():
    accepted = 0
    for seed in range(25):
        chance = np.random.default_rng(seed)
        noise = experiment(chance.normal(size=(600, 3)), chance.integers(0, 2, 600), chance.random(600) < 0.3)
        accepted += decide(assess(noise, {}, learners=QUICK[:1], folds_count=3, repeats=1, seed=seed)).target
    assert accepted <= 2


def test_equal_experiments_give_equal_decisions():
    one, other = (assess(planted(1500), FIRST, learners=EVERY_KIND, folds_count=2, seed=5) for _ in range(2))
    assert one.comparisons == other.comparisons
    assert decide(one) == decide(other)


def test_the_choice_uses_only_the_rows_it_is_given():
    known = planted(2000)
    half = known.take(np.arange(1000))
    assert fit_best(half, learners=QUICK)[1] == fit_best(planted(2000).take(np.arange(1000)), learners=QUICK)[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treated": np.ones(4)}, "treated .1. and control"),
        ({"treated": np.array([0, 1, 2, 1])}, "treated .1. and control"),
        ({"inputs": np.array([[np.nan], [1], [1], [1]])}, "finite"),
        ({"outcome": np.zeros(3)}, "expected 4 rows"),
        ({"propensity": np.array([0.0, 0.5, 0.5, 0.5])}, "strictly between"),
    ],
)
def test_what_is_no_experiment_is_refused(change, message):
    arrays = {"inputs": np.ones((4, 1)), "treated": np.array([0, 1, 0, 1]), "outcome": np.zeros(4)} | change
    with pytest.raises(ValueError, match=message):
        experiment(**arrays)


@pytest.mark.slow
def test_on_hillstroms_experiment_the_same_rule_accepts_the_womens_e_mail_and_refuses_the_mens(real_data):
    from benchmarks.ml.uplift import MEN, RECENT, WOMEN, _experiment, _read, _recent

    data = _read(real_data / "hillstrom")
    verdicts = {}
    for arm in (WOMEN, MEN):
        known, names = _experiment(data, arm)
        verdicts[arm] = decide(assess(known, {RECENT: _recent(names)})).target
    assert verdicts == {WOMEN: True, MEN: False}
