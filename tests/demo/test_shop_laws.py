"""The demo shop follows the laws that it states, a fitted model finds what was planted, and nobody is told the truth.

| what | law | test |
|---|---|---|
| traits | gamma, beta and normal, as drawn in `traits.py` | Kolmogorov-Smirnov |
| first order, of those who sign up without one | geometric, `FIRST_ORDER_RATE` a day | chi-square by week |
| repeat orders in a window | BG/NBD, Fader, Hardie and Lee 2005, equation (8) | chi-square |
| time to the first repeat order | Lomax in whole days; who has not ordered again is a cell | chi-square |
| leaving after the n-th repeat order | beta-geometric: a / (a + b + n - 1) of those who placed it | chi-square by n |
| units of an order | 1 + Poisson with a gamma mean = 1 + negative binomial | chi-square |
| goods of an order in money | units, each by taste, popularity and thrift, at the shelf's price | distance |
| hour of a visit, in the visitor's own zone | evening, midday or any time; other hours at weekends | chi-square |
| weekday and season of visits | Poisson, `visit_rate` x season x weekday | chi-square by weekday, by month |
| season and birthday of orders | hazard: `purchase_rate` x season x birthday | chi-square by month, by birthday |
| opens a mail; clicks an open | beta-binomial | chi-square |
| leaving and complaining, a mail | by weariness, reading and uplift | chi-square |
| dead mailboxes, soft bounces, machine opens, scanners | binomial | exact |

Every law is tested on seeds that were taken as they came, at the level .001: a test of a true law would fail for one
seed in a thousand, and all of them together for one in forty. What the same tests find out is tested too.
"""

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy import stats

from benchmarks import shop_laws
from benchmarks.shop_laws import LEVEL, Bought, chances_hold, goodness
from letterpress.demo.shop.app import LISTS, create_app
from letterpress.demo.simulation import answers, chance, effects, mail
from letterpress.demo.simulation.answers import GENERAL, Answers, Mailing
from letterpress.demo.simulation.effects import Message, Subject, Uplift
from letterpress.demo.simulation.simulator import Day, World
from letterpress.demo.simulation.switches import Behaviour, Dirt
from letterpress.demo.simulation.tables import PEOPLE, State
from letterpress.demo.simulation.traits import LONGEST_LEAD
from letterpress.demo.simulation.visits import Kind
from letterpress.demo.simulation.vocabulary import CATEGORIES
from letterpress.settings import REPOSITORY
from ml.lifetime import bg_nbd

WINDOW = 60
MAILS = 5
MONDAY = chance.day_of(datetime(2011, 7, 11, tzinfo=UTC))


@dataclasses.dataclass
class Played:
    """A shop's orders and state, its visits without a purpose, and how its newsletters were read."""

    bought: Bought
    day: np.ndarray  # of each visit
    person: np.ndarray
    at: np.ndarray
    zone: np.ndarray
    newsletters: dict[str, int]


def play(world: World) -> Played:
    visits: list[tuple[np.ndarray, ...]] = []
    read = dict.fromkeys(("sent", "delivered", "opened", "clicked", "unsubscribed", "soft", "hard"), 0)

    def watch(facts: Day) -> None:
        rows = np.flatnonzero((facts.visits["kind"] == Kind.BROWSE) & (facts.visits["person"] >= 0))
        columns = [facts.visits[name][rows] for name in ("person", "at", "zone")]
        visits.append((np.full(len(rows), facts.day), *columns))
        mails = {name: column[facts.mails["campaign"] > mail.BIRTHDAY] for name, column in facts.mails.items()}
        human = (mails["machine"] == 0) & (mails["scanned"] == 0)
        for name, happened in {
            "sent": mails["type"] == mail.Mail.SENT,
            "delivered": mails["type"] == mail.Mail.DELIVERED,
            "opened": (mails["type"] == mail.Mail.OPEN) & human,
            "clicked": (mails["type"] == mail.Mail.CLICK) & human,
            "unsubscribed": mails["type"] == mail.Mail.UNSUBSCRIBE,
            "soft": (mails["type"] == mail.Mail.BOUNCE) & (mails["bounce"] == 2),
            "hard": (mails["type"] == mail.Mail.BOUNCE) & (mails["bounce"] == 1),
        }.items():
            read[name] += len(np.unique(mails["account"][happened]))

    bought = shop_laws.play(world, watch)
    return Played(bought, *(np.concatenate(columns) for columns in zip(*visits, strict=True)), read)


