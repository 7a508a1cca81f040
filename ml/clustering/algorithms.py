"""K-means, hierarchical clustering, DBSCAN and HDBSCAN behind one interface: points in, centroids out.

Whatever the algorithm, a customer belongs to the cluster with the nearest centroid, so that everybody gets one,
newcomers too. A medoid would stay inside a bent cluster where the mean may fall outside, but it is the row of one
customer, and an artefact holds none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.neighbors import NearestNeighbors

Algorithm = Literal["kmeans", "hierarchical", "dbscan", "hdbscan"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
FIND_THEIR_NUMBER: tuple[Algorithm, ...] = ("dbscan", "hdbscan")
"""Those that say themselves how many clusters there are."""

QUADRATIC_SAMPLE = 3_000
"""All but K-means compare every point with every other: they see this many at most."""

CORE_SHARE = 0.9
"""DBSCAN's radius is the one within which this share of the points are core points."""


@dataclass(frozen=True)
class Grouping:
    """What an algorithm found: ``centroids`` (clusters, columns), and the share of points that it calls noise."""

    centroids: np.ndarray
    noise: float = 0.0


def group(
    points: np.ndarray, algorithm: Algorithm, clusters: int, *, seed: int, starts: int = 10, smallest: float = 0.04
) -> Grouping:
    """Group scaled points (one row each) into ``clusters``; equal arguments, equal answer.

    DBSCAN and HDBSCAN find their own number: HDBSCAN's clusters hold at least the share ``smallest`` (Campello,
    Moulavi and Sander 2013), DBSCAN takes twice as many neighbours as there are columns (Sander et al. 1998).
    One cluster, everybody, where they see nothing else.
    """
    if algorithm == "kmeans":
        return Grouping(KMeans(clusters, n_init=starts, random_state=seed).fit(points).cluster_centers_)
    seen = sample(points, QUADRATIC_SAMPLE, seed)
    if algorithm == "hierarchical":
        labels = AgglomerativeClustering(clusters, linkage="ward").fit_predict(seen)
    elif algorithm == "hdbscan":
        model = HDBSCAN(min_cluster_size=max(5, round(smallest * len(seen))), n_jobs=1, copy=True)
        labels = model.fit_predict(seen)
    else:
        neighbours = min(2 * seen.shape[1], len(seen))
        distances, _ = NearestNeighbors(n_neighbors=neighbours, n_jobs=1).fit(seen).kneighbors(seen)
        radius = max(float(np.quantile(distances[:, -1], CORE_SHARE)), 1e-9)
        labels = DBSCAN(eps=radius, min_samples=neighbours, n_jobs=1).fit_predict(seen)
    found = range(labels.max() + 1)
    centroids = [seen[labels == cluster].mean(axis=0) for cluster in found] or [seen.mean(axis=0)]
    return Grouping(np.array(centroids), float((labels < 0).mean()))


def refine(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """K-means' centroids of a sample, moved to where all points want them (Lloyd's algorithm from there on)."""
    return KMeans(len(centroids), init=centroids, n_init=1, random_state=0).fit(points).cluster_centers_


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The number of the nearest centroid for each point; a point's answer does not depend on the others."""
    return cdist(points, centroids).argmin(axis=1)


def sample(points: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most ``size`` of the points, in their order."""
    if len(points) <= size:
        return points
    return points[np.sort(np.random.default_rng(seed).choice(len(points), size, replace=False))]
