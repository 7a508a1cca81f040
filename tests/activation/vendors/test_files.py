"""A drop of files: what the receiving side finds in the folder, and what it says back."""

import csv
import errno
import gzip
import hashlib
import io
import json
import logging
import os
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from letterpress import storage
from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.destinations import Connection, destination
from letterpress.activation.destinations.files import COLUMNS, ENDPOINTS, Options, open_client
from letterpress.activation.destinations.spec import DestinationError, Held, Operation, Results, Row

ATTRIBUTES = {"first_name": "string", "tier": "string", "segments": "list"}
SECRET = "jane@example.com"


def person(number: int, **values) -> Row:
    """One person's upsert: the payload as SHAPE asks for it."""
    customer_id, email = f"c{number}", f"person{number}@example.com"
    values = {"first_name": f"Name {number}", "tier": "gold", "segments": "loyal|new", **values}
    return Row(customer_id, email, orjson.dumps({"external_id": customer_id, "email": email, **values}))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def connect(base: Path):
    """Open a client for the folder, prepared with the field map's attributes."""
    opened = []

    def open_(**options):
        context = open_client(Connection(base.as_uri(), ""), Options(**options))
        client = context.__enter__()
        client.prepare(ATTRIBUTES, ["a list"])
        opened.append(context)
        return client

    yield open_
    for context in opened:
        context.__exit__(None, None, None)


def manifests(base: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted((base / "customers" / "manifests").iterdir())]


def table(base: Path, manifest: dict) -> list[list[str]]:
    """A file as any reader of CSV sees it."""
    text = (base / "customers" / manifest["file"]).read_bytes().decode("utf-8")
    return list(csv.reader(io.StringIO(text, newline="")))


def files(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


def empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


ROWS = {
    Operation.SUPPRESS: Row("c1", "person1@example.com", reason="unsubscribed"),
    Operation.ERASE: Row("c1", "person1@example.com"),
    Operation.MOVE: Row("c1", moves_to="c2"),
    Operation.LEAVE: Row("c1", "person1@example.com"),
    Operation.DELETE: Row("c1", "person1@example.com"),
    Operation.SUBSCRIBE: Row(
        "c1", "person1@example.com", consent_proof="proof-1", consented_at=datetime(2026, 11, 5, 8, 30, tzinfo=UTC)
    ),
    Operation.UPSERT: person(1),
    Operation.JOIN: Row("c1", "person1@example.com"),
}
EXPECTED = {
    Operation.SUPPRESS: ["c1", "person1@example.com", "unsubscribed"],
    Operation.ERASE: ["c1"],
    Operation.MOVE: ["c1", "c2"],
    Operation.LEAVE: ["c1", "person1@example.com", "vip"],
    Operation.DELETE: ["c1", "person1@example.com"],
    Operation.SUBSCRIBE: ["c1", "person1@example.com", "2026-11-05T08:30:00+00:00", "proof-1"],
    Operation.UPSERT: ["c1", "person1@example.com", "Name 1", "gold", "loyal|new"],
    Operation.JOIN: ["c1", "person1@example.com", "vip"],
}


def list_of(operation: Operation) -> str | None:
    return "vip" if operation in (Operation.JOIN, Operation.LEAVE) else None


@pytest.mark.parametrize("operation", list(Operation))
def test_each_operation_is_one_file_with_a_manifest_and_repeated_it_is_the_same_one(base, connect, operation):
    client = connect()
    for _ in range(3):
        results = client.send(operation, [ROWS[operation]], key="key", list_id=list_of(operation))
        assert results == Results()
    again = connect()
    assert again.send(operation, [ROWS[operation]], key="key", list_id=list_of(operation)) == Results()

    (manifest,) = manifests(base)
    header = COLUMNS.get(operation, ("external_id", "email", *ATTRIBUTES))
    assert table(base, manifest) == [list(header), EXPECTED[operation]]
    content = (base / "customers" / manifest["file"]).read_bytes()
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert (manifest["sequence"], manifest["rows"], manifest["bytes"]) == (1, 1, len(content))
    assert (manifest["operation"], manifest["list"]) == (operation, list_of(operation))
    assert manifest["columns"] == list(header)


def test_another_key_or_list_is_another_file_and_manifests_are_numbered_in_the_order_of_sending(base, connect):
    client = connect()
    client.send(Operation.JOIN, [ROWS[Operation.JOIN]], key="key", list_id="vip")
    client.send(Operation.JOIN, [ROWS[Operation.JOIN]], key="key", list_id="new")
    connect().send(Operation.LEAVE, [ROWS[Operation.JOIN]], key="key", list_id="vip")
    connect().send(Operation.JOIN, [ROWS[Operation.JOIN]], key="later", list_id="vip")
    found = [(one["sequence"], one["operation"], one["list"]) for one in manifests(base)]
    assert found == [(1, "join", "vip"), (2, "join", "new"), (3, "leave", "vip"), (4, "join", "vip")]
    assert len({one["file"] for one in manifests(base)}) == 4


def test_many_threads_write_every_file_once_under_numbers_of_their_own(base, connect):
    client = connect()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: client.send(Operation.UPSERT, [person(number % 20)], key=f"{number % 20}", list_id=None),
                range(60),
            )
        )
    assert [one["sequence"] for one in manifests(base)] == list(range(1, 21))
    assert {table(base, one)[1][0] for one in manifests(base)} == {f"c{number}" for number in range(20)}


