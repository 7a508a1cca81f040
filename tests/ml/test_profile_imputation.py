"""Imputation: gaps are filled where a model knows better than a statistic, and what is known stays as it is."""

import numpy as np
import pandas as pd
import pytest
from model_rows import AS_OF

from ml.imputation.columns import FIELDS, flag
from ml.models.profile_imputation import MODEL, Settings

SETTINGS = Settings()
GAP = 0.3


def people(count=1500, seed=1, gap=GAP):
    """Device goes with the share of mobile visits, time zone with the country, age with spend; category with nothing.

    The gaps are filled with a statistic, as the warehouse does; returns the frame and the truth.
    """
    chance = np.random.default_rng(seed)
    share = chance.beta(0.7, 0.7, count)
    country = chance.choice(["GB", "DE", "FR"], count, p=[0.6, 0.25, 0.15])
    spend = chance.gamma(2, 100, count)
    truth = pd.DataFrame(
        {
            "country_code": country,
            "time_zone": pd.Series(country).map({"GB": "Europe/London", "DE": "Europe/Berlin", "FR": "Europe/Paris"}),
            "loyalty_tier": np.where(spend > 250, "gold", "none"),
            "favourite_category": chance.choice(["Bags", "Toys", "Garden"], count),
            "preferred_device": np.where(share + chance.normal(0, 0.1, count) > 0.5, "mobile", "desktop"),
            "preferred_visit_hour": chance.choice([9, 20], count, p=[0.3, 0.7]),
            "age_years": np.rint(np.clip(20 + spend / 8 + chance.normal(0, 3, count), 18, 95)),
        }
    )
    frame = truth.copy()
    for field in FIELDS:
        missing = chance.random(count) < gap
        known = truth[field][~missing]
        frame.loc[missing, field] = known.median() if field == "age_years" else known.mode()[0]
        frame[flag(field)] = missing
    frame = frame.assign(
        customer_id=[f"person-{number:05d}" for number in range(count)],
        mobile_session_share=share,
        monetary=spend,
        as_of=pd.Timestamp(AS_OF),
    )
    return frame, truth


def train(frame, settings=SETTINGS):
    return MODEL.train({"customer_features": frame}, AS_OF, settings, 1)


def scored(fitted, frame):
    return MODEL.score(fitted, {"customer_features": frame}, AS_OF).rows


@pytest.fixture(scope="module")
def trained():
    return train(people()[0])


def test_a_field_that_others_tell_of_is_predicted_better_than_its_statistic(trained):
    metrics = trained.metrics
    for field in ("preferred_device", "loyalty_tier"):
        assert metrics[f"{field}_used"]
        assert metrics[f"{field}_accuracy"] > metrics[f"{field}_accuracy_statistic"] + 0.1
    assert metrics["age_years_used"]
    assert metrics["age_years_mae"] < 0.5 * metrics["age_years_mae_statistic"]


@pytest.mark.parametrize("field", ["favourite_category", "preferred_visit_hour"])
def test_a_field_that_nothing_tells_of_is_left_to_the_statistic(trained, field):
    assert trained.metrics[f"{field}_used"] is False
    rows = scored(trained.fitted, people()[0])
    assert rows[field].isna().all()
    assert rows[f"{field}_probability"].isna().all()


def test_the_time_zone_of_a_country_needs_no_model(trained):
    """The warehouse's statistic within the country is as good, so the model is not used."""
    metrics = trained.metrics
    assert metrics["time_zone_accuracy_statistic"] > 0.65
    overall = train(people()[0], Settings(within={})).metrics
    assert overall["time_zone_used"]
    assert overall["time_zone_accuracy_statistic"] < metrics["time_zone_accuracy_statistic"]


def test_predictions_are_right_for_people_whose_value_was_never_seen(trained):
    frame, truth = people()
    rows = scored(trained.fitted, frame)
    gap = frame["is_preferred_device_imputed"]
    right = (rows["preferred_device"][gap] == truth["preferred_device"][gap]).mean()
    assert right == pytest.approx(trained.metrics["preferred_device_accuracy"], abs=0.05)
    assert rows["preferred_device_probability"][gap].mean() == pytest.approx(right, abs=0.07)
    gap = frame["is_age_years_imputed"]
    error = (rows["age_years"][gap] - truth["age_years"][gap]).abs().mean()
    assert error == pytest.approx(rows["age_years_error"][gap].iloc[0], rel=0.2)


