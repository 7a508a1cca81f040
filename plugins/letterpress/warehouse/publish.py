"""Write, audit, publish: candidates, the pointer that switches atomically, leases, and going back.

A channel (``features`` or ``activation``) is a folder of versions and one pointer, ``current.json``. A version
is named after its instant and the fingerprint of its inputs: the same inputs make the same version.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from letterpress import storage
from letterpress.settings import REPOSITORY, Settings
from letterpress.warehouse import history
from letterpress.warehouse.database import WarehouseBusy, connect, file_lock, warehouse_file, writer_lock
from letterpress.warehouse.inputs import Inputs, seeds_hash

log = logging.getLogger(__name__)

CHANNELS = ("features", "activation")
PUBLISHED_SCHEMAS = ("marts", "features", "activation", "operations")


class NothingPublished(LookupError):
    """A channel without a version."""


def current(published: str, channel: str) -> str | None:
    """The name of a channel's current version."""
    pointer = storage.join(published, _known(channel), "current.json")
    return storage.read_json(pointer)["version"] if storage.exists(pointer) else None


def version_dir(published: str, channel: str, version: str | None = None) -> str:
    """The folder of a version, the current one unless named. Raises ``NothingPublished``."""
    version = version or current(published, channel)
    if version is None or not os.path.exists(f"{published}/{channel}/{version}/manifest.json"):
        raise NothingPublished(
            f"{channel}: expected a published version, found {version or 'none'}; next step: run warehouse_{channel}, "
            "or list what is there with `make publish-list`"
        )
    return storage.join(published, channel, version)


def manifest(published: str, channel: str, version: str | None = None) -> dict:
    """What a published version was made from."""
    return storage.read_json(storage.join(version_dir(published, channel, version), "manifest.json"))


def is_current(published: str, inputs: Inputs) -> bool:
    """Whether these inputs need no build: published already, or rolled back from and so held."""
    pointer = storage.join(published, inputs.channel, "current.json")
    if not storage.exists(pointer):
        return False
    content = storage.read_json(pointer)
    if inputs.version in content.get("held", ()):
        log.warning("%s %s was rolled back from and is held; new inputs are not", inputs.channel, inputs.version)
        return True
    return content["version"] == inputs.version


@contextmanager
def lease(published: str, channel: str, version: str | None = None) -> Iterator[Path]:
    """Pin a version while it is read: pruning keeps away. Ends with the process that holds it, however it ends."""
    folder = Path(version_dir(published, channel, version))
    with file_lock(folder / ".lease", shared=True, timeout=10):
        yield folder


def candidate_dir(published: str, inputs: Inputs) -> Path:
    """Where a version stands until it is audited: on the same disk, so that publishing is one rename."""
    return Path(published) / inputs.channel / "_candidates" / inputs.version


def copy_features_candidate(settings: Settings, inputs: Inputs) -> Path:
    """Copy what downstream may read out of the warehouse, under the writer's lock; returns the candidate's folder."""
    candidate = _fresh(candidate_dir(settings.published, inputs))
    with (
        writer_lock(settings.warehouse),
        connect(warehouse_file(settings.warehouse), read_only=False, memory_limit=settings.memory_limit) as connection,
    ):
        connection.execute("checkpoint")
        _copy_tables(connection, candidate / "warehouse.duckdb")
        _export_features(connection, candidate / "features")
    return candidate


def start_activation_candidate(settings: Settings, inputs: Inputs) -> Path:
    """A copy of the published features version, for dbt to add scores and sync marts to; returns its DuckDB file.

    So an activation version follows from one features version and its scores alone, whatever the
    live warehouse is doing meanwhile.
    """
    candidate = _fresh(candidate_dir(settings.published, inputs))
    with lease(settings.published, "features", inputs.features_version) as features:
        shutil.copy2(features / "warehouse.duckdb", candidate / "warehouse.duckdb")
        shutil.copytree(features / "features", candidate / "features")
    os.chmod(candidate / "warehouse.duckdb", 0o600)
    return candidate / "warehouse.duckdb"


def publish(settings: Settings, inputs: Inputs) -> dict:
    """Switch the pointer to an audited candidate; afterwards append history and prune. Returns the manifest.

    Every step may be repeated: a candidate that was moved already, a pointer that was switched already and a
    history that was written already are left as they are.
    """
    channel = Path(settings.published) / _known(inputs.channel)
    with file_lock(channel / ".publish.lock", timeout=120):
        candidate, target = candidate_dir(settings.published, inputs), channel / inputs.version
        previous = current(settings.published, inputs.channel)
        if not (target / "manifest.json").exists():
            if not (candidate / "warehouse.duckdb").exists():
                raise FileNotFoundError(
                    f"{inputs.channel} {inputs.version}: expected a candidate, found none; next step: run the DAG again"
                )
            content = describe(candidate, inputs, previous)
            storage.write_json(str(candidate / "manifest.json"), content)
            os.chmod(candidate / "warehouse.duckdb", 0o400)
            shutil.rmtree(target, ignore_errors=True)
            os.rename(candidate, target)
        content = storage.read_json(str(target / "manifest.json"))
        if inputs.channel == "features":
            before = content["previous"] if previous == inputs.version else previous
            _record_changes(settings, channel, before, target, content)
        if previous != inputs.version:
            storage.write_json(str(channel / "current.json"), {"version": inputs.version, "held": []})
        prune(settings.published, inputs.channel, keep=settings.kept_versions)
        # What killed or refused runs left: each would keep a whole copy of the warehouse.
        for left in (channel / "_candidates").glob("*"):
            shutil.rmtree(left, ignore_errors=True)
    return content


