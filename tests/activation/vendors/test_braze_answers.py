"""What Braze says of people is understood, and what it leaves unsaid is not taken for a success."""

from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
from braze_workspace import person, send, workspace

from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.destinations import destination
from letterpress.activation.destinations.braze import Braze, Options
from letterpress.activation.destinations.spec import BatchRefused, Operation

DAY = 86_400
BLOCK = """\
braze:
  module: braze
  connection: letterpress_braze
  audience: activation.sync_customers
  enabled: false
  leavers: delete
  subscribes: true
  attributes:
    first_name: {attribute: first_name}
    country_code: {attribute: country}
    loyalty_tier: {attribute: loyalty}
    segments: {attribute: segments, type: list, nulls: write}
  options: {list_length: 50}
"""


def configured(folder, text):
    path = folder / "destinations.yml"
    path.write_text(text)
    return destination("braze", path)


@pytest.fixture
def both(clock, held_to):
    with workspace(clock=clock, specifications=held_to) as pair:
        yield pair


@pytest.fixture
def client(both):
    return both[1]


@pytest.fixture
def app(both):
    return both[0].app


def test_row_errors_name_the_person_the_field_and_no_value(client, app):
    rows = [person("c-1"), person("c-2", email="nobody at example.com"), person("c-3", dob="10/12/1985")]
    told = send(client, Operation.UPSERT, *rows)
    assert {one: error.code for one, error in told.errors.items()} == {"c-2": "invalid_email", "c-3": "invalid_dob"}
    assert "'email'" in told.errors["c-2"].message
    assert "nobody" not in str(told)
    assert set(app.users) == {"c-1"}
    assert told.unanswered == frozenset()


def answering(status, answer):
    """A client whose every request is answered so."""

    class Answering:
        def request(self, *asked, **given):
            return httpx.Response(status, content=orjson.dumps(answer))

    return Braze(Answering(), Options())


def test_an_error_that_names_nobody_leaves_those_unanswered_whom_no_other_error_names():
    errors = [{"index": 0, "input_array": "attributes", "type": "EMAIL_BAD_FORMAT"}, {"type": "events: no"}]
    told = send(answering(201, {"message": "success", "errors": errors}), Operation.UPSERT, person("1"), person("2"))
    assert told.errors["1"].code == "email_bad_format"
    assert told.unanswered == {"2"}


@pytest.mark.parametrize("answer", [{"message": "no"}, {"message": "no", "errors": ["no"]}, "<html>"])
def test_a_refusal_that_does_not_name_everybody_is_one_of_the_whole_request(answer):
    with pytest.raises(BatchRefused, match="http_400"):
        send(answering(400, answer), Operation.UPSERT, person("1"), person("2"))


def test_a_message_keeps_the_names_of_fields_and_no_value_that_it_quotes():
    errors = [{"index": 0, "input_array": "attributes", "type": "'Ada' is no \"Byron\" for 'first_name'"}]
    told = send(answering(201, {"errors": errors}), Operation.UPSERT, person("1"))
    assert (told.errors["1"].code, told.errors["1"].message) == ("invalid_first_name", "… is no … for 'first_name'")


def test_rows_that_are_all_wrong_are_refused_as_rows_though_braze_refuses_the_request(client, app):
    told = send(client, Operation.UPSERT, person("c-1", email="x"), person("c-2", email="y"))
    assert app.calls[-1][2] == 400
    assert {error.code for error in told.errors.values()} == {"invalid_email"}
    assert set(told.errors) == {"c-1", "c-2"}


def test_values_that_braze_would_drop_without_a_word_never_count_as_written(client, app):
    long, many = person("c-1", loyalty_tier="x" * 256), person("c-2", segments=[str(one) for one in range(26)])
    fits = person("c-3", loyalty_tier="x" * 255, segments=[str(one) for one in range(25)])
    told = send(client, Operation.UPSERT, long, many, fits)
    assert {one: error.code for one, error in told.errors.items()} == {"c-1": "too_long", "c-2": "too_many_values"}
    assert set(app.users) == {"c-3"}
    assert app.users["c-3"]["custom_attributes"] == {
        name: orjson.loads(fits.payload)[name] for name in ("loyalty_tier", "segments")
    }


