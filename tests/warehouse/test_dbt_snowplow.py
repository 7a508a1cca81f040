"""Visits, devices and people of real tracker events, against the tables that the Snowplow dbt package makes of them."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from landed_rows import Landing, at

# Whom the peer's test data is about.
LONG, UNEXPIRED, STRAY = "long session", "Unexpired session", "stray page ping"
# A browser whose id changes within the tracker's session is two devices here, and there the first of them.
ROTATING = "Rotating domain_userid per session"
COPIED = "dupe: event_id different collector_tstamp"
SESSIONS = ("run", "--select", "+int_sessions_attributed")


def rows(file: Path) -> list[dict]:
    csv.field_size_limit(10**8)
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tracked(event: dict, device: str) -> dict:
    """A Snowplow event in the web collector's shape; ``device`` names the column that stands for the device."""
    campaign = {name: event[f"mkt_{name}"] or None for name in ("source", "medium")}
    context = {
        "userAgent": event["useragent"],
        "timezone": event["os_timezone"] or None,
        "campaign": campaign | {"name": event["mkt_campaign"] or None},
    }
    is_page = event["event_name"] == "page_view"
    return {
        "message_id": event["event_id"],
        "type": "page" if is_page else "track",
        "event": None if is_page else event["event_name"],
        "anonymous_id": event[device] or None,
        "user_id": event["user_id"] or None,
        "timestamp": instant(event["derived_tstamp"]),
        "received_at": instant(event["collector_tstamp"]),
        "properties": json.dumps({"path": event["page_urlpath"], "referrer": event["page_referrer"]}),
        "context": json.dumps(context),
    }


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data / "snowplow_web"


@pytest.fixture(scope="module")
def events(folder) -> list[dict]:
    """What the peer's tables are made of: the events of its consent tests are not in them."""
    found = rows(folder / "source" / "snowplow_web_events.csv")
    return [event for event in found if event["app_id"] != "consent_accel"]


def built(tmp_path_factory, events: list[dict], device: str, pause_minutes: int) -> Landing:
    landing = Landing(tmp_path_factory.mktemp(device))
    ordered = sorted(events, key=lambda event: event["collector_tstamp"])
    assert landing.dbt("seed").success
    for part in (ordered[::2], ordered[1::2]):  # two loads, so that a copy may come with either
        landing.load(web__events=[tracked(event, device) for event in part])
        answer = landing.dbt(*SESSIONS, as_of=at("2021-04-01"), variables={"session_inactivity_minutes": pause_minutes})
        assert answer.success
    return landing


@pytest.fixture(scope="module")
def by_session(tmp_path_factory, events) -> Landing:
    """The tracker's own sessions stand for devices, and a pause is never long enough: one visit each."""
    return built(tmp_path_factory, events, "domain_sessionid", pause_minutes=60 * 24 * 365)


@pytest.fixture(scope="module")
def by_device(tmp_path_factory, events) -> Landing:
    """As in production: the browser's id, and half an hour."""
    return built(tmp_path_factory, events, "domain_userid", pause_minutes=30)


def test_the_trackers_sessions_are_reproduced(folder, by_session):
    found = {
        device: (start, end, views, total, source, medium, name)
        for device, start, end, views, total, source, medium, name in by_session.query(
            "select visitor_key, started_at, ended_at, page_view_count, event_count,"
            " split_part(first_campaign, chr(31), 2), split_part(first_campaign, chr(31), 3),"
            " split_part(first_campaign, chr(31), 4)"
            " from intermediate.int_sessions_attributed"
        )
    }
    expected = rows(folder / "expected" / "snowplow_web_sessions_expected.csv")
    # The peer cuts a session after three days and reads only so far back; a visit here lasts as long as it lasts.
    apart = (LONG, UNEXPIRED)
    compared = 0
    for row in expected:
        device, who = row["domain_sessionid"], row["user_id"]
        if who in apart:
            continue
        start, end, _, total, *campaign = found[device]
        assert end == instant(row["end_tstamp"]), who
        # One click on a page is tracked twice under two ids: the same content is one event here.
        assert total == int(row["total_events"]) - (who == COPIED), who
        if json.loads(row["event_counts"]).keys() == {"page_ping"}:
            # The peer dates a visit of heartbeats alone back to the view that nobody tracked.
            assert (start - instant(row["start_tstamp"])).total_seconds() == 5, who
        else:
            assert start == instant(row["start_tstamp"]), who
            assert [part or "" for part in campaign] == [row["mkt_source"], row["mkt_medium"], row["mkt_campaign"]], who
        compared += 1
    assert compared == len(expected) - 2


