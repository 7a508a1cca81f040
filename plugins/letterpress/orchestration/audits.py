"""Where Great Expectations meets the line: run a suite, keep its results, stop on an error."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from letterpress.settings import Settings
from letterpress.warehouse import history

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class AuditFailed(RuntimeError):
    """Checks of severity error failed."""


def audit(
    settings: Settings, suite: str, batches: "Iterable[pd.DataFrame]", *, subject: str, run_id: str
) -> dict[str, int | str]:
    """Validate batches, append the results to the history, log what did not hold; returns verdict and counts."""
    from expectations.runner import validate

    result = validate(
        suite,
        batches,
        subject=subject,
        run_id=run_id,
        checked_at=datetime.now(UTC),
        results_dir=f"{settings.docs}/data/results",
    )
    audit_id = result.results["audit_id"][0].as_py()
    history.append(settings.history, "audits", f"{suite}-{audit_id}", result.results)
    if result.verdict != "passed":
        log.warning("%s", result.summary())
    log.info("%s on %s: %s, %d checks", suite, subject, result.verdict, result.checks)
    return {
        "suite": suite,
        "subject": subject,
        "verdict": result.verdict,
        "checks": result.checks,
        "warnings": result.warnings,
        "errors": result.errors,
        "summary": result.summary() if result.verdict == "failed" else "",
    }


def stop_on_error(audits: list[dict], *, kept: str) -> dict[str, int]:
    """Raise ``AuditFailed`` naming every broken check where a verdict is failed; else the counts."""
    failed = [one for one in audits if one["verdict"] == "failed"]
    if failed:
        listed = "\n".join(one["summary"] for one in failed)
        raise AuditFailed(
            f"{', '.join(one['subject'] for one in failed)}: expected no failed check of severity error, found "
            f"{sum(one['errors'] for one in failed)}; {kept}; next step: see Data Docs, mend the data or the suite, "
            f"run again\n{listed}"
        )
    return {key: sum(one[key] for one in audits) for key in ("checks", "warnings")}
