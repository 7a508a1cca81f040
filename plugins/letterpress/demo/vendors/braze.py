"""Braze's API as far as Letterpress uses it: profiles, subscription states, deletion, moves and exports.

A state belongs to an address, as Braze has it: whoever has the address has the state. Merges take ``job_seconds``.
What the schemas of the community's OpenAPI document leave open stands in its descriptions and in Braze's own
documentation, and is enforced here: caps, unknown fields, limits, wrong values row by row.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any

from letterpress.demo.vendors.braze_profiles import STATES, TEXTS, problem, write
from letterpress.demo.vendors.braze_requests import (
    ROWS,
    body_of,
    corrected_specification,
    emails_of,
    identifiers_of,
    list_of,
    page_of,
    pair_of,
    wrong,
)
from letterpress.demo.vendors.standin import Answer, Call, Refusal, StandIn, route

TRACKED = 75
HOURLY = ((250_000, 3_600.0),)
USERS = ((20_000, 60.0),)
IDS = ((1_000, 60.0),)
EXPORTS = ((40, 1.0), (2_500, 60.0))
EXPORTED = (*TEXTS, "external_id", "email_subscribe", "push_subscribe", "created_at", "custom_attributes")


class Braze(StandIn):
    """One workspace of Braze. ``custom_attributes`` are all that it takes, none for any (Braze's own way)."""

    name = "braze"
    specification_file = "braze/braze.json"

    def __init__(self, *given: Any, custom_attributes: Collection[str] | None = None, **settings: Any):
        if settings.get("specification") is not None:
            settings["specification"] = corrected_specification(settings["specification"])
        super().__init__(*given, **settings)
        self.custom_attributes = custom_attributes
        self.users = self.documents.kind("users")  # by primary id
        self.deprecated = self.documents.kind("deprecated")  # former ids that still lead to a user
        self.states = self.documents.kind("states")  # by address: {"state", "at"}
        self.hard_bounces = self.documents.kind("hard_bounces")  # by address: when
        self.spam = self.documents.kind("spam")
        self.merges = self.documents.kind("merges")  # those that wait, by number
        self.meter = self.documents.kind("meter")

    @property
    def data_points(self) -> int:
        """What Braze bills: every attribute that was written, changed or not."""
        return self.meter.get("data_points", 0)

    def unsubscribe(self, email: str) -> None:
        """Somebody follows the link in a mail's footer."""
        self._happen(lambda at: self._set(email, "unsubscribed", at))

    def bounce(self, email: str) -> None:
        """A mailbox is gone for good; the subscription state stays as it is."""
        self._happen(lambda at: self.hard_bounces.__setitem__(email.lower(), at))

    def complain(self, email: str) -> None:
        """Somebody marks a mail as spam: Braze unsubscribes the address; the list of complaints cannot be read."""
        self._happen(lambda at: self.spam.__setitem__(email.lower(), at))
        self.unsubscribe(email)

    def state_of(self, email: str) -> str:
        """The subscription state of an address."""
        return self.states.get(email.lower(), {"state": "subscribed"})["state"]

    def may_mail(self, email: str) -> bool:
        """Whether a campaign of the default kind reaches an address."""
        listed = email.lower() in self.hard_bounces or email.lower() in self.spam
        return self.state_of(email) != "unsubscribed" and not listed

    def authorise(self, call: Call) -> None:
        """``Authorization: Bearer …``; Braze answers a wrong key with that key in plain text."""
        self._merge_what_is_due()
        given = call.headers.get("authorization", "")
        if given != f"Bearer {self.token}":
            raise Refusal(401, "unauthorized", f"Invalid API key: {given.removeprefix('Bearer ')}")

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"message": …}``, with ``errors`` where single objects are wrong."""
        return Answer(refusal.status, {"message": refusal.message, **refusal.details}, refusal.headers)

    def throttle(self, wait: float, call: Call) -> Refusal:
        """Braze tells in a header of its own, in seconds since 1970, when the window is over."""
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(ceil(self.clock() + wait))}
        return Refusal(429, "throttled", "Your account is temporarily over its rate limit.", headers)

    @route("POST", "/users/track", limits=((3_000, 3.0),))
    def track(self, call: Call) -> Answer:
        """Write attributes; an object that is wrong is named by its index, and fails alone unless all are wrong."""
        objects = list_of(body_of(call, "attributes"), "attributes", TRACKED, "Max Input Length Exceeded")
        errors, processed = [], 0
        for index, found in enumerate(objects):
            why = problem(found, self.custom_attributes)
            if why:
                errors.append({"type": why, "input_array": "attributes", "index": index})
                continue
            processed += 1
            self._write(found)
        if not processed:
            message = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
            raise Refusal(400, "invalid", message, errors=errors)
        errors_told = {"errors": errors} if errors else {}
        return Answer(201, {"message": "success", "attributes_processed": processed, **errors_told})

    @route("POST", "/email/status", limits=HOURLY, group="account")
    def status(self, call: Call) -> Answer:
        """Set the state of addresses, also of those that no profile has yet; no list of bounces or spam is touched."""
        body = body_of(call, "email", "subscription_state")
        state = body.get("subscription_state")
        if state not in STATES:
            raise wrong(f"'subscription_state' must be one of {', '.join(STATES)}")
        for email in emails_of(body):
            self._set(email, state, self.clock())
        return Answer(201, {"message": "success"})

    @route("POST", "/email/blocklist", limits=HOURLY, group="account")
    def blocklist(self, call: Call) -> Answer:
        """Unsubscribe addresses, and put them on the list of hard bounces."""
        for email in emails_of(body_of(call, "email")):
            self._set(email, "unsubscribed", self.clock())
            self.hard_bounces.setdefault(email, self.clock())
        return Answer(201, {"message": "success"})

    @route("GET", "/email/unsubscribes", limits=HOURLY, group="account")
    def unsubscribes(self, call: Call) -> Answer:
        """Addresses that are unsubscribed, and since when."""
        found = {email: one["at"] for email, one in self.states.items() if one["state"] == "unsubscribed"}
        return page_of(call, found, "unsubscribed_at", "sort_direction")

    @route("GET", "/email/hard_bounces", limits=HOURLY, group="account")
    def bounces(self, call: Call) -> Answer:
        """Addresses that hard bounced, and when."""
        return page_of(call, self.hard_bounces, "hard_bounced_at")

    @route("POST", "/users/delete", limits=USERS, group="users")
    def delete(self, call: Call) -> Answer:
        """Delete whole profiles, also by an id that is deprecated; whom it does not know is no error."""
        asked = identifiers_of(body_of(call, "external_ids"), "external_ids")
        primaries = {one: self._primary(one) for one in asked}
        for primary in {one for one in primaries.values() if one is not None}:
            self._forget(primary)
        unknown = [one for one, primary in primaries.items() if primary is None]
        told = {"invalid_user_ids": unknown} if unknown else {}
        return Answer(201, {"deleted": len(primaries) - len(unknown), "message": "success", **told})

    @route("POST", "/users/external_ids/rename", limits=IDS)
    def rename(self, call: Call) -> Answer:
        """Give users another primary id; the former one still leads to them until it is removed."""
        names = ("current_external_id", "new_external_id")
        asked = list_of(body_of(call, "external_id_renames"), "external_id_renames", ROWS)
        done, errors = [], []
        for index, (current, new) in enumerate([pair_of(one, *names) for one in asked]):
            if current not in self.users:
                errors.append([index, "'current_external_id' is not the primary id of a user"])
            elif new in self.users or new in self.deprecated:
                errors.append([index, "'new_external_id' is in use"])
            else:
                self.users[new] = {**self.users.pop(current), "external_id": new}
                for former in [one for one, primary in self.deprecated.items() if primary == current]:
                    self.deprecated[former] = new
                self.deprecated[current] = new
                done.append(asked[index])
        return Answer(201, {"message": "success", "external_ids": done, "rename_errors": errors})

    @route("POST", "/users/external_ids/remove", limits=IDS)
    def remove(self, call: Call) -> Answer:
        """Forget deprecated ids; a primary one is an error, and so is one that leads to nobody."""
        done, errors = [], []
        for index, one in enumerate(identifiers_of(body_of(call, "external_ids"), "external_ids")):
            if one in self.deprecated:
                del self.deprecated[one]
                done.append(one)
            else:
                errors.append([index, "not a deprecated id"])
        return Answer(201, {"message": "success", "removed_ids": done, "removal_errors": errors})

    @route("POST", "/users/merge", limits=USERS, group="users")
    def merge(self, call: Call) -> Answer:
        """Queue merges of one user into another: what the other lacks is taken over, and the first one goes."""
        names = ("identifier_to_merge", "identifier_to_keep")
        most = "a single request may not contain more than 50 merge updates"
        pairs = []
        for found in list_of(body_of(call, "merge_updates"), "merge_updates", ROWS, most):
            if not isinstance(found, dict) or set(found) != set(names):
                raise wrong("'merge_updates' must only have 'identifier_to_merge' and 'identifier_to_keep'")
            pairs.append([pair_of(found[name], "external_id")[0] for name in names])
        for pair in pairs:
            number = self.meter["merges"] = self.meter.get("merges", 0) + 1
            self.merges[str(number)] = [self.clock() + self.job_seconds, *pair]
        return Answer(202, {"message": "success"})

    @route("POST", "/users/export/ids", limits=EXPORTS)
    def export(self, call: Call) -> Answer:
        """The named fields of users; what is empty is left out."""
        body = body_of(call, "external_ids", "fields_to_export")
        fields, asked = body.get("fields_to_export"), identifiers_of(body, "external_ids")
        if not isinstance(fields, list) or not fields or any(name not in EXPORTED for name in fields):
            raise wrong("'fields_to_export' must be a non-empty array of valid fields")
        primaries = {one: self._primary(one) for one in asked}
        users = [self._exported(one, fields) for one in dict.fromkeys(primaries.values()) if one is not None]
        unknown = [one for one, primary in primaries.items() if primary is None]
        told = {"invalid_user_ids": unknown} if unknown else {}
        return Answer(201, {"users": users, "message": "success", **told})

    def _happen(self, what: Callable[[float], None]) -> None:
        with self._lock:
            what(self.clock())
            self.documents.commit()

    def _set(self, email: str, state: str, at: float) -> None:
        if self.states.get(email.lower(), {}).get("state") != state:
            self.states[email.lower()] = {"state": state, "at": at}

    def _write(self, found: Mapping[str, Any]) -> None:
        key = self._primary(found["external_id"])
        if key is None and found.get("_update_existing_only"):
            return
        fresh = {"external_id": found["external_id"], "created_at": self.clock(), "custom_attributes": {}}
        profile = self.users.get(key, fresh) if key is not None else fresh
        self.meter["data_points"] = self.data_points + write(profile, found)
        self.users[profile["external_id"]] = profile
        if "email_subscribe" in found and profile.get("email"):
            self._set(profile["email"], found["email_subscribe"], self.clock())

    def _primary(self, external_id: str) -> str | None:
        return external_id if external_id in self.users else self.deprecated.get(external_id)

    def _forget(self, primary: str) -> None:
        del self.users[primary]
        for former in [one for one, user in self.deprecated.items() if user == primary]:
            del self.deprecated[former]

    def _exported(self, primary: str, fields: list[str]) -> dict[str, Any]:
        user = self.users[primary]
        state = self.state_of(user["email"]) if user.get("email") else "subscribed"
        made = datetime.fromtimestamp(user["created_at"], UTC).isoformat(timespec="milliseconds")
        whole = {**user, "email_subscribe": state, "push_subscribe": "subscribed", "created_at": made}
        return {name: whole[name] for name in fields if whole.get(name) not in (None, {})}

    def _merge_what_is_due(self) -> None:
        for number, (due, gone, kept) in list(self.merges.items()):
            if due > self.clock():
                continue
            del self.merges[number]
            source, target = self._primary(gone), self._primary(kept)
            if source is None or target is None or source == target:
                continue
            old, new = self.users[source], self.users[target]
            attributes = {**old["custom_attributes"], **new["custom_attributes"]}
            self.users[target] = {**old, **new, "custom_attributes": attributes}
            self._forget(source)


STAND_IN = Braze
