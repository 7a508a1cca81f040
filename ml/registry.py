"""Which versions of the models there are, and which one serves.

An artefact lies under the hash of its files, ``<registry>/artefacts/<sha256>/``, so that the same model has the
same version wherever it is trained. Beside the hashed files ``metadata.json`` tells where it came from; it is
written last, and a version exists once it is there. Which version serves is decided by an append-only log in a
database (SQLite, or PostgreSQL by its URL): a promotion or a roll-back is one inserted row, whose number may be
taken once, so that of two at the same time one fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from ml import files
from ml.errors import NoChampion, PromotionConflict, RegistryError

METADATA = "metadata.json"
CARD = "card.html"
"""The page about a version: beside the hashed files, and written anew as more becomes known of it."""

_TABLES = sa.MetaData()
_LOG = sa.Table(
    "model_aliases",
    _TABLES,
    sa.Column("model_name", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("replaced_version", sa.String(64)),
    sa.Column("as_of", sa.String(40), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.String(40), nullable=False),
)
_VERSIONS = sa.Table(
    "model_versions",
    _TABLES,
    sa.Column("model_name", sa.String(200), primary_key=True),
    sa.Column("model_version", sa.String(64), primary_key=True),
    sa.Column("as_of", sa.String(40), nullable=False),
    sa.Column("features_version", sa.String(200), nullable=False),
    sa.Column("files", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.String(40), nullable=False),
)
_TRAININGS = sa.Table(
    "model_trainings",
    _TABLES,
    sa.Column("model_name", sa.String(200), primary_key=True),
    sa.Column("model_version", sa.String(64), primary_key=True),
    sa.Column("as_of", sa.String(40), primary_key=True),
    sa.Column("features_version", sa.String(200), primary_key=True),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("promoted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.String(40), nullable=False),
)


@dataclass(frozen=True)
class Alias:
    """One entry of the log; the last one of a model says which version serves."""

    model_name: str
    sequence: int
    action: str
    model_version: str
    replaced_version: str | None
    as_of: datetime
    reason: str
    recorded_at: datetime


@dataclass(frozen=True)
class Version:
    """One version of a model: what it was first trained from, and the SHA-256 of each of its files."""

    model_name: str
    model_version: str
    as_of: datetime
    features_version: str
    files: Mapping[str, str]
    recorded_at: datetime


@dataclass(frozen=True)
class Training:
    """One training that came to a version, whether it was promoted or not."""

    model_name: str
    model_version: str
    as_of: datetime
    features_version: str
    seed: int
    metrics: Mapping[str, Any]
    promoted: bool
    reason: str
    recorded_at: datetime


def version_of(artefact: Mapping[str, bytes]) -> str:
    """The address of an artefact: the SHA-256 of its file names and their SHA-256."""
    lines = [f"{files.sha256(content)}  {name}\n" for name, content in sorted(artefact.items())]
    return files.sha256("".join(lines).encode())


def store(registry: str, artefact: Mapping[str, bytes], metadata: Mapping[str, Any]) -> str:
    """Keep an artefact and return its version; one that is there and whole already stays as it is.

    ``metadata`` is a JSON object outside of the hash; the names of the hashed files are added to it.
    """
    if strangers := {METADATA, CARD}.intersection(artefact):
        raise RegistryError(f"an artefact's own file may not be called {strangers.pop()}")
    version = version_of(artefact)
    folder = files.join(registry, "artefacts", version)
    try:
        read(registry, version)
    except RegistryError:  # absent, or damaged: the bytes for its address are at hand
        for name, content in sorted(artefact.items()):
            files.write_bytes(files.join(folder, name), content)
        hashes = {name: files.sha256(content) for name, content in artefact.items()}
        about = {**metadata, "model_version": version, "files": hashes}
        files.write_bytes(files.join(folder, METADATA), files.json_bytes(about))
    return version


def metadata(registry: str, version: str) -> dict[str, Any]:
    """What is known of a version: model, as_of, features, metrics, libraries, feature schema, files."""
    uri = files.join(registry, "artefacts", version, METADATA)
    try:
        return files.read_json(uri)
    except FileNotFoundError as error:
        raise RegistryError(f"{uri}: no such version; train the model or roll back to another one") from error
    except ValueError as error:
        raise RegistryError(f"{uri}: damaged ({error}); restore the file or roll back") from error


def read(registry: str, version: str) -> dict[str, bytes]:
    """The files of a version, each checked against its hash, and all against their address.

    Raises :class:`RegistryError` that names the file that is missing or not what it was.
    """
    folder = files.join(registry, "artefacts", version)
    artefact = {}
    for name, expected in metadata(registry, version).get("files", {}).items():
        uri = files.join(folder, name)
        try:
            artefact[name] = files.read_bytes(uri)
        except FileNotFoundError as error:
            raise RegistryError(f"{uri}: the file is missing; restore it or roll back") from error
        found = files.sha256(artefact[name])
        if found != expected:
            raise RegistryError(
                f"{uri}: expected the hash {expected}, found {found}: the file is damaged;"
                " restore it, train again or roll back"
            )
    found = version_of(artefact)
    if found != version:
        raise RegistryError(
            f"{folder}: expected files with the hash {version}, found {found}: {METADATA} lists other files than were"
            " stored; restore it, train again or roll back"
        )
    return artefact


def serving(name: str, registry: str, registry_url: str) -> tuple[Alias, dict[str, bytes], list[str]]:
    """The promotion that serves, its files, and what is wrong with later ones.

    A version whose files are damaged does not stop the line: the one promoted before it serves meanwhile, and the
    list says why. Raises :class:`NoChampion` where nothing was promoted, :class:`RegistryError` naming every
    damage where no promoted version is whole.
    """
    stack = _stack(history(registry_url, name))
    if not stack:
        raise NoChampion(f"{name}: no version serves; train the model, or see why its gate refused it")
    damaged: list[str] = []
    for alias in reversed(stack):
        try:
            return alias, read(registry, alias.model_version), damaged
        except RegistryError as error:
            damaged.append(str(error))
    raise RegistryError(f"{name}: no promoted version is whole: {'; '.join(damaged)}")


def aliases(registry_url: str) -> dict[str, Alias]:
    """The version that serves, of every model that has one."""
    return {entry.model_name: entry for entry in history(registry_url)}


def champion(name: str, registry_url: str) -> Alias | None:
    """The version of one model that serves, or None."""
    entries = history(registry_url, name)
    return entries[-1] if entries else None


def history(registry_url: str, name: str | None = None) -> list[Alias]:
    """The whole log, oldest first within a model, of one model or of all."""
    return [Alias(**row) for row in _rows(_LOG, registry_url, name, "sequence")]


def promote(name: str, version: str, registry_url: str, *, as_of: datetime, reason: str, expected: str | None) -> Alias:
    """Let a version serve, in one inserted row.

    ``expected`` is the version that the caller believes serves now (None: none): where another one does, since
    somebody else was faster, :class:`PromotionConflict` is raised and nothing is written.
    """
    return _append(registry_url, name, "promote", version, expected, as_of, reason)


def roll_back(name: str, registry_url: str, reason: str = "rolled back by hand") -> Alias:
    """Let the version serve that served before the present one was promoted.

    Rolling back twice goes back two promotions. A version that was rolled back from is not promoted again by a
    training (see :func:`refused`). Raises :class:`RegistryError` where there is nothing to go back to.
    """
    entries = history(registry_url, name)
    stack = _stack(entries)
    if len(stack) < 2:
        raise RegistryError(
            f"{name}: nothing to roll back to: expected an earlier promotion, found {len(stack)} in all;"
            " train a new version instead"
        )
    before, now = stack[-2], stack[-1]
    return _append(registry_url, name, "roll_back", before.model_version, now.model_version, before.as_of, reason)


def refused(name: str, registry_url: str) -> set[str]:
    """The versions that were rolled back from, and not promoted by hand since."""
    versions: set[str] = set()
    for entry in history(registry_url, name):
        versions.discard(entry.model_version)
        if entry.action == "roll_back" and entry.replaced_version is not None:
            versions.add(entry.replaced_version)
    return versions


def serving_versions(registry: str, registry_url: str) -> dict[str, str]:
    """Of every model the version that serves and is whole; a model of which none is whole is left out."""
    found = {}
    for name in aliases(registry_url):
        with suppress(RegistryError):
            found[name] = serving(name, registry, registry_url)[0].model_version
    return found


def record(training: Training, registry_url: str) -> bool:
    """Keep that a training took place; False where the same one is recorded already."""
    return _insert(_TRAININGS, training, registry_url)


def record_version(version: Version, registry_url: str) -> bool:
    """Keep that a version exists; one that is known stays as it is, and the answer is False."""
    return _insert(_VERSIONS, version, registry_url)


def versions(registry_url: str, name: str | None = None) -> list[Version]:
    """Every version that was trained, oldest first, of one model or of all."""
    return [Version(**row) for row in _rows(_VERSIONS, registry_url, name, "recorded_at", "model_version")]


def trainings(registry_url: str, name: str | None = None) -> list[Training]:
    """Every recorded training, oldest ``as_of`` first, of one model or of all."""
    return [Training(**row) for row in _rows(_TRAININGS, registry_url, name, "as_of", "recorded_at", "model_version")]


def _insert(table: sa.Table, record: Any, registry_url: str) -> bool:
    """One row of a record; False where a row of its key is there."""
    row = {key: _WRITTEN.get(key, _as_it_is)(value) for key, value in record.__dict__.items()}
    try:
        with _connect(registry_url, write=True) as connection:
            connection.execute(table.insert(), row)
    except sa.exc.IntegrityError:
        return False
    return True


def _rows(table: sa.Table, registry_url: str, name: str | None, *order: str) -> list[dict[str, Any]]:
    """The rows of a table with their types back, by model and then in ``order``."""
    query = sa.select(table).order_by(table.c.model_name, *(table.c[column] for column in order))
    if name is not None:
        query = query.where(table.c.model_name == name)
    with _connect(registry_url) as connection:
        rows = connection.execute(query).mappings().all()
    return [{key: _READ.get(key, _as_it_is)(value) for key, value in row.items()} for row in rows]


def _stack(entries: list[Alias]) -> list[Alias]:
    """The promotions that are in force, the serving one last."""
    stack: list[Alias] = []
    for entry in entries:
        if entry.action == "promote":
            stack.append(entry)
        else:
            stack.pop()
    return stack


def _append(
    registry_url: str, name: str, action: str, version: str, expected: str | None, as_of: datetime, reason: str
) -> Alias:
    entries = history(registry_url, name)
    serving = entries[-1].model_version if entries else None
    conflict = f"{name}: expected {expected or 'no version'} to serve, found another one; look again, then decide"
    if serving != expected:
        raise PromotionConflict(conflict)
    row = {
        "model_name": name,
        "sequence": len(entries) + 1,
        "action": action,
        "model_version": version,
        "replaced_version": serving,
        "as_of": _text(as_of),
        "reason": reason,
        "recorded_at": _text(datetime.now(UTC)),
    }
    try:
        with _connect(registry_url, write=True) as connection:
            connection.execute(_LOG.insert(), row)
    except sa.exc.IntegrityError as error:
        raise PromotionConflict(conflict) from error
    return Alias(**{key: _READ.get(key, _as_it_is)(value) for key, value in row.items()})


def _text(instant: datetime) -> str:
    """Instants as text of one length, since SQLite has no type that keeps the zone."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _as_it_is(value: Any) -> Any:
    return value


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True)


# Columns that the database holds as text.
_WRITTEN = {"as_of": _text, "recorded_at": _text, "metrics": _json, "files": _json}
_READ = {
    "as_of": datetime.fromisoformat,
    "recorded_at": datetime.fromisoformat,
    "metrics": json.loads,
    "files": json.loads,
}


@contextmanager
def _connect(registry_url: str, *, write: bool = False) -> Iterator[sa.Connection]:
    """A transaction; the tables are there. SQLite takes its write lock at the beginning and waits for it."""
    url = sa.make_url(registry_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments = {}
    if is_sqlite:
        arguments["timeout"] = 30
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
    if is_sqlite:
        _begin_explicitly(engine)
    try:
        if not sa.inspect(engine).has_table(_VERSIONS.name):
            with engine.begin() as connection:
                if is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:  # two at once would both find nothing and then collide
                    connection.execute(sa.text("select pg_advisory_xact_lock(5126711)"))
                for table in _TABLES.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
        with engine.begin() as connection:
            if is_sqlite and write:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    finally:
        engine.dispose()


def _begin_explicitly(engine: sa.Engine) -> None:
    """Python's sqlite3 begins transactions by itself, too late for a lock; from here on it does not."""

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
