"""CONTRIBUTING.md does not rot: its recipes are followed literally in a copy of the repository, and work there."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = ["a source", "a rule segment", "a model", "a destination", "a check", "a campaign"]
MODULE = "plugins/letterpress/activation/destinations/postino.py"
COPIED = ("dags", "dbt_project", "docs", "expectations", "ml", "plugins", "tests")

STEP = re.compile(
    r"^(?P<how>New file|At the end of|In) `(?P<path>[^`]+)`"
    r"(?:, (?P<where>below|instead of) the line `(?P<anchor>[^`]+)`)?:"
    r"\n\n```\w*\n(?P<content>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(r"^make ([a-z-]+)|`make ([a-z-]+)", re.MULTILINE)

# What no recipe's own test asks, written into the copy: that the rest of the house knows of what was added.
TRUTH = "assert_landed_rows_are_accounted_for"
HOUSE = {
    "tests/warehouse/test_followed_warehouse.py": f"""
import test_dbt_reviews
from landed_rows import Landing, at


def test_the_new_source_is_reconciled_and_the_new_segment_is_compiled(tmp_path):
    test_dbt_reviews.test_every_landed_review_has_a_fate(tmp_path)
    landing = Landing(tmp_path)  # over the same folder, so that dbt has parsed the project already
    landing.load(reviews__reviews=[{{"review_id": "R1", "rating": 5, "updated_at": at("2011-06-01")}}])
    built = landing.build("--select", "+fct_source_reconciliation", "{TRUTH}", "--indirect-selection", "empty")
    assert built["{TRUTH}"] == "pass"
    compiled = landing.dbt("compile", "--select", "dim_customer_segments").result
    [segments] = [one.node.compiled_code for one in compiled if one.node.name == "dim_customer_segments"]
    assert "'lapsing_gold'" in segments
    rows = landing.query(
        "select disposition, row_count from marts.fct_source_reconciliation where source_name = 'reviews' order by all"
    )
    assert rows == [("landed", 1), ("used", 1)]
""",
    "tests/expectations/test_followed_suites.py": """
import pytest
import test_suites as suites

NEW = {"landed_reviews__reviews": "rating", "landed_shop__orders": "discount_amount"}


@pytest.mark.parametrize("suite", NEW)
def test_good_rows_pass_the_suite_and_each_check_can_fail(suite):
    suites.test_healthy_rows_pass_without_a_warning(suite, 12)
    assert [check for check in suites.SUITES[suite] if NEW[suite] in check.label]
    suites.test_every_check_can_fail(suite)


def test_every_declared_entity_has_a_suite():
    suites.test_every_declared_entity_has_a_suite()
""",
    "tests/dags/test_followed_dags.py": """
from pathlib import Path


def test_what_was_added_has_its_dags_and_tasks(repository: Path, airflow_database):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(repository / "dags")
    assert bag.import_errors == {}
    assert {"ingest_reviews", "sync_postino", "campaign_we_miss_you"} <= set(bag.dag_ids)
    assert "train_repeat_purchase" in bag.dags["models_train"].task_ids
    assert "score_repeat_purchase" in bag.dags["models_score"].task_ids
