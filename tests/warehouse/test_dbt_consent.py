"""Consent in the warehouse: its rules hold over any history, and the models say what the rules say."""

import hashlib
import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from consent_rules import Account, Erasure, Event, Record, World, judge
from hypothesis import given, settings
from hypothesis import strategies as st
from landed_rows import AS_OF, IDENTITY_KEY, WITHOUT_TESTS, Landing, at
from small_shop import consent as consent_row
from small_shop import mail

START = at("2011-06-01")
DOUBLE_OPT_IN = {"email": ["DE"], "sms": ["AT", "DE"], "push": "all"}
ESPS = ("local_esp", "klaviyo", "mailchimp", "hubspot", "braze")
STAGING = (
    *("stg_crm__consents", "stg_email__events", *(f"stg_{esp}__events" for esp in ESPS), "stg_webhooks__events"),
    *("int_webhook_events_repeated", "int_email_events_unified"),
    *("stg_history__erasures", "stg_history__identity_changes", "consent_decisions"),
)
MODELS = (
    *("int_consents_judged", "int_channel_consents_resolved", "int_consents_resolved"),
    *("int_email_events_unified", "int_email_decisions_collected"),
    *("int_identifiers_touched", "int_unsubscribes_lifted"),
    *("int_suppressions_collected", "int_suppressions_resolved", "int_decisions_collected", "int_decisions_compared"),
    *("fct_consent_changes", "dim_customer_consents", "dim_suppressions"),
)
PROOFS = ("assert_every_consent_has_a_proof", "assert_the_consent_ledger_ends_where_consent_stands")
PROOFS += ("assert_nobody_on_the_suppression_list_is_sendable",)

ACCOUNTS, PEOPLE, ADDRESSES = ("a", "b", "c"), ("p", "q"), ("x", "y")
KINDS = ("unsubscribe", "unsubscribe", "unsubscribe", "complaint", "hard bounce", "soft bounce", "open")


def instant(chance: random.Random):
    return START + timedelta(hours=chance.randrange(8))


def record(chance: random.Random, key: str) -> Record:
    return Record(
        key,
        account=chance.choice([*ACCOUNTS * 3, "stranger"]),
        channel=chance.choice([*["email"] * 6, "sms", "push"]),
        status=chance.choice(["granted", "granted", "granted", "granted", "withdrawn", "requested"]),
        source=chance.choice(["preference_centre", "sign_up_form", "import"]),
        proof=chance.choice([None, *[f"proof-{key}"] * 7]),
        at=instant(chance),
    )


def event(chance: random.Random, key: str) -> Event:
    kind, moment = chance.choice(KINDS), instant(chance)
    if chance.random() < 0.6:
        address = chance.choice([None, *ADDRESSES, "elsewhere"])
        return Event(key, kind, moment, account=chance.choice([*ACCOUNTS, "stranger"]), address=address)
    return Event(
        key,
        kind,
        moment,
        person=chance.choice([*PEOPLE, "somebody"]),
        address=chance.choice([*ADDRESSES, "elsewhere"]),
    )


def erasure(chance: random.Random) -> Erasure:
    return Erasure(chance.choice([*ADDRESSES, "elsewhere"]), instant(chance))


def several(make, letter: str, most: int, chance: random.Random) -> tuple:
    return tuple(make(chance, f"{letter}{number}") for number in range(chance.randint(0, most)))


def world_of(seed: int) -> World:
    """Three accounts of at most two people with at most two addresses, and what they and their mailboxes decided."""
    chance = random.Random(seed)
    owned = tuple(
        Account(key, chance.choice(PEOPLE), chance.choice([None, *ADDRESSES]), chance.choice([*["GB"] * 6, "DE", None]))
        for key in ACCOUNTS[: chance.choice([1, 2, 3, 3])]
    )
    # mail goes to the address of one of the person's accounts
    addresses = {account.person: account.address for account in owned}
    return World(
        owned,
        addresses,
        several(record, "r", 14, chance),
        several(event, "e", 2, chance),
        tuple(erasure(chance) for _ in range(chance.random() < 0.1)),
        DOUBLE_OPT_IN,
    )


seeds = st.integers(0, 2**32)


def sendable(world: World) -> set[tuple[str, str]]:
    found = judge(world)
    return {key for key in found.states if found.is_sendable(*key)}


MANY = settings(max_examples=400, deadline=None, derandomize=True)


