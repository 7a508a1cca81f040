"""Customer clusters: who behaves alike, in groups that carry a readable name and keep it from month to month.

The configured columns, logarithms of the skewed ones, scaled, are grouped (:mod:`ml.clustering.algorithms`). The
number of clusters is the largest that is well separated, stable and without crumbs (:mod:`ml.clustering.choose`).
Clusters that continue those of the version before keep number and name (:mod:`ml.clustering.matching`); other
names come from what sets a cluster apart (:mod:`ml.clustering.labels`). Only customers with an order are clustered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from sklearn.compose import ColumnTransformer
from threadpoolctl import threadpool_limits

from ml.clustering import reasons
from ml.clustering.algorithms import ALGORITHMS, FIND_THEIR_NUMBER, Algorithm, nearest, refine, sample
from ml.clustering.choose import Bars, choose, curves, measure, silhouette
from ml.clustering.fitted import Clusters, buyers_of, distances, dump, load, preparation, typical
from ml.clustering.labels import Profile, name_clusters
from ml.clustering.matching import match
from ml.errors import FeatureError
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Scores, Trained

EVERYBODY = "All customers"
NOT_INPUTS = ("customer_id", "as_of")
FEWEST_DRAWN = 2
"""The curves begin with two clusters, whatever the fewest is that may be chosen."""


class Settings(ModelSettings):
    """Settings of the model; its inputs are the columns that ``models.yml`` lists under ``features``."""

    algorithm: Algorithm = "kmeans"
    compare: bool = Field(default=True, description="measure the other algorithms on the same sample too")
    compare_sample: int = Field(default=2_000, ge=200, le=5_000, description="customers for that comparison")
    logarithm: tuple[str, ...] = Field(default=(), description="skewed columns: log(1 + x), below 0 counts as 0")
    scaling: Literal["standard", "robust"] = "robust"
    smallest: int = Field(default=3, ge=2, description="fewest clusters to choose")
    largest: int = Field(default=8, ge=2, le=20, description="most clusters to try")
    minimum_silhouette: float = 0.30
    minimum_stability: float = 0.80
    minimum_share: float = 0.04
    minimum_customers: int = Field(default=100, ge=20, description="with fewer there is one cluster: everybody")
    sample: int = Field(default=10_000, ge=1_000, description="customers on whom the number of clusters is chosen")

    @model_validator(mode="after")
    def in_order(self) -> Settings:
        """There is at least one number of clusters to try."""
        if self.smallest > self.largest:
            raise ValueError("smallest must not be above largest")
        return self


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int, previous: Clusters | None = None) -> Trained:
    """Cluster the customers of ``customer_features`` who have ordered.

    Deterministic: rows are taken in the order of ``customer_id``, chance comes from ``seed``, and one thread
    adds up (several would do so in any order). Clusters are numbered from the best spenders down; those that
    continue one of ``previous``, the version that served until now, keep its number, and its name while it is true.
    """
    del as_of
    buyers = buyers_of(frames["customer_features"])
    inputs = tuple(column for column in buyers.columns if column not in NOT_INPUTS)
    strangers = [column for column in settings.logarithm if column not in inputs]
    if strangers:
        raise FeatureError(
            f"customer_clusters.settings.logarithm: {strangers[0]} is no input; the inputs are {', '.join(inputs)}"
        )
    data = buyers[list(inputs)].astype(float)
    reason = None
    if len(buyers) < settings.minimum_customers:
        reason = f"one cluster: {len(buyers)} customers with an order, {settings.minimum_customers} are needed"
    elif len(data.drop_duplicates()) <= 2 * settings.largest:
        reason = "one cluster: the customers hardly differ in the inputs"
    with threadpool_limits(limits=1):
        if reason is not None:
            return _one_cluster(data, settings, previous, reason)
        return _train(buyers, data, settings, seed, previous)


def _one_cluster(data: pd.DataFrame, settings: Settings, previous: Clusters | None, reason: str) -> Trained:
    """Everybody is number 0; the numbers of the clusters before are not given again."""
    metrics: Metrics = {
        "customers": len(data),
        "clusters": 1,
        "silhouette": None,
        "stability": None,
        "smallest_share": 1.0,
        "fallback": reason,
    }
    inputs = tuple(data.columns)
    prepared = preparation(inputs, settings.logarithm, settings.scaling)
    points = prepared.fit_transform(data if len(data) else pd.DataFrame([[0.0] * len(inputs)], columns=inputs))
    middle = points.mean(axis=0)
    even = dict.fromkeys(inputs, 1 / len(inputs))
    fresh = previous.next_number if previous else 1
    fitted = Clusters(prepared, inputs, middle[None], middle, (EVERYBODY,), (0,), fresh, ({},), {}, even)
    return Trained(fitted, metrics)


def _train(
    buyers: pd.DataFrame, data: pd.DataFrame, settings: Settings, seed: int, previous: Clusters | None
) -> Trained:
    inputs = tuple(data.columns)
    prepared = preparation(inputs, settings.logarithm, settings.scaling)
    points = prepared.fit_transform(data)
    picked = sample(points, settings.sample, seed)
    tried = [1] if settings.algorithm in FIND_THEIR_NUMBER else range(FEWEST_DRAWN, settings.largest + 1)
    measured = [measure(picked, clusters, seed=seed, algorithm=settings.algorithm) for clusters in tried]
    candidates = [candidate for candidate, _ in measured]
    eligible = [candidate for candidate in candidates if candidate.clusters >= settings.smallest] or candidates
    bars = Bars(settings.minimum_silhouette, settings.minimum_stability, settings.minimum_share)
    best, reason = choose(eligible, bars)
    if best.clusters == 1:
        return _one_cluster(data, settings, previous, f"one cluster: {settings.algorithm} finds no more")
    centroids = measured[candidates.index(best)][1]
    if settings.algorithm == "kmeans":
        centroids = refine(points, centroids)
    metrics: Metrics = {
        "customers": len(buyers),
        "algorithm": settings.algorithm,
        "clusters": best.clusters,
        "clusters_silhouette_alone": max(candidates, key=lambda one: one.silhouette).clusters,
        "silhouette": best.silhouette,
        "stability": best.stability,
        "fallback": reason,
    }
    names = [str(name) for name in prepared.get_feature_names_out()]
    centroids = centroids[_order(centroids, names)]
    labels = nearest(points, centroids)
    profiles = _profiles(points, labels, len(centroids), data, names)
    numbers, called, continued = _continue(centroids, profiles, prepared, inputs, previous)
    order = np.argsort(numbers)
    sizes = np.bincount(labels, minlength=len(centroids))
    between = (sizes[:, None] * (centroids - points.mean(axis=0)) ** 2).sum(axis=0)
    shares = between / between.sum()
    fitted = Clusters(
        preparation=prepared,
        inputs=inputs,
        centroids=centroids[order],
        middle=points.mean(axis=0),
        labels=tuple(called[index] for index in order),
        numbers=tuple(int(numbers[index]) for index in order),
        next_number=max(int(numbers.max()) + 1, previous.next_number if previous else 1),
        profiles=tuple({name: round(value, 6) for name, value in profiles[index].z.items()} for index in order),
        quantiles=reasons.quantiles(data),
        importance={name: float(shares[names.index(name)]) for name in inputs},
    )
    metrics |= {
        "smallest_share": float(sizes.min() / len(data)),
        "labels": ", ".join(f"{called[index]} {sizes[index] / len(data):.0%}" for index in order),
        "continued": continued,
    }
    for candidate in candidates:
        for figure in ("silhouette", "stability", "share", "inertia"):
            name = "smallest_share" if figure == "share" else figure
            metrics[f"{name}_{candidate.clusters}"] = getattr(candidate, figure)
    if settings.compare:
        metrics |= _comparison(points, best.clusters, settings, seed)
    return Trained(fitted, metrics, curves=curves(candidates))


def _continue(
    centroids: np.ndarray,
    profiles: list[Profile],
    prepared: ColumnTransformer,
    inputs: tuple[str, ...],
    previous: Clusters | None,
) -> tuple[np.ndarray, list[str], int | None]:
    """A number and a name for each cluster, and how many continue one of the previous version; None without one.

    The previous centroids go back to the inputs' own units and through today's scales, so that both are in one
    space. Inputs that only one of the versions has do not count.
    """
    fresh = previous.next_number if previous else 1
    numbers = np.arange(fresh, fresh + len(centroids))
    if previous is None or len(previous.labels) == 1:
        return numbers, name_clusters(profiles), None if previous is None else 0
    before = typical(previous).reindex(columns=list(inputs))
    common = [name in previous.inputs for name in prepared.get_feature_names_out()]
    pairs = match(centroids[:, common], prepared.transform(before)[:, common]) if any(common) else {}
    for new in range(len(centroids)):
        numbers[new] = previous.numbers[pairs[new]] if new in pairs else fresh
        fresh += new not in pairs
    return numbers, name_clusters(profiles, {new: previous.labels[old] for new, old in pairs.items()}), len(pairs)


def _comparison(points: np.ndarray, clusters: int, settings: Settings, seed: int) -> Metrics:
    """Every algorithm on one and the same sample of the customers; those that need a number get the chosen one."""
    picked = sample(points, settings.compare_sample, seed)
    found: Metrics = {"comparison_customers": len(picked)}
    for algorithm in ALGORITHMS:
        one, _ = measure(picked, clusters, seed=seed, algorithm=algorithm)
        for figure in ("clusters", "silhouette", "stability", "share", "noise"):
            name = "smallest_share" if figure == "share" else figure
            found[f"comparison_{algorithm}_{name}"] = getattr(one, figure)
    return found


def evaluate(fitted: Clusters, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version's clusters, as they are, separate today's customers."""
    del as_of
    buyers = buyers_of(frames["customer_features"])
    metrics: Metrics = {"customers": len(buyers), "clusters": len(fitted.labels)}
    if len(fitted.labels) == 1 or len(buyers) < 3:
        return {**metrics, "silhouette": None, "smallest_share": None}
    points, away = distances(fitted, buyers)
    labels = away.argmin(axis=1)
    sizes = np.bincount(labels, minlength=len(fitted.labels))
    several = 1 < np.count_nonzero(sizes) < len(labels)
    return {
        **metrics,
        "silhouette": silhouette(points, labels, seed=0) if several else None,
        "smallest_share": float(sizes.min() / len(labels)),
    }


