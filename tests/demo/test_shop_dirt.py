"""Dirt is planted where the manifest says, and nowhere else."""

from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import orjson
import pyarrow as pa
import pytest

from letterpress.demo.simulation import dirt as dirt_module
from letterpress.demo.simulation import schemas, truths
from letterpress.demo.simulation.chance import Purpose, keyed
from letterpress.demo.simulation.dirt import soil
from letterpress.demo.simulation.rendering import render
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.switches import Dirt

TODAY = datetime(2011, 1, 10, tzinfo=UTC)
CLEAN = World(seed=4, customers=500, days=56, today=TODAY, dirt=Dirt.off())
ROWS = ("decomposed_names", "date_formats", "time_zones", "missing_fields", "late_weeks", "repeated_events")
ROWS += ("copied_events", "shuffled_visits", "skewed_clocks", "foreign_currency", "excessive_refunds", "test_orders")
ROWS += ("new_column", "late_commits")
PEOPLE = ("invalid_emails", "missing_emails", "messy_emails", "plus_tags", "shared_emails", "second_accounts")
PEOPLE += ("shared_accounts", "kiosks", "bots", "late_hours")


class Played:
    """A clean world's days: what was rendered, and what dirt makes of it."""

    def __init__(self, world: World):
        simulator = Simulator(world)
        self.world, self.state = world, simulator.opening()
        self.days, self.clean, self.truth = [], [], []
        for _ in range(world.days):
            day = simulator.play(self.state)
            self.days.append(day)
            self.clean.append(render(world, self.state, day))
            self.truth.append(truths.of(self.state, day)["planted"])

    @cache  # noqa: B019 (of one world, for one module)
    def soiled(self, **rates: float) -> tuple[dict[str, pa.Table], pa.Table]:
        world = replace(self.world, dirt=replace(Dirt.off(), **rates))
        parts = [soil(world, day, tables) for day, tables in zip(self.days, self.clean, strict=True)]
        tables = {name: _joined([tables[name] for tables, _ in parts]) for name in self.clean[0]}
        return tables, pa.concat_tables([planted for _, planted in parts])

    def rendered(self) -> dict[str, pa.Table]:
        return {name: _joined([tables[name] for tables in self.clean]) for name in self.clean[0]}


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def changed(before: pa.Table, after: pa.Table, *columns: str) -> set[str]:
    """The keys of the rows in which one of the columns differs."""
    assert before.num_rows == after.num_rows
    differs = np.zeros(before.num_rows, bool)
    for name in columns:
        left, right = before[name].to_pylist(), after[name].to_pylist()
        differs |= np.array([one != other for one, other in zip(left, right, strict=True)], bool)
    key = next(name for name in before.column_names if name in schemas.KEYS.values())
    return set(after[key].filter(pa.array(differs)).to_pylist())


def keys(planted: pa.Table, kind: str, entity: str | None = None) -> set[str]:
    rows = zip(*(planted[name].to_pylist() for name in ("kind", "entity", "key")), strict=True)
    return {key for found, where, key in rows if found == kind and entity in (None, where)}


@pytest.fixture(scope="module")
def played() -> Played:
    return Played(CLEAN)


@pytest.fixture(scope="module")
def clean(played) -> dict[str, pa.Table]:
    return played.rendered()


def test_without_dirt_nothing_is_planted_and_every_row_stays(played, clean):
    tables, planted = played.soiled()
    assert planted.num_rows == 0
    for name, table in tables.items():
        assert table.select(clean[name].column_names).equals(clean[name]), name
        assert set(table.column_names) == set(clean[name].column_names), name
    truth = pa.concat_tables(played.truth)["kind"].to_pylist()
    assert set(truth) <= {"hidden_scanners"}


