"""What serves is watched: drift is named, labels judge, and a version below its guardrail gives way."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from model_rows import AS_OF, Place, simulate_orders, write_features

from ml import config, files, registry
from ml.config import Fairness, Monitoring
from ml.errors import NoChampion
from ml.monitor import fairness, is_degraded, reports, verdict, watch
from ml.score import score
from ml.train import is_due, train

MODEL = "purchase_propensity"
LATER = AS_OF + timedelta(days=31)


@pytest.fixture(scope="module")
def month(tmp_path_factory) -> Place:
    """A shop that trained and scored, and lives on for a month in which everybody behaves as before."""
    root = tmp_path_factory.mktemp("month")
    orders = simulate_orders(days=400)
    orders["ordered_at"] += timedelta(days=31)
    orders["order_date"] += timedelta(days=31)
    place = Place(root, write_features(root / "features", orders, AS_OF))
    write_features(root / "later", orders, LATER)
    train(MODEL, **place.arguments())
    score(MODEL, **place.scoring())
    return place


def watching(place: Place, **changes) -> dict:
    """What watch() is called with a month later."""
    wanted = ("registry", "registry_url")
    return {
        **{name: value for name, value in place.arguments().items() if name in wanted},
        "features": str(place.root / "later"),
        "as_of": LATER,
        "scores": place.scores,
    } | changes


def settings(place: Place, text: str) -> str:
    """models.yml with other monitoring for the model."""
    path = place.root / "models.yml"
    path.write_text(config.DEFAULT.read_text().replace("    guardrail: 0.55", text, 1))
    return str(path)


def test_labels_that_arrived_judge_the_scores_of_a_month_before(month):
    report = watch(MODEL, **watching(month))
    assert report["scored_as_of"] == AS_OF.isoformat()
    assert report["quality_lower"] < report["quality"] < report["quality_upper"]
    assert 0.6 < report["quality"] < 1
    assert report["labelled"] > 200
    assert report["verdict"] in ("fine", "retrain")
    assert reports(month.registry, MODEL, latest=1) == [report]


def test_the_same_day_watched_twice_is_one_report(month):
    first = watch(MODEL, **watching(month))
    assert watch(MODEL, **watching(month)) == first
    found = reports(month.registry, MODEL, latest=100)
    assert len([one for one in found if one["as_of"] == LATER.isoformat()]) == 1


def test_below_its_guardrail_a_version_gives_way_to_the_one_before(month, tmp_path):
    url = f"sqlite:///{tmp_path / 'aliases.sqlite'}"
    bad = registry.champion(MODEL, month.registry_url).model_version
    registry.promote(MODEL, "a" * 64, url, as_of=AS_OF - timedelta(days=30), reason="earlier", expected=None)
    registry.promote(MODEL, bad, url, as_of=AS_OF, reason="now", expected="a" * 64)
    strict = settings(month, "    guardrail: 0.999")
    report = watch(MODEL, **watching(month, registry_url=url, configuration=strict))
    assert report["verdict"] == "roll_back"
    assert "surely below 0.999" in report["reason"]
    assert registry.champion(MODEL, url).model_version == "a" * 64
    assert registry.history(url, MODEL)[-1].reason.startswith("guardrail: ")
    assert bad in registry.refused(MODEL, url)
    # What serves instead is older still: the next training is not put off for a month.
    assert is_degraded(month.registry, MODEL, AS_OF)


def test_without_a_version_before_it_a_bad_one_asks_to_be_trained_anew(month):
    strict = settings(month, "    guardrail: 0.999")
    report = watch(MODEL, **watching(month, configuration=strict))
    assert report["verdict"] == "retrain"
    assert "no version was promoted before it" in report["reason"]
    assert registry.champion(MODEL, month.registry_url).model_version == report["model_version"]
    assert is_degraded(month.registry, MODEL, AS_OF)
    assert not is_degraded(month.registry, MODEL, LATER)


def test_a_degraded_version_is_due_before_its_month_is_over(month):
    watch(MODEL, **watching(month, configuration=settings(month, "    guardrail: 0.999")))
    assert is_due(MODEL, LATER, month.registry, month.registry_url, every_days=365)
    watch(MODEL, **watching(month, configuration=settings(month, "    guardrail: 0.1\n    drifted_share: 1.0")))
    assert not is_due(MODEL, LATER, month.registry, month.registry_url, every_days=365)


def test_inputs_that_moved_are_named(month):
    """Everybody has ordered five days ago: what tells the last order has drifted, and is told by name."""
    folder = month.root / "moved"
    orders = simulate_orders(days=400)
    orders["ordered_at"] += timedelta(days=31)
    orders["order_date"] += timedelta(days=31)
    again = orders.drop_duplicates("customer_id").assign(ordered_at=pd.Timestamp(LATER) - timedelta(days=5))
    again["order_id"] = [f"o9{number:05d}" for number in range(len(again))]
    write_features(folder, pd.concat([orders, again], ignore_index=True), LATER)
    report = watch(MODEL, **watching(month, features=str(folder)))
    drifted = {one["column"]: one["psi"] for one in report["inputs"] if one["verdict"] == "drifted"}
    assert set(report["drifted"]) == set(drifted)
    assert any("since" in column or "recency" in column for column in drifted)
    assert min(drifted.values()) >= 0.25


def test_nothing_is_watched_where_nothing_serves(place):
    with pytest.raises(NoChampion):
        watch(MODEL, features=place.features, as_of=AS_OF, registry=place.registry, registry_url=place.registry_url,
              scores=place.scores)  # fmt: skip


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"drifted": [], "inputs": [{}] * 10, "score_psi": None}, "fine"),
        ({"drifted": ["a"] * 3, "inputs": [{}] * 10, "score_psi": None}, "retrain"),
        ({"drifted": ["a"] * 2, "inputs": [{}] * 10, "score_psi": 0.49}, "fine"),
        ({"drifted": [], "inputs": [], "score_psi": 0.5}, "retrain"),
        ({"drifted": [], "inputs": [], "quality": 0.5, "quality_upper": 0.59, "labelled": 9}, "roll_back"),
        ({"drifted": [], "inputs": [], "quality": 0.5, "quality_upper": 0.61, "labelled": 9}, "fine"),
    ],
)
def test_the_verdict_follows_the_bars(report, expected):
    assert verdict(report, Monitoring(guardrail=0.6))[0] == expected


def test_reports_and_references_hold_no_customer(month):
    watch(MODEL, **watching(month))
    customers = set(pq.read_table(month.root / "later" / "customer_features.parquet")["customer_id"].to_pylist())
    folder = f"{month.registry}/monitoring/{MODEL}"
    text = "".join(files.read_bytes(f"{folder}/{name}").decode() for name in files.names(folder))
    assert not any(customer in text for customer in customers)


def test_groups_are_judged_by_who_is_selected():
    customers = [f"c{number:04d}" for number in range(1_000)]
    country = np.where(np.arange(1_000) % 2 == 0, "GB", "DE")
    held = pd.DataFrame({"customer_id": customers, "truth": 0.0, "prediction": np.arange(1_000) / 1_000.0})
    groups = pd.DataFrame({"customer_id": customers, "country_code": country, "age_years": np.arange(1_000) % 80})
    settings = Fairness(groups=("country_code", "age_years"), bands={"age_years": (25, 45)})
    even = fairness(held, groups, settings, None)
    assert even["passes"]
    assert {(one["grouping"], one["group"]) for one in even["groups"]} == {
        ("country_code", "GB"), ("country_code", "DE"),
        ("age_years", "below 25"), ("age_years", "25 to 45"), ("age_years", "from 45"),
    }  # fmt: skip
    uneven = fairness(held.assign(prediction=held["prediction"] + (country == "GB")), groups, settings, None)
    assert not uneven["passes"]
    assert "country_code" in uneven["reason"]
