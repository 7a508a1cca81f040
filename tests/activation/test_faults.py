"""Retries, lost answers and concurrent runs of a sync."""

import threading

import pytest
from activation_line import person

from letterpress.activation import ledger, stores
from letterpress.activation.destinations import Batch, Connection
from letterpress.activation.destinations.spec import DestinationError, Operation, Results, RowError
from letterpress.demo.esp import Fault

PEOPLE = [person(number) for number in range(6)]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/api/profiles", status=429, retry_after=3, times=3),
        Fault(path="/api/profiles", status=429, times=2),
        Fault(path="/api/profiles", status=500, times=3),
        Fault(path="/api/profiles", loses_answer=True, times=2),
    ],
    ids=["429 with Retry-After", "429 without", "500", "answer lost"],
)
def test_a_bad_day_of_the_destination_ends_in_the_same_state(line, fault):
    line.esp.faults.add(fault)
    assert line.sync(*PEOPLE).accepted == 6
    assert len(line.at_esp()) == 6
    assert line.plan().changes == 0


def test_retry_after_is_honoured(line, no_pauses):
    line.esp.faults.add(Fault(path="/api/profiles", status=429, retry_after=7, times=2))
    line.sync(person(1))
    assert no_pauses == [7, 7]


def test_a_limit_that_lasts_too_long_ends_the_run_with_the_time_to_come_back(line, no_pauses):
    line.esp.faults.add(Fault(path="/api/profiles", status=429, retry_after=3_600))
    with pytest.raises(DestinationError, match="limited for 3600 s"):
        line.sync(person(1))
    assert no_pauses == []
    assert line.sync().accepted == 1


def test_a_destination_that_stays_down_leaves_rows_under_way_and_the_next_run_settles_them(line):
    line.esp.faults.add(Fault(path="/api/profiles", status=503, times=8))
    with pytest.raises(DestinationError, match="503 after 8 attempts") as failed:
        line.sync(*PEOPLE)
    assert "example.com" not in str(failed.value)
    assert set(line.states()) == {"sent"}
    assert line.sync().accepted == 6


def test_a_wrong_token_is_not_retried_and_the_remedy_is_named(line, no_pauses):
    line.publish(person(1))
    wrong = Connection(line.esp.base_url, "wrong", "127.0.0.1", line.esp.smtp_port)
    with pytest.raises(DestinationError, match=r"401.*; check the connection's credentials"):
        line.apply(line.plan(), connection=wrong)
    assert no_pauses == []
    assert "wrong" not in repr(wrong)


def test_an_answer_lost_for_good_and_then_the_old_state_wanted_again_reaches_the_destination(line):
    line.sync(person(1, loyalty_tier="gold"))
    line.esp.faults.add(Fault(path="/api/profiles", loses_answer=True, times=8))
    with pytest.raises(DestinationError):
        line.sync(person(1, loyalty_tier="silver"))
    assert line.at_esp()["customer-00001"]["attributes"]["loyalty_tier"] == "silver"
    line.publish(person(1, loyalty_tier="gold"))
    assert line.plan().counts["update"] == 1
    line.sync()
    assert line.at_esp()["customer-00001"]["attributes"]["loyalty_tier"] == "gold"
    line.esp.faults.add(Fault(path="/api/profiles", loses_answer=True, times=8))
    with pytest.raises(DestinationError):
        line.sync(person(1, loyalty_tier="silver"))
    line.sync(person(1, loyalty_tier="bronze"))
    line.sync(person(1, loyalty_tier="silver"))
    assert line.at_esp()["customer-00001"]["attributes"]["loyalty_tier"] == "silver"


def test_the_same_plan_applied_twice_at_once_ends_like_one(line):
    line.destination = line.destination.model_copy(update={"batch": Batch(rows=2)})
    line.publish(*(person(number) for number in range(10)))
    plan = line.plan()
    results, errors = [], []

    def run():
        try:
            results.append(line.apply(plan))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(line.states()) == {"accepted"}
    assert {row["revision"] for row in line.ledger().values()} == {1}
    assert len(line.at_esp()) == 10
    assert line.plan().changes == 0


