"""The demo shop's history as Parquet: how long it takes, what it holds in memory, and that threads change nothing.

Run as ``python benchmarks/shop_history.py [--customers 100000] [--events 5000000]`` with ``PYTHONPATH=.:plugins``, or
by ``make bench``; ``SIZE=full`` makes a million customers and 50 million events. Every history is written by a
process of its own (``python -m letterpress.demo.history``) into a temporary folder. Prints a table and writes a list
of ``{"what", "measured", "unit", "reach", "holds", "baseline"}``; what is promised for the full size only has null
for ``reach`` at another one. Ends with 1 if a promise is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from letterpress.settings import REPOSITORY

FULL = (1_000_000, 50_000_000)
USUAL = (100_000, 5_000_000)
SMALL = ("--customers", "2000", "--days", "60")  # what is written twice
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every promise is kept."""
    customers, events = FULL if os.environ.get("SIZE") == "full" else USUAL
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=customers)
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "shop_history.json")
    options = parser.parse_args(arguments)
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="letterpress-bench-") as folder:
        rows = [*speed(Path(folder), options.customers, options.events), same_tables(Path(folder))]
    facts.append(_row("load after", round(os.getloadavg()[0], 1), "processes"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows + facts, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(facts + rows)}\n\nwritten to {options.output}\n")
    return 0 if all(row["holds"] is not False for row in rows) else 1


def machine() -> list[dict[str, Any]]:
    """What the figures depend on: when, where and with which versions; read before anything is measured."""
    return [
        _row("date", datetime.now(UTC).date().isoformat(), "UTC"),
        _row("cores", psutil.cpu_count(), ""),
        _row("memory", round(psutil.virtual_memory().total / 2**30, 1), "GiB"),
        _row("load before", round(os.getloadavg()[0], 1), "processes"),
        _row("Python", platform.python_version(), "version"),
        *(_row(name, version(name), "version") for name in ("numpy", "pyarrow")),
    ]


def speed(folder: Path, customers: int, events: int) -> list[dict[str, Any]]:
    """One history of the asked size; reach is what issue 3 promises, for its own size."""
    is_full = (customers, events) == FULL
    out = folder / "speed"
    seconds, cpu, peak = write(out, "--customers", str(customers), "--events", str(events))
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    rows = sum(entity["rows"] for entity in manifest["entities"].values())
    size = sum(path.stat().st_size for path in out.rglob("*.parquet"))
    off = abs(manifest["events"] / events - 1)
    what = f"{customers:,} customers, {manifest['events']:,} events, {manifest['parameters']['days']} days"
    return [
        _row(what, round(seconds, 1), "s", "<= 600" if is_full else None, seconds <= 600 if is_full else None),
        _row(
            "peak resident memory", round(peak, 2), "GiB", "<= 4" if is_full else None, peak <= 4 if is_full else None
        ),
        _row("processor time", round(cpu, 1), "CPU s"),
        _row(f"rows written, of {rows:,}", round(rows / seconds), "rows/s"),
        _row("Parquet written", round(size / 2**30, 2), "GiB"),
        _row("events, off what was asked for", round(off, 4), "share", "<= 0.05", off <= 0.05),
    ]


def same_tables(folder: Path) -> dict[str, Any]:
    """The same small history by two processes, one with one thread and one with four for each library."""
    hashes = []
    for threads in ("1", "4"):
        out = folder / f"threads-{threads}"
        write(out, *SMALL, **dict.fromkeys(THREADS, threads))
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        tables = manifest["entities"] | {f"truth/{name}": one for name, one in manifest["truth"].items()}
        hashes.append({name: one["hash"] for name, one in tables.items()})
    equal = sum(hashes[0][name] == hashes[1][name] for name in hashes[0])
    count = len(hashes[0])
    return _row("tables with equal hashes, 1 thread and 4", equal, "tables", f"{count}", equal == count)


def write(out: Path, *arguments: str, **environment: str) -> tuple[float, float, float]:
    """Wall-clock seconds, processor seconds and peak resident GiB of one process that writes a history."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "letterpress.demo.history", "--out", str(out), *arguments]
    child = os.posix_spawn(command[0], command, os.environ | environment)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: expected it to end with 0, found {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def _row(what: str, measured: Any, unit: str, reach: str | None = None, holds: bool | None = None) -> dict[str, Any]:
    return {"what": what, "measured": measured, "unit": unit, "reach": reach, "holds": holds, "baseline": None}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':56} {'measured':>12} {'unit':10} {'reach':>8}  holds"]
    for row in rows:
        holds = {True: "yes", False: "NO", None: ""}[row["holds"]]
        lines.append(f"{row['what']:56} {row['measured']:>12} {row['unit']:10} {row['reach'] or '':>8}  {holds}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
