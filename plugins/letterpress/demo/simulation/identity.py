"""Names, addresses and telephone numbers as people type them. Nobody here exists: example domains, fictional ranges.

Everything is a column: numbers drawn for many people go in, an Arrow column of texts comes out.
"""

import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from letterpress.demo.simulation.columns import assemble, constants, fixed, join, look_up, texts
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.traits import INVALID, MESSY, MISSING, TAGGED
from letterpress.demo.simulation.vocabulary import COUNTRIES, MAIL_DOMAINS

FIRST_GUEST = 50_000_000  # numbers of guests never meet those of account holders
STYLES = 4
TAGS = ("shop", "news", "letterpress", "spam")
_BROKEN = 5  # ways in which an address may be invalid


@cache
def _names() -> tuple[pa.Array, pa.Array, np.ndarray]:
    """First names, last names, and for each country where its own begin and how many they are."""
    first = texts(name for country in COUNTRIES for name in country.first_names)
    last = texts(name for country in COUNTRIES for name in country.last_names)
    counts = np.array([(len(country.first_names), len(country.last_names)) for country in COUNTRIES])
    return first, last, np.concatenate([np.cumsum(counts, axis=0) - counts, counts], axis=1)


@cache
def _local_parts() -> tuple[pa.Array, np.ndarray]:
    """How an address begins, for every name and style, and where each country's begin."""
    found: list[str] = []
    starts = []
    for country in COUNTRIES:
        starts.append(len(found))
        for first in map(_ascii, country.first_names):
            for last in map(_ascii, country.last_names):
                found += (f"{first}.{last}", f"{first[0]}.{last}", first, f"{last}_{first}")
    return texts(found), np.array(starts)


def full_name(country: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """First and last names for the drawn numbers."""
    first_names, last_names, where = _names()
    first_start, last_start, first_count, last_count = where[country].T
    return (
        look_up(first_names, first_start + first % first_count),
        look_up(last_names, last_start + last % last_count),
    )


def address(
    country: np.ndarray, first: np.ndarray, last: np.ndarray, number: np.ndarray, style: np.ndarray, domain: np.ndarray
) -> tuple[pa.Array, pa.Array]:
    """The clean addresses of people, before and behind the @; the number makes each theirs alone."""
    beginnings, starts = _local_parts()
    counts = _names()[2][:, 2:][country]
    name = (first % counts[:, 0]) * counts[:, 1] + last % counts[:, 1]
    beginning = look_up(beginnings, starts[country] + name * STYLES + style)
    local = join(beginning, pa.array(number.astype(np.int64)).cast(pa.string()))
    return local, look_up(constants(MAIL_DOMAINS), domain)


def as_typed(local: pa.Array, host: pa.Array, dirt: np.ndarray, number: np.ndarray) -> pa.Array:
    """Addresses as they stand in the back office, by ``traits.draw_mail_dirt``; null where none was given."""
    mixed, upper, behind, before = MESSY
    odd = number % 2 == 1
    kind = np.where(dirt == INVALID, 100 + number % _BROKEN, dirt)
    kind = np.where(dirt == TAGGED, 200 + number % len(TAGS), kind)
    ways = [
        (~np.isin(dirt, (*MESSY, MISSING, INVALID, TAGGED)), lambda a, b: join(a, "@", b)),
        ((dirt == mixed) & odd, lambda a, b: join(pc.utf8_title(a), "@", b)),
        ((dirt == mixed) & ~odd, lambda a, b: join(a, "@", pc.utf8_title(b))),
        (dirt == upper, lambda a, b: pc.utf8_upper(join(a, "@", b))),
        (dirt == behind, lambda a, b: join(a, "@", b, " ")),
        (dirt == before, lambda a, b: join(" ", a, "@", b)),
        (kind == 100, lambda a, b: a),
        (kind == 101, lambda a, b: join(a, "@")),
        (kind == 102, lambda a, b: join(a, "@@", b)),
        (kind == 103, lambda a, b: join(a, " @", b)),
        (kind == 104, lambda a, b: join(a, "@", pc.replace_substring_regex(b, r"\..*", ""))),
    ]
    ways += [(kind == 200 + tag, lambda a, b, tag=tag: join(a, f"+{TAGS[tag]}@", b)) for tag in range(len(TAGS))]
    parts = []
    for mask, way in ways:
        rows = np.flatnonzero(mask)
        if len(rows):
            parts.append((rows, way(look_up(local, rows), look_up(host, rows))))
    return assemble(len(dirt), parts)


def addresses(state: State, accounts: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Clean and as typed, for each account."""
    people, held = state.people, state.accounts
    person = held["mail_person"][accounts]
    columns = (people[name][person] for name in ("country", "first_name", "last_name"))
    local, host = address(*columns, person, people["mail_style"][person], people["mail_domain"][person])
    return join(local, "@", host), as_typed(local, host, held["mail_dirt"][accounts], person)


def telephone(country: np.ndarray, digits: np.ndarray) -> pa.Array:
    """Telephone numbers from ranges that are kept for films and books; null where ``digits`` is negative."""
    parts = []
    for index, place in enumerate(COUNTRIES):
        rows = np.flatnonzero((country == index) & (digits >= 0))
        pattern = np.frombuffer(place.phone.encode(), np.uint8)
        signs = np.tile(pattern, (len(rows), 1))
        for nth, blank in enumerate(np.flatnonzero(pattern == ord("#"))):
            signs[:, blank] = ord("0") + digits[rows] // 10 ** (7 - nth) % 10
        parts.append((rows, fixed(signs)))
    return assemble(len(country), parts)


def _ascii(name: str) -> str:
    special = name.lower().translate(str.maketrans({"ß": "ss", "ł": "l", "ø": "o"}))
    plain = unicodedata.normalize("NFKD", special).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain if letter.isalnum())
