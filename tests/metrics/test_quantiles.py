import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.errors import DataError
from candelabra.metrics import quantiles as q
from candelabra.metrics.forecast import share
from candelabra.models.base import QUANTILE_LEVELS

LEVELS = QUANTILE_LEVELS


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0001, 10.0))
def test_crps_is_never_negative_and_scales_with_the_unit(seed, unit):
    rng = np.random.default_rng(seed)
    quantiles, actual = np.sort(rng.normal(size=(20, len(LEVELS))), axis=1), rng.normal(size=20)
    score = q.crps(quantiles, actual, LEVELS)
    assert np.all(score >= 0.0)
    np.testing.assert_allclose(q.crps(quantiles * unit, actual * unit, LEVELS), score * unit, rtol=1e-9)


def test_crps_of_a_point_mass_is_the_absolute_error():
    actual = np.array([0.3, -2.0, 1.0, 4.0])
    np.testing.assert_allclose(q.crps(np.ones((4, len(LEVELS))), actual, LEVELS), np.abs(actual - 1.0), atol=1e-12)


def test_crps_comes_near_the_closed_form_of_the_normal():
    """CRPS of N(0, 1): y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi) (Gneiting and Raftery 2007)."""
    actual = np.random.default_rng(0).normal(size=4000)
    table = np.tile(stats.norm.ppf(LEVELS), (4000, 1))
    exact = actual * (2 * stats.norm.cdf(actual) - 1) + 2 * stats.norm.pdf(actual) - 1 / np.sqrt(np.pi)
    assert q.crps(table, actual, LEVELS).mean() == pytest.approx(exact.mean(), rel=0.01)


def test_weights_of_uneven_levels_sum_to_one_and_give_the_plain_mean_for_even_ones():
    assert q.level_weights(LEVELS).sum() == pytest.approx(1.0)
    even = tuple((k + 0.5) / 10 for k in range(10))
    np.testing.assert_allclose(q.level_weights(even), 0.1)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**31), st.floats(0.02, 1.0))
def test_pinball_is_least_at_the_quantile_of_the_sample(level, seed, shift):
    actual = np.random.default_rng(seed).normal(size=999)
    best = np.quantile(actual, level, method="inverted_cdf")
    losses = [q.pinball(np.full((999, 1), value), actual, (level,)).mean() for value in (best - shift, best, best + shift)]
    assert losses[1] <= losses[0] + 1e-12
    assert losses[1] <= losses[2] + 1e-12


def test_the_true_distribution_has_uniform_pit_and_stated_coverage():
    rng = np.random.default_rng(5)
    scale = np.exp(rng.normal(size=20_000))
    actual, table = rng.normal(size=20_000) * scale, stats.norm.ppf(LEVELS) * scale[:, None]
    shares = q.pit_histogram(q.pit_values(table, actual, LEVELS))
    assert np.abs(shares - 0.1).max() < 4 * np.sqrt(0.09 / 20_000)
    for coverage in (0.5, 0.8, 0.9, 0.98):
        estimate = share(q.covered(table, actual, LEVELS, coverage))
        assert abs(estimate.value - coverage) < 4 * estimate.standard_error


def test_a_forecast_that_is_too_narrow_shows_in_both_tails_of_the_pit():
    actual = np.random.default_rng(6).normal(size=5000)
    shares = q.pit_histogram(q.pit_values(np.tile(0.5 * stats.norm.ppf(LEVELS), (5000, 1)), actual, LEVELS))
    assert shares[0] > 0.2
    assert shares[-1] > 0.2


def test_pit_rises_with_the_outcome_and_is_exact_on_the_quantiles():
    table = np.tile(stats.norm.ppf(LEVELS), (400, 1))
    pit = q.pit_values(table, np.linspace(-4, 4, 400), LEVELS)
    assert np.all(np.diff(pit) >= 0.0)
    assert pit[0] == pytest.approx(0.005)
    assert pit[-1] == pytest.approx(0.995)
    np.testing.assert_allclose(q.pit_values(np.tile(table[0], (21, 1)), table[0], LEVELS), LEVELS, atol=1e-12)
    assert q.pit_values([[0.0] * 21], [0.0], LEVELS)[0] == pytest.approx(0.5)


def test_rows_with_holes_are_nan_not_zero():
    table, actual = np.tile(stats.norm.ppf(LEVELS), (3, 1)), np.array([0.1, np.nan, 0.2])
    table[2, 4] = np.nan
    for values in (q.crps(table, actual, LEVELS), q.pit_values(table, actual, LEVELS)):
        assert np.isnan(values).tolist() == [False, True, True]
    assert np.isnan(q.covered(table, actual, LEVELS, 0.9)).tolist() == [False, True, False]


def test_levels_that_fall_or_do_not_fit_are_refused():
    with pytest.raises(DataError, match="must rise"):
        q.pinball([[0.0, 1.0]], [0.0], (0.9, 0.1))
    with pytest.raises(DataError, match="do not fit"):
        q.pinball([[0.0, 1.0]], [0.0, 1.0], (0.1, 0.9))
    with pytest.raises(DataError, match="central interval of 75%"):
        q.covered([[0.0, 1.0]], [0.5], (0.1, 0.9), 0.75)
