"""The local ESP's HTTP API: idempotent batches, monotone suppressions, paging that loses nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from letterpress.demo.esp import Fault, running
from letterpress.demo.esp.database import Database
from letterpress.demo.esp.suppressions import Suppressions


class Clock:
    """A clock that stands until it is moved, as the shop's does."""

    def __init__(self):
        self.now = datetime(2011, 7, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def esp(tmp_path, clock):
    with running(tmp_path, clock=clock) as serving:
        yield serving


@pytest.fixture
def api(esp):
    with httpx.Client(base_url=esp.base_url, headers={"Authorization": f"Bearer {esp.token}"}, verify=False) as client:
        yield client


def person(number, **changes):
    row = {"external_id": f"p{number:03}", "email": f"p{number:03}@example.com", "attributes": {}, "segments": []}
    return row | changes


def push(api, key, *rows):
    return api.post("/api/profiles", json={"profiles": list(rows)}, headers={"Idempotency-Key": key})


def suppress(api, reason, **who):
    return api.post("/api/suppressions", json={"suppressions": [{**who, "reason": reason}]})


def lift(api, proof, **who):
    return api.post("/api/suppressions/lift", json={**who, "consent_proof": proof})


def everything(api, path, **query):
    rows, cursor = [], None
    while True:
        given = {**query, **({"cursor": cursor} if cursor else {})}
        answer = api.get(path, params=given)
        answer.raise_for_status()
        rows += answer.json()["data"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return rows


def test_nothing_is_answered_without_the_token(esp):
    with httpx.Client(base_url=esp.base_url, verify=False) as anybody:
        for path in ("/api/profiles", "/api/events", "/api/suppressions", "/api/messages/k"):
            for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}):
                answer = anybody.get(path, headers=header)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_health_needs_no_token(esp):
    assert httpx.get(esp.base_url + "/health").json() == {"status": "ok"}


def test_a_profile_is_created_and_then_replaced_by_its_external_id(api):
    push(api, "a", person(1, attributes={"clv_tier": "high", "anything": [1, {"x": None}]}, segments=["new"]))
    push(api, "b", person(1, attributes={"clv_tier": "low"}, segments=["loyal", "new"]))
    (profile,) = api.get("/api/profiles").json()["data"]
    assert profile == {
        "external_id": "p001",
        "email": "p001@example.com",
        "attributes": {"clv_tier": "low"},
        "segments": ["loyal", "new"],
        "suppressed": False,
        "updated_at": "2011-07-01T00:00:00.000Z",
    }


def test_a_row_with_an_invalid_address_is_rejected_alone_and_its_address_is_not_repeated(api):
    for email in ("", None, "nobody", "a@b", "a b@example.com", "a@@example.com", ".a@example.com"):
        results = push(api, f"key of {email!r}".strip(), person(1, email=email), person(2)).json()["results"]
        assert [row["status"] for row in results] == ["rejected", "accepted"]
        assert results[0]["error"] == {"code": "invalid_email", "message": "expected a deliverable e-mail address"}
    assert [row["external_id"] for row in everything(api, "/api/profiles")] == ["p002"]


def test_the_same_batch_again_is_answered_the_same_and_applied_once(api, clock):
    first = push(api, "a", person(1), person(2, email="bad"))
    push(api, "b", person(1, attributes={"tier": "newer"}))
    clock.now += timedelta(days=1)
    again = push(api, "a", person(1), person(2, email="bad"))
    assert (again.status_code, again.content) == (200, first.content)
    (profile,) = everything(api, "/api/profiles")
    assert profile["attributes"] == {"tier": "newer"}
    assert profile["updated_at"] == "2011-07-01T00:00:00.000Z"


def test_a_key_with_another_body_or_for_another_operation_is_a_conflict(api):
    push(api, "a", person(1))
    other_body = push(api, "a", person(2))
    other_operation = api.post(
        "/api/profiles/delete", json={"external_ids": ["p001"]}, headers={"Idempotency-Key": "a"}
    )
    assert [other_body.status_code, other_operation.status_code] == [409, 409]
    assert [row["external_id"] for row in everything(api, "/api/profiles")] == ["p001"]


def test_a_batch_without_a_key_is_refused(api):
    answer = api.post("/api/profiles", json={"profiles": [person(1)]})
    assert answer.status_code == 400
    assert everything(api, "/api/profiles") == []


def test_more_than_a_thousand_rows_and_unknown_fields_are_refused_without_repeating_them(api):
    too_many = push(api, "a", *(person(number) for number in range(1001)))
    unknown = push(api, "b", person(1, email="secret@example.com", phone="0123"))
    assert [too_many.status_code, unknown.status_code] == [422, 422]
    assert "secret" not in unknown.text
    assert "0123" not in unknown.text


