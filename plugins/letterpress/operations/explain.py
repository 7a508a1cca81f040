"""One person explained: who it is and why, what it agreed to, where it stands and why, what it was sent.

Read from a published version under a lease, and from the live suppression store; never from the live warehouse.
The safe form holds ids, keyed hashes, decisions and numbers alone, for logs; the other one is for the terminal of
the operator who asked for this one person: it shows the name, and the address masked.
"""

import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import publish
from letterpress.warehouse.database import connect
from letterpress.warehouse.inputs import DBT_PROJECT
from letterpress.yaml_loader import LOADER

if TYPE_CHECKING:
    import duckdb

WIDTH = 120
# What a message may repeat; anything else could be a name or a number of somebody.
AN_ID = re.compile(r"this address|[\w:.-]{1,100}")
SHOWN_NAMES = ("first_name", "last_name")
# Tagged as personal because they tell somebody apart; to tell apart is what an explanation is asked for.
IDENTIFIERS = ("left_identifier", "right_identifier", "source_customer_key")
# Of a person's texts a log may hold decisions and where a value came from; of the rest, nothing about age, household
# or income.
DECISIONS = re.compile(r"(customer_id|.*_(status|state|stage|tier|reason|proof|source|systems|segment|kind))")
PRIVATE = re.compile(r"(age|birth|income|household)_.*")


class UnknownCustomer(LookupError):
    """Nobody, or more than one person, is known by what was asked for."""


class NotInVersion(LookupError):
    """A table that the published version lacks: it was built by an earlier state of the project, or a channel."""


@dataclass(frozen=True)
class Section:
    """One part of the page: rows of plain values, and what has to be said beside them; its function names it."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = ""
    # So many columns at the left stand once for all the rows below that share them.
    grouped: int = 0


@dataclass(frozen=True)
class Person:
    """Who is explained, and how the question led there."""

    customer_id: str
    found_by: str
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The whole page."""

    customer_id: str
    version: str
    as_of: str
    is_safe: bool
    sections: tuple[Section, ...]

    def to_json(self) -> dict:
        """For XCom and for a program: rows by column name, instants as text."""
        return {
            "customer_id": self.customer_id,
            "version": self.version,
            "as_of": self.as_of,
            "sections": [
                {
                    "title": section.title,
                    "rows": [
                        {name: _plain(value) for name, value in zip(section.columns, row, strict=True)}
                        for row in section.rows
                    ],
                    "notes": list(section.notes),
                }
                for section in self.sections
            ],
        }


@dataclass(frozen=True)
class Source:
    """What the sections read: one published version, its folder, and how much may be shown."""

    connection: "duckdb.DuckDBPyConnection"
    settings: Settings
    channel: str
    version: str
    as_of: datetime
    identity_key: bytes
    is_safe: bool
    personal: dict[str, frozenset[str]]

    def rows(self, query: str, *parameters: Any) -> list[tuple]:
        """Rows of the version."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def has(self, relation: str) -> bool:
        """Whether the version holds a table."""
        schema, _, table = relation.partition(".")
        query = "select count(*) from duckdb_tables() where schema_name = ? and table_name = ?"
        return self.rows(query, schema, table)[0][0] > 0

    def columns(self, relation: str) -> list[str]:
        """A table's columns that may be shown, in their order."""
        schema, _, table = relation.partition(".")
        query = (
            "select column_name from duckdb_columns() where schema_name = ? and table_name = ? order by column_index"
        )
        found = [name for (name,) in self.rows(query, schema, table)]
        return [name for name in found if not (self.is_safe and self.is_personal(relation, name))]

    def is_personal(self, relation: str, column: str) -> bool:
        """Whether a column is tagged as personal, and is not one of the identifiers that tell people apart."""
        return column in self.personal.get(relation, frozenset()) and column not in IDENTIFIERS

    def table(self, relation: str, where: str, *parameters: Any, but: tuple[str, ...] = ()) -> tuple[tuple, tuple]:
        """The columns that may be shown, and the rows that a condition (with its order) picks.

        Raises ``NotInVersion``.
        """
        if not self.has(relation):
            raise NotInVersion(f"{relation} is missing")
        wanted = [name for name in self.columns(relation) if name not in but]
        listed = ", ".join(f'"{name}"' for name in wanted)
        rows = self.rows(f"select {listed} from {relation} where {where}", *parameters)
        return tuple(wanted), tuple(
            tuple(self.shown(relation, name, value) for name, value in zip(wanted, row, strict=True)) for row in rows
        )

    def may_tell(self, column: str, value: Any) -> bool:
        """Whether the value of a person's column may stand here: in a log decisions and numbers alone."""
        if not self.is_safe or value is None:
            return True
        is_text = isinstance(value, str) and not DECISIONS.fullmatch(column)
        return not is_text and not PRIVATE.fullmatch(column)

    def shown(self, relation: str, column: str, value: Any) -> Any:
        """A value as an operator may see it: names in full, an address masked, of the rest that it is known."""
        if value is None or not self.is_personal(relation, column) or column in SHOWN_NAMES:
            return value
        return masked_email(value) if isinstance(value, str) and "@" in value else "known, not shown"


