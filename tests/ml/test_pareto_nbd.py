"""Pareto/NBD reproduces the literature, whatever the order of the rows and the unit of time."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from ml.lifetime import bg_nbd, pareto_nbd
from ml.lifetime.bg_nbd import BgNbd
from ml.lifetime.histories import group
from ml.lifetime.intervals import purchase_quantile, value_quantile
from ml.lifetime.pareto_nbd import ParetoNbd
from ml.lifetime.summary import summarise

PUBLISHED = {"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}


def summary_of(rows):
    return pd.DataFrame(rows, columns=["purchases", "recency", "age"])


def model(r=0.553, alpha=10.578, s=0.606, beta=11.669):
    return ParetoNbd(r, alpha, s, beta, 0.0, True, None)


def simulate(customers, seed, r=0.6, alpha=10.0, s=0.7, beta=12.0, ahead=0.0):
    """Histories by the model's story, and the purchases in the time after them."""
    chance = np.random.default_rng(seed)
    age = chance.uniform(20, 40, customers)
    rate, life = chance.gamma(r, 1 / alpha, customers), chance.exponential(1 / chance.gamma(s, 1 / beta, customers))
    active = np.minimum(life, age)
    purchases = chance.poisson(rate * active)
    recency = np.where(purchases > 0, active * chance.beta(np.maximum(purchases, 1), 1), 0.0)
    later = chance.poisson(rate * np.clip(life - age, 0, ahead))
    return summary_of(np.column_stack([purchases, recency, age])), later


@pytest.fixture(scope="module")
def simulated():
    return simulate(1500, seed=5)[0]


def test_cdnow_from_its_transactions_gives_every_published_digit(cdnow_orders):
    fitted = pareto_nbd.fit(summarise(cdnow_orders, until=date(1997, 9, 30)))
    assert {name: round(getattr(fitted, name), 3) for name in PUBLISHED} == PUBLISHED
    assert fitted.log_likelihood == pytest.approx(-9594.98, abs=0.01)
    assert fitted.converged
    assert fitted.boundary is None


def test_rows_in_any_order_give_the_same_bits(simulated):
    assert pareto_nbd.fit(simulated.sample(frac=1, random_state=5)) == pareto_nbd.fit(simulated)


def test_planted_parameters_are_recovered():
    fitted = pareto_nbd.fit(simulate(20_000, seed=2)[0])
    assert fitted.r == pytest.approx(0.6, rel=0.1)
    assert fitted.alpha == pytest.approx(10.0, rel=0.1)
    assert fitted.s == pytest.approx(0.7, rel=0.25)
    assert fitted.beta == pytest.approx(12.0, rel=0.4)


@pytest.mark.parametrize("unit", [1 / 7, 7.0])
def test_the_unit_of_time_changes_alpha_and_beta_alone(simulated, unit):
    fitted = pareto_nbd.fit(simulated)
    scaled = pareto_nbd.fit(simulated.assign(recency=simulated["recency"] * unit, age=simulated["age"] * unit))
    assert (scaled.r, scaled.s) == (pytest.approx(fitted.r, rel=1e-4), pytest.approx(fitted.s, rel=1e-4))
    assert scaled.alpha == pytest.approx(fitted.alpha * unit, rel=1e-4)
    assert scaled.beta == pytest.approx(fitted.beta * unit, rel=1e-4)


def test_nobody_leaving_is_the_boundary_and_is_reported():
    chance = np.random.default_rng(11)
    age = chance.uniform(20, 40, 1500)
    purchases = chance.poisson(chance.gamma(0.8, 0.12, 1500) * age)
    # The last purchase a little later than by chance, or leaving would explain some of the noise.
    recency = np.where(purchases > 0, age * chance.beta(purchases + 2.0, 1), 0.0)
    rows = summary_of(np.column_stack([purchases, recency, age]))
    fitted, other = pareto_nbd.fit(rows), bg_nbd.fit(rows)
    assert (fitted.s, fitted.beta, fitted.boundary) == (0, None, "s -> 0")
    assert (fitted.r, fitted.alpha) == (other.r, other.alpha)
    assert (fitted.probability_alive(rows) == 1).all()


def test_online_retail_sits_on_the_boundary(online_retail_orders):
    fitted = pareto_nbd.fit(summarise(online_retail_orders, until=date(2011, 7, 1)))
    assert fitted.boundary == "s -> 0"
    assert fitted.converged


@settings(max_examples=80, deadline=None)
@given(
    r=st.floats(0.05, 20),
    alpha=st.floats(0.05, 200),
    s=st.floats(0.02, 50),
    beta=st.floats(0.05, 2000),
    purchases=st.integers(0, 150),
    share=st.floats(0.01, 1.0),
)
def test_closed_form_and_integral_agree(r, alpha, s, beta, purchases, share):
    """The likelihood in 2F1, as printed, against the integral that it came from, by another integrator."""
    age = 40.0
    t_x = age * share if purchases else 0.0
    rows = summary_of([(purchases, t_x, age)])
    log_alive = -(r + purchases) * np.log(alpha + age) - s * np.log(beta + age)

    def gone(time):
        log = np.log(s) - (r + purchases) * np.log(alpha + time) - (s + 1) * np.log(beta + time)
        return np.exp(log - log_alive)

    total, _ = quad(gone, t_x, age, epsabs=0, epsrel=1e-10, limit=200)
    assert model(r, alpha, s, beta).probability_alive(rows)[0] == pytest.approx(1 / (1 + total), rel=1e-6)


