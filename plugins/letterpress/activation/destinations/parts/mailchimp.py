"""How Mailchimp's API is spoken to and what its answers mean; what is done with it stands in the module beside."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from hashlib import md5
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import masked, no_explanation
from letterpress.activation.destinations.spec import (
    DestinationError,
    Held,
    Operation,
    Results,
    Row,
    RowError,
    SuppressionEvent,
)

ID_FIELD = "CUSTOMERID"  # the merge field of our id

# A row's error, as the vendor words it: what we call it, and whether it may be right at the next run.
_ROW_ERRORS = (
    (r"compliance state", "compliance_state", False),
    (r"permanently deleted", "forgotten_email", False),
    (r"fake or invalid|valid email|of the email address is invalid|single @", "invalid_email", False),
    (r"signed up to a lot of lists", "too_many_signups", True),
    (r"(?:\bnot|n't) (?:\w+ )*(?:list|segment|audience)\b", "not_a_member", False),
)
_CENTRE = re.compile(r"-([a-z]+\d+)$")  # of an API key: the data centre that it is for


class Authorisation(httpx.Auth):
    """HTTP basic for an API key, which ends in its data centre, and a bearer token for what OAuth gave."""

    def __init__(self, token: str):
        self._signing = httpx.BasicAuth("letterpress", token) if _CENTRE.search(token) else None
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """Sign one request."""
        if self._signing is not None:
            yield from self._signing.auth_flow(request)
        else:
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request


def checked_address(connection: Connection) -> str:
    """The address without the API's version, which every path begins with; it has to be the key's data centre."""
    host, centre = urlsplit(connection.base_url).hostname or "", _CENTRE.search(connection.token)
    if centre and host.endswith(".mailchimp.com") and not host.startswith(f"{centre[1]}."):
        raise DestinationError(
            f"mailchimp: expected the data centre of the key, {centre[1]}, found {host}; set the connection's host to "
            f"{centre[1]}.api.mailchimp.com"
        )
    return connection.base_url.rstrip("/").removesuffix("/3.0")


def is_throttled(response: httpx.Response) -> bool:
    """A 403 that is no answer of the API: what stands before it has enough of us."""
    return response.status_code == 403 and "json" not in response.headers.get("Content-Type", "")


def explained(response: httpx.Response) -> tuple[str, str]:
    """Title, detail and wrong fields of a problem document."""
    try:
        problem = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return no_explanation(response)
    if not isinstance(problem, dict):
        return no_explanation(response)
    code = re.sub(r"\W+", "_", problem.get("title", "")).lower() or f"http_{response.status_code}"
    fields = [f"{one.get('field')}: {one.get('message')}" for one in problem.get("errors", ())]
    return code, "; ".join([problem.get("detail", ""), *fields])


def row_error(refusal: Mapping[str, Any]) -> RowError:
    """What became of one member of a batch; its field is named where one is wrong."""
    parts = (refusal.get(name) for name in ("error", "field", "field_message"))
    text = masked(" ".join(part for part in parts if part))
    if refusal.get("field"):
        return RowError("invalid_merge_field", text)
    for pattern, code, is_transient in _ROW_ERRORS:
        if re.search(pattern, text):
            return RowError(code, text, is_transient)
    return RowError(str(refusal.get("error_code", "error_generic")).lower(), text)


def check_nobody_was_subscribed(new_members: Iterable[Mapping[str, Any]]) -> None:
    """Raise :class:`DestinationError` where an upsert has made somebody subscribed."""
    subscribed = sum(one["status"] == "subscribed" for one in new_members)
    if subscribed:
        raise DestinationError(
            f"mailchimp: an upsert expected new members to be transactional, found {subscribed} subscribed: the vendor "
            "did not heed status_if_new. Unsubscribe the newest members, and set subscribes: true, so that only a "
            "proven opt-in makes members"
        )


def with_status(operation: Operation, row: Row) -> bytes:
    """The payload with the status that the operation may give."""
    payload = row.payload or b"{}"
    if operation is Operation.UPSERT:
        return b'{"status_if_new":"transactional",' + payload[1:]
    status = {"status": "subscribed", "status_if_new": "subscribed"}
    if row.consented_at is not None:
        status["timestamp_opt"] = row.consented_at.isoformat(timespec="seconds")
    return orjson.dumps(status)[:-1] + b"," + payload[1:]


def refused_of(
    refusals: Iterable[Mapping[str, Any]], people: Mapping[str, Sequence[Row]], done: Iterable[Mapping[str, Any]]
) -> Results:
    """The people, by address, whom refusals name.

    Where one names an address that we did not send, nobody can tell who it is: then whoever is not among the members
    that the answer tells as done is unanswered.
    """
    errors: dict[str, RowError] = {}
    is_certain = True
    for refusal in refusals:
        for email in refusal.get("email_addresses", [refusal.get("email_address", "")]):
            rows = people.get(normal(email), ())
            is_certain = is_certain and bool(rows)
            errors.update({row.customer_id: row_error(refusal) for row in rows})
    known = {normal(one["email_address"]) for one in done}
    others = (row for email, rows in people.items() if email not in known for row in rows)
    unanswered = frozenset(row.customer_id for row in others if row.customer_id not in errors)
    return Results(errors, unanswered=frozenset() if is_certain else unanswered)


def results_of(errors: Mapping[str, RowError | None]) -> Results:
    """An answer from the errors by customer; one that is none is a success."""
    return Results({customer_id: error for customer_id, error in errors.items() if error is not None})


class LeftBehind:
    """Members who stay at the vendor, archived or bounced, when their person has none or another one: by our id.

    The ledger forgets an address with the profile that had it, and an erasure has to reach them all the same. Each is
    kept with the id that it carries, since an address may become somebody else's.
    """

    def __init__(self, kept: MutableMapping[str, str]):
        self._kept = kept

    def of(self, customer_id: str) -> dict[str, str]:
        """A person's: hash of the address -> the id that the member carries."""
        return orjson.loads(self._kept.get(self._name(customer_id), "{}"))

    def note(self, customer_id: str, members: Mapping[str, str]) -> None:
        """Before they are left there."""
        before = self.of(customer_id)
        if not members.items() <= before.items():
            self._kept[self._name(customer_id)] = orjson.dumps({**before, **members}).decode()

    def forget(self, customer_id: str) -> None:
        """They are gone."""
        self._kept.pop(self._name(customer_id), None)

    def _name(self, customer_id: str) -> str:
        return f"left behind: {customer_id}"


