"""Increments give exactly what a full build gives, whatever is late, repeated, shuffled, or not due yet."""

import shutil

import pytest
from landed_rows import Landing
from random_histories import instants, loads

FEATURES = ("run", "--select", "tag:features_phase")
# What a later build finds in a span stands beside it: only the sum of its rows is the same.
SPANS = """
    select
        anonymous_id, shop_customer_id, user_agent, bucket, max(time_zone), min(first_campaign), max(last_campaign),
        sum(columns('_count$')), min(started_at), max(ended_at), max(columns('^last_.*_at$')), max(_load_sequence)
    from {}
    group by all
"""


def tables(landing: Landing) -> list[str]:
    """Every table that follows from what has landed."""
    rows = landing.query(
        "select schema_name || '.' || table_name from duckdb_tables() where schema_name <> 'seeds' order by 1"
    )
    return [name for (name,) in rows]


def differing(landing: Landing, other: str) -> dict[str, tuple[int, int]]:
    """Tables whose rows differ between the landing's warehouse and another file: rows only here, rows only there."""
    import duckdb

    found = {}
    with duckdb.connect(str(landing.database), read_only=True) as connection:
        connection.execute(f"attach '{other}' as other (read_only)")
        for table in tables(landing):
            here, there = (
                SPANS.format(name) if table == "intermediate.int_web_spans_summarised" else f"from {name}"
                for name in (table, f"other.{table}")
            )
            counts = [
                connection.execute(f"select count(*) from (({one}) except all ({two}))").fetchall()[0][0]
                for one, two in ((here, there), (there, here))
            ]
            if any(counts):
                found[table] = tuple(counts)
    return found


def build_step_by_step(landing: Landing, seed: int, steps: int) -> None:
    """One load, one incremental build, and the next, with as_of moving on; then the whole once more, beside it."""
    whole = landing.folder / "whole" / landing.database.name
    whole.parent.mkdir()
    assert landing.dbt("seed").success
    shutil.copy(landing.database, whole)
    for rows, as_of in zip(loads(seed, steps), instants(steps), strict=True):
        landing.load(**rows)
        answer = landing.dbt(*FEATURES, as_of=as_of)
        assert answer.success, [one.message for one in answer.result or [] if str(one.status) == "error"]
    step_by_step, landing.database = landing.database, whole
    assert landing.dbt(*FEATURES, "--full-refresh", as_of=instants(steps)[-1]).success
    landing.database = step_by_step


def test_three_increments_equal_a_full_build(tmp_path):
    landing = Landing(tmp_path)
    build_step_by_step(landing, seed=1, steps=3)
    assert landing.query("select count(*) > 50 from intermediate.int_sessions_summarised") == [(True,)]
    assert differing(landing, str(tmp_path / "whole" / "warehouse.duckdb")) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_increments_equal_a_full_build(tmp_path, seed):
    landing = Landing(tmp_path)
    build_step_by_step(landing, seed=seed, steps=7)
    assert differing(landing, str(tmp_path / "whole" / "warehouse.duckdb")) == {}
