"""SIGKILL in the middle of a vendor's queue: the next run ends as if nothing had happened, with nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from activation_line import KEY, person
from killing_proxy import killing
from vendor_line import VendorLine, vendor_line

from letterpress.activation import stages
from letterpress.activation.destinations import Batch
from letterpress.demo.esp import Fault

HERE = Path(__file__).parent
PEOPLE = [person(number, loyalty_tier=("gold", "silver", None)[number % 3]) for number in range(10)]
BEFORE = [one.changed(loyalty_tier="none", favourite_category="Kitchen") for one in PEOPLE[:6]]
ROWS, JOB_SECONDS, POLL = 4, 0.3, 0.1
VENDORS = {"klaviyo": "/api/profile-bulk-import-jobs", "hubspot": "/crm/v3/objects/contacts/batch/upsert"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here time is real: what is killed is a process, and the vendor's queue goes on without it."""
    monkeypatch.setattr(stages, "FIRST_POLL", POLL)


@dataclass(frozen=True)
class Moment:
    """When the process dies: as something passes by on the wire, or before an answer is recorded."""

    mark: bytes = b""
    is_answer: bool = False
    after: int = 1
    settling: tuple[str, int] | None = None
    fault: Fault | None = None


IMPORT, UPSERT = (f"POST {path}".encode() for path in VENDORS.values())
TOO_LARGE = Fault(path=VENDORS["klaviyo"], method="POST", status=413)
MOMENTS = {
    # of three requests of profiles, with several under way at once
    "between claim and request": ("klaviyo", Moment(IMPORT, after=2)),
    "between answer and record of the job's id": (
        "klaviyo",
        Moment(b'"type":"profile-bulk-import-job"', is_answer=True, after=2),
    ),
    "after the jobs are queued": ("klaviyo", Moment(b"GET /api/profile-bulk-import-jobs/", after=1)),
    "while results are read": ("klaviyo", Moment(b"/import-errors", after=2)),
    "between result and record": ("klaviyo", Moment(settling=("upsert", 2))),
    "in the middle of halving": ("klaviyo", Moment(IMPORT, after=5, fault=TOO_LARGE)),
    "between stages": ("klaviyo", Moment(b"POST /api/lists/")),
    "between answer and record of list members": ("klaviyo", Moment(settling=("join", 1))),
    "between answer and record of opt-ins": ("klaviyo", Moment(settling=("subscribe", 1))),
    "HubSpot: between claim and request": ("hubspot", Moment(UPSERT, after=2)),
    "HubSpot: between answer and record": ("hubspot", Moment(settling=("upsert", 2))),
    "HubSpot: in the middle of halving": (
        "hubspot",
        Moment(UPSERT, after=5, fault=Fault(path=VENDORS["hubspot"], status=400)),
    ),
    "HubSpot: between stages": ("hubspot", Moment(b"/memberships/add-and-remove")),
    "HubSpot: between answer and record of list members": ("hubspot", Moment(settling=("join", 1))),
}
EVERYDAY = ("between answer and record of the job's id", "between result and record", "HubSpot: between stages")


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Callable[..., VendorLine]]:
    """Serves vendors in this process, each in a folder of its own, on the real clock."""
    open_lines = []

    def served(name: str, folder: str = "disturbed") -> VendorLine:
        (tmp_path / folder).mkdir()
        serving = vendor_line(name, tmp_path / folder, time.time, job_seconds=JOB_SECONDS)
        line = serving.__enter__()
        open_lines.append(serving)
        endpoints = {"batch": Batch(rows=ROWS), "subscribes": name == "klaviyo"}
        line.destination = line.destination.model_copy(update=endpoints)
        return line

    yield served
    for serving in open_lines:
        serving.__exit__(None, None, None)


def run_until_killed(line: VendorLine, moment: Moment) -> None:
    """Apply the line's plan in a process of its own, and wait for its death at the moment."""
    host, port = line.connection.base_url.removeprefix("http://").split(":")
    plan = line.plan()
    with killing((host, int(port)), mark=moment.mark, is_answer=moment.is_answer, after=moment.after) as proxy:
        through = line.connection.base_url if moment.settling else f"http://127.0.0.1:{proxy.port}"
        given = {
            "plan": plan.uri,
            "destination": line.destination.model_dump_json(),
            "version_dir": line.version_dir,
            "connection": {"base_url": through, "token": line.connection.token},
            "stores_url": line.stores_url,
            "key": KEY.hex(),
            "first_poll": POLL,
            "settling": moment.settling,
        }
        path = os.pathsep.join([str(HERE.parents[2] / "plugins"), str(HERE.parents[2])])
        proxy.victim = subprocess.Popen(
            [sys.executable, str(HERE / "vendor_process.py"), json.dumps(given)],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
        )
        proxy.has_victim.set()
        _, errors = proxy.victim.communicate(timeout=60)
    assert proxy.victim.returncode == -signal.SIGKILL, errors.decode()


