"""One check of a suite, and short makers for the kinds that the suites use most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Severity = Literal["error", "warning"]

# Instants outside of these come from seconds read as milliseconds, or from an empty clock.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

EMAIL = r"""^[^@\s<>"(),:;\\]+@[^@\s<>"(),:;\\.]+(?:\.[^@\s<>"(),:;\\.]+)+$"""
CURRENCY = r"^[A-Z]{3}$"
COUNTRY = r"^[A-Z]{2}$"
TIME_ZONE = r"^(?:UTC|[A-Za-z_]+(?:/[A-Za-z0-9_+-]+){1,2})$"
DATE = r"^\d{4}-\d{2}-\d{2}$"
NAME = r"^[a-z][a-z0-9_]*$"
NOT_BLANK = r"\S"
NORMALISED = r"^[^A-Z\s]*$"

# How summaries call a pattern that nobody wants to read.
PATTERN_NAMES = {
    EMAIL: "an e-mail address",
    CURRENCY: "a currency code",
    COUNTRY: "a country code",
    TIME_ZONE: "a time zone",
    DATE: "a date",
    NAME: "a lower-case name",
    NOT_BLANK: "not blank",
    NORMALISED: "lower case without blanks",
}


@dataclass(frozen=True)
class Check:
    """One expectation of Great Expectations and what its failure means.

    ``severity``: an ``error`` stops what comes after, a ``warning`` is recorded.
    ``where``: ask it only of rows in which this column equals this value.
    ``minimum_rows``: ask it only of batches with at least so many rows (a distribution needs rows).
    ``optional``: ask it only where the batch has the columns that it names.
    """

    expectation: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "error"
    where: tuple[str, Any] | None = None
    minimum_rows: int = 0
    optional: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it asks about; none for a check of the whole batch."""
        single = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        return tuple(single) or tuple(self.kwargs.get("column_list", ()))

    @property
    def label(self) -> str:
        """How results name what it asks about: its columns and the rows it is restricted to."""
        names = ", ".join(self.columns)
        return f"{names} where {self.where[0]} is {self.where[1]}" if self.where else names


def columns(*names: str, exact: bool = False) -> Check:
    """These columns are there; more are refused only where the set is exact."""
    return Check("ExpectTableColumnsToMatchSet", {"column_set": list(names), "exact_match": exact})


def rows(minimum: int = 1, severity: Severity = "error") -> Check:
    """At least so many rows in the batch."""
    return Check("ExpectTableRowCountToBeBetween", {"min_value": minimum}, severity)


def filled(column: str, severity: Severity = "error", *, mostly: float = 1.0, **options: Any) -> Check:
    """No nulls (NaN counts as one), or at least this share without."""
    return Check("ExpectColumnValuesToNotBeNull", _mostly(mostly, column=column), severity, **options)


def empty(column: str, severity: Severity = "error", **options: Any) -> Check:
    """Nulls only."""
    return Check("ExpectColumnValuesToBeNull", {"column": column}, severity, **options)


def one_of(
    column: str, values: Sequence[Any], severity: Severity = "error", *, mostly: float = 1.0, **options: Any
) -> Check:
    """Values of a vocabulary; nulls are not looked at."""
    kwargs = _mostly(mostly, column=column, value_set=list(values))
    return Check("ExpectColumnValuesToBeInSet", kwargs, severity, **options)


def matches(column: str, pattern: str, severity: Severity = "error", *, mostly: float = 1.0, **options: Any) -> Check:
    """Texts in which the pattern is found; nulls are not looked at."""
    kwargs = _mostly(mostly, column=column, regex=pattern)
    return Check("ExpectColumnValuesToMatchRegex", kwargs, severity, **options)


def between(
    column: str,
    minimum: Any = None,
    maximum: Any = None,
    severity: Severity = "error",
    *,
    mostly: float = 1.0,
    **options: Any,
) -> Check:
    """Values within inclusive bounds; nulls are not looked at."""
    kwargs = _mostly(mostly, column=column) | _bounds(minimum, maximum)
    return Check("ExpectColumnValuesToBeBetween", kwargs, severity, **options)


def plausible_instant(column: str, severity: Severity = "error", **options: Any) -> Check:
    """Instants of this century."""
    return between(column, EARLIEST, LATEST, severity, **options)


def not_before(
    later: str, earlier: str, severity: Severity = "warning", *, mostly: float = 1.0, **options: Any
) -> Check:
    """The first is at or after the second in each row where both are known."""
    kwargs = _mostly(mostly, column_A=later, column_B=earlier, or_equal=True, ignore_row_if="either_value_is_missing")
    return Check("ExpectColumnPairValuesAToBeGreaterThanB", kwargs, severity, **options)


def unique(column: str, severity: Severity = "error", *, mostly: float = 1.0, **options: Any) -> Check:
    """No value twice within the batch, or at least this share of the rows has one of its own."""
    return Check("ExpectColumnValuesToBeUnique", _mostly(mostly, column=column), severity, **options)


def json_text(column: str, severity: Severity = "error", **options: Any) -> Check:
    """Texts that parse as JSON; nulls are not looked at."""
    return Check("ExpectColumnValuesToBeJsonParseable", {"column": column}, severity, **options)


def distinct(
    column: str,
    minimum: int | None = None,
    maximum: int | None = None,
    severity: Severity = "error",
    **options: Any,
) -> Check:
    """So many different values in the batch."""
    kwargs = {"column": column} | _bounds(minimum, maximum)
    return Check("ExpectColumnUniqueValueCountToBeBetween", kwargs, severity, **options)


def contains(column: str, values: Sequence[Any], severity: Severity = "warning", **options: Any) -> Check:
    """Each of these values occurs in the batch."""
    kwargs = {"column": column, "value_set": list(values)}
    return Check("ExpectColumnDistinctValuesToContainSet", kwargs, severity, **options)


def _mostly(share: float, **kwargs: Any) -> dict[str, Any]:
    return kwargs if share == 1.0 else {**kwargs, "mostly": share}


def _bounds(minimum: Any, maximum: Any) -> dict[str, Any]:
    bounds = {"min_value": minimum, "max_value": maximum}
    return {name: value for name, value in bounds.items() if value is not None}
