"""What Klaviyo's module does to people at Klaviyo, once however often it is asked."""

from datetime import UTC, datetime, timedelta

import pytest
from klaviyo_line import connected, person

from letterpress.activation.destinations.parts.klaviyo import import_error
from letterpress.activation.destinations.spec import BatchRefused, DestinationError, Job, Operation, Row
from letterpress.activation.suppression import STRENGTH
from letterpress.demo.vendors import running

ANNA = {
    "first_name": "Anna",
    "last_name": "Berg",
    "phone_number": "+4930123456",
    "locale": "de-DE",
    "country": "DE",
    "timezone": "Europe/Berlin",
    "loyalty_tier": "gold",
    "orders": 3,
    "interests": ["tea", "books"],
}


@pytest.fixture
def line(clock, held_to):
    with connected(clock, held_to) as line:
        yield line


def consented(days_ago: float, clock) -> datetime:
    return datetime.fromtimestamp(clock.now(), UTC) - timedelta(days=days_ago)


def test_a_profile_is_made_once_and_read_back_by_the_names_of_the_field_map(line):
    for _ in range(2):
        results = line.send(Operation.UPSERT, [person(1, attributes=ANNA), person(2)])
        assert results.errors == {}
    assert len(line.app.people.profiles) == 2
    profile = line.profile(1)
    assert (profile["first_name"], profile["location"]["country"]) == ("Anna", "DE")
    assert profile["properties"] == {"loyalty_tier": "gold", "orders": 3, "interests": ["tea", "books"]}
    (held,) = line.client.read([person(1), person(9)], [*ANNA, "churn_tier"])
    assert (held.customer_id, held.email, held.vendor_id) == ("C1", "person1@example.com", profile["id"])
    assert held.attributes == {**ANNA, "churn_tier": None}
    assert (held.is_suppressed, held.lists) == (False, None)


def test_an_update_keeps_what_it_does_not_name(line):
    line.send(Operation.UPSERT, [person(1, attributes=ANNA)])
    line.send(Operation.UPSERT, [person(1, attributes={"orders": 4, "timezone": "Europe/Paris"})])
    profile = line.profile(1)
    assert profile["properties"] == {"loyalty_tier": "gold", "orders": 4, "interests": ["tea", "books"]}
    assert profile["location"] == {"country": "DE", "timezone": "Europe/Paris"}
    assert profile["first_name"] == "Anna"


def test_empty_values_are_cleared_though_an_import_leaves_them(line):
    line.send(Operation.UPSERT, [person(1, attributes=ANNA), person(2, attributes={**ANNA, "phone_number": None})])
    emptied = {"first_name": None, "country": None, "loyalty_tier": None, "orders": 5}
    for rows in ([person(1, attributes=emptied), person(2, attributes={"orders": 6})], [person(1, attributes=emptied)]):
        assert line.send(Operation.UPSERT, rows).errors == {}
    (held,) = line.client.read([person(1)], ["first_name", "country", "loyalty_tier", "orders", "last_name"])
    expected = {"first_name": None, "country": None, "loyalty_tier": None, "orders": 5, "last_name": "Berg"}
    assert held.attributes == expected
    assert "loyalty_tier" not in line.profile(1)["properties"]
    assert (line.profile(2)["properties"]["orders"], line.profile(2)["first_name"]) == (6, "Anna")


def test_a_refused_profile_with_empty_values_is_named_before_anything_is_queued(line):
    rows = [person(1), person(2, email="nowhere@example", attributes={"orders": None})]
    with pytest.raises(BatchRefused) as refused:
        line.client.send(Operation.UPSERT, rows, key="k", list_id=None)
    assert refused.value.errors["C2"].code == "invalid"
    assert not line.client.is_busy()
    (alone,) = line.send(Operation.UPSERT, rows[1:]).errors.values()
    assert (alone.code, alone.message) == ("invalid", "Invalid email address: …")


