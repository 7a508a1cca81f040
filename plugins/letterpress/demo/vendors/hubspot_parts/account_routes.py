"""HubSpot's requests that concern the account: properties, lists, consent, and what became of mails."""

from typing import Any
from urllib.parse import unquote

from letterpress.demo.vendors.hubspot_parts import bodies
from letterpress.demo.vendors.hubspot_parts.account import ACCOUNT, KINDS, Account, entry
from letterpress.demo.vendors.hubspot_parts.properties import created, iso, stored
from letterpress.demo.vendors.standin import Answer, Call, Refusal, route

PROPERTIES, LIST = "/crm/v3/properties/{objectType}", "/crm/v3/lists/{listId}"
PREFERENCES = "/communication-preferences/v3"
EVENT_PAGE, MEMBER_PAGE = 1_000, 250
EVENT_TYPES = (
    "SENT", "DELIVERED", "DROPPED", "PROCESSED", "DEFERRED", "BOUNCE", "OPEN", "CLICK", "PRINT", "FORWARD",
    "STATUSCHANGE", "SPAMREPORT", "SUPPRESSED",
)  # fmt: skip


class AccountRoutes(Account):
    """Whatever is no contact."""

    @route("GET", PROPERTIES, **ACCOUNT)
    def all_properties(self, call: Call) -> Answer:
        """Every property of contacts."""
        _refuse_other(call)
        return Answer(200, {"results": list(self.contacts.properties.values())})

    @route("GET", f"{PROPERTIES}/{{propertyName}}", **ACCOUNT)
    def one_property(self, call: Call) -> Answer:
        """A property with its options."""
        return Answer(200, self._property(call))

    @route("POST", f"{PROPERTIES}/batch/create", **ACCOUNT)
    def create_properties(self, call: Call) -> Answer:
        """Those that are there already are among the errors; a wrong one refuses all."""
        _refuse_other(call)
        given = bodies.checked(call.body, bodies.PROPERTIES, len(call.content))["inputs"]
        known, errors = self.contacts.properties, []
        new: dict[str, dict[str, Any]] = {}
        for one in given:
            if one["name"] in known or one["name"] in new:
                text = f"A property named '{one['name']}' already exists."
                errors.append(entry(Refusal(409, "OBJECT_ALREADY_EXISTS", text), {"name": [one["name"]]}))
            else:
                new[one["name"]] = created(one, {**known, **new})
        for definition in new.values():
            self.contacts.define(definition)
        return self.batch(list(new.values()), errors, 201)

    @route("PATCH", f"{PROPERTIES}/{{propertyName}}", **ACCOUNT)
    def change_property(self, call: Call) -> Answer:
        """A property's label or options; options replace those that were there."""
        found = self._property(call)
        given = bodies.checked(call.body, bodies.CHANGED_PROPERTY, len(call.content))
        if found["hubspotDefined"]:
            raise Refusal(400, "VALIDATION_ERROR", f"{found['name']} has a read-only definition")
        wanted = created({**found, **given}, {})
        self.contacts.define(wanted)
        return Answer(200, wanted)

    @route("GET", LIST, **ACCOUNT)
    def one_list(self, call: Call) -> Answer:
        """A list, without its members."""
        one = self._list(call)
        found = {
            "listId": one["id"],
            "name": one["name"],
            "processingType": one["processing"],
            "processingStatus": "COMPLETE",
            "objectTypeId": one["type"],
            "listVersion": 1,
            "size": len(one["members"]),
        }
        return Answer(200, {"list": found})

    @route("GET", f"{LIST}/memberships", **ACCOUNT)
    def list_members(self, call: Call) -> Answer:
        """The members by record id."""
        limit, after = _number(call, "limit", 100), _number(call, "after", 0)
        if not 0 < limit <= MEMBER_PAGE:
            raise Refusal(400, "VALIDATION_ERROR", f"limit: expected 1 to {MEMBER_PAGE}")
        members = sorted(self._list(call)["members"].items(), key=lambda one: int(one[0]))
        page = [one for one in members if int(one[0]) > after][:limit]
        body: dict[str, Any] = {
            "total": len(members),
            "results": [{"recordId": record, "membershipTimestamp": iso(at)} for record, at in page],
        }
        if page and page[-1] != members[-1]:
            body["paging"] = {"next": {"after": page[-1][0]}}
        return Answer(200, body)

    @route("PUT", f"{LIST}/memberships/add-and-remove", **ACCOUNT)
    def change_members(self, call: Call) -> Answer:
        """Of a static list; records that are not there (any more) are told."""
        body = bodies.checked(call.body, bodies.MEMBERSHIPS, len(call.content))
        one = self._list(call)
        if one["processing"] == "DYNAMIC":
            raise Refusal(400, "VALIDATION_ERROR", "Membership of a DYNAMIC list cannot be changed")
        added, removed = (dict.fromkeys(body[name]) for name in ("recordIdsToAdd", "recordIdsToRemove"))
        known = {record for record in (*added, *removed) if (self.contacts.find(record) or {}).get("id") == record}
        answer = {
            "recordsIdsAdded": [record for record in added if record in known and record not in one["members"]],
            "recordIdsRemoved": [record for record in removed if record in one["members"]],
            "recordIdsMissing": [record for record in (*added, *removed) if record not in known],
        }
        one["members"] |= {record: self.clock() for record in answer["recordsIdsAdded"]}
        for record in answer["recordIdsRemoved"]:
            del one["members"][record]
        self.documents.kind("list")[one["id"]] = one
        return Answer(200, answer)

    @route("GET", f"{PREFERENCES}/definitions", **ACCOUNT)
    def kinds_of_mail(self, call: Call) -> Answer:
        """The subscription types."""
        then = iso(0)
        found = [
            {
                "id": kind,
                "name": name,
                "description": name,
                "purpose": "Marketing",
                "communicationMethod": "Email",
                "isActive": True,
                "isDefault": False,
                "isInternal": False,
                "createdAt": then,
                "updatedAt": then,
            }
            for kind, name in KINDS.items()
        ]
        return Answer(200, {"subscriptionDefinitions": found})

    @route("GET", f"{PREFERENCES}/status/email/{{emailAddress}}", **ACCOUNT)
    def statuses(self, call: Call) -> Answer:
        """What one address wants."""
        email = unquote(call.path["emailAddress"])
        return Answer(200, {"recipient": email, "subscriptionStatuses": [self._status(email, kind) for kind in KINDS]})

    @route("POST", f"{PREFERENCES}/subscribe", **ACCOUNT)
    def subscribe(self, call: Call) -> Answer:
        """Not for whoever has opted out; somebody unknown becomes a contact."""
        email, kind, proof = self._update(call)
        status = self.documents.kind("status").get(email, {}).get(kind, {}).get("status")
        if status == "NOT_SUBSCRIBED":
            text = f"Subscription {kind} for {email} cannot be updated because they have unsubscribed"
            raise Refusal(400, "VALIDATION_ERROR", text)
        if status == "SUBSCRIBED":
            raise Refusal(400, "VALIDATION_ERROR", f"{email} is already subscribed to subscription {kind}")
        if self.contacts.find(email, "email") is None:
            self.contacts.write(None, self.contacts.accepted(None, {"email": email}))
        self.set_status(email, kind, "SUBSCRIBED", **proof)
        return Answer(200, self._status(email, kind))

    @route("POST", f"{PREFERENCES}/unsubscribe", **ACCOUNT)
    def unsubscribe_one(self, call: Call) -> Answer:
        """From one kind of mail, known to HubSpot or not."""
        email, kind, proof = self._update(call)
        if self.documents.kind("status").get(email, {}).get(kind, {}).get("status") == "NOT_SUBSCRIBED":
            raise Refusal(400, "VALIDATION_ERROR", f"{email} is already unsubscribed from subscription {kind}")
        self.set_status(email, kind, "NOT_SUBSCRIBED", **proof)
        return Answer(200, self._status(email, kind))

    @route("GET", "/email/public/v1/events", **ACCOUNT)
    def events(self, call: Call) -> Answer:
        """What became of mails, the latest first."""
        limit, offset = _number(call, "limit", 10), _number(call, "offset", 0)
        start, end = _number(call, "startTimestamp", 0), _number(call, "endTimestamp", 1 << 60)
        kind, recipient = call.query.get("eventType"), call.query.get("recipient")
        if not 0 < limit <= EVENT_PAGE or (kind is not None and kind not in EVENT_TYPES):
            raise Refusal(400, "VALIDATION_ERROR", f"expected a limit of 1 to {EVENT_PAGE} and a known eventType")
        found = [
            one
            for one in self.documents.kind("event").values()
            if start <= one["created"] <= end and kind in (None, one["type"]) and recipient in (None, one["recipient"])
        ][::-1]
        rest = [one for one in found if not offset or int(one["id"]) < offset]
        page = rest[:limit]
        offset_after = page[-1]["id"] if page else ""
        return Answer(200, {"events": page, "hasMore": len(rest) > limit, "offset": offset_after})

    def _property(self, call: Call) -> dict[str, Any]:
        _refuse_other(call)
        found = self.contacts.properties.get(unquote(call.path["propertyName"]))
        if found is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "Property does not exist")
        return found

    def _list(self, call: Call) -> dict[str, Any]:
        found = self.documents.kind("list").get(call.path["listId"])
        if found is None:
            raise Refusal(404, "OBJECT_NOT_FOUND", "List does not exist")
        return found

    def _update(self, call: Call) -> tuple[str, str, dict[str, str]]:
        """Address, kind of mail and proof; an account with data privacy switched on wants a legal basis."""
        body = bodies.checked(call.body, bodies.STATUS, len(call.content))
        if body["subscriptionId"] not in KINDS:
            raise Refusal(400, "VALIDATION_ERROR", f"Subscription {body['subscriptionId']} does not exist")
        if not (body.get("legalBasis") and body.get("legalBasisExplanation")):
            raise Refusal(400, "VALIDATION_ERROR", "legalBasis and legalBasisExplanation are required")
        email = stored(self.contacts.properties["email"], body["emailAddress"])
        if email is None:
            raise Refusal(400, "VALIDATION_ERROR", "emailAddress is required")
        proof = {name: body[name] for name in ("legalBasis", "legalBasisExplanation")}
        return email, body["subscriptionId"], proof

    def _status(self, email: str, kind: str) -> dict[str, Any]:
        found = self.documents.kind("status").get(email.lower(), {}).get(kind, {"status": "NOT_SUBSCRIBED"})
        named = {"id": kind, "name": KINDS[kind], "description": KINDS[kind]}
        return {**named, "sourceOfStatus": "SUBSCRIPTION_STATUS", **found}


def _refuse_other(call: Call) -> None:
    if call.path.get("objectType", "contacts") not in ("contacts", "0-1"):
        raise Refusal(404, "OBJECT_NOT_FOUND", "this stand-in holds contacts alone")


def _number(call: Call, name: str, otherwise: int) -> int:
    value = call.query.get(name)
    if value is None or value == "":
        return otherwise
    if not value.isdigit():
        raise Refusal(400, "VALIDATION_ERROR", f"{name}: expected a number")
    return int(value)
