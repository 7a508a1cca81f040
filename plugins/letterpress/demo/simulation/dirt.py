"""Rows as dirty as real ones: what the simulated shop would have written, and what stands there instead.

=================  =======  ===================  ===============================================================
switch (``Dirt``)  default  of                   what is planted, and where it shows
=================  =======  ===================  ===============================================================
invalid_emails     .018     accounts, guests     no @, two, a blank, no domain: customers.email, orders.email
missing_emails     .02      accounts, guests     no address
messy_emails       .062     accounts, guests     mixed or upper case, a blank before or behind
plus_tags          .02      accounts, guests     ``ann+shop@…``: the mailbox of ``ann@…``
shared_emails      .012     accounts             the address of somebody else in the same country
second_accounts    .03      sign-ups             one person, two accounts with one mailbox
shared_accounts    .012     people               two persons, one account; each has devices of their own
kiosks             .008     visits               a device that everybody uses: one anonymous id, many people
bots               .025     visits               crawlers; one in five hides behind a browser's name
decomposed_names   .02      accounts             names in Unicode's form NFD, or with a no-break space
date_formats       .06      dates of birth       customers.birth_date as people write it where they live
time_zones         .1       accounts             the API writes signed_up_at in the customer's own zone
missing_fields     .01      rows                 an optional field is empty
late_hours         .03      visits, mail events  received hours after they happened
late_weeks         .002     visits, mail events  received 3 to 21 days after they happened
repeated_events    .01      events               the same event again, under the same id
copied_events      .003     events               the same event again, under another id
shuffled_visits    .02      visits               its events are received in one batch, in no order
skewed_clocks      .01      visits               the device's clock is up to 3 hours off, a tenth stands in 2001
foreign_currency   .3       euro zone's orders   in euros, from 60 % of the history on: order, lines, refunds (the
                                                 web event of the order stays in pounds)
excessive_refunds  .02      refunds              1.1 to 2 times what was paid
test_orders        .002     orders               the staff's: copies for test@example.com, ids begin with T
new_column         .3       customers            ``referral_code`` appears at 60 % of the history
late_commits       .002     rows                 visible 1 to 20 minutes after their cursor value
file_horrors       1        exported files       see ``shop/exports.py``
=================  =======  ===================  ===============================================================

Beside them ``hidden_scanners``: clicks by mail filters that look like a person's (``effects.HIDDEN_SCANNERS``).

Each planted thing is a row of the manifest (``Truth.planted``): kind, entity, key, at, detail. What a row becomes
depends on the row's own number alone: all versions of a customer or order are dirty alike, and a day played at once
is as dirty as one played by hours.
"""

import zlib
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from letterpress.demo.simulation import chance, schemas, truths
from letterpress.demo.simulation.chance import DAY, HOUR, MINUTE, SECOND, Purpose
from letterpress.demo.simulation.columns import instants, join, uuids
from letterpress.demo.simulation.truths import planted
from letterpress.demo.simulation.vocabulary import COUNTRIES

if TYPE_CHECKING:
    from letterpress.demo.simulation.simulator import Day, World

Tables = dict[str, pa.Table]

CHANGES_AT = 0.6  # of the history: euros are taken, and customers get another column
EURO_ZONE = np.array([country.code in ("DE", "FR", "IE", "NL", "ES", "IT") for country in COUNTRIES])
# Euros for a pound by month, as a shop would have booked them; the last one stays.
EUROS_PER_POUND = {
    date(2010, 1, 1): 1.13,
    date(2010, 4, 1): 1.15,
    date(2010, 7, 1): 1.20,
    date(2010, 10, 1): 1.14,
    date(2011, 1, 1): 1.18,
    date(2011, 4, 1): 1.13,
    date(2011, 7, 1): 1.14,
    date(2011, 10, 1): 1.16,
    date(2012, 1, 1): 1.20,
}
STAFF = ("test@example.com", "TEST@example.com ")
COPY = np.uint64(1 << 62)  # marks the number of a row that is a copy
OPTIONAL = {
    "customers": ("country_code", "first_name", "last_name", "time_zone", "phone"),
    "orders": ("email",),
    "products": ("category",),
    "email_events": ("campaign_name",),
}
LATE = 50 * MINUTE  # what the manifest calls late


