"""Whom to mail, in the product: from campaigns that held readers back, to a tier with reasons, or an honest no."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ml.errors import FeatureError
from ml.frames import tiers
from ml.models.uplift import DO_NOT_MAIL, MAIL, MODEL, NO_EVIDENCE, Settings, quality
from ml.uplift.inputs import LONGEST, WORDS, inputs_at, ordered_within

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = Settings(learners=("two models, linear", "doubly robust, boosted"))
INSTANT = "datetime64[us, UTC]"


def shop(customers=2500, *, moved=0.25, alike=0.0, seed=0, campaigns=2):
    """Campaigns 20 and 48 days ago; they move customers who open e-mails (``moved``), or everybody (``alike``).

    Who opens no e-mails orders more without one, so that a model of orders prefers the wrong ones.
    """
    chance = np.random.default_rng(seed)
    names = np.array([f"c{number:05d}" for number in range(customers)])
    opens = chance.random(customers) < 0.4
    orders, emails, experiments = [], [], []
    for name, is_opener in zip(names, opens, strict=True):
        for _ in range(chance.poisson(2)):
            orders.append((name, AS_OF - timedelta(days=float(chance.uniform(70, 600)))))
        for week in range(9, 14):
            sent = AS_OF - timedelta(days=7 * week)
            opened = sent + timedelta(hours=3) if is_opener and chance.random() < 0.8 else None
            emails.append((name, sent, opened, None))
    for campaign in range(campaigns):
        at = AS_OF - timedelta(days=20 + 28 * campaign)
        for name, is_opener in zip(names, opens, strict=True):
            is_treated = chance.random() < 0.7
            experiments.append((name, f"campaign-{campaign}", "treated" if is_treated else "control", at))
            if chance.random() < 0.3 - 0.2 * is_opener + is_treated * (alike + moved * is_opener):
                orders.append((name, at + timedelta(days=float(chance.uniform(0.1, 13)))))
    return frames(names, orders, emails, experiments)


def scored(fitted, data):
    """Scores with their tiers, as everybody's are given out."""
    rows = MODEL.score(fitted, data, AS_OF).rows
    names = MODEL.tiers(fitted)
    return rows.assign(tier=tiers(rows["customer_id"], rows["score"], names.shares, names.rest))


def frames(names, orders=(), emails=(), experiments=(), sessions=()):
    order_frame = pd.DataFrame(list(orders), columns=["customer_id", "ordered_at"])
    order_frame = order_frame.assign(net_amount=45.0, gross_amount=50.0)
    found = {
        "customer_features": pd.DataFrame({"customer_id": list(names)}),
        "customer_orders": order_frame,
        "customer_emails": pd.DataFrame(list(emails), columns=["customer_id", "sent_at", "opened_at", "clicked_at"]),
        "customer_sessions": pd.DataFrame(list(sessions), columns=["customer_id", "started_at"]),
        "experiments": pd.DataFrame(list(experiments), columns=["customer_id", "experiment_id", "arm", "assigned_at"]),
    }
    for frame in found.values():
        for column in frame.columns[frame.columns.str.endswith("_at")]:
            frame[column] = pd.to_datetime(frame[column], utc=True).astype(INSTANT)
    return found


@pytest.fixture(scope="module")
def moved_shop():
    return shop()


@pytest.fixture(scope="module")
def trained(moved_shop):
    return MODEL.train(moved_shop, AS_OF, SETTINGS, 0)


def test_a_shop_whose_e_mails_move_openers_mails_the_openers(moved_shop, trained):
    assert trained.metrics["target"]
    assert trained.metrics["fallback"] is None
    assert trained.metrics["gain_over_recent_lower"] > 0
    assert trained.metrics["qini"] > max(0, trained.metrics["qini_response"])
    rows = scored(trained.fitted, moved_shop)
    assert set(rows["tier"]) == {MAIL, DO_NOT_MAIL}
    assert (rows["tier"] == MAIL).mean() == pytest.approx(0.3, abs=0.001)
    openers = set(moved_shop["customer_emails"].dropna(subset="opened_at")["customer_id"])
    assert rows.loc[rows["tier"] == MAIL, "customer_id"].isin(openers).mean() > 0.97
    assert rows.loc[rows["tier"] == MAIL, "reasons"].str.contains("opens in 90 days above average").mean() > 0.9
    assert np.isfinite(rows["score"]).all()
    assert MODEL.importance(trained.fitted)["opens_90"] == max(MODEL.importance(trained.fitted).values())
    assert sum(MODEL.importance(trained.fitted).values()) == pytest.approx(1)


def test_an_e_mail_that_works_alike_on_everybody_gives_everybody_the_same_score():
    data = shop(moved=0.0, alike=0.15, seed=2)
    found = MODEL.train(data, AS_OF, SETTINGS, 0)
    assert not found.metrics["target"]
    assert "mail everybody" in found.metrics["fallback"]
    assert found.metrics["served_gain"] == 0
    rows = scored(found.fitted, data)
    assert set(rows["tier"]) == {NO_EVIDENCE}
    assert rows["score"].nunique() == 1
    assert rows["score"].iloc[0] == pytest.approx(0.15, abs=0.04)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: frames(["a", "b"]), "no experiment on record"),
        (lambda: frames([]), "no experiment on record"),
        (lambda: shop(customers=60), "in the smaller arm"),
        (
            lambda: frames(["a"], experiments=[("a", "later", "treated", AS_OF - timedelta(days=3))]),
            "no experiment on record",
        ),
    ],
    ids=["none", "no customers", "too small", "outcome not known yet"],
)
def test_without_enough_of_an_experiment_nobody_is_targeted_and_the_metrics_say_why(data, words):
    data = data()
    found = MODEL.train(data, AS_OF, SETTINGS, 0)
    assert words in found.metrics["fallback"]
    assert found.metrics["target"] is False
    assert found.metrics["served_gain"] is None
    again = MODEL.load(MODEL.dump(found.fitted))
    rows = scored(again, data)
    assert sorted(rows["customer_id"]) == sorted(data["customer_features"]["customer_id"])
    assert (rows["tier"] == NO_EVIDENCE).all()
    assert (rows["score"] == 0).all()


