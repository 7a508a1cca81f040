"""``sources.yml``: what it may say, and how it is told what is wrong."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from letterpress.settings import Settings
from letterpress.sources import load_sources

BLOCK = """
crm:
  description: customers
  module: demo_shop
  connection: letterpress_shop
  entities: [customers]
  schedule: "0 3 * * *"
  overlap: P1D
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sources.yml"
    path.write_text(BLOCK)
    return path


def test_online_retail_is_on_where_its_folder_is_given(tmp_path: Path) -> None:
    without = load_sources(settings_=Settings(online_retail=None))
    given = load_sources(settings_=Settings(online_retail=str(tmp_path)))
    assert list(without) == ["crm", "catalogue", "shop", "web", "email", "local_esp"]
    assert list(given) == [*without, "online_retail"]


def test_a_source_is_off_where_its_block_says_so(file: Path) -> None:
    file.write_text(BLOCK + "  enabled: false\n")
    assert load_sources(path=file) == {}
    assert list(load_sources(path=file, include_disabled=True)) == ["crm"]


def test_what_an_esp_tells_is_read_where_the_block_is_switched_on_and_by_the_destination_s_connection() -> None:
    every, enabled = load_sources(include_disabled=True), load_sources()
    for name in ("klaviyo", "mailchimp", "hubspot", "braze"):
        assert name not in enabled
        assert every[name].connection == f"letterpress_{name}"


def test_every_source_has_the_entities_that_it_names() -> None:
    for source in load_sources(include_disabled=True).values():
        assert [entity.name for entity in source.declared()] == list(source.entities)


def test_a_block_becomes_a_frozen_source(file: Path) -> None:
    source = load_sources(path=file)["crm"]
    assert source.overlap == timedelta(days=1)
    assert source.retry.attempts == 6
    with pytest.raises(ValidationError):
        source.schedule = "@daily"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("  frequency: hourly", "crm.frequency"),
        ("  retry: {tries: 3}", "crm.retry.tries"),
        ("  enabled_by: moon", "crm.enabled_by"),
        ("  page_size: 0", "crm.page_size"),
        ("  overlap: -P1D", "crm.overlap"),
        ('  schedule: "every day"', "crm.schedule"),
        ("  module: ../secrets", "crm.module"),
        ("  entities: []", "crm.entities"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(file: Path, line: str, field: str) -> None:
    file.write_text(BLOCK + line + "\n")
    with pytest.raises(ValueError, match=r"sources\.yml") as caught:
        load_sources(path=file)
    assert field in str(caught.value)
    assert "next step" in str(caught.value)


@pytest.mark.parametrize("text", ["- crm", "crm: 5", "crm: [", ""])
def test_a_file_of_another_shape_is_named(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"sources\.yml"):
        load_sources(path=file)


def test_an_entity_that_the_module_does_not_declare_is_named(file: Path) -> None:
    file.write_text(BLOCK.replace("[customers]", "[customers, pets]"))
    source = load_sources(path=file)["crm"]
    with pytest.raises(ValueError, match="pets") as caught:
        source.declared()
    assert "crm.entities" in str(caught.value)


def test_importing_the_sources_is_cheap() -> None:
    """Airflow imports all of plugins/ with every parse."""
    script = (
        "import sys; import letterpress.sources.extract, letterpress.sources.landing, letterpress.sources.clock;"
        "print([name for name in ('dlt', 'pandas', 'duckdb', 'requests', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