def test_views_are_the_peers_but_for_three_rules(folder, by_session, events):
    found = dict(by_session.query("select visitor_key, page_view_count from intermediate.int_sessions_summarised"))
    pages = {}
    for event in events:
        if event["event_name"] == "page_view":
            pages.setdefault(event["domain_sessionid"], []).append(event)
    different = {}
    for row in rows(folder / "expected" / "snowplow_web_sessions_expected.csv"):
        views = found[row["domain_sessionid"]]
        if views != int(row["page_views"]) and row["user_id"] not in (LONG, UNEXPIRED):
            different[row["user_id"]] = (views, int(row["page_views"]))
    # Heartbeats alone are no view here. A page's id that comes under two events at two times is two views here and
    # one there; two events of one page at one instant are one view here and two there.
    assert different == {
        "No edge cases": (0, 1),
        STRAY: (0, 1),
        "dupe: page_view_id different derived_tstamp": (8, 7),
        COPIED: (2, 3),
    }


def test_where_the_visits_differ_it_is_on_purpose(folder, by_session):
    peer = {row["domain_sessionid"]: row for row in rows(folder / "expected" / "snowplow_web_sessions_expected.csv")}
    found = {
        device: (who, count)
        for device, who, count in by_session.query(
            "select visitor_key, lowest_shop_customer_id, event_count from intermediate.int_sessions_summarised"
        )
    }
    counts = {row["user_id"]: (found[device][1], int(row["total_events"])) for device, row in peer.items()}
    # 11 events over ten days against the 3 of the first three days; and an event of the next year.
    assert counts[LONG] == (11, 3)
    assert counts[UNEXPIRED] == (2, 1)
    # Events that were sent days late, or that have no page's or session's id, are behaviour all the same.
    assert {who.partition(":")[0] for device, (who, _) in found.items() if device not in peer} == {
        "NULL page_view_id",
        "NULL domain_sessionid",
        "late arriving",
    }


def test_copies_of_an_event_count_once(by_session):
    [[copies]] = by_session.query("select count(*) from staging.stg_web__events where disposition = 'duplicate'")
    assert copies == 3 + 1  # and one under another id


def test_devices_have_the_peers_views_and_span(folder, by_device):
    found = {
        device: (start, end, views)
        for device, start, end, views in by_device.query(
            "select visitor_key, min(started_at), max(ended_at), sum(page_view_count)"
            " from intermediate.int_sessions_summarised group by visitor_key"
        )
    }
    for row in rows(folder / "expected" / "snowplow_web_users_expected.csv"):
        who = row["user_id"]
        if who in (LONG, UNEXPIRED, ROTATING):
            continue
        start, end, views = found[row["domain_userid"]]
        assert (start, end) == (instant(row["start_tstamp"]), instant(row["end_tstamp"])), who
        apart = {STRAY: -1, "No edge cases": -2, "dupe: page_view_id different derived_tstamp": 1, COPIED: -1}
        assert views == int(row["page_views"]) + apart.get(who, 0), who  # the rules of the test above


def test_half_an_hour_parts_visits_that_the_tracker_joins(by_device):
    gaps = by_device.query(
        """
        select min(epoch(started_at) - epoch(previous)) from (
            select started_at, lag(ended_at) over (partition by visitor_key order by started_at) as previous
            from intermediate.int_sessions_summarised
        ) where previous is not null
        """
    )
    assert gaps[0][0] > 1800


def test_a_device_of_several_people_belongs_to_nobody(folder, by_device):
    """The peer gives the whole device to the last one who signed in; a family's computer would be one person's."""
    stitched = {
        row["domain_userid"]: row["stitched_user_id"]
        for row in rows(folder / "expected" / "snowplow_web_sessions_expected.csv")
        if row["domain_userid"]
    }
    logins = by_device.query(
        "select anonymous_id, count(*), min(shop_customer_id) from intermediate.int_device_logins_summarised group by 1"
    )
    several = {device for device, count, _ in logins if count > 1}
    assert any(stitched.get(device, "").startswith("user stitch") for device in several)
    alone = {device: who for device, count, who in logins if count == 1}
    assert {device: alone[device] for device in stitched.keys() & alone.keys()} == {
        device: who for device, who in stitched.items() if device in alone
    }
    assert by_device.query("select count(*) from intermediate.int_visitors_resolved") == [(0,)]
