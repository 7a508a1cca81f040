"""The container deployment keeps its promises: health, least privilege, no secrets, loopback, state in volumes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
OURS = AIRFLOW | {"init", "shop", "esp", "klaviyo", "webhooks"}
LONG_RUNNING = (OURS - {"init"}) | {"postgres", "redis"}
SECRET = re.compile(r"password|secret|token|key", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def names_in(text):
    return re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.MULTILINE)


def required_names():
    return set(re.findall(r"\$\{(\w+):\?", (REPOSITORY / "docker-compose.yml").read_text()))


def environment_of(service):
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def test_all_parts_are_there(services):
    assert set(services) == OURS | {"postgres", "redis"}


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_every_long_running_service_tells_whether_it_is_healthy_and_comes_back(services, name):
    check = services[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    assert services[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_share_one_image_and_run_with_the_least_privilege(services, name):
    service = services[name]
    assert service["image"] == "letterpress:local"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image's own, tested below


def test_nobody_runs_as_root(services):
    users = re.findall(r"^USER (\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["letterpress"]
    assert {services[name]["user"] for name in ("postgres", "redis")} == {"postgres", "redis"}


@pytest.mark.parametrize("name", sorted(OURS | {"postgres", "redis"}))
def test_no_secret_stands_in_the_file(services, name):
    given = environment_of(services[name])
    secrets = {variable: value for variable, value in given.items() if SECRET.search(variable)}
    for variable, value in secrets.items():
        assert re.fullmatch(r"\$\{\w+:(\?[^}]*|-)\}", value), f"{variable} of {name} is not taken from the environment"
    for variable, value in given.items():
        for literal in re.findall(r"://[^@/\s]*:([^@/\s]+)@", value):
            assert literal.startswith("${"), f"{variable} of {name} holds a password"
        if '"password"' in value:
            assert re.search(r'"password": "\$\{\w+:\?', value), f"{variable} of {name} holds a password"


def test_every_secret_is_named_in_the_example_without_a_value_and_nothing_else_is_asked_for():
    example = (REPOSITORY / ".env.example").read_text()
    empty = set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE))
    assert empty == required_names()
    optional = set(names_in(example)) - empty
    used = set(re.findall(r"\$\{(\w+):-", (REPOSITORY / "docker-compose.yml").read_text()))
    assert optional == used


def test_the_file_with_the_secrets_is_ignored_by_git_and_by_the_builder():
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", ".env"], cwd=REPOSITORY, check=False, capture_output=True
    )
    assert ignored.returncode == 0
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken_back = {rule[1:] for rule in rules if rule.startswith("!")}
    assert taken_back == {"pyproject.toml", "uv.lock", "dags", "dbt_project", "expectations", "ml", "plugins"}


def test_ports_are_bound_to_loopback(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:${LETTERPRESS_") for port in ports)
    assert not any("ports" in services[name] for name in ("postgres", "redis", "worker", "scheduler"))
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_state_is_in_named_volumes_alone(compose, services):
    assert set(compose["volumes"]) == {"letterpress", "postgres", "redis"}
    for service in services.values():
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]
    homes = {services[name]["volumes"][0] for name in OURS}
    assert homes == {"letterpress:/var/lib/letterpress"}
    assert {environment_of(services[name])["LETTERPRESS_HOME"] for name in OURS} == {"/var/lib/letterpress"}


def test_nothing_starts_before_the_databases_are_migrated(services):
    for name in OURS - {"init"}:
        assert services[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
    assert {one["condition"] for one in services["init"]["depends_on"].values()} == {"service_healthy"}


def test_the_writers_pool_is_the_one_that_the_dags_ask_for(services):
    from letterpress.warehouse.database import WRITER_POOL

    script = services["init"]["command"][-1]
    assert f"airflow pools set {WRITER_POOL} 1 " in script
    assert "airflow db migrate" in script


def test_the_shops_database_and_files_are_where_the_dags_look_for_them(services):
    import json

    from letterpress.settings import Settings

    given, shop = environment_of(services["worker"]), environment_of(services["shop"])
    database = json.loads(given["AIRFLOW_CONN_LETTERPRESS_SHOP_DATABASE"])
    address = f"{database['login']}:{database['password']}@{database['host']}:{database['port']}/{database['schema']}"
    assert shop["LETTERPRESS_SHOP_DATABASE_URL"] == f"postgresql+psycopg://{address}"
    assert f'"{database["schema"]}"' in services["init"]["command"][-1]
    files = json.loads(given["AIRFLOW_CONN_LETTERPRESS_SHOP_FILES"])["extra"]["path"]
    assert files == Settings(home=shop["LETTERPRESS_HOME"]).shop_exports


def test_every_connection_that_the_dags_ask_for_is_set(services):
    from letterpress.activation.destinations import destinations
    from letterpress.sources import load_sources

    asked = {source.connection for source in load_sources().values()}
    asked |= {destination.connection for destination in destinations().values()}
    for name in AIRFLOW:
        assert {f"AIRFLOW_CONN_{one.upper()}" for one in asked} <= set(environment_of(services[name]))


def test_what_vendors_tell_is_landed_out_of_the_store_that_the_receiver_writes_to(services, monkeypatch):
    import json

    from sqlalchemy import make_url

    from letterpress.settings import Settings
    from letterpress.sources import load_sources

    receiver, worker = environment_of(services["webhooks"]), environment_of(services["worker"])
    source = load_sources(settings_=Settings(webhooks="klaviyo"))["webhooks"]
    given = json.loads(worker[f"AIRFLOW_CONN_{source.connection.upper()}"])
    written = make_url(receiver["LETTERPRESS_STORES_URL"].replace("${POSTGRES_PASSWORD:?see .env.example}", "password"))
    assert (given["host"], given["port"], given["schema"]) == (written.host, written.port, written.database)
    assert receiver["LETTERPRESS_WEBHOOKS"] == worker["LETTERPRESS_WEBHOOKS"]
    assert services["webhooks"]["profiles"] == ["webhooks"]
    port = Settings.model_fields["webhooks_port"].default
    assert services["webhooks"]["ports"] == [f"127.0.0.1:${{LETTERPRESS_WEBHOOKS_PORT:-{port}}}:{port}"]
    assert f"127.0.0.1:{port}/health" in services["webhooks"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["shop", "esp"])
def test_services_listen_inside_the_network_where_the_others_look_for_them(services, name):
    from letterpress.settings import Settings

    given = environment_of(services[name])
    assert given["LETTERPRESS_HOST"] == "0.0.0.0"
    port = Settings.model_fields[f"{name}_port"].default
    assert given[f"LETTERPRESS_{name.upper()}_URL"] == f"http://{name}:{port}"
    assert f"127.0.0.1:{port}/health" in services[name]["healthcheck"]["test"][-1]


def test_base_images_are_build_arguments(services):
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert services["init"]["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-")
    assert services["postgres"]["image"].startswith("${POSTGRES_IMAGE:-")
    assert services["redis"]["image"].startswith("${REDIS_IMAGE:-")


def test_the_build_installs_what_the_lock_file_pins():
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert "uv sync --frozen --no-dev --extra postgres --extra deployment" in dockerfile
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert re.search(r"^postgres = ", project, re.MULTILINE)
    assert re.search(r"^deployment = ", project, re.MULTILINE)


def _generated(folder):
    """A `.env` as the comment in `.env.example` makes it."""
    example = (REPOSITORY / ".env.example").read_text()
    command = re.search(r"^#   (\(umask.*?\.env\))$", example, re.MULTILINE | re.DOTALL)[1]
    command = "\n".join(line.removeprefix("#") for line in command.splitlines())
    shutil.copy(REPOSITORY / ".env.example", folder)
    subprocess.run(["bash", "-euc", command], cwd=folder, check=True)
    return folder / ".env"


def test_the_example_tells_how_to_generate_every_secret(tmp_path):
    made = _generated(tmp_path)
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", made.read_text(), re.MULTILINE))
    assert set(values) == required_names()
    assert all(len(value) == 44 for value in values.values())
    assert len(set(values.values())) == len(values)
    assert made.stat().st_mode & 0o077 == 0


def _docker_compose():
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    ):
        return plugin
    if os.environ.get("LETTERPRESS_REQUIRE") == "all":
        pytest.fail("docker-compose is not installed here, and LETTERPRESS_REQUIRE=all asks for it")
    pytest.skip("docker-compose is not installed here")


def test_docker_compose_accepts_the_file_with_generated_secrets_and_refuses_it_without(tmp_path):
    command = _docker_compose()
    clean = {name: value for name, value in os.environ.items() if name not in required_names()}
    shutil.copy(REPOSITORY / "docker-compose.yml", tmp_path)
    refused = subprocess.run([*command, "config"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    _generated(tmp_path)
    accepted = subprocess.run(
        [*command, "config"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "see .env.example" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert "${" not in accepted.stdout
