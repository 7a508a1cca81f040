"""Rules as configuration: what is wrong is named with its line, and SQL and Python agree on who meets a rule."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from landed_rows import PROJECT
from rendered_rules import Refused, listed_sql, segments_sql

from letterpress.warehouse import segments

COLUMNS = segments.measured(PROJECT)
SQL_TYPES = {"number": "double", "text": "varchar", "boolean": "boolean"}
COUNTED = {name for name in COLUMNS if name.endswith("_count") or "days" in name or "hours" in name}


@pytest.fixture
def project(tmp_path) -> Path:
    """The files that a check reads, to be changed."""
    for file in (segments.PROJECT_FILE, segments.MEASURES_FILE, segments.RFM_FILE):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / file, tmp_path / file)
    return tmp_path


def with_rules(project: Path, text: str) -> Path:
    """The project with other rules; the first of them stands in line 4."""
    (project / segments.PROJECT_FILE).write_text(f"name: letterpress\nvars:\n  rule_segments:\n{text}")
    return project


def problems(project: Path, text: str) -> list[str]:
    with pytest.raises(segments.SegmentsError) as refused:
        segments.check(with_rules(project, text), campaigns=None)
    return str(refused.value).splitlines()


def test_the_rules_that_ship_are_right_and_every_campaign_names_a_segment():
    known = segments.check(PROJECT)
    assert {"high_value", "recent_browsers", "birthday_today", "champions"} <= set(known)
    assert len(segments.read(PROJECT)) >= 20


def test_every_segment_that_ships_is_described_and_has_a_name_of_its_own():
    shipped = segments.read(PROJECT)
    assert [segment.key for segment in shipped if not segment.description] == []
    assert len({segment.name for segment in shipped}) == len(shipped)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "all: [{column: order_cuont, at_least: 1}]",
            "dbt_project.yml, line 6: fans: expected a column of fct_customer_measures, found 'order_cuont'; "
            "did you mean 'order_count'?",
        ),
        (
            "all: [{column: order_count, at_leest: 1}]",
            "dbt_project.yml, line 6: fans: expected an operator for order_count, found 'at_leest'; "
            "did you mean 'at_least'?",
        ),
        (
            "all: [{column: order_count, at_least: 1, at_most: 2}]",
            "dbt_project.yml, line 6: fans: expected one operator for order_count, found at_least, at_most; known: "
            "at_least, at_most, more_than, less_than, equals, one_of, is_missing",
        ),
        (
            "all: [{column: order_count, at_least: many}]",
            "dbt_project.yml, line 6: fans: expected a number for order_count, found 'many'",
        ),
        (
            "all: [{column: order_count, at_least: .nan}]",
            "dbt_project.yml, line 6: fans: expected a number for order_count, found nan",
        ),
        (
            "all: [{column: loyalty_tier, at_least: 2}]",
            "dbt_project.yml, line 6: fans: expected one of equals, one_of, is_missing for loyalty_tier, a text, "
            "found 'at_least'",
        ),
        (
            "all: [{column: loyalty_tier, equals: yes}]",
            "dbt_project.yml, line 6: fans: expected a text for loyalty_tier, found True",
        ),
        (
            "all: [{column: loyalty_tier, one_of: gold}]",
            "dbt_project.yml, line 6: fans: expected a list of values that are each a text for loyalty_tier, "
            "found 'gold'",
        ),
        (
            "all: [{column: order_count, is_missing: maybe}]",
            "dbt_project.yml, line 6: fans: expected true or false for is_missing, found 'maybe'",
        ),
        (
            "all: [{column: order_count, at_least: 1, or_missing: maybe}]",
            "dbt_project.yml, line 6: fans: expected true or false for or_missing, found 'maybe'",
        ),
        (
            "al: [{column: order_count, at_least: 1}]",
            "dbt_project.yml, line 6: fans: expected one of all, any, not, found 'al'; did you mean 'all'?",
        ),
        (
            "any: []",
            "dbt_project.yml, line 6: fans: expected a list of predicates under any, found []",
        ),
        (
            "not: {nott: {column: order_count, at_least: 1}}",
            "dbt_project.yml, line 6: fans: expected a column with an operator, or one of all, any, not, found nott; "
            "did you mean 'not'?",
        ),
        (
            "all: [order_count]",
            "dbt_project.yml, line 6: fans: expected fields, found 'order_count'",
        ),
        (
            "all: [{column: order_count, at_least: 1, at_least: 2}]",
            "dbt_project.yml, line 6: fans: expected 'at_least' once, found it again",
        ),
        (
            "all: [{column: as_of, at_least: 1}]",
            "dbt_project.yml, line 6: fans: expected a column of fct_customer_measures, found 'as_of'; known: ",
        ),
    ],
)
def test_a_mistake_is_named_with_file_line_and_the_nearest_known_name(project, rule, said):
    [found] = problems(project, f"    - key: fans\n      name: Fans\n      {rule}\n")
    assert found.startswith(said) if said.endswith(": ") else found == said


def test_all_mistakes_are_told_at_once_each_with_its_own_line(project):
    found = problems(
        project,
        "    - key: fans\n"
        "      name: Fans\n"
        "      all:\n"
        "        - {column: order_count, at_least: 1}\n"
        "        - any:\n"
        "            - {column: loyalty_teir, equals: gold}\n"
        "            - not: {column: total_spend, mor_than: 1}\n",
    )
    assert [line.split(": fans")[0] for line in found] == ["dbt_project.yml, line 9", "dbt_project.yml, line 10"]
    assert "did you mean 'loyalty_tier'?" in found[0]
    assert "did you mean 'more_than'?" in found[1]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("fans", "dbt_project.yml, line 7: expected each key once, found 'fans' as in line 4"),
        (
            "champions",
            "dbt_project.yml, line 7: expected a key that no RFM segment has, found 'champions' in rfm_segments.csv",
        ),
        ("Big Fans", "dbt_project.yml, line 7: expected a key in snake_case, found 'Big Fans'"),
    ],
)
def test_a_key_is_one_word_and_stands_for_one_segment(project, key, said):
    rule = "      name: Fans\n      all: [{column: order_count, at_least: 1}]\n"
    assert problems(project, f"    - key: fans\n{rule}    - key: {key}\n{rule}") == [said]


def test_a_segment_that_a_campaign_misspells_is_named_with_its_line(project, tmp_path):
    campaigns = tmp_path / "campaigns.yml"
    campaigns.write_text("thanks:\n  segment: champions\nhello:\n  title: Hello\n  segment: recent_browser\n")
    with pytest.raises(segments.SegmentsError) as refused:
        segments.check(project, campaigns)
    assert str(refused.value) == (
        "campaigns.yml, line 5: hello: expected a segment, found 'recent_browser'; did you mean 'recent_browsers'?"
    )


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ({"all": [{"column": "order_cuont", "at_least": 1}]}, "fans: expected a column of fct_customer_measures, "),
        ({"all": [{"column": "order_count", "at_leest": 1}]}, "fans: expected one of at_least, at_most, "),
        ({"all": [{"column": "order_count"}]}, "found nothing"),
        ({"all": []}, "fans: expected a list of predicates under all"),
        ({"any": [{"or": []}]}, "fans: expected a condition with a column, or one of all, any, not, found or"),
        ({"al": [{"column": "order_count", "at_least": 1}]}, "fans: expected one of all, any, not, found al"),
    ],
)
def test_dbt_itself_refuses_what_it_can_see(segment, said):
    with pytest.raises(Refused) as refused:
        segments_sql([{"key": "fans", "name": "Fans"} | segment], "measures", list(COLUMNS))
    assert said in str(refused.value)


def test_dbt_itself_refuses_a_key_that_stands_there_twice():
    fans = {"key": "fans", "name": "Fans", "all": [{"column": "order_count", "at_least": 1}]}
    with pytest.raises(Refused, match="expected each key once, found fans, fans"):
        segments_sql([fans, fans], "measures", list(COLUMNS))


def test_no_segments_are_nobody():
    with duckdb.connect() as connection:
        found = connection.execute(f"select * from {segments_sql([], '(select 1 as customer_id)', [])} as met")
        assert found.fetchall() == []


NUMBERS = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.75, 0.9, 1 / 3, 1e-7, 29.999999999999996]),
    st.floats(0, 100),
)
TEXTS = st.sampled_from(["gold", "Gold", "none", "", "it's", "a ' or 1 = 1 --", "Zoë"])
VALUES = {"number": NUMBERS, "text": TEXTS, "boolean": st.booleans()}


@st.composite
def conditions(draw) -> dict:
    column = draw(st.sampled_from(sorted(COLUMNS)))
    kind = COLUMNS[column]
    operator = draw(st.sampled_from([name for name, kinds in segments.OPERATORS.items() if kind in kinds]))
    if operator == "is_missing":
        return {"column": column, operator: draw(st.booleans())}
    value = draw(st.lists(VALUES[kind], min_size=1, max_size=3) if operator == "one_of" else VALUES[kind])
    return {"column": column, operator: value} | draw(st.sampled_from([{}, {"or_missing": True}]))


PREDICATES = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)
RULES = PREDICATES.map(lambda predicate: {"all": [predicate]} if "column" in predicate else predicate)


@st.composite
def people(draw) -> dict:
    drawn = {}
    for name, kind in COLUMNS.items():
        values = st.integers(0, 40) if name in COUNTED else VALUES[kind]
        drawn[name] = draw(st.one_of(st.none(), values))
    return drawn


@settings(max_examples=25, deadline=None)
@given(rules=st.lists(RULES, min_size=1, max_size=40), rows=st.lists(people(), min_size=1, max_size=4))
def test_sql_and_python_agree_on_every_person_and_every_rule(rules, rows):
    configured = [{"key": f"s{i}", "name": f"It's {i}"} | rule for i, rule in enumerate(rules)]
    with duckdb.connect() as connection:
        typed = ", ".join(f"{name} {SQL_TYPES[kind]}" for name, kind in COLUMNS.items())
        connection.execute(f"create table measures (customer_id integer, {typed})")
        places = ", ".join("?" for _ in range(len(COLUMNS) + 1))
        for number, row in enumerate(rows):
            connection.execute(f"insert into measures values ({places})", [number, *row.values()])
        members = connection.execute(f"select * from {segments_sql(configured, 'measures', list(COLUMNS))} as met")
        found = sorted(members.fetchall())
        listed = connection.execute(f"select *, 'rule' as segment_kind from {listed_sql(configured)} as listed")
        names = [column[0] for column in listed.description]
        published = segments.published(dict(zip(names, row, strict=True)) for row in listed.fetchall())
    assert found == sorted(
        (number, segment.key, segment.name)
        for number, row in enumerate(rows)
        for segment in published
        if segment.explain(row).is_met
    )


def test_what_a_version_was_built_with_is_read_back_from_it():
    shipped = yaml.safe_load((PROJECT / segments.PROJECT_FILE).read_text())["vars"]["rule_segments"]
    with duckdb.connect() as connection:
        listed = connection.execute(f"select *, 'rule' as segment_kind from {listed_sql(shipped)} as listed")
        names = [column[0] for column in listed.description]
        rows = [dict(zip(names, row, strict=True)) for row in listed.fetchall()]
    assert segments.published(rows) == segments.read(PROJECT)


def test_a_rule_is_explained_condition_by_condition(project):
    text = """
    - key: fans
      name: Fans
      all:
        - {column: order_count, at_least: 3}
        - not: {column: loyalty_tier, one_of: [none, bronze]}
        - {column: days_since_last_order, less_than: 30, or_missing: true}
