"""What is inferred of reading hours: from nothing, from much, and from mail that always comes at one hour."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.lots import lots
from ml.send_time import exploration, measure, response, rhythm, shrinkage
from ml.send_time.readings import Deliveries, Readings

FLAT = np.full(24, 1 / 24)


def events(person, hour, weekday=None, lag=None) -> Readings:
    count = len(hour)
    return Readings(
        np.asarray(person, dtype=np.int64),
        np.asarray(hour, dtype=float),
        np.zeros(count, dtype=np.int64) if weekday is None else np.asarray(weekday),
        np.full(count, np.nan) if lag is None else np.asarray(lag, dtype=float),
    )


def early_and_late(people: int = 400, each: int = 8) -> tuple[Readings, np.ndarray]:
    """People who visit around 7 or around 21, an hour earlier than on weekdays at weekends."""
    chance = np.random.default_rng(5)
    peak = np.where(chance.random(people) < 0.3, 7.0, 21.0)
    person = np.repeat(np.arange(people), each)
    weekday = chance.integers(0, 7, len(person))
    hour = (peak[person] - (weekday >= 5) + chance.normal(0, 1.5, len(person))) % 24
    return events(person, hour, weekday), peak


@pytest.fixture(scope="module")
def found() -> rhythm.Rhythm:
    seen, peak = early_and_late()
    return rhythm.fit(seen, np.full(len(peak), "all"))


def known_of(found: rhythm.Rhythm, seen: Readings, people: int) -> rhythm.Posterior:
    return rhythm.posterior(found, found.prior(np.full(people, "all")), *rhythm.evidence(found, seen, people))


def test_the_fit_finds_the_hours_that_were_planted(found):
    assert found.everyone[4:11].sum() == pytest.approx(0.3, abs=0.06)
    assert found.everyone[18:24].sum() + found.everyone[0] == pytest.approx(0.7, abs=0.06)
    shift = (np.arange(24) + 12) % 24 - 12
    assert float(found.shift @ shift) == pytest.approx(-1, abs=0.5)


def test_who_has_no_events_is_taken_for_everyone(found):
    known = known_of(found, events([], []), 1)
    assert np.allclose(known.weekday[0], found.everyone)
    assert np.allclose(known.weekend[0], found.everyone @ found.turn())


def test_own_events_take_over_as_they_add_up(found):
    own_hour = 13  # nobody else's
    shares = [
        known_of(found, events([0] * count, [own_hour + 0.0] * count), 1).weekday[0, own_hour - 1 : own_hour + 2].sum()
        for count in (0, 1, 3, 10, 100)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.02
    assert shares[-1] > 0.99


def test_neighbouring_hours_are_alike_also_over_midnight(found):
    known = known_of(found, events([0] * 6, [23.5, 0.5, 23.7, 0.2, 0.1, 23.9]), 1)
    assert known.weekday[0].argmax() in (23, 0)
    assert min(known.weekday[0, 23], known.weekday[0, 0]) > 10 * known.weekday[0, 12]


def test_what_is_known_of_weekdays_tells_of_weekends(found):
    known = known_of(found, events([0] * 10, [7.0] * 10), 1)
    assert known.weekend[0].argmax() in (5, 6, 7)


def test_opens_soon_after_delivery_do_not_make_a_morning_person():
    seen, peak = early_and_late()
    people = len(peak)
    chance = np.random.default_rng(6)
    lag = np.exp(chance.normal(-1, 0.7, people * 5))
    prompt = events(np.repeat(np.arange(people), 5), (9 + lag) % 24, lag=lag)
    both = events(
        np.concatenate([seen.person, prompt.person]),
        np.concatenate([seen.hour, prompt.hour]),
        np.concatenate([seen.weekday, prompt.weekday]),
        np.concatenate([seen.lag, prompt.lag]),
    )
    found = rhythm.fit(both, np.full(people, "all"))
    known = known_of(found, both, people)
    best = known.weekday.argmax(axis=1)
    apart = np.minimum((best - peak) % 24, (peak - best) % 24)
    raw = np.array([np.bincount(both.hour[both.person == one].astype(int), minlength=24).argmax() for one in range(50)])
    assert (apart <= 2).mean() > 0.95
    assert (np.abs(raw - 9) <= 1).mean() > 0.8  # what a raw histogram would have said
    assert found.prompt.share > 0.8


def test_segments_that_differ_are_told_apart_and_those_that_do_not_are_one():
    seen, peak = early_and_late(people=600, each=2)
    of_hour = rhythm.fit(seen, np.where(peak < 12, "early", "late"), rounds=15)
    chance = np.random.default_rng(1)
    by_lot = rhythm.fit(seen, np.where(chance.random(600) < 0.5, "one", "other"), rounds=15)
    assert of_hour.segments["early"][4:11].sum() > 0.9 > 0.2 > of_hour.segments["late"][4:11].sum()
    if by_lot.segments:
        assert np.abs(by_lot.segments["one"] - by_lot.segments["other"]).sum() < 0.15


def test_the_effect_of_the_hour_of_delivery_is_found_from_mail_at_hours_by_lot():
    chance = np.random.default_rng(8)
    people, peak = 1500, chance.integers(0, 24, 1500)
    hours = np.eye(24)[peak]
    truth = response.curves()[0][(np.arange(315) == 4 * 35 + 2 * 7 + 3)][0]  # loses 0.4, 3 hours wide, at the hour
    expected = np.full((people, 24), 0.3)
    level = chance.beta(2, 3, people)[:, None] * 2
    opened = chance.poisson(expected * level * truth[response.DISTANCE][:, peak].T)
    found = response.fit([(hours, opened, expected)])
    assert found.people == (opened.sum(axis=1) > 0).sum()
    assert np.abs(found.by_distance - truth).max() < 0.06


def test_mail_at_one_hour_says_nothing_of_other_hours():
    hours, opened, expected = np.eye(24), np.zeros((24, 24)), np.zeros((24, 24))
    opened[:, 9], expected[:, 9] = np.arange(24), 20.0
    shapes, weight = response.curves()
    found = response.fit([(hours, opened, expected)])
    assert found.people == 0
    assert np.allclose(found.by_distance, weight @ shapes / (weight @ shapes).max())
    assert found.by_distance.argmax() == 0


@given(st.lists(st.integers(0, 23), min_size=1, max_size=30), st.floats(0, 1))
def test_propensities_add_up_to_one(best, share):
    chances = exploration.propensities(np.array(best), share)
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert (chances >= share / 24 - 1e-12).all()


def test_lots_depend_on_the_customer_and_the_period_alone():
    names = [f"c{number}" for number in range(20_000)]
    drawn = lots(names, "send_time|2011-07-01")
    hour, by_lot = exploration.choose(np.full(len(names), 19), drawn, 0.1)
    assert by_lot.mean() == pytest.approx(0.1, abs=0.01)
    assert np.bincount(hour[by_lot], minlength=24).min() > 40
    assert (hour[~by_lot] == 19).all()
    assert np.array_equal(lots(names[::-1], "send_time|2011-07-01")[::-1], drawn)
    assert np.abs(np.corrcoef(lots(names, "send_time|2011-07-02")[:, 0], drawn[:, 0])[0, 1]) < 0.03


def test_the_estimated_open_rate_of_an_hour_is_that_of_mail_which_came_then():
    hour = np.tile(np.arange(24), 60)
    opened = np.where(hour == 19, 1.0, 0.0)
    at = pd.Timestamp("2011-06-01") + pd.to_timedelta(hour, unit="h")
    count = len(hour)
    mail = Deliveries(
        np.zeros(count, int),
        hour.astype(float),
        np.ones(count, int),
        opened,
        opened,
        np.full(count, "c"),
        at.to_numpy(),
    )
    rate, error, used = measure.open_rate(mail, np.full(count, 19))
    elsewhere, _, _ = measure.open_rate(mail, np.full(count, 3))
    assert (rate, elsewhere, used) == (pytest.approx(1 / 3), 0.0, 180)
    assert error == pytest.approx(np.sqrt(2 / 9 / 180), rel=1e-6)
    one_hour = Deliveries(
        mail.person,
        np.full(count, 9.0),
        mail.weekday,
        opened,
        opened,
        mail.campaign,
        np.repeat(at.to_numpy()[9], count),
    )
    assert measure.open_rate(one_hour, np.full(count, 9))[0] is None


def test_a_prior_is_strong_where_people_are_alike_and_weak_where_they_differ():
    chance = np.random.default_rng(4)
    mean = np.full(7, 1 / 7)
    alike = chance.multinomial(30, mean, 2000)
    different = np.array([chance.multinomial(30, chance.dirichlet(5 * mean)) for _ in range(2000)])
    assert shrinkage.dirichlet_strength(alike, mean) > 500
    assert shrinkage.dirichlet_strength(different, mean) == pytest.approx(5, rel=0.15)
    expected = np.full(3000, 6.0)
    assert shrinkage.gamma_strength(chance.poisson(expected), expected) > 100
    assert shrinkage.gamma_strength(chance.poisson(expected * chance.gamma(3, 1 / 3, 3000)), expected) == pytest.approx(
        3, rel=0.15
    )
