"""Benchmark markets: lawful, repeatable, as strong as stated; the oracle is exact and is the ceiling it is said to be."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles import resample, semi_markov
from candelabra.candles.nested_markets import nested_market, nested_markets
from candelabra.candles.regime_markets import RegimeMarket, RegimeParameters, regime_market, regime_markets
from candelabra.candles.regime_oracle import log_likelihood, oracle_filtered, oracle_lagged, oracle_smoothed, oracle_viterbi, succession
from candelabra.errors import DataError, UsageError

CHECKSUM = "b7d608c74ed9cb98"
NESTED_CHECKSUM = "942d10091c2fa32c"


@pytest.fixture(scope="module")
def markets() -> tuple[RegimeMarket, ...]:
    return regime_markets()


def checksum(*arrays: np.ndarray) -> str:
    """Of values rounded far above what the last digit of a library's exponential may differ by."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.round(array * 1e8).astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def segments(code: np.ndarray) -> np.ndarray:
    return np.diff(np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1, [len(code)]]))


def test_the_benchmark_is_the_one_whose_figures_are_published(markets: tuple[RegimeMarket, ...]) -> None:
    parts = [x for m in markets for x in (m.regime, m.factor, m.returns, np.log(m.candles.high / m.candles.low), m.candles.volume / 1e8)]
    assert checksum(*parts) == CHECKSUM
    nested = nested_markets(2)
    parts = [x for m in nested for x in (m.regime, m.regime_1d, m.factor, np.log(m.candles.close / m.candles.open))]
    assert checksum(*parts) == NESTED_CHECKSUM


def test_ten_markets_are_made_in_less_than_a_second(markets: tuple[RegimeMarket, ...]) -> None:
    began = time.process_time()
    assert len(regime_markets()) == len(markets) == 10
    assert time.process_time() - began < 1.0


def test_they_have_the_changes_and_the_tails_they_are_said_to_have(markets: tuple[RegimeMarket, ...]) -> None:
    changes = np.array([len(segments(m.regime)) - 1 for m in markets])
    assert changes.min() >= 55
    assert changes.max() <= 75
    assert 1000 * changes.sum() / 200_000 == pytest.approx(3.2, abs=0.2)
    kurtosis = [((m.returns - m.returns.mean()) ** 4).mean() / m.returns.var() ** 2 for m in markets]
    assert 14 < np.median(kurtosis) < 28
    assert all(m.candles.simulated and set(np.unique(m.regime)) == {0, 1, 2, 3} for m in markets)
    assert min(segments(m.regime)[:-1].min() for m in markets) >= 60


def test_returns_measured_by_the_stated_law_are_unbiased_with_variance_one(markets: tuple[RegimeMarket, ...]) -> None:
    z, regimes = [], []
    for m in markets:
        p = m.parameters
        mean = p.sigma * np.asarray(p.drift)[m.regime] - np.asarray(p.pull)[m.regime] * m.distance
        z.append((m.returns - mean) / (p.sigma * np.asarray(p.level)[m.regime] * np.sqrt(m.factor)))
        regimes.append(m.regime)
    score, regime = np.concatenate(z), np.concatenate(regimes)
    for k in range(4):
        assert score[regime == k].mean() == pytest.approx(0, abs=0.02)
        assert score[regime == k].var() == pytest.approx(1, abs=0.06)
    assert np.mean([m.factor.mean() for m in markets]) == pytest.approx(1, abs=0.05)


