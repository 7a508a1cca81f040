"""Whether a new version may serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.bootstrap import paired_interval
from ml.config import PromotionGate
from ml.spec import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd

DRAWS = 500
MOST_CUSTOMERS = 20_000
"""A comparison looks at so many customers at most, drawn by lot: more would not change the verdict, only its time."""


@dataclass(frozen=True)
class Decision:
    """The verdict, and the sentence that goes into the log."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion on the same customers: the difference, and the ends of its 95 % interval.

    Both ends are the difference itself where a model gives one figure for all customers together.
    """

    difference: float
    lower: float
    upper: float
    customers: int

    def __str__(self) -> str:
        text = f"{self.difference:+.3f} against the champion on the same {self.customers} customers"
        return text if self.lower == self.upper else f"{text}, 95 % interval {self.lower:+.3f} to {self.upper:+.3f}"


def compare(
    quality: Callable[[pd.DataFrame], float | None], challenger: pd.DataFrame, champion: pd.DataFrame, *, seed: int = 0
) -> Comparison | None:
    """Two hold-outs (see ``Trained.holdout``) by a paired bootstrap over the customers who are in both.

    None where they share no customer, or the quality cannot be measured on nearly every draw.
    """
    import numpy as np

    shared = np.intersect1d(challenger["customer_id"].to_numpy(dtype=str), champion["customer_id"].to_numpy(dtype=str))
    if len(shared) > MOST_CUSTOMERS:
        shared = np.sort(np.random.default_rng(seed).choice(shared, MOST_CUSTOMERS, replace=False))
    if not len(shared):
        return None
    new, old = _Grouped.of(challenger, shared), _Grouped.of(champion, shared)

    def both(customers: np.ndarray) -> tuple[float, float]:
        return tuple(np.nan if (value := quality(one.rows(customers))) is None else value for one in (new, old))

    try:
        difference, lower, upper = paired_interval(both, len(shared), draws=DRAWS, seed=seed)
    except ValueError:
        return None
    return Comparison(difference, lower, upper, len(shared))


def decide(gate: PromotionGate, metrics: Metrics, *, first: bool, comparison: Comparison | None = None) -> Decision:
    """Judge a new version by the gate of its model.

    ``metrics`` were measured in training and have to reach the gate's minimum. Where another version serves
    (``first`` is False) the lower end of the interval of the difference has to be above the gate's margin.
    """
    name = gate.metric
    sign = 1.0 if gate.direction == "maximise" else -1.0
    value = metrics.get(name)
    if value is None:
        if gate.unmeasured == "first" and first:
            return Decision(True, f"nothing serves yet; {name} could not be measured")
        return Decision(False, f"{name} could not be measured")
    if sign * value < sign * gate.minimum:
        bar = "at least" if sign > 0 else "at most"
        return Decision(False, f"{name} {value:.3f}; expected {bar} {gate.minimum:g}")
    if first:
        return Decision(True, f"{name} {value:.3f}; nothing served before")
    if comparison is None:
        return Decision(True, f"{name} {value:.3f}; the champion could not be measured on the same data")
    if comparison.lower > gate.margin:
        return Decision(True, f"{name} {value:.3f}; {comparison}, above {gate.margin:+g}")
    return Decision(False, f"{name} {value:.3f}; {comparison}; expected its lower end above {gate.margin:+g}")


@dataclass(frozen=True)
class _Grouped:
    """A frame whose rows can be taken by customer, as often as the customer was drawn."""

    frame: pd.DataFrame
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, customers: np.ndarray) -> _Grouped:
        import numpy as np

        frame = frame[frame["customer_id"].isin(customers)].sort_values("customer_id", kind="stable")
        ids = frame["customer_id"].to_numpy(dtype=str)
        first = np.searchsorted(ids, customers, side="left")
        return cls(frame.reset_index(drop=True), first, np.searchsorted(ids, customers, side="right") - first)

    def rows(self, customers: np.ndarray) -> pd.DataFrame:
        import numpy as np

        count = self.count[customers]
        ends = np.cumsum(count)
        offset = np.arange(ends[-1]) - np.repeat(ends - count, count)
        return self.frame.take(np.repeat(self.first[customers], count) + offset)
