"""The warehouse: dbt's full build against one hand-written script, its increment, its memory and its growth.

Run as ``make bench-warehouse``, or ``python benchmarks/warehouse.py [--customers 20000] [--events 1000000]`` with
``PYTHONPATH=.:plugins``; ``SIZE=full`` is a million customers and 50 million events, ``--history FOLDER`` takes a
history that is there (``python -m letterpress.demo.history``), ``--landed FOLDER`` its landed files. Every build has a
process of its own and a new database file, 4 GB of ``memory_limit`` and two threads.

The hand-written script is ``warehouse.sql``: plain DuckDB, of the same landed Parquet. What it makes is what is
measured: dbt builds its tables and what they need, and no others. Their rows have to be equal, numbers to nine digits.
Ends with 1 where they are not, or where a promise of this size is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from letterpress.settings import REPOSITORY

PROJECT = REPOSITORY / "dbt_project"
SCRIPT = Path(__file__).with_suffix(".sql")
FULL = (1_000_000, 50_000_000)
USUAL = (20_000, 1_000_000)
# What issue 4 promises, and from how many events on.
RATIO, RATIO_FROM = 1.5, 9_500_000
EVENT_GRAIN, WHOLE, MEMORY, PROMISED_FROM = 0.05, 0.2, 6.0, 47_500_000
LATE = 0.01  # of the events, by time of arrival: the increment
FIRST = 0.2  # of the events, by time of arrival: what growth is measured against
THREADS = 2
# History's name, the landed name, and the time of arrival.
ENTITIES = {
    "events": ("web__events", "received_at"),
    "email_events": ("email__events", "received_at"),
    "orders": ("shop__orders", "updated_at"),
    "order_lines": ("shop__order_lines", "updated_at"),
    "refunds": ("shop__refunds", "updated_at"),
    "customers": ("crm__customers", "updated_at"),
    "consents": ("crm__consents", "recorded_at"),
    "products": ("catalogue__products", "updated_at"),
}
STREAMS = ("web__events", "email__events")
# Staging of events: what is incremental and reads one of them has the grain of events, of a device or of a message.
STREAM_MODELS = ("base_web__event_copies", "stg_web__events", "stg_email__events", "stg_local_esp__events")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if the rows are equal and every promise of this size is kept."""
    is_full = os.environ.get("SIZE") == "full"
    customers, events = FULL if is_full else USUAL
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=customers)
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--history", type=Path, help="a history that is there; nothing is written into it")
    parser.add_argument("--landed", type=Path, help="landed files that are there, or where to keep them")
    parser.add_argument("--work", type=Path, help="a folder for databases and spilled rows (a temporary one)")
    parser.add_argument("--runs", type=int, default=1 if is_full else 3, help="full builds of which the median counts")
    parser.add_argument("--memory-limit", default="4GB")
    parser.add_argument("--growth", action="store_true", default=is_full, help="build a fifth of the events too")
    parser.add_argument("--no-increment", dest="increment", action="store_false", help="leave out the increment")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "warehouse.json")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.job:
        return perform(options.job)
    facts = machine()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="letterpress-bench-", dir=options.work) as folder:
        bench = Bench(Path(folder), options)
        rows = bench.rows()
    facts.append(_row("load after", round(os.getloadavg()[0], 1), "processes"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(facts + rows, indent=2) + "\n", encoding="utf-8")
    steps = options.output.with_name(f"{options.output.stem}_steps.json")
    steps.write_text(json.dumps(bench.steps, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(facts + rows)}\n\nwritten to {options.output}\n")
    return 0 if all(row["holds"] is not False for row in rows) else 1


def machine() -> list[dict[str, Any]]:
    """What the figures depend on: when, where and with which versions; read before anything is measured."""
    from importlib.metadata import version

    return [
        _row("date", datetime.now(UTC).date().isoformat(), "UTC"),
        _row("cores", psutil.cpu_count(), ""),
        _row("memory", round(psutil.virtual_memory().total / 2**30, 1), "GiB"),
        _row("load before", round(os.getloadavg()[0], 1), "processes"),
        *(_row(name, version(name), "version") for name in ("duckdb", "dbt-core", "dbt-duckdb")),
    ]


class Bench:
    """One benchmark in a folder of its own; every build and every comparison is a process."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.outputs = outputs_of(SCRIPT.read_text(encoding="utf-8"))
        self.steps: dict[str, Any] = {}  # seconds by model or statement, of the last build of each kind
        (folder / "key").write_bytes(b"a key for benchmarks only")

    def rows(self) -> list[dict[str, Any]]:
        """Everything, in the order in which it is measured."""
        landed = self._landed()
        self.events = landed["rows"]["web__events"] + landed["rows"]["email__events"]
        rows = [
            _row("customers' accounts landed", landed["rows"]["crm__customers"], "rows"),
            _row("events landed, web and e-mail", self.events, "rows"),
            _row("of them in the increment", round(landed["late"] / self.events, 4), "share"),
            _row("tables compared, of dbt's marts", f"{len(self.outputs)} of {self._mart_count()}", "tables"),
        ]
        rows += self._full_builds()
        if self.options.increment:
            rows += self._increment()
        if self.options.growth:
            rows += self._growth(landed)
        return rows

    def _landed(self) -> dict[str, Any]:
        """The landed files: of --landed if they are there, or else made of the history."""
        folder = self.options.landed or self.folder / "landed"
        summary = folder / "landed.json"
        if not summary.exists():
            history = self.options.history or self._history()
            self._run("land", history=str(history), landed=str(folder))
        self.landed = folder
        return json.loads(summary.read_text(encoding="utf-8"))

    def _history(self) -> Path:
        out = self.folder / "history"
        command = [sys.executable, "-m", "letterpress.demo.history", "--out", str(out)]
        command += ["--customers", str(self.options.customers), "--events", str(self.options.events)]
        _spawn(command, os.environ)
        return out

    def _full_builds(self) -> list[dict[str, Any]]:
        took: dict[str, list[dict[str, Any]]] = {"dbt": [], "script": []}
        for _ in range(self.options.runs):
            for kind in took:
                shutil.rmtree(self.folder / kind, ignore_errors=True)
                took[kind].append(self._build(kind, kind, known_through=2))
        differing = self._differences("dbt", "script", "dbt", "the script")
        dbt, script = (statistics.median(one["seconds"] for one in took[kind]) for kind in ("dbt", "script"))
        cpu = {kind: statistics.median(one["cpu"] for one in took[kind]) for kind in took}
        self.full = min(took["dbt"], key=lambda one: abs(one["seconds"] - dbt))
        peak = max(one["peak"] for one in took["dbt"])
        is_promised, is_whole_promise = self.events >= RATIO_FROM, self.events >= PROMISED_FROM
        return [
            _row("full build: dbt's start-up (parse, compile)", round(self.full["start_up"], 1), "s"),
            _row(f"full build: dbt, {len(self.full['models'])} models", round(dbt, 1), "s"),
            _row("full build: the script", round(script, 1), "s"),
            _promise("full build: dbt against the script", round(dbt / script, 2), "times", RATIO, is_promised),
            _row("full build: dbt, processor time with start-up", round(cpu["dbt"], 1), "CPU s"),
            _row("full build: the script, processor time", round(cpu["script"], 1), "CPU s"),
            _promise("full build: dbt's peak resident memory", round(peak, 2), "GiB", MEMORY, is_whole_promise),
            _row("full build: the script's peak", round(max(one["peak"] for one in took["script"]), 2), "GiB"),
            self._equal("tables equal, dbt and the script", differing),
            *self._identity(),
        ]

    def _identity(self) -> list[dict[str, Any]]:
        """How many edges make people of identifiers, and the seconds of all models from claims to person ids."""
        models = self.full["models"]
        seconds = sum(model["seconds"] for model in models.values() if model["is_of_identity"])
        database, spill = self.folder / "dbt" / "warehouse.duckdb", self.folder / "spill"
        counted = self._run("count", database=str(database), table="marts.fct_identity_edges", spill=str(spill))
        return [
            _row("identity: edges", counted["rows"], "rows"),
            _row("identity: claims, links, components, ids", round(seconds, 1), "s"),
            _row("identity: components alone", round(models["int_components_propagated"]["seconds"], 1), "s"),
        ]

    def _increment(self) -> list[dict[str, Any]]:
        """A build of the first load, and one of what came after it into the same database."""
        self._build("dbt", "increment", known_through=1)
        later = self._build("dbt", "increment", known_through=2, is_incremental=True)
        differing = self._differences("dbt", "increment", "the full build", "the increment")
        event_grain, keyed = (self._share_of_models(later, kind) for kind in ("event grain", "keyed"))
        whole = later["seconds"] / self.full["seconds"]
        is_promised = self.events >= PROMISED_FROM
        return [
            _row("increment: dbt's start-up (parse, compile)", round(later["start_up"], 1), "s"),
            _row("increment: the whole build", round(later["seconds"], 1), "s"),
            _promise("increment: the whole build against the full one", round(whole, 4), "share", WHOLE, is_promised),
            _promise(
                "increment: models over events, the same", round(event_grain, 4), "share", EVENT_GRAIN, is_promised
            ),
            _row("increment: staging of orders and customers, the same", round(keyed, 4), "share"),
            _row("increment: peak resident memory", round(later["peak"], 2), "GiB"),
            self._equal("tables equal, increment and full build", differing),
        ]

    def _share_of_models(self, later: Mapping[str, Any], kind: str) -> float:
        """Seconds of the models of a kind in the increment against the full build."""
        names = [name for name, model in self.full["models"].items() if model["kind"] == kind]
        took = [sum(build["models"][name]["seconds"] for name in names) for build in (later, self.full)]
        return took[0] / took[1]

    def _growth(self, landed: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The first fifth of the events with all customers and orders, against all of them."""
        whole, self.landed = self.landed, self.folder / "first"
        self._run("first", landed=str(whole), out=str(self.landed))
        shutil.rmtree(self.folder / "increment", ignore_errors=True)
        smaller = self._build("dbt", "smaller", known_through=2)
        rows = json.loads((self.landed / "landed.json").read_text(encoding="utf-8"))["rows"]
        fewer = sum(rows[name] for name in STREAMS)
        growth, slower = self.events / fewer, self.full["seconds"] / smaller["seconds"]
        return [
            _row(f"growth: dbt, the first {fewer:,} events", round(smaller["seconds"], 1), "s"),
            _row("growth: events", round(growth, 2), "times"),
            _promise("growth: time", round(slower, 2), "times", round(growth, 2), self.events >= PROMISED_FROM),
        ]

    def _build(self, kind: str, name: str, *, known_through: int, is_incremental: bool = False) -> dict[str, Any]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        answer = self._run(
            kind,
            folder=str(folder),
            landed=str(self.landed),
            key=str(self.folder / "key"),
            as_of=json.loads((self.landed / "landed.json").read_text(encoding="utf-8"))["as_of"],
            known_through=known_through,
            is_incremental=is_incremental,
            outputs=self.outputs,
        )
        slowest = sorted(answer["models"].items(), key=lambda item: -item[1]["seconds"])
        self.steps[f"{name}, later load" if is_incremental else name] = dict(slowest)
        return answer

    def _differences(self, one: str, other: str, one_name: str, other_name: str) -> list[str]:
        found = self._run(
            "compare",
            one=str(self.folder / one / "warehouse.duckdb"),
            other=str(self.folder / other / "warehouse.duckdb"),
            outputs=self.outputs,
            spill=str(self.folder / "spill"),
        )["differences"]
        for name, (only_one, only_other, note) in found.items():
            sys.stderr.write(
                f"{name}: expected equal rows, found {only_one:,} in {one_name} alone and {only_other:,} in "
                f"{other_name} alone{note}\n"
            )
        return list(found)

    def _equal(self, what: str, differing: Sequence[str]) -> dict[str, Any]:
        count = len(self.outputs)
        return _row(what, count - len(differing), "tables", f"{count}", not differing)

    def _mart_count(self) -> int:
        marts = PROJECT / "models" / "marts"
        return sum(1 for file in marts.rglob("*.sql") if file.parent.name not in ("scores", "sync"))

    def _run(self, job: str, **asked: Any) -> dict[str, Any]:
        """One job in a process of its own; its answer, with its time and its peak memory."""
        file = self.folder / "job.json"
        asked |= {"job": job, "memory_limit": self.options.memory_limit, "answer": str(self.folder / "answer.json")}
        file.write_text(json.dumps(asked), encoding="utf-8")
        began = time.perf_counter()
        used = _spawn([sys.executable, str(Path(__file__).resolve()), "--job", str(file)], os.environ)
        # A full size takes long: what is done is told as it is.
        sys.stderr.write(
            f"{time.strftime('%H:%M:%S')} {job} {Path(asked.get('folder', '')).name}: "
            f"{time.perf_counter() - began:.1f} s, {used['cpu']:.1f} CPU s, {used['peak']:.2f} GiB\n"
        )
        return used | json.loads(Path(asked["answer"]).read_text(encoding="utf-8"))


def outputs_of(sql: str) -> list[str]:
    """The tables that the script leaves in dbt's schemas."""
    return re.findall(r"^create table ((?:marts|features)\.\w+)", sql, flags=re.MULTILINE)


def _spawn(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Processor seconds and peak resident GiB of a process, as the kernel counted them."""
    paths = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"
    child = os.posix_spawn(command[0], list(command), dict(environment) | {"PYTHONPATH": paths})
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: expected it to end with 0, found {os.waitstatus_to_exitcode(status)}")
    return {"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 2**20}


# What follows runs in the processes of the jobs.


def perform(file: Path) -> int:
    """One job of the benchmark: {"job": name, "answer": file, …}."""
    asked = json.loads(file.read_text(encoding="utf-8"))
    answer = JOBS[asked["job"]](asked)
    Path(asked["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def land(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A history as landed files in two loads, cut where 1 % of the web's events have not arrived."""
    history, folder = Path(asked["history"]), Path(asked["landed"])
    with _connected(":memory:", asked, folder) as connection:
        [(cut,)] = connection.execute(
            f"select quantile_disc(received_at, {1 - LATE}) from read_parquet('{history}/events/*.parquet')"
        ).fetchall()
        for entity, (name, arrival) in ENTITIES.items():
            files = f"read_parquet('{history}/{entity}/*.parquet')"
            for load, compared in ((1, "<="), (2, ">")):
                connection.execute(
                    f"copy (select *, md5(landed::varchar) as _row_hash from {files} as landed"
                    f" where {arrival} {compared} $cut) to '{folder}/{name}-{load}.parquet'"
                    " (format parquet, compression zstd)",
                    {"cut": cut},
                )
        manifest = json.loads((history / "manifest.json").read_text(encoding="utf-8"))
        _summarise(connection, folder, manifest["asked"]["today"])
    return {}


def first(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Landed files with the first fifth of the events by their arrival, and all else as it is."""
    source, folder = Path(asked["landed"]), Path(asked["out"])
    with _connected(":memory:", asked, folder) as connection:
        for name, arrival in ENTITIES.values():
            [(cut,)] = connection.execute(
                f"select quantile_disc({arrival}, {FIRST}) from read_parquet('{source}/{name}-*.parquet')"
            ).fetchall()
            for load in (1, 2):
                file = f"{name}-{load}.parquet"
                if name in STREAMS:
                    connection.execute(
                        f"copy (select * from read_parquet('{source}/{file}') where {arrival} <= $cut)"
                        f" to '{folder}/{file}' (format parquet, compression zstd)",
                        {"cut": cut},
                    )
                else:
                    (folder / file).symlink_to((source / file).resolve())
        as_of = json.loads((source / "landed.json").read_text(encoding="utf-8"))["as_of"]
        _summarise(connection, folder, as_of)
    return {}


def _summarise(connection: Any, folder: Path, as_of: str) -> None:
    def count(files: str) -> int:
        return connection.execute(f"select count(*) from read_parquet('{folder}/{files}')").fetchall()[0][0]

    summary = {
        "as_of": as_of,
        "rows": {name: count(f"{name}-*.parquet") for name, _ in ENTITIES.values()},
        "late": sum(count(f"{name}-2.parquet") for name in STREAMS),
    }
    (folder / "landed.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def build_with_dbt(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The models of the outputs, and what they need, by one dbt command in this process."""
    from letterpress.warehouse.inputs import staged_entities

    folder = Path(asked["folder"])
    variables = {
        "as_of": asked["as_of"],
        "known_through": asked["known_through"],
        "inputs": _index(folder, Path(asked["landed"]), asked["known_through"]),
        "staged": staged_entities(),
    }
    os.environ.update(
        LETTERPRESS_WAREHOUSE_FILE=str(folder / "warehouse.duckdb"),
        LETTERPRESS_IDENTITY_KEY_FILE=asked["key"],
        LETTERPRESS_MEMORY_LIMIT=asked["memory_limit"],
        LETTERPRESS_SPILL=str(folder / "spill"),
        DO_NOT_TRACK="1",
    )
    from dbt.cli.main import dbtRunner

    models = [f"+fct_{name}" if schema == "features" else f"+{name}" for schema, name in _split(asked["outputs"])]
    command = ["build", "--resource-type", "model", "--resource-type", "seed", "--select", *models]
    if not asked["is_incremental"]:
        command.append("--full-refresh")
    began = time.time()
    # dbt writes what it does to standard output, and to its log in the folder.
    with (folder / "dbt.txt").open("a", encoding="utf-8") as said, contextlib.redirect_stdout(said):
        answer = dbtRunner().invoke(
            [
                "--no-use-colors",
                *command,
                *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
                *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
                *("--vars", json.dumps(variables)),
            ]
        )
    ended = time.time()
    broken = [f"{one.node.name}: {one.message}" for one in answer.result or [] if one.status != "success"]
    if answer.exception or broken:
        raise RuntimeError(f"dbt: expected every model to be built, found {answer.exception or ', '.join(broken)}")
    started = min(step.started_at for one in answer.result for step in one.timing)
    finished = max(step.completed_at for one in answer.result for step in one.timing)
    seconds = (finished - started).total_seconds()
    return {
        "seconds": seconds,
        "start_up": ended - began - seconds,
        "models": {
            one.node.name: {
                "seconds": one.execution_time,
                "kind": _kind(one.node, answer.result),
                "is_of_identity": one.node.fqn[1:3] == ["intermediate", "identity"],
            }
            for one in answer.result
        },
    }


def _kind(node: Any, results: Iterable[Any]) -> str:
    # A mart that writes only what has changed compares all of its rows: it is no model over new events.
    if node.config.materialized != "incremental" or node.fqn[1] == "marts":
        return "table"
    above = {one.node.unique_id: one.node for one in results}
    waiting, seen = [node.unique_id], set()
    while waiting:
        identifier = waiting.pop()
        if identifier in seen or identifier not in above:
            continue
        seen.add(identifier)
        if above[identifier].name in STREAM_MODELS:
            return "event grain"
        waiting += above[identifier].depends_on.nodes if hasattr(above[identifier].depends_on, "nodes") else []
    return "keyed"


def _index(folder: Path, landed: Path, known_through: int) -> str:
    """The index of the landed files, as a build of the warehouse writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from letterpress.sources import landing
    from letterpress.warehouse import history, inputs

    schemas = dict(landing.declared_schemas())
    schemas |= {("history", name): schema for name, schema in history.SCHEMAS.items()}
    schemas |= {("scores", name): schema for name, schema in inputs.SCORED.items()}
    rows = []
    for (source, entity), schema in schemas.items():
        file = folder / "declared" / f"{source}.{entity}.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(schema.empty_table(), file)
        rows.append((source, entity, str(file), 0, datetime(2000, 1, 1, tzinfo=UTC)))
    for file in sorted(landed.glob("*.parquet")):
        name, load = file.stem.rsplit("-", 1)
        if int(load) <= known_through:
            rows.append((*name.split("__"), str(file), int(load), datetime(2000, 1, 1, tzinfo=UTC)))
    columns = [list(column) for column in zip(*rows, strict=True)]
    index = folder / "inputs.parquet"
    pq.write_table(pa.table(columns, schema=inputs.INDEX_SCHEMA), index)
    return str(index)


def build_with_script(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The hand-written script, statement by statement, into a new database."""
    folder = Path(asked["folder"])
    steps = {}
    with _connected(str(folder / "warehouse.duckdb"), asked, folder) as connection:
        began = time.perf_counter()
        for name, value in (("landed", asked["landed"]), ("as_of", asked["as_of"]), ("key_file", asked["key"])):
            connection.execute(f"set variable {name} = '{value}'")
        connection.execute(f"set variable seeds = '{PROJECT / 'seeds'}'")
        for statement in connection.extract_statements(SCRIPT.read_text(encoding="utf-8")):
            step = time.perf_counter()
            connection.execute(statement)
            steps[_first_line(statement.query)] = {"seconds": round(time.perf_counter() - step, 3)}
        connection.execute("checkpoint")
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "models": steps}


def _first_line(sql: str) -> str:
    return next(line for line in sql.strip().splitlines() if line.strip() and not line.startswith("--"))[:100]


def compare(asked: Mapping[str, Any]) -> dict[str, Any]:
    """By table the rows that only one of two databases has, `except all` both ways; numbers to nine digits."""
    found = {}
    with _connected(":memory:", asked, Path(asked["spill"])) as connection:
        for side in ("one", "other"):
            connection.execute(f"attach '{asked[side]}' as {side}_side (read_only)")
        for schema, name in _split(asked["outputs"]):
            columns = {side: _columns(connection, f"{side}_side", schema, name) for side in ("one", "other")}
            if columns["one"] != columns["other"]:
                odd = sorted(set(columns["one"].items()) ^ set(columns["other"].items()))
                found[f"{schema}.{name}"] = (0, 0, f"; columns or types differ: {odd}")
                continue
            read = [
                f"select {', '.join(_nine_digits(*column) for column in columns['one'].items())}, {sign} as _side"
                f" from {side}_side.{schema}.{name}"
                for side, sign in (("one", 1), ("other", -1))
            ]
            # The rows that stay when each of one side takes away one of the other: both differences in one pass.
            [(only_one, only_other)] = connection.execute(
                "select coalesce(sum(greatest(balance, 0)), 0)::bigint, coalesce(sum(greatest(-balance, 0)), 0)::bigint"
                f" from (select sum(_side) as balance from ({read[0]} union all {read[1]}) as both_sides"
                f" group by {', '.join(_quoted(column) for column in columns['one'])})"
            ).fetchall()
            if only_one or only_other:
                found[f"{schema}.{name}"] = (only_one, only_other, "")
    return {"differences": found}


def count(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of a table."""
    with _connected(":memory:", asked, Path(asked["spill"])) as connection:
        connection.execute(f"attach '{asked['database']}' as built (read_only)")
        [(rows,)] = connection.execute(f"select count(*) from built.{asked['table']}").fetchall()
    return {"rows": rows}


def _columns(connection: Any, database: str, schema: str, name: str) -> dict[str, str]:
    rows = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = ? and schema_name = ?"
        " and table_name = ? order by column_index",
        [database, schema, name],
    ).fetchall()
    return dict(rows)


def _nine_digits(column: str, data_type: str) -> str:
    name = _quoted(column)
    if data_type not in ("DOUBLE", "FLOAT"):
        return name
    return f"case when {name} = 0 then 0 else round({name}, 8 - floor(log10(abs({name})))::int) end as {name}"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _split(outputs: Iterable[str]) -> list[tuple[str, str]]:
    return [(schema, name) for schema, name in (output.split(".") for output in outputs)]


@contextlib.contextmanager
def _connected(database: str, asked: Mapping[str, Any], folder: Path):
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    spill = folder / "spill"
    config = {"memory_limit": asked["memory_limit"], "threads": THREADS, "temp_directory": str(spill)}
    with duckdb.connect(database, config=config) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection
    shutil.rmtree(spill, ignore_errors=True)


JOBS = {
    "land": land,
    "first": first,
    "dbt": build_with_dbt,
    "script": build_with_script,
    "compare": compare,
    "count": count,
}


def _row(what: str, measured: Any, unit: str, reach: str | None = None, holds: bool | None = None) -> dict[str, Any]:
    return {"what": what, "measured": measured, "unit": unit, "reach": reach, "holds": holds, "baseline": None}


def _promise(what: str, measured: float, unit: str, at_most: float, is_promised: bool) -> dict[str, Any]:
    """A row with its bar, where the bar is promised for this size."""
    return _row(what, measured, unit, *((f"<= {at_most}", measured <= at_most) if is_promised else ()))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':56} {'measured':>12} {'unit':10} {'reach':>8}  holds"]
    for row in rows:
        holds = {True: "yes", False: "NO", None: ""}[row["holds"]]
        lines.append(f"{row['what']:56} {row['measured']:>12} {row['unit']:10} {row['reach'] or '':>8}  {holds}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
