"""dbt in this process, one build for each layer; what it did becomes a log, a landed file and a short summary."""

import hashlib
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import history, lineage, parsed, segments
from letterpress.warehouse.database import warehouse_file, writer_lock
from letterpress.warehouse.inputs import DBT_PROJECT, Inputs, key_id, staged_entities

log = logging.getLogger(__name__)

# One build for each layer; the selection is dbt's own syntax. Every staging folder is of the features phase unless it
# is tagged for another one.
LAYERS = {
    "staging": [
        "resource_type:seed",
        "path:models/staging,tag:features_phase",
        *("--exclude", "tag:activation_phase", "tag:operations"),
    ],
    "intermediate": ["path:models/intermediate,tag:features_phase"],
    "marts": ["path:models/marts,tag:features_phase"],
    # Identity changes are read in both phases, and an activation candidate holds no staging of the first.
    "activation": ["tag:activation_phase", "tag:operations", "stg_history__identity_changes"],
}


# These hold incremental models, and are built whole together or not at all.
INCREMENTAL_LAYERS = ("staging", "intermediate", "marts")

# Tests are described there without their compiled SQL: most nodes are tests, and each would be compiled.
DOCS = ("docs", "generate", "--static", "--exclude", "resource_type:test", "resource_type:unit_test")


class BuildFailed(RuntimeError):
    """dbt reported errors; the message names each node."""


@dataclass(frozen=True)
class NodeResult:
    """What happened to one dbt node."""

    node: str
    resource_type: str
    status: str
    seconds: float
    failures: int
    message: str
    relation: str | None = None


@dataclass(frozen=True)
class BuildResult:
    """What one layer's build did."""

    layer: str
    nodes: list[NodeResult] = field(default_factory=list)

    def count(self, resource_type: str, *statuses: str) -> int:
        """How many nodes of a type ended in one of these states."""
        return sum(node.resource_type == resource_type and node.status in statuses for node in self.nodes)

    def summary(self) -> dict[str, int]:
        """Counts for logs, XCom and the report."""
        tests = ("test", "unit_test")
        return {
            "models": self.count("model", "success"),
            "seeds": self.count("seed", "success"),
            "tests": sum(self.count(kind, "pass") for kind in tests),
            "warnings": sum(self.count(kind, "warn") for kind in tests),
            "failures": sum(node.status in ("error", "fail", "runtime error") for node in self.nodes),
        }


def build(settings: Settings, inputs: Inputs, layer: str, *, run_id: str, database: Path | None = None) -> BuildResult:
    """Build one layer, with its tests, in the warehouse or in ``database`` (an activation candidate).

    Incremental models add what is new to what the file holds, or are built whole where that would not give the same
    (``lineage.why_whole``). Raises ``SegmentsError`` for a rule that cannot be, ``BuildFailed`` naming each failed
    node; what dbt did is written to the history either way.
    """
    segments.check(DBT_PROJECT)  # an error there names file and line; dbt could only name a column
    file = database or warehouse_file(settings.warehouse)
    file.parent.mkdir(parents=True, exist_ok=True)
    with writer_lock(settings.warehouse):
        whole = layer in INCREMENTAL_LAYERS and _begins_anew(settings, inputs, file, layer)
        results = _invoke(
            settings, inputs, file, "build", *(["--full-refresh"] if whole else []), "--select", *LAYERS[layer]
        )
        result = BuildResult(layer, [_node(one) for one in results])
        if layer == INCREMENTAL_LAYERS[-1] and not result.summary()["failures"]:
            lineage.write(file, replace(lineage.of(inputs, key_id(settings), DBT_PROJECT), is_whole=True))
    _record(settings, inputs, result, run_id)
    for node in result.nodes:
        level = logging.INFO if node.status in ("success", "pass") else logging.WARNING
        log.log(level, "%-9s %6.2f s  %s %s", node.status, node.seconds, node.node, node.message)
    broken = [node for node in result.nodes if node.status in ("error", "fail", "runtime error")]
    if broken:
        listed = "\n".join(f"  {node.status}: {node.node}: {node.message}" for node in broken)
        raise BuildFailed(
            f"dbt layer {layer}: expected every node to pass, found {len(broken)} broken; the last published version "
            f"stays in place; next step: mend these and run the DAG again\n{listed}"
        )
    return result


def _begins_anew(settings: Settings, inputs: Inputs, file: Path, layer: str) -> bool:
    """Whether this layer is built whole; the first layer decides for those that follow it."""
    held, wanted = lineage.read(file), lineage.of(inputs, key_id(settings), DBT_PROJECT)
    if layer != INCREMENTAL_LAYERS[0]:
        return held is None or not held.is_whole
    why = lineage.why_whole(held, wanted, inputs)
    if why:
        log.info("the warehouse is built whole: %s", why)
    lineage.write(file, replace(wanted, is_whole=why is None))
    return why is not None


