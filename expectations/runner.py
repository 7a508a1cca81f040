"""Asks a suite's checks of every batch that crosses a boundary, in bounded memory, and says what came out.

    audit = validate("landed_shop__orders", batches, subject=load_id, run_id=run_id, checked_at=now)
    audit.verdict      passed, warned or failed
    audit.summary()    the failed checks as readable lines
    audit.results      one row for each check and batch

No personal value is kept: results hold counts, numbers and names of checks, never what was found in a row.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from expectations import engine
from expectations.data_docs import build_data_docs, store_result
from expectations.suites import SUITES, Check
from expectations.suites.check import PATTERN_NAMES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RESULTS_SCHEMA", "Audit", "Outcome", "build_data_docs", "validate"]

# A batch without its columns fails every check: the first lines say why.
_TOLD = 12
_COLUMN_KEYS = {"column", "column_A", "column_B", "column_list"}

RESULTS_SCHEMA = pa.schema(
    [
        ("audit_id", pa.string()),
        ("run_id", pa.string()),
        ("suite", pa.string()),
        ("subject", pa.string()),
        ("batch_number", pa.int64()),
        ("expectation_type", pa.string()),
        ("column_name", pa.string()),
        ("severity", pa.string()),
        ("success", pa.bool_()),
        ("element_count", pa.int64()),
        ("unexpected_count", pa.int64()),
        ("unexpected_percent", pa.float64()),
        ("observed_value", pa.string()),
        ("checked_at", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """One check over all batches that it was asked of."""

    check: Check
    expectation_type: str
    severity: Literal["error", "warning"]
    success: bool
    element_count: int | None
    unexpected_count: int | None
    observed_value: str | None
    is_unanswered: bool = False

    def line(self, suite: str) -> str:
        """Suite, column, expectation and how much of it did not hold."""
        found = f"found {self.observed_value}"
        if self.unexpected_count is not None and not self.is_unanswered:
            found = f"unexpected {self.unexpected_count:,} of {self.element_count:,}"
        wanted = {name: value for name, value in self.check.kwargs.items() if name not in _COLUMN_KEYS}
        if wanted.get("regex") in PATTERN_NAMES:
            wanted["regex"] = PATTERN_NAMES[wanted["regex"]]
        expected = f" ({', '.join(f'{name} {value}' for name, value in wanted.items())})" if wanted else ""
        what = self.check.label or "whole batch"
        return f"{self.severity}: {suite}: {what}: {self.expectation_type}{expected}: {found}"


@dataclass(frozen=True)
class Audit:
    """The verdict on one subject: ``failed`` where an error check did not hold, ``warned`` where a warning did not.

    ``checks``, ``warnings`` and ``errors`` count checks of the suite, however many batches there were;
    ``results`` has one row for each check and batch, with the columns of ``RESULTS_SCHEMA``.
    """

    suite: str
    subject: str
    verdict: Literal["passed", "warned", "failed"]
    checks: int
    warnings: int
    errors: int
    results: pa.Table
    outcomes: tuple[Outcome, ...] = field(repr=False, default=())

    def summary(self) -> str:
        """The verdict, then one line for each check that did not hold, errors first; no values of rows."""
        head = (
            f"{self.suite} on {self.subject} {self.verdict}: {self.checks} checks, "
            f"{self.errors} errors, {self.warnings} warnings"
        )
        broken = [outcome for outcome in self.outcomes if not outcome.success]
        broken.sort(key=lambda outcome: (outcome.severity, outcome.is_unanswered))
        told = broken[:_TOLD]
        lines = [head, *(f"  {outcome.line(self.suite)}" for outcome in told)]
        if len(broken) > len(told):
            lines.append(f"  and {len(broken) - len(told)} more, see Data Docs")
        return "\n".join(lines)


def validate(
    suite: str,
    batches: "Iterable[pd.DataFrame]",
    *,
    subject: str,
    run_id: str,
    checked_at: datetime,
    results_dir: str | None = None,
) -> Audit:
    """Ask every check of a suite of every batch; one batch is in memory at a time.

    Nested values are taken apart first: objects become columns ``<column>.<name>``, lists JSON text.
    ``subject`` names what is audited (a load, a version, a plan); suite, subject and run make the
    ``audit_id``. With ``results_dir`` the merged result is stored there for Data Docs. An unknown suite
    raises ``KeyError``; no batch at all raises ``ValueError``, since nothing was looked at.
    """
    if suite not in SUITES:
        raise KeyError(f"suite {suite!r}: expected one of {', '.join(sorted(SUITES))}")
    if checked_at.tzinfo is None:
        raise ValueError(f"audit of {subject}: checked_at needs a zone, found {checked_at.isoformat()}")
    checks = SUITES[suite]
    audit_id = hashlib.sha256(json.dumps([suite, subject, run_id]).encode()).hexdigest()[:32]
    rows: list[dict[str, Any]] = []
    merged: dict[int, engine.Answer] = {}
    batch_number = 0
    for batch_number, batch in enumerate(_with_rows(batches), start=1):
        for number, answer in engine.ask(suite, checks, engine.flatten(batch)).items():
            rows.append(
                {
                    "audit_id": audit_id,
                    "run_id": run_id,
                    "suite": suite,
                    "subject": subject,
                    "batch_number": batch_number,
                    "expectation_type": answer.expectation_type,
                    "column_name": checks[number].label or None,
                    "severity": _severity(checks[number], answer),
                    "success": answer.success,
                    "element_count": answer.element_count,
                    "unexpected_count": answer.unexpected_count,
                    "unexpected_percent": answer.unexpected_percent,
                    "observed_value": answer.observed_text,
                    "checked_at": checked_at,
                }
            )
            merged[number] = answer if number not in merged else merged[number].merge(answer)
        del batch
    if not batch_number:
        raise ValueError(
            f"audit of {subject} with {suite}: expected at least one batch, found none. "
            "Nothing to audit is nothing to let through: skip the step that called this instead."
        )
    outcomes = tuple(
        Outcome(
            check=checks[number],
            expectation_type=answer.expectation_type,
            severity=_severity(checks[number], answer),
            success=answer.success,
            element_count=answer.element_count,
            unexpected_count=answer.unexpected_count,
            observed_value=answer.observed_text,
            is_unanswered=answer.is_unanswered,
        )
        for number, answer in sorted(merged.items())
    )
    broken = [outcome.severity for outcome in outcomes if not outcome.success]
    errors, warnings = broken.count("error"), broken.count("warning")
    if results_dir is not None:
        store_result(
            results_dir,
            suite,
            {number: merged[number] for number in sorted(merged)},
            subject=subject,
            run_id=run_id,
            audit_id=audit_id,
            checked_at=checked_at,
            batches=batch_number,
        )
    return Audit(
        suite=suite,
        subject=subject,
        verdict="failed" if errors else "warned" if warnings else "passed",
        checks=len(outcomes),
        warnings=warnings,
        errors=errors,
        results=pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA),
        outcomes=outcomes,
    )


def _severity(check: Check, answer: engine.Answer) -> Literal["error", "warning"]:
    """A check that could not be asked is an error, whatever it would have said."""
    return "error" if answer.is_unanswered else check.severity


def _with_rows(batches: "Iterable[pd.DataFrame]") -> "Iterator[pd.DataFrame]":
    """The batches that have rows; where none has, the first of them, for its columns and its count."""
    bare = None
    seen = False
    for batch in batches:
        if len(batch):
            seen = True
            yield batch
        elif bare is None:
            bare = batch
    if not seen and bare is not None:
        yield bare
