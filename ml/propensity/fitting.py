"""Which estimator stands behind a propensity: compared in time, tuned on validation, calibrated on the last month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from ml.propensity.estimators import CANDIDATES, Estimator, Parameters
from ml.propensity.measure import sigmoid_fit
from ml.propensity.settings import PropensitySettings
from ml.propensity.snapshots import Snapshot, Split

FOLDS = 3


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
    """The chosen candidate, its settings, and the mean ROC-AUC of each candidate in the cross-validation."""

    candidate: Any
    parameters: Parameters
    compared: Mapping[str, float]
    tuned: float | None


Snapshots = Mapping[datetime, Snapshot]


def choose(snapshots: Snapshots, split: Split, names: Sequence[str], settings: PropensitySettings, seed: int) -> Choice:
    """Compare the candidates by cross-validation in time on the training part, tune the best on validation.

    Each fold learns from the snapshots whose outcomes were known at its cut (rolling origin); the last three are
    used. The simplest candidate within ``settings.tie`` of the best mean ROC-AUC is taken: ranking decides, since the
    sigmoid repairs the level afterwards. Without a fold, or with one outcome only, logistic regression as it is.
    """
    horizon = timedelta(days=settings.horizon_days)
    folds = []
    for cut in split.train[1:] or split.validation:
        before = [earlier for earlier in split.train if earlier + horizon <= cut]
        if _has_both(snapshots, before) and _has_both(snapshots, [cut]):
            folds.append((before, cut))
    first = CANDIDATES[0]
    if not folds:
        return Choice(first, dict(first.defaults), {}, None)
    compared = {
        candidate.kind: float(
            np.mean(
                [
                    _roc_auc(candidate, candidate.defaults, snapshots, before, [cut], names, seed)
                    for before, cut in folds[-FOLDS:]
                ]
            )
        )
        for candidate in CANDIDATES
    }
    best = max(compared.values())
    chosen = next(candidate for candidate in CANDIDATES if compared[candidate.kind] >= best - settings.tie)
    if not _has_both(snapshots, split.validation):
        return Choice(chosen, dict(chosen.defaults), compared, None)
    parameters, value = _tune(chosen, snapshots, split, names, settings.trials, seed)
    return Choice(chosen, parameters, compared, value)


def fit_calibrated(
    snapshots: Snapshots,
    cuts: Sequence[datetime],
    choice: Choice,
    names: Sequence[str],
    settings: PropensitySettings,
    seed: int,
) -> Calibrated:
    """Fit on the cuts whose outcomes were known at the last one, and the sigmoid on that last one.

    With one cut, or too few cases in the last one, everything goes into the estimator and there is no sigmoid. A sigmoid
    that would turn the ranking round is not used.
    """
    horizon = timedelta(days=settings.horizon_days)
    before = [cut for cut in cuts if cut + horizon <= cuts[-1]]
    last = [cuts[-1]]
    if not (
        enough(snapshots, before, settings.minimum_cases) and enough(snapshots, last, settings.minimum_cases)
    ):
        return Calibrated(choice.candidate.fit(*pooled(snapshots, cuts, names), choice.parameters, seed))
    estimator = choice.candidate.fit(*pooled(snapshots, before, names), choice.parameters, seed)
    x, truth = pooled(snapshots, last, names)
    slope, intercept = sigmoid_fit(estimator.margin(x), truth)
    return Calibrated(estimator, slope, intercept) if slope > 0 else Calibrated(estimator)


def pooled(snapshots: Snapshots, cuts: Sequence[datetime], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and truth of some snapshots under each other, in the order of the cuts."""
    x = np.concatenate([snapshots[cut].inputs[list(names)].to_numpy(dtype=float) for cut in cuts])
    return x, np.concatenate([snapshots[cut].truth for cut in cuts])


def enough(snapshots: Snapshots, cuts: Sequence[datetime], cases: int) -> bool:
    """Whether some snapshots hold so many customers with the outcome, and as many without."""
    positive = sum(int(snapshots[cut].truth.sum()) for cut in cuts)
    return min(positive, sum(len(snapshots[cut].truth) for cut in cuts) - positive) >= cases


def _has_both(snapshots: Snapshots, cuts: Sequence[datetime]) -> bool:
    return enough(snapshots, cuts, 1)


def _roc_auc(
    candidate: Any,
    parameters: Parameters,
    snapshots: Snapshots,
    train: Sequence[datetime],
    test: Sequence[datetime],
    names: Sequence[str],
    seed: int,
) -> float:
    estimator = candidate.fit(*pooled(snapshots, train, names), parameters, seed)
    x, truth = pooled(snapshots, test, names)
    return float(roc_auc_score(truth, estimator.margin(x)))


def _tune(
    candidate: Any, snapshots: Snapshots, split: Split, names: Sequence[str], trials: int, seed: int
) -> tuple[Parameters, float]:
    """The best of some settings by ROC-AUC on validation; the defaults are the first trial."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        parameters = candidate.suggest(trial)
        return _roc_auc(candidate, parameters, snapshots, split.train, split.validation, names, seed)

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.enqueue_trial(candidate.defaults)
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(level)
    return study.best_params, float(study.best_value)
