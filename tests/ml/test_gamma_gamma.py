"""Gamma-Gamma reproduces the literature, whatever the order of the rows and the currency."""

from datetime import date

import numpy as np
import pytest

from ml.lifetime import gamma_gamma
from ml.lifetime.gamma_gamma import GammaGamma
from ml.lifetime.simple import pooled_spend
from ml.lifetime.summary import summarise


@pytest.fixture(scope="module")
def simulated():
    chance = np.random.default_rng(4)
    purchases = chance.integers(1, 12, 8000).astype(float)
    nu = chance.gamma(3.7, 1 / 15.4, 8000)
    return purchases, chance.gamma(6.2 * purchases, 1 / (nu * purchases))


def test_cdnow_from_its_transactions_gives_every_published_digit(cdnow_orders):
    summary = summarise(cdnow_orders, until=date(1997, 9, 30))
    repeat = summary[summary["purchases"] > 0]
    fitted = gamma_gamma.fit(repeat["purchases"], repeat["repeat_spend"])
    assert len(repeat) == 946
    assert (round(fitted.p, 2), round(fitted.q, 2), round(fitted.v, 2)) == (6.25, 3.74, 15.44)
    assert round(fitted.log_likelihood, 2) == -4055.92
    assert fitted.converged


def test_cdnow_from_its_summary_gives_the_published_fit_but_for_its_rounding(cdnow_summary):
    """The summary's means are rounded up to pence, which moves v by .004 and leaves the likelihood."""
    repeat = cdnow_summary[cdnow_summary["purchases"] > 0]
    fitted = gamma_gamma.fit(repeat["purchases"], repeat["repeat_spend"])
    assert (round(fitted.p, 2), round(fitted.q, 2)) == (6.25, 3.74)
    assert fitted.v == pytest.approx(15.44, abs=0.01)
    assert round(fitted.log_likelihood, 2) == -4055.92


def test_planted_parameters_are_recovered(simulated):
    fitted = gamma_gamma.fit(*simulated)
    assert fitted.p == pytest.approx(6.2, rel=0.15)
    assert fitted.q == pytest.approx(3.7, rel=0.15)
    assert fitted.population_mean == pytest.approx(6.2 * 15.4 / 2.7, rel=0.05)


def test_rows_in_any_order_give_the_same_bits(simulated):
    order = np.random.default_rng(0).permutation(len(simulated[0]))
    assert gamma_gamma.fit(simulated[0][order], simulated[1][order]) == gamma_gamma.fit(*simulated)


@pytest.mark.parametrize("rate", [0.01, 120.0])
def test_the_currency_changes_v_alone(simulated, rate):
    fitted, other = gamma_gamma.fit(*simulated), gamma_gamma.fit(simulated[0], simulated[1] * rate)
    assert other.p == pytest.approx(fitted.p, rel=1e-4)
    assert other.q == pytest.approx(fitted.q, rel=1e-4)
    assert other.v == pytest.approx(fitted.v * rate, rel=1e-4)


def test_the_expectation_moves_from_everybodys_mean_to_the_customers_own():
    fitted = GammaGamma(6.25, 3.74, 15.44, 0.0, True, None)
    spend = fitted.expected_spend(np.array([0, 1, 1000]), np.array([0.0, 80.0, 80.0]))
    assert spend[0] == pytest.approx(fitted.population_mean)
    assert fitted.population_mean < spend[1] < 80
    assert spend[2] == pytest.approx(80, rel=0.001)


def test_customers_without_a_value_are_refused():
    with pytest.raises(ValueError, match="positive mean spend"):
        gamma_gamma.fit(np.array([1.0, 2.0]), np.array([5.0, 0.0]))


def test_the_pooled_mean_counts_as_one_more_purchase():
    pooled = pooled_spend(np.array([1, 3]), np.array([10.0, 20.0]))
    assert pooled.mean == 17.5
    assert pooled.expected_spend(np.array([0, 1]), np.array([0.0, 10.0])).tolist() == [17.5, 13.75]
