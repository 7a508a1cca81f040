"""Lifetime value: better than carrying on as before, honest about too little data, the same on every run."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from model_rows import AS_OF, simulate_orders
from pydantic import ValidationError

from ml.models.customer_lifetime_value import MODEL, Settings
from ml.spec import Tiers

SETTINGS = Settings()
PLAIN = {"purchase_model": "bg_nbd", "spend_model": "gamma_gamma", "spend_observations": "every"}


def frames(orders):
    return {"customer_orders": orders}


def rows(fitted, orders):
    return MODEL.score(fitted, frames(orders), AS_OF).rows


@pytest.fixture(scope="module")
def orders():
    return simulate_orders(customers=1200, seed=21)


@pytest.fixture(scope="module")
def trained(orders):
    return MODEL.train(frames(orders), AS_OF, SETTINGS, 1)


@pytest.fixture(scope="module")
def clockwork():
    """Orders of customers who buy by the clock until they leave: a missed one says more than Poisson knows."""
    chance = np.random.default_rng(8)
    found = []
    for number in range(900):
        interval, day = chance.uniform(12, 40), chance.uniform(0, 200)
        while day < 365:
            amount = float(chance.gamma(4.0, 8.0)) + 1
            found.append((f"k{number:05d}", AS_OF - timedelta(days=365 - day), amount))
            if chance.random() < 0.12:
                break
            day += interval * chance.uniform(0.9, 1.1)
    data = pd.DataFrame(found, columns=["customer_id", "ordered_at", "net_amount"])
    data["ordered_at"] = pd.to_datetime(data["ordered_at"], utc=True)
    return data.assign(order_date=data["ordered_at"].dt.tz_localize(None).dt.normalize())


@pytest.fixture(scope="module")
def learned(clockwork):
    """A model whose trees have a weight."""
    return MODEL.train(frames(clockwork), AS_OF, Settings(horizon_days=60, holdout_days=60), 1)


def test_the_holdout_beats_going_on_as_before(trained):
    metrics = trained.metrics
    assert metrics["purchase_model"] in ("bg_nbd", "pareto_nbd")
    assert metrics["fallback"] is None
    assert metrics["holdout_purchases_rmse"] < metrics["holdout_purchases_rmse_naive"]
    assert metrics["holdout_value_rmse"] < metrics["holdout_value_rmse_naive"]
    assert metrics["holdout_rank_correlation"] > metrics["holdout_rank_correlation_naive"]
    assert 0.8 < metrics["holdout_value_calibration"] < 1.25


def test_the_measurement_never_sees_the_held_out_days(orders, trained):
    cut = pd.Timestamp(AS_OF - timedelta(days=90)).tz_localize(None)
    changed = orders.copy()
    changed.loc[changed["order_date"] > cut, "net_amount"] *= 1000
    metrics = MODEL.train(frames(changed), AS_OF, SETTINGS, 1).metrics
    ratio = trained.metrics["holdout_value_calibration"] / metrics["holdout_value_calibration"]
    assert ratio == pytest.approx(1000)
    assert metrics["holdout_purchases_mae"] == trained.metrics["holdout_purchases_mae"]


def test_tiers_are_the_configured_shares(trained):
    assert MODEL.tiers(trained.fitted) == Tiers({"high": 0.2, "medium": 0.3}, rest="low")


def test_every_customer_with_an_order_has_one_finite_score(orders, trained):
    scored = rows(trained.fitted, orders)
    assert sorted(scored["customer_id"]) == sorted(orders["customer_id"].unique())
    assert np.isfinite(scored["score"]).all()
    assert (scored["score"] >= 0).all()


def test_a_longer_horizon_is_worth_more(orders):
    scores = [
        rows(MODEL.train(frames(orders), AS_OF, Settings(horizon_days=days, **PLAIN), 1).fitted, orders)
        for days in (30, 90)
    ]
    assert (scores[1]["score"] >= scores[0]["score"]).all()


def test_equal_data_gives_equal_bytes_in_any_row_order(orders, trained):
    again = MODEL.train(frames(orders.sample(frac=1, random_state=4)), AS_OF, SETTINGS, 1)
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    assert again.metrics == trained.metrics


def test_another_currency_scales_the_scores(orders, trained):
    pounds = rows(trained.fitted, orders)
    pence_orders = orders.assign(net_amount=orders["net_amount"] * 100)
    pence = rows(MODEL.train(frames(pence_orders), AS_OF, SETTINGS, 1).fitted, pence_orders)
    for column in ("score", "expected_value_365d", "expected_value_365d_high"):
        assert pence[column].to_numpy() == pytest.approx(pounds[column].to_numpy() * 100, rel=1e-3, abs=1e-3)
    assert pence["expected_orders_90d"].to_numpy() == pytest.approx(pounds["expected_orders_90d"].to_numpy(), rel=1e-6)


def test_what_was_kept_scores_as_what_was_fitted(orders, trained):
    artefact = MODEL.dump(trained.fitted)
    kept = MODEL.load(artefact)
    one, other = (rows(model, orders) for model in (kept, trained.fitted))
    assert one["score"].to_numpy() == pytest.approx(other["score"].to_numpy(), rel=1e-6)
    assert MODEL.dump(kept) == artefact


def test_the_artefact_knows_no_customer(orders, trained):
    content = b"".join(MODEL.dump(trained.fitted).values())
    assert not any(customer.encode() in content for customer in orders["customer_id"].unique())


@pytest.mark.parametrize("customers", [0, 3, 40])
def test_a_shop_with_little_data_falls_back_and_says_so(customers):
    few = simulate_orders(customers=customers, seed=2)
    result = MODEL.train(frames(few), AS_OF, SETTINGS, 1)
    scored = rows(result.fitted, few)
    assert result.metrics["purchase_model"] == "pooled_rate"
    assert "at least 50 are needed" in result.metrics["fallback"]
    assert len(scored) == few["customer_id"].nunique()
    assert np.isfinite(scored["score"]).all()
    assert MODEL.dump(MODEL.load(MODEL.dump(result.fitted))) == MODEL.dump(result.fitted)


def test_a_history_too_short_to_hold_out_is_reported_not_measured():
    short = simulate_orders(customers=400, days=120)
    metrics = MODEL.train(frames(short), AS_OF, SETTINGS, 1).metrics
    assert metrics["holdout_rank_correlation"] is None
    assert "at least 135 are needed to hold out 90" in metrics["holdout_missing"]


@pytest.mark.parametrize("days", [30, 90, 365])
def test_expectations_lie_in_their_order_and_intervals_around_what_is_likely(orders, trained, days):
    scored = rows(trained.fitted, orders)
    for what in ("orders", "value"):
        low, high = scored[f"expected_{what}_{days}d_low"], scored[f"expected_{what}_{days}d_high"]
        assert (low >= 0).all()
        assert (low <= high).all()
        assert (low <= scored[f"expected_{what}_{days}d"]).all()
    assert scored["probability_alive"].between(0, 1).all()


def test_longer_horizons_expect_more(orders, trained):
    scored = rows(trained.fitted, orders)
    for what in ("orders", "value"):
        for suffix in ("", "_high"):
            short, middle, long = (scored[f"expected_{what}_{days}d{suffix}"] for days in (30, 90, 365))
            assert (short <= middle + 1e-9).all()
            assert (middle <= long + 1e-9).all()


def test_the_score_is_the_value_of_its_horizon(orders, trained):
    scored = rows(trained.fitted, orders)
    assert scored["score"].to_numpy() == pytest.approx(scored["expected_value_90d"].to_numpy())


def test_intervals_hold_on_the_days_held_out(trained):
    metrics = trained.metrics
    assert 0.8 <= metrics["holdout_interval_coverage"] <= 0.97
    assert 0.03 <= metrics["holdout_interval_above"] <= 0.15


def test_a_customer_is_scored_the_same_whoever_else_is_there(clockwork, learned):
    few = clockwork[clockwork["customer_id"].isin(clockwork["customer_id"].unique()[5:60])]
    alone = rows(learned.fitted, few)
    together = rows(learned.fitted, clockwork)
    together = together[together["customer_id"].isin(alone["customer_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together)


def test_reasons_say_what_sets_a_customer_apart(orders, trained):
    scored = rows(trained.fitted, orders).set_index("customer_id")
    best, worst = (scored["score"].nlargest(100).index, scored["score"].nsmallest(100).index)
    assert scored["reasons"].str.split("; ").map(len).max() <= 3
    assert (scored["reasons"] != "").all()
    high, low = scored.loc[best, "reasons"], scored.loc[worst, "reasons"]
    assert high.str.contains("bought [0-9]+ times|spends above average").mean() > 0.9
    assert low.str.contains("bought once|last order|spends below average").mean() > 0.9
    times = orders.groupby("customer_id")["order_date"].nunique()
    said = scored["reasons"].str.extract(r"bought (\d+) times")[0].dropna().astype(int)
    assert (said == times[said.index]).all()
    last = (pd.Timestamp(AS_OF.date()) - orders.groupby("customer_id")["order_date"].max()).dt.days
    said = scored["reasons"].str.extract(r"last order (\d+) days")[0].dropna().astype(int)
    assert len(said) > 50
    assert (said == last[said.index]).all()


def test_trees_serve_only_where_they_have_proved_better(orders, trained):
    """Orders by the story of the probability model leave nothing to learn."""
    assert trained.fitted.booster is None
    assert trained.fitted.weight == 0
    assert "not better than the probability model" in trained.metrics["boosted_missing"]


def test_trees_learn_what_the_probability_model_cannot(clockwork, learned):
    alone = learned.holdout.assign(prediction=learned.holdout["prediction_probability"])
    assert learned.fitted.weight > 0
    assert learned.metrics["holdout_boosted_weight"] > 0
    assert MODEL.quality(learned.holdout) > MODEL.quality(alone) + 0.01
    assert any("recent orders" in text for text in rows(learned.fitted, clockwork)["reasons"])


def test_trees_are_kept_whole_and_in_equal_bytes(clockwork, learned):
    artefact = MODEL.dump(learned.fitted)
    again = MODEL.train(
        frames(clockwork.sample(frac=1, random_state=3)), AS_OF, Settings(horizon_days=60, holdout_days=60), 1
    )
    assert set(artefact) == {"parameters.json", "booster.ubj"}
    assert MODEL.dump(again.fitted) == artefact
    kept = MODEL.load(artefact)
    assert MODEL.dump(kept) == artefact
    one, other = rows(kept, clockwork), rows(learned.fitted, clockwork)
    assert one["score"].to_numpy() == pytest.approx(other["score"].to_numpy(), rel=1e-6)


def test_outcomes_are_known_once_the_horizon_has_passed(orders, trained):
    scored_as_of = AS_OF - timedelta(days=100)
    assert MODEL.outcomes(trained.fitted, frames(orders), scored_as_of, scored_as_of + timedelta(days=89)) is None
    truth = MODEL.outcomes(trained.fitted, frames(orders), scored_as_of, AS_OF)
    days = orders["order_date"].dt.date
    start, end = scored_as_of.date(), (scored_as_of + timedelta(days=90)).date()
    assert set(truth["customer_id"]) == set(orders.loc[days <= start, "customer_id"])
    spent = orders[(days > start) & (days <= end) & orders["customer_id"].isin(truth["customer_id"])]
    assert truth["truth"].sum() == pytest.approx(spent["net_amount"].sum())
    assert (truth["truth"] == 0).any()


def test_quality_asks_for_the_ranking_and_for_the_level(trained):
    held_out = trained.holdout
    quality = MODEL.quality(held_out)
    assert quality == trained.metrics["holdout_quality"]
    assert 0 < quality < 1
    assert MODEL.quality(held_out.assign(prediction=held_out["prediction"] * 3)) < quality
    shuffled = held_out["prediction"].sample(frac=1, random_state=1).to_numpy()
    assert MODEL.quality(held_out.assign(prediction=shuffled)) < quality
    assert MODEL.quality(held_out.assign(prediction=held_out["truth"].mean())) == pytest.approx(0)
    assert MODEL.quality(held_out.assign(truth=0.0)) is None


def test_the_holdout_of_a_version_is_todays_outcomes(orders, trained):
    held_out = MODEL.holdout(trained.fitted, frames(orders), AS_OF)
    assert held_out[["customer_id", "truth"]].equals(trained.holdout[["customer_id", "truth"]])
    metrics = MODEL.evaluate(trained.fitted, frames(orders), AS_OF)
    assert metrics["holdout_quality"] == MODEL.quality(held_out)


def test_inputs_and_importance_name_what_the_model_reads(orders, trained):
    inputs = MODEL.inputs(trained.fitted, frames(orders), AS_OF)
    importance = MODEL.importance(trained.fitted)
    assert inputs["customer_id"].is_unique
    assert inputs.drop(columns="customer_id").dtypes.map(lambda kind: kind.kind == "f").all()
    assert sum(importance.values()) == pytest.approx(1)
    assert set(importance) <= {"purchases", "recency", "mean_spend", *inputs.columns}


def test_curves_end_where_everybody_is_counted(trained):
    assert set(trained.curves) == {"calibration", "captured_revenue", "tracking"}
    for line in trained.curves["captured_revenue"].lines.values():
        assert line[0] == (0, 0)
        assert line[-1] == (1, pytest.approx(1))
    assert len(trained.curves["calibration"].lines["model"]) == 10


def test_shares_without_room_for_the_rest_are_refused():
    with pytest.raises(ValidationError, match="must stay below 1"):
        Settings(high_share=0.6, medium_share=0.4)


def test_online_retail_is_fitted_on_the_boundary_and_says_so(online_retail_orders):
    result = MODEL.train(frames(online_retail_orders), AS_OF, SETTINGS, 1)
    scored = rows(result.fitted, online_retail_orders)
    assert result.metrics["purchase_boundary"] == "a -> 0"
    assert result.metrics["purchase_converged"] is True
    assert result.metrics["holdout_rank_correlation"] > result.metrics["holdout_rank_correlation_naive"]
    assert 0.8 < result.metrics["holdout_purchases_calibration"] < 1.2
    assert len(scored) == online_retail_orders["customer_id"].nunique()


def test_cdnow_39_weeks_ahead(cdnow_orders):
    """Three quarters held out: counts a fifth closer than each customer's own rate, revenue within a fifth."""
    as_of = datetime(1998, 6, 30, tzinfo=UTC)
    settings = Settings(holdout_days=273, horizon_days=273)
    metrics = MODEL.train(frames(cdnow_orders), as_of, settings, 1).metrics
    assert metrics["holdout_customers"] == 2357
    assert metrics["holdout_purchases_mae"] < 0.8 * metrics["holdout_purchases_mae_naive"]
    assert metrics["holdout_value_rmse"] < metrics["holdout_value_rmse_naive"]
    assert metrics["holdout_value_calibration"] == pytest.approx(1, abs=0.2)
