"""Start, find and stop exactly our own processes."""

import hashlib
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from letterpress import storage
from letterpress.operations.environment import environment
from letterpress.settings import REPOSITORY, Settings

log = logging.getLogger(__name__)


class PortTaken(RuntimeError):
    """A port that we want belongs to somebody else."""


class StartFailed(RuntimeError):
    """A service ended or never answered."""


@dataclass(frozen=True)
class Service:
    """A process that `make run` leaves running."""

    name: str
    title: str
    command: tuple[str, ...]
    ports: dict[str, int]
    health: str
    stop_signal: signal.Signals
    seconds: float


def services(settings: Settings) -> list[Service]:
    """The services, in the order in which they start; Klaviyo's stand-in where no real one is given."""
    python = sys.executable
    base = f"http://{settings.host}:{settings.airflow_port}"
    stand_ins = [] if settings.klaviyo_url or not _syncs_to("klaviyo") else [_klaviyo(settings)]
    return [
        Service(
            "shop",
            "demo shop",
            (python, "-m", "letterpress.demo.shop"),
            {"LETTERPRESS_SHOP_PORT": settings.shop_port},
            f"{settings.shop}/health",
            signal.SIGTERM,
            120,
        ),
        Service(
            "esp",
            "local ESP",
            (python, "-m", "letterpress.demo.esp"),
            {"LETTERPRESS_ESP_PORT": settings.esp_port, "LETTERPRESS_SMTP_PORT": settings.smtp_port},
            f"{settings.esp}/health",
            signal.SIGTERM,
            60,
        ),
        *stand_ins,
        Service(
            "airflow",
            "Airflow",
            (python, "-m", "airflow", "standalone"),
            # 8793 and 8794 are Airflow's own, for logs.
            {"LETTERPRESS_AIRFLOW_PORT": settings.airflow_port},
            f"{base}/api/v2/monitor/health",
            signal.SIGINT,  # after SIGTERM it leaves children behind
            180,
        ),
    ]


def _syncs_to(destination: str) -> bool:
    from letterpress.activation.destinations import destinations

    return destination in destinations()


def _klaviyo(settings: Settings) -> Service:
    command = (
        sys.executable,
        "-m",
        "letterpress.demo.vendors",
        "klaviyo",
        *("--host", settings.host),
        *("--port", str(settings.klaviyo_port)),
        *("--folder", f"{settings.home.removeprefix('file://')}/vendors"),
    )
    ports = {"LETTERPRESS_KLAVIYO_PORT": settings.klaviyo_port}
    health = f"{settings.klaviyo}/health"
    return Service("klaviyo", "Klaviyo's stand-in", command, ports, health, signal.SIGTERM, 60)


def start(settings: Settings, *, tell: Callable[[str], None]) -> dict[str, bool]:
    """Start what is not running and wait until all answer; returns for each service whether it was started now.

    A service that runs with another configuration is stopped and started again. Raises ``PortTaken`` or
    ``StartFailed`` with the remedy.
    """
    env = environment(settings)
    started = {}
    for service in services(settings):
        running = find(settings, service)
        if running is not None and _record(settings, service)["configuration"] != _configuration(service, env):
            tell(f"{service.title}: the configuration changed, starting it again")
            stop(settings, service)
            running = None
        started[service.name] = running is None
        if running is None:
            for variable, port in service.ports.items():
                _require_free(settings.host, port, service, variable)
            _spawn(settings, service, env)
            tell(f"{service.title}: starting")
    for service in services(settings):
        _wait(settings, service)
        if started[service.name]:
            tell(f"{service.title}: ready")
    return started


def find(settings: Settings, service: Service) -> psutil.Process | None:
    """The live process that we started for a service; a recycled process id is not taken for it."""
    record = _record(settings, service)
    if record is None:
        return None
    try:
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.NoSuchProcess:
        pass
    return None


def stop(settings: Settings, service: Service) -> bool:
    """End a service that we started, and its children; true where there was one."""
    process = find(settings, service)
    if process is not None:
        family = [process, *process.children(recursive=True)]
        _signal([process], service.stop_signal)
        _, alive = psutil.wait_procs(family, timeout=30)
        _signal(alive, signal.SIGTERM)
        _, alive = psutil.wait_procs(alive, timeout=5)
        _signal(alive, signal.SIGKILL)
    storage.delete(_file(settings, service))
    return process is not None


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Signal each that is still there: one may end between the look and the signal."""
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def stop_all(settings: Settings, *, tell: Callable[[str], None]) -> None:
    """Stop exactly what was started, the last first."""
    for service in reversed(services(settings)):
        tell(f"{service.title}: {'stopped' if stop(settings, service) else 'was not running'}")


def log_file(settings: Settings, service: Service) -> Path:
    """Where a service's output goes."""
    return Path(settings.home) / "run" / f"{service.name}.log"


def _spawn(settings: Settings, service: Service, env: dict[str, str]) -> None:
    path = log_file(settings, service)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as output:
        child = subprocess.Popen(
            service.command,
            env=env,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # ctrl-C in the terminal ends `make run`, not the services
        )
    storage.write_json(
        _file(settings, service),
        {
            "pid": child.pid,
            "created": psutil.Process(child.pid).create_time(),
            "configuration": _configuration(service, env),
        },
    )


def _wait(settings: Settings, service: Service) -> None:
    deadline = time.monotonic() + service.seconds
    while time.monotonic() < deadline:
        if find(settings, service) is None:
            raise StartFailed(
                f"{service.title}: expected it to run, found it ended; next step: read "
                f"{log_file(settings, service)}\n{_tail(log_file(settings, service))}"
            )
        try:
            answer = httpx.get(service.health, timeout=5)
            if answer.status_code == 200 and _healthy(answer):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise StartFailed(
        f"{service.title}: expected an answer at {service.health} within {service.seconds:g} s, found none; "
        f"next step: read {log_file(settings, service)}\n{_tail(log_file(settings, service))}"
    )


def _healthy(answer: httpx.Response) -> bool:
    content = answer.json()
    if "metadatabase" not in content:
        return True
    return all(content[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _require_free(host: str, port: int, service: Service, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortTaken(
                f"{service.title}: expected port {port} on {host} to be free, found it taken; next step: "
                f"stop what listens there, or choose another: {variable}={port + 10000 if port < 50000 else port - 1} "
                "make run"
            ) from None


def _configuration(service: Service, env: dict[str, str]) -> str:
    """What a running service was started with: another means that it has to start again."""
    relevant = {name: value for name, value in env.items() if name.startswith(("LETTERPRESS_", "AIRFLOW"))}
    return hashlib.sha256(json.dumps([service.command, relevant], sort_keys=True).encode()).hexdigest()


def _file(settings: Settings, service: Service) -> str:
    return storage.join(settings.home, "run", f"{service.name}.json")


def _record(settings: Settings, service: Service) -> dict | None:
    path = _file(settings, service)
    return storage.read_json(path) if storage.exists(path) else None


def _tail(path: Path, lines: int = 15) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
