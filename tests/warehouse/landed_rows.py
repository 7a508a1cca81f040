"""Landing for dbt tests: rows become Parquet files under their declared schemas, and an inputs index lists them."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
# Parsed once for all tests of a run (see conftest.py): that costs more than building a small shop.
PARSED = Path(os.environ["LETTERPRESS_TEST_PARSED"])
IDENTITY_KEY = b"a key for tests only"
# The project's own tests cost most of a build: they are passed where the rows are dirty or where they are the matter.
WITHOUT_TESTS = ("--exclude-resource-type", "test", "unit_test")


def declared_schemas() -> dict[tuple[str, str], pa.Schema]:
    """Every entity that dbt reads, with the columns that its owner declares."""
    from letterpress.sources import landing
    from letterpress.warehouse import history, inputs

    schemas = dict(landing.declared_schemas())
    schemas |= {("history", name): schema for name, schema in history.SCHEMAS.items()}
    schemas |= {("scores", name): schema for name, schema in inputs.SCORED.items()}
    return schemas


def at(text: str) -> datetime:
    """An instant in UTC, such as ``at("2011-06-01 12:00")``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Landing:
    """Loads of one test, and dbt over them in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.index: list[dict[str, Any]] = []
        self.sequence = 0
        self.database = folder / "warehouse.duckdb"
        (folder / "key").write_bytes(IDENTITY_KEY)
        for (source, entity), schema in declared_schemas().items():
            self._write(source, entity, schema.empty_table(), 0)

    def load(self, **entities: Iterable[Mapping[str, Any]] | pa.Table) -> int:
        """Land one load; names are ``<source>__<entity>``. Returns its sequence."""
        self.sequence += 1
        schemas = declared_schemas()
        for name, rows in entities.items():
            source, entity = name.split("__")
            table = rows if isinstance(rows, pa.Table) else rows_as_table(rows, schemas[source, entity])
            self._write(source, entity, table, self.sequence)
        return self.sequence

    def dbt(self, *command: str, as_of: datetime = AS_OF, variables: Mapping[str, Any] | None = None):
        """Run dbt in this process over what has landed; returns dbt's own result."""
        from dbt.cli.main import dbtRunner

        # A parsed project names relations as its target does: on PostgreSQL with the database of this process.
        target = command[command.index("--target") :][:2] if "--target" in command else ()
        return self._run(dbtRunner(self.manifest(*target)), *command, as_of=as_of, variables=variables)

    def manifest(self, *target: str):
        """The parsed project, as every test of a run shares it."""
        from dbt.cli.main import dbtRunner

        from letterpress.warehouse import parsed
        from letterpress.warehouse.database import file_lock

        def parse():
            answer = self._run(dbtRunner(), "parse", *target)
            assert answer.success, answer.exception
            return answer.result

        kept = PARSED.joinpath(*target[1:], *([str(os.getpid())] if target else []))
        with file_lock(PARSED.with_suffix(".lock"), timeout=300):  # so that one worker parses, and not each
            return parsed.manifest(kept, parse, PROJECT)

    def _run(self, runner, *words: str, as_of: datetime = AS_OF, variables: Mapping[str, Any] | None = None):
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        from letterpress.warehouse.inputs import staged_entities

        inputs = self.folder / f"inputs-{self.sequence}.parquet"
        pq.write_table(pa.Table.from_pylist(self.index), inputs)
        given = {"as_of": as_of.isoformat(), "known_through": self.sequence, "inputs": str(inputs)}
        given["staged"] = staged_entities()
        arguments = [
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")),
            *("--vars", json.dumps(given | dict(variables or {}))),
        ]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LETTERPRESS_WAREHOUSE_FILE", str(self.database))
            environment.setenv("LETTERPRESS_IDENTITY_KEY_FILE", str(self.folder / "key"))
            environment.setenv("LETTERPRESS_SPILL", str(self.folder / "spill"))
            try:
                # (What dbt writes of itself costs a second for each command; its documentation is made of it.)
                unwritten = [] if words[0] == "docs" else ["--no-write-json"]
                return runner.invoke([*unwritten, *words, *arguments])
            finally:
                DuckDBConnectionManager.close_all_connections()

    def build(self, *selection: str, as_of: datetime = AS_OF) -> dict[str, str]:
        """``dbt build``; status by node. Fails with what dbt said of every node that broke."""
        answer = self.dbt("build", *selection, as_of=as_of)
        assert answer.exception is None, answer.exception
        broken = [
            f"{one.status}: {one.node.name}: {one.message}"
            for one in answer.result
            if one.status not in ("success", "pass", "no-op")
        ]
        assert not broken, "\n".join(broken)
        return {one.node.name: str(one.status) for one in answer.result}

    def query(self, sql: str) -> list[tuple]:
        """Rows of the warehouse."""
        import duckdb

        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def _write(self, source: str, entity: str, table: pa.Table, sequence: int) -> None:
        file = self.folder / "landing" / source / entity / f"{sequence}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
        self.index.append(
            {
                "source": source,
                "entity": entity,
                "uri": str(file),
                "load_sequence": sequence,
                "loaded_at": datetime(2011, 7, 1, tzinfo=UTC),
            }
        )


def rows_as_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows with the columns that they name; the others are null, and the hash is of the content."""
    complete = []
    for row in rows:
        if unknown := set(row) - set(schema.names):
            raise ValueError(f"expected the declared columns {schema.names}, found {sorted(unknown)}")
        content = json.dumps(row, sort_keys=True, default=str)
        filled = {name: row.get(name) for name in schema.names}
        if "_row_hash" in filled:
            filled["_row_hash"] = hashlib.sha256(content.encode()).hexdigest()
        complete.append(filled)
    return pa.Table.from_pylist(complete, schema=schema)
