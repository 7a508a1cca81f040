"""Great Expectations' own pages over the latest audits, readable without a network.

``store_result`` keeps one JSON file an audit, merged over its batches and free of values of rows;
``build_data_docs`` renders the kept ones as one site and switches to it whole.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations import engine
from expectations.suites import SUITES

if TYPE_CHECKING:
    from expectations.engine import Answer

# Older audits of a suite leave the pages; their rows stay in the warehouse.
KEPT_PER_SUITE = 10

_HERE = Path(__file__).parent


def store_result(
    results_dir: str,
    suite: str,
    answers: "Mapping[int, Answer]",
    *,
    subject: str,
    run_id: str,
    audit_id: str,
    checked_at: datetime,
    batches: int,
) -> Path:
    """Write an audit's merged answers as ``<suite>/<checked_at>-<audit_id>.json``; the same audit replaces its file.

    The whole has success unless a check of severity error failed, so that a warned audit reads as let through.
    """
    results = []
    for number, answer in answers.items():
        check = SUITES[suite][number]
        severity = "error" if answer.is_unanswered else check.severity
        results.append(
            {
                "success": answer.success,
                "expectation_config": {
                    **answer.config,
                    "meta": {"check": number, "severity": severity},
                },
                "result": _result(answer),
                "meta": {},
                "exception_info": {
                    "raised_exception": answer.is_unanswered,
                    "exception_message": answer.observed_text if answer.is_unanswered else None,
                    "exception_traceback": "left out: it would quote values" if answer.is_unanswered else None,
                },
            }
        )
    held = sum(result["success"] for result in results)
    broken = [result for result in results if not result["success"]]
    content = {
        "success": not any(result["expectation_config"]["meta"]["severity"] == "error" for result in broken),
        "suite_name": suite,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100 * held / len(results) if results else None,
        },
        "results": results,
        "meta": {
            "run_id": {"run_name": _path_part(run_id), "run_time": checked_at.astimezone(UTC).isoformat()},
            "batch_spec": {"data_asset_name": subject},
            "batch_parameters": {"batches": batches, "audit_id": audit_id},
            "active_batch_definition": {
                "datasource_name": "letterpress",
                "data_connector_name": "batches",
                "data_asset_name": subject,
                "batch_identifiers": {},
            },
        },
        "id": audit_id,
    }
    folder = Path(results_dir) / suite
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{checked_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{audit_id}.json"
    _write(target, (json.dumps(content, indent=1, default=str) + "\n").encode())
    for older in folder.glob(f"*-{audit_id}.json"):
        if older != target:
            older.unlink(missing_ok=True)
    for older in sorted(folder.glob("*.json"), reverse=True)[KEPT_PER_SUITE:]:
        older.unlink(missing_ok=True)
    return target


def build_data_docs(results_dir: str, site_dir: str, *, keep: int = KEPT_PER_SUITE) -> Path:
    """Render the last ``keep`` audits of each suite; returns the index page.

    The site is built aside and ``site_dir``, a link, is switched to it: a reader sees the old pages or
    the new ones. Several processes may call this; they take turns, and one that finds the pages already
    made from the same results leaves them as they are.
    """
    site = Path(site_dir).absolute()
    site.parent.mkdir(parents=True, exist_ok=True)
    with _turn(site):
        files = _newest(Path(results_dir), keep)
        fingerprint = _fingerprint(files)
        current = site.resolve() if site.is_symlink() else None
        if current is not None and _text(current / "fingerprint.txt") == fingerprint:
            return site / "index.html"
        aside = site.parent / f".{site.name}-{uuid.uuid4().hex}"
        try:
            _render(files, aside)
            _write(aside / "fingerprint.txt", fingerprint.encode())
            link = site.parent / f".{site.name}-{uuid.uuid4().hex}.link"
            link.symlink_to(aside.name)
            if site.exists() and not site.is_symlink():
                shutil.rmtree(site)
            os.replace(link, site)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        # Only whoever has the turn builds, so every other site belongs to the past.
        for stale in site.parent.glob(f".{site.name}-*"):
            if stale.is_dir() and not stale.is_symlink() and stale not in (aside, current):
                shutil.rmtree(stale, ignore_errors=True)
            elif stale.is_symlink():
                stale.unlink()
    return site / "index.html"


def _render(files: list[Path], folder: Path) -> None:
    gx = engine.load()
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    ours = "expectations.data_docs.views"
    view = {"module_name": ours, "class_name": "OfflinePageView"}
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars={"globally": False},
        data_docs_sites={
            "Letterpress": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(folder),
                },
                "site_index_builder": {
                    "class_name": "DefaultSiteIndexBuilder",
                    "show_cta_footer": False,
                    "view": {**view, "class_name": "OfflineIndexPageView"},
                },
                "site_section_builders": {
                    "expectations": {"view": view},
                    "validations": {
                        "view": view,
                        "renderer": {
                            "class_name": "ValidationResultsPageRenderer",
                            "column_section_renderer": {
                                "class_name": "ValidationResultsColumnSectionRenderer",
                                "table_renderer": {"module_name": ours, "class_name": "SeverityTableRenderer"},
                            },
                        },
                    },
                    "profiling": "None",
                },
            }
        },
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    keys, shown = set(), set()
    for file in files:
        content = json.loads(_text(file) or "null")
        if content is None or content["suite_name"] not in SUITES:
            continue
        run = content["meta"]["run_id"]
        key = ValidationResultIdentifier(
            expectation_suite_identifier=ExpectationSuiteIdentifier(name=content["suite_name"]),
            run_id=RunIdentifier(run["run_name"], datetime.fromisoformat(run["run_time"])),
            batch_identifier=content["id"],
        )
        context.validation_results_store.set(key, ExpectationSuiteValidationResultSchema().load(content))
        keys.add(key.to_tuple())
        shown.add(content["suite_name"])
    for name in sorted(shown):
        suite = engine.expectation_suite(name, SUITES[name], range(len(SUITES[name])))
        context.suites.add(suite)
    context.build_data_docs()
    # It logs what it cannot render and goes on; a page that is not there has to be told.
    rendered = len(list((folder / "validations").rglob("*.html")))
    if rendered != len(keys):
        raise RuntimeError(
            f"{folder}: expected {len(keys)} pages of results, found {rendered}. Great Expectations could not render "
            "the rest: set the logger great_expectations to ERROR to see why."
        )
    for unused in [folder / "static" / "fonts", *(folder / "static" / "images").glob("*.gif")]:
        shutil.rmtree(unused) if unused.is_dir() else unused.unlink()


def _result(answer: "Answer") -> dict[str, Any]:
    if answer.is_unanswered:
        return {}
    if answer.unexpected_count is None:
        return {"observed_value": answer.observed_value}
    return {
        "element_count": answer.element_count,
        "unexpected_count": answer.unexpected_count,
        "unexpected_percent": answer.unexpected_percent or 0.0,
        "missing_count": answer.missing_count,
        "partial_unexpected_list": [],
    }


def _newest(results_dir: Path, keep: int) -> list[Path]:
    folders = sorted(folder for folder in results_dir.glob("*") if folder.is_dir())
    return [file for folder in folders for file in sorted(folder.glob("*.json"), reverse=True)[:keep]]


def _fingerprint(files: list[Path]) -> str:
    """Of the results, the suites and the templates: what the pages are made from."""
    digest = hashlib.sha256(repr(SUITES).encode())
    for file in [*files, *sorted(_HERE.rglob("*.py")), *sorted((_HERE / "templates").iterdir())]:
        digest.update(file.name.encode() + b"\0" + (_text(file) or "").encode() + b"\0")
    return digest.hexdigest()


def _path_part(text: str) -> str:
    """A run id as one part of a path."""
    return re.sub(r"[^\w.+-]", "_", text)


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:  # another process keeps fewer results
        return None


def _write(target: Path, content: bytes) -> None:
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    os.replace(part, target)


@contextmanager
def _turn(site: Path) -> Iterator[None]:
    with open(site.parent / f".{site.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
