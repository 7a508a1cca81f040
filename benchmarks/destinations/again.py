"""A second run over an unchanged warehouse, at every destination: how many requests changed something there."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from benchmarks.destinations.common import row
from letterpress.settings import REPOSITORY

PEOPLE = 40  # one in ten has not consented

sys.path[:0] = [str(REPOSITORY / "tests" / "activation"), str(REPOSITORY / "tests" / "activation" / "vendors")]


def measure(folder: Path) -> list[dict[str, Any]]:
    """A first run, and a second one, on the stand-ins and clocks of the tests."""
    from activation_line import person
    from vendor_clock import jumping
    from vendor_line import VENDORS, vendor_line

    logging.disable(logging.CRITICAL)
    rows = []
    for vendor in VENDORS:
        (folder / vendor).mkdir(parents=True)
        with jumping() as clock, vendor_line(vendor, folder / vendor, clock) as line:
            people = [person(number) for number in range(PEOPLE)]
            people = [one.refused("no_consent") if number % 10 == 0 else one for number, one in enumerate(people)]
            line.sync(*people)
            writes = line.writes()
            line.publish(*people)
            line.sync()
            again = line.writes() - writes
        if not writes:
            raise RuntimeError(f"{vendor}: expected the first run to write, found no request that did")
        rows.append(
            row(f"{vendor}: writes of a second run ({writes} of the first)", again, "requests", "0", again == 0)
        )
    return rows
