"""A fitted send time: how it is estimated from frames, and what it then knows of customers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from pydantic import Field

from ml import files
from ml.send_time import readings, response, rhythm, shrinkage
from ml.send_time.clock import HOURS, WEEKEND
from ml.send_time.readings import Deliveries, People, Readings
from ml.send_time.rhythm import Kernel, Posterior, Prompt, Rhythm
from ml.spec import Frames, Metrics, ModelSettings


class Settings(ModelSettings):
    """Settings of the model."""

    segments: tuple[str, ...] = Field(
        default=("country_code", "preferred_device"), description="columns of customer_features that make a segment"
    )
    exploration: float = Field(default=0.1, ge=0, le=1, description="share of customers who get an hour by lot")
    days: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4, 5, 6), min_length=1, description="weekdays of mail, Monday 0")
    usual_hour: int = Field(default=10, ge=0, lt=24, description="the local hour where nothing is known of anybody")
    minimum_readers: int = Field(default=50, ge=2, description="with fewer customers who read, all get one hour")
    holdout_days: int = Field(default=28, gt=0, description="the end of the history that is predicted to measure it")
    sample: int = Field(default=20_000, ge=1_000, description="customers that the distributions are fitted on")


@dataclass(frozen=True)
class SendTime:
    """The fitted distributions; nothing of single customers."""

    rhythm: Rhythm
    response: response.Response
    zones: Mapping[str, str]
    week: np.ndarray  # everybody's share of visits by weekday
    week_strength: float
    open_rate: float
    rates: Mapping[str, float]  # of each campaign
    open_strength: float
    is_personal: bool  # False: too little is known, everybody gets one hour
    readings: int  # that it was fitted on
    settings: Settings


def for_everybody(fitted: SendTime) -> SendTime:
    """The same without own hours and segments: everybody gets one hour."""
    found = rhythm.one_hour(fitted.rhythm, fitted.readings, fitted.settings.usual_hour)
    return replace(fitted, rhythm=found, is_personal=False)


@dataclass(frozen=True)
class Known:
    """What is known of customers: distributions of their hour, factors on opens by hour, and their counts."""

    who: People
    events: Readings
    mail: Deliveries
    hours: Posterior
    factors: np.ndarray  # (people, 2, 24): on weekdays and at weekends
    own_rate: np.ndarray  # times everybody's open rate

    @property
    def best(self) -> np.ndarray:
        """The best hour of delivery, (people, 2); rounded first, so that no batch moves it."""
        return np.round(self.factors, 9).argmax(axis=2)


def fit(frames: Frames, at: pd.Timestamp, settings: Settings, seed: int) -> tuple[SendTime, Metrics]:
    """Fit on all events up to ``at``, and say what was found; ``seed`` picks customers where there are too many."""
    frames = readings.cut(frames, at)
    zones = readings.zones_of(frames["customer_features"])
    chosen = frames["customer_features"].sort_values("customer_id", kind="stable")
    if len(chosen) > settings.sample:
        rows = np.random.default_rng(seed).choice(len(chosen), settings.sample, replace=False)
        chosen = chosen.iloc[np.sort(rows)]
    who = readings.people(chosen, zones, settings.segments)
    events = readings.readings(frames, who)
    rates, overall = readings.open_rates(frames)
    mail = readings.deliveries(frames, who, rates, overall)
    people = len(who.customer_id)
    readers = int((np.bincount(events.person, minlength=people) >= 2).sum())
    is_personal = readers >= settings.minimum_readers
    found = rhythm.fit(events, who.segment)
    if not is_personal:
        found = rhythm.one_hour(found, len(events.hour), settings.usual_hour)
    visits = events.where(np.isnan(events.lag))
    week = np.bincount(visits.person * 7 + visits.weekday, minlength=people * 7).reshape(people, 7).astype(float)
    shares = (week.sum(axis=0) + 1.0) / (week.sum() + 7.0)
    blank = SendTime(
        rhythm=found,
        response=response.fit([]),
        zones=zones,
        week=shares,
        week_strength=shrinkage.dirichlet_strength(week, shares),
        open_rate=overall,
        rates=rates,
        open_strength=1.0,
        is_personal=is_personal,
        readings=len(events.hour),
        settings=settings,
    )
    hours = _hours(blank, who, events)
    counts = [mail.by_hour(people, weekend=weekend) for weekend in (False, True)]
    learnt = response.fit([(hours.weekday, *counts[0]), (hours.weekend, *counts[1])])
    fitted = replace(blank, response=learnt)
    opened, expected = _opens(mail, _factors(fitted, hours))
    fitted = replace(fitted, open_strength=shrinkage.gamma_strength(opened, expected))
    metrics: Metrics = {
        "customers": len(frames["customer_features"]),
        "readings": len(events.hour),
        "readers": readers,
        "segment_strength": found.strength,
        "prompt_share": found.prompt.share,
        "hours_lost": float(1.0 - learnt.by_distance.min()),
        "several_hours": learnt.people,
        "best_hour_of_all": int(_factors(fitted, hours)[:, 0].mean(axis=0).argmax()) if people else None,
        "fallback": None,
    }
    if not is_personal:
        metrics["fallback"] = (
            f"one hour for everybody: {readers} customers with two readings, {settings.minimum_readers} are needed"
        )
    return fitted, metrics


def _hours(fitted: SendTime, who: People, events: Readings) -> Posterior:
    people = len(who.customer_id)
    weekday, weekend = rhythm.evidence(fitted.rhythm, events, people)
    if not fitted.is_personal:
        weekday, weekend = np.zeros_like(weekday), np.zeros_like(weekend)
    return rhythm.posterior(fitted.rhythm, fitted.rhythm.prior(who.segment), weekday, weekend)


def _factors(fitted: SendTime, hours: Posterior) -> np.ndarray:
    """Factors on the open rate by hour of delivery, (people, 2, 24), 1 at the mean of a clock."""
    factors = np.stack([fitted.response.factors(hours.weekday), fitted.response.factors(hours.weekend)], axis=1)
    return factors / fitted.response.by_distance.mean()


def _opens(mail: Deliveries, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opens, and how many to expect by campaigns and hours, one value a person."""
    people = len(factors)
    kind = (mail.weekday >= WEEKEND).astype(np.int64)
    factor = factors[mail.person, kind, mail.hour.astype(np.int64) % HOURS]
    opened = np.bincount(mail.person, mail.opened, minlength=people)
    return opened, np.bincount(mail.person, mail.expected * factor, minlength=people)


