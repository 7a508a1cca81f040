"""The bodies that HubSpot takes: fields, types, and how many of what. Anything else is refused, misspelled or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from letterpress.demo.vendors.standin import Refusal

BYTES = 1_000_000
ROWS, HISTORIES, MEMBERS, PAGE, GROUPS, FILTERS = 100, 50, 1_000, 200, 5, 6


@dataclass(frozen=True)
class Many:
    """A list of at most ``most``."""

    of: Any
    most: int = 1_000


@dataclass(frozen=True)
class OneOf:
    """A text out of some."""

    values: Sequence[str]


TEXTS = Mapping  # of texts by name

OBJECT = {"id": str}
WRITTEN = {"id": str, "properties": TEXTS, "idProperty?": str, "objectWriteTraceId?": str}
WRITE = {"inputs": Many(WRITTEN, ROWS)}
ARCHIVE = {"inputs": Many(OBJECT, ROWS)}
READ = {
    "inputs": Many(OBJECT, ROWS),
    "properties": Many(str),
    "propertiesWithHistory": Many(str),
    "idProperty?": str,
}
CHANGE = {"properties": TEXTS}
MERGE = {"primaryObjectId": str, "objectIdToMerge": str}
PURGE = {"objectId": str, "idProperty?": str}
OPERATORS = (
    "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY",
    "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN",
)  # fmt: skip
FILTER = {
    "propertyName": str,
    "operator": OneOf(OPERATORS),
    "value?": str,
    "highValue?": str,
    "values?": Many(str),
}
SEARCH = {
    "query?": str,
    "limit?": int,
    "after?": str,
    "sorts?": Many(str, 1),
    "properties?": Many(str),
    "filterGroups?": Many({"filters": Many(FILTER, FILTERS)}, GROUPS),
}
MEMBERSHIPS = {"recordIdsToAdd": Many(str, MEMBERS), "recordIdsToRemove": Many(str, MEMBERS)}
OPTION = {"value": str, "label": str, "hidden": bool, "displayOrder?": int, "description?": str}
PROPERTY = {
    "name": str,
    "label": str,
    "groupName": str,
    "type": OneOf(("string", "number", "date", "datetime", "enumeration", "bool")),
    "fieldType": OneOf(
        (
            "textarea",
            "text",
            "date",
            "file",
            "number",
            "select",
            "radio",
            "checkbox",
            "booleancheckbox",
            "calculation_equation",
        )
    ),
    "description?": str,
    "options?": Many(OPTION, 5_000),
    "hasUniqueValue?": bool,
    "hidden?": bool,
    "formField?": bool,
    "displayOrder?": int,
    "externalOptions?": bool,
    "calculationFormula?": str,
    "referencedObjectType?": str,
}
PROPERTIES = {"inputs": Many(PROPERTY, ROWS)}
CHANGED_PROPERTY = {
    "label?": str,
    "groupName?": str,
    "type?": PROPERTY["type"],
    "fieldType?": PROPERTY["fieldType"],
    "description?": str,
    "options?": Many(OPTION, 5_000),
    "hidden?": bool,
    "formField?": bool,
    "displayOrder?": int,
    "calculationFormula?": str,
}
BASES = (
    "LEGITIMATE_INTEREST_PQL",
    "LEGITIMATE_INTEREST_CLIENT",
    "PERFORMANCE_OF_CONTRACT",
    "CONSENT_WITH_NOTICE",
    "NON_GDPR",
    "PROCESS_AND_STORE",
    "LEGITIMATE_INTEREST_OTHER",
)
STATUS = {"emailAddress": str, "subscriptionId": str, "legalBasis?": OneOf(BASES), "legalBasisExplanation?": str}


def checked(body: Any, shape: Any, size: int = 0) -> Any:
    """The body, where it has this shape and no more bytes than HubSpot takes; raises :class:`Refusal`."""
    if size > BYTES:
        raise Refusal(413, "PAYLOAD_TOO_LARGE", f"expected at most {BYTES} bytes, found {size}")
    problem = _problem(body, shape, "body")
    if problem:
        raise Refusal(400, "VALIDATION_ERROR", f"Invalid input JSON on line 1, column 1: {problem}")
    return body


def _problem(value: Any, shape: Any, where: str) -> str | None:
    if shape is TEXTS:
        if not isinstance(value, dict):
            return f"{where} is no object"
        return next((f"{where}.{name} is no text" for name, one in value.items() if not isinstance(one, str)), None)
    if isinstance(shape, Many):
        if not isinstance(value, list):
            return f"{where} is no list"
        if len(value) > shape.most:
            return f"{where} holds {len(value)}, and at most {shape.most} are allowed"
        return _first(_problem(one, shape.of, f"{where}[{number}]") for number, one in enumerate(value))
    if isinstance(shape, OneOf):
        return None if isinstance(value, str) and value in shape.values else f"{where} is none of {shape.values}"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is no object"
        known = {name.removesuffix("?") for name in shape}
        unknown = [name for name in value if name not in known]
        absent = [name for name in shape if not name.endswith("?") and name not in value]
        if unknown or absent:
            return f"{where}: unknown fields {unknown}, missing fields {absent}"
        fields = ((name.removesuffix("?"), one) for name, one in shape.items())
        return _first(_problem(value[name], one, f"{where}.{name}") for name, one in fields if name in value)
    is_right = type(value) is shape  # a truth is no number
    return None if is_right else f"{where} is no {shape.__name__}"


def _first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem), None)
