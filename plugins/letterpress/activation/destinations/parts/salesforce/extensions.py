"""Reading Marketing Cloud's data extensions: their columns, and their rows page by page."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, time
from itertools import chain
from typing import Any
from urllib.parse import quote

from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.destinations.spec import DestinationError

PAGE = 2_500  # rows: the largest page of a rowset
Columns = Mapping[str, tuple[str, ...]]  # a column's name -> the types that it may have
# What an attribute's values need. A Number is whole there; a Date is in the server's time zone, a Text keeps its own.
TYPES: Columns = {
    "string": ("Text", "Phone", "Locale", "EmailAddress"),
    "list": ("Text",),
    "number": ("Number", "Decimal"),
    "boolean": ("Boolean",),
    "date": ("Date", "Text"),
    "datetime": ("Date", "Text"),
}


class Extensions:
    """The data extensions of an account, by external key."""

    def __init__(self, api: JsonApi):
        self._api = api
        self._found: dict[str, tuple[dict, list[dict]]] = {}

    def check(self, key: str, expected: Columns, keys: Collection[str]) -> None:
        """Raise DestinationError for the first thing that a data extension lacks: it is its owner's to add."""
        extension, columns = self._read(key)
        where = f"salesforce: data extension {key!r}"
        if extension.get("isSendable") is False:
            raise DestinationError(
                f"{where}: expected a sendable one, found another; next step: make it sendable by ContactKey, or "
                "contact deletion does not reach its rows"
            )
        types = {column["name"]: column["type"] for column in columns}
        for name, allowed in expected.items():
            if types.get(name) not in allowed:
                raise DestinationError(
                    f"{where}: expected a column {name!r} of type {' or '.join(allowed)}, found "
                    f"{types.get(name, 'none')}; next step: add it in Contact Builder"
                )
        found = {column["name"] for column in columns if column["isPrimaryKey"]}
        if found != set(keys):
            raise DestinationError(
                f"{where}: expected the primary key {' and '.join(sorted(keys))}, found "
                f"{' and '.join(sorted(found)) or 'none'}; next step: create it anew with that key"
            )

    def columns(self, key: str) -> list[dict]:
        """Its columns as the account tells: name, type, isPrimaryKey, isNullable."""
        return self._read(key)[1]

    def rows(self, endpoint: str, key: str) -> Iterator[dict[str, Any]]:
        """All rows, by column names in lower case, as the vendor gives them; every value is a text."""
        return _flat(self._pages(endpoint, key))

    def find(self, key: str, contacts: Collection[str]) -> list[dict[str, Any]]:
        """The rows of some people, with one request a person or one a page of all rows, whichever are fewer."""
        pages = self._pages("read", key)
        first = next(pages)
        if first["count"] > PAGE * len(contacts):
            filters = ("ContactKey eq '{}'".format(contact.replace("'", "''")) for contact in contacts)
            pages = chain.from_iterable(self._pages("read", key, **{"$filter": one}) for one in filters)
        else:
            pages = chain([first], pages)
        return [row for row in _flat(pages) if row["contactkey"] in contacts]

    def _pages(self, endpoint: str, key: str, **given: str) -> Iterator[dict]:
        path = f"/data/v1/customobjectdata/key/{quote(key, safe='')}/rowset"
        params: dict[str, Any] | None = {"$pageSize": PAGE, **given}
        while True:
            page = self._api.get(endpoint, path, params=params, missing=(404,))
            if page is None:
                raise missing(key)
            yield page
            following = page["links"].get("next")
            if not following:
                return
            path, params = f"/data{following}", None  # the rest of what was there when the first page was read

    def _read(self, key: str) -> tuple[dict, list[dict]]:
        if key not in self._found:
            extension = self._search(key)
            fields = self._api.get("catalog", f"/data/v1/customObjects/{extension['id']}/fields")
            self._found[key] = extension, fields["fields"]
        return self._found[key]

    def _search(self, key: str) -> dict:
        number, seen = 1, 0
        while True:
            page = self._api.get("catalog", "/data/v1/customObjects", params={"$search": key, "$page": number})
            for extension in page["items"]:
                if extension["key"] == key:
                    return extension
            seen += len(page["items"])
            if not page["items"] or seen >= page["count"]:
                raise missing(key)
            number += 1


def missing(key: str) -> DestinationError:
    """What to say where the account has no such data extension."""
    return DestinationError(
        f"salesforce: expected a data extension with the external key {key!r}, found none; next step: create it in "
        "the business unit of the connection's account_id, or correct the key (its name is another thing)"
    )


def is_true(value: Any) -> bool:
    """A Boolean column's value, which is a text."""
    return str(value).strip().lower() == "true"


def typed(value: Any, column_type: str | None) -> Any:
    """A value as it was written: rows come back as texts, dates in the form 1/31/2027 9:30:00 AM."""
    if value is None or value == "":
        return None
    try:
        match column_type:
            case "Boolean":
                return is_true(value)
            case "Number":
                return int(value)
            case "Decimal":
                return float(value)
            case "Date":
                instant = datetime.strptime(str(value), "%m/%d/%Y %I:%M:%S %p")
                return (instant.date() if instant.time() == time() else instant).isoformat()
    except ValueError:
        return value  # in a form of the account's own: different from what was written, whatever it was
    return value


def _flat(pages: Iterable[dict]) -> Iterator[dict[str, Any]]:
    for page in pages:
        for item in page.get("items") or ():
            both = {**item.get("keys", {}), **item.get("values", {})}
            yield {name.lower(): value for name, value in both.items()}
