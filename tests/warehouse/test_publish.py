import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import history, publish
from letterpress.warehouse.database import WarehouseBusy, connect, file_lock, warehouse_file, writer_lock
from letterpress.warehouse.inputs import Inputs


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path), kept_versions=2)


def inputs(version: str, channel: str = "features") -> Inputs:
    return Inputs(
        channel=channel,
        version=version,
        fingerprint=version,
        as_of="2011-07-01T00:00:00+00:00",
        known_through=3,
        index="unused",
    )


def build_warehouse(config: Settings, segments: dict[str, str], identities: dict[str, str] | None = None) -> None:
    """What dbt would have left: marts, features, and a staging table that must not be published."""
    file = warehouse_file(config.warehouse)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as connection:
        for schema in ("staging", "marts", "features"):
            connection.execute(f"create schema {schema}")
        connection.execute("create table staging.stg_crm__customers as select 'a secret' as email")
        connection.execute("create table marts.dim_customers (customer_id varchar)")
        connection.execute("create table marts.dim_customer_segments (customer_id varchar, segment_key varchar)")
        connection.execute(
            "create table marts.dim_customer_identities (source_customer_key varchar, customer_id varchar)"
        )
        connection.execute("create table features.customer_features (customer_id varchar, frequency bigint)")
        for customer, segment in segments.items():
            connection.execute("insert into marts.dim_customers values (?)", [customer])
            connection.execute("insert into marts.dim_customer_segments values (?, ?)", [customer, segment])
            connection.execute("insert into features.customer_features values (?, 1)", [customer])
        for key, customer in (identities or {}).items():
            connection.execute("insert into marts.dim_customer_identities values (?, ?)", [key, customer])


def publish_features(config: Settings, version: str, segments: dict[str, str], identities=None) -> dict:
    build_warehouse(config, segments, identities)
    publish.copy_features_candidate(config, inputs(version))
    return publish.publish(config, inputs(version))


def test_a_published_version_holds_marts_and_features_and_nothing_of_staging(config):
    content = publish_features(config, "v1", {"b": "champions", "a": "at_risk"})
    folder = Path(publish.version_dir(config.published, "features"))
    assert content["row_counts"] == {
        "features.customer_features": 2,
        "marts.dim_customer_identities": 0,
        "marts.dim_customer_segments": 2,
        "marts.dim_customers": 2,
    }
    assert storage.read_parquet(str(folder / "features" / "customer_features.parquet")).to_pydict() == {
        "customer_id": ["a", "b"],
        "frequency": [1, 1],
    }
    assert not os.access(folder / "warehouse.duckdb", os.W_OK) or os.geteuid() == 0
    assert (folder / "warehouse.duckdb").stat().st_mode & 0o222 == 0


def test_unchanged_inputs_are_current_and_others_are_not(config):
    publish_features(config, "v1", {"a": "champions"})
    assert publish.is_current(config.published, inputs("v1"))
    assert not publish.is_current(config.published, inputs("v2"))


def test_publishing_again_after_a_kill_at_any_step_gives_the_same_version_and_history(config, monkeypatch):
    publish_features(config, "v1", {"a": "champions", "b": "lost"})
    build_warehouse(config, {"a": "lost", "b": "lost"})
    real_write, calls = storage.write_json, []

    def killed(step):
        def write(uri, content):
            calls.append(uri)
            if len(calls) == step:
                raise KeyboardInterrupt
            real_write(uri, content)

        return write

    for step in (1, 2):
        calls.clear()
        publish.copy_features_candidate(config, inputs("v2"))
        monkeypatch.setattr(storage, "write_json", killed(step))
        with pytest.raises(KeyboardInterrupt):
            publish.publish(config, inputs("v2"))
        monkeypatch.setattr(storage, "write_json", real_write)
        assert publish.current(config.published, "features") == "v1"
    publish.publish(config, inputs("v2"))
    publish.publish(config, inputs("v2"))
    assert publish.current(config.published, "features") == "v2"
    (first, second) = history.files(config.history, "segment_changes")
    changes = storage.read_parquet(second).select(["customer_id", "segment_key", "change"]).to_pylist()
    assert changes == [
        {"customer_id": "a", "segment_key": "champions", "change": "left"},
        {"customer_id": "a", "segment_key": "lost", "change": "entered"},
    ]
    assert storage.read_parquet(first).num_rows == 2


def test_a_changed_person_id_becomes_history(config):
    publish_features(config, "v1", {"a": "champions"}, {"crm:C1": "a", "crm:C2": "b"})
    publish_features(config, "v2", {"a": "champions"}, {"crm:C1": "a", "crm:C2": "a"})
    (file,) = history.files(config.history, "identity_changes")
    assert storage.read_parquet(file).drop_columns(["as_of"]).to_pylist() == [
        {"version": "v2", "source_customer_key": "crm:C2", "old_customer_id": "b", "new_customer_id": "a"}
    ]


def test_going_back_holds_what_was_left_until_its_inputs_change(config):
    publish_features(config, "v1", {"a": "champions"})
    publish_features(config, "v2", {"a": "lost"})
    assert publish.roll_back(config.published, "features") == "v1"
    assert publish.current(config.published, "features") == "v1"
    assert publish.is_current(config.published, inputs("v2")), "a repeated run must not publish it again"
    assert publish.roll_back(config.published, "features", "v2") == "v2"
    with pytest.raises(publish.NothingPublished, match="v9"):
        publish.roll_back(config.published, "features", "v9")


def test_going_back_from_the_first_version_says_that_there_is_none_before(config):
    publish_features(config, "v1", {"a": "champions"})
    with pytest.raises(publish.NothingPublished, match="expected a version before v1"):
        publish.roll_back(config.published, "features")


def test_only_the_last_versions_stay_and_one_under_a_lease_stays_longer(config):
    publish_features(config, "v1", {"a": "champions"})
    with publish.lease(config.published, "features") as folder:
        for version in ("v2", "v3", "v4"):
            publish_features(config, version, {"a": "champions"})
        assert folder.name == "v1"
        assert (folder / "warehouse.duckdb").exists()
    publish_features(config, "v5", {"a": "champions"})
    assert [content["version"] for content in publish.versions(config.published, "features")] == ["v4", "v5"]


def test_an_activation_candidate_starts_from_the_published_features_whatever_the_warehouse_does(config):
    publish_features(config, "v1", {"a": "champions"})
    build_warehouse(config, {"z": "lost"})
    wanted = inputs("a1", "activation")
    wanted = Inputs(**(wanted.to_json() | {"features_version": "v1", "scores": ()}))
    file = publish.start_activation_candidate(config, wanted)
    with connect(file, read_only=False) as connection:
        assert connection.execute("select customer_id from marts.dim_customers").fetchall() == [("a",)]
        connection.execute("create schema activation")
    publish.publish(config, wanted)
    assert publish.current(config.published, "activation") == "a1"


def test_the_writers_lock_ends_with_its_holder_even_by_sigkill(config):
    script = (
        "import sys, time\nfrom letterpress.warehouse.database import writer_lock\n"
        "with writer_lock(sys.argv[1]):\n    sys.stdout.write('held\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, config.warehouse], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(WarehouseBusy, match="held by another process"), writer_lock(config.warehouse, timeout=0.1):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    began = time.monotonic()
    with writer_lock(config.warehouse, timeout=5):
        assert time.monotonic() - began < 5


def test_leases_are_shared_and_exclude_pruning(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path, shared=True), file_lock(path, shared=True), pytest.raises(WarehouseBusy), file_lock(path):
        pass
