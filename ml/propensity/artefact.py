"""What is kept of a trained propensity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ml import files
from ml.propensity.estimators import CANDIDATES
from ml.propensity.fitting import Calibrated
from ml.propensity.rule import RecencyFrequencyRule
from ml.propensity.settings import PropensitySettings

KINDS = {kind.kind: kind for kind in (*CANDIDATES, RecencyFrequencyRule)}


@dataclass(frozen=True)
class Propensity:
    """A served propensity: the calibrated estimator, its inputs in order, and the frames that the shop has."""

    model: Calibrated
    inputs: tuple[str, ...]
    observed: tuple[str, ...]
    importance: Mapping[str, float]
    settings: PropensitySettings


def dump(fitted: Propensity) -> dict[str, bytes]:
    """The estimator in its own format, and a JSON file of the rest."""
    about = {
        "estimator": fitted.model.estimator.kind,
        "slope": fitted.model.slope,
        "intercept": fitted.model.intercept,
        "inputs": fitted.inputs,
        "observed": fitted.observed,
        "importance": dict(fitted.importance),
        "settings": fitted.settings.model_dump(mode="json"),
    }
    return {"propensity.json": files.json_bytes(about), "estimator.bin": fitted.model.estimator.dump()}


def load(artefact: Mapping[str, bytes], settings: type[PropensitySettings]) -> Propensity:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["propensity.json"])
    estimator = KINDS[about["estimator"]].load(artefact["estimator.bin"])
    return Propensity(
        Calibrated(estimator, about["slope"], about["intercept"]),
        tuple(about["inputs"]),
        tuple(about["observed"]),
        about["importance"],
        settings.model_validate(about["settings"]),
    )
