"""The schema contract: new columns land, changed types stop the source and land nothing."""

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_doubles import START, Api, Line, event, iso, source_named

from letterpress.sources import landing
from letterpress.sources.contract import Contract, row_hashes
from letterpress.sources.entities import (
    FLAG,
    INSTANT,
    NUMBER,
    TEXT,
    WHOLE,
    Entity,
    Page,
    column,
    schema_of,
    snake_case,
)
from letterpress.sources.errors import SchemaChanged
from letterpress.sources.options import RestOptions

THINGS = Entity(
    name="things",
    key=("thing_id",),
    cursor="updated_at",
    schema=schema_of(
        column("thing_id", TEXT),
        column("amount", NUMBER),
        column("quantity", WHOLE),
        column("is_open", FLAG),
        column("tags", TEXT, json=list),
        column("details", TEXT, json=dict),
        column("updated_at", INSTANT),
    ),
)


def thing(**changes: Any) -> dict[str, Any]:
    return {
        "thing_id": "t1",
        "amount": 1.5,
        "quantity": 2,
        "is_open": True,
        "tags": ["b", "a"],
        "details": {"z": 1, "a": {"y": 2, "b": 3}},
        "updated_at": "2011-06-01T12:30:00.250Z",
    } | changes


def typed(*rows: dict[str, Any], recorded: dict[str, str] | None = None) -> pa.Table:
    return Contract("test", THINGS, recorded).apply(Page(list(rows), "page 1"))


def test_declared_columns_have_their_declared_types() -> None:
    table = typed(thing(), thing(thing_id="t2", amount=3, quantity=4.0, updated_at="2011-06-01T14:30:00+02:00"))
    assert table.schema.field("amount").type == NUMBER
    assert table["amount"].to_pylist() == [1.5, 3.0]
    assert table["quantity"].to_pylist() == [2, 4]
    assert table["updated_at"].to_pylist()[1].isoformat() == "2011-06-01T12:30:00+00:00"
    assert table["details"][0].as_py() == '{"a":{"b":3,"y":2},"z":1}'
    assert table["tags"][0].as_py() == '["b","a"]'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "1.5"),
        ("amount", True),
        ("quantity", "21"),
        ("quantity", 2.5),
        ("quantity", 2**70),
        ("is_open", 77),
        ("is_open", "open-ish"),
        ("tags", {"a": 1}),
        ("tags", "holder"),
        ("details", ["a"]),
        ("thing_id", 71),
        ("updated_at", 1306929000),
        ("updated_at", "yesterday"),
        ("updated_at", "2011-06-01T12:30:00"),
    ],
)
def test_a_changed_type_is_named_with_its_place_and_without_its_value(name: str, value: Any) -> None:
    with pytest.raises(SchemaChanged) as caught:
        typed(thing(), thing(**{name: value}))
    error = caught.value
    assert (error.source, error.entity, error.column) == ("test", "things", name)
    assert error.position == "page 1, row 2"
    assert "Next step" in str(error)
    assert str(value) not in str(error)


