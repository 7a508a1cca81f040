"""Every suite lets healthy rows through, and every one of its checks can fail."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import yaml
from good_rows import NOW, flat_payload, good_frame

from expectations import engine, runner
from expectations.suites import SUITES, Check, score_suite

CHECKED_AT = datetime(2011, 7, 1, tzinfo=UTC)


def audit(suite: str, frame: pd.DataFrame) -> runner.Audit:
    return runner.validate(suite, [frame], subject="a test", run_id="run", checked_at=CHECKED_AT)


def healthy(suite: str, check: Check) -> pd.DataFrame:
    """Good rows in the shape that the check is asked about."""
    rows = max(24, check.minimum_rows)
    if suite.startswith("payload") and not any("attributes." in name for name in check.columns):
        return engine.flatten(pd.DataFrame([flat_payload(i) for i in range(rows)]))
    return engine.flatten(good_frame(suite, rows))


def broken(frame: pd.DataFrame, check: Check) -> list[pd.DataFrame]:
    """The ways in which these rows can break this check; each has to fail it."""
    column = check.columns[0] if check.columns else None
    asked = frame[check.where[0]] == check.where[1] if check.where else pd.Series(True, index=frame.index)
    kwargs = check.kwargs

    def put(value: object, name: str | None = column) -> pd.DataFrame:
        return frame.assign(**{name: frame[name].astype(object).where(~asked, value)})

    match check.expectation:
        case "ExpectTableColumnsToMatchSet":
            names = kwargs["column_set"]
            without = [frame.drop(columns=name) for name in (names[0], names[-1])]
            return [*without, frame.assign(more=1)] if kwargs["exact_match"] else without
        case "ExpectTableRowCountToBeBetween":
            return [frame.iloc[:0]]
        case "ExpectColumnValuesToNotBeNull":
            return [put(None)]
        case "ExpectColumnValuesToBeNull":
            return [put("something")]
        case "ExpectColumnValuesToBeInSet":
            flags = set(kwargs["value_set"]) <= {True, False}
            return [put(not kwargs["value_set"][0] if flags else "something else")]
        case "ExpectColumnValuesToMatchRegex":
            return [put(" \t")]
        case "ExpectColumnValuesToBeJsonParseable":
            return [put("{")]
        case "ExpectColumnValuesToBeUnique":
            return [put(frame[column].iloc[0])]
        case "ExpectColumnValuesToBeBetween":
            step = timedelta(days=1) if isinstance(kwargs.get("min_value"), datetime) else 1
            if isinstance(kwargs.get("max_value"), float):
                return [put(float("inf")), put(float("-inf"))]
            low = [put(kwargs["min_value"] - step)] if "min_value" in kwargs else []
            return low + ([put(kwargs["max_value"] + step)] if "max_value" in kwargs else [])
        case "ExpectColumnUniqueValueCountToBeBetween":
            few = [put(frame[column].iloc[0])] if kwargs.get("min_value", 0) > 1 else []
            many = frame.assign(**{column: [_other(frame[column].iloc[0], i) for i in range(len(frame))]})
            return few + ([many] if "max_value" in kwargs else [])
        case "ExpectColumnDistinctValuesToContainSet":
            return [put(frame.loc[~frame[column].isin(kwargs["value_set"]), column].iloc[0])]
        case "ExpectColumnPairValuesAToBeGreaterThanB":
            later, earlier = kwargs["column_A"], kwargs["column_B"]
            return [frame.assign(**{later: frame[earlier] - timedelta(seconds=1)})]
    raise AssertionError(f"no way known to break {check.expectation}: add one here")


def _other(value: object, number: int) -> object:
    return value + timedelta(days=number) if isinstance(value, datetime) else number if value is None else f"{number}"


def breaks(suite: str) -> list[tuple[pd.DataFrame, list[Check]]]:
    """Rows that break checks of a suite, with these checks: those that read no column in common share a frame."""
    shared: list[tuple[pd.DataFrame, list[Check], set[str]]] = []
    for check in SUITES[suite]:
        read = {*check.columns, *(check.where or ())[:1]}
        ways = broken(healthy(suite, check), check)
        assert ways, f"no way to break {check.expectation} {check.label}"
        for bad in ways:
            for number, (frame, checks, taken) in enumerate(shared):
                if list(frame) == list(bad) and len(frame) == len(bad) and not taken & read:
                    frame = frame.assign(**{name: bad[name] for name in read})
                    shared[number] = (frame, [*checks, check], taken | read)
                    break
            else:
                shared.append((bad, [check], read))
    return [(frame, checks) for frame, checks, _ in shared]


@pytest.mark.parametrize("rows", [12, 1_200])
@pytest.mark.parametrize("suite", SUITES)
def test_healthy_rows_pass_without_a_warning(suite: str, rows: int) -> None:
    found = audit(suite, good_frame(suite, rows))
    assert found.verdict == "passed", found.summary()


def test_healthy_payloads_pass_wherever_their_facts_stand() -> None:
    found = audit("payload", pd.DataFrame([flat_payload(i) for i in range(24)]))
    assert found.verdict == "passed", found.summary()


@pytest.mark.parametrize("suite", SUITES)
def test_every_check_can_fail(suite: str) -> None:
    for bad, checks in breaks(suite):
        answers = engine.ask(suite, checks, bad)
        for number, check in enumerate(checks):
            assert not answers[number].success, f"{check.expectation} {check.label}"
            assert not answers[number].is_unanswered, f"{check.expectation} {check.label}"


@pytest.mark.parametrize("suite", [name for name in SUITES if name.startswith("landed_")])
def test_a_landed_suite_asks_for_the_columns_that_its_source_declares(suite: str) -> None:
    from letterpress.sources import landing

    source, entity = suite.removeprefix("landed_").split("__")
    asked = SUITES[suite][0].kwargs["column_set"]
    assert sorted(asked) == sorted(landing.declared_schemas()[source, entity].names)


def test_every_declared_entity_has_a_suite() -> None:
    from letterpress.sources import landing

    declared = {f"landed_{source}__{entity}" for source, entity in landing.declared_schemas()}
    assert declared == {name for name in SUITES if name.startswith("landed_")}


@pytest.mark.parametrize("suite", [name for name in SUITES if name.startswith("mart_")])
def test_a_mart_suite_asks_about_columns_that_dbt_promises(suite: str, repository) -> None:
    promised = {}
    for file in (repository / "dbt_project" / "models" / "marts").rglob("*.yml"):
        for model in yaml.safe_load(file.read_text()).get("models") or []:
            promised[model["name"]] = {column["name"] for column in model.get("columns") or []}
    asked = {name for check in SUITES[suite] for name in check.columns}
    asked |= {name for check in SUITES[suite] for name in check.kwargs.get("column_set", ())}
    assert asked - promised[suite.removeprefix("mart_")] == set()


def test_a_model_without_promises_of_its_own_is_held_to_the_general_suite() -> None:
    assert score_suite("customer_clusters") == "score_customer_clusters"
    assert score_suite("churn") == "scores"


def test_a_living_shop_s_dirt_is_let_through() -> None:
    customers = good_frame("landed_crm__customers", 100)
    customers.loc[:8, "email"] = None
    customers.loc[10:15, "email"] = ["not an e-mail", " Person.3@Example.com ", "", "x@", "@example.com", "a b"]
    assert audit("landed_crm__customers", customers).verdict == "passed"

    events = good_frame("landed_web__events", 100)
    events.loc[:5, "timestamp"] = pd.Timestamp(NOW - timedelta(days=2))
    assert audit("landed_web__events", events).verdict == "passed"


ONE_BAD_ROW = [
    # suite, what a single row may be at any time
    ("landed_crm__customers", {"email": None, "first_name": None, "country_code": None, "time_zone": None}),
    ("landed_crm__customers", {"email": "person.example.com", "birth_date": "5 Mar 1980"}),
    ("landed_crm__customers", {"email": " Person+shop@Example.com\N{NO-BREAK SPACE}", "birth_date": "03/05/1980"}),
    ("landed_crm__customers", {"first_name": "Zoe\N{COMBINING DIAERESIS}\N{NO-BREAK SPACE}Ann", "last_name": "van  B"}),
    ("landed_catalogue__products", {"category": None}),
    ("landed_shop__orders", {"email": None, "customer_id": None, "currency": "EUR"}),
    ("landed_shop__orders", {"email": " TEST@example.com", "customer_id": None}),
    ("landed_shop__refunds", {"amount": 1e5}),
    ("landed_web__events", {"timestamp": pd.Timestamp("2001-01-01", tz="UTC")}),
    ("landed_web__events", {"timestamp": pd.Timestamp("1970-01-01", tz="UTC")}),
    ("landed_web__events", {"timestamp": pd.Timestamp(NOW + timedelta(hours=9))}),
    ("landed_web__events", {"timestamp": pd.Timestamp(NOW - timedelta(days=21)), "context": "{}"}),
    ("landed_web__events", {"message_id": "m1"}),
    ("landed_email__events", {"event_id": "e1", "campaign_name": None, "is_machine_open": True}),
    ("landed_email__events", {"event_type": "click", "is_machine_open": True, "url": "https://shop.example/"}),
    ("landed_email__events", {"occurred_at": pd.Timestamp(NOW - timedelta(days=21))}),
]


@pytest.mark.parametrize("rows", [1, 20, 150])
@pytest.mark.parametrize(("suite", "dirt"), ONE_BAD_ROW)
def test_one_dirty_row_stops_no_batch_however_small(suite: str, dirt: dict, rows: int) -> None:
    found = audit(suite, dirtied(good_frame(suite, rows), 1, dirt))
    assert found.errors == 0, found.summary()


@pytest.mark.parametrize("clock", ["2001-01-01", "1970-01-01"])
def test_one_visit_with_a_wrong_clock_does_not_stop_a_quiet_quarter_of_an_hour(clock: str) -> None:
    visit = {"timestamp": pd.Timestamp(clock, tz="UTC")}
    found = audit("landed_web__events", dirtied(good_frame("landed_web__events", 20), 12, visit))
    assert found.errors == 0, found.summary()


def test_instants_that_were_read_wrong_stop_a_batch() -> None:
    epoch = {"timestamp": pd.Timestamp("1970-01-16", tz="UTC")}
    found = audit("landed_web__events", dirtied(good_frame("landed_web__events", 200), 100, epoch))
    assert found.verdict == "failed"


def test_a_day_at_the_demo_shop_s_rates_does_not_even_warn() -> None:
    """Each kind of dirt at one and a half times its default rate, in a day's rows."""
    customers = good_frame("landed_crm__customers", 400)
    customers.loc[:11, "email"] = None
    customers.loc[12:22, "email"] = "person.example.com"
    customers.loc[23:59, "email"] = " Person@Example.com "
    customers.loc[[i for i in range(60, 132) if i % 2][:18], "birth_date"] = "3.5.1980"
    customers.loc[140:146, ["first_name", "country_code", "time_zone"]] = None
    assert audit("landed_crm__customers", customers).verdict == "passed"

    events = good_frame("landed_web__events", 400)
    events.loc[:5, "timestamp"] = pd.Timestamp("2001-01-01", tz="UTC")
    events.loc[6:11, "timestamp"] = pd.Timestamp(NOW + timedelta(hours=9))
    events.loc[12:17, "message_id"] = "m1"
    assert audit("landed_web__events", events).verdict == "passed"

    mails = good_frame("landed_email__events", 400)
    mails.loc[:5, "event_id"] = "e9"
    mails.loc[6:11, "campaign_name"] = None
    assert audit("landed_email__events", mails).verdict == "passed"


