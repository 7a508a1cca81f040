"""The shop as a process: it starts from the settings, says why it cannot, and survives being killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from letterpress.demo.shop.app import UnusableHomeError, create_app_from
from letterpress.demo.simulation import chance
from letterpress.demo.simulation.simulator import World
from letterpress.demo.simulation.store import ENTITIES, Store
from letterpress.settings import REPOSITORY, Settings

WORLD = World(seed=2, customers=40, days=30, today=datetime(2011, 2, 1, tzinfo=UTC))


def environment(home: Path, port: int, **more: str) -> dict[str, str]:
    return os.environ | {
        "LETTERPRESS_HOME": str(home),
        "LETTERPRESS_SHOP_PORT": str(port),
        "LETTERPRESS_SHOP_SEED": str(WORLD.seed),
        "LETTERPRESS_SHOP_CUSTOMERS": str(WORLD.customers),
        "LETTERPRESS_SHOP_DAYS": str(WORLD.days),
        "LETTERPRESS_SHOP_TODAY": WORLD.today.isoformat(),
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rows(store: Store) -> dict[str, list[tuple]]:
    return {name: store.page(name, None, None, 10**9) for name in ENTITIES}


def start(home: Path, port: int, **more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "letterpress.demo.shop"],
        env=environment(home, port, **more),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_open(process: subprocess.Popen, port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read()
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).json() == {"status": "ok"}:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the shop did not open within a minute")


@pytest.mark.slow
def test_it_opens_from_the_settings_and_resumes_where_it_was_killed(tmp_path):
    port = free_port()
    process = start(tmp_path, port)
    try:
        wait_until_open(process, port)
        advanced = httpx.post(f"http://127.0.0.1:{port}/v1/clock/advance", json={"days": 2}, timeout=30).json()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        process = start(tmp_path, port)
        wait_until_open(process, port)
        clock = httpx.get(f"http://127.0.0.1:{port}/v1/clock", timeout=30).json()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()

    assert advanced == {"now": "2011-02-03T00:00:00Z"}
    assert clock == advanced


def test_a_taken_port_is_reported_with_the_variable_to_set(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = subprocess.run(
            [sys.executable, "-m", "letterpress.demo.shop"],
            env=environment(tmp_path, port),
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert answer.returncode == 3
    assert answer.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in answer.stderr
    assert "LETTERPRESS_SHOP_PORT" in answer.stderr
    assert not (tmp_path / "shop").exists()


def test_a_shop_of_other_settings_is_refused_in_one_line(tmp_path):
    Store(tmp_path / "shop" / "shop.sqlite", WORLD).prepare()

    answer = subprocess.run(
        [sys.executable, "-m", "letterpress.demo.shop"],
        env=environment(tmp_path, free_port(), LETTERPRESS_SHOP_SEED="77"),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "was made with seed 2; the settings ask for seed 77" in answer.stderr


def test_a_home_that_is_no_folder_is_refused():
    with pytest.raises(UnusableHomeError, match="expected a local folder, found s3://bucket/letterpress"):
        create_app_from(Settings(home="s3://bucket/letterpress"))


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from letterpress.demo.simulation.store import Store, World
world = World({seed}, {customers}, {days}, datetime.fromisoformat("{today}"))
store, written, write = Store(Path(sys.argv[1]), world), 0, Store._show
def dying_write(self, *arguments):
    global written
    write(self, *arguments)
    written += 1
    if written == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
Store._show = dying_write
store.prepare() if sys.argv[2] == "start" else store.advance(int(sys.argv[2]))
"""


def kill_within(path: Path, what: str, writes: int) -> None:
    script = KILLED.format(seed=WORLD.seed, customers=WORLD.customers, days=WORLD.days, today=WORLD.today.isoformat())
    process = subprocess.run(
        [sys.executable, "-c", script, str(path), what, str(writes)],
        env=environment(path.parent, 0),
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("writes", [1, 150])
def test_a_start_that_is_killed_leaves_nothing_behind_and_can_be_repeated(tmp_path, writes):
    path, whole = tmp_path / "killed" / "shop.sqlite", Store(tmp_path / "whole" / "shop.sqlite", WORLD)
    path.parent.mkdir()
    kill_within(path, "start", writes)
    store = Store(path, WORLD)
    store.prepare()
    whole.prepare()

    assert rows(store) == rows(whole)


@pytest.mark.slow
def test_an_advance_that_is_killed_leaves_the_old_day(tmp_path):
    path = tmp_path / "shop.sqlite"
    store = Store(path, WORLD)
    store.prepare()
    before = rows(store)

    kill_within(path, str(3 * chance.DAY), 12)

    assert rows(store) == before
    assert store.now() == chance.milliseconds(WORLD.today)
    whole = Store(tmp_path / "whole" / "shop.sqlite", WORLD)
    whole.prepare()
    for one in (store, whole):
        one.advance(3 * chance.DAY)
    assert rows(store) == rows(whole)
