"""How good probabilities are: ranking, lift, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

from ml.spec import Curve, Metrics

BINS = 10


def measure(truth: np.ndarray, probability: np.ndarray) -> Metrics:
    """The metrics of probabilities against truth (0 and 1, both there).

    ``roc_auc``, ``pr_auc`` (average precision), ``lift_at_10`` (:func:`lift`), ``log_loss``, ``brier``,
    ``brier_skill`` (1 - Brier / Brier of the truth's own base rate), ``calibration_slope`` and
    ``calibration_intercept`` (Cox 1958; the intercept with the slope held at 1: calibration in the large),
    ``calibration_error`` (expected calibration error over ten bins of equal size, Naeini and others 2015).
    """
    base = float(truth.mean())
    brier = float(brier_score_loss(truth, probability))
    slope, intercept = calibration(truth, probability)
    return {
        "roc_auc": float(roc_auc_score(truth, probability)),
        "pr_auc": float(average_precision_score(truth, probability)),
        "lift_at_10": lift(truth, probability, 0.1),
        "log_loss": float(log_loss(truth, _inside(probability))),
        "brier": brier,
        "brier_skill": 1 - brier / (base * (1 - base)),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "calibration_error": calibration_error(truth, probability),
    }


def lift(truth: np.ndarray, probability: np.ndarray, share: float) -> float:
    """The rate among the best share of customers over the rate of all; ties stand in for each other."""
    wanted = max(share * len(truth), 1.0)
    order = np.argsort(-probability, kind="stable")
    value, hit = probability[order], truth[order]
    threshold = value[min(int(np.ceil(wanted)) - 1, len(value) - 1)]
    above = value > threshold
    tied = value == threshold
    hits = hit[above].sum() + (wanted - above.sum()) * hit[tied].mean()
    return float(hits / wanted / truth.mean())


def calibration(truth: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Slope of the truth's log-odds on the predicted ones, and the intercept where the slope is held at 1; 1 and 0
    are right."""
    margin = logit(_inside(probability))
    slope = common_slope([(margin, truth)]) if np.ptp(margin) > 1e-9 else 0.0
    return slope, shift(margin, truth)


def shift(margin: np.ndarray, truth: np.ndarray) -> float:
    """What has to be added to log-odds for the mean probability to be the truth's; the truth holds both outcomes."""
    return float(brentq(lambda added: float((expit(margin + added) - truth).sum()), -50.0, 50.0))


def common_slope(months: Sequence[tuple[np.ndarray, np.ndarray]], spread: float = np.inf) -> float:
    """The slope of Platt's sigmoid (1999), the truth's log-odds linear in the margin, over (margin, truth) of months.

    The slope is common to all months, each has an intercept of its own. It leans to 1 as a normal prior of standard
    deviation ``spread`` makes it; without one it is the maximum-likelihood slope.
    """
    margin, truth = (np.concatenate(parts) for parts in zip(*months, strict=True))
    month = np.repeat(np.arange(len(months)), [len(one[1]) for one in months])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * margin + parameters[1:][month]
        away = (parameters[0] - 1) / spread
        residual = expit(logits) - truth
        gradient = [residual @ margin + away / spread, *np.bincount(month, residual, minlength=len(months))]
        return float((np.logaddexp(0, logits) - truth * logits).sum() + away**2 / 2), np.array(gradient)

    found = minimize(loss, np.array([1.0] + [0.0] * len(months)), jac=True, method="L-BFGS-B")
    return float(found.x[0])


def calibration_error(truth: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of predicted and observed rate over bins of equal size."""
    return float(sum(abs(p.mean() - t.mean()) * len(p) for p, t in _bins(truth, probability)) / len(truth))


def curves(truth: np.ndarray, probability: np.ndarray, baseline: np.ndarray) -> dict[str, Curve]:
    """Calibration, cumulative gain and ROC of the model and of the simple rule, for the model card."""
    both = {"model": probability, "recency and frequency": baseline}
    gain = {}
    for name, values in both.items():
        hits = np.cumsum(truth[np.argsort(-values, kind="stable")]) / truth.sum()
        places = np.unique(np.linspace(0, len(truth), 21).astype(int))
        gain[name] = [(0.0 if n == 0 else n / len(truth), 0.0 if n == 0 else float(hits[n - 1])) for n in places]
    roc = {}
    for name, values in both.items():
        wrong, right, _ = roc_curve(truth, values)
        kept = np.unique(np.linspace(0, len(wrong) - 1, 51).astype(int))
        roc[name] = [(float(wrong[k]), float(right[k])) for k in kept]
    calibrated = {
        name: [(float(p.mean()), float(t.mean())) for p, t in _bins(truth, values)] for name, values in both.items()
    }
    return {
        "calibration": Curve("Calibration", "predicted probability", "observed share", calibrated, diagonal=True),
        "gain": Curve("Cumulative gain", "share of customers", "share of outcomes reached", gain, diagonal=True),
        "roc": Curve("ROC", "false positive rate", "true positive rate", roc, diagonal=True),
    }


def _bins(truth: np.ndarray, probability: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    order = np.argsort(probability, kind="stable")
    return [(probability[part], truth[part]) for part in np.array_split(order, min(BINS, len(order))) if len(part)]


def _inside(probability: np.ndarray) -> np.ndarray:
    return np.clip(probability, 1e-6, 1 - 1e-6)
