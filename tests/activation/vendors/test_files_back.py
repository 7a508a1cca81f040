"""A drop of files: what comes back of it, and how somebody is taken out of it."""

import gzip
import hashlib
import logging
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drop_folder import INBOUND, SECRET, connecting, manifests, person

from letterpress.activation.destinations.spec import DestinationError, Held, Operation, Row


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def connect(base: Path):
    with connecting(base) as connect:
        yield connect


def test_reading_tells_what_a_receiver_holds_who_has_read_all_files_in_their_order(connect):
    client = connect()

    def send(operation: Operation, *rows: Row, list_id: str | None = None) -> None:
        send.count += 1
        client.send(operation, rows, key=str(send.count), list_id=list_id)

    send.count = 0
    send(Operation.UPSERT, *(person(number) for number in range(1, 8)))
    send(Operation.JOIN, *(Row(f"c{number}") for number in range(1, 8)), list_id="vip")
    send(Operation.JOIN, Row("c1"), Row("c6"), list_id="new")
    send(Operation.LEAVE, Row("c1"), list_id="vip")
    send(Operation.SUPPRESS, Row("c2", reason="unsubscribed"), Row("c5", reason="bounced"), Row("c6", reason="bounced"))
    send(Operation.SUBSCRIBE, Row("c2", consent_proof="proof"))
    send(Operation.DELETE, Row("c3"))
    send(Operation.ERASE, Row("c4"))
    send(Operation.MOVE, Row("c6", moves_to="c9"), Row("c7", moves_to="c1"))
    send(Operation.UPSERT, person(1, tier="silver"))

    found = client.read([Row(f"c{number}") for number in range(1, 10)], ["tier"])
    assert found == [
        Held("c1", "person1@example.com", {"tier": "silver"}, frozenset({"new", "vip"}), False),
        Held("c2", "person2@example.com", {"tier": "gold"}, frozenset({"vip"}), False),
        Held("c5", "person5@example.com", {"tier": "gold"}, frozenset({"vip"}), True),
        Held("c9", "person6@example.com", {"tier": "gold"}, frozenset({"vip", "new"}), True),
    ]


def test_reading_says_so_where_files_were_taken_away_or_changed(base, connect):
    client = connect()
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    path = base / "customers" / manifests(base)[0]["file"]
    path.write_text(path.read_text().replace("gold", "lead"))
    with pytest.raises(DestinationError, match=r"expected the content that was written, found another; .* put back"):
        client.read([person(1)], ["tier"])
    path.unlink()
    with pytest.raises(DestinationError, match=r"upsert-\w+\.csv was taken away"):
        client.read([person(1)], ["tier"])