@pytest.fixture(scope="module")
def plain() -> Played:
    """20,000 customers and 110 days of nothing but the laws of purchase, visits and mail."""
    return play(shop_laws.plain_world(seed=20, customers=20_000, days=110))


@pytest.fixture(scope="module")
def letters(plain) -> tuple[State, Mailing, Answers]:
    """Five plain mails to everybody, Monday to Friday, each at the reader's own best hour; a row a mail, day by day."""
    state = State.load(plain.bought.state.dump())
    everybody = np.arange(len(state.people))
    best = (answers.best_hour(state.people, everybody, weekend=False) * chance.HOUR).astype(np.int64)
    zone = state.people["zone"]
    days = [chance.start_of(day) - chance.zone_offsets(day)[zone] + best for day in range(MONDAY, MONDAY + MAILS)]
    count = MAILS * len(everybody)
    letter = Mailing(
        number=np.arange(count, dtype=np.uint64),
        person=np.tile(everybody, MAILS),
        at=np.concatenate(days),
        kind=np.full(count, int(Message.NEWSLETTER)),
        subject=np.zeros((count, len(Subject)), bool),
        shelf=np.full(count, -1),
        links=np.full((count, 2), GENERAL),
    )
    return state, letter, answers.answer(state, 20, Behaviour.plain(), letter)


TRAITS = {
    "purchase_rate": stats.gamma(effects.RATE_SHAPE, scale=1 / effects.RATE_SCALE),
    "dropout": stats.beta(*effects.DROPOUT),
    "basket": stats.gamma(effects.BASKET_SHAPE, scale=effects.BASKET_SCALE),
    "thrift": stats.beta(1.5, 2.5),
    "seasonal": stats.gamma(4.0, scale=0.25),
    "visit_rate": stats.gamma(0.8, scale=0.062),
    "weekend_shift": stats.norm(-1.5, 2.0),
    "mobile_share": stats.beta(1.7, 2.3),
    "open_rate": stats.beta(*effects.OPEN),
    "click_rate": stats.beta(*effects.CLICK),
    "mail_weariness": stats.gamma(1.0),
}


@pytest.mark.parametrize("trait", TRAITS)
def test_a_trait_is_spread_over_people_as_its_law_says(plain, trait):
    found = stats.kstest(plain.bought.state.people[trait], TRAITS[trait].cdf)
    assert found.pvalue > LEVEL


def test_who_signs_up_without_an_order_orders_first_after_a_geometric_time(plain):
    people, orders = plain.bought.state.people, plain.bought.orders
    first = orders[orders["nth"] == 0].set_index("person")["day"]
    later = np.flatnonzero(~people["buys_at_sign_up"] & (people["sign_up_day"] + 56 < plain.bought.end))
    weeks = (first.reindex(later).to_numpy() - people["sign_up_day"][later] - 1) // 7
    counts = np.bincount(np.where(np.isnan(weeks), 8, np.minimum(weeks, 8)).astype(np.int64), minlength=9)
    still = np.exp(-effects.FIRST_ORDER_RATE * 7 * np.arange(9))
    law = np.append(still[:-1] - still[1:], still[-1])
    assert goodness(counts, law * counts.sum()) > LEVEL


def purchases_fit(bought: Bought) -> float:
    counts = shop_laws.purchase_counts(bought, WINDOW, 15)
    return goodness(counts, shop_laws.purchase_chances(WINDOW, 15) * counts.sum())


def first_gaps_fit(bought: Bought) -> float:
    counts = shop_laws.first_gap_counts(bought, WINDOW)
    return goodness(counts, shop_laws.first_gap_chances(WINDOW) * counts.sum())


def dropouts_fit(bought: Bought) -> float:
    placed, left = shop_laws.dropouts(bought, 8)
    return chances_hold(placed, left, shop_laws.dropout_chances(np.arange(1, 9)))