def know(fitted: SendTime, frames: Frames, at: pd.Timestamp) -> Known:
    """What own events up to ``at``, and nothing of other customers, say of everybody in ``customer_features``."""
    frames = readings.cut(frames, at)
    who = readings.people(frames["customer_features"], fitted.zones, fitted.settings.segments)
    events = readings.readings(frames, who)
    mail = readings.deliveries(frames, who, fitted.rates, fitted.open_rate)
    hours = _hours(fitted, who, events)
    factors = _factors(fitted, hours)
    opened, expected = _opens(mail, factors)
    own_rate = (opened + fitted.open_strength) / (expected + fitted.open_strength)
    return Known(who, events, mail, hours, factors, own_rate)


def dump(fitted: SendTime) -> dict[str, bytes]:
    """One JSON file, numbers to ten digits (more would depend on the machine)."""
    found = fitted.rhythm
    content = {
        "everyone": _digits(found.everyone),
        "segments": {name: _digits(values) for name, values in found.segments.items()},
        "strength": found.strength,
        "shift": _digits(found.shift),
        "visit": _digits(asdict(found.visit)),
        "read": _digits(asdict(found.read)),
        "prompt": _digits(asdict(found.prompt)),
        "response": _digits(fitted.response.by_distance),
        "several_hours": fitted.response.people,
        "zones": dict(fitted.zones),
        "week": _digits(fitted.week),
        "rates": _digits(fitted.rates),
        **_digits({name: getattr(fitted, name) for name in ("week_strength", "open_rate", "open_strength")}),
        "is_personal": fitted.is_personal,
        "readings": fitted.readings,
        "settings": fitted.settings.model_dump(mode="json"),
    }
    return {"send_time.json": files.json_bytes(content)}


def load(artefact: Mapping[str, bytes]) -> SendTime:
    """The inverse of :func:`dump`."""
    content = json.loads(artefact["send_time.json"])
    found = Rhythm(
        np.array(content["everyone"]),
        {name: np.array(values) for name, values in content["segments"].items()},
        content["strength"],
        np.array(content["shift"]),
        Kernel(**content["visit"]),
        Kernel(**content["read"]),
        Prompt(**content["prompt"]),
    )
    return SendTime(
        rhythm=found,
        response=response.Response(np.array(content["response"]), content["several_hours"]),
        week=np.array(content["week"]),
        settings=Settings.model_validate(content["settings"]),
        **{
            name: content[name]
            for name in ("zones", "week_strength", "open_rate", "rates", "open_strength", "is_personal", "readings")
        },
    )


def _digits(value):
    if isinstance(value, Mapping):
        return {name: _digits(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return [_digits(each) for each in value.tolist()]
    return float(f"{value:.10g}")
