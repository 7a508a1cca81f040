"""Customer clusters: who behaves alike, in groups that carry a readable name.

K-means on the configured columns, logarithms of the skewed ones, scaled. The number of clusters is the largest
that is well separated, stable and without crumbs (:mod:`ml.clustering.choose`); names come from what sets each
cluster apart (:mod:`ml.clustering.labels`). Only customers with an order are clustered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import silhouette_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler
from threadpoolctl import threadpool_limits

from ml import files, skops_files
from ml.clustering.choose import Bars, Candidate, choose, measure
from ml.clustering.labels import Profile, name_clusters
from ml.errors import FeatureError
from ml.spec import Frames, Metrics, ModelSettings, ModelSpec, Trained

EVERYBODY = "All customers"
NOT_INPUTS = ("customer_id", "as_of")


class Settings(ModelSettings):
    """Settings of the model; its inputs are the columns that ``models.yml`` lists under ``features``."""

    logarithm: tuple[str, ...] = Field(default=(), description="skewed columns: log(1 + x), below 0 counts as 0")
    scaling: Literal["standard", "robust"] = "robust"
    smallest: int = Field(default=3, ge=2, description="fewest clusters to try")
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


@dataclass(frozen=True)
class Clusters:
    """The fitted pipeline, its input columns in order, and a name for each cluster."""

    pipeline: Pipeline
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    profiles: tuple[Mapping[str, float], ...]


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Cluster the customers of ``customer_features`` who have ordered.

    Deterministic: rows are taken in the order of ``customer_id``, chance comes from ``seed``, and one thread
    adds up (several would do so in any order). Clusters are numbered from the best spenders down.
    """
    del as_of
    buyers = _buyers(frames["customer_features"])
    inputs = tuple(column for column in buyers.columns if column not in NOT_INPUTS)
    strangers = [column for column in settings.logarithm if column not in inputs]
    if strangers:
        raise FeatureError(
            f"customer_clusters.settings.logarithm: {strangers[0]} is no input; the inputs are {', '.join(inputs)}"
        )
    with threadpool_limits(limits=1):
        return _train(buyers, inputs, settings, seed)


def _train(buyers: pd.DataFrame, inputs: tuple[str, ...], settings: Settings, seed: int) -> Trained:
    data = buyers[list(inputs)].astype(float)
    metrics: Metrics = {"customers": len(buyers)}
    preparation = _preparation(inputs, settings)
    enough = len(buyers) >= settings.minimum_customers and len(data.drop_duplicates()) > 2 * settings.largest
    if not enough:
        reason = f"one cluster: {len(buyers)} customers with an order, {settings.minimum_customers} are needed"
        if len(buyers) >= settings.minimum_customers:
            reason = "one cluster: the customers hardly differ in the inputs"
        data = data if len(data) else pd.DataFrame([[0.0] * len(inputs)], columns=list(inputs))
        pipeline = _pipeline(preparation, 1, seed).fit(data)
        metrics |= {"clusters": 1, "silhouette": None, "stability": None, "smallest_share": 1.0, "fallback": reason}
        _forget_rows(pipeline)
        return Trained(Clusters(pipeline, inputs, (EVERYBODY,), ({},)), metrics)

    points = preparation.fit_transform(data)
    picked = points
    if len(points) > settings.sample:
        chosen = np.random.default_rng(seed).choice(len(points), settings.sample, replace=False)
        picked = points[np.sort(chosen)]
    candidates = [measure(picked, clusters, seed=seed) for clusters in range(settings.smallest, settings.largest + 1)]
    bars = Bars(settings.minimum_silhouette, settings.minimum_stability, settings.minimum_share)
    best, reason = choose(candidates, bars)
    pipeline = _pipeline(preparation, best.clusters, seed).fit(data)
    spread = (points - points.mean(axis=0)) / np.where(points.std(axis=0) > 0, points.std(axis=0), 1.0)
    profiles = _sort_and_profile(pipeline, points, spread, inputs, buyers["frequency"].to_numpy())
    labels = name_clusters(profiles)
    shares = np.bincount(pipeline.predict(data), minlength=best.clusters) / len(data)
    metrics |= {
        "clusters": best.clusters,
        "silhouette": best.silhouette,
        "stability": best.stability,
        "smallest_share": float(shares.min()),
        "fallback": reason,
        "labels": ", ".join(f"{label} {share:.0%}" for label, share in zip(labels, shares, strict=True)),
        **_curve(candidates),
    }
    _forget_rows(pipeline)
    z = tuple({name: round(float(value), 6) for name, value in profile.z.items()} for profile in profiles)
    return Trained(Clusters(pipeline, inputs, tuple(labels), z), metrics)