def test_a_deleted_profile_is_gone_and_its_suppression_stays(api):
    push(api, "a", person(1))
    suppress(api, "unsubscribed", external_id="p001", email="p001@example.com")
    body = {"external_ids": ["p001", "p009"]}
    answers = [api.post("/api/profiles/delete", json=body, headers={"Idempotency-Key": "d"}).json() for _ in range(2)]
    assert [row["status"] for row in answers[0]["results"]] == ["deleted", "absent"]
    assert answers[0] == answers[1]
    push(api, "b", person(1))
    assert [row["suppressed"] for row in everything(api, "/api/profiles")] == [True]


def test_paging_gives_every_profile_once_in_order(api):
    push(api, "a", *(person(number) for number in range(25)))
    rows = everything(api, "/api/profiles", page_size=10)
    assert [row["external_id"] for row in rows] == [f"p{number:03}" for number in range(25)]


def test_a_cursor_of_another_list_or_an_impossible_page_size_is_refused(api):
    for query in ({"cursor": "nonsense"}, {"cursor": "WzFd"}, {"page_size": 0}, {"page_size": 1001}):
        assert api.get("/api/profiles", params=query).status_code in (400, 422)


def test_an_instant_without_a_zone_is_refused(api):
    for since in ("yesterday", "2011-07-01T00:00:00"):
        answer = api.get("/api/suppressions", params={"since": since})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "since")


def test_suppressions_come_in_sequence_and_since_is_inclusive(api, clock):
    suppress(api, "bounced", external_id="p001", email="P001@Example.com ")
    clock.now += timedelta(days=1)
    suppress(api, "complained", external_id="p002", email="p002@example.com")
    suppress(api, "complained", external_id="p002", email="p002@example.com")
    rows = everything(api, "/api/suppressions", page_size=1)
    assert [(row["external_id"], row["reason"], row["sequence"]) for row in rows] == [
        ("p001", "bounced", 1),
        ("p002", "complained", 2),
    ]
    later = everything(api, "/api/suppressions", since="2011-07-02T00:00:00Z")
    assert [row["external_id"] for row in later] == ["p002"]


def test_a_suppression_needs_a_known_reason_and_somebody(api):
    unknown = suppress(api, "bored", external_id="p001").json()["results"][0]
    nobody = suppress(api, "bounced").json()["results"][0]
    assert [unknown["error"]["code"], nobody["error"]["code"]] == ["unknown_reason", "nobody"]
    assert everything(api, "/api/suppressions") == []


def test_a_person_without_an_address_in_the_request_is_suppressed_by_the_address_of_the_profile(api):
    push(api, "a", person(1))
    suppress(api, "consent_withdrawn", external_id="p001")
    (row,) = everything(api, "/api/suppressions")
    assert row["email"] == "p001@example.com"


def test_a_profile_stays_suppressed_under_a_new_address_unless_only_the_old_mailbox_was_dead(api):
    suppress(api, "unsubscribed", external_id="p001", email="p001@example.com")
    suppress(api, "bounced", external_id="p002", email="p002@example.com")
    push(api, "a", person(1, email="new1@example.com"), person(2, email="new2@example.com"))
    assert [row["suppressed"] for row in everything(api, "/api/profiles")] == [True, False]


def test_a_new_opt_in_lifts_an_unsubscribe_and_serves_once(api):
    who = {"external_id": "p001", "email": "p001@example.com"}
    suppress(api, "unsubscribed", **who)
    assert lift(api, "proof-1", **who).json()["status"] == "lifted"
    assert lift(api, "proof-1", **who).json()["status"] == "lifted"
    assert everything(api, "/api/suppressions") == []
    suppress(api, "unsubscribed", **who)
    replayed = lift(api, "proof-1", **who)
    assert (replayed.status_code, replayed.json()["error"]["code"]) == (409, "proof_used")
    assert [row["sequence"] for row in everything(api, "/api/suppressions")] == [2]
    assert lift(api, "proof-2", **who).json()["status"] == "lifted"


def test_a_proof_of_one_person_does_not_lift_another(api):
    for number in (1, 2):
        suppress(api, "unsubscribed", external_id=f"p00{number}", email=f"p00{number}@example.com")
    lift(api, "proof", external_id="p001", email="p001@example.com")
    assert lift(api, "proof", external_id="p002", email="p002@example.com").status_code == 409
    assert [row["external_id"] for row in everything(api, "/api/suppressions")] == ["p002"]