@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip", "line_ending": "crlf", "cleared": r"\N", "quoting": "all"}]
)
def test_erasing_takes_the_person_out_of_every_earlier_file_and_leaves_the_others_untouched(base, connect, options):
    client = connect(**options)
    others = [person(2, first_name='a "quoted"\r\nname', tier=None), person(3, first_name="")]
    client.send(Operation.UPSERT, [person(7), others[0], person(1), others[1]], key="1", list_id=None)
    client.send(Operation.JOIN, [Row("c1", "person1@example.com"), Row("c2")], key="2", list_id="vip")
    client.send(Operation.MOVE, [Row("c7", moves_to="c1"), Row("c8", moves_to="c2")], key="3", list_id=None)
    leftover = base / "customers" / f"upsert-x.csv.{uuid.uuid4().hex}.part"
    leftover.write_text("c1,person1@example.com")
    before = {one["operation"]: one for one in manifests(base)}
    client.send(Operation.ERASE, [Row("c1", "person1@example.com")], key="4", list_id=None)

    found = {one["operation"]: one for one in manifests(base)}
    assert {name: one["rows"] for name, one in found.items()} == {"upsert": 2, "join": 1, "move": 1, "erase": 1}
    assert all(found[name]["file"] == one["file"] for name, one in before.items())
    for one in found.values():
        content = (base / "customers" / one["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["sha256"]
        text = gzip.decompress(content) if options else content
        assert b"person1@" not in text
        assert b"person7@" not in text
    assert not leftover.exists()
    alone = connect(folder="alone", **options)
    alone.send(Operation.UPSERT, others, key="1", list_id=None)
    (expected,) = (base / "alone").glob("upsert-*")
    assert (base / "customers" / found["upsert"]["file"]).read_bytes() == expected.read_bytes()


def test_what_the_receiving_side_drops_comes_back_once_with_its_reasons(base, connect):
    client = connect()
    assert client.suppressions(None) == ([], None)
    inbound = base / "customers" / "inbound"
    (inbound / "2026-11-05.csv").write_text(INBOUND)
    (inbound / "2026-11-06.csv.part").write_text("half of a fi")
    events, position = client.suppressions(None)
    assert [(one.email, one.external_id, one.reason) for one in events] == [
        ("a@example.com", "c1", "unsubscribed"),
        ("b@example.com", None, "bounced"),
        (None, "c3", "complained"),
    ]
    assert events[1].suppressed_at == datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
    assert len(position) <= 64
    assert connect().suppressions(position) == ([], position)

    # Dropped late under an earlier name, compressed, with another order of columns.
    text = "reason,email,occurred_at,external_id\nconsent_withdrawn,d@example.com,2026-11-04T08:30:00Z,\n"
    (inbound / "2026-11-04.csv.gz").write_bytes(gzip.compress(text.encode()))
    events, later = client.suppressions(position)
    assert [(one.email, one.reason) for one in events] == [("d@example.com", "consent_withdrawn")]
    assert client.suppressions(later) == ([], later)
    # A pull that was not recorded begins at the position before.
    assert client.suppressions(position)[0] == events


def test_a_file_that_was_read_may_go_but_must_not_change(base, connect):
    client = connect()
    inbound = base / "customers" / "inbound"
    (inbound / "1.csv").write_text(INBOUND)
    (inbound / "2.csv").write_text(INBOUND)
    _, position = client.suppressions(None)
    (inbound / "1.csv").write_text(INBOUND + "e@example.com,,bounced,2026-11-05T08:30:00Z\n")
    with pytest.raises(
        DestinationError, match=r"inbound/1\.csv: .* a file must not change once it was dropped"
    ) as error:
        client.suppressions(position)
    assert "@" not in str(error.value)
    (inbound / "1.csv").unlink()
    events, position = client.suppressions(position)
    assert events == []
    assert client.suppressions(position) == ([], position)


def test_where_nobody_knows_what_was_read_all_is_read_again(base, connect, caplog):
    client = connect()
    (base / "customers" / "inbound" / "1.csv").write_text(INBOUND)
    _, position = client.suppressions(None)
    (state,) = (base / "customers" / "pulled").iterdir()
    for lose in (state.unlink, lambda: state.write_text("{}"), lambda: state.write_text("half of")):
        lose()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            events, again = client.suppressions(position)
        assert (len(events), again) == (3, position)
        assert "all is read again" in caplog.text
        assert client.suppressions(position) == ([], position)


@pytest.mark.parametrize("column", ["email", "external_id", "reason", "occurred_at"])
def test_a_misspelled_column_of_an_inbound_file_is_refused(base, connect, column):
    (base / "customers").mkdir()
    client = connect()
    (base / "customers" / "inbound" / "1.csv").write_text(INBOUND.replace(column, f"{column}x", 1))
    with pytest.raises(DestinationError, match=rf"inbound/1\.csv: expected a header .*, found none called {column}; "):
        client.suppressions(None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",,bounced,2026-11-05T08:30:00Z", "row 4: expected an email or an external_id, found neither"),
        (f"{SECRET},,spam,2026-11-05T08:30:00Z", "row 4: reason: expected unsubscribed.*|consent_withdrawn.*"),
        (f"{SECRET},,bounced,2026-11-05T08:30:00", "row 4: occurred_at: expected an instant like"),
        (f"{SECRET},,bounced,yesterday", "row 4: occurred_at: expected an instant like"),
        (f"{SECRET},,bounced", "row 5: expected 4 fields, found 3"),
        (f'"{SECRET},,bounced,2026-11-05T08:30:00Z', "expected CSV, found a broken row"),
        (f"{SECRET},\udcff,bounced,2026-11-05T08:30:00Z", "expected text in utf-8, found bytes that are none"),
    ],
)
def test_an_inbound_file_that_is_not_understood_stops_the_line_without_a_personal_word(base, connect, row, message):
    client = connect()
    path = base / "customers" / "inbound" / "1.csv"
    path.write_bytes((INBOUND + row + "\n").encode(errors="surrogateescape"))
    with pytest.raises(DestinationError, match=message) as error:
        client.suppressions(None)
    assert "nothing is pushed until this file is put right or removed" in str(error.value)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_an_inbound_file_without_its_header_is_refused_without_telling_what_is_there_instead(base, connect):
    client = connect()
    (base / "customers" / "inbound" / "1.csv").write_text(f"{SECRET},c1,bounced,2026-11-05T08:30:00Z\n")
    with pytest.raises(DestinationError, match="expected a header with the columns email") as error:
        client.suppressions(None)
    assert SECRET not in str(error.value)
