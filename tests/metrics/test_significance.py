import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.errors import DataError
from candelabra.metrics import significance as s
from candelabra.metrics.forecast import r2


def autoregressive(rng, n, phi, repeats=1):
    noise = rng.normal(size=(n + 100, repeats))
    out = np.zeros_like(noise)
    for t in range(1, n + 100):
        out[t] = phi * out[t - 1] + noise[t]
    return out[100:]


def test_diebold_mariano_agrees_with_the_direct_formula():
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=300), rng.exponential(size=300) + 0.1
    horizon, lag, n = 5, 8, 300
    d = a - b
    gamma = [np.sum((d[k:] - d.mean()) * (d[: n - k] - d.mean())) / n for k in range(lag + 1)]
    variance = (gamma[0] + 2 * sum((1 - k / (lag + 1)) * gamma[k] for k in range(1, lag + 1))) / n
    statistic = d.mean() / np.sqrt(variance) * np.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    test = s.diebold_mariano(a, b, horizon, lag)
    assert test.statistic == pytest.approx(statistic)
    assert test.p_value == pytest.approx(2 * stats.t.sf(abs(statistic), n - 1))
    assert test.difference == pytest.approx(d.mean())


def test_diebold_mariano_is_antisymmetric_and_silent_on_equal_losses():
    rng = np.random.default_rng(1)
    a, b = rng.exponential(size=200), rng.exponential(size=200)
    assert s.diebold_mariano(a, b, 3).statistic == pytest.approx(-s.diebold_mariano(b, a, 3).statistic)
    assert s.diebold_mariano(a, a, 3).p_value == 1.0


def test_diebold_mariano_rejects_about_as_often_as_it_says_when_nothing_differs():
    """Overlapping horizons of 12 bars: loss differences are moving averages; 5 % nominal stays below 12 % (plain t: over 40 %)."""
    rng = np.random.default_rng(2)
    rejected = plain = 0
    for _ in range(300):
        d = np.convolve(rng.normal(size=1011), np.ones(12), "valid")
        rejected += s.diebold_mariano(d, np.zeros(1000), 12).p_value < 0.05
        plain += stats.ttest_1samp(d, 0.0).pvalue < 0.05
    assert rejected / 300 < 0.12
    assert plain / 300 > 0.4


def test_absent_bars_keep_their_place_in_time():
    rng = np.random.default_rng(3)
    a = rng.normal(size=400)
    a[100:140] = np.nan
    total, count = np.nan_to_num(a), (~np.isnan(a)).astype(float)
    assert s.diebold_mariano(a, np.zeros(400), 4, 6) == s.diebold_mariano_sums(total, count, 4, 6)


def test_long_lags_give_the_same_variance_as_short_ones_would_by_hand():
    d = autoregressive(np.random.default_rng(10), 700, 0.5)[:, 0]
    residual = d - d.mean()
    by_hand = residual @ residual + 2 * sum((1 - k / 151) * (residual[k:] @ residual[:-k]) for k in range(1, 151))
    assert s.diebold_mariano(d, np.zeros(700), 5, 150).standard_error == pytest.approx(np.sqrt(by_hand) / 700)


def test_two_symbols_that_move_as_one_give_no_more_evidence_than_one():
    d = np.random.default_rng(4).normal(size=500) + 0.05
    one, two = s.diebold_mariano_sums(d, np.ones(500), 1), s.diebold_mariano_sums(2 * d, np.full(500, 2.0), 1)
    assert two.p_value == pytest.approx(one.p_value)


def test_effective_sample_size_counts_overlap():
    rng = np.random.default_rng(5)
    white = rng.normal(size=20_000)
    overlapping = np.convolve(rng.normal(size=20_023), np.ones(24), "valid")
    assert s.effective_sample_size(white) > 16_000
    assert 600 < s.effective_sample_size(overlapping, horizon=24) < 1400


def test_bootstrap_sums_equal_summing_the_drawn_blocks():
    rng = np.random.default_rng(6)
    table, block, seed = rng.normal(size=(53, 3)), 10, 9
    starts = np.random.default_rng(seed).integers(0, 53, (20, 6))
    lengths = [10, 10, 10, 10, 10, 3]
    by_hand = [sum(table[(start + np.arange(k)) % 53].sum(axis=0) for start, k in zip(row, lengths, strict=True)) for row in starts]
    np.testing.assert_allclose(s.block_bootstrap_sums(table, block, 20, seed), by_hand, atol=1e-12)


def test_bootstrap_intervals_cover_the_true_mean_of_autoregressive_losses():
    """phi 0.6, blocks of 25 in 1000 bars: nominal 95 % covers at least 88 %, intervals that forget dependence below 75 %."""
    series = autoregressive(np.random.default_rng(7), 1000, 0.6, 200)

    def hits(block):
        found = [s.bootstrap_mean_difference(np.zeros(1000), x, block, resamples=300, seed=k) for k, x in enumerate(series.T)]
        return np.mean([d.low <= 0.0 <= d.high for d in found])

    assert 0.88 <= hits(25) <= 0.99
    assert hits(1) < 0.75


def test_bootstrap_is_seeded_and_finds_a_difference_that_is_there():
    rng = np.random.default_rng(8)
    baseline = rng.exponential(size=2000)
    loss = 0.9 * baseline + rng.normal(0, 0.05, 2000)
    one, again, other = (s.bootstrap_skill(loss, baseline, 50, seed=k) for k in (1, 1, 2))
    assert one == again
    assert one != other
    assert one.low < 0.1 < one.high
    assert one.words == "clearly better"
    assert s.bootstrap_skill(baseline, loss, 50).words == "clearly worse"


def test_r2_difference_is_the_difference_of_the_two_r2_and_ignores_holes():
    rng = np.random.default_rng(9)
    y = rng.normal(-4, 0.5, 900)
    f, b = y + rng.normal(0, 0.3, 900), y + rng.normal(0, 0.4, 900)
    found = s.bootstrap_r2_difference(y, f, b, 24)
    assert found.value == pytest.approx(r2(y, f) - r2(y, b))
    assert found.low < found.value < found.high
    holed = s.bootstrap_r2_difference(np.insert(y, 5, np.nan), np.insert(f, 5, 1.0), np.insert(b, 5, 1.0), 24)
    assert holed.value == pytest.approx(found.value)


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.1, 0.1), st.floats(0, 0.1), st.floats(0, 0.1))
def test_words_are_exactly_those_of_the_law(value, below, above):
    low, high = value - below, value + above
    expected = "clearly better" if low > 0 else "clearly worse" if high < 0 else "level" if value > -0.01 else "behind"
    assert s.words(value, low, high) == expected


def test_more_trials_make_a_p_value_weaker():
    assert s.adjusted_p_value(0.01, 1) == pytest.approx(0.01)
    assert s.adjusted_p_value(0.01, 20) == pytest.approx(1 - 0.99**20)
    assert s.adjusted_p_value(1.0, 5) == pytest.approx(1.0)


def test_two_thousand_resamples_of_ten_thousand_rows_take_well_under_a_second_of_cpu():
    table = np.random.default_rng(0).normal(size=(10_000, 12))
    began = time.process_time()
    s.block_bootstrap_sums(table, 168, 2000)
    assert time.process_time() - began < 1.0


def test_impossible_resampling_is_refused():
    with pytest.raises(DataError, match="cannot resample"):
        s.block_bootstrap_sums(np.ones((1, 1)), 5)
