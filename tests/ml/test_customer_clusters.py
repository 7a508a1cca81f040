"""Clusters: planted groups are found and named, the same on every run, and nobody can be read out of them."""

import itertools
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
from ml.clustering.algorithms import ALGORITHMS
from ml.clustering.choose import Bars, Candidate, choose
from ml.clustering.fitted import typical
from ml.clustering.labels import Profile, name_clusters
from ml.clustering.matching import match
from ml.errors import FeatureError, RegistryError
from ml.models.customer_clusters import EVERYBODY, MODEL, Settings
from ml.registry import version_of

SETTINGS = config.configured("customer_clusters").settings.model_copy(update={"compare": False})
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


def train(features, seed=1, settings=SETTINGS, previous=None):
    return MODEL.train({"customer_features": features}, AS_OF, settings, seed, previous)


def score(fitted, features):
    return MODEL.score(fitted, {"customer_features": features}, AS_OF).rows


@pytest.fixture(scope="module")
def trained():
    return train(planted())


def test_planted_groups_are_recovered():
    settings = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    result = train(planted(), settings=settings)
    scored = score(result.fitted, planted())
    assert result.metrics["fallback"] is None
    assert adjusted_rand_score(group_of(scored), scored["tier"]) > 0.98


def test_no_cluster_mixes_planted_groups_when_there_are_more_of_them(trained):
    scored = score(trained.fitted, planted())
    assert trained.metrics["clusters"] >= len(GROUPS)
    assert homogeneity_score(group_of(scored), scored["tier"]) > 0.98


def test_names_say_what_distinguishes_the_groups(trained):
    scored = score(trained.fitted, planted())
    names = scored.groupby(group_of(scored))["tier"].agg(lambda tier: tier.mode()[0])
    assert names["loyal"].startswith("Loyal high spenders")
    assert names["lapsed"].startswith("Lapsed one-time buyers")
    assert names["new"].startswith("New one-time buyers")


def test_the_confidence_is_high_inside_and_low_between(trained):
    scored = score(trained.fitted, planted())
    assert scored["score"].between(0, 1).all()
    assert scored["score"].median() > 0.7
    between = pd.DataFrame(
        [("x", 90.0, 2, 130.0, 230.0)],
        columns=["customer_id", "recency_days", "frequency", "monetary", "tenure_days"],
    )
    unsure = score(trained.fitted, between)
    assert unsure["score"][0] < 0.5


def test_only_customers_with_an_order_are_clustered(trained):
    visitor = pd.DataFrame({"customer_id": ["visitor", "unknown"], "frequency": [0.0, None]})
    frame = pd.concat([planted(), visitor], ignore_index=True)
    scored = score(trained.fitted, frame)
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
        "settings = model.settings.model_copy(update={'compare': False})\n"
        "trained = model.spec.train(frames, None, settings, 1)\n"
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
    pd.testing.assert_frame_equal(
        score(kept, planted(seed=5)), score(trained.fitted, planted(seed=5)), check_exact=True
    )
    assert MODEL.dump(kept) == MODEL.dump(trained.fitted)


def test_the_artefact_knows_no_customer(trained):
    artefact = MODEL.dump(trained.fitted)
    content = b"".join(artefact.values())
    assert b"loyal-0" not in content
    assert b"lapsed-0" not in content
    twice = train(planted(each=180))
    assert sum(map(len, MODEL.dump(twice.fitted).values())) < 1.05 * len(content)


def test_an_artefact_with_a_foreign_type_is_not_loaded(trained):
    import skops.io

    artefact = dict(MODEL.dump(trained.fitted))
    artefact["preparation.skops"] = skops.io.dumps(subprocess.Popen)
    with pytest.raises(RegistryError, match="do not load it"):
        MODEL.load(artefact)


def test_missing_and_negative_values_are_survived():
    frame = planted()
    frame.loc[::7, "tenure_days"] = None
    frame.loc[::11, "monetary"] = -5.0
    frame["web_sessions_30d"] = np.nan
    result = train(frame)
    scored = score(result.fitted, frame)
    assert np.isfinite(scored["score"]).all()
    assert len(scored) == len(frame)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_shop_with_few_customers_has_one_cluster_and_says_so(count):
    frame = planted().head(count)
    result = train(frame)
    scored = score(result.fitted, frame)
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
    result = train(features_from(orders)[["customer_id", "recency_days", "frequency", "monetary", "tenure_days"]])
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


def lapsing(frame, days=30):
    """The same customers later: nobody ordered, and "new" ones are joined by newer ones."""
    later = frame.copy()
    later[["recency_days", "tenure_days"]] += days
    joined = frame[frame["customer_id"].str.startswith("new")].copy()
    joined["customer_id"] = "joined-" + joined["customer_id"]
    return pd.concat([later, joined], ignore_index=True)


