"""Simulated markets: lawful, repeatable, like BTC hours, and their stated truth is the truth."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import (
    REGIMES,
    MarketSettings,
    SimulatedMarket,
    oracle_log_volatility,
    oracle_return,
    oracle_variance,
    resample,
    simulate,
    simulate_market,
)
from candelabra.candles.simulate import MarketLaw
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(bars=60_000, seed=3)


def returns(market: SimulatedMarket) -> np.ndarray:
    return np.log(market.candles.close / market.candles.open)


def autocorrelation(x: np.ndarray, lag: int) -> float:
    x = x - x.mean()
    return float((x[lag:] * x[:-lag]).mean() / x.var())


@given(st.integers(0, 10_000), st.sampled_from(["1s", "1m", "5m", "1h", "4h", "1d", "1w"]), st.integers(1, 400))
def test_bars_are_lawful_and_on_the_grid_at_any_timeframe(seed: int, frame: str, bars: int) -> None:
    made = simulate("A/B", frame, bars=bars, seed=seed)
    assert len(made.candles) == len(made.regime) == len(made.variance) == bars
    assert len(made.candles.run_starts) == 1
    assert (made.variance > 0).all()
    assert set(np.unique(made.regime)) <= set(range(len(REGIMES)))
    np.testing.assert_array_equal(made.candles.open[1:], made.candles.close[:-1])


def test_the_same_seed_gives_the_same_market_and_more_bars_only_append() -> None:
    short, long, other = simulate(bars=500, seed=5), simulate(bars=900, seed=5), simulate(bars=500, seed=6)
    assert short.candles.fingerprint == long.candles.rows(slice(0, 500)).fingerprint
    np.testing.assert_array_equal(short.state, long.state[:500])
    np.testing.assert_array_equal(short.variance, long.variance[:500])
    assert short.candles.fingerprint != other.candles.fingerprint


def test_it_looks_like_bitcoin_by_the_hour(market: SimulatedMarket) -> None:
    r = returns(market)
    assert 0.0055 < r.std() < 0.0075
    assert 8 < ((r - r.mean()) ** 4).mean() / r.var() ** 2 < 45
    assert abs(autocorrelation(r, 1)) < 0.03
    assert 0.12 < autocorrelation(np.abs(r), 1) < 0.35
    assert 0.08 < autocorrelation(np.abs(r), 24) < 0.25
    log_range = np.log(np.log(market.candles.high / market.candles.low))
    assert 0.55 < np.corrcoef(np.log(market.candles.volume), log_range)[0, 1] < 0.85


def test_the_range_tells_the_variance(market: SimulatedMarket) -> None:
    parkinson = np.log(market.candles.high / market.candles.low) ** 2 / (4 * np.log(2))
    assert parkinson.mean() == pytest.approx(returns(market).var(), rel=0.05)
    closeness = [np.corrcoef(np.log(x), np.log(market.variance))[0, 1] for x in (parkinson, returns(market) ** 2 + 1e-12)]
    assert closeness[0] > closeness[1] + 0.1


def test_returns_measured_by_the_stated_variance_have_variance_one(market: SimulatedMarket) -> None:
    z = (returns(market) - market.law.mean[market.state]) / np.sqrt(market.variance)
    assert z.var() == pytest.approx(1, abs=0.06)
    for regime in range(len(REGIMES)):
        assert z[market.regime == regime].var() == pytest.approx(1, abs=0.15)


def test_regimes_last_as_long_as_set_and_differ_in_volatility(market: SimulatedMarket) -> None:
    changes = np.flatnonzero(np.diff(market.regime)) + 1
    lengths, which = np.diff(changes), market.regime[changes[:-1]]
    for regime, hours in enumerate(market.law.settings.duration_hours):
        assert lengths[which == regime].mean() == pytest.approx(hours, rel=0.3)
    sd = [returns(market)[market.regime == k].std() for k in range(4)]
    assert sd[2] < sd[0] < sd[1] < sd[3]
    # Semi-Markov: durations are less spread than the geometric ones of a plain Markov chain.
    spread = np.array([lengths[which == k].std() / lengths[which == k].mean() for k in range(3)])
    assert spread.mean() == pytest.approx(3**-0.5, abs=0.15)


def test_the_week_has_a_quiet_weekend_and_a_busy_afternoon() -> None:
    law = MarketLaw.of(MarketSettings(), Timeframe("1h"))
    monday = 4 * 86_400_000
    week = law.pattern(monday + np.arange(168) * 3_600_000)
    assert week.mean() == pytest.approx(1)
    assert week[5 * 24 : 6 * 24].mean() < 0.75 * week[:120].mean()
    assert week[14] > 1.5 * week[5]
    minute = MarketLaw.of(MarketSettings(), Timeframe("1m")).pattern(monday + np.arange(60) * 60_000)
    assert minute.mean() == pytest.approx(week[0])
    assert MarketLaw.of(MarketSettings(), Timeframe("1w")).pattern(np.array([monday]))[0] == pytest.approx(1)


def test_other_timeframes_have_the_same_volatility_per_hour() -> None:
    minutes = simulate("A/B", "1m", bars=60 * 24 * 120, seed=1)
    hours = resample(minutes.candles, "1h")
    assert np.diff(np.log(hours.close)).std() == pytest.approx(0.0065, rel=0.3)


def test_the_oracles_expected_variance_and_return_are_unbiased_and_beat_the_past(market: SimulatedMarket) -> None:
    steps, r = 24, returns(market)
    summed = np.concatenate([[0], np.cumsum(r**2)])
    realised = summed[steps + 1 :] - summed[1:-steps]
    n = len(realised)
    expected = oracle_variance(market, steps)[:n]
    assert (realised / expected).mean() == pytest.approx(1, abs=0.05)
    future = np.log(market.candles.close[steps:] / market.candles.close[:-steps])[:n]
    guess = oracle_return(market, steps)[:n]
    assert np.polyfit(guess, future, 1)[0] == pytest.approx(1, abs=0.5)
    one = np.log(market.candles.close[1:] / market.candles.close[:-1])
    skill = 1 - ((one - oracle_return(market, 1)[:-1]) ** 2).mean() / (one**2).mean()
    assert 0 < skill < 0.006  # near unpredictable even for the oracle
    rows = np.arange(24, n, 24)
    truth, past = 0.5 * np.log(realised[rows]), 0.5 * np.log(realised[rows - 24])
    oracle = oracle_log_volatility(market, steps, rows=rows)
    assert (truth - oracle).mean() == pytest.approx(0, abs=0.03)
    r2 = 1 - ((truth - oracle) ** 2).mean() / truth.var()
    assert 0.45 < r2 < 0.8
    assert r2 > 1 - ((truth - past) ** 2).mean() / truth.var() + 0.1


def test_the_monte_carlo_oracle_agrees_with_the_exact_one_in_a_market_without_regimes_or_shocks() -> None:
    calm = MarketSettings(drift=(0,) * 4, volatility=(1,) * 4, shock=(0, 0), tail_degrees=1e7, correlation=0)
    market = simulate(bars=50, seed=1, settings=calm)
    exact = oracle_variance(market, 48)
    assert exact[0] == pytest.approx(market.law.pattern(market.candles.close_time[:48]).sum() * calm.hourly_sd**2)
    # E log chi2_48 = digamma(24) + log 2, for equal variances; the week's pattern moves it little.
    from scipy.special import digamma

    flat = 0.5 * (np.log(exact / 48) + digamma(24) + np.log(2))
    np.testing.assert_allclose(oracle_log_volatility(market, 48, paths=4000), flat, atol=0.02)
    np.testing.assert_array_equal(oracle_log_volatility(market, 5, seed=2), oracle_log_volatility(market, 5, seed=2))


def test_symbols_of_one_market_share_regimes_and_move_together() -> None:
    made = simulate_market(["A/SIM", "B/SIM"], bars=20_000, seed=2)
    a, b = made["A/SIM"], made["B/SIM"]
    np.testing.assert_array_equal(a.regime, b.regime)
    assert np.corrcoef(returns(a), returns(b))[0, 1] == pytest.approx(0.7, abs=0.05)
    alone = simulate_market(["A/SIM", "B/SIM"], bars=20_000, seed=2, settings=MarketSettings(correlation=0.0))
    assert abs(np.corrcoef(returns(alone["A/SIM"]), returns(alone["B/SIM"]))[0, 1]) < 0.05


def test_twenty_thousand_bars_take_less_than_a_second() -> None:
    simulate(bars=10)
    begin = time.process_time()
    simulate(bars=20_000)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bars": 0}, "1 or more bars"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"start": "yesterday"}, "is not a date"),
        ({"timeframe_": "1M"}, "simulate 1d or finer, then resample"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [{"tail_degrees": 4.0}, {"correlation": 1.0}, {"shock": (0.95, 0.01)}, {"drift": (0.0,)}, {"volatility": (1.0, 1.0, 0.0, 1.0)}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        MarketSettings(**settings)  # type: ignore[arg-type]
