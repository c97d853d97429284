import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.errors import BundleError, DataError
from candelabra.metrics import adaptive, conformal
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.metrics.quantiles import central_pairs, covered, width
from candelabra.models.base import QUANTILE_LEVELS, ModelOutput

LEVELS = QUANTILE_LEVELS


def heteroscedastic(rng, rows, claim=1.0, horizons=1):
    """Outcomes with a known scale per row, and quantiles that claim ``claim`` times that scale."""
    scale = np.exp(rng.normal(0, 0.7, (rows, horizons)))
    return claim * scale[..., None] * stats.norm.ppf(LEVELS), scale * rng.standard_t(4, (rows, horizons))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("claim", [0.5, 1.0, 2.0])
def test_intervals_cover_what_they_promise_on_exchangeable_data(claim, normalised):
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(40):
        table, actual = heteroscedastic(rng, 1000, claim)
        constants = conformal.fit(table[:500], actual[:500], LEVELS, normalised=normalised)
        fixed = conformal.apply(table[500:], constants)
        shares.append([covered(fixed, actual[500:], LEVELS, c).mean() for c in (0.5, 0.9, 0.98)])
    mean, error = np.mean(shares, axis=0), np.std(shares, axis=0) / np.sqrt(40)
    assert np.all(mean >= np.array([0.5, 0.9, 0.98]) - 3 * error)
    assert np.all(mean <= np.array([0.5, 0.9, 0.98]) + 2 / 500 + 3 * error)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 3.0), st.booleans())
def test_calibration_rows_themselves_are_covered_and_quantiles_rise(seed, claim, normalised):
    table, actual = heteroscedastic(np.random.default_rng(seed), 120, claim, 2)
    fixed = conformal.apply(table, conformal.fit(table, actual, LEVELS, normalised=normalised))
    assert np.all(np.diff(fixed, axis=-1) >= 0.0)
    for low, high in central_pairs(LEVELS):
        assert np.all(covered(fixed, actual, LEVELS, LEVELS[high] - LEVELS[low]).mean(axis=0) >= LEVELS[high] - LEVELS[low] - 1e-9)


def test_scores_in_widths_cover_quiet_and_wild_rows_alike():
    table, actual = heteroscedastic(np.random.default_rng(1), 6000, 0.5)
    rank = np.argsort(width(table, LEVELS, 0.9)[:, 0])

    def coverage_of_thirds(normalised):
        fixed = conformal.apply(table, conformal.fit(table, actual, LEVELS, normalised=normalised))
        return [covered(fixed[rows], actual[rows], LEVELS, 0.9).mean() for rows in (rank[:2000], rank[-2000:])]

    np.testing.assert_allclose(coverage_of_thirds(True), 0.9, atol=0.02)
    quiet, wild = coverage_of_thirds(False)
    assert quiet > 0.95
    assert wild < 0.85


def test_split_conformal_agrees_with_mapie():
    pytest.importorskip("mapie", reason="the oracle MAPIE is not installed")
    from mapie.regression import ConformalizedQuantileRegressor
    from sklearn.base import BaseEstimator, RegressorMixin

    class Column(RegressorMixin, BaseEstimator):
        """Reads its forecast from a column of X."""

        def __init__(self, column=0):
            self.column = column

        def fit(self, x, y):
            self.fitted_ = True
            return self

        def predict(self, x):
            return x[:, self.column]

    rng = np.random.default_rng(2)
    table, actual = heteroscedastic(rng, 900)
    three = [LEVELS.index(0.05), LEVELS.index(0.95), LEVELS.index(0.5)]
    x = table[:, 0, three]
    rival = ConformalizedQuantileRegressor([Column(k).fit(x, actual) for k in range(3)], confidence_level=0.9, prefit=True)
    rival.conformalize(x[:600], actual[:600, 0])
    _, expected = rival.predict_interval(x[600:], symmetric_correction=True)
    levels = (0.05, 0.95)
    ours = conformal.apply(x[600:, None, :2], conformal.fit(x[:600, None, :2], actual[:600], levels, normalised=False))
    np.testing.assert_allclose(ours[:, 0], expected[:, :, 0], rtol=1e-12)


def test_too_few_calibration_rows_are_refused_with_the_number_needed():
    table, actual = heteroscedastic(np.random.default_rng(3), 30)
    with pytest.raises(DataError, match=r"30 calibration rows cannot carry a 98% interval.*at least 49"):
        conformal.fit(table, actual, LEVELS)


def test_constants_of_another_shape_are_refused():
    table, actual = heteroscedastic(np.random.default_rng(3), 100, 1.0, 2)
    constants = conformal.fit(table, actual, LEVELS)
    with pytest.raises(DataError, match="calibrate again"):
        conformal.apply(table[:, :1], constants)


def test_crossed_quantiles_become_monotone_by_moving_outward_only():
    table = np.array([[0.2, 0.1, 0.0, -0.3, 0.4]])
    fixed = conformal.monotone(table, (0.1, 0.3, 0.5, 0.7, 0.9))
    np.testing.assert_allclose(fixed, [[0.0, 0.0, 0.0, 0.0, 0.4]])


