"""HubSpot's contacts as the stand-in has them: values with their history, unique ones found at once, searches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from letterpress.demo.vendors.documents import Documents
from letterpress.demo.vendors.hubspot_parts.properties import definitions, iso, milliseconds, stored
from letterpress.demo.vendors.limits import Clock
from letterpress.demo.vendors.standin import Refusal

FIRST = 100_001  # record ids
REACH = 10_000  # results of a search that can be paged to
MOST_FILTERS = 18
DEFAULTS = ("createdate", "lastmodifieddate", "hs_object_id")


class Contacts:
    """All records of an account. Archived, purged and merged ones are found by nobody."""

    def __init__(self, documents: Documents, clock: Clock, kinds_of_mail: Iterable[str]):
        self._records, self._own, self._counters = (documents.kind(one) for one in ("contact", "property", "counter"))
        self._blocked, self._merged = documents.kind("blocked_address"), documents.kind("merged")
        self._clock = clock
        self.properties = {**definitions(kinds_of_mail), **self._own}  # by name
        self._by: dict[str, dict[str, str]] = {}
        for name in ("email", *(one["name"] for one in self._own.values() if one["hasUniqueValue"])):
            self._index(name)

    def define(self, definition: dict[str, Any]) -> None:
        """A new property of the account's own, or a changed one."""
        name = definition["name"]
        self._own[name] = self.properties[name] = definition
        if definition["hasUniqueValue"]:
            self._index(name)

    def _index(self, name: str) -> None:
        self._by[name] = {value: one["id"] for one in self if (value := one["values"].get(name))}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records.values())

    def find(self, value: str, by: str | None = None) -> dict[str, Any] | None:
        """By record id (also one that was merged away) or by a unique property."""
        if by not in (None, "hs_object_id"):
            if by not in self._by:
                text = f"Unable to perform update/upsert by non-unique 0-1 property {by}"
                raise Refusal(400, "VALIDATION_ERROR", text)
            value = self._by[by].get(value.lower() if by == "email" else value, "")
        while value in self._merged:
            value = self._merged[value]
        return self._records.get(value)

    def get(self, value: str, by: str | None = None) -> dict[str, Any]:
        """As :meth:`find`, and refused where there is none."""
        record = self.find(value, by)
        if record is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "Object not found.")
        return record

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Refuse properties that are not there or read-only."""
        parts = []
        for name in dict.fromkeys(names):
            if name not in self.properties:
                text, code = f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST"
            elif self.properties[name]["modificationMetadata"]["readOnlyValue"]:
                text, code = f'"{name}" is a read only property', "READ_ONLY_VALUE"
            else:
                continue
            parts.append({"message": text, "code": code, "context": {"propertyName": [name]}})
        if parts:
            raise Refusal(400, "VALIDATION_ERROR", "Property values were not valid", errors=parts)

    def accepted(self, record: Mapping[str, Any] | None, given: Mapping[str, str]) -> dict[str, str | None]:
        """The values as they are kept; raises :class:`Refusal` where one is wrong or another contact's."""
        values = {name: stored(self.properties[name], value) for name, value in given.items()}
        own_id = record["id"] if record else None
        for name, owners in self._by.items():
            owner = owners.get(values.get(name) or "")
            if owner is not None and owner != own_id:
                if name == "email":
                    raise Refusal(409, "CONFLICT", f"Contact already exists. Existing ID: {owner}")
                part = {
                    "message": f"{owner} already has that value.",
                    "code": "CONFLICTING_UNIQUE_VALUE",
                    "context": {"propertyName": [name]},
                }
                raise Refusal(400, "VALIDATION_ERROR", f"Cannot set value of {name}", errors=[part])
        if values.get("email") in self._blocked:
            part = {"message": "email has been GDPR blacklisted", "code": "INVALID_EMAIL"}
            raise Refusal(400, "VALIDATION_ERROR", "Property values were not valid", errors=[part])
        return values

    def write(self, record: dict[str, Any] | None, values: Mapping[str, str | None]) -> dict[str, Any]:
        """Keep accepted values, in a new contact where there is none."""
        instant = self._clock()
        if record is None:
            number = self._counters.get("contact", FIRST)
            self._counters["contact"] = number + 1
            record = {"id": str(number), "values": {}, "history": {}, "created": instant}
        for name, value in values.items():
            if record["values"].get(name) == value:
                continue
            if name in self._by:
                self._by[name].pop(record["values"].get(name) or "", None)
                if value:
                    self._by[name][value] = record["id"]
            record["values"][name] = value
            record["history"].setdefault(name, []).insert(0, [value or "", instant])
        record["updated"] = instant
        self._records[record["id"]] = record
        return record

    def remove(self, record: Mapping[str, Any]) -> None:
        """Away with it, and its unique values are free."""
        for name, owners in self._by.items():
            owners.pop(record["values"].get(name) or "", None)
        del self._records[record["id"]]

    def block(self, email: str) -> None:
        """Take this address never again."""
        self._blocked[email.lower()] = True

    def merge(self, primary: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """A new record, as since 2025: the primary's values, what it lacks from the other, both ids lead to it."""
        values = {**_present(other), **_present(primary)}
        addresses = [other["values"].get("email"), other["values"].get("hs_additional_emails")]
        values["hs_additional_emails"] = ";".join(filter(None, addresses)) or None
        for record in (primary, other):
            self.remove(record)
        merged = self.write(None, {})
        merged["history"] = {**other["history"], **primary["history"]}
        self.write(merged, values)
        for record in (primary, other):
            self._merged[record["id"]] = merged["id"]
        return merged

    def shown(self, record: Mapping[str, Any], names: Iterable[str], dated: Sequence[str] = ()) -> dict[str, Any]:
        """A contact as it is answered; properties that are not there are left out without a word."""
        found = {
            "id": record["id"],
            "properties": {name: self.value(record, name) for name in (*DEFAULTS, *names) if name in self.properties},
            "createdAt": iso(record["created"]),
            "updatedAt": iso(record["updated"]),
            "archived": False,
        }
        if dated:
            found["propertiesWithHistory"] = {
                name: [
                    {"value": value, "timestamp": iso(at), "sourceType": "INTEGRATION"}
                    for value, at in record["history"].get(name, [])
                ]
                for name in dated
                if name in self.properties
            }
        return found

    def value(self, record: Mapping[str, Any], name: str) -> str | None:
        """A property's value, computed ones too."""
        computed = {"createdate": "created", "lastmodifieddate": "updated"}
        if name in computed:
            return iso(record[computed[name]])
        return record["id"] if name == "hs_object_id" else record["values"].get(name)

    def search(self, body: Mapping[str, Any], indexed_until: float) -> dict[str, Any]:
        """What was changed after ``indexed_until`` cannot be found yet."""
        groups, sorts = body.get("filterGroups") or [], body.get("sorts") or []
        after, limit = body.get("after") or "0", body.get("limit", 10)
        filters = [one for group in groups for one in group["filters"]]
        names = [*(one["propertyName"] for one in filters), *(one.removeprefix("-") for one in sorts)]
        unknown = [name for name in names if name not in self.properties]
        if unknown or len(filters) > MOST_FILTERS or not 0 < limit <= 200 or not after.isdigit():
            text = f"expected known properties (unknown: {unknown}), {MOST_FILTERS} filters, 1 to 200 results, a page"
            raise Refusal(400, "VALIDATION_ERROR", text)
        if int(after) + limit > REACH:
            raise Refusal(400, "VALIDATION_ERROR", f"The maximum number of search results is {REACH}")
        found = [
            one for one in self if one["updated"] <= indexed_until and self._matches(one, body.get("query"), groups)
        ]
        for name in sorts:
            order = _order(self.properties[name.removeprefix("-")]["type"])
            found.sort(key=lambda one: order(self.value(one, name.removeprefix("-"))), reverse=name.startswith("-"))
        page = found[int(after) : int(after) + limit]
        names = body.get("properties") or ["email", "firstname", "lastname"]
        answer = {"total": len(found), "results": [self.shown(one, names) for one in page]}
        if int(after) + limit < len(found):
            answer["paging"] = {"next": {"after": str(int(after) + limit)}}
        return answer

    def _matches(self, record: Mapping[str, Any], query: str | None, groups: Sequence[Mapping[str, Any]]) -> bool:
        texts = (record["values"].get(name) or "" for name in ("email", "firstname", "lastname", "phone"))
        if query and not any(query.lower() in text.lower() for text in texts):
            return False
        return not groups or any(all(self._passes(record, one) for one in group["filters"]) for group in groups)

    def _passes(self, record: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
        value, operator = self.value(record, one["propertyName"]), one["operator"]
        if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
            return (value is not None) == (operator == "HAS_PROPERTY")
        if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
            return ((one.get("value") or "").lower() in (value or "").lower()) == (operator == "CONTAINS_TOKEN")
        order = _order(self.properties[one["propertyName"]]["type"])
        ours, theirs = order(value), order(one.get("value"))
        return {
            "EQ": ours == theirs,
            "NEQ": ours != theirs,
            "LT": ours < theirs,
            "LTE": ours <= theirs,
            "GT": ours > theirs,
            "GTE": ours >= theirs,
            "BETWEEN": theirs <= ours <= order(one.get("highValue")),
            "IN": value in (one.get("values") or []),
            "NOT_IN": value not in (one.get("values") or []),
        }[operator]


def _order(kind: str) -> Any:
    """How values of a type are compared; what is none of that type comes first."""

    def number(value: str | None) -> float:
        try:
            return float(value or "-inf")
        except ValueError:
            return float("-inf")

    def instant(value: str | None) -> float:
        found = milliseconds(value or "")
        return float("-inf") if found is None else found

    return {"number": number, "date": instant, "datetime": instant}.get(kind, lambda value: value or "")


def _present(record: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in record["values"].items() if value is not None}
