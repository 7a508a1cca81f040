"""HubSpot's contact properties: they have to be there before a value is written, and offer a list's values."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from letterpress.activation.destinations.http import chunked
from letterpress.activation.destinations.parts.hubspot.records import ID, ROWS, Records
from letterpress.activation.destinations.spec import DestinationError

PATH = "/crm/v3/properties/contacts"

# By our type: HubSpot's type and form field.
TYPES = {
    "string": ("string", "text"),
    "number": ("number", "number"),
    "boolean": ("bool", "booleancheckbox"),
    "date": ("date", "date"),
    "datetime": ("datetime", "date"),
    "list": ("enumeration", "checkbox"),
}


class Properties:
    """Creates what is missing, in ``group``, and lets properties of type list offer what profiles hold."""

    def __init__(self, records: Records, group: str):
        self._records, self._group = records, group
        self._offered: dict[str, set[str]] = {}  # by property of type list
        self._lock = threading.Lock()

    def prepare(self, attributes: Mapping[str, str]) -> None:
        """Create the missing ones, but those of type list: HubSpot wants their values, which profiles bring."""
        known = self._known(attributes)
        kinds = {ID: "string", **attributes}
        missing = [name for name, kind in kinds.items() if name not in known and kind != "list"]
        for chunk in chunked(missing, ROWS):
            inputs = [self._new(name, kinds[name]) for name in chunk]
            self._records.ask("prepare", f"{PATH}/batch/create", {"inputs": inputs})
        if missing:
            known = self._known(attributes)  # others may create them at the same time: what counts is what is there
            for name in missing:
                if name not in known:
                    raise DestinationError(
                        f"hubspot: property {name}: expected HubSpot to create it, found it missing; create it there"
                    )
        for name, kind in attributes.items():
            if kind == "list" and (name not in known or known[name]["type"] == "enumeration"):
                self._offered[name] = {option["value"] for option in known.get(name, {}).get("options", [])}

    def offer(self, profiles: Iterable[Mapping[str, Any]]) -> None:
        """Let the lists have the values of these profiles: HubSpot refuses what a property does not offer."""
        profiles = list(profiles) if self._offered else []
        for name in self._offered:
            texts = [profile["properties"].get(name) or "" for profile in profiles]
            values = {value for text in texts for value in text.split(";") if value}
            if values - self._offered[name]:
                with self._lock:
                    self._add_options(name, values)

    def _known(self, wanted: Iterable[str]) -> dict[str, dict]:
        known = {one["name"]: one for one in self._records.api.get("prepare", PATH)["results"]}
        if ID in known and not known[ID].get("hasUniqueValue"):
            raise DestinationError(
                f"hubspot: property {ID}: expected one with unique values, found one without, which HubSpot cannot "
                "change; delete it there, and it is created anew"
            )
        for name in wanted:
            if (known.get(name, {}).get("modificationMetadata") or {}).get("readOnlyValue"):
                raise DestinationError(
                    f"hubspot: property {name}: expected one that may be written, found a read-only one; map the "
                    "column to another name"
                )
        return known

    def _new(self, name: str, kind: str, values: Sequence[str] = ()) -> dict[str, Any]:
        theirs, field = TYPES[kind]
        found = {
            "name": name,
            "label": name.replace("_", " ").capitalize(),
            "groupName": self._group,
            "type": theirs,
            "fieldType": field,
            "hasUniqueValue": name == ID,
        }
        if kind == "boolean":  # HubSpot wants these two, and no others
            found["options"] = [_option("true", "Yes"), _option("false", "No")]
        if kind == "list":
            found["options"] = [_option(value, value) for value in values]
        return found

    def _add_options(self, name: str, values: set[str]) -> None:
        """Beside those that are there by now: other threads and people at HubSpot add some too."""
        found = self._records.api.get("prepare", f"{PATH}/{name}", missing=(404,))
        options = found["options"] if found else []
        missing = sorted(values - {option["value"] for option in options})
        if found is None:
            new = self._new(name, "list", missing)
            self._records.ask("prepare", f"{PATH}/batch/create", {"inputs": [new]})
        elif missing:
            body = {"options": [*options, *(_option(value, value) for value in missing)]}
            self._records.ask("prepare", f"{PATH}/{name}", body, method="PATCH")
        self._offered[name] |= values | {option["value"] for option in options}


def _option(value: str, label: str) -> dict[str, Any]:
    return {"value": value, "label": label, "hidden": False}
