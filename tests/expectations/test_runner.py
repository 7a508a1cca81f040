"""An audit: what it counts, what it never says, how much of the data it holds at once."""

import gc
import weakref
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest
from good_rows import good_frame

from expectations import engine, runner

CHECKED_AT = datetime(2011, 7, 1, tzinfo=UTC)
COLUMNS = [
    *("audit_id", "run_id", "suite", "subject", "batch_number", "expectation_type", "column_name", "severity"),
    *("success", "element_count", "unexpected_count", "unexpected_percent", "observed_value", "checked_at"),
]
MARKER = "planted.person@secret-place.example"


def validate(suite: str, batches, **options) -> runner.Audit:
    given = {"subject": "load-1", "run_id": "run-1", "checked_at": CHECKED_AT, **options}
    return runner.validate(suite, batches, **given)


def test_results_have_one_row_for_each_check_and_batch() -> None:
    orders = good_frame("landed_shop__orders", 30)
    found = validate("landed_shop__orders", [orders.iloc[:20], orders.iloc[20:]])
    assert found.results.column_names == COLUMNS
    assert found.results.num_rows == 2 * found.checks
    assert set(found.results["batch_number"].to_pylist()) == {1, 2}
    assert set(found.results["checked_at"].to_pylist()) == {CHECKED_AT}


def test_an_error_in_one_of_many_batches_fails_the_audit_and_is_counted_once() -> None:
    orders = good_frame("landed_shop__orders", 30)
    broken = orders.iloc[20:].assign(status="teleported")
    found = validate("landed_shop__orders", [orders.iloc[:20], broken])
    assert (found.verdict, found.errors) == ("failed", 1)
    (line,) = found.summary().splitlines()[1:]
    assert line.startswith("  error: landed_shop__orders: status: expect_column_values_to_be_in_set")
    assert line.endswith("unexpected 10 of 30")


def test_warnings_alone_let_the_batch_through() -> None:
    found = validate("landed_shop__refunds", [good_frame("landed_shop__refunds").assign(reason=None)])
    assert (found.verdict, found.errors, found.warnings) == ("warned", 0, 1)


def test_the_audit_s_id_follows_from_suite_subject_and_run() -> None:
    batch = good_frame("landed_shop__refunds")

    def audit_id(**options: str) -> str:
        return validate("landed_shop__refunds", [batch], **options).results["audit_id"][0].as_py()

    assert audit_id() == audit_id()
    assert len({audit_id(), audit_id(subject="load-2"), audit_id(run_id="run-2")}) == 3


def test_nothing_to_audit_is_an_error_of_whoever_asked() -> None:
    with pytest.raises(ValueError, match="load-1 with landed_shop__orders: expected at least one batch, found none"):
        validate("landed_shop__orders", iter([]))


def test_batches_without_rows_count_only_where_there_are_no_others() -> None:
    orders = good_frame("landed_shop__orders")
    assert validate("landed_shop__orders", [orders.iloc[:0], orders, orders.iloc[:0]]).verdict == "passed"
    assert validate("landed_shop__orders", [orders.iloc[:0]]).verdict == "failed"


def test_an_unknown_suite_is_named_with_those_that_exist() -> None:
    with pytest.raises(KeyError, match="landed_shop__order_lines"):
        validate("landed_shop__nothing", [])


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        validate("landed_shop__orders", [], checked_at=datetime(2011, 7, 1))


def test_a_check_that_cannot_be_asked_is_an_error_even_where_it_only_warns() -> None:
    refunds = good_frame("landed_shop__refunds").drop(columns="reason")
    found = validate("landed_shop__refunds", [refunds])
    assert (found.verdict, found.errors, found.warnings) == ("failed", 2, 0)
    assert "missing columns reason" in found.summary()
    assert "no answer (the column is not there)" in found.summary()


def test_columns_that_are_new_pass() -> None:
    assert validate("landed_shop__orders", [good_frame("landed_shop__orders").assign(gift=True)]).verdict == "passed"


def test_a_column_of_another_type_fails_instead_of_raising() -> None:
    orders = good_frame("landed_shop__orders").assign(total_amount="twelve")
    assert validate("landed_shop__orders", [orders]).verdict == "failed"


def test_one_batch_is_held_at_a_time() -> None:
    alive: list[int] = []
    references: list[weakref.ref] = []

    def batches():
        for _ in range(5):
            gc.collect()
            alive.append(sum(reference() is not None for reference in references))
            batch = good_frame("landed_shop__refunds", 50)
            references.append(weakref.ref(batch))
            yield batch
            del batch

    validate("landed_shop__refunds", batches())
    assert max(alive) <= 1
    gc.collect()
    assert not [reference for reference in references if reference() is not None]


def test_frames_backed_by_arrow_are_audited_like_others() -> None:
    table = pa.Table.from_pandas(good_frame("landed_shop__orders"), preserve_index=False)
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    assert validate("landed_shop__orders", [frame]).verdict == "passed"
    assert validate("landed_shop__orders", [frame.assign(total_amount=-1.0)]).errors == 1


def test_nested_attributes_are_looked_into() -> None:
    frame = engine.flatten(pd.DataFrame([{"a": {"b": {"c": 1}, "d": [1, 2]}}, {"a": None}]))
    assert frame["a.b.c"].tolist()[0] == 1
    assert frame["a.d"].tolist()[0] == "[1, 2]"
    assert list(frame.columns) == ["a.d", "a.b.c"]


@pytest.mark.parametrize("suite", ["landed_crm__customers", "payload", "mart_sync_customers"])
def test_no_personal_value_reaches_results_or_summary(suite: str, caplog, capfd) -> None:
    frame = engine.flatten(good_frame(suite)).astype(object)
    frame.loc[:, :] = MARKER
    found = validate(suite, [frame])
    assert found.verdict == "failed"
    told = (
        found.results.to_pandas().to_csv() + found.summary() + repr(found) + caplog.text + "".join(capfd.readouterr())
    )
    assert MARKER not in "".join(told)


def test_an_exception_s_message_is_not_repeated() -> None:
    orders = good_frame("landed_shop__orders").assign(total_amount=MARKER)
    found = validate("landed_shop__orders", [orders])
    assert "no answer (" in found.summary()
    assert MARKER not in found.summary()
