"""What instant a run is as of."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from source_doubles import Api

from letterpress.settings import Settings
from letterpress.sources.clock import resolve_as_of

END = datetime(2011, 7, 2, 2, tzinfo=timezone(timedelta(hours=2)))


def test_a_configured_instant_comes_first(api: Api) -> None:
    settings = Settings(as_of="2011-03-01T01:00:00+01:00", shop_url=api.url)
    assert resolve_as_of(settings, END) == datetime(2011, 3, 1, tzinfo=UTC)
    assert api.requests == []


def test_the_shops_clock_comes_next(api: Api) -> None:
    api.body = json.dumps({"now": "2011-07-04T06:00:00Z"}).encode()
    assert resolve_as_of(Settings(shop_url=api.url, clock="shop"), END) == datetime(2011, 7, 4, 6, tzinfo=UTC)
    assert api.requests == [("/v1/clock", {})]


def test_the_interval_comes_where_the_clock_is_the_interval() -> None:
    found = resolve_as_of(Settings(clock="interval"), END)
    assert found == datetime(2011, 7, 2, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_no_interval_is_an_error_and_not_now() -> None:
    with pytest.raises(ValueError, match="LETTERPRESS_AS_OF"):
        resolve_as_of(Settings(clock="interval"), None)


@pytest.mark.parametrize("body", [b'{"time": 1}', b"late", b'{"now": "2011-07-04T06:00:00"}', b"[]"])
def test_a_clock_that_does_not_tell_the_time_is_named(api: Api, body: bytes) -> None:
    api.body = body
    with pytest.raises(ConnectionError, match="/v1/clock"):
        resolve_as_of(Settings(shop_url=api.url), END)


def test_a_shop_that_is_not_there_is_named_with_the_remedy() -> None:
    with pytest.raises(ConnectionError) as caught:
        resolve_as_of(Settings(shop_url="http://127.0.0.1:9"), END)
    assert "LETTERPRESS_CLOCK=interval" in str(caught.value)
