"""What a user does, through a real Airflow: run, run again, next day, down. Slow."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from shortcuts import WITHOUT_DBT_TESTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_000)]

DESTINATIONS = ("local_esp", "klaviyo")


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def user(tmp_path_factory, repository):
    """A user's shell, in which LETTERPRESS_* are set and `make` commands are given."""
    airflow, shop, esp, smtp, klaviyo, logs, triggers = free_ports(7)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LETTERPRESS", "DBT_"))}
    env |= {
        "LETTERPRESS_HOME": str(tmp_path_factory.mktemp("home")),
        "LETTERPRESS_AIRFLOW_PORT": str(airflow),
        "LETTERPRESS_SHOP_PORT": str(shop),
        "LETTERPRESS_ESP_PORT": str(esp),
        "LETTERPRESS_SMTP_PORT": str(smtp),
        "LETTERPRESS_KLAVIYO_PORT": str(klaviyo),
        "LETTERPRESS_SHOP_CUSTOMERS": "200",
        "LETTERPRESS_SHOP_DAYS": "150",
        WITHOUT_DBT_TESTS[0]: WITHOUT_DBT_TESTS[1],  # tests/integration/test_line.py runs them
        # Airflow's own ports for logs: another Airflow may be up on this machine.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggers),
        "COLUMNS": "200",
    }

    def give(*command: str) -> str:
        answer = subprocess.run(
            [sys.executable, "-m", "letterpress.operations", *command],
            env=env,
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=2_400,
        )
        assert answer.returncode == 0, answer.stdout[-6000:] + answer.stderr[-3000:]
        return answer.stdout

    give.env, give.home = env, Path(env["LETTERPRESS_HOME"])
    yield give
    give("down")


@pytest.fixture(scope="module")
def first(user) -> str:
    return user("run")


@pytest.fixture(scope="module")
def second(user, first) -> str:
    return user("run")


def figure(report: str, label: str) -> int:
    """The number at the end of a row of the report."""
    found = re.search(rf"^{re.escape(label)}\s+([\d,]+)", report, re.MULTILINE)
    assert found, f"{label!r} is not in the report:\n{report}"
    return int(found[1].replace(",", ""))


def synced_to(report: str, destination: str) -> str:
    """The report's part on the sync to one destination."""
    _, _, rest = report.partition(f"Sync to {destination}\n")
    assert rest, f"'Sync to {destination}' is not in the report:\n{report}"
    return rest.split("\n\n")[0]


def messages(user) -> int:
    """Accepted mails, counted in the ESP's own store."""
    import sqlite3

    with sqlite3.connect(f"file:{user.home}/esp/esp.sqlite?mode=ro", uri=True) as connection:
        return connection.execute("select count(*) from messages").fetchone()[0]


def test_the_first_run_lands_builds_scores_syncs_and_reports(first, user):
    for heading in (
        "Landed (this run)",
        "Warehouse",
        "Customers: ",
        "Models",
        "Campaigns",
        "Time: ",
    ):
        assert heading in first
    assert "customer_clusters" in first
    assert "customer_lifetime_value" in first
    for destination in DESTINATIONS:
        synced = synced_to(first, destination)
        assert figure(synced, "synced: create") == figure(synced, "held by the ESP now") > 50
        assert figure(synced, "refused: no_consent") > 0
    assert messages(user) > 0
    assert (user.home / "docs" / "data" / "site" / "index.html").exists()
    assert (user.home / "docs" / "dbt" / "index.html").exists()


def test_the_line_went_through_airflow_and_every_run_succeeded(first, user):
    import sqlite3

    with sqlite3.connect(f"file:{user.home}/airflow/airflow.db?mode=ro", uri=True) as connection:
        states = dict(
            connection.execute("select dag_id, group_concat(distinct state) from dag_run group by 1").fetchall()
        )
        kinds = {kind for (kind,) in connection.execute("select distinct run_type from dag_run")}
    assert {"ingest_web", "warehouse_features", "models_score", "warehouse_activation"} <= set(states)
    assert {f"sync_{destination}" for destination in DESTINATIONS} <= set(states)
    assert {dag_id: found for dag_id, found in states.items() if "failed" in found} == {}
    assert all("success" in found for found in states.values()), "a scheduled run may be under way beside"
    assert "asset_triggered" in kinds


def test_a_second_run_lands_sends_and_publishes_nothing_new(first, second, user):
    assert re.search(r"^features .* unchanged", second, re.MULTILINE)
    assert re.search(r"^activation .* unchanged", second, re.MULTILINE)
    for row in re.findall(r"^(?:crm|catalogue|shop|web|email|local_esp) .*$", second, re.MULTILINE):
        assert row.split()[2] == "0", row
    assert "synced: " not in second
    for destination in DESTINATIONS:
        created = figure(synced_to(first, destination), "synced: create")
        assert figure(synced_to(second, destination), "unchanged") == created
    assert figure(second, "champions_thank_you") == 0


def test_the_next_day_is_there_to_be_run(second, user):
    # (What a run of it does: tests/integration/test_line.py.)
    assert "the shop's clock stands at 2011-07-02" in user("next-day")


def test_the_ui_asks_for_a_login_and_down_stops_exactly_what_was_started(second, user):
    base = f"http://127.0.0.1:{user.env['LETTERPRESS_AIRFLOW_PORT']}"
    assert httpx.get(f"{base}/api/v2/dags").status_code == 401
    records = [json.loads(path.read_text()) for path in (user.home / "run").glob("*.json")]
    family = [psutil.Process(record["pid"]) for record in records]
    family += [child for process in family for child in process.children(recursive=True)]
    assert len(records) == 4  # Airflow, the shop, the ESP and Klaviyo's stand-in
    user("down")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
