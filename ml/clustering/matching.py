"""Which of this month's clusters are last month's: an optimal assignment between their centroids."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def match(centroids: np.ndarray, previous: np.ndarray) -> dict[int, int]:
    """New cluster → the previous cluster that it continues; both (clusters, columns) in one scaled space.

    The assignment has the least sum of distances (Kuhn 1955). A pair counts only while the new centroid lies
    within half the distance from the previous one to its next neighbour: closer to it than to any other, whatever
    the direction. A row of NaN in ``previous`` is a cluster that nobody belongs to any more; it is continued by none.
    """
    living = np.flatnonzero(np.isfinite(previous).all(axis=1))
    if not len(living):
        return {}
    apart = cdist(previous[living], previous[living])
    np.fill_diagonal(apart, np.inf)
    reach = apart.min(axis=1) / 2
    distances = cdist(centroids, previous[living])
    pairs = zip(*linear_sum_assignment(distances), strict=True)
    return {int(new): int(living[old]) for new, old in pairs if distances[new, old] <= reach[old]}