class _Soil:
    """One day's tables on their way from clean to dirty, and what has been planted so far."""

    def __init__(self, world: "World", day: "Day", tables: Tables):
        self.world, self.dirt, self.day = world, world.dirt, day
        self.tables = dict(tables)
        self.planted: list[pa.Table] = []
        self.changes_at = chance.start_of(world.first_day + round(world.days * CHANGES_AT))

    def draws(self, kind: str, numbers: np.ndarray, count: int) -> np.ndarray:
        """Random numbers of one kind of dirt that belong to these rows."""
        salted = numbers.astype(np.uint64) ^ np.uint64(zlib.crc32(kind.encode()) << 20)
        return chance.keyed(self.world.seed, Purpose.DIRT, salted, count)

    def numbers(self, entity: str, name: str = "_number") -> np.ndarray:
        """A hidden column as numpy."""
        return self.tables[entity][name].to_numpy()

    def put(self, entity: str, name: str, rows: np.ndarray, values: pa.Array) -> None:
        """Replace a column's values in some rows, given by their positions in ascending order."""
        if not len(rows):
            return
        table = self.tables[entity]
        field = table.schema.field(name)
        mask = np.zeros(table.num_rows, bool)
        mask[rows] = True
        changed = pc.replace_with_mask(_array(table[name].combine_chunks()), pa.array(mask), values.cast(field.type))
        self.tables[entity] = table.set_column(table.column_names.index(name), field, changed)

    def plant(self, kind: str, entity: str, rows: np.ndarray, detail: pa.Array | None = None) -> None:
        """Note what was planted in some rows of a table."""
        table = self.tables[entity].select([schemas.KEYS[entity], "_at"]).take(pa.array(rows))
        keys = table[schemas.KEYS[entity]].combine_chunks()
        self.planted.append(planted(kind, entity, _array(keys), table["_at"].to_numpy(), detail))

    def append(self, entity: str, more: pa.Table) -> None:
        """Further rows behind those of a table."""
        self.tables[entity] = pa.concat_tables([self.tables[entity], more.cast(self.tables[entity].schema)])


def soil(world: "World", day: "Day", tables: Tables) -> tuple[Tables, pa.Table]:
    """The tables of a day with dirt in them, and the rows of the manifest (``truths.PLANTED``)."""
    dirty = _Soil(world, day, tables)
    _foreign_currency(dirty)
    _excessive_refunds(dirty)
    _test_orders(dirty)
    _customers(dirty)
    for entity in OPTIONAL:
        _missing_fields(dirty, entity)
    _visits(dirty)
    _mails(dirty)
    for entity, stamp in (("events", "received_at"), ("email_events", "received_at")):
        _again(dirty, entity, stamp)
    for entity in dirty.tables:
        _late_commits(dirty, entity)
    return dirty.tables, pa.concat_tables([truths.PLANTED.empty_table(), *dirty.planted])