@MANY
@given(seeds, seeds)
def test_whatever_is_added_but_an_opt_in_makes_nobody_sendable(seed, other):
    world, chance = world_of(seed), random.Random(other)
    asked = {account.key for account in world.accounts if account.country != "GB"}
    # with double opt-in a request is half of an opt-in that may be there already
    harmless = [
        one
        for one in several(record, "more-r", 8, chance)
        if one.status == "withdrawn"
        or (one.status == "granted" and not one.proof)
        or (one.status == "requested" and one.account not in asked and one.channel == "email")
    ]
    erasures = tuple(erasure(chance) for _ in range(chance.random() < 0.2))
    added = world.with_more(records=harmless, events=several(event, "more-e", 2, chance), erasures=erasures)
    assert sendable(added) <= sendable(world)


@MANY
@given(seeds, seeds)
def test_an_import_lets_nobody_through_who_has_unsubscribed_or_withdrawn(seed, other):
    world, more = world_of(seed), several(record, "more-r", 5, random.Random(other))
    imported = [replace(one, source="import") for one in more if one.status != "requested"]
    before, after = judge(world), judge(world.with_more(records=imported))
    for person, channel in before.states:
        if before.states[person, channel] == "withdrawn" or (channel == "email" and person in before.suppressed):
            assert not after.is_sendable(person, channel)


@MANY
@given(seeds, seeds)
def test_no_record_lifts_a_complaint_an_erasure_or_a_hard_bounce(seed, other):
    world = world_of(seed)
    before = judge(world).suppressed
    after = judge(world.with_more(records=several(record, "more-r", 6, random.Random(other)))).suppressed
    for person, reason in before.items():
        if reason != "unsubscribed":
            assert after[person] == reason


@MANY
@given(seeds)
def test_two_people_found_to_be_one_are_as_restricted_as_the_more_restricted_of_them(seed):
    world = world_of(seed)
    of = {person: [a.key for a in world.accounts if a.person == person] for person in (*PEOPLE, "somebody")}
    # a bounce is the address's, and one address of the two is written to
    calm = replace(
        world,
        events=tuple(
            one
            for one in world.events
            if one.kind != "hard bounce"
            # nobody is written to without consent, and so nobody unsubscribes who never gave it
            and not (one.person and all(record.account not in of[one.person] for record in world.records))
        ),
    )
    apart, together = judge(calm), judge(calm.merged("p", "q"))
    for person, channel in apart.states:
        if together.is_sendable("p", channel):
            assert apart.states[person, channel] in ("granted", "none")
            assert apart.suppressed.get(person) != "erased"
            assert channel != "email" or person not in apart.suppressed


@MANY
@given(seeds, seeds)
def test_an_own_proven_opt_in_on_every_account_lifts_an_unsubscribe(seed, other):
    world = world_of(seed)
    later = START + timedelta(hours=24)
    again = [
        Record(f"again-{account.key}-{status}", account.key, "email", status, "preference_centre", "proof", moment)
        for account in world.accounts
        for status, moment in (("requested", later), ("granted", later + timedelta(hours=1)))
    ]
    before, after = judge(world), judge(world.with_more(records=again))
    for person in {account.person for account in world.accounts}:
        assert after.is_sendable(person) == (before.suppressed.get(person, "unsubscribed") == "unsubscribed")


def bulk(count: int) -> list[World]:
    """As many worlds as asked for, each with keys of its own, so that one build judges all of them."""
    return [renamed(world_of(seed), f"{seed}-") for seed in range(count)]


def renamed(world: World, prefix: str) -> World:
    def name(text):
        return text and prefix + text

    def mailbox(text):
        return text and f"{prefix}{text}@example.com"

    return World(
        tuple(Account("shop:" + name(a.key), name(a.person), mailbox(a.address), a.country) for a in world.accounts),
        {name(person): mailbox(address) for person, address in world.addresses.items()},
        tuple(replace(r, key=name(r.key), account="shop:" + name(r.account)) for r in world.records),
        tuple(
            replace(
                e,
                key=("shop:" if e.account else "local_esp:") + name(e.key),
                account=e.account and "shop:" + name(e.account),
                person=name(e.person),
                address=mailbox(e.address),
            )
            for e in world.events
        ),
        tuple(replace(e, address=mailbox(e.address)) for e in world.erasures),
        world.double_opt_in,
    )


