"""How many clusters: as many as are well separated, come back on half of the data, and are not too small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, silhouette_score

from ml.clustering.algorithms import Algorithm, group, nearest, sample
from ml.spec import Curve

SILHOUETTE_SAMPLE = 5_000
"""The silhouette compares every point with every other; on this many its standard error is below .005."""


@dataclass(frozen=True)
class Bars:
    """What a number of clusters has to reach."""

    silhouette: float
    stability: float
    share: float


@dataclass(frozen=True)
class Candidate:
    """One number of clusters and how it did.

    ``silhouette`` is the mean silhouette, ``stability`` the mean adjusted Rand index, over random splits in two
    disjoint halves, between the labels that either half's clusters give to everybody, ``share`` the part of the
    customers in the smallest cluster, ``inertia`` the mean squared distance to the centroid, and ``noise`` the
    part that a density-based algorithm leaves out.
    """

    clusters: int
    silhouette: float
    stability: float
    share: float
    inertia: float = 0.0
    noise: float = 0.0

    def passes(self, bars: Bars) -> bool:
        """Whether it reaches every bar."""
        return self.silhouette >= bars.silhouette and self.stability >= bars.stability and self.share >= bars.share


def measure(
    points: np.ndarray,
    clusters: int,
    *,
    seed: int,
    algorithm: Algorithm = "kmeans",
    splits: int = 10,
    starts: int = 5,
) -> tuple[Candidate, np.ndarray]:
    """Cluster points (one row each, already scaled) and measure the result; equal arguments, equal answer.

    Also returns the centroids, (clusters, columns). Every point counts, with the cluster of its nearest centroid.
    """
    found = group(points, algorithm, clusters, seed=seed, starts=2 * starts)
    chance = np.random.default_rng([seed, clusters])
    agreement = []
    for split in range(splits):
        order = chance.permutation(len(points))
        half = len(points) // 2
        one, other = (
            nearest(points, group(points[part], algorithm, clusters, seed=seed + split, starts=starts).centroids)
            for part in (order[:half], order[half:])
        )
        agreement.append(adjusted_rand_score(one, other))
    distances = cdist(points, found.centroids)
    labels = distances.argmin(axis=1)
    sizes = np.bincount(labels, minlength=len(found.centroids))
    candidate = Candidate(
        clusters=len(found.centroids),
        silhouette=silhouette(points, labels, seed),
        stability=float(np.mean(agreement)),
        share=float(sizes.min() / len(points)),
        inertia=float((distances.min(axis=1) ** 2).mean()),
        noise=found.noise,
    )
    return candidate, found.centroids


def silhouette(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """The mean silhouette of a sample; 0 where there is one cluster only."""
    together = sample(np.column_stack([points, labels]), SILHOUETTE_SAMPLE, seed)
    points, labels = together[:, :-1], together[:, -1]
    found = len(np.unique(labels))
    return float(silhouette_score(points, labels)) if 1 < found < len(labels) else 0.0


def choose(candidates: list[Candidate], bars: Bars) -> tuple[Candidate, str | None]:
    """The largest number of clusters that passes, and None; else the fallback and the reason for it.

    The fallback is the highest product of silhouette and stability, among those without a too small cluster
    where there are any: the best that the data gives, and said to be less than what was asked for.
    """
    passing = [candidate for candidate in candidates if candidate.passes(bars)]
    if passing:
        return max(passing, key=lambda candidate: candidate.clusters), None
    pool = [candidate for candidate in candidates if candidate.share >= bars.share] or candidates
    best = max(pool, key=lambda candidate: (candidate.silhouette * candidate.stability, -candidate.clusters))
    return best, (
        f"no number of clusters reaches silhouette {bars.silhouette:g}, stability {bars.stability:g} and share"
        f" {bars.share:g}; {best.clusters} has the highest silhouette x stability"
    )


def curves(candidates: Sequence[Candidate]) -> dict[str, Curve]:
    """What a model card draws of the numbers of clusters that were tried: elbow, silhouette and stability."""
    drawn = {
        "elbow": ("Elbow", "mean squared distance to the centroid", "inertia"),
        "silhouette": ("Silhouette", "mean silhouette", "silhouette"),
        "stability": ("Stability", "adjusted Rand index between halves", "stability"),
    }
    return {
        name: Curve(
            title=f"{title} by number of clusters",
            x_label="clusters",
            y_label=y_label,
            lines={y_label: [(float(tried.clusters), float(getattr(tried, figure))) for tried in candidates]},
        )
        for name, (title, y_label, figure) in drawn.items()
    }
