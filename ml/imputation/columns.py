"""Which values of a profile are known, which are not, and how a row becomes the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

CATEGORIES = (
    "country_code",
    "time_zone",
    "loyalty_tier",
    "favourite_category",
    "preferred_device",
    "preferred_visit_hour",
)
"""Fields that take one of some values; an hour is one of 24, since 23 and 0 are neighbours."""

NUMBERS = ("age_years",)
FIELDS = (*CATEGORIES, *NUMBERS)


def flag(field: str) -> str:
    """The column that says whether the warehouse filled the field in."""
    return f"is_{field}_imputed"


def known(features: pd.DataFrame, field: str) -> np.ndarray:
    """Whether the value is the customer's own: there, and not filled in by a statistic."""
    return (features[field].notna() & ~features[flag(field)].fillna(False).astype(bool)).to_numpy()


def text(values: pd.Series) -> pd.Series:
    """A field of categories as text: the hour 17.0 is "17"."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("Int64").astype(object).map(str, na_action="ignore")
    return values.astype(object).map(str, na_action="ignore")


@dataclass(frozen=True)
class Encoder:
    """Inputs of the models as numbers, NaN where unknown: what a statistic filled in is no knowledge.

    ``numbers``: the columns that are read as they are; ``levels``: field → the values that enough customers have,
    each with a column of its own.
    """

    numbers: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, features: pd.DataFrame, minimum: int, most: int = 30) -> Encoder:
        """What the frame of all customers offers; a value needs ``minimum`` customers, the ``most`` frequent stay."""
        levels = {}
        for field in CATEGORIES:
            if field == "preferred_visit_hour":
                continue
            sizes = text(features[field][known(features, field)]).value_counts().sort_index()
            sizes = sizes[sizes >= minimum].sort_values(ascending=False, kind="stable")
            levels[field] = tuple(sorted(sizes.index[:most]))
        reserved = {"customer_id", "as_of", *levels, *map(flag, FIELDS)}
        numbers = tuple(
            str(column)
            for column in features.columns
            if column not in reserved and pd.api.types.is_numeric_dtype(features[column])
        )
        return cls(numbers, levels)

    def names(self, field: str) -> list[str]:
        """The inputs for predicting ``field``, one per column of :meth:`inputs`: all but the field itself."""
        return [name for name, _ in self._columns(field)]

    def inputs(self, features: pd.DataFrame, field: str) -> np.ndarray:
        """(customers, inputs) for predicting ``field``."""
        columns = []
        for name, level in self._columns(field):
            values = features[name]
            if level is None:
                column = values.astype(float).to_numpy(copy=True)
            else:
                column = (text(values) == level).to_numpy(dtype=float)
            if name in FIELDS:
                column[~known(features, name)] = np.nan
            columns.append(column)
        return np.column_stack(columns) if columns else np.empty((len(features), 0))

    def _columns(self, field: str) -> list[tuple[str, str | None]]:
        plain: list[tuple[str, str | None]] = [(name, None) for name in self.numbers if name != field]
        return plain + [(name, level) for name, levels in self.levels.items() if name != field for level in levels]


def common(values: Sequence[str] | pd.Series, minimum: int) -> tuple[str, ...]:
    """The values that at least ``minimum`` customers have, in the alphabet's order."""
    sizes = pd.Series(values).value_counts()
    return tuple(sorted(sizes[sizes >= minimum].index))