def united(many: list[World]) -> World:
    return World(
        sum((world.accounts for world in many), ()),
        {person: address for world in many for person, address in world.addresses.items()},
        sum((world.records for world in many), ()),
        sum((world.events for world in many), ()),
        sum((world.erasures for world in many), ()),
        many[0].double_opt_in,
    )


def address_hash(address: str) -> str:
    key = IDENTITY_KEY.hex().upper()
    return hashlib.sha256((key + hashlib.sha256((key + address).encode()).hexdigest()).encode()).hexdigest()[:32]


def landed(world: World) -> dict[str, list[dict]]:
    """The rows of the sources that tell of a world."""
    kinds = {"hard bounce": ("bounce", "hard"), "soft bounce": ("bounce", "soft")}
    rows = defaultdict(list)
    for one in world.records:
        rows["crm__consents"].append(
            consent_row(one.key, one.account[5:], one.status, "2011-01-01", one.source)
            | {"channel": one.channel, "proof": one.proof, "recorded_at": one.at}
        )
    for one in world.events:
        system, key = one.key.split(":")
        kind, bounce_type = kinds.get(one.kind, (one.kind, None))
        row = mail(key, f"m-{key}", one.account[5:] if one.account else one.person, kind, "2011-01-01")
        entity = {"shop": "email__events", "local_esp": "local_esp__events"}[system]
        more = {"email": one.address, "bounce_type": bounce_type, "occurred_at": one.at, "received_at": one.at}
        rows[entity].append(row | more)
    for number, one in enumerate(world.erasures):
        rows["history__erasures"].append(
            {"erasure_id": str(number), "address_hash": address_hash(one.address), "erased_at": one.at}
        )
    return rows


def build(landing: Landing, world: World, as_of=AS_OF) -> Landing:
    """Build the models of consent over what has landed, with the identity and the countries that the world states."""
    import duckdb

    given = {"variables": {"double_opt_in": DOUBLE_OPT_IN}, "as_of": as_of}
    answer = landing.dbt("build", *WITHOUT_TESTS, "--select", *STAGING, **given)
    assert answer.success, [one.message for one in answer.result if one.status not in ("success", "pass")]
    with duckdb.connect(str(landing.database)) as connection:
        connection.execute("create schema if not exists intermediate")
        for table, columns, rows in (
            (
                "intermediate.int_identifiers_resolved",
                ("source_customer_key", "customer_id", "normalised_email", "identifier_kind"),
                [(one.key, one.person, one.address, "account") for one in world.accounts],
            ),
            (
                "intermediate.int_customers_merged",
                ("customer_id", "normalised_email"),
                list(world.addresses.items()),
            ),
            (
                "staging.stg_crm__customers",
                ("shop_customer_id", "country_code", "disposition"),
                [(one.key[5:], one.country, "used") for one in world.accounts],
            ),
        ):
            stated = pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)))
            connection.register("stated", stated)
            connection.execute(f"create or replace table {table} as select * from stated")
    answer = landing.dbt("build", "--select", *MODELS, *PROOFS, **given)
    assert answer.exception is None, answer.exception
    broken = [f"{one.node.name}: {one.message}" for one in answer.result if one.status not in ("success", "pass")]
    assert not broken, "\n".join(broken)
    return landing


@pytest.fixture(scope="module")
def world() -> World:
    return united(bulk(400))


@pytest.fixture(scope="module")
def warehouse(world, tmp_path_factory) -> Landing:
    """All of it in one load."""
    landing = Landing(tmp_path_factory.mktemp("consent"))
    landing.load(**landed(world))
    return build(landing, world)


@pytest.fixture(scope="module")
def verdict(world):
    return judge(world)


def marts(landing: Landing) -> dict[str, list[tuple]]:
    return {
        name: landing.query(f"select * from marts.{name} order by all")
        for name in ("fct_consent_changes", "dim_customer_consents", "dim_suppressions")
    }


def test_the_state_of_everybody_is_what_the_rules_say(warehouse, verdict):
    found = {
        (person, channel): (state, is_sendable)
        for person, channel, state, is_sendable in warehouse.query(
            "select customer_id, channel, consent_state, is_sendable from marts.dim_customer_consents"
        )
    }
    expected = {
        (person, channel): (state, verdict.is_sendable(person, channel))
        for (person, channel), state in verdict.states.items()
        if channel == "email" or state != "none"
    }
    assert found == expected
    assert {state for state, _ in found.values()} == {"granted", "withdrawn", "requested", "none"}
    assert sum(is_sendable for _, is_sendable in found.values()) > 25