def units_fit(bought: Bought) -> float:
    counts = shop_laws.unit_counts(bought, 12)
    return goodness(counts, shop_laws.unit_chances(12) * counts.sum())


PURCHASES = {
    "repeat orders of a customer": purchases_fit,
    "days to the first repeat order": first_gaps_fit,
    "leaving after an order": dropouts_fit,
    "units of an order": units_fit,
}


@pytest.mark.parametrize("law", PURCHASES)
def test_purchases_follow_their_law(plain, law):
    assert PURCHASES[law](plain.bought) > LEVEL


@pytest.mark.parametrize(
    ("law", "parameter", "other"),
    [
        ("repeat orders of a customer", "RATE_SHAPE", effects.RATE_SHAPE * 1.15),
        ("repeat orders of a customer", "RATE_SCALE", effects.RATE_SCALE * 1.15),
        ("days to the first repeat order", "RATE_SCALE", effects.RATE_SCALE * 1.15),
        ("leaving after an order", "DROPOUT", (effects.DROPOUT[0] * 1.15, effects.DROPOUT[1])),
        ("units of an order", "BASKET_SCALE", effects.BASKET_SCALE * 1.1),
    ],
)
def test_another_law_would_be_found_out(plain, monkeypatch, law, parameter, other):
    monkeypatch.setattr(effects, parameter, other)
    assert PURCHASES[law](plain.bought) < LEVEL


def test_the_worth_of_an_order_is_what_units_taste_popularity_and_thrift_make_of_it(plain):
    """A second telling of the law, drawn by other code.

    A bound on the distance of the distributions instead of a level: what is sold out and prices that move are no part
    of the law, and with so many orders any of them shows.
    """
    state, rng, count = plain.bought.state, np.random.default_rng(1), 50_000
    products = state.products
    units = 1 + stats.nbinom(effects.BASKET_SHAPE, 1 / (1 + effects.BASKET_SCALE)).rvs(count, random_state=rng)
    order = np.repeat(np.arange(count), units)
    taste = rng.dirichlet(np.full(len(CATEGORIES), 0.45), count)
    thrift = rng.beta(1.5, 2.5, count)
    shelf = (rng.random(len(order))[:, None] > np.cumsum(taste, axis=1)[order][:, :-1]).sum(axis=1)
    price = np.zeros(len(order))
    for number in range(len(CATEGORIES)):
        there, rows = np.flatnonzero(products["category"] == number), np.flatnonzero(shelf == number)
        liked = products["popularity"][there] / products["popularity"][there].sum()
        one, two = (products["price"][there][rng.choice(len(there), len(rows), p=liked)] for _ in range(2))
        frugal = rng.random(len(rows)) < thrift[order[rows]]
        price[rows] = np.where(frugal, np.minimum(one, two), one)
    worth = np.bincount(order, weights=price)
    first = plain.bought.orders[plain.bought.orders["nth"] == 0]
    assert stats.ks_2samp(first["subtotal"], worth).statistic < 0.05
    assert first["subtotal"].mean() == pytest.approx(worth.mean(), rel=0.1)


def hours_of_visits(weekend: bool) -> np.ndarray:
    """The chance of each hour of the day: evening people, midday people, and one visit of five at any time of day."""
    edges = np.arange(25)
    shift, spread = (-1.5, 2.0) if weekend else (0.0, 0.0)
    cumulative = np.zeros(25)
    for turn in (-1, 0, 1, 2):  # around midnight
        for share, mean, width in ((0.65, 20.0, 1.4), (0.35, 12.6, 1.5)):
            usual = stats.norm(mean + shift, np.sqrt(width**2 + spread**2 + 2.0**2))
            cumulative += 0.8 * share * usual.cdf(edges + 24 * turn)
        cumulative += 0.2 * stats.uniform(7.0, 16.5).cdf(edges + 24 * turn)
    return np.diff(cumulative)


