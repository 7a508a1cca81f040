"""Missing fields of a profile, predicted from what else is known of the customer.

The warehouse fills gaps with a statistic and flags them. Where a model does better than that statistic on customers
it has not seen (:mod:`ml.imputation.field`), its prediction is given beside the flag; elsewhere nothing is, and the
statistic stands. A value that is known is never touched. Both assume that gaps come as often whatever the missing
value is, given the rest; where people hide an answer because of the answer, neither can know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from threadpoolctl import threadpool_limits

from ml import files, skops_files
from ml.imputation.columns import CATEGORIES, FIELDS, Encoder, flag, known, text
from ml.imputation.field import FieldModel, fit
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Scores, Trained

KNOWN, IMPUTED, UNKNOWN = "known", "imputed", "unknown"
MOST_REASONS = 3


class Settings(ModelSettings):
    """Settings of the model; its inputs are the numeric columns of ``models.yml`` and the fields themselves."""

    within: dict[str, str] = Field(
        default={"time_zone": "country_code", "preferred_visit_hour": "country_code"},
        description="field → the field within whose groups the warehouse takes its statistic (imputed_columns)",
    )
    minimum_known: int = Field(default=200, ge=50, description="customers of whom a field is known, to learn it from")
    smallest_value: int = Field(default=20, ge=5, description="customers who share a value, for it to be predicted")
    largest_sample: int = Field(default=50_000, ge=1_000, description="customers that a field is learned from, at most")


@dataclass(frozen=True)
class Imputation:
    """How rows become inputs, the models of the fields that have one, and the weight of each input."""

    encoder: Encoder
    models: Mapping[str, FieldModel]
    importance: Mapping[str, float]


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """One model for each field of ``customer_features`` that has gaps or may have; equal arguments, equal model."""
    del as_of
    features = _sorted(frames["customer_features"])
    encoder = Encoder.of(features, settings.smallest_value)
    metrics: Metrics = {"customers": len(features)}
    models, lost, skills = {}, {}, []
    with threadpool_limits(limits=1):
        for field in FIELDS:
            result = fit(
                features,
                field,
                encoder,
                seed=seed,
                within=settings.within.get(field),
                minimum=settings.minimum_known,
                smallest=settings.smallest_value,
                largest=settings.largest_sample,
            )
            metrics |= result.metrics
            metrics[f"{field}_missing"] = int((~known(features, field)).sum())
            if result.model is None:
                continue
            models[field] = result.model
            skills.append(_skill(field, metrics))
            for name, value in result.importance.items():
                lost[name] = lost.get(name, 0.0) + value
    metrics["fields_used"] = len(models)
    metrics["mean_error_reduction"] = float(np.mean(skills)) if skills else None
    if not models:
        metrics["fallback"] = "no field is predicted better than by its statistic; nothing is imputed"
    total = sum(lost.values())
    weights = {name: value / total for name, value in sorted(lost.items())} if total > 0 else {}
    return Trained(Imputation(encoder, models, weights), metrics)


def evaluate(fitted: Imputation, frames: Frames, as_of: datetime) -> Metrics:
    """How often a version is right on customers of whom the field is known today.

    It may have learned from them, and they hide nothing, so this is more than gaps can hope for (see ``train``).
    """
    del as_of
    features = _sorted(frames["customer_features"])
    metrics: Metrics = {"customers": len(features), "fields_used": len(fitted.models)}
    for field, model in fitted.models.items():
        rows = features[known(features, field)]
        if rows.empty:
            continue
        values, _ = _predict(fitted.encoder, model, rows)
        if field in CATEGORIES:
            metrics[f"{field}_accuracy"] = float((_own(rows, field) == values).mean())
        else:
            metrics[f"{field}_mae"] = float(np.abs(rows[field].to_numpy(dtype=float) - values.astype(float)).mean())
    return metrics


def score(fitted: Imputation, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer; ``score`` is the mean confidence over the missing fields, 1 where none is missing.

    A missing field that no model fills counts 0. ``tier``: ``known``, ``imputed``, or ``unknown`` where a field
    stays without a prediction. Details for each field: the prediction, null where the value is known or nobody
    predicts it; its probability (for age the mean absolute error); and the flag, as true as it came.
    """
    del as_of
    features = _sorted(frames["customer_features"])
    rows = pd.DataFrame({"customer_id": features["customer_id"].to_numpy()})
    confidence, missing, filled = (np.zeros(len(features)) for _ in range(3))
    phrases: list[list[str]] = [[] for _ in range(len(features))]
    details: dict[str, object] = {}
    for field in FIELDS:
        gap = ~known(features, field)
        missing += gap
        values = np.full(len(features), None, dtype=object)
        certain = np.full(len(features), np.nan)
        model = fitted.models.get(field)
        if model is not None and gap.any():
            values[gap], certain[gap] = _predict(fitted.encoder, model, features[gap])
            confidence += np.nan_to_num(certain)
            filled += gap
            for index in np.flatnonzero(gap):
                if len(phrases[index]) < MOST_REASONS:
                    phrases[index].append(_phrase(model, values[index], certain[index]))
        if field in CATEGORIES:
            details[field] = pd.Series(values, dtype="str")
            details[f"{field}_probability"] = np.round(certain, 6)
        else:
            details[field] = values.astype(float)
            error = np.nan if model is None or model.error is None else model.error
            details[f"{field}_error"] = np.where(gap, error, np.nan)
        details[flag(field)] = gap
    rows["score"] = np.round(np.where(missing > 0, confidence / np.maximum(missing, 1), 1.0), 6)
    rows["tier"] = np.where(missing == 0, KNOWN, np.where(filled == missing, IMPUTED, UNKNOWN)).astype(object)
    rows["reasons"] = pd.Series(["; ".join(told) or None for told in phrases], dtype="str")
    return Scores(pd.concat([rows, pd.DataFrame(details)], axis=1))


