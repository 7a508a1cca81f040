"""Filters, orders and pages as Klaviyo has them in its queries."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from letterpress.demo.vendors.standin import Call, Refusal

_OPERATION = re.compile(r"([a-z-]+)\(")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "greater-than": lambda left, right: left > right,
    "greater-or-equal": lambda left, right: left >= right,
    "less-than": lambda left, right: left < right,
    "less-or-equal": lambda left, right: left <= right,
}
ORDER = tuple(_ORDER)
CHOICE = ("any", "equals")
MOST_VALUES = 100

Fields = Mapping[str, tuple[Sequence[str], Callable[[Any], Any]]]  # operators, and what to compare (one or several)


def chosen(call: Call, items: Iterable[Any], fields: Fields) -> list[Any]:
    """The items that pass the query's filter; several conditions with a comma or ``and(…)`` between all hold."""
    text = call.query.get("filter")
    found = list(items)
    if text is None:
        return found
    for operator, name, values in _conditions(text):
        if name not in fields or operator not in fields[name][0]:
            raise _invalid("filter", f"'{operator}({name})' is not an allowed filter for this resource.")
        read = fields[name][1]
        found = [item for item in found if _holds(operator, read(item), values)]
    return found


def ordered(call: Call, items: list[Any], fields: Mapping[str, Callable[[Any], Any]]) -> list[Any]:
    """The items as the query's sort says; what has nothing to sort by comes last."""
    name = call.query.get("sort")
    if name is None:
        return items
    read = fields.get(name.removeprefix("-"))
    if read is None:
        raise _invalid("sort", f"'{name}' is not a valid sort field.")
    there = [item for item in items if read(item) is not None]
    missing = [item for item in items if read(item) is None]
    return [*sorted(there, key=read, reverse=name.startswith("-")), *missing]


def page(call: Call, items: list[Any], *, size: int = 20, most: int = 100) -> tuple[list[Any], dict[str, str]]:
    """One page, and its links: the next one's cursor stands in a link alone."""
    given = call.query.get("page[size]")
    if given is not None:
        if not re.fullmatch(r"\d{1,9}", given) or not 1 <= int(given) <= most:
            raise _invalid("page[size]", f"Page size must be an integer between 1 and {most}.")
        size = int(given)
    begin = _position(call.query.get("page[cursor]"))
    links = {"self": link(call, call.url, call.query)}
    if begin + size < len(items):
        cursor = base64.urlsafe_b64encode(f"next:{begin + size}".encode()).decode().rstrip("=")
        links["next"] = link(call, call.url, {**call.query, "page[cursor]": cursor})
    return items[begin : begin + size], links


def names(call: Call, parameter: str, allowed: Iterable[str]) -> set[str] | None:
    """The names of a parameter such as ``fields[profile]``; raises :class:`Refusal` for one that is not allowed."""
    given = call.query.get(parameter)
    if given is None:
        return None
    found = set(filter(None, given.split(",")))
    unknown = sorted(found - set(allowed))
    if unknown:
        raise _invalid(parameter, f"'{unknown[0]}' is not an allowed value.")
    return found


def link(call: Call, path: str, query: Mapping[str, str] | None = None) -> str:
    """An address as the vendor gives it: whole."""
    address = f"http://{call.headers.get('host', 'localhost')}{path}"
    return f"{address}?{urlencode(query)}" if query else address


def instant(value: str) -> datetime:
    """A time, in UTC where it names no zone."""
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _conditions(text: str) -> list[tuple[str, str, list[Any]]]:
    """Operator, field and values of each condition."""
    found, rest = [], text.strip()
    if rest.startswith("and(") and rest.endswith(")"):
        rest = rest[4:-1]
    while rest:
        opened = _OPERATION.match(rest)
        if opened is None:
            raise _invalid("filter", "Invalid filter: expected operator(field,value).")
        name, comma, rest = rest[opened.end() :].partition(",")
        if not comma:
            raise _invalid("filter", "Invalid filter: expected a value.")
        values, rest = _values(opened[1], rest)
        if not rest.startswith(")"):
            raise _invalid("filter", "Invalid filter: expected ')'.")
        found.append((opened[1], name.strip(), values))
        rest = rest[1:].removeprefix(",")
    return found


def _values(operator: str, text: str) -> tuple[list[Any], str]:
    """The values at the beginning of a text, and what comes after them."""
    if operator in _ORDER:
        time = _INSTANT.match(text)
        try:
            return [instant(time[0])], text[time.end() :]
        except (TypeError, ValueError):
            raise _invalid("filter", "Invalid filter: expected a datetime such as 2023-03-01T01:00:00Z.") from None
    text = re.sub(r"'([^'\"\\]*)'", r'"\1"', text)
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        raise _invalid("filter", "Invalid filter: expected a quoted value.") from None
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) != (operator == "any") or any(not isinstance(one, str) for one in values):
        raise _invalid("filter", f"Invalid filter: not a value of '{operator}'.")
    if len(values) > MOST_VALUES:
        raise _invalid("filter", f"Invalid filter: expected at most {MOST_VALUES} values, found {len(values)}.")
    return values, text[end:]


def _holds(operator: str, found: Any, values: list[Any]) -> bool:
    candidates = found if isinstance(found, list) else [] if found is None else [found]
    if operator in _ORDER:
        return any(_ORDER[operator](instant(one), values[0]) for one in candidates)
    return any(one in values for one in candidates)


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        found = re.fullmatch(r"next:(\d{1,9})", base64.urlsafe_b64decode(cursor + "==").decode())
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise _invalid("page[cursor]", "Invalid cursor.")
    return int(found[1])


def _invalid(parameter: str, detail: str) -> Refusal:
    return Refusal(400, "invalid", detail, parameter=parameter)
