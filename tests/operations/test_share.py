"""Counts that may leave the house: near the truth, drawn once for a version, and nothing beside them."""

import csv
import json
from datetime import datetime

import pyarrow as pa
import pytest
import small_shop as shop
import yaml
from landed_home import Home
from landed_rows import AS_OF

from letterpress import storage
from letterpress.operations import share
from letterpress.settings import REPOSITORY
from letterpress.warehouse.database import connect
from letterpress.warehouse.inputs import SCORES_SCHEMA

ALL = share.configuration()
ONLY = share.Configuration(
    epsilon=200,  # hardly any noise
    tables={
        "life_cycle": {"lifecycle_stage": ["prospect", "new", "active", "at_risk", "churned"]},
        "value": {"customer_lifetime_value": ["high", "low"], "email_consent_status": ["granted", "withdrawn", "none"]},
    },
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.land(
        AS_OF,
        crm__customers=shop.ACCOUNTS,
        crm__consents=shop.CONSENTS,
        catalogue__products=[shop.product("P1", "Garden"), shop.product("P2", "Kitchen")],
        shop__orders=shop.ORDERS,
        shop__order_lines=shop.LINES,
        shop__refunds=shop.REFUNDS,
        web__events=shop.EVENTS,
        email__events=shop.MAILS,
    )
    features = home.publish_features(AS_OF)
    with connect(features / "warehouse.duckdb") as connection:
        people = [one for (one,) in connection.execute("select customer_id from features.customer_features").fetchall()]
    folder = storage.join(
        home.settings.scores, "customer_lifetime_value", "v1", f"{datetime(2011, 7, 1):%Y%m%dT%H%M%SZ}"
    )
    rows = [
        {
            "model_name": "customer_lifetime_value",
            "model_version": "v1",
            "as_of": AS_OF,
            "customer_id": one,
            "score": 1.0,
        }
        | {"decile": 10, "tier": tier, "scored_at": AS_OF, "run_id": "test"}
        for one, tier in zip(people, ["high", *["low"] * len(people)], strict=False)
    ]
    storage.write_parquet(f"{folder}/scores.parquet", pa.Table.from_pylist(rows, schema=SCORES_SCHEMA))
    storage.write_json(f"{folder}/scores.json", {"content_hash": "one"})
    home.publish_activation(scores=("customer_lifetime_value/v1",))
    return home


@pytest.fixture
def fresh(home: Home, tmp_path):
    """The same published version with no report yet."""
    storage.delete(storage.join(home.settings.docs, "shared"))
    return home.settings


def counted(settings, query: str) -> dict:
    from letterpress.warehouse import publish

    with publish.lease(settings.published, "activation") as folder, connect(folder / "warehouse.duckdb") as connection:
        return dict(connection.execute(query).fetchall())


def test_with_hardly_any_noise_the_counts_are_the_published_ones(fresh):
    found = share.share(fresh, ONLY, seed=1)["tables"]
    truth = counted(fresh, "select lifecycle_stage, count(*) from marts.dim_customers group by all")
    told = {row["lifecycle_stage"]: row["count"] for row in found["life_cycle"]["counts"]}
    assert {stage: count for stage, count in told.items() if count} == truth
    assert set(told) == {*ONLY.tables["life_cycle"]["lifecycle_stage"], "other"}, "empty cells are there"
    high = [row for row in found["value"]["counts"] if row["customer_lifetime_value"] == "high"]
    assert sum(row["count"] for row in high) == 1


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
