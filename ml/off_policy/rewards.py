"""Smoothed reward rates by context and action: a model of the reward, and a policy that follows it."""

from __future__ import annotations

import numpy as np

_STRONGEST = 1000.0
"""The prior, in expected rewards, of actions that do not differ more than chance lets them."""


def smoothed_rates(
    context: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    shape: tuple[int, int],
    *,
    prior: float | None = None,
) -> np.ndarray:
    """Rates of rare rewards by context and action, shape (contexts, actions), each shrunk to the wider one.

    ``context`` and ``action`` are numbers from 0. The rate of everybody gives way to the action's, and that to the
    action's in the context, as rewards are seen: (seen + prior) / (expected + prior), the mean of a Gamma-Poisson
    posterior. ``prior`` is in expected rewards; None takes it from the spread between actions (by moments: the
    more they differ beyond chance, the weaker).
    """
    contexts, actions = shape
    overall = (reward.sum() + 0.5) / (len(reward) + 1)  # above 0 even where nobody has clicked yet
    seen = np.bincount(action, weights=reward, minlength=actions)
    expected = np.bincount(action, minlength=actions) * overall
    strength = _strength(seen, expected) if prior is None else prior
    by_action = (seen + strength) / (expected + strength)
    cell = context * actions + action
    seen = np.bincount(cell, weights=reward, minlength=contexts * actions)
    expected = np.bincount(cell, minlength=contexts * actions) * overall * np.tile(by_action, contexts)
    strength = _strength(seen, expected) if prior is None else prior
    relative = (seen + strength) / (expected + strength)
    return np.minimum(overall * (np.tile(by_action, contexts) * relative).reshape(shape), 1.0)


def cross_fitted(
    context: np.ndarray, action: np.ndarray, reward: np.ndarray, policy: np.ndarray, *, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rates that have not seen a row: of its action, and of ``policy`` (contexts, actions) in its context."""
    fold = np.random.default_rng(seed).permutation(len(reward)) % folds
    logged, ahead = np.empty(len(reward)), np.empty(len(reward))
    for left_out in range(folds):
        seen, rows = fold != left_out, fold == left_out
        rates = smoothed_rates(context[seen], action[seen], reward[seen], policy.shape)
        logged[rows] = rates[context[rows], action[rows]]
        ahead[rows] = (policy * rates).sum(axis=1)[context[rows]]
    return logged, ahead


def softmax_policy(rates: np.ndarray, *, sharpness: float = 2.0, exploration: float = 0.1) -> np.ndarray:
    """Chances of each action by context: in proportion to rate ** sharpness, with a share of pure chance kept.

    The share keeps every action's propensity above 0, so that the policy's own log can be evaluated later.
    """
    logits = sharpness * np.log(rates)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (1 - exploration) * odds / odds.sum(axis=1, keepdims=True) + exploration / rates.shape[1]


def _strength(seen: np.ndarray, expected: np.ndarray) -> float:
    """1 / the variance of relative rates between groups, by the method of moments."""
    total = float((expected**2).sum())
    variance = float(((seen - expected) ** 2 - expected).sum()) / total if total > 0 else 0.0
    return min(_STRONGEST, 1 / variance) if variance > 0 else _STRONGEST
