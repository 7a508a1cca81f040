"""Rule segments in the warehouse: both sides of the boundary of each that ships, and the history of its members."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb
import pytest
from landed_rows import AS_OF, PROJECT, WITHOUT_TESTS, Landing, at
from small_shop import account, consent, invoice, line, mail, order, product, web

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse import history, publish, segments
from letterpress.warehouse.database import warehouse_file
from letterpress.warehouse.inputs import Inputs

SECOND = timedelta(seconds=1)
NUMBERS = count(1)


def ago(*, days: float = 0, hours: float = 0, seconds: float = 0) -> str:
    """So long before as_of; ``seconds`` brings it nearer again."""
    return (AS_OF - timedelta(days=days, hours=hours) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")


class People:
    """Cases of people: what each of them did, as rows to land."""

    def __init__(self) -> None:
        self.rows = defaultdict(list)

    def person(self, key: str, **more) -> str:
        """An account without behaviour."""
        self.rows["crm__customers"].append(account(key, f"{key.lower()}@example.com", signed_up="2010-01-01", **more))
        return key

    def orders(self, key: str, *when: str, total: float = 20.0) -> str:
        for moment in when:
            number = f"O{next(NUMBERS)}"
            self.rows["shop__orders"].append(order(number, key, f"{key.lower()}@example.com", total, moment))
            self.rows["shop__order_lines"].append(line(f"L{number}", number, "P1", 1, total, moment))
        return key

    def events(self, key: str, *when: str, event: str | None = None) -> str:
        for moment in when:
            self.rows["web__events"].append(web(f"W{next(NUMBERS)}", f"device-{key}", key, moment, event))
        return key

    def mails(self, key: str, sent: int, opened: int = 0, clicked: int = 0, machine: int = 0, when: str = "") -> str:
        """So many messages, delivered 40 days ago; the first of them opened or clicked by the person or a machine."""
        delivered = ago(days=40)
        for number in range(sent):
            message = f"m-{key}-{number}"
            kinds = [("delivered", delivered, {})]
            kinds += [("open", when or ago(days=39.5), {})] if number < opened else []
            kinds += [("click", when or ago(days=39.5), {"url": "https://shop.example/"})] if number < clicked else []
            kinds += [("open", ago(days=1), {"is_machine_open": True})] if number < machine else []
            for kind, moment, more in kinds:
                self.rows["email__events"].append(mail(f"M{next(NUMBERS)}", message, key, kind, moment, **more))
        return key

    def subscriber(self, key: str, status: str = "granted") -> str:
        self.rows["crm__consents"].append(consent(f"K{next(NUMBERS)}", key, status, "2010-02-01"))
        return self.person(key)


def days_in_a_row(number: int, hour: int = 12) -> list[str]:
    """Noon of so many days, the last of them yesterday."""
    return [ago(days=day, hours=-hour) for day in range(1, number + 1)]


def cases() -> tuple[People, dict[str, tuple[list[str], list[str]]]]:
    """The people, and of each segment who is in it just so and who just is not."""
    people = People()
    person, orders, events, mails, subscriber = (
        people.person,
        people.orders,
        people.events,
        people.mails,
        people.subscriber,
    )
    old = [ago(days=day) for day in (120, 121, 122)]
    found = {
        "recent_purchasers": (
            [orders(person("REC1"), ago(days=30, seconds=1))],
            [orders(person("REC2"), ago(days=30)), person("REC3")],
        ),
        "lapsed_buyers": (["REC2"], ["REC1", "REC3"]),
        "monthly_buyers": (
            [orders(person("MON1"), ago(days=30, seconds=1), ago(days=2), ago(days=1))],
            [orders(person("MON2"), ago(days=30), ago(days=2), ago(days=1))],
        ),
        "frequent_buyers": (
            [orders(person("FRE1"), ago(days=90, seconds=1), *(ago(days=day) for day in (61, 62, 63)))],
            [orders(person("FRE2"), ago(days=90), *(ago(days=day) for day in (61, 62, 63)))],
        ),
        "big_baskets": (
            [orders(orders(person("BIG1"), old[0], total=150.02), old[1], total=50.0)],
            [orders(orders(person("BIG2"), old[0], total=150.0), old[1], total=50.0), "REC3"],
        ),
        "recent_browsers": (
            [events(person("BRO1"), ago(days=7, seconds=1), event="Product Viewed")],
            [
                events(person("BRO2"), ago(days=7), event="Product Viewed"),
                events(person("BRO3"), ago(days=1), event="Product Added"),
            ],
        ),
        "frequent_browsers": (
            [events(person("FBR1"), *days_in_a_row(4), event="Product Viewed")],
            [
                events(person("FBR2"), *days_in_a_row(3), ago(days=1, hours=-20), event="Product Viewed"),
                events(person("FBR3"), *days_in_a_row(3), ago(days=30), event="Product Viewed"),
            ],
        ),
        "frequent_visitors": (
            [events(person("VIS1"), *(ago(days=1, hours=hour) for hour in range(6)))],
            [events(person("VIS2"), *(ago(days=1, hours=hour) for hour in range(5)), ago(days=30))],
        ),
        "recent_abandoners": (
            [
                events(person("ABA1"), ago(days=7, seconds=1), event="Product Added"),
                events(orders(person("ABA2"), ago(days=1)), ago(days=1, seconds=1), event="Product Added"),
            ],
            [
                events(person("ABA3"), ago(days=7), event="Product Added"),
                events(orders(person("ABA4"), ago(days=1)), ago(days=1), event="Product Added"),
            ],
        ),
        "viewed_not_bought": (
            [
                events(person("VNB1"), ago(hours=48, seconds=1), event="Product Viewed"),
                events(orders(person("VNB2"), ago(hours=48)), ago(hours=2), event="Product Viewed"),
            ],
            [
                events(person("VNB3"), ago(hours=48), event="Product Viewed"),
                events(orders(person("VNB4"), ago(hours=48, seconds=1)), ago(hours=2), event="Product Viewed"),
            ],
        ),
        "inactive_subscribers": (
            [
                mails(subscriber("INA1"), 1, opened=1, when=ago(days=30)),
                mails(subscriber("INA2"), 1),
                mails(subscriber("INA3"), 1, machine=1),
            ],
            [
                mails(subscriber("INA4"), 1, opened=1, when=ago(days=30, seconds=1)),
                mails(subscriber("INA5", "withdrawn"), 1),
                subscriber("INA6"),
            ],
        ),
        "keen_openers": (
            [mails(person("OPE1"), 4, opened=3)],
            [mails(person("OPE2"), 4, opened=2, machine=4), person("OPE3")],
        ),
        "keen_clickers": ([mails(person("CLI1"), 4, clicked=3)], [mails(person("CLI2"), 4, clicked=2)]),
        "engaged_non_purchasers": (
            ["CLI2", mails(orders(person("ENP1"), ago(days=30)), 4, clicked=2)],
            [
                mails(orders(person("ENP2"), ago(days=30, seconds=1)), 4, clicked=2),
                mails(person("ENP3"), 4, opened=4, clicked=1),
            ],
        ),
        "high_engagement_buyers": (
            [events(orders(person("HEB1"), ago(days=90, seconds=1)), *days_in_a_row(8))],
            [
                events(orders(person("HEB2"), ago(days=90, seconds=1)), *days_in_a_row(7)),
                events(orders(person("HEB3"), ago(days=90)), *days_in_a_row(8)),
            ],
        ),
        "slipping_away": (
            [orders(person("SLI1"), ago(days=182)), events(orders(person("SLI2"), ago(days=182)), *days_in_a_row(1))],
            [
                orders(person("SLI3"), ago(days=182, seconds=1)),
                events(orders(person("SLI4"), ago(days=182)), *days_in_a_row(2)),
            ],
        ),
        "engagement_high": ([events(person("ENG1"), *days_in_a_row(20))], [events(person("ENG2"), *days_in_a_row(19))]),
        "engagement_moderate": (["ENG2", events(person("ENG3"), *days_in_a_row(4))], ["ENG1"]),
        "engagement_low": (
            [events(person("ENG4"), *days_in_a_row(3)), mails(person("ENG5"), 1, opened=1, when=ago(days=1))],
            ["ENG3"],
        ),
        "engagement_inactive": (
            [events(person("ENG6"), ago(days=31)), mails(person("ENG7"), 1, machine=1), person("ENG8")],
            ["ENG4", "ENG5"],
        ),
        "birthday_today": (
            [person("BIR1", birth_date="1980-07-01")],
            [person("BIR2", birth_date="1980-07-02"), person("BIR3", birth_date=None)],
        ),
    }
    return people, found


PEOPLE, CASES = cases()


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Landing]:
    """Everybody, and as many former customers as it takes for an exact tenth of the buyers."""
    buyers = {row["customer_id"] for row in PEOPLE.rows["shop__orders"]}
    PEOPLE.person("BORN", birth_date="1980-02-29")
    for number in range(41 - len(buyers)):
        PEOPLE.orders(PEOPLE.person(f"FIL{number}"), ago(days=150), total=1.0 + number)
    landing = Landing(tmp_path_factory.mktemp("segments"))
    landing.load(catalogue__products=[product("P1", "Garden")], **PEOPLE.rows)
    landing.load(online_retail__invoice_lines=[invoice(1, "536365", "85123A", 6, 2.5)])
    landing.build("--select", "+dim_customer_segments", "dim_segments", *WITHOUT_TESTS)
    return landing


@pytest.fixture(scope="module")
def members(shop) -> dict[str, set[str]]:
    """Segment → accounts."""
    found = defaultdict(set)
    for key, who in shop.query(
        "select segment_key, substr(source_customer_key, 6) from marts.dim_customer_segments "
        "join intermediate.int_identifiers_resolved using (customer_id) where source_customer_key like 'shop:%'"
    ):
        found[key].add(who)
    return found


def test_every_segment_has_its_boundary_here_or_in_a_test_of_its_own():
    known = {segment.key for segment in segments.read(PROJECT)}
    assert set(CASES) | {"high_value"} <= known
    others = known - set(CASES) - {"high_value"}
    assert [key for key in others if not (Path(__file__).parent / f"test_segment_{key}.py").exists()] == []


@pytest.mark.parametrize("segment", CASES)
def test_a_segment_ends_where_its_words_say(members, segment):
    inside, outside = CASES[segment]
    assert set(inside) - members[segment] == set()
    assert set(outside) & members[segment] == set()


def test_high_value_is_the_top_tenth_by_spend_and_its_boundary_belongs_to_it(shop, members):
    spent = shop.query(
        "select substr(source_customer_key, 6), total_spend from marts.fct_customer_measures "
        "join intermediate.int_identifiers_resolved using (customer_id) where order_count > 0"
    )
    assert len(spent) == 42
    least = sorted(amount for _, amount in spent)
    top = {who for who, amount in spent if sum(other < amount for other in least) >= 0.9 * 41}
    assert members["high_value"] == top
    assert top


def test_everybody_who_is_observed_has_one_level_of_engagement_and_nobody_else_has_one(shop):
    found = shop.query(
        "select people.source_systems like '%shop%', count(levels.segment_key) "
        "from intermediate.int_customers_profiled as people "
        "left join marts.dim_customer_segments as levels on people.customer_id = levels.customer_id "
        "and levels.segment_key like 'engagement!_%' escape '!' group by people.customer_id, 1"
    )
    assert set(found) == {(True, 1), (False, 0)}


def test_python_explains_every_person_as_the_warehouse_has_them(shop):
    with duckdb.connect(str(shop.database), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        measures = connection.execute("from marts.fct_customer_measures").to_arrow_table().to_pylist()
        rules = segments.published(connection.execute("from marts.dim_segments").to_arrow_table().to_pylist())
    explained = {
        (row["customer_id"], key)
        for row in measures
        for key, answer in segments.explain(rules, row).items()
        if answer.is_met
    }
    found = shop.query("select customer_id, segment_key from marts.dim_customer_segments where segment_kind = 'rule'")
    assert explained == set(found)


def test_a_birthday_on_the_29th_of_february_is_the_1st_of_march_in_other_years(shop):
    found = {}
    for day in (datetime(2011, 2, 28), datetime(2011, 3, 1), datetime(2012, 2, 29), datetime(2012, 3, 1)):
        as_of = at(day.isoformat())
        assert shop.dbt("run", "--select", "fct_customer_measures", as_of=as_of).success
        [[found[day.date().isoformat()]]] = shop.query(
            "select is_birthday_today from marts.fct_customer_measures join intermediate.int_identifiers_resolved "
            "using (customer_id) where source_customer_key = 'shop:BORN'"
        )
    assert found == {"2011-02-28": False, "2011-03-01": True, "2012-02-29": True, "2012-03-01": False}


def test_dbt_refuses_a_rule_with_an_unknown_column(tmp_path):
    rule = {"key": "fans", "name": "Fans", "all": [{"column": "order_cuont", "at_least": 1}]}
    answer = Landing(tmp_path).dbt("compile", "--select", "dim_customer_segments", variables={"rule_segments": [rule]})
    assert not answer.success
    said = f"{answer.exception} {[one.message for one in answer.result or []]}"
    assert "rule_segments in dbt_project.yml, fans: expected a column of fct_customer_measures" in said


class Shelf:
    """A channel whose versions are published with these members, and the history that they leave."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=str(folder), kept_versions=9)

    def publish(self, version: str, members: dict[str, list[str]], as_of: datetime) -> None:
        file = warehouse_file(self.settings.warehouse)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        rows = [(customer, key) for key, people in members.items() for customer in people]
        with duckdb.connect(str(file)) as connection:
            for schema in ("marts", "features"):
                connection.execute(f"create schema {schema}")
            connection.execute("create table marts.dim_customer_segments (customer_id varchar, segment_key varchar)")
            connection.execute("create table marts.dim_segments as select unnest(['fans', 'rare']) as segment_key")
            connection.execute(
                "create table marts.dim_customer_identities (source_customer_key varchar, customer_id varchar)"
            )
            for row in rows:
                connection.execute("insert into marts.dim_customer_segments values (?, ?)", list(row))
        inputs = Inputs("features", version, version, as_of.isoformat(), 1, "unused")
        publish.copy_features_candidate(self.settings, inputs)
        publish.publish(self.settings, inputs)

    def roll_back(self) -> None:
        publish.roll_back(self.settings.published, "features")

    def tables(self) -> dict[str, list]:
        names = ("segment_changes", "segment_sizes")
        return {
            f"history__{name}": [
                row
                for file in history.files(self.settings.history, name)
                for row in storage.read_parquet(file).to_pylist()
            ]
            for name in names
        }


