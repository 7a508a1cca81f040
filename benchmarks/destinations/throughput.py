"""Profiles a processor second on the way to Klaviyo: ours, and those of Klaviyo's own SDK, on the same stand-in.

Both post the same profiles, as many a call as Klaviyo takes (10,000, or five megabytes; the SDK writes a blank after
every colon and comma, so that fewer fit). Ours are made from the published warehouse; the SDK is handed its
dictionaries ready, so that making them costs it nothing. Each run is a process of its own, what is counted is its
processor time from the first profile to the last answer, imports left out; the stand-in is another process.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.destinations.common import TOKEN, Engine, job, klaviyo, publish, row, say, serving
from letterpress.activation import audience
from letterpress.activation.batches import Planned
from letterpress.activation.destinations import Connection, open_client
from letterpress.activation.destinations.spec import Operation, Row

ALONE, WHOLE = 15, 8  # times the SDK's
WAYS = ("alone", "whole", "consent", "sdk")
SDK_BYTES = 4_000_000  # of ours: with its blanks the SDK's body then stays below five megabytes


def measure(folder: Path, people: int, runs: int) -> list[dict[str, Any]]:
    """All ways, alternately, each time from nothing; ratios of the medians."""
    version = publish(folder / "version", people)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(runs):
        for way in WAYS:
            home = folder / f"{way}-{number}"
            home.mkdir()
            with serving("klaviyo", "--without-limits", "--job-seconds", "0") as connection:
                said = job("throughput", way=way, version=version, folder=str(home), url=connection.base_url)
            rates[way].append(said["profiles"] / said["cpu"])
    alone, whole, consent, sdk = (statistics.median(rates[way]) for way in WAYS)
    content = f"{people:,} people, Klaviyo's field map"
    return [
        row(f"klaviyo-api bulk_import_profiles: {content}", round(sdk), "profiles/CPU s"),
        row("built and posted, without ledger", round(alone), "profiles/CPU s", baseline=round(sdk)),
        row("built and posted: times the SDK's", round(alone / sdk, 1), "times", f">= {ALONE}", alone / sdk >= ALONE),
        row("apply with results and ledger (SQLite)", round(whole), "profiles/CPU s", baseline=round(sdk)),
        row("apply: times the SDK's", round(whole / sdk, 1), "times", f">= {WHOLE}", whole / sdk >= WHOLE),
        row("apply that records everybody's opt-in besides", round(consent), "profiles/CPU s"),
    ]


def _run(given: dict[str, Any]) -> None:
    logging.disable(logging.CRITICAL)
    block = klaviyo().model_copy(update={"subscribes": given["way"] == "consent"})  # the SDK's call records none
    engine = Engine(Path(given["folder"]), block, Connection(given["url"], TOKEN))
    plan = engine.plan(given["version"])
    if given["way"] in ("whole", "consent"):
        began = time.process_time()
        profiles = engine.apply(given["version"], plan).accepted - plan.counts["subscribe"]
        cpu = time.process_time() - began
    elif given["way"] == "alone":
        began = time.process_time()
        profiles = _post(engine, given["version"], plan)
        cpu = time.process_time() - began
    else:
        bodies = _bodies(engine, given["version"], plan)
        cpu = _post_with_sdk(bodies, given["url"])
        profiles = sum(len(body["data"]["attributes"]["profiles"]["data"]) for body in bodies)
    if profiles != plan.counts["create"]:
        raise RuntimeError(f"{given['way']}: expected {plan.counts['create']} profiles to leave, found {profiles}")
    say({"profiles": profiles, "cpu": cpu})


def _post(engine: Engine, version: str, plan: Any) -> int:
    """Audience, batches and client, without ledger and suppression."""
    profiles = 0
    with (
        audience.opened(version, engine.given["identity_key"]) as duck,
        open_client(engine.destination, engine.connection) as client,
    ):
        for batched in Planned(duck, engine.destination, plan).batches(Operation.UPSERT):
            rows = [Row(item.customer_id, item.email, item.profile) for item in batched.items]
            client.send(Operation.UPSERT, rows, key="benchmark", list_id=None)
            profiles += len(rows)
    return profiles


def _bodies(engine: Engine, version: str, plan: Any) -> list[dict[str, Any]]:
    """The same profiles as dictionaries, in calls."""
    import orjson

    smaller = engine.destination.batch.model_copy(update={"bytes": SDK_BYTES})
    destination = engine.destination.model_copy(update={"batch": smaller})
    with audience.opened(version, engine.given["identity_key"]) as duck:
        return [
            {
                "data": {
                    "type": "profile-bulk-import-job",
                    "attributes": {"profiles": {"data": [orjson.loads(item.profile) for item in batched.items]}},
                }
            }
            for batched in Planned(duck, destination, plan).batches(Operation.UPSERT)
        ]


def _post_with_sdk(bodies: list[dict[str, Any]], url: str) -> float:
    from klaviyo_api import KlaviyoAPI

    api = KlaviyoAPI(TOKEN, max_retries=0, test_host=url)
    began = time.process_time()
    for body in bodies:
        api.Profiles.bulk_import_profiles(body)
    return time.process_time() - began


if __name__ == "__main__":
    _run(json.loads(sys.argv[2]))
