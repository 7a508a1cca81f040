"""Rule segments: ten times as many of them against the time of the segment models, over a million people.

Run as ``make bench-rule-segments``, or ``python benchmarks/rule_segments.py [--customers 1000000] [--runs 3]`` with
``PYTHONPATH=.:plugins``. The measures and RFM codes of so many synthetic people are written into a DuckDB file, and the
SQL of ``dim_customer_segments``, as dbt renders it, is run over them with 10 and with 100 rule segments. What is timed
are the segment models alone: that one, and writing the measures with their percentile (of ``fct_customer_measures`` the
joins are left out). Prints a table and writes a list of ``{"what", "measured", "unit", "reach", "holds", "baseline"}``;
the baseline evaluates every segment in a scan of its own.

Selectivities: the first 10 segments are the first of those that ship; they hold 11 % of the people on average. The
rest is what marketers add: the others of those that ship, and narrower ones, a shipped rule within a country, a tier or
a category; all 100 hold 5 % on average. The printed table says how many memberships there are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from letterpress.settings import REPOSITORY

PROJECT = REPOSITORY / "dbt_project"
FEW, MANY = 10, 100
AS_OF = "2011-07-01T00:00:00+00:00"
NARROWER = [
    *({"column": "country_code", "equals": code} for code in ("GB", "DE", "FR", "NL", "IE", "US")),
    *({"column": "loyalty_tier", "equals": tier} for tier in ("gold", "silver")),
    {"column": "favourite_category", "one_of": ["Garden", "Kitchen"]},
    {"column": "email_consent_status", "equals": "granted"},
]
# Skewed as a shop's people are: most of them have done little, and long ago.
MEASURES = """
    select
        md5(range::varchar) as customer_id,
        ['GB','GB','GB','GB','DE','FR','NL','IE','US'][1 + (random() * 9)::int % 9] as country_code,
        ['none','none','none','bronze','bronze','silver','gold'][1 + (random() * 7)::int % 7] as loyalty_tier,
        ['new','active','at_risk','churned'][1 + (random() * 4)::int % 4] as lifecycle_stage,
        ['Garden','Kitchen','Toys','Lighting','Bags'][1 + (random() * 5)::int % 5] as favourite_category,
        ['mobile','desktop','tablet'][1 + (random() * 3)::int % 3] as preferred_device,
        ['granted','granted','withdrawn','none'][1 + (random() * 4)::int % 4] as email_consent_status,
        (18 + random() * 60)::bigint as age_years,
        floor(-ln(random()) * 3)::bigint as order_count,
        floor(-ln(random()) * 0.4)::bigint as order_count_30_days,
        floor(-ln(random()) * 1.0)::bigint as order_count_90_days,
        round(-ln(random()) * 150, 2)::double as total_spend,
        round(-ln(random()) * 45, 2)::double as average_order_value,
        floor(-ln(random()) * 8)::bigint as web_session_count,
        floor(-ln(random()) * 2)::bigint as web_sessions_30d,
        floor(-ln(random()) * 1.5)::bigint as visit_days_30d,
        floor(-ln(random()) * 1)::bigint as product_views_7d,
        floor(-ln(random()) * 4)::bigint as product_views_30d,
        floor(-ln(random()) * 1.2)::bigint as product_view_days_30d,
        floor(-ln(random()) * 0.5)::bigint as carts_30d,
        floor(-ln(random()) * 0.3)::bigint as checkouts_30d,
        floor(-ln(random()) * 20)::bigint as emails_delivered_count,
        floor(-ln(random()) * 6)::bigint as emails_opened_count,
        floor(-ln(random()) * 2)::bigint as emails_clicked_count,
        floor(-ln(random()) * 9)::bigint as emails_delivered_90d,
        floor(-ln(random()) * 2)::bigint as email_engagement_days_30d,
        floor(-ln(random()) * 2.5)::bigint as active_days_30d,
        random() * random() as email_open_rate_90d,
        random() * random() * random() as email_click_rate_90d,
        floor(random() * 700)::bigint as days_since_first_seen,
        case when random() < 0.7 then floor(-ln(random()) * 120)::bigint end as days_since_last_order,
        case when random() < 0.7 then floor(-ln(random()) * 2900)::bigint end as hours_since_last_order,
        case when random() < 0.8 then floor(-ln(random()) * 60)::bigint end as days_since_last_web_visit,
        case when random() < 0.8 then floor(-ln(random()) * 70)::bigint end as days_since_last_product_view,
        case when random() < 0.8 then floor(-ln(random()) * 1700)::bigint end as hours_since_last_product_view,
        case when random() < 0.5 then floor(-ln(random()) * 90)::bigint end as days_since_last_cart_addition,
        case when random() < 0.6 then floor(-ln(random()) * 40)::bigint end as days_since_last_email_engagement,
        random() < 0.0027 as is_birthday_today,
        random() < 0.5 as has_ordered_since_last_cart_addition,
        random() < 0.03 as is_email_suppressed,
        timestamptz '2011-07-01 00:00:00+00' as as_of
    from range({customers})
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 1 where ten times the segments take more than twice the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "rule_segments.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="letterpress-bench-") as folder:
        rows = measure(Path(folder), options.customers, options.runs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(rows)}\n\nwritten to {options.output}\n")
    return 0 if all(row["holds"] is not False for row in rows) else 1


