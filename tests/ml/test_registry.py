"""The registry: content-addressed artefacts, an append-only alias log, one winner of two."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml import registry
from ml.errors import PromotionConflict, RegistryError

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
ARTEFACT = {"parameters.json": b"{}\n", "more.bin": b"\x00\x01"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'aliases.sqlite'}"
        return
    address = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not address:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to test the alias log on")
    schema = f"registry_{os.getpid()}_{abs(hash(request.node.name)) % 10**6}"
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create schema {schema}"))
    yield str(sa.make_url(address).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(False))
    with engine.begin() as connection:
        connection.execute(sa.text(f"drop schema {schema} cascade"))
    engine.dispose()


def promote(url, version, expected=None, name="model"):
    return registry.promote(name, version, url, as_of=AS_OF, reason="better", expected=expected)


def test_equal_files_have_one_address_whatever_the_metadata(tmp_path):
    one = registry.store(str(tmp_path), ARTEFACT, {"trained_at": "monday"})
    other = registry.store(str(tmp_path), dict(reversed(ARTEFACT.items())), {"trained_at": "tuesday"})
    assert one == other
    assert registry.metadata(str(tmp_path), one)["trained_at"] == "monday"
    assert registry.read(str(tmp_path), one) == ARTEFACT
    assert [path.name for path in (tmp_path / "artefacts").iterdir()] == [one]


@pytest.mark.parametrize("changed", [{"parameters.json": b"{ }\n"}, {"other.bin": b"\x00\x01"}])
def test_another_byte_or_name_is_another_version(tmp_path, changed):
    assert registry.version_of({**ARTEFACT, **changed}) != registry.version_of(ARTEFACT)


def test_a_damaged_artefact_is_named_and_healed_by_the_next_training(tmp_path):
    version = registry.store(str(tmp_path), ARTEFACT, {})
    (tmp_path / "artefacts" / version / "more.bin").write_bytes(b"\x00\x02")
    with pytest.raises(RegistryError) as damaged:
        registry.read(str(tmp_path), version)
    assert version in str(damaged.value)
    assert "roll back" in str(damaged.value)
    registry.store(str(tmp_path), ARTEFACT, {})
    assert registry.read(str(tmp_path), version) == ARTEFACT


def test_a_version_without_metadata_does_not_exist_yet(tmp_path):
    """The metadata is written last: a kill before it leaves nothing that could be served."""
    version = registry.store(str(tmp_path), ARTEFACT, {})
    (tmp_path / "artefacts" / version / "metadata.json").unlink()
    with pytest.raises(RegistryError, match="no such version"):
        registry.read(str(tmp_path), version)
    assert registry.store(str(tmp_path), ARTEFACT, {}) == version
    assert registry.read(str(tmp_path), version) == ARTEFACT


def test_nothing_serves_before_the_first_promotion(url):
    assert registry.champion("model", url) is None
    assert registry.aliases(url) == {}
    assert registry.history(url) == []


def test_the_last_promotion_serves_and_the_log_keeps_all(url):
    promote(url, "v1")
    promote(url, "v2", expected="v1")
    promote(url, "w1", name="other")
    assert registry.champion("model", url).model_version == "v2"
    assert {name: alias.model_version for name, alias in registry.aliases(url).items()} == {
        "model": "v2",
        "other": "w1",
    }
    log = registry.history(url, "model")
    assert [(entry.sequence, entry.action, entry.model_version, entry.replaced_version) for entry in log] == [
        (1, "promote", "v1", None),
        (2, "promote", "v2", "v1"),
    ]
    assert log[0].as_of == AS_OF


def test_rolling_back_goes_back_one_promotion_at_a_time(url):
    for number, before in enumerate([None, "v1", "v2"], start=1):
        promote(url, f"v{number}", expected=before)
    assert registry.roll_back("model", url).model_version == "v2"
    assert registry.roll_back("model", url).model_version == "v1"
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        registry.roll_back("model", url)
    promote(url, "v4", expected="v1")
    assert registry.roll_back("model", url).model_version == "v1"
    assert [entry.action for entry in registry.history(url, "model")] == [
        *["promote"] * 3,
        *["roll_back"] * 2,
        "promote",
        "roll_back",
    ]


def test_what_was_rolled_back_from_is_remembered_until_it_is_promoted_again(url):
    promote(url, "v1")
    promote(url, "v2", expected="v1")
    registry.roll_back("model", url)
    assert registry.refused("model", url) == {"v2"}
    promote(url, "v2", expected="v1")
    assert registry.refused("model", url) == set()


def test_who_decided_on_an_older_state_is_refused(url):
    promote(url, "v1")
    promote(url, "v2", expected="v1")
    with pytest.raises(PromotionConflict):
        promote(url, "v3", expected="v1")
    assert registry.champion("model", url).model_version == "v2"


def test_a_training_is_recorded_once(url):
    training = registry.Training("model", "v1", AS_OF, "f1", 1, {"silhouette": 0.5}, True, "good", AS_OF)
    assert registry.record(training, url)
    assert not registry.record(training, url)
    assert registry.trainings(url, "model") == [training]


def test_of_many_processes_that_promote_at_once_each_step_has_one_winner(url):
    root = Path(__file__).resolve().parents[2]
    workers = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("registry_race.py")), url, f"w{number}", "12"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
        )
        for number in range(4)
    ]
    won = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    log = registry.history(url, "model")
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert len(log) == sum(won) >= 12
    assert [entry.sequence for entry in log] == list(range(1, len(log) + 1))
    assert [entry.replaced_version for entry in log[1:]] == [entry.model_version for entry in log[:-1]]


def test_a_damaged_version_gives_way_to_the_one_promoted_before_and_its_file_is_named(tmp_path, url):
    folder = str(tmp_path / "registry")
    one, other = (registry.store(folder, {"model.json": content, "more.json": b"{}"}, {}) for content in (b"1", b"2"))
    promote(url, one)
    promote(url, other, expected=one)
    assert registry.serving("model", folder, url)[0].model_version == other
    (tmp_path / "registry" / "artefacts" / other / "model.json").write_bytes(b"3")
    alias, artefact, damaged = registry.serving("model", folder, url)
    assert alias.model_version == one
    assert registry.serving_versions(folder, url) == {"model": one}
    assert artefact["model.json"] == b"1"
    assert len(damaged) == 1
    assert f"{other}/model.json: expected the hash" in damaged[0]
    (tmp_path / "registry" / "artefacts" / one / "more.json").unlink()
    with pytest.raises(RegistryError, match=r"no promoted version is whole.*model\.json.*more\.json"):
        registry.serving("model", folder, url)
    assert registry.serving_versions(folder, url) == {}


def test_a_version_is_on_record_once_with_the_hash_of_each_file(tmp_path, url):
    version = registry.Version("model", "v1", AS_OF, "features-1", {"model.json": "abc"}, AS_OF)
    registry.record_version(version, url)
    registry.record_version(version.__class__(**{**version.__dict__, "features_version": "features-2"}), url)
    assert registry.versions(url) == registry.versions(url, "model") == [version]
