"""What people do with a mail follows their hidden traits, and nothing but the person, the mail and the instant."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterpress.demo.simulation import answers, chance, effects, mail, reading
from letterpress.demo.simulation.answers import FIRST_SHELF, GENERAL, NO_LINK, Mailing
from letterpress.demo.simulation.effects import Message, Subject, Uplift
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.switches import Behaviour, Dirt
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import BIRTHDAY_THEME, THEMES, WELCOME_THEME

WORLD = World(seed=5, customers=3_000, days=40, today=datetime(2011, 7, 1, tzinfo=UTC), dirt=Dirt.off())
NOON = chance.milliseconds(datetime(2011, 7, 4, 12, tzinfo=UTC))  # a Monday
HOURS = np.arange(24)


@pytest.fixture(scope="module")
def played() -> bytes:
    simulator = Simulator(WORLD)
    state = simulator.opening()
    for _ in range(WORLD.days):
        simulator.play(state)
    return state.dump()


@pytest.fixture
def state(played) -> State:
    return State.load(played)


def mailing(person: np.ndarray, **changes) -> Mailing:
    """A plain newsletter with two links to the shop for each of these people."""
    count = len(person)
    plain = Mailing(
        number=np.arange(count, dtype=np.uint64) + np.uint64(1_000),
        person=person,
        at=np.full(count, NOON),
        kind=np.full(count, int(Message.NEWSLETTER)),
        subject=np.zeros((count, len(Subject)), bool),
        shelf=np.full(count, -1),
        links=np.full((count, 2), GENERAL),
    )
    return replace(plain, **changes)


def opened(state: State, letter: Mailing, pressure: float = 0.0, behaviour: Behaviour | None = None) -> np.ndarray:
    return answers.open_chance(state.people, letter, np.full(len(letter.person), pressure), behaviour or Behaviour())


def everybody(state: State) -> np.ndarray:
    return np.arange(len(state.people))


@given(order=st.permutations(range(40)), cut=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_an_answer_does_not_depend_on_what_else_is_answered(played, order, cut):
    together, apart = State.load(played), State.load(played)
    letter = mailing(np.arange(40))
    whole = answers.answer(together, WORLD.seed, WORLD.behaviour, letter)
    found = {}
    for rows in (list(order[:cut]), list(order[cut:])):
        part = Mailing(*(getattr(letter, name)[rows] for name in letter.__dataclass_fields__))
        some = answers.answer(apart, WORLD.seed, WORLD.behaviour, part)
        for index, row in enumerate(rows):
            found[row] = [getattr(some, name)[index] for name in some.__dataclass_fields__]
    expected = {row: [getattr(whole, name)[row] for name in whole.__dataclass_fields__] for row in range(40)}
    assert found == expected
    assert np.array_equal(together.people["pressure"], apart.people["pressure"])


def test_a_mail_is_opened_most_at_the_readers_own_best_hour(state):
    person = everybody(state)
    zone = state.people["zone"][person]
    local_midnight = chance.start_of(NOON // chance.DAY) - chance.zone_offsets(NOON // chance.DAY)[zone]
    best = answers.best_hour(state.people, person, weekend=False)

    at_best = opened(state, mailing(person, at=local_midnight + (best * chance.HOUR).astype(np.int64)))
    by_hour = np.array([opened(state, mailing(person, at=local_midnight + hour * chance.HOUR)) for hour in HOURS])

    assert (at_best >= by_hour.max(axis=0) - 1e-12).all()
    gain = at_best.mean() / by_hour.mean()
    assert 1.15 < gain < 1.35


def test_the_weekend_has_hours_of_its_own(state):
    person = everybody(state)
    monday = answers.best_hour(state.people, person, weekend=False)
    saturday = answers.best_hour(state.people, person, weekend=True)
    assert np.allclose((saturday - monday) % 24, state.people["weekend_shift"][person] % 24)
    assert np.abs(state.people["weekend_shift"][person]).mean() > 1


@pytest.mark.parametrize("feature", list(Subject))
def test_a_subject_line_works_as_far_as_its_reader_likes_it(state, feature):
    person = everybody(state)
    subject = np.zeros((len(person), len(Subject)), bool)
    plain = opened(state, mailing(person, subject=subject))
    subject[:, feature] = True
    with_it = opened(state, mailing(person, subject=subject))
    unbounded = with_it < effects.NOT_A_READER
    taste = state.people["subject_taste"][person, feature]
    assert np.allclose(np.log(with_it / plain)[unbounded], taste[unbounded], atol=1e-6)
    assert abs(taste.mean() - effects.SUBJECT_MEANS[feature]) < 0.02


def test_content_that_fits_is_clicked_and_bought_more_as_far_as_its_source_says(state):
    person = everybody(state)
    favourite = np.argmax(answers.tastes(state.people, person), axis=1)
    least = np.argmin(answers.tastes(state.people, person), axis=1)

    def chances(shelf: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        letter = mailing(person, links=np.stack([FIRST_SHELF - shelf, np.full(len(shelf), GENERAL)], axis=1))
        fits = answers.fit(state.people, letter, answers.link_fit(state.people, state.products, letter))
        click = answers.click_chance(state.people, letter, fits)
        return fits, click, answers.order_chance(state.people, letter, fits)

    fits, click, order = chances(favourite)
    other_fits, other_click, other_order = chances(least)
    assert (fits >= other_fits).all()
    loved = (fits > 0.999) & (other_fits < 0.001) & (click < effects.NOT_A_READER)
    assert loved.sum() > 50
    assert np.allclose(click[loved] / other_click[loved], 1.62, rtol=0.01)
    buyers = loved & (other_order > 0) & (order < 0.9)
    assert np.allclose(order[buyers] / other_order[buyers], 1.3, rtol=0.01)


def test_a_mail_without_a_link_is_not_clicked(state):
    letter = mailing(everybody(state), links=np.full((len(state.people), 1), NO_LINK))
    played = answers.answer(state, WORLD.seed, WORLD.behaviour, letter)
    assert played.opens.any()
    assert not played.clicks.any()


def test_too_many_mails_tire_the_weary(state):
    person = everybody(state)
    letter = mailing(person)
    rested, tired = opened(state, letter, 0.0), opened(state, letter, 6.0)
    loss = np.log(rested / tired)
    free = rested < effects.NOT_A_READER
    assert np.allclose(loss[free], (effects.TIRED_OPENS * 6.0 * state.people["mail_weariness"][person])[free])
    without = Behaviour(fatigue=False)
    assert np.array_equal(opened(state, letter, 6.0, without), opened(state, letter, 0.0, without))


def test_pressure_counts_each_mail_that_arrives_and_fades_within_weeks(state):
    person = np.flatnonzero(~state.people["dead_mailbox"])[:1]
    state.people["pressure"][person], state.people["pressure_at"][person] = 0.0, NOON - 1
    many = np.repeat(person, 5)
    numbers = np.arange(5, dtype=np.uint64)
    letter = mailing(many, number=numbers, at=NOON + np.arange(5) * chance.MINUTE)
    played = answers.answer(state, WORLD.seed, WORLD.behaviour, letter)
    arrived = (~played.soft).sum()
    at = NOON + 5 * chance.MINUTE
    assert answers.pressure_at(state.people, person, np.array([at]))[0] == pytest.approx(arrived, rel=1e-3)
    week = np.array([at + 7 * chance.DAY])
    assert answers.pressure_at(state.people, person, week)[0] == pytest.approx(arrived / np.e, rel=1e-3)


def test_a_birthday_mail_works_around_the_birthday_alone(state):
    person = everybody(state)
    letter = mailing(person, kind=np.full(len(person), int(Message.BIRTHDAY)))
    apart = chance.days_from_birthday(state.people["birthday"][person], NOON // chance.DAY)
    ratio = opened(state, letter) / opened(state, mailing(person))
    free = opened(state, letter) < effects.NOT_A_READER
    assert np.allclose(ratio[free & (apart <= 3)], effects.BIRTHDAY_OPENS)
    assert (ratio[apart > 3] == 1).all()


def test_only_the_persuadable_buy_much_because_of_a_mail(state):
    person = everybody(state)
    fits = np.full(len(person), 0.5)
    order = answers.order_chance(state.people, mailing(person), fits)
    group = state.people["uplift"][person]
    means = {one: order[group == one].mean() for one in Uplift}
    assert means[Uplift.PERSUADABLE] > 10 * means[Uplift.SURE_THING]
    assert means[Uplift.SURE_THING] > means[Uplift.LOST_CAUSE] > means[Uplift.SLEEPING_DOG] == 0
    shares = np.bincount(group, minlength=4) / len(group)
    assert np.abs(shares - effects.UPLIFT_SHARES).max() < 0.06


def test_mails_drive_sleeping_dogs_away(played):
    """The same shop twice; in one of them everybody gets ten mails a day that nobody can click."""
    orders, left = {}, {}
    dogs = State.load(played).people["uplift"] == Uplift.SLEEPING_DOG
    for name, mails in (("quiet", 0), ("loud", 10)):
        state, simulator, placed = State.load(played), Simulator(WORLD), []
        state.people["purchase_rate"][dogs] = 0.2  # more orders, a sharper comparison
        for day in range(10):
            at = NOON + day * chance.DAY
            for number in range(mails):
                person = np.flatnonzero(dogs)
                numbers = (np.arange(len(person)) * 1_000 + day * 20 + number).astype(np.uint64)
                letter = mailing(person, number=numbers, at=np.full(len(person), at + number))
                played_now = answers.answer(state, WORLD.seed, WORLD.behaviour, letter)
                left[name] = left.get(name, 0) + int(played_now.unsubscribes.sum())
            facts = simulator.play(state)
            placed.append(dogs[facts.orders["person"][facts.orders["person"] >= 0]].sum())
        orders[name] = sum(placed[2:])
    assert orders["loud"] < 0.7 * orders["quiet"]
    assert left["loud"] > 0


def test_machines_open_and_scanners_click_at_delivery(state):
    letter = mailing(everybody(state), links=np.full((len(state.people), 3), GENERAL))
    played = answers.answer(state, WORLD.seed, WORLD.behaviour, letter)
    events = mail.collect(played, letter)
    scanned = events["scanned"] > 0
    assert set(events["type"][scanned]) == {mail.Mail.CLICK}
    assert ((events["at"] - letter.at[events["mail"]])[scanned] < 60_000).all()
    followed = np.bincount(events["mail"][scanned], minlength=len(letter.person))
    assert (followed[played.scanner > 0] == 3).all()
    assert (followed[played.scanner == 0] == 0).all()
    assert (events["machine"][events["scanned"] == 1] == 1).all()
    assert (events["machine"][events["scanned"] == 2] == 0).all()
    assert not (played.visits & ~played.clicks).any()


def test_every_answer_comes_after_its_mail_and_in_its_order(state):
    played = answers.answer(state, WORLD.seed, WORLD.behaviour, mailing(everybody(state)))
    assert (played.answered_at > NOON).all()
    assert (played.open_at[played.opens] > played.answered_at[played.opens]).all()
    assert (played.click_at > played.open_at).all()
    assert (played.visit_at > played.click_at).all()
    assert (played.leaves_at > played.answered_at).all()
    assert (played.open_at % chance.DAY < 22 * chance.HOUR).all()


@pytest.mark.parametrize(
    ("subject", "first_name", "expected"),
    [
        ("New in this week", "Ann", set()),
        ("ann, new in this week", "Ann", {Subject.NAME}),
        ("Annual sale", "Ann", {Subject.DISCOUNT}),
        ("Last chance: 10 % off Garden", "Ann", {Subject.URGENCY, Subject.DISCOUNT}),
        ("Seen what has just come in?", "", {Subject.QUESTION}),
        ("★ Our favourites", "Ann", {Subject.SYMBOL}),
    ],
)
def test_a_reader_notices_what_the_subject_line_has(subject, first_name, expected):
    assert {feature for feature in Subject if reading.features(subject, first_name)[feature]} == expected


def test_a_reader_tells_kinds_of_mail_apart():
    kinds = {
        "Happy birthday, Ann": Message.BIRTHDAY,
        "We miss you": Message.WIN_BACK,
        "Welcome to the shop": Message.WELCOME,
        "Ann, this is a thank-you": Message.THANKS,
        "20 % off your favourite categories": Message.OFFER,
        "Picked for you": Message.RECOMMENDATION,
        "New in this week": Message.NEWSLETTER,
    }
    assert {text: reading.kind(text) for text in kinds} == kinds
    assert reading.shelf("The Garden edit", []) == 2
    assert reading.shelf("News", ["https://shop.example.com/c/toys?utm_source=x"]) == 4
    assert reading.product("https://shop.example.com/p/P0012?utm_source=x") == 11


def test_the_shops_own_subject_lines_vary_in_what_readers_notice():
    for theme in (*THEMES, WELCOME_THEME, BIRTHDAY_THEME):
        seen = {tuple(reading.features(subject, "")) for subject in theme.subjects}
        assert len(seen) == len(theme.subjects), theme