def write_docs(settings: Settings, inputs: Inputs, database: Path) -> Path:
    """dbt's documentation as one page that needs no server; returns its path."""
    target = Path(settings.docs) / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    _invoke(settings, inputs, database, *DOCS, access_mode="read_only")
    page = _target(settings, "documentation") / "static_index.html"
    storage.write_bytes(str(target / "index.html"), page.read_bytes())
    storage.write_json(str(target / "version.json"), {"version": inputs.version})
    return target / "index.html"


def documented_version(settings: Settings) -> str | None:
    """The published version that dbt's documentation was last written of."""
    uri = storage.join(settings.docs, "dbt", "version.json")
    return storage.read_json(uri)["version"] if storage.exists(uri) else None


def _target(settings: Settings, name: str) -> Path:
    """dbt's working folder: one for each use, so that none writes over what another compiles."""
    return Path(settings.warehouse) / "dbt" / name


def _invoke(settings: Settings, inputs: Inputs, file: Path, *command: str, access_mode: str = "automatic") -> list:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner, dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

    variables = {"as_of": inputs.as_of, "known_through": inputs.known_through, "inputs": inputs.index}
    variables["staged"] = staged_entities()
    use = "warehouse" if file == warehouse_file(settings.warehouse) else "activation"
    target = _target(settings, "documentation" if access_mode == "read_only" else use)
    arguments = [
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
        *("--target-path", str(target), "--log-path", str(target / "logs")),
        *("--vars", json.dumps(variables)),
        # What dbt would write of itself costs a second each time; its documentation is made of it.
        *([] if command[0] == "docs" else ["--no-write-json"]),
    ]

    def run(runner: dbtRunner, *words: str) -> dbtRunnerResult:
        return runner.invoke(["--no-use-colors", "--no-send-anonymous-usage-stats", *words, *arguments])

    def parse() -> Manifest:
        answer = run(dbtRunner(), "parse")
        if answer.exception is not None:
            raise BuildFailed(f"dbt parse: {answer.exception}") from answer.exception
        return answer.result

    try:
        with _environment(settings, file, access_mode):
            # One for all: dbt calls a database after its file, and all of ours have one name.
            answer = run(dbtRunner(parsed.manifest(Path(settings.parsed), parse, DBT_PROJECT)), *command)
    finally:
        # Otherwise the next read-only open of this file in the same process fails.
        DuckDBConnectionManager.close_all_connections()
    if answer.exception is not None:
        raise BuildFailed(f"dbt {' '.join(command)}: {answer.exception}") from answer.exception
    results = getattr(answer.result, "results", None)
    if results is None and not answer.success:
        raise BuildFailed(f"dbt {' '.join(command)}: failed without results; next step: read {target}/logs/dbt.log")
    return results or []


@contextmanager
def _environment(settings: Settings, file: Path, access_mode: str):
    wanted = {
        "LETTERPRESS_WAREHOUSE_FILE": str(file),
        "LETTERPRESS_IDENTITY_KEY_FILE": storage.join(settings.secrets, "identity_key"),
        "LETTERPRESS_MEMORY_LIMIT": settings.memory_limit,
        "LETTERPRESS_ACCESS_MODE": access_mode,
        "LETTERPRESS_SPILL": str(Path(settings.warehouse) / ".spill"),
        "DO_NOT_TRACK": "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _node(result) -> NodeResult:
    node = result.node
    message = str(result.message or "").strip().splitlines()
    return NodeResult(
        node=node.unique_id.split(".", 1)[1],
        resource_type=str(node.resource_type),
        status=str(result.status),
        seconds=round(float(result.execution_time or 0), 3),
        failures=int(result.failures or 0),
        message=message[0][:300] if message else "",
        relation=getattr(node, "relation_name", None),
    )


def _record(settings: Settings, inputs: Inputs, result: BuildResult, run_id: str) -> None:
    key = f"{inputs.channel}-{inputs.version}-{result.layer}"
    rows = [
        {
            "build_id": hashlib.sha256(key.encode()).hexdigest()[:16],
            "run_id": run_id,
            "layer": result.layer,
            "node": node.node,
            "resource_type": node.resource_type,
            "status": node.status,
            "seconds": node.seconds,
            "failures": node.failures,
            "message": node.message,
            "finished_at": datetime.now(UTC),
        }
        for node in result.nodes
    ]
    history.append(settings.history, "builds", key, pa.Table.from_pylist(rows, schema=history.SCHEMAS["builds"]))
