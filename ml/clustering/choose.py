"""How many clusters: as many as are well separated, come back on half of the data, and are not too small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score


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
    disjoint halves, between the labels that either half's clusters give to everybody, and ``share`` the part
    of the customers in the smallest cluster.
    """

    clusters: int
    silhouette: float
    stability: float
    share: float

    def passes(self, bars: Bars) -> bool:
        """Whether it reaches every bar."""
        return self.silhouette >= bars.silhouette and self.stability >= bars.stability and self.share >= bars.share


def measure(points: np.ndarray, clusters: int, *, seed: int, splits: int = 10, starts: int = 5) -> Candidate:
    """Cluster points (one row each, already scaled) and measure the result; equal arguments, equal answer."""
    model = KMeans(clusters, n_init=2 * starts, random_state=seed).fit(points)
    chance = np.random.default_rng([seed, clusters])
    agreement = []
    for split in range(splits):
        order = chance.permutation(len(points))
        half = len(points) // 2
        one, other = (
            KMeans(clusters, n_init=starts, random_state=seed + split).fit(points[part]).predict(points)
            for part in (order[:half], order[half:])
        )
        agreement.append(adjusted_rand_score(one, other))
    sizes = np.bincount(model.labels_, minlength=clusters)
    return Candidate(
        clusters=clusters,
        silhouette=float(silhouette_score(points, model.labels_)),
        stability=float(np.mean(agreement)),
        share=float(sizes.min() / len(points)),
    )


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
