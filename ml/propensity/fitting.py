"""Which estimator stands behind a propensity: compared in time, tuned on validation, calibrated on the last months."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from ml.propensity.estimators import CANDIDATES, Estimator, Parameters
from ml.propensity.measure import common_slope, shift
from ml.propensity.rule import RecencyFrequencyRule
from ml.propensity.settings import PropensitySettings, Target
from ml.propensity.snapshots import Snapshot, Split

FOLDS = 3

SLOPE_SPREAD = 0.05
"""How far from 1 a sigmoid's slope is expected: fits that are tuned by log loss are off by that much, seldom by more,
and the estimate from a few thousand customers is no better. Many customers overrule it."""


@dataclass(frozen=True)
class Calibrated:
    """A fitted estimator and Platt's sigmoid over its margin."""

    estimator: Estimator
    slope: float = 1.0
    intercept: float = 0.0

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Calibrated probabilities."""
        return expit(self.slope * self.estimator.margin(x) + self.intercept)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and its settings.

    ``compared`` and ``rule``: mean ROC-AUC in the cross-validation; ``tuned``: the log loss on validation.
    """

    candidate: Any
    parameters: Parameters
    compared: Mapping[str, float]
    rule: float | None
    tuned: float | None


Snapshots = Mapping[datetime, Snapshot]


def choose(
    target: Target,
    snapshots: Snapshots,
    split: Split,
    names: Sequence[str],
    settings: PropensitySettings,
    seed: int,
) -> Choice:
    """Compare the candidates by cross-validation in time on the training part, tune the best on validation.

    Each fold learns from the snapshots whose outcomes were known at its cut (rolling origin); the last three are
    used. The simplest candidate within ``settings.tie`` of the best mean ROC-AUC is taken: ranking decides, since the
    sigmoid repairs the level afterwards. The rule by recency and frequency goes through the same folds. A training
    part that is shorter than two horizons has no fold of its own: the validation part is one then. Without any, or with
    one outcome only, logistic regression as it is.
    """
    horizon = timedelta(days=settings.horizon_days)
    folds = _folds(snapshots, split.train, split.train, horizon) or _folds(
        snapshots, split.train, split.validation, horizon
    )
    first = CANDIDATES[0]
    if not folds:
        return Choice(first, dict(first.defaults), {}, None, None)
    compared = {}
    for kind in CANDIDATES:
        fitters = (partial(kind.fit, parameters=kind.defaults, seed=seed), names)
        compared[kind.kind] = float(np.mean([_roc_auc(*fitters, snapshots, *fold) for fold in folds[-FOLDS:]]))
    simple = partial(RecencyFrequencyRule.fit, horizon_days=settings.horizon_days, rises=target.rises)
    rule = float(
        np.mean([_roc_auc(simple, (target.recency, target.frequency), snapshots, *fold) for fold in folds[-FOLDS:]])
    )
    best = max(compared.values())
    chosen = next(candidate for candidate in CANDIDATES if compared[candidate.kind] >= best - settings.tie)
    if not _has_both(snapshots, split.validation):
        return Choice(chosen, dict(chosen.defaults), compared, rule, None)
    parameters, value = _tune(chosen, snapshots, split, names, settings.trials, seed)
    return Choice(chosen, parameters, compared, rule, value)


def _folds(
    snapshots: Snapshots, learned: Sequence[datetime], foretold: Sequence[datetime], horizon: timedelta
) -> list[tuple[list[datetime], list[datetime]]]:
    """Each cut to foretell behind those whose outcomes were known by then, both outcomes being there on both sides."""
    found = []
    for cut in foretold:
        before = [earlier for earlier in learned if earlier + horizon <= cut]
        if _has_both(snapshots, before) and _has_both(snapshots, [cut]):
            found.append((before, [cut]))
    return found


def fit_calibrated(
    snapshots: Snapshots,
    cuts: Sequence[datetime],
    choice: Choice,
    names: Sequence[str],
    settings: PropensitySettings,
    seed: int,
) -> Calibrated:
    """Fit on all the cuts, with a sigmoid whose level is the last month's.

    The slope is learnt out of sample: the last months, three at most, are each foretold by a fit on the cuts whose
    outcomes were known then. It is one slope for all of them and leans to 1: that of a single month moves by more
    than a tenth to and fro, and would carry the last month's chance into the next. The intercept is set so that the
    fit on everything says as many outcomes as there were in the last month: it has learnt from that month, and the
    sigmoid of an earlier fit would shift it twice. Without enough cases there is no sigmoid, and one that would turn
    the ranking round is not used.
    """
    horizon = timedelta(days=settings.horizon_days)
    estimator = choice.candidate.fit(*pooled(snapshots, cuts, names), choice.parameters, seed)
    months = []
    for cut in cuts[-FOLDS:]:
        before = [earlier for earlier in cuts if earlier + horizon <= cut]
        if all(enough(snapshots, part, settings.minimum_cases) for part in (before, [cut])):
            earlier = choice.candidate.fit(*pooled(snapshots, before, names), choice.parameters, seed)
            x, truth = pooled(snapshots, [cut], names)
            months.append((earlier.margin(x), truth))
    if not months or not enough(snapshots, cuts[-1:], settings.minimum_cases):
        return Calibrated(estimator)
    slope = common_slope(months, SLOPE_SPREAD)
    if slope <= 0:
        return Calibrated(estimator)
    x, truth = pooled(snapshots, cuts[-1:], names)
    return Calibrated(estimator, slope, shift(slope * estimator.margin(x), truth))


def pooled(snapshots: Snapshots, cuts: Sequence[datetime], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and truth of some snapshots under each other, in the order of the cuts."""
    x = np.concatenate([snapshots[cut].inputs[list(names)].to_numpy(dtype=float) for cut in cuts])
    return x, np.concatenate([snapshots[cut].truth for cut in cuts])


def enough(snapshots: Snapshots, cuts: Sequence[datetime], cases: int) -> bool:
    """Whether some snapshots hold so many different customers with the outcome, and as many without."""
    return all(
        len(set().union(*(snapshots[cut].inputs.index[snapshots[cut].truth == value] for cut in cuts))) >= cases
        for value in (0.0, 1.0)
    )


def _has_both(snapshots: Snapshots, cuts: Sequence[datetime]) -> bool:
    return enough(snapshots, cuts, 1)


def _roc_auc(
    fit: Callable[[np.ndarray, np.ndarray], Any],
    names: Sequence[str],
    snapshots: Snapshots,
    train: Sequence[datetime],
    test: Sequence[datetime],
) -> float:
    estimator = fit(*pooled(snapshots, train, names))
    x, truth = pooled(snapshots, test, names)
    return float(roc_auc_score(truth, estimator.margin(x)))


def _tune(
    candidate: Any, snapshots: Snapshots, split: Split, names: Sequence[str], trials: int, seed: int
) -> tuple[Parameters, float]:
    """The best of some settings by log loss on validation; the defaults are the first trial.

    Log loss and not ROC-AUC: the latter hardly sees how strongly a model is shrunk, and would pick any strength.
    """
    import optuna

    train = pooled(snapshots, split.train, names)
    x, truth = pooled(snapshots, split.validation, names)

    def objective(trial: optuna.Trial) -> float:
        estimator = candidate.fit(*train, candidate.suggest(trial), seed)
        return float(log_loss(truth, expit(estimator.margin(x))))

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.enqueue_trial(candidate.defaults)
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(level)
    return study.best_params, float(study.best_value)