def dirtied(frame: pd.DataFrame, rows: int, dirt: dict) -> pd.DataFrame:
    """The frame with these values in its last rows."""
    chosen = frame.index >= len(frame) - rows
    return frame.assign(**{name: frame[name].where(~chosen, value) for name, value in dirt.items()})


def test_unusual_amounts_of_dirt_warn_and_do_not_stop() -> None:
    customers = good_frame("landed_crm__customers", 100)
    customers.loc[:49, "email"] = None
    found = audit("landed_crm__customers", customers)
    assert (found.verdict, found.errors, found.warnings) == ("warned", 0, 1)
    assert "email: expect_column_values_to_not_be_null (mostly 0.8): unexpected 50 of 100" in found.summary()


def test_a_row_that_a_changing_source_repeated_warns() -> None:
    orders = good_frame("landed_shop__orders")
    found = audit("landed_shop__orders", pd.concat([orders, orders.iloc[:1]]))
    assert (found.verdict, found.warnings) == ("warned", 1)


@pytest.mark.parametrize("address", ["person.example.com", "person@", "two words@example.com", "a@b", "A@Example.com"])
def test_a_payload_to_something_that_is_no_normalised_address_is_stopped(address: str) -> None:
    payloads = good_frame("payload")
    payloads.loc[3, "email"] = address
    found = audit("payload", payloads)
    assert found.verdict == "failed"
    assert address not in found.summary()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("is_eligible", False),
        ("email_consent_status", "withdrawn"),
        ("refusal_reason", "bounced"),
        ("is_email_suppressed", True),
    ],
)
def test_a_payload_that_says_itself_that_it_must_not_be_sent_is_stopped(attribute: str, value: object) -> None:
    payloads = good_frame("payload")
    payloads.at[5, "attributes"] = {**payloads.at[5, "attributes"], attribute: value}
    assert audit("payload", payloads).verdict == "failed"