def explain(settings: Settings, asked: str, *, identity_key: bytes, is_safe: bool) -> Explanation:
    """Everything about the one person whom ``asked`` names: a customer id, a source's id such as ``shop:C000001``,
    or an e-mail address.

    Raises ``UnknownCustomer`` where nobody is known by it, and ``NothingPublished`` before the first version. No
    error repeats an address.
    """
    from letterpress.operations.explain_sections import SECTIONS

    with _source(settings, identity_key, is_safe) as source:
        person = find(source, asked)
        sections = tuple(_section(section, source, person) for section in SECTIONS)
        return Explanation(person.customer_id, source.version, source.as_of.isoformat(), is_safe, sections)


def find(source: Source, asked: str) -> Person:
    """The person whom an id or an address means; an address is hashed before anything else is done with it."""
    asked = asked.strip()
    if "@" in asked:
        found, means = _by_address(source, asked), "this address"
    elif ":" in asked:
        query = "select distinct customer_id from marts.dim_customer_identities where source_customer_key = ?"
        found, means = [one for (one,) in source.rows(query, asked)], asked
    else:
        found, means = _by_customer_id(source, asked), asked
    if len(found) != 1:
        known = "nobody" if not found else f"{len(found)} people"
        raise UnknownCustomer(
            f"customer: expected one person known by {means if AN_ID.fullmatch(means) else 'what was given'}, found "
            f"{known} in {source.channel} {source.version}, as of {source.as_of:%Y-%m-%d %H:%M} UTC; next step: give a "
            "customer_id, or a source's id with its name such as shop:C000001; who arrived later is in the next "
            "version, `make run` publishes it"
        )
    query = "select source_customer_key from marts.dim_customer_identities where customer_id = ? order by 1"
    identifiers = tuple(key for (key,) in source.rows(query, found[0]))
    return Person(found[0], "the customer id" if means == found[0] else means, identifiers)


def render(explanation: Explanation, *, width: int = WIDTH) -> str:
    """The page as text."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, color_system=None)
    console.print(f"Customer {explanation.customer_id}", markup=False)
    console.print(f"as of {explanation.as_of[:16].replace('T', ' ')} UTC, version {explanation.version}", markup=False)
    for section in explanation.sections:
        console.print()
        console.print(section.title, markup=False, soft_wrap=True)
        console.print("─" * min(width, len(section.title)))
        if section.rows:
            console.print(_table(section), markup=False)
        for note in section.notes:
            console.print(note, markup=False)
    return buffer.getvalue()


def masked_email(address: str) -> str:
    """``a…@example.com``: enough for whoever knows it, nothing for whoever does not."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def personal_columns() -> dict[str, frozenset[str]]:
    """Relation → the columns that dbt's models tag as personal, the one place where that is said."""
    import yaml

    schemas = {"features": "features", "sync": "activation", "operations": "operations"}
    found: dict[str, frozenset[str]] = {}
    for file in sorted((DBT_PROJECT / "models" / "marts").rglob("*.yml")):
        for model in (yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER) or {}).get("models", []):
            tagged = [
                column["name"]
                for column in model.get("columns", [])
                if (column.get("meta") or column.get("config", {}).get("meta") or {}).get("pii")
            ]
            found[f"{schemas.get(file.parent.name, 'marts')}.{model['name']}"] = frozenset(tagged)
    return found


