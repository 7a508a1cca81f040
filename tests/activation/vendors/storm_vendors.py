"""What a destination's stand-in holds, looked at from inside: every profile, and whether mail reaches it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from activation_line import Person

SUBSCRIPTION = "101"  # HubSpot's kind of mail, as destinations.yml names it


class Profile(NamedTuple):
    """One profile; ``lists`` is none where the destination has no lists of its own."""

    external_id: str | None
    email: str | None
    is_reachable: bool
    lists: frozenset[str] | None = None


def _local_esp(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    found, _ = line.app.state.profiles.page(after="", size=10_000)
    for one in found:
        yield Profile(one["external_id"], one["email"], not one["suppressed"])


def _klaviyo(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    line.app.profile("nobody@example.com")  # carries out what is due
    for one in line.app.people.profiles.values():
        marketing = one["marketing"]
        is_reachable = not marketing["suppression"] and marketing["consent"] != "UNSUBSCRIBED"
        yield Profile(one["external_id"], one["email"], is_reachable, frozenset(one["lists"]))


def _mailchimp(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    for one in line.app.audience.members.values():
        if one["status"] != "archived":
            tags = frozenset(str(number) for number in one["segments"])
            name = one["merge_fields"].get("CUSTOMERID") or None
            yield Profile(name, one["email_address"], one["status"] == "subscribed", tags)


def _hubspot(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    list_id = line.destination.lists["champions"]
    members = line.app.members(list_id)
    for one in line.app.contacts:
        values = one["values"]
        status = line.app.status(values.get("email") or "", SUBSCRIPTION)
        is_reachable = status != "NOT_SUBSCRIBED" and values.get("hs_email_optout") != "true"
        lists = frozenset([list_id] if one["id"] in members else [])
        yield Profile(values.get("letterpress_id"), values.get("email"), is_reachable, lists)


def _braze(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    for one in line.app.users.values():
        email = one.get("email")
        yield Profile(one["external_id"], email, email is not None and line.app.may_mail(email))


def _salesforce(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    options, list_id = line.destination.checked_options(), line.destination.lists["champions"]
    stopped = {one["ContactKey"] for one in line.app.rows(options.suppression_extension) if one["IsSuppressed"]}
    members = {one["ContactKey"] for one in line.app.rows(list_id) if one.get("IsMember", True)}
    for one in line.app.rows(options.data_extension):
        if one["IsActive"]:
            key = one["ContactKey"]
            lists = frozenset([list_id] if key in members else [])
            yield Profile(key, one["EmailAddress"], key not in stopped, lists)


def _as_read(line: Any, people: Iterable[Person]) -> Iterator[Profile]:
    for one in line.held(*people).values():
        yield Profile(one.customer_id, one.email, not one.is_suppressed, one.lists)


_EVERYONE: dict[str, Callable[[Any, Iterable[Person]], Iterator[Profile]]] = {
    "local_esp": _local_esp,
    "klaviyo": _klaviyo,
    "mailchimp": _mailchimp,
    "hubspot": _hubspot,
    "braze": _braze,
    "salesforce": _salesforce,
}

# After whose refusal a vendor takes no opt-in of ours: only the person lifts it there.
NEVER_LIFTS = {
    "hubspot": frozenset({"us", "vendor"}),
    "mailchimp": frozenset({"vendor"}),
    "salesforce": frozenset({"vendor"}),
}


def everyone(line: Any, people: Iterable[Person]) -> list[Profile]:
    """Every profile that is there; what cannot be looked into is asked for ``people``, who are all that ever were."""
    return list(_EVERYONE.get(line.destination.module, _as_read)(line, people))