def test_a_key_taken_away_with_its_file_is_still_known_by_its_manifest(base, connect):
    connect().send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (manifest,) = manifests(base)
    (base / "customers" / manifest["file"]).unlink()
    connect().send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    assert len(manifests(base)) == 1
    assert not (base / "customers" / manifest["file"]).exists()


def test_what_endpoints_allow_at_most_is_one_file(base, connect):
    cap = ENDPOINTS[Operation.UPSERT]
    rows = [person(number) for number in range(cap.rows)]
    assert sum(len(row.payload) for row in rows) < cap.bytes
    assert connect().send(Operation.UPSERT, rows, key="key", list_id=None) == Results()
    assert manifests(base)[0]["rows"] == cap.rows
    assert set(ENDPOINTS) >= set(Operation)


@pytest.mark.parametrize(
    "value", ['say "hi", Jane', "two\nlines", "two\r\nlines", " spaces ", "a;b\tc|d", "Ærøskøbing 🎈", "", "-"]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"delimiter": ";", "line_ending": "crlf"},
        {"delimiter": "\t", "quoting": "all", "encoding": "utf-8-sig"},
        {"delimiter": "|", "compression": "gzip", "formulas": "guard", "cleared": r"\N"},
    ],
)
def test_any_value_comes_back_as_it_was_written(base, connect, value, options):
    client = connect(**options)
    client.send(Operation.UPSERT, [person(1, first_name=value)], key="key", list_id=None)
    (manifest,) = manifests(base)
    content = (base / "customers" / manifest["file"]).read_bytes()
    if options.get("compression"):
        content = gzip.decompress(content)
    encoding, delimiter = options.get("encoding", "utf-8"), options.get("delimiter", ",")
    lines = list(csv.reader(io.StringIO(content.decode(encoding), newline=""), delimiter=delimiter))
    assert lines[1] == ["c1", "person1@example.com", value, "gold", "loyal|new"]
    assert content.decode(encoding).endswith("\r\n" if options.get("line_ending") else "\n")
    (held,) = client.read([person(1)], list(ATTRIBUTES))
    assert held.attributes["first_name"] == (value or None)


def test_no_value_an_empty_text_and_a_value_that_is_gone_are_three_things(base, connect):
    rows = [person(1, first_name="", tier=None)]
    payload = orjson.loads(rows[0].payload)
    del payload["segments"]
    row = Row("c1", "person1@example.com", orjson.dumps(payload))
    for cleared in ("", r"\N"):
        client = connect(cleared=cleared)
        client.send(Operation.UPSERT, [row], key=cleared, list_id=None)
    plain, marked = ((base / "customers" / one["file"]).read_text() for one in manifests(base))
    assert plain.splitlines()[1] == 'c1,person1@example.com,"",,'
    assert marked.splitlines()[1] == r'c1,person1@example.com,"",\N,'
    (held,) = client.read([row], list(ATTRIBUTES))
    assert held.attributes == dict.fromkeys(ATTRIBUTES)


def test_numbers_and_booleans_are_written_as_json_writes_them(base, connect):
    client = connect()
    client.send(Operation.UPSERT, [person(1, first_name=12.5, tier=True, segments=3)], key="key", list_id=None)
    assert table(base, manifests(base)[0])[1][2:] == ["12.5", "true", "3"]


@pytest.mark.parametrize(
    ("value", "in_a_spreadsheet"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3+cmd", "'-2+3+cmd"),
        ("\t=1", "'\t=1"),
        ("'=1", "''=1"),
        ("+49 30 901820", "+49 30 901820"),
        ("-12.50", "-12.50"),
        ("'tis", "'tis"),
        ("a=b", "a=b"),
    ],
)
def test_formulas_stand_as_they_are_unless_a_spreadsheet_reads_them(base, connect, value, in_a_spreadsheet):
    for formulas, expected in (("keep", value), ("guard", in_a_spreadsheet)):
        client = connect(formulas=formulas)
        client.send(Operation.UPSERT, [person(1, first_name=value)], key=formulas, list_id=None)
        assert table(base, manifests(base)[-1])[1][2] == expected
        (held,) = client.read([person(1)], ["first_name"])
        assert held.attributes == {"first_name": value}


