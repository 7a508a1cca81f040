"""Whether a build may go on from what a warehouse file holds, or has to build it whole.

Incremental models add what is new to what is there. That gives a full build's tables only where what is there came
from the same project, the same identity key, no later instant, and loads that are all still the same. Beside each
warehouse file stands a small one that says what it was last built from.
"""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from letterpress import storage
from letterpress.warehouse.inputs import DBT_PROJECT, Inputs
from letterpress.yaml_loader import LOADER

# What tests and most marts say changes no incremental table; segments are evaluated anew in every build.
_REBUILT_ANYWAY = ("target", "logs", "tests")


@dataclass(frozen=True)
class Lineage:
    """What a warehouse file was built from; ``is_whole`` once a full build has come to its end."""

    project: str
    identity_key: str
    as_of: str
    known_through: int
    loads: str
    is_whole: bool = False


def of(inputs: Inputs, identity_key: str, project: Path = DBT_PROJECT) -> Lineage:
    """The lineage that a build of these inputs gives."""
    return Lineage(
        project=incremental_hash(project),
        identity_key=identity_key,
        as_of=inputs.as_of,
        known_through=inputs.known_through,
        loads=loads_hash(inputs, through=inputs.known_through),
    )


def read(database: Path) -> Lineage | None:
    """What a warehouse file was last built from; none where it is not known."""
    uri = str(_file(database))
    if not database.exists() or not storage.exists(uri):
        return None
    try:
        return Lineage(**storage.read_json(uri))
    except TypeError:  # written by another version
        return None


def write(database: Path, lineage: Lineage) -> None:
    """Say what a warehouse file is being built from."""
    storage.write_json(str(_file(database)), asdict(lineage))


def why_whole(held: Lineage | None, wanted: Lineage, inputs: Inputs) -> str | None:
    """Why a build has to begin anew; none where it may add to what is held."""
    if held is None:
        return "nothing is known of what the warehouse holds"
    if not held.is_whole:
        return "the last full build did not come to its end"
    if held.project != wanted.project:
        return "models, macros, seeds or variables have changed"
    if held.identity_key != wanted.identity_key:
        return "the identity key has changed"
    if datetime.fromisoformat(held.as_of) > datetime.fromisoformat(wanted.as_of):
        return f"as_of goes back from {held.as_of} to {wanted.as_of}"
    if held.known_through > wanted.known_through:
        return f"known_through goes back from {held.known_through} to {wanted.known_through}"
    if held.loads != loads_hash(inputs, through=held.known_through):
        return "loads that were read are there no more, or hold other files"
    return None


def loads_hash(inputs: Inputs, *, through: int) -> str:
    """Hash of the files of all loads up to a sequence; loads that are replaced change it."""
    import pyarrow.compute as pc

    index = storage.read_parquet(inputs.index)
    index = index.filter(pc.and_(pc.greater(index["load_sequence"], 0), pc.less_equal(index["load_sequence"], through)))
    rows = sorted(zip(index["load_sequence"].to_pylist(), index["uri"].to_pylist(), strict=True))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def incremental_hash(project: Path = DBT_PROJECT) -> str:
    """Hash of what incremental tables follow from: macros, seeds, SQL but of marts built anew, and variables."""
    import yaml

    digest = hashlib.sha256()
    for file in sorted(project.rglob("*")):
        relative = file.relative_to(project)
        if relative.parts[0] in _REBUILT_ANYWAY or file.suffix not in (".sql", ".csv") or not file.is_file():
            continue
        content = file.read_bytes()
        if relative.parts[:2] == ("models", "marts") and b"materialized='incremental'" not in content:
            continue
        digest.update(str(relative).encode() + b"\0" + content + b"\0")
    variables = yaml.load((project / "dbt_project.yml").read_text(), Loader=LOADER).get("vars", {})
    variables.pop("rule_segments", None)
    digest.update(repr(sorted(variables.items(), key=str)).encode())
    return digest.hexdigest()


def _file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lineage.json")
