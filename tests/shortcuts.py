"""What a test leaves out that is not about it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import yaml

from ml import config

WITHOUT_DBT_TESTS = ("DBT_EXCLUDE_RESOURCE_TYPES", "test unit_test")
"""dbt's own setting in the environment: a build leaves its tests out, which write nothing."""

LESS = {
    "purchase_propensity": {"trials": 2, "snapshots": 6},
    "click_propensity": {"trials": 2, "snapshots": 6},
    "recommendations": {"snapshots": 1, "warm_items": 500},
    "customer_clusters": {"compare": False, "largest": 5},
}


@cache
def quick_models() -> str:
    """The path of a ``models.yml`` as ours, whose models learn from less: what becomes of a model is tested by it,
    and not how good it is.
    """
    blocks = yaml.safe_load(config.DEFAULT.read_text())
    for name, settings in LESS.items():
        blocks[name]["settings"] |= settings
    file = Path(os.environ["AIRFLOW_HOME"]).parent / "models.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(blocks, sort_keys=False))
    return str(file)


@contextmanager
def without_dbt_tests() -> Iterator[None]:
    """Builds leave dbt's tests out until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*WITHOUT_DBT_TESTS)
        yield