@pytest.mark.parametrize("weekend", [False, True])
def test_people_come_at_the_hours_that_are_usual_where_they_live(plain, weekend):
    """The first visit of each person, so that all are independent."""
    rows = np.flatnonzero(((plain.day + 3) % 7 >= 5) == weekend)
    rows = rows[np.unique(plain.person[rows], return_index=True)[1]]
    ahead = np.array([chance.zone_offsets(int(day)) for day in plain.day[rows]])[np.arange(len(rows)), plain.zone[rows]]
    hour = (plain.at[rows] + ahead) % chance.DAY // chance.HOUR
    counts = np.bincount(hour, minlength=24)
    assert goodness(counts, hours_of_visits(weekend) * counts.sum()) > LEVEL
    assert goodness(counts, hours_of_visits(not weekend) * counts.sum()) < LEVEL


def by_person(values: np.ndarray) -> np.ndarray:
    """One row a person, one column a mail."""
    return values.reshape(MAILS, -1).T


def test_opens_are_beta_binomial_among_readers(letters):
    _, _, played = letters
    arrived = by_person(~played.hard & ~played.soft).all(axis=1)
    counts = np.bincount(by_person(played.opens)[arrived].sum(axis=1), minlength=MAILS + 1)
    law = stats.betabinom(MAILS, *effects.OPEN).pmf(np.arange(MAILS + 1))
    assert goodness(counts, law * counts.sum()) > LEVEL
    alike = stats.binom(MAILS, counts @ np.arange(MAILS + 1) / counts.sum() / MAILS).pmf(np.arange(MAILS + 1))
    assert goodness(counts, alike * counts.sum()) < LEVEL


def test_clicks_are_beta_binomial_among_those_who_opened(letters):
    """The first two mails that somebody opened; a mail that only leads to the shop suits nobody in particular."""
    _, _, played = letters
    opened, clicked = by_person(played.opens), by_person(played.clicks)
    early = opened & (opened.cumsum(axis=1) <= 2)
    counts = np.bincount((clicked & early).sum(axis=1)[early.sum(axis=1) == 2], minlength=3)
    law = stats.betabinom(2, *effects.CLICK).pmf(np.arange(3))
    assert goodness(counts, law * counts.sum()) > LEVEL


def test_people_leave_and_complain_as_their_weariness_and_reading_say(letters):
    state, letter, played = letters
    weariness = state.people["mail_weariness"][letter.person]
    dog = state.people["uplift"][letter.person] == Uplift.SLEEPING_DOG
    leaving = effects.UNSUBSCRIBES + effects.UNSUBSCRIBES_AFTER_READING * weariness * played.opens
    leaving *= np.where(dog, effects.DRIVEN_AWAY, 1.0)
    arrives = ~played.hard & ~played.soft
    stays = arrives & ~played.unsubscribes
    groups = [(arrives & (played.opens == opens) & (dog == dogs)) for opens in (False, True) for dogs in (False, True)]
    square = 0.0
    for rows, happened, chances in (
        *((rows, played.unsubscribes, leaving) for rows in groups),
        (stays, played.complains, effects.COMPLAINTS * (0.5 + weariness)),
    ):
        expected, found = chances[rows].sum(), happened[rows].sum()
        assert expected > 5
        square += (found - expected) ** 2 / (chances[rows] * (1 - chances[rows])).sum()
    assert stats.chi2.sf(square, len(groups) + 1) > LEVEL


def test_mailboxes_are_dead_watched_and_read_by_machines_as_often_as_stated(letters):
    state, _, played = letters
    scanner, people = state.people["scanner"], len(state.people)
    # from the day on which somebody hears of the shop, a mailbox may die
    heard = np.maximum(state.people["sign_up_day"] - LONGEST_LEAD, state.people["sign_up_day"].min())
    dead = 1 - ((1 - effects.DEAD_AT_SIGN_UP) * (1 - effects.DIES) ** (state.next_day - heard)).mean()
    hidden = effects.SCANNED_MAILBOXES * effects.HIDDEN_SCANNERS
    arrives = ~played.hard & ~played.soft
    for happened, tried, rate in (
        (by_person(played.hard).all(axis=1).sum(), people, dead),
        (by_person(played.hard).any(axis=1).sum(), people, dead),
        (played.soft.sum(), (~played.hard).sum(), effects.SOFT_BOUNCES),
        ((by_person(played.machine_opens) == by_person(arrives))[by_person(arrives).any(axis=1)].all(axis=1).sum(),
         by_person(arrives).any(axis=1).sum(), effects.MACHINE_READERS),
        ((scanner == 1).sum(), people, effects.SCANNED_MAILBOXES - hidden),
        ((scanner == 2).sum(), people, hidden),
    ):  # fmt: skip
        assert stats.binomtest(int(happened), int(tried), rate).pvalue > LEVEL


