"""A stand-in for Klaviyo (revision 2026-07-15): what the destination calls, strictly, and events to read back."""

from functools import partial
from typing import Any

from letterpress.demo.vendors import klaviyo_bodies as bodies
from letterpress.demo.vendors import klaviyo_queries as queries
from letterpress.demo.vendors import klaviyo_views as views
from letterpress.demo.vendors.klaviyo_account import Account, is_large
from letterpress.demo.vendors.klaviyo_jobs import IMPORT, SUPPRESS
from letterpress.demo.vendors.standin import Answer, Call, Refusal, route

BODY = 5_000_000  # bytes
SLOW = ((10, 1.0), (150, 60.0))
FAST = ((75, 1.0), (750, 60.0))
EVENTS = ((350, 1.0), (3_500, 60.0))
ERASURES = ((3, 1.0), (60, 60.0))


class Klaviyo(Account):
    """Profiles, lists, consent, erasure and events; jobs take ``job_seconds`` and report row by row."""

    @route("POST", "/api/profile-bulk-import-jobs", limits=SLOW)
    def import_profiles(self, call: Call) -> Answer:
        """Queue profiles; addresses and numbers that are none refuse all of them."""
        if len(call.content) > BODY:
            raise Refusal(413, "payload_too_large", f"Expected at most {BODY} bytes.")
        data = bodies.check(call.body, bodies.IMPORT)
        resources = data["attributes"]["profiles"]["data"]
        pointer = "/data/attributes/profiles/data"
        problems = [
            (f"{pointer}/{place}", "Payload too large.") for place, one in enumerate(resources) if is_large(one)
        ]
        for place, one in enumerate(resources):
            problems += self.people.problems(one["attributes"], f"{pointer}/{place}/attributes")
        if problems:
            bodies.refuse(problems)
        related = ((data.get("relationships") or {}).get("lists") or {}).get("data") or []
        lists = [self._list(one["id"])["id"] for one in related]
        return self._queued(call, self.jobs.add(IMPORT, resources, len(resources), self.job_seconds, lists=lists))

    @route("GET", "/api/profile-bulk-import-jobs", limits=SLOW)
    def imports(self, call: Call) -> Answer:
        """Import jobs, by status."""
        found = [job for job in self.jobs.jobs.values() if job["kind"] == IMPORT]
        found = queries.chosen(call, found, {"status": (queries.CHOICE, self.jobs.status)})
        found = queries.ordered(call, found, {"created_at": lambda job: job["created"]})
        return views.collection(call, found, partial(self._job, call))

    @route("GET", "/api/profile-bulk-import-jobs/{job_id}", limits=SLOW)
    def import_job(self, call: Call) -> Answer:
        """One import job."""
        return views.one(call, self._job(call, self._job_of(call.path["job_id"], IMPORT)))

    @route("GET", "/api/profile-bulk-import-jobs/{id}/import-errors", limits=SLOW)
    def import_errors(self, call: Call) -> Answer:
        """Who was not imported, and why."""
        job = self._job_of(call.path["id"], IMPORT)
        errors = [
            {"type": "import-error", "id": f"{job['id']}-{place}", "attributes": error}
            for place, error in enumerate(job["errors"])
        ]
        return views.collection(call, errors, lambda error: error)

    @route("POST", "/api/profile-suppression-bulk-create-jobs", limits=FAST)
    def suppress(self, call: Call) -> Answer:
        """Queue suppressions, of addresses or of everybody on a list."""
        data = bodies.check(call.body, bodies.SUPPRESS)
        resources = (data["attributes"].get("profiles") or {}).get("data") or []
        self._check_addresses(resources)
        emails = [one["attributes"]["email"] for one in resources]
        relations = data.get("relationships") or {}
        if (relations.get("segment") or {}).get("data"):
            raise Refusal(404, "not_found", "A segment with this id does not exist.")
        if (relations.get("list") or {}).get("data"):
            list_id = self._list(relations["list"]["data"]["id"])["id"]
            emails += [
                one["email"] for one in self.people.profiles.values() if list_id in one["lists"] and one["email"]
            ]
        elif not resources:
            raise Refusal(400, "invalid", "Expected profiles, a list or a segment.")
        return self._queued(call, self.jobs.add(SUPPRESS, emails, len(emails), self.job_seconds))

    @route("GET", "/api/profile-suppression-bulk-create-jobs/{job_id}", limits=FAST)
    def suppression_job(self, call: Call) -> Answer:
        """One suppression job: how far it is, and no word on single people."""
        return views.one(call, self._job(call, self._job_of(call.path["job_id"], SUPPRESS)))

    @route("POST", "/api/profile-subscription-bulk-create-jobs", limits=FAST)
    def subscribe(self, call: Call) -> Answer:
        """Queue opt-ins; those of history say when, and not before the last withdrawal."""
        data = bodies.check(call.body, bodies.SUBSCRIBE)
        attributes = data["attributes"]
        resources = attributes["profiles"]["data"]
        self._check_addresses(resources)
        is_history = attributes.get("historical_import") or False
        problems = [
            (f"/data/attributes/profiles/data/{place}/attributes/subscriptions/email/marketing/consented_at", wrong)
            for place, one in enumerate(resources)
            if (wrong := self._wrong_instant(one["attributes"], is_history))
        ]
        if problems:
            bodies.refuse(problems)
        list_id = self._list_of(data)
        work = [
            {"attributes": one["attributes"], "source": attributes.get("custom_source"), "list": list_id}
            for one in resources
            if is_history or not self.is_double_opt_in
        ]
        self.jobs.add("subscribe", work, len(work), self.job_seconds)
        return Answer(202)

    @route("POST", "/api/profile-subscription-bulk-delete-jobs", limits=FAST)
    def unsubscribe_profiles(self, call: Call) -> Answer:
        """Queue withdrawals: of the named list for its members, of everything for all others."""
        data = bodies.check(call.body, bodies.UNSUBSCRIBE)
        resources = data["attributes"]["profiles"]["data"]
        self._check_addresses(resources)
        list_id = self._list_of(data)
        work = [
            [one["attributes"]["email"], list_id]
            for one in resources
            if one["attributes"].get("email") and "marketing" in one["attributes"]["subscriptions"].get("email", {})
        ]
        self.jobs.add("unsubscribe", work, len(work), self.job_seconds)
        return Answer(202)

    @route("GET", "/api/lists/{id}", limits=FAST)
    def list_of(self, call: Call) -> Answer:
        """One list."""
        found = self._list(call.path["id"])
        extra = queries.names(call, "additional-fields[list]", ("profile_count",)) or set()
        count = sum(found["id"] in one["lists"] for one in self.people.profiles.values())
        attributes = {
            "name": found["name"],
            "created": found["created"],
            "updated": found["created"],
            "opt_in_process": "single_opt_in",
            **({"profile_count": count} if extra else {}),
        }
        return views.one(call, views.resource(call, "list", found["id"], attributes))

    @route("GET", "/api/lists/{id}/relationships/profiles", limits=FAST)
    def members(self, call: Call) -> Answer:
        """Who is on a list."""
        list_id = self._list(call.path["id"])["id"]
        found = [one for one in self.people.profiles.values() if list_id in one["lists"]]
        fields = {name: (queries.CHOICE, lambda one, name=name: one[name]) for name in ("email", "phone_number")}
        found = queries.ordered(call, queries.chosen(call, found, fields), {"joined_group_at": lambda one: one["id"]})
        return views.collection(call, found, lambda one: {"type": "profile", "id": one["id"]})

    @route("POST", "/api/lists/{id}/relationships/profiles", limits=SLOW)
    def join(self, call: Call) -> Answer:
        """Into a list, whatever the consent is."""
        return self._relate(call, is_member=True)

    @route("DELETE", "/api/lists/{id}/relationships/profiles", limits=SLOW)
    def leave(self, call: Call) -> Answer:
        """Out of a list; consent stays."""
        return self._relate(call, is_member=False)

    @route("POST", "/api/data-privacy-deletion-jobs", limits=ERASURES)
    def erase(self, call: Call) -> Answer:
        """Queue an erasure by exactly one identifier; nobody hears whether there was anybody."""
        resource = bodies.check(call.body, bodies.ERASE)["attributes"]["profile"]["data"]
        given = {"id": resource.get("id"), **resource["attributes"]}
        named = {name: value for name, value in given.items() if value is not None}
        if len(named) != 1:
            raise Refusal(400, "invalid", "Exactly one identifier is required: id, email or phone_number.")
        name, value = next(iter(named.items()))
        profile = self.people.profiles.get(value) if name == "id" else self.people.find(name, value)
        if profile is not None:
            self.jobs.add("erase", profile["id"], 1, self.job_seconds)
        return Answer(202)

    @route("GET", "/api/profiles", limits=FAST)
    def profiles(self, call: Call) -> Answer:
        """Profiles by identifier, by time, or by their suppression."""
        suppressed = "subscriptions.email.marketing.suppression"
        fields: dict[str, Any] = {
            name: (queries.CHOICE, lambda one, name=name: one[name])
            for name in ("id", "email", "phone_number", "external_id")
        }
        fields |= {
            name: (("greater-than", "less-than"), lambda one, name=name: one[name]) for name in ("created", "updated")
        }
        fields[f"{suppressed}.reason"] = (("equals",), lambda one: _suppressions(one, "reason"))
        fields[f"{suppressed}.timestamp"] = (queries.ORDER, lambda one: _suppressions(one, "timestamp"))
        order = {name: lambda one, name=name: one[name] for name in ("id", "email", "created", "updated")}
        order[f"{suppressed}.timestamp"] = lambda one: max(_suppressions(one, "timestamp"), default=None)
        found = queries.ordered(call, queries.chosen(call, self.people.profiles.values(), fields), order)
        return views.collection(call, found, partial(views.profile, call))

    @route("GET", "/api/profiles/{id}", limits=FAST)
    def profile_by_id(self, call: Call) -> Answer:
        """One profile."""
        return views.one(call, views.profile(call, self._profile_of(call.path["id"])))

    @route("PATCH", "/api/profiles/{id}", limits=FAST)
    def update(self, call: Call) -> Answer:
        """Change a profile: null empties, what is not named stays."""
        data = bodies.check(call.body, bodies.PROFILE_UPDATE)
        if data["id"] != self._profile_of(call.path["id"])["id"]:
            bodies.refuse([("/data/id", "The id does not match the address.")])
        return views.one(call, views.profile(call, self._upserted(call, data)[0]))

    @route("POST", "/api/profile-import", limits=FAST)
    def upsert(self, call: Call) -> Answer:
        """Make or change one profile: null empties, what is not named stays."""
        profile, is_new = self._upserted(call, bodies.check(call.body, bodies.PROFILE))
        return views.one(call, views.profile(call, profile), 201 if is_new else 200)

    @route("POST", "/api/profile-merge", limits=SLOW)
    def merge(self, call: Call) -> Answer:
        """Queue that one profile goes into another."""
        data = bodies.check(call.body, bodies.MERGE)
        sources = [one["id"] for one in data["relationships"]["profiles"].get("data", [])]
        if len(sources) != 1 or sources[0] == data["id"]:
            raise Refusal(400, "invalid", "Exactly one source profile is required, not the destination.")
        for profile_id in (data["id"], *sources):
            self._profile_of(profile_id)
        self.jobs.add("merge", [sources[0], data["id"]], 1, self.job_seconds)
        links = {"self": queries.link(call, f"/api/profiles/{data['id']}")}
        return views.one(call, {"type": "profile", "id": data["id"], "links": links}, 201)

    @route("GET", "/api/events", limits=EVENTS)
    def events(self, call: Call) -> Answer:
        """What happened, by time, metric and profile."""
        fields = {
            "metric_id": (("equals",), lambda one: self.people.metrics[one["metric"]]["id"]),
            "profile_id": (("equals",), lambda one: one["profile"]),
            "datetime": (queries.ORDER, lambda one: one["datetime"]),
        }
        order = {name: lambda one: one["datetime"] for name in ("datetime", "timestamp")}
        found = queries.ordered(call, queries.chosen(call, self.people.events.values(), fields), order)
        included = queries.names(call, "include", ("metric", "profile", "attributions")) or set()
        shown, links = queries.page(call, found, size=200, most=1_000)
        body: dict[str, Any] = {
            "data": [views.event(call, one, self.people.metrics[one["metric"]]["id"]) for one in shown],
            "links": links,
        }
        if included:
            metrics = {one["metric"] for one in shown} if "metric" in included else set()
            profiles = {one["profile"] for one in shown} if "profile" in included else set()
            body["included"] = [views.metric(call, self.people.metrics[name]) for name in sorted(metrics)]
            body["included"] += [views.profile(call, self.people.profiles[one]) for one in sorted(profiles)]
        return Answer(200, body)

    @route("GET", "/api/metrics", limits=SLOW)
    def metrics(self, call: Call) -> Answer:
        """The kinds of events."""
        found = queries.chosen(
            call, self.people.metrics.values(), {"integration.name": (("equals",), lambda one: "Klaviyo")}
        )
        return views.collection(call, found, partial(views.metric, call), size=200, most=200)

    def _queued(self, call: Call, job: dict) -> Answer:
        return views.one(call, self._job(call, job), 202)

    def _job(self, call: Call, job: dict) -> dict[str, Any]:
        return views.resource(call, job["kind"], job["id"], self.jobs.attributes(job))

    def _relate(self, call: Call, *, is_member: bool) -> Answer:
        ids = [one["id"] for one in bodies.check(call.body, bodies.MEMBERS)]
        list_id = self._list(call.path["id"])["id"]
        for profile_id in ids:
            self._profile_of(profile_id)
        self.people.relate(ids, list_id, is_member=is_member)
        return Answer(204)


def _suppressions(profile: dict, part: str) -> list[str]:
    return [one[part] for one in profile["marketing"]["suppression"]]


STAND_IN = Klaviyo
