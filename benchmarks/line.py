"""The line, room by room: what each of them does in a second on this machine, over the demo shop.

Run as ``make bench``, or ``python benchmarks/line.py [--customers 1000] [--people 10000] [--runs 3]``
with ``PYTHONPATH=.:plugins``. Works in a temporary home with the real demo shop and the real local ESP on free
ports, prints a table and writes a list of ``{"what", "measured", "unit", "reach", "holds", "baseline"}``. Nothing is
promised yet, so ``reach``, ``holds`` and ``baseline`` are null. Every figure is the median of the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil

from letterpress.settings import REPOSITORY, Settings

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
RUN = "benchmark"
LIBRARIES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "scikit-learn", "pandas", "pyarrow", "dlt")
LAYERS = ("staging", "intermediate", "marts")
SOURCES = ("crm", "catalogue", "shop", "web", "email")
NOBODY = {"verdict": "passed", "checks": 0, "warnings": 0}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    full = os.environ.get("SIZE") == "full"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=10_000 if full else 1_000, help="of the demo shop")
    parser.add_argument("--people", type=int, default=100_000 if full else 10_000, help="in the synced audience")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "line.json")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    os.environ |= {"DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "False", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="letterpress-bench-") as folder:
        measured = Bench(Path(folder), options.customers, options.people, options.runs).measure()
    facts.append(_row("load after", round(os.getloadavg()[0], 1), "processes"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(measured + facts, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(facts, measured)}\n\nwritten to {options.output}\n")
    return 0


def machine() -> list[dict[str, Any]]:
    """What the figures depend on: when, where and with which versions; read before anything is measured."""
    return [
        _row("date", datetime.now(UTC).date().isoformat(), "UTC"),
        _row("cores", psutil.cpu_count(), ""),
        _row("memory", round(psutil.virtual_memory().total / 2**30, 1), "GiB"),
        _row("load before", round(os.getloadavg()[0], 1), "processes"),
        _row("Python", platform.python_version(), "version"),
        *(_row(name, version(name), "version") for name in LIBRARIES),
    ]


class Bench:
    """One run over one temporary home; every step builds on the one before it."""

    def __init__(self, folder: Path, customers: int, people: int, runs: int) -> None:
        self.folder, self.customers, self.people, self.runs = folder, customers, people, runs
        self.rows: list[dict[str, Any]] = []
        self.settings = self._settings("home")

    def measure(self) -> list[dict[str, Any]]:
        """Every figure, in the order of the line."""
        from letterpress.operations.environment import secret

        for name in ("identity_key", "esp_token"):
            secret(self.settings, name)
        self.history()
        self.extraction()
        self.checks()
        self.builds()
        self.models()
        self.activation_build()
        self.sync()
        return self.rows

    def history(self) -> None:
        """The demo shop makes its year, in a new home each time."""
        from letterpress.demo.shop.app import create_app
        from letterpress.demo.simulation.simulator import World
        from letterpress.demo.simulation.store import Store

        def make(number: int) -> None:
            create_app(home=self.folder / f"shop-{number}", customers=self.customers)

        seconds = self._median(make)
        made = Store(self.folder / "shop-0" / "shop" / "shop.sqlite", World(1, self.customers, 365, AS_OF)).counts()
        for number in range(1, self.runs):
            shutil.rmtree(self.folder / f"shop-{number}")
        shutil.move(self.folder / "shop-0" / "shop", Path(self.settings.home) / "shop")
        self._tell(f"demo shop: a year of {self.customers:,} customers, {sum(made.values()):,} rows", seconds)
        self._rate("demo shop: history", sum(made.values()), seconds, "rows/s")

    def extraction(self) -> None:
        """Every source lands once; the web events in a landing of their own each time."""
        from letterpress.sources import Connection, landing
        from letterpress.sources.extract import extract

        settings = self.settings
        with self._service("letterpress.demo.shop", {"LETTERPRESS_SHOP_PORT": 0}) as ports:
            shop = f"http://127.0.0.1:{ports['LETTERPRESS_SHOP_PORT']}"
            places = {"": shop, "_database": settings.shop_database, "_files": settings.shop_exports}
            connections = {f"letterpress_shop{end}": Connection(base_url=place) for end, place in places.items()}
            arguments = {"connections": connections, "as_of": AS_OF, "run_id": RUN}
            for source in SOURCES:
                load_id = extract(source, landing=settings.landing, **arguments)
                landing.commit(settings.landing, load_id, NOBODY)

            def land(number: int) -> None:
                landing_of_run = str(self.folder / f"landing-{number}")
                landing.commit(landing_of_run, extract("web", landing=landing_of_run, **arguments), NOBODY)

            seconds = self._median(land)
        events = self._web().entities["events"].rows
        self._tell(f"web: {events:,} events extracted and landed", seconds)
        self._rate("web events: extraction and landing", events, seconds, "rows/s")

    def checks(self) -> None:
        """Great Expectations over the landed web events; its import is not counted, as a task pays it once."""
        from expectations.runner import validate
        from letterpress.sources import landing

        load = self._web()

        def check(number: int) -> None:
            batches = landing.batches(self.settings.landing, load.load_id, "events")
            validate("landed_web__events", batches, subject="web", run_id=f"{RUN}-{number}", checked_at=AS_OF)

        check(-1)
        seconds = self._median(check)
        self._tell(f"web: {load.entities['events'].rows:,} events audited", seconds)
        self._rate("web events: Great Expectations", load.entities["events"].rows, seconds, "rows/s")

    def builds(self) -> None:
        """dbt from nothing, layer by layer with its tests; the first run parses the project, the others do not."""
        from letterpress.warehouse import build, publish
        from letterpress.warehouse.inputs import features_inputs

        inputs = features_inputs(self.settings, as_of=AS_OF)
        seconds: dict[str, list[float]] = {layer: [] for layer in LAYERS}
        for _ in range(self.runs):
            for file in Path(self.settings.warehouse).glob("warehouse.duckdb*"):
                file.unlink()
            for layer in LAYERS:
                seconds[layer].append(
                    _seconds(lambda layer=layer: build.build(self.settings, inputs, layer, run_id=RUN))
                )
        for layer in LAYERS:
            self._tell(f"dbt: {layer} with its tests", statistics.median(seconds[layer]))
        self._tell("dbt: staging to marts", statistics.median(map(sum, zip(*seconds.values(), strict=True))))

        def copy(_: int) -> None:
            publish.copy_features_candidate(self.settings, inputs)

        self._tell("features: candidate copied", self._median(copy))
        publish.publish(self.settings, inputs)

    def models(self) -> None:
        """Each model is trained into a new registry each time, and scored from the last one."""
        from letterpress.warehouse import publish
        from ml.config import model_names
        from ml.score import score
        from ml.train import train

        name = publish.current(self.settings.published, "features")
        features = f"{publish.version_dir(self.settings.published, 'features')}/features"
        common = {"features": features, "as_of": AS_OF, "features_version": name}
        for model in model_names():

            def fit(number: int, model: str = model) -> None:
                last = number == self.runs - 1
                root = Path(self.settings.registry if last else self.folder / f"registry-{number}")
                url = self.settings.stores if last else f"sqlite:///{root}/aliases.sqlite"
                trained = train(model, registry=str(root), registry_url=url, seed=1, **common)
                assert trained.promoted, f"{model}: {trained.reason}"

            self._tell(f"{model}: training", self._median(fit))

            def apply(number: int, model: str = model) -> None:
                last = number == self.runs - 1
                score(
                    model,
                    registry=self.settings.registry,
                    registry_url=self.settings.stores,
                    scores=self.settings.scores if last else str(self.folder / f"scores-{number}"),
                    run_id=RUN,
                    scored_at=AS_OF,
                    **common,
                )

            self._tell(f"{model}: scoring", self._median(apply))

    def activation_build(self) -> None:
        """The activation layer on a copy of the features version."""
        from letterpress.warehouse import build, publish
        from letterpress.warehouse.inputs import activation_inputs
        from ml.registry import aliases

        champions = {name: alias.model_version for name, alias in aliases(self.settings.stores).items()}
        current = publish.current(self.settings.published, "features")
        inputs = activation_inputs(self.settings, features_version=current, champions=champions)

        def run(_: int) -> None:
            file = publish.start_activation_candidate(self.settings, inputs)
            build.build(self.settings, inputs, "activation", run_id=RUN, database=file)

        self._tell("dbt: activation with its tests", self._median(run))
        publish.publish(self.settings, inputs)

    def sync(self) -> None:
        """A plan for many people, and its profiles to a new local ESP each time; then a plan that finds nothing."""
        from letterpress.activation.apply import apply_plan
        from letterpress.activation.destinations import Connection, destination
        from letterpress.activation.plan import make_plan

        audience, token = self._audience(), Path(self.settings.secrets, "esp_token").read_text().strip()
        audits = {"profiles, audited as in the DAG": _audited, "profiles, without the audit": lambda _: None}
        planned, again, applied = [], [], {name: [] for name in audits}
        for number in range(self.runs):
            for name, validate in audits.items():
                home = self.folder / f"esp-{number}-{list(audits).index(name)}"
                common = {
                    "destination": destination("local_esp"),
                    "version_dir": audience,
                    "stores_url": f"sqlite:///{home}/stores.sqlite",
                    "identity_key": b"the key of a benchmark",
                    "run_id": RUN,
                }
                ports = {"LETTERPRESS_ESP_PORT": 0, "LETTERPRESS_SMTP_PORT": 0}
                more = {"LETTERPRESS_HOME": str(home), "LETTERPRESS_ESP_TOKEN": token}
                with self._service("letterpress.demo.esp", ports, more) as found:
                    esp = Connection(f"http://127.0.0.1:{found['LETTERPRESS_ESP_PORT']}", token)
                    began = time.perf_counter()
                    plan = make_plan(plans=str(home / "plans"), **common)
                    planned.append(time.perf_counter() - began)
                    began = time.perf_counter()
                    result = apply_plan(plan=plan, connection=esp, validate=validate, **common)
                    applied[name].append(time.perf_counter() - began)
                    assert result.accepted == plan.changes > 0, result
                    began = time.perf_counter()
                    assert make_plan(plans=str(home / "plans"), **common).changes == 0
                    again.append(time.perf_counter() - began)
        self._tell(f"plan: {plan.people:,} people, {plan.changes:,} to create", statistics.median(planned))
        self._tell(f"plan: {plan.people:,} people, nothing to send", statistics.median(again))
        for name, seconds in applied.items():
            self._rate(f"apply to the local ESP: {name}", plan.changes, statistics.median(seconds), "profiles/s")

    def _audience(self) -> str:
        """The published people, copied under other ids until there are enough of them."""
        import duckdb

        from letterpress.warehouse import publish

        folder = self.folder / "audience"
        folder.mkdir()
        source = f"{publish.version_dir(self.settings.published, 'activation')}/warehouse.duckdb"
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            connection.execute(f"attach '{source}' as published (read_only)")
            connection.execute("create schema activation")
            connection.execute(
                f"""
                create table activation.sync_customers as
                select people.* replace (
                    people.customer_id || '-' || copies.number as customer_id,
                    copies.number || '.' || people.email as email
                )
                from published.activation.sync_customers as people
                cross join range(1 + {self.people} // (select count(*) from published.activation.sync_customers))
                    as copies (number)
                order by copies.number, people.customer_id
                limit {self.people}
                """
            )
        return str(folder)

    def _web(self) -> Any:
        from letterpress.sources import landing

        return landing.last_manifest(self.settings.landing, "web")

    def _settings(self, name: str) -> Settings:
        return Settings(home=str(self.folder / name), shop_customers=self.customers, online_retail=None)

    @contextlib.contextmanager
    def _service(
        self, module: str, ports: dict[str, int], more: dict[str, str] | None = None
    ) -> Iterator[dict[str, int]]:
        """A process of ours on free ports until the block ends."""
        found = {name: _free_port() for name in ports}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LETTERPRESS_")}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
            "LETTERPRESS_HOME": self.settings.home,
            "LETTERPRESS_SHOP_CUSTOMERS": str(self.customers),
            **{name: str(port) for name, port in found.items()},
            **(more or {}),
        }
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, cwd=REPOSITORY)
        try:
            _wait(process, module, f"http://127.0.0.1:{next(iter(found.values()))}/health")
            yield found
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _median(self, work: Callable[[int], object]) -> float:
        return statistics.median(_seconds(lambda number=number: work(number)) for number in range(self.runs))

    def _tell(self, what: str, seconds: float) -> None:
        self.rows.append(_row(what, round(seconds, 2), "s"))

    def _rate(self, what: str, count: int, seconds: float, unit: str) -> None:
        self.rows.append(_row(what, round(count / seconds), unit))


def _audited(frame: Any) -> None:
    """What the DAG asks of all that would leave."""
    from expectations.runner import validate

    audit = validate("payload", [frame], subject="plan", run_id=RUN, checked_at=AS_OF)
    assert audit.verdict != "failed", audit.summary()


def _seconds(work: Callable[[], object]) -> float:
    """How long it took; what dbt and others write to standard output meanwhile is dropped."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        began = time.perf_counter()
        work()
        return time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, module: str, health: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{module}: expected it to run, found it ended with {process.returncode}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(health, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{module}: expected an answer at {health} within 60 s, found none")


def _row(what: str, measured: Any, unit: str) -> dict[str, Any]:
    return {"what": what, "measured": measured, "unit": unit, "reach": None, "holds": None, "baseline": None}


def table(facts: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """The machine's facts and the figures as Markdown."""
    told = ", ".join(f"{row['what']} {row['measured']}{' GiB' if row['unit'] == 'GiB' else ''}" for row in facts)
    width = max(len(row["what"]) for row in rows)
    lines = [
        told,
        "",
        f"| {'what':{width}} | measured | unit       |",
        f"|{'-' * (width + 2)}|---------:|------------|",
    ]
    lines += [f"| {row['what']:{width}} | {row['measured']:>8,} | {row['unit']:10} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
