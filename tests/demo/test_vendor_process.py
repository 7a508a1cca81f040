"""A vendor's stand-in as `make run` serves it: a process that says when it is ready and remembers over a restart."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from letterpress.demo.vendors.server import vendors

KEY = " ".join(("a", "key", "of", "the", "tests"))


@contextmanager
def served(vendor: str, folder: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "letterpress.demo.vendors", vendor, "--port", str(port), "--folder", str(folder)]
    process = subprocess.Popen(command, env={**os.environ, "LETTERPRESS_VENDOR_TOKEN": KEY})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            for _ in range(200):
                try:
                    answer = client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("vendor", vendors())
def test_it_says_when_it_is_ready_and_lets_nobody_in_without_the_key(vendor, tmp_path):
    with served(vendor, tmp_path) as client:
        assert client.get("/nothing").status_code in (401, 403)


def test_what_it_was_told_outlives_a_restart(tmp_path):
    headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
    body = {"data": {"type": "profile", "attributes": {"email": "ada@example.com", "external_id": "c1"}}}
    with served("klaviyo", tmp_path) as client:
        assert client.post("/api/profile-import", json=body, headers=headers).status_code == 201
    with served("klaviyo", tmp_path) as client:
        found = client.get("/api/profiles", headers=headers).json()["data"]
    assert [one["attributes"]["external_id"] for one in found] == ["c1"]
