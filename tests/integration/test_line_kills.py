"""SIGKILL at any moment of any stage, then again: the same tables, the same ledger, no mail twice.

Each stage of one line is killed several times, at fractions of the time that it takes undisturbed and when its most
delicate files appear, and then run to its end. Another line over the same shop is left alone. What the two have
published and sent is compared. A kill between the ESP's acceptance and our record is timed exactly in
tests/activation/test_kills.py.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from line import TOKEN, RunningShop, environment_of, running_shop, write_dags
from line_process import run_stage
from shortcuts import WITHOUT_DBT_TESTS, quick_models

from letterpress.demo.esp import RunningEsp
from letterpress.demo.esp import running as running_esp
from letterpress.demo.vendors import running as running_vendor
from letterpress.operations.environment import environment
from letterpress.settings import Settings
from letterpress.warehouse import publish
from letterpress.warehouse.database import connect
from ml import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

PROCESSES = multiprocessing.get_context("forkserver")
AIRFLOW = Path(os.environ["AIRFLOW_HOME"])
METADATA, UNUSED = AIRFLOW / "killed.db", AIRFLOW / "unused.db"

# Asked at the start of a stage, with the seconds that it takes undisturbed; the answer says when its time has come.
Moment = Callable[["Home", float], Callable[[], bool]]


def share(of_time: float) -> Moment:
    """So much of the undisturbed time has passed."""

    def start(home: "Home", seconds: float) -> Callable[[], bool]:
        deadline = time.monotonic() + of_time * seconds
        return lambda: time.monotonic() >= deadline

    return start


def appears(pattern: str) -> Moment:
    """A file of the home is written that was not there, or not like this, at the start."""

    def start(home: "Home", seconds: float) -> Callable[[], bool]:
        def seen() -> set[tuple[str, int]]:
            found = set()
            for file in home.path.glob(pattern):
                with suppress(FileNotFoundError):
                    found.add((str(file), file.stat().st_ino))
            return found

        before = seen()
        return lambda: bool(seen() - before)

    return start


def grows(file: str, table: str) -> Moment:
    """A table of one of the home's SQLite files has one row more than at the start."""

    def start(home: "Home", seconds: float) -> Callable[[], bool]:
        def count() -> int:
            try:
                with closing(sqlite3.connect(f"file:{home.path / file}?mode=ro", uri=True)) as connection:
                    return connection.execute(f"select count(*) from {table}").fetchone()[0]
            except sqlite3.OperationalError:  # no file or no table yet
                return 0

        before = count()
        return lambda: count() > before

    return start


# What each stage is killed at, one after the other before it may end: fractions of the time that it takes undisturbed
# (the short ones are mostly Airflow's own preparations), and moments at which something is half done.
KILLS: dict[str, dict[str, Moment]] = {
    "ingest": {
        "a load is pending": appears("landing/_pending/*.json"),
        "a second source is committed": appears("landing/_manifests/0000000002.json"),
        "50 %": share(0.5),
        "80 %": share(0.8),
    },
    "warehouse_features": {
        "50 %": share(0.5),
        "a candidate is copied": appears("published/features/_candidates/*/warehouse.duckdb"),
        "a version is moved in": appears("published/features/2*/manifest.json"),
    },
    "models_train": {
        "an artefact is written": appears("registry/artefacts/*/*"),
        "a model has a champion": grows("stores/letterpress.sqlite", "model_aliases"),
    },
    "models_score": {
        "scores are written": appears("scores/*/*/*/scores.parquet"),
        "50 %": share(0.5),
    },
    "warehouse_activation": {
        "a candidate is begun": appears("published/activation/_candidates/*/warehouse.duckdb"),
        "50 %": share(0.5),
        "a version is moved in": appears("published/activation/2*/manifest.json"),
    },
    "sync_local_esp": {
        "a plan is stored": appears("plans/local_esp/*.json"),
        "50 %": share(0.5),
        "the first person is in the ledger": grows("stores/letterpress.sqlite", "ledger"),
    },
    "sync_klaviyo": {
        "a plan is stored": appears("plans/klaviyo/*.json"),
        "another person is in the ledger": grows("stores/letterpress.sqlite", "ledger"),
        "80 %": share(0.8),
    },
    "campaign_champions_thank_you": {
        "the first person is planned": grows("stores/letterpress.sqlite", "sends"),
        "the first mail is in the mailbox": grows("esp/esp.sqlite", "messages"),
        "another mail is in the mailbox": grows("esp/esp.sqlite", "messages"),
    },
}


