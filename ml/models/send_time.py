"""Send time: the weekday and the hour of the local day at which each customer's mail is best delivered.

When somebody reads is told by their visits and by opens that the mail did not prompt, drawn to the segment's and to
everybody's hours as far as their own are few (:mod:`ml.send_time.rhythm`); what an hour of delivery does to opens is
told by mail that came at several hours (:mod:`ml.send_time.response`). The best hour has the highest expected factor
on opens over what is still uncertain about the reader. The weekday is told by visits: mail goes out on the shop's days,
so nothing tells weekdays of delivery apart, and opens are taken to follow visits from day to day.

A tenth of the customers get an hour by lot instead, the same for the same customer and ``as_of``; the propensity of
every hour given out is in the details, so that the next fit and an off-policy estimate can use it.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from ml.lots import lots
from ml.opens import MATURE, opened_since
from ml.send_time import clock, exploration, measure, readings, rhythm
from ml.send_time.clock import HOURS, WEEKEND
from ml.send_time.fitted import Known, SendTime, Settings, dump, fit, for_everybody, know, load
from ml.send_time.readings import Readings
from ml.spec import Frames, Metrics, ModelSpec, Scores, Trained


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Fit on all events up to ``as_of``; measured by a fit without the last ``holdout_days`` on what was read in them.

    Where own hours then told no more than everybody's histogram, all get one hour and the metrics say so.
    Deterministic; ``seed`` only picks the customers where there are more than ``sample``.
    """
    fitted, metrics = fit(frames, pd.Timestamp(as_of), settings, seed)
    at = pd.Timestamp(as_of) - pd.Timedelta(days=settings.holdout_days)
    earlier, _ = fit(frames, at, settings, seed)
    measured = _measured(earlier, frames, as_of)
    if fitted.is_personal and (measured["holdout_gain"] or 0.0) < 0:
        fitted, earlier = for_everybody(fitted), for_everybody(earlier)
        told = f"{measured['holdout_gain']:.3f} nats a reading over everybody's hours in {settings.holdout_days} days"
        metrics["fallback"] = f"one hour for everybody: own hours gained {told}"
        measured = _measured(earlier, frames, as_of)
    metrics |= {"exploration": settings.exploration, **measured}
    return Trained(fitted, metrics, holdout(earlier, frames, as_of))