def test_a_known_value_is_never_touched_and_the_flag_stays(trained):
    frame, _ = people()
    rows = scored(trained.fitted, frame)
    for field in FIELDS:
        assert rows[flag(field)].tolist() == frame[flag(field)].tolist()
        assert rows[field][~frame[flag(field)]].isna().all()


def test_what_a_statistic_filled_in_teaches_nothing():
    frame, _ = people()
    other = frame.copy()
    for field in FIELDS:
        other.loc[other[flag(field)], field] = 99 if field in ("age_years", "preferred_visit_hour") else "Nonsense"
    assert MODEL.dump(train(other).fitted) == MODEL.dump(train(frame).fitted)


def test_the_score_is_the_confidence_over_the_gaps(trained):
    frame, _ = people()
    rows = scored(trained.fitted, frame)
    gaps = frame[[flag(field) for field in FIELDS]]
    assert (rows["score"][gaps.sum(axis=1) == 0] == 1).all()
    assert (rows["tier"] == "known").tolist() == (gaps.sum(axis=1) == 0).tolist()
    only_device = gaps["is_preferred_device_imputed"] & (gaps.sum(axis=1) == 1)
    assert (rows["tier"][only_device] == "imputed").all()
    assert np.allclose(rows["score"][only_device], rows["preferred_device_probability"][only_device])
    assert rows["reasons"][only_device].str.contains("preferred device: (?:mobile|desktop), .* sure").all()
    only_hour = gaps["is_preferred_visit_hour_imputed"] & (gaps.sum(axis=1) == 1)
    assert (rows["tier"][only_hour] == "unknown").all()
    assert (rows["score"][only_hour] == 0).all()


def test_a_customer_gets_the_same_answer_in_any_company(trained):
    frame, _ = people()
    whole = scored(trained.fitted, frame)
    alone = pd.concat([scored(trained.fitted, frame.iloc[[row]]) for row in (3, 700, 42)])
    expected = whole.iloc[[3, 700, 42]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), expected, check_dtype=False)


def test_equal_data_in_any_order_gives_equal_bytes_that_come_back(trained):
    frame, _ = people()
    artefact = MODEL.dump(trained.fitted)
    assert MODEL.dump(train(frame.sample(frac=1, random_state=3)).fitted) == artefact
    kept = MODEL.load(artefact)
    assert MODEL.dump(kept) == artefact
    pd.testing.assert_frame_equal(scored(kept, frame), scored(trained.fitted, frame))
    assert b"person-0" not in b"".join(artefact.values())


def test_a_value_that_few_share_is_not_in_the_artefact():
    frame, _ = people()
    rare = frame.index[~frame["is_country_code_imputed"]][:5]
    frame.loc[rare, "country_code"] = "VA"
    artefact = MODEL.dump(train(frame).fitted)
    assert b"VA" not in artefact["imputation.json"]


@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_small_shop_imputes_nothing_and_says_so(count):
    frame = people(count=100)[0].head(count)
    result = train(frame)
    assert result.metrics["fields_used"] == 0
    assert "nothing is imputed" in result.metrics["fallback"]
    assert len(scored(result.fitted, frame)) == count


def test_the_weights_point_at_what_tells(trained):
    weights = MODEL.importance(trained.fitted)
    assert sum(weights.values()) == pytest.approx(1)
    assert {"monetary", "mobile_session_share"} == set(sorted(weights, key=weights.get)[-2:])


def test_the_accuracy_is_that_of_people_with_the_gap_not_of_those_who_show_all():
    """Without a visit there is no preferred device, and no share of mobile visits to tell it from."""
    frame, _ = people()
    gap = frame["is_preferred_device_imputed"]
    blind = frame.assign(mobile_session_share=frame["mobile_session_share"].where(~gap))
    metrics = train(blind).metrics
    assert metrics["preferred_device_used"] is False
    assert metrics["preferred_device_accuracy"] < 0.65
    zero = frame.assign(mobile_session_share=(1 + frame["mobile_session_share"]).where(~gap, 0.0))
    assert train(zero).metrics["preferred_device_used"] is False


def test_an_input_that_only_people_with_a_rare_value_have_does_not_stop_the_training():
    """Online Retail beside a shop: visits are known of the shop's people alone."""
    frame, _ = people(count=900)
    rare = np.arange(len(frame)) < 15
    frame.loc[rare, "country_code"] = [f"X{number % 5}" for number in range(15)]
    frame.loc[rare, flag("country_code")] = False
    frame["mobile_session_share"] = frame["mobile_session_share"].where(rare | frame[flag("country_code")])
    assert train(frame).metrics["country_code_used"] in (True, False)
