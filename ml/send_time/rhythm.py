"""When customers read, as a mixture on the clock: everybody has an hour around which they read, and few events tell it.

The hour of a customer is a point on a grid of 24, drawn from the distribution of hours in the segment, which is itself
drawn from everybody's. Those distributions have no shape of their own: they are estimated from all customers by
maximum marginal likelihood (nonparametric empirical Bayes: Laird 1978), smoothed over neighbouring hours in each round
(EMS: Silverman, Jones, Wilson and Nychka 1990). A customer without events has the segment's distribution, one with
many has hardly anything but their own.

An event is either near the hour of its customer, von Mises in 2 pi h / 24, or at any hour. An open may besides be the
mail's doing: soon after delivery, log-normal in the delay. So what is read because it has just come says nothing of
the reader's hour, and mail that always comes at nine does not make everybody an early bird.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import i0e

from ml.send_time.clock import HOURS
from ml.send_time.readings import Readings

HOUR = np.arange(HOURS)
_SMOOTH = np.array([0.25, 0.5, 0.25])
_SHORTEST = 1.0 / 60.0  # hours: a delay below a minute counts as one
_LONGEST = 14 * 24.0  # hours after delivery that an open at any hour may take
_PSEUDO_EVENTS = 20.0
_LEAST = 1e-6  # no hour is impossible
STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""How many customers' worth everybody's distribution weighs in a segment's; without bound, there are no segments."""