@pytest.mark.parametrize("reason", ["complained", "bounced", "erased"])
def test_no_opt_in_lifts_a_complaint_a_dead_mailbox_or_an_erasure(api, reason):
    who = {"external_id": "p001", "email": "p001@example.com"}
    suppress(api, "unsubscribed", **who)
    suppress(api, reason, **who)
    answer = lift(api, "proof", **who)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "permanent")
    assert len(everything(api, "/api/suppressions")) == 2


def test_a_lift_without_a_proof_or_without_a_person_is_refused(api):
    who = {"external_id": "p001", "email": "p001@example.com"}
    suppress(api, "unsubscribed", **who)
    assert lift(api, "", **who).status_code == 422
    assert lift(api, "proof").status_code == 400
    assert api.post("/api/suppressions/lift", json=who).status_code == 422
    assert len(everything(api, "/api/suppressions")) == 1


def test_an_erased_person_does_not_come_back_with_a_sync(api):
    suppress(api, "erased", external_id="p001", email="p001@example.com")
    by_id, by_address = push(api, "a", person(1, email="new@example.com"), person(2, email="P001@example.com")).json()[
        "results"
    ]
    assert [by_id["error"]["code"], by_address["error"]["code"]] == ["erased", "erased"]


def test_a_fault_answers_once_and_executes_nothing(esp, api):
    esp.faults.add(Fault(path="/api/profiles", status=429, retry_after=7))
    esp.faults.add(Fault(path="/api/profiles", status=500))
    limited, broken, fine = (push(api, "a", person(1)) for _ in range(3))
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert (broken.status_code, fine.status_code) == (500, 200)


def test_a_lost_answer_has_been_committed_and_the_repeat_gets_it(esp, api):
    esp.faults.add(Fault(path="/api/profiles", loses_answer=True))
    with pytest.raises(httpx.TransportError):
        push(api, "a", person(1))
    assert [row["external_id"] for row in everything(api, "/api/profiles")] == ["p001"]
    assert push(api, "a", person(1)).json()["results"][0]["status"] == "accepted"


def test_a_slow_answer_runs_into_the_clients_timeout(esp, api):
    esp.faults.add(Fault(path="/api/events", delay=1.0))
    with pytest.raises(httpx.ReadTimeout):
        api.get("/api/events", timeout=0.2)
    assert api.get("/api/events", timeout=5).status_code == 200


def test_the_same_batch_from_many_threads_is_applied_once(api, tmp_path):
    rows = [person(number) for number in range(50)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: push(api, "a", *rows), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(everything(api, "/api/profiles")) == 50


def test_a_failing_request_leaves_nothing_behind(tmp_path):
    database = Database(tmp_path / "esp.sqlite")

    def fail(connection):
        connection.execute("insert into profiles values ('p', 'e', 'e', '{}', '[]', 't')")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        database.once("a", "profiles", [], "t", fail)
    with database.reading() as connection:
        assert connection.execute("select count(*) from profiles").fetchone()[0] == 0
        assert connection.execute("select count(*) from requests").fetchone()[0] == 0
    database.close()


def test_state_survives_a_restart_over_the_same_folder(tmp_path):
    for expected in (0, 1):
        with running(tmp_path) as serving:
            headers = {"Authorization": f"Bearer {serving.token}"}
            found = httpx.get(f"{serving.base_url}/api/suppressions", headers=headers).json()["data"]
            assert len(found) == expected
            httpx.post(
                f"{serving.base_url}/api/suppressions",
                json={"suppressions": [{"external_id": "p001", "reason": "bounced", "email": "p@example.com"}]},
                headers=headers,
            )


def test_the_store_is_readable_by_its_owner_alone(tmp_path):
    database = Database(tmp_path / "esp.sqlite")
    Suppressions(database).add([{"email": "a@example.com", "external_id": None, "reason": "bounced"}], "t")
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    database.close()
    assert set(modes.values()) == {0}


def test_two_ids_that_were_suppressed_for_one_reason_become_one(api, esp):
    rows = [{"email": None, "external_id": one, "reason": "unsubscribed"} for one in ("p001", "p002")]
    esp.app.state.suppressions.add(rows, "2011-07-01T00:00:00.000Z")
    moves = {"moves": [{"external_id": "p001", "new_external_id": "p002"}]}
    moved = api.post("/api/profiles/move", json=moves, headers={"Idempotency-Key": "move"})
    assert (moved.status_code, moved.json()["results"][0]["status"]) == (200, "moved")
    assert [one["external_id"] for one in api.get("/api/suppressions").json()["data"]] == ["p002"]
