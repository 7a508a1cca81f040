"""What Braze takes in an attributes object of ``/users/track``, and what becomes of it on a profile."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any
from zoneinfo import available_timezones

TEXTS = ("first_name", "last_name", "email", "phone", "country", "home_city", "language", "time_zone", "dob", "gender")
STATES = ("opted_in", "subscribed", "unsubscribed")
FREE = ("external_id", "_update_existing_only", "email_subscribe", "push_subscribe")  # no data points
FLAGS = ("email_open_tracking_disabled", "email_click_tracking_disabled")
KNOWN = (*TEXTS, *FREE, *FLAGS)

NAME_LENGTH = 255
TEXT_LENGTH = 255  # characters of a custom attribute; Braze says nothing where there are more, and keeps the old value
LIST_LENGTH = 25  # unless an account has more; the rest of a longer list is cut off
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_GENDERS = ("M", "F", "O", "N", "P")


def problem(found: Any, custom_attributes: Collection[str] | None) -> str | None:
    """Why an attributes object is refused, in Braze's words; none where it is taken.

    ``custom_attributes`` are the names that the account knows, none for any. A name that is nearly one of a
    profile's own fields is refused: Braze would take it as a new custom attribute, and nobody would notice.
    """
    if not isinstance(found, dict):
        return "attributes must be objects"
    if not _is_text(found.get("external_id")):
        return "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
    for name, value in found.items():
        wrong = _problem_of_field(name, value) if name in KNOWN else _problem_of_custom(name, value, custom_attributes)
        if wrong:
            return wrong
    return None


def write(profile: dict[str, Any], found: Mapping[str, Any]) -> int:
    """Put an attributes object on a profile; the data points that Braze bills for it, changed or not."""
    for name, value in found.items():
        if name in FREE:
            continue
        place = profile if name in (*TEXTS, *FLAGS) else profile["custom_attributes"]
        kept = _kept(name, value)
        if kept is None:
            place.pop(name, None)
        elif not _is_too_long(name, kept):
            place[name] = kept
    return sum(name not in FREE for name in found)


def _problem_of_field(name: str, value: Any) -> str | None:
    if name == "email" and value is not None and not (isinstance(value, str) and EMAIL.fullmatch(value)):
        return "The value provided for the 'email' field is not a valid email."
    if name in ("email_subscribe", "push_subscribe") and value not in STATES:
        return f"'{name}' must be one of {', '.join(STATES)}"
    if name in (*FLAGS, "_update_existing_only") and not isinstance(value, bool):
        return f"'{name}' must be a boolean"
    if name in TEXTS and not (value is None or isinstance(value, str)):
        return f"'{name}' must be a string"
    if name == "dob" and value is not None and not _DAY.fullmatch(value):
        return "'dob' must be in the format YYYY-MM-DD"
    if name == "gender" and value is not None and value not in _GENDERS:
        return f"'gender' must be one of {', '.join(_GENDERS)}"
    return None


def _problem_of_custom(name: str, value: Any, custom_attributes: Collection[str] | None) -> str | None:
    near = get_close_matches(name.lower(), KNOWN, n=1, cutoff=0.85)
    if near or (custom_attributes is not None and name not in custom_attributes):
        return f"unknown attribute '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
    if not name or len(name) > NAME_LENGTH or name.startswith("_"):
        return "the name of a custom attribute is not valid"
    if isinstance(value, list):
        return None if all(_is_scalar(item) for item in value) else f"'{name}' must be a flat array"
    return None if value is None or _is_scalar(value) else f"'{name}' is not of a supported type"


def _kept(name: str, value: Any) -> Any:
    """What Braze makes of a value: unknown countries and time zones vanish, lists are sets of a limited length."""
    if name == "country" and value is not None:
        return value if re.fullmatch("[A-Z]{2}", value) else None
    if name == "time_zone" and value is not None:
        return value if value in _time_zones() else None
    if name == "email" and value is not None:
        return value.lower()
    if isinstance(value, list):
        return list(dict.fromkeys(value))[:LIST_LENGTH]
    return value


def _is_too_long(name: str, value: Any) -> bool:
    return name not in KNOWN and isinstance(value, str) and len(value) > TEXT_LENGTH


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_LENGTH


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
