"""What a shop's world is made to do: behaviour, dirt and faults, each a switch that a test can turn."""

import difflib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self


@dataclass(frozen=True)
class Behaviour:
    """Parts of the customers' behaviour that can be taken away; all on in the demo shop."""

    seasons: bool = True  # Christmas, weekdays
    birthdays: bool = True
    fatigue: bool = True  # too many mails tire, and drive some people away
    mail_effect: bool = True  # mails make people visit and buy

    @classmethod
    def plain(cls) -> Self:
        """Nothing but the laws of purchase: what a lifetime-value model assumes."""
        return cls(*[False] * len(fields(cls)))


class _Rates:
    """Named rates between 0 and 1, read from text such as ``on``, ``off`` or ``{"bots": 0}``."""

    def __post_init__(self) -> None:
        for name, rate in asdict(self).items():  # type: ignore[call-overload]
            if not 0 <= rate <= 1:
                raise ValueError(f"{name}: expected a rate from 0 to 1, found {rate}")

    @classmethod
    def off(cls) -> Self:
        """Every switch off."""
        return cls(*[0.0] * len(fields(cls)))  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str) -> Self:
        """``on`` (the defaults), ``off``, or a JSON object of the rates that differ from the defaults.

        Raises ``ValueError`` naming the unknown switch, the nearest known one, or the rate out of range.
        """
        if text in ("on", "off"):
            return cls() if text == "on" else cls.off()
        try:
            given: Any = json.loads(text)
        except json.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            raise ValueError(  # noqa: TRY004 (the setting's text is wrong, not a caller's type)
                f'expected on, off or a JSON object such as {{"bots": 0}}, found {text!r}'
            )
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name, rate in given.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise ValueError(f"{name}: expected one of {', '.join(known)}{hint}")
            if isinstance(rate, bool) or not isinstance(rate, int | float):
                raise ValueError(f"{name}: expected a rate from 0 to 1, found {rate!r}")  # noqa: TRY004
        return replace(cls(), **given)  # type: ignore[type-var]


@dataclass(frozen=True)
class Dirt(_Rates):
    """How often the shop's rows are wrong, and how; see the table in ``dirt.py``."""

    # who people are; planted where they are made
    invalid_emails: float = 0.018  # of accounts
    missing_emails: float = 0.02  # of accounts
    messy_emails: float = 0.062  # of accounts: mixed case, blanks
    plus_tags: float = 0.02  # of accounts
    shared_emails: float = 0.012  # of accounts: the address of somebody else in the household
    second_accounts: float = 0.03  # of sign-ups
    shared_accounts: float = 0.012  # of people: they use the account of somebody else
    kiosks: float = 0.008  # of visits: on a device that everybody uses
    bots: float = 0.025  # visits, of those by people
    # rows; planted where they are rendered
    decomposed_names: float = 0.02  # of accounts: Unicode in another form, blanks that do not break
    date_formats: float = 0.06  # of dates of birth
    time_zones: float = 0.1  # of sign-up times: written in the customer's own zone
    missing_fields: float = 0.01  # of rows
    late_hours: float = 0.03  # of visits and mail events
    late_weeks: float = 0.002  # of visits and mail events
    repeated_events: float = 0.01  # of events: the same id again
    copied_events: float = 0.003  # of events: the same content under a new id
    shuffled_visits: float = 0.02  # of visits: received out of order
    skewed_clocks: float = 0.01  # of visits: the device's clock is wrong
    foreign_currency: float = 0.3  # of the euro zone's orders, once the shop takes euros
    excessive_refunds: float = 0.02  # of refunds: more than was paid
    test_orders: float = 0.002  # of orders: by the staff
    new_column: float = 0.3  # of customers, once the column has appeared
    late_commits: float = 0.002  # of rows: visible only minutes after their cursor value
    # the nightly files; planted where they are written, see the table in ``shop/exports.py``
    file_horrors: float = 1.0  # of files


@dataclass(frozen=True)
class Faults(_Rates):
    """How often the shop's API fails, and how; see the table in ``shop/faults.py``."""

    throttled: float = 0.002  # of requests: 429 without Retry-After
    throttled_until: float = 0.002  # 429 with Retry-After
    failing: float = 0.003  # 500
    reset: float = 0.002  # the connection is cut before an answer
    truncated: float = 0.002  # the connection is cut within the body
    slow: float = 0.004  # of requests: seconds pass
    repeated_pages: float = 0.02  # of pages: they begin with rows of the page before
    changed_types: float = 0.02  # of days: for three hours of it a number comes as text