def test_suppressions_come_back_with_their_reasons_and_instants(client, app, clock):
    app.unsubscribe("left@example.com")
    app.bounce("dead@example.com")
    app.complain("angry@example.com")
    events, position = client.suppressions(None)
    # Complaints cannot be read from Braze; it unsubscribes who complains.
    assert {event.email: event.reason for event in events} == {
        "left@example.com": "unsubscribed",
        "dead@example.com": "bounced",
        "angry@example.com": "unsubscribed",
    }
    now = datetime.fromtimestamp(clock.now(), UTC)
    assert {event.suppressed_at for event in events} == {now}
    assert position == now.date().isoformat()


def test_the_position_goes_on_with_the_days_of_braze_and_misses_nothing_of_today(client, app, clock):
    app.unsubscribe("first@example.com")
    _, position = client.suppressions(None)
    app.unsubscribe("later-that-day@example.com")
    assert "later-that-day@example.com" in {event.email for event in client.suppressions(position)[0]}
    clock.pause(3 * DAY)
    app.bounce("days-later@example.com")
    events, position = client.suppressions(client.suppressions(position)[1])
    assert [event.email for event in events] == ["days-later@example.com"]
    assert position == (datetime.fromtimestamp(clock.start, UTC) + timedelta(days=3)).date().isoformat()


def test_what_braze_lists_a_day_late_is_not_missed(client, app, clock):
    _, position = client.suppressions(None)
    app.hard_bounces["late@example.com"] = clock.now() - DAY
    assert [event.email for event in client.suppressions(position)[0]] == ["late@example.com"]


def test_long_lists_of_suppressions_are_read_whole(client, app):
    emails = {f"person-{number}@example.com" for number in range(1_200)}
    for email in emails:
        app.states[email] = {"state": "unsubscribed", "at": app.clock()}
    assert {event.email for event in client.suppressions(None)[0]} == emails


def test_an_address_that_leaves_the_list_between_two_pages_hides_no_other(client, app, monkeypatch):
    emails = [f"person-{number:04}@example.com" for number in range(600)]
    for number, email in enumerate(emails):
        app.states[email] = {"state": "unsubscribed", "at": app.clock() - number}
    pages = []

    def resubscribed(method, path):
        if path == "/email/unsubscribes":
            pages.append(path)
            for email in emails[:5] if len(pages) == 2 else ():
                app.states[email] = {"state": "opted_in", "at": app.clock()}

    monkeypatch.setattr(app, "next_fault", resubscribed)
    assert {event.email for event in client.suppressions(None)[0]} == set(emails)
    assert len(pages) == 2


def test_a_field_map_for_braze_is_taken(tmp_path):
    one = configured(tmp_path, BLOCK)
    assert one.type_of("segments") == "list"
    assert one.checked_options().list_length == 50


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "options:",
            "lists: {vip: 504e09e6}\n  options:",
            "lists: braze has no operation leave|join; remove this line",
        ),
        ("attribute: loyalty", "attribute: email_subscribe", "found 'email_subscribe', which is taken"),
        ("attribute: loyalty", "attribute: subscription_groups", "found 'subscription_groups', which is taken"),
        ("attribute: loyalty", "attribute: loyalty.tier", "found 'loyalty.tier', which braze does not take"),
        ("list_length: 50", "list_size: 50", "list_size"),
    ],
)
def test_what_braze_has_not_or_consent_alone_may_write_is_refused_at_start(tmp_path, old, new, message):
    with pytest.raises(ConfigurationError, match=message):
        configured(tmp_path, BLOCK.replace(old, new))
