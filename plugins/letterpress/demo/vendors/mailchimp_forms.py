"""What Mailchimp's stand-in takes: the fields of each body and query, and the values of merge fields.

The vendor itself ignores names that it does not know. The stand-in refuses them, so that no misspelled name passes.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from letterpress.demo.vendors.standin import Refusal

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
TEXT_TYPES = ("text", "phone", "url", "imageurl", "radio", "dropdown", "birthday", "zip")
MERGE_TYPES = (*TEXT_TYPES, "number", "date", "address")
TEXT_BYTES = 255
MERGE_TAG = re.compile(r"[A-Z][A-Z0-9_]{0,9}")

# A form is a type, a tuple of allowed texts, [form] for an array, {name: form} for an object, {...: form} for an
# object with any names.
NUMBER = (int, float)
_MEMBER = {
    "email_address": str,
    "email_type": ("html", "text"),
    "status": STATUSES,
    "merge_fields": {...: object},
    "interests": {...: bool},
    "language": str,
    "vip": bool,
    "location": {"latitude": NUMBER, "longitude": NUMBER},
    "ip_signup": str,
    "ip_opt": str,
    "timestamp_signup": str,
    "timestamp_opt": str,
}
BATCH = {
    # status_if_new stands in the vendor's example of this request, not in its schema.
    "members": [{**_MEMBER, "status_if_new": STATUSES}],
    "update_existing": bool,
    "sync_tags": bool,
}
CHANGED_MEMBER = {**_MEMBER, "status": ("subscribed", "unsubscribed", "cleaned", "pending")}
MERGE_FIELD = {
    "tag": str,
    "name": str,
    "type": MERGE_TYPES,
    "required": bool,
    "default_value": str,
    "public": bool,
    "display_order": int,
    "help_text": str,
    "options": {
        "default_country": int,
        "phone_format": str,
        "date_format": str,
        "choices": [str],
        "size": int,
    },
}
SEGMENT = {"name": str, "static_segment": [str]}
SEGMENT_CHANGES = {"members_to_add": [str], "members_to_remove": [str]}

FIELDS = {"fields": str, "exclude_fields": str}
PAGES = {**FIELDS, "count": int, "offset": int}
BATCH_QUERY = {"skip_merge_validation": bool, "skip_duplicate_check": bool}
MEMBER_QUERY = {"skip_merge_validation": bool}
MEMBERS_QUERY = {
    **PAGES,
    "status": (*STATUSES, "archived"),
    "since_last_changed": datetime,
    "before_last_changed": datetime,
    "sort_field": ("timestamp_opt", "timestamp_signup", "last_changed"),
    "sort_dir": ("ASC", "DESC"),
}
SEGMENTS_QUERY = {**PAGES, "type": ("saved", "static", "fuzzy")}
ACTIVITY_QUERY = {**PAGES, "since": datetime}

_NAMES = {str: "string", bool: "boolean", int: "integer", NUMBER: "number", dict: "object", list: "array"}
_MOST = 1_000


def checked(body: Any, form: Any, required: tuple[str, ...] = ()) -> Any:
    """The body, where it has the form; raises the vendor's refusal with every field that has not."""
    found = list(_errors(body, form, ""))
    if isinstance(body, dict):
        missing = [name for name in required if name not in body]
        found += [("", f"Required fields were not provided: {', '.join(missing)}")] if missing else []
    if found:
        raise invalid(*found)
    return body


def checked_query(query: Mapping[str, str], form: Mapping[str, Any]) -> dict[str, Any]:
    """The query's values in their types; raises the vendor's refusal for an unknown name or a wrong value."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        try:
            values[name] = _value(text, form[name])
        except (KeyError, ValueError):
            raise invalid((name, "Unknown parameter or wrong value")) from None
    if not 0 <= values.get("count", 0) <= _MOST or values.get("offset", 0) < 0:
        raise invalid(("count", f"count has to be between 0 and {_MOST}, offset not below 0"))
    return values


def invalid(*fields: tuple[str, str]) -> Refusal:
    """400 with what is wrong, field by field."""
    return Refusal(
        400,
        "Invalid Resource",
        "The resource submitted could not be validated. For field-specific details, see the 'errors' array.",
        errors=[{"field": field, "message": message} for field, message in fields],
    )


def merged(field: Mapping[str, Any], value: Any) -> Any:
    """What a merge field keeps of a value; raises ValueError with the vendor's complaint. Empty text clears it."""
    kind = field["type"]
    if value == "" and isinstance(value, str):
        return ""
    if kind == "address":
        if not isinstance(value, dict):
            raise ValueError("Please enter a complete address")
        return value
    if type(value) not in (str, int, float):  # a boolean is neither here
        raise ValueError(f"Data did not match any of the schemas described in anyOf: {type(value).__name__}")
    if kind == "number":
        return _number(value)
    text = str(value)
    if len(text.encode()) > TEXT_BYTES:
        raise ValueError(f"This value should have at most {TEXT_BYTES} characters")
    if kind == "date":
        return _date(text)
    if kind == "birthday" and not re.fullmatch(r"\d{2}/\d{2}", text):
        raise ValueError("Please enter a month (01-12) and a day (01-31)")
    if kind in ("radio", "dropdown") and text not in field.get("options", {}).get("choices", ()):
        raise ValueError("Value must be one of the choices")
    if kind in ("url", "imageurl") and not re.match(r"https?://", text):
        raise ValueError("Please enter a valid URL")
    return text


def _number(value: str | int | float) -> int | float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("Please enter a number") from None
    if not math.isfinite(number):
        raise ValueError("Please enter a number")
    return int(number) if number.is_integer() else number


def _date(text: str) -> str:
    for pattern in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(text, pattern).date().isoformat()
        except ValueError:
            continue
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError("Please enter the date") from None


def _errors(value: Any, form: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(form, dict):
        yield from _object_errors(value, form, field)
    elif isinstance(form, list):
        if not isinstance(value, list):
            yield field, f"Schema describes array, {_name(value)} found instead"
        else:
            for number, item in enumerate(value):
                yield from _errors(item, form[0], f"{field}.item:{number}")
    elif isinstance(form, tuple) and form is not NUMBER:
        if value not in form:
            yield field, f"Data presented is not one of the accepted values: {', '.join(form)}"
    elif form is not object and (not isinstance(value, form) or (isinstance(value, bool) and form is not bool)):
        yield field, f"Schema describes {_NAMES[form]}, {_name(value)} found instead"


def _object_errors(value: Any, form: Mapping[Any, Any], field: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield field, f"Schema describes object, {_name(value)} found instead"
        return
    for name, item in value.items():
        where = f"{field}.{name}" if field else name
        if name not in form and ... not in form:
            yield where, "This field is not known"
        else:
            yield from _errors(item, form.get(name, form.get(...)), where)


def _name(value: Any) -> str:
    return "NULL" if value is None else _NAMES.get(type(value), "number")


def _value(text: str, form: Any) -> Any:
    if form is bool:
        return {"true": True, "false": False}[text.lower()]
    if form is datetime:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    if isinstance(form, tuple):
        return form[form.index(text)]
    return form(text)