def test_what_is_maximised_is_the_closed_form_and_its_slopes(simulated):
    data = group(simulated)
    for point in (np.log([0.5, 0.3, 0.6, 0.4]), np.log([0.5, 0.3, 2.0, 5.0])):
        value, gradient = pareto_nbd._log_likelihood(point, data)
        assert value == pytest.approx(pareto_nbd.log_likelihood(np.exp(point), data), rel=1e-10)
        for index in range(4):
            step = np.zeros(4)
            step[index] = 1e-5
            up, down = (pareto_nbd.log_likelihood(np.exp(point + s), data) for s in (step, -step))
            assert gradient[index] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    "fitted", [model(0.6, 10.0, 0.7, 12.0), model(0.6, 10.0, 1.0, 12.0), model(0.6, 10.0, 2.0, 30.0)]
)
def test_outlook_is_what_happens_by_the_models_own_story(fitted):
    rows, later = simulate(200_000, 3, fitted.r, fitted.alpha, fitted.s, fitted.beta, ahead=30.0)
    (outlook,) = fitted.outlook(rows, (30.0,))
    assert outlook.expected.mean() == pytest.approx(later.mean(), rel=0.03)
    assert outlook.pairs.mean() == pytest.approx((later * (later - 1)).mean(), rel=0.15)
    assert outlook.none.mean() == pytest.approx((later == 0).mean(), abs=0.005)
    often = rows["purchases"] >= 4
    assert outlook.expected[often].mean() == pytest.approx(later[often].mean(), rel=0.03)
    assert outlook.none[often].mean() == pytest.approx((later[often] == 0).mean(), abs=0.01)


def test_outlook_of_bg_nbd_is_what_happens_by_its_own_story():
    """Customers with one history: rates and drop-out drawn from what is known of them."""
    chance, many = np.random.default_rng(4), 100_000
    fitted = BgNbd(0.6, 8.0, 0.8, 2.5, 0.0, True, None)
    for purchases, recency in ((0, 0.0), (2, 25.0), (12, 29.0)):
        rows = summary_of([(purchases, recency, 30.0)])
        (outlook,) = fitted.outlook(rows, (26.0,))
        rate, leave = chance.gamma(0.6 + purchases, 1 / 38.0, many), chance.beta(0.8, 2.5 + purchases, many)
        alive = chance.random(many) < fitted.probability_alive(rows)[0]
        count, time = np.zeros(many), chance.exponential(1 / rate)
        while (going := alive & (time < 26.0)).any():
            count += going
            alive &= ~(going & (chance.random(many) < leave))
            time = np.where(going, time + chance.exponential(1 / rate), time)
        assert outlook.expected[0] == pytest.approx(count.mean(), rel=0.03)
        assert outlook.none[0] == pytest.approx((count == 0).mean(), abs=0.01)
        assert outlook.pairs[0] == pytest.approx((count * (count - 1)).mean(), rel=0.12)


def test_intervals_of_purchases_and_value_hold_by_the_models_own_story():
    fitted = model(1.2, 10.0, 0.7, 30.0)
    rows, later = simulate(100_000, 6, fitted.r, fitted.alpha, fitted.s, fitted.beta, ahead=30.0)
    (outlook,) = fitted.outlook(rows, (30.0,))
    value = np.random.default_rng(7).gamma(4.0 * np.maximum(later, 1e-12), 10.0) * (later > 0)
    mean = np.full(len(rows), 40.0)
    square = mean**2 * 1.25
    for share in (0.8, 0.9, 0.95):
        most = purchase_quantile(outlook, share)
        assert share - 0.01 <= np.mean(later <= most) <= 0.99
        assert np.mean(later < most) <= share + 0.01
        dearest = value_quantile(outlook, mean, square, mean**2, share)
        likely = outlook.none < share  # where nothing at all is likelier than that, the quantile is zero
        assert np.mean(value[likely] <= dearest[likely]) == pytest.approx(share, abs=0.02)
        assert (dearest[~likely] == 0).all()


def test_a_shop_larger_than_the_sample_is_fitted_on_customers_like_its_own(simulated, monkeypatch):
    many = pd.concat([simulate(1500, seed)[0] for seed in range(8)], ignore_index=True)
    whole = pareto_nbd.fit(many)
    monkeypatch.setattr(pareto_nbd, "CUSTOMERS", 4000)
    part = pareto_nbd.fit(many)
    assert part.r == pytest.approx(whole.r, rel=0.1)
    assert part.alpha == pytest.approx(whole.alpha, rel=0.1)


def test_the_first_look_at_a_sample_changes_no_digit_of_the_answer(simulated, monkeypatch):
    from ml.lifetime import likelihood

    whole = bg_nbd.fit(simulated)
    monkeypatch.setattr(likelihood, "FIRST_LOOK", 300)
    found = bg_nbd.fit(simulated)
    for name in ("r", "alpha", "a", "b", "log_likelihood"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=1e-6)
