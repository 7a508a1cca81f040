"""Counts for shared reports under differential privacy: discrete Laplace noise, and a budget that is kept.

The geometric mechanism (Ghosh, Roughgarden and Sundararajan 2009): a count changes by at most ``sensitivity`` when
one customer comes or goes, and gets an integer X with P(X = x) = (1 - q) / (1 + q) q^|x|, q = exp(-epsilon /
sensitivity). X is drawn exactly, in whole numbers (Canonne, Kamath and Steinke 2020, algorithms 1 and 2): noise from
floating point can give away the count behind it (Mironov 2012).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ml.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

SENSITIVITY = 1
"""One customer stands in one cell of a table: without them one count is one less."""

OTHER = "other"


class BudgetExceeded(ModelError):
    """A report asked for more than its privacy budget has left."""


@dataclass
class PrivacyBudget:
    """What a report may spend over all its tables: by sequential composition epsilons add up (Dwork et al. 2006).

    ``epsilon``: the whole, above 0, as a number or text ("0.5", "1/3"); ``spent``: table → its part.
    """

    epsilon: Fraction | float | str
    spent: dict[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.epsilon = fraction(self.epsilon)

    @property
    def left(self) -> Fraction:
        """What is not spent yet."""
        return fraction(self.epsilon) - sum(self.spent.values(), Fraction(0))

    def spend(self, table: str, epsilon: Fraction | float | str) -> None:
        """Book a table, before anything of it is drawn; raises :class:`BudgetExceeded` and books nothing."""
        wanted = fraction(epsilon)
        if table in self.spent:
            raise BudgetExceeded(
                f"{table}: counted in this report already; publish the first answer, or use a new name"
            )
        if wanted > self.left:
            raise BudgetExceeded(
                f"{table}: epsilon {float(wanted):g} asked for, {float(self.left):g} of {float(self.epsilon):g} left;"
                " give each table less, or share fewer tables"
            )
        self.spent[table] = wanted

    def split(self, tables: Sequence[str]) -> dict[str, Fraction]:
        """What is left, in equal parts for these tables; nothing is booked."""
        return {table: self.left / len(tables) for table in tables}


@dataclass(frozen=True)
class PrivateTable:
    """Noisy counts that may be shared, and how noisy they are.

    ``counts``: one row per cell, the grouping columns and ``count``, an unbiased integer that may be below 0;
    ``margin``: with 95 % probability or more a count is off by at most this many customers.
    """

    counts: pd.DataFrame
    epsilon: float
    sensitivity: int
    margin: int


def private_counts(
    frame: pd.DataFrame,
    levels: Mapping[str, Sequence[str]],
    *,
    table: str,
    epsilon: Fraction | float | str,
    budget: PrivacyBudget,
    seed: int | None = None,
) -> PrivateTable:
    """How many customers there are in each cell of ``levels``, with noise.

    ``frame``: one row per customer, ``customer_id`` and the columns of ``levels``: column → the values that the
    table shows, known without the data; whatever else a customer has is "other". Every cell of the product is
    there, empty ones too, since a cell that is left out would say that nobody is in it. ``seed`` is for tests: what
    is shared draws from the operating system. Raises ``ValueError`` where a customer has more than one row, and
    :class:`BudgetExceeded`.
    """
    import pandas as pd

    repeated = int(frame["customer_id"].duplicated().sum())
    if repeated:
        raise ValueError(f"{table}: expected one row per customer, found {repeated} repeated; count each of them once")
    budget.spend(table, epsilon)
    scale = SENSITIVITY / fraction(epsilon)
    chance = SystemRandom() if seed is None else Random(seed)
    columns = list(levels)
    shown = {column: [str(value) for value in (*levels[column], OTHER)] for column in columns}
    placed = pd.DataFrame({column: frame[column].astype(object).map(str) for column in columns})
    for column in columns:
        placed[column] = placed[column].where(placed[column].isin(shown[column]), OTHER)
    sizes = placed.groupby(columns).size().to_dict() if len(placed) else {}
    rows = []
    for cell in itertools.product(*shown.values()):
        key = cell if len(columns) > 1 else cell[0]
        rows.append((*cell, int(sizes.get(key, 0)) + discrete_laplace(scale, chance)))
    return PrivateTable(
        counts=pd.DataFrame(rows, columns=[*columns, "count"]),
        epsilon=float(fraction(epsilon)),
        sensitivity=SENSITIVITY,
        margin=margin(scale),
    )


def discrete_laplace(scale: Fraction, chance: Random) -> int:
    """One exact draw with P(x) proportional to exp(-|x| / scale); ``scale`` above 0."""
    over, under = scale.numerator, scale.denominator
    while True:
        uniform = chance.randrange(over)
        if not _bernoulli_exp(Fraction(uniform, over), chance):
            continue
        tail = 0
        while _bernoulli_exp(Fraction(1), chance):
            tail += 1
        size = (uniform + over * tail) // under
        is_negative = chance.randrange(2) == 1
        if is_negative and size == 0:
            continue  # or 0 would come twice as often
        return -size if is_negative else size


def probability(noise: int, scale: Fraction) -> float:
    """P(X = noise) of the discrete Laplace law."""
    q = math.exp(-1 / scale)
    return (1 - q) / (1 + q) * q ** abs(noise)


def margin(scale: Fraction, confidence: float = 0.95) -> int:
    """The least m with P(|X| <= m) >= confidence: P(|X| > m) = 2 q^(m + 1) / (1 + q)."""
    q = math.exp(-1 / scale)
    return max(0, math.ceil(math.log((1 - confidence) * (1 + q) / 2) / math.log(q) - 1))


def fraction(epsilon: Fraction | float | str) -> Fraction:
    """An epsilon as an exact fraction, 0.1 meaning one tenth; raises ``ValueError`` unless it is above 0."""
    exact = epsilon if isinstance(epsilon, Fraction) else Fraction(str(epsilon))
    if exact <= 0:
        raise ValueError(f"epsilon: expected a number above 0, found {epsilon}")
    return exact


def _bernoulli_exp(gamma: Fraction, chance: Random) -> bool:
    """True with probability exp(-gamma), 0 <= gamma <= 1, by comparisons of whole numbers alone."""
    k = 1
    while chance.randrange(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1