def measure(folder: Path, customers: int, runs: int) -> list[dict[str, Any]]:
    """Every figure; times are the median of the runs, in wall-clock and in processor seconds."""
    import duckdb

    rules = more_rules(MANY)
    sql = {count: rendered(folder, rules[:count]) for count in (FEW, MANY)}
    config = {"memory_limit": "4GB", "threads": 2, "temp_directory": str(folder / "spill")}
    with duckdb.connect(str(folder / "bench.duckdb"), config=config) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("select setseed(0.5)")
        for schema in ("source", "marts"):
            connection.execute(f"create schema {schema}")
        connection.execute(f"create table source.measures as {MEASURES.format(customers=customers)}")
        connection.execute(
            "create table marts.fct_customer_rfm as select customer_id, 'champions' as rfm_segment_key, "
            "'Champions' as rfm_segment from source.measures where order_count > 0"
        )
        write_measures = _timed(connection, "marts.fct_customer_measures", _measures(), runs)
        rows = [
            _row("date", time.strftime("%Y-%m-%d", time.gmtime()), "UTC"),
            _row("cores", psutil.cpu_count(), ""),
            _row("load", round(os.getloadavg()[0], 1), "processes"),
            _row("duckdb", duckdb.__version__, "version"),
            _row(f"people with measures: {customers:,}, written", write_measures["wall"], "s"),
            _row("the same", write_measures["cpu"], "CPU s"),
        ]
        took = {}
        for count in (FEW, MANY):
            took[count] = _timed(connection, "marts.dim_customer_segments", sql[count], runs)
            [(members, mean)] = connection.execute(
                "select count(*), count(*) / ? / ? from marts.dim_customer_segments where segment_kind = 'rule'",
                [count, customers],
            ).fetchall()
            rows += [
                _row(f"{count} segments: memberships by rule", members, "rows"),
                _row(f"{count} segments: a segment holds on average", round(100 * mean, 2), "% of people"),
                _row(f"{count} segments: dim_customer_segments", took[count]["wall"], "s"),
                _row(f"{count} segments: the same", took[count]["cpu"], "CPU s"),
            ]
        naive = _timed(connection, "marts.dim_customer_segments", one_scan_each(sql[MANY], rules), 1)
    for unit, name in (("wall", "s"), ("cpu", "CPU s")):
        whole = {count: took[count][unit] + write_measures[unit] for count in took}
        ratio = round(whole[MANY] / whole[FEW], 2)
        naive_ratio = round((naive[unit] + write_measures[unit]) / whole[FEW], 2)
        what = f"{MANY} segments against {FEW}: the segment models ({name})"
        rows.append(_row(what, ratio, "times", "<= 2", ratio <= 2 if unit == "cpu" else None, naive_ratio))
    alone = round(took[MANY]["cpu"] / took[FEW]["cpu"], 2)
    rows.append(_row(f"{MANY} segments against {FEW}: dim_customer_segments alone (CPU s)", alone, "times"))
    return rows