@pytest.fixture(scope="module")
def operations(tmp_path_factory) -> Landing:
    """Five publications: b was in v2 alone, which was taken back; v1 came again; nothing changed in v4."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    day = [at(f"2011-06-0{number}") for number in range(1, 6)]
    shelf.publish("v1", {"fans": ["a"]}, day[0])
    shelf.publish("v2", {"fans": ["a", "b"]}, day[1])
    shelf.roll_back()
    shelf.publish("v3", {"fans": ["a", "c"]}, day[2])
    shelf.publish("v4", {"fans": ["a", "c"]}, day[3])
    shelf.publish("v5", {"fans": ["b"]}, day[4])
    landing = Landing(tmp_path_factory.mktemp("operations"))
    landing.load(**shelf.tables())
    # Before publications were counted, a version that was taken back left its changes behind.
    earlier = {"segment_key": "rare", "change": "entered", "as_of": at("2011-05-01")}
    landing.load(
        history__segment_changes=[
            earlier | {"version": "u1", "customer_id": "a"},
            earlier | {"version": "u2", "customer_id": "a", "as_of": at("2011-05-02")},
            earlier | {"version": "u3", "customer_id": "a", "as_of": at("2011-05-03"), "change": "left"},
            earlier | {"version": "u3", "customer_id": "b", "as_of": at("2011-05-03"), "change": "left"},
        ]
    )
    landing.build("--select", "+fct_segment_stays", "+fct_segment_sizes", "+fct_segment_changes", *WITHOUT_TESTS)
    return landing


def test_a_stay_lasts_from_entering_to_leaving_whatever_was_taken_back(operations):
    found = operations.query(
        "select customer_id, segment_key, entered_version, left_version, entered_as_of, left_as_of, is_member "
        "from operations.fct_segment_stays order by all"
    )
    assert found == [
        ("a", "fans", "v1", "v5", at("2011-06-01"), at("2011-06-05"), False),
        ("a", "rare", "u1", "u3", at("2011-05-01"), at("2011-05-03"), False),
        ("b", "fans", "v2", "v3", at("2011-06-02"), at("2011-06-03"), False),
        ("b", "fans", "v5", None, at("2011-06-05"), None, True),
        ("c", "fans", "v3", "v5", at("2011-06-03"), at("2011-06-05"), False),
    ]


def test_every_publication_has_a_size_of_every_segment_and_sizes_add_up(operations):
    found = operations.query(
        "select segment_key, version, member_count, entered_count, left_count from operations.fct_segment_sizes "
        "order by segment_key, publication_number"
    )
    assert found == [
        ("fans", "v1", 1, 1, 0),
        ("fans", "v2", 2, 1, 0),
        ("fans", "v3", 2, 1, 1),
        ("fans", "v4", 2, 0, 0),
        ("fans", "v5", 1, 1, 2),
        *[("rare", f"v{number}", 0, 0, 0) for number in range(1, 6)],
    ]


def test_a_version_that_is_published_again_is_told_from_the_one_before_it(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.publish("v1", {"fans": ["a"]}, at("2011-06-01"))
    shelf.publish("v2", {"fans": ["b"]}, at("2011-06-02"))
    shelf.publish("v1", {"fans": ["a"]}, at("2011-06-01"))
    changes = [
        (row["publication_number"], row["version"], row["customer_id"], row["change"])
        for row in shelf.tables()["history__segment_changes"]
    ]
    assert changes == [
        (1, "v1", "a", "entered"),
        (2, "v2", "a", "left"),
        (2, "v2", "b", "entered"),
        (3, "v1", "a", "entered"),
        (3, "v1", "b", "left"),
    ]


def test_the_rules_of_a_version_stand_in_it_as_json(shop):
    [[rule]] = shop.query("select rule_definition from marts.dim_segments where segment_key = 'recent_browsers'")
    assert json.loads(rule) == {"all": [{"column": "days_since_last_product_view", "less_than": 7}]}
