"""Counts of customers that may leave the house: each with noise, so that they tell nothing about any one person.

What is counted stands in `shared_report.yml`. A published version is counted once: whoever asks again is shown the
same report, since a second draw would be a second look, and the mean of many is the truth. So reports are history.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import publish
from letterpress.warehouse.database import connect
from letterpress.yaml_loader import LOADER
from ml.config import model_names
from ml.privacy import PrivacyBudget, private_counts

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

CONFIGURATION = Path(__file__).with_name("shared_report.yml")
WIDTH = 100

PEOPLE = """
    with tiers as (
        pivot (select customer_id, model_name, tier from marts.fct_customer_scores)
        on model_name using any_value(tier) group by customer_id
    )
    select customers.*, audience.rfm_segment, tiers.* exclude (customer_id)
    from marts.dim_customers as customers
    left join activation.sync_customers as audience using (customer_id)
    left join tiers using (customer_id)
"""


class Configuration(BaseModel):
    """``epsilon`` of the whole report, and table → column → the values that it shows."""

    model_config = ConfigDict(extra="forbid")

    epsilon: float = Field(gt=0)
    tables: dict[str, dict[str, list[str]]] = Field(min_length=1)


def configuration(file: Path = CONFIGURATION) -> Configuration:
    """Read `shared_report.yml`; raises ``RuntimeError`` that says what is wrong where."""
    try:
        return Configuration.model_validate(yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER))
    except (yaml.YAMLError, ValidationError) as error:
        raise RuntimeError(f"{file.name}: {error}; next step: mend the file") from error


def share(settings: Settings, chosen: Configuration, *, seed: int | None = None) -> dict[str, Any]:
    """The report of the current activation version, drawn now or, if it was drawn before, as it was then.

    Raises ``LookupError`` where nothing is published, and ``RuntimeError`` where a column is not there or this version
    was counted under another configuration. ``seed`` is for tests: without it the noise is the operating system's.
    """
    asked = hashlib.sha256(json.dumps(chosen.model_dump(), sort_keys=True).encode()).hexdigest()
    with publish.lease(settings.published, "activation") as folder:
        version = Path(folder).name
        place = storage.join(settings.history, "shared", f"{version}.json")
        if not storage.exists(place):
            with connect(Path(folder) / "warehouse.duckdb") as connection:
                people = _people(connection, chosen)
            storage.create_json(place, {"version": version, "configuration": asked, **_draw(people, chosen, seed)})
    found = storage.read_json(place)
    if found["configuration"] != asked:
        raise RuntimeError(
            f"{version}: counted already, with other tables; a second count would tell more than epsilon"
            f" {found['epsilon']:g} allows; next step: take {place}, or share the next version"
        )
    return found


def _people(connection: duckdb.DuckDBPyConnection, chosen: Configuration) -> pd.DataFrame:
    """One row per customer, with the columns that are counted and no others."""
    people = connection.sql(PEOPLE)
    known = {*people.columns, *model_names()}
    for name, levels in chosen.tables.items():
        missing = [column for column in levels if column not in known]
        if missing:
            raise RuntimeError(
                f"{CONFIGURATION.name}: {name}: expected a column of dim_customers, rfm_segment or a model,"
                f" found {missing[0]}; next step: mend its name"
            )
    columns = dict.fromkeys(("customer_id", *(column for levels in chosen.tables.values() for column in levels)))
    there = people.select(*(column for column in columns if column in people.columns)).to_arrow_table().to_pandas()
    return there.reindex(columns=list(columns))  # a model that does not serve has said nothing of anybody


def _draw(people: pd.DataFrame, chosen: Configuration, seed: int | None) -> dict[str, Any]:
    budget = PrivacyBudget(str(chosen.epsilon))
    drawn = {}
    for number, (name, part) in enumerate(budget.split(list(chosen.tables)).items()):
        table = private_counts(
            people,
            chosen.tables[name],
            table=name,
            epsilon=part,
            budget=budget,
            seed=None if seed is None else seed + number,
        )
        drawn[name] = {
            "epsilon": table.epsilon,
            "margin": table.margin,
            "counts": table.counts.to_dict("records"),
        }
    return {"epsilon": chosen.epsilon, "tables": drawn}


def spent(settings: Settings) -> tuple[int, float]:
    """How many versions were shared so far, and their epsilons together: what they tell of one person adds up."""
    folder = storage.join(settings.history, "shared")
    found = [storage.read_json(storage.join(folder, name)) for name in storage.names(folder) if name.endswith(".json")]
    return len(found), sum(one["epsilon"] for one in found)


def render(report: Mapping[str, Any], so_far: tuple[int, float]) -> str:
    """The report for a terminal or a mail."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=WIDTH, highlight=False, color_system=None)
    console.print(f"Customers in version {report['version']}, with noise (epsilon {report['epsilon']:g})", markup=False)
    for name, one in report["tables"].items():
        console.print()
        console.print(f"{name.replace('_', ' ')}: each off by {one['margin']} at most, 95 times in 100", markup=False)
        console.print(_table(one["counts"]))
    versions, epsilon = so_far
    console.print(f"\nShared so far: {versions} versions, epsilon {epsilon:g} together", markup=False)
    return buffer.getvalue()


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One column and its counts, or two columns against each other."""
    *columns, _ = rows[0]
    table = Table()
    table.add_column(" \\ ".join(columns) if len(columns) == 2 else columns[0])
    if len(columns) != 2:
        for column in columns[1:]:
            table.add_column(column)
        table.add_column("customers", justify="right")
        for row in rows:
            table.add_row(*(str(row[column]) for column in columns), f"{row['count']:,}")
        return table
    down, across = columns
    for value in dict.fromkeys(row[across] for row in rows):
        table.add_column(str(value), justify="right")
    for value in dict.fromkeys(row[down] for row in rows):
        table.add_row(str(value), *(f"{row['count']:,}" for row in rows if row[down] == value))
    return table
