"""A day's facts as tables: the columns that land, the JSON that the API repeats, and no state that moves on beneath."""

from datetime import UTC, datetime

import numpy as np
import orjson
import pyarrow as pa

from letterpress.demo.simulation import chance, columns, schemas
from letterpress.demo.simulation.rendering import Known, render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.sources import demo_shop
from letterpress.sources.entities import INSTANT

SMALL = World(seed=7, customers=60, days=40, today=datetime(2011, 1, 10, tzinfo=UTC))


def test_the_rendered_tables_have_the_columns_that_land():
    state = Simulator(SMALL).opening()
    rendered = render(SMALL, state, Simulator(SMALL).play(state))

    for room, entities in demo_shop.ENTITIES.items():
        for entity in entities:
            name = "email_events" if room == "email" else entity.name
            public = schemas.public(name, rendered[name])
            assert public.column_names == entity.schema.names, name
            for column, declared in zip(public.schema, entity.schema, strict=True):
                # the shop's instants are milliseconds, landing's are microseconds
                assert column.type == (columns.INSTANT if declared.type == INSTANT else declared.type), column
            assert rendered[name].schema.names[-3:] == schemas.HIDDEN.names
    assert set(rendered) == set(schemas.ENTITIES)


def test_json_columns_are_text_with_sorted_keys_that_the_api_repeats():
    simulator = Simulator(SMALL)
    state = simulator.opening()
    for _ in range(5):
        table = render(SMALL, state, simulator.play(state))["events"]
    served = [orjson.loads(body) for body in schemas.bodies("events", table)]

    for name in ("properties", "context"):
        for text, row in zip(table[name].to_pylist(), served, strict=True):
            assert text == orjson.dumps(row[name], option=orjson.OPT_SORT_KEYS).decode()
    assert [row["messageId"] for row in served] == table["message_id"].to_pylist()


def test_a_day_may_be_rendered_while_the_next_ones_are_played():
    simulator = Simulator(SMALL)
    state = simulator.opening()
    for _ in range(20):
        day, known = simulator.play(state), Known.of(state)
    before = render(SMALL, state, day)
    for _ in range(20):
        simulator.play(state)

    after = render(SMALL, known, day)

    assert after == before
    assert before["customers"].num_rows > 0


def test_instants_and_unknown_columns_are_written_as_a_source_would():
    simulator = Simulator(SMALL)
    state = simulator.opening()
    table = pa.concat_tables(render(SMALL, state, simulator.play(state))["customers"] for _ in range(5)).slice(0, 3)
    first = chance.milliseconds(datetime(2011, 5, 3, 10, tzinfo=UTC))
    at = table.schema.get_field_index("signed_up_at")
    table = table.set_column(at, "signed_up_at", columns.instants(np.full(3, first)))
    table = table.append_column(schemas.SIGNED_UP_OFFSET, pa.array([120, None, -210], pa.int32()))
    table = table.append_column("referred_by", pa.array([None, "C000001", None]))

    rows_ = [orjson.loads(body) for body in schemas.bodies("customers", table)]

    assert [row["signed_up_at"] for row in rows_] == [
        "2011-05-03T12:00:00.000+02:00",
        "2011-05-03T10:00:00.000Z",
        "2011-05-03T06:30:00.000-03:30",
    ]
    assert [row.get("referred_by", "absent") for row in rows_] == ["absent", "C000001", "absent"]
    assert not [name for row in rows_ for name in row if name.startswith("_")]


def test_a_basket_tells_what_was_added_before():
    simulator = Simulator(World(seed=3, customers=200, days=40, today=SMALL.today))
    state = simulator.opening()
    told = 0
    for _ in range(40):
        day = simulator.play(state)
        table = render(simulator.world, state, day)["events"]
        visits = day.steps["visit"][day.steps["seen"]].tolist()
        added: dict[int, list[dict]] = {}
        for visit, event, text in zip(visits, table["event"].to_pylist(), table["properties"].to_pylist(), strict=True):
            properties = orjson.loads(text)
            if event == "Product Added":
                line = {name: properties[name] for name in ("category", "price", "product_id", "quantity")}
                added.setdefault(visit, []).append(line)
            elif event in ("Cart Viewed", "Checkout Started", "Order Completed"):
                told += 1
                assert properties["products"] == added[visit]
                paid = round(sum(line["price"] * line["quantity"] for line in added[visit]), 2)
                assert properties["subtotal" if event == "Order Completed" else "value"] == paid
    assert told > 200
