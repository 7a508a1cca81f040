"""Drift of inputs and scores against a stored reference that holds aggregates only, never a row.

The population stability index, PSI = sum over bins (a - e) ln(a / e), of the shares now (a) and then (e): below .1
stable, from .25 on drifted (Siddiqi 2006, Credit Risk Scorecards, chapter 9; Lewis 1994). Without any drift it is
distributed as chi-square with (bins - 1) degrees of freedom times (1 / n + 1 / m) (Yurdakul 2018): what lies within
the noise of so few customers is stable. Beside it the two-sample Kolmogorov-Smirnov distance.

Some columns shift for everybody as time goes by (tenure). They say nothing about a changed population, so they are
left out by design and by name (:data:`TRENDING`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
import pandas as pd

Verdict = Literal["stable", "moderate", "drifted", "too few"]

MODERATE, DRIFTED = 0.1, 0.25
"""PSI from which on a shift is worth a look, and worth a retraining."""

KS_MODERATE = 0.1
"""A shift of the distribution function that is worth a look, if significant: our own convention."""

SIGNIFICANCE = 0.01

TRENDING = ("as_of", "*tenure*", "days_since_first_*")
"""Patterns of columns that move with time for everybody."""

FLOOR = 1e-4
"""Least share of a bin in the PSI, which is infinite for an empty one."""

MISSING, OTHER = "(missing)", "(other)"
BINS, KNOTS = 10, 100


@dataclass(frozen=True)
class ColumnReference:
    """One column as it was: shares by bin, and for numbers the distribution function at some values.

    ``edges``: upper edges of the bins of a number but the last, or None; ``levels``: names of the bins of a text, or
    None; ``shares`` by bin, the missing last; ``knots`` and ``cumulative``: values, and the share of the known at or
    below each. No bin and no step between knots stands for fewer customers than the reference's minimum.
    """

    customers: int
    known: int
    shares: tuple[float, ...]
    edges: tuple[float, ...] | None = None
    levels: tuple[str, ...] | None = None
    knots: tuple[float, ...] = ()
    cumulative: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reference:
    """Columns as they were; plain JSON by :meth:`as_json`."""

    columns: Mapping[str, ColumnReference]
    minimum: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"minimum": self.minimum, "columns": {name: asdict(one) for name, one in self.columns.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Reference:
        """The inverse of :meth:`as_json`."""
        columns = {
            name: ColumnReference(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in one.items()}
            )
            for name, one in content["columns"].items()
        }
        return cls(columns, content["minimum"])


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column has moved; ``ks`` and ``ks_p_value`` are None for text, ``noise`` is the PSI of chance."""

    column: str
    psi: float | None
    noise: float | None
    ks: float | None
    ks_p_value: float | None
    verdict: Verdict


def reference_of(frame: pd.DataFrame, *, minimum: int = 20, excluded: Collection[str] = TRENDING) -> Reference:
    """What is kept of a frame: one row per customer, numbers or text, ``customer_id`` apart.

    ``excluded``: patterns of columns that are not watched. A column is left out too where fewer than ``minimum``
    customers have it known. Values are rounded to four significant digits, and neither minimum nor maximum is kept.
    """
    watched = [
        str(column)
        for column in frame.columns
        if column != "customer_id" and not any(fnmatch(str(column), pattern) for pattern in excluded)
    ]
    columns = {
        column: _reference(frame[column], minimum) for column in watched if frame[column].notna().sum() >= minimum
    }
    return Reference(columns, minimum)


