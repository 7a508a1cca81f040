"""Salesforce Marketing Cloud: people as rows of data extensions, written by its asynchronous REST interface.

The connection: host is the REST address, login the client id, password the client secret of an installed package
(server to server; data extensions read and write, contacts delete); extra ``auth_url`` and ``account_id`` where they
are not the REST address's own. The data extensions are made there, sendable by ``ContactKey``, with these columns:

``data_extension``         ContactKey (Text, key), EmailAddress (EmailAddress), IsActive (Boolean), and the field map's
``suppression_extension``  ContactKey and Source (Text, both key), EmailAddress, Reason, SuppressedAt, ConsentedAt,
                           ConsentProof (Text), IsSuppressed (Boolean)
each list                  ContactKey (Text, key), EmailAddress, IsMember (Boolean)

REST deletes no rows: whoever leaves a list stays in it as a row without an address and with IsMember false, and a
removed profile as an empty row with IsActive false. A send takes IsActive (or IsMember) and excludes IsSuppressed;
the extension alone stops nothing. Its rows of the Source ``letterpress`` are ours. What people do there comes in by a
query of the account, under another Source and with a Reason of unsubscribed, bounced or complained; it is read here
and never written, so that an opt-in lifts our own suppression only. The status of a subscriber is out of reach.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from urllib.parse import quote

import orjson
from pydantic import Field

from letterpress.activation.configuration import Block
from letterpress.activation.destinations import pace
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.destinations.parts.salesforce.errors import error_in, explain, row_error
from letterpress.activation.destinations.parts.salesforce.extensions import TYPES, Extensions, is_true, missing, typed
from letterpress.activation.destinations.parts.salesforce.rows import (
    LIST,
    PROFILE,
    SOURCE,
    SUPPRESSION,
    consent,
    event,
    suppression,
)
from letterpress.activation.destinations.parts.salesforce.token import Token
from letterpress.activation.destinations.spec import (
    BatchRefused,
    DestinationError,
    Endpoint,
    Held,
    Job,
    Limit,
    Operation,
    Results,
    Row,
    RowError,
    Shape,
    SuppressionEvent,
)

PATIENCE = 120.0  # seconds in which a request may be unknown or in error: both were seen before it was complete
OVERLAP = timedelta(days=7)  # the account's queries bring an event in later than it happened
# Columns that a row does not name keep their values; null empties one.
SHAPE = Shape(
    external_id="ContactKey",
    email="EmailAddress",
    constants={"IsActive": True},
    list_separator=",",
    attribute_pattern=r"[A-Za-z][A-Za-z0-9_ ]{0,49}",
    reserved=tuple(PROFILE),
)

# 32,000 rows and 5.9 MB a request. How many requests are too many is not published, an answer of 429 says it; 2,000
# a minute is what others keep to. Rows without a payload are not weighed beforehand: 10,000 of them fit.
_REST = Endpoint(limits=(Limit(2_000, 60),), shared="rest")
_ROWS = {**_REST.__dict__, "rows": 10_000, "bytes": 5_900_000, "in_flight": 2, "is_asynchronous": True}
ENDPOINTS = {
    Operation.SUPPRESS: Endpoint(**_ROWS),
    # A million contacts may be deleted at once, and one deletion goes on at a time; so many keys fit into a body.
    Operation.ERASE: Endpoint(**{**_ROWS, "rows": 50_000, "in_flight": 1, "is_awaited": False}),
    Operation.LEAVE: Endpoint(**_ROWS),
    Operation.DELETE: Endpoint(**_ROWS),
    Operation.SUBSCRIBE: Endpoint(**_ROWS),
    Operation.UPSERT: Endpoint(**{**_ROWS, "rows": 32_000}),
    Operation.JOIN: Endpoint(**_ROWS),
    **dict.fromkeys(("catalog", "status", "results", "read", "suppressions"), _REST),
}


class Options(Block):
    """The data extensions that people and their suppressions are rows of, by external key."""

    data_extension: str = Field(min_length=1)
    suppression_extension: str = Field(min_length=1)


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["Salesforce"]:
    """A client that connects with its first request and is closed at the end."""
    token = Token(connection)
    api = JsonApi("salesforce", connection, ENDPOINTS, auth=token, explain=explain)
    try:
        yield Salesforce(api, token, options)
    finally:
        api.close()
        token.api.close()


class Salesforce:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`."""

    def __init__(self, api: JsonApi, token: Token, options: Options):
        self._api, self._token, self._extensions = api, token, Extensions(api)
        self._profiles, self._suppressions = options.data_extension, options.suppression_extension
        self._doubtful: dict[str, float] = {}  # request -> when it was first seen unknown or in error

    @property
    def requests(self) -> int:
        """How many requests were made, those for tokens and repeated ones counted in."""
        return self._api.requests + self._token.api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Check that the data extensions and their columns are there: whoever owns the account makes them."""
        self._check(attributes)
        for list_id in lists:
            self._extensions.check(list_id, LIST, keys={"ContactKey"})

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Job:
        """One request, to be asked for later. The same rows again have the same effect, so the key is not needed."""
        rows = _in_order(rows)
        match operation:
            case Operation.UPSERT:
                return self._put(operation, self._profiles, [row.payload or b"" for row in rows])
            case Operation.DELETE:
                columns = self._extensions.columns(self._profiles)
                empty = {one["name"]: None for one in columns if one["isNullable"] and not one["isPrimaryKey"]}
                return self._write(operation, self._profiles, rows, lambda row: {**empty, "IsActive": False})
            case Operation.JOIN:
                return self._write(operation, list_id, rows, lambda row: {"EmailAddress": row.email, "IsMember": True})
            case Operation.LEAVE:
                return self._write(operation, list_id, rows, lambda row: {"EmailAddress": None, "IsMember": False})
            case Operation.SUPPRESS:
                return self._write(operation, self._suppressions, rows, suppression)
            case Operation.SUBSCRIBE:
                return self._write(operation, self._suppressions, rows, consent)
            case Operation.ERASE:
                return self._erase(rows)
        raise ValueError(f"salesforce: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """The answer row by row: the vendor gives it in the order of the request, and names nobody."""
        rows = _in_order(rows)
        if operation is Operation.ERASE:
            return self._erased(job_id, rows)
        status = self._api.get("status", f"/data/v1/async/{job_id}/status").get("status") or {}
        if status.get("requestStatus") != "Complete":
            return self._wait(job_id, rows, status.get("requestStatus"))
        if not status.get("hasErrors") and status.get("resultStatus", "OK") == "OK":
            return Results()
        items = self._items(job_id)
        if len(items) != len(rows):  # whose they are cannot be told
            return _unanswered(rows) if items else None
        pairs = zip(items, rows, strict=True)
        return Results({row.customer_id: row_error(item, row) for item, row in pairs if item["status"] != "OK"})

    def is_busy(self) -> bool:
        """Requests cannot be listed there."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """What is not our own in the suppression extension, all of which is read; the position leaves out old rows."""
        self._check({})
        rows = self._extensions.rows("suppressions", self._suppressions)
        events = [event(row) for row in rows if row["source"] != SOURCE and is_true(row["issuppressed"])]
        instants = [one.suppressed_at for one in events]
        if since is not None:
            position = datetime.fromisoformat(since)
            instants.append(position)
            events = [one for one in events if one.suppressed_at >= position - OVERLAP]
        return events, max(instants).isoformat() if instants else None

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """What the profile extension holds; a removed profile is none. Lists are not told."""
        wanted = dict.fromkeys(row.customer_id for row in rows)
        if not wanted:
            return []
        self._check({})
        types = {column["name"]: column["type"] for column in self._extensions.columns(self._profiles)}
        suppressed = {
            row["contactkey"]
            for row in self._extensions.find(self._suppressions, wanted)
            if is_true(row["issuppressed"])
        }
        return [
            Held(
                customer_id=row["contactkey"],
                email=row["emailaddress"] or None,
                attributes={name: typed(row.get(name.lower()), types.get(name)) for name in attributes},
                is_suppressed=row["contactkey"] in suppressed,
            )
            for row in self._extensions.find(self._profiles, wanted)
            if is_true(row["isactive"])
        ]

    def _check(self, attributes: Mapping[str, str]) -> None:
        mapped = {name: TYPES[kind] for name, kind in attributes.items()}
        self._extensions.check(self._profiles, {**PROFILE, **mapped}, keys={"ContactKey"})
        self._extensions.check(self._suppressions, SUPPRESSION, keys={"ContactKey", "Source"})

    def _write(self, operation: Operation, key: str | None, rows: Sequence[Row], values: Callable[[Row], dict]) -> Job:
        if key is None:
            raise ValueError(f"salesforce: {operation}: expected a list's id, found none")
        return self._put(operation, key, [orjson.dumps({"ContactKey": row.customer_id, **values(row)}) for row in rows])

    def _put(self, operation: Operation, extension: str, items: Sequence[bytes]) -> Job:
        path = f"/data/v1/async/dataextensions/key:{quote(extension, safe='')}/rows"
        try:
            answer = self._api.post(operation, path, b'{"items":[' + b",".join(items) + b"]}", method="PUT")
            error = error_in(answer)
            if error is not None:
                raise BatchRefused(*error)
        except BatchRefused as refused:
            if refused.code == "CustomObjectNotFound":  # whatever the content is, nothing would be taken
                raise missing(extension) from None
            raise
        return Job(answer["requestId"])

    def _erase(self, rows: Sequence[Row]) -> Job:
        """Contact deletion: no sends from now on, gone from everywhere after the account's days of suppression."""
        body = {"values": [row.customer_id for row in rows], "DeleteOperationType": "ContactAndAttributes"}
        answer = self._api.post(Operation.ERASE, "/contacts/v1/contacts/actions/delete?type=keys", body)
        if not answer.get("operationInitiated"):
            raise DestinationError(
                "salesforce: expected a contact deletion to begin, found that it did not; next step: enable contact "
                "deletion in Contact Builder and give the installed package the right to it"
            )
        return Job(str(answer["operationID"]))

    def _erased(self, job_id: str, rows: Sequence[Row]) -> Results | None:
        path = "/contacts/v1/contacts/actions/delete/status"
        answer = self._api.get("status", path, params={"operationID": job_id})
        operation = answer["operation"]
        states = {one["backgroundOperationStatusID"] for one in answer.get("backgroundOperationsSummary") or ()}
        for state in ("Aborted", "Invalid"):
            if state in states or operation["status"] == state:
                return _all_refused(rows, RowError(state, "the contact deletion was not carried out"))
        if operation["status"] != "Completed" or states != {"Completed"}:  # the former alone: only suppressed so far
            return None
        if operation.get("errorsOccurredInBatchProcess"):
            return _all_refused(rows, RowError("Incomplete", "the contact deletion met errors", is_transient=True))
        return Results()

    def _wait(self, job_id: str, rows: Sequence[Row], state: str | None) -> Results | None:
        """None yet; after a while a request that nobody knows is unanswered, and one in error has failed."""
        if state not in (None, "Error"):
            self._doubtful.pop(job_id, None)
            return None
        if pace.now() < self._doubtful.setdefault(job_id, pace.now()) + PATIENCE:
            return None
        if state is None:
            return _unanswered(rows)
        return _all_refused(rows, RowError("Error", "the request failed as a whole", is_transient=True))

    def _items(self, job_id: str) -> list[dict]:
        items: list[dict] = []
        number = 1
        while True:
            page = self._api.get("results", f"/data/v1/async/{job_id}/results", params={"page": number})
            if page.get("page", number) != number:
                raise DestinationError(
                    f"salesforce: results of a request: expected page {number}, found page {page['page']}; the rows "
                    "are settled by the next run"
                )
            items += page.get("items") or []
            if not page.get("items") or len(items) >= page["count"]:
                return items
            number += 1


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """The same people in the same order, whatever order they are given in when their results are asked for."""
    return sorted(rows, key=lambda row: row.customer_id)


def _unanswered(rows: Sequence[Row]) -> Results:
    return Results(unanswered=frozenset(row.customer_id for row in rows))


def _all_refused(rows: Sequence[Row], error: RowError) -> Results:
    return Results(dict.fromkeys((row.customer_id for row in rows), error))
