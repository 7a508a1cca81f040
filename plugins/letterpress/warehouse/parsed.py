"""dbt's project as parsed, kept between runs: parsing costs more than most builds do, and follows from files alone.

dbt's own partial parsing begins anew whenever a variable changes, and ``as_of`` changes in every run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from letterpress import storage
from letterpress.warehouse.inputs import DBT_PROJECT, project_hash

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


def manifest(folder: Path, parse: Callable[[], "Manifest"], project: Path = DBT_PROJECT) -> "Manifest":
    """The parsed project from ``folder``, or by ``parse``, which is then kept there.

    What is kept belongs to the project's files and to dbt's version: others are parsed anew. It names relations as
    dbt's target does, so a folder belongs to one target.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.version import get_installed_version

    version = get_installed_version().to_version_string(skip_matcher=True)
    kept = str(folder / f"parsed-{version}-{project_hash(project)[:24]}.msgpack")
    if storage.exists(kept):
        return Manifest.from_msgpack(storage.read_bytes(kept))
    found = parse()
    storage.write_bytes(kept, found.to_msgpack())
    for name in storage.names(str(folder)):
        if name.startswith("parsed-") and not kept.endswith(name):
            storage.delete(storage.join(str(folder), name))
    return found