def test_adaptive_intervals_follow_a_shift_that_fixed_ones_miss():
    rng = np.random.default_rng(4)
    table, actual = heteroscedastic(rng, 4000)
    actual[2000:] *= 2.0
    constants = conformal.fit(table[:1000], actual[:1000], LEVELS)
    decided = np.arange(3000) * 60_000
    known = (decided + 24 * 60_000)[:, None]
    moved = adaptive.adapt(table[1000:], actual[1000:], known, decided, LEVELS, table[:1000], actual[:1000])
    late = slice(1500, None)
    fixed_share = covered(conformal.apply(table[1000:], constants)[late], actual[1000:][late], LEVELS, 0.9).mean()
    adaptive_share = covered(moved[late], actual[1000:][late], LEVELS, 0.9).mean()
    assert fixed_share < 0.8
    assert 0.87 < adaptive_share < 0.93
    assert np.all(np.diff(moved, axis=-1) >= 0.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(40, 150))
def test_adaptive_intervals_know_only_outcomes_known_by_then(seed, delay, cut):
    rng = np.random.default_rng(seed)
    score, start = rng.normal(size=200), rng.normal(size=50)
    decided = np.arange(200) * 1000
    known = decided + delay * 1000
    settings_ = adaptive.AdaptiveIntervals(rate=0.05, memory=50)
    before = adaptive.adaptive_constants(start, score, known, decided, 0.9, settings_)
    changed = score.copy()
    changed[cut - delay + 1 if cut >= delay else 0 :] += rng.choice([-9.0, 9.0], 200)[cut - delay + 1 if cut >= delay else 0 :]
    after = adaptive.adaptive_constants(start, changed, known, decided, 0.9, settings_)
    np.testing.assert_array_equal(before[: cut + 1], after[: cut + 1])
    assert np.any(before[cut + 1 :] != after[cut + 1 :])


def test_adaptive_constants_equal_a_plain_simulation():
    rng = np.random.default_rng(5)
    start, score = rng.normal(size=40), rng.normal(size=120)
    decided, delay, rate = np.arange(120), 3, 0.02
    found = adaptive.adaptive_constants(start, score, decided + delay, decided, 0.8, adaptive.AdaptiveIntervals(rate, 40))
    memory, alpha, out = list(start), 0.2, []
    for t in range(120):
        if t >= delay:
            alpha += rate * (0.2 - float(score[t - delay] > out[t - delay]))
            memory = [*memory[1:], score[t - delay]]
        rank = min(max(int(np.ceil(41 * (1 - alpha) - 1e-9)), 1), 40)
        out.append(sorted(memory)[rank - 1])
    np.testing.assert_allclose(found, out)


def example_calibration(seed=6, horizons=2):
    table, actual = heteroscedastic(np.random.default_rng(seed), 200, 0.7, horizons)
    return table, Calibration(("1h", "6h")[:horizons], (0.25, 1.0)[:horizons], (1.3, 0.9)[:horizons], conformal.fit(table, actual, LEVELS))


def test_a_calibration_survives_json_bit_by_bit(tmp_path):
    _, calibration = example_calibration()
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration
    json.loads((tmp_path / "calibration.json").read_text())


def test_broken_or_missing_calibrations_are_refused(tmp_path):
    with pytest.raises(BundleError, match="incomplete"):
        Calibration.load(tmp_path / "calibration.json")
    for text in ("{", "[]", '{"horizons": ["1h"]}', '{"horizons":["1h"],"mean_shrinkage":[2.0],"variance_scale":[1.0],"intervals":null}'):
        with pytest.raises(BundleError, match="not a calibration"):
            Calibration.from_json(text)


def test_applying_a_calibration_shrinks_the_mean_moves_intervals_and_leaves_the_volatility():
    table, calibration = example_calibration()
    output = ModelOutput(table.astype(np.float32), np.ones((200, 2), np.float32), np.full((200, 2), -4.0, np.float32))
    output.mean[3] = np.nan
    done = apply_calibration(output, calibration)
    assert isinstance(done, ModelOutput)
    np.testing.assert_allclose(done.mean[0], [0.25, 1.0])
    assert np.isnan(done.mean[3]).all()
    assert np.all(width(done.quantiles, LEVELS, 0.9) > width(output.quantiles, LEVELS, 0.9))
    np.testing.assert_array_equal(done.log_volatility, output.log_volatility)
    np.testing.assert_allclose(calibration.variance(done.log_volatility)[0], np.exp(-8.0) * np.array([1.3, 0.9]))


def test_a_calibration_of_other_horizons_or_levels_is_refused():
    table, calibration = example_calibration()
    with pytest.raises(DataError, match="horizons"):
        apply_calibration(ModelOutput(table[:, :1], table[:, :1, 0], table[:, :1, 0]), calibration)
    with pytest.raises(DataError, match="levels"):
        apply_calibration(ModelOutput(table[..., :2], table[..., 0], table[..., 0], (0.1, 0.9)), calibration)
