"""The leak test: no feature looks past as_of, and the test itself notices one that does."""

import random
import shutil
from datetime import timedelta
from pathlib import Path

import landed_rows
import pytest
import small_shop
from landed_rows import AS_OF, PROJECT, WITHOUT_TESTS, Landing

# How each source tells when a row happened, and what names it. Sources that overwrite their rows may bring a row of
# the same name again; streams and consents only ever bring new ones.
TIMES = {
    "crm__customers": ("updated_at", "customer_id"),
    "crm__consents": ("recorded_at", "consent_id"),
    "shop__orders": ("updated_at", "order_id"),
    "shop__order_lines": ("updated_at", "order_line_id"),
    "shop__refunds": ("updated_at", "refund_id"),
    "web__events": ("timestamp", "message_id"),
    "email__events": ("occurred_at", "event_id"),
    "local_esp__events": ("occurred_at", "event_id"),
    "online_retail__invoice_lines": ("invoice_date", "line_number"),
}
OVERWRITING = ("crm__customers", "shop__orders", "shop__order_lines", "shop__refunds")
PEOPLE = {
    "crm__customers": small_shop.ACCOUNTS,
    "crm__consents": small_shop.CONSENTS,
    "catalogue__products": [small_shop.product("P1", "Garden"), small_shop.product("P2", "Kitchen")],
    "shop__orders": small_shop.ORDERS,
    "shop__order_lines": small_shop.LINES,
    "shop__refunds": small_shop.REFUNDS,
    "web__events": small_shop.EVENTS,
    "email__events": small_shop.MAILS,
    "local_esp__events": [
        one
        | {"event_id": f"esp-{one['event_id']}", "message_id": f"esp-{one['message_id']}", "email": "ann@example.com"}
        for one in small_shop.MAILS[:6]
    ],
    "online_retail__invoice_lines": small_shop.INVOICE_LINES,
}
BUILT = ("build", *WITHOUT_TESTS, "--select", "+fct_customer_features")


def futures(seed: int) -> dict[str, list[dict]]:
    """Rows of every source that happen after as_of: an instant later, hours later and months later."""
    chance = random.Random(seed)
    found = {}
    for entity, (time, key) in TIMES.items():
        rows = []
        for number, row in enumerate(PEOPLE[entity] * 3):
            later = AS_OF + chance.choice([timedelta(milliseconds=1), timedelta(hours=5), timedelta(days=40)])
            later += timedelta(milliseconds=number)
            moved = dict(row)
            for column in ("signed_up_at", "ordered_at", "refunded_at", "received_at", "recorded_at"):
                if column in moved:
                    moved[column] = later
            # Invoices tell London's time, an hour ahead of UTC.
            is_invoice = entity.startswith("online_retail")
            moved[time] = (later + timedelta(hours=1)).replace(tzinfo=None) if is_invoice else later
            if entity not in OVERWRITING or chance.random() < 0.5:
                moved[key] = 10_000 + number if key == "line_number" else f"late-{number}-{moved[key]}"
            if entity == "shop__orders":
                moved |= {"total_amount": 999.0, "ordered_at": row["ordered_at"] if moved[key] == row[key] else later}
            if entity == "crm__customers":
                moved |= {"email": f"late{number}@example.com", "country_code": "FR", "birth_date": "1950-01-01"}
            rows.append(moved)
        found[entity] = rows
    return found


def landed(folder: Path, *, later: bool) -> Landing:
    """The people's rows in one load, with what happens after as_of among them."""
    folder.mkdir(exist_ok=True)
    landing = Landing(folder)
    added = futures(seed=7) if later else {}
    landing.load(**{entity: [*rows, *added.get(entity, [])] for entity, rows in PEOPLE.items()})
    answer = landing.dbt(*BUILT)
    assert answer.success, answer.exception or [(one.node.name, one.message) for one in answer.result]
    return landing


def features(landing: Landing) -> dict[str, dict]:
    """One row per person, by column, so that a difference names the feature."""
    import duckdb

    with duckdb.connect(str(landing.database), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute("select * from features.customer_features")
        names = [column[0] for column in found.description]
        return {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}


def leaks(before: dict[str, dict], after: dict[str, dict]) -> set[str]:
    """The features that differ; ``customer_id`` where somebody came or went."""
    if set(before) != set(after):
        return {"customer_id"}
    return {name for one, row in before.items() for name, value in row.items() if after[one][name] != value}


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Landing:
    """What had happened by as_of, and nothing else."""
    return landed(tmp_path_factory.mktemp("known"), later=False)


@pytest.fixture(scope="module")
def known_with_future(tmp_path_factory) -> Landing:
    return landed(tmp_path_factory.mktemp("future"), later=True)


def test_no_feature_looks_past_as_of(known, known_with_future):
    before = features(known)
    assert len(before) >= 5
    assert leaks(before, features(known_with_future)) == set()


def test_every_feature_is_known_of_somebody(known):
    """A feature that is always null would pass every leak test."""
    rows = features(known).values()
    nowhere = {name for name in next(iter(rows)) if all(row[name] is None for row in rows)}
    # The small shop starts in 2011 and nobody in it checks out or puts into the cart twice.
    assert nowhere <= {"days_since_last_checkout", "orders_month_year_ago", "spend_month_year_ago"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("macro", "honest", "leaking", "expected"),
    [
        ("used", "and {{ event_time }} <= {{ as_of() }}", "", {"web_sessions_30d", "emails_delivered_90d"}),
        ("is_after_as_of", "coalesce({{ instant }} > {{ as_of() }}, false)", "false", {"customer_id"}),
    ],
    ids=["streams", "overwritten rows"],
)
def test_without_the_bound_on_event_time_the_leak_test_fails(
    known, tmp_path, monkeypatch, macro, honest, leaking, expected
):
    file = mutated_project(tmp_path, monkeypatch) / "macros" / f"{macro}.sql"
    text = file.read_text()
    assert honest in text, f"{macro} no longer bounds event time as this test knows it"
    file.write_text(text.replace(honest, leaking))
    found = leaks(features(known), features(landed(tmp_path / "landing", later=True)))
    assert found & expected, found


@pytest.mark.slow
def test_a_feature_that_asks_the_landed_rows_fails_the_leak_test(known, known_with_future, tmp_path, monkeypatch):
    file = mutated_project(tmp_path, monkeypatch) / "models" / "marts" / "features" / "fct_customer_features.sql"
    text = file.read_text()
    honest = "cast(people.order_count as bigint) as frequency"
    assert honest in text
    leaking = "cast((select count(*) from {{ ref('stg_shop__orders') }}) as bigint) as frequency"
    file.write_text(text.replace(honest, leaking))
    found = []
    for landing in (known, known_with_future):
        folder = tmp_path / landing.folder.name
        folder.mkdir()
        copy = Landing(folder)
        copy.index, copy.sequence = landing.index, landing.sequence
        shutil.copy2(landing.database, copy.database)
        assert copy.dbt("run", "--select", "fct_customer_features").success
        found.append(features(copy))
    assert leaks(*found) == {"frequency"}


def mutated_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project that the next dbt commands run on."""
    copy = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(landed_rows, "PROJECT", copy)
    return copy