def test_every_switch_is_known_to_the_manifest_and_documented():
    switches = {field.name for field in fields(Dirt)}
    assert switches == {*ROWS, *PEOPLE, "file_horrors"}
    documented = {line.split()[0] for line in dirt_module.__doc__.splitlines() if line[:1].isalpha() and "  ." in line}
    documented |= {line.split()[0] for line in dirt_module.__doc__.splitlines() if line.startswith("file_horrors")}
    assert switches <= documented


@pytest.mark.parametrize("kind", ROWS)
def test_a_switch_plants_its_own_kind_at_its_rate_and_no_other(played, kind):
    _, planted = played.soiled(**{kind: 0.3})
    found = set(planted["kind"].to_pylist()) - {"late_hours"}
    assert found == {kind}
    _, more = played.soiled(**{kind: 0.6})
    assert 1.5 < more.num_rows / planted.num_rows < 2.6


@pytest.mark.parametrize(
    ("kind", "entity", "columns"),
    [
        ("decomposed_names", "customers", ("first_name", "last_name")),
        ("date_formats", "customers", ("birth_date",)),
        ("missing_fields", "customers", ("country_code", "first_name", "last_name", "time_zone", "phone")),
        ("missing_fields", "orders", ("email",)),
        ("missing_fields", "products", ("category",)),
        ("missing_fields", "events", ("context", "properties")),
        ("missing_fields", "email_events", ("campaign_name",)),
        ("late_weeks", "events", ("received_at", "_at", "_visible_at")),
        ("late_weeks", "email_events", ("received_at", "_at", "_visible_at")),
        ("shuffled_visits", "events", ("received_at", "_at", "_visible_at")),
        ("skewed_clocks", "events", ("timestamp",)),
        ("foreign_currency", "orders", ("currency", "total_amount", "discount_amount", "shipping_amount")),
        ("excessive_refunds", "refunds", ("amount",)),
        ("late_commits", "orders", ("_visible_at",)),
        ("late_commits", "events", ("_visible_at",)),
    ],
)
def test_the_manifest_names_exactly_the_rows_that_changed(played, clean, kind, entity, columns):
    tables, planted = played.soiled(**{kind: 0.3})
    found = keys(planted, kind, entity)
    assert found
    assert changed(clean[entity], tables[entity], *columns) == found
    others = [name for name in clean[entity].column_names if name not in columns]
    assert not changed(clean[entity], tables[entity], *others)


def test_names_are_the_same_to_the_eye(played, clean):
    import unicodedata

    tables, _ = played.soiled(decomposed_names=1.0)
    for name in ("first_name", "last_name"):
        for before, after in zip(
            clean["customers"][name].to_pylist(), tables["customers"][name].to_pylist(), strict=True
        ):
            assert after != before
            assert unicodedata.normalize("NFC", after).replace("\u00a0", "") == before


def test_dates_of_birth_can_be_read_back_by_country(played, clean):
    tables, planted = played.soiled(date_formats=1.0)
    truth = {
        key: orjson.loads(detail)["birth_date"]
        for key, detail in zip(planted["key"].to_pylist(), planted["detail"].to_pylist(), strict=True)
    }
    rows = tables["customers"].select(["customer_id", "birth_date", "country_code"]).to_pylist()
    shapes = Counter()
    for row in rows:
        if row["birth_date"] is None:
            continue
        written, country = row["birth_date"], row["country_code"]
        ways = ("%m/%d/%Y",) if country == "US" else ("%d.%m.%Y", "%d/%m/%Y", "%d %b %Y", "%Y-%m-%d")
        for way in ways:
            try:
                read = datetime.strptime(written, way).date().isoformat()
            except ValueError:
                continue
            assert read == truth[row["customer_id"]]
            shapes[way] += 1
            break
        else:
            pytest.fail("a date that no way reads")
    assert len(shapes) == 5
    assert changed(clean["customers"], tables["customers"], "birth_date") == set(truth)