def _foreign_currency(dirty: _Soil) -> None:
    """Order, lines and refunds in euros; the total is added up again, so that it agrees to the cent."""
    orders, lines, refunds = dirty.day.orders, dirty.day.lines, dirty.day.refunds
    number, at = orders["number"], orders["ordered_at"]
    lot = dirty.draws("foreign_currency", number, 1)[:, 0]
    guest_or_known = EURO_ZONE[orders["country"]]
    chosen = guest_or_known & (at >= dirty.changes_at) & (lot < dirty.dirt.foreign_currency)
    if not chosen.any():
        return
    rate = euros_per_pound(at)
    first = number[0]
    line_rows = np.flatnonzero(chosen[lines["order"] - first])
    of = lines["order"][line_rows] - first
    unit = np.rint(lines["price"][line_rows] * rate[of]).astype(np.int64)
    amount = unit * lines["quantity"][line_rows]
    dirty.put("order_lines", "unit_price", line_rows, pa.array(unit / 100.0))
    dirty.put("order_lines", "line_amount", line_rows, pa.array(amount / 100.0))
    subtotal = np.bincount(of, weights=amount, minlength=len(number)).astype(np.int64)
    discount = np.rint(orders["discount"] * rate).astype(np.int64)
    shipping = np.rint(orders["shipping"] * rate).astype(np.int64)
    total = subtotal - discount + shipping

    versions = dirty.numbers("orders").astype(np.int64) - first
    rows = np.flatnonzero(chosen[versions])
    dirty.put("orders", "currency", rows, pa.repeat("EUR", len(rows)))
    for name, cents in (("discount_amount", discount), ("shipping_amount", shipping), ("total_amount", total)):
        dirty.put("orders", name, rows, pa.array(cents[versions[rows]] / 100.0))
    given_back = np.flatnonzero(chosen[refunds["order"] - first])
    of = refunds["order"][given_back] - first
    whole = refunds["amount"][given_back] == orders["total"][of]
    part = np.minimum(np.rint(refunds["amount"][given_back] * rate[of]).astype(np.int64), total[of])
    dirty.put("refunds", "amount", given_back, pa.array(np.where(whole, total[of], part) / 100.0))

    placed = rows[np.sort(np.unique(versions[rows], return_index=True)[1])]
    pence = pa.array(orders["total"][versions[placed]]).cast(pa.string())
    rates = pa.array(rate[versions[placed]]).cast(pa.string())
    dirty.plant("foreign_currency", "orders", placed, join('{"pence":', pence, ',"euros_per_pound":', rates, "}"))


def euros_per_pound(at: np.ndarray) -> np.ndarray:
    """The rate of each instant (milliseconds)."""
    since = np.array([chance.DAY * (day - date(1970, 1, 1)).days for day in EUROS_PER_POUND])
    rates = np.array(list(EUROS_PER_POUND.values()))
    return rates[np.maximum(np.searchsorted(since, at, side="right") - 1, 0)]


def _excessive_refunds(dirty: _Soil) -> None:
    refunds = dirty.day.refunds
    lots = dirty.draws("excessive_refunds", refunds["number"], 2)
    rows = np.flatnonzero(lots[:, 0] < dirty.dirt.excessive_refunds)
    if not len(rows):
        return
    orders = dirty.tables["orders"]
    paid = dict(zip(orders["order_id"].to_pylist(), orders["total_amount"].to_pylist(), strict=True))
    of = dirty.tables["refunds"]["order_id"].take(pa.array(rows)).to_pylist()
    total = np.array([paid[order] for order in of])
    dirty.put("refunds", "amount", rows, pa.array(np.round(total * (1.1 + 0.9 * lots[rows, 1]), 2)))
    dirty.plant("excessive_refunds", "refunds", rows, join('{"paid":', pa.array(total).cast(pa.string()), "}"))


def _test_orders(dirty: _Soil) -> None:
    """A real order's copy, with its lines and its way through the statuses, but nobody's."""
    orders = dirty.day.orders
    number = orders["number"]
    chosen = number[dirty.draws("test_orders", number, 1)[:, 0] < dirty.dirt.test_orders]
    if not len(chosen):
        return
    copied = dirty.tables["orders"].filter(pa.array(np.isin(dirty.numbers("orders").astype(np.int64), chosen)))
    ids = pc.replace_substring_regex(copied["order_id"], "^O", "T")
    mails = pa.array([STAFF[one % len(STAFF)] for one in copied["_number"].to_pylist()], pa.string())
    copied = _with(copied, order_id=ids, customer_id=pa.nulls(len(ids), pa.string()), email=mails)
    lines = dirty.tables["order_lines"].filter(pa.array(np.isin(dirty.day.lines["order"], chosen)))
    line_ids = pc.replace_substring_regex(lines["order_line_id"], "^L", "TL")
    lines = _with(lines, order_line_id=line_ids, order_id=pc.replace_substring_regex(lines["order_id"], "^O", "T"))
    before = dirty.tables["orders"].num_rows
    dirty.append("orders", _copies(copied))
    dirty.append("order_lines", _copies(lines))
    first = np.sort(np.unique(copied["_number"].to_numpy(), return_index=True)[1])
    dirty.plant("test_orders", "orders", before + first)