def test_a_person_suppressed_between_plan_and_batch_is_in_no_payload(line):
    line.publish(person(1), person(2))
    plan = line.plan()
    line.suppress(person(2), "unsubscribed")
    result = line.apply(plan)
    assert result.accepted == 1
    assert result.skipped == {"suppressed": 1}
    assert set(line.at_esp()) == {"customer-00001"}
    assert line.plan().refused == {"unsubscribed": 1}


def test_stores_can_be_opened_by_many_at_once(stores_url):
    errors = []

    def start():
        try:
            with stores.opened(stores_url) as engine, stores.writing(engine) as connection:
                ledger.note_suppressed(connection, "local_esp", {"c1": "unsubscribed"})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ledger.summary(stores_url, destination="local_esp")["suppressed"] == 1


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_a_store_that_cannot_be_shared_is_refused(url):
    with pytest.raises(ValueError, match="expected a"), stores.opened(url):
        pass


def test_claims_and_answers_mean_the_same_in_every_database(stores_url):
    change = ledger.Change("c1", Operation.UPSERT, 0, "hash-a")

    def batch(key):
        return ledger.Batch(key, "esp", "profile", Operation.UPSERT, None, "c1", "c1", 1, "sent", None, "plan")

    def claim(connection, wanted, key):
        claims, skipped = ledger.examine(connection, "esp", "profile", [wanted])
        if claims:
            sealed = [("c1", wanted.target, wanted.target.encode())]
            ledger.claim(connection, batch(key), claims, run_id="r", payloads=sealed)
        return [one.revision for one in claims], skipped

    with stores.opened(stores_url) as engine:
        with stores.writing(engine) as connection:
            assert claim(connection, change, "first") == ([1], {})
            assert claim(connection, change, "again") == ([1], {})
            # The answer to a request that another one has taken over from is not recorded.
            assert ledger.settle(connection, batch("first"), Results()) == {}
            assert ledger.settle(connection, batch("again"), Results(vendor_ids={"c1": "V1"})) == {"accepted": 1}
        with stores.writing(engine) as connection:
            assert claim(connection, change, "third") == ([], {"c1": "acknowledged"})
            other = ledger.Change("c1", Operation.UPSERT, 1, "hash-b")
            assert claim(connection, other, "other") == ([2], {})
            refusal = Results({"c1": RowError("invalid_email", "expected an address")})
            assert ledger.settle(connection, batch("other"), refusal) == {"invalid_email": 1}
            assert claim(connection, other, "fourth") == ([], {"c1": "rejected"})
            (row,) = ledger.rows_of(connection, "esp", ["c1"])
            assert (row["acknowledged"], row["vendor_id"]) == ("hash-a", "V1")
            assert ledger.payloads(connection, "esp", {"c1": "hash-a"}) == {"c1": b"hash-a"}
            assert (row["state"], row["error_code"]) == ("dead", "invalid_email")
            assert ledger.replay(connection, "esp") == 1
            (row,) = ledger.rows_of(connection, "esp", ["c1"])
            assert (row["state"], row["error_code"], row["revision"]) == ("planned", None, 3)


def test_writers_of_the_ledger_do_not_lose_each_others_rows(stores_url):
    people = [f"c{number:03d}" for number in range(200)]
    errors = []

    def work(worker):
        try:
            with stores.opened(stores_url) as engine:
                for start in range(0, 200, 20):
                    changes = [
                        ledger.Change(one, Operation.UPSERT, 0, f"hash-{one}") for one in people[start : start + 20]
                    ]
                    batch = ledger.Batch(
                        f"{worker}-{start}", "esp", "profile", Operation.UPSERT, None, changes[0].customer_id,
                        changes[-1].customer_id, 20, "sent", None, None,
                    )  # fmt: skip
                    with stores.writing(engine) as connection:
                        claims, _ = ledger.examine(connection, "esp", "profile", changes)
                        if claims:
                            ledger.claim(connection, batch, claims, run_id="r")
                    with stores.writing(engine) as connection:
                        ledger.settle(connection, batch, Results())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:
        rows = ledger.rows_of(connection, "esp", people)
    assert {(row["state"], row["acknowledged"] == f"hash-{row['customer_id']}", row["revision"]) for row in rows} == {
        ("accepted", True, 1)
    }
    assert len(rows) == 200
