"""What the parts of ``benchmarks/activation.py`` share: a synthetic audience, stand-ins and jobs in processes, rows."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from letterpress.activation.destinations import Connection, Destination, destination
from letterpress.activation.destinations.contract import audiences
from letterpress.settings import REPOSITORY

KEY = b"a key of the benchmarks, thirty-2"
TOKEN = "vendor-test-token"
AUDIENCE = "activation.sync_customers"
LIBRARIES = ("duckdb", "pyarrow", "httpx", "orjson", "SQLAlchemy", "klaviyo-api")

# Every column that Klaviyo's field map reads is filled, as long as the demo shop's are; one in twenty people has
# not consented. The ids are hashes, as the warehouse's: their order is not that of the rows.
PEOPLE = """
    select
        md5('customer ' || i) as customer_id,
        'person' || i || '@example.com' as email,
        'Ada' || i % 1000 as first_name,
        'Byron' || i % 7919 as last_name,
        'GB' as country_code,
        'Europe/London' as time_zone,
        case when i % 100 = 1 then $tier else 'gold' end as loyalty_tier,
        'active' as lifecycle_stage,
        'Candles & Home' as favourite_category,
        '555' as rfm_code,
        'Champions' as rfm_segment,
        'loyal high spenders' as "cluster",
        'high' as clv_tier,
        i % 10 + 1 as clv_decile,
        'medium' as purchase_propensity_tier,
        'low' as churn_propensity_tier,
        'high' as click_propensity_tier,
        i % 3 = 0 as is_uplift_target,
        i % 7 as best_send_weekday,
        i % 24 as best_send_hour,
        'candles,home' as predicted_interests,
        '85123A,22423,47566' as recommended_product_ids,
        'evening_reader' as behaviour_tags,
        '10+' as order_count_band,
        'champions,weekend_browsers' as segments,
        date '2011-06-01' - (i % 300)::integer as last_order_date,
        'granted' as email_consent_status,
        'proof' || i as consent_proof,
        timestamptz '2011-01-01 00:00:00+00' as consent_changed_at,
        i % 20 <> 0 as is_eligible,
        case when i % 20 = 0 then 'no_consent' end as refusal_reason
    from range($people) as numbers(i)
"""


def publish(folder: Path, people: int, tier: str = "gold") -> str:
    """A published version with so many people, one in a hundred of the given loyalty tier; returns its folder."""
    import duckdb

    folder.mkdir(parents=True)
    columns = {"customer_id": "varchar", "email": "varchar", **audiences()[AUDIENCE]}
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("create schema activation")
        typed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f"create table {AUDIENCE} ({typed})")
        connection.execute(f"insert into {AUDIENCE} by name {PEOPLE}", {"people": people, "tier": tier})
    return str(folder)


def klaviyo(*, rows: int | None = None, module: str = "klaviyo") -> Destination:
    """Klaviyo as ``destinations.yml`` has it; smaller requests or another module where asked for."""
    found = destination("klaviyo")
    batch = found.batch.model_copy(update={"rows": rows})
    return found.model_copy(update={"batch": batch, "module": module})


@dataclass(frozen=True)
class Engine:
    """What plan and apply take, of one destination with a ledger of its own."""

    folder: Path
    destination: Destination
    connection: Connection

    @property
    def given(self) -> dict[str, Any]:
        """The arguments that both take."""
        return {
            "destination": self.destination,
            "stores_url": f"sqlite:///{self.folder}/stores.sqlite",
            "identity_key": KEY,
            "run_id": "benchmark",
        }

    def plan(self, version_dir: str) -> Any:
        """The plan of a version."""
        from letterpress.activation.plan import make_plan

        return make_plan(version_dir=version_dir, plans=str(self.folder / "plans"), **self.given)

    def apply(self, version_dir: str, plan: Any = None) -> Any:
        """Apply a plan, or plan first; approved, because what a benchmark does is meant."""
        from letterpress.activation.apply import apply_plan

        found = plan or self.plan(version_dir)
        return apply_plan(
            plan=found, version_dir=version_dir, connection=self.connection, is_approved=True, **self.given
        )


@contextlib.contextmanager
def serving(vendor: str, *arguments: str) -> Iterator[Connection]:
    """A vendor's stand-in in a process of its own, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "letterpress.demo.vendors", vendor, "--port", str(port), *arguments]
    process = subprocess.Popen(command, env=_environment() | {"LETTERPRESS_VENDOR_TOKEN": TOKEN})
    try:
        _wait_for(port, process)
        yield Connection(f"http://127.0.0.1:{port}", TOKEN)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(port: int, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"stand-in: expected it to serve on port {port}, found it ended with {process.poll()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"stand-in: expected it to listen on port {port} within 30 s, found nobody")


def job(module: str, **given: Any) -> dict[str, Any]:
    """Run a module of this folder in a process of its own with ``--job``; returns what it says."""
    command = [sys.executable, "-m", f"benchmarks.destinations.{module}", "--job", json.dumps(given)]
    done = subprocess.run(command, cwd=REPOSITORY, env=_environment(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: expected its process to end with 0, found {done.returncode}")
    return json.loads(done.stdout)


def say(answer: dict[str, Any]) -> None:
    """What a process that :func:`job` started answers."""
    sys.stdout.write(json.dumps(answer) + "\n")


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"}


def peak() -> float:
    """GiB that this process has held resident at most; what ``wait4`` tells of a child begins with its parent's."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20


def row(
    what: str,
    measured: Any,
    unit: str,
    reach: str | None = None,
    holds: bool | None = None,
    baseline: Any = None,
) -> dict[str, Any]:
    """One figure beside what it has to reach."""
    return {"what": what, "measured": measured, "unit": unit, "reach": reach, "holds": holds, "baseline": baseline}


def machine() -> list[dict[str, Any]]:
    """What the figures depend on: when, where and with which versions; read before anything is measured."""
    return [
        row("date", datetime.now(UTC).date().isoformat(), "UTC"),
        row("cores", psutil.cpu_count(), ""),
        row("memory", round(psutil.virtual_memory().total / 2**30, 1), "GiB"),
        row("load before", round(os.getloadavg()[0], 1), "processes"),
        row("Python", platform.python_version(), "version"),
        *(row(name, version(name), "version") for name in LIBRARIES),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':86} {'measured':>12} {'unit':16} {'reach':>8} {'baseline':>10}  holds"]
    for one in rows:
        holds = {True: "yes", False: "NO", None: ""}[one["holds"]]
        baseline = "" if one["baseline"] is None else one["baseline"]
        lines.append(
            f"{one['what']:86} {one['measured']:>12} {one['unit']:16} {one['reach'] or '':>8} {baseline:>10}  {holds}"
        )
    return "\n".join(lines)
