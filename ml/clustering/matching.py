"""Which of this month's clusters are last month's: an optimal assignment between their centroids."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def match(centroids: np.ndarray, previous: np.ndarray) -> dict[int, int]:
    """New cluster → the previous cluster that it continues; both (clusters, columns) in one scaled space.

    A pair may be while no other previous centroid is closer to the new one, and this one is no further than its own
    next neighbour was. Of all assignments with the most such pairs it is the one with the least sum of distances
    (Kuhn 1955).
    """
    apart = cdist(previous, previous)
    np.fill_diagonal(apart, np.inf)
    distances = cdist(centroids, previous)
    may_be = (distances <= apart.min(axis=1)) & (distances <= distances.min(axis=1, keepdims=True))
    # No sum of distances that may be is worth as much as one pair less.
    cost = np.where(may_be, distances, 1 + distances[may_be].sum())
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return {int(new): int(old) for new, old in pairs if may_be[new, old]}
