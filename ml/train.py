"""Train a model as of an instant, keep the version, and let it serve if its gate lets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml import config
from ml.errors import ModelError, PromotionConflict
from ml.frames import read_frames, utc

if TYPE_CHECKING:
    from ml.config import ConfiguredModel
    from ml.promotion import Decision
    from ml.spec import Frames, Trained

ATTEMPTS = 5
"""How often a promotion is judged anew after somebody else was faster."""


@dataclass(frozen=True)
class TrainingResult:
    """The version that a training came to, what was measured, and whether it serves from now on."""

    model_name: str
    model_version: str
    metrics: dict[str, Any]
    promoted: bool
    reason: str


def train(
    name: str,
    *,
    features: str,
    as_of: datetime,
    registry: str,
    registry_url: str,
    seed: int,
    features_version: str,
    configuration: str | None = None,
) -> TrainingResult:
    """Train the model ``name`` on what was known at ``as_of``.

    ``features``: the folder of Parquet files of a published version, ``features_version`` its name.
    ``registry``: the folder of the artefacts; ``registry_url``: the database of the alias log. Equal features,
    ``as_of``, settings and ``seed`` give the same version. A version that serves already, or that somebody
    rolled back from, adds nothing to the alias log; ``reason`` says so.
    """
    from ml import registry as versions

    as_of = utc(as_of)
    model = config.configured(name, configuration or config.DEFAULT)
    frames = read_frames(features, model.features, as_of)
    trained = model.spec.train(frames, as_of, model.settings, seed)
    about = {
        "model_name": name,
        "as_of": as_of.isoformat(),
        "features_version": features_version,
        "seed": seed,
        "settings": model.settings.model_dump(mode="json"),
        "metrics": trained.metrics,
        "feature_schema": _schema(frames),
        "libraries": _libraries(),
        "trained_at": datetime.now(UTC).isoformat(),
    }
    version = versions.store(registry, model.spec.dump(trained.fitted), about)
    decision = _promote(model, trained, version, frames, as_of, registry, registry_url)
    training = versions.Training(
        model_name=name,
        model_version=version,
        as_of=as_of,
        features_version=features_version,
        seed=seed,
        metrics=trained.metrics,
        promoted=decision.promote,
        reason=decision.reason,
        recorded_at=datetime.now(UTC),
    )
    versions.record(training, registry_url)
    return TrainingResult(name, version, trained.metrics, decision.promote, decision.reason)


def is_due(name: str, as_of: datetime, registry_url: str, every_days: int = 30) -> bool:
    """Whether the model should be trained: nothing serves, or what serves was last confirmed too long before.

    A training that comes to the serving version again confirms it.
    """
    from ml import registry as versions

    serving = versions.champion(name, registry_url)
    if serving is None:
        return True
    confirmed = [
        training.as_of
        for training in versions.trainings(registry_url, name)
        if training.model_version == serving.model_version
    ]
    return utc(as_of) - max([serving.as_of, *confirmed]) >= timedelta(days=every_days)


def _promote(
    model: ConfiguredModel,
    trained: Trained,
    version: str,
    frames: Frames,
    as_of: datetime,
    registry: str,
    registry_url: str,
) -> Decision:
    """Judge the version against what serves; where that changes meanwhile, judge again."""
    from ml import registry as versions
    from ml.promotion import Decision, decide

    for _ in range(ATTEMPTS):
        serving = versions.champion(model.name, registry_url)
        if serving is not None and serving.model_version == version:
            return Decision(False, "the same version serves already")
        if version in versions.refused(model.name, registry_url):
            return Decision(False, "this version was rolled back from; promote it by hand if it is right after all")
        if serving is not None and serving.as_of > as_of:
            return Decision(False, f"what serves was trained as of {serving.as_of.isoformat()}, which is later")
        if serving is None:
            decision = decide(model.promotion, trained.metrics)
        else:
            decision = decide(
                model.promotion,
                trained.metrics,
                challenger=model.spec.evaluate(trained.fitted, frames, as_of),
                champion=_champion_metrics(model, serving.model_version, frames, as_of, registry),
            )
        if not decision.promote:
            return decision
        try:
            versions.promote(
                model.name,
                version,
                registry_url,
                as_of=as_of,
                reason=decision.reason,
                expected=serving.model_version if serving else None,
            )
        except PromotionConflict:
            continue
        return decision
    raise PromotionConflict(f"{model.name}: others promoted {ATTEMPTS} times meanwhile; train again")


def _champion_metrics(
    model: ConfiguredModel, version: str, frames: Frames, as_of: datetime, registry: str
) -> dict[str, Any]:
    """The champion on today's frames; nothing where its artefact is damaged or it reads other columns."""
    from ml import registry as versions

    try:
        return model.spec.evaluate(model.spec.load(versions.read(registry, version)), frames, as_of)
    except ModelError:
        return {}


def _schema(frames: Frames) -> Mapping[str, Mapping[str, str]]:
    return {name: {str(column): str(kind) for column, kind in frame.dtypes.items()} for name, frame in frames.items()}


def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "pandas", "scikit-learn", "scipy", "skops")}