def _customers(dirty: _Soil) -> None:
    table, numbers = dirty.tables["customers"], dirty.numbers("customers")
    rows = np.flatnonzero(dirty.draws("decomposed_names", numbers, 1)[:, 0] < dirty.dirt.decomposed_names)
    for name in ("first_name", "last_name"):
        given = _array(table[name].take(pa.array(rows)).combine_chunks())
        apart = pc.utf8_normalize(given, "NFD")
        odd = pc.if_else(pc.equal(apart, given), join(given, "\u00a0"), apart)
        dirty.put("customers", name, rows, odd)
    dirty.plant("decomposed_names", "customers", rows)

    lots = dirty.draws("date_formats", numbers, 2)
    known = table["birth_date"].is_valid().to_numpy()
    rows = np.flatnonzero(known & (lots[:, 0] < dirty.dirt.date_formats))
    born = table["birth_date"].take(pa.array(rows)).to_pylist()
    countries = table["country_code"].take(pa.array(rows)).to_pylist()
    written = [
        _as_written(date.fromisoformat(day), at, lot)
        for day, at, lot in zip(born, countries, lots[rows, 1], strict=True)
    ]
    dirty.put("customers", "birth_date", rows, pa.array(written, pa.string()))
    dirty.plant("date_formats", "customers", rows, pa.array([f'{{"birth_date":"{day}"}}' for day in born], pa.string()))

    rows = np.flatnonzero(dirty.draws("time_zones", numbers, 1)[:, 0] < dirty.dirt.time_zones)
    offsets = np.zeros(table.num_rows, np.int32)
    chosen = table.select(["time_zone", "signed_up_at"]).take(pa.array(rows))
    for row, zone, at in zip(rows, chosen["time_zone"].to_pylist(), chosen["signed_up_at"].to_pylist(), strict=True):
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
        offsets[row] = offset.total_seconds() // 60
    there = np.zeros(table.num_rows, bool)
    there[rows] = True
    dirty.plant("time_zones", "customers", rows)

    at = dirty.numbers("customers", "_at")
    lots = dirty.draws("new_column", numbers, 2)
    rows = np.flatnonzero((at >= dirty.changes_at) & (lots[:, 0] < dirty.dirt.new_column))
    codes = np.full(table.num_rows, None, object)
    codes[rows] = [f"REF-{int(lot * 36**5):05X}" for lot in lots[rows, 1]]
    dirty.plant("new_column", "customers", rows)
    table = dirty.tables["customers"]
    if len(rows) or dirty.dirt.new_column:
        table = table.append_column("referral_code", pa.array(codes, pa.string()))
    if dirty.dirt.time_zones:
        table = table.append_column(schemas.SIGNED_UP_OFFSET, pa.array(offsets, pa.int32(), mask=~there))
    dirty.tables["customers"] = table


def _as_written(day: date, country: str, lot: float) -> str:
    """A date as somebody writes it where they live."""
    if country == "US":
        return f"{day.month:02d}/{day.day:02d}/{day.year}"
    if country in ("DE", "PL"):
        return f"{day.day}.{day.month}.{day.year}"
    ways = [f"{day.day:02d}/{day.month:02d}/{day.year}", f"{day.day} {day:%b} {day.year}"]
    if day.month < 10 or day.day < 10:  # else it is the ISO date
        ways.append(f"{day.year}-{day.month}-{day.day}")
    return ways[int(lot * len(ways))]