""",
}


@dataclass(frozen=True)
class Step:
    """One code block of a recipe and what the line above it says to do with it."""

    how: str
    path: str
    where: str | None
    anchor: str | None
    content: str

    def follow(self, root: Path) -> None:
        file = root / self.path
        if self.how == "New file":
            assert not file.exists(), f"{self.path}: the recipe makes a file that is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.content, encoding="utf-8")
            return
        assert file.is_file(), f"{self.path}: the recipe changes a file that is not there"
        text = file.read_text(encoding="utf-8")
        if self.how == "At the end of":
            file.write_text(f"{text}\n{self.content}", encoding="utf-8")
            return
        line = f"{self.anchor}\n"
        found = f"\n{text}".count(f"\n{line}")
        assert found == 1, f"{self.path}: expected the line {self.anchor!r} once, found it {found} times"
        kept = "" if self.where == "instead of" else line
        file.write_text(f"\n{text}".replace(f"\n{line}", f"\n{kept}{self.content}")[1:], encoding="utf-8")


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def recipes() -> dict[str, str]:
    """The sections that begin with Add, by what they add."""
    sections = re.split(r"^## ", text_of("CONTRIBUTING.md"), flags=re.MULTILINE)[1:]
    titled = [section.partition("\n") for section in sections]
    return {title.removeprefix("Add "): body for title, _, body in titled if title.startswith("Add ")}


def steps(recipe: str) -> list[Step]:
    return [Step(**found.groupdict()) for found in STEP.finditer(recipe)]


@dataclass(frozen=True)
class Followed:
    """A copy of the repository in which every recipe was followed."""

    root: Path
    made: list[str]

    def run(self, *command: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": f"{self.root}{os.pathsep}{self.root / 'plugins'}"}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1_500,
        )


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Followed:
    root = tmp_path_factory.mktemp("contributor") / "letterpress"
    unwanted = shutil.ignore_patterns("__pycache__", "target", "logs", ".user.yml")
    for folder in COPIED:
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=unwanted)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    made = []
    for recipe in recipes().values():
        for step in steps(recipe):
            step.follow(root)
            made.append(step.path)
    for path, content in HOUSE.items():
        (root / path).write_text(content, encoding="utf-8")
    return Followed(root, made)


def test_there_is_a_recipe_for_each_row_of_the_cost_table():
    found = recipes()
    assert list(found) == RECIPES
    for name, recipe in found.items():
        assert "**See it.**" in recipe, name
        assert "mirrored test" in recipe or re.search(r"^New file `tests/", recipe, re.MULTILINE), name
        assert f"| {name} |" in text_of("CONTRIBUTING.md").partition("## What a change costs")[2], name


def test_every_block_of_a_recipe_is_either_a_step_or_a_command():
    for name, recipe in recipes().items():
        fences = recipe.count("\n```") // 2
        shell = len(re.findall(r"^```\n(?:export|make) ", recipe, re.MULTILINE))
        assert len(steps(recipe)) + shell == fences, name


def test_commands_and_rooms_that_are_named_exist():
    text = text_of("CONTRIBUTING.md")
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = {first or second for first, second in COMMAND.findall(text)}
    assert {"setup", "test", "lint", "format", "test-slow", "run"} <= named
    assert named - targets == set()
    made = {step.path for recipe in recipes().values() for step in steps(recipe)}
    for path in re.findall(r"`((?:dags|plugins|dbt_project|ml|expectations|tests|benchmarks)/[\w./]*)`", text):
        assert (REPOSITORY / path).exists() or path in made, path


def test_the_recipes_keep_the_linter_quiet(followed):
    files = [path for path in dict.fromkeys(followed.made) if path.endswith(".py")]
    for command in (["check"], ["format", "--check"]):
        found = followed.run("ruff", *command, *files)
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_a_destination_is_a_small_module_and_a_block_and_does_what_every_destination_has_to(followed):
    by_path = {step.path: step.content for step in steps(recipes()["a destination"])}
    product = [path for path in by_path if not path.startswith(("tests/", "docs/", "plugins/letterpress/demo/"))]
    assert product == [MODULE, "plugins/letterpress/activation/destinations.yml"]
    assert len(by_path[MODULE].splitlines()) < 80
    folder = "tests/activation"
    every, rules = f"{folder}/vendors/test_every_destination.py", f"{folder}/test_destination_modules.py"
    tests = [f"{folder}/vendors/test_postino.py", every, rules]
    wanted = "postino or test_destination_modules"
    found = followed.run("pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", "", "-k", wanted, *tests)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed is not None
    assert int(passed.group(1)) >= 80, found.stdout


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # dbt parses and builds the changed project, beside all else that runs
def test_the_recipes_work_and_their_tests_pass(followed):
    tests = list(dict.fromkeys(path for path in followed.made if re.search(r"/test_\w+\.py$", path)))
    assert len(tests) >= 8
    tests.remove("tests/warehouse/test_dbt_reviews.py")  # the house's own test below runs it
    tests.remove("tests/activation/vendors/test_postino.py")  # run above
    found = followed.run("pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *tests, *HOUSE)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
