"""Extraction: paging, overlap, late rows, versions, retries, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_doubles import AS_OF, PASSED, START, Api, Fault, Line, event, iso, source_named

from letterpress.sources import landing, locks
from letterpress.sources.errors import SourceBusy, SourceRefused, SourceUnavailable
from letterpress.sources.options import RestOptions


def test_every_page_lands_typed_and_once(line: Line, web: Api) -> None:
    manifest = line.land(source_named("web", page_size=30))
    rows = line.rows()
    assert manifest.load_sequence == 1
    assert manifest.rows == 100
    assert [query.get("cursor") for _, query in web.requests] == [None, "1", "2", "3"]
    assert list(rows["message_id"]) == [f"m{number:05d}" for number in range(100)]
    assert json.loads(rows["properties"][3]) == {"product_id": "P0003", "price": 4.5}
    assert manifest.entities["events"].columns["received_at"] == "timestamp[us, tz=UTC]"
    assert manifest.entities["events"].cursor == iso(START + timedelta(hours=99))
    assert rows["_row_hash"].str.fullmatch("[0-9a-f]{64}").all()


def test_an_unchanged_source_lands_no_load_and_takes_less_than_two_seconds(line: Line, web: Api) -> None:
    line.land()
    before = line.files()
    load_ids, seconds = [], []
    for _ in range(3):  # the quickest counts: other work on the machine may slow down one
        started = time.monotonic()
        load_ids.append(line.extract())
        seconds.append(time.monotonic() - started)
    assert load_ids == [None] * 3
    assert min(seconds) < 2
    assert line.files() == before
    assert len(landing.manifests(line.landing)) == 1
    assert not landing.pending(line.landing)


def test_the_next_extraction_starts_from_the_accepted_cursor_less_the_overlap(line: Line, web: Api) -> None:
    line.land(source_named("web", overlap=timedelta(hours=3)))
    web.requests.clear()
    web.tables["/v1/events"].append(event(100))
    manifest = line.land(source_named("web", overlap=timedelta(hours=3)))
    assert web.requests[0][1]["since"] == iso(START + timedelta(hours=96))
    assert manifest.entities["events"].rows == 1
    assert manifest.entities["events"].repeated_rows == 4


def test_a_rejected_load_does_not_move_the_cursor_and_its_rows_come_again(line: Line, web: Api) -> None:
    rejected = line.extract()
    landing.reject(line.landing, rejected, {"verdict": "failed", "checks": 3, "warnings": 0, "errors": 1})
    manifest = line.land()
    assert "since" not in web.requests[-1][1]
    assert manifest.rows == 100
    assert landing.load(line.landing, rejected).audit.verdict == "failed"


def test_a_late_row_within_the_overlap_lands(line: Line, web: Api) -> None:
    late = web.tables["/v1/events"].pop(98)
    line.land(source_named("web", overlap=timedelta(hours=3)))
    web.tables["/v1/events"].insert(98, late)
    manifest = line.land(source_named("web", overlap=timedelta(hours=3)))
    assert manifest.entities["events"].rows == 1
    assert manifest.entities["events"].cursor == iso(START + timedelta(hours=99))
    assert set(line.rows()["message_id"]) == {f"m{number:05d}" for number in range(100)}


def test_another_content_under_the_same_key_lands_as_a_new_version(line: Line, web: Api) -> None:
    line.land()
    web.tables["/v1/events"][99]["properties"]["price"] = 5.0
    manifest = line.land()
    versions = line.rows().query("message_id == 'm00099'")
    assert manifest.rows == 1
    assert list(versions["load_sequence"]) == [1, 2]
    assert versions["_row_hash"].nunique() == 2


def test_a_row_that_pages_repeat_within_one_extraction_lands_once(line: Line, web: Api) -> None:
    rows = web.tables["/v1/events"]
    web.pages["/v1/events"] = [rows[:50], rows[40:60], rows[:10], rows[60:]]
    manifest = line.land()
    assert manifest.entities["events"].rows == 100
    assert manifest.entities["events"].repeated_rows == 20


def test_a_source_that_ignores_since_still_lands_only_what_is_new(line: Line, web: Api) -> None:
    web.ignores_since = True
    for count in (40, 70, 100):
        web.tables["/v1/events"] = [event(number) for number in range(count)]
        line.land()
    assert len(line.rows()) == 100
    assert [manifest.rows for manifest in landing.manifests(line.landing)] == [40, 30, 30]


def test_a_clock_that_runs_ahead_does_not_hide_what_comes_after(line: Line, web: Api) -> None:
    """A row from the far future lands, but the cursor does not follow it beyond as_of."""
    web.tables["/v1/events"].append(event(500, hours=24 * 365 * 15))
    first = line.land(as_of=START + timedelta(hours=99))
    web.tables["/v1/events"].insert(100, event(100))
    second = line.land(as_of=START + timedelta(hours=101))
    third = line.extract(as_of=START + timedelta(hours=102))
    assert first.entities["events"].cursor == iso(START + timedelta(hours=99))
    assert first.rows == 101
    assert second.rows == 1
    assert third is None


def test_entities_of_a_source_land_together_and_an_idle_one_keeps_its_cursor(line: Line, api: Api) -> None:
    order = {"order_id": "O1", "status": "placed", "total_amount": 10, "updated_at": "2011-06-01T00:00:00Z"}
    lines = [{"order_line_id": "L1", "order_id": "O1", "quantity": 2, "updated_at": "2011-06-01T00:00:00Z"}]
    api.tables |= {"/v1/orders": [order], "/v1/order_lines": lines, "/v1/refunds": []}
    first = line.land(source_named("shop", options=RestOptions(reader="rest")))
    api.tables["/v1/orders"].append(order | {"order_id": "O2", "updated_at": "2011-06-02T00:00:00Z"})
    second = line.land(source_named("shop", options=RestOptions(reader="rest")))
    assert {name: entity.rows for name, entity in first.entities.items()} == {
        "orders": 1,
        "order_lines": 1,
        "refunds": 0,
    }
    assert second.entities["order_lines"].files == ()
    assert second.entities["order_lines"].cursor == "2011-06-01T00:00:00Z"
    assert second.entities["orders"].cursor == "2011-06-02T00:00:00Z"
    assert line.rows("orders")["total_amount"].tolist() == [10.0, 10.0]


def test_retry_after_is_honoured(line: Line, web: Api) -> None:
    web.faults = [Fault(429, {"Retry-After": "1"})]
    started = time.monotonic()
    manifest = line.land()
    assert time.monotonic() - started >= 1
    assert manifest.rows == 100
    assert len(web.requests) == 2


@pytest.mark.parametrize("fault", [Fault(429), Fault(500), Fault(503), Fault(reset=True), Fault(cut=True)])
def test_a_failed_page_is_asked_for_again(line: Line, web: Api, fault: Fault) -> None:
    web.faults = [fault, fault]
    assert line.land().rows == 100
    assert len(web.requests) == 3


def test_a_source_that_keeps_failing_lands_nothing_and_says_so(line: Line, web: Api) -> None:
    web.faults = [Fault(503)] * 10
    with pytest.raises(SourceUnavailable) as caught:
        line.extract()
    assert "web.events" in str(caught.value)
    assert "503 after 4 attempts" in str(caught.value)
    assert len(web.requests) == 4
    assert line.files() == set()
    assert not landing.pending(line.landing)


def test_a_failure_on_a_later_page_lands_nothing(line: Line, web: Api) -> None:
    web.faults = [None, None, *[Fault(500)] * 4]
    with pytest.raises(SourceUnavailable) as caught:
        line.extract(source_named("web", page_size=30))
    assert "page 3" in str(caught.value)
    assert line.files() == set()
    assert line.land().rows == 100


def test_a_refusal_is_not_repeated(line: Line, web: Api) -> None:
    web.faults = [Fault(401)]
    with pytest.raises(SourceRefused) as caught:
        line.extract()
    assert "401" in str(caught.value)
    assert len(web.requests) == 1


def test_a_server_that_is_not_there_is_named(line: Line, tmp_path: Path) -> None:
    nowhere = Line(str(tmp_path / "landing"), "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable) as caught:
        nowhere.extract()
    assert "http://127.0.0.1:9/v1/events" in str(caught.value)


@pytest.mark.parametrize(
    "body", [b'{"rows": []}', b'[{"a": 1}]', b'{"data": {}}', b'{"data": [], "next_cursor": 7}', b"{oops}"]
)
def test_a_body_of_another_shape_is_an_error_and_not_an_empty_source(line: Line, web: Api, body: bytes) -> None:
    web.body = body
    with pytest.raises(SourceUnavailable):
        line.extract()
    assert line.files() == set()


def test_a_source_that_pages_in_a_circle_is_stopped(line: Line, web: Api) -> None:
    web.body = json.dumps({"data": [event(1)], "next_cursor": "again"}).encode()
    with pytest.raises(SourceUnavailable) as caught:
        line.extract()
    assert "next_cursor" in str(caught.value)


def test_the_local_esp_is_asked_with_its_key(line: Line, api: Api) -> None:
    row = {"event_id": "e1", "event_type": "open", "is_machine_open": False, "received_at": iso(START)}
    api.cursors["/api/events"] = "received_at"
    api.tables["/api/events"] = [row]
    assert line.land("local_esp").rows == 1
    assert api.requests[0][0] == "/api/events"
    assert api.headers[0]["Authorization"] == "Bearer esp-key"


def test_neither_logs_nor_errors_hold_personal_data(line: Line, web: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="letterpress")
    web.tables["/v1/events"][0]["userId"] = "ada@example.org"
    web.tables["/v1/events"][5]["receivedAt"] = "grace@example.org"
    web.ignores_since = True
    web.pages["/v1/events"] = [web.tables["/v1/events"]]
    with pytest.raises(Exception, match="received_at") as caught:
        line.extract()
    said = caplog.text + "".join(map(str, [caught.value, caught.value.__cause__]))
    assert "example.org" not in said


def test_dlt_neither_phones_home_nor_keeps_state(line: Line, web: Api, tmp_path: Path) -> None:
    line.land()
    from dlt.common.runtime import anon_tracker

    assert anon_tracker._WRITE_KEY is None, "dlt's tracker has been started"
    assert not list(tmp_path.rglob("*_dlt_*"))
    assert not list(tmp_path.rglob("state.json"))


def test_two_extractions_of_one_source_exclude_each_other(line: Line) -> None:
    with (
        locks.hold(line.landing, "web", "extraction"),
        pytest.raises(SourceBusy) as caught,
        locks.hold(line.landing, "web", "extraction", wait_seconds=0.1),
    ):
        pass
    assert "web" in str(caught.value)
    with locks.hold(line.landing, "web", "extraction", wait_seconds=0.1):
        pass


def test_the_same_run_gets_the_load_that_it_has_extracted_already(line: Line, web: Api) -> None:
    first = line.extract(run_id="scheduled-1")
    asked = len(web.requests)
    again = line.extract(run_id="scheduled-1")
    assert again == first
    assert len(web.requests) == asked


def test_another_run_replaces_a_load_that_never_had_a_verdict(line: Line, web: Api) -> None:
    left = line.extract()
    taken = line.extract()
    assert [load.load_id for load in landing.pending(line.landing)] == [taken]
    assert {Path(name).name for name in line.files()} == {f"{taken}-0.parquet"}
    with pytest.raises(LookupError):
        landing.commit(line.landing, left, PASSED)
    assert landing.commit(line.landing, taken, PASSED).rows == 100


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from letterpress.sources import landing, extract as module
{patch}
from source_doubles import Line
line = Line({landing!r}, {url!r})
load_id = line.extract("web", run_id="killed")
landing.commit(line.landing, load_id, {{"verdict": "passed"}})
"""

