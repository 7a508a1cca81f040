"""The small shop and its landing are the warehouse tests' own."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "warehouse"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory):
    """Built once for all modules that only read what is published."""
    from published_home import published_home

    return published_home(tmp_path_factory.mktemp("published"))
