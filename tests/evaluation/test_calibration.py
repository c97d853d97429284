import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError
from candelabra.evaluation.calibration import Outcomes, fit_calibration, mean_shrinkage, outcomes
from candelabra.metrics.calibration import apply_calibration
from candelabra.metrics.forecast import qlike
from candelabra.metrics.quantiles import covered
from candelabra.models.base import QUANTILE_LEVELS, ModelOutput
from candelabra.windows.targets import Targets


def world(seed, rows=1500, claim=0.6):
    """Outcomes, and a model that is too sure (claim < 1), whose mean is too bold, whose volatility is low by 0.2."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(-5, 0.5, (rows, 2)))
    mean = 0.2 * scale * rng.normal(size=(rows, 2))
    returns = mean + scale * rng.normal(size=(rows, 2))
    quantiles = mean[..., None] + claim * scale[..., None] * stats.norm.ppf(QUANTILE_LEVELS)
    volatility = np.log(scale) + rng.normal(0, 0.3, (rows, 2))
    output = ModelOutput(quantiles.astype(np.float32), (4 * mean).astype(np.float32), (np.log(scale) - 0.2).astype(np.float32))
    return Outcomes(output, returns, volatility)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 24))
def test_a_shrunk_mean_never_loses_to_zero_where_it_was_fitted_nor_exceeds_least_squares(seed, steps):
    rng = np.random.default_rng(seed)
    actual, mean = rng.normal(size=30), rng.normal(size=30) * rng.exponential()
    factor = mean_shrinkage(actual, mean, steps)
    assert 0.0 <= factor <= max(0.0, float(actual @ mean / (mean @ mean)))
    assert np.mean((actual - factor * mean) ** 2) <= np.mean(actual**2) + 1e-12
    assert factor <= mean_shrinkage(actual, mean, 1)


def test_a_mean_that_knows_nothing_is_nearly_always_silenced():
    rng = np.random.default_rng(0)
    kept = [mean_shrinkage(rng.normal(size=500), rng.normal(size=500)) > 0 for _ in range(200)]
    assert np.mean(kept) < 0.06


def test_a_mean_that_is_four_times_too_bold_is_shrunk_to_a_quarter():
    found = fit_calibration(("1h", "6h"), (1, 6), world(0, 20_000), world(1))
    np.testing.assert_allclose(found.mean_shrinkage, 0.25, atol=0.1)
    assert min(found.mean_shrinkage) > 0.15


def test_the_calibrated_model_covers_and_its_variance_is_right_on_rows_never_seen():
    test = world(2, 4000)
    found = fit_calibration(("1h", "6h"), (1, 6), world(0), world(1, 3000))
    done = apply_calibration(test.output, found)
    before = covered(test.output.quantiles, test.returns, QUANTILE_LEVELS, 0.9).mean()
    after = covered(done.quantiles, test.returns, QUANTILE_LEVELS, 0.9).mean()
    assert before < 0.75
    assert 0.88 < after < 0.92
    scaled = qlike(test.log_volatility, done.log_volatility, np.array(found.variance_scale)).mean()
    assert scaled < qlike(test.log_volatility, done.log_volatility).mean()
    assert found.variance(done.log_volatility).mean() == pytest.approx(np.exp(2 * test.log_volatility).mean(), rel=0.1)


def test_shrinkage_reads_validation_only_and_the_rest_calibration_only():
    one = fit_calibration(("1h", "6h"), (1, 6), world(0), world(1))
    other_late, other_early = (
        fit_calibration(("1h", "6h"), (1, 6), world(0), world(3)),
        fit_calibration(("1h", "6h"), (1, 6), world(3), world(1)),
    )
    assert other_late.mean_shrinkage == one.mean_shrinkage
    assert other_late.intervals != one.intervals
    assert other_early.intervals == one.intervals
    assert other_early.variance_scale == one.variance_scale
    assert other_early.mean_shrinkage != one.mean_shrinkage


def test_a_model_of_volatility_alone_has_a_scale_and_nothing_else():
    given_ = world(0)
    blank = np.full_like(given_.output.mean, np.nan)
    alone = Outcomes(
        ModelOutput(np.full_like(given_.output.quantiles, np.nan), blank, given_.output.log_volatility),
        given_.returns,
        given_.log_volatility,
    )
    found = fit_calibration(("1h", "6h"), (1, 6), alone, alone)
    assert found.intervals is None
    assert found.mean_shrinkage == (0.0, 0.0)
    assert found.variance_scale[0] > 1.2


def test_outcomes_of_several_symbols_stand_one_below_the_other():
    given_ = world(0, 10)
    targets = Targets(
        (Timeframe("1h"), Timeframe("6h")), (1, 6), Timeframe("5m"), given_.returns, given_.log_volatility, np.zeros((10, 2), np.int64)
    )
    rows = [np.array([1, 2]), np.array([5])]
    joined = outcomes([targets, targets], rows, [given_.output.rows(r) for r in rows])
    np.testing.assert_array_equal(joined.returns, given_.returns[[1, 2, 5]])
    np.testing.assert_array_equal(joined.output.mean, given_.output.mean[[1, 2, 5]])
    with pytest.raises(DataError, match="predict at exactly those rows"):
        outcomes([targets], [rows[0]], [given_.output])
