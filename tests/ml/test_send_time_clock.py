"""Send times are local: they hold when clocks change, and everybody's own zone counts."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.send_time import clock, readings


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "as_of", "weekday", "hour", "expected"),
    [
        # Clocks go forward in the night to Sunday 27 March 2011: 9:00 is an hour earlier in UTC than the day before.
        ("Europe/London", "2011-03-26T00:00", 5, 9, "2011-03-26T09:00"),
        ("Europe/London", "2011-03-26T12:00", 6, 9, "2011-03-27T08:00"),
        ("America/New_York", "2011-03-12T15:00", 6, 9, "2011-03-13T13:00"),
        ("Australia/Sydney", "2011-10-01T12:00", 6, 9, "2011-10-01T22:00"),
        # An hour that is skipped: as much later as the clock jumps.
        ("Europe/London", "2011-03-26T12:00", 6, 1, "2011-03-27T01:00"),
        ("America/New_York", "2011-03-12T15:00", 6, 2, "2011-03-13T07:00"),
        ("Australia/Sydney", "2011-10-01T12:00", 6, 2, "2011-10-01T16:00"),
        # An hour that comes twice: the first of the two, the second where the first is over.
        ("Europe/London", "2011-10-29T12:00", 6, 1, "2011-10-30T00:00"),
        ("Europe/London", "2011-10-30T00:30", 6, 1, "2011-10-30T01:00"),
        ("America/New_York", "2011-11-05T12:00", 6, 1, "2011-11-06T05:00"),
        ("America/New_York", "2011-11-06T05:30", 6, 1, "2011-11-06T06:00"),
        ("Australia/Sydney", "2011-04-02T12:00", 6, 2, "2011-04-02T15:00"),
        ("Australia/Sydney", "2011-04-02T15:30", 6, 2, "2011-04-02T16:00"),
        # Over the change to next week the clock shows the same.
        ("Europe/London", "2011-10-24T09:00", 0, 9, "2011-10-31T09:00"),
    ],
)
def test_the_next_time_is_right_through_changes_of_the_clock(zone, as_of, weekday, hour, expected):
    assert clock.next_time(at(as_of), zone, weekday, hour) == at(expected)


def test_a_skipped_hour_whose_stand_in_is_over_waits_for_next_week():
    assert clock.next_time(at("2011-03-27T01:30"), "Europe/London", 6, 1) == at("2011-04-03T00:00")


@given(
    st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["Europe/London", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "America/St_Johns"]),
    st.integers(0, 6),
    st.integers(0, 23),
)
def test_the_next_time_is_the_first_that_the_local_clock_shows(moment, zone, weekday, hour):
    as_of = moment.replace(tzinfo=UTC)
    found = clock.next_time(as_of, zone, weekday, hour)
    shown = found.astimezone(ZoneInfo(zone))
    assert timedelta(0) < found - as_of <= timedelta(days=7, hours=2)
    assert shown.weekday() == weekday
    assert shown.hour == hour or not 0 < (shown.hour - hour) % 24 > 1


def test_hours_and_weekdays_are_those_of_the_local_calendar():
    instants = pd.Series(pd.to_datetime(["2011-07-03T23:30", "2011-07-03T23:30", "2011-07-03T02:00"], utc=True))
    hours, weekdays = clock.local(instants, ["Asia/Kolkata", "Europe/London", "America/New_York"])
    assert np.allclose(hours, [5.0, 0.5, 22.0])
    assert weekdays.tolist() == [0, 0, 5]


@pytest.mark.parametrize("name", [None, "", "Mars/Olympus", "../etc/passwd", "Europe", float("nan")])
def test_what_is_no_zone_is_told_from_one(name):
    assert not clock.is_zone(name)
    assert clock.is_zone("Europe/London")


def test_an_unknown_zone_is_the_commonest_of_the_country_else_of_all():
    features = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c", "d", "e", "f"],
            "country_code": ["US", "US", "US", "US", None, "FR"],
            "time_zone": ["America/New_York", "America/New_York", "America/Denver", None, "Mars/Olympus", None],
        }
    )
    who = readings.people(features, readings.zones_of(features), ("country_code",))
    assert who.zone.tolist() == ["America/New_York"] * 2 + ["America/Denver"] + ["America/New_York"] * 3
    assert who.segment.tolist() == ["US"] * 4 + ["(unknown)", "FR"]
