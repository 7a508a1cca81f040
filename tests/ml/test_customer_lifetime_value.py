"""Lifetime value: better than carrying on as before, honest about too little data, the same on every run."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from model_rows import AS_OF, simulate_orders
from pydantic import ValidationError

from ml.models.customer_lifetime_value import MODEL, Settings

SETTINGS = Settings()


def frames(orders):
    return {"customer_orders": orders}


@pytest.fixture(scope="module")
def orders():
    return simulate_orders(customers=1200, seed=21)


@pytest.fixture(scope="module")
def trained(orders):
    return MODEL.train(frames(orders), AS_OF, SETTINGS, 1)


def test_the_holdout_beats_going_on_as_before(trained):
    metrics = trained.metrics
    assert metrics["purchase_model"] == "bg_nbd"
    assert metrics["spend_model"] == "gamma_gamma"
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


def test_tiers_are_the_configured_shares_from_the_top(orders, trained):
    scored = MODEL.score(trained.fitted, frames(orders), AS_OF)
    share = scored["tier"].value_counts(normalize=True)
    assert share["high"] == pytest.approx(0.2, abs=0.001)
    assert share["medium"] == pytest.approx(0.3, abs=0.001)
    assert scored.loc[scored["tier"] == "high", "score"].min() >= scored.loc[scored["tier"] == "medium", "score"].max()
    assert scored.loc[scored["tier"] == "medium", "score"].min() >= scored.loc[scored["tier"] == "low", "score"].max()


def test_every_customer_with_an_order_has_one_finite_score(orders, trained):
    scored = MODEL.score(trained.fitted, frames(orders), AS_OF)
    assert sorted(scored["customer_id"]) == sorted(orders["customer_id"].unique())
    assert np.isfinite(scored["score"]).all()
    assert (scored["score"] >= 0).all()


def test_a_longer_horizon_is_worth_more(orders):
    scores = [
        MODEL.score(MODEL.train(frames(orders), AS_OF, Settings(horizon_days=days), 1).fitted, frames(orders), AS_OF)
        for days in (30, 90)
    ]
    assert (scores[1]["score"] >= scores[0]["score"]).all()


def test_equal_data_gives_equal_bytes_in_any_row_order_and_with_any_seed(orders, trained):
    again = MODEL.train(frames(orders.sample(frac=1, random_state=4)), AS_OF, SETTINGS, 99)
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    assert again.metrics == trained.metrics


def test_another_currency_scales_the_scores_and_keeps_the_tiers(orders, trained):
    pounds = MODEL.score(trained.fitted, frames(orders), AS_OF)
    pence_orders = orders.assign(net_amount=orders["net_amount"] * 100)
    pence = MODEL.score(MODEL.train(frames(pence_orders), AS_OF, SETTINGS, 1).fitted, frames(pence_orders), AS_OF)
    assert pence["score"].to_numpy() == pytest.approx(pounds["score"].to_numpy() * 100, rel=1e-3)
    assert (pence["tier"] == pounds["tier"]).mean() > 0.995


def test_what_was_kept_scores_as_what_was_fitted(orders, trained):
    artefact = MODEL.dump(trained.fitted)
    kept = MODEL.load(artefact)
    one, other = (MODEL.score(model, frames(orders), AS_OF) for model in (kept, trained.fitted))
    assert one["score"].to_numpy() == pytest.approx(other["score"].to_numpy(), rel=1e-6)
    assert MODEL.dump(kept) == artefact


def test_the_artefact_knows_no_customer(orders, trained):
    content = b"".join(MODEL.dump(trained.fitted).values()).decode()
    assert not any(customer in content for customer in orders["customer_id"].unique())


@pytest.mark.parametrize("customers", [0, 3, 40])
def test_a_shop_with_little_data_falls_back_and_says_so(customers):
    few = simulate_orders(customers=customers, seed=2)
    result = MODEL.train(frames(few), AS_OF, SETTINGS, 1)
    scored = MODEL.score(result.fitted, frames(few), AS_OF)
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


def test_shares_without_room_for_the_rest_are_refused():
    with pytest.raises(ValidationError, match="must stay below 1"):
        Settings(high_share=0.6, medium_share=0.4)


def test_online_retail_is_fitted_on_the_boundary_and_says_so(online_retail_orders):
    result = MODEL.train(frames(online_retail_orders), AS_OF, SETTINGS, 1)
    scored = MODEL.score(result.fitted, frames(online_retail_orders), AS_OF)
    assert result.metrics["purchase_boundary"] == "a -> 0"
    assert result.metrics["purchase_converged"] is True
    assert result.metrics["holdout_rank_correlation"] > result.metrics["holdout_rank_correlation_naive"]
    assert 0.8 < result.metrics["holdout_purchases_calibration"] < 1.2
    assert len(scored) == online_retail_orders["customer_id"].nunique()


def test_cdnow_39_weeks_ahead(cdnow_orders):
    """Two quarters held out: counts a fifth closer than each customer's own rate, revenue within a sixth."""
    as_of = datetime(1998, 6, 30, tzinfo=UTC)
    settings = Settings(holdout_days=273, horizon_days=273)
    metrics = MODEL.train(frames(cdnow_orders), as_of, settings, 1).metrics
    assert metrics["holdout_customers"] == 2357
    assert metrics["holdout_purchases_mae"] < 0.8 * metrics["holdout_purchases_mae_naive"]
    assert metrics["holdout_value_rmse"] < metrics["holdout_value_rmse_naive"]
    assert metrics["holdout_value_calibration"] == pytest.approx(1, abs=0.2)