def score(fitted: Clusters, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer with an order; ``tier`` is the cluster's name, ``score`` the membership confidence.

    Confidence is 1 - d1 / d2, of the distances to the own and to the next centroid: 1 at the centroid, 0 half
    way to the next one (the simplified silhouette). Details: ``cluster``, its number, and ``distance`` to its
    centroid in scaled units.
    """
    del as_of
    buyers = buyers_of(frames["customer_features"])
    points, away = distances(fitted, buyers)
    labels = away.argmin(axis=1)
    closest = np.sort(away, axis=1)
    confidence = np.ones(len(labels))
    if away.shape[1] > 1:
        confidence -= closest[:, 0] / np.where(closest[:, 1] > 0, closest[:, 1], 1.0)
    scaled = [str(name) for name in fitted.preparation.get_feature_names_out()]
    pull = (points - fitted.middle) * (fitted.centroids[labels] - fitted.middle)
    rows = pd.DataFrame(
        {
            "customer_id": buyers["customer_id"].to_numpy(),
            "score": np.round(confidence, 6),
            "tier": np.array(fitted.labels, dtype=object)[labels],
            "reasons": pd.Series(reasons.explain(buyers[scaled], pull, fitted.quantiles, scaled), dtype="str"),
            "cluster": np.array(fitted.numbers, dtype=np.int64)[labels],
            "distance": np.round(closest[:, 0], 6),
        }
    )
    return Scores(rows)


def inputs(fitted: Clusters, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What the model reads of each customer with an order."""
    del as_of
    return buyers_of(frames["customer_features"])[["customer_id", *fitted.inputs]]


def importance(fitted: Clusters) -> Mapping[str, float]:
    """Input → its share of the variance between the clusters, in scaled units."""
    return fitted.importance


def _order(centroids: np.ndarray, names: list[str]) -> list[int]:
    """From the best spenders down."""
    first = names.index("monetary") if "monetary" in names else 0
    return sorted(range(len(centroids)), key=lambda cluster: (-centroids[cluster][first], *centroids[cluster]))


def _profiles(
    points: np.ndarray, labels: np.ndarray, clusters: int, data: pd.DataFrame, names: list[str]
) -> list[Profile]:
    """What is known of each cluster, in standard deviations from everybody."""
    deviation = np.where(points.std(axis=0) > 0, points.std(axis=0), 1.0)
    spread = (points - points.mean(axis=0)) / deviation
    profiles = []
    for cluster in range(clusters):
        mine = labels == cluster
        means = spread[mine].mean(axis=0) if mine.any() else np.zeros(len(names))
        once = bool(mine.any() and (data["frequency"][mine] == 1).mean() >= 0.75)
        profiles.append(Profile(z={name: float(means[names.index(name)]) for name in data.columns}, is_one_time=once))
    return profiles


MODEL = ModelSpec(
    name="customer_clusters",
    features={"customer_features": ("customer_id", "frequency")},
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    inputs=inputs,
    importance=importance,
    continues=True,
)