def test_sign_up_times_keep_their_instant_in_the_customers_own_zone(played, clean):
    tables, planted = played.soiled(time_zones=1.0)
    assert tables["customers"]["signed_up_at"].equals(clean["customers"]["signed_up_at"])
    bodies = [orjson.loads(body) for body in schemas.bodies("customers", tables["customers"])]
    plain = [orjson.loads(body) for body in schemas.bodies("customers", clean["customers"])]
    offsets = {body["signed_up_at"][-6:] for body in bodies}
    assert len(offsets) > 3
    for one, other in zip(bodies, plain, strict=True):
        assert datetime.fromisoformat(one["signed_up_at"]) == datetime.fromisoformat(other["signed_up_at"])
    assert keys(planted, "time_zones") == {body["customer_id"] for body in bodies}


def test_late_events_come_within_three_weeks_and_devices_stay_in_step(played, clean):
    tables, _ = played.soiled(late_weeks=0.2)
    for entity in ("events", "email_events"):
        before = np.array(clean[entity]["received_at"].cast(pa.int64()))
        after = np.array(tables[entity]["received_at"].cast(pa.int64()))
        moved = after - before
        days = moved[moved > 0] / 86_400_000
        assert days.min() >= 3
        assert days.max() <= 21
        assert np.array_equal(after, tables[entity]["_at"].to_numpy())


def test_shuffled_visits_arrive_in_one_batch_after_their_end(played, clean):
    tables, _ = played.soiled(shuffled_visits=1.0)
    stamps = np.array(tables["events"]["timestamp"].cast(pa.int64()))
    received = np.array(tables["events"]["received_at"].cast(pa.int64()))
    assert (received > stamps).all()
    assert (np.diff(received) < 0).mean() > 0.2
    assert (np.diff(np.array(clean["events"]["_at"])) < 0).mean() < 0.2


def test_skewed_clocks_are_off_by_what_the_manifest_says(played, clean):
    tables, planted = played.soiled(skewed_clocks=0.4)
    shift = {
        key: orjson.loads(detail)["shift"]
        for key, detail in zip(planted["key"].to_pylist(), planted["detail"].to_pylist(), strict=True)
    }
    ids = clean["events"]["message_id"].to_pylist()
    before = np.array(clean["events"]["timestamp"].cast(pa.int64()))
    after = np.array(tables["events"]["timestamp"].cast(pa.int64()))
    assert [int(moved) for moved in after - before] == [shift.get(key, 0) for key in ids]
    years = {datetime.fromtimestamp(at / 1000, UTC).year for at in after.tolist()}
    assert 2001 in years
    hours = np.abs(np.array([one for one in shift.values() if abs(one) < 86_400_000])) / 3_600_000
    assert hours.max() <= 3


@pytest.mark.parametrize("entity", ["events", "email_events"])
def test_events_come_again_under_the_same_id_and_under_another(played, clean, entity):
    key = schemas.KEYS[entity]
    tables, planted = played.soiled(repeated_events=0.2, copied_events=0.1)
    ids = tables[entity][key].to_pylist()
    own = set(clean[entity][key].to_pylist())
    repeated, copied = keys(planted, "repeated_events", entity), keys(planted, "copied_events", entity)
    assert {one for one, count in Counter(ids).items() if count > 1} == repeated
    assert set(ids) - own == copied
    assert len(ids) == len(own) + len(repeated) + len(copied)
    originals = {
        row["key"]: orjson.loads(row["detail"])["copy_of"]
        for row in planted.to_pylist()
        if row["kind"] == "copied_events"
    }
    body = {}
    moving = {key, "received_at", "_at", "_visible_at", "_number"}
    for row in tables[entity].to_pylist():
        body.setdefault(row[key], {name: value for name, value in row.items() if name not in moving})
    for copy in copied:
        assert body[copy] == body[originals[copy]]


