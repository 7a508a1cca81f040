"""What only tests and benchmarks may know of a day: who was behind a device or an order, and what was planted.

Read through ``letterpress.demo.truth``; the API serves none of it.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from letterpress.demo.simulation import traits
from letterpress.demo.simulation.chance import start_of
from letterpress.demo.simulation.columns import join, numbered, uuids
from letterpress.demo.simulation.mail import Mail
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.visits import Columns, Depth, Kind

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import Day

PLANTED = pa.schema(
    [
        pa.field("kind", pa.string()),  # the switch of ``Dirt``
        pa.field("entity", pa.string()),
        pa.field("key", pa.string()),
        pa.field("at", pa.int64()),
        pa.field("detail", pa.string()),  # JSON
    ]
)
SCHEMAS = {
    "planted": PLANTED,
    # a browser's cookie and who used it on a day; person -1 never opens an account
    "devices": pa.schema(
        [
            pa.field("anonymous_id", pa.string()),
            pa.field("person", pa.int64()),
            pa.field("account", pa.int64()),  # the one somebody was signed in with; -1 where they were not
            pa.field("is_kiosk", pa.bool_()),
            pa.field("is_bot", pa.bool_()),
            pa.field("at", pa.int64()),
        ]
    ),
    "orders": pa.schema(
        [
            pa.field("order_id", pa.string()),
            pa.field("person", pa.int64()),
            pa.field("account", pa.int64()),
            pa.field("campaign", pa.int64()),  # of the mail that caused it; -1 where none did
            pa.field("ordered_at", pa.int64()),
        ]
    ),
}


def of(state: State, day: "Day") -> dict[str, pa.Table]:
    """The truths of a day that has just been played, a table for each of ``SCHEMAS``."""
    return {"planted": _planted(state, day), "devices": _devices(day), "orders": _orders(day)}


def planted(kind: str, entity: str, keys: pa.Array, at: np.ndarray, detail: pa.Array | None = None) -> pa.Table:
    """Rows of the manifest of one kind."""
    count = len(keys)
    columns = [
        pa.repeat(kind, count),
        pa.repeat(entity, count),
        keys,
        pa.array(at, pa.int64()),
        pa.repeat("{}", count) if detail is None else detail,
    ]
    return pa.Table.from_arrays(columns, schema=PLANTED)


def _planted(state: State, day: "Day") -> pa.Table:
    visits, held, people = day.visits, state.accounts, state.people
    new = visits["account"][visits["kind"] == Kind.SIGN_UP]
    customers, since = numbered("C", new + 1, 6), held["signed_up_at"][new]
    parts = [*_typed(held["mail_dirt"][new], "customers", customers, since)]

    shares = held["mail_person"][new] != held["person"][new]
    with_whom = join('{"address_of":', pa.array(held["mail_person"][new][shares]).cast(pa.string()), "}")
    parts.append(planted("shared_emails", "customers", customers.filter(pa.array(shares)), since[shares], with_whom))

    again = held["person"][new]
    second = people["first_account"][again] != new
    first = join('{"customer_id":"', numbered("C", people["first_account"][again[second]] + 1, 6), '"}')
    parts.append(planted("second_accounts", "customers", customers.filter(pa.array(second)), since[second], first))

    joiners = np.flatnonzero(people["joins"] & (people["sign_up_day"] == day.day) & (people["account"] >= 0))
    if day.turn:
        joiners = joiners[:0]
    person = join('{"person":', pa.array(joiners).cast(pa.string()), "}")
    account = numbered("C", people["account"][joiners] + 1, 6)
    parts.append(planted("shared_accounts", "customers", account, np.full(len(joiners), start_of(day.day)), person))

    seen = _seen(day)
    for kind, chosen in (
        ("kiosks", seen & (visits["kiosk"] >= 0)),
        ("bots", seen & (visits["kind"] == Kind.BOT)),
    ):
        ids = uuids(visits["anonymous_high"][chosen], visits["anonymous_low"][chosen])
        parts.append(planted(kind, "events", ids, visits["at"][chosen]))

    orders = day.orders
    guests = orders["account"] < 0
    ids = numbered("O", orders["number"][guests], 6)
    parts += _typed(orders["mail_dirt"][guests], "orders", ids, orders["ordered_at"][guests])

    mails = day.mails
    hidden = (mails["scanned"] == 2) & (mails["type"] == Mail.CLICK)
    ids = uuids(mails["id_high"][hidden], mails["id_low"][hidden])
    parts.append(planted("hidden_scanners", "email_events", ids, mails["at"][hidden]))
    return pa.concat_tables(parts)


def _typed(dirt: np.ndarray, entity: str, keys: pa.Array, at: np.ndarray) -> list[pa.Table]:
    """Addresses that were typed wrongly, by the switch that did it."""
    parts = []
    for kind, codes in (
        ("messy_emails", traits.MESSY),
        ("missing_emails", (traits.MISSING,)),
        ("invalid_emails", (traits.INVALID,)),
        ("plus_tags", (traits.TAGGED,)),
    ):
        chosen = np.isin(dirt, codes)
        parts.append(planted(kind, entity, keys.filter(pa.array(chosen)), at[chosen]))
    return parts


def _seen(day: "Day") -> np.ndarray:
    """Which visits the tracker saw."""
    seen = np.zeros(len(day.visits["at"]), bool)
    seen[day.steps["visit"][day.steps["seen"]]] = True
    return seen


def _devices(day: "Day") -> pa.Table:
    """One row for each device and person of the day, and each account that was signed in there."""
    visits = {name: values[_seen(day)] for name, values in day.visits.items()}
    known = np.zeros(len(day.visits["at"]), bool)
    known[day.steps["visit"][day.steps["known"] & day.steps["seen"]]] = True
    account = np.where(known[_seen(day)], visits["account"], -1)
    rows = _first_of(visits["anonymous_high"], visits["person"], account)
    columns = [
        uuids(visits["anonymous_high"][rows], visits["anonymous_low"][rows]),
        pa.array(visits["person"][rows], pa.int64()),
        pa.array(account[rows], pa.int64()),
        pa.array(visits["kiosk"][rows] >= 0),
        pa.array(visits["kind"][rows] == Kind.BOT),
        pa.array(visits["at"][rows], pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["devices"])


def _first_of(*columns: np.ndarray) -> np.ndarray:
    """The first row of each combination of values, in the order of the rows."""
    order = np.lexsort([np.arange(len(columns[0])), *columns])
    new = np.ones(len(order), bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    return np.sort(order[new])


def _orders(day: "Day") -> pa.Table:
    orders: Columns = day.orders
    visit = orders["visit"]
    caused = (day.visits["kind"][visit] == Kind.CLICK) & (day.visits["depth"][visit] == Depth.ORDER)
    columns = [
        numbered("O", orders["number"], 6),
        pa.array(orders["person"], pa.int64()),
        pa.array(orders["account"], pa.int64()),
        pa.array(np.where(caused, day.visits["campaign"][visit], -1), pa.int64()),
        pa.array(orders["ordered_at"], pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["orders"])
