"""Propensities: they beat the simple rule, mean what they say, cannot know the future, and give real reasons."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from propensity_shop import AS_OF, shop, typed

from ml.models import churn_propensity, click_propensity, purchase_propensity
from ml.propensity import engine, measure, snapshots, words
from ml.propensity.estimators import CANDIDATES, Boosting, Forest, Logistic
from ml.propensity.inputs import point_in_time_inputs
from ml.propensity.leaks import LeakError
from ml.propensity.outcomes import clicked, ordered
from ml.propensity.rule import RecencyFrequencyRule

MODELS = (purchase_propensity, churn_propensity, click_propensity)
QUICK = {"trials": 4}


def settings_of(module, **changes):
    return module.Settings(**(QUICK | changes))


@pytest.fixture(scope="module")
def frames():
    return shop()


@pytest.fixture(scope="module")
def trained(frames):
    return {module: module.MODEL.train(frames, AS_OF, settings_of(module), 1) for module in MODELS}


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_a_propensity_beats_the_rule_by_recency_and_frequency_on_the_last_month(trained, module):
    metrics = trained[module].metrics
    assert metrics["fallback"] is None
    assert metrics["roc_auc"] > 0.6
    assert metrics["log_loss"] < metrics["log_loss_rule"]
    assert metrics["brier_skill"] > 0


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_equal_arguments_give_equal_bytes_and_loading_gives_equal_scores(frames, trained, module):
    model = module.MODEL
    artefact = model.dump(trained[module].fitted)
    again = model.train(
        {name: frame.sample(frac=1, random_state=1) for name, frame in frames.items()}, AS_OF, settings_of(module), 1
    )
    assert model.dump(again.fitted) == artefact
    loaded = model.load(artefact)
    assert model.dump(loaded) == artefact
    pd.testing.assert_frame_equal(
        model.score(loaded, frames, AS_OF).rows, model.score(trained[module].fitted, frames, AS_OF).rows
    )


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_no_customer_stands_in_an_artefact(frames, trained, module):
    artefact = b"".join(module.MODEL.dump(trained[module].fitted).values())
    assert not any(customer.encode() in artefact for customer in frames["customer_emails"]["customer_id"].unique())


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_a_score_does_not_depend_on_who_else_is_in_the_batch(frames, trained, module):
    fitted = trained[module].fitted
    everybody = module.MODEL.score(fitted, frames, AS_OF).rows.set_index("customer_id")
    some = everybody.index[::97]
    batch = {name: frame[frame["customer_id"].isin(some)] for name, frame in frames.items()}
    alone = module.MODEL.score(fitted, batch, AS_OF).rows.set_index("customer_id")
    pd.testing.assert_frame_equal(alone, everybody.loc[some])


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_every_score_is_a_probability_with_a_reason_in_words(frames, trained, module):
    rows = module.MODEL.score(trained[module].fitted, frames, AS_OF).rows
    assert rows["score"].between(0, 1).all()
    assert rows["customer_id"].is_unique
    assert rows["reasons"].str.len().gt(0).all()
    assert rows["reasons"].str.count("; ").le(2).all()
    assert not rows["reasons"].str.contains("_|nan").any()


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_importance_adds_up_to_one_over_the_inputs(trained, module):
    fitted = trained[module].fitted
    assert set(module.MODEL.importance(fitted)) == set(fitted.inputs)
    assert sum(module.MODEL.importance(fitted).values()) == pytest.approx(1, abs=1e-4)


def test_the_measured_fit_has_not_seen_the_test_outcomes(frames, trained):
    """Taking orders of the last month away leaves what was foretold of it as it was."""
    test_cut = pd.Timestamp(AS_OF - timedelta(days=30))
    changed = dict(frames)
    late = (frames["customer_orders"]["ordered_at"] > test_cut) & (frames["customer_orders"]["customer_id"] > "c00020")
    changed["customer_orders"] = frames["customer_orders"][~late]
    new = purchase_propensity.MODEL.train(changed, AS_OF, settings_of(purchase_propensity), 1)
    old = trained[purchase_propensity].holdout
    pd.testing.assert_frame_equal(new.holdout[["customer_id", "prediction"]], old[["customer_id", "prediction"]])
    assert new.holdout["truth"].sum() < 0.2 * old["truth"].sum()


def test_the_holdout_of_a_version_is_about_the_same_customers_and_outcomes(frames, trained):
    model, result = purchase_propensity.MODEL, trained[purchase_propensity]
    served = model.holdout(result.fitted, frames, AS_OF)
    pd.testing.assert_frame_equal(served[["customer_id", "truth"]], result.holdout[["customer_id", "truth"]])
    assert model.quality(result.holdout) == pytest.approx(result.metrics["roc_auc"], abs=0.1)
    assert model.evaluate(result.fitted, frames, AS_OF)["test_rows"] == result.metrics["test_rows"]


def test_outcomes_are_known_once_the_horizon_has_passed(frames, trained):
    model, fitted = purchase_propensity.MODEL, trained[purchase_propensity].fitted
    assert model.outcomes(fitted, frames, AS_OF - timedelta(days=29), AS_OF) is None
    known = model.outcomes(fitted, frames, AS_OF - timedelta(days=30), AS_OF)
    after = frames["customer_orders"]["ordered_at"] > pd.Timestamp(AS_OF - timedelta(days=30))
    buyers = set(frames["customer_orders"].loc[after, "customer_id"])
    assert set(known.loc[known["truth"] == 1, "customer_id"]) == buyers & set(known["customer_id"])


def reads_ahead(frames, cut, *arguments):
    inputs = point_in_time_inputs(frames, cut, *arguments)
    return inputs.assign(planted=ordered(frames, cut, cut + timedelta(days=2), inputs.index))


def test_an_input_that_reads_past_its_cut_is_refused_by_name(frames):
    target = replace(purchase_propensity.TARGET, make_inputs=reads_ahead)
    with pytest.raises(LeakError) as raised:
        engine.train(target, frames, AS_OF, settings_of(purchase_propensity), 1)
    assert "the input planted knows the future" in str(raised.value)
    assert "c00" not in str(raised.value)


def test_an_outcome_that_was_joined_in_without_an_instant_is_refused_by_name(frames):
    def joined_in(some, cut, *arguments):
        inputs = point_in_time_inputs(some, cut, *arguments)
        return inputs.assign(planted=ordered(frames, cut, cut + timedelta(days=30), inputs.index))

    target = replace(purchase_propensity.TARGET, make_inputs=joined_in)
    with pytest.raises(LeakError) as raised:
        engine.train(target, frames, AS_OF, settings_of(purchase_propensity), 1)
    assert "the input planted alone foretells the outcome" in str(raised.value)


@pytest.mark.parametrize("horizon", [30, 90])
@pytest.mark.parametrize("number", range(1, 14))
def test_no_part_of_the_split_reaches_into_the_next(number, horizon):
    cuts = [AS_OF + timedelta(days=30 * place) for place in range(number)]
    split = snapshots.split(cuts, horizon)
    assert split.test
    for earlier, later in ((split.train, split.validation), (split.validation, split.test), (split.train, split.test)):
        if earlier and later:
            assert max(earlier) + timedelta(days=horizon) <= min(later)


def test_twenty_months_are_split_70_15_15():
    cuts = [AS_OF + timedelta(days=30 * place) for place in range(20)]
    assert [len(part) for part in vars(snapshots.split(cuts, 30)).values()] == [14, 3, 3]


@pytest.mark.parametrize(
    ("customers", "days", "words_of_fallback"),
    [
        (40, 330, "recency and frequency only"),
        (700, 100, "not tuned, not calibrated"),
        (700, 75, "recency and frequency only"),
        (700, 45, "recency and frequency only"),
    ],
)
def test_a_shop_with_little_data_gets_a_simpler_answer_that_says_so(customers, days, words_of_fallback):
    small = shop(customers=customers, days=days)
    model = purchase_propensity.MODEL
    result = model.train(small, AS_OF, settings_of(purchase_propensity), 1)
    assert words_of_fallback in result.metrics["fallback"]
    rows = model.score(model.load(model.dump(result.fitted)), small, AS_OF).rows
    assert len(rows) > 0
    assert rows["score"].between(0, 1).all()
    assert rows["reasons"].str.len().gt(0).all()


@pytest.mark.parametrize("module", MODELS, ids=lambda module: module.MODEL.name)
def test_an_empty_shop_trains_to_an_answer_about_nobody(module):
    empty = typed({})
    result = module.MODEL.train(empty, AS_OF, settings_of(module), 1)
    assert result.metrics["roc_auc"] is None
    assert result.holdout is None
    assert module.MODEL.score(result.fitted, empty, AS_OF).rows.empty


def test_a_shop_with_orders_only_learns_from_orders_only(frames):
    orders = {name: frame if name == "customer_orders" else frame.iloc[:0] for name, frame in frames.items()}
    result = purchase_propensity.MODEL.train(orders, AS_OF, settings_of(purchase_propensity), 1)
    assert result.metrics["fallback"] is None
    assert not any(name.startswith(("sessions", "emails", "distinct")) for name in result.fitted.inputs)


def test_only_active_customers_with_a_rhythm_within_the_horizon_can_churn(frames, trained):
    scored = churn_propensity.MODEL.score(trained[churn_propensity].fitted, frames, AS_OF).rows["customer_id"]
    inputs = point_in_time_inputs(frames, AS_OF).loc[scored]
    assert (inputs["days_since_last_order"] < 90).all()
    assert not (inputs["interval_days_mean"] > 90).any()


def test_who_got_no_e_mail_is_no_example_of_not_clicking(frames):
    cut, until = AS_OF - timedelta(days=30), AS_OF
    truth = clicked(frames, cut, until, pd.Index(["c00001", "nobody"]))
    assert truth[0] in (0.0, 1.0)
    assert np.isnan(truth[1])


def test_probabilities_come_true(frames, trained):
    metrics = trained[purchase_propensity].metrics
    assert 0.7 < metrics["calibration_slope"] < 1.4
    assert metrics["calibration_error"] < 0.08


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.kind)
def test_every_estimator_finds_the_driver_and_names_it_in_its_reasons(candidate):
    chance = np.random.default_rng(1)
    names = ("orders_30d", "sessions_30d", "days_since_last_email_opened")
    x = np.column_stack([chance.poisson(3, 3000), chance.poisson(3, 3000), chance.exponential(30, 3000)]).astype(float)
    x[::5, 2] = np.nan
    truth = (chance.random(3000) < 1 / (1 + np.exp(3 - 1.5 * x[:, 0]))).astype(float)
    fitted = candidate.fit(x, truth, candidate.defaults, 1)
    contributions = fitted.contributions(x)
    assert np.abs(contributions).mean(axis=0).argmax() == 0
    sure = np.abs(x[:, 0] - 3) >= 3
    spoken = words.reasons(names, x, contributions)[sure]
    assert np.mean([text.split("; ")[0].endswith("the last 30 days") and "order" in text for text in spoken]) > 0.95
    assert candidate.load(fitted.dump()).margin(x) == pytest.approx(fitted.margin(x))


@pytest.mark.parametrize("candidate", [Logistic, Boosting], ids=lambda candidate: candidate.kind)
def test_contributions_add_up_to_the_margin(candidate):
    chance = np.random.default_rng(2)
    x = chance.gamma(2, 3, (800, 4))
    x[::7, 1] = np.nan
    truth = (chance.random(800) < x[:, 0] / (x[:, 0] + 6)).astype(float)
    fitted = candidate.fit(x, truth, candidate.defaults, 1)
    rest = fitted.margin(x) - fitted.contributions(x).sum(axis=1)
    assert np.ptp(rest) < 1e-3


def test_a_forest_says_probabilities_of_its_leaves():
    chance = np.random.default_rng(3)
    x = chance.uniform(0, 1, (4000, 2))
    truth = (chance.random(4000) < 0.2 + 0.6 * (x[:, 0] > 0.5)).astype(float)
    margin = Forest.fit(x, truth, Forest.defaults, 1).margin(np.array([[0.2, 0.5], [0.8, 0.5]]))
    assert 1 / (1 + np.exp(-margin)) == pytest.approx([0.2, 0.8], abs=0.06)


def test_the_rule_without_data_ranks_the_recent_and_frequent_first():
    x = np.array([[2.0, 6.0], [2.0, 1.0], [200.0, 6.0], [np.nan, 0.0]])
    nobody = (np.empty((0, 2)), np.empty(0), 30)
    likely = RecencyFrequencyRule.fit(*nobody, rises=True).margin(x)
    silent = RecencyFrequencyRule.fit(*nobody, rises=False).margin(x)
    assert likely.argmax() == 0
    assert likely.argmin() == 3
    assert silent.argmin() == 0


def test_metrics_of_probabilities_that_are_true_are_those_of_a_calibrated_model():
    chance = np.random.default_rng(4)
    probability = chance.beta(1, 3, 60_000)
    truth = (chance.random(60_000) < probability).astype(float)
    found = measure.measure(truth, probability)
    assert found["calibration_slope"] == pytest.approx(1, abs=0.05)
    assert found["calibration_intercept"] == pytest.approx(0, abs=0.05)
    assert found["calibration_error"] < 0.01
    halved = measure.measure(truth, 1 / (1 + np.exp(-0.5 * np.log(probability / (1 - probability)))))
    assert halved["calibration_slope"] == pytest.approx(2, abs=0.1)


def test_lift_takes_ties_by_their_mean():
    truth = np.array([1.0, 0.0] * 50)
    assert measure.lift(truth, np.full(100, 0.3), 0.1) == pytest.approx(1)
    assert measure.lift(np.array([1.0] * 10 + [0.0] * 90), np.linspace(1, 0, 100), 0.1) == pytest.approx(10)


def test_words_say_one_and_none_and_never():
    assert words.phrases("orders_30d", np.array([0.0, 1.0, 4.0])).tolist() == [
        "no orders in the last 30 days",
        "1 order in the last 30 days",
        "4 orders in the last 30 days",
    ]
    assert words.phrases("days_since_last_order", np.array([np.nan, 0.4, 1.9, 12.0])).tolist() == [
        "never ordered",
        "last order less than a day ago",
        "last order 1 day ago",
        "last order 12 days ago",
    ]


def test_every_input_has_words_of_its_own():
    names = point_in_time_inputs(typed({}), AS_OF).columns
    unspoken = [name for name in names if name.replace("_", " ") in words.phrases(name, np.array([2.0]))[0]]
    assert set(unspoken) <= {"orders", "largest_order", "items_per_order"}


def test_reasons_push_the_way_that_the_score_goes():
    names = ("orders_30d", "spend_30d", "days_since_last_order", "sessions_7d", "emails_opened_30d")
    pushes = np.array([[0.9, 0.0, -0.2, 0.3, 0.1], [0.1, -0.4, -0.9, 0.0, 0.0]])
    spoken = words.reasons(names, np.full((2, 5), 3.0), pushes)
    assert (
        spoken[0] == "3 orders in the last 30 days; 3 visits in the last 7 days; 3 e-mails opened in the last 30 days"
    )
    assert spoken[1] == "last order 3 days ago; spent 3 in the last 30 days"


def test_the_rule_serves_where_no_model_ranks_better():
    """Two hundred customers who order by chance alone, with nothing but orders known: recency and frequency say all."""
    orders = {name: f if name == "customer_orders" else f.iloc[:0] for name, f in shop(customers=200, seed=6).items()}
    result = purchase_propensity.MODEL.train(orders, AS_OF, settings_of(purchase_propensity), 1)
    models = [result.metrics[f"cross_validated_roc_auc_{one.kind.replace(' ', '_')}"] for one in CANDIDATES]
    assert result.metrics["cross_validated_roc_auc_rule"] >= max(models)
    assert result.fitted.inputs == ("days_since_last_order", "order_days")
    assert "ranked as well as every model" in result.metrics["fallback"]


def test_a_slope_from_few_customers_leans_to_one_and_from_many_does_not():
    chance = np.random.default_rng(5)
    margin = chance.normal(0, 1, 60_000)
    truth = (chance.random(60_000) < 1 / (1 + np.exp(-0.5 * margin))).astype(float)
    few = measure.common_slope([(margin[:400], truth[:400])], 0.05)
    many = measure.common_slope([(margin, truth)], 0.05)
    assert measure.common_slope([(margin, truth)]) == pytest.approx(0.5, abs=0.03)
    assert 0.85 < few < 1
    assert many == pytest.approx(0.5, abs=0.06)
