import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from letterpress import storage


def test_only_one_of_many_creators_wins(tmp_path):
    uri = str(tmp_path / "folder" / "0000000001.json")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: storage.create_json(uri, {"number": number}), range(32)))
    assert won.count(True) == 1
    assert storage.read_json(uri) == {"number": won.index(True)}
    assert storage.names(str(tmp_path / "folder")) == ["0000000001.json"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    uri = str(tmp_path / "a.json")
    storage.write_json(uri, {"a": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        storage.write_json(uri, {"a": 2})
    assert storage.read_json(uri) == {"a": 1}
    assert storage.names(str(tmp_path)) == ["a.json"]


def test_any_file_system_serves_as_a_folder():
    uri = "memory://letterpress/landing/a.parquet"
    storage.write_parquet(uri, pa.table({"a": [1, 2]}))
    assert storage.names("memory://letterpress/landing") == ["a.parquet"]
    assert storage.read_parquet(uri).to_pydict() == {"a": [1, 2]}
    assert storage.create_json("memory://letterpress/m/1.json", {})
    assert not storage.create_json("memory://letterpress/m/1.json", {})
    storage.delete("memory://letterpress/landing")
    assert not storage.exists(uri)


def test_join_keeps_schemes_and_absolute_paths():
    assert storage.join("/a/", "/b/", "c") == "/a/b/c"
    assert storage.join("s3://bucket/", "b", "c.json") == "s3://bucket/b/c.json"
