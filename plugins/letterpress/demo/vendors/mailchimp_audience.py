"""What Mailchimp's stand-in knows of one audience, and the rules by which a member becomes another."""

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import md5
from typing import Any

from letterpress.demo.vendors import mailchimp_forms as forms
from letterpress.demo.vendors.documents import Documents
from letterpress.demo.vendors.standin import Refusal

LIST_ID = "a1b2c3d4e5"
MERGE_FIELDS = 80

_ADDRESS = re.compile(r"[^@\s,;]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
_INTERNAL = ("is_final", "segments", "merge_fields")
_STANDARD = (
    ("FNAME", "First Name", "text"),
    ("LNAME", "Last Name", "text"),
    ("ADDRESS", "Address", "address"),
    ("PHONE", "Phone Number", "phone"),
)


def subscriber_hash(email: str) -> str:
    """What the vendor knows a member by: the MD5 of the address in lower case."""
    return md5(email.lower().encode(), usedforsecurity=False).hexdigest()


class MemberError(Exception):
    """Why one member is not written: an error among others in a batch, a refusal where it comes alone."""

    def __init__(self, message: str, *, title: str = "Invalid Resource", code: str = "ERROR_GENERIC", field: str = ""):
        super().__init__(message)
        self.message, self.title, self.code, self.field = message, title, code, field

    def told(self, email: str) -> dict[str, str]:
        """An error of a batch's answer."""
        if not self.field:
            return {"email_address": email, "error": f"{email} {self.message}", "error_code": self.code}
        return {
            "email_address": email,
            "error": "Your merge fields were invalid.",
            "error_code": self.code,
            "field": self.field,
            "field_message": self.message,
        }

    def refusal(self, email: str) -> Refusal:
        """The same as the answer to a request about this member alone."""
        if not self.field:
            return Refusal(400, self.title, f"{email} {self.message}")
        errors = [{"field": self.field, "message": self.message}]
        return Refusal(400, self.title, "Your merge fields were invalid.", errors=errors)


class Audience:
    """Members by their hash, merge fields by their tag, tags (which are static segments) by their number.

    ``now`` is the instant as the vendor writes it.
    """

    def __init__(self, documents: Documents, now: Callable[[], str]):
        self._now = now
        self.members, self.forgotten = documents.kind("members"), documents.kind("forgotten")
        self.fields, self.segments = documents.kind("merge_fields"), documents.kind("segments")
        self.takes_status_if_new = True
        self.overwhelmed: set[str] = set()  # addresses that were signed up too often lately, anywhere
        for tag, name, kind in _STANDARD:
            if tag not in self.fields:
                self.add_field({"tag": tag, "name": name, "type": kind})

    def shown(self, member: Mapping[str, Any]) -> dict[str, Any]:
        """A member as the API tells it: every merge field of the audience, and its tags by name."""
        tags = [{"id": number, "name": self.segments[str(number)]["name"]} for number in member["segments"]]
        return {
            **{name: value for name, value in member.items() if name not in _INTERNAL},
            "merge_fields": {tag: member["merge_fields"].get(tag, "") for tag in self.fields},
            "tags": tags,
            "tags_count": len(tags),
            "list_id": LIST_ID,
        }

    def write(
        self, given: Mapping[str, Any], *, may_update: bool, needs_required: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        """Create or update a member of a batch: whether it is new, and the member. Raises :class:`MemberError`.

        An archived member is as good as a new one, but what its person decided holds. ``needs_required`` says that
        no required merge field may be left out.
        """
        key = subscriber_hash(given["email_address"])
        self._check_address(given["email_address"])
        held = self.members.get(key)
        is_new = held is None or held["status"] == "archived"
        status = given.get("status")
        if is_new:
            if given["email_address"].lower() in self.overwhelmed:
                raise MemberError(
                    "has signed up to a lot of lists very recently; we're not allowing more signups for now"
                )
            status = (given.get("status_if_new") if self.takes_status_if_new else None) or status
            if status is None:
                raise MemberError("needs a status, because it is new")
        elif not may_update:
            raise MemberError(
                "is already a list member, do you want to update? please provide update_existing:true in the request "
                "body",
                code="ERROR_CONTACT_EXISTS",
            )
        self._check_status(held, status)
        return is_new, self._kept(held, given, status, self._merged(given, needs_required))

    def change(
        self, member: Mapping[str, Any], given: Mapping[str, Any], *, needs_required: bool = False
    ) -> dict[str, Any]:
        """Change one member, its address too. Raises :class:`MemberError`."""
        email = given.get("email_address", member["email_address"])
        key = subscriber_hash(email)
        self._check_address(email)
        if key != member["id"] and key in self.members:
            raise MemberError(
                "is already a list member. Use PUT to insert or update list members.", title="Member Exists"
            )
        self._check_status(member, given.get("status"))
        values = self._merged(given, needs_required)
        del self.members[member["id"]]
        return self._kept(member, given, given.get("status"), values)

    def set_status(self, key: str, status: str, **named: Any) -> None:
        """What the vendor itself or the member makes of a membership."""
        self.members[key] = {**self.members[key], "status": status, "last_changed": self._now(), **named}

    def forget(self, key: str) -> None:
        """Remove a member for good; the address is not taken again."""
        del self.members[key]
        self.forgotten[key] = True

    def add_field(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A new merge field."""
        number = len(self.fields) + 1
        defaults = {"required": False, "default_value": "", "public": False, "display_order": number, "help_text": ""}
        field = {"merge_id": number, **defaults, **given, "list_id": LIST_ID}
        self.fields[given["tag"]] = field
        return field

    def add_segment(self, name: str) -> dict[str, Any]:
        """A new tag without members."""
        number = len(self.segments) + 1
        instant = self._now()
        segment = {
            "id": number,
            "name": name,
            "type": "static",
            "list_id": LIST_ID,
            "created_at": instant,
            "updated_at": instant,
        }
        self.segments[str(number)] = segment
        return segment

    def counted(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        """A tag with the number of its members."""
        return {**segment, "member_count": sum(segment["id"] in one["segments"] for one in self.members.values())}

    def tag(self, number: int, emails: Iterable[str], *, adds: bool) -> tuple[list[dict[str, Any]], list[str]]:
        """Add members to a tag or take them out: those that it happened to, and the other addresses."""
        done, others = [], []
        for email in emails:
            member = self.members.get(subscriber_hash(email))
            is_there = member is not None and member["status"] != "archived"
            if not is_there or (not adds and number not in member["segments"]):
                others.append(email)
                continue
            kept = [one for one in member["segments"] if one != number]
            self.members[member["id"]] = {**member, "segments": [*kept, number] if adds else kept}
            done.append(self.members[member["id"]])
        return done, others

    def _check_address(self, email: str) -> None:
        if not _ADDRESS.fullmatch(email) or email.lower().endswith(".invalid"):
            raise MemberError("looks fake or invalid, please enter a real email address.")
        if subscriber_hash(email) in self.forgotten:
            raise MemberError(
                "was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the "
                "list.",
                title="Forgotten Email Not Subscribed",
            )

    def _check_status(self, held: Mapping[str, Any] | None, status: str | None) -> None:
        if status == "subscribed" and held is not None and held.get("is_final"):
            raise MemberError(
                "is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed.",
                title="Member In Compliance State",
            )

    def _merged(self, given: Mapping[str, Any], needs_required: bool) -> dict[str, Any]:
        values = {}
        named = given.get("merge_fields", {})
        for tag, field in self.fields.items() if needs_required else ():
            if field["required"] and named.get(tag, "") == "":
                raise MemberError("Please enter a value", field=tag)
        for tag, value in named.items():
            if tag not in self.fields:
                raise MemberError("This merge field does not exist", field=tag)
            try:
                values[tag] = forms.merged(self.fields[tag], value)
            except ValueError as error:
                raise MemberError(str(error), field=tag) from None
        return values

    def _kept(
        self,
        held: Mapping[str, Any] | None,
        given: Mapping[str, Any],
        status: str | None,
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        before = held or {"segments": [], "merge_fields": {}, "status": status, "is_final": False}
        named = {name: value for name, value in given.items() if name not in ("merge_fields", "status_if_new")}
        email = named.get("email_address", before.get("email_address"))
        member = {
            **before,
            **named,
            "id": subscriber_hash(email),
            "status": status or before["status"],
            "merge_fields": {**before["merge_fields"], **values},
            "last_changed": self._now(),
        }
        self.members[member["id"]] = member
        return member
