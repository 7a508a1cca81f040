"""HubSpot's contact properties as the stand-in has them: definitions, and what each takes as a value."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from letterpress.demo.vendors.standin import Refusal

MIDNIGHT = 86_400_000  # milliseconds of a day
LONGEST = 65_536  # characters of a value
UNIQUE = 10  # properties with unique values that an account may have
FIELDS = {
    "string": ("text", "textarea", "file"),
    "number": ("number",),
    "date": ("date",),
    "datetime": ("date",),
    "enumeration": ("select", "radio", "checkbox", "booleancheckbox"),
    "bool": ("booleancheckbox",),
}
STAGES = ("subscriber", "lead", "marketingqualifiedlead", "opportunity", "customer", "evangelist", "other")
BOUNCES = ("UNKNOWN_USER", "MAILBOX_FULL", "CONTENT", "POLICY", "SPAM", "OTHER")
_EMAIL = re.compile(r"[^\s@\"<>(),;:]+@[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)


def definitions(kinds_of_mail: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The properties that every account has, as far as they are needed here, by name."""
    own = [
        _defined("email"),
        _defined("firstname"),
        _defined("lastname"),
        _defined("phone"),
        _defined("country"),
        _defined("lifecyclestage", "enumeration", "radio", options=STAGES),
        _defined("createdate", "datetime", "date", is_read_only=True),
        _defined("lastmodifieddate", "datetime", "date", is_read_only=True),
        _defined("hs_object_id", "number", "number", is_read_only=True),
        _defined("hs_additional_emails", is_read_only=True),
        _defined("hs_email_optout", "bool", "booleancheckbox", is_read_only=True),
        *(_defined(f"hs_email_optout_{kind}", "bool", "booleancheckbox", is_read_only=True) for kind in kinds_of_mail),
        _defined("hs_email_hard_bounce_reason_enum", "enumeration", "select", options=BOUNCES, is_read_only=True),
    ]
    return {one["name"]: one for one in own}


def created(given: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A property as an account's own; raises :class:`Refusal` for what HubSpot does not create."""
    name, kind, field = given["name"], given["type"], given["fieldType"]
    values = [option["value"] for option in given.get("options", [])]
    problem = None
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        problem = "names hold lower case letters, digits and underscores"
    elif field not in FIELDS.get(kind, ()):
        problem = f"{field} is no field of the type {kind}"
    elif kind == "bool" and sorted(values) != ["false", "true"]:
        problem = "Boolean properties must have exactly two options; one with a value of true, the other of false"
    elif kind == "enumeration" and not values:
        problem = "Enumeration properties must have options"
    elif len(values) != len(set(values)):
        problem = "option values must be unique"
    elif given.get("hasUniqueValue") and (kind not in ("string", "number") or _unique(known) >= UNIQUE):
        problem = f"at most {UNIQUE} properties of texts or numbers may have unique values"
    elif given["groupName"] != "contactinformation":
        problem = f"property group {given['groupName']} does not exist"
    if problem:
        raise Refusal(400, "VALIDATION_ERROR", problem)
    return _defined(
        name, kind, field, options=given.get("options", []), is_unique=given.get("hasUniqueValue", False), is_own=True
    )


def stored(definition: Mapping[str, Any], value: str) -> str | None:
    """A value as HubSpot keeps it, none for an empty one. Raises :class:`Refusal` for what the property refuses."""
    name, kind = definition["name"], definition["type"]
    if value == "":
        return None
    if len(value) > LONGEST:
        raise _invalid(name, "INVALID_LENGTH", f"{name} has more than {LONGEST} characters")
    if name == "email":
        if not _EMAIL.fullmatch(value):
            raise _invalid(name, "INVALID_EMAIL", f"Email address {value} is invalid")
        return value.lower()
    if kind == "number":
        try:
            float(value)
        except ValueError:
            raise _invalid(name, "INVALID_NUMBER", f"{value} was not a valid number.") from None
    if kind in ("bool", "enumeration"):
        offered = {option["value"] for option in definition["options"]}
        for one in value.split(";") if definition["fieldType"] == "checkbox" else [value]:
            if one not in offered:
                raise _invalid(name, "INVALID_OPTION", f"{one} was not one of the allowed options")
    if kind in ("date", "datetime"):
        return _instant(name, kind, value)
    return value


def milliseconds(value: str) -> int | None:
    """Since 1970, of milliseconds or ISO 8601; none for what is neither."""
    if re.fullmatch(r"-?\d+", value):
        return int(value)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)


def iso(instant: float) -> str:
    """An instant in seconds, as HubSpot writes it."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant(name: str, kind: str, value: str) -> str:
    found = milliseconds(value)
    if found is None or (kind == "date" and found % MIDNIGHT):
        raise _invalid(name, f"INVALID_{kind.upper()}", f"{value} is not at midnight UTC or no {kind}")
    return iso(found / 1_000) if kind == "datetime" else iso(found / 1_000)[:10]


def _invalid(name: str, code: str, text: str) -> Refusal:
    part = {"message": text, "code": code, "context": {"propertyName": [name]}}
    return Refusal(400, "VALIDATION_ERROR", f'Property values were not valid: [{{"message":"{text}"}}]', errors=[part])


def _unique(known: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(one["hasUniqueValue"] for one in known.values())


def _defined(
    name: str,
    kind: str = "string",
    field: str = "text",
    *,
    options: Iterable[str | Mapping[str, Any]] = (),
    is_read_only: bool = False,
    is_unique: bool = False,
    is_own: bool = False,
) -> dict[str, Any]:
    if kind == "bool" and not options:
        options = ("true", "false")
    given = [{"value": one, "label": one, "hidden": False} if isinstance(one, str) else dict(one) for one in options]
    return {
        "name": name,
        "label": name,
        "description": "",
        "groupName": "contactinformation",
        "type": kind,
        "fieldType": field,
        "options": given,
        "hasUniqueValue": is_unique,
        "hubspotDefined": not is_own,
        "hidden": False,
        "archived": False,
        "modificationMetadata": {
            "archivable": is_own,
            "readOnlyDefinition": not is_own,
            "readOnlyValue": is_read_only,
        },
    }
