"""A demo shop's features as the warehouse publishes them, and its truth beside them.

``python -m benchmarks.ml.demo_shop --out FOLDER --customers 5000 --days 365 --seed 1`` plays the shop, lands its
history, lets dbt build what models read, and leaves ``FOLDER/features/*.parquet``, ``FOLDER/history`` (with the truth)
and, last, ``FOLDER/shop.json``. A folder that has it is taken as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import warehouse
from benchmarks.ml.rows import REPOSITORY, written

if TYPE_CHECKING:
    import pandas as pd

    from letterpress.demo.truth import Truth

SEEDS = (101, 102, 103)
"""Shops to report on; none of them was used in building."""

EXPORTED = "select table_name from information_schema.tables where table_schema = 'features' order by 1"


@dataclass(frozen=True)
class Shop:
    """A shop that was played and built: where its features lie, and the instant that they stand for."""

    folder: Path
    features: str
    as_of: datetime
    days: int

    def truth(self) -> Truth:
        """What really is so."""
        from letterpress.demo import truth

        return truth.of_history(self.folder / "history")

    def people(self) -> pd.DataFrame:
        """``customer_id`` of the warehouse → ``person`` of the truth, for people with one account of their own."""
        import pandas as pd

        accounts = self.truth().accounts()
        known = pd.read_parquet(self.folder / "identities.parquet")
        known = known[known["source_system"] == "shop"]
        known["account"] = known["source_customer_key"].str.removeprefix("shop:")
        told = known.merge(accounts, left_on="account", right_on="customer_id", suffixes=("", "_account"))
        single = told.groupby("customer_id")["person"].transform("nunique") == 1
        own = told["person"] == told["mail_person"]
        return told.loc[single & own, ["customer_id", "person"]].drop_duplicates("customer_id")


def shop(seed: int, *, customers: int = 5_000, days: int = 365, folder: Path | None = None) -> Shop:
    """The shop of a seed, built in a process of its own unless it is there."""
    folder = folder or REPOSITORY / "build" / "bench" / "shops" / f"{seed}-{customers}-{days}"
    if not (folder / "shop.json").exists():
        command = [sys.executable, "-m", "benchmarks.ml.demo_shop", "--out", str(folder)]
        command += ["--customers", str(customers), "--days", str(days), "--seed", str(seed)]
        paths = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"
        subprocess.run(command, check=True, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": paths})
    about = json.loads((folder / "shop.json").read_text(encoding="utf-8"))
    return Shop(folder, str(folder / "features"), datetime.fromisoformat(about["as_of"]), about["days"])


def run(
    name: str,
    description: str,
    measure: Callable[[list[Shop]], list[dict[str, Any]]],
    arguments: list[str] | None = None,
) -> int:
    """Build the shops that are not there, measure on them, write and print; 1 if a bar is missed, else 0."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--customers", type=int, default=3_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / f"ml_{name}.json")
    options = parser.parse_args(arguments)
    shops = [shop(seed, customers=options.customers, days=options.days) for seed in options.seeds]
    return written(measure(shops), options.output)


def main(arguments: list[str] | None = None) -> int:
    """Play, land, build, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    for name, usual in (("customers", 5_000), ("days", 365), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    history, landed, features = out / "history", out / "landed", out / "features"
    for folder in (landed, features):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "letterpress.demo.history", "--out", str(history)]
    for name in ("customers", "days", "seed"):
        command += [f"--{name}", str(getattr(options, name))]
    subprocess.run(command, check=True, env=os.environ, stdout=subprocess.DEVNULL)
    key = out / "key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    asked = {"history": str(history), "landed": str(landed), "memory_limit": "4GB", "spill": str(out / "spill")}
    warehouse.land(asked)
    as_of = json.loads((landed / "landed.json").read_text(encoding="utf-8"))["as_of"]
    models = sorted((warehouse.PROJECT / "models" / "marts" / "features").glob("*.sql"))
    wanted = [f"marts.{file.stem}" for file in models] + ["marts.dim_customer_identities"]
    warehouse.build_with_dbt(
        asked
        | {"folder": str(out), "key": str(key), "as_of": as_of, "known_through": 2}
        | {"is_incremental": False, "outputs": wanted}
    )
    _export(out)
    content = {"as_of": as_of, "customers": options.customers, "days": options.days, "seed": options.seed}
    (out / "shop.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def _export(out: Path) -> None:
    import duckdb
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()
    with duckdb.connect(str(out / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for (name,) in connection.execute(EXPORTED).fetchall():
            connection.execute(
                f"copy (from features.\"{name}\" order by all) to '{out / 'features' / name}.parquet' (format parquet)"
            )
        connection.execute(
            f"copy (from marts.dim_customer_identities order by all) to '{out / 'identities.parquet'}' (format parquet)"
        )


if __name__ == "__main__":
    sys.exit(main())