def drift(reference: Reference, frame: pd.DataFrame) -> list[ColumnDrift]:
    """Each column of the reference against the frame of today, the largest PSI first.

    A column that the frame lacks counts as missing for everybody. With fewer customers than the reference's minimum
    nothing is said but "too few".
    """
    found = []
    for name, then in reference.columns.items():
        now = frame[name] if name in frame.columns else pd.Series(np.nan, index=frame.index)
        if len(now) < reference.minimum:
            found.append(ColumnDrift(name, None, None, None, None, "too few"))
            continue
        shares = _shares(now, then)
        index = psi(then.shares, shares)
        noise = _noise(len(shares), then.customers, len(now))
        ks, p_value = _kolmogorov_smirnov(now, then)
        found.append(ColumnDrift(name, index, noise, ks, p_value, _verdict(index, noise, ks, p_value)))
    return sorted(found, key=lambda one: (-(one.psi or 0.0), one.column))


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The population stability index between two lists of shares of the same bins."""
    e = np.maximum(np.asarray(expected, dtype=float), FLOOR)
    a = np.maximum(np.asarray(actual, dtype=float), FLOOR)
    return float(((a - e) * np.log(a / e)).sum())


def _reference(values: pd.Series, minimum: int) -> ColumnReference:
    known = values.dropna()
    missing = len(values) - len(known)
    if _is_number(values):
        numbers = known.to_numpy(dtype=float)
        edges = _cuts(numbers, BINS, minimum)
        knots = _cuts(numbers, KNOTS, minimum)
        counts = np.bincount(np.searchsorted(edges, numbers), minlength=len(edges) + 1)
        cumulative = np.searchsorted(np.sort(numbers), knots, side="right") / len(numbers)
        kept = {"edges": tuple(edges), "knots": tuple(knots), "cumulative": tuple(cumulative.tolist())}
    else:
        sizes = known.astype(str).value_counts()
        levels = sorted(sizes[sizes >= minimum].index)
        rest = len(known) - int(sizes[levels].sum())
        counts = np.array([*sizes[levels], rest if rest >= minimum else 0])
        kept = {"levels": (*levels, OTHER)}
    counts = np.append(counts, missing if missing >= minimum else 0)
    return ColumnReference(
        customers=int(counts.sum()), known=len(known), shares=tuple((counts / counts.sum()).tolist()), **kept
    )


def _cuts(numbers: np.ndarray, parts: int, minimum: int) -> list[float]:
    """Up to ``parts`` - 1 rounded quantiles with at least ``minimum`` values in each part between and beyond them."""
    numbers = np.sort(numbers)
    cuts: list[float] = []
    below = 0
    for quantile in np.quantile(numbers, np.arange(1, parts) / parts, method="inverted_cdf"):
        cut = float(f"{quantile:.4g}")
        count = int(np.searchsorted(numbers, cut, side="right"))
        if (not cuts or cut > cuts[-1]) and count - below >= minimum and len(numbers) - count >= minimum:
            cuts.append(cut)
            below = count
    return cuts


def _shares(now: pd.Series, then: ColumnReference) -> np.ndarray:
    known = now.dropna()
    if then.edges is not None:
        counts = np.bincount(np.searchsorted(then.edges, known.to_numpy(dtype=float)), minlength=len(then.edges) + 1)
    else:
        levels = list(then.levels or ())
        named = known.astype(str).where(known.astype(str).isin(levels), OTHER)
        counts = named.value_counts().reindex(levels, fill_value=0).to_numpy()
    return np.append(counts, len(now) - len(known)) / len(now)


def _kolmogorov_smirnov(now: pd.Series, then: ColumnReference) -> tuple[float | None, float | None]:
    """The distance at the knots, a lower bound of the exact one by at most a step, and its asymptotic p-value."""
    from scipy.stats import kstwobign

    known = np.sort(now.dropna().to_numpy(dtype=float)) if then.edges is not None else np.empty(0)
    if not len(known) or not then.knots:
        return None, None
    share = np.searchsorted(known, then.knots, side="right") / len(known)
    distance = float(np.abs(share - np.asarray(then.cumulative)).max())
    effective = then.known * len(known) / (then.known + len(known))
    return distance, float(kstwobign.sf(np.sqrt(effective) * distance))


def _noise(bins: int, then: int, now: int) -> float:
    from scipy.stats import chi2

    return float(chi2.ppf(1 - SIGNIFICANCE, max(bins - 1, 1)) * (1 / then + 1 / now))


def _verdict(index: float, noise: float, ks: float | None, p_value: float | None) -> Verdict:
    if index > noise and index >= DRIFTED:
        return "drifted"
    is_moved = ks is not None and p_value is not None and ks >= KS_MODERATE and p_value < SIGNIFICANCE
    return "moderate" if is_moved or (index > noise and index >= MODERATE) else "stable"


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
