"""Great Expectations itself: one quiet, ephemeral context a process, one pandas batch at a time."""

import json
import math
import os
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any

from expectations.suites.check import Check

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.core.batch_definition import BatchDefinition

# Counts without a single value of a row.
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}

_LOADING = threading.RLock()
_ASKING = threading.Lock()
_RAISED = re.compile(r"^(?:[\w.]*\.)?(\w+(?:Error|Exception|Warning))\b", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What Great Expectations said to one check, freed of all values: counts, or one observed number."""

    expectation_type: str
    config: dict[str, Any]
    success: bool
    element_count: int | None = None
    unexpected_count: int | None = None
    missing_count: int | None = None
    unexpected_percent: float | None = None
    observed_value: int | float | str | None = None
    is_unanswered: bool = False

    @property
    def observed_text(self) -> str | None:
        """The observed number, the names of missing columns of ours, or why there was no answer."""
        if isinstance(self.observed_value, float):
            return f"{self.observed_value:.6g}"
        return None if self.observed_value is None else str(self.observed_value)

    def merge(self, other: "Answer") -> "Answer":
        """The answer over both: counts are added, of two observations the failed or the later one stays."""
        telling = self if not self.success and other.success else other
        elements = _sum(self.element_count, other.element_count)
        unexpected = _sum(self.unexpected_count, other.unexpected_count)
        missing = _sum(self.missing_count, other.missing_count)
        looked_at = (elements or 0) - (missing or 0)
        observed = telling.observed_value
        if self.expectation_type == "expect_table_row_count_to_be_between":
            observed = (self.observed_value or 0) + (other.observed_value or 0)
        return replace(
            telling,
            success=self.success and other.success,
            element_count=elements,
            unexpected_count=unexpected,
            missing_count=missing,
            unexpected_percent=None if unexpected is None or not looked_at else 100 * unexpected / looked_at,
            observed_value=observed,
            is_unanswered=self.is_unanswered or other.is_unanswered,
        )


@cache
def load() -> Any:
    """The module ``great_expectations``, imported (3 s) without log lines, progress bars or analytics."""
    with _LOADING:
        import logging

        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
        import great_expectations as gx

        # It redirects every warning of the process into the log; whoever runs us decides that.
        logging.captureWarnings(False)
        return gx


def expectation_suite(name: str, checks: Sequence[Check], numbers: Sequence[int]) -> "gx.ExpectationSuite":
    """These checks as Great Expectations' own suite; each remembers its number in ``meta``."""
    return load().ExpectationSuite(name=name, expectations=[_expectation(checks[number], number) for number in numbers])


def ask(suite: str, checks: Sequence[Check], batch: "pd.DataFrame") -> dict[int, Answer]:
    """The answer to each check that applies to a batch, by its number in the suite."""
    numbers = [number for number, check in enumerate(checks) if _applies(check, batch)]
    if not numbers:
        return {}
    with _ASKING, warnings.catch_warnings():
        # It asks pandas for what pandas will drop one day, column by column.
        warnings.simplefilter("ignore")
        definition = _definition()
        try:
            result = definition.get_batch(batch_parameters={"dataframe": batch}).validate(
                expectation_suite(suite, checks, numbers), result_format=RESULT_FORMAT
            )
        finally:
            # Nothing holds on to the rows.
            batches = definition.data_asset.datasource.get_execution_engine().batch_manager
            batches.batch_data_cache.clear()
            batches.reset_batch_cache()
    answers = {item.expectation_config.meta["check"]: _answer(item) for item in result.results}
    return {number: answers[number] for number in numbers}


def flatten(batch: "pd.DataFrame") -> "pd.DataFrame":
    """A batch without objects and lists in its cells, which no check could look into."""
    import pandas as pd

    while nested := {name: kind for name in batch.columns if (kind := _nesting(batch[name])) is not None}:
        for name, kind in nested.items():
            if kind is dict:
                parts = pd.DataFrame([value if isinstance(value, dict) else {} for value in batch[name]])
                parts.index = batch.index
                batch = pd.concat([batch.drop(columns=name), parts.add_prefix(f"{name}.")], axis=1)
            else:
                texts = [json.dumps(value, default=str) if isinstance(value, list) else value for value in batch[name]]
                batch = batch.assign(**{name: texts})
    return batch


@cache
def _context() -> Any:
    with _LOADING:
        context = load().get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        return context


@cache
def _definition() -> "BatchDefinition":
    """One data source for every batch: to add one, and to delete it, each writes the whole context as YAML twice."""
    source = _context().data_sources.add_pandas("batches")
    return source.add_dataframe_asset("batch").add_batch_definition_whole_dataframe("whole")


def _expectation(check: Check, number: int) -> Any:
    import great_expectations.expectations as library
    from great_expectations.expectations.row_conditions import Column

    kwargs = dict(check.kwargs)
    if check.where is not None:
        column, value = check.where
        kwargs["row_condition"] = Column(column) == value
    severity = "critical" if check.severity == "error" else "warning"
    return getattr(library, check.expectation)(**kwargs, severity=severity, meta={"check": number})


def _applies(check: Check, batch: "pd.DataFrame") -> bool:
    if len(batch) < check.minimum_rows:
        return False
    return not check.optional or all(name in batch.columns for name in check.columns)


def _answer(item: Any) -> Answer:
    config = item.expectation_config.to_json_dict()
    config["kwargs"].pop("batch_id", None)
    answer = Answer(expectation_type=config["type"], config=config, success=bool(item.success))
    reason = _exception(item.exception_info)
    if reason is not None:
        return replace(answer, success=False, is_unanswered=True, observed_value=f"no answer ({reason})")
    result = item.result
    if "unexpected_count" in result:
        return replace(
            answer,
            element_count=int(result["element_count"]),
            unexpected_count=int(result["unexpected_count"]),
            missing_count=int(result.get("missing_count") or 0),
            unexpected_percent=result.get("unexpected_percent"),
        )
    return replace(answer, observed_value=_observed(result))


def _observed(result: dict[str, Any]) -> int | float | str | None:
    """Numbers stay; of columns only the missing ones are named, which the suite itself knows."""
    value = result.get("observed_value")
    mismatched = (result.get("details") or {}).get("mismatched") or {}
    if mismatched:
        missing, extra = mismatched.get("missing") or [], mismatched.get("unexpected") or []
        named = f"missing columns {', '.join(missing)}" if missing else "no missing column"
        return f"{named}, {len(extra)} more than expected"
    if isinstance(value, Real) and not isinstance(value, bool):
        number = value.item() if hasattr(value, "item") else value
        return number if isinstance(number, int) or math.isfinite(number) else str(number)
    return None


def _exception(info: dict[str, Any] | None) -> str | None:
    """The type of what was raised, never its message: messages quote values."""
    entries = [info or {}, *(entry for entry in (info or {}).values() if isinstance(entry, dict))]
    for entry in entries:
        if entry.get("raised_exception"):
            if "does not exist" in (entry.get("exception_message") or ""):
                return "the column is not there"
            raised = _RAISED.findall(entry.get("exception_traceback") or "")
            return raised[0] if raised else "Exception"
    return None


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


def _nesting(column: "pd.Series") -> type[dict] | type[list] | None:
    if column.dtype != object:
        return None
    kinds = {dict if isinstance(value, dict) else list for value in column if isinstance(value, dict | list)}
    return dict if dict in kinds else list if kinds else None
