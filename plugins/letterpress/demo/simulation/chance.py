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
    ANSWERS = 14
    KIOSKS = 15
    MAILINGS = 16
    DIRT = 17
    FAULTS = 18
    PAGES = 19
    DEPLOYS = 20


def stream(seed: int, purpose: Purpose, day: int = 0, turn: int = 0) -> np.random.Generator:
    """The random numbers of one purpose on one day (days count from 1970); ``turn`` where a day is played on."""
    address = [seed, int(purpose), day, turn] if turn else [seed, int(purpose), day]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(address)))


def keyed(seed: int, purpose: Purpose, numbers: np.ndarray, draws: int) -> np.ndarray:
    """Uniform random numbers that belong to rows, not to an order of work: (rows, draws) of [0, 1).

    ``numbers`` identify the rows; the same seed, purpose and number give the same draws in whatever batch.
    SplitMix64 (Steele, Lea and Flood 2014) of the mixed address, its upper 53 bits as a fraction.
    """
    with np.errstate(over="ignore"):
        base = _mixed(np.asarray(numbers).astype(np.uint64) ^ _mixed(np.uint64((seed << 8 | int(purpose)) % 2**64)))
        step = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        words = _mixed(base[:, None] + step)
    return (words >> np.uint64(11)) * 2.0**-53


def _mixed(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


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


def moment(at: int) -> datetime:
    """Milliseconds since 1970 as an instant."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)


def iso(at: int) -> str:
    """An instant as the API writes it."""
    return moment(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


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


def days_from_birthday(birthday: np.ndarray, day: np.ndarray | int) -> np.ndarray:
    """Days to the nearest birthday, 0 to 182; ``birthday`` is a day of the year, ``day`` counts from 1970."""
    apart = np.abs(day_of_year(np.asarray(day)) - birthday)
    return np.minimum(apart, 365 - apart)


def day_of_year(day: np.ndarray) -> np.ndarray:
    """0 to 364, the same for a date in every year; the 29th of February is the 1st of March."""
    dates = day.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    of_month = (dates - months.astype("datetime64[D]")).astype(np.int64)
    return np.minimum(_MONTHS[months.astype(np.int64) % 12] + of_month, 364)


_MONTHS = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
WEEKDAY = np.array([1.05, 1.0, 1.0, 1.0, 0.92, 0.95, 1.08])  # Monday first


def weekday(day: int) -> int:
    """0 is Monday."""
    return (day + 3) % 7


def bits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random 64-bit words."""
    return rng.integers(0, 2**64, size=shape, dtype=np.uint64)