def test_a_job_is_asked_until_it_is_complete(line, clock):
    job = line.client.send(Operation.UPSERT, [person(1)], key="k", list_id=None)
    assert isinstance(job, Job)
    assert line.client.results(Operation.UPSERT, job.job_id, [person(1)]) is None
    assert line.client.is_busy()
    clock.advance(3)
    assert line.client.results(Operation.UPSERT, job.job_id, [person(1)]) is None
    assert line.client.is_busy()
    clock.advance(3)
    assert line.client.results(Operation.UPSERT, job.job_id, [person(1)]).errors == {}
    assert not line.client.is_busy()


def test_a_cancelled_job_has_changed_nobody(line, clock):
    job = line.client.send(Operation.UPSERT, [person(1)], key="k", list_id=None)
    line.app.jobs.cancel(job.job_id)
    clock.advance(9)
    with pytest.raises(BatchRefused, match="job_cancelled"):
        line.client.results(Operation.UPSERT, job.job_id, [person(1)])
    assert line.profile(1) is None


def test_a_job_that_klaviyo_has_forgotten_leaves_its_people_unanswered(line):
    results = line.client.results(Operation.UPSERT, "J0", [person(1), person(2)])
    assert results.unanswered == {"C1", "C2"}


def test_errors_come_back_by_person_in_whatever_order_the_rows_are(line, clock):
    bad = [person(number, email=f"private{number}@nowhere") for number in range(250)]
    rows = [*bad, *(person(number) for number in range(250, 300))]
    job = line.client.send(Operation.UPSERT, rows, key="k", list_id=None)
    clock.advance(9)
    results = line.client.results(Operation.UPSERT, job.job_id, rows[::-1])
    assert set(results.errors) == {row.customer_id for row in bad}
    assert {(error.code, error.message) for error in results.errors.values()} == {
        ("invalid", "Invalid email address: …")
    }
    assert len(line.app.people.profiles) == 50


def test_an_error_that_repeats_no_profile_is_of_who_was_sent_at_its_place():
    rows = [person(1), person(2)]
    by_id = {row.customer_id: row for row in rows}
    error = {"code": "invalid", "title": "Invalid input.", "detail": "no person2", "original_payload": None}
    pointer = {"pointer": "/data/attributes/profiles/data/1/attributes/email"}
    assert import_error({**error, "source": pointer}, by_id, rows)[0] is rows[1]
    row, told = import_error({**error, "source": {"pointer": "/data"}}, by_id, rows)
    assert (row, told.message) == (None, "Invalid input. (/data)")  # the detail may be anybody's
    flat = {**error, "source": pointer, "original_payload": {"external_id": "C1"}}
    assert import_error(flat, by_id, rows)[0] is rows[0]


def test_an_error_of_nobody_is_for_halving_to_find(line, clock):
    job = line.client.send(Operation.UPSERT, [person(1), person(2, email="x@nowhere")], key="k", list_id=None)
    clock.advance(9)
    line.profile(1)
    (error,) = line.app.jobs.jobs[job.job_id]["errors"]
    error |= {"original_payload": None, "source": {"pointer": "/data"}}
    with pytest.raises(BatchRefused, match="invalid: Invalid input"):
        line.client.results(Operation.UPSERT, job.job_id, [person(1), person(2)])
    line.app.jobs.jobs[job.job_id]["errors"].clear()
    with pytest.raises(BatchRefused, match="unexplained: expected an error for each failed profile, found 1 without"):
        line.client.results(Operation.UPSERT, job.job_id, [person(1), person(2)])


def test_addresses_that_are_none_refuse_the_request_and_are_named(line):
    rows = [person(1), person(2, email="none at all"), person(3, attributes={"phone_number": "030 123"})]
    with pytest.raises(BatchRefused) as refused:
        line.client.send(Operation.UPSERT, rows, key="k", list_id=None)
    assert set(refused.value.errors) == {"C2", "C3"}
    assert "030" not in str(refused.value)
    assert line.profile(1) is None


