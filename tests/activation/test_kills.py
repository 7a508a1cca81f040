"""SIGKILL at the worst moments: a second run ends as if nothing had happened, with no effect twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from activation_line import KEY, Line, person
from killing_proxy import KillingProxy, killing

from letterpress.activation.destinations import Batch, destination
from letterpress.demo.esp import running

HERE = Path(__file__).parent
PEOPLE = [person(number) for number in range(9)]
BATCH = Batch(rows=3)


def run_until_killed(proxy: KillingProxy, line: Line, stage: str, **connection) -> None:
    """Start a stage in a process of its own and wait for its death."""
    given = {
        "version_dir": line.version_dir,
        "stores_url": line.stores_url,
        "key": KEY.hex(),
        "rows": BATCH.rows,
        "plan": line.plan().uri,
        "connection": {
            "base_url": line.esp.base_url,
            "token": line.esp.token,
            "smtp_host": "127.0.0.1",
            "smtp_port": line.esp.smtp_port,
            **connection,
        },
    }
    path = os.pathsep.join([str(HERE), str(HERE.parents[1] / "plugins"), str(HERE.parents[1])])
    proxy.victim = subprocess.Popen(
        [sys.executable, str(HERE / "activation_process.py"), stage, json.dumps(given)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
    )
    proxy.has_victim.set()
    _, errors = proxy.victim.communicate(timeout=60)
    assert proxy.victim.returncode == -signal.SIGKILL, errors.decode()


@pytest.fixture
def undisturbed(tmp_path):
    """Another line, with an ESP of its own, that nothing happens to."""
    with running(tmp_path / "undisturbed-esp") as server:
        folder = tmp_path / "undisturbed"
        yield Line(folder, server, f"sqlite:///{folder}/stores.sqlite", destination("local_esp"))


def profiles(line: Line) -> dict:
    return {key: {**value, "updated_at": None} for key, value in line.at_esp().items()}


@pytest.mark.parametrize(
    ("mark", "is_answer", "held_at_the_kill"),
    [(b'"accepted"', True, 6), (b"POST /api/profiles", False, 3)],
    ids=["between acceptance and record", "between claim and request"],
)
def test_a_sync_killed_in_its_second_batch_is_completed_by_the_next_run(
    line, undisturbed, mark, is_answer, held_at_the_kill
):
    line.destination = line.destination.model_copy(update={"batch": BATCH})
    undisturbed.destination = line.destination
    undisturbed.sync(*PEOPLE)
    line.publish(*PEOPLE)
    host, port = line.esp.base_url.removeprefix("http://").split(":")
    with killing((host, int(port)), mark=mark, is_answer=is_answer, after=2) as proxy:
        run_until_killed(proxy, line, "apply", base_url=f"http://127.0.0.1:{proxy.port}")
    states = line.states()  # the third batch may have been made ready while the second was away
    assert states["accepted"] == 3
    assert states["sent"] in (3, 6)
    assert len(line.at_esp()) == held_at_the_kill

    result = line.sync()

    assert result.accepted == 6
    assert line.ledger() == undisturbed.ledger()
    assert profiles(line) == profiles(undisturbed)
    assert line.plan().changes == 0


def test_a_person_who_withdraws_after_the_kill_is_suppressed_at_the_destination(line):
    line.destination = line.destination.model_copy(update={"batch": BATCH})
    line.publish(*PEOPLE)
    host, port = line.esp.base_url.removeprefix("http://").split(":")
    with killing((host, int(port)), mark=b'"accepted"', is_answer=True, after=1) as proxy:
        run_until_killed(proxy, line, "apply", base_url=f"http://127.0.0.1:{proxy.port}")
    assert line.ledger()[PEOPLE[0].customer_id, "profile"]["acknowledged"] is None
    line.sync(PEOPLE[0].refused("consent_withdrawn"), *PEOPLE[1:])
    assert line.at_esp()[PEOPLE[0].customer_id]["suppressed"]


@pytest.mark.parametrize(
    ("mark", "is_answer", "at_the_kill"),
    [(b"queued as", True, 4), (b"X-Letterpress-Idempotency-Key", False, 3), (b'"message_id"', True, 4)],
    ids=["between acceptance and record", "between claim and request", "between receipt and record"],
)
def test_a_campaign_killed_at_its_fourth_mail_sends_one_mail_to_everybody(
    line, undisturbed, mark, is_answer, at_the_kill
):
    undisturbed.publish(*PEOPLE)
    undisturbed.send()
    line.publish(*PEOPLE)
    if mark == b'"message_id"':
        host, port = line.esp.base_url.removeprefix("http://").split(":")
        upstream, name = (host, int(port)), "base_url"
    else:
        upstream, name = ("127.0.0.1", line.esp.smtp_port), "smtp_port"
    with killing(upstream, mark=mark, is_answer=is_answer, after=4) as proxy:
        where = proxy.port if name == "smtp_port" else f"http://127.0.0.1:{proxy.port}"
        run_until_killed(proxy, line, "campaign", **{name: where})
    assert len(line.mails()) == at_the_kill
    assert Counter(row["state"] for row in line.sends().values()) == {"accepted": 3, "sent": 1, "planned": 5}

    result = line.send()

    assert result.sent + result.already_sent == 9
    assert Counter(mail["external_id"] for mail in line.mails()) == {one.customer_id: 1 for one in PEOPLE}
    assert line.sends() == undisturbed.sends()