def settled(line: VendorLine, moment: Moment | None) -> VendorLine:
    """Some people as they were, then all as they are wanted; with a moment, killed there and run again."""
    line.sync(*BEFORE)
    line.publish(*PEOPLE)
    if moment is None:
        line.sync()
    else:
        if moment.fault:
            line.app.faults.add(moment.fault)
        run_until_killed(line, moment)
        assert "sent" in {row["state"] for row in line.ledger().values()}
        line.sync()
    time.sleep(JOB_SECONDS)
    assert line.plan().changes == 0
    return line


def at_klaviyo(line: VendorLine) -> dict[str, dict[str, Any]]:
    """All profiles without ids of Klaviyo's and instants; the list by whether somebody is in it."""
    with line.app._lock:
        line.app.jobs.work()
        found = [dict(one) for one in line.app.people.profiles.values()]
    assert set(Counter(one["external_id"] for one in found).values()) == {1}, "nobody is there twice"
    for one in found:
        for name in ("id", "created", "updated", "last_event_date"):
            del one[name]
        marketing = one["marketing"]
        one["marketing"] = (marketing["consent"], [entry["reason"] for entry in marketing["suppression"]])
        one["lists"] = len(one["lists"])
    return {one["external_id"]: one for one in found}


def at_hubspot(line: VendorLine) -> dict[str, dict[str, Any]]:
    """All contacts without ids of HubSpot's, and whether they are in the list."""
    found = [{**one["values"], "is_member": one["id"] in _members(line)} for one in line.app.contacts]
    assert set(Counter(one["letterpress_id"] for one in found).values()) == {1}, "nobody is there twice"
    return {one["letterpress_id"]: one for one in found}


def _members(line: VendorLine) -> set[str]:
    return line.app.members(line.destination.lists["champions"])


def acknowledged(line: VendorLine) -> dict:
    """The ledger without the vendor's ids."""
    return {key: {**row, "vendor_id": None} for key, row in line.ledger().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow) for name in MOMENTS]
)
def test_a_sync_that_is_killed_is_completed_by_the_next_run(vendor, name):
    which, moment = MOMENTS[name]
    state = {"klaviyo": at_klaviyo, "hubspot": at_hubspot}[which]
    undisturbed = settled(vendor(which, "undisturbed"), None)
    line = settled(vendor(which), moment)
    assert state(line) == state(undisturbed)
    assert acknowledged(line) == acknowledged(undisturbed)
    assert len(state(line)) == len(PEOPLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(Moment(settling=("upsert", 2)), id="between answer and record"),
        pytest.param(Moment(b"POST /users/track", after=2), id="between claim and request", marks=pytest.mark.slow),
    ],
)
def test_what_braze_bills_is_sent_again_once_at_most_and_only_where_nobody_knows(vendor, moment):
    undisturbed = vendor("braze", "undisturbed")
    undisturbed.sync(*PEOPLE)
    points = {who: sum(1 for _ in _written(user)) for who, user in undisturbed.app.users.items()}
    assert undisturbed.app.data_points == sum(points.values())

    line = vendor("braze")
    line.publish(*PEOPLE)
    run_until_killed(line, moment)
    billed = line.app.data_points
    states = {who: row["state"] for (who, facet), row in line.ledger().items() if facet == "profile"}
    in_doubt = sum(points[who] for who, state in states.items() if state == "sent")
    known = sum(points[who] for who, state in states.items() if state == "accepted")
    assert in_doubt

    line.sync()

    assert line.app.data_points - billed == sum(points.values()) - known
    assert line.app.data_points <= sum(points.values()) + in_doubt
    assert {who: sorted(_written(user)) for who, user in line.app.users.items()} == {
        who: sorted(_written(user)) for who, user in undisturbed.app.users.items()
    }
    assert line.sync().accepted == 0
    assert line.plan().changes == 0


def _written(user: dict) -> Iterator[tuple[str, str]]:
    """What we wrote of a user, each of which is billed."""
    for name, value in {**user, **user["custom_attributes"]}.items():
        if name not in ("external_id", "created_at", "custom_attributes"):
            yield name, str(value)