@pytest.mark.parametrize("reason", STRENGTH)
def test_whoever_is_suppressed_gets_no_mail_and_only_a_decision_of_theirs_withdraws_consent(line, reason):
    line.send(Operation.UPSERT, [person(1), person(2)])
    for _ in range(2):
        assert line.send(Operation.SUPPRESS, [person(1, reason=reason)]).errors == {}
    decided = reason in ("consent_withdrawn", "unsubscribed", "complained")
    assert line.reasons(1) == (["UNSUBSCRIBE", "USER_SUPPRESSED"] if decided else ["USER_SUPPRESSED"])
    assert line.profile(1)["marketing"]["consent"] == ("UNSUBSCRIBED" if decided else "NEVER_SUBSCRIBED")
    (held,) = line.client.read([person(1)], [])
    assert held.is_suppressed
    assert line.app.deliver("person1@example.com", "Spring") is False
    assert line.app.deliver("person2@example.com", "Spring") is True


def test_a_withdrawal_is_of_everything_also_for_somebody_on_a_list(line):
    line.send(Operation.UPSERT, [person(1)])
    list_id = line.app.add_list("News")
    line.send(Operation.JOIN, [person(1)], list_id)
    line.send(Operation.SUPPRESS, [person(1, reason="unsubscribed")])
    assert line.profile(1)["marketing"]["list_suppressions"] == []
    assert "UNSUBSCRIBE" in line.reasons(1)


def test_who_has_no_address_here_is_suppressed_under_the_one_that_klaviyo_has(line):
    line.send(Operation.UPSERT, [person(1)])
    line.send(Operation.SUPPRESS, [Row("C1", reason="unsubscribed"), Row("C9", reason="unsubscribed")])
    assert "USER_SUPPRESSED" in line.reasons(1)
    assert line.send(Operation.SUPPRESS, [Row("C9", reason="bounced")]).errors == {}


def test_a_proven_opt_in_lifts_what_we_stopped_and_asks_for_no_second_click(line, clock):
    line.app.is_double_opt_in = True
    line.send(Operation.UPSERT, [person(1), person(2)])
    line.send(Operation.SUPPRESS, [person(1, reason="unsubscribed")])
    clock.advance(3_600)
    opted_in = consented(0, clock) - timedelta(minutes=1)
    rows = [person(1, consented_at=opted_in, consent_proof="form 7"), person(2)]
    for _ in range(2):
        assert line.send(Operation.SUBSCRIBE, rows).errors == {}
    assert line.reasons(1) == []
    marketing = line.profile(1)["marketing"]
    assert (marketing["consent"], marketing["custom_method_detail"]) == ("SUBSCRIBED", "Letterpress")
    assert datetime.fromisoformat(marketing["consent_timestamp"]) == opted_in
    assert line.profile(2)["marketing"]["consent"] == "NEVER_SUBSCRIBED"  # without an instant a click is needed


def test_no_opt_in_revives_a_dead_mailbox(line, clock):
    line.send(Operation.UPSERT, [person(1)])
    line.app.bounce("person1@example.com")
    line.send(Operation.SUBSCRIBE, [person(1, consented_at=consented(1, clock))])
    assert line.reasons(1) == ["HARD_BOUNCE"]


def test_an_opt_in_older_than_the_withdrawal_is_refused_and_named(line, clock):
    line.send(Operation.UPSERT, [person(1), person(2)])
    line.app.unsubscribe("person1@example.com")
    rows = [person(number, consented_at=consented(9, clock)) for number in (2, 1)]
    with pytest.raises(BatchRefused) as refused:
        line.client.send(Operation.SUBSCRIBE, rows, key="k", list_id=None)
    assert set(refused.value.errors) == {"C1"}
    assert line.send(Operation.SUBSCRIBE, rows[:1]).errors == {}
    assert line.profile(2)["marketing"]["consent"] == "SUBSCRIBED"


