"""What Marketing Cloud holds after each operation, and what is read back from it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from salesforce_line import ATTRIBUTES, LIST, PROFILES, SUPPRESSIONS, Line, line, person

from letterpress.activation.destinations.parts.salesforce.extensions import typed
from letterpress.activation.destinations.salesforce import ENDPOINTS, SHAPE
from letterpress.activation.destinations.spec import DestinationError, Held, Job, Operation, Results, Row
from letterpress.activation.suppression import STRENGTH
from letterpress.demo.vendors.salesforce_extensions import LIST_COLUMNS, PROFILE_COLUMNS, SUPPRESSION_COLUMNS, Column

VALUES = {
    "FirstName": "Anna",
    "Segments": "champions,win_back",
    "LifetimeValueDecile": 9,
    "AverageOrderValue": 48.25,
    "IsStoreMember": False,
    "LastOrderDate": "2026-11-01",
}
CONSENTED_AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.fixture(params=[pytest.param("alone", marks=pytest.mark.slow), "held to the document"])
def sfmc(request, clock) -> Iterator[Line]:
    with line(clock, is_held=request.param != "alone") as opened:
        yield opened


def subscriber(number: int = 1) -> Row:
    return person(number)._replace(consented_at=CONSENTED_AT)


def test_a_profile_is_written_when_its_request_is_complete_and_not_before(sfmc):
    job = sfmc.client.send(Operation.UPSERT, [person(**VALUES)], key="key", list_id=None)

    assert isinstance(job, Job)
    assert sfmc.client.results(Operation.UPSERT, job.job_id, [person()]) is None
    assert sfmc.vendor.app.rows(PROFILES) == []
    sfmc.clock.pause(4.0)
    assert sfmc.client.results(Operation.UPSERT, job.job_id, [person()]) == Results()
    assert sfmc.only_row(PROFILES).items() >= {**VALUES, "EmailAddress": "anna1@example.com"}.items()


def test_an_update_touches_only_what_it_names_and_null_empties(sfmc):
    sfmc.settle(Operation.UPSERT, [person(**VALUES)])
    update = Row("customer-1", payload=orjson.dumps({"ContactKey": "customer-1", "FirstName": None, "Country": "DE"}))
    sfmc.settle(Operation.UPSERT, [update])

    row = sfmc.only_row(PROFILES)
    assert (row["FirstName"], row["Country"], row["LifetimeValueDecile"]) == (None, "DE", 9)
    assert SHAPE.merges
    assert SHAPE.cleared is None


def test_a_removed_profile_is_an_empty_row_that_no_send_takes_and_may_come_back(sfmc):
    sfmc.settle(Operation.UPSERT, [person(**VALUES)])
    sfmc.settle(Operation.DELETE, [Row("customer-1")])

    empty = dict.fromkeys(PROFILE_COLUMNS)
    assert sfmc.only_row(PROFILES) == {**empty, "ContactKey": "customer-1", "IsActive": False}
    assert sfmc.client.read([person()], []) == []
    sfmc.settle(Operation.UPSERT, [person(**VALUES)])
    assert [held.customer_id for held in sfmc.client.read([person()], [])] == ["customer-1"]


def test_whoever_leaves_a_list_stays_in_it_without_an_address(sfmc):
    sfmc.settle(Operation.JOIN, [person(1), person(2)], LIST)
    sfmc.settle(Operation.LEAVE, [Row("customer-1")], LIST)

    assert sfmc.vendor.app.rows(LIST) == [
        {"ContactKey": "customer-1", "EmailAddress": None, "IsMember": False},
        {"ContactKey": "customer-2", "EmailAddress": "anna2@example.com", "IsMember": True},
    ]


def test_a_suppression_is_a_row_that_a_proven_opt_in_lifts(sfmc):
    sfmc.settle(Operation.SUPPRESS, [person()])
    row = sfmc.only_row(SUPPRESSIONS)
    assert (row["Source"], row["Reason"], row["IsSuppressed"]) == ("letterpress", "unsubscribed", True)

    sfmc.settle(Operation.SUBSCRIBE, [subscriber()])
    row = sfmc.only_row(SUPPRESSIONS)
    assert (row["Reason"], row["IsSuppressed"], row["ConsentProof"]) == (None, False, "proof-1")
    assert datetime.fromisoformat(row["ConsentedAt"]) == CONSENTED_AT


def test_an_opt_in_lifts_nothing_that_somebody_did_at_the_vendor(sfmc):
    sfmc.settle(Operation.UPSERT, [person()])
    sfmc.vendor.app.complain("anna1@example.com")
    before = sfmc.only_row(SUPPRESSIONS)
    sfmc.settle(Operation.SUBSCRIBE, [subscriber()])

    theirs = [row for row in sfmc.vendor.app.rows(SUPPRESSIONS) if row["Source"] != "letterpress"]
    assert theirs == [before]
    assert sfmc.vendor.app.status_of("customer-1") == "Unsubscribed"
    assert sfmc.client.read([person()], [])[0].is_suppressed


def test_an_erased_person_is_gone_from_every_extension_once_the_deletion_is_complete(sfmc):
    sfmc.settle(Operation.UPSERT, [person(1), person(2)])
    sfmc.settle(Operation.JOIN, [person(1)], LIST)
    sfmc.settle(Operation.SUPPRESS, [person(1)])
    job = sfmc.client.send(Operation.ERASE, [Row("customer-1")], key="key", list_id=None)

    sfmc.clock.pause(3.0)  # suppressed already, and not yet deleted
    assert sfmc.client.results(Operation.ERASE, job.job_id, [Row("customer-1")]) is None
    sfmc.clock.pause(1.0)
    assert sfmc.client.results(Operation.ERASE, job.job_id, [Row("customer-1")]) == Results()
    assert "customer-1" not in str(sfmc.state())
    assert sfmc.only_row(PROFILES)["ContactKey"] == "customer-2"


@pytest.mark.parametrize("operation", [operation for operation in Operation if operation in ENDPOINTS])
def test_an_operation_that_is_repeated_has_its_effect_once(sfmc, operation):
    sfmc.settle(Operation.UPSERT, [person(1, **VALUES), person(2)])
    sfmc.settle(Operation.JOIN, [person(1)], LIST)
    before = sfmc.state()
    list_id = LIST if operation in (Operation.JOIN, Operation.LEAVE) else None
    rows = [subscriber()._replace(payload=person(1, FirstName="Anne").payload), person(2)]

    assert sfmc.settle(operation, rows, list_id) == Results()
    once = sfmc.state()
    sfmc.clock.pause(3_600)
    assert sfmc.settle(operation, rows, list_id) == Results()
    assert sfmc.state() == once
    assert once != before


def test_nothing_is_moved_because_a_contact_keeps_its_key(sfmc):
    assert Operation.MOVE not in ENDPOINTS
    with pytest.raises(ValueError, match="expected an operation of suppress, erase"):
        sfmc.client.send(Operation.MOVE, [Row("customer-1", moves_to="customer-2")], key="key", list_id=None)


def test_what_people_do_there_comes_back_with_its_reason_and_a_position_to_go_on_from(sfmc):
    people = [person(number) for number in range(1, 5)]
    sfmc.settle(Operation.UPSERT, people)
    sfmc.settle(Operation.SUPPRESS, [people[3]])  # our own is no news
    app, hour = sfmc.vendor.app, 3_600
    for act, number in ((app.unsubscribe, 1), (app.bounce, 2), (app.complain, 3)):
        sfmc.clock.pause(hour)
        act(f"anna{number}@example.com")
    now = datetime.fromtimestamp(sfmc.clock.now(), UTC)

    events, position = sfmc.client.suppressions(None)
    assert [(event.external_id, event.email, event.reason) for event in events] == [
        ("customer-1", "anna1@example.com", "unsubscribed"),
        ("customer-2", "anna2@example.com", "bounced"),
        ("customer-3", "anna3@example.com", "complained"),
    ]
    assert [event.suppressed_at for event in events] == [now - timedelta(hours=2), now - timedelta(hours=1), now]
    assert {event.reason for event in events} <= set(STRENGTH)
    assert position == now.isoformat()
    assert sfmc.client.suppressions(position) == (events, position)  # late ones are looked for within a week


def test_old_suppressions_are_left_out_and_one_that_comes_in_late_is_not(sfmc):
    sfmc.settle(Operation.UPSERT, [person(1), person(2), person(3)])
    sfmc.vendor.app.unsubscribe("anna1@example.com")
    sfmc.clock.pause(10 * 86_400)
    sfmc.vendor.app.unsubscribe("anna2@example.com")
    _, position = sfmc.client.suppressions(None)
    late = datetime.fromisoformat(position) - timedelta(days=2)
    _account_wrote(sfmc, "customer-3", SuppressedAt=late.isoformat(), Reason="unsubscribed")

    events, following = sfmc.client.suppressions(position)
    assert [event.external_id for event in events] == ["customer-2", "customer-3"]
    assert following == position


def test_a_suppression_that_cannot_be_read_in_full_stops_the_person_all_the_same(sfmc):
    _account_wrote(sfmc, "customer-1", SuppressedAt="yesterday", Reason="a reason of their own")
    before = datetime.now(UTC)

    (event,), _ = sfmc.client.suppressions(None)
    assert (event.external_id, event.email, event.reason) == ("customer-1", None, "unsubscribed")
    assert before <= event.suppressed_at <= datetime.now(UTC)


def test_who_was_lifted_at_the_vendor_is_no_suppression(sfmc):
    _account_wrote(sfmc, "customer-1", Reason="unsubscribed", SuppressedAt="2026-11-01T00:00:00Z", IsSuppressed=False)
    assert sfmc.client.suppressions(None) == ([], None)


def test_what_was_written_is_read_back_under_the_field_map_s_names(sfmc):
    sfmc.settle(Operation.UPSERT, [person(1, **VALUES), person(2)])
    sfmc.settle(Operation.SUPPRESS, [person(2)])

    held = sfmc.client.read([person(1), person(2), person(3)], list(ATTRIBUTES))
    assert held == [
        Held("customer-1", "anna1@example.com", VALUES, is_suppressed=False),
        Held("customer-2", "anna2@example.com", dict.fromkeys(VALUES), is_suppressed=True),
    ]
    assert sfmc.client.read([], list(ATTRIBUTES)) == []


def test_instants_keep_their_second_and_lose_no_value_of_another_type(sfmc):
    sfmc.settle(Operation.UPSERT, [person(1, LastOrderDate="2026-11-01T14:05:09")])
    (held,) = sfmc.client.read([person(1)], ["LastOrderDate"])
    assert held.attributes == {"LastOrderDate": "2026-11-01T14:05:09"}


@pytest.mark.parametrize(
    ("value", "column_type", "expected"),
    [
        ("", "Text", None),
        (None, "Number", None),
        ("12", "Number", 12),
        ("48.25", "Decimal", 48.25),
        ("True", "Boolean", True),
        ("false", "Boolean", False),
        ("1/31/2027 12:00:00 AM", "Date", "2027-01-31"),
        ("11/1/2026 2:05:09 PM", "Date", "2026-11-01T14:05:09"),
        ("31.1.2027", "Date", "31.1.2027"),
        ("twelve", "Number", "twelve"),
        ("12", "Text", "12"),
    ],
)
def test_a_text_that_is_read_becomes_the_value_that_was_written(value, column_type, expected):
    assert typed(value, column_type) == expected


def test_a_few_people_of_many_are_read_with_few_requests(sfmc):
    people = [person(number) for number in range(1, 7_501)]
    odd = Row("o'neil + $1", "odd@example.com", payload=orjson.dumps({"ContactKey": "o'neil + $1", "IsActive": True}))
    sfmc.settle(Operation.UPSERT, [*people, odd])

    for rows, expected in (([people[7_000]], 1), ([odd], 1), (people[:3], 3), (people, 3)):
        before = sfmc.requested("/data/v1/customobjectdata/")
        held = sfmc.client.read(rows, ["FirstName"])
        assert {one.customer_id for one in held} == {row.customer_id for row in rows}
        assert len(held) == len(rows)
        pages = sfmc.requested("/data/v1/customobjectdata/") - before
        assert pages == 1 + 1 + expected  # suppressions, the first page, then people or pages


def test_preparing_finds_everything_that_the_map_needs(sfmc):
    sfmc.client.prepare(ATTRIBUTES, [LIST])
    before = len(sfmc.vendor.app.calls)
    sfmc.client.prepare(ATTRIBUTES, [LIST])
    assert len(sfmc.vendor.app.calls) == before  # known by now


def test_an_extension_is_found_among_many_with_a_name_like_it(sfmc):
    for number in range(60):
        sfmc.vendor.app.create_extension(f"a{number}_winners", LIST_COLUMNS)
    sfmc.vendor.app.create_extension("winners", LIST_COLUMNS)
    sfmc.client.prepare({}, ["winners"])


@pytest.mark.parametrize(
    ("columns", "is_sendable", "attributes", "found"),
    [
        ({}, True, {"Age": "number"}, "expected a column 'Age' of type Number or Decimal, found none"),
        ({"Age": Column("Text", 10)}, True, {"Age": "number"}, "of type Number or Decimal, found Text"),
        ({"IsActive": Column("Text", 10)}, True, {}, "expected a column 'IsActive' of type Boolean, found Text"),
        (
            {"EmailAddress": Column("EmailAddress", 254, is_key=True)},
            True,
            {},
            "primary key ContactKey, found ContactKey",
        ),
        ({"ContactKey": Column("Text", 100)}, True, {}, "expected the primary key ContactKey, found none"),
        ({}, False, {}, "expected a sendable one"),
    ],
)
def test_what_an_extension_lacks_is_said_before_the_first_write(sfmc, columns, is_sendable, attributes, found):
    sfmc.vendor.app.create_extension(PROFILES, {**PROFILE_COLUMNS, **columns}, is_sendable=is_sendable)
    with pytest.raises(DestinationError) as error:
        sfmc.client.prepare(attributes, [])
    assert found in str(error.value)
    assert f"data extension '{PROFILES}'" in str(error.value)
    assert "next step: " in str(error.value)
    assert sfmc.requested("/data/v1/async") == 0


def test_suppressions_of_an_extension_that_lacks_a_column_are_not_taken_for_none(sfmc):
    columns = {name: column for name, column in SUPPRESSION_COLUMNS.items() if name != "SuppressedAt"}
    sfmc.vendor.app.create_extension(SUPPRESSIONS, columns)
    with pytest.raises(DestinationError, match="expected a column 'SuppressedAt' of type Text, found none"):
        sfmc.client.suppressions(None)


def test_an_extension_that_is_not_there_is_said_with_the_remedy(sfmc):
    with pytest.raises(DestinationError, match="external key 'winners', found none; next step: create it"):
        sfmc.client.prepare({}, ["winners"])
    with pytest.raises(DestinationError, match="external key 'winners', found none; next step: create it"):
        sfmc.client.send(Operation.JOIN, [person()], key="key", list_id="winners")


def _account_wrote(sfmc: Line, customer_id: str, **values: object) -> None:
    item = {"ContactKey": customer_id, "Source": "account", "IsSuppressed": True, **values}
    sfmc.call("PUT", f"/data/v1/async/dataextensions/key:{SUPPRESSIONS}/rows", {"items": [item]})
    sfmc.clock.pause(4.0)
