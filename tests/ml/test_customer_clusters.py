"""Clusters: planted groups are found and named, the same on every run, and nobody can be read out of them."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import AS_OF, features_from
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from ml import config
from ml.clustering.choose import Bars, Candidate, choose
from ml.clustering.labels import Profile, name_clusters
from ml.errors import FeatureError, RegistryError
from ml.models.customer_clusters import EVERYBODY, MODEL
from ml.registry import version_of

SETTINGS = config.configured("customer_clusters").settings
GROUPS = {
    "loyal": (5, 30, 3000, 350),
    "lapsed": (200, 1, 40, 210),
    "new": (8, 1, 60, 9),
    "regular": (40, 6, 400, 250),
}


def planted(seed=1, each=90):
    chance = np.random.default_rng(seed)
    rows = []
    for group, centre in GROUPS.items():
        noise = np.exp(chance.normal(0, 0.12, (each, 4)))
        for number, row in enumerate(np.array(centre) * noise):
            frequency = max(1, round(row[1]))
            rows.append((f"{group}-{number:03d}", row[0], frequency, row[2], max(row[3], row[0])))
    columns = ["customer_id", "recency_days", "frequency", "monetary", "tenure_days"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=seed).reset_index(drop=True)


def group_of(scored):
    return scored["customer_id"].str.split("-").str[0]


def train(features, seed=1, settings=SETTINGS):
    return MODEL.train({"customer_features": features}, AS_OF, settings, seed)


@pytest.fixture(scope="module")
def trained():
    return train(planted())


def test_planted_groups_are_recovered():
    settings = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    result = train(planted(), settings=settings)
    scored = MODEL.score(result.fitted, {"customer_features": planted()}, AS_OF)
    assert result.metrics["fallback"] is None
    assert adjusted_rand_score(group_of(scored), scored["tier"]) > 0.98


def test_no_cluster_mixes_planted_groups_when_there_are_more_of_them(trained):
    scored = MODEL.score(trained.fitted, {"customer_features": planted()}, AS_OF)
    assert trained.metrics["clusters"] >= len(GROUPS)
    assert homogeneity_score(group_of(scored), scored["tier"]) > 0.98


def test_names_say_what_distinguishes_the_groups(trained):
    scored = MODEL.score(trained.fitted, {"customer_features": planted()}, AS_OF)
    names = scored.groupby(group_of(scored))["tier"].agg(lambda tier: tier.mode()[0])
    assert names["loyal"].startswith("Loyal high spenders")
    assert names["lapsed"].startswith("Lapsed one-time buyers")
    assert names["new"].startswith("New one-time buyers")


def test_the_confidence_is_high_inside_and_low_between(trained):
    scored = MODEL.score(trained.fitted, {"customer_features": planted()}, AS_OF)
    assert scored["score"].between(0, 1).all()
    assert scored["score"].median() > 0.7
    between = pd.DataFrame(
        [("x", 90.0, 2, 130.0, 230.0)],
        columns=["customer_id", "recency_days", "frequency", "monetary", "tenure_days"],
    )
    unsure = MODEL.score(trained.fitted, {"customer_features": between}, AS_OF)
    assert unsure["score"][0] < 0.5


def test_only_customers_with_an_order_are_clustered(trained):
    visitor = pd.DataFrame({"customer_id": ["visitor", "unknown"], "frequency": [0.0, None]})
    frame = pd.concat([planted(), visitor], ignore_index=True)
    scored = MODEL.score(trained.fitted, {"customer_features": frame}, AS_OF)
    assert not {"visitor", "unknown"} & set(scored["customer_id"])
    assert MODEL.dump(train(frame).fitted) == MODEL.dump(trained.fitted)


def test_equal_data_and_seed_give_equal_bytes_in_any_row_order(trained):
    again = train(planted().sample(frac=1, random_state=9))
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    assert again.metrics == trained.metrics


def test_another_process_with_another_hash_seed_gives_equal_bytes(trained, tmp_path):
    planted().to_parquet(tmp_path / "planted.parquet")
    script = (
        "import sys, pandas as pd\n"
        "from ml import config, registry\n"
        "model = config.configured('customer_clusters')\n"
        "frames = {'customer_features': pd.read_parquet(sys.argv[1])}\n"
        "trained = model.spec.train(frames, None, model.settings, 1)\n"
        "sys.stdout.write(registry.version_of(model.spec.dump(trained.fitted)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "planted.parquet")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert run.stdout == version_of(MODEL.dump(trained.fitted))


def test_what_was_kept_scores_as_what_was_fitted(trained):
    kept = MODEL.load(MODEL.dump(trained.fitted))
    frames = {"customer_features": planted(seed=5)}
    pd.testing.assert_frame_equal(
        MODEL.score(kept, frames, AS_OF), MODEL.score(trained.fitted, frames, AS_OF), check_exact=True
    )
    assert MODEL.dump(kept) == MODEL.dump(trained.fitted)


def test_the_artefact_knows_no_customer(trained):
    artefact = MODEL.dump(trained.fitted)
    content = b"".join(artefact.values())
    assert b"loyal-0" not in content
    assert b"lapsed-0" not in content
    assert len(trained.fitted.pipeline["cluster"].labels_) == 0
    twice = train(planted(each=180))
    assert sum(map(len, MODEL.dump(twice.fitted).values())) < 1.05 * len(content)


def test_an_artefact_with_a_foreign_type_is_not_loaded(trained):
    import skops.io

    artefact = dict(MODEL.dump(trained.fitted))
    artefact["pipeline.skops"] = skops.io.dumps(subprocess.Popen)
    with pytest.raises(RegistryError, match="do not load it"):
        MODEL.load(artefact)


def test_missing_and_negative_values_are_survived():
    frame = planted()
    frame.loc[::7, "tenure_days"] = None
    frame.loc[::11, "monetary"] = -5.0
    frame["web_sessions_30d"] = np.nan
    result = train(frame)
    scored = MODEL.score(result.fitted, {"customer_features": frame}, AS_OF)
    assert np.isfinite(scored["score"]).all()
    assert len(scored) == len(frame)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_shop_with_few_customers_has_one_cluster_and_says_so(count):
    frame = planted().head(count)
    result = train(frame)
    scored = MODEL.score(result.fitted, {"customer_features": frame}, AS_OF)
    assert result.metrics["clusters"] == 1
    assert f"{count} customers with an order, 100 are needed" in result.metrics["fallback"]
    assert set(scored["tier"]) <= {EVERYBODY}
    assert (scored["score"] == 1).all()
    assert len(scored) == count


def test_customers_who_hardly_differ_are_one_cluster():
    frame = planted()
    frame[["recency_days", "frequency", "monetary", "tenure_days"]] = [10, 1, 50, 10]
    result = train(frame)
    assert result.metrics["clusters"] == 1
    assert "hardly differ" in result.metrics["fallback"]


def test_a_logarithm_of_a_column_that_is_no_input_is_refused():
    settings = SETTINGS.model_copy(update={"logarithm": ("shoe_size",)})
    with pytest.raises(FeatureError, match=r"settings\.logarithm: shoe_size is no input"):
        train(planted(), settings=settings)


def test_the_choice_is_the_largest_number_that_passes():
    bars = Bars(silhouette=0.3, stability=0.8, share=0.04)
    tried = [
        Candidate(3, 0.5, 0.95, 0.2),
        Candidate(4, 0.4, 0.85, 0.1),
        Candidate(5, 0.45, 0.79, 0.1),
        Candidate(6, 0.29, 0.9, 0.1),
        Candidate(7, 0.4, 0.9, 0.03),
    ]
    best, reason = choose(tried, bars)
    assert best.clusters == 4
    assert reason is None
    best, reason = choose(tried[2:], bars)
    assert best.clusters == 5
    assert "no number of clusters reaches" in reason


def test_online_retail_gets_more_than_the_two_clusters_that_silhouette_alone_picks(online_retail_orders):
    orders = online_retail_orders.assign(ordered_at=online_retail_orders["ordered_at"].dt.tz_localize("UTC"))
    result = train(features_from(orders).drop(columns="as_of"))
    assert result.metrics["fallback"] is None
    assert result.metrics["clusters"] >= 4
    assert result.metrics["silhouette"] >= 0.30
    assert result.metrics["stability"] >= 0.80
    assert result.metrics["smallest_share"] >= 0.04
    assert "Loyal high spenders" in result.fitted.labels
    assert "Lapsed one-time buyers" in result.fitted.labels


FEATURES = ("recency_days", "frequency", "monetary", "tenure_days", "shoe_size")
PROFILES = st.builds(
    Profile,
    z=st.fixed_dictionaries({feature: st.sampled_from([-2.0, -0.6, 0.0, 0.6, 2.0]) for feature in FEATURES}),
    is_one_time=st.booleans(),
)


@given(st.lists(PROFILES, min_size=1, max_size=8))
def test_names_are_unique_and_readable_whatever_the_clusters(profiles):
    names = name_clusters(profiles)
    assert len(set(names)) == len(profiles)
    assert all(name[0].isupper() and len(name) <= 90 and "_" not in name for name in names)


def test_clusters_of_one_name_are_told_apart_by_what_differs_most():
    calm = {"recency_days": 0.0, "frequency": 0.0, "monetary": 0.0}
    names = name_clusters(
        [
            Profile({**calm, "average_order_value": 0.4}, is_one_time=False),
            Profile({**calm, "average_order_value": -0.4}, is_one_time=False),
        ]
    )
    assert names == ["Typical buyers with large baskets", "Typical buyers with small baskets"]


def test_an_existing_version_is_measured_on_new_customers(trained):
    metrics = MODEL.evaluate(trained.fitted, {"customer_features": planted(seed=8)}, AS_OF)
    assert metrics["silhouette"] == pytest.approx(trained.metrics["silhouette"], abs=0.1)
    assert metrics["smallest_share"] == pytest.approx(trained.metrics["smallest_share"], abs=0.05)
