"""The environment of every test: folders of its own, loopback only, set before Airflow is imported."""

import gc
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_HOME = Path(tempfile.mkdtemp(prefix="letterpress-tests-"))

for name in [name for name in os.environ if name.startswith(("LETTERPRESS_", "AIRFLOW"))]:
    if name not in ("LETTERPRESS_TEST_POSTGRES_URL", "LETTERPRESS_TEST_PARSED", "LETTERPRESS_REQUIRE"):
        del os.environ[name]
# Of the first process, for all of its workers: dbt's project is parsed once.
os.environ.setdefault("LETTERPRESS_TEST_PARSED", str(_HOME / "parsed"))
os.environ.update(
    {
        "LETTERPRESS_HOME": str(_HOME / "letterpress"),
        "AIRFLOW_HOME": str(_HOME / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow' / 'airflow.db'}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_HOME / "airflow" / "logs"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
        # Workers share the cores, and a thread of linear algebra that waits for its turn spins.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        # dbt makes a line of each of its events, 30 a model, before it drops it: 7 % of a build.
        "DBT_LOG_LEVEL": "none",
        "DBT_LOG_LEVEL_FILE": "none",
        "GX_ANALYTICS_ENABLED": "False",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
)

import pytest  # noqa: E402

# Airflow, dbt and scikit-learn are many objects: to look for garbage among them took 8 % of a build.
gc.set_threshold(100_000, 50, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Remove the folders at the end, whatever happened."""
    config.add_cleanup(lambda: shutil.rmtree(_HOME, ignore_errors=True))


LONGEST = (  # of the slow proofs
    *("test_make_run", "test_line", "test_line_kills", "test_dbt_postgres", "test_dbt_policy"),
    *("test_as_of", "test_dbt_incremental"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules begin, so that no worker is left alone with one of them at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data: real data is not beside this checkout")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A part that a machine lacks is skipped with the reason; where all of it was promised (CI), that is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("LETTERPRESS_REQUIRE") == "all":
        report.outcome = "failed"
        report.longrepr = f"LETTERPRESS_REQUIRE=all: expected every part to be here, found {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """A folder that one worker fills for all of them; what is in it is copied and never changed."""
    from letterpress.warehouse.database import file_lock

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def once(name: str, fill: Callable[[Path], None]) -> Path:
        folder, part = base / name, base / f"{name}.part"
        with file_lock(base / f"{name}.lock", timeout=900):
            if not folder.exists():
                shutil.rmtree(part, ignore_errors=True)  # of a worker that failed in it
                part.mkdir()
                fill(part)
                part.rename(folder)
        return folder

    return once


@pytest.fixture(scope="session")
def airflow_database(made_once) -> None:
    """Airflow's metadata in the tests' own folder."""
    ours = _HOME / "airflow" / "airflow.db"

    def fill(folder: Path) -> None:
        from airflow.utils import db

        db.initdb()
        with closing(sqlite3.connect(ours)) as source, closing(sqlite3.connect(folder / ours.name)) as copy:
            source.backup(copy)

    made = made_once("airflow-database", fill) / ours.name
    if not ours.exists():
        ours.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, ours)