def _missing_fields(dirty: _Soil, entity: str) -> None:
    names = OPTIONAL[entity]
    lots = dirty.draws(f"missing_fields.{entity}", dirty.numbers(entity), 2)
    chosen = lots[:, 0] < dirty.dirt.missing_fields
    which = (lots[:, 1] * len(names)).astype(np.int64)
    for index, name in enumerate(names):
        there = dirty.tables[entity][name].is_valid().to_numpy()
        rows = np.flatnonzero(chosen & (which == index) & there)
        kind = dirty.tables[entity].schema.field(name).type
        dirty.put(entity, name, rows, pa.nulls(len(rows), kind))
        dirty.plant("missing_fields", entity, rows, pa.repeat(f'{{"field":"{name}"}}', len(rows)))


def _visits(dirty: _Soil) -> None:
    """What happens to all events of a visit alike, and fields that the tracker left out."""
    steps = dirty.day.steps
    visit = steps["visit"][steps["seen"]]
    if not len(visit):
        return
    first = np.ones(len(visit), bool)
    first[1:] = visit[1:] != visit[:-1]
    of = np.cumsum(first) - 1
    numbers = dirty.numbers("events")[first]
    happened = dirty.tables["events"]["timestamp"].cast(pa.int64()).to_numpy()
    received = dirty.tables["events"]["received_at"].cast(pa.int64()).to_numpy().copy()

    late = received - happened > LATE
    lots = dirty.draws("late_weeks", numbers, 2)
    weeks = (lots[:, 0] < dirty.dirt.late_weeks)[of]
    received += np.where(weeks, (3 * DAY + lots[of, 1] * 18 * DAY).astype(np.int64), 0)
    shuffled = (dirty.draws("shuffled_visits", numbers, 1)[:, 0] < dirty.dirt.shuffled_visits)[of]
    received = np.where(shuffled, _shuffled(dirty, of, received), received)
    rows = np.flatnonzero(weeks | shuffled)
    for name in ("_at", "_visible_at"):
        dirty.put("events", name, rows, pa.array(received[rows]))
    dirty.put("events", "received_at", rows, instants(received[rows]))
    dirty.plant("late_weeks", "events", np.flatnonzero(weeks))
    dirty.plant("late_hours", "events", np.flatnonzero(late & ~weeks))
    dirty.plant("shuffled_visits", "events", np.flatnonzero(shuffled))

    lots = dirty.draws("skewed_clocks", numbers, 3)
    skewed = (lots[:, 0] < dirty.dirt.skewed_clocks)[of]
    rows = np.flatnonzero(skewed)
    shift = ((lots[of, 1] * 2 - 1) * 3 * HOUR).astype(np.int64)
    stands = chance.start_of((date(2001, 1, 1) - date(1970, 1, 1)).days) - happened // DAY * DAY
    shift = np.where(lots[of, 2] < 0.1, stands, shift)[rows]
    dirty.put("events", "timestamp", rows, instants(happened[rows] + shift))
    dirty.plant("skewed_clocks", "events", rows, join('{"shift":', pa.array(shift).cast(pa.string()), "}"))

    lots = dirty.draws("missing_fields.events", dirty.numbers("events"), 2)
    chosen = lots[:, 0] < dirty.dirt.missing_fields
    for column, field, low, high in (
        ("context", "userAgent", 0.0, 0.4),
        ("context", "locale", 0.4, 0.7),
        ("properties", "category", 0.7, 1.0),
    ):
        rows = np.flatnonzero(chosen & (lots[:, 1] >= low) & (lots[:, 1] < high))
        given = dirty.tables["events"][column].take(pa.array(rows)).to_pylist()
        less = [_without(text, field) for text in given]
        changed = np.array([one != other for one, other in zip(given, less, strict=True)], bool)
        rows, less = rows[changed], pa.array(less, pa.string()).filter(pa.array(changed))
        dirty.put("events", column, rows, less)
        dirty.plant("missing_fields", "events", rows, pa.repeat(f'{{"field":"{column}.{field}"}}', len(rows)))


