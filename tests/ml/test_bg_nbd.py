"""BG/NBD reproduces the literature, whatever the order of the rows and the unit of time."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad

from ml.lifetime import bg_nbd
from ml.lifetime.bg_nbd import BgNbd
from ml.lifetime.histories import group
from ml.lifetime.likelihood import maximise
from ml.lifetime.summary import summarise

PUBLISHED = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}


def summary_of(rows):
    return pd.DataFrame(rows, columns=["purchases", "recency", "age"])


def model(a=0.793, b=2.426, r=0.243, alpha=4.414):
    return BgNbd(r, alpha, a, b, 0.0, True, None)


@pytest.fixture(scope="module")
def simulated():
    chance = np.random.default_rng(3)
    age = chance.uniform(20, 40, 600)
    purchases = chance.poisson(chance.gamma(0.5, 0.1, 600) * age)
    recency = np.where(purchases > 0, age * chance.beta(1.0 + purchases, 1.0), 0.0)
    return summary_of(np.column_stack([purchases, recency, age]))


def test_cdnow_from_its_summary_gives_every_published_digit(cdnow_summary):
    fitted = bg_nbd.fit(cdnow_summary)
    assert {name: round(getattr(fitted, name), 3) for name in PUBLISHED} == PUBLISHED
    assert fitted.log_likelihood == pytest.approx(-9582.43, abs=0.01)
    assert fitted.converged
    assert fitted.boundary is None


def test_cdnow_from_its_transactions_gives_every_published_digit(cdnow_orders):
    summary = summarise(cdnow_orders, until=date(1997, 9, 30))
    fitted = bg_nbd.fit(summary)
    assert len(summary) == 2357
    assert {name: round(getattr(fitted, name), 3) for name in PUBLISHED} == PUBLISHED
    assert fitted.log_likelihood == pytest.approx(-9582.43, abs=0.01)


def test_the_published_example_customer_is_expected_to_buy_1_23_times_in_39_weeks():
    """Fader, Hardie and Lee 2005: x = 2, t_x = 30.43, T = 38.86 gives 1.226."""
    expected = model().expected_purchases(summary_of([(2, 30.43, 38.86)]), 39.0)
    assert expected[0] == pytest.approx(1.226, abs=0.001)


def test_who_never_bought_again_cannot_have_dropped_out():
    alive = model().probability_alive(summary_of([(0, 0.0, 38.86), (2, 30.43, 38.86), (9, 3.0, 38.86)]))
    assert alive[0] == 1
    assert 0.7 < alive[1] < 0.75
    assert alive[2] < 0.01


def test_rows_in_any_order_give_the_same_bits(simulated):
    fitted = bg_nbd.fit(simulated)
    shuffled = bg_nbd.fit(simulated.sample(frac=1, random_state=5))
    assert shuffled == fitted


@pytest.mark.parametrize("unit", [1 / 7, 7.0, 365.25])
def test_the_unit_of_time_changes_alpha_alone(simulated, unit):
    fitted = bg_nbd.fit(simulated)
    scaled = bg_nbd.fit(simulated.assign(recency=simulated["recency"] * unit, age=simulated["age"] * unit))
    assert scaled.r == pytest.approx(fitted.r, rel=1e-5)
    assert scaled.alpha == pytest.approx(fitted.alpha * unit, rel=1e-5)
    if fitted.a == 0:
        assert scaled.a == 0
    else:
        assert scaled.a == pytest.approx(fitted.a, rel=1e-4)
        assert scaled.b == pytest.approx(fitted.b, rel=1e-4)
    lost = simulated["purchases"].sum() * np.log(unit)
    assert scaled.log_likelihood == pytest.approx(fitted.log_likelihood - lost, rel=1e-8)


def test_nobody_dropping_out_is_the_boundary_and_is_reported():
    chance = np.random.default_rng(11)
    rows = []
    for _ in range(1500):
        age = chance.uniform(20, 40)
        times = np.sort(chance.uniform(0, age, chance.poisson(chance.gamma(0.8, 0.12) * age)))
        rows.append((len(times), times[-1] if len(times) else 0.0, age))
    fitted = bg_nbd.fit(summary_of(rows))
    assert fitted.a == 0
    assert fitted.b is None
    assert fitted.boundary == "a -> 0"
    assert fitted.r == pytest.approx(0.8, rel=0.2)
    assert fitted.alpha == pytest.approx(1 / 0.12, rel=0.25)


def test_online_retail_sits_on_the_boundary(online_retail_orders):
    summary = summarise(online_retail_orders, until=date(2011, 7, 1))
    fitted = bg_nbd.fit(summary)
    expected = fitted.expected_purchases(summary, 90 / 7)
    assert fitted.boundary == "a -> 0"
    assert fitted.converged
    assert np.isfinite(expected).all()
    assert (fitted.probability_alive(summary) == 1).all()


def test_the_boundary_is_the_limit_of_the_model():
    rows = summary_of([(0, 0.0, 20.0), (3, 15.0, 20.0), (40, 19.0, 20.0)])
    limit = BgNbd(0.7, 9.0, 0.0, None, 0.0, True, "a -> 0").expected_purchases(rows, 13.0)
    near = model(a=1e-6, b=10.0, r=0.7, alpha=9.0).expected_purchases(rows, 13.0)
    assert near == pytest.approx(limit, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    a=st.one_of(st.just(1.0), st.floats(0.01, 20), st.floats(20, 1000)),
    b=st.one_of(st.floats(0.05, 200), st.floats(200, 1e5)),
    r=st.floats(0.05, 20),
    purchases=st.integers(0, 400),
    horizon=st.floats(0.1, 200),
)
def test_closed_form_and_integral_agree(a, b, r, purchases, horizon):
    fitted = model(a=a, b=b, r=r)
    age = np.array([40.0])
    rows = summary_of([(purchases, 30.0 if purchases else 0.0, 40.0)])
    expected = fitted.expected_purchases(rows, horizon)
    alive = fitted.probability_alive(rows)
    integral = fitted._purchases_while_alive(np.array([float(purchases)]), age, horizon)
    assert expected == pytest.approx(integral * alive, rel=1e-3)
    assert np.isfinite(expected).all()
    assert 0 <= expected[0] <= (r + purchases) / (4.414 + 40) * horizon * (1 + 1e-9)


def test_the_integral_is_the_expectation_over_rate_and_drop_out():
    """An independent check: integrate over gamma and beta by quadrature."""
    from scipy.stats import beta, gamma

    fitted, x, age, horizon = model(a=2.0, b=3.0, r=1.5, alpha=5.0), 2.0, 20.0, 10.0
    rate, leave = gamma(1.5 + x, scale=1 / (5.0 + age)), beta(2.0, 3.0 + x)

    def density(p, lam):
        return (1 - np.exp(-lam * p * horizon)) / p * rate.pdf(lam) * leave.pdf(p)

    brute, _ = dblquad(density, 0, rate.ppf(1 - 1e-10), 1e-9, 1)
    ours = fitted._purchases_while_alive(np.array([x]), np.array([age]), horizon)
    assert ours[0] == pytest.approx(brute, rel=1e-5)


def test_gradients_are_the_slopes_of_the_likelihood(simulated):
    histories, point = group(simulated), np.log([0.4, 5.0, 0.6, 2.0])
    _, gradient = bg_nbd._log_likelihood(point, histories)
    for index in range(4):
        step = np.zeros(4)
        step[index] = 1e-6
        up, down = (bg_nbd._log_likelihood(point + s, histories)[0] for s in (step, -step))
        assert gradient[index] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-3)


def test_a_likelihood_that_only_grows_ends_on_its_bound():
    found = maximise(lambda point: (float(point.sum()), np.ones(1)), [[1.0]], [(0.1, 10.0)])
    assert found.parameters[0] == pytest.approx(10.0)
    assert found.on_bound == (0,)
