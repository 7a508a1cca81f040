"""What the hour of delivery makes of opens: how many are lost by how far it is from the hour at which somebody reads.

``f(d) = 1 - loss (1 - exp(k (cos(2 pi (d - lead) / 24) - 1)))`` for a delivery ``d`` hours after the reading hour: 1 at
its best, ``1 - loss`` at the far side of the clock. Loss, width and lead are averaged over a grid by their posterior.

Its likelihood is conditional on how many mails each customer opened: given those, which of the mails they were
depends on the campaigns and on the hours (from the product of Poisson likelihoods, McCullagh and Nelder 1989, section
6.4). So people who read more, and get mail at other hours, say nothing, and where everybody gets every mail at one hour
of the day nothing is learnt and the prior stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.send_time.clock import HOURS

LOSSES = np.linspace(0.0, 0.8, 9)
WIDTHS = np.array([1.5, 2.0, 3.0, 4.0, 6.0])  # hours
LEADS = np.arange(-3, 4)  # hours after the reading hour; before it where negative
LEAD_SPREAD = 1.0  # of the prior
_MOST_PEOPLE = 5_000
DISTANCE = (np.arange(HOURS)[:, None] - np.arange(HOURS)[None, :]) % HOURS  # (hour of delivery, reading hour)


@dataclass(frozen=True)
class Response:
    """``by_distance``: the share of the best hour's opens by hours from reading to delivery, modulo 24."""

    by_distance: np.ndarray
    people: int  # who got mail at several hours and opened some: what it was learnt from

    def factors(self, hours: np.ndarray) -> np.ndarray:
        """The factor on opens for each hour of delivery where the reading hour is a distribution: (people, 24)."""
        return hours @ self.by_distance[DISTANCE].T


def curves() -> tuple[np.ndarray, np.ndarray]:
    """Every curve of the grid, (curves, 24), and its prior weight."""
    loss, width, lead = (axis.ravel() for axis in np.meshgrid(LOSSES, WIDTHS, LEADS, indexing="ij"))
    angle = 2 * np.pi / HOURS * (np.arange(HOURS) - lead[:, None])
    concentration = (HOURS / (2 * np.pi * width[:, None])) ** 2
    shape = 1.0 - loss[:, None] * (1.0 - np.exp(concentration * (np.cos(angle) - 1.0)))
    prior = np.exp(-0.5 * (lead / LEAD_SPREAD) ** 2)
    return shape, prior / prior.sum()


def fit(mail: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Response:
    """The posterior mean of the curve.

    ``mail`` has for weekdays and for weekends: the distributions of reading hours, opens and expected opens by local
    hour of delivery, each (people, 24), people in the same order. The first 5,000 who tell something are used.
    """
    expected_hours = sum((expected > 0).sum(axis=1) for _, _, expected in mail)
    tells = np.flatnonzero((expected_hours > 1) & (sum(opened.sum(axis=1) for _, opened, _ in mail) > 0))[:_MOST_PEOPLE]
    shapes, weight = curves()
    logs = np.log(weight)
    if len(tells):
        total = sum(opened[tells].sum(axis=1) for _, opened, _ in mail)
        for index, shape in enumerate(shapes):
            answered, chosen = np.zeros(len(tells)), 0.0
            for hours, opened, expected in mail:
                factor = hours[tells] @ shape[DISTANCE].T
                answered += (expected[tells] * factor).sum(axis=1)
                chosen += float((opened[tells] * np.log(factor)).sum())
            logs[index] += chosen - float(total @ np.log(answered))
    weight = np.exp(logs - logs.max())
    curve = (weight / weight.sum()) @ shapes
    return Response(curve / curve.max(), len(tells))
