"""Random faults over random histories: nobody is lost, doubled, or written to without consent; and it would be seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_storm import Outcome, storm
from vendor_line import DOCUMENTS, VENDORS

from letterpress.activation import decide, ledger
from letterpress.activation.batches import Sender
from letterpress.activation.destinations.spec import Results

pytestmark = pytest.mark.slow

FAULTS = 15  # benchmarks/activation.py takes more
FAULTS_OF_FILES = 5  # a drop of files has nobody who answers: kills alone, which are rare and take longer


@pytest.mark.parametrize("vendor", VENDORS)
def test_after_a_storm_of_faults_a_destination_holds_what_the_warehouse_says(
    vendor: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    specifications = request.getfixturevalue("specifications") if vendor in DOCUMENTS else None
    faults = FAULTS_OF_FILES if vendor == "files" else FAULTS
    outcome = storm(vendor, tmp_path, faults=faults, seed=1, specifications=specifications)
    assert outcome.faults >= faults
    assert outcome.histories > 0
    assert outcome.wrong == []


def asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever said no between plan and request is written to."""
    monkeypatch.setattr(Sender, "_allowed", lambda self, connection, batched: batched.items)


def believes_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a destination refused count as accepted."""
    settle = ledger.settle

    def believed(connection: Any, batch: Any, results: Results, **given: Any) -> dict[str, int]:
        return settle(connection, batch, Results(), **given)

    monkeypatch.setattr(ledger, "settle", believed)


def knows_no_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody follows a person to another id."""
    load = decide._load_moves

    def loaded(duck: Any) -> None:
        load(duck)
        duck.execute("delete from moves")

    monkeypatch.setattr(decide, "_load_moves", loaded)


def hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What live suppression knows is not asked when a plan is made."""
    load = decide._load_stopped

    def loaded(duck: Any, *given: Any) -> None:
        load(duck, *given)
        duck.execute("delete from stopped")

    monkeypatch.setattr(decide, "_load_stopped", loaded)


def _said(outcome: Outcome) -> list[str]:
    return [*outcome.without_consent, *outcome.reachable, *outcome.lost, *outcome.doubled]


@pytest.mark.parametrize(
    ("defect", "vendor", "seen"),
    [
        (asks_nobody, "local_esp", "without_consent"),
        (hears_nothing, "local_esp", "without_consent"),
        (believes_refusals, "mailchimp", "lost"),
        (knows_no_moves, "klaviyo", "doubled"),
    ],
)
def test_a_storm_shows_what_an_engine_does_wrong(
    defect: Callable[[pytest.MonkeyPatch], None],
    vendor: str,
    seen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defect(monkeypatch)
    found = Outcome(vendor)
    for seed in range(8):
        found = storm(vendor, tmp_path / str(seed), faults=25, seed=seed)
        if getattr(found, seen):
            break
    assert getattr(found, seen), f"expected the storm to tell, found {_said(found)}"
