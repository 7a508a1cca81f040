"""Data extensions of Marketing Cloud's stand-in: their columns, what a row may hold, how rows are read back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

ADDRESS = re.compile(r"[^@\s,;<>()\"']+@[^@\s,;<>()\"']+\.[^@\s.,;<>()\"']+")
FILTER = re.compile(
    r"""\s*(?P<column>\w+)\s+eq\s+(?:'(?P<text>(?:[^']|'')*)'|(?P<bare>true|false|-?\d+(?:\.\d+)?))\s*"""
)
DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %I:%M:%S %p")


@dataclass(frozen=True)
class Column:
    """A column as the account's owner made it; ``length`` bounds texts."""

    type: str
    length: int | None = None
    is_key: bool = False
    is_nullable: bool = True


KEY = Column("Text", 100, is_key=True, is_nullable=False)
ADDRESS_COLUMN = Column("EmailAddress", 254)
PROFILES, SUPPRESSIONS, LISTS = "letterpress_customers", "letterpress_suppressions", ("letterpress_win_back",)
PROFILE_COLUMNS = {
    "ContactKey": KEY,
    "EmailAddress": ADDRESS_COLUMN,
    "IsActive": Column("Boolean", is_nullable=False),
    **dict.fromkeys(("FirstName", "LastName", "FavouriteCategory"), Column("Text", 200)),
    **dict.fromkeys(("Country", "Orders", "RfmCode", "LoyaltyTier"), Column("Text", 50)),
    **dict.fromkeys(("TimeZone", "RfmSegment", "Cluster", "LifetimeValueTier"), Column("Text", 100)),
    **dict.fromkeys(("LifecycleStage", "ChurnTier", "PurchaseTier", "ClickTier"), Column("Text", 50)),
    **dict.fromkeys(("Segments", "Interests", "Recommendations", "BehaviourTags"), Column("Text", 4_000)),
    "Phone": Column("Phone", 50),
    **dict.fromkeys(("LifetimeValueDecile", "BestSendHour"), Column("Number")),
    "AverageOrderValue": Column("Decimal"),
    "IsStoreMember": Column("Boolean"),
    "LastOrderDate": Column("Date"),
}
SUPPRESSION_COLUMNS = {
    "ContactKey": KEY,
    "Source": Column("Text", 50, is_key=True, is_nullable=False),
    "EmailAddress": ADDRESS_COLUMN,
    **dict.fromkeys(("Reason", "SuppressedAt", "ConsentedAt"), Column("Text", 50)),
    "ConsentProof": Column("Text", 200),
    "IsSuppressed": Column("Boolean", is_nullable=False),
}
LIST_COLUMNS = {"ContactKey": KEY, "EmailAddress": ADDRESS_COLUMN, "IsMember": Column("Boolean", is_nullable=False)}


def described(columns: Mapping[str, Column]) -> dict[str, dict[str, Any]]:
    """Columns as a document."""
    return {name: asdict(column) for name, column in columns.items()}


def row_key(columns: Mapping[str, dict], row: Mapping[str, Any]) -> str:
    """Under which a row is kept: the values of its primary key."""
    return orjson.dumps([row.get(name) for name, column in columns.items() if column["is_key"]]).decode()


def row_error(columns: Mapping[str, dict], row: Mapping[str, Any], *, is_new: bool) -> tuple[Any, str] | None:
    """Code and message of the first thing that is wrong with a row: like the vendor's, with the values in it."""
    for name, column in columns.items():
        value = row.get(name)
        if value is None:
            if not column["is_nullable"] and (name in row or is_new):
                return (
                    "UnexpectedError",
                    f"Cannot insert the value NULL into column '{name}'; column does not allow nulls.",
                )
        elif not _fits(column, value):
            return 2, f"The value {_shown(value)} of the field {name} is not a valid {column['type']}."
        elif column["length"] and len(value) > column["length"]:
            return 2, f"The value {_shown(value)} of the field {name} is longer than {column['length']} characters."
    return None


def as_read(columns: Mapping[str, dict], row: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """A row as a rowset shows it: names in lower case, every value a text, dates as in the United States."""
    parts: dict[str, dict[str, str]] = {"keys": {}, "values": {}}
    for name, column in columns.items():
        parts["keys" if column["is_key"] else "values"][name.lower()] = _as_text(column["type"], row.get(name))
    return parts


def matching(columns: Mapping[str, dict], rows: Sequence[Mapping[str, Any]], text: str | None) -> list | None:
    """The rows that a ``$filter`` of one comparison lets through; none where it cannot be understood."""
    if text is None:
        return list(rows)
    found = FILTER.fullmatch(text)
    named = found and {name.lower(): name for name in columns}.get(found["column"].lower())
    if not found or not named:
        return None
    wanted = found["bare"] if found["text"] is None else found["text"].replace("''", "'")
    column_type = columns[named]["type"]
    return [row for row in rows if _as_text(column_type, row.get(named)).lower() == wanted.lower()]


def _fits(column: Mapping[str, Any], value: Any) -> bool:
    match column["type"]:
        case "Boolean":
            return isinstance(value, bool)
        case "Number":
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
        case "Decimal":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "Date":
            return isinstance(value, str) and _instant(value) is not None
        case "EmailAddress":
            return isinstance(value, str) and ADDRESS.fullmatch(value) is not None
    return isinstance(value, str)


def _instant(value: str) -> datetime | None:
    for pattern in DATES:
        try:
            return datetime.strptime(value, pattern)
        except ValueError:
            continue
    return None


def _as_text(column_type: str, value: Any) -> str:
    if value is None:
        return ""
    if column_type == "Date":
        instant = _instant(value)
        return f"{instant.month}/{instant.day}/{instant.year} {instant.strftime('%I:%M:%S %p').removeprefix('0')}"
    return str(value)


def _shown(value: Any) -> str:
    return str(value)[:80]