def test_a_cluster_keeps_number_and_name_when_other_customers_are_drawn():
    few = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    first = train(planted(), settings=few)
    again = train(planted(seed=2).sample(frac=0.8, random_state=1), seed=5, settings=few, previous=first.fitted)
    assert again.metrics["continued"] == len(GROUPS)
    assert (again.fitted.numbers, again.fitted.labels) == (first.fitted.numbers, first.fitted.labels)
    both = score(first.fitted, planted()).merge(score(again.fitted, planted()), on="customer_id")
    assert (both["cluster_x"] == both["cluster_y"]).mean() > 0.98


def test_numbers_follow_the_clusters_when_the_best_spenders_leave():
    few = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    first = train(planted(), settings=few)
    names = score(first.fitted, planted()).groupby(group_of(score(first.fitted, planted())))["cluster"].agg("first")
    frame = planted()
    frame.loc[frame["customer_id"].str.startswith("regular"), "monetary"] *= 20  # now they spend most
    second = train(frame, settings=few, previous=first.fitted)
    after = score(second.fitted, frame).groupby(group_of(score(second.fitted, frame)))["cluster"].agg("first")
    assert after[["loyal", "lapsed", "new"]].tolist() == names[["loyal", "lapsed", "new"]].tolist()
    fresh = train(frame, settings=few)
    unmatched = score(fresh.fitted, frame).groupby(group_of(score(fresh.fitted, frame)))["cluster"].agg("first")
    assert unmatched["loyal"] != names["loyal"]


def test_a_number_is_never_given_to_another_cluster():
    few = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    without_new = planted()[~planted()["customer_id"].str.startswith("new")]
    first = train(without_new, settings=few.model_copy(update={"largest": 3}))
    second = train(planted(), settings=few, previous=first.fitted)
    assert first.fitted.numbers == (1, 2, 3)
    newest = score(second.fitted, planted())
    assert set(newest["cluster"][group_of(newest) == "new"]) == {4}
    gone = train(without_new, settings=few.model_copy(update={"largest": 3}), previous=second.fitted)
    assert set(gone.fitted.numbers) == {1, 2, 3}
    assert gone.fitted.next_number == 5
    nobody = train(planted().head(10), previous=gone.fitted)
    assert (nobody.fitted.numbers, nobody.fitted.next_number) == ((0,), 5)
    assert min(train(planted(), previous=nobody.fitted).fitted.numbers) == 5


def test_equal_data_and_equal_previous_give_equal_bytes(trained):
    later = lapsing(planted())
    one, other = (train(later.sample(frac=1, random_state=seed), previous=trained.fitted) for seed in (1, 2))
    assert MODEL.dump(one.fitted) == MODEL.dump(other.fitted)
    kept = train(later, previous=MODEL.load(MODEL.dump(trained.fitted)))
    assert MODEL.dump(kept.fitted) == MODEL.dump(one.fitted)


def test_a_version_with_other_inputs_is_continued_by_those_in_common():
    few = SETTINGS.model_copy(update={"largest": len(GROUPS)})
    first = train(planted(), settings=few)
    fewer = few.model_copy(update={"logarithm": ("recency_days", "frequency", "monetary")})
    second = train(planted().drop(columns="tenure_days"), settings=fewer, previous=first.fitted)
    third = train(planted().assign(orders_30d=1.0), settings=few, previous=second.fitted)
    for later in (second, third):
        assert later.metrics["continued"] == len(GROUPS)
        assert later.fitted.numbers == first.fitted.numbers
    other = Settings(largest=len(GROUPS), compare=False)
    strange = planted().rename(columns={"recency_days": "a", "monetary": "b", "tenure_days": "c"})
    strange["d"] = strange.pop("frequency")
    assert train(strange.assign(frequency=2), settings=other, previous=first.fitted).metrics["continued"] == 0


def test_a_typical_customer_of_a_cluster_is_in_the_units_of_the_inputs():
    fitted = train(planted(), settings=SETTINGS.model_copy(update={"largest": len(GROUPS)})).fitted
    found = typical(fitted).set_axis(list(fitted.labels))
    for label, group in {"Loyal high spenders": "loyal", "Lapsed one-time buyers": "lapsed"}.items():
        assert found.loc[label].tolist() == pytest.approx(list(GROUPS[group]), rel=0.1)


@given(st.permutations(range(6)), st.integers(0, 1000))
def test_matching_finds_every_cluster_again_in_any_order(order, seed):
    chance = np.random.default_rng(seed)
    before = np.array([[i, j] for i in (0, 10, 20) for j in (0, 10)], dtype=float)
    now = before[list(order)] + chance.uniform(-2, 2, (6, 2))
    assert match(now, before) == dict(enumerate(order))


def test_matching_leaves_alone_what_is_new_what_is_gone_and_what_is_far():
    before = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, -50.0]])
    assert match(np.array([[9.0, 0.0], [0.0, 30.0], [11.0, 1.0]]), before) == {0: 1}


