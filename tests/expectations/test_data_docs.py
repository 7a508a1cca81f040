"""Data Docs: Great Expectations' own pages, switched whole, without personal values and without a network."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from good_rows import good_frame

from expectations import runner
from expectations.data_docs import KEPT_PER_SUITE

CHECKED_AT = datetime(2011, 7, 1, tzinfo=UTC)
MARKER = "planted.person@secret-place.example"


def audit(results: Path, suite: str, frame=None, *, number: int = 0, **options) -> runner.Audit:
    given = {"subject": f"load-{number}", "run_id": f"manual__2011-07-01T00:00:00+00:00/{number}", **options}
    return runner.validate(
        suite,
        [good_frame(suite) if frame is None else frame],
        checked_at=CHECKED_AT + timedelta(hours=number),
        results_dir=str(results),
        **given,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path, dict[str, str]]:
    """Results and site of one passed, one warned and one failed audit, the last of a batch full of a marker."""
    folder = tmp_path_factory.mktemp("docs")
    results, site = folder / "results", folder / "site"
    audit(results, "landed_shop__orders")
    audit(results, "landed_shop__refunds", good_frame("landed_shop__refunds").assign(reason=None))
    audit(results, "landed_crm__customers", good_frame("landed_crm__customers").map(lambda _: MARKER))
    index = runner.build_data_docs(str(results), str(site))
    assert index == site / "index.html"
    root = site.resolve()
    return results, site, {str(file.relative_to(root)): file.read_text() for file in root.rglob("*.html")}


def page(built: tuple, suite: str) -> str:
    (found,) = [text for name, text in built[2].items() if name.startswith(f"validations/{suite}/")]
    return found


def test_the_index_leads_to_every_audit_and_every_suite(built) -> None:
    _, _, html = built
    links = set(re.findall(r'href="((?:validations|expectations)/[^"]+)"', html["index.html"]))
    assert links == {name.replace("+", "%2B") for name in html if name != "index.html"}
    assert len(links) == 6


def test_a_warned_audit_reads_as_let_through_and_a_failed_one_as_failed(built) -> None:
    warned, failed = page(built, "landed_shop__refunds"), page(built, "landed_crm__customers")
    assert "Succeeded" in warned
    assert ">warning<" in warned
    assert ">error<" not in warned
    assert "Failed" in failed
    assert ">error<" in failed


def test_the_pages_say_what_was_audited_and_how_much_did_not_hold(built) -> None:
    warned = page(built, "landed_shop__refunds")
    assert "load-0" in warned
    assert "12 unexpected values found" in warned


def test_no_personal_value_is_in_results_or_pages(built) -> None:
    results, site, _ = built
    for folder in (results, site.resolve()):
        for file in folder.rglob("*"):
            assert not file.is_file() or MARKER.encode() not in file.read_bytes(), file


def test_a_page_loads_nothing_from_elsewhere(built) -> None:
    for name, text in built[2].items():
        assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text), name
        assert not re.findall(r"url\(|@import|fetch\(", text), name
        for picture in re.findall(r'src="([^"]+)"', text):
            assert (built[1] / name).parent.joinpath(picture).resolve().is_file(), (name, picture)


def test_pages_made_from_the_same_results_are_left_as_they_are(tmp_path) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    audit(results, "landed_shop__refunds")
    runner.build_data_docs(str(results), str(site))
    first = site.resolve()
    runner.build_data_docs(str(results), str(site))
    assert site.resolve() == first


def test_new_pages_replace_the_old_ones_whole(tmp_path) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    seen = []
    for number in range(3):
        audit(results, "landed_shop__refunds", number=number)
        runner.build_data_docs(str(results), str(site))
        seen.append(site.resolve())
        assert f"load-{number}" in (site / "index.html").read_text()
    assert len(set(seen)) == 3
    # Whoever reads the previous pages may finish.
    assert [folder.is_dir() for folder in seen] == [False, True, True]


def test_a_repeated_audit_replaces_its_own_result(tmp_path) -> None:
    audit(tmp_path, "landed_shop__refunds", number=1, subject="load", run_id="run")
    audit(tmp_path, "landed_shop__refunds", number=2, subject="load", run_id="run")
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_the_oldest_results_of_a_suite_make_room(tmp_path) -> None:
    for number in range(KEPT_PER_SUITE + 2):
        audit(tmp_path, "landed_shop__refunds", number=number)
    kept = sorted(file.name for file in tmp_path.rglob("*.json"))
    assert len(kept) == KEPT_PER_SUITE
    assert kept[0].startswith("20110701T02")


def test_several_processes_may_build_at_once(tmp_path) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    audit(results, "landed_shop__refunds")
    script = f"from expectations.runner import build_data_docs; build_data_docs({str(results)!r}, {str(site)!r})"
    started = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    assert (site / "index.html").is_file()
    assert len([folder for folder in tmp_path.glob(".site-*") if folder.is_dir()]) == 1


def test_no_audit_yet_gives_an_index_that_is_empty(tmp_path) -> None:
    index = runner.build_data_docs(str(tmp_path / "results"), str(tmp_path / "site"))
    assert "Data Docs" in index.read_text()
