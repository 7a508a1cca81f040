"""A drop of files: what the receiving side finds in the folder."""

import csv
import gzip
import hashlib
import io
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from drop_folder import (
    ATTRIBUTES,
    EXPECTED,
    ROWS,
    SECRET,
    connecting,
    list_of,
    manifests,
    person,
    table,
)

from letterpress import storage
from letterpress.activation.destinations import Connection
from letterpress.activation.destinations.files import COLUMNS, ENDPOINTS, Options, open_client
from letterpress.activation.destinations.spec import Operation, Results, Row


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def connect(base: Path):
    with connecting(base) as connect:
        yield connect


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


def test_an_object_store_is_a_folder_too():
    address = f"memory://drop-{uuid.uuid4().hex}"
    with open_client(Connection(address, ""), Options()) as client:
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
        assert [one.email for one in client.read([person(1)], [])] == ["person1@example.com"]
    assert len(storage.names(f"{address}/customers/manifests")) == 1
    storage.delete(address)


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