def test_orders_in_euros_add_up_to_the_cent(played, clean):
    tables, planted = played.soiled(foreign_currency=1.0)
    euros = keys(planted, "foreign_currency")
    orders = {row["order_id"]: row for row in tables["orders"].to_pylist()}
    pounds = {row["order_id"]: row for row in clean["orders"].to_pylist()}
    lines = Counter()
    for row in tables["order_lines"].to_pylist():
        assert round(row["unit_price"] * row["quantity"] * 100) == round(row["line_amount"] * 100)
        lines[row["order_id"]] += round(row["line_amount"] * 100)
    assert euros == {key for key, row in orders.items() if row["currency"] == "EUR"}
    assert 0 < len(euros) < len(orders)
    for row in orders.values():
        parts = lines[row["order_id"]] + round(row["shipping_amount"] * 100) - round(row["discount_amount"] * 100)
        assert parts == round(row["total_amount"] * 100)
    for key in euros:
        assert 1.08 < orders[key]["total_amount"] / pounds[key]["total_amount"] < 1.25
        assert orders[key]["ordered_at"] >= TODAY - timedelta(days=56 * 0.4 + 1)
    refunds = {row["refund_id"]: row for row in tables["refunds"].to_pylist()}
    for row in refunds.values():
        assert row["amount"] <= orders[row["order_id"]]["total_amount"]


def test_excessive_refunds_give_back_more_than_was_paid(played):
    tables, planted = played.soiled(excessive_refunds=1.0, foreign_currency=1.0)
    totals = {row["order_id"]: row["total_amount"] for row in tables["orders"].to_pylist()}
    ratios = [row["amount"] / totals[row["order_id"]] for row in tables["refunds"].to_pylist()]
    assert ratios
    assert 1.09 < min(ratios) < max(ratios) < 2.01
    assert keys(planted, "excessive_refunds") == set(tables["refunds"]["refund_id"].to_pylist())


def test_test_orders_are_whole_and_nobodys(played, clean):
    tables, planted = played.soiled(test_orders=0.2)
    staff = [row for row in tables["orders"].to_pylist() if row["order_id"].startswith("T")]
    assert {row["order_id"] for row in staff} == keys(planted, "test_orders")
    assert {row["email"].strip().lower() for row in staff} == {"test@example.com"}
    assert {row["customer_id"] for row in staff} == {None}
    lines = Counter(row["order_id"] for row in tables["order_lines"].to_pylist())
    assert all(lines[row["order_id"]] == lines["O" + row["order_id"][1:]] for row in staff)
    assert len(set(tables["order_lines"]["order_line_id"].to_pylist())) == tables["order_lines"].num_rows
    assert tables["orders"].num_rows == clean["orders"].num_rows + len(staff)


def test_a_column_appears_for_later_versions_alone(played):
    tables, planted = played.soiled(new_column=0.5)
    table = tables["customers"]
    codes, at = table["referral_code"].to_pylist(), table["_at"].to_numpy()
    filled = np.array([code is not None for code in codes])
    start = int((TODAY - timedelta(days=28)).timestamp() * 1000)
    assert at[filled].min() >= start
    assert not filled[at < start].any()
    assert set(table["customer_id"].filter(pa.array(filled)).to_pylist()) == keys(planted, "new_column")
    bodies = [orjson.loads(body) for body in schemas.bodies("customers", table)]
    assert [("referral_code" in body) for body in bodies] == filled.tolist()


def test_all_versions_of_a_row_are_dirty_alike(played):
    tables, _ = played.soiled(decomposed_names=0.5, date_formats=0.5, missing_fields=0.5, foreign_currency=0.5)
    for entity, columns in (
        ("customers", ("first_name", "birth_date")),
        ("orders", ("currency", "email", "total_amount")),
    ):
        seen = {}
        for row in tables[entity].select([schemas.KEYS[entity], *columns]).to_pylist():
            values = tuple(row[name] for name in columns)
            assert seen.setdefault(row[schemas.KEYS[entity]], values) == values


