"""What Braze says and leaves unsaid: fields, refusals, row errors, dates and limits, read without keeping a value."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from letterpress.activation.destinations.http import masked
from letterpress.activation.destinations.spec import Row, RowError

PROFILE_FIELDS = ("first_name", "last_name", "country", "home_city", "language", "time_zone", "dob", "gender", "phone")
# What identifies a person, what only consent may write, and what a field map cannot make or a sync cannot read back.
RESERVED = (
    *("external_id", "braze_id", "user_alias", "alias_name", "alias_label", "email"),
    *("email_subscribe", "push_subscribe", "subscription_groups", "subscription_group_id", "subscription_state"),
    *("email_open_tracking_disabled", "email_click_tracking_disabled", "marked_email_as_spam_at"),
    *("push_tokens", "push_token_import", "date_of_first_session", "date_of_last_session"),
    *("bio", "current_location", "facebook", "image_url", "twitter"),
)
ENVELOPE = ("attributes", "events", "purchases", "email", "external_ids", "fields_to_export", "merge_updates")
TEXT_LENGTH = 255  # characters of a custom attribute


def json_of(response: httpx.Response) -> dict[str, Any]:
    """The answer, where it is an object; a proxy's page of HTML says nothing."""
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def explained(response: httpx.Response) -> tuple[str, str]:
    """Code and message of a refusal; a wrong key is answered with that key in plain text, which nobody may see."""
    message = "" if response.status_code == 401 else str(json_of(response).get("message", ""))
    return f"http_{response.status_code}", masked(_without_values(message))


def row_errors(response: httpx.Response, rows: Sequence[Row]) -> tuple[dict[str, RowError], bool]:
    """Why single attributes objects were refused, by person; and whether there are errors that name nobody.

    Braze names them by their index among the attributes, as ``{"type", "input_array", "index"}``; its documentation
    does not tell, so that an error of another form is held against all that no other one names.
    """
    errors, has_others = {}, False
    for error in json_of(response).get("errors") or ():
        index = error.get("index") if isinstance(error, dict) and error.get("input_array") == "attributes" else None
        if isinstance(index, int) and 0 <= index < len(rows):
            errors[rows[index].customer_id] = _row_error(str(error.get("type", "")))
        else:
            has_others = True
    return errors, has_others


def _row_error(said: str) -> RowError:
    """The code is Braze's own where it has one, else it names the field."""
    fields = [name for name in re.findall(r"'(\w+)'", said) if name in PROFILE_FIELDS or name in RESERVED]
    own = said.lower() if re.fullmatch(r"[A-Z][A-Z_]+", said) else None
    return RowError(own or (f"invalid_{fields[0]}" if fields else "refused"), masked(_without_values(said)))


def _without_values(said: str) -> str:
    """A message without what it quotes, unless that looks like a field's name and is one."""
    kept = (*PROFILE_FIELDS, *RESERVED, *ENVELOPE)
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda found: found[0] if (found[1] or found[2]) in kept else "…", said)


def date_of(response: httpx.Response) -> date | None:
    """The day (UTC) on which an answer was given, if it says so."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC).date()
    except (KeyError, ValueError):
        return None


def seconds_told(response: httpx.Response) -> float | None:
    """Seconds until the window of a limit is over, by Braze's own clock."""
    try:
        until = float(response.headers["X-RateLimit-Reset"])
        return max(1.0, until - parsedate_to_datetime(response.headers["Date"]).timestamp())
    except (KeyError, ValueError):
        return None


def lost_value(payload: bytes, list_length: int) -> RowError | None:
    """The first value that Braze would drop or cut without a word, and acknowledge all the same."""
    for name, value in orjson.loads(payload).items():
        if name in PROFILE_FIELDS or name in RESERVED:
            continue
        if isinstance(value, str) and len(value) > TEXT_LENGTH:
            return RowError("too_long", f"{name}: expected at most {TEXT_LENGTH} characters, found {len(value)}")
        if isinstance(value, list) and len(value) > list_length:
            return RowError(
                "too_many_values",
                f"{name}: expected at most {list_length} values, found {len(value)}; next step: raise the attribute's "
                "limit in Braze and list_length here",
            )
    return None


def ids_of(answer: Mapping[str, Any], name: str) -> set[str]:
    """The ids of an answer's list; documented as texts, and seen as objects that hold them."""
    found = answer.get(name) or ()
    return {one for entry in found for one in (entry.values() if isinstance(entry, dict) else (entry,))}


def instant_of(text: str) -> datetime:
    """``2016-08-25 15:24:32 +0000``, or ISO 8601."""
    found = datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" UTC", "Z"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def value_of(user: Mapping[str, Any], name: str) -> Any:
    """A user's attribute; an empty one is none."""
    value = (user if name in PROFILE_FIELDS else user.get("custom_attributes") or {}).get(name)
    return None if value in ("", []) else value