@pytest.mark.parametrize(
    ("what", "of", "source"),
    [
        ("opened", "delivered", 0.1568),
        ("clicked", "delivered", 0.0201),
        ("unsubscribed", "delivered", 0.0027),
        ("soft", "sent", 0.0026),
        ("hard", "sent", 0.0019),
    ],
)
def test_the_shops_newsletter_is_read_like_a_retailers(plain, what, of, source):
    """Within twice and half of what Mailchimp found in e-commerce in October 2019, before machines opened mail."""
    assert source / 2 < plain.newsletters[what] / plain.newsletters[of] < source * 2


def season(day: int) -> float:
    """How busy a day of the year is, by the table: Christmas, January and spring."""
    of_year = chance.date_of(day).timetuple().tm_yday
    humps = ((0.75, 340, 16.0), (-0.25, 15, 18.0), (0.12, 128, 14.0))
    return 0.95 + sum(height * np.exp(-(((of_year - middle) / width) ** 2)) for height, middle, width in humps)


WEEKDAYS = np.array([1.05, 1.0, 1.0, 1.0, 0.92, 0.95, 1.08])  # Monday first


@pytest.fixture(scope="module")
def year() -> Played:
    """A year with its seasons and birthdays, without any effect of mail."""
    behaviour = Behaviour(seasons=True, birthdays=True, fatigue=False, mail_effect=False)
    return play(World(21, 12_000, 365, shop_laws.TODAY, behaviour=behaviour, dirt=Dirt.off()))


@pytest.mark.slow
def test_visits_follow_the_weekday_and_the_season(year):
    """Of those who have not left: that somebody stays says nothing of their visits."""
    people, end = year.bought.state.people, year.bought.end
    days = np.arange(end - 365, end)
    stays = people["active"] & (people["account"] >= 0)
    seen = stays[year.person] & (year.day > people["sign_up_day"][year.person])
    counts = np.bincount(year.day[seen] - days[0], minlength=365)
    joined = np.searchsorted(np.sort(people["sign_up_day"][stays]), days)
    rates = np.append(0.0, np.cumsum(people["visit_rate"][stays][np.argsort(people["sign_up_day"][stays])]))[joined]
    busy = np.array([season(int(day)) for day in days])
    expected = rates * busy * WEEKDAYS[(days + 3) % 7]
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12

    def fits(cell: np.ndarray, law: np.ndarray) -> float:
        found, wanted = np.bincount(cell, weights=counts), np.bincount(cell, weights=law)
        return float(stats.chi2.sf(((found - wanted) ** 2 / wanted).sum(), len(wanted)))

    assert fits((days + 3) % 7, expected) > LEVEL
    assert fits(month, expected) > LEVEL
    assert fits((days + 3) % 7, rates * busy) < LEVEL
    assert fits(month, expected / busy) < LEVEL


@pytest.mark.slow
def test_orders_follow_the_season_by_person_and_the_birthday(year):
    """First repeat orders against the sum of every day's chance of those who have not ordered again."""
    people, orders, end = year.bought.state.people, year.bought.orders, year.bought.end
    first = orders[orders["nth"] == 0].set_index("person")["day"]
    person = first.index.to_numpy()
    second = orders[orders["nth"] == 1].set_index("person")["day"].reindex(person).fillna(end).to_numpy()
    rate, follows, birthday = (people[name][person] for name in ("purchase_rate", "seasonal", "birthday"))
    cells = {"month": np.zeros((12, 3)), "birthday": np.zeros((2, 3))}
    for day in range(end - 365, end):
        waits = (first.to_numpy() < day) & (second >= day)
        near = chance.days_from_birthday(birthday, day) <= 7
        busy = np.maximum(1 + follows * (season(day) - 1), 0.05) * np.where(near, effects.BIRTHDAY_FACTOR, 1.0)
        orders_now = -np.expm1(-rate * busy)
        for name, cell in (("month", chance.date_of(day).month - 1), ("birthday", near.astype(int))):
            values = np.stack([second == day, orders_now, orders_now * (1 - orders_now)], axis=1)[waits]
            np.add.at(cells[name], np.broadcast_to(cell, waits.shape)[waits], values)
    for found, expected, variance in (table.T for table in cells.values()):
        assert stats.chi2.sf(((found - expected) ** 2 / variance).sum(), len(found)) > LEVEL


