"""Profiles as DuckDB writes them: the JSON that Python reads is the value that the warehouse has, in every form."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from activation_line import KEY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letterpress.activation import audience, destinations
from letterpress.activation.destinations import Attribute, Destination

TABLE = "activation.sync_things"
CONTRACT = {
    "text": "varchar",
    "listed": "varchar",
    "whole": "bigint",
    "real": "double",
    "flag": "boolean",
    "day": "date",
    "instant": "timestamptz",
}
GATE = {
    "customer_id": "varchar",
    "email": "varchar",
    "segments": "varchar",
    "email_consent_status": "varchar",
    "consent_proof": "varchar",
    "consent_changed_at": "timestamptz",
    "is_eligible": "boolean",
    "refusal_reason": "varchar",
}
AT = datetime(2011, 12, 8, 7, 5, 3, 600_000, tzinfo=timezone(timedelta(hours=2)))  # five past five in UTC, and a bit
# Modules by the form of their values: JSON's own and lists as arrays, texts alone and lists as texts, lists as texts.
PLAIN, TEXTS, SEPARATED = "klaviyo", "hubspot", "salesforce"


@dataclass
class Things:
    """A published version with a table of these rows, and the profiles that a field map makes of them."""

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)

    def publish(self, rows: Sequence[dict[str, Any]]) -> str:
        if repr(rows) in self.versions:
            return self.versions[repr(rows)]
        folder = self.folder / f"published-{len(self.versions)}"
        folder.mkdir()
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            columns = {**GATE, **CONTRACT}
            typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"create schema activation; create table {TABLE} ({typed})")
            for number, row in enumerate(rows):
                whole = {
                    "customer_id": f"c{number}", "email": f"person{number}@example.com", "is_eligible": True, **row
                }  # fmt: skip
                connection.execute(
                    f"insert into {TABLE} ({', '.join(whole)}) values ({', '.join('?' * len(whole))})",
                    list(whole.values()),
                )
        return self.versions.setdefault(repr(rows), str(folder))

    def payloads(self, where: Destination, rows: Sequence[dict[str, Any]], columns: str = "payload") -> list[Any]:
        with audience.opened(self.publish(rows), KEY) as duck:
            audience.check(duck, where)
            found = duck.execute(f"select {columns} from {audience.relation(where)} order by customer_id").fetchall()
        return [row[0] for row in found]

    def values(self, where: Destination, row: dict[str, Any]) -> dict[str, Any]:
        """The attributes of one row's profile, by name."""
        return self.attributes(where, self.payloads(where, [row])[0])

    @staticmethod
    def attributes(where: Destination, payload: str) -> dict[str, Any]:
        """The attributes of a profile, by name."""
        content = json.loads(payload)
        for key in filter(None, where.shape.attributes.split(".")):
            content = content[key]
        names = {one.attribute for one in where.attributes.values()}
        return {name: value for name, value in content.items() if name in names}


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Things:
    contract = {TABLE: {**CONTRACT, **{name: kind for name, kind in GATE.items() if name != "customer_id"}}}
    for module in (audience, destinations):
        monkeypatch.setattr(module, "audiences", lambda: contract)
    return Things(tmp_path)


def mapped(module: str, **columns: Any) -> Destination:
    """A destination with these columns under the names a, b, c …; a value is the mapping's settings."""
    named = [{"attribute": f"a{place}", **given} for place, given in enumerate(columns.values())]
    options = {"subscription_id": "101"} if module == TEXTS else {}
    if module == SEPARATED:
        options = {"data_extension": "people", "suppression_extension": "stopped"}
    return Destination(
        name="things",
        module=module,
        connection="things",
        audience=TABLE,
        attributes={column: Attribute(**one) for column, one in zip(columns, named, strict=True)},
        options=options,
    )


AWKWARD = {
    "quotes": 'O\'Neil said "so"',
    "backslashes": "a\\b\\\\c\\u0041",
    "control characters": "tab\there, null\x00, bell\x07, line\nfeed\r, delete\x7f",
    "line separators": "para\u2029graph line\u2028",
    "emoji": "\U0001f44d\U0001f3fd family \U0001f469‍\U0001f469‍\U0001f467 flag \U0001f1ec\U0001f1e7",
    "right to left": "שלום עולם",
    "like JSON": '{"a": [1, null, "b"], "c": "}"}',
    "like SQL": "'; drop table sync_things; --",
    "like a template": "{{ first_name }} ${HOME} %s {0}",
    "blank": " ",
    "empty": "",
    "very long": "x" * 200_000,
}