def evaluate(fitted: SendTime, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version tells the hours of the last ``holdout_days`` from what came before them."""
    return _measured(fitted, frames, as_of)


def holdout(fitted: SendTime, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """One row per customer who read in the last ``holdout_days``, and what earlier events said of the hours.

    ``truth`` and ``prediction``: mean hour of the readings and best hour for them; ``readings``, and their summed
    log-likelihoods ``log_likelihood``, ``log_likelihood_everyone``, ``log_likelihood_histogram``.
    """
    measured = _held_out(fitted, frames, as_of)
    if measured is None:
        return None
    known, events, logs = measured
    people = len(known.who.customer_id)
    rows = pd.DataFrame({"customer_id": known.who.customer_id})
    rows["truth"] = measure.circular_mean(events.person, events.hour, people)
    rows["prediction"] = known.hours.weekday.argmax(axis=1).astype(float)
    rows["readings"] = np.bincount(events.person, minlength=people)
    for name, values in logs.items():
        rows[name] = np.bincount(events.person, values, minlength=people)
    return rows[rows["readings"] > 0].reset_index(drop=True)


def quality(rows: pd.DataFrame) -> float | None:
    """Mean log-likelihood a reading, in nats; a uniform clock has -3.18."""
    total = rows["readings"].sum()
    return None if total == 0 else float(rows["log_likelihood"].sum() / total)


def score(fitted: SendTime, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer: ``score`` is the chance that a mail at the best weekday and hour is opened.

    ``tier`` says whose hours it is: ``personal`` where own events halve what is open about the hour (one bit of
    information over the segment's distribution), else ``segment`` or ``everyone``. Details: the hour that is given
    out, ``local_hour``, ``local_time``, ``weekday`` (Monday 0), ``time_zone``, ``send_at`` (the next such instant
    after ``as_of``, UTC); ``probability`` of an open then; ``is_exploration``, ``propensity``; the best hours of
    either kind of day, ``workday_hour`` and ``weekend_hour``.
    """
    settings = fitted.settings
    known = know(fitted, frames, pd.Timestamp(as_of))
    who, people = known.who, np.arange(len(known.who.customer_id))
    weekday = _weekday(fitted, known)
    kind = (weekday >= WEEKEND).astype(np.int64)
    best = known.best[people, kind]
    drawn = lots(who.customer_id, f"send_time|{as_of.date().isoformat()}")
    hour, by_lot = exploration.choose(best, drawn, settings.exploration)
    chances = exploration.propensities(best, settings.exploration)
    rate = fitted.open_rate * known.own_rate
    tier = _tiers(fitted, known, kind)
    rows = pd.DataFrame(
        {
            "customer_id": who.customer_id,
            "score": np.round(np.minimum(rate * known.factors[people, kind, best], 0.99), 6),
            "tier": tier,
            "reasons": _reasons(known, tier, best),
            "local_hour": hour,
            "local_time": [f"{each:02d}:00" for each in hour],
            "weekday": weekday,
            "time_zone": who.zone,
            "send_at": _instants(as_of, who.zone, weekday, hour),
            "probability": np.round(np.minimum(rate * known.factors[people, kind, hour], 0.99), 6),
            "propensity": np.round(chances[people, hour], 9),
            "is_exploration": by_lot,
            "workday_hour": known.best[:, 0],
            "weekend_hour": known.best[:, 1],
        }
    )
    return Scores(rows)


def inputs(fitted: SendTime, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What drift is watched on: how much is known of each customer, and their mean hour of reading."""
    known = know(fitted, frames, pd.Timestamp(as_of))
    people = len(known.who.customer_id)
    return pd.DataFrame(
        {
            "customer_id": known.who.customer_id,
            "readings": np.bincount(known.events.person, minlength=people),
            "deliveries": np.bincount(known.mail.person, minlength=people),
            "reading_hour": measure.circular_mean(known.events.person, known.events.hour, people),
            "time_zone": known.who.zone,
        }
    )


def outcomes(fitted: SendTime, frames: Frames, scored_as_of: datetime, as_of: datetime) -> pd.DataFrame | None:
    """The share of each customer's mail since they were scored that was opened, once ``holdout_days`` have passed."""
    return opened_since(frames, scored_as_of, as_of, fitted.settings.holdout_days)


def _weekday(fitted: SendTime, known: Known) -> np.ndarray:
    """The day with the most reading: its share of visits, drawn to everybody's, times the factor of its best hour."""
    people = len(known.who.customer_id)
    visits = known.events.where(np.isnan(known.events.lag))
    counts = np.bincount(visits.person * 7 + visits.weekday, minlength=people * 7).reshape(people, 7)
    own = counts * float(fitted.is_personal) + fitted.week_strength * fitted.week
    days = np.array(sorted(set(fitted.settings.days)))
    value = (own / own.sum(axis=1, keepdims=True))[:, days]
    value = value * known.factors.max(axis=2)[:, (days >= WEEKEND).astype(np.int64)]
    return days[np.round(value, 9).argmax(axis=1)]


def _tiers(fitted: SendTime, known: Known, kind: np.ndarray) -> np.ndarray:
    prior = fitted.rhythm.prior(known.who.segment)
    priors = np.where(kind[:, None] == 1, prior @ fitted.rhythm.turn(), prior)
    hours = np.where(kind[:, None] == 1, known.hours.weekend, known.hours.weekday)
    bits = (hours * np.log2(np.maximum(hours, 1e-300) / priors)).sum(axis=1)
    usual = ["segment" if name in fitted.rhythm.segments else "everyone" for name in known.who.segment]
    return np.where(np.round(bits, 9) >= 1.0, "personal", np.array(usual, dtype=object))


def _reasons(known: Known, tier: np.ndarray, best: np.ndarray) -> list[str]:
    usual = known.hours.weekday.argmax(axis=1)
    later = (known.hours.weekend.argmax(axis=1) - usual + 12) % HOURS - 12
    reasons = []
    for row, of in enumerate(tier):
        if of == "personal":
            words = [f"usually reads {clock.part_of_day(usual[row])}, around {usual[row]:02d}:00"]
            if abs(later[row]) >= 2:
                words.append(f"{'later' if later[row] > 0 else 'earlier'} at weekends")
        elif of == "segment":
            words = [f"little history: most like them read {clock.part_of_day(best[row])}"]
        else:
            words = [f"little history: most customers read {clock.part_of_day(best[row])}"]
        reasons.append("; ".join(words))
    return reasons


def _instants(as_of: datetime, zone: np.ndarray, weekday: np.ndarray, hour: np.ndarray) -> list[str]:
    known: dict[tuple[str, int, int], str] = {}
    for key in zip(zone, weekday.tolist(), hour.tolist(), strict=True):
        if key not in known:
            known[key] = clock.next_time(as_of, *key).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [known[key] for key in zip(zone, weekday.tolist(), hour.tolist(), strict=True)]


def _held_out(
    fitted: SendTime, frames: Frames, as_of: datetime
) -> tuple[Known, Readings, dict[str, np.ndarray]] | None:
    """What was known before the hold-out, the readings in it, and log-likelihoods of each by the three answers."""
    at = pd.Timestamp(as_of) - pd.Timedelta(days=fitted.settings.holdout_days)
    known = know(fitted, frames, at)
    until = readings.cut(frames, pd.Timestamp(as_of))
    events = measure.unprompted(readings.readings(until, known.who, since=at))
    before = measure.unprompted(known.events)
    if not len(events.hour) or not len(before.hour):
        return None
    everyone, own = measure.histogram_densities(before, events, len(known.who.customer_id))
    model = rhythm.densities(fitted.rhythm, known.hours, events)
    names = ("log_likelihood", "log_likelihood_everyone", "log_likelihood_histogram")
    return known, events, {name: np.log(each) for name, each in zip(names, (model, everyone, own), strict=True)}


def _measured(fitted: SendTime, frames: Frames, as_of: datetime) -> Metrics:
    measured = _held_out(fitted, frames, as_of)
    names = ("log_likelihood", "log_likelihood_everyone", "log_likelihood_histogram")
    if measured is None:
        unknown = dict.fromkeys([f"holdout_{name}" for name in (*names, "gain")])
        return unknown | {"holdout_readings": 0, "holdout": "nothing to measure on"}
    known, events, logs = measured
    metrics: Metrics = {f"holdout_{name}": float(values.mean()) for name, values in logs.items()}
    metrics["holdout_gain"] = metrics["holdout_log_likelihood"] - metrics["holdout_log_likelihood_everyone"]
    metrics["holdout_readings"] = len(events.hour)
    return metrics | _open_rates(fitted, frames, as_of, known)


def _open_rates(fitted: SendTime, frames: Frames, as_of: datetime, known: Known) -> Metrics:
    """Open rates of the hold-out's mail: as it was sent, and estimated for the model's hour and for everybody's."""
    at = pd.Timestamp(as_of) - pd.Timedelta(days=fitted.settings.holdout_days)
    mails = readings.cut(frames, pd.Timestamp(as_of))["customer_emails"]
    mails = mails[(mails["delivered_at"] > at) & (mails["delivered_at"] <= pd.Timestamp(as_of) - MATURE)]
    mail = readings.deliveries({**frames, "customer_emails": mails}, known.who, fitted.rates, fitted.open_rate)
    if not len(mail.person):
        return {"open_rate_as_sent": None, "open_rate": None, "open_rate_everyone": None}
    kind = (mail.weekday >= WEEKEND).astype(np.int64)
    of_all = known.factors.mean(axis=0).argmax(axis=1)
    rate, error, count = measure.open_rate(mail, known.best[mail.person, kind])
    rate_everyone, _, _ = measure.open_rate(mail, of_all[kind])
    return {
        "open_rate_as_sent": float(mail.opened.mean()),
        "open_rate": rate,
        "open_rate_error": error,
        "open_rate_mails": count,
        "open_rate_everyone": rate_everyone,
    }


MODEL = ModelSpec(
    name="send_time",
    features={
        "customer_features": ("customer_id", "time_zone", "country_code", "preferred_device"),
        "customer_emails": ("campaign_id", "email_message_id", "sent_at", "delivered_at", "opened_at", "clicked_at"),
        "customer_sessions": ("customer_id", "started_at"),
        "customer_orders": ("customer_id", "ordered_at"),
    },
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    holdout=holdout,
    quality=quality,
    inputs=inputs,
    outcomes=outcomes,
)