def _record_changes(settings: Settings, channel: Path, before: str | None, target: Path, content: dict) -> None:
    old = channel / before if before else None
    if old is not None and not (old / "warehouse.duckdb").exists():
        log.warning("%s was pruned: the changes since it cannot be told", before)
        return
    counts = history.record_changes(
        settings.history,
        old=str(old) if old else None,
        new=str(target),
        version=content["version"],
        as_of=content["as_of"],
    )
    log.info("changes against %s: %s", before or "nothing", counts)


def versions(published: str, channel: str) -> list[dict]:
    """The manifests of all kept versions, oldest first."""
    root = storage.join(published, _known(channel))
    found = [
        storage.read_json(storage.join(root, name, "manifest.json"))
        for name in storage.names(root)
        if not name.startswith((".", "_")) and storage.exists(storage.join(root, name, "manifest.json"))
    ]
    return sorted(found, key=lambda content: (content["created_at"], content["version"]))


def roll_back(published: str, channel: str, to: str | None = None) -> str:
    """Point to the version published before the current one (or to ``to``) and hold what was left behind.

    A held version is not published again by a repeated run; new inputs are. Raises ``NothingPublished``
    where there is nothing to go back to.
    """
    root = Path(published) / _known(channel)
    with file_lock(root / ".publish.lock", timeout=120):
        now = current(published, channel)
        kept = [content["version"] for content in versions(published, channel)]
        if to is None:
            earlier = kept[: kept.index(now)] if now in kept else []
            if not earlier:
                raise NothingPublished(
                    f"{channel}: expected a version before {now}, found none; next step: `make publish-list`"
                )
            to = earlier[-1]
        if to not in kept:
            raise NothingPublished(
                f"{channel}: expected one of {', '.join(kept) or 'none'}, found {to}; next step: `make publish-list`"
            )
        held = set(storage.read_json(str(root / "current.json")).get("held", ())) | {now}
        storage.write_json(str(root / "current.json"), {"version": to, "held": sorted(held - {to})})
    return to


def prune(published: str, channel: str, *, keep: int) -> list[str]:
    """Delete the oldest versions beyond ``keep``, never the current one or one under a lease; returns their names."""
    root, now = Path(published) / channel, current(published, channel)
    removed = []
    for content in versions(published, channel)[:-keep]:
        folder = root / content["version"]
        if content["version"] == now:
            continue
        try:
            with file_lock(folder / ".lease"):
                trash = root / "_candidates" / f".{content['version']}.trash"
                shutil.rmtree(trash, ignore_errors=True)
                os.rename(folder, trash)
                shutil.rmtree(trash)
        except WarehouseBusy:
            continue  # somebody reads it: the next publication tries again
        removed.append(content["version"])
    return removed


def _copy_tables(connection, target: Path) -> None:
    connection.execute(f"attach '{target}' as candidate")
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() "
        "where database_name = current_database() and schema_name in ? order by 1, 2",
        [list(PUBLISHED_SCHEMAS[:2])],
    ).fetchall()
    for schema in sorted({schema for schema, _ in tables}):
        connection.execute(f'create schema candidate."{schema}"')
    for schema, table in tables:
        connection.execute(f'create table candidate."{schema}"."{table}" as from "{schema}"."{table}"')
    connection.execute("checkpoint candidate")
    connection.execute("detach candidate")


def _export_features(connection, folder: Path) -> None:
    """Every table and view of the schema as Parquet, people first. Views stand in files alone: nothing reads them
    in SQL downstream, and written down twice they would double the event-grain marts.
    """
    folder.mkdir(exist_ok=True)
    found = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'features' order by 1"
    ).fetchall()
    for (name,) in found:
        connection.execute(
            f"copy (from features.\"{name}\" order by all) to '{folder / name}.parquet' "
            "(format parquet, compression zstd)"
        )


def describe(candidate: Path, inputs: Inputs, previous: str | None) -> dict:
    """What a candidate was made from and how many rows it holds: its manifest."""
    with connect(candidate / "warehouse.duckdb") as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() order by 1, 2").fetchall()
        counts = {
            f"{schema}.{table}": connection.execute(f'select count(*) from "{schema}"."{table}"').fetchone()[0]
            for schema, table in tables
        }
        for file in sorted((candidate / "features").glob("*.parquet")):
            rows = connection.execute("select num_rows from parquet_file_metadata(?)", [str(file)]).fetchone()[0]
            counts.setdefault(f"features.{file.stem}", rows)
    return inputs.to_json() | {
        "previous": previous,
        "row_counts": counts,
        "seeds_hash": seeds_hash(),
        "commit": _commit(),
        "created_at": datetime.now(UTC).isoformat(),  # metadata: outside of every fingerprint and comparison
    }


def _commit() -> str | None:
    """The checkout's commit, where this is one and git is installed."""
    if not (REPOSITORY / ".git").exists() or shutil.which("git") is None:
        return None
    answer = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _fresh(folder: Path) -> Path:
    """An empty folder; what a killed run left of the same candidate goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _known(channel: str) -> str:
    if channel not in CHANNELS:
        raise ValueError(f"channel: expected one of {', '.join(CHANNELS)}, found {channel}")
    return channel