@pytest.mark.parametrize("module", [PLAIN, TEXTS, SEPARATED])
def test_a_text_arrives_as_it_is(things, module):
    where = mapped(module, text={})
    rows = [{"customer_id": f"c{number:02d}", "text": text} for number, text in enumerate(AWKWARD.values())]
    for name, row, payload in zip(AWKWARD, rows, things.payloads(where, rows), strict=True):
        assert things.attributes(where, payload) == {"a0": row["text"]}, name


@pytest.mark.parametrize(
    ("column", "given", "value", "plain", "text"),
    [
        ("whole", {}, 2**62, 2**62, str(2**62)),
        ("whole", {}, -1, -1, "-1"),
        ("whole", {"type": "string"}, 42, "42", "42"),
        ("real", {}, 2.675, 2.68, "2.68"),
        ("real", {"decimals": 0}, 1234.5, 1235, "1235.0"),
        ("real", {"decimals": 4}, 1 / 3, 0.3333, "0.3333"),
        ("real", {"decimals": 10}, 1e-9, 1e-9, "1e-09"),
        ("real", {}, 1e308, 1e308, "1e+308"),
        ("real", {"type": "string"}, 0.5, "0.5", "0.5"),
        ("flag", {}, True, True, "true"),
        ("flag", {}, False, False, "false"),
        ("flag", {"type": "string"}, True, "true", "true"),
        ("day", {}, date(2011, 2, 3), "2011-02-03", "2011-02-03"),
        ("day", {"type": "string"}, date(2011, 2, 3), "2011-02-03", "2011-02-03"),
        ("day", {"format": "epoch_seconds"}, date(2011, 2, 3), 1296691200, "1296691200"),
        ("day", {"format": "epoch_milliseconds"}, date(2011, 2, 3), 1296691200000, "1296691200000"),
        ("day", {"format": "epoch_seconds", "type": "string"}, date(2011, 2, 3), "1296691200", "1296691200"),
        ("day", {"format": "%d/%m/%Y"}, date(2011, 2, 3), "03/02/2011", "03/02/2011"),
        ("day", {"format": "%d \"of\" 'm' %m"}, date(2011, 2, 3), "03 \"of\" 'm' 02", "03 \"of\" 'm' 02"),
        ("day", {"format": "epoch_seconds"}, date(1965, 1, 1), -157766400, "-157766400"),
        ("instant", {}, AT, "2011-12-08T05:05:03Z", "2011-12-08T05:05:03Z"),
        ("instant", {"type": "date"}, AT, "2011-12-08", "2011-12-08"),
        ("instant", {"type": "date"}, datetime(2011, 1, 1, 1, tzinfo=AT.tzinfo), "2010-12-31", "2010-12-31"),
        ("instant", {"type": "date", "format": "epoch_seconds"}, AT, 1323302400, "1323302400"),
        ("instant", {"format": "epoch_seconds"}, AT, 1323320703, "1323320703"),
        ("instant", {"format": "epoch_milliseconds"}, AT, 1323320703600, "1323320703600"),
        ("instant", {"format": "epoch_milliseconds", "type": "string"}, AT, "1323320703600", "1323320703600"),
        ("instant", {"format": "%H:%M"}, AT, "05:05", "05:05"),
    ],
)
def test_every_type_and_format_is_what_the_field_map_says(things, column, given, value, plain, text):
    row = {column: value}
    for module, expected in ((PLAIN, plain), (TEXTS, text), (SEPARATED, plain)):
        found = things.values(mapped(module, **{column: given}), row)["a0"]
        assert found == expected
        assert isinstance(found, bool) == isinstance(expected, bool)
        assert isinstance(found, str) == isinstance(expected, str)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
@pytest.mark.parametrize("nulls", ["write", "clear", "skip"])
def test_a_number_that_is_none_is_empty(things, value, nulls):
    for module, empty in ((PLAIN, None), (TEXTS, "")):
        found = things.values(mapped(module, real={"nulls": nulls}), {"real": value})
        assert found == ({"a0": empty} if nulls == "write" else {})


@pytest.mark.parametrize(
    ("listed", "array", "semicolons", "commas"),
    [
        ("a,b", ["a", "b"], "a;b", "a,b"),
        ("one", ["one"], "one", "one"),
        ("a,,b,", ["a", "b"], "a;b", "a,b"),
        ("\U0001f375 tea,\"q\",back\\slash", ["\U0001f375 tea", '"q"', "back\\slash"], None, None),
    ],
)  # fmt: skip
def test_a_list_is_an_array_or_a_text_with_separators(things, listed, array, semicolons, commas):
    given = {"listed": {"type": "list"}}
    assert things.values(mapped(PLAIN, **given), {"listed": listed}) == {"a0": array}
    assert things.values(mapped(TEXTS, **given), {"listed": listed}) == {"a0": semicolons or ";".join(array)}
    assert things.values(mapped(SEPARATED, **given), {"listed": listed}) == {"a0": commas or ",".join(array)}


