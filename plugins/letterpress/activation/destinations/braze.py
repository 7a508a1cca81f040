"""Braze: attributes by ``/users/track``, subscription states by address, moves by renaming or merging.

Its key needs the permissions ``users.track``, ``users.delete``, ``users.merge``, ``users.export.ids``,
``users.external_ids.rename``, ``users.external_ids.remove``, ``email.status``, ``email.blacklist``,
``email.unsubscribe`` and ``email.hard_bounces``.

It has no lists of people: a segment there is computed from attributes, so memberships go as an array attribute.
Subscription groups look like lists, but are consent, which a sync does not write; join and leave are left out.
``/email/bounce/remove`` and ``/email/spam/remove`` are never called: an opt-in revives no dead mailbox, and nobody
who complained.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count

import orjson
from pydantic import Field

from letterpress.activation.configuration import Block
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi, chunked
from letterpress.activation.destinations.parts.braze import (
    PROFILE_FIELDS,
    RESERVED,
    date_of,
    explained,
    ids_of,
    instant_of,
    lost_value,
    row_errors,
    seconds_told,
    value_of,
)
from letterpress.activation.destinations.spec import (
    BatchRefused,
    DestinationError,
    Endpoint,
    Held,
    Limit,
    Operation,
    Results,
    Row,
    RowError,
    Shape,
    SuppressionEvent,
)

IDS = 50  # people a request may name anywhere but in /users/track
PAGE, STEP = 500, 490  # pages overlap: an address that leaves the list between two of them shifts the rest
MERGE = ("identifier_to_merge", "identifier_to_keep")
FIRST_DAY = date(2011, 1, 1)  # Braze is no older
DAY = timedelta(days=1)

SHAPE = Shape(
    external_id="external_id",
    email="email",
    attribute_pattern=r"[A-Za-z][A-Za-z0-9_ -]{0,254}",
    reserved=RESERVED,
)

_ACCOUNT = {"limits": (Limit(250_000, 3_600),), "shared": "account"}
_USERS = {"limits": (Limit(20_000, 60),), "shared": "users"}
_TRACK = {"limits": (Limit(3_000, 3),), "shared": "track"}
ENDPOINTS: Mapping[str, Endpoint] = {
    Operation.SUPPRESS: Endpoint(rows=IDS, **_ACCOUNT),
    Operation.ERASE: Endpoint(rows=IDS, **_USERS),
    Operation.MOVE: Endpoint(rows=IDS, limits=(Limit(1_000, 60),)),
    Operation.DELETE: Endpoint(rows=IDS, **_USERS),
    Operation.SUBSCRIBE: Endpoint(rows=IDS, **_ACCOUNT),
    Operation.UPSERT: Endpoint(rows=75, bytes=4_000_000, **_TRACK),
    "withdraw": Endpoint(rows=75, **_TRACK),
    "merge": Endpoint(rows=IDS, **_USERS),
    "remove": Endpoint(rows=IDS, limits=(Limit(1_000, 60),)),
    "suppressions": Endpoint(rows=PAGE, **_ACCOUNT),
    # Of accounts since August 2024, where the fields are named; older ones may make 2,500 a minute.
    "read": Endpoint(rows=IDS, limits=(Limit(40, 1),)),
}


class Options(Block):
    """``list_length``: how many values an array attribute may hold in this workspace; Braze cuts off the rest."""

    list_length: int = Field(default=25, gt=0)


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["Braze"]:
    """A client that connects with its first request and is closed at the end."""
    api = JsonApi(
        "braze",
        connection,
        ENDPOINTS,
        headers={"Authorization": f"Bearer {connection.token}"},
        explain=explained,
        patience=seconds_told,
    )
    try:
        yield Braze(api, options)
    finally:
        api.close()


class Braze:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`."""

    def __init__(self, api: JsonApi, options: Options):
        self._api, self._options = api, options

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """A new attribute is there with its first value; lists there are none."""

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """All at once. Each is safe to repeat: values and states are set, and who is gone or moved is no error."""
        match operation:
            case Operation.UPSERT:
                return self._upsert(rows)
            case Operation.DELETE | Operation.ERASE:
                self._api.post(operation, "/users/delete", {"external_ids": [row.customer_id for row in rows]})
                return Results()
            case Operation.MOVE:
                return self._move(rows)
            case Operation.SUPPRESS:
                return self._suppress(rows)
            case Operation.SUBSCRIBE:
                return self._subscribe(rows)
        raise ValueError(f"braze: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing that is queued there can be asked for."""
        raise ValueError(f"braze: expected no job, found {job_id}")

    def is_busy(self) -> bool:
        """Nothing that is queued there can be asked for."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Unsubscribed and hard bounced addresses of whole days; the position is a day, read again with the one before.

        Complaints cannot be read: Braze unsubscribes who complains, and they come as such. Today is the day of
        Braze's own clock, as its answers date themselves.
        """
        asked = date.fromisoformat(since) if since else FIRST_DAY
        today = self._today(asked)
        start = min(asked, today) - DAY
        days = {"start_date": start.isoformat(), "end_date": (today + DAY).isoformat()}  # its midnight is the end
        events = [
            SuppressionEvent(email=row["email"], external_id=None, reason=reason, suppressed_at=instant_of(row[column]))
            for path, column, reason in (
                ("/email/unsubscribes", "unsubscribed_at", "unsubscribed"),
                ("/email/hard_bounces", "hard_bounced_at", "bounced"),
            )
            for row in self._listed(path, days)
        ]
        return events, today.isoformat()

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """``POST /users/export/ids`` with the fields that are needed; it tells no bounces, only the state."""
        fields = ["external_id", "email", "email_subscribe", *(name for name in attributes if name in PROFILE_FIELDS)]
        if any(name not in PROFILE_FIELDS for name in attributes):
            fields.append("custom_attributes")
        wanted = {row.customer_id for row in rows}
        return [
            Held(
                customer_id=user["external_id"],
                email=user.get("email"),
                attributes={name: value_of(user, name) for name in attributes},
                is_suppressed=user.get("email_subscribe") == "unsubscribed",
            )
            for user in self._exported([row.customer_id for row in rows], fields)[0]
            if user["external_id"] in wanted
        ]

    def _upsert(self, rows: Sequence[Row]) -> Results:
        """Values that Braze would drop or cut without a word are refused here, or they would count as written."""
        found = {row.customer_id: lost_value(row.payload or b"{}", self._options.list_length) for row in rows}
        errors = {customer_id: error for customer_id, error in found.items() if error is not None}
        fit = [row for row in rows if row.customer_id not in errors]
        told = self._track(Operation.UPSERT, fit, [row.payload or b"" for row in fit]) if fit else Results()
        return Results({**errors, **told.errors}, unanswered=told.unanswered)

    def _track(self, endpoint: str, rows: Sequence[Row], objects: Sequence[bytes]) -> Results:
        """Objects that are wrong are named by their index; where all are, the whole answer is a refusal."""
        body = b'{"attributes":[' + b",".join(objects) + b"]}"
        response = self._api.request(endpoint, "POST", "/users/track", body=body, expected=(400,))
        errors, has_others = row_errors(response, rows)
        unnamed = frozenset(row.customer_id for row in rows) - set(errors)
        if response.status_code == 400 and unnamed:
            raise BatchRefused(*explained(response))
        return Results(errors, unanswered=unnamed if has_others else frozenset())

    def _suppress(self, rows: Sequence[Row]) -> Results:
        """The person's profile, whatever address it has there, and the address, also where no profile has it yet.

        A bounce is the mailbox's, not the person's. Who bounced or complained is put on Braze's blocklist too:
        nothing here lifts that again.
        """
        persons = [row for row in rows if row.reason != "bounced" or not row.email]
        hard = [row.email for row in rows if row.email and row.reason in ("bounced", "complained")]
        soft = [row.email for row in rows if row.email and row.reason not in ("bounced", "complained")]
        stop = {"_update_existing_only": True, "email_subscribe": "unsubscribed"}
        objects = [orjson.dumps({"external_id": row.customer_id, **stop}) for row in persons]
        try:
            return self._track("withdraw", persons, objects) if persons else Results()
        finally:  # a refusal of the one does not keep the other from being stopped
            if hard:
                self._api.post(Operation.SUPPRESS, "/email/blocklist", {"email": hard})
            if soft:
                self._set_state(Operation.SUPPRESS, soft, "unsubscribed")

    def _subscribe(self, rows: Sequence[Row]) -> Results:
        emails = [row.email for row in rows if row.email]
        if emails:
            self._set_state(Operation.SUBSCRIBE, emails, "opted_in")
        without = [row.customer_id for row in rows if not row.email]
        return Results({one: RowError("no_email", "an opt-in is recorded for an address") for one in without})

    def _set_state(self, operation: Operation, emails: list[str], state: str) -> None:
        self._api.post(operation, "/email/status", {"email": emails, "subscription_state": state})

    def _move(self, rows: Sequence[Row]) -> Results:
        """Rename where the surviving id is free, merge where it has a profile; nothing where the former one has none.

        A renamed user keeps the former id as a deprecated one, and whoever is written to or deleted by it later
        would be this user: so it is removed, also where an earlier try left it over.
        """
        users, unknown = self._exported((one for row in rows for one in (row.customer_id, _new(row))), ["external_id"])
        taken = {user["external_id"] for user in users}
        renames: dict[str, str] = {}  # surviving id -> former id: the first one takes it
        merges, left_over = [], []
        errors: dict[str, RowError] = {}
        for row in rows:
            former, new = row.customer_id, _new(row)
            if former not in taken:
                left_over += [] if former in unknown else [former]
            elif new in taken:
                merges.append((former, new))
            elif new not in unknown:
                left_over.append(new)
                errors[former] = RowError(
                    "not_renamed", "a deprecated id stood in the way; moved by the next run", True
                )
            elif renames.setdefault(new, former) != former:
                errors[former] = RowError("not_renamed", "another profile takes this id; merged by the next run", True)
        if renames:
            pairs = [{"current_external_id": former, "new_external_id": new} for new, former in renames.items()]
            answer = self._api.post(Operation.MOVE, "/users/external_ids/rename", {"external_id_renames": pairs})
            done = ids_of(answer, "external_ids")
            if late := [former for new, former in renames.items() if not done & {former, new}]:
                # Also said of what an earlier try did whose answer was lost: then the former id leads to the new one.
                users, unknown = self._exported(late, ["external_id"])
                done |= {user["external_id"] for user in users} - set(late)
            moved = [former for new, former in renames.items() if done & {former, new}]
            failed = RowError("not_renamed", "read again and moved by the next run", True)
            errors.update({former: failed for former in renames.values() if former not in moved})
            left_over += moved
        if merges:
            pairs = [dict(zip(MERGE, ({"external_id": one} for one in pair), strict=True)) for pair in merges]
            self._api.post("merge", "/users/merge", {"merge_updates": pairs})
        if left_over:
            answer = self._api.post("remove", "/users/external_ids/remove", {"external_ids": left_over})
            kept = set(left_over) - ids_of(answer, "removed_ids")
            kept -= self._exported(kept, ["external_id"])[1]  # those of a lost answer are gone
            again = RowError("former_id_kept", "the deprecated id is removed by the next run", True)
            errors.update({row.customer_id: again for row in rows if row.customer_id in kept})
        return Results(errors)

    def _exported(self, ids: Iterable[str], fields: Sequence[str]) -> tuple[list[dict], set[str]]:
        """The users that ids lead to, and the ids that lead to nobody."""
        users, unknown = [], set()
        for some in chunked(dict.fromkeys(ids), IDS):
            body = {"external_ids": some, "fields_to_export": list(fields)}
            answer = self._api.post("read", "/users/export/ids", body)
            users += [user for user in answer["users"] if user.get("external_id")]
            unknown.update(answer.get("invalid_user_ids") or ())
        return users, unknown

    def _listed(self, path: str, days: Mapping[str, str]) -> list[dict]:
        """The entries of a list, the latest of each address."""
        found: dict[str, dict] = {}
        for offset in count(0, STEP):
            params = {**days, "limit": PAGE, "offset": offset}
            page = self._api.get("suppressions", path, params=params)["emails"]
            for row in page:
                found.setdefault(row["email"], row)
            if len(page) < PAGE:
                break
        return list(found.values())

    def _today(self, day: date) -> date:
        """The day at Braze, as the answer to any question is dated."""
        params = {"start_date": day.isoformat(), "end_date": (day + DAY).isoformat(), "limit": PAGE}
        today = date_of(self._api.request("suppressions", "GET", "/email/hard_bounces", params=params))
        if today is None:
            raise DestinationError("braze: GET /email/hard_bounces expected an answer with a date, found none")
        return today


def _new(row: Row) -> str:
    """The surviving id; a move without one is the engine's mistake."""
    if not row.moves_to:
        raise ValueError("braze: expected a surviving id for every move, found none")
    return row.moves_to