def test_consolidation_goes_nowhere(markets: tuple[RegimeMarket, ...]) -> None:
    m = markets[0]
    r = np.where(m.regime == 2, m.returns, np.nan)
    blocks = r[: len(r) // 50 * 50].reshape(-1, 50)
    whole = blocks[np.isfinite(blocks).all(1)]
    assert whole.sum(1).var() < 0.5 * 50 * whole.var()


@given(seed=st.integers(0, 5_000))
@settings(max_examples=15, deadline=None)
def test_the_same_seed_gives_the_same_bars_and_more_bars_only_append(seed: int) -> None:
    short, long = regime_market(150, seed), regime_market(400, seed)
    assert short.candles.fingerprint == long.candles.rows(slice(0, 150)).fingerprint
    np.testing.assert_array_equal(short.regime, long.regime[:150])
    np.testing.assert_array_equal(short.candles.open[1:], short.candles.close[:-1])


def test_nested_markets_hold_hours_inside_days_with_enough_segments_of_both() -> None:
    for m in nested_markets():
        days = resample(m.candles, "1d")
        assert len(days) == len(m.regime_1d) == 840
        assert len(segments(m.regime)) >= 100
        assert len(segments(m.regime_1d)) >= 40
        moves = np.log(days.close / days.open)
        assert moves[m.regime_1d == 0].mean() > 0 > moves[m.regime_1d == 1].mean()
        assert np.abs(moves[m.regime_1d == 3]).mean() > np.abs(moves[m.regime_1d == 2]).mean()


def test_settings_that_cannot_be_are_refused_with_a_reason() -> None:
    with pytest.raises(UsageError, match="mean_bars above least_bars"):
        RegimeParameters(mean_bars=(300.0, 50.0, 300.0, 300.0))
    with pytest.raises(UsageError, match="below 1 together"):
        RegimeParameters(shock=0.2)
    with pytest.raises(UsageError, match="pull"):
        RegimeParameters(pull=(0.0, 0.0, 1.0, 0.0))
    with pytest.raises(UsageError, match="cannot be made"):
        regime_markets(0)
    with pytest.raises(UsageError, match="cannot be made"):
        nested_market(0)


# --- the oracle --------------------------------------------------------------------------------------------------------------------


def enumerated(likelihood: np.ndarray, lasting: np.ndarray, follows: np.ndarray, first: np.ndarray) -> dict[tuple[int, ...], float]:
    """Joint chance of every path of segments with the bars, by walking through all of them."""
    n, states = likelihood.shape
    out: dict[tuple[int, ...], float] = {}

    def go(path: tuple[int, ...], chance: float) -> None:
        at = len(path)
        for k in range(states):
            begin = chance * (first[k] if not path else follows[path[-1], k])
            if begin == 0:
                continue
            for length in range(1, min(lasting.shape[1], n - at) + 1):
                seen = begin * np.exp(likelihood[at : at + length, k].sum())
                whole = (*path, *[k] * length)
                if at + length < n:
                    go(whole, seen * lasting[k, length - 1])
                else:
                    out[whole] = out.get(whole, 0.0) + seen * lasting[k, length - 1 :].sum()

    go((), 1.0)
    return out


def marginal(joint: dict[tuple[int, ...], float], bar: int, states: int) -> np.ndarray:
    chance = np.zeros(states)
    for path, value in joint.items():
        chance[path[bar]] += value
    return chance / chance.sum()


@pytest.mark.parametrize("seed", range(6))
def test_inference_equals_the_sum_over_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, states, longest = 8, 3, (3, 5, 12)[seed % 3]
    likelihood = rng.normal(0, 1.5, (n, states))
    lasting = rng.random((states, longest)) * (rng.random((states, longest)) < 0.7)
    lasting[:, -1] += 0.1
    lasting /= lasting.sum(1, keepdims=True)
    follows = rng.random((states, states)) * (1 - np.eye(states))
    follows /= follows.sum(1, keepdims=True)
    first = rng.dirichlet(np.ones(states))
    chain = lasting, follows, first
    joints = [enumerated(likelihood[: t + 1], *chain) for t in range(n)]
    expected = np.array([marginal(joints[t], t, states) for t in range(n)])
    np.testing.assert_allclose(semi_markov.filtered(likelihood, *chain), expected, atol=1e-12)
    expected = np.array([marginal(joints[-1], t, states) for t in range(n)])
    np.testing.assert_allclose(semi_markov.smoothed(likelihood, *chain), expected, atol=1e-12)
    for lag in (0, 2, 5):
        got = semi_markov.lagged(likelihood, *chain, lag)
        expected = np.array([marginal(joints[t + lag], t, states) for t in range(n - lag)])
        np.testing.assert_allclose(got[: n - lag], expected, atol=1e-12)
        assert np.isnan(got[n - lag :]).all()
    best = max(joints[-1], key=joints[-1].__getitem__)
    found = tuple(int(k) for k in semi_markov.viterbi(likelihood, *chain))
    assert joints[-1][found] == pytest.approx(joints[-1][best], rel=1e-9)


def test_inference_stays_finite_where_likelihoods_are_extreme() -> None:
    market = regime_market(2_000, 3)
    wild = 40 * log_likelihood(market)
    chain = market.parameters.durations, *succession()
    for answer in (semi_markov.filtered(wild, *chain), semi_markov.smoothed(wild, *chain), semi_markov.lagged(wild, *chain, 5)[:-5]):
        assert np.isfinite(answer).all()
        np.testing.assert_allclose(answer.sum(1), 1, atol=1e-9)


def test_the_oracle_filter_reads_no_later_bar() -> None:
    whole, part = regime_market(3_000, 1), regime_market(2_500, 1)
    np.testing.assert_array_equal(oracle_filtered(whole)[:2_500], oracle_filtered(part))
    np.testing.assert_allclose(oracle_lagged(whole, 30)[:2_470], oracle_lagged(part, 30)[:2_470], atol=1e-12)
    np.testing.assert_allclose(oracle_lagged(part, 0), oracle_filtered(part), atol=1e-12)


def macro_f1(truth: np.ndarray, shown: np.ndarray) -> float:
    hit = [2 * ((truth == k) & (shown == k)).sum() / ((truth == k).sum() + (shown == k).sum()) for k in range(4)]
    return float(np.mean(hit))


def test_the_ceilings_are_where_they_were_published(markets: tuple[RegimeMarket, ...]) -> None:
    rows = slice(14_000, 20_000)
    figures = []
    for m in markets[:4]:
        filtered, lagged, smoothed = (
            np.argmax(np.nan_to_num(p), 1) for p in (oracle_filtered(m), oracle_lagged(m, 30), oracle_smoothed(m))
        )
        figures.append([macro_f1(m.regime[rows], c[rows]) for c in (filtered, lagged, smoothed, oracle_viterbi(m))])
    filtered_, lagged_, smoothed_, path = np.mean(figures, axis=0)
    assert 0.90 < filtered_ < lagged_ < smoothed_ < 1
    assert filtered_ == pytest.approx(0.925, abs=0.03)
    assert path == pytest.approx(0.973, abs=0.02)


def test_what_does_not_fit_is_refused() -> None:
    m = regime_market(100, 0)
    with pytest.raises(DataError, match="do not fit"):
        semi_markov.filtered(log_likelihood(m)[:, :3], m.parameters.durations, *succession())
    with pytest.raises(DataError, match="sum to 1"):
        semi_markov.filtered(log_likelihood(m), m.parameters.durations * 2, *succession())
    with pytest.raises(DataError, match="look ahead"):
        oracle_lagged(m, -1)