def test_somebody_eligible_without_proof_of_consent_is_never_published() -> None:
    people = good_frame("mart_sync_customers")
    people.loc[1, "consent_proof"] = None
    found = audit("mart_sync_customers", people)
    assert (found.verdict, found.errors) == ("failed", 1)
    assert "consent_proof where is_eligible is True" in found.summary()


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_one_score_that_is_no_number_stops_them_all(value: float | None) -> None:
    scores = good_frame("score_customer_lifetime_value", 50)
    scores.loc[7, "score"] = value
    assert audit("score_customer_lifetime_value", scores).verdict == "failed"


def test_a_model_that_says_the_same_of_everybody_is_stopped() -> None:
    for suite in ("scores", "score_customer_lifetime_value"):
        assert audit(suite, good_frame(suite, 50).assign(score=0.5)).verdict == "failed"


def test_a_small_shop_whose_customers_are_one_cluster_is_only_warned_of() -> None:
    found = audit(
        "score_customer_clusters", good_frame("score_customer_clusters", 99).assign(score=1.0, tier="Everybody")
    )
    assert (found.verdict, found.warnings) == ("warned", 1)


def test_the_last_few_rows_of_many_are_not_asked_for_a_distribution() -> None:
    scores = good_frame("scores", 103).sort_values("score")
    parts = [scores.iloc[:100], scores.iloc[100:].assign(score=1.0)]
    found = runner.validate("scores", parts, subject="scores", run_id="run", checked_at=CHECKED_AT)
    assert found.verdict == "passed", found.summary()


def test_the_real_invoices_pass(real_data) -> None:
    import pyarrow.parquet as pq

    from letterpress.sources.entities import snake_case

    (file,) = (real_data / "online_retail").glob("*.parquet")

    def batches():
        start = 1
        for batch in pq.ParquetFile(file).iter_batches(batch_size=50_000):
            frame = batch.to_pandas().rename(columns=snake_case)
            yield frame.assign(file=file.name, line_number=range(start, start + len(frame)), _row_hash="x")
            start += len(frame)

    found = runner.validate(
        "landed_online_retail__invoice_lines", batches(), subject="real", run_id="run", checked_at=CHECKED_AT
    )
    assert found.verdict == "passed", found.summary()
    counted = [outcome for outcome in found.outcomes if outcome.expectation_type.startswith("expect_table_row_count")]
    assert [outcome.observed_value for outcome in counted] == ["245903"]
