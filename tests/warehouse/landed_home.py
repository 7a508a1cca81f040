"""A home of its own with real loads: files, manifests, a clock; and the build that publishes from it."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from landed_rows import IDENTITY_KEY, PARSED, rows_as_table
from shortcuts import without_dbt_tests

from letterpress import storage
from letterpress.settings import Settings
from letterpress.sources import landing
from letterpress.warehouse import build, publish
from letterpress.warehouse.inputs import Inputs, features_inputs

PASSED = {"verdict": "passed", "checks": 1}


class Home:
    """Landing, warehouse and published versions in one folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=str(folder))
        PARSED.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if not (parsed := Path(self.settings.parsed)).exists():
            parsed.symlink_to(PARSED)
        storage.write_bytes(f"{self.settings.secrets}/identity_key", IDENTITY_KEY)

    def land(self, as_of: datetime, **entities: Iterable[Mapping[str, Any]]) -> int:
        """Land rows as one load for each source, as it is extracted at an instant; names are ``<source>__<entity>``.

        Returns the last load's sequence.
        """
        root, schemas = self.settings.landing, landing.declared_schemas()
        loads: dict[str, dict[str, landing.EntityLoad]] = {}
        for name, rows in entities.items():
            source, entity = name.split("__")
            table = rows_as_table(rows, schemas[source, entity])
            content = hashlib.sha256(f"{as_of}{table.to_pylist()}".encode()).hexdigest()[:12]
            file = f"{source}/{entity}/{content}.parquet"
            storage.write_parquet(storage.join(root, file), table)
            loads.setdefault(source, {})[entity] = landing.EntityLoad(files=(file,), rows=table.num_rows)
        for source, found in loads.items():
            load_id = f"{source}-{landing.last_sequence(root) + 1}"
            waiting = landing.Pending(
                load_id=load_id,
                source=source,
                as_of=as_of,
                run_id="test",
                extracted_at=as_of,
                base_sequence=landing.last_sequence(root),
                entities=found,
            )
            landing.write_pending(root, waiting)
            landing.commit(root, load_id, PASSED)
        return landing.last_sequence(root)

    def publish_features(self, as_of: datetime) -> Path:
        """Build in the live warehouse and publish; returns the version's folder."""
        inputs = features_inputs(self.settings, as_of=as_of)
        with without_dbt_tests():
            for layer in ("staging", "intermediate", "marts"):
                build.build(self.settings, inputs, layer, run_id="test")
        publish.copy_features_candidate(self.settings, inputs)
        publish.publish(self.settings, inputs)
        return Path(publish.version_dir(self.settings.published, "features"))

    def publish_activation(self, scores: tuple[str, ...] = ()) -> Path:
        """Add operations, scores and sync marts to the published features; returns the version's folder."""
        from letterpress.warehouse.inputs import activation_inputs

        features = publish.current(self.settings.published, "features")
        champions = dict(one.split("/")[:2] for one in scores)
        inputs: Inputs = activation_inputs(self.settings, features_version=features, champions=champions)
        file = publish.start_activation_candidate(self.settings, inputs)
        with without_dbt_tests():
            build.build(self.settings, inputs, "activation", run_id="test", database=file)
        publish.publish(self.settings, inputs)
        return Path(publish.version_dir(self.settings.published, "activation"))