def test_ids_and_addresses_are_never_guarded(base, connect):
    row = Row("=c1", "+jane@example.com", orjson.dumps({"external_id": "=c1", "email": "+jane@example.com"}))
    connect(formulas="guard").send(Operation.UPSERT, [row], key="key", list_id=None)
    assert table(base, manifests(base)[0])[1][:2] == ["=c1", "+jane@example.com"]


def test_who_cannot_be_written_is_told_by_name_of_the_column_and_the_others_are_written(base, connect):
    rows = [
        person(1),
        person(2, first_name="Łukasz"),
        person(3, tier="a\0b"),
        person(4, first_name="x" * 100_001),
        person(5, unknown="x"),
        person(6, tier=["a", "b"]),
        Row("c7", SECRET, b"{"),
        Row("c8", SECRET, person(1).payload),
    ]
    for _ in range(2):
        results = connect(encoding="cp1252").send(Operation.UPSERT, rows, key="key", list_id=None)
        found = {
            customer_id: (error.code, error.message.split(":")[0]) for customer_id, error in results.errors.items()
        }
        assert found == {
            "c2": ("not_encodable", "first_name"),
            "c3": ("control_character", "tier"),
            "c4": ("too_long", "first_name"),
            "c5": ("unknown_attribute", "expected the attributes of the field map, found unknown"),
            "c6": ("not_flat", "tier"),
            "c7": ("invalid_payload", "expected a JSON object with the person's external_id"),
            "c8": ("invalid_payload", "expected a JSON object with the person's external_id"),
        }
        assert not any(text in repr(results) for text in ("Łukasz", SECRET, "person2@", "a\0b"))
    (manifest,) = manifests(base)
    assert [row[0] for row in table(base, manifest)[1:]] == ["c1"]


@pytest.mark.parametrize("name", ["first_name", "tier", "segments"])
def test_a_misspelled_attribute_is_refused(base, connect, name):
    payload = orjson.loads(person(1).payload)
    payload[f"{name}x"] = payload.pop(name)
    results = connect().send(Operation.UPSERT, [Row("c1", None, orjson.dumps(payload))], key="key", list_id=None)
    assert results.errors["c1"].code == "unknown_attribute"
    assert manifests(base) == []


def test_an_opt_in_needs_its_proof_and_a_move_its_target(base, connect):
    client = connect()
    results = client.send(Operation.SUBSCRIBE, [Row("c2", SECRET), ROWS[Operation.SUBSCRIBE]], key="key", list_id=None)
    assert {name: error.code for name, error in results.errors.items()} == {"c2": "no_proof"}
    results = client.send(Operation.MOVE, [Row("c1")], key="key", list_id=None)
    assert {name: error.code for name, error in results.errors.items()} == {"c1": "no_target"}
    assert [one["operation"] for one in manifests(base)] == ["subscribe"]


def test_the_columns_are_the_field_map_s_whatever_a_payload_has(base, connect):
    row = Row("c1", None, orjson.dumps({"external_id": "c1", "email": "person1@example.com", "tier": "gold"}))
    connect().send(Operation.UPSERT, [row], key="key", list_id=None)
    assert table(base, manifests(base)[0]) == [
        ["external_id", "email", "first_name", "tier", "segments"],
        ["c1", "person1@example.com", "", "gold", ""],
    ]


def test_a_client_that_was_told_no_attributes_takes_those_of_the_payloads(base):
    with open_client(Connection(base.as_uri(), ""), Options()) as client:
        client.send(Operation.UPSERT, [person(1), person(2, more="x")], key="key", list_id=None)
    assert manifests(base)[0]["columns"] == ["external_id", "email", "first_name", "tier", "segments", "more"]


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


INBOUND = """\
email,external_id,reason,occurred_at
a@example.com,c1,unsubscribed,2026-11-05T08:30:00Z
b@example.com,,bounced,2026-11-05T10:30:00+01:00
,c3,complained,2026-11-05T08:30:00Z
"""


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


def test_a_folder_that_is_not_there_is_an_error_in_every_call(tmp_path):
    with open_client(Connection((tmp_path / "typo").as_uri(), ""), Options()) as client:
        for call in (
            lambda: client.prepare({}, ()),
            lambda: client.send(Operation.UPSERT, [person(1)], key="key", list_id=None),
            lambda: client.suppressions(None),
            lambda: client.read([person(1)], []),
        ):
            with pytest.raises(DestinationError, match=r"expected the folder .*typo, found none; make it"):
                call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://example.com/drop", "expected an address like file:///folder, .* found https://"),
        ("nowhere://example/drop", "expected an address whose scheme fsspec knows, found nowhere://"),
        ("sftp://host:port/drop", "with a port that is no number"),
        ("sftp:///drop", "without a host"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address, message):
    with pytest.raises(DestinationError, match=message), open_client(Connection(address, ""), Options()) as client:
        client.prepare({}, ())


