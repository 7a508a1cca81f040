"""The people of a Klaviyo account: profiles and their identifiers, consent, lists, and what happens to a mail."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from letterpress.demo.vendors.documents import Documents
from letterpress.demo.vendors.klaviyo_bodies import ADDRESS, Problem
from letterpress.demo.vendors.limits import Clock

IDENTIFIERS = ("external_id", "email", "phone_number")
TEXTS = ("email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title", "image")
LIFTED = ("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED")  # what a new opt-in removes; a dead mailbox stays dead
METRICS = (
    "Received Email",
    "Opened Email",
    "Clicked Email",
    "Bounced Email",
    "Marked Email as Spam",
    "Unsubscribed from Email Marketing",
)
_PHONE = re.compile(r"\+[1-9]\d{6,14}")


class NotTaken(Exception):
    """A profile that cannot be written: code, the attribute at fault, and the reason."""

    def __init__(self, code: str, attribute: str, detail: str):
        super().__init__(detail)
        self.code, self.attribute, self.detail = code, attribute, detail


class People:
    """Profiles by Klaviyo's ids, found by their identifiers; every change is kept in the documents."""

    def __init__(self, documents: Documents, clock: Clock):
        self._documents, self._clock = documents, clock
        self.profiles, self.lists = documents.kind("profile"), documents.kind("list")
        self.events, self.metrics = documents.kind("event"), documents.kind("metric")
        self._by: dict[str, dict[str, str]] = {name: {} for name in IDENTIFIERS}
        for profile in self.profiles.values():
            self._note(profile)
        for name in METRICS:
            if name not in self.metrics:
                self.metrics[name] = {"id": self._next_id("M", 6), "name": name, "created": self.now()}

    def now(self) -> str:
        """This instant as Klaviyo writes it."""
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")

    def find(self, name: str, value: str | None) -> dict | None:
        """The profile with an identifier; addresses in any case."""
        if value is None:
            return None
        return self.profiles.get(self._by[name].get(_key(name, value), ""))

    def problems(self, attributes: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
        """What a request is refused for at once: addresses and numbers that are none."""
        email = attributes.get("email")
        if isinstance(email, str) and not ADDRESS.fullmatch(email):
            yield f"{pointer}/email", f"Invalid email address: {email}"
        phone = attributes.get("phone_number")
        if isinstance(phone, str) and not _PHONE.fullmatch(phone):
            yield f"{pointer}/phone_number", f"Invalid phone number format: {phone}"

    def upsert(self, resource: Mapping[str, Any], *, clears: bool) -> tuple[dict, bool]:
        """The profile that was made or changed, and whether it is new; raises :class:`NotTaken`.

        ``clears`` says that null empties a field; an import leaves it as it is.
        """
        attributes = resource["attributes"]
        self._refuse(resource, attributes)
        matches = {found["id"]: found for name in IDENTIFIERS if (found := self.find(name, attributes.get(name)))}
        if resource.get("id") is not None:
            matches[resource["id"]] = self.profiles[resource["id"]]
        if len(matches) > 1:
            other = list(matches.values())[-1]
            raise NotTaken("duplicate_profile", "email", f"The identifiers are two profiles': {other['email']}")
        profile = next(iter(matches.values()), None)
        is_new = profile is None
        if profile is None:
            profile = self._made()
        self._write(profile, attributes, clears=clears)
        self._patch(profile, (resource.get("meta") or {}).get("patch_properties") or {})
        self._keep(profile)
        return profile, is_new

    def subscribe(self, attributes: Mapping[str, Any], *, source: str | None, list_id: str | None) -> None:
        """Record an opt-in, which lifts what a person or a marketer had stopped."""
        marketing = attributes["subscriptions"].get("email", {}).get("marketing")
        profile = self.find("email", attributes.get("email")) or self._made(attributes)
        if marketing is not None:
            kept = [one for one in profile["marketing"]["suppression"] if one["reason"] not in LIFTED]
            profile["marketing"] |= {
                "consent": "SUBSCRIBED",
                "consent_timestamp": marketing.get("consented_at") or self.now(),
                "last_updated": self.now(),
                "method": "API",
                "custom_method_detail": source,
                "suppression": kept,
            }
        if list_id is not None and list_id not in profile["lists"]:
            profile["lists"].append(list_id)
        self._keep(profile)

    def withdraw(self, email: str, list_id: str | None = None) -> None:
        """Record an opt-out: of a list for who is on it, else of everything."""
        profile = self.find("email", email) or self._made({"email": email})
        if list_id is not None and list_id in profile["lists"]:
            profile["lists"].remove(list_id)
            entry = {"list_id": list_id, "reason": "UNSUBSCRIBE", "timestamp": self.now()}
            profile["marketing"]["list_suppressions"].append(entry)
        else:
            now = self.now()
            profile["marketing"] |= {"consent": "UNSUBSCRIBED", "consent_timestamp": now, "last_updated": now}
            self.suppress(profile, "UNSUBSCRIBE")
        self._keep(profile)

    def suppress(self, profile: dict, reason: str) -> None:
        """No more mail, for a reason; the same reason counts once."""
        if all(one["reason"] != reason for one in profile["marketing"]["suppression"]):
            profile["marketing"]["suppression"].append({"reason": reason, "timestamp": self.now()})
            self._keep(profile)

    def suppress_address(self, email: str) -> None:
        """What a suppression job does, also to an address that had no profile."""
        self.suppress(self.find("email", email) or self._made({"email": email}), "USER_SUPPRESSED")

    def relate(self, profile_ids: Iterable[str], list_id: str, *, is_member: bool) -> None:
        """Into a list, or out of it; consent stays as it is."""
        for profile_id in profile_ids:
            profile = self.profiles[profile_id]
            if is_member and list_id not in profile["lists"]:
                profile["lists"].append(list_id)
            elif not is_member and list_id in profile["lists"]:
                profile["lists"].remove(list_id)
            self._keep(profile)

    def erase(self, profile_id: str) -> None:
        """Forget a profile and everything that happened to it."""
        profile = self.profiles.pop(profile_id, None)
        if profile is None:
            return
        self._forget(profile)
        for event_id in [name for name, event in self.events.items() if event["profile"] == profile_id]:
            del self.events[event_id]

    def merge(self, source_id: str, destination_id: str) -> None:
        """The destination keeps what it has and gets what it lacks; the source is gone."""
        source, destination = self.profiles.get(source_id), self.profiles.get(destination_id)
        if source is None or destination is None:
            return
        self._forget(source)
        del self.profiles[source_id]
        for name in TEXTS:
            destination[name] = destination[name] or source[name]
        for name in ("location", "properties"):
            destination[name] = {**source[name], **destination[name]}
        destination["lists"] = sorted({*destination["lists"], *source["lists"]})
        for one in source["marketing"]["suppression"]:
            self.suppress(destination, one["reason"])
        for event_id, event in self.events.items():
            if event["profile"] == source_id:
                self.events[event_id] = {**event, "profile": destination_id}
        self._keep(destination)

    def happened(self, profile: dict, metric: str, properties: Mapping[str, Any]) -> None:
        """Something happened to a person: an event of a metric."""
        event_id, now = self._next_id("E", 11), self.now()
        self.events[event_id] = {
            "id": event_id,
            "metric": metric,
            "profile": profile["id"],
            "datetime": now,
            "properties": properties,
        }
        profile["last_event_date"] = now
        self._keep(profile)

    def add_list(self, name: str) -> str:
        """A new list's id."""
        list_id = self._next_id("L", 6)
        self.lists[list_id] = {"id": list_id, "name": name, "created": self.now()}
        return list_id

    def _refuse(self, resource: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Raise :class:`NotTaken` for what a profile by itself is not taken for."""
        if resource.get("id") is not None and resource["id"] not in self.profiles:
            raise NotTaken("not_found", "", f"A profile with id {resource['id']} does not exist.")
        if resource.get("id") is None and all(not attributes.get(name) for name in IDENTIFIERS):
            raise NotTaken("invalid", "", "At least one of email, phone_number and external_id is required.")
        email = attributes.get("email")
        if email is not None and (len(email) > 100 or "." not in email.rpartition("@")[2]):
            raise NotTaken("invalid", "email", f"Invalid email address: {email}")
        if (resource.get("meta") or {}).get("patch_identifiers") is not None:
            raise NotTaken("invalid", "", "Several addresses of one profile are not enabled for this account.")

    def _write(self, profile: dict, attributes: Mapping[str, Any], *, clears: bool) -> None:
        self._forget(profile)
        for name, value in attributes.items():
            if name in ("location", "properties"):
                for key, part in (value or {}).items():
                    if part is not None:
                        profile[name][key] = part
                    elif clears:
                        profile[name].pop(key, None)
                if value is None and clears:
                    profile[name] = {}
            elif name in TEXTS and (value is not None or clears):
                profile[name] = value
        profile["updated"] = self.now()
        self._note(profile)

    @staticmethod
    def _patch(profile: dict, patch: Mapping[str, Any]) -> None:
        unset = patch.get("unset") or []
        for name in [unset] if isinstance(unset, str) else unset:
            profile["properties"].pop(name, None)
        for name, value in (patch.get("append") or {}).items():
            had = profile["properties"].get(name, [])
            added = value if isinstance(value, list) else [value]
            profile["properties"][name] = [*(had if isinstance(had, list) else [had]), *added]
        for name, value in (patch.get("unappend") or {}).items():
            gone = value if isinstance(value, list) else [value]
            had = profile["properties"].get(name, [])
            profile["properties"][name] = [one for one in (had if isinstance(had, list) else [had]) if one not in gone]

    def _made(self, attributes: Mapping[str, Any] | None = None) -> dict:
        profile = {
            **dict.fromkeys(TEXTS),
            "id": self._next_id("01", 26),
            "location": {},
            "properties": {},
            "created": self.now(),
            "updated": self.now(),
            "last_event_date": None,
            "lists": [],
            "marketing": {
                "consent": "NEVER_SUBSCRIBED",
                "consent_timestamp": None,
                "last_updated": None,
                "method": None,
                "custom_method_detail": None,
                "suppression": [],
                "list_suppressions": [],
            },
        }
        for name in ("email", "phone_number"):
            profile[name] = (attributes or {}).get(name)
        return profile

    def _keep(self, profile: dict) -> None:
        self.profiles[profile["id"]] = profile
        self._note(profile)

    def _note(self, profile: Mapping[str, Any]) -> None:
        for name in IDENTIFIERS:
            if profile[name]:
                self._by[name][_key(name, profile[name])] = profile["id"]

    def _forget(self, profile: Mapping[str, Any]) -> None:
        for name in IDENTIFIERS:
            if profile[name] and self._by[name].get(_key(name, profile[name])) == profile["id"]:
                del self._by[name][_key(name, profile[name])]

    def _next_id(self, prefix: str, length: int) -> str:
        numbers = self._documents.kind("number")
        numbers["last"] = numbers.get("last", 0) + 1
        return prefix + f"{numbers['last']:X}".rjust(length - len(prefix), "0")


def _key(name: str, value: str) -> str:
    return value.lower() if name == "email" else value