@dataclass
class Home:
    """One line's folder, its environment, and what became of its stages."""

    path: Path
    esp: RunningEsp
    settings: Settings
    given: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    killed: dict[str, list[str]] = field(default_factory=dict)

    def start(self, stage: str) -> multiprocessing.Process:
        """A stage in a process of its own, with nothing but DAGs in Airflow's metadata, which are not what we trust."""
        for left in METADATA.parent.glob(f"{METADATA.name}*"):
            left.unlink()
        shutil.copyfile(UNUSED, METADATA)
        process = PROCESSES.Process(target=run_stage, args=(self.given, stage, str(self.path / f"{stage}.log")))
        process.start()
        return process

    def finish(self, stage: str) -> None:
        """Run a stage to its end."""
        began = time.monotonic()
        process = self.start(stage)
        process.join(600)
        self.seconds[stage] = time.monotonic() - began
        log = (self.path / f"{stage}.log").read_text()
        assert process.exitcode == 0, f"{stage}: {process.exitcode}\n{log[-6000:]}"

    def kill(self, stage: str, name: str, is_time: Callable[[], bool]) -> None:
        """Start a stage and kill it, and whatever it started, once its time has come."""
        process = self.start(stage)
        while process.is_alive() and not is_time():
            time.sleep(0.002)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.join(60)
        if process.exitcode == -signal.SIGKILL:
            self.killed.setdefault(stage, []).append(name)

    def rows(self, file: str, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.path / file, timeout=30)) as connection:
            return connection.execute(query).fetchall()


@contextmanager
def made(path: Path, shop: RunningShop, key: bytes) -> Iterator[Home]:
    """A line over the shop with an ESP of its own; the identity key is given, since person ids follow from it."""
    (path / "secrets").mkdir(parents=True)
    (path / "secrets" / "identity_key").write_bytes(key)
    with (
        running_esp(path / "esp", token=TOKEN, shop_url=shop.url) as esp,
        running_vendor("klaviyo", path / "vendors") as klaviyo,
    ):
        with environment_of(path, shop, esp, klaviyo) as settings:
            given = {
                name: value
                for name, value in environment(settings).items()
                if name.startswith(("LETTERPRESS_", "AIRFLOW_CONN_"))
            }
        yield Home(path, esp, settings, given)


def copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as left, closing(sqlite3.connect(target)) as right:
        left.backup(right)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, airflow_database: None) -> Iterator[RunningShop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{METADATA}")
        patch.setenv(*WITHOUT_DBT_TESTS)
        patch.setenv("TEST_MODELS", quick_models())
        patch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parent)]))
        PROCESSES.set_forkserver_preload(["line_imports"])
        with running_shop(tmp_path_factory.mktemp("shop"), customers=150, days=120) as shop:
            # Also so that the first stage does not pay for the imports.
            copy_database(AIRFLOW / "airflow.db", METADATA)
            writing = PROCESSES.Process(target=write_dags)
            writing.start()
            writing.join()
            copy_database(METADATA, UNUSED)
            yield shop


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, shop: RunningShop) -> Iterator[Home]:
    with made(tmp_path_factory.mktemp("undisturbed") / "home", shop, b"5" * 64) as home:
        for stage in KILLS:
            home.finish(stage)
        yield home


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory, shop: RunningShop, undisturbed: Home) -> Iterator[Home]:
    with made(tmp_path_factory.mktemp("disturbed") / "home", shop, b"5" * 64) as home:
        # What is killed is the stages' own work, and not dbt as it reads its project.
        shutil.copytree(undisturbed.path / "parsed", home.path / "parsed")
        for stage, moments in KILLS.items():
            for name, moment in moments.items():
                home.kill(stage, name, moment(home, undisturbed.seconds[stage]))
            home.finish(stage)
        yield home


def tables(home: Home) -> dict[str, list[tuple]]:
    """Every published row, sorted; what the operations did and when is metadata."""
    found = {}
    for channel in publish.CHANNELS:
        with (
            publish.lease(home.settings.published, channel) as folder,
            connect(folder / "warehouse.duckdb") as connection,
        ):
            names = connection.execute(
                "select schema_name, table_name from duckdb_tables() "
                "where schema_name in ('marts', 'features', 'activation') order by all"
            ).fetchall()
            for schema, table in names:
                found[f"{channel}: {schema}.{table}"] = connection.execute(
                    f'from "{schema}"."{table}" order by all'
                ).fetchall()
    return found


