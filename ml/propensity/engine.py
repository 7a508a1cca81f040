"""The propensities' common engine: train, evaluate, score and keep; a model adds its :class:`Target`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml.errors import FeatureError
from ml.propensity import leaks, snapshots, words
from ml.propensity.artefact import Propensity, dump, load
from ml.propensity.fitting import Calibrated, choose, enough, fit_calibrated, pooled
from ml.propensity.inputs import FRAMES
from ml.propensity.measure import curves, measure
from ml.propensity.rule import RecencyFrequencyRule
from ml.propensity.settings import PropensitySettings, Target
from ml.propensity.snapshots import Snapshot, Split
from ml.ranking import roc_auc
from ml.spec import Frames, Metrics, ModelSpec, Scores, Tiers, Trained

IMPORTANCE_ROWS = 5_000
BASELINE_METRICS = ("roc_auc", "pr_auc", "lift_at_10", "log_loss", "brier")


def model_spec(target: Target, settings: type[PropensitySettings], frames: Sequence[str]) -> ModelSpec:
    """The :class:`ModelSpec` of a target; ``frames`` are the event frames that it reads."""

    def load_(artefact: Mapping[str, bytes]) -> Propensity:
        return load(artefact, settings)

    return ModelSpec(
        name=target.name,
        features={frame: FRAMES[frame] for frame in frames},
        settings=settings,
        train=lambda data, as_of, chosen, seed: train(target, data, as_of, chosen, seed),
        evaluate=lambda fitted, data, as_of: evaluate(target, fitted, data, as_of),
        score=lambda fitted, data, as_of: score(target, fitted, data, as_of),
        dump=dump,
        load=load_,
        holdout=lambda fitted, data, as_of: holdout(target, fitted, data, as_of),
        quality=quality,
        tiers=tiers,
        inputs=lambda fitted, data, as_of: inputs(target, fitted, data, as_of),
        outcomes=lambda fitted, data, scored_as_of, as_of: outcomes(target, fitted, data, scored_as_of, as_of),
        importance=lambda fitted: fitted.importance,
    )


def train(target: Target, frames: Frames, as_of: datetime, settings: PropensitySettings, seed: int) -> Trained:
    """Learn from snapshots before ``as_of``; see :func:`ml.propensity.fitting.choose`.

    Two fits come out of it. What is measured, and stands in ``holdout``, has seen train and validation only, its
    sigmoid has the level of the last month of validation, and it meets the test part once. What is served is fitted by
    the same recipe moved forward, on all snapshots; it has seen the test part's outcomes.
    With too few customers or snapshots, or where no model ranks better in the cross-validation, a rule by recency and
    frequency stands in, and ``metrics["fallback"]`` says so.
    """
    observed = tuple(name for name in FRAMES if name in frames and len(frames[name]))
    frames = snapshots.sample(frames, settings.customers, seed)
    cuts = snapshots.cuts(target, frames, as_of, settings)
    made = {cut: snapshots.snapshot(target, frames, cut, settings, observed) for cut in cuts}
    split = snapshots.split(cuts, settings.horizon_days)
    metrics: Metrics = {
        "snapshots": len(cuts),
        "rows": sum(len(one.truth) for one in made.values()),
        "horizon_days": settings.horizon_days,
    }
    if cuts:
        leaks.check(target, frames, made[cuts[-1]], observed, settings.leak_roc_auc)
    with threadpool_limits(limits=1):
        if not enough(made, split.train, settings.minimum_cases):
            reason = (
                f"the {len(split.train)} training snapshots hold too few customers with or without the outcome, at"
                f" least {settings.minimum_cases} of each are needed"
            )
            return _fallback(target, made, split, observed, settings, metrics, reason)
        return _train(target, frames, made, split, observed, settings, seed, metrics)


def _train(
    target: Target,
    frames: Frames,
    made: Mapping[datetime, Snapshot],
    split: Split,
    observed: tuple[str, ...],
    settings: PropensitySettings,
    seed: int,
    metrics: Metrics,
) -> Trained:
    cuts = tuple(made)
    history = snapshots.history_days(target, frames, split.train[0])
    names = snapshots.usable([made[cut] for cut in split.train], history)
    choice = choose(target, made, split, names, settings, seed)
    metrics |= {
        **{f"cross_validated_roc_auc_{kind.replace(' ', '_')}": value for kind, value in choice.compared.items()},
        "cross_validated_roc_auc_rule": choice.rule,
    }
    if choice.rule is not None and choice.rule >= max(choice.compared.values()):
        reason = "it ranked as well as every model in the cross-validation"
        return _fallback(target, made, split, observed, settings, metrics, reason)
    served = fit_calibrated(made, cuts, choice, names, settings, seed)
    fitted = Propensity(served, names, observed, _importance(served, names, made[cuts[-1]]), settings)
    metrics |= {
        "estimator": choice.candidate.kind,
        "inputs": len(names),
        "fallback": None if split.validation else f"not tuned, not calibrated: {len(cuts)} snapshots are too few",
        "validation_log_loss": choice.tuned,
        **{f"parameter_{name}": value for name, value in choice.parameters.items()},
    }
    seen = (*split.train, *split.validation)
    if not split.test or not enough(made, split.test, 1):
        return Trained(fitted, metrics | _unmeasured("no snapshot with both outcomes is left to measure on"))
    measured = fit_calibrated(made, seen, choice, names, settings, seed)
    rule = _rule(target, [made[cut] for cut in seen], settings)
    return _measured(target, fitted, measured, names, rule, [made[cut] for cut in split.test], metrics)


def _fallback(
    target: Target,
    made: Mapping[datetime, Snapshot],
    split: Split,
    observed: tuple[str, ...],
    settings: PropensitySettings,
    metrics: Metrics,
    reason: str,
) -> Trained:
    """The rule by recency and frequency, on whatever there is."""
    names = (target.recency, target.frequency)
    served = Calibrated(_rule(target, list(made.values()), settings))
    latest = made[max(made)] if made else None
    fitted = Propensity(served, names, observed, _importance(served, names, latest), settings)
    metrics |= {
        "estimator": RecencyFrequencyRule.kind,
        "inputs": len(names),
        "fallback": f"recency and frequency only: {reason}",
    }
    if not split.test or not enough(made, split.test, 1):
        return Trained(fitted, metrics | _unmeasured("no snapshot with both outcomes is left to measure on"))
    rule = _rule(target, [made[cut] for cut in (*split.train, *split.validation)], settings)
    return _measured(target, fitted, Calibrated(rule), names, rule, [made[cut] for cut in split.test], metrics)


def _measured(
    target: Target,
    fitted: Propensity,
    measured: Calibrated,
    names: Sequence[str],
    rule: RecencyFrequencyRule,
    test: Sequence[Snapshot],
    metrics: Metrics,
) -> Trained:
    x, truth = _pooled(test, names)
    probability = measured.probability(x)
    simple = Calibrated(rule).probability(_pooled(test, (target.recency, target.frequency))[0])
    metrics |= {"test_rows": len(truth), **_beside_baselines(truth, probability, simple)}
    return Trained(fitted, metrics, _rows(test[-1], measured, names), curves(truth, probability, simple))


def evaluate(target: Target, fitted: Propensity, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version, as it is, foretold the outcomes of the test snapshots as of ``as_of``."""
    test = _test(target, fitted, frames, as_of)
    truth = np.concatenate([one.truth for one in test]) if test else np.empty(0)
    if not 0 < truth.sum() < len(truth):
        return _unmeasured("no snapshot with both outcomes to measure on")
    x, _ = _pooled(test, fitted.inputs)
    with threadpool_limits(limits=1):
        return {"test_rows": len(truth), **measure(truth, fitted.model.probability(x))}


