"""A Klaviyo account: its keys and errors, its people and jobs, and what people do there that no request asks for."""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import orjson

from letterpress.demo.vendors import klaviyo_bodies as bodies
from letterpress.demo.vendors import klaviyo_queries as queries
from letterpress.demo.vendors.klaviyo_jobs import Jobs
from letterpress.demo.vendors.klaviyo_people import NotTaken, People
from letterpress.demo.vendors.standin import Answer, Call, Refusal, StandIn

PROFILE_BODY = 100_000  # bytes
CONTENT_TYPES = ("application/vnd.api+json", "application/json")
TITLES = {
    400: "Invalid input.",
    401: "Incorrect authentication credentials.",
    404: "Not found.",
    409: "Conflict.",
    413: "Payload too large.",
    415: "Unsupported media type.",
    429: "Request was throttled.",
}


class Account(StandIn):
    """What the stand-in's operations share.

    ``is_double_opt_in`` is the account's setting: an opt-in that is no history waits for a click, which nobody
    makes here.
    """

    name: ClassVar[str] = "klaviyo"
    specification_file: ClassVar[str | None] = "klaviyo/klaviyo-2026-07-15.json"
    content_type: ClassVar[str] = "application/vnd.api+json"
    is_double_opt_in = False

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.people = People(self.documents, self.clock)
        self.jobs = Jobs(self.documents, self.people, self.clock)

    def answer(self, method: str, url: str, query: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """Whatever is due is done before a request is looked at."""
        with self._lock:
            self.jobs.work()
            return super().answer(method, url, query, headers, content)

    def authorise(self, call: Call) -> None:
        """A private key and a revision with every request, JSON with every body."""
        if "authorization" not in call.headers:
            raise Refusal(401, "not_authenticated", "Authentication credentials were not provided.")
        if call.headers["authorization"] != f"Klaviyo-API-Key {self.token}":
            raise Refusal(401, "authentication_failed", "Incorrect authentication credentials.")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(\.\w+)?", call.headers.get("revision", "")):
            raise Refusal(400, "invalid_revision", "The revision header is required, such as 2026-07-15.")
        if call.content and call.headers.get("content-type", "").partition(";")[0] not in CONTENT_TYPES:
            raise Refusal(415, "unsupported_media_type", "Expected application/vnd.api+json.")

    def refuse(self, refusal: Refusal) -> Answer:
        """Errors as JSON:API has them, one for each problem."""
        named = refusal.details.get("parameter")
        source = {"pointer": "/data/"} if named is None else {"parameter": named}
        problems = refusal.details.get("problems") or [(None, refusal.message)]
        errors = [
            {
                "id": str(uuid.uuid4()),
                "status": refusal.status,
                "code": refusal.code,
                "title": TITLES.get(refusal.status, "Error."),
                "detail": detail,
                "source": source if pointer is None else {"pointer": pointer},
                "links": {},
                "meta": refusal.details.get("meta", {}),
            }
            for pointer, detail in problems
        ]
        return Answer(refusal.status, {"errors": errors}, refusal.headers)

    def add_list(self, name: str) -> str:
        """A marketer makes a list; returns its id."""
        with self._lock:
            list_id = self.people.add_list(name)
            self.documents.commit()
            return list_id

    def unsubscribe(self, email: str) -> None:
        """Somebody follows the link at the end of a mail."""
        self._happened(email, "Unsubscribed from Email Marketing", lambda one: self.people.withdraw(email))

    def bounce(self, email: str) -> None:
        """A mailbox is gone for good."""
        self._happened(email, "Bounced Email", lambda one: self.people.suppress(one, "HARD_BOUNCE"))

    def complain(self, email: str) -> None:
        """Somebody calls a mail spam."""
        self._happened(email, "Marked Email as Spam", lambda one: self.people.suppress(one, "SPAM_COMPLAINT"))

    def suppress_by_hand(self, email: str) -> None:
        """A marketer suppresses somebody."""
        self._happened(email, None, lambda one: self.people.suppress(one, "USER_SUPPRESSED"))

    def deliver(self, email: str, message: str) -> bool:
        """Klaviyo sends a mail; false where the person gets none."""
        with self._lock:
            profile = self.people.find("email", email)
            if profile is not None and profile["marketing"]["suppression"]:
                return False
        self._happened(email, "Received Email", message=message)
        return True

    def open(self, email: str, message: str) -> None:
        """Somebody opens a mail."""
        self._happened(email, "Opened Email", message=message)

    def click(self, email: str, message: str, url: str = "https://shop.example.com/") -> None:
        """Somebody follows a link of a mail."""
        self._happened(email, "Clicked Email", message=message, url=url)

    def profile(self, email: str) -> dict | None:
        """The profile with an address, after everything that is due by now."""
        with self._lock:
            self.jobs.work()
            return self.people.find("email", email)

    def _happened(
        self,
        email: str,
        metric: str | None,
        change: Callable[[dict], None] = lambda profile: None,
        *,
        message: str | None = None,
        url: str | None = None,
    ) -> None:
        with self._lock:
            self.jobs.work()
            profile = self.people.find("email", email)
            if profile is None:
                raise ValueError("klaviyo: expected a profile with this address, found none; upsert it first")
            change(profile)
            if metric is not None:
                named = {"$message": message, "Subject": message, "URL": url}
                properties = {name: value for name, value in named.items() if value is not None}
                self.people.happened(profile, metric, {"Email Domain": email.rpartition("@")[2], **properties})
            self.documents.commit()

    def _upserted(self, call: Call, data: Mapping[str, Any]) -> tuple[dict, bool]:
        """One profile, written at once."""
        if len(call.content) > PROFILE_BODY:
            raise Refusal(413, "payload_too_large", f"Expected at most {PROFILE_BODY} bytes.")
        problems = list(self.people.problems(data["attributes"], "/data/attributes"))
        if problems:
            bodies.refuse(problems)
        try:
            return self.people.upsert(data, clears=True)
        except NotTaken as refused:
            status = {"duplicate_profile": 409, "not_found": 404}.get(refused.code, 400)
            pointer = f"/data/attributes/{refused.attribute}" if refused.attribute else "/data"
            bodies.refuse([(pointer, refused.detail)], refused.code, status)

    def _check_addresses(self, resources: Iterable[Mapping[str, Any]]) -> None:
        """Refuse a request for addresses that are none."""
        problems = [
            problem
            for place, one in enumerate(resources)
            for problem in self.people.problems(one["attributes"], f"/data/attributes/profiles/data/{place}/attributes")
        ]
        if problems:
            bodies.refuse(problems)

    def _wrong_instant(self, attributes: Mapping[str, Any], is_history: bool) -> str | None:
        """What is wrong with the instant of an opt-in."""
        given = (attributes["subscriptions"].get("email") or {}).get("marketing", {}).get("consented_at")
        if not is_history:
            return None if given is None else "consented_at requires historical_import."
        if given is None:
            return "consented_at is required for a historical import."
        consented_at = queries.instant(given)
        if consented_at.timestamp() > self.clock():
            return "consented_at must be in the past."
        profile = self.people.find("email", attributes.get("email"))
        marketing = profile["marketing"] if profile else {"consent": None}
        if marketing["consent"] == "UNSUBSCRIBED" and consented_at < queries.instant(marketing["consent_timestamp"]):
            return (
                f"backdated consent date [{given}] is before current unsubscription date "
                f"[{marketing['consent_timestamp']}]"
            )
        return None

    def _list(self, list_id: str) -> dict:
        found = self.people.lists.get(list_id)
        if found is None:
            raise Refusal(404, "not_found", f"A list with id {list_id} does not exist.")
        return found

    def _list_of(self, data: Mapping[str, Any]) -> str | None:
        """The list that a request names, if any."""
        related = ((data.get("relationships") or {}).get("list") or {}).get("data")
        return self._list(related["id"])["id"] if related else None

    def _profile_of(self, profile_id: str) -> dict:
        found = self.people.profiles.get(profile_id)
        if found is None:
            raise Refusal(404, "not_found", f"A profile with id {profile_id} does not exist.")
        return found

    def _job_of(self, job_id: str, kind: str) -> dict:
        found = self.jobs.jobs.get(job_id)
        if found is None or found["kind"] != kind:
            raise Refusal(404, "not_found", f"A {kind} with id {job_id} does not exist.")
        return found


def is_large(resource: Any) -> bool:
    """Whether one profile of an import is more than Klaviyo takes."""
    return len(orjson.dumps(resource)) > PROFILE_BODY