def history(home: Home, name: str) -> list[tuple]:
    """A history that publishing writes, without the name of the version."""
    with connect(":memory:", read_only=False) as connection:
        files = [str(file) for file in (home.path / "history" / name).glob("*.parquet")]
        if not files:
            return []
        return connection.execute("select * exclude (version) from read_parquet(?) order by all", [files]).fetchall()


def test_every_stage_was_killed_several_times(disturbed: Home):
    assert set(disturbed.killed) == set(KILLS)
    for stage, moments in disturbed.killed.items():
        assert len(moments) >= 2, (stage, moments)
    assert sum(map(len, disturbed.killed.values())) >= 18, disturbed.killed


def test_the_published_tables_are_those_of_the_undisturbed_line(undisturbed: Home, disturbed: Home):
    wanted, found = tables(undisturbed), tables(disturbed)
    assert set(found) == set(wanted)
    for required in ("marts.dim_customers", "marts.fct_customer_scores", "activation.sync_customers"):
        assert len(wanted[f"activation: {required}"]) > 100
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_each_channel_has_one_version_and_nothing_half_made_beside_it(disturbed: Home):
    for channel in publish.CHANNELS:
        assert len(publish.versions(disturbed.settings.published, channel)) == 1
        assert list((disturbed.path / "published" / channel / "_candidates").glob("*")) == []


def test_what_entered_a_segment_is_told_once(undisturbed: Home, disturbed: Home):
    assert len(history(undisturbed, "segment_changes")) > 100
    for name in ("segment_changes", "identity_changes"):
        assert history(disturbed, name) == history(undisturbed, name)


def test_the_landed_rows_are_those_of_the_undisturbed_line(undisturbed: Home, disturbed: Home):
    def landed(home: Home) -> list[tuple]:
        files = sorted((home.path / "landing" / "_manifests").glob("*.json"))
        manifests = [json.loads(file.read_text()) for file in files]
        return [
            (one["load_sequence"], one["source"], name, entity["rows"], entity["cursor"])
            for one in manifests
            for name, entity in one["entities"].items()
        ]

    assert landed(disturbed) == landed(undisturbed)
    counted = {
        f"{one}" for file in (disturbed.path / "landing" / "_manifests").glob("*.json")
        for entity in json.loads(file.read_text())["entities"].values()
        for one in entity["files"]
    }  # fmt: skip
    root = disturbed.path / "landing"
    kept = {str(file.relative_to(root)) for file in root.glob("[!_]*/*/*.parquet")}
    assert kept == counted, "a killed extraction leaves no file behind"


def test_the_scores_are_those_of_the_undisturbed_line(undisturbed: Home, disturbed: Home):
    def scores(home: Home) -> dict[str, str]:
        files = (home.path / "scores").glob("*/*/*/scores.json")
        return {str(file.relative_to(home.path)): json.loads(file.read_text())["content_hash"] for file in files}

    champions = set(registry.aliases(undisturbed.settings.stores))
    assert {"customer_clusters", "customer_lifetime_value", "recommendations"} <= champions
    assert {Path(file).parts[1] for file in scores(undisturbed)} == champions
    assert scores(disturbed) == scores(undisturbed)


def test_the_ledger_is_that_of_the_undisturbed_line(undisturbed: Home, disturbed: Home):
    profiles = (
        "select destination, facet, customer_id, acknowledged, state, pending, revision, error_code from ledger "
        "order by 1, 2, 3"
    )
    sends = (
        "select campaign_id, customer_id, destination, state, idempotency_key, accepted_at, error_code from sends "
        "order by 1, 2, 3"
    )
    for query in (profiles, sends):
        wanted = undisturbed.rows("stores/letterpress.sqlite", query)
        assert wanted
        assert disturbed.rows("stores/letterpress.sqlite", query) == wanted


def test_the_esp_holds_the_same_people_and_has_one_mail_for_each(undisturbed: Home, disturbed: Home):
    profiles = "select external_id, email, attributes, segments from profiles order by 1"
    assert disturbed.rows("esp/esp.sqlite", profiles) == undisturbed.rows("esp/esp.sqlite", profiles)
    mails = "select campaign_id, external_id, recipient, subject from messages order by 1, 2"
    wanted, found = undisturbed.rows("esp/esp.sqlite", mails), disturbed.rows("esp/esp.sqlite", mails)
    assert max(Counter(row[:2] for row in found).values()) == 1
    assert found == wanted
