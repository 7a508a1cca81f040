"""Whether to mail by the model: its order has to be surely better than what needs no model.

That is mailing at random, and every simple rule. The response model is a model too, so there the better estimate is
enough: it must not be the one that gains more.

Everything is cross-fitted: an order of left-out customers comes from a learner that was chosen and fitted without
them, so the comparison carries no optimism of that choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ml.bootstrap import difference_interval
from ml.uplift.experiment import Experiment, folds
from ml.uplift.learners import LEARNERS, Learned, cross_fitted_scores, response, usable
from ml.uplift.measures import gain_values, top_weights

RESPONSE = "the response model"

Rule = Callable[[np.ndarray], np.ndarray]
"""A simple rule: inputs in, an order out (more is mailed first); nothing is fitted."""


@dataclass(frozen=True)
class Comparison:
    """By how much the model gains over something, in outcomes per customer, with a lower and an upper bound."""

    over: str
    gain: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Assessment:
    """What cross-fitting says of mailing by the model.

    ``effect`` is that of mailing everybody over nobody, ``top`` that of mailing the best ``share``, per customer
    mailed. ``comparisons``: the gain over mailing as many at random and over each simple rule, averaged over all
    shares that could be mailed; ``response``: the same over the response model. ``order``: every row's place among
    left-out rows, in (0, 1], high is mailed first; ``rule_orders``: the same of the response model and the rules.
    """

    effect: Comparison
    top: Comparison
    comparisons: tuple[Comparison, ...]
    response: Comparison
    share: float
    order: np.ndarray
    rule_orders: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Decision:
    """The verdict and its reason, a sentence that a marketer may read."""

    target: bool
    reason: str


def choose(
    given: Experiment, *, learners: Sequence[str] | None = None, folds_count: int = 3, seed: int = 0
) -> tuple[str, dict[str, float]]:
    """The learner whose cross-fitted order gains most over chance, and what each gains; by these rows alone."""
    parts = list(folds(given, folds_count, seed))
    effect = cross_fitted_scores(given, parts)
    gains = {}
    for name, learner in usable(given, learners).items():
        order = np.zeros(len(given))
        for fitting, left_out in parts:
            order[left_out] = _places(learner(given.take(fitting), seed).effect(given.inputs[left_out]))
        gains[name] = float(gain_values(order, effect).mean())
    return max(gains, key=gains.__getitem__), gains


def fit_best(
    given: Experiment, *, learners: Sequence[str] | None = None, folds_count: int = 3, seed: int = 0
) -> tuple[Learned, dict[str, float]]:
    """Choose one of ``learners`` (None: of all) on these rows, and fit it on all of them; also what each gained."""
    name, gains = choose(given, learners=learners, folds_count=folds_count, seed=seed)
    return LEARNERS[name](given, seed), gains


def assess(
    given: Experiment,
    rules: Mapping[str, Rule],
    *,
    learners: Sequence[str] | None = None,
    share: float = 0.3,
    folds_count: int = 5,
    repeats: int = 2,
    confidence: float = 0.95,
    seed: int = 0,
) -> Assessment:
    """Compare the model with chance, with the response model and with ``rules``, on rows that it has not seen.

    The whole way to a model, the choice of the learner too, is repeated without each fold. ``repeats`` partitions
    are averaged, since one is a matter of luck. Intervals are over customers and two-sided. They take what was learned
    as given; folds share rows to learn from, which makes them a little short where there is nothing to learn (in
    simulations 6 % of lower bounds over chance were above 0 where 2.5 % should be); see :func:`decide`.
    """
    sums: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        parts = list(folds(given, folds_count, seed + repeat))
        effect = cross_fitted_scores(given, parts)
        orders = {name: np.zeros(len(given)) for name in ("model", RESPONSE, *rules)}
        for fitting, left_out in parts:
            inputs, seen = given.inputs[left_out], given.take(fitting)
            learned, _ = fit_best(seen, learners=learners, seed=seed + repeat)
            orders["model"][left_out] = _places(learned.effect(inputs))
            orders[RESPONSE][left_out] = _places(response(seen).predict(inputs))
            for name, rule in rules.items():
                orders[name][left_out] = _places(rule(inputs))
        values = {name: gain_values(order, effect) for name, order in orders.items()}
        weight = top_weights(share, orders["model"])
        found = {
            "effect": effect,
            "top": effect * weight / weight.mean(),
            **{f"gain {name}": one for name, one in values.items()},
            **{f"order {name}": one for name, one in orders.items()},
        }
        sums = {name: sums.get(name, 0.0) + one / repeats for name, one in found.items()}

    def compared(over: str, values: np.ndarray) -> Comparison:
        per_unit = _per_unit(values, given.unit)
        return Comparison(over, *difference_interval(per_unit, np.zeros(len(per_unit)), confidence=confidence))

    own = sums["gain model"]
    return Assessment(
        effect=compared("mailing nobody", sums["effect"]),
        top=compared("mailing nobody", sums["top"]),
        comparisons=(
            compared("mailing as many at random", own),
            *(compared(name, own - sums[f"gain {name}"]) for name in rules),
        ),
        response=compared(RESPONSE, own - sums[f"gain {RESPONSE}"]),
        share=share,
        order=sums["order model"],
        rule_orders={name: sums[f"order {name}"] for name in (RESPONSE, *rules)},
    )


def decide(found: Assessment) -> Decision:
    """Target only where every lower bound is above 0, and the response model gains no more.

    All of them have to hold, so that their number asks for no correction (intersection-union test, Berger 1982): a
    model that is no better than chance or than a simple rule should be accepted with a chance of (1 - confidence) / 2
    at most. With the short intervals of :func:`assess` it is about 1 - confidence over chance alone, and less with a
    rule beside it.
    """
    if found.top.lower <= 0:
        return Decision(
            False,
            f"do not target: it is not sure that mailing the best {found.share:.0%} does anything"
            f" ({_interval(found.top)} outcomes per 1,000 mailed)",
        )
    failed = [one for one in found.comparisons if one.lower <= 0]
    if not failed and found.response.gain <= 0:
        failed = [found.response]
    if not failed:
        least = min(found.comparisons, key=lambda one: one.lower)
        return Decision(
            True,
            f"target: the model gains over {', '.join(one.over for one in found.comparisons)};"
            f" least sure over {least.over} ({_interval(least)} outcomes per 1,000 customers)",
        )
    advice = (
        f"the e-mail works ({_interval(found.effect)} outcomes per 1,000 mailed): mail everybody, or by a simple rule"
        if found.effect.lower > 0
        else f"nor is it sure that mailing everybody does anything ({_interval(found.effect)} per 1,000 mailed)"
    )
    least = min(failed, key=lambda one: one.lower)
    better = "better" if least is found.response else "surely better"
    return Decision(
        False,
        f"do not target: the model's order is not {better} than {least.over}"
        f" ({_interval(least)} outcomes per 1,000 customers); {advice}",
    )


def _interval(one: Comparison) -> str:
    return f"{one.gain * 1000:+.2f}, {one.lower * 1000:+.2f} to {one.upper * 1000:+.2f}"


def _places(score: np.ndarray) -> np.ndarray:
    """Ranks in (0, 1], so that orders of several models may stand in one list; ties share their middle rank."""
    return rankdata(score) / len(score)


def _per_unit(values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Sums per customer, scaled to keep the mean of the rows; as they are where each customer has one row."""
    _, number = np.unique(unit, return_inverse=True)
    sums = np.bincount(number, weights=values)
    return sums * len(sums) / len(values)
