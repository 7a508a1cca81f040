"""Mailchimp's stand-in: one audience with its members, merge fields, tags and complaints, and campaigns' activity.

What the vendor does and its documentation leaves open can be switched: ``audience.takes_status_if_new`` (a batch
heeds that field) and ``tells_of_compliance`` (a batch tells whom it does not subscribe, instead of ignoring it).
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from letterpress.demo.vendors import mailchimp_forms as forms
from letterpress.demo.vendors.mailchimp_audience import LIST_ID, MERGE_FIELDS, Audience, MemberError, subscriber_hash
from letterpress.demo.vendors.mailchimp_pages import instant, page, picked
from letterpress.demo.vendors.standin import Answer, Call, Refusal, StandIn, route

MEMBERS_A_REQUEST = 500
CONNECTIONS = 10
ROUTE_TO_LIST = "/3.0/lists/{list_id}"
ROUTE_TO_MEMBER = ROUTE_TO_LIST + "/members/{subscriber_hash}"

_TITLES = {"invalid": "Invalid Resource", "invalid_json": "JSON Parse Error", "not_found": "Resource Not Found"}
_PROBLEM = "application/problem+json; charset=utf-8"


class Mailchimp(StandIn):
    """The Marketing API 3.0, as far as a sync needs it, and what people and mailboxes do at the vendor."""

    name = "mailchimp"
    specification_file = "mailchimp/marketing-3.0.55.json"

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.audience = Audience(self.documents, self._now)
        self.tells_of_compliance = True
        self.most_open = self._open = 0  # requests at the same time

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Refuse the eleventh request that comes while ten are open."""
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            if self.has_limits and self._open > CONNECTIONS:
                self.calls.append((scope["method"], scope["path"], 429))
                await self._refuse_connection(send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._open -= 1

    def authorise(self, call: Call) -> None:
        """HTTP basic with any name, or a bearer token."""
        kind, _, secret = call.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                secret = base64.b64decode(secret).decode().partition(":")[2]
            except ValueError:
                secret = ""
        if kind.lower() not in ("basic", "bearer") or secret != self.token:
            detail = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
            raise Refusal(401, "API Key Invalid", detail)

    def refuse(self, refusal: Refusal) -> Answer:
        """A problem document (RFC 7807), with the fields that are wrong where there are some."""
        body = {
            "type": "https://mailchimp.com/developer/marketing/docs/errors/",
            "title": _TITLES.get(refusal.code, refusal.code),
            "status": refusal.status,
            "detail": refusal.message,
            "instance": "",
            **refusal.details,
        }
        return Answer(refusal.status, body, {**refusal.headers, "content-type": _PROBLEM})

    # What people, mailboxes and marketers do there.

    def member(self, email: str) -> dict[str, Any] | None:
        """A member as the API tells it, whatever its status; none where there is none."""
        found = self.audience.members.get(subscriber_hash(email))
        return None if found is None else self.audience.shown(found)

    def unsubscribe(self, email: str) -> None:
        """Somebody follows the link in a mail: nobody but this person can undo it."""
        key = subscriber_hash(email)
        self.audience.set_status(key, "unsubscribed", is_final=True, unsubscribe_reason="No longer interested")
        self.documents.commit()

    def bounce(self, email: str, campaign_id: str = "campaign") -> None:
        """A mailbox does not exist: the address is cleaned."""
        self.audience.set_status(subscriber_hash(email), "cleaned", is_final=True)
        self._act(email, campaign_id, {"action": "bounce", "type": "hard"})

    def complain(self, email: str, campaign_id: str = "campaign") -> None:
        """Somebody reports a mail as spam."""
        key, reports = subscriber_hash(email), self.documents.kind("abuse_reports")
        self.audience.set_status(key, "unsubscribed", is_final=True, unsubscribe_reason="Reported as spam")
        reports[str(len(reports) + 1)] = {
            "id": len(reports) + 1,
            "campaign_id": campaign_id,
            "list_id": LIST_ID,
            "email_id": key,
            "email_address": self.audience.members[key]["email_address"],
            "merge_fields": self.audience.shown(self.audience.members[key])["merge_fields"],
            "date": self._now(),
        }
        self.documents.commit()

    def open(self, email: str, campaign_id: str = "campaign") -> None:
        """Somebody opens a campaign's mail."""
        self._act(email, campaign_id, {"action": "open"})

    def click(self, email: str, url: str, campaign_id: str = "campaign") -> None:
        """Somebody follows a link of a campaign's mail."""
        self._act(email, campaign_id, {"action": "click", "url": url})

    def add_tag(self, name: str) -> str:
        """A marketer makes a tag, which is a static segment; its id."""
        number = self.audience.add_segment(name)["id"]
        self.documents.commit()
        return str(number)

    def tagged(self, segment_id: str) -> set[str]:
        """The addresses of a tag's members."""
        members = self.audience.members.values()
        return {one["email_address"] for one in members if int(segment_id) in one["segments"]}

    # The API.

    @route("GET", "/3.0/ping")
    def _ping(self, call: Call) -> Answer:
        return Answer(200, {"health_status": "Everything's Chimpy!"})

    @route("POST", ROUTE_TO_LIST)
    def _write_members(self, call: Call) -> Answer:
        self._check_list(call)
        query = forms.checked_query(call.query, forms.BATCH_QUERY)
        body = forms.checked(call.body, forms.BATCH, ("members",))
        members = body["members"]
        if len(members) > MEMBERS_A_REQUEST:
            raise forms.invalid(("members", f"A batch holds at most {MEMBERS_A_REQUEST} members"))
        for number, given in enumerate(members):
            if "email_address" not in given:
                raise forms.invalid((f"members.item:{number}", "Required fields were not provided: email_address"))
        rules = {
            "may_update": body.get("update_existing", False),
            "needs_required": not query.get("skip_merge_validation", False),
        }
        new, updated, errors, seen = [], [], [], set()
        for given in members:
            email = given["email_address"]
            is_again = email.lower() in seen
            seen.add(email.lower())
            if is_again and query.get("skip_duplicate_check"):
                continue
            try:
                if is_again:
                    raise MemberError("stands in this request more than once")
                is_new, member = self.audience.write(given, **rules)
                (new if is_new else updated).append(member)
            except MemberError as error:
                if self.tells_of_compliance or error.title != "Member In Compliance State":
                    errors.append(error.told(email))
        return Answer(
            200,
            {
                "new_members": [self.audience.shown(one) for one in new],
                "updated_members": [self.audience.shown(one) for one in updated],
                "errors": errors,
                "total_created": len(new),
                "total_updated": len(updated),
                "error_count": len(errors),
            },
        )

    @route("GET", ROUTE_TO_LIST + "/members")
    def _list_members(self, call: Call) -> Answer:
        self._check_list(call)
        query = forms.checked_query(call.query, forms.MEMBERS_QUERY)
        status = query.get("status")
        found = [
            one
            for one in self.audience.members.values()
            if (one["status"] == status if status else one["status"] != "archived")
            and ("since_last_changed" not in query or instant(one["last_changed"]) > query["since_last_changed"])
            and ("before_last_changed" not in query or instant(one["last_changed"]) < query["before_last_changed"])
        ]
        if "sort_field" in query:
            found.sort(key=lambda one: one.get(query["sort_field"], ""), reverse=query.get("sort_dir") == "DESC")
        return Answer(200, page(query, "members", found, self.audience.shown))

    @route("GET", ROUTE_TO_MEMBER)
    def _get_member(self, call: Call) -> Answer:
        query = forms.checked_query(call.query, forms.FIELDS)
        return Answer(200, picked(self.audience.shown(self._member(call)), query))

    @route("PATCH", ROUTE_TO_MEMBER)
    def _change_member(self, call: Call) -> Answer:
        query = forms.checked_query(call.query, forms.MEMBER_QUERY)
        needs_required = not query.get("skip_merge_validation", False)
        member, given = self._member(call), forms.checked(call.body, forms.CHANGED_MEMBER)
        try:
            return Answer(200, self.audience.shown(self.audience.change(member, given, needs_required=needs_required)))
        except MemberError as error:
            raise error.refusal(given.get("email_address", member["email_address"])) from None

    @route("DELETE", ROUTE_TO_MEMBER)
    def _archive_member(self, call: Call) -> Answer:
        member = self._member(call)
        if member["status"] in ("archived", "cleaned", "pending"):
            reason = "Can not archive a contact that is bounced, pending or archived"
            raise Refusal(405, "Method Not Allowed", f"This list member cannot be removed. {reason}")
        self.audience.set_status(member["id"], "archived")
        return Answer(204)

    @route("POST", ROUTE_TO_MEMBER + "/actions/delete-permanent")
    def _forget_member(self, call: Call) -> Answer:
        self.audience.forget(self._member(call)["id"])
        return Answer(204)

    @route("GET", ROUTE_TO_LIST + "/merge-fields")
    def _list_merge_fields(self, call: Call) -> Answer:
        self._check_list(call)
        query = forms.checked_query(call.query, forms.PAGES)
        return Answer(200, page(query, "merge_fields", list(self.audience.fields.values()), dict))

    @route("POST", ROUTE_TO_LIST + "/merge-fields")
    def _add_merge_field(self, call: Call) -> Answer:
        self._check_list(call)
        given = forms.checked(call.body, forms.MERGE_FIELD, ("name", "type"))
        tag = given.get("tag", f"MMERGE{len(self.audience.fields) + 1}")
        if not forms.MERGE_TAG.fullmatch(tag):
            raise forms.invalid(("tag", "A tag has at most 10 capital letters, digits and underscores"))
        if tag in self.audience.fields:
            raise Refusal(400, "Invalid Resource", f'A Merge Field with the tag "{tag}" already exists for this list.')
        if len(self.audience.fields) >= MERGE_FIELDS:
            raise Refusal(400, "Invalid Resource", f"A list has at most {MERGE_FIELDS} merge fields.")
        return Answer(200, self.audience.add_field({**given, "tag": tag}))

    @route("GET", ROUTE_TO_LIST + "/segments")
    def _list_segments(self, call: Call) -> Answer:
        self._check_list(call)
        query = forms.checked_query(call.query, forms.SEGMENTS_QUERY)
        found = [one for one in self.audience.segments.values() if query.get("type") in (None, one["type"])]
        return Answer(200, page(query, "segments", found, self.audience.counted))

    @route("POST", ROUTE_TO_LIST + "/segments/{segment_id}")
    def _change_segment(self, call: Call) -> Answer:
        number = self._segment(call)
        given = forms.checked(call.body, forms.SEGMENT_CHANGES)
        for name, emails in given.items():
            if len(emails) > MEMBERS_A_REQUEST:
                raise forms.invalid((name, f"At most {MEMBERS_A_REQUEST} addresses"))
        added, strangers = self.audience.tag(number, given.get("members_to_add", ()), adds=True)
        removed, others = self.audience.tag(number, given.get("members_to_remove", ()), adds=False)
        errors = [
            {"email_addresses": emails, "error": text}
            for emails, text in (
                (strangers, "Email addresses are not on this list"),
                (others, "Email addresses are not members of this segment"),
            )
            if emails
        ]
        return Answer(
            200,
            {
                "members_added": [self.audience.shown(one) for one in added],
                "members_removed": [self.audience.shown(one) for one in removed],
                "errors": errors,
                "total_added": len(added),
                "total_removed": len(removed),
                "error_count": len(errors),
            },
        )

    @route("DELETE", ROUTE_TO_LIST + "/segments/{segment_id}/members/{subscriber_hash}")
    def _leave_segment(self, call: Call) -> Answer:
        number, member = self._segment(call), self._member(call)
        if not self.audience.tag(number, [member["email_address"]], adds=False)[0]:
            raise _missing()
        return Answer(204)

    @route("GET", ROUTE_TO_LIST + "/abuse-reports")
    def _list_abuse_reports(self, call: Call) -> Answer:
        self._check_list(call)
        query = forms.checked_query(call.query, forms.PAGES)
        return Answer(200, page(query, "abuse_reports", list(self.documents.kind("abuse_reports").values()), dict))

    @route("GET", "/3.0/reports/{campaign_id}/email-activity")
    def _list_activity(self, call: Call) -> Answer:
        query = forms.checked_query(call.query, forms.ACTIVITY_QUERY)
        campaign = call.path["campaign_id"]
        people = self.documents.kind("activity").get(campaign)
        if people is None:
            raise _missing()
        since = query.get("since", datetime.min.replace(tzinfo=UTC))
        found = [
            {**one, "activity": [done for done in one["activity"] if instant(done["timestamp"]) > since]}
            for one in people.values()
        ]
        return Answer(200, {**page(query, "emails", found, dict), "campaign_id": campaign})

    def _now(self) -> str:
        return datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")

    def _check_list(self, call: Call) -> None:
        if call.path["list_id"] != LIST_ID:
            raise _missing()

    def _member(self, call: Call) -> dict[str, Any]:
        """The member of a path, which names it by its hash or by its address."""
        self._check_list(call)
        named = call.path["subscriber_hash"]
        key = subscriber_hash(named) if "@" in named else named
        if key not in self.audience.members:
            raise _missing()
        return self.audience.members[key]

    def _segment(self, call: Call) -> int:
        self._check_list(call)
        if call.path["segment_id"] not in self.audience.segments:
            raise _missing()
        return int(call.path["segment_id"])

    def _act(self, email: str, campaign_id: str, action: Mapping[str, str]) -> None:
        campaigns = self.documents.kind("activity")
        people = campaigns.get(campaign_id, {})
        key = subscriber_hash(email)
        before = people.get(key, {}).get("activity", [])
        people[key] = {
            "campaign_id": campaign_id,
            "list_id": LIST_ID,
            "list_is_active": True,
            "email_id": key,
            "email_address": email,
            "activity": [*before, {**action, "timestamp": self._now()}],
        }
        campaigns[campaign_id] = people
        self.documents.commit()

    async def _refuse_connection(self, send: Any) -> None:
        refusal = Refusal(
            429, "Too Many Requests", f"You have exceeded the limit of {CONNECTIONS} simultaneous connections."
        )
        content = orjson.dumps(self.refuse(refusal).body)
        headers = [(b"content-type", _PROBLEM.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _missing() -> Refusal:
    return Refusal(404, "Resource Not Found", "The requested resource could not be found.")


STAND_IN = Mailchimp
