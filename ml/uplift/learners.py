"""Learners of effects: from a randomised experiment to a function of the inputs.

Every learner ends as a weighted sum of regressions, so that one class applies, explains and keeps all of them. Bases
are heavily regularised, since effects are small beside the noise: a ridge regression whose penalty is chosen by
leave-one-out error, and a few dozen shallow boosted trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ml.uplift.experiment import Experiment, effect_scores, folds

NUISANCE_FOLDS = 5
"""Folds in which the doubly robust learner fits its models of the outcome."""


@dataclass(frozen=True)
class Learned:
    """A fitted learner: ``offset`` plus the weighted predictions of its parts, in outcomes per customer mailed."""

    name: str
    parts: tuple[Any, ...]
    weights: tuple[float, ...]
    offset: float = 0.0

    def effect(self, inputs: np.ndarray) -> np.ndarray:
        """The estimated effect of each row, shape (rows,)."""
        return self.offset + sum(
            weight * _predict(part, inputs) for weight, part in zip(self.weights, self.parts, strict=True)
        )

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """What each input adds to the effect, against the average customer of the experiment; (rows, inputs).

        Exact for ridge regressions; Shapley values for trees (Lundberg and Lee 2017, as XGBoost computes them); for a
        logistic regression its log-odds, scaled to probabilities at even odds.
        """
        return sum(weight * _contributions(part, inputs) for weight, part in zip(self.weights, self.parts, strict=True))


def linear() -> Any:
    """Ridge regression on standardised inputs, the penalty by leave-one-out error."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 6, 13)))


def boosted() -> Any:
    """Sixty trees of depth two, each leaf of one customer in a hundred and fifty at least."""
    from xgboost import XGBRegressor

    return XGBRegressor(
        n_estimators=60,
        learning_rate=0.05,
        max_depth=2,
        reg_lambda=10.0,
        tree_method="hist",
        max_bin=64,
        n_jobs=1,
        random_state=0,
    )


def fit_regression(base: Callable[[], Any], inputs: np.ndarray, target: np.ndarray) -> Any:
    """A base fitted to a target; trees get a smallest leaf that grows with the rows."""
    model = base()
    if hasattr(model, "min_child_weight"):
        model.set_params(min_child_weight=max(20.0, len(target) / 150))
    return model.fit(inputs, target)


def two_models(base: Callable[[], Any], name: str, given: Experiment, seed: int) -> Learned:
    """One model of the outcome for each arm; the effect is their difference (T-learner)."""
    del seed
    with_, without = (_fit_arm(base, given, arm) for arm in (1, 0))
    return Learned(name, (with_, without), (1.0, -1.0))


def transformed_outcome(base: Callable[[], Any], name: str, given: Experiment, seed: int) -> Learned:
    """A model of outcome * (treated - e) / (e * (1 - e)), whose expectation is the effect (Athey and Imbens 2016)."""
    del seed
    chance = given.propensity
    target = given.outcome * (given.treated - chance) / (chance * (1 - chance))
    return Learned(name, (fit_regression(base, given.inputs, target),), (1.0,))


def class_transformation(name: str, given: Experiment, seed: int) -> Learned:
    """The chance that outcome and arm agree; effect = 2 p - 1, arms weighted to be even (Jaskowski 2012)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del seed
    weight = 0.5 / np.where(given.treated == 1, given.propensity, 1 - given.propensity)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    model.fit(given.inputs, (given.outcome == given.treated).astype(int), logisticregression__sample_weight=weight)
    return Learned(name, (model,), (2.0,), -1.0)


def x_learner(base: Callable[[], Any], name: str, given: Experiment, seed: int) -> Learned:
    """Effects imputed from the other arm's model, one model of them for each arm (Künzel et al. 2019)."""
    del seed
    treated = given.treated == 1
    with_, without = (_predict(_fit_arm(base, given, arm), given.inputs) for arm in (1, 0))
    on_treated = fit_regression(base, given.inputs[treated], (given.outcome - without)[treated])
    on_control = fit_regression(base, given.inputs[~treated], (with_ - given.outcome)[~treated])
    share = float(given.propensity.mean())
    return Learned(name, (on_treated, on_control), (1 - share, share))


def doubly_robust(base: Callable[[], Any], name: str, given: Experiment, seed: int) -> Learned:
    """A model of cross-fitted doubly robust effect scores (Kennedy 2023)."""
    scores = cross_fitted_scores(given, folds(given, NUISANCE_FOLDS, seed))
    return Learned(name, (fit_regression(base, given.inputs, scores),), (1.0,))


LEARNERS: Mapping[str, Callable[[Experiment, int], Learned]] = {
    name: partial(learner, name)
    for name, learner in {
        "transformed outcome, linear": partial(transformed_outcome, linear),
        "two models, linear": partial(two_models, linear),
        "two models, boosted": partial(two_models, boosted),
        "X-learner, boosted": partial(x_learner, boosted),
        "doubly robust, linear": partial(doubly_robust, linear),
        "doubly robust, boosted": partial(doubly_robust, boosted),
        "class transformation": class_transformation,
    }.items()
}
"""Name → ``learner(experiment, seed)``; some are for outcomes of 0 and 1 only (:func:`usable`)."""


def usable(given: Experiment, names: Iterable[str] | None = None) -> dict[str, Callable[[Experiment, int], Learned]]:
    """The learners of these names (None: all) that the outcome allows: class transformation needs 0 and 1."""
    wanted = list(LEARNERS) if names is None else list(names)
    strangers = [name for name in wanted if name not in LEARNERS]
    if strangers or not wanted:
        raise ValueError(f"learners: expected some of {', '.join(LEARNERS)}; found {strangers or 'none'}")
    binary = bool(np.isin(given.outcome, (0.0, 1.0)).all())
    return {name: LEARNERS[name] for name in wanted if binary or name != "class transformation"}


def response(given: Experiment) -> Any:
    """The classic response model, a baseline: who is likely to act at all, mailed or not."""
    return fit_regression(boosted, given.inputs, given.outcome)


def cross_fitted_scores(given: Experiment, parts: Any) -> np.ndarray:
    """Effect scores of all rows, the models of the outcome fitted without each row's fold."""
    expected = np.zeros((2, len(given)))
    for fitting, left_out in parts:
        for arm in (0, 1):
            expected[arm, left_out] = _predict(_fit_arm(linear, given.take(fitting), arm), given.inputs[left_out])
    return effect_scores(given, expected[0], expected[1])


def _fit_arm(base: Callable[[], Any], given: Experiment, arm: int) -> Any:
    rows = given.treated == arm
    return fit_regression(base, given.inputs[rows], given.outcome[rows])


def _predict(part: Any, inputs: np.ndarray) -> np.ndarray:
    if hasattr(part, "predict_proba"):
        return part.predict_proba(inputs)[:, 1]
    return part.predict(inputs).astype(float)


def _contributions(part: Any, inputs: np.ndarray) -> np.ndarray:
    if hasattr(part, "get_booster"):
        import xgboost

        matrix = xgboost.DMatrix(inputs, nthread=1)
        return part.get_booster().predict(matrix, pred_contribs=True)[:, :-1].astype(float)
    scaled, last = part[0].transform(inputs), part[-1]
    slope = 0.25 if hasattr(part, "predict_proba") else 1.0
    return slope * scaled * np.ravel(last.coef_)
