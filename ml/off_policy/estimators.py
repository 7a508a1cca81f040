"""What a policy would earn per decision, from logged decisions whose chances (propensities) are known.

``weight`` is everywhere the policy's chance of the logged action over the logging policy's; its mean is 1. Rewards lie
between 0 and 1. ``largest_weight`` is the largest that any action could have had, logged or not; without it the
largest that was seen. Intervals are by empirical likelihood (:mod:`ml.off_policy.likelihood`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.off_policy import likelihood


@dataclass(frozen=True)
class Estimate:
    """A policy's value per decision, its standard error, its interval, and how many decisions it stands on."""

    value: float
    lower: float
    upper: float
    standard_error: float
    decisions: int


def inverse_propensity(
    reward: np.ndarray, weight: np.ndarray, *, largest_weight: float | None = None, confidence: float = 0.95
) -> Estimate:
    """The mean of weight * reward (Horvitz and Thompson 1952): unbiased, and of the largest variance."""
    reward, weight, largest = _checked(reward, weight, largest_weight)
    top, bottom = weight * reward, np.ones(len(reward))
    return _estimate(top, bottom, [(0.0, 1.0), (largest, 1.0)], confidence)


def self_normalised(
    reward: np.ndarray, weight: np.ndarray, *, largest_weight: float | None = None, confidence: float = 0.95
) -> Estimate:
    """Sum of weight * reward over sum of weights (Hájek 1971; Swaminathan and Joachims 2015).

    Consistent; the bias is of the order 1 / rows. It stays between 0 and 1, and a constant reward is exact.
    """
    reward, weight, largest = _checked(reward, weight, largest_weight)
    return _estimate(weight * reward, weight, [(0.0, largest), (largest, largest)], confidence)


def doubly_robust(
    reward: np.ndarray,
    weight: np.ndarray,
    expected_logged: np.ndarray,
    expected_policy: np.ndarray,
    *,
    largest_weight: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of expected_policy + weight * (reward - expected_logged) (Dudík, Langford and Li 2011).

    ``expected_logged``: what a model of the reward expects of the logged action; ``expected_policy``: of the policy,
    averaged over its actions. The model must not have seen the row (:func:`ml.off_policy.rewards.cross_fitted`);
    unbiased then, however poor the model, since the propensities are known.
    """
    reward, weight, largest = _checked(reward, weight, largest_weight)
    top = expected_policy + weight * (reward - expected_logged)
    extremes = [
        (float(np.min(expected_policy) - largest * np.max(expected_logged)), 1.0),
        (float(np.max(expected_policy) + largest * (1 - np.min(expected_logged))), 1.0),
    ]
    return _estimate(top, np.ones(len(reward)), extremes, confidence)


def rejection_sampling(
    reward: np.ndarray, weight: np.ndarray, *, largest_weight: float, seed: int, confidence: float = 0.95
) -> Estimate:
    """The mean reward of those decisions that the policy may keep as its own (replay; Li, Chu, Langford, Wang 2011).

    A decision is kept with the chance weight / largest_weight, so that the kept ones are draws of the policy itself
    and no weight is left. It uses few decisions, and stands as a check on the others. Raises ValueError where
    none is kept, or where a weight is above the largest.
    """
    reward, weight, largest = _checked(reward, weight, largest_weight)
    kept = np.random.default_rng(seed).random(len(reward)) * largest < weight
    if not kept.any():
        raise ValueError(f"rejection_sampling: none of {len(reward)} decisions is kept; log more of them")
    rewards = reward[kept]
    return _estimate(rewards, np.ones(len(rewards)), [(0.0, 1.0), (1.0, 1.0)], confidence)


def normal_interval(estimate: Estimate, confidence: float = 0.95) -> tuple[float, float]:
    """The usual interval, value and standard errors to both sides; too short above where rewards are rare."""
    from scipy.stats import norm

    reach = float(norm.ppf((1 + confidence) / 2)) * estimate.standard_error
    return estimate.value - reach, estimate.value + reach


def _estimate(top: np.ndarray, bottom: np.ndarray, extremes: list[tuple[float, float]], confidence: float) -> Estimate:
    """Root, interval, and standard error by the linearised values (delta method)."""
    value = float(top.sum() / bottom.sum())
    apart = (top - bottom * value) / bottom.mean()
    error = float(np.sqrt((apart**2).sum() / max(len(top) - 1, 1) / len(top)))
    lower, upper = likelihood.interval(top, bottom, extremes, confidence=confidence)
    return Estimate(value, lower, upper, error, len(top))


def _checked(
    reward: np.ndarray, weight: np.ndarray, largest_weight: float | None
) -> tuple[np.ndarray, np.ndarray, float]:
    reward, weight = np.asarray(reward, dtype=float), np.asarray(weight, dtype=float)
    if reward.shape != weight.shape or reward.ndim != 1 or not reward.size:
        raise ValueError(f"expected a reward and a weight per decision, found {reward.shape} and {weight.shape}")
    if not ((reward >= 0) & (reward <= 1)).all():
        raise ValueError("expected rewards between 0 and 1; divide them by the largest that there can be")
    if not (np.isfinite(weight) & (weight >= 0)).all() or weight.sum() == 0:
        raise ValueError("expected weights of 0 and more, not all 0; the log has no action that the policy takes")
    largest = float(weight.max()) if largest_weight is None else float(largest_weight)
    if largest < weight.max() * (1 - 1e-9):
        raise ValueError(f"largest_weight: expected {weight.max():g} or more, found {largest:g}")
    return reward, weight, largest