def by_address(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Whom the vendor holds under the address that we know, by it."""
    here: dict[str, list[Row]] = {}
    for row in rows:
        if _is_here(row):
            here.setdefault(normal(row.email or ""), []).append(row)
    return here


def _is_here(row: Row) -> bool:
    return bool(row.email) and row.vendor_id in (None, hash_of_email(row.email or ""))


def normal(email: str) -> str:
    """An address as the vendor compares it."""
    return email.lower()


def hash_of_email(email: str) -> str:
    """What the vendor knows the member of an address by; MD5 is its choice."""
    return md5(normal(email).encode(), usedforsecurity=False).hexdigest()


def hash_of(row: Row) -> str:
    """What the vendor knows a person by: as it said, else from the present address."""
    return row.vendor_id or hash_of_email(row.email or "")


def hashes(row: Row) -> list[str]:
    """Under which hashes the vendor holds a person, or may do so because an answer was lost."""
    emails = [row.email, *row.former_emails] if row.email else row.former_emails
    return sorted({*map(hash_of_email, emails), *([row.vendor_id] if row.vendor_id else [])})


def former_hashes(row: Row) -> list[str]:
    """Of these, which are not the present address's."""
    return [one for one in hashes(row) if one != hash_of_email(row.email or "")]


def elsewhere(row: Row) -> list[str]:
    """Of a person's hashes those whom a request by address (:func:`by_address`) does not reach."""
    return former_hashes(row) if _is_here(row) else hashes(row)


def is_of(member: Mapping[str, Any], customer_id: str) -> bool:
    """Whether a member is this person's: it carries the id, or none."""
    return member["merge_fields"].get(ID_FIELD) in (None, "", customer_id)


def held_of(row: Row, member: Mapping[str, Any], attributes: Sequence[str]) -> Held:
    """What a member holds, with its tags where the answer has all of them."""
    values = {name: member["merge_fields"].get(name) for name in attributes}
    tags = member.get("tags", ())
    return Held(
        customer_id=row.customer_id,
        email=member["email_address"],
        attributes={name: None if value == "" else value for name, value in values.items()},
        lists=frozenset(str(tag["id"]) for tag in tags) if len(tags) == member.get("tags_count") else None,
        is_suppressed=member["status"] in ("unsubscribed", "cleaned"),
        vendor_id=member["id"],
    )


def event_of(found: Mapping[str, Any], reason: str, instant: str) -> SuppressionEvent:
    """A suppression of a member or of a complaint; our id goes with it, so that it outlives a change of address."""
    customer_id = found.get("merge_fields", {}).get(ID_FIELD) or None
    return SuppressionEvent(found["email_address"], customer_id, reason, datetime.fromisoformat(instant))


def just_before(instant: str | None) -> str | None:
    """A second earlier: the vendor tells whole seconds, and only what is later than the one asked for."""
    if instant is None:
        return None
    return (datetime.fromisoformat(instant) - timedelta(seconds=1)).isoformat(timespec="seconds")