@pytest.mark.parametrize("name", ["thing_id", "updated_at"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_missing_key_or_cursor_stops_the_source(name: str, absent: bool) -> None:
    row = thing(**{name: None})
    if absent:
        del row[name]
    with pytest.raises(SchemaChanged) as caught:
        typed(thing(), row)
    assert caught.value.found == "no value"
    assert caught.value.position == "page 1, row 2"


def test_a_missing_optional_column_lands_as_null() -> None:
    table = typed({"thing_id": "t1", "updated_at": "2011-06-01T00:00:00Z"})
    assert table["amount"].to_pylist() == [None]
    assert table.schema.field("amount").type == NUMBER


def test_a_row_that_is_no_object_is_refused() -> None:
    with pytest.raises(SchemaChanged):
        typed(thing(), ["t2"])


def test_two_fields_of_one_name_are_refused() -> None:
    with pytest.raises(SchemaChanged) as caught:
        typed(thing(isOpen=True))
    assert caught.value.column == "is_open"


@pytest.mark.parametrize(
    ("value", "kind"),
    [("gold", TEXT), (3, NUMBER), (3.5, NUMBER), (False, FLAG), ({"a": 1}, TEXT), ([1], TEXT)],
)
def test_a_new_column_has_the_type_of_its_values(value: Any, kind: pa.DataType) -> None:
    contract = Contract("test", THINGS)
    contract.apply(Page([thing()], "page 1"))
    table = contract.apply(Page([thing(newThing=None), thing(thing_id="t2", newThing=value)], "page 2"))
    assert contract.new_columns == ["new_thing"]
    assert table.schema.field("new_thing").type == kind
    assert table["new_thing"].to_pylist()[0] is None


def test_a_new_column_without_a_value_is_not_recorded_yet() -> None:
    contract = Contract("test", THINGS)
    contract.apply(Page([thing(new_thing=None)], "page 1"))
    assert contract.new_columns == []
    assert "new_thing" not in contract.columns


def test_half_a_surrogate_pair_does_not_stop_the_source() -> None:
    assert typed(thing(thing_id="t\ud800"))["thing_id"].to_pylist() == ["t?"]


def test_the_hash_covers_content_and_neither_order_nor_empty_columns() -> None:
    one = row_hashes(pa.table({"a": ["x"], "b": [1.5]}))
    assert one == row_hashes(pa.table({"b": [1.5], "a": ["x"], "c": pa.array([None], TEXT)}))
    assert one != row_hashes(pa.table({"a": ["x"], "b": [1.6]}))
    assert row_hashes(pa.table({"a": ["x;1:b"], "b": [None]})) != row_hashes(pa.table({"a": ["x"], "b": ["b"]}))
    assert len(row_hashes(pa.table({"a": pa.array([], TEXT)}))) == 0


@given(st.lists(st.tuples(st.text(max_size=6), st.none() | st.text(max_size=6)), min_size=2, max_size=8, unique=True))
def test_different_rows_have_different_hashes(rows: list[tuple[str, str | None]]) -> None:
    table = pa.table({"a": [a for a, _ in rows], "b": pa.array([b for _, b in rows], TEXT)})
    assert len(set(row_hashes(table).to_pylist())) == len(rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("messageId", "message_id"),
        ("CustomerID", "customer_id"),
        ("InvoiceNo", "invoice_no"),
        ("HTTPStatus", "http_status"),
        ("already_snake", "already_snake"),
        ("Unit Price (£)", "unit_price"),
        ("_row_hash", "row_hash"),
        ("2nd", "column_2nd"),
    ],
)
def test_names_become_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_a_new_column_lands_is_recorded_and_is_known_from_then_on(line: Line, web: Api) -> None:
    line.land()
    web.tables["/v1/events"].append(event(100, sessionQuality=7))
    second = line.land()
    web.tables["/v1/events"].append(event(101))
    third = line.land()
    rows = line.rows().set_index("message_id")
    assert second.entities["events"].new_columns == ("session_quality",)
    assert second.entities["events"].columns["session_quality"] == "double"
    assert third.entities["events"].new_columns == ()
    assert third.entities["events"].columns == second.entities["events"].columns
    assert third.entities["events"].schema_hash == second.entities["events"].schema_hash
    assert rows.loc["m00100", "session_quality"] == 7
    assert rows["session_quality"].isna().sum() == 101


@pytest.mark.parametrize(("before", "after"), [(7, "seven"), ("seven", 7), ({"a": 1}, "a"), ("a", {"a": 1})])
def test_a_recorded_column_is_as_fixed_as_a_declared_one(line: Line, web: Api, before: Any, after: Any) -> None:
    web.tables["/v1/events"].append(event(100, quality=before))
    line.land()
    files = line.files()
    web.tables["/v1/events"].append(event(101, quality=after))
    with pytest.raises(SchemaChanged) as caught:
        line.extract()
    assert (caught.value.source, caught.value.entity, caught.value.column) == ("web", "events", "quality")
    assert line.files() == files
    assert len(landing.manifests(line.landing)) == 1


def test_a_changed_type_stops_the_whole_source_and_lands_nothing(line: Line, api: Api) -> None:
    at = "2011-06-01T00:00:00Z"
    api.tables |= {
        "/v1/orders": [{"order_id": "O1", "total_amount": 5, "updated_at": at}],
        "/v1/order_lines": [{"order_line_id": f"L{n}", "quantity": n, "updated_at": at} for n in range(10)],
        "/v1/refunds": [{"refund_id": "R1", "amount": "5.00 GBP", "updated_at": at}],
    }
    with pytest.raises(SchemaChanged) as caught:
        line.extract(source_named("shop", options=RestOptions(reader="rest")))
    assert str(caught.value).startswith(
        "shop.refunds.amount: expected double, found JSON string, first at page 1, row 1"
    )
    assert "5.00 GBP" not in str(caught.value)
    assert line.files() == set()
    assert not landing.pending(line.landing)
    api.tables["/v1/refunds"][0]["amount"] = 5.0
    assert line.land(source_named("shop", options=RestOptions(reader="rest"))).rows == 12


def test_a_column_that_appears_on_a_later_page_is_null_before(line: Line, web: Api) -> None:
    web.tables["/v1/events"][75]["experiment"] = {"arm": "b"}
    manifest = line.land(source_named("web", page_size=30))
    rows = line.rows()
    assert manifest.entities["events"].new_columns == ("experiment",)
    assert manifest.entities["events"].json_columns == ("context", "experiment", "properties")
    assert json.loads(rows["experiment"][75]) == {"arm": "b"}
    assert rows["experiment"].notna().sum() == 1


def test_a_new_column_of_a_rejected_load_is_not_recorded(line: Line, web: Api) -> None:
    web.tables["/v1/events"].append(event(100, quality=7))
    landing.reject(line.landing, line.extract(), {"verdict": "failed"})
    web.tables["/v1/events"][100]["quality"] = "high"
    manifest = line.land()
    assert manifest.entities["events"].columns["quality"] == "string"


def test_instants_keep_their_microseconds(line: Line, web: Api) -> None:
    at = START + timedelta(microseconds=123_456)
    web.tables["/v1/events"] = [event(1, receivedAt=iso(at))]
    manifest = line.land()
    assert line.rows()["received_at"][0] == at
    assert manifest.entities["events"].cursor == iso(at)
