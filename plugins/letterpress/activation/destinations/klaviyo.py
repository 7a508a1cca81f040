"""Klaviyo: profiles by bulk import jobs, consent by jobs of its own, lists by profile ids (revision 2026-07-15).

Nothing has an idempotency key there, and nothing needs one: every request sets a state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import orjson
from pydantic import Field

from letterpress.activation.configuration import Block
from letterpress.activation.destinations import pace
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import REFUSED, JsonApi, chunked
from letterpress.activation.destinations.parts.klaviyo import (
    explain,
    held,
    import_error,
    next_cursor,
    refusal,
    suppression_events,
    timestamp,
)
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

REVISION = "2026-07-15"
PAGE = 100  # the largest page of profiles and of import errors, and the most values that one filter takes here
FIRST_LOOK, LONGEST_MERGE = 0.5, 120.0  # seconds until a merge may be done, and until it is left to the next run
WILL = ("consent_withdrawn", "unsubscribed", "complained")  # the person's own decision, not a dead mailbox

_TEXTS = ("first_name", "last_name", "phone_number", "organization", "title", "image", "locale")
_PLACE = ("address1", "address2", "city", "region", "zip", "country", "timezone", "latitude", "longitude")

# What a payload does not name stays as it is; an empty value in it clears, though not in an import (see _clear).
SHAPE = Shape(
    external_id="attributes.external_id",
    email="attributes.email",
    attributes="attributes.properties",
    named={
        **{name: f"attributes.{name}" for name in _TEXTS},
        **{name: f"attributes.location.{name}" for name in _PLACE},
    },
    constants={"type": "profile"},
    is_email_key=True,  # a payload with our id alone could make a profile without an address
    reserved=("id", "email", "external_id", "anonymous_id", "subscriptions", "consent", "consent_timestamp"),
)

_IMPORT = (b'{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[', b"]}}}}")
_SLOW = (Limit(10, 1), Limit(150, 60))
_FAST = (Limit(75, 1), Limit(750, 60))

# Each limit is one operation's at Klaviyo; bytes leave room for what stands around the profiles of an import (5 MB).
ENDPOINTS = {
    Operation.SUPPRESS: Endpoint(rows=100, limits=_FAST, is_asynchronous=True),
    Operation.ERASE: Endpoint(rows=1, limits=(Limit(3, 1), Limit(60, 60))),
    Operation.MOVE: Endpoint(rows=50, limits=_FAST),  # both ids of each person fit into one look-up
    Operation.LEAVE: Endpoint(rows=1_000, limits=_SLOW),
    Operation.SUBSCRIBE: Endpoint(rows=1_000, limits=_FAST),
    Operation.UPSERT: Endpoint(
        rows=10_000,
        bytes=5_000_000 - sum(map(len, _IMPORT)),
        row_bytes=100_000,
        limits=_SLOW,
        is_asynchronous=True,
    ),
    Operation.JOIN: Endpoint(rows=1_000, limits=_SLOW),
    "clear": Endpoint(limits=_FAST),
    "unsubscribe": Endpoint(rows=100, limits=_FAST),
    "merge": Endpoint(limits=_SLOW),
    "read": Endpoint(limits=_FAST),
    "list": Endpoint(limits=_FAST),
    "imports": Endpoint(limits=_SLOW),
    "import": Endpoint(limits=_SLOW),
    "import errors": Endpoint(limits=_SLOW),
    "suppression": Endpoint(limits=_FAST),
}


class Options(Block):
    """What Klaviyo notes beside an opt-in."""

    consent_source: str = Field(default="Letterpress", min_length=1, description="the source of consent it shows")


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["Klaviyo"]:
    """A client that connects with its first request and is closed at the end."""
    headers = {
        "Authorization": f"Klaviyo-API-Key {connection.token}",
        "revision": REVISION,
        "Content-Type": "application/vnd.api+json",
        "Accept": "application/vnd.api+json",
    }
    api = JsonApi("klaviyo", connection, ENDPOINTS, headers=headers, explain=explain, timeout=60.0)
    try:
        yield Klaviyo(api, options)
    finally:
        api.close()


class Klaviyo:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`."""

    def __init__(self, api: JsonApi, options: Options):
        self._api, self._options = api, options

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Properties come into being when they are written; a list has to be there."""
        for list_id in sorted(set(lists)):
            if self._api.get("list", f"/api/lists/{list_id}", missing=(404,)) is None:
                raise DestinationError(
                    f"klaviyo: expected a list with the id {list_id}, found none; correct it under lists, the id "
                    "stands in the address of the list's page at Klaviyo"
                )

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results | Job:
        """One request, or as many as the operation needs; imports and suppressions are queued."""
        match operation:
            case Operation.UPSERT:
                return self._upsert(rows)
            case Operation.SUPPRESS:
                return self._suppress(rows)
            case Operation.SUBSCRIBE:
                return self._subscribe(rows)
            case Operation.JOIN | Operation.LEAVE:
                return self._relate(operation, rows, list_id)
            case Operation.ERASE:
                return self._erase(rows[0])
            case Operation.MOVE:
                return self._move(rows)
        raise ValueError(f"klaviyo: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """The job's state, and who was not imported. A job that Klaviyo no longer knows leaves all unanswered.

        A suppression job tells no more than that it is complete: it skips who is suppressed already.
        """
        endpoint, kind = (
            ("import", "profile-bulk-import-jobs")
            if operation is Operation.UPSERT
            else ("suppression", "profile-suppression-bulk-create-jobs")
        )
        found = self._api.get(endpoint, f"/api/{kind}/{job_id}", missing=(404,))
        if found is None:
            return Results(unanswered=frozenset(row.customer_id for row in rows))
        job = found["data"]["attributes"]
        if job["status"] in ("queued", "processing"):
            return None
        if job["status"] != "complete":
            raise BatchRefused(f"job_{job['status']}", f"expected a complete job of {kind}, found {job['status']}")
        return Results() if endpoint == "suppression" else self._import_results(job_id, rows, job)

    def is_busy(self) -> bool:
        """Whether profiles are being imported, by us or by anybody else who imports into the account."""
        params = {"filter": 'any(status,["queued","processing"])', "page[size]": 1}
        return bool(self._api.get("imports", "/api/profile-bulk-import-jobs", params=params)["data"])

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Profiles by the instant of their suppression; the position is the last one, read again to miss none."""
        field = "subscriptions.email.marketing.suppression.timestamp"
        params = {
            "filter": f"greater-or-equal({field},{timestamp(since)})",
            "sort": field,
            "fields[profile]": "email,external_id,subscriptions",
        }
        events = [event for profile in self._profiles(params) for event in suppression_events(profile)]
        latest = max((event.suppressed_at for event in events), default=None)
        return events, latest.isoformat() if latest else since

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """The profiles with these people's external ids; Klaviyo tells no lists with them."""
        paths = {name: SHAPE.path_of(name) for name in attributes}
        return [held(profile, paths) for profile in self._lookup([row.customer_id for row in rows]).values()]

    def _upsert(self, rows: Sequence[Row]) -> Results | Job:
        moved = self._readdress(rows)
        if moved:
            first = next(iter(moved.values()))
            raise BatchRefused(first.code, first.message, moved)
        profiles = [row.payload or b"" for row in rows]
        profiles[0] = _IMPORT[0] + profiles[0]  # before the others are joined: five megabytes are copied once
        profiles[-1] += _IMPORT[1]
        body = b",".join(profiles)
        if b":null" in body:
            emptied = [row for row in rows if b":null" in (row.payload or b"")]
            errors, vendor_ids = self._clear(emptied)
            if len(emptied) == len(rows):
                return Results(errors, vendor_ids)
            if errors:
                first = next(iter(errors.values()))
                raise BatchRefused(first.code, first.message, errors)
        return Job(self._post(Operation.UPSERT, "/api/profile-bulk-import-jobs", body, rows)["data"]["id"])

    def _clear(self, rows: Sequence[Row]) -> tuple[dict[str, RowError], dict[str, str]]:
        """Profiles with empty values, one by one: an import leaves what it finds empty as it was."""
        errors, vendor_ids = {}, {}
        for row in rows:
            body = b'{"data":' + (row.payload or b"") + b"}"
            try:
                vendor_ids[row.customer_id] = self._post("clear", "/api/profile-import", body, [row])["data"]["id"]
            except BatchRefused as refused:
                errors |= refused.errors
        return errors, vendor_ids

    def _import_results(self, job_id: str, rows: Sequence[Row], job: Mapping) -> Results:
        """Who was not imported. Where an error names nobody, halving finds out whose it is."""
        errors: dict[str, RowError] = {}
        by_id: dict[str, Row] = {}
        path = f"/api/profile-bulk-import-jobs/{job_id}/import-errors"
        for found in self._pages("import errors", path, {}):
            by_id = by_id or {row.customer_id: row for row in rows}  # read from the ledger, where anybody is asked for
            row, error = import_error(found["attributes"], by_id, rows)
            if row is None:
                raise BatchRefused(error.code, error.message)
            errors[row.customer_id] = error
        missing = (job.get("failed_count") or 0) - len(errors)
        if missing > 0:
            raise BatchRefused("unexplained", f"expected an error for each failed profile, found {missing} without")
        return Results(errors)

    def _suppress(self, rows: Sequence[Row]) -> Results | Job:
        """Nobody here is written to again: a suppression, and for who decided so a withdrawal beside it.

        The suppression stops mail whatever the consent says, and its job can be asked. It leaves the consent as
        it was, though: lifted by a marketer's click, mail would go on. So a person's own decision is recorded as
        unsubscribed, too, without a list: withdrawn for all of them. (With a list, Klaviyo withdraws for that
        list, or for all where the person is not on it.) A dead mailbox or an erasure says nothing about consent.
        An opt-in that is proven later lifts both.

        Klaviyo suppresses addresses: of whose changed, the one that the profile has.
        """
        found = self._held([row for row in rows if row.former_emails or not row.email])
        held = {one: profile["attributes"].get("email") for one, profile in found.items()}
        rows = [row._replace(email=held.get(row.customer_id) or row.email) for row in rows]
        addressed = [row for row in rows if row.email]
        willed = [row for row in addressed if row.reason in WILL]
        if willed:
            withdrawn = {"subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}}
            profiles = [{"email": row.email, **withdrawn} for row in willed]
            body = _job("profile-subscription-bulk-delete-job", profiles)
            self._post("unsubscribe", "/api/profile-subscription-bulk-delete-jobs", body, willed)
        if not addressed:
            return Results()  # without an address there is nothing that mail could go to
        body = _job("profile-suppression-bulk-create-job", [{"email": row.email} for row in addressed])
        found = self._post(Operation.SUPPRESS, "/api/profile-suppression-bulk-create-jobs", body, addressed)
        return Job(found["data"]["id"])

    def _subscribe(self, rows: Sequence[Row]) -> Results:
        """Opt-ins. Those with an instant are history there: no second confirmation is mailed.

        An opt-in is an address's: a profile that has another one gets the person's new address first. Otherwise
        Klaviyo would make a second profile of it.
        """
        errors = self._readdress(rows)
        rows = [row for row in rows if row.customer_id not in errors]
        for is_history in (True, False):
            chosen = [row for row in rows if (row.consented_at is not None) == is_history]
            profiles = []
            for row in chosen:
                consent = {"consent": "SUBSCRIBED"}
                if row.consented_at is not None:
                    consent["consented_at"] = timestamp(row.consented_at)
                profiles.append({"email": row.email, "subscriptions": {"email": {"marketing": consent}}})
            attributes = {"custom_source": self._options.consent_source, "historical_import": is_history}
            body = _job("profile-subscription-bulk-create-job", profiles, attributes)
            if chosen:
                self._post(Operation.SUBSCRIBE, "/api/profile-subscription-bulk-create-jobs", body, chosen)
        return Results(errors)

    def _readdress(self, rows: Sequence[Row]) -> dict[str, RowError]:
        """Profiles get their people's present addresses and ids; whose does not, and why."""
        errors: dict[str, RowError] = {}
        by_id = {row.customer_id: row for row in rows if row.former_emails}
        for customer_id, profile in self._held(by_id.values()).items():
            row = by_id[customer_id]
            if (profile["attributes"].get("email") or "").lower() == (row.email or "").lower():
                continue
            attributes = {"email": row.email, "external_id": customer_id}
            changed = {"type": "profile", "id": profile["id"], "attributes": attributes}
            try:
                self._post(Operation.MOVE, f"/api/profiles/{profile['id']}", {"data": changed}, [row], method="PATCH")
            except BatchRefused as refused:
                errors |= refused.errors
        return errors

    def _relate(self, operation: Operation, rows: Sequence[Row], list_id: str | None) -> Results:
        """Into a list or out of it, by Klaviyo's own ids: looked up where they are not known, or no longer right."""
        known = {row.customer_id: row.vendor_id for row in rows if row.vendor_id}
        found = self._ids([row.customer_id for row in rows if not row.vendor_id])
        if not self._related(operation, {**known, **found}, list_id):
            found, known = self._ids([row.customer_id for row in rows]), {}
            if not self._related(operation, found, list_id):
                raise DestinationError(
                    f"klaviyo: {operation} expected the list {list_id} and its people, found one of them gone; "
                    "check the list's id under lists, then run again"
                )
        unknown = RowError("unknown_profile", "Klaviyo has no profile with this external_id yet", is_transient=True)
        absent = [row.customer_id for row in rows if row.customer_id not in {**known, **found}]
        return Results(dict.fromkeys(absent, unknown) if operation is Operation.JOIN else {}, found)

    def _related(self, operation: Operation, ids: Mapping[str, str], list_id: str | None) -> bool:
        """Whether it was done: not where one of the ids, or the list, is not there."""
        if not ids:
            return True
        method = "POST" if operation is Operation.JOIN else "DELETE"
        body = {"data": [{"type": "profile", "id": vendor_id} for vendor_id in ids.values()]}
        path = f"/api/lists/{list_id}/relationships/profiles"
        return self._api.request(operation, method, path, body=body, expected=(404,)).status_code != 404

    def _erase(self, row: Row) -> Results:
        """Every profile of the person: by the id that we know, by external_id, and by an address that is nobody else's.

        Klaviyo erases whoever has the identifier, and an address may have gone over to somebody else.
        """
        ids = {row.vendor_id} if row.vendor_id else set()
        ids |= set(self._ids([row.customer_id]).values())
        for email in (row.email, *row.former_emails) if row.email else row.former_emails:
            for profile in self._profiles({"filter": f"equals(email,{_text(email)})"}):
                if profile["attributes"].get("external_id") in (None, row.customer_id):
                    ids.add(profile["id"])
        for vendor_id in sorted(ids):
            profile = {"data": {"type": "profile", "id": vendor_id, "attributes": {}}}
            body = {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": profile}}}
            self._api.post(Operation.ERASE, "/api/data-privacy-deletion-jobs", body, expected=(404,))
        return Results()

    def _move(self, rows: Sequence[Row]) -> Results:
        """The surviving id goes onto the profile; where it has one of its own already, the two become one.

        Nothing is left to do for whom Klaviyo does not know under the former id.
        """
        ids = self._ids([row.customer_id for row in rows] + [row.moves_to for row in rows if row.moves_to])
        errors, vendor_ids, merged = {}, {}, []
        for row in rows:
            former, surviving = ids.get(row.customer_id), ids.get(row.moves_to or "")
            if former is None or former == surviving:
                continue
            try:
                if surviving is None:
                    profile = {"type": "profile", "id": former, "attributes": {"external_id": row.moves_to}}
                    self._post(Operation.MOVE, f"/api/profiles/{former}", {"data": profile}, [row], method="PATCH")
                else:
                    sources = {"profiles": {"data": [{"type": "profile", "id": former}]}}
                    merge = {"type": "profile-merge", "id": surviving, "relationships": sources}
                    self._post("merge", "/api/profile-merge", {"data": merge}, [row])
                    merged.append(row.customer_id)
                vendor_ids[row.customer_id] = surviving or former
            except BatchRefused as refused:
                errors |= refused.errors
        waiting = RowError("merge_under_way", "Klaviyo still merges two profiles", is_transient=True)
        return Results(errors | dict.fromkeys(self._unmerged(merged), waiting), vendor_ids)

    def _unmerged(self, customer_ids: Sequence[str]) -> Collection[str]:
        """Wait until these former ids are gone; those that are not, after some time.

        Klaviyo queues a merge without an id to ask by, and puts the survivor into the lists of both when its turn has
        come: whoever left a list before would be in it again.
        """
        seconds, until = FIRST_LOOK, pace.now() + LONGEST_MERGE
        while (left := self._ids(customer_ids)) and pace.now() < until:
            pace.pause(seconds)
            seconds *= 1.5
        return left

    def _post(
        self, endpoint: str, path: str, body: bytes | Mapping, rows: Sequence[Row], *, method: str = "POST"
    ) -> dict:
        """The answer to a request; a refusal names the people that it points at."""
        response = self._api.request(endpoint, method, path, body=body, expected=REFUSED)
        if not response.is_success:
            raise refusal(response, rows)
        return orjson.loads(response.content) if response.content else {}

    def _held(self, rows: Collection[Row]) -> dict[str, dict]:
        """These people's profiles: by external id, else one without any that has a former address of the person."""
        found = self._lookup([row.customer_id for row in rows])
        for row in rows:
            for email in row.former_emails if row.customer_id not in found else ():
                for profile in self._profiles({"filter": f"equals(email,{_text(email)})"}):
                    if profile["attributes"].get("external_id") is None:
                        found[row.customer_id] = profile
        return found

    def _ids(self, customer_ids: Sequence[str]) -> dict[str, str]:
        return {customer_id: profile["id"] for customer_id, profile in self._lookup(customer_ids).items()}

    def _lookup(self, customer_ids: Sequence[str]) -> dict[str, dict]:
        """Profiles by external id, of these people."""
        found = {}
        for chunk in chunked(customer_ids, PAGE):
            for profile in self._profiles({"filter": f"any(external_id,{_text(chunk)})"}):
                found[profile["attributes"]["external_id"]] = profile
        return found

    def _profiles(self, params: Mapping) -> Iterator[dict]:
        return self._pages("read", "/api/profiles", {"additional-fields[profile]": "subscriptions", **params})

    def _pages(self, endpoint: str, path: str, params: Mapping) -> Iterator[dict]:
        """All pages. Only the cursor of a link is used: the key goes nowhere but to the connection's address."""
        cursor: dict[str, str] = {}
        while True:
            page = self._api.get(endpoint, path, params={**params, "page[size]": PAGE, **cursor})
            yield from page["data"]
            following = next_cursor(page)
            if following is None:
                return
            cursor = {"page[cursor]": following}


def _job(kind: str, profiles: list[dict], attributes: Mapping | None = None) -> dict:
    data = [{"type": "profile", "attributes": profile} for profile in profiles]
    return {"data": {"type": kind, "attributes": {**(attributes or {}), "profiles": {"data": data}}}}


def _text(value: str | list[str]) -> str:
    """A value of a filter, quoted as there."""
    return orjson.dumps(value).decode()
