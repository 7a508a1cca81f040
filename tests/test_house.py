"""The rules of the house, held over the whole tree: imports, what stands in no file, how long a file may be."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PRODUCT = ("dags", "expectations", "ml", "plugins")
HEAVY = ("dbt", "dlt", "great_expectations", "matplotlib", "pandas", "scipy", "sklearn")
AIRFLOW_ROOM = "plugins/letterpress/orchestration"

# Written apart, so that this file keeps its own rules.
HOME_FOLDERS = re.compile(r"(?<![\w.:/-])/(?:" + "|".join(("root", "work", "home")) + r")/[\w.]")
EMAIL = re.compile(r"[\w.+-]+@((?:[a-z0-9-]+\.)+[a-z]{2,})\b", re.IGNORECASE)
EXAMPLE_DOMAINS = re.compile(r"(?:^|\.)(?:example(?:\.com|\.org|\.net)?|test|invalid|localhost)$", re.IGNORECASE)
SECRETS = {
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE " + "KEY-----"),
    "an AWS key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_\w{20,}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a Stripe key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    "a Klaviyo key": re.compile(r"\bpk_[0-9a-f]{34}\b"),
    "a Fernet key": re.compile(r"[\"'=:\s][A-Za-z0-9_-]{43}=(?=[\"'\s]|$)", re.MULTILINE),
    "a literal secret": re.compile(
        r"""(?i)\b\w*(?:password|passwd|secret|token|api_?key)\w*["']?\s*[:=]\s*["'][A-Za-z0-9+/_-]{20,}={0,2}["']"""
    ),
}


@cache
def tracked() -> tuple[str, ...]:
    """Every file that git tracks, relative to the repository."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"not a git checkout: {found.stderr.strip()}")
    return tuple(name for name in found.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def texts(*suffixes: str, under: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Tracked files that are text, with their content."""
    for name in tracked():
        if suffixes and not name.endswith(suffixes):
            continue
        if under and not name.startswith(tuple(f"{folder}/" for folder in under)):
            continue
        try:
            yield name, (REPOSITORY / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every module of the product."""
    return {name: ast.parse(text, filename=name) for name, text in texts(".py", under=PRODUCT)}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, at its top or inside of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def importers(*packages: str, of: str = "", but: str | tuple[str, ...] = ()) -> list[str]:
    """Where modules under a folder import one of the packages."""
    return [
        f"{name}:{line} imports {module}"
        for name, tree in trees().items()
        if name.startswith(of) and not name.startswith(but)
        for line, module in imported(tree)
        if module.split(".")[0] in packages
    ]


def calls(name: str, of: tuple[str, ...]) -> list[str]:
    """Where a name is called, in modules under these folders; a dotted one with whatever stands before it."""
    wanted = re.compile(rf"(?:.*\.)?{re.escape(name)}" if "." in name else name)
    return [
        f"{file}:{node.lineno}"
        for file, tree in trees().items()
        if file.startswith(tuple(f"{folder}/" for folder in of))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and wanted.fullmatch(ast.unparse(node.func))
    ]


def test_the_linter_finds_nothing() -> None:
    for command in (["check", "--output-format=concise"], ["format", "--check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_nothing_prints() -> None:
    assert calls("print", PRODUCT) == []


def test_models_and_expectations_know_neither_airflow_nor_letterpress() -> None:
    assert importers("airflow", "letterpress", of="ml/") == []
    assert importers("airflow", "letterpress", of="expectations/") == []


def test_models_and_expectations_do_not_know_each_other() -> None:
    assert importers("expectations", of="ml/") == []
    assert importers("ml", of="expectations/") == []


def test_nothing_imports_from_dags() -> None:
    assert importers("dags") == []


def test_airflow_is_known_in_one_room_alone() -> None:
    by_airflow = "plugins/airflow_local_settings.py"  # a name and a place of Airflow's
    assert importers("airflow", of="plugins/", but=(f"{AIRFLOW_ROOM}/", by_airflow)) == []


def names_imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """As :func:`imported`, with what is taken out of each module: ``from letterpress import demo`` is one, too."""
    yield from imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def strangers(tree: ast.Module) -> list[str]:
    """What activation must not know: Airflow, which calls it, and the demo, which it may be run against."""
    unknown = re.compile(r"(?:airflow|letterpress\.demo|letterpress\.orchestration)(?:\.|$)")
    return [f"line {line} imports {name}" for line, name in names_imported(tree) if unknown.match(name)]


def test_activation_knows_neither_airflow_nor_the_demo() -> None:
    rooms = {name: tree for name, tree in trees().items() if name.startswith("plugins/letterpress/activation/")}
    assert len(rooms) > 30
    assert {name: found for name, tree in rooms.items() if (found := strangers(tree))} == {}


@pytest.mark.parametrize(
    "line",
    ["import airflow.sdk", "from letterpress import demo", "from letterpress.demo.vendors import running"],
)
def test_whoever_imports_airflow_or_the_demo_is_found_wherever_it_does(line: str) -> None:
    assert strangers(ast.parse(f"def late():\n    {line}\n"))
    assert not strangers(ast.parse("import airflowing\nfrom letterpress import demonstration\n"))


def test_a_dag_file_wires_and_does_not_query() -> None:
    heavy = ("duckdb", "httpx", "numpy", "pandas", "pyarrow", "requests", "sqlalchemy", *HEAVY)
    assert importers(*heavy, of="dags/") == []


def test_models_and_expectations_never_ask_the_clock() -> None:
    found = [
        place
        for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time")
        for place in calls(name, ("ml", "expectations"))
        # When a version was trained or promoted is metadata of the registry, outside of every hash.
        if not place.startswith(("ml/registry.py:", "ml/train.py:"))
    ]
    assert found == []


# Imports each module in turn and tells what it loaded and touched. Airflow's own import is not ours to judge:
# it comes first, before anybody looks.
_PROBE = """
import importlib, json, os, sys, time

names, heavy, repository = json.loads(sys.argv[1]), set(json.loads(sys.argv[2])), sys.argv[3]
found = {"loaded": {}, "touched": {}, "failed": {}, "took": {}}
touched = []
watching = False

def hook(event, arguments):
    if not watching:
        return
    if event == "open":
        path, mode = arguments[0], arguments[1] or "r"
        if not isinstance(path, str) or "__pycache__" in path:
            return
        ours = path.startswith(repository + os.sep) and f"{os.sep}.venv{os.sep}" not in path
        if set(mode) & set("wax+") or (ours and not path.endswith((".py", ".pyc"))):
            touched.append(f"{event} {path} {mode}")
    elif event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "sqlite3.connect", "os.mkdir"):
        touched.append(f"{event} {arguments[0]!r}")

sys.addaudithook(hook)
for name in names:
    if ".orchestration" in name or name.endswith("plugin"):
        watching = False
        start = time.process_time()
        import airflow.plugins_manager
        import airflow.sdk
        import airflow.timetables.trigger  # croniter asks the machine for its architecture
        found["airflow"] = found.get("airflow", 0) + time.process_time() - start
    before = heavy & set(sys.modules)
    touched.clear()
    watching = True
    start = time.process_time()
    try:
        importlib.import_module(name)
    except Exception as error:
        found["failed"][name] = f"{type(error).__name__}: {error}"
    watching = False
    found["took"][name] = time.process_time() - start
    if new := sorted((heavy & set(sys.modules)) - before):
        found["loaded"][name] = new
    if touched:
        found["touched"][name] = list(touched)
sys.__stdout__.write("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def fresh_imports(tmp_path_factory) -> dict:
    """What importing every module of plugins/letterpress does to one fresh interpreter."""
    modules = []
    for name in tracked():
        if name.startswith("plugins/letterpress/") and name.endswith(".py") and not name.endswith("__main__.py"):
            path = Path(name).relative_to("plugins").with_suffix("")
            parts = path.parts[:-1] if path.name == "__init__" else path.parts
            modules.append(".".join(parts))
    # The room that knows Airflow comes last, so that nobody profits from what Airflow has loaded.
    modules.sort(key=lambda module: (".orchestration" in module or module.endswith("plugin"), module))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "PYTHONDONTWRITEBYTECODE": "1",  # a package's first import in a new environment is nobody's touch
    }
    arguments = [json.dumps(modules), json.dumps(HEAVY), str(REPOSITORY)]
    found = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert modules
    return json.loads(found.stdout.splitlines()[-1])  # Airflow's import may have talked before


def test_every_module_of_the_plugin_imports(fresh_imports) -> None:
    assert fresh_imports["failed"] == {}


def test_importing_the_plugin_loads_nothing_heavy(fresh_imports) -> None:
    assert fresh_imports["loaded"] == {}


def test_importing_the_plugin_touches_no_file_and_no_network(fresh_imports) -> None:
    assert fresh_imports["touched"] == {}


def test_importing_the_plugin_is_quick(fresh_imports) -> None:
    """Beside Airflow's own import, in the same process: machines differ, and so does what is compiled already."""
    assert sum(fresh_imports["took"].values()) < 2 * fresh_imports["airflow"]


def test_importing_a_destination_is_cheap(fresh_imports) -> None:
    room = "letterpress.activation.destinations."
    took = {name: seconds for name, seconds in fresh_imports["took"].items() if name.startswith(room)}
    assert {f"{room}klaviyo", f"{room}files", f"{room}http"} <= set(took)
    assert {name: seconds for name, seconds in took.items() if seconds > 1} == {}


def test_addresses_in_the_tree_are_examples() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in texts()
        for match in EMAIL.finditer(text)
        if not EXAMPLE_DOMAINS.search(match.group(1))
    ]
    assert found == []


def test_no_path_of_somebody_s_machine_is_in_the_tree() -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if HOME_FOLDERS.search(line)
    ]
    assert found == []


def test_no_secret_is_in_the_tree() -> None:
    found = [
        f"{name}: looks like {kind}"
        for name, text in texts()
        for kind, pattern in SECRETS.items()
        if not name.endswith("uv.lock") and pattern.search(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "password = '" + "correcthorsebatterystaple'",
        "-----BEGIN RSA PRIVATE " + "KEY-----",
        "key: " + "AKIA" + "IOSFODNN7EXAMPLE",
        "FERNET=" + "x" * 43 + "=",
        "ghp_" + "a1B2" * 9,
    ],
)
def test_what_looks_like_a_secret_is_recognised(text: str) -> None:
    assert any(pattern.search(text) for pattern in SECRETS.values())


def test_addresses_and_paths_of_real_people_are_recognised() -> None:
    found = EMAIL.search("write to jane.doe" + "@gmail.com")
    assert not EXAMPLE_DOMAINS.search(found.group(1))
    assert EXAMPLE_DOMAINS.search("mail.example.com")
    assert not EXAMPLE_DOMAINS.search("notexample.com")
    assert HOME_FOLDERS.search("open('/" + "home/jane/data')")
    assert not HOME_FOLDERS.search("https://example.com/" + "home/page")


def test_packages_come_from_the_public_index() -> None:
    lock = (REPOSITORY / "uv.lock").read_text(encoding="utf-8")
    assert set(re.findall(r'registry = "([^"]+)"', lock)) == {"https://pypi.org/simple"}


@pytest.mark.parametrize(
    ("folder", "suffix", "most"),
    [
        ("dags", ".py", 79),
        ("dbt_project/models", ".sql", 120),
        ("plugins", ".py", 499),
        ("ml", ".py", 499),
        ("expectations", ".py", 499),
    ],
)
def test_files_stay_short(folder: str, suffix: str, most: int) -> None:
    lengths = {name: len(text.splitlines()) for name, text in texts(suffix, under=(folder,))}
    assert lengths
    assert {name: length for name, length in lengths.items() if length > most} == {}


def test_files_are_read_in_one_macro_and_sources_named_in_staging_alone() -> None:
    readers = [name for name, text in texts(".sql", under=("dbt_project",)) if "read_parquet" in text]
    assert readers == ["dbt_project/macros/inputs_index.sql", "dbt_project/macros/landed_rows.sql"]
    users = [
        name for name, text in texts(".sql", under=("dbt_project/models",)) if re.search(r"\bsource\s*\(\s*['\"]", text)
    ]
    assert [name for name in users if not name.startswith("dbt_project/models/staging/")] == []


def test_no_model_asks_the_clock() -> None:
    clock = re.compile(r"\b(?:now|today|getdate|get_current_timestamp)\s*\(|\bcurrent_(?:date|time|timestamp)\b")
    found = [
        f"{name}: {match.group()}"
        for name, text in texts(".sql", under=("dbt_project",))
        for match in clock.finditer(re.sub(r"--[^\n]*|\{#.*?#\}", "", text, flags=re.DOTALL))
    ]
    assert found == []


def test_a_macro_file_holds_the_macro_that_it_is_named_after() -> None:
    wrong = {}
    for name, text in texts(".sql", under=("dbt_project/macros",)):
        macros = re.findall(r"\{%-?\s*macro\s+(\w+)", text)
        if [re.sub(r"^\w+__", "", macro) for macro in macros] != [Path(name).stem] * len(macros) or not macros:
            wrong[name] = macros
    assert wrong == {}


def test_test_modules_have_names_of_their_own() -> None:
    names = Counter(Path(name).name for name in tracked() if name.startswith("tests/") and name.endswith(".py"))
    assert [name for name, count in names.items() if count > 1 and name != "conftest.py"] == []
