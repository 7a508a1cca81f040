"""Fairness: a gap beyond doubt blocks, one that may be chance does not, and small groups are not shown."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import monitor
from ml.config import Fairness
from ml.fairness import OTHER, UNKNOWN, FairnessGate, auc, calibration, merged, negative_mae, report

GATE = FairnessGate(maximum_quality_gap=0.1)


def selected(rates, each):
    """Groups with exactly these selection rates."""
    rows = [
        (f"{group}-{number}", group, number < round(rate * each))
        for group, rate in rates.items()
        for number in range(each)
    ]
    return pd.DataFrame(rows, columns=["customer_id", "country", "selected"])


def predicted(noise, each=1500, seed=1):
    """Groups whose predictions are the truth under that much noise."""
    chance = np.random.default_rng(seed)
    parts = []
    for group, level in noise.items():
        truth = chance.random(each) < 0.3
        guess = truth + chance.normal(0, level, each)
        parts.append(pd.DataFrame({"device": group, "truth": truth, "prediction": guess}))
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(customer_id=[f"c{number:05d}" for number in frame.index], selected=frame.index % 5 == 0)


def test_a_group_that_is_selected_much_less_blocks():
    found = report(selected({"GB": 0.3, "DE": 0.15, "FR": 0.29}, each=1000), ["country"], GATE)
    assert not found.passes
    assert "country: DE is selected 0.50 times as often as GB, 0.8 is the least" in found.reason
    assert found.comparisons["selection_ratio"][0] == pytest.approx(0.5)


def test_the_same_gap_among_few_customers_does_not_block_but_is_said():
    found = report(selected({"GB": 0.3, "DE": 0.15}, each=60), ["country"], GATE)
    assert found.passes
    assert "undecided: may be chance" in found.reason
    assert found.comparisons["selection_ratio_upper"][0] > 0.8


def test_equal_rates_pass_and_say_nothing_is_wrong():
    found = report(selected({"GB": 0.2, "DE": 0.2}, each=500), ["country"], GATE)
    assert found.passes
    assert "every group reaches the bars" in found.reason


def test_nobody_selected_at_all_is_no_gap():
    assert report(selected({"GB": 0.0, "DE": 0.0}, each=500), ["country"], GATE).passes


def test_a_group_that_is_never_selected_blocks():
    assert not report(selected({"GB": 0.2, "DE": 0.0}, each=500), ["country"], GATE).passes


def test_chance_alone_hardly_ever_blocks():
    blocked = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        frame = selected(dict.fromkeys("ABCDEF", 0.5), each=100).assign(selected=chance.random(600) < 0.2)
        blocked += not report(frame, ["country"], GATE).passes
    assert blocked <= 10


def test_a_group_that_is_served_much_worse_blocks():
    found = report(predicted({"mobile": 0.2, "desktop": 2.0}), ["device"], GATE, auc)
    assert not found.passes
    assert "device: quality" in found.reason
    by_group = found.groups.set_index("group")["quality"]
    assert by_group["mobile"] > 0.95 > by_group["desktop"]
    assert report(predicted({"mobile": 0.5, "desktop": 0.5}), ["device"], GATE, auc).passes


def test_a_worse_group_of_few_customers_is_undecided():
    found = report(predicted({"mobile": 0.5, "desktop": 0.9}, each=60, seed=2), ["device"], GATE, auc)
    assert found.comparisons["quality_gap"][0] > 0.1
    assert found.passes
    assert "undecided" in found.reason


def test_groups_below_the_minimum_are_not_shown():
    values = pd.Series(["GB"] * 100 + ["DE"] * 60 + ["FR"] * 30 + ["VA"] * 25 + [None] * 5)
    assert merged(values, 50).value_counts().to_dict() == {"GB": 100, "DE": 60, OTHER: 60}


def test_a_single_small_group_takes_another_with_it_so_that_the_total_does_not_give_it_away():
    values = pd.Series(["GB"] * 100 + ["DE"] * 60 + ["VA"] * 3)
    assert merged(values, 50).value_counts().to_dict() == {"GB": 100, OTHER: 63}
    found = report(
        pd.DataFrame({"customer_id": range(163), "country": values, "selected": True}), ["country"], GATE
    ).as_json()
    assert "VA" not in json.dumps(found)


@given(st.lists(st.sampled_from(["GB", "DE", "FR", "VA", None]), max_size=300), st.integers(2, 60))
def test_no_group_that_is_shown_is_small_unless_all_are(values, minimum):
    sizes = merged(pd.Series(values, dtype=object), minimum).value_counts()
    assert all(size >= minimum for size in sizes) or list(sizes.index) == [OTHER]


def test_missing_values_are_a_group():
    assert set(merged(pd.Series(["GB"] * 60 + [None] * 60, dtype=object), 50)) == {"GB", UNKNOWN}


def test_those_of_whom_nothing_is_known_are_shown_and_not_compared():
    frame = selected({"GB": 0.2, "DE": 0.2, "none": 0.9}, each=400)
    frame["country"] = frame["country"].where(frame["country"] != "none")
    found = report(frame, ["country"], GATE)
    assert found.passes
    assert set(found.groups["group"]) == {"GB", "DE", UNKNOWN}
    assert found.comparisons["selection_ratio"].tolist() == [pytest.approx(1.0)]


def test_what_is_filled_in_counts_as_not_known():
    held = pd.DataFrame({"customer_id": range(800), "truth": 0.0, "prediction": np.arange(800.0)})
    groups = pd.DataFrame({"customer_id": range(800), "age_years": 40.0, "is_age_years_imputed": False})
    groups.loc[groups["customer_id"] % 2 == 0, "age_years"] = 70.0
    groups.loc[400:, ["age_years", "is_age_years_imputed"]] = [40.0, True]  # the best ones, all filled in alike
    settings = Fairness(groups=("age_years",), bands={"age_years": (25, 45, 65)}, minimum_group=50)
    found = monitor.fairness(held, groups, settings, None)
    assert found["passes"]
    assert {one["group"]: one["customers"] for one in found["groups"]} == {
        "25 to 45": 200,
        "from 65": 200,
        UNKNOWN: 400,
    }
    taken_as_true = monitor.fairness(held, groups.drop(columns="is_age_years_imputed"), settings, None)
    assert not taken_as_true["passes"]


def test_the_report_is_plain_json_in_any_row_order():
    frame = predicted({"mobile": 0.5, "desktop": 0.6}, each=200)
    found = report(frame, ["device"], GATE, auc).as_json()
    again = report(frame.sample(frac=1, random_state=4), ["device"], GATE, auc).as_json()
    assert json.dumps(found, allow_nan=False) == json.dumps(again)
    assert "c00001" not in json.dumps(found)


def test_a_customer_counted_twice_is_refused():
    frame = selected({"GB": 0.5}, each=100)
    with pytest.raises(ValueError, match="found 1 repeated"):
        report(pd.concat([frame, frame.head(1)]), ["country"], GATE)


def test_the_qualities_know_their_answers():
    rows = pd.DataFrame({"truth": [0.0, 0.0, 1.0, 1.0], "prediction": [0.1, 0.4, 0.35, 0.8]})
    assert auc(rows) == pytest.approx(0.75)
    assert calibration(rows) == pytest.approx(-abs(1.65 / 2 - 1))
    assert negative_mae(rows) == pytest.approx(-(0.1 + 0.4 + 0.65 + 0.2) / 4)
    assert auc(rows.head(2)) is None
    assert calibration(rows.head(2)) is None