@dataclass(frozen=True)
class Kernel:
    """Events around an hour: von Mises concentration, and the share that falls at any hour."""

    concentration: float = 3.0
    anywhere: float = 0.3

    def parts(self, hour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Densities an hour, of being near each hour of the grid, (events, 24), and of being anywhere, (events, 1)."""
        angle = 2 * np.pi / HOURS * (hour[:, None] - HOUR)
        near = np.exp(self.concentration * (np.cos(angle) - 1)) / (HOURS * i0e(self.concentration))
        return (1 - self.anywhere) * near, np.full((len(hour), 1), self.anywhere / HOURS)


@dataclass(frozen=True)
class Prompt:
    """Opens because the mail has come: their share, and the log-normal delay in hours."""

    share: float = 0.4
    mean: float = 0.0
    spread: float = 1.2
    tomorrow: float = 0.4  # of those who read at their own hour: read a day later, and so on

    def density(self, lag: np.ndarray) -> np.ndarray:
        """An hour, of prompt opens at these delays."""
        lag = np.maximum(lag, _SHORTEST)
        z = (np.log(lag) - self.mean) / self.spread
        return self.share * np.exp(-0.5 * z**2) / (lag * self.spread * np.sqrt(2 * np.pi))

    def habit(self, lag: np.ndarray) -> np.ndarray:
        """The share of opens at the reader's hour of the day that this delay falls in."""
        days = np.minimum(np.floor(lag / HOURS), _LONGEST / HOURS)
        return (1 - self.share) * (1 - self.tomorrow) * self.tomorrow**days


@dataclass(frozen=True)
class Rhythm:
    """The fitted mixture: distributions over the 24 hours, and the kernels."""

    everyone: np.ndarray
    segments: Mapping[str, np.ndarray]
    strength: float | None  # None: segments do not differ enough to be told apart
    shift: np.ndarray  # weekend hour less weekday hour, modulo 24
    visit: Kernel
    read: Kernel
    prompt: Prompt

    def prior(self, segment: np.ndarray) -> np.ndarray:
        """The distribution over weekday hours before anything is known of a customer, (people, 24)."""
        names = sorted(self.segments)
        codes = {name: index + 1 for index, name in enumerate(names)}
        rows = np.vstack([self.everyone, *(self.segments[name] for name in names)])
        return rows[np.array([codes.get(name, 0) for name in segment], dtype=np.int64)]

    def turn(self) -> np.ndarray:
        """(24, 24): the chance of each weekend hour (column) for each weekday hour (row)."""
        return self.shift[(HOUR[None, :] - HOUR[:, None]) % HOURS]


@dataclass(frozen=True)
class Posterior:
    """What is known of each customer's hour: distributions, (people, 24), and the log-likelihood of their events."""

    weekday: np.ndarray
    weekend: np.ndarray
    log_likelihood: np.ndarray

    def of(self, events: Readings) -> np.ndarray:
        """For each event the distribution of its person's hour on such a day: (events, 24)."""
        weekday, weekend = self.weekday[events.person], self.weekend[events.person]
        return np.where(events.is_weekend[:, None], weekend, weekday)


def evidence(rhythm: Rhythm, events: Readings, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods of everybody's events for each hour of the grid, on weekdays and at weekends: (people, 24)."""
    near, other = _parts(rhythm, events)
    logs = np.log(near + other)
    return tuple(_sums(logs, events.person, np.equal(events.is_weekend, kind), people) for kind in (False, True))


def posterior(rhythm: Rhythm, prior: np.ndarray, weekday: np.ndarray, weekend: np.ndarray) -> Posterior:
    """Bayes' rule with the log-likelihoods of :func:`evidence`."""
    turn = rhythm.turn()
    highest = weekday.max(axis=1, keepdims=True), weekend.max(axis=1, keepdims=True)
    early, late = np.exp(weekday - highest[0]), np.exp(weekend - highest[1])
    joint = prior * early * (late @ turn.T)
    total = joint.sum(axis=1, keepdims=True)
    at_weekend = late * ((prior * early) @ turn)
    logs = np.log(total[:, 0]) + highest[0][:, 0] + highest[1][:, 0]
    return Posterior(joint / total, at_weekend / total, logs)


def densities(rhythm: Rhythm, known: Posterior, events: Readings) -> np.ndarray:
    """How likely, an hour, each event's time of day is from what is known of its person; what mail causes left out."""
    is_visit = np.isnan(events.lag)[:, None]
    of_visits, of_reads = rhythm.visit.parts(events.hour), rhythm.read.parts(events.hour)
    spread = np.where(is_visit, of_visits[0] + of_visits[1], of_reads[0] + of_reads[1])
    return (known.of(events) * spread).sum(axis=1)


def fit(events: Readings, segment: np.ndarray, rounds: int = 40) -> Rhythm:
    """Fit on the events of people whose segments are given; deterministic.

    How far segments are drawn to everybody is chosen by the likelihood of customers that their segment's
    distribution has not seen (every other one, both ways): a marginal likelihood, cross-validated.
    """
    people = len(segment)
    flat = np.full(HOURS, 1.0 / HOURS)
    still = np.exp(-0.5 * (((HOUR + 12) % HOURS - 12) / 2.0) ** 2)
    rhythm = Rhythm(flat, {}, None, still / still.sum(), Kernel(), Kernel(), Prompt())
    for _ in range(rounds):
        rhythm = _round(rhythm, events, people)
    return _with_segments(rhythm, segment, *evidence(rhythm, events, people))


def one_hour(found: Rhythm, events: int, usual_hour: int) -> Rhythm:
    """What is left where too little is known to tell people apart: everybody's hours, drawn to the usual one."""
    usual = np.exp(-0.5 * (((HOUR - usual_hour + 12) % HOURS - 12) / 2.0) ** 2)
    mixed = events * found.everyone + _PSEUDO_EVENTS * usual / usual.sum()
    return replace(found, everyone=mixed / (events + _PSEUDO_EVENTS), segments={}, strength=None)


def _round(rhythm: Rhythm, events: Readings, people: int) -> Rhythm:
    """One round of expectation and maximisation, with everybody as one segment."""
    prior = np.broadcast_to(rhythm.everyone, (people, HOURS))
    weekday, weekend = evidence(rhythm, events, people)
    known = posterior(rhythm, prior, weekday, weekend)
    active = np.bincount(events.person, minlength=people) > 0
    both = np.zeros(people, bool)
    both[events.person[events.is_weekend]] = True
    weight = known.of(events)
    changed = replace(rhythm, shift=_shift(rhythm, prior[both], weekday[both], weekend[both]))
    if active.any():
        changed = replace(changed, everyone=_smooth(known.weekday[active].mean(axis=0) + _LEAST) / (1 + HOURS * _LEAST))
    near, other = _parts(rhythm, events)
    total = near + other
    own = weight * near / total  # how far each event is its person's, at each hour of the grid
    is_visit = np.isnan(events.lag)
    changed = replace(changed, visit=_kernel(events.hour[is_visit], own[is_visit], float(is_visit.sum())))
    return _opens(changed, rhythm, events.where(~is_visit), own[~is_visit], (weight / total)[~is_visit].sum(axis=1))


def _opens(changed: Rhythm, rhythm: Rhythm, opens: Readings, own: np.ndarray, inverse: np.ndarray) -> Rhythm:
    """The kernel of opens and the delays, from the responsibilities of prompt opens and of habit."""
    prompt = rhythm.prompt.density(opens.lag) * inverse
    habit = np.clip(1.0 - prompt, 0.0, 1.0)
    read = _kernel(opens.hour, own, float(habit.sum()))
    logs = np.log(np.maximum(opens.lag, _SHORTEST))
    usual, count = Prompt(), _PSEUDO_EVENTS
    mass = float(prompt.sum())
    mean = (float(prompt @ logs) + count * usual.mean) / (mass + count)
    variance = (float(prompt @ (logs - mean) ** 2) + count * usual.spread**2) / (mass + count)
    share = (mass + count * usual.share) / (len(logs) + count)
    days = float(habit @ np.minimum(np.floor(opens.lag / HOURS), _LONGEST / HOURS))
    tomorrow = (days + count * usual.tomorrow) / (days + float(habit.sum()) + count)
    return replace(changed, read=read, prompt=Prompt(share, mean, max(float(np.sqrt(variance)), 0.2), tomorrow))


def _kernel(hour: np.ndarray, own: np.ndarray, events: float) -> Kernel:
    """Concentration by the mean resultant length (Banerjee et al. 2005, equation 4.4); drawn to the usual kernel."""
    usual = Kernel()
    mass = float(own.sum())
    length = float((own * np.cos(2 * np.pi / HOURS * (hour[:, None] - HOUR))).sum())
    length = (length + _PSEUDO_EVENTS * 0.8) / (mass + _PSEUDO_EVENTS)  # 0.8 belongs to a concentration of about 3
    length = min(max(length, 0.1), 0.98)
    anywhere = 1.0 - (mass + _PSEUDO_EVENTS * (1 - usual.anywhere)) / (events + _PSEUDO_EVENTS)
    return Kernel(float((2 * length - length**3) / (1 - length**2)), float(min(max(anywhere, 0.01), 0.95)))


def _parts(rhythm: Rhythm, events: Readings) -> tuple[np.ndarray, np.ndarray]:
    """Densities of the events: near each hour of the grid (events, 24), and whatever the hour is (events, 1)."""
    is_visit = np.isnan(events.lag)
    near, other = np.empty((len(events.hour), HOURS)), np.empty((len(events.hour), 1))
    near[is_visit], other[is_visit] = rhythm.visit.parts(events.hour[is_visit])
    lag = events.lag[~is_visit]
    habit = rhythm.prompt.habit(lag)[:, None]
    around, anywhere = rhythm.read.parts(events.hour[~is_visit])
    near[~is_visit] = habit * around
    other[~is_visit] = habit * anywhere + rhythm.prompt.density(lag)[:, None]
    return near, other


def _sums(values: np.ndarray, person: np.ndarray, mask: np.ndarray, people: int) -> np.ndarray:
    """Rows added up by person, in their order: (people, 24)."""
    rows = np.flatnonzero(mask)
    return csr_matrix((np.ones(len(rows)), (person[rows], rows)), shape=(people, len(values))) @ values


def _smooth(distribution: np.ndarray) -> np.ndarray:
    """A distribution over the clock, each hour a little like its neighbours."""
    return sum(weight * np.roll(distribution, step) for weight, step in zip(_SMOOTH, (-1, 0, 1), strict=True))


def _shift(rhythm: Rhythm, prior: np.ndarray, weekday: np.ndarray, weekend: np.ndarray) -> np.ndarray:
    """The distribution of the weekend's shift, from people with events at weekends; drawn to what it was."""
    if not len(prior):
        return rhythm.shift
    early = prior * np.exp(weekday - weekday.max(axis=1, keepdims=True))
    late = np.exp(weekend - weekend.max(axis=1, keepdims=True))
    turn = rhythm.turn()
    total = (early * (late @ turn.T)).sum(axis=1, keepdims=True)
    joint = turn * ((early / total).T @ late)
    step = (HOUR[None, :] - HOUR[:, None]) % HOURS
    counts = np.bincount(step.ravel(), joint.ravel(), minlength=HOURS)
    still = np.exp(-0.5 * (((HOUR + 12) % HOURS - 12) / 2.0) ** 2)
    return _smooth((counts + _PSEUDO_EVENTS * still / still.sum()) / (len(prior) + _PSEUDO_EVENTS))


def _with_segments(rhythm: Rhythm, segment: np.ndarray, weekday: np.ndarray, weekend: np.ndarray) -> Rhythm:
    turn = rhythm.turn()
    likelihood = np.exp(weekday - weekday.max(axis=1, keepdims=True))
    likelihood *= np.exp(weekend - weekend.max(axis=1, keepdims=True)) @ turn.T
    told = np.ptp(likelihood, axis=1) > 0
    names, code = np.unique(segment.astype(str), return_inverse=True)
    likelihood, code = likelihood[told], code[told]
    half = np.arange(len(code)) % 2
    best, best_gain = None, 0.0
    for strength in STRENGTHS:
        gain = 0.0
        for part in (0, 1):
            learnt = _segments(rhythm.everyone, likelihood[half == part], code[half == part], len(names), strength)
            seen, who = likelihood[half != part], code[half != part]
            gain += float(np.log((seen * learnt[who]).sum(axis=1) / (seen @ rhythm.everyone)).sum())
        if gain > best_gain:
            best, best_gain = strength, gain
    if best is None:
        return rhythm
    learnt = _segments(rhythm.everyone, likelihood, code, len(names), best)
    return replace(rhythm, strength=best, segments=dict(zip(map(str, names), learnt, strict=True)))


def _segments(
    everyone: np.ndarray, likelihood: np.ndarray, code: np.ndarray, count: int, strength: float, rounds: int = 20
) -> np.ndarray:
    """Each segment's distribution, as if ``strength`` customers of everybody's distribution belonged to it."""
    learnt = np.tile(everyone, (count, 1))
    sizes = np.bincount(code, minlength=count)[:, None]
    for _ in range(rounds):
        known = likelihood * learnt[code]
        known /= known.sum(axis=1, keepdims=True)
        counts = _sums(known, code, np.ones(len(code), bool), count)
        learnt = (np.apply_along_axis(_smooth, 1, counts) + strength * everyone) / (sizes + strength)
    return learnt
