"""Klaviyo's queue: what a request only announced happens when its time has come, in the order of the requests."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from letterpress.demo.vendors.documents import Documents
from letterpress.demo.vendors.klaviyo_people import NotTaken, People
from letterpress.demo.vendors.limits import Clock

IMPORT, SUPPRESS = "profile-bulk-import-job", "profile-suppression-bulk-create-job"


class Jobs:
    """Queued requests; those of a kind with ids can be asked for."""

    def __init__(self, documents: Documents, people: People, clock: Clock):
        self._people, self._clock, self._numbers = people, clock, documents.kind("number")
        self.jobs = documents.kind("job")
        self._open = [job_id for job_id, job in self.jobs.items() if job["work"] is not None]
        self._handlers: Mapping[str, Callable[[dict, Any], None]] = {
            IMPORT: self._import,
            SUPPRESS: lambda job, work: self._each(self._people.suppress_address, work),
            "subscribe": lambda job, work: self._each(self._subscribe, work),
            "unsubscribe": lambda job, work: self._each(lambda one: self._people.withdraw(*one), work),
            "erase": lambda job, work: self._people.erase(work),
            "merge": lambda job, work: self._people.merge(*work),
        }

    def add(self, kind: str, work: Any, total: int, seconds: float, **more: Any) -> dict:
        """Queue something; it is done after so many seconds."""
        self._numbers["job"] = self._numbers.get("job", 0) + 1
        job = {
            "id": f"J{self._numbers['job']:025X}",
            "kind": kind,
            "created": self._clock(),
            "due": self._clock() + seconds,
            "total": total,
            "work": work,
            "failed": 0,
            "errors": [],
            "is_cancelled": False,
            **more,
        }
        self.jobs[job["id"]] = job
        self._open.append(job["id"])
        return job

    def work(self) -> None:
        """Do what is due."""
        for job_id in list(self._open):
            job = self.jobs[job_id]
            if job["due"] > self._clock():
                continue
            self._open.remove(job_id)
            if not job["is_cancelled"]:
                self._handlers[job["kind"]](job, job["work"])
            self.jobs[job_id] = {**job, "work": None}

    def cancel(self, job_id: str) -> None:
        """Somebody at Klaviyo stops a job that is not done."""
        self.jobs[job_id] = {**self.jobs[job_id], "is_cancelled": True}

    def status(self, job: Mapping[str, Any]) -> str:
        """How far a job is: half of its time it waits, half of it is worked on."""
        if job["is_cancelled"]:
            return "cancelled"
        if job["work"] is None:
            return "complete"
        return "queued" if self._clock() < (job["created"] + job["due"]) / 2 else "processing"

    def attributes(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """A job as Klaviyo shows it."""
        status = self.status(job)
        is_done = status in ("complete", "cancelled")
        counts = {"failed_count": job["failed"]} if job["kind"] == IMPORT else {"skipped_count": 0}
        return {
            "status": status,
            "created_at": _instant(job["created"]),
            "total_count": job["total"],
            "completed_count": job["total"] - job["failed"] if status == "complete" else 0,
            "completed_at": _instant(job["due"]) if is_done else None,
            **counts,
            **(
                {
                    "started_at": None if status == "queued" else _instant((job["created"] + job["due"]) / 2),
                    "expires_at": _instant(job["created"] + timedelta(days=7).total_seconds()),
                }
                if job["kind"] == IMPORT
                else {}
            ),
        }

    def _import(self, job: dict, work: list[dict]) -> None:
        for position, resource in enumerate(work):
            try:
                profile, _ = self._people.upsert(resource, clears=False)
            except NotTaken as refused:
                pointer = f"/data/attributes/profiles/data/{position}"
                job["failed"] += 1
                job["errors"].append(
                    {
                        "code": refused.code,
                        "title": "Invalid input.",
                        "detail": refused.detail,
                        "source": {
                            "pointer": f"{pointer}/attributes/{refused.attribute}" if refused.attribute else pointer
                        },
                        "original_payload": resource,
                    }
                )
                continue
            for list_id in job["lists"]:
                self._people.relate([profile["id"]], list_id, is_member=True)

    def _subscribe(self, one: Mapping[str, Any]) -> None:
        self._people.subscribe(one["attributes"], source=one["source"], list_id=one["list"])

    @staticmethod
    def _each(do: Callable[[Any], None], work: list) -> None:
        for one in work:
            do(one)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
