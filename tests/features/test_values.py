"""What features are worth: against plain loops, against TA-Lib itself, and on markets with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.features.bars import Bars
from candelabra.features.catalog import compute
from candelabra.features.kernels import decayed_mean, segment_sums, window_max, window_median, window_min, window_sum
from candelabra.features.sets import BASE, BENCH16, TABULAR
from candelabra.features.talib_functions import FUNCTIONS
from candelabra.features.volatility import level, level_warm_up

HOUR_MS = 3_600_000


def column(candles: Candles, spec: str) -> NDArray[np.float32]:
    return compute(candles, [spec]).values[:, 0]


def candles_of(close: NDArray[np.float64], hours: NDArray[np.int64] | None = None) -> Candles:
    hours = np.arange(len(close)) if hours is None else hours
    return Candles.of("X/Y", "1h", hours * HOUR_MS, close, close, close, close, np.ones(len(close)))


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_window_kernels_equal_plain_loops(n: int) -> None:
    x = np.random.default_rng(n).normal(size=120)
    windows = [x[max(0, t - n + 1) : t + 1] for t in range(120)]
    for kernel, plain in ((window_sum, np.sum), (window_max, np.max), (window_min, np.min), (window_median, np.median)):
        np.testing.assert_allclose(kernel(x, n), [plain(w) for w in windows], atol=1e-12)


def test_a_decayed_mean_forgets_after_its_width_and_at_a_gap() -> None:
    random = np.random.default_rng(0)
    x, weight = random.uniform(size=100), random.uniform(1, 2, 100)
    age = np.concatenate([np.arange(40), np.arange(60)])
    out = decayed_mean(x, weight, age, 5.0, 20)
    for t in (0, 30, 39, 40, 45, 99):
        k = np.arange(min(20, age[t] + 1))
        powers = 0.5 ** (k / 5)
        assert out[t] == pytest.approx((powers * x[t - k]).sum() / (powers * weight[t - k]).sum(), rel=1e-12)


def test_sums_between_moving_bounds_equal_slices() -> None:
    random = np.random.default_rng(1)
    x, weight = random.normal(size=300), random.uniform(size=300)
    begins = np.sort(random.integers(0, 250, 80))
    ends = np.maximum.accumulate(np.minimum(begins + random.integers(0, 50, 80), 300))
    total, taken = segment_sums(x, weight, begins, ends)
    np.testing.assert_allclose(total, [x[a:b].sum() for a, b in zip(begins, ends, strict=True)], atol=1e-12)
    np.testing.assert_allclose(taken, [weight[a:b].sum() for a, b in zip(begins, ends, strict=True)], atol=1e-12)


def test_a_window_sum_is_not_spoilt_by_a_crash_before_it() -> None:
    x = np.full(1000, 1e-12)
    x[300] = 1e6
    assert window_sum(x, 50)[400] == pytest.approx(5e-11, rel=1e-12)


def test_realised_volatility_is_the_per_bar_deviation_of_returns(market: Candles) -> None:
    returns = np.diff(np.log(market.close))
    expected = [0.5 * np.log(np.mean(returns[t - 24 : t] ** 2)) for t in range(24, 400)]
    np.testing.assert_allclose(column(market, "log_rv(24)")[24:400], expected, rtol=1e-6)
    np.testing.assert_allclose(column(market, "deviation(20)")[20:300], [returns[t - 20 : t].std() for t in range(20, 300)], rtol=1e-5)


def test_every_estimator_finds_the_volatility_of_a_random_walk() -> None:
    random = np.random.default_rng(5)
    steps = random.normal(0, 0.001, (3000, 400))  # 400 small steps inside each bar
    path = np.cumsum(steps.ravel()).reshape(steps.shape)
    open_ = np.concatenate([[0.0], path[:-1, -1]])
    high, low = (np.maximum(path.max(1), open_), np.minimum(path.min(1), open_))
    candles = Candles.of("X/Y", "1h", np.arange(3000) * HOUR_MS, *np.exp([open_, high, low, path[:, -1]]), np.ones(3000))
    truth = np.log(0.001 * 20)
    for name in ("log_rv", "log_parkinson", "log_garman_klass", "log_rogers_satchell", "log_yang_zhang", "log_bipower"):
        assert column(candles, f"{name}(2000)")[-1] == pytest.approx(truth, abs=0.06), name
    assert column(candles, "log_ewma_vol(500)")[-1] == pytest.approx(truth, abs=0.06)
    halves = [column(candles, f"log_semivariance_{side}(2000)")[-1] for side in ("up", "down")]
    assert halves == pytest.approx([truth - 0.5 * np.log(2)] * 2, abs=0.08)
    assert column(candles, "jump_share(2000)")[-1] < 0.08
    assert level(candles)[-1] == pytest.approx(truth, abs=0.15)


def test_a_jump_is_seen_as_one() -> None:
    returns = np.random.default_rng(6).normal(0, 0.01, 400)
    returns[300] = 0.3
    candles = candles_of(np.exp(np.cumsum(returns)))
    assert column(candles, "jump_share(100)")[310] > 0.7
    assert column(candles, "jump_share(100)")[290] < 0.2


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_equal_talib_on_a_run_without_gaps(name: str, market: Candles) -> None:
    from talib import abstract

    columns = dict(zip(("open", "high", "low", "close", "volume"), (v.copy() for v in market.values()), strict=True))
    raw = abstract.Function(name)(columns)
    raw = raw if isinstance(raw, list) else [raw]
    ours = compute(market, [f"talib.{name}"]).values
    for channel, values in enumerate(raw):
        expected = np.asarray(values, np.float64)
        if FUNCTIONS[name] == "price":
            expected = np.log(np.maximum(expected / market.close, np.exp(-6.9)))
        elif FUNCTIONS[name] == "difference":
            expected = expected / market.close
        known = ~np.isnan(ours[:, channel])
        assert known[-1]
        np.testing.assert_allclose(ours[known, channel], expected[known], rtol=1e-5, atol=1e-7)


def test_our_own_indicators_equal_talib(market: Candles) -> None:
    close = market.close.copy()
    np.testing.assert_allclose(column(market, "rsi(14)")[14:], talib.RSI(close, 14)[14:], rtol=1e-6)
    np.testing.assert_allclose(column(market, "adx(14)")[27:], talib.ADX(*(v.copy() for v in market.values()[1:4]), 14)[27:], rtol=1e-6)
    np.testing.assert_allclose(column(market, "macd.line")[33:], (talib.MACD(close)[0] / close)[33:], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(column(market, "sma_ratio(50)")[49:], np.log(close / talib.SMA(close, 50))[49:], rtol=1e-5, atol=1e-8)
    upper, middle, lower = talib.BBANDS(close, 20)
    np.testing.assert_allclose(column(market, "bollinger.percent_b")[19:], ((close - lower) / (upper - lower))[19:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(column(market, "bollinger.width")[19:], ((upper - lower) / middle)[19:], rtol=1e-4)


def test_a_market_that_stands_still_has_no_direction(rough_market: Candles) -> None:
    middle = len(rough_market) // 2 + 35  # in the flat stretch
    neutral = {"rsi(14)": 50, "adx(14)": 0, "stochastic.k": 50, "bollinger.percent_b": 0.5, "bollinger.width": 0, "close_position(24)": 0}
    neutral |= {"return(24)": 0, "sma_ratio(20)": 0, "obv(24)": 0, "ad(24)": 0, "rel_volume(24)": 0, "up_share(24)": 0, "talib.MFI(14)": 50}
    neutral |= {"log_rv(24)": np.log(1e-6), "rv_ratio(12,24)": 0, "jump_share(24)": 0, "vwap_ratio(24)": 0, "amihud(6,24)": 0}
    for spec, value in neutral.items():
        assert column(rough_market, spec)[middle] == pytest.approx(value, abs=1e-6), spec


def test_a_short_gap_is_stepped_over_and_a_long_one_restarts_what_covers_it() -> None:
    close = np.exp(np.random.default_rng(7).normal(0, 0.01, 600).cumsum())
    for absent, restarts in ((24, False), (25, True)):
        hours = np.arange(600) + np.where(np.arange(600) >= 300, absent, 0)
        candles = candles_of(close, hours)
        day, month = column(candles, "log_rv(24)"), column(candles, "log_rv(200)")
        assert np.isnan(day[300:324]).all() == restarts
        assert np.isfinite(day[324:]).all()
        assert np.isnan(month[300:500]).all() == restarts
        assert np.isnan(column(candles, "rsi(14)")[300:314]).all() == restarts
        assert np.isfinite(column(candles, "talib.CCI(5)")[305:]).all()
        gap = column(candles, "gap")
        assert gap[300] == pytest.approx(np.log(1 + absent))
        assert (np.delete(gap, 300) == 0).all()
        since = column(candles, "bars_since_gap")
        assert since[300] == 1
        assert (since[:300] == 0).all()
        assert (np.diff(since[300:460]) < 0).all()


def test_a_long_window_steps_over_a_longer_gap() -> None:
    close = np.exp(np.random.default_rng(8).normal(0, 0.01, 3000).cumsum())
    candles = candles_of(close, np.arange(3000) + np.where(np.arange(3000) >= 2000, 36, 0))
    assert np.isnan(column(candles, "log_rv(168)")[2000:2168]).all()
    assert np.isfinite(column(candles, "log_rv(720)")[720:]).all()


def test_a_return_over_a_gap_counts_with_the_time_it_took() -> None:
    random = np.random.default_rng(9)
    walk = random.normal(0, 0.01, 30_000).cumsum()
    keep = np.arange(30_000) % 10 < 5  # every second half of ten hours is absent
    thinned = candles_of(np.exp(walk[keep]), np.flatnonzero(keep))
    assert column(thinned, "log_rv(10000)")[-1] == pytest.approx(np.log(0.01), abs=0.03)


def test_finer_candles_give_the_realised_volatility_per_base_bar(
    make_market: Callable[..., Candles], make_finer: Callable[..., Candles]
) -> None:
    base = make_market(300)
    finer = make_finer(base)
    values = compute(base, ["fine_log_rv(5m,24)"], fine={"5m": finer}).values[:, 0]
    returns = np.diff(np.log(finer.close), prepend=np.nan)
    for row in (24, 100, 299):
        inside = (finer.close_time > base.open_time[row - 23]) & (finer.close_time <= base.close_time[row])
        assert values[row] == pytest.approx(0.5 * np.log(np.mean(returns[inside] ** 2) * 12), rel=1e-6)
    holes = finer.rows(~((finer.open_time >= base.open_time[100]) & (finer.open_time < base.open_time[103])))
    holed = compute(base, ["fine_log_rv(5m,24)"], fine={"5m": holes}).values[:, 0]
    assert np.isnan(holed[103:124]).all()
    assert np.isfinite(holed[130:]).all()
    late = finer.rows(slice(12 * 50, None))
    assert np.isnan(compute(base, ["fine_log_rv(5m,24)"], fine={"5m": late}).values[:72, 0]).all()


def test_the_calendar_of_the_window_ahead_is_right_at_known_dates() -> None:
    friday_noon = np.datetime64("2024-01-05T11:00", "ms").astype(np.int64)  # closes at 12:00
    one = Candles.of("X/Y", "1h", [friday_noon], [1], [1], [1], [1], [1])
    assert column(one, "window_weekend(24)")[0] == pytest.approx(0.5)
    assert column(one, "window_weekend(168)")[0] == pytest.approx(2 / 7)
    assert column(one, "window_weekend(12)")[0] == 0
    assert column(one, "close_hour.cos1")[0] == pytest.approx(-1)
    assert column(one, "target_hour.cos1")[0] == pytest.approx(np.cos(2 * np.pi * 12.5 / 24))
    assert column(one, "window_hours(24).sin1")[0] == pytest.approx(0, abs=1e-6)
    minutes = np.arange(12 * 60, 18 * 60)
    assert column(one, "window_hours(6).cos2")[0] == pytest.approx(np.cos(4 * np.pi * (minutes + 0.5) / 1440).mean(), abs=1e-5)
    monday = np.datetime64("2024-01-01T00:00", "ms").astype(np.int64)
    hours = (np.datetime64("2024-01-05T12:30", "ms").astype(np.int64) - monday) / HOUR_MS
    assert column(one, "target_weekday.sin1")[0] == pytest.approx(np.sin(2 * np.pi * hours / 168), abs=1e-6)
    month = Candles.of("X/Y", "1M", [monday], [1], [1], [1], [1], [1])
    assert column(month, "window_weekend(1)")[0] == pytest.approx(8 / 29)  # February 2024


def test_the_level_follows_volatility_and_is_in_its_unit() -> None:
    random = np.random.default_rng(10)
    size = np.where(np.arange(4000) < 2000, 0.002, 0.02)
    close = np.exp((random.normal(size=4000) * size).cumsum())
    path = level(candles_of(close))
    assert np.isnan(path[:24]).all()
    assert np.isfinite(path[24:]).all()
    assert path[1900] == pytest.approx(np.log(0.002), abs=0.4)
    assert path[2900] == pytest.approx(np.log(0.02), abs=0.4)
    assert path[2024] > path[1999] + 0.5
    assert level_warm_up(Timeframe("1h")) == 672


def test_relative_features_are_what_they_say(market: Candles) -> None:
    table = compute(market, ["rel_log_rv(24)", "log_rv(24)", "level", "relative(log_rv(24))", "scaled(return(1))", "scaled_return(1)"])
    values = table.values[24:].astype(float)
    np.testing.assert_allclose(values[:, 0], values[:, 1] - values[:, 2], atol=1e-6)
    np.testing.assert_array_equal(values[:, 0], values[:, 3])
    np.testing.assert_allclose(values[:, 4], values[:, 5], rtol=1e-6)


def test_prepared_bars_are_computed_once(market: Candles) -> None:
    calls = []
    bars = Bars(market)
    for _ in range(2):
        bars.once("x", lambda: calls.append(1))
    assert calls == [1]


def test_features_of_real_candles_are_known_nearly_everywhere(ohlcv: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(ohlcv / "binance_BTCUSDT_1h.parquet")
    times = table["timestamp"].cast("int64").to_numpy()
    candles = Candles.of("BTC/USDT", "1h", times, *(table[k].to_numpy() for k in ("open", "high", "low", "close", "volume")))
    for specs, share in ((BASE, 0.99), (TABULAR, 0.97), (BENCH16, 0.98)):
        values = compute(candles, specs).values
        assert np.isfinite(values).all(1).mean() > share
        assert not np.isinf(values).any()