"""
    [fans] = segments.read(with_rules(project, text))
    measures = {"order_count": 2, "loyalty_tier": "gold", "days_since_last_order": None}
    answer = fans.explain(measures)
    assert list(answer.lines()) == [
        "not met  all",
        "  not met  order_count at_least 3: found 2",
        "  met      not",
        "    not met  loyalty_tier one_of none, bronze: found gold",
        "  met      days_since_last_order less_than 30, or missing: found nothing",
    ]
    assert [(one.condition.column, one.found, one.is_met) for one in answer.conditions()] == [
        ("order_count", 2, False),
        ("loyalty_tier", "gold", False),
        ("days_since_last_order", None, True),
    ]
    assert json.loads(json.dumps(answer.to_json()))["parts"][0] == {
        "kind": "condition",
        "is_met": False,
        "column": "order_count",
        "operator": "at_least",
        "threshold": 3,
        "or_missing": False,
        "value": 2,
    }
    assert not segments.explain([fans], measures)["fans"].is_met
    assert segments.explain([fans], measures | {"order_count": 3})["fans"].is_met


def test_the_contrary_of_a_condition_holds_where_a_value_is_missing(project):
    text = """
    - key: quiet
      name: Quiet
      not: {column: days_since_last_order, less_than: 30}
"""
    [quiet] = segments.read(with_rules(project, text))
    assert [quiet.explain({"days_since_last_order": days}).is_met for days in (None, 30, 29)] == [True, True, False]
