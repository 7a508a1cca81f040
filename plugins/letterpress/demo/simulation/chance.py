"""Randomness by address: every day and purpose has a stream of its own, so that no order of work matters."""

from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from letterpress.demo.simulation.vocabulary import ZONES

DAY = 86_400_000  # all instants are milliseconds since 1970 in UTC
HOUR = 3_600_000
MINUTE = 60_000
SECOND = 1_000

_EPOCH = date(1970, 1, 1)


class Purpose(IntEnum):
    """What a stream is drawn for. Append only: a number that moves changes everybody's data."""

    COHORTS = 0
    PEOPLE = 1
    CATALOGUE = 2
    SIGN_UPS = 3
    VISITS = 4
    BASKETS = 5
    ORDERS = 6
    WEB = 7
    MAIL = 8
    CONSENT = 9
    PROFILE = 10
    STOCK = 11
    PROOFS = 12
    GUESTS = 13


def stream(seed: int, purpose: Purpose, day: int = 0) -> np.random.Generator:
    """The random numbers of one purpose on one day (days count from 1970)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(purpose), day])))


def start_of(day: int) -> int:
    """The first millisecond of a day."""
    return day * DAY


def day_of(instant: datetime) -> int:
    """The UTC day that an instant falls on, counted from 1970."""
    return (instant.astimezone(UTC).date() - _EPOCH).days


def date_of(day: int) -> date:
    """The calendar date of a counted day."""
    return _EPOCH + timedelta(days=day)


def milliseconds(instant: datetime) -> int:
    """An aware instant in milliseconds since 1970; a fraction is rounded up, so that `since` stays inclusive."""
    return -((datetime(1970, 1, 1, tzinfo=UTC) - instant) // timedelta(milliseconds=1))


def iso(at: int) -> str:
    """An instant as the API writes it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def iso_many(at: np.ndarray) -> list[str]:
    """Many instants as the API writes them."""
    text = np.datetime_as_string(at.astype("datetime64[ms]"), unit="ms").tolist()
    return [moment + "Z" for moment in text]


@cache
def _zones() -> tuple[ZoneInfo, ...]:
    return tuple(ZoneInfo(zone) for zone in ZONES)


@lru_cache(maxsize=4)
def zone_offsets(day: int) -> np.ndarray:
    """Milliseconds that each zone is ahead of UTC at noon of a day."""
    noon = datetime.combine(date_of(day), datetime.min.time(), UTC) + timedelta(hours=12)
    hours = [noon.astimezone(zone).utcoffset() // timedelta(milliseconds=1) for zone in _zones()]
    return np.array(hours, dtype=np.int64)


def season(day: int) -> float:
    """How much busier than on average a day of the year is: presents are bought before Christmas."""
    of_year = date_of(day).timetuple().tm_yday
    christmas = 0.75 * np.exp(-(((of_year - 340) / 16.0) ** 2))
    january = -0.25 * np.exp(-(((of_year - 15) / 18.0) ** 2))
    spring = 0.12 * np.exp(-(((of_year - 128) / 14.0) ** 2))
    return float(0.95 + christmas + january + spring)


WEEKDAY = np.array([1.05, 1.0, 1.0, 1.0, 0.92, 0.95, 1.08])  # Monday first


def weekday(day: int) -> int:
    """0 is Monday."""
    return (day + 3) % 7


def hexadecimal(high: np.ndarray, low: np.ndarray) -> list[str]:
    """128 random bits as UUIDs of version 4."""
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    texts = []
    for first, second in zip(high.tolist(), low.tolist(), strict=True):
        a, b = f"{first:016x}", f"{second:016x}"
        texts.append(f"{a[:8]}-{a[8:12]}-{a[12:]}-{b[:4]}-{b[4:]}")
    return texts


def bits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random 64-bit words."""
    return rng.integers(0, 2**64, size=shape, dtype=np.uint64)
