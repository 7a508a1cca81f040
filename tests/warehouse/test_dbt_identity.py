"""One person, however many accounts, devices and orders; and never two people as one."""

from datetime import UTC, datetime

import pytest
from landed_history import land_history
from landed_rows import Landing, at
from small_shop import account, order, web

IDENTITY = ("build", "--select", "+int_emails_resolved", "+int_visitors_resolved", "+fct_identity_edges")
NAMED = {"first_name": "Ann", "last_name": "Lee"}

ACCOUNTS = [
    # One mailbox, written in three ways, and one name: one person.
    account("C1", "ann@example.com", **NAMED),
    account("C2", " Ann+Shop@Example.com", signed_up="2011-02-01", first_name="ANN", last_name="Lee"),
    account("C3", "ann@example.com", signed_up="2011-03-01", first_name=None, last_name=None),
    # The husband's account gives the wife's address.
    account("C4", "ann@example.com", signed_up="2011-03-02", first_name="Bob", last_name="Lee"),
    # Addresses that are nobody's.
    account("C5", "test@shop.example", first_name="Cyd", last_name="Ray"),
    account("C6", "test@shop.example", first_name="Cyd", last_name="Ray"),
    # Two addresses, one name, one device.
    account("C7", "dan@example.com", first_name="Dan", last_name="Orr"),
    account("C8", "dan@work.example", signed_up="2011-02-01", first_name="Dan", last_name="Orr"),
    # Two names on one device.
    account("C9", "eve@example.com", first_name="Eve", last_name="Orr"),
    account("C10", "fay@example.com", first_name="Fay", last_name="Orr"),
    # A till.
    *(account(f"C{n}", f"p{n}@example.com", first_name="Pat", last_name="Poe") for n in range(11, 17)),
    # More accounts on one address than a person has.
    *(account(f"C{n}", "office@example.com", first_name="Off", last_name="Ice") for n in range(20, 32)),
    account("C40", "gus@example.com", signed_up="2011-06-10", first_name="Gus", last_name="Fox"),
]
EVENTS = [
    web("W1", "d1", "C7", "2011-06-01 10:00"),
    web("W2", "d1", "C8", "2011-06-02 10:00"),
    web("W3", "d2", "C9", "2011-06-02 10:00"),
    web("W4", "d2", "C10", "2011-06-02 11:00"),
    *(web(f"T{n}", "till", f"C{n}", f"2011-06-03 10:{n}") for n in range(11, 17)),
    web("W5", "d3", "C1", "2011-06-02 11:00"),
    web("W6", "d3", "C2", "2011-06-02 11:00"),
    web("W7", "d4", "C99", "2011-06-02 11:00"),
]
ORDERS = [
    order("O1", None, "gus@example.com", 10.0, "2011-06-01"),
    order("O2", "C1", "ann@old.example", 10.0, "2011-06-01"),
    order("O3", None, "ann@old.example", 10.0, "2011-06-02"),
    order("O4", "C4", "gus@example.com", 10.0, "2011-06-02"),
    order("O5", None, "noreply@example.com", 10.0, "2011-06-02"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Landing:
    landing = Landing(tmp_path_factory.mktemp("identity"))
    landing.load(crm__customers=ACCOUNTS, web__events=EVENTS, shop__orders=ORDERS)
    landing.build(*IDENTITY[1:])
    return landing


def people(landing: Landing) -> dict[str, str]:
    rows = landing.query("select source_customer_key, customer_id from intermediate.int_identifiers_resolved")
    return {key.removeprefix("shop:"): person for key, person in rows}


def owner(landing: Landing, email: str) -> str | None:
    rows = landing.query(f"select customer_id from intermediate.int_emails_resolved where normalised_email = '{email}'")
    return rows[0][0] if rows else None


def device(landing: Landing, name: str) -> str | None:
    rows = landing.query(f"select customer_id from intermediate.int_visitors_resolved where anonymous_id = '{name}'")
    return rows[0][0] if rows else None


def test_accounts_of_one_address_and_no_other_name_are_one_person(shop):
    found = people(shop)
    assert found["C1"] == found["C2"] == found["C3"]


def test_another_name_under_the_same_address_is_another_person(shop):
    found = people(shop)
    assert found["C4"] != found["C1"]
    assert owner(shop, "ann@example.com") == found["C1"]


def test_an_address_that_is_nobodys_joins_nobody(shop):
    found = people(shop)
    assert found["C5"] != found["C6"]
    assert owner(shop, "test@shop.example") is None
    assert owner(shop, "noreply@example.com") is None


def test_one_full_name_on_one_device_is_one_person(shop):
    found = people(shop)
    assert found["C7"] == found["C8"] == device(shop, "d1")
    assert owner(shop, "dan@work.example") == owner(shop, "dan@example.com") == found["C7"]


def test_two_people_on_one_device_stay_two_and_the_device_is_nobodys(shop):
    found = people(shop)
    assert found["C9"] != found["C10"]
    assert device(shop, "d2") is None


def test_a_till_joins_nobody_whatever_the_names(shop):
    found = people(shop)
    assert len({found[f"C{n}"] for n in range(11, 17)}) == 6
    assert device(shop, "till") is None


def test_an_address_of_more_accounts_than_a_person_has_joins_none_of_them(shop):
    found = people(shop)
    assert len({found[f"C{n}"] for n in range(20, 32)}) == 12
    assert owner(shop, "office@example.com") is None


def test_a_guest_who_signs_up_keeps_the_id(shop):
    found = people(shop)
    [[guest]] = shop.query(
        "select customer_id from intermediate.int_identifiers_resolved where identifier_kind = 'email'"
        " and normalised_email = 'gus@example.com'"
    )
    assert found["C40"] == guest


def test_an_orders_other_address_belongs_to_the_account_that_ordered(shop):
    assert owner(shop, "ann@old.example") == people(shop)["C1"]


def test_an_address_that_an_account_states_is_not_taken_by_anothers_order(shop):
    assert owner(shop, "gus@example.com") == people(shop)["C40"] != people(shop)["C4"]


def test_an_account_that_has_not_landed_owns_no_device(shop):
    assert device(shop, "d4") is None


def test_every_refused_tie_says_why(shop):
    found = dict(
        shop.query("select refusal_reason, count(*) from marts.fct_identity_edges where not is_joining group by 1")
    )
    assert found == {
        "name_contradicts": 1,
        "shared_identifier": 2,
        "too_many_accounts": 12,
        "several_people": 2 + 6 + 1,
    }


def test_cutting_a_tie_parts_the_people_again_and_the_earlier_part_keeps_the_id(tmp_path):
    landing = Landing(tmp_path)
    landing.load(crm__customers=ACCOUNTS[:3], web__events=EVENTS[-3:-1], shop__orders=[])
    landing.build(*IDENTITY[1:])
    before = people(landing)
    assert len({before[key] for key in ("C1", "C2", "C3")}) == 1
    [[address]] = landing.query(
        "select distinct right_identifier from marts.fct_identity_edges where edge_kind = 'account_email'"
    )
    import duckdb

    with duckdb.connect(str(landing.database)) as connection:
        connection.execute("insert into seeds.identity_cuts values (?, ?, 'asked for')", ["shop:C2", address])
        connection.execute("insert into seeds.identity_cuts values ('shop:C1', 'shop:C2', 'asked for')")
    answer = landing.dbt("run", "--select", "models/intermediate/identity")
    assert answer.success
    after = people(landing)
    assert after["C1"] == after["C3"] == before["C1"]
    assert after["C2"] != before["C2"]
    assert device(landing, "d3") is None


@pytest.mark.slow
def test_planted_people_are_found_and_none_are_taken_for_one(tmp_path):
    """Pairwise over what the manifest marks as resolvable: precision and recall are at least .99."""
    import pandas as pd

    from letterpress.demo import history, truth
    from letterpress.demo.simulation.switches import Dirt

    folder = tmp_path / "history"
    today = datetime(2011, 7, 1, tzinfo=UTC)
    history.make(folder, customers=4_000, days=120, events=None, seed=11, today=today, dirt=Dirt(kiosks=0.02))
    landing = Landing(tmp_path / "warehouse")
    land_history(landing, folder)
    answer = landing.dbt(
        "build",
        "--select",
        "+int_emails_resolved",
        "+int_visitors_resolved",
        "+int_orders_unified",
        as_of=at("2011-07-01"),
    )
    assert answer.success
    known = pd.concat(
        pd.DataFrame(landing.query(query), columns=["kind", "identifier", "customer_id"])
        for query in (
            "select 'customer_id', substr(source_customer_key, 6), customer_id from"
            " intermediate.int_identifiers_resolved where source_customer_key like 'shop:%'",
            "select 'anonymous_id', anonymous_id, customer_id from intermediate.int_visitors_resolved",
            "select 'order_id', substr(order_id, 6), customer_id from intermediate.int_orders_unified"
            " where source_system = 'shop' and customer_id is not null",
        )
    )
    truths = truth.of_history(folder)
    figures = truths.pairwise(known)
    assert figures["resolvable_pairs"] > 5_000
    assert figures["precision"] >= 0.99, figures
    assert figures["recall"] >= 0.99, figures

    # Not through a kiosk and not through an address that two share: accounts of two people are never one person.
    accounts = truths.accounts().merge(
        known[known["kind"] == "customer_id"], left_on="customer_id", right_on="identifier", suffixes=("", "_found")
    )
    owners = accounts.groupby("customer_id_found")["person"].nunique()
    merged = owners[owners > 1].index
    rows = landing.query(
        "select shop_customer_id from staging.stg_crm__customers where disposition = 'used'"
        " and (first_name is null or last_name is null)"
    )
    nameless = {row[0] for row in rows}
    for _, together in accounts[accounts["customer_id_found"].isin(merged)].groupby("customer_id_found"):
        # Without a name nothing tells the two apart.
        assert nameless & set(together["customer_id"]), together["customer_id"].tolist()