def test_a_name_that_is_still_true_is_kept_and_one_that_is_not_is_changed():
    mild = Profile({"recency_days": 0.3, "frequency": -0.2, "monetary": 0.3, "tenure_days": 0.1}, is_one_time=False)
    assert name_clusters([mild]) == ["Typical buyers"]
    assert name_clusters([mild], {0: "High spenders"}) == ["High spenders"]
    assert name_clusters([mild], {0: "Low spenders"}) == ["Typical buyers"]
    assert name_clusters([mild], {0: "Lapsed one-time buyers"}) == ["Typical buyers"]
    strong = Profile({"monetary": 1.5}, is_one_time=False)
    assert name_clusters([strong], {0: "Typical buyers"}) == ["High spenders"]
    with_trait = {"monetary": 1.0, "recency_days": -0.4}
    old = Profile(with_trait, is_one_time=False)
    assert name_clusters([old], {0: "High spenders with a recent order"}) == ["High spenders with a recent order"]
    more_recent = Profile(with_trait | {"recency_days": -0.45, "frequency": 0.4}, is_one_time=False)
    names = name_clusters([old, more_recent], {0: "High spenders with a recent order"})
    assert names[0] != "High spenders with a recent order"


@given(st.lists(PROFILES, min_size=1, max_size=8), st.data())
def test_kept_names_never_make_two_alike(profiles, data):
    before = name_clusters(data.draw(st.lists(PROFILES, min_size=len(profiles), max_size=len(profiles))))
    some = data.draw(st.sets(st.integers(0, len(profiles) - 1)))
    names = name_clusters(profiles, {index: before[index] for index in some})
    assert len(set(names)) == len(profiles)


def test_reasons_say_what_draws_a_customer_to_the_cluster(trained):
    scored = score(trained.fitted, planted()).set_index("customer_id")
    lapsed = scored["reasons"][scored.index.str.startswith("lapsed")]
    assert lapsed.str.contains("has ordered once|has not ordered for longer").all()
    loyal = scored["reasons"][scored.index.str.startswith("loyal")]
    assert loyal.str.contains(r"spends more than (?:75|80|85|90|95) % of customers").mean() > 0.9
    assert not loyal.str.contains("spends less").any()
    assert scored["reasons"].str.count(";").max() <= 2


def test_the_share_in_a_reason_is_true(trained):
    frame = planted()
    scored = score(trained.fitted, frame).merge(frame, on="customer_id")
    told = scored["reasons"].str.extract(r"spends more than (\d+) % of customers")[0].dropna().astype(int)
    below = scored["monetary"].rank(pct=True, method="min").loc[told.index] - 1 / len(frame)
    assert len(told) > 100
    assert (100 * below >= told - 0.5).all()
    assert (100 * below < told + 5.5).all()


def test_an_answer_does_not_depend_on_who_else_is_asked_about(trained):
    whole = score(trained.fitted, planted()).set_index("customer_id")
    for customer in ("loyal-003", "new-042"):
        alone = score(trained.fitted, planted().query("customer_id == @customer")).set_index("customer_id")
        pd.testing.assert_frame_equal(alone, whole.loc[[customer]])


@pytest.mark.parametrize("algorithm", ["hierarchical", "hdbscan", "dbscan"])
def test_other_algorithms_find_the_planted_groups_behind_the_same_interface(algorithm):
    settings = SETTINGS.model_copy(update={"algorithm": algorithm, "largest": len(GROUPS), "smallest": len(GROUPS)})
    result = train(planted(), settings=settings)
    scored = score(MODEL.load(MODEL.dump(result.fitted)), planted())
    assert result.metrics["algorithm"] == algorithm
    assert homogeneity_score(group_of(scored), scored["tier"]) > 0.9
    assert MODEL.dump(train(planted().sample(frac=1, random_state=2), settings=settings).fitted) == MODEL.dump(
        result.fitted
    )


def test_algorithms_are_compared_on_the_same_sample():
    metrics = train(planted(each=60), settings=SETTINGS.model_copy(update={"compare": True})).metrics
    for algorithm in ALGORITHMS:
        assert -1 <= metrics[f"comparison_{algorithm}_silhouette"] <= 1
        assert metrics[f"comparison_{algorithm}_stability"] <= 1
        assert 0 <= metrics[f"comparison_{algorithm}_noise"] < 1
    assert metrics["comparison_kmeans_silhouette"] == pytest.approx(metrics["silhouette"], abs=0.02)
    assert metrics["comparison_kmeans_noise"] == 0
    assert metrics["comparison_customers"] == 240


def test_the_curves_start_at_two_and_the_elbow_falls(trained):
    assert set(trained.curves) == {"elbow", "silhouette", "stability"}
    elbow = next(iter(trained.curves["elbow"].lines.values()))
    assert [x for x, _ in elbow] == [2, 3, 4, 5, 6, 7, 8]
    assert all(later < earlier for (_, earlier), (_, later) in itertools.pairwise(elbow))


def test_the_weights_of_the_inputs_add_up_and_a_constant_has_none():
    result = train(planted().assign(constant=7.0))
    weights = MODEL.importance(result.fitted)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["constant"] == pytest.approx(0)
    assert list(MODEL.inputs(result.fitted, {"customer_features": planted().assign(constant=7.0)}, AS_OF)) == [
        "customer_id",
        *weights,
    ]
