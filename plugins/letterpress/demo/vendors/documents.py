"""What a stand-in remembers: JSON documents by kind and key, in memory, and in a file that outlives the process."""

import contextlib
import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import orjson


class Kind(MutableMapping[str, Any]):
    """The documents of one kind by key. A document that was changed in place has to be set again to be kept."""

    def __init__(self, documents: dict[str, Any]):
        self._documents = documents
        self.changed: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        return self._documents[key]

    def __setitem__(self, key: str, document: Any) -> None:
        self._documents[key] = document
        self.changed.add(key)

    def __delitem__(self, key: str) -> None:
        del self._documents[key]
        self.changed.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)


class Documents:
    """All kinds of one stand-in. ``path`` none: memory alone."""

    def __init__(self, path: Path | None):
        self._kinds: dict[str, Kind] = {}
        self._file: sqlite3.Connection | None = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.execute("pragma journal_mode = wal")
        self._file.execute(
            "create table if not exists documents (kind text, key text, content blob, primary key (kind, key))"
        )
        for kind, key, content in self._file.execute("select kind, key, content from documents order by rowid"):
            self.kind(kind)._documents[key] = orjson.loads(content)

    def kind(self, name: str) -> Kind:
        """The documents of a kind, none at first."""
        return self._kinds.setdefault(name, Kind({}))

    def commit(self) -> None:
        """Keep what has changed since the last time, all of it or nothing."""
        changes = [(name, key) for name, kind in self._kinds.items() for key in kind.changed]
        for kind in self._kinds.values():
            kind.changed.clear()
        if self._file is None or not changes:
            return
        kept = [(name, key, orjson.dumps(self._kinds[name][key])) for name, key in changes if key in self._kinds[name]]
        gone = [(name, key) for name, key in changes if key not in self._kinds[name]]
        self._file.execute("begin immediate")
        self._file.executemany("delete from documents where kind = ? and key = ?", gone)
        self._file.executemany("insert or replace into documents values (?, ?, ?)", kept)
        self._file.execute("commit")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error):
                self._file.close()