def holdout(target: Target, fitted: Propensity, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """``customer_id``, ``truth``, ``prediction`` of the last test snapshot: one row per customer."""
    test = _test(target, fitted, frames, as_of)
    if not test:
        return None
    with threadpool_limits(limits=1):
        return _rows(test[-1], fitted.model, fitted.inputs)


def quality(rows: pd.DataFrame) -> float | None:
    """ROC-AUC: tiers and campaigns take the best customers, so the order is what a challenger has to improve.

    The level is repaired by each version's own sigmoid and watched by the calibration metrics. None with one outcome.
    """
    return roc_auc(rows["truth"].to_numpy(), rows["prediction"].to_numpy())


def score(target: Target, fitted: Propensity, frames: Frames, as_of: datetime) -> Scores:
    """One row per eligible customer: the calibrated probability, and up to three reasons for it."""
    data = inputs(target, fitted, frames, as_of)
    x = data[list(fitted.inputs)].to_numpy(dtype=float)
    if not len(x):
        return Scores(pd.DataFrame({"customer_id": data["customer_id"], "score": np.empty(0), "reasons": []}))
    with threadpool_limits(limits=1):
        probability = fitted.model.probability(x)
        reasons = words.reasons(fitted.inputs, x, fitted.model.estimator.contributions(x))
    rows = {"customer_id": data["customer_id"], "score": np.round(probability, 6), "reasons": reasons}
    return Scores(pd.DataFrame(rows))


def tiers(fitted: Propensity) -> Tiers:
    """High, medium and low by the settings' shares."""
    return Tiers({"high": fitted.settings.high_share, "medium": fitted.settings.medium_share}, "low")


def inputs(target: Target, fitted: Propensity, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """``customer_id`` and the inputs of every eligible customer as of ``as_of``."""
    data = target.make_inputs(frames, as_of, None, fitted.observed)
    data = data[target.eligible(data, fitted.settings)]
    missing = [name for name in fitted.inputs if name not in data.columns]
    if missing:
        raise FeatureError(f"{target.name}: this version reads the input {missing[0]}; train a new version")
    return data[list(fitted.inputs)].reset_index()


def outcomes(
    target: Target, fitted: Propensity, frames: Frames, scored_as_of: datetime, as_of: datetime
) -> pd.DataFrame | None:
    """``customer_id``, ``truth`` of those eligible at ``scored_as_of``; None until the horizon has passed."""
    until = scored_as_of + timedelta(days=fitted.settings.horizon_days)
    if as_of < until:
        return None
    one = snapshots.snapshot(target, frames, scored_as_of, fitted.settings, fitted.observed)
    return pd.DataFrame({"customer_id": one.inputs.index, "truth": one.truth})


def _test(target: Target, fitted: Propensity, frames: Frames, as_of: datetime) -> list[Snapshot]:
    settings = fitted.settings
    test = snapshots.split(snapshots.cuts(target, frames, as_of, settings), settings.horizon_days).test
    return [snapshots.snapshot(target, frames, cut, settings, fitted.observed) for cut in test]


def _rows(test: Snapshot, model: Calibrated, names: Sequence[str]) -> pd.DataFrame:
    prediction = model.probability(test.inputs[list(names)].to_numpy(dtype=float))
    rows = {"customer_id": test.inputs.index, "truth": test.truth, "prediction": prediction}
    return pd.DataFrame(rows)


def _pooled(parts: Sequence[Snapshot], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return pooled({one.cut: one for one in parts}, [one.cut for one in parts], names)


def _rule(target: Target, parts: Sequence[Snapshot], settings: PropensitySettings) -> RecencyFrequencyRule:
    names = (target.recency, target.frequency)
    x, truth = _pooled(parts, names) if parts else (np.empty((0, 2)), np.empty(0))
    return RecencyFrequencyRule.fit(x, truth, settings.horizon_days, rises=target.rises)


def _importance(model: Calibrated, names: Sequence[str], latest: Snapshot | None) -> dict[str, float]:
    """Each input's share of the mean absolute contributions, on the last snapshot."""
    if latest is None or not len(latest.truth):
        return {name: 1 / len(names) for name in names}
    x = latest.inputs[list(names)].to_numpy(dtype=float)
    step = max(1, len(x) // IMPORTANCE_ROWS)
    weight = np.abs(model.estimator.contributions(x[::step])).mean(axis=0)
    weight = weight / weight.sum() if weight.sum() > 0 else np.full(len(names), 1 / len(names))
    return {name: float(f"{value:.6g}") for name, value in zip(names, weight, strict=True)}


def _beside_baselines(truth: np.ndarray, probability: np.ndarray, simple: np.ndarray) -> Metrics:
    """The metrics, the rule's as ``<metric>_rule``, and what the base rate alone reaches as ``<metric>_base_rate``."""
    base = float(truth.mean())
    everybody = measure(truth, np.full(len(truth), base))
    rule = measure(truth, simple)
    return {
        **measure(truth, probability),
        **{f"{name}_rule": value for name, value in rule.items()},
        **{f"{name}_base_rate": everybody[name] for name in BASELINE_METRICS},
    }


def _unmeasured(reason: str) -> Metrics:
    return {"roc_auc": None, "holdout_missing": reason}
