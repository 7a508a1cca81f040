"""A process that writes a drop is killed, and started again: the drop is the same as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drop_folder import empty, files
from drop_process import write
from sftp_server import LOGIN, SECRET, running

from letterpress.activation.destinations.spec import Operation


@pytest.fixture
def drop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folder, and how a process reaches it."""
    base = tmp_path / "drop"
    base.mkdir()
    if request.param == "folder":
        yield base, [base.as_uri(), "", "", ""]
        return
    with running(base) as server:
        yield base, [f"sftp://127.0.0.1:{server.port}/", LOGIN, SECRET, server.host_key_line]


def killed(where: list[str], operation: Operation, kill: str) -> None:
    """Send in a process of its own, which kills itself on the way."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = str(Path(__file__).with_name("drop_process.py"))
    found = subprocess.run(
        [sys.executable, script, *where, operation, kill], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == -signal.SIGKILL, found.stderr


def settled(base: Path, where: list[str]) -> dict[str, bytes]:
    """The drop after both operations have run to their end."""
    write(where, Operation.UPSERT)
    write(where, Operation.ERASE)
    return files(base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drop", "kill"),
    [("folder", "after 0"), ("folder", "after 1"), ("folder", "renaming"), ("sftp", "after 0"), ("sftp", "after 1")],
    indirect=["drop"],
)
def test_a_kill_around_any_write_of_a_file_and_another_run_is_as_if_nothing_had_happened(drop, kill):
    base, where = drop
    expected = settled(base, where)
    assert len(expected) == 4
    empty(base)

    killed(where, Operation.UPSERT, kill)
    left = sorted(name.rsplit(".", 1)[-1] for name in files(base))
    # Without its manifest a file is not there for anybody who reads.
    assert left == {"after 0": ["csv"], "after 1": ["csv", "json"], "renaming": ["part"]}[kill]
    write(where, Operation.UPSERT)
    assert len([name for name in files(base) if name.endswith(".csv")]) == 1
    assert settled(base, where) == expected


@pytest.mark.slow
# The manifest and the file that lose the person, then the file and the manifest that ask for the erasure.
@pytest.mark.parametrize("drop", ["folder", "sftp"], indirect=True)
@pytest.mark.parametrize("kill", ["after 0", "after 1", "after 2", "after 3"])
def test_a_kill_while_somebody_is_erased_and_another_run_forgets_the_person_all_the_same(drop, kill):
    base, where = drop
    expected = settled(base, where)
    assert not any(b"person1@" in content for content in expected.values())
    empty(base)

    write(where, Operation.UPSERT)
    killed(where, Operation.ERASE, kill)
    assert settled(base, where) == expected
