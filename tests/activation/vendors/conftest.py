"""Fixtures of the vendors' tests: a clock that nobody waits for, and the vendors' specifications."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from vendor_clock import Clock
from vendor_line import VendorLine, vendor_line

from letterpress.activation.destinations import pace


@pytest.fixture
def clock() -> Clock:
    """The clock of this test: give it to the stand-in as ``clock=``, too."""
    return Clock(start=float(int(time.time())))


@pytest.fixture(autouse=True)
def no_pauses(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In place of the one for all tests of activation: every client's clock and sleep are this test's own."""
    monkeypatch.setattr(pace, "now", clock.now)
    monkeypatch.setattr(pace, "pause", clock.pause)
    monkeypatch.setattr(pace, "since_1970", clock.now)
    return clock.pauses


@pytest.fixture(scope="session")
def specifications(repository: Path) -> Path:
    """The folder of the vendors' specifications beside the checkout."""
    folder = repository.parent / "shared" / "specs"
    if not folder.is_dir():
        pytest.skip("../shared/specs: the vendors' specifications are not beside this checkout")
    return folder


@pytest.fixture(params=["alone", pytest.param("held to the specification", marks=pytest.mark.slow)])
def held_to(request: pytest.FixtureRequest) -> Path | None:
    """``specifications=`` of a stand-in: its own checks have to do without, and its answers have to fit."""
    return None if request.param == "alone" else request.getfixturevalue("specifications")


@pytest.fixture
def vendor(tmp_path: Path, clock) -> Iterator[Callable[[str], VendorLine]]:
    """Serves one vendor."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(vendor_line(name, tmp_path, clock))
