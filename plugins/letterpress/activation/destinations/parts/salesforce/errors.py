"""What Marketing Cloud says of a refusal, in its four forms, without the values that it repeats."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from letterpress.activation.destinations.http import masked, no_explanation
from letterpress.activation.destinations.spec import Row, RowError

TRANSIENT = "Rerun the transaction"  # how a deadlock in its database ends, under the same code as lasting errors
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\[[^\]]*\]")  # messages quote values so


def explain(response: httpx.Response) -> tuple[str, str]:
    """Code and message of a refused request: of the asynchronous interface, of REST in general, of OAuth."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return no_explanation(response)
    if not isinstance(body, dict):
        return no_explanation(response)
    return error_in(body) or (
        str(body.get("error") or body.get("errorcode") or f"http_{response.status_code}"),
        _VALUES.sub("…", str(body.get("message") or body.get("error_description") or "")),
    )


def error_in(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and message of an answer whose ``resultMessages`` hold an error, which may come with status 200."""
    for entry in answer.get("resultMessages") or ():
        said = entry.get("resultMessage", entry)
        if said.get("resultClass", "Error") == "Error":
            return str(said.get("resultCode") or "Error"), _VALUES.sub("…", str(said.get("message") or ""))
    return None


def row_error(item: Mapping[str, Any], row: Row) -> RowError:
    """Why a row was refused: its own values, wherever the message repeats them, are left out."""
    message = str(item.get("message") or "")
    is_transient = TRANSIENT in message
    for value in sorted(_texts(row), key=len, reverse=True):
        message = _without(message, value)
    code = str(item.get("errorCode") or "Error")
    return RowError(code, masked(_VALUES.sub("…", message)), is_transient=is_transient)


def _texts(row: Row) -> set[str]:
    values = {row.email, row.consent_proof, row.customer_id}
    if row.payload:
        values |= {str(value) for value in orjson.loads(row.payload).values()}
    return {value for value in values if value}


def _without(message: str, value: str) -> str:
    """The message without a value: a long one may be cut short in it, a short one is a word of its own."""
    if len(value) < 3:
        return re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", message)
    if value[:3] not in message:
        return message
    longest = next(length for length in range(min(len(value), len(message)), 2, -1) if value[:length] in message)
    return message.replace(value[:longest], "…")
