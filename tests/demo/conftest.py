"""What tests of the demo shop share."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from letterpress.demo.simulation.store import Store


@pytest.fixture(scope="module")
def played_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A history is played once for all tests of a module that ask for the same shop; each has a copy of its own."""
    kept: dict[str, Path] = {}
    prepare = Store.prepare

    def copied(store: Store) -> None:
        if not store.path.exists():
            world = str(store.world.description())
            if world not in kept:
                kept[world] = tmp_path_factory.mktemp("played") / "shop.sqlite"
                prepare(Store(kept[world], store.world))
            store.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(kept[world])) as source, closing(sqlite3.connect(store.path)) as copy:
                source.backup(copy)
        prepare(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "prepare", copied)
        yield
