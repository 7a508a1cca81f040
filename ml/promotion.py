"""Whether a new version may serve."""

from __future__ import annotations

from dataclasses import dataclass

from ml.config import PromotionGate
from ml.spec import Metrics


@dataclass(frozen=True)
class Decision:
    """The verdict, and the sentence that goes into the log."""

    promote: bool
    reason: str


def decide(
    gate: PromotionGate, metrics: Metrics, *, challenger: Metrics | None = None, champion: Metrics | None = None
) -> Decision:
    """Judge a new version by the gate of its model.

    ``metrics`` were measured in training and have to reach the gate's minimum. ``challenger`` and ``champion``
    are the evaluations of the new and the serving version on the same data, None where nothing serves: the
    new one may be worse by the gate's margin at most.
    """
    name = gate.metric
    sign = 1.0 if gate.direction == "maximise" else -1.0
    first = champion is None
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
    new, old = (challenger or {}).get(name), champion.get(name)
    if new is None or old is None:
        return Decision(True, f"{name} {value:.3f}; the champion could not be measured on the same data")
    if sign * new < sign * old - gate.margin:
        return Decision(False, f"{name} {new:.3f} on the same data as the champion's {old:.3f}; margin {gate.margin:g}")
    return Decision(True, f"{name} {new:.3f} against the champion's {old:.3f} on the same data")
