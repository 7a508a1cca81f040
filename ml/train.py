"""Train a model as of an instant, keep the version, and let it serve if its gate lets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml import config
from ml.errors import ModelError, NobodyToScore, PromotionConflict, RegistryError
from ml.frames import column_names, read_frames, utc

if TYPE_CHECKING:
    import pandas as pd

    from ml.config import ConfiguredModel
    from ml.promotion import Comparison, Decision
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
    rolled back from, adds nothing to the alias log; ``reason`` says so. Raises :class:`NobodyToScore`, and keeps
    nothing, where the model would have nobody to speak of: it is due until there is somebody.
    """
    from ml import registry as versions
    from ml.cards import write_card

    as_of = utc(as_of)
    model = config.configured(name, configuration or config.DEFAULT)
    frames = read_frames(features, model.features, as_of)
    going_on = (_serving(model, registry, registry_url),) if model.spec.continues else ()
    trained = model.spec.train(frames, as_of, model.settings, seed, *going_on)
    inputs = None if model.spec.inputs is None else model.spec.inputs(trained.fitted, frames, as_of)
    if (inputs is None or inputs.empty) and model.spec.score(trained.fitted, frames, as_of).rows.empty:
        read = ", ".join(f"{len(frame)} rows of {frame_name}" for frame_name, frame in frames.items())
        raise NobodyToScore(f"{name}: nobody to score as of {as_of:%Y-%m-%d}, found {read}")
    about = {
        "model_name": name,
        "as_of": as_of.isoformat(),
        "features_version": features_version,
        "seed": seed,
        "settings": model.settings.model_dump(mode="json"),
        "metrics": trained.metrics,
        "curves": {key: asdict(curve) for key, curve in trained.curves.items()},
        "importance": _importance(model, trained.fitted),
        "reference": _reference(model, inputs),
        "fairness": _fairness(model, trained, features, as_of),
        "window": _window(frames),
        "feature_schema": _schema(frames),
        "libraries": _libraries(),
        "trained_at": datetime.now(UTC).isoformat(),
    }
    version = versions.store(registry, model.spec.dump(trained.fitted), about)
    known = versions.metadata(registry, version)
    versions.record_version(
        versions.Version(name, version, as_of, features_version, known["files"], datetime.now(UTC)), registry_url
    )
    decision = _promote(model, trained, version, frames, as_of, registry, registry_url, about["fairness"])
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
    write_card(registry, version, registry_url)
    return TrainingResult(name, version, trained.metrics, decision.promote, decision.reason)


def is_due(name: str, as_of: datetime, registry: str, registry_url: str, every_days: int = 30) -> bool:
    """Whether the model should be trained: nothing serves, the last training was too long before ``as_of``, or the
    latest report on what serves asks for it.

    A challenger that was refused counts as well: the same data would be judged the same.
    """
    from ml import registry as versions
    from ml.monitor import is_degraded

    serving = versions.champion(name, registry_url)
    if serving is None:
        return True
    tried = [training.as_of for training in versions.trainings(registry_url, name) if training.as_of <= utc(as_of)]
    last = max([serving.as_of, *tried])
    return utc(as_of) - last >= timedelta(days=every_days) or is_degraded(registry, name, last)


def _promote(
    model: ConfiguredModel,
    trained: Trained,
    version: str,
    frames: Frames,
    as_of: datetime,
    registry: str,
    registry_url: str,
    fairness: Mapping[str, Any] | None,
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
        comparison = None
        if serving is not None:
            comparison = _compare(model, trained, serving.model_version, frames, as_of, registry)
        decision = decide(model.promotion, trained.metrics, first=serving is None, comparison=comparison)
        if decision.promote and fairness and not fairness["passes"]:
            decision = Decision(False, f"fairness: {fairness['reason']}")
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


def _serving(model: ConfiguredModel, registry: str, registry_url: str) -> Any | None:
    """The fitted champion; None where there is none, or no promoted version is whole."""
    from ml import registry as versions

    try:
        _, artefact, _ = versions.serving(model.name, registry, registry_url)
    except RegistryError:
        return None
    return model.spec.load(artefact)


def _compare(
    model: ConfiguredModel, trained: Trained, champion: str, frames: Frames, as_of: datetime, registry: str
) -> Comparison | None:
    """The new version against the champion; None where the champion is damaged or cannot be measured here."""
    from ml import registry as versions
    from ml.promotion import Comparison, compare

    spec, gate = model.spec, model.promotion
    try:
        fitted = spec.load(versions.read(registry, champion))
        if spec.holdout is None or spec.quality is None:
            sign = 1.0 if gate.direction == "maximise" else -1.0
            new, old = (spec.evaluate(one, frames, as_of) for one in (trained.fitted, fitted))
            if new.get(gate.metric) is None or old.get(gate.metric) is None:
                return None
            difference = sign * (float(new[gate.metric]) - float(old[gate.metric]))
            return Comparison(difference, difference, difference, int(new.get("customers") or 0))
        held = spec.holdout(fitted, frames, as_of)
    except ModelError:
        return None
    if trained.holdout is None or held is None:
        return None
    return compare(spec.quality, trained.holdout, held)


def _importance(model: ConfiguredModel, fitted: Any) -> dict[str, float]:
    """Shares by input, the largest first."""
    if model.spec.importance is None:
        return {}
    shares = model.spec.importance(fitted)
    return {name: round(float(share), 6) for name, share in sorted(shares.items(), key=lambda one: (-one[1], one[0]))}


def _reference(model: ConfiguredModel, inputs: pd.DataFrame | None) -> dict[str, Any] | None:
    """What the inputs looked like in training, in counts alone: drift is told by it."""
    if inputs is None:
        return None
    from ml.monitor import reference

    return reference(inputs, model.monitoring)


def _fairness(model: ConfiguredModel, trained: Trained, features: str, as_of: datetime) -> dict[str, Any] | None:
    """Selection and quality by group on the hold-out; None where there is no hold-out or no group to look at."""
    if trained.holdout is None or not model.fairness.groups:
        return None
    from ml.monitor import fairness

    flags = {f"is_{column}_imputed" for column in model.fairness.groups} & set(
        column_names(features, "customer_features")
    )
    wanted = {"customer_features": (*model.fairness.groups, *sorted(flags))}
    groups = read_frames(features, wanted, as_of)["customer_features"]
    return fairness(trained.holdout, groups, model.fairness, model.spec.quality)


def _window(frames: Frames) -> dict[str, list[str]]:
    """The first and the last event of each frame that was read, and its rows."""
    from ml.frames import EVENTS

    window = {}
    for name, frame in frames.items():
        if name in EVENTS and len(frame):
            times = frame[EVENTS[name]]
            window[name] = [times.min().isoformat(), times.max().isoformat(), str(len(frame))]
    return window


def _schema(frames: Frames) -> Mapping[str, Mapping[str, str]]:
    return {name: {str(column): str(kind) for column, kind in frame.dtypes.items()} for name, frame in frames.items()}


def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "pandas", "scikit-learn", "scipy", "skops", "xgboost-cpu")}