def test_people_join_and_leave_a_list_by_ids_that_are_looked_up(line):
    people = [person(number) for number in range(230)]
    line.send(Operation.UPSERT, people)
    list_id = line.app.add_list("Champions")
    line.client.prepare({}, [list_id])
    for _ in range(2):
        results = line.send(Operation.JOIN, [*people, person(999)], list_id)
        assert results.errors["C999"].is_transient
        assert list(results.errors) == ["C999"]
        assert len(results.vendor_ids) == 230
    known = [Row(row.customer_id, vendor_id=results.vendor_ids[row.customer_id]) for row in people[:200]]
    before = line.client.requests
    assert line.send(Operation.LEAVE, known, list_id).errors == {}
    assert line.client.requests == before + 1
    assert line.send(Operation.LEAVE, [*known, person(999)], list_id).errors == {}
    members = [one["external_id"] for one in line.app.people.profiles.values() if list_id in one["lists"]]
    assert members == [row.customer_id for row in people[200:]]
    assert line.profile(1)["marketing"]["consent"] == "NEVER_SUBSCRIBED"


def test_an_id_that_is_no_longer_right_is_looked_up_again(line):
    line.send(Operation.UPSERT, [person(1), person(2)])
    list_id = line.app.add_list("Champions")
    rows = [Row("C1", vendor_id="01GONE"), Row("C2", vendor_id=line.profile(2)["id"])]
    results = line.send(Operation.JOIN, rows, list_id)
    assert results.errors == {}
    assert results.vendor_ids["C1"] == line.profile(1)["id"]
    assert line.profile(1)["lists"] == [list_id]


def test_a_list_that_is_not_there_is_an_error_with_the_remedy(line):
    with pytest.raises(DestinationError, match="expected a list with the id XYZ, found none; correct it under lists"):
        line.client.prepare({}, ["XYZ"])
    line.send(Operation.UPSERT, [person(1)])
    with pytest.raises(DestinationError, match="expected the list XYZ and its people"):
        line.client.send(Operation.JOIN, [person(1)], key="k", list_id="XYZ")


def test_an_erased_person_is_gone_with_all_that_happened(line):
    line.send(Operation.UPSERT, [person(1), person(2)])
    line.app.deliver("person1@example.com", "Spring")
    for _ in range(2):
        assert line.send(Operation.ERASE, [person(1, vendor_id="01STALE")]).errors == {}
    assert line.profile(1) is None
    assert line.profile(2) is not None
    assert len(line.app.people.events) == 0


def test_erasing_reaches_a_profile_without_our_id_and_spares_who_has_the_address_now(line):
    line.app.people.withdraw("person1@example.com")  # somebody who came by a form: an address alone
    line.send(Operation.UPSERT, [person(7, email="person2@example.com")])
    line.send(Operation.ERASE, [person(1)])
    line.send(Operation.ERASE, [person(2)])
    assert line.profile(1) is None
    assert line.profile(2)["external_id"] == "C7"


def test_a_profile_moves_to_the_surviving_id(line):
    line.send(Operation.UPSERT, [person(1, attributes=ANNA)])
    moves = [person(1, moves_to="C5")]
    vendor_id = line.profile(1)["id"]
    assert line.send(Operation.MOVE, moves).vendor_ids == {"C1": vendor_id}
    assert line.send(Operation.MOVE, moves).errors == {}
    assert (line.profile(1)["external_id"], line.profile(1)["id"]) == ("C5", vendor_id)
    assert line.profile(1)["first_name"] == "Anna"


