"""HubSpot: contacts under a unique property of ours, static lists, opt-outs by kind of mail.

A contact is found by ``letterpress_id``, never by its address: whoever is there already (from a form, from sales) gets
that property by the address first, or HubSpot would refuse to create the person again. HubSpot merges records behind
our back, so a record id of an earlier answer is a hint that is looked up again where it does not hold any more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import orjson
from pydantic import Field

from letterpress.activation.configuration import Block
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.destinations.parts.hubspot import records as hubspot
from letterpress.activation.destinations.parts.hubspot.consent import Consent
from letterpress.activation.destinations.parts.hubspot.properties import Properties
from letterpress.activation.destinations.parts.hubspot.records import CONTACTS, ID, ROWS, Records, email_of, row_error
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

LISTS, CONTACT = "/crm/v3/lists", "0-1"  # and the type of object that contacts are
BODY, ENVELOPE = 1_000_000, 100 + 40 * ROWS  # bytes of a batch, and of what stands around its payloads

SHAPE = Shape(
    external_id="id",
    email="properties.email",
    attributes="properties",
    constants={"idProperty": ID},
    cleared="",
    is_text_only=True,
    list_separator=";",
    attribute_pattern=r"(?!hs_)[a-z][a-z0-9_]{0,99}",  # hs_ is HubSpot's own, and what it knows of consent
    reserved=(ID, "email", "createdate", "lastmodifieddate", "associatedcompanyid"),
)


def _account(**given: Any) -> Endpoint:
    """A request that draws on the private app's ten seconds; 100 is what every plan allows."""
    return Endpoint(**given, limits=(Limit(100, 10),), shared="account")


ENDPOINTS = {
    Operation.SUPPRESS: _account(),
    Operation.ERASE: _account(),
    Operation.MOVE: _account(),
    Operation.LEAVE: _account(rows=1_000),
    Operation.DELETE: _account(rows=ROWS),
    Operation.SUBSCRIBE: _account(),
    Operation.UPSERT: _account(rows=ROWS, bytes=BODY - ENVELOPE),
    Operation.JOIN: _account(rows=1_000),
    "prepare": _account(),
    "read": _account(),
    "search": Endpoint(limits=(Limit(5, 1),)),  # of its own, and told by no header
}


class Options(Block):
    """HubSpot's own settings."""

    subscription_id: str = Field(pattern=r"^\d+$", description="the kind of mail that Letterpress writes")
    stops: Literal["all", "subscription"] = Field(
        default="all", description="what a suppression ends there: every kind of mail, or only that one"
    )
    legal_basis: Literal[
        "LEGITIMATE_INTEREST_PQL",
        "LEGITIMATE_INTEREST_CLIENT",
        "PERFORMANCE_OF_CONTRACT",
        "CONSENT_WITH_NOTICE",
        "NON_GDPR",
        "PROCESS_AND_STORE",
        "LEGITIMATE_INTEREST_OTHER",
    ] = "CONSENT_WITH_NOTICE"
    property_group: str = Field(default="contactinformation", description="where new properties stand")
    requests_per_ten_seconds: int = Field(default=100, gt=0, le=250, description="what the account's plan allows")
    reads_complaints: bool = Field(default=True, description="from the email events, which need the scope content")


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["HubSpot"]:
    """A client that connects with its first request and is closed at the end."""
    limits = (Limit(options.requests_per_ten_seconds, 10),)
    api = JsonApi(
        "hubspot",
        connection,
        {name: replace(one, limits=limits) if one.shared else one for name, one in ENDPOINTS.items()},
        headers={"Authorization": f"Bearer {connection.token}"},
        explain=lambda response: hubspot.explained(hubspot.body_of(response)),
        is_throttled=lambda response: response.status_code in (423, 477),  # locked; moving to another data centre
        patience=hubspot.patience,
        left=hubspot.left,
    )
    try:
        yield HubSpot(api, options)
    finally:
        api.close()