def test_the_suppression_list_is_what_the_rules_say(warehouse, verdict):
    found = dict(warehouse.query("select suppression_id, suppression_reason from marts.dim_suppressions"))
    people = {f"person:{person}": reason for person, reason in verdict.suppressed.items()}
    mailboxes = {f"address:{address_hash(address)}": reason for address, reason in verdict.addresses.items()}
    assert found == people | mailboxes
    assert set(found.values()) == {"erased", "complained", "bounced", "unsubscribed"}


def test_every_record_is_in_the_ledger_with_the_reason_why_it_does_not_count(warehouse, world, verdict):
    found = dict(
        warehouse.query(
            "select substr(decision_id, 5), rejection_reason from marts.fct_consent_changes "
            "where decision_id like 'crm:%'"
        )
    )
    known = {account.key for account in world.accounts}
    strangers = {record.key for record in world.records if record.account not in known}
    assert set(found) == {record.key for record in world.records}
    assert {key: reason for key, reason in found.items() if key not in strangers} == verdict.flaws
    assert set(found.values()) == {
        None, "outweighed", "unproven", "unconfirmed", "not_own_act", "unknown_customer"
    }  # fmt: skip


def test_the_ledger_tells_where_everybody_stood_after_each_decision(warehouse, verdict):
    rows = warehouse.query(
        "select customer_id, channel, recorded_at, state_before, state_after, is_state_change, decision_number "
        "from marts.fct_consent_changes where customer_id is not null order by customer_id, channel, decision_number"
    )
    last = {}
    previous = defaultdict(lambda: ("none", 0))
    for person, channel, moment, before, after, changes, number in rows:
        assert (before, number) == (previous[person, channel][0], previous[person, channel][1] + 1)
        assert changes == (before != after)
        previous[person, channel] = (after, number)
        last[person, channel, moment] = after
    assert last == {key: verdict.standing(*key) for key in last}


def test_an_unsubscribe_is_lifted_when_the_rules_say(warehouse, verdict):
    found = dict(
        warehouse.query("select decision_id, min(recorded_at) from marts.fct_consent_changes "
                        "where decision = 'lifted' group by decision_id")
    )  # fmt: skip
    assert found == {key: moment for key, moment in verdict.lifted.items() if moment is not None}
    assert len(found) > 10


def test_a_consent_names_a_proof_of_an_opt_in_of_the_person(warehouse, world):
    proofs = defaultdict(set)
    owner = {account.key: account.person for account in world.accounts}
    for record in world.records:
        if record.status == "granted" and record.account in owner:
            proofs[owner[record.account], record.channel].add((record.proof, record.source, record.at))
    for person, channel, *named in warehouse.query(
        "select customer_id, channel, consent_proof, consent_source, changed_at from marts.dim_customer_consents "
        "where consent_state = 'granted'"
    ):
        assert tuple(named) in proofs[person, channel]


def test_no_address_stands_in_the_ledger_or_in_the_list(warehouse):
    for rows in marts(warehouse).values():
        assert not any("@" in str(value) for row in rows for value in row)


def test_the_order_of_landing_repetitions_and_delays_change_nothing(world, warehouse, tmp_path):
    shuffler = random.Random(5)
    landing = Landing(tmp_path)
    pieces = [defaultdict(list) for _ in range(4)]
    for entity, rows in landed(world).items():
        for row in rows:
            for number in {shuffler.randrange(4), shuffler.randrange(4)}:
                pieces[number][entity].append(row)
    for piece in pieces:
        for rows in piece.values():
            shuffler.shuffle(rows)
        landing.load(**piece)
    assert marts(build(landing, world)) == marts(warehouse)


def test_an_earlier_day_knows_nothing_of_what_was_decided_later(world, warehouse, tmp_path):
    earlier = START + timedelta(hours=3)
    landing = Landing(tmp_path)
    landing.load(**landed(world))
    past = build(landing, world, as_of=earlier)
    told = judge(world.by(earlier))
    found = {
        (person, channel): state
        for person, channel, state in past.query(
            "select customer_id, channel, consent_state from marts.dim_customer_consents"
        )
    }
    assert found == {key: state for key, state in told.states.items() if key[1] == "email" or state != "none"}
    assert marts(past) != marts(warehouse)
    [[latest]] = past.query("select max(recorded_at) from marts.fct_consent_changes")
    assert latest <= earlier