@pytest.mark.parametrize("column", CONTRACT)
@pytest.mark.parametrize("module", [PLAIN, TEXTS, SEPARATED])
def test_an_empty_value_is_left_out_or_written_as_the_vendor_empties_it(things, module, column):
    kind = {"type": "list"} if column == "listed" else {}
    empty = mapped(module).shape.cleared
    assert things.values(mapped(module, **{column: {**kind, "nulls": "write"}}), {column: None}) == {"a0": empty}
    for nulls in ("skip", "clear"):
        assert things.values(mapped(module, **{column: {**kind, "nulls": nulls}}), {column: None}) == {}


def test_the_attributes_stand_in_the_order_of_the_field_map_whatever_the_row_holds(things):
    where = mapped(PLAIN, flag={}, text={}, whole={}, day={})
    row = {"text": "t", "flag": True, "day": date(2011, 1, 1), "whole": 3}
    payload = things.payloads(where, [row])[0]
    assert list(json.loads(payload)["attributes"]["properties"]) == ["a0", "a1", "a2", "a3"]
    turned = mapped(PLAIN, day={}, whole={}, text={}, flag={})
    assert list(json.loads(things.payloads(turned, [row])[0])["attributes"]["properties"].values()) == [
        "2011-01-01", 3, "t", True
    ]  # fmt: skip


def test_equal_rows_have_equal_hashes_and_any_change_another(things):
    where = mapped(PLAIN, **{column: {"type": "list"} if column == "listed" else {} for column in CONTRACT})
    whole = {
        "text": "é", "listed": "a,b", "whole": 1, "real": 0.25, "flag": False, "day": date(2011, 1, 1), "instant": AT
    }  # fmt: skip
    same = {"customer_id": "c", "email": "same@example.com"}
    others = [
        {**whole, **change}
        for change in (
            {"text": "e\u0301"}, {"text": "é "}, {"listed": "b,a"}, {"whole": 2}, {"real": 0.26}, {"flag": True},
            {"day": date(2011, 1, 2)}, {"instant": AT + timedelta(seconds=1)}, *({column: None} for column in whole),
        )
    ]  # fmt: skip
    hashes = [things.payloads(where, [{**row, **same}], "target(payload)")[0] for row in (whole, dict(whole), *others)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == len(others) + 1
    in_utc = {**whole, "instant": AT.astimezone(UTC)}
    assert things.payloads(where, [{**in_utc, **same}], "target(payload)")[0] == hashes[0]


def test_a_change_below_the_decimals_and_below_a_second_is_no_change(things):
    where = mapped(PLAIN, real={}, instant={})
    row = {"real": 0.251, "instant": AT}
    near = {"real": 0.2512, "instant": AT + timedelta(microseconds=1)}
    one, other = (things.payloads(where, [values], "payload")[0] for values in (row, near))
    assert one == other


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROWS = st.fixed_dictionaries(
    {
        "text": TEXT | st.none(),
        "listed": st.lists(TEXT.filter(lambda text: text and "," not in text), max_size=4).map(",".join) | st.none(),
        "whole": st.integers(-(2**63), 2**63 - 1) | st.none(),
        "real": st.floats() | st.none(),
        "flag": st.booleans() | st.none(),
        "day": st.dates(date(1900, 1, 1), date(2200, 1, 1)) | st.none(),
        "instant": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)) | st.none(),
    }
)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=10, max_size=30))
def test_any_row_is_read_back_as_the_same_values(things, rows):
    where = mapped(PLAIN, **{column: {"type": "list"} if column == "listed" else {} for column in CONTRACT})
    numbered = [{**row, "customer_id": f"c{number:03d}"} for number, row in enumerate(rows)]
    for row, payload in zip(rows, things.payloads(where, numbered), strict=True):
        found = json.loads(payload)["attributes"]["properties"]
        expected = _expected(row)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, float):
                assert math.isclose(found[name], value, rel_tol=1e-15, abs_tol=0.005001)
            else:
                assert found[name] == value


def _expected(row: dict[str, Any]) -> dict[str, Any]:
    """What Python makes of a row: only what is there, an instant to the second."""
    values = dict(row)
    real, listed, instant, day = (row[name] for name in ("real", "listed", "instant", "day"))
    values["real"] = real if real is not None and abs(real) != float("inf") and real == real else None
    values["listed"] = None if listed is None else [part for part in listed.split(",") if part]
    values["instant"] = None if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"
    values["day"] = None if day is None else day.isoformat()
    told = {f"a{place}": values[column] for place, column in enumerate(CONTRACT)}
    return {name: json.loads(json.dumps(value)) for name, value in told.items() if value is not None}
