"""Names, addresses and telephone numbers as people type them. Nobody here exists: example domains, fictional ranges."""

import unicodedata

import numpy as np

from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import COUNTRIES, MAIL_DOMAINS

MISSING, INVALID = 5, 6
FIRST_GUEST = 50_000_000  # numbers of guests never meet those of account holders


def full_name(country: int, first: int, last: int) -> tuple[str, str]:
    """First and last name for two drawn numbers."""
    names = COUNTRIES[country]
    return names.first_names[first % len(names.first_names)], names.last_names[last % len(names.last_names)]


def address(name: tuple[str, str], number: int, style: int, domain: int) -> str:
    """The clean e-mail address of a person; the number makes it theirs alone."""
    first, last = _ascii(name[0]), _ascii(name[1])
    local = (f"{first}.{last}{number}", f"{first[0]}.{last}{number}", f"{first}{number}", f"{last}_{first}{number}")
    return f"{local[style]}@{MAIL_DOMAINS[domain]}"


def as_typed(mail: str, dirt: int, number: int) -> str | None:
    """An address as it stands in the back office: see ``traits.draw_mail_dirt``."""
    local, _, host = mail.partition("@")
    match dirt:
        case 1:
            return f"{local.title()}@{host}" if number % 2 else f"{local}@{host.title()}"
        case 2:
            return mail.upper()
        case 3:
            return f"{mail} "
        case 4:
            return f" {mail}"
        case 5:
            return None
        case 6:
            broken = (local, f"{local}@", f"{local}@@{host}", f"{local} @{host}", f"{local}@{host.split('.')[0]}")
            return broken[number % len(broken)]
    return mail


def telephone(country: int, digits: int) -> str:
    """A telephone number from a range that is kept for films and books."""
    pattern, text = COUNTRIES[country].phone, iter(f"{digits:08d}")
    return "".join(next(text) if sign == "#" else sign for sign in pattern)


def addresses(state: State, accounts: np.ndarray) -> list[tuple[str, str | None]]:
    """Clean and as typed, for each account."""
    people, held = state.people, state.accounts
    person = held["person"][accounts]
    columns = [people[name][person].tolist() for name in ("country", "first_name", "last_name")]
    rows = zip(
        person.tolist(),
        *columns,
        people["mail_style"][person].tolist(),
        people["mail_domain"][person].tolist(),
        held["mail_dirt"][accounts].tolist(),
        strict=True,
    )
    found = []
    for number, country, first, last, style, domain, dirt in rows:
        clean = address(full_name(country, first, last), number, style, domain)
        found.append((clean, as_typed(clean, dirt, number)))
    return found


def _ascii(name: str) -> str:
    special = name.lower().translate(str.maketrans({"ß": "ss", "ł": "l", "ø": "o"}))
    plain = unicodedata.normalize("NFKD", special).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain if letter.isalnum())