def evaluate(fitted: Clusters, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version's clusters, as they are, separate today's customers."""
    del as_of
    buyers = _buyers(frames["customer_features"])
    metrics: Metrics = {"customers": len(buyers), "clusters": len(fitted.labels)}
    if len(fitted.labels) == 1 or len(buyers) < 3:
        return {**metrics, "silhouette": None, "smallest_share": None}
    points, labels, _ = _assign(fitted, buyers)
    if len(points) > 10_000:
        chosen = np.sort(np.random.default_rng(0).choice(len(points), 10_000, replace=False))
        points, labels = points[chosen], labels[chosen]
    sizes = np.bincount(labels, minlength=len(fitted.labels))
    several = 1 < np.count_nonzero(sizes) < len(labels)
    return {
        **metrics,
        "silhouette": float(silhouette_score(points, labels)) if several else None,
        "smallest_share": float(sizes.min() / len(labels)),
    }


def score(fitted: Clusters, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """One row per customer with an order; ``tier`` is the cluster's name, ``score`` the membership confidence.

    Confidence is 1 - d1 / d2, of the distances to the own and to the next centroid: 1 at the centroid, 0 half
    way to the next one (the simplified silhouette).
    """
    del as_of
    buyers = _buyers(frames["customer_features"])
    if buyers.empty:
        return pd.DataFrame({"customer_id": buyers["customer_id"], "score": [], "tier": []})
    _, labels, confidence = _assign(fitted, buyers)
    return pd.DataFrame(
        {
            "customer_id": buyers["customer_id"].to_numpy(),
            "score": np.round(confidence, 6),
            "tier": np.array(fitted.labels, dtype=object)[labels],
        }
    )


def dump(fitted: Clusters) -> dict[str, bytes]:
    """The whole pipeline, and what is known of its clusters."""
    about = {"inputs": fitted.inputs, "labels": fitted.labels, "profiles": [dict(z) for z in fitted.profiles]}
    return {"pipeline.skops": skops_files.dump(fitted.pipeline), "clusters.json": files.json_bytes(about)}


def load(artefact: Mapping[str, bytes]) -> Clusters:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["clusters.json"])
    return Clusters(
        skops_files.load(artefact["pipeline.skops"]),
        tuple(about["inputs"]),
        tuple(about["labels"]),
        tuple(about["profiles"]),
    )


def _buyers(features: pd.DataFrame) -> pd.DataFrame:
    buyers = features[features["frequency"].fillna(0) >= 1]
    return buyers.sort_values("customer_id", kind="stable").reset_index(drop=True)


def _preparation(inputs: tuple[str, ...], settings: Settings) -> ColumnTransformer:
    """Missing values become the median, skewed columns their logarithm, and all get one scale."""

    def scaled(*steps: tuple[str, object]) -> Pipeline:
        scaler = RobustScaler() if settings.scaling == "robust" else StandardScaler()
        impute = SimpleImputer(strategy="median", keep_empty_features=True)
        return Pipeline([("impute", impute), *steps, ("scale", scaler)])

    skewed = [column for column in inputs if column in settings.logarithm]
    plain = [column for column in inputs if column not in settings.logarithm]
    clip = FunctionTransformer(np.clip, kw_args={"a_min": 0.0, "a_max": None}, feature_names_out="one-to-one")
    logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    parts = [("skewed", scaled(("clip", clip), ("log", logarithm)), skewed), ("plain", scaled(), plain)]
    return ColumnTransformer([part for part in parts if part[2]], verbose_feature_names_out=False)


def _pipeline(preparation: ColumnTransformer, clusters: int, seed: int) -> Pipeline:
    return Pipeline([("prepare", preparation), ("cluster", KMeans(clusters, n_init=10, random_state=seed))])


def _sort_and_profile(
    pipeline: Pipeline, points: np.ndarray, spread: np.ndarray, inputs: tuple[str, ...], frequency: np.ndarray
) -> list[Profile]:
    """Number the clusters from the best spenders down, and describe each."""
    kmeans = pipeline["cluster"]
    names = [str(name) for name in pipeline["prepare"].get_feature_names_out()]
    assigned = kmeans.predict(points)
    means = np.array([spread[assigned == cluster].mean(axis=0) for cluster in range(kmeans.n_clusters)])
    first = names.index("monetary") if "monetary" in names else 0
    order = sorted(range(len(means)), key=lambda cluster: (-means[cluster][first], *means[cluster]))
    kmeans.cluster_centers_ = np.ascontiguousarray(kmeans.cluster_centers_[order])
    return [
        Profile(
            z={name: float(means[cluster][names.index(name)]) for name in inputs},
            is_one_time=bool((frequency[assigned == cluster] == 1).mean() >= 0.75),
        )
        for cluster in order
    ]


def _forget_rows(pipeline: Pipeline) -> None:
    """K-means keeps the label of every training row; an artefact holds nothing about single customers."""
    pipeline["cluster"].labels_ = np.empty(0, dtype=np.int32)


def _assign(fitted: Clusters, buyers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled points, cluster numbers and confidences."""
    missing = [column for column in fitted.inputs if column not in buyers.columns]
    if missing:
        raise FeatureError(
            f"customer_clusters: this version reads {missing[0]}, which the frame does not have;"
            " add it to `features` in models.yml again, or train a new version"
        )
    with threadpool_limits(limits=1):
        points = fitted.pipeline["prepare"].transform(buyers[list(fitted.inputs)].astype(float))
        distances = fitted.pipeline["cluster"].transform(points)
    labels = distances.argmin(axis=1)
    if distances.shape[1] == 1:
        return points, labels, np.ones(len(labels))
    nearest = np.sort(distances, axis=1)[:, :2]
    confidence = 1 - nearest[:, 0] / np.where(nearest[:, 1] > 0, nearest[:, 1], 1.0)
    return points, labels, confidence


def _curve(candidates: list[Candidate]) -> Metrics:
    """The figures of every number of clusters that was tried."""
    curve: Metrics = {}
    for tried in candidates:
        curve[f"silhouette_{tried.clusters}"] = tried.silhouette
        curve[f"stability_{tried.clusters}"] = tried.stability
        curve[f"smallest_share_{tried.clusters}"] = tried.share
    return curve


MODEL = ModelSpec(
    name="customer_clusters",
    features={"customer_features": ("customer_id", "frequency")},
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
)