@pytest.mark.slow
def test_bg_nbd_recovers_what_was_planted_in_200000_customers():
    bought = shop_laws.play(shop_laws.plain_world(seed=1, customers=200_000, days=365))
    people = shop_laws.summary(bought)
    assert len(people) > 150_000
    fitted = bg_nbd.fit(people)
    assert fitted.converged
    for name, (found, planted) in shop_laws.recovery(fitted).items():
        assert found == pytest.approx(planted, rel=shop_laws.MARGIN), name


PUBLIC = {"first_name", "last_name"}  # the names of people are in the CRM; every other column of PEOPLE is hidden


def keys_and_numbers(value, keys: set[str], numbers: set[float]) -> None:
    if isinstance(value, dict):
        keys |= value.keys()
        for part in value.values():
            keys_and_numbers(part, keys, numbers)
    elif isinstance(value, list):
        for part in value:
            keys_and_numbers(part, keys, numbers)
    elif isinstance(value, float):
        numbers.add(round(value, 6))


def test_no_list_of_the_api_tells_a_trait(tmp_path):
    app = create_app(home=tmp_path, seed=22, customers=60, days=40, today=shop_laws.TODAY)
    keys: set[str] = set()
    numbers: set[float] = set()
    with TestClient(app) as client:
        for entity, *_ in LISTS:
            query: dict[str, object] = {"page_size": 1000}
            while True:
                page = client.get(f"/v1/{entity}", params=query).raise_for_status().json()
                assert page["data"], entity
                keys_and_numbers(page["data"], keys, numbers)
                if page["next_cursor"] is None:
                    break
                query["cursor"] = page["next_cursor"]
        keys_and_numbers(client.get("/openapi.json").json()["components"], keys, set())
        from letterpress.demo.truth import of_shop

        people = of_shop(tmp_path).state.people
    hidden = PEOPLE.keys() - PUBLIC
    camel = {name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in hidden}
    assert not keys & (hidden | camel)
    traits = [
        people[name].ravel() for name, (dtype, _) in PEOPLE.items() if dtype.startswith("f") and name != "pressure"
    ]
    drawn = {round(float(value), 6) for values in traits for value in values if value % 1}
    assert len(drawn) > 1_000
    assert not numbers & drawn


OFFENCES = (
    "from letterpress.demo import truth",
    "from letterpress.demo.truth import of_shop",
    "import letterpress.demo",
)
CLOSED = (
    "ml/models",
    "expectations/suites",
    "plugins/letterpress/sources",
    "plugins/letterpress/activation",
    "dags",
    "dbt_project",
)


@pytest.mark.parametrize("room", [*CLOSED, "plugins/letterpress/demo/shop"])
@pytest.mark.parametrize("line", OFFENCES)
def test_the_linter_refuses_the_truth_outside_tests_and_benchmarks(room, line):
    if room.endswith("demo/shop") and "truth" not in line:
        assert "TID251" not in lint(f"{room}/new.py", line)
    else:
        assert "TID251" in lint(f"{room}/new.py", line)


@pytest.mark.parametrize("room", ["tests/demo", "benchmarks"])
def test_tests_and_benchmarks_may_know_the_truth(room):
    assert "TID251" not in lint(f"{room}/new.py", OFFENCES[0])


def lint(path: str, line: str) -> str:
    """What the linter says of a file of one import."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID", "--stdin-filename", path, "-"]
    found = subprocess.run(command, cwd=REPOSITORY, input=f"{line}\n", capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    return found.stdout
