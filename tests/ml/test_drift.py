"""Drift: known answers, no false alarm from few customers, and a reference that holds no row."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from ml.drift import Reference, drift, psi, reference_of


def shop(count=4000, seed=1, shift=0.0, mobile=0.5, missing=0.1):
    chance = np.random.default_rng(seed)
    spend = np.exp(chance.normal(4 + shift, 1, count))
    spend[chance.random(count) < missing] = np.nan
    return pd.DataFrame(
        {
            "customer_id": [f"secret-{number}" for number in range(count)],
            "spend": spend,
            "orders": chance.poisson(2, count),
            "device": np.where(chance.random(count) < mobile, "mobile", "desktop"),
            "tenure_days": chance.integers(0, 1000, count),
        }
    )


def verdicts(found):
    return {one.column: one.verdict for one in found}


def test_the_index_of_a_worked_example():
    assert psi([0.5, 0.5], [0.4, 0.6]) == pytest.approx(0.1 * np.log(1.25) + 0.1 * np.log(1.2))
    assert psi([0.2, 0.8], [0.2, 0.8]) == 0
    assert psi([0.5, 0.5], [0.9, 0.1]) == pytest.approx(psi([0.9, 0.1], [0.5, 0.5]))


def test_the_same_shop_a_month_later_is_stable():
    found = drift(reference_of(shop()), shop(seed=2))
    assert set(verdicts(found).values()) == {"stable"}
    assert all(one.psi < 0.02 for one in found)


def test_what_has_moved_is_named_and_what_has_not_is_not():
    found = drift(reference_of(shop()), shop(seed=2, shift=0.8, mobile=0.68))
    assert verdicts(found) == {"spend": "drifted", "device": "moderate", "orders": "stable"}
    assert found[0].column == "spend"


def test_values_that_go_missing_are_drift():
    found = drift(reference_of(shop()), shop(seed=2, missing=0.5))
    assert verdicts(found)["spend"] == "drifted"
    gone = drift(reference_of(shop()), shop(seed=2).drop(columns="spend"))
    assert verdicts(gone)["spend"] == "drifted"


def test_a_level_never_seen_before_is_drift():
    now = shop(seed=2)
    now.loc[::2, "device"] = "watch"
    assert verdicts(drift(reference_of(shop()), now))["device"] == "drifted"


def test_the_distance_is_that_of_the_two_samples():
    then, now = shop(missing=0), shop(seed=2, shift=0.3, missing=0)
    found = {one.column: one for one in drift(reference_of(then), now)}["spend"]
    exact = ks_2samp(then["spend"], now["spend"])
    assert exact.statistic - 0.011 <= found.ks <= exact.statistic
    assert found.ks_p_value < 1e-6
    found = {one.column: one for one in drift(reference_of(then), now)}["orders"]
    assert found.ks == pytest.approx(ks_2samp(then["orders"], now["orders"]).statistic, abs=0.005)


def test_a_few_customers_raise_no_alarm_by_chance():
    reference = reference_of(shop(missing=0))
    alarms = [
        one.verdict
        for seed in range(100)
        for one in drift(reference, shop(count=60, seed=1000 + seed, missing=0))
        if one.verdict != "stable"
    ]
    assert len(alarms) <= 12
    assert set(verdicts(drift(reference, shop(count=10))).values()) == {"too few"}


def test_what_moves_with_time_for_everybody_is_left_out():
    assert "tenure_days" not in reference_of(shop()).columns
    assert "spend" in reference_of(shop()).columns
    assert "spend" not in reference_of(shop(), excluded=("sp*",)).columns


def test_the_reference_survives_json_and_gives_the_same_answer():
    reference = reference_of(shop())
    kept = Reference.from_json(json.loads(json.dumps(reference.as_json(), allow_nan=False)))
    assert kept == reference
    assert drift(kept, shop(seed=3)) == drift(reference, shop(seed=3))


def test_the_reference_holds_no_row_and_no_small_group():
    frame = shop(missing=0)
    frame.loc[0, "device"] = "unique-device"
    frame.loc[1, "spend"] = 987654.0
    frame.loc[2, "spend"] = 1e-7
    content = json.dumps(reference_of(frame).as_json())
    assert "unique-device" not in content
    assert "secret" not in content
    for column in reference_of(frame, minimum=50).columns.values():
        counts = np.array(column.shares) * column.customers
        assert ((counts > 49.5) | (counts == 0)).all()
        steps = np.diff([0, *column.cumulative, 1]) * column.known if column.knots else []
        assert all(step > 49.5 for step in steps)
        assert 987654 not in column.knots
        assert all(knot > 1e-3 or knot == 0 for knot in column.knots)


def test_a_column_that_hardly_anybody_has_is_not_kept():
    frame = shop().assign(rare=np.nan, flagged=True)
    frame.loc[:5, "rare"] = 1.0
    columns = reference_of(frame).columns
    assert "rare" not in columns
    assert columns["flagged"].levels == ("True", "(other)")
