"""Training and scoring through files: the same again is nothing new, and nothing looks into the future."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from model_rows import AS_OF, Place, forget, simulate_orders, write_features

from ml import config, registry
from ml.errors import FeatureError, NobodyToScore, NoChampion, RegistryError
from ml.evaluate import evaluate
from ml.frames import EVENTS
from ml.score import COLUMNS, score
from ml.train import is_due, train

MODELS = config.model_names()
CLV = "customer_lifetime_value"


def state(folder):
    """Every file below a folder: its bytes and when it was last written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def later(place, days=40):
    """The same shop some days later, with other orders in between."""
    as_of = AS_OF + timedelta(days=days)
    orders = simulate_orders(customers=500, seed=8)
    orders["ordered_at"] = orders["ordered_at"] + timedelta(days=days)
    orders["order_date"] = orders["order_date"] + timedelta(days=days)
    return {
        "features": write_features(place.root / f"features-{days}", orders, as_of),
        "as_of": as_of,
        "features_version": f"v-{days}",
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_first_training_promotes_and_scores_every_customer(name, served, simulated_orders):
    trained = registry.trainings(served.registry_url, name)[0]
    scored = score(name, **served.scoring())
    table = pq.read_table(scored.uri)
    about = json.loads(Path(scored.uri).with_name("scores.json").read_text())
    customers = {*simulated_orders["customer_id"], "visitor"}
    assert trained.promoted
    assert scored.model_version == trained.model_version
    assert scored.changed
    assert scored.rows == table.num_rows == len(set(table["customer_id"].to_pylist())) == about["rows"]
    assert set(table["customer_id"].to_pylist()) <= customers
    assert tuple(table.column_names) == COLUMNS
    assert set(table["decile"].to_pylist()) == set(range(1, 11))
    assert set(table["as_of"].to_pylist()) == {AS_OF}
    assert scored.uri.endswith(f"scores/{name}/{trained.model_version}/20110701T000000Z/scores.parquet")
    assert {"model_name", "model_version", "as_of", "features_version", "rows", "content_hash"} <= set(about)
    assert [str(table.schema.field(column).type) for column in ("as_of", "score", "decile", "tier")] == [
        "timestamp[us, tz=UTC]",
        "double",
        "int32",
        "string",
    ]


# (That every model comes to the same version again: test_events_after_as_of_change_neither_model_nor_scores.)
@pytest.mark.parametrize("name", ["customer_clusters", CLV, "subject_lines"])
def test_the_same_training_again_is_the_same_version_and_changes_nothing(name, served):
    first = registry.champion(name, served.registry_url)
    artefacts = state(served.root / "registry" / "artefacts")
    log = registry.history(served.registry_url)
    second = train(name, **served.arguments())
    assert second.model_version == first.model_version
    assert not second.promoted
    assert second.reason == "the same version serves already"
    assert registry.history(served.registry_url) == log
    assert state(served.root / "registry" / "artefacts") == artefacts


@pytest.mark.parametrize("name", MODELS)
def test_scoring_again_leaves_the_files_untouched(name, served):
    first = score(name, **served.scoring())
    before = state(served.scores)
    second = score(name, **served.scoring(run_id="run-2", scored_at=AS_OF + timedelta(hours=1)))
    assert first.changed
    assert not second.changed
    assert state(served.scores) == before


def test_scores_cut_off_by_a_kill_are_written_again(served):
    uri = Path(score(CLV, **served.scoring()).uri)
    content = uri.read_bytes()
    record = uri.with_name("scores.json").read_bytes()
    uri.with_name("scores.json").unlink()
    assert score(CLV, **served.scoring()).changed
    uri.write_bytes(content[: len(content) // 2])
    assert score(CLV, **served.scoring()).changed
    assert uri.read_bytes() == content
    assert uri.with_name("scores.json").read_bytes() == record
    assert not list(uri.parent.glob("*.part"))


@pytest.mark.parametrize("name", MODELS)
def test_how_many_are_scored_at_a_time_makes_no_difference(name, served):
    assert score(name, **served.scoring()).changed
    assert not score(name, **served.scoring(batch=37)).changed


def test_without_a_champion_nothing_is_scored(place):
    with pytest.raises(NoChampion, match="no version serves"):
        score(CLV, **place.scoring())
    with pytest.raises(NoChampion, match="no version serves"):
        evaluate(CLV, **place.arguments_without("seed", "features_version"))
    assert not Path(place.scores).exists()


@pytest.mark.slow  # every model is trained twice
@pytest.mark.parametrize("name", MODELS)
def test_events_after_as_of_change_neither_model_nor_scores(name, place, simulated_orders, tmp_path):
    cut = AS_OF - timedelta(days=100)
    plain = Place(tmp_path / "plain", write_features(tmp_path / "plain" / "features", simulated_orders, cut))
    orders = simulated_orders.copy()
    full = Place(tmp_path / "full", write_features(tmp_path / "full" / "features", orders, cut))
    # The event files hold the whole history, the snapshots stay those of that day.
    write_features(tmp_path / "all", orders, AS_OF)
    for frame in EVENTS:
        (tmp_path / "all" / f"{frame}.parquet").replace(tmp_path / "full" / "features" / f"{frame}.parquet")
    versions = [train(name, **one.arguments(as_of=cut)).model_version for one in (plain, full)]
    assert versions[0] == versions[1], "another registry, and the future: the same version"
    uris = [score(name, **one.scoring(as_of=cut)).uri for one in (plain, full)]
    tables = [pq.read_table(uri) for uri in uris]
    assert tables[0].equals(tables[1])


def test_features_of_a_later_day_are_refused(place):
    with pytest.raises(FeatureError, match="must not see the future"):
        train("customer_clusters", **place.arguments(as_of=AS_OF - timedelta(days=1)))


def test_a_version_that_was_rolled_back_from_is_not_promoted_by_the_next_training(served):
    first = registry.champion(CLV, served.registry_url)
    second = train(CLV, **served.arguments(**later(served)))
    assert second.promoted
    registry.roll_back(CLV, served.registry_url)
    again = train(CLV, **served.arguments(**later(served)))
    assert again.model_version == second.model_version
    assert not again.promoted
    assert "rolled back from" in again.reason
    assert registry.champion(CLV, served.registry_url).model_version == first.model_version


def test_rolling_back_finds_the_old_scores_where_they_were(served):
    old = score(CLV, **served.scoring(**later(served)))
    train(CLV, **served.arguments(**later(served)))
    new = score(CLV, **served.scoring(**later(served)))
    registry.roll_back(CLV, served.registry_url)
    back = score(CLV, **served.scoring(**later(served)))
    assert new.model_version != old.model_version == back.model_version
    assert back.uri == old.uri
    assert not back.changed


def test_scores_that_fail_their_audit_are_not_written(served):
    before = state(served.scores)
    seen = []

    def refuse(batches):
        seen.extend(batches)
        raise ValueError("scores out of range")

    with pytest.raises(ValueError, match="out of range"):
        score(CLV, **served.scoring(audit=refuse))
    assert tuple(seen[0].columns) == COLUMNS
    assert state(served.scores) == before == {}
    score(CLV, **served.scoring())
    assert not score(CLV, **served.scoring(audit=refuse)).changed


def test_a_training_of_the_past_does_not_replace_what_serves(place):
    arguments = later(place)
    train(CLV, **place.arguments(**arguments))
    past = train(CLV, **place.arguments())
    assert not past.promoted
    assert "which is later" in past.reason


def test_a_version_below_the_gate_is_kept_but_does_not_serve(place):
    strict = place.root / "models.yml"
    strict.write_text(config.DEFAULT.read_text().replace("minimum: 0.1", "minimum: 0.99"))
    result = train(CLV, **place.arguments(configuration=str(strict)))
    assert not result.promoted
    assert "expected at least 0.99" in result.reason
    assert registry.read(place.registry, result.model_version)
    assert [entry.promoted for entry in registry.trainings(place.registry_url, CLV)] == [False]
    with pytest.raises(NoChampion):
        score(CLV, **place.scoring())


def test_a_model_is_due_without_a_champion_and_a_month_after_its_confirmation(place):
    url = place.registry_url
    assert is_due(CLV, AS_OF, place.registry, url)
    train(CLV, **place.arguments())
    assert not is_due(CLV, AS_OF, place.registry, url)
    assert not is_due(CLV, AS_OF + timedelta(days=29), place.registry, url)
    assert is_due(CLV, AS_OF + timedelta(days=30), place.registry, url)
    assert is_due(CLV, AS_OF + timedelta(days=7), place.registry, url, every_days=7)
    serving = registry.champion(CLV, url)
    confirmed = registry.Training(
        CLV, serving.model_version, AS_OF + timedelta(days=30), "v2", 1, {}, False, "the same", AS_OF
    )
    registry.record(confirmed, url)
    assert not is_due(CLV, AS_OF + timedelta(days=30), place.registry, url)


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("click_propensity", "customer_emails"),
        ("churn_propensity", "customer_orders"),
        (CLV, "customer_orders"),
        ("category_affinity", "customer_order_lines"),
    ],
)
def test_a_model_with_nobody_to_score_is_not_kept_and_stays_due(name, never, place):
    forget(Path(place.features), never)
    with pytest.raises(NobodyToScore, match=f"{name}: nobody to score as of 2011-07-01, found .*0 rows of {never}"):
        train(name, **place.arguments())
    assert registry.trainings(place.registry_url, name) == []
    assert not (Path(place.registry) / "artefacts").exists()
    assert is_due(name, AS_OF, place.registry, place.registry_url)


@pytest.mark.parametrize("name", MODELS)
def test_the_registry_holds_no_customer_and_says_where_a_version_came_from(name, served, simulated_orders):
    training = registry.trainings(served.registry_url, name)[0]
    about = registry.metadata(served.registry, training.model_version)
    content = b"".join(path.read_bytes() for path in Path(served.registry).rglob("*") if path.is_file()).decode(
        "latin-1"
    )
    assert not any(customer in content for customer in simulated_orders["customer_id"].unique())
    assert about["features_version"] == "v1"
    assert about["as_of"] == "2011-07-01T00:00:00+00:00"
    assert about["metrics"] == training.metrics
    assert about["libraries"]["scikit-learn"]
    assert about["feature_schema"]


@pytest.mark.parametrize("name", MODELS)
def test_evaluating_measures_what_serves_and_writes_nothing(name, served):
    before = state(served.root)
    metrics = evaluate(name, **served.arguments_without("seed", "features_version"))
    assert metrics[config.configured(name).promotion.metric] is not None
    assert state(served.root) == before


def test_a_damaged_champion_is_named_and_nothing_is_scored_with_it(served):
    version = registry.champion(CLV, served.registry_url).model_version
    file = Path(served.registry) / "artefacts" / version / "parameters.json"
    file.write_text(file.read_text().replace("0", "1", 1))
    with pytest.raises(RegistryError) as damaged:
        score(CLV, **served.scoring())
    assert version in str(damaged.value)
    assert not Path(served.scores).exists()


def test_an_instant_without_a_zone_is_refused(place):
    with pytest.raises(ValueError, match="expected an instant with its zone"):
        train(CLV, **place.arguments(as_of=datetime(2011, 7, 1)))
    assert datetime(2011, 7, 1, tzinfo=UTC) == AS_OF