class HubSpot:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`."""

    def __init__(self, api: JsonApi, options: Options):
        self._api, self._options = api, options
        self._records = Records(api)
        self._properties = Properties(self._records, options.property_group)
        self._consent = Consent(self._records, options.subscription_id, options.legal_basis)

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Create missing properties; refuse what cannot be written to before anything is."""
        self._consent.check()
        for list_id in lists:
            self._check_list(list_id)
        self._properties.prepare(attributes)

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """One operation; consent, erasure and moves take one person a call."""
        match operation:
            case Operation.UPSERT:
                return self._upsert(rows)
            case Operation.SUPPRESS:
                kinds = self._consent.kinds() if self._options.stops == "all" else [self._options.subscription_id]
                return _result(rows[0], self._consent.stop(rows[0], kinds))
            case Operation.SUBSCRIBE:
                return _result(rows[0], self._consent.subscribe(rows[0]))
            case Operation.JOIN | Operation.LEAVE:
                return self._change_list(operation, rows, list_id)
            case Operation.DELETE:
                return self._delete(rows)
            case Operation.ERASE:
                return self._erase(rows[0])
            case Operation.MOVE:
                return self._move(rows[0])
        raise ValueError(f"hubspot: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing is queued there."""
        raise ValueError(f"hubspot: expected no job, found {job_id}")

    def is_busy(self) -> bool:
        """Nothing is queued there."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Opt-outs, hard bounces and complaints; the position is one of ours."""
        return self._consent.suppressions(since, reads_complaints=self._options.reads_complaints)

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """Contacts by our id; their lists HubSpot tells only one by one, so they are left out."""
        stops = self._consent.stops
        wanted = list(dict.fromkeys([ID, "email", *attributes, *stops]))
        return [
            Held(
                customer_id=values[ID],
                email=email_of(contact) or None,
                attributes={name: values.get(name) or None for name in attributes},
                is_suppressed=any(values.get(name) not in (None, "", "false") for name in stops),
                vendor_id=contact["id"],
            )
            for contact in self._records.found(ID, [row.customer_id for row in rows], wanted)
            for values in [contact["properties"]]
        ]

    def _upsert(self, rows: Sequence[Row]) -> Results:
        """A batch whose rows are numbered: then HubSpot answers row by row, otherwise it refuses all for one."""
        profiles = [{"properties": {}, **orjson.loads(row.payload or b"{}")} for row in rows]
        self._properties.offer(profiles)
        self._adopt(rows, profiles)
        inputs = [{**profile, "objectWriteTraceId": str(number)} for number, profile in enumerate(profiles)]
        answer = self._api.post(Operation.UPSERT, f"{CONTACTS}/batch/upsert", {"inputs": inputs})
        # In an order of its own; whom it does not mention, it has not written.
        written = {row.customer_id: one["id"] for one in answer["results"] for row in hubspot.named(one, rows)}
        errors, nameless = {}, []
        for error in answer.get("errors") or []:
            concerned = hubspot.named(error, rows)
            errors |= {row.customer_id: row_error(error, row) for row in concerned}
            nameless += [] if concerned else [error]
        open_rows = [row for row in rows if row.customer_id not in written and row.customer_id not in errors]
        if nameless and len(open_rows) > 1:
            raise BatchRefused(*hubspot.explained(nameless[0]))  # halved until it is clear whom it concerns
        if nameless and open_rows:
            only = open_rows.pop()
            errors[only.customer_id] = row_error(nameless[0], only)
        return Results(errors, written, frozenset(row.customer_id for row in open_rows))

    def _adopt(self, rows: Sequence[Row], profiles: Sequence[Mapping[str, Any]]) -> None:
        """Give our id to contacts that have the address of a row that is new to us, and nobody's id yet."""
        unknown = {
            email.lower(): row.customer_id
            for row, profile in zip(rows, profiles, strict=True)
            if row.vendor_id is None and (email := profile["properties"].get("email") or row.email)
        }
        inputs = [
            {"id": contact["id"], "properties": {ID: unknown[email_of(contact)]}, "objectWriteTraceId": contact["id"]}
            for contact in self._records.found("email", unknown, [ID, "email"])
            if email_of(contact) in unknown and not contact["properties"].get(ID)
        ]
        if inputs:  # where another contact has our id the upsert is refused too, with the row's number
            self._api.post(Operation.UPSERT, f"{CONTACTS}/batch/update", {"inputs": inputs})

    def _delete(self, rows: Sequence[Row]) -> Results:
        """Into HubSpot's bin. It ignores ids that it does not know, so ours are looked up."""
        ids = self._records.ids(row.customer_id for row in rows)
        if ids:
            inputs = [{"id": one} for one in ids.values()]
            self._api.post(Operation.DELETE, f"{CONTACTS}/batch/archive", {"inputs": inputs})
        return Results()

    def _erase(self, row: Row) -> Results:
        """For good. HubSpot blocks an address that it does not hold, so only contacts that are there are named.

        A contact under the address that has another person's id stays: it is not this person's.
        """
        ids = list(self._records.ids([row.customer_id]).values())
        if not ids and row.email:
            under_address = self._records.found("email", [row.email], [ID])
            ids = [contact["id"] for contact in under_address if not contact["properties"].get(ID)]
        for one in ids:
            self._api.post(Operation.ERASE, f"{CONTACTS}/gdpr-delete", {"objectId": one}, expected=(404,))
        return Results()

    def _move(self, row: Row) -> Results:
        """The contact takes the surviving id, or is merged into the contact that has it."""
        held = self._records.ids([row.customer_id, row.moves_to])
        former, surviving = held.get(row.customer_id), held.get(row.moves_to or "")
        if former is None:
            return Results()  # moved before, or never there
        if surviving is None:
            self._rename(former, row)
            return Results()
        body = {"primaryObjectId": surviving, "objectIdToMerge": former}
        try:
            merged = self._api.post(Operation.MOVE, f"{CONTACTS}/merge", body)
        except BatchRefused:
            if row.customer_id in self._records.ids([row.customer_id]):
                raise
            return Results()  # it was merged, and the answer got lost
        if merged["properties"].get(ID) != row.moves_to:
            self._rename(merged["id"], row)
        return Results()

    def _rename(self, record_id: str, row: Row) -> None:
        body = {"properties": {ID: row.moves_to}}
        self._api.post(Operation.MOVE, f"{CONTACTS}/{record_id}", body, method="PATCH")

    def _check_list(self, list_id: str) -> None:
        answer = self._api.get("prepare", f"{LISTS}/{list_id}", missing=(404,))
        found = answer["list"] if answer else {"objectTypeId": "none", "processingType": "none"}
        if found["objectTypeId"] != CONTACT or found["processingType"] not in ("MANUAL", "SNAPSHOT"):
            raise DestinationError(
                f"hubspot: lists: {list_id}: expected a static list (MANUAL) of contacts ({CONTACT}), found "
                f"{found['processingType']} of {found['objectTypeId']}; create a static one there and name its id"
            )

    def _change_list(self, operation: Operation, rows: Sequence[Row], list_id: str | None) -> Results:
        """Record ids that HubSpot does not know (any more) are looked up by our id, once."""
        hinted = {row.customer_id: row.vendor_id for row in rows if row.vendor_id}
        gone = self._put_members(operation, list(hinted.values()), list_id)
        settled = {customer_id: one for customer_id, one in hinted.items() if one not in gone}
        looked_up = self._records.ids(row.customer_id for row in rows if row.customer_id not in settled)
        gone = self._put_members(operation, list(looked_up.values()), list_id)
        settled |= {customer_id: one for customer_id, one in looked_up.items() if one not in gone}
        if operation is Operation.LEAVE:
            return Results(vendor_ids=looked_up)
        error = RowError("OBJECT_NOT_FOUND", "HubSpot does not hold this contact (any more)")
        absent = (row.customer_id for row in rows if row.customer_id not in settled)
        return Results(dict.fromkeys(absent, error), looked_up)

    def _put_members(self, operation: Operation, ids: list[str], list_id: str | None) -> set[str]:
        """Returns the ids that HubSpot does not know."""
        if not ids:
            return set()
        added, removed = (ids, []) if operation is Operation.JOIN else ([], ids)
        body = {"recordIdsToAdd": added, "recordIdsToRemove": removed}
        path = f"{LISTS}/{list_id}/memberships/add-and-remove"
        return set(self._api.post(operation, path, body, method="PUT")["recordIdsMissing"])


def _result(row: Row, error: RowError | None) -> Results:
    return Results({row.customer_id: error} if error else {})
