"""The rows that every benchmark of a model writes, and how they are printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def row(
    what: str, measured: float, unit: str, reach: str, holds: bool, baseline: float | None = None
) -> dict[str, Any]:
    """One figure beside what it has to reach and beside its baseline."""
    return {
        "what": what,
        "measured": round(float(measured), 5),
        "unit": unit,
        "reach": reach,
        "holds": bool(holds),
        "baseline": None if baseline is None else round(float(baseline), 5),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':70} {'measured':>14} {'reach':>22} {'baseline':>12}  holds"]
    for one in rows:
        baseline = "" if one["baseline"] is None else f"{one['baseline']:g}"
        measured = f"{one['measured']:.4f} {one['unit']}".strip()
        lines.append(
            f"{one['what']:70} {measured:>14} {one['reach']:>22} {baseline:>12}  {'yes' if one['holds'] else 'NO'}"
        )
    return "\n".join(lines)


def run(
    name: str,
    folder: str,
    description: str,
    measure: Callable[[Path], list[dict[str, Any]]],
    arguments: list[str] | None = None,
) -> int:
    """Measure on the data of a folder, print and write the table; 2 without data, 1 if a bar is missed, else 0."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / folder)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / f"ml_{name}.json")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        sys.stderr.write(f"{options.data}: no such folder; give the one with the data by --data\n")
        return 2
    try:
        rows = measure(options.data)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return written(rows, options.output)


def written(rows: list[dict[str, Any]], output: Path) -> int:
    """Write the rows and print them as a table; 1 if a bar is missed, else 0."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + f"\n\nwritten to {output}\n")
    return 0 if all(one["holds"] for one in rows) else 1