def dbt_hash(value: str, identity_key: bytes) -> str:
    """What dbt's macro ``keyed_hash`` makes of a value."""
    key = identity_key.hex().upper()
    inner = hashlib.sha256((key + value).encode()).hexdigest()
    return hashlib.sha256((key + inner).encode()).hexdigest()[:32]


@contextmanager
def _source(settings: Settings, identity_key: bytes, is_safe: bool) -> Iterator[Source]:
    # An activation version is a features version with scores and sends; before the first, there are features alone.
    has_activation = publish.current(settings.published, "activation") is not None
    channel = "activation" if has_activation else "features"
    with publish.lease(settings.published, channel) as folder:
        content = storage.read_json(str(Path(folder) / "manifest.json"))
        with connect(Path(folder) / "warehouse.duckdb") as connection:
            yield Source(
                connection=connection,
                settings=settings,
                channel=channel,
                version=content["version"],
                as_of=datetime.fromisoformat(content["as_of"]),
                identity_key=identity_key,
                is_safe=is_safe,
                personal=personal_columns(),
            )


def _section(section, source: Source, person: Person) -> Section:
    """A part of the page; what an older version lacks is said in its place."""
    import duckdb
    from sqlalchemy.exc import SQLAlchemyError

    title = (section.__doc__ or section.__name__).splitlines()[0].rstrip(".")
    try:
        return replace(section(source, person), title=title)
    except SQLAlchemyError as error:
        said = f"the operational stores cannot be read ({type(error).__name__}); next step: see LETTERPRESS_STORES_URL"
        return Section(notes=(said,), title=title)
    except (NotInVersion, duckdb.CatalogException, duckdb.BinderException) as error:
        said = str(error).splitlines()[0].rstrip("!")
        said = f"not in {source.channel} {source.version}: {said}; next step: `make run` publishes a new version"
        return Section(notes=(said,), title=title)


def _by_customer_id(source: Source, asked: str) -> list[str]:
    """The person of an id, or whom it became where people were merged or split since."""
    found = source.rows("select customer_id from marts.dim_customers where customer_id = ?", asked)
    if not found and source.has("operations.fct_identity_changes"):
        query = (
            "select distinct identities.customer_id from operations.fct_identity_changes as changes "
            "inner join marts.dim_customer_identities as identities using (source_customer_key) "
            "where changes.old_customer_id = ? order by 1"
        )
        found = source.rows(query, asked)
    return [one for (one,) in found]


def _by_address(source: Source, asked: str) -> list[str]:
    address = unicodedata.normalize("NFC", asked).lower()
    local, _, domain = address.rpartition("@")
    forms = dict.fromkeys([address, f"{local.partition('+')[0]}@{domain}"])
    keys = [f"email:{dbt_hash(form, source.identity_key)}" for form in forms]
    # Sent to by others as it is written, found by all as it is joined.
    plain = [hashlib.sha256(form.encode()).hexdigest() for form in forms]
    del asked, address, local, domain, forms
    by_key = "select distinct customer_id from marts.dim_customer_identities where source_customer_key in (?, ?)"
    by_email = "select distinct customer_id from marts.dim_customers where sha256(lower(email)) in (?, ?)"
    for query, given in ((by_key, keys), (by_email, plain)):
        found = [one for (one,) in source.rows(query, given[0], given[-1])]
        if found:
            return found
    return []


def _table(section: Section):
    """A section's rows as a table; columns that are empty throughout are left out."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    filled = [
        number
        for number in range(len(section.columns))
        if number < section.grouped or any(row[number] is not None for row in section.rows)
    ]
    for number in filled:
        name = section.columns[number].replace("_", " ")
        is_number = all(isinstance(row[number], int | float | None) for row in section.rows)
        justify = "right" if is_number else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=max(map(len, name.split())))
    before: tuple = ()
    for row in section.rows:
        is_same = row[: section.grouped] == before
        before = row[: section.grouped]
        table.add_row(*["" if is_same and number < section.grouped else _text(row[number]) for number in filled])
    return table


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def limited(section: Section, most: int) -> Section:
    """A section of at most so many rows, with how many were left out."""
    if len(section.rows) <= most:
        return section
    return replace(section, rows=section.rows[:most], notes=(*section.notes, f"… and {len(section.rows) - most} more"))
