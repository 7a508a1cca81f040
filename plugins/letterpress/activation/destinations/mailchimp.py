"""Mailchimp, Marketing API 3.0: the members of one audience.

A member is known by the hash of its address. Our id stands in the merge field ``CUSTOMERID``, so that a profile is
never removed, moved or renamed that is somebody else's by now.

**Who may be written to.** An upsert never writes a status. Whoever is no member yet becomes ``transactional`` by it:
kept, but never mailed a campaign (``status_if_new``, which stands in the vendor's example of that request and not in
its schema; should the vendor not heed it, the run stops). Only subscribe makes somebody ``subscribed``. Who has
unsubscribed in person, bounced or complained stays so whatever we send: ``compliance_state``. The vendor tells that
in its answer or not at all, so what became of each is looked at.

**An address that changed.** The member is renamed before it is written, and keeps status, tags and history. Where the
new address is a member too, its own status holds and the former one is archived: otherwise the person would be
written to at both.

An address that bounced is left behind: a member renamed from it would stay ``cleaned`` under the new one.

**A person's ids that became one.** ``CUSTOMERID`` is rewritten, and nothing else. To delete the former profile and
create the surviving one would archive the member, and bring it back without its subscription. Where the surviving id
has a member of its own, that one stays and the former is archived. The vendor finds nobody by a merge field, so the
whole audience is read for it, once for each batch of moves.

**Delete** archives: the person may come back. **Erase** deletes for good, also who was archived or left behind; the
vendor then refuses that address for ever, until its owner subscribes by the vendor's own form.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
from pydantic import Field

from letterpress.activation.configuration import Block
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi
from letterpress.activation.destinations.parts.mailchimp import (
    ID_FIELD,
    Authorisation,
    LeftBehind,
    by_address,
    check_nobody_was_subscribed,
    checked_address,
    elsewhere,
    event_of,
    explained,
    former_hashes,
    hash_of,
    hash_of_email,
    hashes,
    held_of,
    is_of,
    is_throttled,
    just_before,
    normal,
    refused_of,
    results_of,
    row_error,
    with_status,
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

MOST_MERGE_FIELDS = 80
PAGE = 1_000
TIMEOUT = 120.0  # seconds; the vendor itself gives up after that

SHAPE = Shape(
    external_id=f"merge_fields.{ID_FIELD}",
    email="email_address",
    attributes="merge_fields",
    cleared="",
    is_email_key=True,
    is_written_by_subscribe=True,
    list_separator=",",
    attribute_pattern=r"[A-Z][A-Z0-9_]{0,9}",
    reserved=(ID_FIELD, "EMAIL"),
)

# Ten requests at once, whatever they are and however quick: the vendor has no other limit. The engine's eight leave
# two for whoever reads at the same time. The vendor names no largest body: five megabytes are our own caution.
_ONE = Endpoint(limits=(Limit(requests=10, seconds=0.0),), shared="connections", in_flight=8)
_MANY = replace(_ONE, rows=500)
ENDPOINTS = {
    Operation.SUPPRESS: _MANY,
    Operation.ERASE: _ONE,
    Operation.MOVE: replace(_MANY, in_flight=1),  # of two that move to one id, the later has to see the earlier
    Operation.LEAVE: _MANY,
    Operation.DELETE: _ONE,
    Operation.SUBSCRIBE: _MANY,
    Operation.UPSERT: _MANY,
    Operation.JOIN: _MANY,
    "prepare": _ONE,
    "suppressions": _ONE,
    "read": _ONE,
}

# By type of ours: the merge field that is made for it, and those that take it as well where a marketer made them.
_TEXTS = ("text", "phone", "url", "imageurl", "radio", "dropdown", "birthday", "zip")
_MERGE_TYPES = {
    "string": _TEXTS,
    "list": ("text",),
    "datetime": ("text",),  # a date field would lose the time
    "number": ("number",),
    "date": ("date",),
}

_STOPPED = ("compliance_state", "forgotten_email")  # no mail goes to these in any case
_SILENT = ("cleaned", "archived")  # members who get no mail, whatever they opted in to
_BY_ADDRESS = (Operation.SUBSCRIBE, Operation.UPSERT, Operation.JOIN)
_UNSUBSCRIBED = {"status": "unsubscribed"}
_MEMBER_FIELDS = ("id", "email_address", "status", "merge_fields", "tags", "tags_count", "last_changed")


class Options(Block):
    """Which audience."""

    list_id: str = Field(pattern=r"^[A-Za-z0-9]+$", description="the audience's id, as its settings show it")


@contextmanager
def open_client(connection: Connection, options: Options) -> Iterator["Mailchimp"]:
    """A client that connects with its first request and is closed at the end."""
    api = JsonApi(
        "mailchimp",
        replace(connection, base_url=checked_address(connection)),
        ENDPOINTS,
        auth=Authorisation(connection.token),
        explain=explained,
        is_throttled=is_throttled,
        timeout=TIMEOUT,
    )
    try:
        yield Mailchimp(api, options.list_id, LeftBehind(connection.kept))
    finally:
        api.close()


class Mailchimp:
    """The operations of :class:`~letterpress.activation.destinations.spec.Client`."""

    def __init__(self, api: JsonApi, list_id: str, left_behind: LeftBehind):
        self._api, self._list, self._left = api, f"/3.0/lists/{list_id}", left_behind

    @property
    def requests(self) -> int:
        """How many requests were made, repeated ones counted again."""
        return self._api.requests

    def prepare(self, attributes: Mapping[str, str], lists: Iterable[str]) -> None:
        """Create the merge fields that are missing, and look that the tags are there.

        Raises :class:`DestinationError` for a merge field of another type, for too many, and for an unknown tag.
        """
        wanted = {ID_FIELD: "string", **attributes}
        held = self._merge_fields()
        for tag, kind in wanted.items():
            if kind not in _MERGE_TYPES:
                raise DestinationError(
                    f"mailchimp: merge field {tag}: expected one of {', '.join(_MERGE_TYPES)}, found {kind}, which "
                    "Mailchimp does not have; give the attribute the type string"
                )
            if tag in held and held[tag] not in _MERGE_TYPES[kind]:
                raise DestinationError(
                    f"mailchimp: merge field {tag}: expected {' or '.join(_MERGE_TYPES[kind])} for a {kind}, found "
                    f"{held[tag]}; map the attribute to another name or give it another type"
                )
        missing = {tag: kind for tag, kind in wanted.items() if tag not in held}
        if len(held) + len(missing) > MOST_MERGE_FIELDS:
            raise DestinationError(
                f"mailchimp: expected room for {len(missing)} merge fields, found {len(held)} of {MOST_MERGE_FIELDS} "
                "taken; map fewer attributes or delete unused audience fields"
            )
        if wanted_tags := set(lists):
            tags = self._tags()
            unknown = sorted(wanted_tags - set(tags))
            if unknown:
                known = ", ".join(f"{number} ({name})" for number, name in tags.items()) or "none"
                raise DestinationError(
                    f"mailchimp: lists: expected ids of tags of this audience, found {', '.join(unknown)}; there are: "
                    f"{known}"
                )
        self._create(missing)

    def send(self, operation: Operation, rows: Sequence[Row], *, key: str, list_id: str | None) -> Results:
        """The answers are there at once; what is sent again changes nothing, so the key is not needed."""
        known = [row for row in rows if row.email or (operation not in _BY_ADDRESS and self._is_known(row))]
        unknown = {row.customer_id for row in rows} - {row.customer_id for row in known}
        errors = dict.fromkeys(unknown, RowError("no_email", "a member is named by its address, and there is none"))
        if not known:
            return Results(errors)
        found = self._carry_out(operation, known, f"{self._list}/segments/{list_id}")
        return replace(found, errors={**errors, **found.errors})

    def results(self, operation: Operation, job_id: str, rows: Sequence[Row]) -> Results | None:
        """Nothing is queued there."""
        raise ValueError(f"mailchimp: expected no job, found {job_id}")

    def is_busy(self) -> bool:
        """Nothing is queued there."""
        return False

    def suppressions(self, since: str | None) -> tuple[list[SuppressionEvent], str | None]:
        """Unsubscribed and cleaned members, and complaints; the position is an instant for each of them.

        The vendor does not tell when somebody unsubscribed, only when the member last changed: it is the latest
        that it can have been. Complaints cannot be asked for by time; they are few, and all are read.
        """
        position = orjson.loads(since) if since else {}
        found: dict[tuple[str, str], SuppressionEvent] = {}
        for status, reason in (("unsubscribed", "unsubscribed"), ("cleaned", "bounced")):
            for member in self._members("suppressions", position.get(status), status=status):
                found[(member["id"], reason)] = event_of(member, reason, member["last_changed"])
                position[status] = max(member["last_changed"], position.get(status, ""))
        known = position.get("complained", "")
        for report in self._pages("suppressions", "/abuse-reports", "abuse_reports", {}):
            if report["date"] >= known:
                found[(report["email_id"], "complained")] = event_of(report, "complained", report["date"])
                position["complained"] = max(report["date"], position.get("complained", ""))
        return list(found.values()), orjson.dumps(position).decode() if position else since

    def read(self, rows: Sequence[Row], attributes: Sequence[str]) -> list[Held]:
        """Few people one by one, many in pages of the whole audience: whichever takes fewer requests."""
        wanted = {hash_of(row): row for row in rows}
        found = (self._one("read", key, _MEMBER_FIELDS) for key in wanted)
        if len(wanted) > 1 and len(wanted) > self._size() / PAGE:
            found = self._members("read", None)
        held = {}
        for member in found:
            row = wanted.get(member["id"]) if member else None
            if row is not None and member["status"] != "archived" and is_of(member, row.customer_id):
                held[row.customer_id] = held_of(row, member, attributes)
        return list(held.values())

    def _carry_out(self, operation: Operation, rows: Sequence[Row], segment: str) -> Results:
        match operation:
            case Operation.UPSERT | Operation.SUBSCRIBE:
                return self._write(operation, rows)
            case Operation.SUPPRESS:
                return self._suppress(rows)
            case Operation.JOIN:
                return self._tag(operation, segment, "members_to_add", rows)
            case Operation.LEAVE:
                return self._leave(segment, rows)
            case Operation.MOVE:
                return self._move(rows)
            case Operation.DELETE:
                return results_of({row.customer_id: self._delete(row) for row in rows})
            case Operation.ERASE:
                return results_of({row.customer_id: self._erase(row) for row in rows})
        raise ValueError(f"mailchimp: expected an operation of {', '.join(ENDPOINTS)}, found {operation}")

    def _write(self, operation: Operation, rows: Sequence[Row]) -> Results:
        """Rename the members whose address changed, then write all of them in one request."""
        by_email: dict[str, Row] = {}
        errors: dict[str, RowError] = {}
        for row in rows:
            other = by_email.setdefault(normal(row.email), row)
            if other is not row:
                errors[row.customer_id] = RowError("duplicate_email", "another customer of this batch has the address")
            else:
                refusals = [refused for key in former_hashes(row) if (refused := self._rename(operation, row, key))]
                errors.update({row.customer_id: refusals[0]} if refusals else {})
        sent = {email: row for email, row in by_email.items() if row.customer_id not in errors}
        if not sent:
            return Results(errors)
        answer = self._batch(operation, [with_status(operation, row) for row in sent.values()])
        written = {normal(one["email_address"]): one for one in (*answer["new_members"], *answer["updated_members"])}
        found = refused_of(answer["errors"], {email: [row] for email, row in sent.items()}, written.values())
        errors |= found.errors
        if operation is Operation.SUBSCRIBE:
            asked = {email: row for email, row in sent.items() if row.customer_id not in found.errors}
            errors |= self._not_subscribed(asked, written)
        else:
            check_nobody_was_subscribed(answer["new_members"])
        vendor_ids = {
            row.customer_id: written[email]["id"] if email in written else hash_of_email(email)
            for email, row in sent.items()
            if row.customer_id not in errors and row.customer_id not in found.unanswered
        }
        return Results(errors, vendor_ids, found.unanswered - set(errors))

    def _not_subscribed(self, rows: Mapping[str, Row], written: Mapping[str, Mapping]) -> dict[str, RowError]:
        """Who was accepted and is still not subscribed; whom the answer leaves out is asked for."""
        errors = {}
        for email, row in rows.items():
            member = written.get(email) or self._one(Operation.SUBSCRIBE, hash_of_email(email), ("status",))
            status = member["status"] if member else "no member"
            if status != "subscribed":
                errors[row.customer_id] = RowError("compliance_state", f"expected subscribed, found {status}")
        return errors

    def _rename(self, operation: Operation, row: Row, key: str) -> RowError | None:
        """A member gets the person's new address; where that is a member too, the former one is archived."""
        former = self._own(operation, key, row.customer_id)
        if former is None:
            return None  # renamed before, or no longer this person's
        self._left.note(row.customer_id, {key: row.customer_id})
        if former["status"] in _SILENT:
            return None  # nothing to take along
        refused = self._patch(operation, key, {"email_address": row.email})
        return self._archive(operation, key) if refused and refused.code == "member_exists" else refused

    def _suppress(self, rows: Sequence[Row]) -> Results:
        """Members whose address we know in one request, those whose address changed by each of their hashes.

        The request makes a member of an address that has none. Who has another one gets none for the new address: an
        erasure later would know nothing of it.
        """
        here = by_address(row for row in rows if not row.former_emails)
        errors: dict[str, RowError | None] = {}
        unanswered: frozenset[str] = frozenset()
        if here:
            answer = self._batch(
                Operation.SUPPRESS, [orjson.dumps({"email_address": email, **_UNSUBSCRIBED}) for email in here]
            )
            found = refused_of(answer["errors"], here, (*answer["new_members"], *answer["updated_members"]))
            errors.update(found.errors)
            unanswered = found.unanswered
        for row in rows:
            for key in hashes(row) if row.former_emails else elsewhere(row):
                if self._own(Operation.SUPPRESS, key, row.customer_id):
                    refused = self._patch(Operation.SUPPRESS, key, _UNSUBSCRIBED)
                    errors[row.customer_id] = errors.get(row.customer_id) or refused
        told = {who: error for who, error in errors.items() if error is None or error.code not in _STOPPED}
        return replace(results_of(told), unanswered=unanswered)

    def _tag(self, operation: Operation, segment: str, what: str, rows: Sequence[Row]) -> Results:
        """Add members to a tag or take them out of it."""
        by_email: dict[str, list[Row]] = {}
        for row in rows:
            by_email.setdefault(normal(row.email), []).append(row)
        answer = self._api.post(operation, segment, {what: list(by_email)})
        return refused_of(answer["errors"], by_email, (*answer["members_added"], *answer["members_removed"]))

    def _leave(self, segment: str, rows: Sequence[Row]) -> Results:
        """By address, or by each hash where the address changed; who is not in it has left."""
        here = by_address(rows)
        for row in rows:
            for key in elsewhere(row):
                self._api.request(Operation.LEAVE, "DELETE", f"{segment}/members/{key}", expected=(404,))
        if not here:
            return Results()
        found = self._tag(Operation.LEAVE, segment, "members_to_remove", [row for one in here.values() for row in one])
        left = {who: error for who, error in found.errors.items() if error.code == "not_a_member"}
        return replace(found, errors={who: error for who, error in found.errors.items() if who not in left})

    def _move(self, rows: Sequence[Row]) -> Results:
        """Members are the surviving ids' from now on, or archived where those have members of their own."""
        moving = [
            (row, member)
            for row in rows
            for key in hashes(row)
            if (member := self._own(Operation.MOVE, key, row.customer_id))
        ]
        taken = self._ids_among({row.moves_to for row, _ in moving}) if moving else set()
        errors: dict[str, RowError | None] = {}
        for row, member in moving:
            left = {**self._left.of(row.customer_id), member["id"]: row.customer_id}
            self._left.note(row.moves_to or "", left)
            if row.moves_to not in taken:
                changes = {"merge_fields": {ID_FIELD: row.moves_to}}
                refused = self._patch(Operation.MOVE, member["id"], changes)
                taken.add(row.moves_to)
            else:
                refused = None if member["status"] in _SILENT else self._archive(Operation.MOVE, member["id"])
            errors[row.customer_id] = errors.get(row.customer_id) or refused
        return results_of(errors)

    def _is_known(self, row: Row) -> bool:
        return bool(hashes(row) or self._left.of(row.customer_id))

    def _ids_among(self, wanted: Collection[str | None]) -> set[str | None]:
        """Those of our ids that members carry."""
        carried = (member["merge_fields"].get(ID_FIELD) for member in self._members(Operation.MOVE, None))
        return {one for one in carried if one in wanted}

    def _delete(self, row: Row) -> RowError | None:
        own = [member for key in hashes(row) if (member := self._own(Operation.DELETE, key, row.customer_id))]
        self._left.note(row.customer_id, {one["id"]: row.customer_id for one in own})
        refusals = [refused for one in own if (refused := self._archive(Operation.DELETE, one["id"]))]
        return refusals[0] if refusals else None

    def _erase(self, row: Row) -> RowError | None:
        """The member that we know of, the one of the present address, and whoever was left behind.

        One that carries another customer's id is left alone, and the person reported: somebody has to look. Of whom
        was left behind, that is no news.
        """
        error, left = None, self._left.of(row.customer_id)
        for key in dict.fromkeys([*hashes(row), *left]):
            member = self._one(Operation.ERASE, key, ("id", "merge_fields"))
            if member and (is_of(member, row.customer_id) or is_of(member, left.get(key, ""))):
                path = f"{self._list}/members/{key}/actions/delete-permanent"
                self._api.request(Operation.ERASE, "POST", path, expected=(404,))
            elif member and key not in left:
                error = RowError("held_by_another", "the member carries another customer's id")
        if error is None:
            self._left.forget(row.customer_id)
        return error

    def _archive(self, operation: Operation, key: str) -> RowError | None:
        """The vendor archives nobody who bounced or has not confirmed yet, and nobody twice: 405."""
        path = f"{self._list}/members/{key}"
        if self._api.request(operation, "DELETE", path, expected=(404, 405)).status_code != 405:
            return None
        member = self._one(operation, key, ("status",))
        if member is None or member["status"] == "archived":
            return None
        return RowError("cannot_archive", f"Mailchimp keeps a member whose status is {member['status']}")

    def _patch(self, operation: Operation, key: str, body: Mapping[str, Any]) -> RowError | None:
        """Change one member; whom the vendor does not know needs no change."""
        path = f"{self._list}/members/{key}?skip_merge_validation=true"
        try:
            self._api.post(operation, path, body, method="PATCH", expected=(404,))
        except BatchRefused as refused:
            return row_error({"error": refused.message, "error_code": refused.code})
        return None

    def _batch(self, operation: Operation, members: Sequence[bytes]) -> dict[str, Any]:
        # A member of whom only the changes are sent shall not be refused for a required field that it has already.
        body = b'{"update_existing":true,"members":[' + b",".join(members) + b"]}"
        return self._api.post(operation, f"{self._list}?skip_merge_validation=true", body)

    def _own(self, operation: Operation, key: str, customer_id: str) -> dict[str, Any] | None:
        """The member of a hash; none where there is none, or it is somebody else's by now."""
        member = self._one(operation, key, ("id", "status", "merge_fields"))
        return member if member and is_of(member, customer_id) else None

    def _one(self, endpoint: str, key: str, fields: Sequence[str]) -> dict[str, Any] | None:
        query = {"fields": ",".join(fields)}
        return self._api.get(endpoint, f"{self._list}/members/{key}", params=query, missing=(404,))

    def _size(self) -> int:
        query = {"count": 1, "fields": "total_items"}
        return self._api.get("read", f"{self._list}/members", params=query)["total_items"]

    def _members(self, endpoint: str, since: str | None, **query: str) -> Iterator[dict[str, Any]]:
        """Members in the order of their last change, from an instant on; some come twice.

        Each page begins at the last one's end in time, not at a number: whoever changes in between moves to the
        end, and would push another over the edge of the pages.
        """
        fields = ",".join(f"members.{name}" for name in _MEMBER_FIELDS)
        given = {"sort_field": "last_changed", "sort_dir": "ASC", "count": PAGE, "fields": fields, **query}
        after, offset = just_before(since), 0
        while True:
            params = {**given, "offset": offset, **({"since_last_changed": after} if after else {})}
            page = self._api.get(endpoint, f"{self._list}/members", params=params)["members"]
            yield from page
            if len(page) < PAGE:
                return
            latest = just_before(page[-1]["last_changed"])
            after, offset = (after, offset + PAGE) if after and latest <= after else (latest, 0)

    def _pages(self, endpoint: str, path: str, name: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            params = {"count": PAGE, "offset": offset, **query}
            page = self._api.get(endpoint, f"{self._list}{path}", params=params)[name]
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE

    def _merge_fields(self) -> dict[str, str]:
        return {one["tag"]: one["type"] for one in self._pages("prepare", "/merge-fields", "merge_fields", {})}

    def _tags(self) -> dict[str, str]:
        segments = self._pages("prepare", "/segments", "segments", {"type": "static"})
        return {str(one["id"]): one["name"] for one in segments}

    def _create(self, missing: Mapping[str, str]) -> None:
        """Create merge fields, hidden from the sign-up form; one that was made already is refused, and there."""
        refusals = {}
        for tag, kind in missing.items():
            field = {"tag": tag, "name": tag, "type": _MERGE_TYPES[kind][0], "public": False}
            try:
                self._api.post("prepare", f"{self._list}/merge-fields", field)
            except BatchRefused as refused:
                refusals[tag] = refused
        for tag in sorted(set(refusals) - set(self._merge_fields() if refusals else ())):
            raise DestinationError(
                f"mailchimp: merge field {tag}: expected to create it, found {refusals[tag]}; create it in the "
                "audience's settings or map the attribute to another name"
            )
