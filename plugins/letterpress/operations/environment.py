"""Generated secrets, and the environment that Airflow and the services run in."""

import json
import os
import secrets
import sys
from pathlib import Path

from letterpress import storage
from letterpress.settings import REPOSITORY, Settings
from letterpress.warehouse.database import file_lock


def secret(settings: Settings, name: str) -> str:
    """A generated secret: made once, readable by its owner alone."""
    path = Path(settings.secrets) / name
    with file_lock(path.parent / ".lock", timeout=10):
        path.parent.chmod(0o700)
        if not path.exists():
            storage.write_bytes(str(path), secrets.token_hex(32).encode())
            path.chmod(0o600)
    return path.read_text().strip()


def airflow_home(settings: Settings) -> Path:
    """Absolute, as Airflow needs it."""
    return Path(settings.home).resolve() / "airflow"


def environment(settings: Settings) -> dict[str, str]:
    """All that our processes need, on top of the caller's own environment; the secrets are in files or here only."""
    home, base = airflow_home(settings), f"http://{settings.host}:{settings.airflow_port}"
    token = settings.esp_token or secret(settings, "esp_token")
    secret(settings, "identity_key")
    klaviyo_key = settings.klaviyo_key or secret(settings, "klaviyo_key")
    shop, esp = _address(settings.shop), _address(settings.esp)
    smtp = {"smtp_host": settings.smtp_host or settings.host, "smtp_port": settings.smtp_port}
    ours = {f"LETTERPRESS_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value}
    return {
        **os.environ,
        **ours,
        "LETTERPRESS_ESP_TOKEN": token,
        "LETTERPRESS_VENDOR_TOKEN": klaviyo_key,
        # `airflow standalone` starts its parts by the name of the command.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
        # Where a machine sets it, every forked task compiles everything again: the start takes three times as long.
        "PYTHONDONTWRITEBYTECODE": "",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(settings, "airflow_jwt"),
        "AIRFLOW__API__SECRET_KEY": secret(settings, "airflow_secret_key"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        # SQLite has one writer: at the start, the others wait for longer than its five seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
        # A changed file of DAGs is read at once; the others are read again for the sake of the YAML that they follow.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": "50",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_LETTERPRESS_STORES": json.dumps(_database(settings.stores)),
        "AIRFLOW_CONN_LETTERPRESS_SHOP": json.dumps({"conn_type": "http", **shop}),
        "AIRFLOW_CONN_LETTERPRESS_SHOP_DATABASE": json.dumps(_database(settings.shop_database)),
        "AIRFLOW_CONN_LETTERPRESS_SHOP_FILES": json.dumps(
            {"conn_type": "fs", "extra": {"path": settings.shop_exports}}
        ),
        "AIRFLOW_CONN_LETTERPRESS_LOCAL_ESP": json.dumps(
            {"conn_type": "http", **esp, "password": token, "extra": smtp}
        ),
        "AIRFLOW_CONN_LETTERPRESS_KLAVIYO": json.dumps(
            {"conn_type": "http", **_address(settings.klaviyo), "password": klaviyo_key}
        ),
        "AIRFLOW_CONN_LETTERPRESS_ONLINE_RETAIL": json.dumps(
            {"conn_type": "fs", "extra": {"path": settings.online_retail}}
        ),
        "AIRFLOW_CONN_LETTERPRESS_COMPLETE_JOURNEY": json.dumps(
            {"conn_type": "fs", "extra": {"path": settings.complete_journey}}
        ),
        # Tasks share the cores: threads of linear algebra that wait for their turn spin.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "False",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def passwords_file(settings: Settings) -> Path:
    """Where Airflow's simple auth manager writes the generated password."""
    return airflow_home(settings) / "passwords.json"


def _database(url: str) -> dict:
    """A SQLAlchemy URL as the fields of an Airflow Connection."""
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    kind = {"postgresql": "postgres"}.get(parts.get_backend_name(), parts.get_backend_name())
    if kind == "sqlite":
        return {"conn_type": kind, "host": parts.database}
    given = {"host": parts.host, "port": parts.port, "schema": parts.database, "login": parts.username}
    given |= {"password": parts.password, "extra": dict(parts.query)}
    return {"conn_type": kind} | {name: value for name, value in given.items() if value}


def _address(url: str) -> dict:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return {
        "schema": parts.scheme,
        "host": parts.hostname,
        "port": parts.port or (443 if parts.scheme == "https" else 80),
    }