def inputs(fitted: Imputation, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What the model reads of each customer; a field that a statistic filled in is missing."""
    del as_of
    features = _sorted(frames["customer_features"])
    columns = [*fitted.encoder.numbers, *fitted.encoder.levels]
    read = features[["customer_id", *columns]].copy()
    for field in set(columns) & set(FIELDS):
        read[field] = read[field].where(known(features, field))
    return read


def importance(fitted: Imputation) -> Mapping[str, float]:
    """Input → its share of what the models lose together when one input is shuffled."""
    return fitted.importance


def dump(fitted: Imputation) -> dict[str, bytes]:
    """One skops file for each field that has a model, and JSON about them."""
    about = {
        "numbers": fitted.encoder.numbers,
        "levels": dict(fitted.encoder.levels),
        "importance": dict(fitted.importance),
        "fields": {
            name: {"lows": one.lows, "confidence": one.confidence, "error": one.error}
            for name, one in fitted.models.items()
        },
    }
    models = {f"{name}.skops": skops_files.dump(one.model) for name, one in fitted.models.items()}
    return {"imputation.json": files.json_bytes(about), **models}


def load(artefact: Mapping[str, bytes]) -> Imputation:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["imputation.json"])
    levels = {field: tuple(about["levels"][field]) for field in FIELDS if field in about["levels"]}
    models = {
        field: FieldModel(field, skops_files.load(artefact[f"{field}.skops"]), **_tuples(about["fields"][field]))
        for field in FIELDS
        if field in about["fields"]
    }
    return Imputation(Encoder(tuple(about["numbers"]), levels), models, about["importance"])


def _tuples(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}


def _sorted(features: pd.DataFrame) -> pd.DataFrame:
    return features.sort_values("customer_id", kind="stable").reset_index(drop=True)


def _predict(encoder: Encoder, model: FieldModel, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    with threadpool_limits(limits=1):
        return model.predict(encoder.inputs(rows, model.field))


def _own(rows: pd.DataFrame, field: str) -> np.ndarray:
    return text(rows[field]).to_numpy(dtype=object)


def _skill(field: str, metrics: Metrics) -> float:
    """The share of the statistic's errors that the model avoids."""
    if field in CATEGORIES:
        wrong, before = 1 - float(metrics[f"{field}_accuracy"]), 1 - float(metrics[f"{field}_accuracy_statistic"])
    else:
        wrong, before = float(metrics[f"{field}_mae"]), float(metrics[f"{field}_mae_statistic"])
    return 1 - wrong / before


def _phrase(model: FieldModel, value: object, certain: float) -> str:
    plain = model.field.replace("_", " ")
    if model.field in CATEGORIES:
        return f"{plain}: {value}, {certain:.0%} sure"
    return f"{plain}: {value:.0f}, give or take {model.error:.0f}"


MODEL = ModelSpec(
    name="profile_imputation",
    features={"customer_features": ("customer_id", *FIELDS, *map(flag, FIELDS))},
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    inputs=inputs,
    importance=importance,
)