def test_keyed_numbers_are_uniform_and_belong_to_their_rows():
    numbers = np.arange(200_000, dtype=np.uint64)
    draws = keyed(1, Purpose.DIRT, numbers, 3)
    expected = len(numbers) / 50
    for column in range(3):
        counts = np.bincount((draws[:, column] * 50).astype(int), minlength=50)
        assert ((counts - expected) ** 2 / expected).sum() < 95  # chi-square, 49 degrees of freedom, p > .0001
    assert abs(np.corrcoef(draws.T)[np.triu_indices(3, 1)]).max() < 0.01
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.01
    order = np.random.default_rng(1).permutation(len(numbers))
    assert np.array_equal(keyed(1, Purpose.DIRT, numbers[order], 3), draws[order])
    assert np.array_equal(keyed(1, Purpose.DIRT, numbers[7:9], 1)[:, 0], draws[7:9, 0])
    assert not np.array_equal(keyed(2, Purpose.DIRT, numbers, 3), draws)
    assert not np.array_equal(keyed(1, Purpose.ANSWERS, numbers, 3), draws)


@pytest.mark.parametrize("kind", ["invalid_emails", "missing_emails", "messy_emails", "plus_tags"])
def test_addresses_are_mistyped_where_the_manifest_says(kind):
    world = replace(CLEAN, customers=200, days=40, dirt=replace(Dirt.off(), **{kind: 0.3}))
    played = Played(world)
    planted = pa.concat_tables(played.truth)
    tables = played.rendered()
    plain = Played(replace(world, dirt=Dirt.off())).rendered()
    for entity in ("customers", "orders"):
        wrong = keys(planted, kind, entity)
        emails = dict(
            zip(tables[entity][schemas.KEYS[entity]].to_pylist(), tables[entity]["email"].to_pylist(), strict=True)
        )
        if entity == "orders":
            wrong = {key for key in wrong if key in emails}
        assert wrong
        for key in wrong:
            mail = emails[key]
            if kind == "missing_emails":
                assert mail is None
            elif kind == "plus_tags":
                assert "+" in mail.partition("@")[0]
            elif kind == "messy_emails":
                assert mail != mail.strip().lower()
            else:
                assert mail.count("@") != 1 or " " in mail or "." not in mail.partition("@")[2]
    assert all(mail == mail.strip().lower() and "+" not in mail for mail in plain["customers"]["email"].to_pylist())


def test_people_share_addresses_accounts_and_devices_where_the_manifest_says():
    rates = {"shared_emails": 0.1, "shared_accounts": 0.1, "second_accounts": 0.1, "kiosks": 0.1, "bots": 0.1}
    played = Played(replace(CLEAN, dirt=replace(Dirt.off(), **rates)))
    planted, held, people = pa.concat_tables(played.truth), played.state.accounts, played.state.people
    number = [f"C{one + 1:06d}" for one in range(len(held))]

    shared = {number[one] for one in np.flatnonzero(held["mail_person"] != held["person"])}
    assert keys(planted, "shared_emails") == shared != set()
    owners = Counter(held["person"].tolist())
    assert len(keys(planted, "second_accounts")) == sum(count - 1 for count in owners.values()) > 0
    joined = {number[one] for one in people["account"][people["joins"] & (people["account"] >= 0)]}
    assert keys(planted, "shared_accounts") == joined != set()

    devices = pa.concat_tables([truths.of(played.state, day)["devices"] for day in played.days]).to_pandas()
    kiosks = devices[devices["is_kiosk"]]
    assert set(kiosks["anonymous_id"]) == keys(planted, "kiosks")
    assert kiosks.groupby("anonymous_id")["person"].nunique().min() > 3
    own = devices[~devices["is_kiosk"] & (devices["person"] >= 0)]
    assert own.groupby("anonymous_id")["person"].nunique().max() == 1
    assert set(devices.loc[devices["is_bot"], "anonymous_id"]) == keys(planted, "bots")
