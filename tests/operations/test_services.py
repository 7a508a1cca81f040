import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from letterpress import storage
from letterpress.operations import services
from letterpress.operations.__main__ import main
from letterpress.operations.environment import environment, secret
from letterpress.operations.services import PortTaken, Service, StartFailed
from letterpress.settings import Settings, settings

PAGE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"status": "ok"}')
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def page(config, free_port, monkeypatch):
    """A service of one small process, in place of ours."""
    service = Service(
        "page",
        "a page",
        (sys.executable, "-c", PAGE, str(free_port)),
        {"LETTERPRESS_SHOP_PORT": free_port},
        f"http://127.0.0.1:{free_port}/health",
        signal.SIGTERM,
        20,
    )
    monkeypatch.setattr(services, "services", lambda _: [service])
    yield service
    services.stop(config, service)


def test_what_was_started_is_found_and_stopped_and_nothing_else(config, page):
    said: list[str] = []
    assert services.start(config, tell=said.append) == {"page": True}
    process = services.find(config, page)
    assert services.start(config, tell=said.append) == {"page": False}, "a second start leaves it running"
    assert services.find(config, page).pid == process.pid
    services.stop_all(config, tell=said.append)
    assert not process.is_running()
    assert services.find(config, page) is None
    services.stop_all(config, tell=said.append)
    assert said[-1] == "a page: was not running"


def test_a_service_with_another_configuration_is_started_again(config, page, tmp_path):
    services.start(config, tell=lambda _: None)
    first = services.find(config, page)
    services.start(Settings(home=str(tmp_path), shop_customers=7), tell=lambda _: None)
    assert services.find(config, page).pid != first.pid


def test_a_taken_port_is_told_with_the_variable_and_the_remedy(config, page, free_port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(PortTaken) as refusal:
            services.start(config, tell=lambda _: None)
    assert f"port {free_port} on 127.0.0.1" in str(refusal.value)
    assert "LETTERPRESS_SHOP_PORT=" in str(refusal.value)


def test_a_service_that_ends_at_once_is_told_with_the_end_of_its_log(config, monkeypatch, free_port):
    command = (sys.executable, "-c", "raise SystemExit('no such folder')")
    service = Service("broken", "a broken one", command, {}, f"http://127.0.0.1:{free_port}/", signal.SIGTERM, 20)
    monkeypatch.setattr(services, "services", lambda _: [service])
    with pytest.raises(StartFailed) as refusal:
        services.start(config, tell=lambda _: None)
    assert "a broken one: expected it to run, found it ended" in str(refusal.value)
    assert "no such folder" in str(refusal.value)


def test_a_recycled_process_id_is_not_taken_for_ours(config, page):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    created = psutil.Process(stranger.pid).create_time()
    storage.write_json(
        f"{config.home}/run/page.json", {"pid": stranger.pid, "created": created - 100, "configuration": ""}
    )
    assert services.find(config, page) is None
    assert services.stop(config, page) is False
    assert stranger.poll() is None, "a process that we did not start goes on"
    stranger.kill()
    stranger.wait(10)


def test_secrets_are_made_once_and_only_their_owner_reads_them(config):
    first = secret(config, "identity_key")
    assert len(first) == 64
    assert secret(config, "identity_key") == first
    assert stat.S_IMODE((Path(config.secrets) / "identity_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(config.secrets).stat().st_mode) == 0o700


def test_everything_listens_on_loopback_and_airflow_asks_for_a_login(config):
    env = environment(config)
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin"
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS" not in env
    assert {service.health.split("/")[2].split(":")[0] for service in services.services(config)} == {"127.0.0.1"}


def test_a_setting_that_cannot_be_used_is_named_by_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("LETTERPRESS_SHOP_TODAY", "2011-07-01T00:00:00")
    settings.cache_clear()
    try:
        assert main(["down"]) == 2
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert "LETTERPRESS_SHOP_TODAY" in capsys.readouterr().out


def test_a_model_without_an_earlier_version_says_so_and_an_unknown_one_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LETTERPRESS_HOME", str(tmp_path))
    settings.cache_clear()
    try:
        assert main(["model-rollback", "customer_clusters"]) == 1
        assert "nothing to roll back to" in capsys.readouterr().out
        assert main(["model-rollback", "clusters"]) == 2
        assert "customer_clusters" in capsys.readouterr().out
    finally:
        monkeypatch.undo()
        settings.cache_clear()
