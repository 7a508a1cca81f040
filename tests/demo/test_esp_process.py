"""The local ESP as a process: its clock, its ports, its token, and what a kill leaves."""

import contextlib
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from letterpress.demo.esp import create_app
from letterpress.demo.esp.clock import ShopClock
from letterpress.demo.esp.server import read_token

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def shop_telling(answers):
    """A shop that tells one time after the other, the last one for ever; ``None`` is an outage."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self):
            now = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200 if now else 503)
            self.end_headers()
            self.wfile.write(f'{{"now": "{now}"}}'.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Shop)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def day(number):
    return datetime(2011, 7, number, tzinfo=UTC)


def test_the_clock_is_the_shops_and_never_runs_backwards():
    with shop_telling(["2011-07-01T00:00:00Z", "2011-07-03T00:00:00Z", "2011-07-02T00:00:00Z"]) as url:
        clock = ShopClock(url, cache_seconds=0)
        assert [clock(), clock(), clock()] == [day(1), day(3), day(3)]


def test_the_clock_asks_seldom():
    with shop_telling(["2011-07-01T00:00:00Z", "2011-07-02T00:00:00Z"]) as url:
        clock = ShopClock(url, cache_seconds=60)
        assert [clock(), clock()] == [day(1), day(1)]


def test_the_last_told_time_holds_through_an_outage_and_a_restart():
    kept = {}
    with shop_telling(["2011-07-05T00:00:00Z", None]) as url:
        clock = ShopClock(url, recall=lambda: kept.get("t"), remember=lambda t: kept.update(t=t), cache_seconds=0)
        assert [clock(), clock()] == [day(5), day(5)]
        again = ShopClock(url, recall=lambda: kept.get("t"), cache_seconds=0)
        assert again() == day(5)


def test_where_no_shop_was_ever_reached_the_machines_clock_counts():
    clock = ShopClock(f"http://127.0.0.1:{free_port()}", cache_seconds=0)
    assert abs((clock() - datetime.now(UTC)).total_seconds()) < 60


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path):
    token = read_token(tmp_path / "secrets")
    assert len(token) >= 32
    assert read_token(tmp_path / "secrets") == token
    assert (tmp_path / "secrets" / "esp_token").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["esp_token"]


def test_an_empty_token_is_refused(tmp_path):
    with pytest.raises(ValueError, match="LETTERPRESS_ESP_TOKEN"):
        create_app(path=tmp_path / "esp.sqlite", token="")


def environment(home, http, smtp, shop):
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LETTERPRESS_")},
        "PYTHONPATH": f"{REPOSITORY / 'plugins'}{os.pathsep}{REPOSITORY}",
        "LETTERPRESS_HOME": str(home),
        "LETTERPRESS_ESP_PORT": str(http),
        "LETTERPRESS_SMTP_PORT": str(smtp),
        "LETTERPRESS_SHOP_PORT": str(shop),
    }


def start(home, http, smtp, shop):
    process = subprocess.Popen(
        [sys.executable, "-m", "letterpress.demo.esp"],
        env=environment(home, http, smtp, shop),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(150):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{http}/health").status_code == 200:
                return process
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate()[1].decode())


@pytest.mark.parametrize("variable", ["LETTERPRESS_ESP_PORT", "LETTERPRESS_SMTP_PORT"])
def test_a_taken_port_ends_with_code_3_and_one_line_naming_the_variable(tmp_path, variable):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"LETTERPRESS_ESP_PORT": free_port(), "LETTERPRESS_SMTP_PORT": free_port()}
        ports[variable] = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "letterpress.demo.esp"],
            env=environment(tmp_path, *ports.values(), free_port()),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1
    assert variable in ended.stderr
    assert str(ports[variable]) in ended.stderr


def test_what_was_answered_survives_a_kill_and_a_signal_ends_it_cleanly(tmp_path):
    http, smtp, shop = free_port(), free_port(), free_port()

    def message(number):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "news@shop.example", "ann@example.com", "Hello"
        mail["X-Letterpress-Idempotency-Key"], mail["X-Letterpress-Campaign"] = f"k{number}", "c"
        mail.set_content("Hello")
        return mail

    first = start(tmp_path, http, smtp, shop)
    with smtplib.SMTP("127.0.0.1", smtp) as connection:
        for number in range(3):
            connection.send_message(message(number))
        first.kill()
        first.communicate()
    second = start(tmp_path, http, smtp, shop)
    try:
        with smtplib.SMTP("127.0.0.1", smtp) as connection:
            for number in range(4):
                connection.send_message(message(number))
        token = (tmp_path / "secrets" / "esp_token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        rows = httpx.get(f"http://127.0.0.1:{http}/api/events", headers=headers).json()["data"]
        assert len({row["message_id"] for row in rows}) == 4
        assert len(rows) == 8
    finally:
        second.send_signal(signal.SIGTERM)
        _, errors = second.communicate(timeout=20)
    assert second.returncode == 0
    assert errors == b""