def test_an_object_store_is_a_folder_too():
    address = f"memory://drop-{uuid.uuid4().hex}"
    with open_client(Connection(address, ""), Options()) as client:
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
        assert [one.email for one in client.read([person(1)], [])] == ["person1@example.com"]
    assert len(storage.names(f"{address}/customers/manifests")) == 1
    storage.delete(address)


@pytest.mark.parametrize("place", ["file", "manifest"])
def test_a_full_disk_is_an_error_that_says_so_and_with_room_again_all_is_written(base, connect, monkeypatch, place):
    client = connect()
    ending = {"file": ".csv", "manifest": ".json"}[place]
    with monkeypatch.context() as patched:
        # The device that is always full stands behind the name that the file is written aside to.
        def opened(path, mode):
            return open("/dev/full" if f"{ending}." in path else path, mode)

        patched.setattr(storage, "open", opened, raising=False)
        for _ in range(2):
            with pytest.raises(DestinationError, match="found no room for it; make room there and run again") as error:
                client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
            assert "person1@" not in str(error.value)
            assert manifests(base) == []
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (manifest,) = manifests(base)
    assert table(base, manifest)[1][0] == "c1"
    assert not list(base.rglob("*.part"))


def test_a_folder_without_the_right_to_write_is_an_error_that_says_so(connect):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        with open_client(Connection(Path(folder).as_uri(), ""), Options()) as client:
            if is_root:
                os.seteuid(65534)  # nobody: root may write everywhere
            try:
                with pytest.raises(DestinationError, match="found no right to it; give the connection's login"):
                    client.prepare({}, ())
            finally:
                if is_root:
                    os.seteuid(0)
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_any_other_error_of_the_folder_names_the_file_and_the_next_step(connect, monkeypatch, code):
    client = connect()

    def broken(uri, content):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storage, "write_bytes", broken)
    with pytest.raises(DestinationError, match=rf"upsert-\w+\.csv: .* found {os.strerror(code)}; .* run again"):
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)


def test_nothing_personal_is_logged(connect, caplog):
    client = connect()
    with caplog.at_level(logging.DEBUG):
        for operation in Operation:
            client.send(operation, [ROWS[operation]], key="key", list_id=list_of(operation))
    assert "upsert-" in caplog.text
    assert "@" not in caplog.text
    assert "Name 1" not in caplog.text


def test_jobs_are_not_known_there(connect):
    client = connect()
    assert client.is_busy() is False
    with pytest.raises(ValueError, match="expected no job, found 17"):
        client.results(Operation.UPSERT, "17", [])


def test_a_manifest_that_is_none_is_named(base, connect):
    client = connect()
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (path,) = (base / "customers" / "manifests").iterdir()
    path.write_text("{}")
    with pytest.raises(DestinationError, match=r"manifests/0000000001-upsert-\w+\.json: expected a manifest"):
        client.read([person(1)], [])


BLOCK = """\
drop:
  module: files
  connection: drop
  audience: activation.sync_customers
  lists: {loyal: vip}
  subscribes: true
  leavers: delete
  batch: {rows: 50000, bytes: 32000000}
  attributes:
    first_name: {attribute: first_name}
  options: {folder: crm/customers, delimiter: ";", line_ending: crlf}
"""


def test_a_block_of_the_configuration_is_understood(tmp_path):
    path = tmp_path / "destinations.yml"
    path.write_text(BLOCK)
    assert destination("drop", path).checked_options() == Options(
        folder="crm/customers", delimiter=";", line_ending="crlf"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crm/customers", "../customers", "folder"),
        ("delimiter", "delimeter", "delimeter"),
        ('";"', '":"', "delimiter"),
        ("crlf", "cr", "line_ending"),
        ("attribute: first_name", "attribute: email", "expected another name, found 'email'"),
        ("attribute: first_name", "attribute: 'first,name'", "expected a name like"),
    ],
)
def test_a_mistake_in_the_configuration_is_refused(tmp_path, old, new, message):
    assert old in BLOCK
    path = tmp_path / "destinations.yml"
    path.write_text(BLOCK.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=message):
        destination("drop", path)


def test_a_manifest_comes_after_its_whole_file_at_every_instant_of_a_write(base, connect, monkeypatch):
    client = connect()
    seen = []
    real = storage.write_bytes

    def watched(uri, content):
        seen.append((len(manifests(base)), sorted(path.name for path in (base / "customers").glob("upsert-*"))))
        real(uri, content)

    monkeypatch.setattr(storage, "write_bytes", watched)
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (manifest,) = manifests(base)
    assert seen == [(0, []), (0, [manifest["file"]])]