def more_rules(count: int) -> list[dict[str, Any]]:
    """The rules that ship, and narrower ones made of them until there are so many."""
    shipped = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]["rule_segments"]
    rules = [dict(rule) for rule in shipped]
    for number, narrower in enumerate(NARROWER * count):
        if len(rules) >= count:
            break
        wide = shipped[number % len(shipped)]
        kind = next(name for name in ("all", "any", "not") if name in wide)
        key = f"{wide['key']}_{number}"
        rules.append({"key": key, "name": key.replace("_", " ").title(), "all": [{kind: wide[kind]}, narrower]})
    return rules[:count]


def rendered(folder: Path, rules: list[dict[str, Any]]) -> str:
    """``dim_customer_segments`` as dbt compiles it for these rules, over the tables of the benchmark."""
    from dbt.cli.main import dbtRunner

    os.environ |= {
        "LETTERPRESS_WAREHOUSE_FILE": str(folder / "compile.duckdb"),
        "LETTERPRESS_IDENTITY_KEY_FILE": str(folder / "key"),
        "DO_NOT_TRACK": "1",
    }
    variables = {"as_of": AS_OF, "known_through": 1, "inputs": "unused", "rule_segments": rules}
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(folder / "target")]
    command = ["--quiet", "--no-send-anonymous-usage-stats", "compile", "--select", "dim_customer_segments"]
    with contextlib.redirect_stdout(io.StringIO()):  # dbt shows what it compiled
        answer = dbtRunner().invoke(
            [*command, *folders, "--log-path", str(folder / "logs"), "--vars", json.dumps(variables)]
        )
    if not answer.success:
        raise RuntimeError(f"dbt compile: {answer.exception or [one.message for one in answer.result]}")
    compiled = next(one for one in answer.result if one.node.name == "dim_customer_segments")
    return compiled.node.compiled_code.replace('"compile".', "")


def one_scan_each(sql: str, rules: list[dict[str, Any]]) -> str:
    """The naive way, for comparison: the same segments, each in a scan of its own."""
    predicates = [part.split(" then ")[0] for part in sql.split("case when ")[1 : len(rules) + 1]]
    scans = [
        f"select customer_id, '{rule['key']}' as segment_key, '{rule['name']}' as segment_name, "
        f"'rule' as segment_kind, timestamptz '{AS_OF}' as as_of from marts.fct_customer_measures where {predicate}"
        for rule, predicate in zip(rules, predicates, strict=True)
    ]
    rfm = "select customer_id, rfm_segment_key, rfm_segment, 'rfm', timestamptz '{}' from marts.fct_customer_rfm"
    return " union all ".join([*scans, rfm.format(AS_OF)])


def _measures() -> str:
    """The measures with their percentile, which is the part of them that segments alone need."""
    return (
        "select measures.*, percentiles.spend_percentile from source.measures as measures left join (select "
        "customer_id, percent_rank() over (order by total_spend) as spend_percentile from source.measures "
        "where order_count > 0) as percentiles using (customer_id)"
    )


def _timed(connection: Any, name: str, sql: str, runs: int) -> dict[str, float]:
    """Median seconds of writing a table, checkpoint included."""

    def write() -> None:
        connection.execute(f"create or replace table {name} as {sql}")
        connection.execute("checkpoint")

    took = [_once(write) for _ in range(runs)]
    return {unit: round(statistics.median(one[unit] for one in took), 2) for unit in ("wall", "cpu")}


def _once(action: Callable[[], None]) -> dict[str, float]:
    process = psutil.Process()
    before, began = process.cpu_times(), time.perf_counter()
    action()
    after = process.cpu_times()
    return {
        "wall": time.perf_counter() - began,
        "cpu": after.user + after.system - before.user - before.system,
    }


def _row(
    what: str, measured: Any, unit: str, reach: str | None = None, holds: bool | None = None, baseline: Any = None
) -> dict[str, Any]:
    return {"what": what, "measured": measured, "unit": unit, "reach": reach, "holds": holds, "baseline": baseline}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':68} {'measured':>12} {'unit':12} {'reach':>6}  {'holds':5} {'baseline':>9}"]
    for row in rows:
        holds = {True: "yes", False: "NO", None: ""}[row["holds"]]
        baseline = "" if row["baseline"] is None else row["baseline"]
        lines.append(
            f"{row['what']:68} {row['measured']:>12} {row['unit']:12} {row['reach'] or '':>6}  {holds:5} {baseline:>9}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
