"""Random faults over random histories at every destination, in one process more than there are cores: some wait.

The storm is the tests' (``tests/activation/vendors/fault_storm.py``): people to whom things happen, synced through
answers that are refused, lost or late, rows that are refused, and kills; then one calm run, and everything at the
stand-in is compared with what is to be there. The destinations share the faults evenly, but a drop of files has only
kills, which take longest, and gets a hundredth.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from benchmarks.destinations.common import row
from letterpress.settings import REPOSITORY

STORM = 50  # faults of one task
FILES = 100  # of so many faults the drop of files gets one
TESTS = [str(REPOSITORY / "tests" / "activation"), str(REPOSITORY / "tests" / "activation" / "vendors")]
KINDS = {
    "lost": "lost: people whom a destination does not hold as the warehouse has them",
    "doubled": "doubled: people whom it holds twice, or under an id that is gone",
    "without_consent": "sent without consent: people in a payload who may not be written to",
    "reachable": "refused or erased people whom its mail still reaches",
}


def measure(folder: Path, faults: int) -> list[dict[str, Any]]:
    """Storms until so many faults have struck."""
    fired, wrong = Counter[str](), Counter[str]()
    histories = applies = 0
    with ProcessPoolExecutor((psutil.cpu_count() or 1) + 1, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_storm, str(folder), *one) for one in _tasks(faults)]
        for number, task in enumerate(as_completed(tasks), start=1):
            outcome = task.result()
            fired.update(outcome["fired"])
            wrong.update({kind: len(outcome[kind]) for kind in KINDS})
            histories, applies = histories + outcome["histories"], applies + outcome["applies"]
            sys.stderr.write(f"  storm {number} of {len(tasks)}: {fired.total():,} faults, {wrong.total()} wrong\n")
            sys.stderr.writelines(f"    {one}\n" for kind in KINDS for one in outcome[kind])
    kinds = [row(f"faults: {kind}", count, "faults") for kind, count in fired.most_common()]
    return [
        row(f"faults in {applies:,} applies of {histories:,} histories", fired.total(), "faults"),
        *kinds,
        *(row(what, wrong[kind], "people", "0", wrong[kind] == 0) for kind, what in KINDS.items()),
    ]


def _tasks(faults: int) -> list[tuple[str, int, int]]:
    """Destination, faults and seed of each storm."""
    sys.path[:0] = TESTS
    from vendor_line import VENDORS

    answering = [vendor for vendor in VENDORS if vendor != "files"]
    parts = {vendor: -(-faults * (FILES - 1) // FILES // len(answering)) for vendor in answering}
    parts["files"] = max(faults // FILES, 1)
    storms = [(seed, vendor, part) for vendor, part in parts.items() for seed in range(-(-part // STORM))]
    return [(vendor, min(STORM, part - seed * STORM), seed) for seed, vendor, part in sorted(storms)]


def _storm(folder: str, vendor: str, faults: int, seed: int) -> dict[str, Any]:
    sys.path[:0] = TESTS
    from fault_storm import storm

    logging.disable(logging.CRITICAL)
    outcome = storm(vendor, Path(folder), faults=faults, seed=seed)
    return outcome.__dict__
