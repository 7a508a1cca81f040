"""The sync DAG as Airflow runs it: it asks a person where something speaks against a plan, and polls deferred."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "activation"))

from activation_line import person, write_version

from letterpress.activation import ledger
from letterpress.demo.vendors import RunningVendor, running
from letterpress.operations.environment import environment
from letterpress.settings import REPOSITORY, settings

PEOPLE = [person(number) for number in range(60)]


@pytest.fixture
def klaviyo(tmp_path: Path) -> Iterator[RunningVendor]:
    with running("klaviyo", tmp_path / "vendors", job_seconds=2.0) as vendor:
        yield vendor


@pytest.fixture
def publish_people(tmp_path: Path, klaviyo: RunningVendor, monkeypatch: pytest.MonkeyPatch, airflow_database: None):
    """What makes a version of these people the one that the DAG syncs."""
    from letterpress.warehouse import publish

    current: list[Path] = []
    monkeypatch.setenv("LETTERPRESS_HOME", str(tmp_path))
    monkeypatch.setenv("LETTERPRESS_KLAVIYO_URL", klaviyo.base_url)
    monkeypatch.setenv("LETTERPRESS_KLAVIYO_KEY", klaviyo.token)
    settings.cache_clear()
    for name, value in environment(settings()).items():
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(name, value)

    @contextmanager
    def lease(*_: object) -> Iterator[Path]:
        yield current[-1]

    monkeypatch.setattr(publish, "lease", lease)
    monkeypatch.setattr(publish, "manifest", lambda *_: {"version": current[-1].name})

    def make(people: list) -> None:
        current.append(tmp_path / f"version-{len(current)}")
        write_version(current[-1], people)

    yield make
    settings.cache_clear()


def run(dag_id: str, *, approves: bool = False, **conf: object) -> dict[str, str]:
    """A run of a DAG to its end: the state of each task; ``approves`` answers for the person who is asked."""
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(REPOSITORY / "dags" / "activation.py").dags[dag_id]
    made = dag.test(run_conf=conf or None, mark_success_pattern="^approve$" if approves else None)
    return {one.task_id: str(one.state) for one in made.get_task_instances()}


def what_a_person_reads(objections: list[str]) -> str:
    """The text of the approval, rendered as Airflow renders it."""
    from jinja2 import Environment

    from letterpress.orchestration.activation import TEXT

    class Instance:
        def xcom_pull(self, task_ids: str) -> dict:
            assert task_ids == "audit"
            return {"objections": objections}

    return Environment().from_string(TEXT).render(ti=Instance())


def held(vendor: RunningVendor) -> set[str]:
    return {one["external_id"] for one in vendor.app.people.profiles.values()}


def test_what_the_vendor_queues_is_polled_until_its_result_is_read(publish_people, klaviyo):
    publish_people(PEOPLE)
    states = run("sync_klaviyo")
    assert states.pop("approve") == "skipped"
    assert set(states.values()) == {"success"}
    summary = ledger.summary(settings().stores, destination="klaviyo")
    assert (summary["held"], summary["queued"]) == (60, 0)
    assert held(klaviyo) == {one.customer_id for one in PEOPLE}
    again = run("sync_klaviyo")
    assert [again[name] for name in ("plan", "audit", "submit", "poll")] == ["success", "skipped", "skipped", "skipped"]


@pytest.mark.slow
def test_a_shrunken_audience_waits_for_a_person_and_an_approval_lets_it_go_on(publish_people, klaviyo):
    publish_people(PEOPLE)
    run("sync_klaviyo")
    changed = [one.changed(loyalty_tier="silver") for one in PEOPLE[:20]]
    publish_people(changed + [one.refused("no_consent") for one in PEOPLE[20:]])
    states = run("sync_klaviyo", approves=True)
    assert states["approve"] == "success", "asked: otherwise it is skipped"
    assert states["submit"] == "success"
    assert {tier(one) for one in klaviyo.app.people.profiles.values()} == {"silver", "gold"}


def test_what_a_person_reads_says_what_speaks_against_the_plan_and_where_to_look():
    text = what_a_person_reads(["the audience shrank from 60 to 20 people (67 %), expected at most 30 %"])
    assert "the audience shrank from 60 to 20 people" in text
    assert "/letterpress/syncs" in text


def test_payloads_that_fail_their_expectations_ask_a_person_before_the_first_request(publish_people, klaviyo):
    publish_people([*PEOPLE, person(99, email="Not An Address")])
    from letterpress.orchestration import activation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activation, "advance", refuse)  # nobody approves: what would follow does not run
        states = run("sync_klaviyo", approves=True)
    assert states["approve"] == "success"
    assert held(klaviyo) == set()
    assert not any(method != "GET" for method, _, _ in klaviyo.app.calls)


def refuse(*_: object, **__: object) -> dict:
    from airflow.sdk.exceptions import AirflowSkipException

    raise AirflowSkipException("nobody approved")


def tier(profile: dict) -> str | None:
    return profile["properties"].get("loyalty_tier")


@pytest.mark.slow
def test_the_drift_check_reports_and_repairs(publish_people, klaviyo):
    publish_people(PEOPLE)
    run("sync_klaviyo")
    profile = next(iter(klaviyo.app.people.profiles.values()))
    profile["properties"]["loyalty_tier"] = "bronze"
    assert run("drift_klaviyo", sample=None, repair=True) == {"compare": "success"}
    found = json.loads((Path(settings().plans) / "klaviyo" / "drift" / "latest.json").read_text())
    assert (found["checked"], found["differing"], found["attributes"]) == (60, 1, {"loyalty_tier": 1})
    run("sync_klaviyo")
    assert profile["properties"]["loyalty_tier"] == "gold"


def test_a_destination_without_its_connection_names_file_line_and_remedy(publish_people, klaviyo, monkeypatch):
    from letterpress.activation.configuration import ConfigurationError
    from letterpress.activation.destinations import destination
    from letterpress.orchestration.connections import connection_of

    monkeypatch.delenv("AIRFLOW_CONN_LETTERPRESS_KLAVIYO")
    with pytest.raises(
        ConfigurationError, match=r"destinations.yml, line \d+: klaviyo.connection: Airflow has no"
    ) as no:
        connection_of(destination("klaviyo"))
    assert "airflow connections add letterpress_klaviyo" in str(no.value)
