"""How well an order of customers puts those first whom the message moves."""

from __future__ import annotations

import numpy as np


def qini_curve(score: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares mailed and extra outcomes (Radcliffe 2007, "Using control groups to target on predicted lift").

    Customers by falling score; of the first n, with T treated and C control ones, the curve is
    q(n) = outcomes of treated - outcomes of control * T / C, from (0, 0). Customers of one score come together, so
    that no order among them is made up.
    """
    score, treated, outcome = (np.asarray(values, dtype=float) for values in (score, treated, outcome))
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    with_count, without_count = (np.cumsum(arm[order])[last] for arm in (treated, 1 - treated))
    with_, without = (np.cumsum((arm * outcome)[order])[last] for arm in (treated, 1 - treated))
    scaled = np.divide(without * with_count, without_count, out=np.zeros(len(last)), where=without_count > 0)
    return np.r_[0.0, (last + 1) / len(score)], np.r_[0.0, with_ - scaled]


def qini(score: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> float:
    """The Qini coefficient of 0/1 outcomes (Radcliffe 2007): 0 is the random order, 1 the best that can be.

    The area between the score's Qini curve and the random line (from the origin to the curve's end), divided by the
    same area of the perfect curve's bound. That bound is the curve of an order that knows the outcomes and lets
    an e-mail do harm too: treated with an outcome first, then control without, treated without, control with.
    NaN where even that order is no better than random.
    """
    perfect = 2.0 * (np.asarray(outcome) == np.asarray(treated)) + np.asarray(treated)
    bound = _above_random(*qini_curve(perfect, treated, outcome))
    return _above_random(*qini_curve(score, treated, outcome)) / bound if bound > 0 else float("nan")


def auuc(score: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> float:
    """Area under the uplift curve: outcomes gained per customer, averaged over all shares mailed (Jaskowski 2012).

    At share u the gain is u times the difference of the arms' rates among the first u; no random line is taken off.
    """
    shares, gains = qini_curve(score, treated, outcome)
    return float(np.trapezoid(gains, shares) / np.sum(treated))


def uplift_at(share: float, score: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> float:
    """The difference of the arms' outcome rates among the best ``share`` of all customers; NaN without both arms.

    Of the customers whose score ties at the border, each counts by the fraction that there is room for.
    """
    weight = top_weights(share, score)
    treated, outcome = np.asarray(treated, dtype=float), np.asarray(outcome, dtype=float)
    rates = []
    for arm in (treated, 1 - treated):
        if (weight * arm).sum() == 0:
            return float("nan")
        rates.append((weight * arm * outcome).sum() / (weight * arm).sum())
    return float(rates[0] - rates[1])


def top_weights(share: float, score: np.ndarray) -> np.ndarray:
    """1 for rows above the border of the best ``share``, 0 below, and the fraction that fits for ties at it."""
    score = np.asarray(score, dtype=float)
    room = max(1.0, share * len(score))
    border = np.sort(score)[::-1][min(len(score), int(np.ceil(room))) - 1]
    above, at = score > border, score == border
    return above + at * (room - above.sum()) / at.sum()


def _above_random(shares: np.ndarray, gains: np.ndarray) -> float:
    return float(np.trapezoid(gains, shares) - gains[-1] / 2)


def gain_values(score: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """One value per row; their mean is the gain over mailing at random, averaged over all shares mailed.

    The mean is the rank-weighted average treatment effect with Qini weights (Yadlowsky, Fleming, Shah, Brunskill and
    Wager 2025), E[effect * (1/2 - share ranked above)]: the area between gain curve and random line, in
    outcomes per customer, from unbiased effect scores (``ml.uplift.experiment.effect_scores``). Each value is the
    row's own part and the part that it has in the others' ranks (the projection of Hoeffding 1948), so
    that intervals of the mean count both. Ties share their middle rank.
    """
    score, effect = np.asarray(score, dtype=float), np.asarray(effect, dtype=float)
    order = np.argsort(score, kind="stable")
    lowest, highest = (np.searchsorted(score[order], score, side) for side in ("left", "right"))
    below = (lowest + highest) / (2 * len(score))
    totals = np.r_[0.0, np.cumsum(effect[order])] / len(score)
    effect_below = (totals[lowest] + totals[highest]) / 2
    return effect * (below - 0.5) - (effect_below - effect_below.mean())