def test_equal_frames_give_equal_artefacts_without_anybodys_id(moved_shop, trained):
    mixed = {name: frame.sample(frac=1, random_state=3) for name, frame in moved_shop.items()}
    again = MODEL.train(mixed, AS_OF, SETTINGS, 0)
    artefact = MODEL.dump(trained.fitted)
    assert MODEL.dump(again.fitted) == artefact
    assert again.metrics == trained.metrics
    assert not any(b"c00001" in content for content in artefact.values())
    assert MODEL.dump(MODEL.load(artefact)) == artefact


@pytest.mark.parametrize("learner", ["two models, linear", "X-learner, boosted", "class transformation"])
def test_a_version_that_was_kept_scores_as_it_did(moved_shop, learner):
    fitted = MODEL.train(moved_shop, AS_OF, Settings(learners=(learner,)), 0).fitted
    assert fitted.learned.name == learner
    kept = MODEL.load(MODEL.dump(fitted))
    pd.testing.assert_frame_equal(
        MODEL.score(kept, moved_shop, AS_OF).rows, MODEL.score(fitted, moved_shop, AS_OF).rows
    )


def test_what_is_said_of_a_customer_does_not_depend_on_who_else_is_scored(moved_shop, trained):
    whole = MODEL.score(trained.fitted, moved_shop, AS_OF).rows.set_index("customer_id")
    some = ["c00007", "c00100", "c02000"]
    batch = {name: frame[frame["customer_id"].isin(some)] for name, frame in moved_shop.items()}
    pd.testing.assert_frame_equal(
        MODEL.score(trained.fitted, batch, AS_OF).rows.set_index("customer_id"), whole.loc[some]
    )


def test_the_holdout_is_of_the_latest_campaign_and_quality_prefers_the_better_order(moved_shop, trained):
    held = trained.holdout
    assert len(held) == 2500
    assert quality(held) > 0
    assert quality(held.assign(prediction=-held["prediction"])) == pytest.approx(-quality(held))
    assert quality(held.assign(prediction=0.0)) == pytest.approx(0)
    measured = MODEL.evaluate(trained.fitted, moved_shop, AS_OF)
    assert measured["served_gain"] == pytest.approx(quality(MODEL.holdout(trained.fitted, moved_shop, AS_OF)) * 1000)
    pd.testing.assert_series_equal(MODEL.holdout(trained.fitted, moved_shop, AS_OF)["truth"], held["truth"])


def test_a_future_event_changes_no_input(moved_shop):
    at = AS_OF - timedelta(days=20)
    moments = pd.DataFrame({"customer_id": ["c00001", "c00002", "c00003"], "at": pd.Timestamp(at)})
    known = {
        "customer_orders": moved_shop["customer_orders"].query("ordered_at < @at"),
        "customer_emails": moved_shop["customer_emails"].query("sent_at < @at"),
        "customer_sessions": moved_shop["customer_sessions"],
    }
    pd.testing.assert_frame_equal(inputs_at(moments, moved_shop), inputs_at(moments, known))


def test_inputs_by_hand():
    def day(number, hour=0):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number, hours=hour)

    data = frames(
        ["a", "b"],
        orders=[("a", day(0)), ("a", day(20)), ("a", day(30)), ("z", day(1))],
        emails=[("a", day(5), day(29), None), ("a", day(10), day(31), None)],
        sessions=[("a", day(25)), ("a", day(2))],
    )
    moments = pd.DataFrame({"customer_id": ["b", "a", "a"], "at": pd.to_datetime([day(30), day(30), day(60)])})
    found = inputs_at(moments, data)
    assert list(found.columns) == list(WORDS)
    assert found.loc[0, ["days_since_order", "days_as_buyer", "orders_365"]].tolist() == [LONGEST, LONGEST, 0]
    assert found.loc[1, ["days_since_order", "days_as_buyer", "days_since_email"]].tolist() == [10, 30, 20]
    assert found.loc[1, "orders_365"] == pytest.approx(np.log(3))
    assert found.loc[1, "spend_365"] == pytest.approx(np.log(91))
    assert found.loc[1, "discount_365"] == pytest.approx(0.1)
    assert np.expm1(found.loc[1, ["emails_90", "opens_90", "visits_30"]].astype(float)).tolist() == pytest.approx(
        [2, 1, 2]
    )
    assert np.expm1(found.loc[2, ["opens_90", "visits_30"]].astype(float)).tolist() == pytest.approx([2, 0])
    assert ordered_within(moments, data["customer_orders"], 14).tolist() == [0, 1, 0]


def test_a_third_arm_is_refused(moved_shop):
    experiments = moved_shop["experiments"].assign(arm="perhaps")
    with pytest.raises(FeatureError, match=r"experiments\.arm: expected treated or control, found perhaps"):
        MODEL.train({**moved_shop, "experiments": experiments}, AS_OF, SETTINGS, 0)


def test_settings_know_the_learners_there_are():
    with pytest.raises(ValidationError, match="expected some of"):
        Settings(learners=("magic",))
