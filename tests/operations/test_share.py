"""Counts that may leave the house: near the truth, drawn once for a version, and nothing beside them."""

import csv
import json

import pytest
import yaml
from landed_home import Home

from letterpress import storage
from letterpress.operations import share
from letterpress.settings import REPOSITORY
from letterpress.warehouse import publish
from letterpress.warehouse.database import connect

pytestmark = pytest.mark.slow  # a whole published line is built for them

ALL = share.configuration()
ONLY = share.Configuration(
    epsilon=200,  # hardly any noise
    tables={
        "life_cycle": {"lifecycle_stage": ["prospect", "new", "active", "at_risk", "churned"]},
        "clusters": {"customer_clusters": ["Loyal"], "email_consent_status": ["granted", "withdrawn", "none"]},
    },
)


@pytest.fixture
def fresh(home: Home):
    """The same published version with no report yet."""
    storage.delete(storage.join(home.settings.history, "shared"))
    return home.settings


def counted(settings, query: str) -> dict:
    with publish.lease(settings.published, "activation") as folder, connect(folder / "warehouse.duckdb") as connection:
        return dict(connection.execute(query).fetchall())


def test_with_hardly_any_noise_the_counts_are_the_published_ones(fresh):
    found = share.share(fresh, ONLY, seed=1)["tables"]
    truth = counted(fresh, "select lifecycle_stage, count(*) from marts.dim_customers group by all")
    told = {row["lifecycle_stage"]: row["count"] for row in found["life_cycle"]["counts"]}
    assert {stage: count for stage, count in told.items() if count} == truth
    assert set(told) == {*ONLY.tables["life_cycle"]["lifecycle_stage"], "other"}, "empty cells are there"
    loyal = [row for row in found["clusters"]["counts"] if row["customer_clusters"] == "Loyal"]
    truth = counted(fresh, "select tier, count(*) from marts.fct_customer_scores group by all")
    assert sum(row["count"] for row in loyal) == truth["Loyal"] > 0


def test_a_version_is_drawn_once_and_shown_again(fresh):
    first = share.share(fresh, ALL)
    assert share.share(fresh, ALL) == first
    assert share.spent(fresh) == (1, ALL.epsilon)
    assert sum(one["epsilon"] for one in first["tables"].values()) == pytest.approx(ALL.epsilon)


def test_a_model_that_does_not_serve_has_said_nothing_of_anybody(fresh):
    tables = {"churn": {"churn_propensity": ["high", "medium", "low"]}}
    rows = share.share(fresh, share.Configuration(epsilon=100, tables=tables), seed=1)["tables"]["churn"]["counts"]
    assert [row["count"] for row in rows[:3]] == [0, 0, 0]
    assert rows[3]["count"] == counted(fresh, "select 1, count(*) from marts.dim_customers")[1]


def test_a_second_count_of_a_version_with_other_tables_is_refused(fresh):
    share.share(fresh, ONLY)
    with pytest.raises(RuntimeError, match=r"counted already.*next step"):
        share.share(fresh, ALL)


def test_a_column_that_is_not_there_is_named_and_nothing_is_drawn(fresh):
    wrong = share.Configuration(epsilon=1, tables={"one": {"churn_propensities": ["high"]}})
    with pytest.raises(RuntimeError, match=r"one: .*churn_propensities"):
        share.share(fresh, wrong)
    assert share.spent(fresh) == (0, 0)


def test_the_report_holds_nothing_but_the_written_values(fresh):
    report = share.share(fresh, ALL)
    text = share.render(report, share.spent(fresh)) + json.dumps(report)
    people = counted(fresh, "select customer_id, email from marts.dim_customers")
    for secret in (*people, *filter(None, people.values())):
        assert secret not in text
    for table, one in report["tables"].items():
        for row in one["counts"]:
            for column, value in row.items():
                assert column == "count" or value in (*ALL.tables[table][column], "other")


def test_the_written_values_are_those_that_the_warehouse_knows():
    models = yaml.safe_load((REPOSITORY / "dbt_project/models/marts/customers/_customers__models.yml").read_text())
    (columns,) = (one["columns"] for one in models["models"] if one["name"] == "dim_customers")
    accepted = {
        column["name"]: test["accepted_values"]["arguments"]["values"]
        for column in columns
        for test in column.get("data_tests", [])
        if isinstance(test, dict) and "accepted_values" in test
    }
    with (REPOSITORY / "dbt_project/seeds/rfm_segments.csv").open() as file:
        accepted["rfm_segment"] = list({row["segment_name"] for row in csv.DictReader(file)})
    written = {column: values for levels in ALL.tables.values() for column, values in levels.items()}
    known = {column: values for column, values in written.items() if column in accepted}
    assert {"lifecycle_stage", "rfm_segment", "loyalty_tier", "email_consent_status"} <= set(known)
    for column, values in known.items():
        assert set(values) == set(accepted[column]), column


def test_a_file_that_says_nothing_sensible_is_refused_by_its_name(tmp_path):
    file = tmp_path / "shared_report.yml"
    file.write_text("epsilon: 0\ntables: {}\n")
    with pytest.raises(RuntimeError, match=r"(?s)shared_report.yml: .*epsilon"):
        share.configuration(file)
