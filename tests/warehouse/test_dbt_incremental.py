"""Increments give exactly what a full build gives, whatever is late, repeated, shuffled, or not due yet."""

import shutil

import pytest
from landed_rows import Landing
from random_histories import instants, loads
from small_shop import BOT, account, web

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


@pytest.mark.slow
def test_many_increments_equal_a_full_build(tmp_path):
    landing = Landing(tmp_path)
    build_step_by_step(landing, seed=1, steps=6)
    assert landing.query("select count(*) > 50 from intermediate.int_sessions_summarised") == [(True,)]
    assert differing(landing, str(tmp_path / "whole" / "warehouse.duckdb")) == {}


def test_what_lands_late_joins_visits_and_tells_whose_the_written_ones_were(tmp_path):
    landing = Landing(tmp_path)
    marts = ("run", "--select", "+fct_web_sessions", "+fct_quarantined_rows")
    landing.load(
        crm__customers=[account("C1", "ann@example.com")],
        web__events=[
            web("W1", "D1", None, "2011-06-01 10:00"),
            web("W2", "D1", None, "2011-06-01 10:50"),
            web("W3", "D2", None, "2011-06-01 10:00"),
            web("W4", "D3", None, "2011-06-01 10:00", context=BOT),
        ],
    )
    assert landing.dbt("seed").success
    assert landing.dbt(*marts).success
    visits = "select session_id, event_count, customer_id is not null from marts.fct_web_sessions order by 1"
    assert [(count, known) for _, count, known in landing.query(visits)] == [(1, False)] * 3
    landing.load(
        web__events=[
            web("W5", "D1", None, "2011-06-01 10:25"),
            web("W6", "D2", "C1", "2011-06-20 10:00"),
            web("W7", "D3", None, "2011-06-20 10:00", context=BOT),
        ]
    )
    assert landing.dbt(*marts).success
    assert [(count, known) for _, count, known in landing.query(visits)] == [(3, False), (1, True), (1, True)]
    quarantined = "select row_key, reason, _load_sequence from marts.fct_quarantined_rows order by 1"
    assert landing.query(quarantined) == [("W4", "bot", 1), ("W7", "bot", 2)]