def _shuffled(dirty: _Soil, of: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Instants of receipt in one batch behind the last event of each visit, in no order."""
    ends = np.zeros(of[-1] + 1, np.int64)
    np.maximum.at(ends, of, received)
    lots = dirty.draws("shuffled_visits.order", dirty.numbers("events"), 1)[:, 0]
    order = np.lexsort((lots, of))
    start = np.searchsorted(of, np.arange(of[-1] + 1))
    place = np.zeros(len(of), np.int64)
    place[order] = np.arange(len(of)) - start[of]
    return ends[of] + SECOND + place * 50


def _without(text: str, field: str) -> str:
    content = orjson.loads(text)
    content.pop(field, None)
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def _mails(dirty: _Soil) -> None:
    """Mail events that are received late."""
    table = dirty.tables["email_events"]
    lots = dirty.draws("late_weeks", dirty.numbers("email_events"), 2)
    received = table["received_at"].cast(pa.int64()).to_numpy()
    late = received - table["occurred_at"].cast(pa.int64()).to_numpy() > LATE
    rows = np.flatnonzero(lots[:, 0] < dirty.dirt.late_weeks)
    later = received[rows] + (3 * DAY + lots[rows, 1] * 18 * DAY).astype(np.int64)
    for name in ("_at", "_visible_at"):
        dirty.put("email_events", name, rows, pa.array(later))
    dirty.put("email_events", "received_at", rows, instants(later))
    dirty.plant("late_weeks", "email_events", rows)
    late[rows] = False
    dirty.plant("late_hours", "email_events", np.flatnonzero(late))


def _again(dirty: _Soil, entity: str, stamp: str) -> None:
    """Events that are received twice, under their own id or under another."""
    table, numbers, key = dirty.tables[entity], dirty.numbers(entity), schemas.KEYS[entity]
    copies = []
    for kind, rate, longest in (
        ("repeated_events", dirty.dirt.repeated_events, 2 * HOUR),
        ("copied_events", dirty.dirt.copied_events, 2 * MINUTE),
    ):
        lots = dirty.draws(kind, numbers, 4)
        rows = np.flatnonzero(lots[:, 0] < rate)
        copy = _copies(table.take(pa.array(rows)))
        at = copy["_at"].to_numpy() + SECOND + (lots[rows, 1] * (longest - SECOND)).astype(np.int64)
        copy = _with(copy, _at=pa.array(at), _visible_at=pa.array(at), **{stamp: instants(at)})
        detail = None
        if kind == "copied_events":
            words = (lots[rows, 2:] * 2.0**53).astype(np.uint64) * np.uint64(2053)
            detail = join('{"copy_of":"', _array(copy[key].combine_chunks()), '"}')
            copy = _with(copy, **{key: uuids(words[:, 0], words[:, 1])})
        dirty.planted.append(planted(kind, entity, _array(copy[key].combine_chunks()), at, detail))
        copies.append(copy)
    for copy in copies:
        dirty.append(entity, copy)


def _late_commits(dirty: _Soil, entity: str) -> None:
    """Rows that become visible behind cursors that have passed them already."""
    at = dirty.numbers(entity, "_at")
    lots = dirty.draws("late_commits", dirty.numbers(entity) ^ (at.astype(np.uint64) << np.uint64(8)), 2)
    rows = np.flatnonzero(lots[:, 0] < dirty.dirt.late_commits)
    visible = dirty.numbers(entity, "_visible_at")[rows] + MINUTE + (lots[rows, 1] * 19 * MINUTE).astype(np.int64)
    dirty.put(entity, "_visible_at", rows, pa.array(visible))
    dirty.plant("late_commits", entity, rows)


def _copies(table: pa.Table) -> pa.Table:
    """The same rows, marked as copies."""
    return _with(table, _number=pa.array(table["_number"].to_numpy() | COPY))


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    """The table with other values in these columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    return table


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of what ``combine_chunks`` gives."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
