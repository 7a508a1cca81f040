"""What may stand behind a propensity: logistic regression, random forest, gradient boosting, or a simple rule.

Each is fitted on an array of inputs (missing values are NaN) and a truth of 0 and 1, says a margin (log-odds, before
calibration) and splits it into contributions of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import xgboost
from scipy.special import logit
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ml import skops_files

if TYPE_CHECKING:
    from optuna import Trial

Parameters = dict[str, float | int]


class Estimator(Protocol):
    """What the engine asks of a fitted estimator."""

    def margin(self, x: np.ndarray) -> np.ndarray:
        """Log-odds before calibration: one for each row."""

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Rows × inputs: what each input adds to the average answer."""

    def dump(self) -> bytes:
        """The fitted object as the bytes of its own format."""


class Logistic:
    """L2-penalised logistic regression on log(1 + x), standardised; a missing value is the median, and marked."""

    kind = "logistic regression"
    defaults: ClassVar[Parameters] = {"C": 0.1}

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline

    @staticmethod
    def suggest(trial: Trial) -> Parameters:
        """Settings of one trial."""
        return {"C": trial.suggest_float("C", 1e-4, 10.0, log=True)}

    @classmethod
    def fit(cls, x: np.ndarray, truth: np.ndarray, parameters: Parameters, seed: int) -> Logistic:
        """Fit; inputs are not negative. There is no chance in it."""
        del seed
        steps = [
            ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("log", FunctionTransformer(np.log1p)),
            ("scale", StandardScaler()),
            ("model", LogisticRegression(C=float(parameters["C"]), max_iter=2_000, tol=1e-6)),
        ]
        return cls(Pipeline(steps).fit(x, truth.astype(int)))

    def margin(self, x: np.ndarray) -> np.ndarray:
        """Log-odds."""
        return self.pipeline.decision_function(x)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Coefficient times standardised value; the mark of a missing value counts for its input."""
        each = self.pipeline[:-1].transform(x) * self.pipeline["model"].coef_[0]
        result = each[:, : x.shape[1]].copy()
        for place, marked in enumerate(self.pipeline["impute"].indicator_.features_):
            result[:, marked] += each[:, x.shape[1] + place]
        return result

    def dump(self) -> bytes:
        """A skops file."""
        return skops_files.dump(self.pipeline)

    @classmethod
    def load(cls, content: bytes) -> Logistic:
        """The inverse of :meth:`dump`."""
        return cls(skops_files.load(content))


class _Trees:
    """A booster of XGBoost.

    Contributions are TreeSHAP values (Lundberg, Erion and Lee 2018). Their cost grows with leaves times depth squared,
    minutes for 100,000 customers with deep trees, so ``is_deep`` takes what each split on a row's path adds (Saabas
    2014).
    """

    is_deep = False

    def __init__(self, booster: xgboost.Booster):
        self.booster = booster

    @staticmethod
    def _train(
        x: np.ndarray, truth: np.ndarray, parameters: Mapping[str, Any], rounds: int, seed: int
    ) -> xgboost.Booster:
        fixed = {"tree_method": "hist", "nthread": 1, "seed": seed, "verbosity": 0}
        return xgboost.train(fixed | dict(parameters), xgboost.DMatrix(x, truth, nthread=1), num_boost_round=rounds)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Additive contributions, on the scale of the booster's own output."""
        data = xgboost.DMatrix(x, nthread=1)
        split = self.booster.predict(data, pred_contribs=True, approx_contribs=self.is_deep)
        return split[:, :-1].astype(float)

    def dump(self) -> bytes:
        """XGBoost's own format, UBJSON."""
        return bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, content: bytes) -> Any:
        """The inverse of :meth:`dump`."""
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(content))
        return cls(booster)


class Forest(_Trees):
    """A random forest (Breiman 2001) of probability trees (Malley and others 2012), grown by XGBoost.

    Its answer is the mean truth of the leaves, that is a probability; the margin is its log-odds.
    """

    kind = "random forest"
    is_deep = True
    defaults: ClassVar[Parameters] = {"max_depth": 8, "min_child_weight": 20, "colsample_bynode": 0.33}
    trees = 100

    @staticmethod
    def suggest(trial: Trial) -> Parameters:
        """Settings of one trial."""
        return {
            "max_depth": trial.suggest_int("max_depth", 3, 10),
            "min_child_weight": trial.suggest_int("min_child_weight", 5, 100, log=True),
            "colsample_bynode": trial.suggest_float("colsample_bynode", 0.1, 0.8),
        }

    @classmethod
    def fit(cls, x: np.ndarray, truth: np.ndarray, parameters: Parameters, seed: int) -> Forest:
        """One round of many trees, each on 63 % of the rows."""
        fixed = {
            "objective": "reg:squarederror",
            "num_parallel_tree": cls.trees,
            "subsample": 0.632,
            "learning_rate": 1.0,
            "reg_lambda": 0.0,
        }
        return cls(cls._train(x, truth, fixed | parameters, 1, seed))

    def margin(self, x: np.ndarray) -> np.ndarray:
        """Log-odds of the mean truth of the leaves."""
        answer = self.booster.predict(xgboost.DMatrix(x, nthread=1)).astype(float)
        return logit(np.clip(answer, 1e-4, 1 - 1e-4))


class Boosting(_Trees):
    """Gradient boosting (Chen and Guestrin 2016) of the log loss."""

    kind = "gradient boosting"
    defaults: ClassVar[Parameters] = {
        "rounds": 100,
        "max_depth": 3,
        "min_child_weight": 10,
        "subsample": 0.8,
        "colsample_bytree": 0.6,
        "reg_lambda": 1.0,
    }

    @staticmethod
    def suggest(trial: Trial) -> Parameters:
        """Settings of one trial."""
        return {
            "rounds": trial.suggest_int("rounds", 40, 200, log=True),
            "max_depth": trial.suggest_int("max_depth", 1, 4),
            "min_child_weight": trial.suggest_int("min_child_weight", 3, 60, log=True),
            "subsample": trial.suggest_float("subsample", 0.6, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 0.3, 30.0, log=True),
        }

    @classmethod
    def fit(cls, x: np.ndarray, truth: np.ndarray, parameters: Parameters, seed: int) -> Boosting:
        """Rounds of small trees, learning rate .05."""
        settings = {key: value for key, value in parameters.items() if key != "rounds"}
        fixed = {"objective": "binary:logistic", "learning_rate": 0.05}
        return cls(cls._train(x, truth, fixed | settings, int(parameters["rounds"]), seed))

    def margin(self, x: np.ndarray) -> np.ndarray:
        """Log-odds."""
        return self.booster.predict(xgboost.DMatrix(x, nthread=1), output_margin=True).astype(float)


CANDIDATES: Sequence[type[Logistic] | type[Forest] | type[Boosting]] = (Logistic, Forest, Boosting)
"""What is compared, the simplest first."""