def test_two_profiles_become_one_where_the_surviving_id_has_its_own(line):
    line.send(Operation.UPSERT, [person(1, attributes=ANNA), person(5, attributes={"orders": 8})])
    line.app.unsubscribe("person1@example.com")
    moves = [person(1, moves_to="C5")]
    for _ in range(2):
        assert line.send(Operation.MOVE, moves).errors == {}
    (profile,) = line.app.people.profiles.values()
    assert (profile["external_id"], profile["properties"]["orders"], profile["first_name"]) == ("C5", 8, "Anna")
    assert line.reasons(5) == ["UNSUBSCRIBE"]


def test_a_merge_is_done_before_anything_else_happens_to_the_survivor(line, clock):
    """Otherwise it would undo what comes next: it puts the survivor into the former profile's lists."""
    line.send(Operation.UPSERT, [person(1), person(5)])
    line.app.job_seconds, began = 20.0, clock.now()
    assert line.send(Operation.MOVE, [person(1, moves_to="C5")]).errors == {}
    assert len(line.app.people.profiles) == 1
    assert 20 <= clock.now() - began <= 40


def test_a_merge_that_takes_too_long_is_left_to_the_next_run(line):
    line.send(Operation.UPSERT, [person(1), person(5)])
    line.app.job_seconds = 600.0
    found = line.send(Operation.MOVE, [person(1, moves_to="C5")]).errors["C1"]
    assert (found.code, found.is_transient) == ("merge_under_way", True)


def test_suppressions_come_back_with_their_reasons_and_a_position(line, clock):
    line.send(Operation.UPSERT, [person(number) for number in range(6)])
    assert line.client.suppressions(None) == ([], None)
    line.app.unsubscribe("person0@example.com")
    line.app.bounce("person1@example.com")
    line.app.complain("person2@example.com")
    events, position = line.client.suppressions(None)
    assert [(event.external_id, event.email, event.reason) for event in events] == [
        ("C0", "person0@example.com", "unsubscribed"),
        ("C1", "person1@example.com", "bounced"),
        ("C2", "person2@example.com", "complained"),
    ]
    assert {event.suppressed_at for event in events} == {datetime.fromisoformat(position)}
    clock.advance(86_400)
    assert line.client.suppressions(position)[0] == events  # the last instant is read again, to miss nobody at it
    line.app.unsubscribe("person3@example.com")
    later, new_position = line.client.suppressions((datetime.fromisoformat(position) + timedelta(hours=1)).isoformat())
    assert [event.external_id for event in later] == ["C3"]
    assert new_position > position


def test_our_own_suppression_comes_back_as_the_person_s_will_or_as_the_address_alone(line):
    line.send(Operation.UPSERT, [person(1), person(2)])
    line.send(Operation.SUPPRESS, [person(1, reason="consent_withdrawn"), person(2, reason="bounced")])
    line.app.suppress_by_hand("person1@example.com")
    events, _ = line.client.suppressions(None)
    assert [(event.external_id, event.email, event.reason) for event in events] == [
        ("C1", "person1@example.com", "unsubscribed"),
        (None, "person2@example.com", "consent_withdrawn"),
    ]


def test_all_pages_of_suppressions_are_read(line):
    line.send(Operation.UPSERT, [person(number) for number in range(250)])
    for number in range(250):
        line.app.unsubscribe(f"person{number}@example.com")
    events, _ = line.client.suppressions(None)
    assert {event.external_id for event in events} == {f"C{number}" for number in range(250)}


def test_what_klaviyo_holds_outlives_the_process(clock, tmp_path):
    with connected(clock, folder=tmp_path) as line:
        job = line.client.send(Operation.UPSERT, [person(1)], key="k", list_id=None)
    clock.advance(9)
    with connected(clock, folder=tmp_path) as line:
        assert line.client.results(Operation.UPSERT, job.job_id, [person(1)]).errors == {}
        assert line.profile(1)["external_id"] == "C1"
    with running("klaviyo", tmp_path) as vendor:
        assert vendor.app.profile("person1@example.com")["external_id"] == "C1"
