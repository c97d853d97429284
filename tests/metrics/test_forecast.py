import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.metrics import forecast as f


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    actual = rng.normal(0.0, 0.01, 500)
    return actual, 0.3 * actual + rng.normal(0.0, 0.01, 500)


def test_losses_agree_with_plain_formulas_on_prices(pair):
    actual, forecast = pair
    price = 40_000.0
    mape = np.mean(np.abs(price * np.exp(forecast) - price * np.exp(actual)) / (price * np.exp(actual)))
    assert f.mean_loss(f.price_percentage_error(actual, forecast)) == pytest.approx(mape, rel=1e-9)
    assert f.mean_loss(f.squared_error(actual, forecast)) == pytest.approx(np.mean((actual - forecast) ** 2))
    mase = f.mean_loss(f.absolute_error(actual, forecast)) / f.naive_error(actual)
    assert mase == pytest.approx(np.abs(actual - forecast).sum() / np.abs(actual).sum())


def test_the_zero_forecast_has_a_mase_of_one_on_its_own_train_range(pair):
    actual, _ = pair
    assert f.mean_loss(f.absolute_error(actual, np.zeros(500))) / f.naive_error(actual) == pytest.approx(1.0)


def test_rows_without_forecast_or_outcome_leave_every_figure_unchanged(pair):
    actual, forecast = pair
    holed_a, holed_f = np.insert(actual, [3, 70], [np.nan, 5.0]), np.insert(forecast, [3, 70], [7.0, np.nan])
    for figure in (f.correlation, f.rank_correlation, f.r2, lambda a, b: f.directional_accuracy(a, b).value, f.variance_scale):
        assert figure(holed_a, holed_f) == pytest.approx(figure(actual, forecast), rel=1e-12)


def test_no_row_at_all_is_nan_without_a_warning():
    empty = np.full(4, np.nan)
    assert np.isnan(f.mean_loss(empty))
    assert np.isnan(f.r2(empty, empty))
    assert np.isnan(f.correlation(empty, empty))
    assert np.isnan(f.directional_accuracy(empty, empty).value)


def test_direction_ignores_forecasts_that_name_none():
    accuracy = f.directional_accuracy([1.0, -1.0, 1.0, 0.0], [0.0, -2.0, -1.0, 1.0])
    assert accuracy.value == 0.5


def test_the_standard_error_of_direction_counts_overlapping_rows_once():
    rng = np.random.default_rng(2)
    actual = rng.normal(size=2400)
    dense, overlapping = f.directional_accuracy(actual, rng.normal(size=2400)), f.directional_accuracy(actual, np.ones(2400), horizon=24)
    assert dense.standard_error == pytest.approx(np.sqrt(dense.value * (1 - dense.value) / 2400))
    assert overlapping.standard_error == pytest.approx(np.sqrt(overlapping.value * (1 - overlapping.value) / 100))


def test_that_standard_error_is_what_repetition_shows_for_overlapping_returns():
    """A constant "up" against 24-bar returns: the spread of the hit rate over repetitions is near its stated error."""
    rng = np.random.default_rng(3)
    rates, errors = [], []
    for _ in range(200):
        walk = np.cumsum(rng.normal(size=1224))
        estimate = f.directional_accuracy(walk[24:] - walk[:-24], np.ones(1200), horizon=24)
        rates.append(estimate.value)
        errors.append(estimate.standard_error)
    assert 0.6 < np.std(rates) / np.mean(errors) < 1.2


def test_correlations_agree_with_scipy_even_with_ties():
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 9, 300).astype(float), rng.integers(0, 9, 300).astype(float)
    assert f.correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert f.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_r2_is_zero_for_the_mean_and_negative_for_worse():
    actual = np.arange(10.0)
    assert f.r2(actual, np.full(10, 4.5)) == pytest.approx(0.0)
    assert f.r2(actual, actual) == 1.0
    assert f.r2(actual, actual + 10.0) < 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 2), min_size=3, max_size=30), st.integers(0, 2**31))
def test_qlike_is_never_negative_and_least_at_the_mean_ratio(actual, seed):
    a = np.array(actual)
    forecast = a + np.random.default_rng(seed).normal(0, 0.5, a.size)
    best = f.variance_scale(a, forecast)
    assert np.all(f.qlike(a, forecast, best) >= -1e-12)
    least = f.qlike(a, forecast, best).mean()
    assert least <= f.qlike(a, forecast, best * 1.05).mean() + 1e-12
    assert least <= f.qlike(a, forecast, best / 1.05).mean() + 1e-12
    assert f.mean_loss(f.qlike(a, a)) == pytest.approx(0.0, abs=1e-12)
