"""The second stage: gradient-boosted trees that order a customer's candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.recommendations.candidates import FEATURES

if TYPE_CHECKING:
    import xgboost

TREES = {
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 3,
    "learning_rate": 0.06,
    "min_child_weight": 20,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "nthread": 1,
}
ROUNDS = 150
NEW_ITEM_TREES = 3
"""Trees that each round of the new items' booster averages: few new items are bought, and one tree is noisy."""

MINIMUM_HITS = 100
"""With fewer candidates that were bought, of own or of new items, no ranker is learned."""


@dataclass(frozen=True)
class Examples:
    """Candidates of one snapshot and what became of them: ``group`` is the customer, ascending."""

    group: np.ndarray
    is_own: np.ndarray
    features: np.ndarray
    is_bought: np.ndarray


@dataclass(frozen=True)
class Ranker:
    """``order`` orders all candidates; ``own`` and ``new`` say how probable a purchase of the one kind is.

    Relevance is the mean of two standardised opinions, the order's score and the log-odds, whose ``location`` and
    ``spread`` were seen in training. A pairwise order is best where both kinds compete; the log-odds, each learned
    on its own kind, are best among new items, of which few are bought.
    """

    order: xgboost.Booster
    own: xgboost.Booster
    new: xgboost.Booster
    location: tuple[float, float]
    spread: tuple[float, float]

    def judge(self, features: np.ndarray, is_own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Relevance of each candidate, and the log-odds of a purchase, given that the customer buys at all."""
        if not len(features):
            return np.zeros(0), np.zeros(0)
        order = _margin(self.order, features)
        odds = np.empty(len(features))
        for kind, booster in ((is_own, self.own), (~is_own, self.new)):
            if kind.any():
                odds[kind] = _margin(booster, features[kind])
        opinions = [(order - self.location[0]) / self.spread[0], (odds - self.location[1]) / self.spread[1]]
        return (opinions[0] + opinions[1]) / 2, odds

    def importance(self) -> dict[str, float]:
        """Each feature's share of the gain, a mean over the three; shares add up to 1."""
        total = np.zeros(len(FEATURES))
        for booster in (self.order, self.own, self.new):
            gain = booster.get_score(importance_type="total_gain")
            values = np.array([gain.get(f"f{number}", 0.0) for number in range(len(FEATURES))])
            total += values / max(values.sum(), 1e-12)
        return dict(zip(FEATURES, (total / max(total.sum(), 1e-12)).tolist(), strict=True))

    def dump(self) -> dict[str, bytes]:
        """XGBoost's own files, one a booster."""
        boosters = {"order": self.order, "own": self.own, "new": self.new}
        return {f"{name}.ubj": bytes(booster.save_raw("ubj")) for name, booster in boosters.items()}


def load(artefact: Mapping[str, bytes], location: Sequence[float], spread: Sequence[float]) -> Ranker:
    """The inverse of :meth:`Ranker.dump`."""
    import xgboost

    boosters = [xgboost.Booster({"nthread": 1}) for _ in range(3)]
    for name, booster in zip(("order", "own", "new"), boosters, strict=True):
        booster.load_model(bytearray(artefact[f"{name}.ubj"]))
    return Ranker(*boosters, location=tuple(location), spread=tuple(spread))


def learn_ranker(snapshots: Sequence[Examples], seed: int) -> tuple[Ranker | None, str | None]:
    """Learn from the pooled examples of the snapshots; None and the reason where they say too little.

    The order is LambdaMART (Burges 2010) on NDCG, the probabilities are logistic.
    """
    if not snapshots:
        return None, "no ranker: the history is too short for a training snapshot"
    features = np.vstack([one.features for one in snapshots])
    is_own = np.concatenate([one.is_own for one in snapshots])
    label = np.concatenate([one.is_bought for one in snapshots]).astype(np.float32)
    group = np.concatenate([one.group + (number << 32) for number, one in enumerate(snapshots)])
    for kind, name in ((is_own, "own"), (~is_own, "new")):
        hits = int(label[kind].sum())
        if hits < MINIMUM_HITS:
            return None, f"no ranker: {hits} candidates among {name} items were bought, {MINIMUM_HITS} are needed"
    group = np.unique(group, return_inverse=True)[1]
    ndcg = {"objective": "rank:ndcg", "lambdarank_pair_method": "topk", "lambdarank_num_pair_per_sample": 20}
    order = _boost(features, label, ndcg, seed, group)
    logistic = {"objective": "binary:logistic"}
    own = _boost(features[is_own], label[is_own], logistic, seed)
    new = _boost(features[~is_own], label[~is_own], {**logistic, "num_parallel_tree": NEW_ITEM_TREES}, seed)
    plain = Ranker(order, own, new, (0.0, 0.0), (1.0, 1.0))
    _, odds = plain.judge(features, is_own)
    scores = _margin(order, features)
    location = (float(scores.mean()), float(odds.mean()))
    spread = (max(float(scores.std()), 1e-6), max(float(odds.std()), 1e-6))
    return Ranker(order, own, new, location, spread), None


def simple_judgement(features: np.ndarray, is_own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stands in for a ranker: own items by decayed orders, then what EASE says, then popularity.

    The log-odds are those of the share of the customer's orders that held the item, or of its popularity.
    """
    column = {name: features[:, number].astype(float) for number, name in enumerate(FEATURES)}
    relevance = column["own_decayed_orders"] + 0.1 * column["ease_share_of_best"] + 0.001 * column["popularity"]
    share = np.where(is_own, column["own_share_of_orders"] / 2, column["popularity"])
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return relevance, np.log(share / (1 - share))


def _boost(
    features: np.ndarray, label: np.ndarray, objective: Mapping[str, Any], seed: int, group: np.ndarray | None = None
) -> xgboost.Booster:
    import xgboost

    data = xgboost.QuantileDMatrix(features, label, qid=group, max_bin=TREES["max_bin"], nthread=1)
    return xgboost.train({**TREES, **objective, "seed": seed}, data, num_boost_round=ROUNDS)


def _margin(booster: xgboost.Booster, features: np.ndarray) -> np.ndarray:
    return booster.inplace_predict(features, predict_type="margin").astype(float)
