"""HubSpot's requests that concern contacts."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from letterpress.demo.vendors.hubspot_parts import bodies
from letterpress.demo.vendors.hubspot_parts.account import ACCOUNT, SEARCH, Account, entry
from letterpress.demo.vendors.standin import Answer, Call, Refusal, route

CONTACTS = "/crm/v3/objects/contacts"
NOT_FOUND = "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid."


class ContactRoutes(Account):
    """Batches, single changes, merges, erasure and searches."""

    @route("POST", f"{CONTACTS}/batch/upsert", **ACCOUNT)
    def upsert(self, call: Call) -> Answer:
        """Create or update by a unique property."""
        return self._write_batch(call, creates=True)

    @route("POST", f"{CONTACTS}/batch/update", **ACCOUNT)
    def update(self, call: Call) -> Answer:
        """Update by record id, or by a unique property."""
        return self._write_batch(call, creates=False)

    @route("POST", f"{CONTACTS}/batch/read", **ACCOUNT)
    def read(self, call: Call) -> Answer:
        """By record id or unique property; 207 where some are not there."""
        body = bodies.checked(call.body, bodies.READ, len(call.content))
        dated = body["propertiesWithHistory"]
        if dated and len(body["inputs"]) > bodies.HISTORIES:
            raise Refusal(400, "VALIDATION_ERROR", f"at most {bodies.HISTORIES} inputs with histories are allowed")
        found = {one["id"]: self.contacts.find(one["id"], body.get("idProperty")) for one in body["inputs"]}
        records = {record["id"]: record for record in found.values() if record}
        missing = [value for value, record in found.items() if record is None]
        error = entry(Refusal(404, "OBJECT_NOT_FOUND", NOT_FOUND), {"ids": missing})
        results = [self.contacts.shown(one, body["properties"], dated) for one in records.values()]
        return self.batch(results, [error] if missing else [])

    @route("POST", f"{CONTACTS}/batch/archive", **ACCOUNT)
    def archive(self, call: Call) -> Answer:
        """Into the bin; ids that are not there are ignored."""
        for one in bodies.checked(call.body, bodies.ARCHIVE, len(call.content))["inputs"]:
            record = self.contacts.find(one["id"])
            if record:
                self.forget(record)
        return Answer(204)

    @route("PATCH", f"{CONTACTS}/{{contactId}}", **ACCOUNT)
    def change(self, call: Call) -> Answer:
        """Some properties of one contact."""
        given = bodies.checked(call.body, bodies.CHANGE, len(call.content))["properties"]
        record = self.contacts.get(unquote(call.path["contactId"]), call.query.get("idProperty"))
        self.contacts.refuse_unknown(given)
        written = self.contacts.write(record, self.contacts.accepted(record, given))
        return Answer(200, self.contacts.shown(written, given))

    @route("POST", f"{CONTACTS}/merge", **ACCOUNT)
    def merge(self, call: Call) -> Answer:
        """Two contacts into one, which is in the lists of both."""
        body = bodies.checked(call.body, bodies.MERGE)
        primary, other = self.contacts.get(body["primaryObjectId"]), self.contacts.get(body["objectIdToMerge"])
        if primary["id"] == other["id"]:
            raise Refusal(400, "VALIDATION_ERROR", "Cannot merge an object with itself")
        merged = self.contacts.merge(primary, other)
        lists = self.documents.kind("list")
        for key, one in list(lists.items()):
            kept = {record: at for record, at in one["members"].items() if record not in (primary["id"], other["id"])}
            if len(kept) < len(one["members"]):
                lists[key] = {**one, "members": {**kept, merged["id"]: self.clock()}}
        return Answer(200, self.contacts.shown(merged, merged["values"]))

    @route("POST", f"{CONTACTS}/gdpr-delete", **ACCOUNT)
    def purge(self, call: Call) -> Answer:
        """For good; the address is never taken again, known or not."""
        body = bodies.checked(call.body, bodies.PURGE)
        by, value = body.get("idProperty"), body["objectId"]
        if by not in (None, "email"):
            raise Refusal(400, "VALIDATION_ERROR", "idProperty may be email alone")
        record = self.contacts.find(value, by) if by else self.contacts.get(value)
        email = record["values"].get("email") if record else value
        if record:
            self.forget(record)
        if email:
            self.contacts.block(email)
            self.documents.kind("status").pop(email.lower(), None)
        return Answer(204)

    @route("POST", f"{CONTACTS}/search", **SEARCH)
    def search(self, call: Call) -> Answer:
        """By filters, sorted; at most 10,000 can be paged to, and the latest changes are not yet found."""
        body = bodies.checked(call.body, bodies.SEARCH, len(call.content))
        return Answer(200, self.contacts.search(body, self.clock() - self.job_seconds))

    def _write_batch(self, call: Call, *, creates: bool) -> Answer:
        """With a trace id of its own at each input, what is right is written; without, all of it or nothing."""
        inputs = bodies.checked(call.body, bodies.WRITE, len(call.content))["inputs"]
        ids = [one["id"] for one in inputs]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            text = f"Duplicate IDs found in batch input: {twice}. IDs must be unique"
            raise Refusal(400, "VALIDATION_ERROR", text, context={"ids": twice})
        self.contacts.refuse_unknown(name for one in inputs for name in one["properties"])
        traces = {one.get("objectWriteTraceId") for one in inputs}
        is_traced = None not in traces and len(traces) == len(inputs)
        if not is_traced:
            self._refuse_any(inputs, creates)
        results, errors = [], []
        for one in inputs:
            try:
                results.append(self._written(one, creates))
            except Refusal as refusal:
                trace = {"objectWriteTraceId": [one["objectWriteTraceId"]]} if is_traced else {"ids": [one["id"]]}
                errors.append(entry(refusal, trace))
        return self.batch(results[::-1], errors)  # not in the order of the inputs

    def _written(self, one: Mapping[str, Any], creates: bool) -> dict[str, Any]:
        record, values = self._accepted(one, creates)
        written = self.contacts.write(record, values)
        trace = {"objectWriteTraceId": one["objectWriteTraceId"]} if "objectWriteTraceId" in one else {}
        is_new = {"new": record is None} if creates else {}
        return {**self.contacts.shown(written, one["properties"]), **trace, **is_new}

    def _accepted(self, one: Mapping[str, Any], creates: bool) -> tuple[dict[str, Any] | None, dict[str, str | None]]:
        by = one.get("idProperty")
        record = self.contacts.find(one["id"], by)
        if record is None and (by is None or not creates):
            raise Refusal(404, "OBJECT_NOT_FOUND", NOT_FOUND)
        given = one["properties"] if by in (None, "hs_object_id") else {by: one["id"], **one["properties"]}
        return record, self.contacts.accepted(record, given)

    def _refuse_any(self, inputs: Sequence[Mapping[str, Any]], creates: bool) -> None:
        """Refuse a batch for its first wrong input; those that are not there are told one by one even so."""
        emails: set[str] = set()
        for one in inputs:
            try:
                email = self._accepted(one, creates)[1].get("email")
            except Refusal as refusal:
                if refusal.code == "OBJECT_NOT_FOUND":
                    continue
                raise
            if email in emails:
                raise Refusal(409, "CONFLICT", "Contact already exists.")
            emails |= {email} if email else set()
