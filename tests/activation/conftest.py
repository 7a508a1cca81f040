"""Fixtures of the tests of activation."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from activation_line import NOW, Line
from ledger_book import Book
from webhook_receiver import Box

from letterpress.activation import stores
from letterpress.activation.destinations import destination, pace
from letterpress.demo.esp import RunningEsp, running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits: the clock of the destinations jumps over their pauses; the pauses that were made."""
    pauses: list[float] = []
    monkeypatch.setattr(pace, "pause", pauses.append)
    monkeypatch.setattr(pace, "now", lambda: sum(pauses))
    return pauses


@pytest.fixture
def esp(tmp_path: Path) -> Iterator[RunningEsp]:
    with running(tmp_path / "esp", clock=lambda: NOW) as server:
        yield server


@pytest.fixture
def line(tmp_path: Path, esp: RunningEsp) -> Line:
    return Line(tmp_path, esp, f"sqlite:///{tmp_path}/stores/letterpress.sqlite", destination("local_esp"))


@pytest.fixture(params=["sqlite", "postgresql"])
def stores_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store; PostgreSQL's in a schema of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fresh/stores.sqlite"
        return
    url = os.environ.get("LETTERPRESS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LETTERPRESS_TEST_POSTGRES_URL is not set: no PostgreSQL to test the stores on")
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    schema = f"letterpress_{os.getpid()}_{abs(hash(request.node.name)) % 10**8}"
    with engine.begin() as connection:
        connection.execute(sa.text(f'create schema "{schema}"'))
    try:
        joiner = "&" if "?" in url else "?"
        yield f"{url}{joiner}options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f'drop schema "{schema}" cascade'))
        engine.dispose()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A webhook receiver for all vendors."""
    with Box(tmp_path, f"sqlite:///{tmp_path}/stores/letterpress.sqlite").serving() as served:
        yield served


@pytest.fixture
def book(stores_url: str) -> Iterator[Book]:
    """The ledger of one destination in an empty store."""
    with stores.opened(stores_url) as engine:
        yield Book(engine)
