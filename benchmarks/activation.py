"""Activation: a plan's time and memory, profiles a processor second, vendors' limits, second runs, and random faults.

Run as ``make bench-activation``, or ``python benchmarks/activation.py [--only plan …] [--people 100000] [--runs 3]``
with ``PYTHONPATH=.:plugins``; ``SIZE=full`` takes the sizes that the issue names. Everything runs against the vendors'
stand-ins, the measured sides in processes of their own. Prints a table and writes a list of ``{"what", "measured",
"unit", "reach", "holds", "baseline"}``; what is promised for a full size only has null for ``reach`` at another one.
Ends with 1 if a promise is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.destinations import again, faults, limits, planning, throughput
from benchmarks.destinations.common import machine, row, table
from letterpress.settings import REPOSITORY

PARTS = ("plan", "throughput", "limits", "again", "faults")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if every promise is kept."""
    is_full = os.environ.get("SIZE") == "full"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be repeated")
    parser.add_argument("--people", type=int, default=1_000_000 if is_full else 100_000, help="whom a plan compares")
    parser.add_argument("--profiles", type=int, default=200_000 if is_full else 100_000, help="that are sent")
    parser.add_argument("--erasures", type=int, default=300 if is_full else 75)
    # Forty jobs meet the limit of a second, several hundred that of a minute.
    parser.add_argument("--jobs", type=int, nargs="+", default=[40, 400] if is_full else [40], help="import jobs")
    parser.add_argument("--faults", type=int, default=10_000 if is_full else 500)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "activation.json")
    options = parser.parse_args(arguments)
    measured: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
        "plan": lambda folder: planning.measure(folder, options.people, options.runs),
        "throughput": lambda folder: throughput.measure(folder, options.profiles, options.runs),
        "limits": lambda folder: limits.measure(folder, options.erasures, options.jobs),
        "again": again.measure,
        "faults": lambda folder: faults.measure(folder, options.faults),
    }
    facts, rows, began = machine(), [], time.monotonic()
    for part in options.only or PARTS:
        sys.stderr.write(f"{part} …\n")
        with tempfile.TemporaryDirectory(prefix="letterpress-bench-") as folder:
            rows += measured[part](Path(folder))
    facts.append(row("load after", round(os.getloadavg()[0], 1), "processes"))
    facts.append(row("all of it took", round(time.monotonic() - began), "s"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows + facts, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(facts + rows)}\n\nwritten to {options.output}\n")
    return 0 if all(one["holds"] is not False for one in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
