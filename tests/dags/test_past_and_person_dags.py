"""What operators ask for in the Airflow UI: past dates by a backfill, and one person without personal data."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import ValidationError, validate

from letterpress.settings import settings
from letterpress.warehouse.rebuild import Knowledge, Rebuilt


@pytest.fixture(scope="module")
def dags(repository: Path, airflow_database):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(repository / "dags")
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture
def rebuilt(monkeypatch, tmp_path) -> list[tuple[datetime, Knowledge]]:
    """What the task asks to be rebuilt, without dbt."""
    asked = []

    def rebuild_range(config, dates, *, knowledge, run_id):
        asked.extend((as_of, knowledge) for as_of in dates)
        return [Rebuilt(dates[0], "version", str(tmp_path), 3, 10, True, 1.0)]

    monkeypatch.setattr("letterpress.warehouse.rebuild.rebuild_range", rebuild_range)
    return asked


def test_the_scheduler_never_starts_a_rebuild_and_a_backfill_finds_every_date(dags):
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    dag = DagSerialization.from_dict(DagSerialization.to_dict(dags["warehouse_rebuild"]))
    due = dag.timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert due is None
    assert dag.timetable.periodic, "without this the UI offers no backfill"
    dates = dag.iter_dagrun_infos_between(datetime(2011, 5, 1, tzinfo=UTC), datetime(2011, 5, 3, tzinfo=UTC))
    assert [f"{info.logical_date:%Y-%m-%d %H:%M}" for info in dates] == [
        "2011-05-01 00:00",
        "2011-05-02 00:00",
        "2011-05-03 00:00",
    ]


def test_a_run_of_a_backfill_rebuilds_its_own_date_with_todays_knowledge(dags, rebuilt):
    run = dags["warehouse_rebuild"].test(logical_date=datetime(2011, 5, 2, tzinfo=UTC))
    assert str(run.state) == "success"
    assert rebuilt == [(datetime(2011, 5, 2, tzinfo=UTC), Knowledge())]
    [task] = run.get_task_instances()
    assert task.xcom_pull(task_ids="rebuild_instant")["version"] == "version"


def test_the_form_gives_another_instant_and_what_may_be_known(dags, rebuilt):
    conf = {"as_of": "2011-05-02T12:00:00+02:00", "known_through": 7}
    assert str(dags["warehouse_rebuild"].test(run_conf=conf).state) == "success"
    conf = {"as_of": "2011-05-02T12:00:00+02:00", "known_through": None, "as_known_then": True}
    assert str(dags["warehouse_rebuild"].test(run_conf=conf).state) == "success"
    at = datetime(2011, 5, 2, 10, tzinfo=UTC)
    assert rebuilt == [(at, Knowledge(known_through=7)), (at, Knowledge(as_known_then=True))]


def test_nothing_follows_a_rebuild_or_an_explanation(dags):
    outlets = [one for name in ("warehouse_rebuild", "explain_customer") for one in dags[name].tasks if one.outlets]
    assert outlets == []


def test_the_form_takes_an_id_and_no_address(dags):
    schema = dags["explain_customer"].params.get_param("customer").schema
    for asked in ("shop:C000001", "87960d19c8116f12d45fbc1c4b5055e6"):
        validate(asked, schema)
    for asked in ("", "ann" + "@example.com"):
        with pytest.raises(ValidationError):
            validate(asked, schema)


def test_an_explanation_asked_for_in_airflow_is_the_safe_one(dags, monkeypatch, caplog):
    from letterpress.operations import explain as room

    asked = []

    def explain(config, customer, *, identity_key, is_safe):
        asked.append((config, customer, is_safe))
        section = room.Section(("what", "value"), (("order_count", 2),), title="The profile")
        return room.Explanation("one", "version", "2011-07-01T00:00:00+00:00", is_safe, (section,))

    monkeypatch.setattr(room, "explain", explain)
    with caplog.at_level(logging.INFO):
        run = dags["explain_customer"].test(run_conf={"customer": "shop:C1"})
    assert str(run.state) == "success"
    assert asked == [(settings(), "shop:C1", True)]
    [task] = run.get_task_instances()
    found = task.xcom_pull(task_ids="explain_customer")
    assert found["sections"][0]["rows"] == [{"what": "order_count", "value": 2}]
