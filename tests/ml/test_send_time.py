"""The send-time model: everybody's own hour where it is known, everyone's where it is not, the lot logged."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mail_rows import AS_OF, of_customers, planted, shuffled, without_events

from ml.models.send_time import MODEL, Settings
from ml.send_time import readings

SETTINGS = Settings(holdout_days=28)


@pytest.fixture(scope="module")
def shop():
    return planted()


@pytest.fixture(scope="module")
def trained(shop):
    return MODEL.train(shop["frames"], AS_OF, SETTINGS, 1)


@pytest.fixture(scope="module")
def rows(shop, trained):
    return MODEL.score(trained.fitted, shop["frames"], AS_OF).rows


def test_everybody_gets_the_hour_at_which_they_read_in_their_own_zone(shop, rows):
    hour = rows["customer_id"].map(shop["hour"]).to_numpy()
    apart = np.minimum((rows["workday_hour"] - hour) % 24, (hour - rows["workday_hour"]) % 24)
    assert (apart <= 2).mean() > 0.97
    assert (rows["tier"] == "personal").mean() > 0.8
    evening = rows[(hour == 20) & (rows["tier"] == "personal")]
    assert evening["reasons"].str.startswith("usually reads in the evening").mean() > 0.95


def test_the_hold_out_is_told_better_than_by_everyones_hours_and_by_raw_histograms(trained):
    metrics = trained.metrics
    assert metrics["holdout_log_likelihood"] > metrics["holdout_log_likelihood_everyone"] + 0.2
    assert metrics["holdout_log_likelihood"] > metrics["holdout_log_likelihood_histogram"] + 0.2
    assert MODEL.quality(trained.holdout) == pytest.approx(metrics["holdout_log_likelihood"])
    assert trained.holdout["readings"].sum() == metrics["holdout_readings"]


def test_what_is_given_out_is_a_probability_a_propensity_and_an_instant(rows):
    assert rows["score"].between(0.01, 0.99).all()
    assert (rows["probability"] <= rows["score"] + 1e-9).all()
    assert rows["local_time"].tolist() == [f"{hour:02d}:00" for hour in rows["local_hour"]]
    best = np.where(rows["weekday"] >= 5, rows["weekend_hour"], rows["workday_hour"])
    expected = np.where(rows["local_hour"] == best, 0.9 + 0.1 / 24, 0.1 / 24)
    assert np.allclose(rows["propensity"], expected, atol=1e-8)
    assert (rows.loc[~rows["is_exploration"], "local_hour"] == best[~rows["is_exploration"]]).all()
    assert 0.02 < rows["is_exploration"].mean() < 0.2
    for _, row in rows.head(40).iterrows():
        shown = pd.Timestamp(row["send_at"]).tz_convert(row["time_zone"])
        assert (shown.hour, shown.day_of_week) == (row["local_hour"], row["weekday"])
        assert timedelta(0) < pd.Timestamp(row["send_at"]) - AS_OF <= timedelta(days=7)


def test_the_lot_is_drawn_anew_each_period(shop, trained, rows):
    later = MODEL.score(trained.fitted, shop["frames"], AS_OF + timedelta(days=7)).rows
    assert (later["is_exploration"] != rows["is_exploration"]).any()
    assert (later["workday_hour"] == rows["workday_hour"]).all()


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(shop, trained, rows, seed):
    again = MODEL.score(trained.fitted, shuffled(shop["frames"], seed), AS_OF).rows
    pd.testing.assert_frame_equal(again, rows)


def test_equal_frames_give_equal_artefacts_in_whatever_order(shop, trained):
    again = MODEL.train(shuffled(shop["frames"], 4), AS_OF, SETTINGS, 1)
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    assert again.metrics == trained.metrics


def test_a_customer_is_scored_alike_alone_and_among_others(shop, trained, rows):
    names = ["c0001", "c0042", "c0250"]
    few = MODEL.score(trained.fitted, of_customers(shop["frames"], names), AS_OF).rows
    pd.testing.assert_frame_equal(few, rows[rows["customer_id"].isin(names)].reset_index(drop=True))


def test_a_version_is_the_same_after_it_was_kept(shop, trained, rows):
    kept = MODEL.load(MODEL.dump(trained.fitted))
    assert MODEL.dump(kept) == MODEL.dump(trained.fitted)
    pd.testing.assert_frame_equal(MODEL.score(kept, shop["frames"], AS_OF).rows, rows)


def test_the_artefact_and_the_metrics_name_nobody(trained):
    content = b"".join(MODEL.dump(trained.fitted).values()).decode() + str(trained.metrics)
    assert "c0001" not in content


def test_the_end_of_the_history_is_not_seen_by_what_is_measured_on_it(shop):
    frames = shop["frames"]
    at = pd.Timestamp(AS_OF) - pd.Timedelta(days=28)
    cut = readings.cut(frames, at)
    assert cut["customer_emails"]["opened_at"].max() <= at
    assert cut["customer_sessions"]["started_at"].max() <= at
    assert frames["customer_emails"]["opened_at"].max() > at


def test_what_happens_after_as_of_changes_nothing(shop):
    """The frames of a later day, asked about an earlier one."""
    earlier = AS_OF - timedelta(days=40)
    frames = shop["frames"]
    then = readings.cut(frames, pd.Timestamp(earlier))
    now, before = MODEL.train(frames, earlier, SETTINGS, 1), MODEL.train(then, earlier, SETTINGS, 1)
    assert MODEL.dump(now.fitted) == MODEL.dump(before.fitted)
    assert now.metrics == before.metrics
    rows = MODEL.score(now.fitted, frames, earlier).rows
    pd.testing.assert_frame_equal(rows, MODEL.score(now.fitted, then, earlier).rows)


def test_with_few_readers_everybody_gets_one_hour_and_the_metrics_say_so(shop):
    few = of_customers(shop["frames"], [f"c{number:04d}" for number in range(20)])
    trained = MODEL.train(few, AS_OF, SETTINGS, 1)
    rows = MODEL.score(trained.fitted, few, AS_OF).rows
    assert "20 customers with two readings, 50 are needed" in trained.metrics["fallback"]
    assert rows["workday_hour"].nunique() == 1
    assert set(rows["tier"]) == {"everyone"}


def test_where_own_hours_did_not_come_true_everybody_gets_one_hour_and_the_metrics_say_so(shop):
    """In the last weeks those of the morning visit in the evening, and the other way round."""
    frames = without_events(shop["frames"])
    visits = shop["frames"]["customer_sessions"]
    is_late = visits["started_at"] > pd.Timestamp(AS_OF) - pd.Timedelta(days=28)
    turned = visits["started_at"] - pd.Timedelta(hours=12)
    frames["customer_sessions"] = visits.assign(started_at=visits["started_at"].where(~is_late, turned))
    trained = MODEL.train(frames, AS_OF, SETTINGS, 1)
    assert trained.metrics["fallback"].startswith("one hour for everybody: own hours gained -")
    assert trained.metrics["holdout_gain"] > -0.05
    assert MODEL.score(trained.fitted, frames, AS_OF).rows["workday_hour"].nunique() == 1


def test_a_shop_that_knows_nothing_mails_at_the_usual_hour(shop):
    frames = without_events(shop["frames"])
    trained = MODEL.train(frames, AS_OF, Settings(usual_hour=11), 1)
    rows = MODEL.score(trained.fitted, frames, AS_OF).rows
    assert set(rows["workday_hour"]) == {11}
    assert trained.holdout is None
    assert trained.metrics["holdout_log_likelihood"] is None


def test_nobody_to_score_is_no_error(shop, trained):
    assert MODEL.score(trained.fitted, of_customers(shop["frames"], []), AS_OF).rows.empty


def test_a_shop_with_orders_only_learns_from_them(shop):
    frames = without_events(shop["frames"])
    sessions = shop["frames"]["customer_sessions"]
    frames["customer_orders"] = sessions.rename(columns={"started_at": "ordered_at"}).assign(order_id="o")
    trained = MODEL.train(frames, AS_OF, SETTINGS, 1)
    rows = MODEL.score(trained.fitted, frames, AS_OF).rows
    hour = rows["customer_id"].map(shop["hour"])
    assert trained.metrics["fallback"] is None
    assert rows.loc[hour == 8, "workday_hour"].between(6, 10).mean() > 0.9


def test_visits_that_a_mail_caused_say_nothing_of_the_hour(shop):
    frames = dict(shop["frames"])
    mails = frames["customer_emails"].copy()
    mails["clicked_at"] = mails["opened_at"]
    caused = mails.dropna(subset="clicked_at")[["customer_id", "clicked_at"]].rename(
        columns={"clicked_at": "started_at"}
    )
    caused["started_at"] += pd.Timedelta(seconds=30)
    frames["customer_emails"] = mails
    who = readings.people(frames["customer_features"], readings.zones_of(frames["customer_features"]), ())
    before = readings.readings(frames, who)
    frames["customer_sessions"] = pd.concat([frames["customer_sessions"], caused], ignore_index=True)
    assert len(readings.readings(frames, who).hour) == len(before.hour)


def test_only_the_shops_days_are_recommended(shop):
    trained = MODEL.train(shop["frames"], AS_OF, Settings(days=(1, 3)), 1)
    assert set(MODEL.score(trained.fitted, shop["frames"], AS_OF).rows["weekday"]) <= {1, 3}


def test_outcomes_are_the_opens_since_and_wait_until_they_are_known(shop, trained):
    frames = shop["frames"]
    earlier = AS_OF - timedelta(days=42)
    assert MODEL.outcomes(trained.fitted, frames, AS_OF - timedelta(days=10), AS_OF) is None
    became = MODEL.outcomes(trained.fitted, frames, earlier, AS_OF)
    mails = frames["customer_emails"]
    one = mails[(mails["customer_id"] == "c0007") & (mails["delivered_at"] > earlier)]
    assert became.set_index("customer_id").loc["c0007", "truth"] == one["opened_at"].notna().mean()


def test_drift_is_watched_on_one_row_per_customer(shop, trained):
    watched = MODEL.inputs(trained.fitted, shop["frames"], AS_OF)
    assert watched["customer_id"].is_unique
    assert len(watched) == 300
    assert (watched["deliveries"] == 20).all()