DIE = "lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("patch", "landed"),
    [
        (f"module._Extraction._hand_over = {DIE}", 0),
        (f"landing._create_manifest = {DIE}", 0),
        (f"landing.storage.create_json = {DIE}", 0),
        (f"landing.storage.delete = {DIE}", 0),
        (f"landing.log.info = {DIE}", 100),
    ],
    ids=["files moved", "load pending", "manifest not written", "marker still there", "manifest committed"],
)
def test_a_kill_at_any_point_leaves_each_row_landed_once(line: Line, web: Api, patch: str, landed: int) -> None:
    script = textwrap.dedent(KILLED).format(path=sys.path, patch=patch, landing=line.landing, url=web.url)
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(line.rows()) == landed
    line.land()
    accepted = {name for load in landing.manifests(line.landing) for name in load.entities["events"].files}
    assert sorted(line.rows()["message_id"]) == [f"m{number:05d}" for number in range(100)]
    assert line.files() == accepted
    assert not landing.pending(line.landing)
    assert not list(Path(line.landing, "_work").rglob("*.*"))


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[list[dict]]]:
    """Rows and their versions, each delivered in one of three extractions or several, in any order and page."""
    versions = [
        event(number, hours=draw(st.integers(0, 5)), event=f"version {version}")
        for number in range(draw(st.integers(1, 12)))
        for version in range(draw(st.integers(1, 2)))
    ]
    seen = [draw(st.sets(st.integers(0, 2), min_size=1)) for _ in versions]
    extractions = []
    for round_number in range(3):
        rows = [row for row, rounds in zip(versions, seen, strict=True) if round_number in rounds]
        repeated = rows + (draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else [])
        shuffled = draw(st.permutations(repeated))
        size = draw(st.integers(1, 5))
        extractions.append([shuffled[at : at + size] for at in range(0, len(shuffled), size)])
    return extractions


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(extractions=deliveries())
def test_shuffled_repeated_and_delayed_pages_land_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, api: Api, extractions: list[list[list[dict]]]
) -> None:
    """Whatever the way the rows come, each key and content lands exactly once."""
    several = Line(str(tmp_path_factory.mktemp("several")), api.url)
    at_once = Line(str(tmp_path_factory.mktemp("at-once")), api.url)
    for pages in extractions:
        api.pages["/v1/events"] = pages
        several.land()
    api.pages["/v1/events"] = [page for pages in extractions for page in pages]
    at_once.land()
    found, expected = (
        [tuple(row) for row in each.rows()[["message_id", "_row_hash"]].itertuples(index=False)]
        for each in (several, at_once)
    )
    assert len(found) == len(set(found))
    assert set(found) == set(expected)
    delivered = (row for pages in extractions for page in pages for row in page)
    everything = {(row["messageId"], row["event"], row["receivedAt"]) for row in delivered}
    assert len(found) == len(everything)


def test_a_landing_in_an_object_store_works_the_same(web: Api, tmp_path: Path) -> None:
    line = Line(f"memory://{tmp_path}/landing", web.url)
    first = line.land()
    web.tables["/v1/events"].append(event(100))
    second = line.land()
    assert (first.rows, second.rows) == (100, 1)
    assert second.entities["events"].repeated_rows == 2
    assert len(line.rows()) == 101
    assert line.extract(as_of=AS_OF) is None
