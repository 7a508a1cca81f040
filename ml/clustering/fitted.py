"""Fitted clusters: how a customer's inputs become scaled points, where the centroids are, and how both are kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler
from threadpoolctl import threadpool_limits

from ml import files, skops_files
from ml.errors import FeatureError


@dataclass(frozen=True)
class Clusters:
    """What was fitted; lists and rows of ``centroids`` go by cluster, in the order of ``numbers``.

    * ``preparation``: the fitted transformer from ``inputs``, in order, to scaled columns.
    * ``centroids``: (clusters, scaled columns); ``middle``: the mean of all customers there.
    * ``numbers``: a cluster's number, kept from version to version; ``next_number``: the first never used.
    * ``profiles``: mean z-scores by input; ``quantiles``: of all customers, by input (:mod:`ml.clustering.reasons`).
    * ``importance``: input → share of the variance between the clusters.
    """

    preparation: ColumnTransformer
    inputs: tuple[str, ...]
    centroids: np.ndarray
    middle: np.ndarray
    labels: tuple[str, ...]
    numbers: tuple[int, ...]
    next_number: int
    profiles: tuple[Mapping[str, float], ...]
    quantiles: Mapping[str, tuple[float, ...]]
    importance: Mapping[str, float]


def typical(fitted: Clusters) -> pd.DataFrame:
    """The inputs that a customer at each centroid would have, in their own units: one row per cluster."""
    columns, start = {}, 0
    for _, steps, names in fitted.preparation.transformers_:
        scaled = fitted.centroids[:, start : start + len(names)]
        start += len(names)
        values = steps["scale"].inverse_transform(scaled)
        columns |= dict(zip(names, (np.expm1(values) if "log" in steps.named_steps else values).T, strict=True))
    return pd.DataFrame(columns)[list(fitted.inputs)]


def buyers_of(features: pd.DataFrame) -> pd.DataFrame:
    """The customers with an order, by customer id."""
    buyers = features[features["frequency"].fillna(0) >= 1]
    return buyers.sort_values("customer_id", kind="stable").reset_index(drop=True)


def preparation(inputs: tuple[str, ...], logarithm: Collection[str], scaling: str) -> ColumnTransformer:
    """Missing values become the median, skewed columns their logarithm, and all get one scale."""

    def scaled(*steps: tuple[str, object]) -> Pipeline:
        scaler = RobustScaler() if scaling == "robust" else StandardScaler()
        impute = SimpleImputer(strategy="median", keep_empty_features=True)
        return Pipeline([("impute", impute), *steps, ("scale", scaler)])

    skewed = [column for column in inputs if column in logarithm]
    plain = [column for column in inputs if column not in logarithm]
    clip = FunctionTransformer(np.clip, kw_args={"a_min": 0.0, "a_max": None}, feature_names_out="one-to-one")
    logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    parts = [("skewed", scaled(("clip", clip), ("log", logarithm)), skewed), ("plain", scaled(), plain)]
    return ColumnTransformer([part for part in parts if part[2]], verbose_feature_names_out=False)


def distances(fitted: Clusters, buyers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Scaled points, and (customers, clusters) distances to the centroids."""
    missing = [column for column in fitted.inputs if column not in buyers.columns]
    if missing:
        raise FeatureError(
            f"customer_clusters: this version reads {missing[0]}, which the frame does not have;"
            " add it to `features` in models.yml again, or train a new version"
        )
    if buyers.empty:
        return np.empty((0, fitted.centroids.shape[1])), np.empty((0, len(fitted.centroids)))
    with threadpool_limits(limits=1):
        points = fitted.preparation.transform(buyers[list(fitted.inputs)].astype(float))
    return points, cdist(points, fitted.centroids)


def dump(fitted: Clusters) -> dict[str, bytes]:
    """The preparation, and the clusters as JSON."""
    about = {name: value for name, value in vars(fitted).items() if name != "preparation"}
    about |= {name: about[name].tolist() for name in ("centroids", "middle")}
    about["profiles"] = [dict(z) for z in fitted.profiles]
    return {"preparation.skops": skops_files.dump(fitted.preparation), "clusters.json": files.json_bytes(about)}


def load(artefact: Mapping[str, bytes]) -> Clusters:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["clusters.json"])
    about |= {name: np.array(about[name]) for name in ("centroids", "middle")}
    about |= {name: tuple(about[name]) for name in ("inputs", "labels", "numbers", "profiles")}
    about["quantiles"] = {name: tuple(levels) for name, levels in about["quantiles"].items()}
    return Clusters(skops_files.load(artefact["preparation.skops"]), **about)
